package sioserver

import (
	"context"
	"sync"
	"time"

	"portico/shared/engineio"
	"portico/shared/socketio"
	"portico/shared/wsconn"
)

type state uint8

const (
	stateOpen    state = iota
	stateClosing       // nothing more is taken or received; what waits is still sent
	stateClosed
)

// session is the Engine.IO session of one client.
type session struct {
	srv     *Server
	id      string
	rev     engineio.Revision
	request Request

	feed     chan struct{}     // holds one token while somebody hands in received packets
	decoder  *socketio.Decoder // the token's holder's
	inbox    inbox
	pollWake chan struct{}   // capacity 1: the held poll has something to look at
	wsWake   chan struct{}   // capacity 1: the same for the writer of the WebSocket
	gone     chan struct{}   // closed on stateClosed
	writing  context.Context // ends on stateClosed: writes that block then end
	endWrite context.CancelFunc

	mu         sync.Mutex // guards what follows; nothing is called under it but srv.stats, timer, inbox.putNow
	state      state
	byPeer     bool     // the client sent a close packet
	queue      [][]byte // encoded packets
	queueBytes int
	websocket  bool        // the transport; polling otherwise
	polled     bool        // a poll is held
	probe      wsconn.Conn // opened, not yet taken over
	probing    bool        // probe was answered: polls are ended so that the client can move
	lastNoop   time.Time
	heartbeat  engineio.Heartbeat
	connectBy  time.Time // zero: not waited for
	upgradeBy  time.Time //
	closeBy    time.Time //
	timer      *time.Timer
	armed      time.Time // when timer fires
	socket     *Socket   // connected, or nil
}

func newSession(srv *Server, id string, rev engineio.Revision, overWebSocket bool, request Request) *session {
	s := &session{
		srv: srv, id: id, rev: rev, request: request, websocket: overWebSocket,
		feed:     make(chan struct{}, 1),
		decoder:  socketio.NewDecoder(socketio.Limits{Attachments: -1}), // a Handler could not be given them
		pollWake: make(chan struct{}, 1),
		wsWake:   make(chan struct{}, 1),
		gone:     make(chan struct{}),
	}
	s.inbox.init()
	s.writing, s.endWrite = context.WithCancel(context.Background())
	return s
}

// start sets the clock going, before anybody else knows the session.
func (s *session) start() {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heartbeat = s.rev.ServerHeartbeat(s.srv.opts.PingInterval, s.srv.opts.PingTimeout, now)
	if s.rev == engineio.Revision4 {
		s.connectBy = now.Add(s.srv.opts.ConnectTimeout)
	}
	s.timer = time.AfterFunc(time.Hour, s.onTimer)
	s.arm(now)
}

func (s *session) openPacket() []byte {
	open := engineio.Open{SID: s.id, PingInterval: s.srv.opts.PingInterval, PingTimeout: s.srv.opts.PingTimeout, MaxPayload: s.srv.opts.MaxPayload}
	if !s.overWebSocket() {
		open.Upgrades = []string{"websocket"}
	}
	return open.AppendPacket(nil)
}

func (s *session) overWebSocket() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.websocket
}

func (s *session) closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == stateClosed
}

// arm sets the timer to the earliest of the deadlines. Called with mu.
func (s *session) arm(now time.Time) {
	next := s.heartbeat.Deadline()
	if s.state == stateClosing {
		next = s.closeBy
	} else {
		for _, t := range []time.Time{s.connectBy, s.upgradeBy} {
			if !t.IsZero() && t.Before(next) {
				next = t
			}
		}
	}
	s.armed = next
	s.timer.Reset(next.Sub(now))
}

// onTimer does what is due. Deadlines that moved later since the timer was armed are found here.
func (s *session) onTimer() {
	now := time.Now()
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	s.mu.Lock()
	if s.state == stateClosed {
		s.mu.Unlock()
		return
	}
	reason, how := "", atOnce
	var stale wsconn.Conn
	switch {
	case s.state == stateClosing:
		if due(s.closeBy) {
			reason = ReasonServerClose
		}
	case due(s.connectBy):
		reason, how = ReasonConnectTimeout, afterQueue
	default:
		if due(s.upgradeBy) {
			stale = s.endProbe()
		}
		switch s.heartbeat.Tick(now) {
		case engineio.BeatPing:
			if !s.push([]byte{'0' + byte(engineio.TypePing)}) {
				reason = ReasonQueueFull
			}
		case engineio.BeatLost:
			reason = ReasonPingTimeout
		}
	}
	if reason == "" {
		s.arm(now)
	}
	s.mu.Unlock()
	if stale != nil {
		stale.CloseNow()
	}
	if reason != "" {
		s.shut(reason, how)
	}
}

// endProbe gives up the upgrade under way and returns its connection for closing. Called with mu.
func (s *session) endProbe() wsconn.Conn {
	c := s.probe
	s.probe, s.probing, s.upgradeBy = nil, false, time.Time{}
	return c
}

