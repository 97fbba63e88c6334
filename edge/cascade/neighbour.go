package cascade

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"portico/shared/link"
	"portico/shared/meshproto"
	"portico/shared/relayproto"
)

// neighbour is another edge, which this one pulls from, or is pulled from by.
type neighbour struct {
	cascade *Cascade
	name    string
	lower   bool // this edge's name is the lower one: its flows have even numbers
	wake    chan struct{}
	link    atomic.Pointer[link.Link] // that packets are sent by
	served  atomic.Int64              // tracks that it pulls

	taking           sync.Mutex    // held while a receiver takes a packet
	unrouted, unsent atomic.Uint64 // packets that came for nobody, and that no link took

	mu    sync.RWMutex // guards flows
	flows map[uint64]receiver

	// The Loop owns the fields below.
	pulls map[*pull]bool
	asked map[uint64]*pull // by flow
	keeps bool             // a goroutine keeps the call
	talk  *dialogue        // nil while there is no call
	life  int              // counts the calls
	last  uint64           // number of the last flow
	idle  time.Time        // since when nothing is pulled
}

// receiver takes what comes of a flow; the packets are valid during the call. One goroutine at a time calls it.
type receiver interface {
	rtp(packet []byte)
	rtcp(compound []byte)
}

// pull is a track that another edge is asked for. The Loop owns it.
type pull struct {
	n     *neighbour
	owner puller
	ask   meshproto.Pull // without flow and SSRC
	flow  uint64         // of the present attempt; 0: none
}

// puller is who wants it. The Loop calls it.
type puller interface {
	// begin is an attempt: what takes the packets, which are to have that SSRC; nil: nobody wants them any more.
	begin(p *pull, ssrc uint32) receiver
	// said brings a message about it that is none of its end.
	said(p *pull, m *meshproto.PullMessage)
	// ended says that nothing comes: refused, over, or the other edge cannot be reached. lost: its call has ended, and it is asked for
	// again with the next.
	ended(p *pull, why meshproto.PullReason, detail string)
	// tick comes once a second.
	tick(p *pull)
	// count says how it comes.
	count(x *Stat)
}

// unreachable is the reason why a track does not come that its edge does not tell.
const unreachable meshproto.PullReason = "unreachable"

func newNeighbour(c *Cascade, name string) *neighbour {
	n := &neighbour{
		cascade: c, name: name, lower: c.self < name, wake: make(chan struct{}, 1), flows: make(map[uint64]receiver),
		pulls: make(map[*pull]bool), asked: make(map[uint64]*pull), last: 2 * (1 + uint64(rand.Uint32N(1<<20))),
	}
	if !n.lower {
		n.last++
	}
	return n
}

// theirs tells whether the neighbour may choose that number for a flow.
func (n *neighbour) theirs(flow uint64) bool { return flow%2 == 1 == n.lower }

func (n *neighbour) kick() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// enter gives a flow its receiver; false when it has one.
func (n *neighbour) enter(flow uint64, r receiver) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.flows[flow] != nil {
		return false
	}
	n.flows[flow] = r
	return true
}

// leave ends a flow. A packet that is being taken at this moment may still come.
func (n *neighbour) leave(flow uint64) {
	n.mu.Lock()
	delete(n.flows, flow)
	n.mu.Unlock()
}

// send sends a packet of a flow.
func (n *neighbour) send(id uint64, packet []byte) error {
	l := n.link.Load()
	if l == nil {
		n.unsent.Add(1)
		return link.ErrClosed
	}
	err := l.Send(id, packet)
	if err != nil {
		n.unsent.Add(1)
	}
	return err
}

// relink looks for the link to send by, if there is none that lives.
func (n *neighbour) relink(ctx context.Context) {
	if l := n.link.Load(); l != nil && l.Err() == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	if l, err := n.cascade.options.Links.Link(ctx, n.name); err == nil {
		n.link.Store(l)
	}
}

// add asks for a track, on the Loop.
func (n *neighbour) add(p *pull) {
	n.pulls[p] = true
	if n.talk != nil {
		if m, ok := n.prepare(p); ok {
			n.talk.post(m)
		}
		return
	}
	n.keep()
}

