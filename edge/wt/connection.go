package wt

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/webtransport-go"

	"portico/shared/token"
)

// Codes with which streams are reset. They are for whoever looks at a trace.
const (
	codeEnded   webtransport.StreamErrorCode = iota + 1 // the session it belongs to has ended
	codeUnknown                                         // it begins with the id of no publication of this client
	codeTimeout                                         // it did not begin in time
)

// Codes with which a client's session is closed.
const (
	codeLeft webtransport.SessionErrorCode = iota + 1
	codeRefused
)

// The words for refused tokens (portal protocol 8.12).
var (
	errInvalidToken   = errors.New("Invalid token.")         //nolint:staticcheck // as the client sees it
	errAuthentication = errors.New("Authentication failed.") //nolint:staticcheck // as the client sees it
)

// farewell is how long a client whose session was closed has to close its connection itself.
const farewell = time.Second

// connection is a client's QUIC connection, and the one WebTransport session on it.
type connection struct {
	server  *Server
	quic    *quic.Conn
	visit   *visit
	session *webtransport.Session // set before any stream is taken

	asked      atomic.Bool   // a session was asked for
	signalling atomic.Bool   // the stream for the token has begun
	admitted   chan struct{} // closed when the token was found good
	transport  *transport    // from then on; guarded by the Server's mu
}

type connectionKey struct{}

// withConnection tells the requests on a QUIC connection which one it is.
func (s *Server) withConnection(ctx context.Context, q *quic.Conn) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return context.WithValue(ctx, connectionKey{}, s.connections[q])
}

// serve serves a QUIC connection until it is closed. One that does not show a token in time is.
func (s *Server) serve(q *quic.Conn) {
	visit, _ := q.Context().Value(visitKey{}).(*visit)
	c := &connection{server: s, quic: q, visit: visit, admitted: make(chan struct{})}
	s.mu.Lock()
	s.connections[q] = c
	s.mu.Unlock()
	overdue := time.AfterFunc(s.config.HandshakeTimeout, func() {
		select {
		case <-c.admitted:
		default:
			s.totals.timedOut.Add(1)
			_ = q.CloseWithError(0, "no token in time")
		}
	})
	_ = s.h3.ServeQUICConn(q) // fails only because the connection or the Server has been closed
	overdue.Stop()
	s.mu.Lock()
	delete(s.connections, q)
	s.mu.Unlock()
	if visit != nil {
		visit.leave()
	}
}

// handle serves the requests of HTTP/3. There is one: for a session.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	c, _ := r.Context().Value(connectionKey{}).(*connection)
	switch {
	case c == nil || r.Method != http.MethodConnect || r.URL.Path != Path:
		w.WriteHeader(http.StatusNotFound)
		return
	case !s.allowed(r):
		s.totals.refusedOrigin.Add(1)
		s.log.Info("data connection from a page that may not", "origin", r.Header.Get("Origin"), "remote", r.RemoteAddr)
		w.WriteHeader(http.StatusForbidden)
		return
	case !c.asked.CompareAndSwap(false, true):
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	session, err := s.h3.Upgrade(w, r)
	if err != nil {
		s.log.Debug("data connection not opened", "error", err, "remote", r.RemoteAddr)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.session = session
	c.run()
}

// run takes the client's streams until the session ends, and then ends what was on it.
func (c *connection) run() {
	s := c.server
	ctx := c.session.Context()
	_ = s.tasks.Go(func(context.Context) { c.refuseOthers(ctx) })
	for {
		stream, err := c.session.AcceptStream(ctx)
		if err != nil {
			break
		}
		if s.tasks.Go(func(context.Context) { c.take(stream) }) != nil {
			break
		}
	}
	s.gone(c)
	select {
	case <-c.quic.Context().Done():
	case <-time.After(farewell):
		_ = c.quic.CloseWithError(0, "")
	}
}

// refuseOthers ends streams of one direction only, which nothing is defined for.
func (c *connection) refuseOthers(ctx context.Context) {
	for {
		stream, err := c.session.AcceptUniStream(ctx)
		if err != nil {
			return
		}
		stream.CancelRead(codeUnknown)
	}
}

// close ends the session, which the client is told.
func (c *connection) close(code webtransport.SessionErrorCode, why string) {
	_ = c.session.CloseWithError(code, why)
}

// take serves one stream of the client.
func (c *connection) take(stream stream) {
	deadline := time.Now().Add(c.server.config.HandshakeTimeout)
	_ = stream.SetReadDeadline(deadline)
	head, err := readID(stream)
	if err != nil {
		refuse(stream, codeTimeout)
		return
	}
	if head == signalling {
		c.authenticate(stream, deadline)
		return
	}
	// It may have overtaken the stream with the token.
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-c.admitted:
		_ = stream.SetReadDeadline(time.Time{})
		c.server.receive(c, head, stream)
	case <-timer.C:
		refuse(stream, codeTimeout)
	case <-c.session.Context().Done():
	}
}

