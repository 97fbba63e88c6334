package portal

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"portico/edge/room"
	"portico/edge/sioserver"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// state is where a connection stands (2.1).
type state uint8

const (
	initialized state = iota // no participant: before login, or after logout
	connecting               // a login is under way
	connected                // there is a participant
	closed                   // the socket is gone
)

// connection is one Socket.IO socket. Its events come one at a time; a login runs beside them, so that a client can change its
// mind meanwhile.
type connection struct {
	portal   *Portal
	socket   Socket
	log      *slog.Logger
	requests *rate.Limiter

	mu          sync.Mutex // guards what follows; no call leaves under it
	state       state
	participant *participant
	everJoined  bool        // some login on this socket succeeded
	abandoned   bool        // logout came while connecting
	timer       *time.Timer // ends a socket that never logs in
}

// Event handles one event of the client (2.2): unknown ones are ignored and never acknowledged.
func (c *connection) Event(name string, args []jsonvalue.Value, ack sioserver.Ack) {
	var data jsonvalue.Value
	if len(args) > 0 && !args[0].IsNull() {
		data = args[0]
	}
	if ack == nil {
		ack = func(...jsonvalue.Value) {}
	}
	if !c.requests.Allow() {
		c.flooded(ack)
		return
	}
	switch name {
	case portalproto.EventLogin:
		c.login(data, ack)
	case portalproto.EventRelogin:
		c.relogin(data, ack)
	case portalproto.EventLogout:
		c.logout(ack)
	case portalproto.EventRefreshTicket:
		c.refreshTicket(ack)
	case portalproto.EventRefreshWebTransport:
		c.refreshData(ack)
	default:
		if handle, ok := requests[name]; ok {
			c.request(handle, data, ack)
		}
	}
}

// flooded refuses a client that asks more than any client has reason to, and ends it.
func (c *connection) flooded(ack sioserver.Ack) {
	c.log.Warn("client ended for too many requests", "remote", c.socket.RemoteAddr())
	ack(portalproto.AckError(portalproto.ErrTooManyRequests)...)
	c.end()
}

// Closed is the end of the socket: its participant stays for a while if it can be resumed, or leaves.
func (c *connection) Closed(reason string) {
	c.mu.Lock()
	was, p := c.state, c.participant
	c.state, c.participant = closed, nil
	c.timer.Stop()
	c.mu.Unlock()
	c.portal.mu.Lock()
	delete(c.portal.connections, c)
	c.portal.mu.Unlock()
	if was == connected {
		c.lost(p, reason)
	}
}

// lost parts a participant from this connection.
func (c *connection) lost(p *participant, reason string) {
	c.log.Debug("connection lost", "participant", p.id, "reason", reason)
	if !p.away(c) {
		c.portal.forget(p)
		c.portal.options.Rooms.Leave(context.Background(), p.room, p.id)
	}
}

// begin enters "connecting"; false when the connection is in service.
func (c *connection) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != initialized {
		return false
	}
	c.state, c.abandoned = connecting, false
	return true
}

// take makes the connection the participant's; not when the socket has gone, or when the client has thought better of it.
func (c *connection) take(p *participant) (taken, abandoned bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != connecting || c.abandoned {
		return false, c.state == connecting
	}
	c.state, c.participant, c.everJoined = connected, p, true
	c.timer.Stop()
	return true, false
}

// release parts the connection from a participant that has another one now, or is gone; false when it was not the participant's.
func (c *connection) release(p *participant) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.participant != p {
		return false
	}
	c.state, c.participant = initialized, nil
	return true
}

// lingerTime is how long a client may keep the connection of a participant that has moved to another edge.
const lingerTime = 20 * time.Second

// linger parts the connection from a participant that has moved, for the client to close.
func (c *connection) linger(p *participant) {
	if !c.release(p) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer.Stop()
	c.timer = time.AfterFunc(c.portal.linger, c.socket.Disconnect)
}

func (c *connection) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == closed
}

func (c *connection) loginOverdue() {
	c.mu.Lock()
	overdue := c.state == initialized && !c.everJoined
	c.mu.Unlock()
	if overdue {
		c.socket.Disconnect()
	}
}

// end is the server's end of the connection: a participant is told first, since some clients wait for ever otherwise.
func (c *connection) end() {
	c.mu.Lock()
	p := c.participant
	c.mu.Unlock()
	if p == nil {
		c.socket.Disconnect()
		return
	}
	p.Drop()
	c.portal.options.Rooms.Leave(context.Background(), p.room, p.id)
}

// login follows the rows of 2.3. Every failure from row 2 on is acknowledged and then disconnected.
func (c *connection) login(data jsonvalue.Value, ack sioserver.Ack) {
	if !c.begin() {
		ack(portalproto.AckError(portalproto.ErrInService)...)
		return
	}
	l, err := portalproto.DecodeLogin(data)
	if err != nil {
		c.failLogin(err, ack)
		return
	}
	if err := c.portal.group.Go(func(ctx context.Context) { c.join(ctx, l, ack) }); err != nil {
		c.failLogin(portalproto.ErrOverloaded, ack)
	}
}