// keep has a call to the neighbour kept as long as something is pulled, on the Loop.
func (n *neighbour) keep() {
	if !n.keeps {
		n.keeps = n.cascade.tasks.Go(n.run) == nil
	}
}

// prepare begins an attempt, on the Loop.
func (n *neighbour) prepare(p *pull) (m meshproto.PullMessage, ok bool) {
	n.last += 2
	p.flow = n.last
	ssrc := 1 + rand.Uint32N(1<<32-2)
	r := p.owner.begin(p, ssrc)
	if r == nil {
		p.flow = 0
		delete(n.pulls, p)
		return m, false
	}
	n.enter(p.flow, r)
	n.asked[p.flow] = p
	ask := p.ask
	ask.Flow, ask.SSRC = p.flow, ssrc
	return meshproto.PullMessage{Pull: &ask}, true
}

// undo ends an attempt, on the Loop.
func (n *neighbour) undo(p *pull) {
	if p.flow != 0 {
		n.leave(p.flow)
		delete(n.asked, p.flow)
		p.flow = 0
	}
}

// drop lets go of a track, on the Loop.
func (n *neighbour) drop(p *pull) {
	if !n.pulls[p] {
		return
	}
	delete(n.pulls, p)
	if p.flow != 0 && n.talk != nil {
		flow := p.flow
		n.talk.post(meshproto.PullMessage{Leave: &flow})
	}
	n.undo(p)
	if len(n.pulls) == 0 {
		n.idle = time.Now()
	}
}

// run keeps the call.
func (n *neighbour) run(ctx context.Context) {
	pause := time.Duration(0)
	for ctx.Err() == nil {
		var first *meshproto.PullMessage
		_ = n.cascade.loop.Do(ctx, func() { first = n.first() })
		if first == nil {
			return
		}
		began := time.Now()
		err := n.converse(ctx, *first)
		if time.Since(began) > time.Second {
			pause = 0
		}
		n.cascade.log.Debug("pulling from an edge has ended", "node", n.name, "err", err)
		if pause > 0 {
			select {
			case <-ctx.Done():
			case <-n.wake:
			case <-time.After(pause):
			}
		}
		pause = min(max(2*pause, leastPause), mostPause)
	}
}

// first is the message with which a call begins, nil when nothing is pulled any more. It is called on the Loop.
func (n *neighbour) first() *meshproto.PullMessage {
	for p := range n.pulls {
		if m, ok := n.prepare(p); ok {
			return &m
		}
	}
	n.keeps = false
	n.cascade.post(n.cascade.prune)
	return nil
}

// converse has one call.
func (n *neighbour) converse(ctx context.Context, first meshproto.PullMessage) error {
	c := n.cascade
	raw, err := meshproto.EncodePull(first)
	var call *link.Call
	if err == nil {
		short, cancel := context.WithTimeout(ctx, openTime)
		call, err = c.options.Links.Open(short, n.name, meshproto.ServicePull, raw)
		cancel()
	}
	if err != nil {
		_ = c.loop.Do(ctx, func() { n.fail(unreachable, err.Error()) })
		return err
	}
	d := newDialogue(call)
	n.link.Store(call.Link())
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		d.run(ctx, func() {
			n.relink(ctx)
			c.post(n.tick)
		})
	}()
	defer func() {
		d.close()
		<-writer
		_ = c.loop.Do(context.WithoutCancel(ctx), n.hangUp)
	}()
	if err := c.loop.Do(ctx, func() { n.begin(d) }); err != nil {
		return err
	}
	for {
		raw, err := call.Receive(ctx)
		if err != nil {
			return err
		}
		m, err := meshproto.DecodePull(raw)
		if err != nil {
			c.log.Warn("an edge says what cannot be", "node", n.name, "err", err)
			return err
		}
		if err := c.loop.Do(ctx, func() { n.hear(&m) }); err != nil {
			return err
		}
	}
}

