package cascade

import (
	"context"
	"sync"

	"portico/edge/rtc"
	"portico/edge/sfu"
	"portico/shared/conference"
	"portico/shared/link"
	"portico/shared/meshproto"
	"portico/shared/relayproto"
)

// server is another edge's call, by which it pulls.
type server struct {
	cascade *Cascade
	n       *neighbour
	talk    *dialogue

	mu    sync.Mutex // guards flows
	flows map[uint64]*served
}

// served is one track that it pulls. It is the sink of what goes out, and takes what is said of that.
type served struct {
	server *server
	ask    meshproto.Pull
	id     uint64 // of the flow's packets
	target int    // kbit/s, as said last

	// The server's mu guards these.
	way    outgoing
	ended  bool
	output rtc.Output // of what is made
	mix    *mix
}

// outgoing is a tap or an outlet.
type outgoing interface {
	Receive(compound []byte)
	Stats() sfu.SubscriptionStats
	Close()
}

// Serve takes a call of the service pull: see peers.Handler.
func (c *Cascade) Serve(ctx context.Context, from string, call *link.Call, first []byte) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(c.tasks.Context(), cancel)
	defer stop()
	s := &server{cascade: c, n: c.hold(from), talk: newDialogue(call), flows: make(map[uint64]*served)}
	s.n.link.Store(call.Link()) // which is known to live, while one from before may be dead and not yet known to be
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		s.talk.run(ctx, func() {
			s.n.relink(ctx)
			s.tick()
		})
	}()
	defer func() {
		s.talk.close()
		<-writer
		s.close()
		c.release(from)
	}()
	for raw := first; ; {
		m, err := meshproto.DecodePull(raw)
		if err != nil {
			c.log.Warn("an edge says what cannot be", "node", from, "err", err)
			return
		}
		s.hear(&m)
		if s.talk.stopped() {
			c.log.Warn("an edge does not read what it is told", "node", from)
			return
		}
		if raw, err = call.Receive(ctx); err != nil {
			return
		}
	}
}

// hear takes a message. Those that are not for this side mean nothing.
func (s *server) hear(m *meshproto.PullMessage) {
	switch {
	case m.Pull != nil:
		if why, detail := s.pull(m.Pull); why != "" {
			s.talk.post(meshproto.PullMessage{Ended: &meshproto.PullEnd{Flow: m.Pull.Flow, Reason: why, Detail: detail}})
		}
	case m.Leave != nil:
		s.leave(*m.Leave)
	case m.Ceiling != nil:
		s.mu.Lock()
		x := s.flows[m.Ceiling.Flow]
		s.mu.Unlock() // this goroutine alone makes outputs
		if x != nil && x.output != nil {
			x.output.SetCeiling(m.Ceiling.Kbps)
		}
	}
}

// pull begins to send a track; else it tells why not.
func (s *server) pull(ask *meshproto.Pull) (why meshproto.PullReason, detail string) {
	c := s.cascade
	x := &served{server: s, ask: *ask, id: relayproto.RTP(ask.Flow)}
	switch {
	case !s.n.theirs(ask.Flow):
		return meshproto.PullBad, "the flow's number is not for this side to choose"
	case s.n.served.Add(1) > int64(c.options.MaxPulls):
		s.n.served.Add(-1)
		return meshproto.PullFull, "too many tracks"
	case !s.n.enter(ask.Flow, x):
		s.n.served.Add(-1)
		return meshproto.PullBad, "the flow is in use"
	}
	s.mu.Lock()
	s.flows[ask.Flow] = x
	s.mu.Unlock()
	var format conference.Format
	switch {
	case ask.Making != nil:
		format = ask.Making.Format
		why, detail = x.make()
	case ask.Slot:
		format, why, detail = x.listen()
	default:
		format, why, detail = x.tap()
	}
	if why != "" {
		s.leave(ask.Flow)
		return why, detail
	}
	s.mu.Lock()
	ended := x.ended
	s.mu.Unlock()
	if ended { // meanwhile
		s.leave(ask.Flow)
		return meshproto.PullOver, ""
	}
	s.talk.post(meshproto.PullMessage{Pulled: &meshproto.Pulled{Flow: ask.Flow, Format: format}})
	if x.mix != nil {
		s.cascade.post(func() { x.mix.tellMembers(x) })
	}
	return "", ""
}

// tap begins to send a published track.
func (x *served) tap() (format conference.Format, why meshproto.PullReason, detail string) {
	c := x.server.cascade
	if x.ask.Via {
		c.feeds(x.ask.Stream, 1)
	}
	tap, err := c.options.Media.OpenTap(rtc.TapSpec{
		Tracks: []string{x.ask.Track}, Whole: true, Local: !x.ask.Via, Sink: x, SSRC: x.ask.SSRC, Redundant: meshproto.PayloadRedundant,
		PayloadType: func(f conference.Format) uint8 { return relayproto.PayloadType(f.Codec) }, Extensions: extensions,
		Ended: func() { x.over(meshproto.PullOver, "") },
	})
	switch {
	case err == nil:
		x.server.mu.Lock()
		x.way = tap
		x.server.mu.Unlock()
		return tap.Format(), "", ""
	case c.options.Media.Known(x.ask.Track):
		return format, meshproto.PullElsewhere, "it is published on another edge"
	}
	return format, meshproto.PullUnknown, err.Error()
}

