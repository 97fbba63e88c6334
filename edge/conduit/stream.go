package conduit

import (
	"context"
	"errors"
	"io"
	"time"

	"portico/edge/wt"
	"portico/shared/link"
	"portico/shared/meshproto"
)

// stream is a publication of another edge. The Conduit's mu guards it.
type stream struct {
	conduit  *Conduit
	room, id string
	edge     string // where it is published
	remote   *wt.Remote
	wanted   bool
	pull     *pull       // nil: none, or a pause is made
	failures int         // pulls since one that lasted
	again    *time.Timer // to pull it again; nil: none
	patience *time.Timer // to let subscriptions be ready; nil: none
}

// Remote makes a publication of another edge known, or that another edge has it now.
func (c *Conduit) Remote(room, id, edge string) {
	if edge == c.self {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	s := c.streams[id]
	if s == nil {
		s = &stream{conduit: c, room: room, id: id}
		var err error
		s.remote, err = c.options.Data.OpenRemote(wt.RemoteSpec{Session: id, Wanted: func(on bool) { c.wanted(s, on) }})
		if err != nil {
			c.log.Warn("data of another edge cannot be had", "room", room, "stream", id, "node", edge, "err", err)
			return
		}
		c.streams[id] = s
	}
	if s.edge != edge {
		s.edge, s.failures = edge, 0
		s.look()
	}
}

// RemoteEnded forgets a publication of another edge: it is no more, or it is here now.
func (c *Conduit) RemoteEnded(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[id]; s != nil {
		delete(c.streams, id)
		s.end()
	}
}

// end lets go of a stream that is forgotten. mu is held.
func (s *stream) end() {
	s.wanted = false
	s.rest()
	s.leave()
	s.remote.Close()
}

// wanted takes wt's word that somebody has a use for a stream, or nobody any more.
func (c *Conduit) wanted(s *stream, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[s.id] != s || s.wanted == on {
		return
	}
	s.wanted, s.failures = on, 0
	if on {
		s.patience = time.AfterFunc(readyTime, s.remote.Ready)
		s.look()
		return
	}
	s.rest()
	if s.pull != nil {
		s.pull.cancel()
		s.pull = nil
	}
}

// rest stops the timers. mu is held.
func (s *stream) rest() {
	for _, t := range []*time.Timer{s.again, s.patience} {
		if t != nil {
			t.Stop()
		}
	}
	s.again, s.patience = nil, nil
}

// leave lets a pull go on for what is under way. mu is held.
func (s *stream) leave() {
	if s.pull != nil {
		time.AfterFunc(moveTime, s.pull.cancel)
		s.pull = nil
	}
}

// look has a stream come from the edge that has it, if it is wanted and does not. mu is held.
func (s *stream) look() {
	c := s.conduit
	if !s.wanted || c.closed || s.pull != nil && s.pull.edge == s.edge {
		return
	}
	s.leave()
	if s.again != nil {
		s.again.Stop()
		s.again = nil
	}
	p := &pull{stream: s, edge: s.edge, remote: s.remote}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(c.tasks.Context())
	if c.tasks.Go(func(context.Context) { p.run(ctx) }) != nil {
		p.cancel()
		return
	}
	s.pull = p
}

// begun takes note that a pull comes.
func (s *stream) begun(p *pull) {
	c := s.conduit
	c.totals.pulled.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.pull == p {
		s.remote.Ready()
		if s.patience != nil {
			s.patience.Stop()
			s.patience = nil
		}
	}
}

// ended takes note that a pull has ended: it begins again after a while, if it is still wanted then.
func (s *stream) ended(p *pull, why error, lasted time.Duration) {
	c := s.conduit
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log.Debug("data of another edge does not come any more", "stream", s.id, "node", p.edge, "err", why)
	if s.pull != p {
		return
	}
	s.pull = nil
	if errors.Is(why, errSlow) {
		c.log.Info("subscriptions to data of another edge ended: the link does not keep up", "stream", s.id, "node", p.edge)
		s.remote.Fail(wt.ReasonSlow)
	}
	if lasted > mostPause {
		s.failures = 0
	}
	pause := min(leastPause<<min(s.failures, 8), mostPause)
	s.failures++
	var timer *time.Timer
	timer = time.AfterFunc(pause, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if s.again == timer {
			s.again = nil
			s.look()
		}
	})
	s.again = timer
}

