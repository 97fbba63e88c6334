package sioserver

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"portico/shared/engineio"
)

const (
	textPayload   = "text/plain; charset=UTF-8"
	binaryPayload = "application/octet-stream"
	noop          = '0' + byte(engineio.TypeNoop)
)

func (srv *Server) handshakePolling(w http.ResponseWriter, r *http.Request, rev engineio.Revision) {
	s, why := srv.open(rev, false, newRequest(r))
	if why != nil {
		srv.refuse(w, why)
		return
	}
	open := s.openPacket()
	if rev == engineio.Revision3 {
		s.connect() // unasked, for the next poll
	}
	if err := s.answerPoll(w, rev.AppendPayload(nil, open)); err != nil {
		s.shut(ReasonTransportError, atOnce)
	}
}

// servePoll serves a GET: it waits until there is something to send.
func (s *session) servePoll(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	overlap := s.polled
	s.polled = true
	s.mu.Unlock()
	if overlap {
		s.shut(ReasonTransportError, atOnce)
		s.srv.refuse(w, refusedRequest)
		return
	}
	control := http.NewResponseController(w) // a poll may last for as long as a heartbeat
	control.SetReadDeadline(time.Time{})
	control.SetWriteDeadline(time.Time{})
	packets, ok := s.awaitPoll(r)
	if !ok {
		s.shut(ReasonTransportClose, atOnce) // the client is gone
		return
	}
	var payload []byte
	for _, p := range packets {
		payload = s.rev.AppendPayload(payload, p)
	}
	if err := s.answerPoll(w, payload); err != nil {
		s.shut(ReasonTransportError, atOnce)
	}
}

// awaitPoll waits for packets to answer the held poll with, and ends the hold. It reports false when the client hung up.
func (s *session) awaitPoll(r *http.Request) ([][]byte, bool) {
	var pause *time.Timer
	var paused <-chan time.Time
	for {
		packets, wait := s.takePoll(time.Now())
		if packets != nil {
			return packets, true
		}
		if wait > 0 && pause == nil {
			pause = time.NewTimer(wait)
			defer pause.Stop()
			paused = pause.C
		}
		select {
		case <-s.pollWake:
		case <-paused:
			pause, paused = nil, nil
		case <-r.Context().Done():
			return nil, false
		}
	}
}

// noopPace is the pause between two noops while the client upgrades: a client that goes on polling does not do so in a spin.
const noopPace = 100 * time.Millisecond

// takePoll is what the held poll has to be answered with now, or nil. wait, when positive, is until it has to ask again.
func (s *session) takePoll(now time.Time) (packets [][]byte, wait time.Duration) {
	s.mu.Lock()
	finished := false
	switch {
	case s.state == stateClosed && !s.byPeer:
		packets = [][]byte{{'0' + byte(engineio.TypeClose)}}
	case s.state == stateClosed, s.websocket:
		packets = [][]byte{{noop}}
	case s.state == stateClosing:
		packets = append(s.takeQueue(), []byte{'0' + byte(engineio.TypeClose)})
		finished = true
	case len(s.queue) > 0:
		packets = s.takeQueue()
	case s.probing:
		if wait = s.lastNoop.Add(noopPace).Sub(now); wait <= 0 {
			packets, s.lastNoop = [][]byte{{noop}}, now
		}
	}
	if packets != nil {
		s.polled = false
	}
	if !finished {
		s.mu.Unlock()
		return packets, wait
	}
	stale := s.finish()
	s.mu.Unlock()
	s.afterFinish(true, stale)
	return packets, 0
}

// answerPoll writes the answer to a GET and sees it off to the client.
func (s *session) answerPoll(w http.ResponseWriter, payload []byte) error {
	control := http.NewResponseController(w)
	control.SetWriteDeadline(time.Now().Add(s.srv.opts.PingTimeout))
	defer control.SetWriteDeadline(time.Time{}) // the HTTP connection goes on to other requests
	if err := writeBody(w, textPayload, payload); err != nil {
		return err
	}
	if err := control.Flush(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// servePost serves a POST: it hands in the packets of its body.
func (s *session) servePost(w http.ResponseWriter, r *http.Request) {
	select {
	case s.feed <- struct{}{}:
		defer func() { <-s.feed }()
	default: // another POST, or a WebSocket that took over
		s.shut(ReasonTransportError, atOnce)
		s.srv.refuse(w, refusedRequest)
		return
	}
	contentType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	binary := contentType == binaryPayload
	if binary && s.rev != engineio.Revision3 {
		s.shut(ReasonTransportError, atOnce)
		s.srv.refuse(w, refusedRequest)
		return
	}
	body, err := s.readBody(w, r)
	if tooLong := new(http.MaxBytesError); errors.As(err, &tooLong) {
		s.srv.stats.refuse("Payload too long")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		s.shut(ReasonTransportError, atOnce)
		s.srv.refuse(w, refusedRequest)
		return
	}
	packets := s.rev.Packets(body)
	if binary {
		packets = engineio.BinaryPackets(body)
	}
	for p, err := range packets {
		if err != nil {
			s.shut(ReasonParseError, atOnce)
			s.srv.refuse(w, refusedRequest)
			return
		}
		s.receive(p)
	}
	s.settle()
	writeBody(w, "text/html", []byte("ok")) // text/plain made old browsers offer it for saving
}

// settleTime is how long a POST is kept for the Handler's sake.
const settleTime = 500 * time.Millisecond

// settle waits a moment for the Handler to have taken what was handed in: the answers that it gives on the spot then wait for
// the client's next poll together, as they do in the reference implementation.
func (s *session) settle() {
	taken := make(chan struct{})
	if !s.inbox.put(job{kind: jobMark, taken: taken}) {
		return
	}
	patience := time.NewTimer(settleTime)
	defer patience.Stop()
	select {
	case <-taken:
	case <-patience.C:
	case <-s.gone:
	}
}

// readBody reads what the client may send at a time, under the deadline that ServeHTTP has set.
func (s *session) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := int64(s.srv.opts.MaxPayload)
	if r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	var body bytes.Buffer
	body.Grow(int(min(max(r.ContentLength, 0)+bytes.MinRead, 64<<10))) // a claim of more than that is not believed
	_, err := io.Copy(&body, http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		http.NewResponseController(w).SetReadDeadline(time.Time{}) // left as it is otherwise: net/http will try to read the rest
	}
	return body.Bytes(), err
}