// feeds counts those who pull a stream of another edge via this one. Who feeds others pulls from the origin.
func (c *Cascade) feeds(id string, more int) {
	c.mu.Lock()
	before := c.fed[id]
	if c.fed[id] += more; c.fed[id] == 0 {
		delete(c.fed, id)
	}
	after, s := c.fed[id], c.streams[id]
	c.mu.Unlock()
	if s != nil && (before == 0) != (after == 0) {
		c.post(s.look)
	}
}

// forsake lets those go who pull a track via this edge, which cannot get it itself: they may reach its origin. It is called on the Loop.
func (c *Cascade) forsake(stream, track string) {
	c.mu.Lock()
	feeds := c.fed[stream] > 0
	c.mu.Unlock()
	if !feeds {
		return
	}
	for _, n := range *c.neighbours.Load() {
		var list []*served
		n.mu.RLock()
		for _, r := range n.flows {
			if x, ok := r.(*served); ok && x.ask.Via && x.ask.Track == track {
				list = append(list, x)
			}
		}
		n.mu.RUnlock()
		for _, x := range list {
			x.over(meshproto.PullUnable, "the edge that has it cannot be reached")
		}
	}
}

// over ends a track that was being sent. It does not block.
func (x *served) over(why meshproto.PullReason, detail string) {
	s := x.server
	s.mu.Lock()
	before := x.ended
	x.ended = true
	begun := x.way != nil
	s.mu.Unlock()
	if before || !begun { // pull tells it
		return
	}
	s.talk.post(meshproto.PullMessage{Ended: &meshproto.PullEnd{Flow: x.ask.Flow, Reason: why, Detail: detail}})
	s.cascade.post(func() { s.leave(x.ask.Flow) })
}

// leave ends a flow; others are not looked at.
func (s *server) leave(flow uint64) {
	s.mu.Lock()
	x := s.flows[flow]
	delete(s.flows, flow)
	var way outgoing
	var output rtc.Output
	var made *mix
	if x != nil {
		x.ended = true
		way, output, made = x.way, x.output, x.mix
	}
	s.mu.Unlock()
	if x == nil {
		return
	}
	s.n.leave(flow)
	s.n.served.Add(-1)
	if way != nil {
		way.Close()
	}
	if output != nil {
		output.Close()
	}
	if made != nil {
		s.cascade.post(func() { made.unserve(x) })
	}
	if x.ask.Via {
		s.cascade.feeds(x.ask.Stream, -1)
	}
}

func (s *server) close() {
	s.mu.Lock()
	flows := make([]uint64, 0, len(s.flows))
	for flow := range s.flows {
		flows = append(flows, flow)
	}
	s.mu.Unlock()
	for _, flow := range flows {
		s.leave(flow)
	}
}

// tick says what has changed of what is made.
func (s *server) tick() {
	s.mu.Lock()
	var made []*served
	for _, x := range s.flows {
		if x.output != nil && !x.ended {
			made = append(made, x)
		}
	}
	s.mu.Unlock()
	for _, x := range made {
		if kbps := min(x.output.Target(), meshproto.MaxCeiling); kbps != x.target {
			x.target = kbps
			s.talk.post(meshproto.PullMessage{Target: &meshproto.PullRate{Flow: x.ask.Flow, Kbps: kbps}})
		}
	}
}

// WriteRTP implements sfu.Sink.
func (x *served) WriteRTP(packet []byte, _ int) error { return x.server.n.send(x.id, packet) }

// WriteRTCP implements sfu.Sink.
func (x *served) WriteRTCP(compound []byte) error { return x.server.n.send(x.id|1, compound) }

func (x *served) rtp([]byte) {} // nothing of the kind is meant to come

func (x *served) rtcp(compound []byte) {
	x.server.mu.Lock()
	way := x.way
	x.server.mu.Unlock()
	if way != nil {
		way.Receive(compound)
	}
}

// Stat is how one track comes from another edge, or goes there.
type Stat struct {
	Node                string
	Room, Stream, Track string
	Out                 bool // it goes there
	Via                 bool // not from, or to, where it is published
	Flow                uint64
	Packets, Bytes      uint64
	Requested, Resent   uint64  // packets by NACK: by this side, and of it
	Lost                float64 // part of what was sent, as last reported: 0 to 1
}

// Stats tells how all tracks come and go at present.
func (c *Cascade) Stats(ctx context.Context) []Stat {
	var list []Stat
	_ = c.loop.Do(ctx, func() {
		for _, n := range *c.neighbours.Load() {
			for p := range n.pulls {
				x := Stat{Node: n.name, Room: p.ask.Room, Stream: p.ask.Stream, Track: p.ask.Track, Via: p.ask.Via, Flow: p.flow}
				p.owner.count(&x)
				list = append(list, x)
			}
		}
	})
	for _, n := range *c.neighbours.Load() {
		n.mu.RLock()
		var out []*served
		for _, r := range n.flows {
			if x, ok := r.(*served); ok {
				out = append(out, x)
			}
		}
		n.mu.RUnlock()
		for _, x := range out {
			x.server.mu.Lock()
			way := x.way
			x.server.mu.Unlock()
			if way == nil {
				continue
			}
			s := way.Stats()
			list = append(list, Stat{
				Node: n.name, Room: x.ask.Room, Stream: x.ask.Stream, Track: x.ask.Track, Out: true, Via: x.ask.Via, Flow: x.ask.Flow,
				Packets: s.Packets, Bytes: s.Bytes, Resent: s.Resent, Lost: s.Lost,
			})
		}
	}
	return list
}