// Why a pull ends.
var (
	errSlow    = errors.New("the link does not keep up")
	errEnded   = errors.New("the publication has ended there")
	errUnknown = errors.New("it is not there")
	errFull    = errors.New("that edge is asked for too much")
	errUnasked = errors.New("it says what cannot be")
)

// pull is one attempt to have a stream come from an edge.
type pull struct {
	stream *stream
	edge   string
	remote *wt.Remote
	cancel context.CancelFunc
	inlets map[uint32]*wt.Inlet
	last   uint32 // number of a stream
	comes  bool
}

// run is the pull's goroutine.
func (p *pull) run(ctx context.Context) {
	defer p.cancel()
	start := time.Now()
	p.inlets = make(map[uint32]*wt.Inlet)
	err := p.converse(ctx)
	for _, in := range p.inlets {
		if errors.Is(err, errStalled) || errors.Is(err, errSlow) {
			in.Reset(codeLost)
		} else {
			in.End()
		}
	}
	p.stream.ended(p, err, time.Since(start))
}

// codeLost is with what streams are reset that lack something. It is for whoever looks at a trace.
const codeLost = 100

// converse has the call, until it ends.
func (p *pull) converse(ctx context.Context) error {
	c := p.stream.conduit
	first, err := meshproto.EncodeDataAsk(meshproto.DataAsk{Room: p.stream.room, Stream: p.stream.id})
	if err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, openTime)
	call, err := c.options.Links.Open(short, p.edge, meshproto.ServiceData, first)
	cancel()
	if err != nil {
		return err
	}
	defer call.Close()
	for {
		raw, err := call.Receive(ctx)
		if err != nil {
			return brokenBy(ctx, call, err)
		}
		m, err := meshproto.DecodeData(raw)
		if err == nil {
			err = p.hear(m)
		}
		if errors.Is(err, meshproto.ErrMessage) || errors.Is(err, errUnasked) {
			c.options.Links.Cut(p.edge, err)
		}
		if err != nil {
			return err
		}
	}
}

// errStalled says that a call was given up while its link stands: something that was sent is lost.
var errStalled = errors.New("the call has broken off")

// linkTime is how long after its calls a link may be found to be dead.
const linkTime = 100 * time.Millisecond

// brokenBy tells why nothing comes by a call any more: the other side has closed it, or given it up, or there is no link.
func brokenBy(ctx context.Context, call *link.Call, err error) error {
	if errors.Is(err, io.EOF) || ctx.Err() != nil {
		return err
	}
	wait := time.NewTimer(linkTime)
	defer wait.Stop()
	select {
	case <-call.Link().Done():
		return err
	case <-ctx.Done():
		return err
	case <-wait.C:
		return errStalled
	}
}

// hear takes a message.
func (p *pull) hear(m meshproto.DataMessage) error {
	c := p.stream.conduit
	if m.Kind == meshproto.DataOver {
		return [...]error{
			meshproto.DataEnded: errEnded, meshproto.DataUnknown: errUnknown, meshproto.DataSlow: errSlow, meshproto.DataFull: errFull,
		}[m.Reason]
	}
	if p.comes == (m.Kind == meshproto.DataFromHere) {
		return errUnasked
	}
	switch m.Kind {
	case meshproto.DataFromHere:
		p.comes = true
		p.stream.begun(p)
		return nil
	case meshproto.DataBegin:
		if m.Stream <= p.last {
			return errUnasked
		}
		p.last = m.Stream
		in, err := p.remote.Begin()
		if err == nil {
			p.inlets[m.Stream] = in
		}
		return err
	}
	in := p.inlets[m.Stream]
	if in == nil {
		return errUnasked
	}
	switch m.Kind {
	case meshproto.DataBytes:
		c.totals.bytesIn.Add(uint64(len(m.Bytes)))
		in.Write(m.Bytes)
		return nil
	case meshproto.DataEnd:
		in.End()
	case meshproto.DataReset:
		in.Reset(m.Code)
	}
	delete(p.inlets, m.Stream)
	return nil
}
