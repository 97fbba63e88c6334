package sioserver

import (
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"portico/shared/engineio"
	"portico/shared/jsonvalue"
	"portico/shared/socketio"
)

// Socket is one client connected to the namespace "/". All methods may be called from any goroutine, and none of them blocks;
// once it is closed they do nothing.
type Socket struct {
	session *session
	id      string
	cut     atomic.Bool // ended by the server: events that are still in the inbox are dropped
	handler Handler     // dispatch's; nil before Accept and after Closed
}

// ID names the Socket, in 20 characters of [A-Za-z0-9_-]. It is the session's id for clients of Engine.IO 3, and another one,
// which may be shown to others, for those of Engine.IO 4 (portal protocol 1.4).
func (s *Socket) ID() string { return s.id }

// RemoteAddr is the address and port of the nearest hop to the client.
func (s *Socket) RemoteAddr() string { return s.session.request.RemoteAddr }

// Secure says whether the session began over TLS that ended in this process.
func (s *Socket) Secure() bool { return s.session.request.Secure }

// Request tells of the HTTP request that began the session.
func (s *Socket) Request() Request { return s.session.request }

// Emit sends an event. A client whose queue is full because of it is cut.
func (s *Socket) Emit(name string, args ...jsonvalue.Value) { s.Send(Prepare(name, args...)) }

// Message is an event ready to be sent, to any number of Sockets.
type Message struct{ packet []byte }

// Prepare encodes an event once for many Sockets.
func Prepare(name string, args ...jsonvalue.Value) Message {
	return Message{socketio.AppendEvent([]byte{message}, socketio.NoID, name, args)}
}

// Send sends a prepared event; see Emit.
func (s *Socket) Send(m Message) { s.session.send(s, m.packet) }

// message is the first byte of an Engine.IO message packet.
const message = '0' + byte(engineio.TypeMessage)

func (s *Socket) ack(id int64) Ack {
	var answered atomic.Bool
	return func(args ...jsonvalue.Value) {
		if answered.CompareAndSwap(false, true) {
			s.session.send(s, socketio.AppendAck([]byte{message}, id, args))
		}
	}
}

// Disconnect ends the Socket: behind everything sent before, the client gets a disconnect packet, which keeps it from
// connecting again by itself. The session stays open until the client or its heartbeat ends it. Events that the Handler has
// not been given yet are dropped; its Closed follows.
func (s *Socket) Disconnect() {
	session := s.session
	session.mu.Lock()
	ok := true
	if session.state == stateOpen && session.socket == s {
		ok = session.push(socketio.Packet{Type: socketio.Disconnect}.Append([]byte{message}))
		if ok {
			session.endSocket(ReasonServerDisconnect)
		}
	}
	session.mu.Unlock()
	if !ok {
		session.shut(ReasonQueueFull, atOnce)
	}
}

// Close ends the Socket and its session: behind everything sent before, the transport is closed. A client may take that for a
// network fault and connect again. The Handler's Closed follows.
func (s *Socket) Close() {
	s.session.mu.Lock()
	current := s.session.socket == s
	s.session.mu.Unlock()
	if current {
		s.session.shut(ReasonServerClose, afterQueue)
	}
}

// receivePacket takes one Socket.IO packet of size bytes, or reports that the client must not send it now.
func (s *session) receivePacket(p socketio.Packet, size int) bool {
	namespace := p.Namespace
	if s.rev == engineio.Revision3 {
		namespace, _, _ = strings.Cut(namespace, "?") // where protocol 4 puts what protocol 5 has in the content
	}
	if namespace != socketio.Root {
		if p.Type == socketio.Connect {
			s.refuseNamespace(namespace)
		}
		return p.Type == socketio.Connect
	}
	if p.Type == socketio.Connect {
		return s.connect()
	}
	s.mu.Lock()
	socket := s.socket
	if socket != nil && p.Type == socketio.Disconnect {
		s.endSocket(ReasonClientDisconnect)
	}
	s.mu.Unlock()
	if socket == nil || p.Type == socketio.ConnectError {
		return false
	}
	if p.Type == socketio.Event && len(p.Args) > 0 && p.Args[0].Kind() == jsonvalue.String {
		s.inbox.put(job{kind: jobEvent, socket: socket, name: p.Args[0].Text(), args: p.Args[1:], id: p.ID, size: size})
	}
	return true // an ack answers nothing: this server never asks
}

func (s *session) refuseNamespace(namespace string) {
	answer := socketio.Packet{
		Type: socketio.ConnectError, Namespace: namespace,
		Data: jsonvalue.OfObject(jsonvalue.M("message", jsonvalue.Of("Invalid namespace"))),
	}.Append([]byte{message})
	s.mu.Lock()
	ok := s.state != stateOpen || s.push(answer)
	s.mu.Unlock()
	if !ok {
		s.shut(ReasonQueueFull, atOnce)
	}
}

// connect makes the Socket and tells the client, or reports that there is one.
func (s *session) connect() bool {
	socket := &Socket{session: s, id: s.id}
	answer := socketio.Packet{Type: socketio.Connect}
	if s.rev == engineio.Revision4 {
		socket.id = newID()
		answer.Data = jsonvalue.OfObject(jsonvalue.M("sid", jsonvalue.Of(socket.id)))
	}
	s.mu.Lock()
	if s.state != stateOpen || s.socket != nil {
		defer s.mu.Unlock()
		return s.state != stateOpen
	}
	s.socket, s.connectBy = socket, time.Time{}
	s.inbox.putNow(job{kind: jobAccept, socket: socket})
	ok := s.push(answer.Append([]byte{message}))
	s.mu.Unlock()
	if !ok {
		s.shut(ReasonQueueFull, atOnce)
	}
	return true
}

// dispatch is the session's own goroutine: it calls the Handler until the inbox is closed and empty. It stays as long as the
// session, for Shutdown to wait for.
func (s *session) dispatch() {
	defer s.srv.leave()
	for {
		j, ok := s.inbox.take()
		if !ok {
			<-s.gone
			return
		}
		if j.kind == jobMark {
			close(j.taken)
		} else if !s.guarded(func() { j.socket.handle(j) }) {
			s.shut(ReasonHandlerPanic, atOnce)
		}
	}
}

// guarded reports whether fn came back. A fault in a Handler costs its client, not the server.
func (s *session) guarded(fn func()) (ok bool) {
	defer func() {
		if fault := recover(); fault != nil {
			s.srv.opts.Log.Error("handler panicked", "session", s.id, "panic", fault, "stack", string(debug.Stack()))
		}
	}()
	fn()
	return true
}

func (s *Socket) handle(j job) {
	switch j.kind {
	case jobAccept:
		if s.handler = s.session.srv.opts.Accept(s); s.handler == nil {
			s.Disconnect()
		}
	case jobEvent:
		if s.handler == nil || s.cut.Load() {
			return
		}
		var ack Ack
		if j.id != socketio.NoID {
			ack = s.ack(j.id)
		}
		s.handler.Event(j.name, j.args, ack)
	case jobClosed:
		if handler := s.handler; handler != nil {
			s.handler = nil
			handler.Closed(j.name)
		}
	}
}
