package main

import (
	"slices"
	"time"

	"portico/edge/mesh/directory"
	"portico/shared/meshproto"
	"portico/shared/placement"
)

// The links between edges behave as package peers and link do: one for each pair, made when it is first needed; silence of one second
// ends it on each side by itself; then it is dialed again and again, as long as gossip knows the node. While the way is broken, but the
// link not yet given up, what is sent waits; where only one way is broken, what goes the other way arrives until then.

// Times of links.
const (
	silenceLeast = 850 * time.Millisecond
	silenceMost  = 1150 * time.Millisecond
	dialTimeout  = 2 * time.Second
	pauseLeast   = 100 * time.Millisecond
	pauseMost    = time.Second
	resetTime    = 300 * time.Millisecond // until a side hears that the other has no such link
)

// pair is two nodes that have something to say to each other.
type pair struct {
	ends   [2]*node
	link   *link
	state  [2]state
	dials  [2]bool
	pause  [2]time.Duration
	queued [2][]func(l *link) // what waits for a link; nil: there is none
}

type state uint8

const (
	unknown state = iota
	up
	down
)

// link is one connection.
type link struct {
	pair    *pair
	open    [2]bool
	last    [2]time.Duration // arrival of the last message to each end
	broken  bool
	version int        // of broken
	pending [2][]event // to each end
	calls   []*call
}

// call is a conversation of two parts.
type call struct {
	link    *link
	parts   [2]*part
	session [2]uint64 // 0: it has ended there, or has not begun
	closed  bool
	unsent  []meshproto.RoomMessage // while there is no link
}

func (w *world) pairOf(a, b *node) (p *pair, end int) {
	key := [2]int{a.i, b.i}
	if a.i > b.i {
		key, end = [2]int{b.i, a.i}, 1
	}
	p = w.pairs[key]
	if p == nil {
		p = &pair{ends: [2]*node{w.nodes[key[0]], w.nodes[key[1]]}}
		w.pairs[key] = p
		w.linked = append(w.linked, p)
	}
	return p, end
}

// connected tells whether what one node sends gets to another now, and the other way.
func (w *world) connected(a, b *node) bool {
	if a == b {
		return a.up && !a.paused
	}
	return a.up && b.up && !a.paused && !b.paused && w.wire(a, b)
}

// wire is the way between two nodes, whatever they are up to.
func (w *world) wire(a, b *node) bool {
	return w.side[a.region] == w.side[b.region] && w.passes(a, b) && w.passes(b, a)
}

// passes tells whether nothing is in the way from one node to another alone.
func (w *world) passes(a, b *node) bool {
	return !(len(w.oneWay) > 0 && w.oneWay[[2]int{a.i, b.i}]) && !(len(w.regions) > 0 && w.regions[[2]int{a.region, b.region}])
}

// flows tells whether what one node has sent on a link that is broken gets to the other.
func (w *world) flows(a, b *node) bool {
	return a.up && b.up && !a.paused && !b.paused && w.side[a.region] == w.side[b.region] && w.passes(a, b)
}

func (w *world) latency(a, b *node) time.Duration {
	if a.region == b.region {
		return w.between(200*time.Microsecond, 3*time.Millisecond)
	}
	base := 15*time.Millisecond + time.Duration((a.region*7+b.region*7)%5)*12*time.Millisecond
	d := base + w.random(base/4) + w.random(w.slow)
	if w.chance(w.lossy) {
		d += w.between(50*time.Millisecond, 400*time.Millisecond) // it was lost, and sent again
	}
	return d
}

// rewire finds out what has become of all links after nodes or ways have changed.
func (w *world) rewire() {
	for _, p := range w.linked {
		l := p.link
		if l == nil {
			continue
		}
		switch ok := w.connected(p.ends[0], p.ends[1]); {
		case !ok && !l.broken:
			l.broken = true
			l.version++
			version := l.version
			for end, n := range p.ends {
				w.on(n, w.between(silenceLeast, silenceMost), func() {
					if l.broken && l.version == version {
						w.lose(l, end)
					}
				})
			}
		case ok && l.broken:
			l.broken = false
			l.version++
			pending := l.pending
			l.pending = [2][]event{}
			for end, n := range p.ends {
				for _, e := range pending[end] {
					l.last[end] = max(l.last[end]+1, w.now+w.latency(p.ends[1-end], n))
					w.order++
					e.at, e.order = l.last[end], w.order
					w.queue.push(e)
				}
				if !l.open[1-end] {
					w.on(n, w.random(resetTime), func() { w.lose(l, end) })
				}
			}
		}
	}
}