// failLogin acknowledges a failed login or relogin and disconnects.
func (c *connection) failLogin(err error, ack sioserver.Ack) {
	c.mu.Lock()
	if c.state == connecting {
		c.state = initialized
	}
	c.mu.Unlock()
	c.portal.counts.loginsRefused.Add(1)
	c.log.Info("login refused", "error", err)
	ack(portalproto.AckError(err)...)
	c.socket.Disconnect()
}

// join is the part of a login that waits: for the token's record and for the room.
func (c *connection) join(ctx context.Context, l portalproto.Login, ack sioserver.Ack) {
	ctx, cancel := context.WithTimeout(ctx, c.portal.options.RequestTimeout)
	defer cancel()
	if c.portal.full() {
		c.failLogin(c.portal.redirect(portalproto.ErrOverloaded), ack)
		return
	}
	grant, err := c.portal.options.Admit(ctx, l.Token)
	if err != nil {
		c.failLogin(err, ack)
		return
	}
	p := &participant{
		portal: c.portal, id: c.socket.ID(), room: grant.Room, sdk: l.SDK, conn: c,
		receiver: portalproto.Receiver{Version: l.Protocol, SDK: l.SDK}, mayData: grant.Data,
	}
	p.migrate.Store(l.Migrate)
	data := c.portal.admitData(p) // before the room knows it, so that the room's end of it ends this too
	joined, err := c.portal.options.Rooms.Join(ctx, room.Join{
		Room: grant.Room, Participant: p.id, User: grant.User, Role: grant.Role, Origin: grant.Origin, Member: p,
		TokenID: grant.TokenID, Created: grant.Created, Client: encodeClient(p), Thin: l.Thin,
	})
	if err != nil {
		c.portal.revokeData(p)
		c.failLogin(roomError(err), ack)
		return
	}
	c.finishLogin(p, c.portal.welcome(p, joined, data), ack)
}

// welcome is what a client is told that is in the room now.
func (p *Portal) welcome(who *participant, joined room.Joined, data DataGrant) portalproto.LoginResult {
	return portalproto.LoginResult{
		Participant: joined.Self, RoomID: joined.RoomID, Views: joined.Views, Participants: joined.Participants, Streams: joined.Streams,
		Adapts: joined.Adapts, Count: joined.Count, Thin: joined.Thin, Edges: p.options.Edges(),
		Ticket: p.ticket(who), ICEServers: p.options.ICEServers(who.id),
		WebTransport: data.Token, WebTransportHashes: data.Hashes, WebTransportURL: data.URL,
	}
}

func (p *Portal) full() bool { return p.options.Full != nil && p.options.Full() }

// redirect is a refusal that says where else to try.
func (p *Portal) redirect(refusal *portalproto.Error) error {
	return &portalproto.Redirect{Refusal: refusal, Edges: p.options.Edges()}
}

// finishLogin makes the join the connection's, unless the client has gone or thought better of it (row 14).
func (c *connection) finishLogin(p *participant, result portalproto.LoginResult, ack sioserver.Ack) {
	c.portal.remember(p) // before the socket's end can make it be forgotten
	c.mu.Lock()
	gone, abandoned := c.state == closed, c.abandoned
	if !gone && !abandoned {
		c.state, c.participant, c.everJoined = connected, p, true
		c.timer.Stop()
	}
	c.mu.Unlock()
	if gone || abandoned {
		c.portal.leave(p)
		if !gone {
			c.failLogin(portalproto.ErrEarlyLeft, ack)
		}
		return
	}
	c.portal.counts.logins.Add(1)
	ack(portalproto.AckOK(result.Encode(p.receiver))...)
	p.open()
}

// logout leaves the room; the socket stays (2.4).
func (c *connection) logout(ack sioserver.Ack) {
	c.mu.Lock()
	was, p := c.state, c.participant
	switch was {
	case connecting:
		c.abandoned = true
	case connected:
		c.state, c.participant = initialized, nil
	}
	c.mu.Unlock()
	switch was {
	case connecting:
		ack(portalproto.AckOK(jsonvalue.Value{})...)
	case connected:
		p.part(c)
		c.portal.leave(p)
		ack(portalproto.AckOK(jsonvalue.Value{})...)
	default:
		ack(portalproto.AckError(portalproto.ErrIllegalRequest)...)
	}
}

func (c *connection) refreshTicket(ack sioserver.Ack) {
	c.mu.Lock()
	p := c.participant
	c.mu.Unlock()
	if p == nil {
		ack(portalproto.AckError(portalproto.ErrIllegalRequest)...)
		return
	}
	ticket := c.portal.ticket(p)
	if ticket == "" {
		ack(portalproto.AckError(portalproto.ErrNoReconnection)...)
		return
	}
	ack(portalproto.AckOK(jsonvalue.Of(ticket))...)
}

// roomError keeps a room's refusal and puts a word to everything else.
func roomError(err error) error {
	if e, ok := err.(*portalproto.Error); ok {
		return e
	}
	return portalproto.ErrClusterUnavailable
}