func refuse(stream stream, code webtransport.StreamErrorCode) {
	stream.CancelRead(code)
	stream.CancelWrite(code)
}

// authenticate reads the token and answers it. The stream stays open, and what follows on it is not read.
func (c *connection) authenticate(stream stream, deadline time.Time) {
	s := c.server
	err := errAuthentication
	if c.signalling.CompareAndSwap(false, true) {
		var text string
		if text, err = readToken(stream); err == nil {
			err = s.admit(c, text)
		} else {
			err = errInvalidToken
		}
	}
	if err != nil {
		s.totals.refusedToken.Add(1)
		s.log.Info("data connection refused", "error", err, "remote", c.session.RemoteAddr().String())
		c.close(codeRefused, err.Error())
		return
	}
	if c.visit != nil {
		c.visit.settle()
	}
	_ = stream.SetWriteDeadline(deadline)
	if _, err := stream.Write(signalling[:]); err != nil {
		c.close(codeRefused, errAuthentication.Error())
		return
	}
	close(c.admitted)
}

// admit checks a token, uses it up and makes the connection that of its Transport (portal protocol 4.6).
func (s *Server) admit(c *connection, text string) error {
	given, err := token.DecodeWebTransport(text)
	if err != nil {
		return errInvalidToken
	}
	if !given.Verify(s.config.Key) {
		return errAuthentication
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.transports[given.TransportID]
	if t == nil || t.conn != nil || t.outstanding == "" || t.outstanding != given.TokenID || t.participant != given.ParticipantID ||
		t.room != given.RoomID || s.closed {
		return errAuthentication
	}
	t.outstanding, t.conn, c.transport = "", c, t
	for session := range t.sessions {
		switch x := session.(type) {
		case *subscription:
			s.start(x)
		case *publication:
			if x.resumed {
				s.begun(x)
			}
		}
	}
	s.totals.admitted.Add(1)
	s.log.Info("data connection opened", "participant", t.participant, "transport", t.id, "remote", c.session.RemoteAddr().String())
	return nil
}

// gone ends what was on a connection that is lost, or was closed.
func (s *Server) gone(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := c.transport
	if t == nil || s.transports[t.id] != t {
		return
	}
	s.log.Info("data connection lost", "participant", t.participant, "transport", t.id)
	s.closeTransport(t, ReasonLost)
}

// receive serves a stream of a publication, until it ends.
func (s *Server) receive(c *connection, head id, stream stream) {
	s.mu.Lock()
	p := s.publications[head.String()]
	if p == nil || p.transport != c.transport {
		s.mu.Unlock()
		refuse(stream, codeUnknown)
		return
	}
	in := &inlet{stream: stream, publication: p}
	s.begun(p)
	for t := range p.taps {
		t.join(in)
	}
	s.join(p.source, in)
	head = p.transport.head
	s.mu.Unlock()
	_ = stream.SetWriteDeadline(time.Now().Add(s.config.HandshakeTimeout))
	if _, err := stream.Write(head[:]); err == nil {
		_ = stream.Close()
	} else {
		stream.CancelWrite(codeTimeout)
	}
	s.pump(in)
}

// begun makes a publication ready. mu is held.
func (s *Server) begun(p *publication) {
	if p.ready {
		return
	}
	p.ready = true
	p.timer.Stop()
	s.tell(func() { p.events.SessionReady(p.transport.id, p.id, nil) })
	s.flows(p.source)
}

// opened notes that a subscription has a stream.
func (s *Server) opened(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub.opened || s.subscriptions[sub.id] != sub {
		return
	}
	sub.opened = true
	sub.timer.Stop()
	s.settle(sub)
}

// settle makes a subscription ready that has a stream, once what is published would come. mu is held.
func (s *Server) settle(sub *subscription) {
	if sub.opened && !sub.ready && sub.from.flows() {
		sub.ready = true
		s.tell(func() { sub.events.SessionReady(sub.transport.id, sub.id, nil) })
	}
}

// flows settles what waits for a source. mu is held.
func (s *Server) flows(src *source) {
	for sub := range src.subscriptions {
		s.settle(sub)
	}
}
