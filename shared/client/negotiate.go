package client

import (
	"context"
	"errors"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// job is one thing for the negotiator to do: to open a session, to stop the lines of one that has ended, or to restart ICE.
type job struct {
	session   *session
	transport *transport
	lines     []line
	restart   bool
}

// addJob queues a job, on the loop.
func (c *Conference) addJob(j job) {
	c.state.jobs = append(c.state.jobs, j)
	c.wakeNegotiator()
}

func (c *Conference) wakeNegotiator() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// nextJob takes the oldest job, on the loop. While the connection is lost, or may be, there is none: a job that has begun cannot be moved
// to another participation, and some PeerConnections send nothing from an offer that restarts ICE until its answer.
func (c *Conference) nextJob() (j job) {
	if len(c.state.jobs) == 0 || c.state.wire == nil || c.state.probing {
		return j
	}
	j = c.state.jobs[0]
	c.state.jobs = c.state.jobs[1:]
	switch {
	case j.session != nil:
		j.session.working = true
	case j.restart:
		j.transport.restart = false
	}
	return j
}

// negotiator works off the jobs. It alone calls the methods of a Peer, Close apart, so that an offer is answered before the next is made
// (portal protocol 11.8).
func (c *Conference) negotiator(ctx context.Context) {
	for {
		var j job
		err := c.do(ctx, func() error {
			j = c.nextJob()
			return nil
		})
		switch {
		case err != nil:
			return
		case j.session != nil:
			c.negotiate(ctx, j.session)
		case j.restart:
			c.restart(ctx, j.transport)
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
		c.release(ctx, nil, s, nil)
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
		c.release(ctx, t, s, nil)
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
	var tracks []sessionTrack
	if err := c.do(ctx, func() error {
		tracks = s.trackList()
		return nil
	}); err != nil {
		return nil, "", err
	}
	for _, track := range tracks {
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
	var replaced []int
	err = c.do(ctx, func() error {
		s.transport, s.lines = t, lines
		replaced = s.replacedSince(tracks)
		tracks = s.trackList()
		return nil
	})
	for _, i := range replaced {
		_ = lines[i].transceiver.ReplaceTrack(tracks[i].local) // refused only when the connection is closed
	}
	return lines, offer, err
}

// ask asks the portal for the session and makes it known under its id. When the acknowledgement comes too late, the session that came
// about is ended, or the room would keep a stream that sends nothing.
func (c *Conference) ask(ctx context.Context, t *transport, s *session) error {
	mids := make([]string, len(s.lines))
	for i, l := range s.lines {
		mids[i] = l.mid
	}
	transport := ""
	if err := c.do(ctx, func() error {
		switch {
		case s.ended:
			return ErrStopped
		case t.dead:
			return withCause(ErrMedia, errors.New(t.reason))
		}
		transport = t.id
		c.state.opening[s] = true
		return nil
	}); err != nil {
		return err
	}
	answer, err := c.wait(ctx, &request{
		name: s.openRequest(), data: []jsonvalue.Value{s.request(mids, transport)}, opens: true,
		late: func(answer jsonvalue.Value) {
			if ack, ok := portalproto.DecodeSessionAck(answer); ok {
				c.tell(s.endRequest(), portalproto.EncodeID(ack.ID))
			}
		},
	})
	if err != nil {
		_ = c.do(ctx, func() error { c.openedOne(s); return nil })
		return err
	}
	ack, ok := portalproto.DecodeSessionAck(answer)
	return c.do(ctx, func() error { return c.opened(t, s, ack, ok) })
}

// opened takes the acknowledgement, on the loop.
func (c *Conference) opened(t *transport, s *session, ack portalproto.SessionAck, ok bool) error {
	defer c.openedOne(s)
	if t.dead {
		if ok && !s.redo {
			c.tell(s.endRequest(), portalproto.EncodeID(ack.ID))
		}
		return withCause(ErrMedia, errors.New(t.reason))
	}
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
	limited, cancel := c.patience(ctx, c.options.Timeouts.Answer)
	defer cancel()
	var r *request
	if err := c.do(ctx, func() error {
		if t.dead {
			return withCause(ErrMedia, errors.New(t.reason))
		}
		t.offer, t.awaiting = offer, true
		r = c.offerRequest(t)
		return nil
	}); err != nil {
		return err
	}
	t.unsettled = true
	if _, err := c.wait(limited, r); err != nil {
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
	limited, cancel := c.patience(ctx, c.options.Timeouts.Answer)
	defer cancel()
	err := c.await(limited, t)
	if err != nil {
		c.drop(t, ReasonMedia)
	}
	return err
}

// release ends the negotiator's part in a session: from here on the loop sees to its lines, unless the session has ended already. One that
// has to be opened again, since the client joined anew meanwhile, goes back to the queue.
func (c *Conference) release(ctx context.Context, t *transport, s *session, lines []line) {
	stop := false
	_ = c.do(ctx, func() error {
		s.working = false
		switch stop = s.ended; {
		case stop:
		case s.redo:
			s.redo = false
			c.reset(s)
			c.addJob(job{session: s})
		case !s.live:
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

// fail ends a session that did not come about, unless it is to be opened again.
func (c *Conference) fail(s *session, err error) {
	_ = c.loop.Do(context.Background(), func() {
		if !s.ended && !s.redo {
			c.endSession(s, err, s.endReason(err))
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
