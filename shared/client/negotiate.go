package client

import (
	"context"
	"errors"
	"time"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// job is one thing for the negotiator to do: to open a session, or to stop the lines of one that has ended.
type job struct {
	session   *session
	transport *transport
	lines     []line
}

// addJob queues a job, on the loop.
func (c *Conference) addJob(j job) {
	c.state.jobs = append(c.state.jobs, j)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// negotiator works off the jobs. It alone calls the methods of a Peer, Close apart, so that an offer is answered before the next is made
// (portal protocol 11.8).
func (c *Conference) negotiator(ctx context.Context) {
	for {
		var j job
		err := c.do(ctx, func() error {
			if len(c.state.jobs) == 0 {
				return nil
			}
			j = c.state.jobs[0]
			c.state.jobs = c.state.jobs[1:]
			if j.session != nil {
				j.session.working = true
			}
			return nil
		})
		switch {
		case err != nil:
			return
		case j.session != nil:
			c.negotiate(ctx, j.session)
		case j.transport != nil:
			c.stopLines(ctx, j.transport, j.lines)
		default:
			select {
			case <-c.wake:
			case <-ctx.Done():
				return
			}
		}
	}
}

// negotiate opens a session: transceivers, offer, request, and the exchange of offer and answer. A session that fails on the way is ended
// with its error; whatever happens, the PeerConnection is brought back to stable or given up.
func (c *Conference) negotiate(ctx context.Context, s *session) {
	t, err := c.openTransport(ctx)
	if err != nil {
		c.fail(s, err)
		return
	}
	lines, offer, err := c.prepare(ctx, t, s)
	if err == nil {
		err = c.ask(ctx, t, s)
	}
	if err != nil {
		c.fail(s, err)
	}
	switch {
	case err != nil && !c.isOpen(t): // nothing was ever negotiated on it, and the server does not know it
		c.drop(t, ReasonMedia)
		return
	case offer == "":
		c.release(ctx, t, s, lines)
		return
	case err != nil:
		// The offer has become the local description and only an answer makes way for the next. The server answers m-lines that nobody
		// declared as inactive (portal protocol 8.4); they are stopped below.
	}
	if err := c.exchange(ctx, t, offer); err != nil {
		c.fail(s, err)
		c.dropUnused(t)
	}
	c.release(ctx, t, s, lines)
}

// openTransport is the transport that is there, when it is stable or becomes so in time, or a new one.
func (c *Conference) openTransport(ctx context.Context) (*transport, error) {
	var t *transport
	var config PeerConfig
	if err := c.do(ctx, func() error {
		t = c.state.transport
		config = PeerConfig{ICEServers: c.state.iceServers, RelayOnly: c.options.RelayOnly}
		return nil
	}); err != nil {
		return nil, err
	}
	if t != nil && c.settle(ctx, t) == nil {
		return t, nil
	}
	t = newTransport(c)
	peer, err := c.options.Peers.NewPeer(config, t)
	if err != nil {
		return nil, withCause(ErrMedia, err)
	}
	t.peer = peer
	if err := c.do(ctx, func() error {
		c.state.transport = t
		return nil
	}); err != nil {
		_ = peer.Close()
		return nil, err
	}
	return t, nil
}

// prepare adds the session's transceivers and makes the offer. On an error the lines are those that were added.
func (c *Conference) prepare(ctx context.Context, t *transport, s *session) (lines []line, offer string, err error) {
	for _, track := range s.tracks {
		transceiver, err := t.peer.AddTransceiver(track.kind, track.direction, track.local, track.send)
		if err != nil {
			return lines, "", withCause(ErrMedia, err)
		}
		lines = append(lines, line{transceiver: transceiver, kind: track.kind})
	}
	limited, cancel := context.WithTimeoutCause(ctx, c.options.Timeouts.Answer, ErrTimeout)
	defer cancel()
	offer, err = t.peer.Offer(limited, false)
	if err != nil {
		if limited.Err() != nil { // it may yet become the local description
			c.drop(t, ReasonMedia)
		}
		return lines, "", withCause(ErrMedia, err)
	}
	for i := range lines {
		lines[i].mid = lines[i].transceiver.Mid()
	}
	return lines, offer, c.do(ctx, func() error {
		s.transport, s.lines = t, lines
		return nil
	})
}

// ask asks the portal for the session and makes it known under its id.
func (c *Conference) ask(ctx context.Context, t *transport, s *session) error {
	mids := make([]string, len(s.lines))
	for i, l := range s.lines {
		mids[i] = l.mid
	}
	transport := ""
	if err := c.do(ctx, func() error {
		if s.ended {
			return ErrStopped
		}
		transport = t.id
		c.state.opening, c.state.strays = s, nil
		return nil
	}); err != nil {
		return err
	}
	answer, err := c.inTime(ctx, s, s.request(mids, transport))
	if err != nil {
		_ = c.do(ctx, func() error { c.state.opening = nil; return nil })
		return err
	}
	ack, ok := portalproto.DecodeSessionAck(answer)
	return c.do(ctx, func() error { return c.opened(t, s, ack, ok) })
}

// lateAck is how much longer than its caller a publish or subscribe request waits for its acknowledgement.
const lateAck = time.Minute

// inTime sends the request that opens a session. When its acknowledgement comes too late, the session that came about is ended, or the room
// would keep a stream that sends nothing.
func (c *Conference) inTime(ctx context.Context, s *session, data jsonvalue.Value) (jsonvalue.Value, error) {
	type reply struct {
		answer jsonvalue.Value
		err    error
	}
	replies := make(chan reply)
	limited, cancel := context.WithTimeoutCause(ctx, c.options.Timeouts.Request, ErrTimeout)
	defer cancel()
	_ = c.group.Go(func(ctx context.Context) {
		answer, err := c.request(ctx, c.options.Timeouts.Request+lateAck, s.openRequest(), data)
		select {
		case replies <- reply{answer, err}:
		case <-limited.Done():
			if ack, ok := portalproto.DecodeSessionAck(answer); err == nil && ok {
				_ = c.simple(ctx, s.endRequest(), portalproto.EncodeID(ack.ID))
			}
		}
	})
	select {
	case r := <-replies:
		return r.answer, r.err
	case <-limited.Done():
		return jsonvalue.Value{}, context.Cause(limited)
	}
}

// opened takes the acknowledgement, on the loop.
func (c *Conference) opened(t *transport, s *session, ack portalproto.SessionAck, ok bool) error {
	strays := c.state.strays
	c.state.opening, c.state.strays = nil, nil
	if !ok || c.state.byID[ack.ID] != nil || t.id != "" && t.id != ack.Transport {
		if ok && c.state.byID[ack.ID] == nil {
			s.id = ack.ID
			c.tellEnd(s)
			s.id = ""
		}
		return ErrProtocol
	}
	s.id = ack.ID
	if s.ended { // given up meanwhile
		c.tellEnd(s)
		return ErrStopped
	}
	t.id = ack.Transport
	c.state.byID[s.id] = s
	for _, p := range strays {
		c.progress(p)
	}
	return nil
}

func (s *session) openRequest() string {
	if s.publication {
		return portalproto.EventPublish
	}
	return portalproto.EventSubscribe
}

// exchange sends the offer and applies its answer.
func (c *Conference) exchange(ctx context.Context, t *transport, offer string) error {
	limited, cancel := context.WithTimeoutCause(ctx, c.options.Timeouts.Answer, ErrTimeout)
	defer cancel()
	var id string
	if err := c.do(ctx, func() error {
		if t.dead {
			return withCause(ErrMedia, errors.New(t.reason))
		}
		id, t.awaiting = t.id, true
		return nil
	}); err != nil {
		return err
	}
	t.unsettled = true
	data := portalproto.Signaling{Transport: id, Type: portalproto.SignalOffer, SDP: offer}.Encode()
	if _, err := c.request(limited, c.options.Timeouts.Answer, portalproto.EventSOAC, data); err != nil {
		var refused *ServerError
		if errors.As(err, &refused) { // no answer will come
			c.drop(t, refused.Text)
		}
		return err
	}
	return c.await(limited, t)
}

// await waits for the answer to the last offer and applies it.
func (c *Conference) await(ctx context.Context, t *transport) error {
	var answer string
	select {
	case answer = <-t.answers:
	case <-t.gone:
		return ErrMedia
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := t.peer.Answer(ctx, answer); err != nil {
		c.drop(t, ReasonMedia)
		return withCause(ErrMedia, err)
	}
	t.unsettled = false
	return c.do(ctx, func() error { c.settled(t); return nil })
}

// settle makes sure that the transport is stable: an answer that is late gets the time of one answer more, then the transport is given up.
func (c *Conference) settle(ctx context.Context, t *transport) error {
	if !t.unsettled {
		return nil
	}
	limited, cancel := context.WithTimeoutCause(ctx, c.options.Timeouts.Answer, ErrTimeout)
	defer cancel()
	err := c.await(limited, t)
	if err != nil {
		c.drop(t, ReasonMedia)
	}
	return err
}

// release ends the negotiator's part in a session: from here on the loop sees to its lines, unless the session has ended already.
func (c *Conference) release(ctx context.Context, t *transport, s *session, lines []line) {
	stop := false
	_ = c.do(ctx, func() error {
		s.working = false
		if stop = s.ended; !stop && !s.live {
			c.expect(s)
		}
		return nil
	})
	if stop {
		c.stopLines(ctx, t, lines)
	}
}

// stopLines makes the m-lines inactive; the next offer says so.
func (c *Conference) stopLines(ctx context.Context, t *transport, lines []line) {
	if len(lines) == 0 || c.settle(ctx, t) != nil {
		return
	}
	for _, l := range lines { // these fail only when the connection is closed
		_ = l.transceiver.Stop()
	}
}

// fail ends a session that did not come about.
func (c *Conference) fail(s *session, err error) {
	_ = c.loop.Do(context.Background(), func() {
		if !s.ended {
			c.endSession(s, err, ReasonMedia)
			c.tellEnd(s)
		}
	})
}

// drop is giveUp from outside the loop.
func (c *Conference) drop(t *transport, reason string) {
	_ = c.loop.Do(context.Background(), func() { c.giveUp(t, reason, true) })
}

// dropUnused drops a transport that waits for an answer and carries nothing.
func (c *Conference) dropUnused(t *transport) {
	if !t.unsettled {
		return
	}
	_ = c.loop.Do(context.Background(), func() {
		for s := range c.state.sessions {
			if s.transport == t {
				return
			}
		}
		c.giveUp(t, ReasonMedia, true)
	})
}

// isOpen tells whether the server knows the transport.
func (c *Conference) isOpen(t *transport) bool {
	open := false
	_ = c.loop.Do(context.Background(), func() { open = t.id != "" && !t.dead })
	return open
}
