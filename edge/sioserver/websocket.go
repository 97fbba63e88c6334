package sioserver

import (
	"context"
	"errors"
	"net/http"
	"time"

	"portico/shared/engineio"
	"portico/shared/wsconn"
)

func (srv *Server) acceptWebSocket(w http.ResponseWriter, r *http.Request) (wsconn.Conn, error) {
	return wsconn.Accept(w, r, wsconn.AcceptOptions{ReadLimit: int64(srv.opts.MaxPayload)})
}

// handshakeWebSocket serves a session that begins on a WebSocket.
func (srv *Server) handshakeWebSocket(w http.ResponseWriter, r *http.Request, rev engineio.Revision) {
	s, why := srv.open(rev, true, newRequest(r))
	if why != nil {
		srv.refuse(w, why)
		return
	}
	conn, err := srv.acceptWebSocket(w, r)
	if err != nil {
		s.shut(ReasonTransportError, atOnce)
		return
	}
	open := s.openPacket()
	s.mu.Lock()
	s.push(open) // fits: it is the first
	s.mu.Unlock()
	if rev == engineio.Revision3 {
		s.connect()
	}
	s.startWriter(conn)
	s.readWebSocket(conn)
}

// serveUpgrade serves a WebSocket that wants to take over a session from polling (portal protocol 1.5).
func (s *session) serveUpgrade(w http.ResponseWriter, r *http.Request) {
	conn, err := s.srv.acceptWebSocket(w, r)
	if err != nil {
		return
	}
	if !s.beginUpgrade(conn) || !s.awaitUpgrade(conn) || !s.completeUpgrade(conn) {
		s.abandonUpgrade(conn)
		conn.Close()
		return
	}
	s.srv.stats.upgraded.Add(1)
	s.startWriter(conn)
	s.readWebSocket(conn)
}

// beginUpgrade notes conn, or reports that the session cannot be upgraded now.
func (s *session) beginUpgrade(conn wsconn.Conn) bool {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stateOpen || s.websocket || s.probe != nil {
		return false
	}
	s.probe, s.upgradeBy = conn, now.Add(s.srv.opts.UpgradeTimeout)
	s.arm(now)
	return true
}

// awaitUpgrade answers probes until the client says that it moves, or reports that something else happened.
func (s *session) awaitUpgrade(conn wsconn.Conn) bool {
	for {
		text, err := conn.ReadText(context.Background()) // ended by endProbe's callers
		if err != nil {
			return false
		}
		p, err := s.rev.DecodePacket(text)
		switch {
		case err == nil && p.Type == engineio.TypeUpgrade:
			return true
		case err != nil || p.Type != engineio.TypePing || string(p.Data) != "probe":
			return false
		}
		s.mu.Lock()
		if s.probe == conn {
			s.probing = true
		}
		s.signal()
		s.mu.Unlock()
		if err := s.write(conn, []byte("3probe")); err != nil {
			return false
		}
	}
}

func (s *session) completeUpgrade(conn wsconn.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == stateClosed || s.probe != conn {
		return false
	}
	s.endProbe()
	s.websocket = true
	s.signal() // a poll that is still held ends
	return true
}

func (s *session) abandonUpgrade(conn wsconn.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.probe == conn {
		s.endProbe()
	}
}

// readWebSocket hands in what arrives until the connection ends. It holds the feed for as long, and gets it when a POST that
// is still being served is through.
func (s *session) readWebSocket(conn wsconn.Conn) {
	select {
	case s.feed <- struct{}{}:
		defer func() { <-s.feed }()
	case <-s.gone:
		return // the writer closes conn
	}
	for {
		text, err := conn.ReadText(context.Background()) // ended by the writer's Close
		if err != nil {
			s.shut(readReason(err), atOnce)
			return
		}
		p, err := s.rev.DecodePacket(text)
		if err != nil {
			s.shut(ReasonParseError, atOnce)
			continue // until the close handshake is through
		}
		s.receive(p)
	}
}

func readReason(err error) string {
	closed := new(wsconn.CloseError)
	switch {
	case errors.As(err, &closed):
		return ReasonTransportClose
	case errors.Is(err, wsconn.ErrTooBig):
		return ReasonTooLong
	case errors.Is(err, wsconn.ErrNotText):
		return ReasonParseError
	}
	return ReasonTransportError
}

// startWriter starts the goroutine that sends what is queued. It closes conn when the session ends.
func (s *session) startWriter(conn wsconn.Conn) {
	s.srv.enter()
	go func() {
		defer s.srv.leave()
		defer conn.Close()
		for {
			packets, ok := s.awaitWrite()
			if !ok {
				return
			}
			for _, p := range packets {
				if err := s.write(conn, p); err != nil {
					s.shut(ReasonTransportError, atOnce)
					return
				}
			}
		}
	}()
}

// awaitWrite waits for packets to be sent over the WebSocket; it reports false when there will be no more.
func (s *session) awaitWrite() ([][]byte, bool) {
	for {
		s.mu.Lock()
		switch {
		case s.state == stateClosed:
			s.mu.Unlock()
			return nil, false
		case len(s.queue) > 0:
			packets := s.takeQueue()
			s.mu.Unlock()
			return packets, true
		case s.state == stateClosing:
			stale := s.finish()
			s.mu.Unlock()
			s.afterFinish(true, stale)
			return nil, false
		}
		s.mu.Unlock()
		<-s.wsWake // finish signals too
	}
}

func (s *session) write(conn wsconn.Conn, packet []byte) error {
	ctx, cancel := context.WithTimeout(s.writing, s.srv.opts.PingTimeout)
	defer cancel()
	return conn.WriteText(ctx, packet)
}