// lose ends one side of a link.
func (w *world) lose(l *link, end int) {
	p := l.pair
	if !l.open[end] {
		return
	}
	n := p.ends[end]
	w.shut(l, end)
	if p.link != l && p.link != nil {
		return // there is another already
	}
	w.tell(p, end, down)
	p.pause[end] = pauseLeast
	w.dialLater(p, end)
	if w.connected(n, p.ends[1-end]) {
		other := p.ends[1-end]
		w.on(other, w.random(resetTime), func() { w.lose(l, 1-end) })
	}
}

// shut has the calls of one side end.
func (w *world) shut(l *link, end int) {
	l.open[end] = false
	if !l.open[0] && !l.open[1] && l.pair.link == l {
		l.pair.link = nil
		l.pending = [2][]event{}
	}
	for _, c := range slices.Clone(l.calls) {
		if s := c.session[end]; s != 0 {
			c.session[end] = 0
			if p := c.parts[end]; p.alive() {
				delete(p.calls, s)
				p.handle(directory.Ended{Session: s})
			}
		}
	}
}

// tell has a node's rooms know whether another can be reached.
func (w *world) tell(p *pair, end int, s state) {
	if p.state[end] == s {
		return
	}
	p.state[end] = s
	n, other := p.ends[end], p.ends[1-end].name.ID
	w.logf("%s can reach %s: %t", n.name.ID, other, s == up)
	if s == up {
		delete(n.lost, other)
		n.all(placement.Healed{ID: other})
		return
	}
	if n.knows(other) {
		n.lost[other] = true
	}
	n.all(placement.Lost{ID: other})
}

// whenLinked calls do when a node has a link to another, or with nil when it gets none.
func (w *world) whenLinked(a, b *node, do func(l *link)) {
	p, end := w.pairOf(a, b)
	if p.link != nil && p.link.open[end] {
		do(p.link)
		return
	}
	p.queued[end] = append(p.queued[end], do)
	w.dial(p, end)
}

func (w *world) dialLater(p *pair, end int) {
	if p.dials[end] {
		return
	}
	p.dials[end] = true
	w.on(p.ends[end], p.pause[end], func() {
		p.dials[end] = false
		w.dial(p, end)
	})
}

// dial makes a link, or tries until the node is forgotten.
func (w *world) dial(p *pair, end int) {
	n, other := p.ends[end], p.ends[1-end]
	if p.dials[end] || p.link != nil && p.link.open[end] {
		return
	}
	if !n.knows(other.name.ID) {
		w.giveUp(p, end)
		return
	}
	p.dials[end] = true
	if w.connected(n, other) {
		w.on(n, 3*w.latency(n, other), func() {
			p.dials[end] = false
			switch {
			case p.link != nil && p.link.open[end]:
			case w.connected(n, other):
				w.establish(p, end)
			default:
				w.failed(p, end)
			}
		})
		return
	}
	w.on(n, dialTimeout, func() {
		p.dials[end] = false
		w.failed(p, end)
	})
}

func (w *world) failed(p *pair, end int) {
	if p.link != nil && p.link.open[end] {
		return
	}
	w.giveUp(p, end)
	w.tell(p, end, down)
	w.dialLater(p, end)
	p.pause[end] = min(2*max(p.pause[end], pauseLeast), pauseMost)
}

// giveUp tells all who wait that there is no link.
func (w *world) giveUp(p *pair, end int) {
	queued := p.queued[end]
	p.queued[end] = nil
	for _, do := range queued {
		do(nil)
	}
}

func (w *world) establish(p *pair, end int) {
	if old := p.link; old != nil { // the other side has not noticed yet
		for e := range old.open {
			if old.open[e] {
				w.shut(old, e)
				w.tell(p, e, down)
			}
		}
	}
	l := &link{pair: p, open: [2]bool{true, true}}
	p.link = l
	p.pause = [2]time.Duration{pauseLeast, pauseLeast}
	for e := range p.ends {
		w.tell(p, e, up)
		queued := p.queued[e]
		p.queued[e] = nil
		for _, do := range queued {
			do(l)
		}
	}
}

// send has something happen at the other end of a link, after all that was sent to it before.
func (w *world) send(l *link, to int, do func()) {
	if !l.open[to] && !l.broken && !l.open[1-to] {
		return
	}
	n := l.pair.ends[to]
	l.last[to] = max(l.last[to]+1, w.now+w.latency(l.pair.ends[1-to], n))
	w.arrive(l, to, event{at: l.last[to], node: n, life: n.name.Boot, do: do})
}

func (w *world) arrive(l *link, to int, e event) {
	do := e.do
	n := e.node
	life := e.life
	w.order++
	e.order = w.order
	e.node = nil // what is in a link's buffers waits with it
	e.do = func() {
		switch {
		case !n.up || n.name.Boot != life || !l.open[to]:
		case l.broken && (len(l.pending[to]) > 0 || !w.flows(l.pair.ends[1-to], n)):
			l.pending[to] = append(l.pending[to], e)
		default:
			do()
		}
	}
	w.queue.push(e)
}
