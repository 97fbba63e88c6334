package portal

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// participant is what a login makes of a client: the mailbox through which its room reaches it (room.Member). It outlives its
// connection: while it is away (2.1 "waiting") its notifications are kept, and a relogin gives it a new connection (5).
// Notifications are written in the client's own version here, each for itself, so that no receiver can spoil another's.
type participant struct {
	portal   *Portal
	id, room string
	sdk      portalproto.SDK
	receiver portalproto.Receiver
	mayData  bool // it was granted data streams

	migrate    atomic.Bool   // the client follows a Move
	generation atomic.Uint64 // of the newest ticket
	base       uint64        // that of a participant that was taken over, before this edge gave it any

	dataTransport atomic.Pointer[string] // id of its transport for them; nil: none

	mu     sync.Mutex  // guards what follows and keeps the order of notifications; Emit does not block
	conn   *connection // nil while away
	opened bool        // the login was acknowledged: before that, notifications are held (2.3)
	left   bool        // nothing is told any more
	seq    int64       // number of the newest notification (5.5)
	kept   []kept      // the newest ones, oldest first
	size   int         // of kept, in bytes
	timer  *time.Timer // Timer100: ends a participant that stays away
}

// kept is a buffered notification.
type kept struct {
	portalproto.Missed
	size int
	at   time.Time // when it was last sent; while it was not, when it was made
	sent bool      // written to a connection, though perhaps lost with it
}

// Bounds on what is kept for one participant. Whoever stays away while more than this happens has missed the meeting.
const (
	maxKept     = 5000
	maxKeptSize = 4 << 20 // bytes
)

// Notify queues a notification for the client.
func (p *participant) Notify(n portalproto.Notification) {
	event, data := n.Encode(p.receiver)
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left {
		return
	}
	p.seq++
	k := kept{Missed: portalproto.Missed{Event: event, Data: data, Seq: p.seq}, size: data.Size(), at: now}
	if p.conn != nil && p.opened {
		p.conn.emit(event, data)
		k.sent = true
	}
	if !p.sdk.Resumable() && k.sent {
		return // nothing will ever ask for it again
	}
	p.kept = append(p.kept, k)
	p.size += k.size
	p.trim(now)
}

// trim (under mu) forgets what was sent long enough ago that its loss would have shown; and when too much piles up, what was
// sent before anything else. A participant for whom more is waiting than may be kept is ended.
func (p *participant) trim(now time.Time) {
	drop := 0
	for drop < len(p.kept) && p.kept[drop].sent &&
		(now.Sub(p.kept[drop].at) > p.portal.options.BufferTime || len(p.kept)-drop > maxKept || p.size > maxKeptSize) {
		p.size -= p.kept[drop].size
		drop++
	}
	p.kept = p.kept[drop:]
	if len(p.kept) > maxKept || p.size > maxKeptSize {
		p.kept, p.size = nil, 0
		p.portal.leaveSoon(p)
	}
}

// open lets notifications through, those held first; the login's acknowledgement is in the socket's queue already.
func (p *participant) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opened = true
	if p.left || p.conn == nil {
		return
	}
	p.replay(time.Now())
}

// replay (under mu) emits what was not sent yet.
func (p *participant) replay(now time.Time) {
	for i := range p.kept {
		if k := &p.kept[i]; !k.sent {
			p.conn.emit(k.Event, k.Data)
			k.sent, k.at = true, now
		}
	}
}

// away parts the participant from a connection that was lost, and tells whether it stays in the room for now: if it is to be
// resumed. Of a connection that is not the participant's any more it knows nothing.
func (p *participant) away(c *connection) (stays bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != c || p.left {
		return true
	}
	p.conn = nil
	if !p.sdk.Resumable() {
		p.left = true
		return false
	}
	p.timer = time.AfterFunc(p.portal.options.ReconnectionTimeout, func() { p.portal.expire(p) })
	return true
}

// part takes the connection from the participant without more ado: the client has left, and keeps its socket.
func (p *participant) part(c *connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == c {
		p.conn = nil
	}
}

// bind gives the participant a new connection: acknowledge is called with what the client may have missed, then what was held
// back follows as ordinary notifications if replay asks for it (5.4). It returns the connection before, if there still is one.
func (p *participant) bind(c *connection, replay bool, acknowledge func(missed []portalproto.Missed)) (before *connection, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left {
		return nil, portalproto.ErrNoClient
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	before, p.conn = p.conn, c
	missed := make([]portalproto.Missed, len(p.kept))
	for i := range p.kept {
		missed[i] = p.kept[i].Missed
	}
	acknowledge(missed)
	now := time.Now()
	if replay {
		p.replay(now)
		return before, nil
	}
	for i := range p.kept { // all of it has gone out with the acknowledgement, and may be lost with it
		p.kept[i].sent, p.kept[i].at = true, now
	}
	return before, nil
}

// leave ends the participant here: nothing is told any more, no ticket brings it back. It tells whether this call did it.
func (p *participant) leave() bool { return p.leaveUnless(func() bool { return false }) }

// leaveAway is leave for a participant that is away; one that has come back in the meantime stays.
func (p *participant) leaveAway() bool { return p.leaveUnless(func() bool { return p.conn != nil }) }

func (p *participant) leaveUnless(stays func() bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left || stays() {
		return false
	}
	p.left = true
	p.kept, p.size = nil, 0
	if p.timer != nil {
		p.timer.Stop()
	}
	return true
}

// Drop tells the client that the server ends its participation, and disconnects (2.5); the room has forgotten it.
func (p *participant) Drop() {
	p.mu.Lock()
	conn := p.conn
	p.mu.Unlock()
	if !p.leave() {
		return
	}
	p.portal.forget(p)
	p.portal.revokeData(p) // it may have been given since the room forgot it
	if conn != nil {
		event, data := portalproto.Dropped{}.Encode(p.receiver)
		conn.emit(event, data)
		conn.socket.Disconnect()
	}
}

// Moved ends the participant here without a word: it is on another edge, and whatever it still has here is its own to end, the
// connection included, whose end would come to it before it knows that it was let in over there.
func (p *participant) Moved() {
	p.mu.Lock()
	conn := p.conn
	p.mu.Unlock()
	if !p.leave() {
		return
	}
	p.portal.forget(p)
	if conn != nil {
		conn.linger(p)
	}
}

// leaveSoon ends a participant from where one must not wait: a timer, or the room's own Loop.
func (p *Portal) leaveSoon(who *participant) {
	_ = p.group.Go(func(context.Context) { p.leave(who) }) // refused only when the portal closes, and every room with it
}

// expire is Timer100: it ends a participant that is still away.
func (p *Portal) expire(who *participant) {
	_ = p.group.Go(func(context.Context) {
		if who.leaveAway() {
			p.forget(who)
			p.options.Rooms.Leave(context.Background(), who.room, who.id)
		}
	})
}

// leave ends a participant: it leaves its room, and a connection it still has is disconnected.
func (p *Portal) leave(who *participant) {
	who.mu.Lock()
	conn := who.conn
	who.mu.Unlock()
	if !who.leave() {
		return
	}
	p.forget(who)
	p.options.Rooms.Leave(context.Background(), who.room, who.id)
	if conn != nil {
		conn.socket.Disconnect()
	}
}

// emit writes one notification; absent data is an event without arguments.
func (c *connection) emit(event string, data jsonvalue.Value) {
	if !data.Exists() {
		c.socket.Emit(event)
		return
	}
	c.socket.Emit(event, data)
}
