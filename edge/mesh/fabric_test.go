package mesh

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/shared/placement"
	"portico/shared/roster"
)

// fabric is a network in memory, for the time of package synctest.
type fabric struct {
	t     testing.TB
	delay time.Duration // one way
	dead  time.Duration // of silence until a call is lost

	mu    sync.Mutex // guards what follows
	nodes map[string]*fakeNode
	cut   map[[2]string]bool
	calls map[*fakeCall]bool
	tasks sync.WaitGroup

	bytes atomic.Int64 // that were sent
}

type fakeNode struct {
	fabric *fabric
	name   string
	mesh   *Mesh
	ctx    context.Context
	stop   context.CancelFunc
	up     bool
	cuts   int  // of peers
	bears  bool // that is what is to be
}

var errFabric = errors.New("fabric: no way there")

func newFabric(t testing.TB, rtt time.Duration) *fabric {
	f := &fabric{
		t: t, delay: rtt / 2, dead: time.Second, nodes: map[string]*fakeNode{}, cut: map[[2]string]bool{}, calls: map[*fakeCall]bool{},
	}
	t.Cleanup(func() {
		for _, n := range f.nodes {
			n.mesh.Close()
			n.stop()
		}
		f.tasks.Wait()
	})
	return f
}

// start starts a node; views are told by views.
func (f *fabric) start(name string, boot uint64, o Options) *fakeNode {
	n := &fakeNode{fabric: f, name: name, up: true}
	n.ctx, n.stop = context.WithCancel(context.Background())
	o.Self, o.network = placement.Name{ID: name, Boot: boot}, n
	n.mesh = New(o)
	f.mu.Lock()
	f.nodes[name] = n
	f.mu.Unlock()
	return n
}

func (f *fabric) joined(a, b *fakeNode) bool {
	return a.up && b.up && !f.cut[[2]string{a.name, b.name}]
}

// views tells all nodes whom they can see.
func (f *fabric) views() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.nodes {
		var list []placement.Edge
		for _, other := range f.nodes {
			if n == other || f.joined(n, other) {
				list = append(list, placement.Edge{ID: other.name, Boot: other.mesh.options.Self.Boot, Weight: 1, Draining: other.mesh.drain})
			}
		}
		slices.SortFunc(list, func(a, b placement.Edge) int { return len(a.ID) - len(b.ID) })
		if n.up {
			n.mesh.View(list)
		}
	}
}

// sever has both lose what they had with each other.
func (f *fabric) sever(a, b *fakeNode) {
	f.mu.Lock()
	var gone []*fakeCall
	for c := range f.calls {
		if c.from == a && c.to == b || c.from == b && c.to == a {
			gone = append(gone, c)
		}
	}
	for _, c := range gone {
		c.silent = true
	}
	f.mu.Unlock()
	f.tasks.Go(func() {
		time.Sleep(f.dead)
		for _, c := range gone {
			c.end(errFabric)
		}
		f.mu.Lock()
		joined := f.joined(a, b)
		f.mu.Unlock()
		if !joined && a.up {
			a.mesh.Changed(b.name, false)
		}
		if !joined && b.up {
			b.mesh.Changed(a.name, false)
		}
	})
}

func (f *fabric) split(a, b *fakeNode, on bool) {
	f.mu.Lock()
	f.cut[[2]string{a.name, b.name}], f.cut[[2]string{b.name, a.name}] = on, on
	f.mu.Unlock()
	if on {
		f.sever(a, b)
		return
	}
	a.mesh.Changed(b.name, true)
	b.mesh.Changed(a.name, true)
}

// kill ends a node as kill -9 does.
func (f *fabric) kill(n *fakeNode) {
	f.mu.Lock()
	n.up = false
	others := make([]*fakeNode, 0, len(f.nodes))
	for _, other := range f.nodes {
		if other != n {
			others = append(others, other)
		}
	}
	f.mu.Unlock()
	for _, other := range others {
		f.sever(n, other)
	}
}

func (n *fakeNode) Self() string { return n.name }
func (n *fakeNode) Cut(_ string, why error) {
	n.fabric.mu.Lock()
	defer n.fabric.mu.Unlock()
	if n.cuts++; !n.bears {
		n.fabric.t.Errorf("%s cuts a peer off: %v", n.name, why)
	}
}

func (n *fakeNode) Open(ctx context.Context, node, service string, first []byte) (call, error) {
	f := n.fabric
	f.mu.Lock()
	to := f.nodes[node]
	ok := to != nil && f.joined(n, to)
	f.mu.Unlock()
	if !ok || node == n.name {
		return nil, errFabric
	}
	here, there := &fakeCall{from: n, to: to, wake: make(chan struct{}, 1)}, &fakeCall{from: to, to: n, wake: make(chan struct{}, 1)}
	here.other, there.other = there, here
	f.mu.Lock()
	f.calls[here], f.calls[there] = true, true
	f.mu.Unlock()
	_ = here.Send(first)
	f.tasks.Go(func() {
		defer there.Close()
		m, err := there.Receive(to.ctx)
		if err == nil {
			to.mesh.services()[service](to.ctx, n.name, there, m)
		}
	})
	return here, ctx.Err()
}