// push queues an encoded packet, or reports that the queue is full: the caller then has to shut the session. Called with mu.
func (s *session) push(packet []byte) bool {
	limit := s.srv.opts.MaxQueue
	if len(s.queue) >= limit.Packets || len(s.queue) > 0 && s.queueBytes+len(packet) > limit.Bytes {
		return false
	}
	s.queue = append(s.queue, packet)
	s.queueBytes += len(packet)
	s.signal()
	return true
}

// takeQueue empties the queue. Called with mu.
func (s *session) takeQueue() [][]byte {
	packets := s.queue
	s.srv.stats.packetsOut.Add(uint64(len(packets)))
	s.srv.stats.bytesOut.Add(uint64(s.queueBytes))
	s.queue, s.queueBytes = nil, 0
	return packets
}

// signal wakes whoever sends.
func (s *session) signal() {
	select {
	case s.pollWake <- struct{}{}:
	default:
	}
	select {
	case s.wsWake <- struct{}{}:
	default:
	}
}

// send queues a packet of socket, if that is still connected.
func (s *session) send(socket *Socket, packet []byte) {
	s.mu.Lock()
	ok := true
	if s.state == stateOpen && s.socket == socket {
		ok = s.push(packet)
	}
	s.mu.Unlock()
	if !ok {
		s.shut(ReasonQueueFull, atOnce)
	}
}

// closing says what becomes of the packets that wait when a session is shut.
type closing uint8

const (
	afterQueue closing = iota // they are sent first
	atOnce                    // they are dropped
)

// shut ends the session. The Handler is told at once; the transport follows as how says.
func (s *session) shut(reason string, how closing) {
	s.mu.Lock()
	if s.state == stateClosed || s.state == stateClosing && how == afterQueue {
		s.mu.Unlock()
		return
	}
	if s.state == stateOpen {
		s.srv.stats.close(reason)
		s.srv.opts.Log.Debug("session closed", "session", s.id, "reason", reason)
		s.endSocket(reason)
		s.inbox.close()
	}
	var stale wsconn.Conn
	if how == afterQueue {
		now := time.Now()
		s.state, s.closeBy = stateClosing, now.Add(s.srv.opts.CloseTimeout)
		s.arm(now)
	} else {
		stale = s.finish()
	}
	s.signal()
	s.mu.Unlock()
	s.afterFinish(how == atOnce, stale)
}

// finish enters stateClosed and returns a connection to be closed. Called with mu, and followed by afterFinish without.
func (s *session) finish() wsconn.Conn {
	s.state = stateClosed
	s.queue, s.queueBytes = nil, 0
	s.timer.Stop()
	s.endWrite()
	close(s.gone)
	s.signal()
	return s.endProbe()
}

func (s *session) afterFinish(finished bool, stale wsconn.Conn) {
	if finished {
		s.srv.remove(s)
	}
	if stale != nil {
		stale.CloseNow()
	}
}

// endSocket ends the connected Socket, if there is one. Called with mu.
func (s *session) endSocket(reason string) {
	socket := s.socket
	if socket == nil {
		return
	}
	s.socket = nil
	switch reason {
	case ReasonServerDisconnect, ReasonServerClose, ReasonShutdown, ReasonHandlerPanic:
		socket.cut.Store(true)
	}
	s.inbox.putNow(job{kind: jobClosed, socket: socket, name: reason})
}

// receive takes one packet of the client. Only the holder of the feed may call it. It waits while the inbox is full.
func (s *session) receive(p engineio.Packet) {
	s.srv.stats.packetsIn.Add(1)
	s.srv.stats.bytesIn.Add(uint64(len(p.Data) + 1))
	now := time.Now()
	s.mu.Lock()
	if s.state != stateOpen {
		s.mu.Unlock()
		return
	}
	ok := true
	beat, err := s.heartbeat.Received(p.Type, now)
	if beat == engineio.BeatPong {
		ok = s.push([]byte{'0' + byte(engineio.TypePong)})
	}
	if s.heartbeat.Deadline().Before(s.armed) {
		s.arm(now)
	}
	s.byPeer = p.Type == engineio.TypeClose
	s.mu.Unlock()
	switch {
	case err != nil:
		s.shut(ReasonTransportError, atOnce)
	case !ok:
		s.shut(ReasonQueueFull, atOnce)
	case p.Type == engineio.TypeClose:
		s.shut(ReasonTransportClose, atOnce)
	case p.Type == engineio.TypeMessage:
		s.receiveMessage(p)
	}
}

func (s *session) receiveMessage(p engineio.Packet) {
	take := s.decoder.Text
	if p.Binary {
		take = s.decoder.Binary
	}
	packet, complete, err := take(p.Data)
	if err != nil {
		s.srv.opts.Log.Debug("client sent a faulty packet", "session", s.id, "error", err)
		s.shut(ReasonParseError, atOnce)
		return
	}
	if complete && !s.receivePacket(packet, len(p.Data)) {
		s.shut(ReasonServerClose, afterQueue)
	}
}