// begin takes a call into use, on the Loop.
func (n *neighbour) begin(d *dialogue) {
	n.talk = d
	for p := range n.pulls {
		if p.flow != 0 { // the first one
			continue
		}
		if m, ok := n.prepare(p); ok {
			d.post(m)
		}
	}
}

// hangUp takes note that a call has ended, on the Loop. What was pulled is asked for again with the next.
func (n *neighbour) hangUp() {
	n.talk = nil
	n.life++
	for p := range n.pulls {
		n.undo(p)
	}
}

// fail tells all who wait that there is no call, on the Loop.
func (n *neighbour) fail(why meshproto.PullReason, detail string) {
	n.life++
	var list []*pull
	for p := range n.pulls {
		n.undo(p)
		list = append(list, p)
	}
	for _, p := range list {
		p.owner.ended(p, why, detail)
	}
}

// hear takes a message, on the Loop.
func (n *neighbour) hear(m *meshproto.PullMessage) {
	var flow uint64
	switch {
	case m.Pulled != nil:
		flow = m.Pulled.Flow
	case m.Ended != nil:
		flow = m.Ended.Flow
	case m.Target != nil:
		flow = m.Target.Flow
	case m.Trouble != nil:
		flow = m.Trouble.Flow
	}
	if m.Members != nil {
		for p := range n.pulls {
			if p.ask.Stream == m.Members.Stream && p.ask.Making != nil {
				p.owner.said(p, m)
				return // it tells the others
			}
		}
		return
	}
	p := n.asked[flow]
	switch {
	case p == nil: // it was let go meanwhile
	case m.Ended != nil:
		n.undo(p)
		delete(n.pulls, p)
		p.owner.ended(p, m.Ended.Reason, m.Ended.Detail)
	default:
		p.owner.said(p, m)
	}
}

// tick looks after what is pulled, on the Loop.
func (n *neighbour) tick() {
	for p := range n.pulls {
		if p.flow != 0 {
			p.owner.tick(p)
		}
	}
	if len(n.pulls) == 0 && n.talk != nil && time.Since(n.idle) > idleTime {
		n.talk.stop()
	}
}

// control sends RTCP about a flow that is pulled.
func (n *neighbour) control(flow uint64, compound []byte) {
	_ = n.send(relayproto.RTCP(flow), compound)
} // asked for again later

// dialogue is a call whose messages wait for the other side without anybody else waiting.
type dialogue struct {
	call *link.Call
	wake chan struct{}
	end  chan struct{}
	once sync.Once

	mu    sync.Mutex // guards queue
	queue []meshproto.PullMessage
}

// maxQueue bounds the messages that wait for a peer that does not read.
const maxQueue = 32 << 10

func newDialogue(call *link.Call) *dialogue {
	return &dialogue{call: call, wake: make(chan struct{}, 1), end: make(chan struct{})}
}

// post sends a message by and by. It does not block. When too much waits, the call is given up.
func (d *dialogue) post(m meshproto.PullMessage) {
	d.mu.Lock()
	full := len(d.queue) >= maxQueue
	if !full {
		d.queue = append(d.queue, m)
	}
	d.mu.Unlock()
	if full {
		d.stop()
		return
	}
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run sends what is posted, until the call ends, and calls tick once a second.
func (d *dialogue) run(ctx context.Context, tick func()) {
	defer d.call.Close()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.end:
			return
		case <-d.call.Done():
			return
		case <-ticker.C:
			tick()
		case <-d.wake:
		}
		d.mu.Lock()
		queue := d.queue
		d.queue = nil
		d.mu.Unlock()
		for i := range queue {
			raw, err := meshproto.EncodePull(queue[i])
			if err == nil && d.call.Send(raw) != nil {
				return
			}
		}
	}
}

// stop lets run return, and the call end with it. It does not wait.
func (d *dialogue) stop() { d.once.Do(func() { close(d.end) }) }

// stopped tells whether it was called.
func (d *dialogue) stopped() bool {
	select {
	case <-d.end:
		return true
	default:
		return false
	}
}

// close ends the call, also while run waits for the other side.
func (d *dialogue) close() {
	d.stop()
	d.call.Close()
}