// fakeCall is one end of a call.
type fakeCall struct {
	from, to *fakeNode
	other    *fakeCall
	silent   bool // guarded by fabric.mu
	wake     chan struct{}

	mu    sync.Mutex // guards what follows: what comes
	queue []parcel
	err   error
}

type parcel struct {
	at   time.Time
	data []byte
	err  error
}

func (c *fakeCall) put(p parcel) {
	c.mu.Lock()
	c.queue = append(c.queue, p)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *fakeCall) Send(message []byte) error {
	f := c.from.fabric
	f.mu.Lock()
	silent := c.silent || !f.joined(c.from, c.to)
	f.mu.Unlock()
	c.mu.Lock()
	err := c.err
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if !silent {
		f.bytes.Add(int64(len(message)))
		c.other.put(parcel{at: time.Now().Add(f.delay), data: slices.Clone(message)})
	}
	return nil
}

func (c *fakeCall) Receive(ctx context.Context) ([]byte, error) {
	for {
		c.mu.Lock()
		err := c.err
		var next *parcel
		if len(c.queue) > 0 {
			next = &c.queue[0]
		}
		c.mu.Unlock()
		if err != nil {
			return nil, err
		}
		var timer <-chan time.Time
		if next != nil {
			wait := time.Until(next.at)
			if wait <= 0 {
				c.mu.Lock()
				c.queue = c.queue[1:]
				c.mu.Unlock()
				if next.err != nil {
					c.end(next.err)
					return nil, next.err
				}
				return next.data, nil
			}
			timer = time.After(wait)
		}
		select {
		case <-timer:
		case <-c.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// end ends this end of the call.
func (c *fakeCall) end(err error) {
	f := c.from.fabric
	f.mu.Lock()
	delete(f.calls, c)
	f.mu.Unlock()
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *fakeCall) Close() {
	f := c.from.fabric
	f.mu.Lock()
	silent := c.silent || !f.joined(c.from, c.to)
	f.mu.Unlock()
	c.mu.Lock()
	closed := c.err != nil
	c.mu.Unlock()
	if !closed && !silent {
		c.other.put(parcel{at: time.Now().Add(f.delay), err: io.EOF})
	}
	c.end(io.ErrClosedPipe)
}

// fakePart is a part that takes notes, and checks that it is told of everything once.
type fakePart struct {
	t    *testing.T
	name string

	mu      sync.Mutex // guards what follows
	known   map[roster.Key]roster.Entry
	told    []string
	leads   bool
	notes   []string
	moved   []roster.Key
	over    int
	answer  func(from string, body []byte) ([]byte, error)
	applied int
	whole   [][]roster.Entry
}

func newPart(t *testing.T, name string) *fakePart {
	return &fakePart{t: t, name: name, known: map[roster.Key]roster.Entry{}}
}

func (p *fakePart) Apply(changes []roster.Change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.applied++
	for _, c := range changes {
		if c.Now == nil {
			if _, ok := p.known[c.Was.Key]; !ok {
				p.t.Errorf("%s is told that %v is gone, which it does not know", p.name, c.Was.Key)
			}
			delete(p.known, c.Was.Key)
			p.told = append(p.told, "-"+c.Was.ID)
			continue
		}
		if _, ok := p.known[c.Now.Key]; ok != (c.Was != nil) {
			p.t.Errorf("%s is told of %v, and knows it: %t", p.name, c.Now.Key, ok)
		}
		p.known[c.Now.Key] = *c.Now
		p.told = append(p.told, "+"+c.Now.ID)
	}
}

func (p *fakePart) Whole(entries []roster.Entry, leads bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.whole = append(p.whole, entries)
	if p.leads != leads {
		p.t.Errorf("%s is told %t in all, and was told otherwise whether it leads", p.name, leads)
	}
}

func (p *fakePart) Lead(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leads == on {
		p.t.Errorf("%s is told twice whether it leads: %t", p.name, on)
	}
	p.leads = on
}

func (p *fakePart) Note(body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notes = append(p.notes, string(body))
}

func (p *fakePart) Command(_ context.Context, from string, body []byte) ([]byte, error) {
	p.mu.Lock()
	answer := p.answer
	p.mu.Unlock()
	if answer != nil {
		return answer(from, body)
	}
	return []byte(p.name + " heard " + string(body) + " of " + from), nil
}

func (p *fakePart) Moved(key roster.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moved = append(p.moved, key)
}

func (p *fakePart) Destroyed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over++
}

// take gives what was told since the last time.
func (p *fakePart) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	told := p.told
	p.told = nil
	return told
}

func (p *fakePart) owner(id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[person(id)].Owner
}

func person(id string) roster.Key { return roster.Key{Kind: roster.Participant, ID: id} }
