package main

import (
	"math"
	"slices"
	"strings"
	"time"

	"portico/shared/placement"
)

// What gossip tells is modelled: a failure is noticed after some seconds, other news spread in less than one, both sides of a partition
// forget each other and find each other again. What it costs is counted from measured figures.

// group is those among whom gossip gets around, and what it says there.
type group struct {
	side   int
	belief []placement.Edge // replaced, never changed, so that nodes can share it
}

func (w *world) groupOf(n *node) *group {
	for _, g := range w.groups {
		if g.side == w.side[n.region] {
			return g
		}
	}
	g := &group{side: w.side[n.region]}
	w.groups = append(w.groups, g)
	return g
}

// announce has gossip find out about a node after a while.
func (w *world) announce(n *node, after time.Duration) {
	w.at(after, func() {
		for _, g := range w.groups {
			w.believe(g, n)
		}
	})
}

// miss has gossip find out that a node is not there: some other node probes it, and suspects it for a while that grows with the logarithm
// of the cluster's size (memberlist's suspicionTimeout, package cluster's profile for networks).
func (w *world) miss(n *node) {
	w.missed++
	grows := max(1, math.Log10(float64(len(w.nodes))))
	w.at(w.between(500*time.Millisecond, 1500*time.Millisecond)+time.Duration(grows*float64(suspicion)), func() {
		w.missed--
		for _, g := range w.groups {
			w.believe(g, n)
		}
	})
}

const (
	suspicion = 4 * 500 * time.Millisecond // SuspicionMult x ProbeInterval
	spread    = 900 * time.Millisecond     // until everybody has heard
)

// believe has one group's belief about a node be as things are.
func (w *world) believe(g *group, n *node) {
	at, known := slices.BinarySearchFunc(g.belief, n.name.ID, byID)
	there := n.up && !n.paused && w.side[n.region] == g.side
	switch {
	case !there && !known, there && known && g.belief[at] == n.edge():
		return
	case !there:
		g.belief = slices.Delete(slices.Clone(g.belief), at, at+1)
		w.noticed = w.now + spread
	case !known:
		g.belief = slices.Insert(slices.Clone(g.belief), at, n.edge())
	default:
		if g.belief[at].Boot == n.name.Boot {
			w.gossip.count(w) // who comes and goes is news whatever it costs
		}
		g.belief = slices.Clone(g.belief)
		g.belief[at] = n.edge()
	}
	for _, m := range w.nodes {
		if m.group == g && m.up {
			w.refresh(m, w.between(50*time.Millisecond, spread))
		}
	}
}

// byID orders edges.
func byID(e placement.Edge, id string) int { return strings.Compare(e.ID, id) }

// refresh has a node look at what gossip says now.
func (w *world) refresh(n *node, after time.Duration) {
	if n.fresh {
		return
	}
	n.fresh = true
	life := n.name.Boot
	w.at(after, func() {
		n.fresh = false
		if n.name.Boot != life || !n.up {
			return
		}
		w.on(n, 0, n.look)
	})
}

func (n *node) look() {
	before := n.view
	n.view = n.group.belief
	if !n.knows(n.name.ID) {
		at, _ := slices.BinarySearchFunc(n.view, n.name.ID, byID)
		n.view = slices.Insert(slices.Clone(n.view), at, n.edge())
	}
	for id := range n.lost {
		if !n.knows(id) {
			delete(n.lost, id)
		}
	}
	same := func(a, b placement.Edge) bool {
		a.Load, b.Load = 0, 0 // choosing alone looks at it
		return a == b
	}
	if !slices.EqualFunc(before, n.view, same) {
		n.all(placement.View{Edges: n.view})
	}
}

// split parts the regions of side 1 from the others.
func (w *world) split(side []int) {
	copy(w.side, side)
	g := w.groups[0]
	other := &group{side: 1, belief: g.belief}
	w.groups = []*group{g, other}
	for _, n := range w.nodes {
		if n.group = g; w.side[n.region] == 1 {
			n.group = other
		}
		w.miss(n)
	}
	w.rewire()
}

// join ends a partition: ways are there at once, gossip finds out later.
func (w *world) join() {
	clear(w.side)
	w.rewire()
	w.at(w.between(300*time.Millisecond, 1500*time.Millisecond), func() {
		if slices.Max(w.side) > 0 || len(w.groups) < 2 {
			return
		}
		g := &group{belief: slices.Clone(w.groups[0].belief)}
		for _, e := range w.groups[1].belief {
			if at, known := slices.BinarySearchFunc(g.belief, e.ID, byID); !known {
				g.belief = slices.Insert(g.belief, at, e)
			}
		}
		w.groups = []*group{g}
		for _, n := range w.nodes {
			n.group = g
			if n.up {
				w.refresh(n, w.random(spread))
			}
			w.announce(n, w.between(100*time.Millisecond, 1500*time.Millisecond))
		}
	})
}

// load is how much a node has to do, and what it tells of it. The steps and their pace are those of package cluster (coarsen, pace).
type load struct {
	counted  int // participants of cohorts
	capacity int
	told     int
	last     time.Duration
	waiting  bool
}

func (l *load) now(n *node) float64 { return float64(n.seats+l.counted) / float64(l.capacity) }

const (
	loadMargin = 0.35
	leastLoad  = 2 * time.Second
	perSecond  = 3 // changes of load that the whole cluster tells
)

// measure has a node tell its load when that has changed.
func (n *node) measure() {
	w, l := n.w, n.load
	at := min(l.now(n), 1) * placement.MaxLoad
	level := l.told
	if d := at - float64(level); math.Abs(d) > 0.5+loadMargin {
		level = int(at + 0.5)
	}
	if w.bend.trembling {
		level = w.rng.IntN(placement.MaxLoad + 1)
	}
	jump := level - l.told
	if jump < 0 {
		jump = -jump
	}
	if jump == 0 {
		return
	}
	pace := max(leastLoad, time.Duration(len(n.view))*time.Second/perSecond/time.Duration(jump))
	if w.now-l.last < pace && !w.bend.trembling {
		return
	}
	l.told, l.last = level, w.now
	w.announce(n, w.random(200*time.Millisecond))
}

// measureAll looks at all loads twice a second.
func (w *world) measureAll() {
	var free, all [2]float64
	for _, n := range w.nodes {
		side := w.side[n.region]
		if n.up && !n.paused {
			n.measure()
			if !n.draining && !n.leaving {
				free[side] += max(0, 1-n.load.now(n)) * float64(n.load.capacity)
			}
		}
		all[side] += float64(n.load.capacity)
	}
	for side := range free {
		if free[side] < all[side]/5 {
			w.scarce[side] = w.now
		}
	}
	w.at(500*time.Millisecond, w.measureAll)
}

// gossip counts what gossip costs each node.
type gossip struct {
	times []time.Duration // of changes
	worst float64         // bytes a second of a node
}

// Gossip with nothing new was measured to cost a node 347, 451 and 496 bytes a second among 3, 50 and 200 nodes. A change goes out from
// each node retransmits x log10(n+1) times, in about changeSize bytes.
const (
	retransmits  = 4
	changeSize   = 260
	gossipWindow = 10 * time.Second
	// gossipBudget is what memberlist sends at most: 5 times a second to 3 nodes, 1,400 bytes. What is more comes late.
	gossipBudget = 5 * 3 * 1400 // bytes a second of a node, over a window
)

func idleGossip(n float64) float64 {
	return 347 + (496-347)*math.Log(max(n, 3)/3)/math.Log(200.0/3)
}

func (g *gossip) count(w *world) {
	g.times = append(g.times, w.now)
	for w.now-g.times[0] > gossipWindow {
		g.times = g.times[1:]
	}
	n := float64(len(w.nodes))
	each := retransmits * math.Ceil(math.Log10(n+1)) * changeSize
	rate := idleGossip(n) + float64(len(g.times))*each/gossipWindow.Seconds()
	if w.now < arrival+2*gossipWindow || !w.calm(gossipWindow) || w.now < w.revived+gossipWindow {
		return // all come at once, and there is what was missed meanwhile: some of it comes late
	}
	g.worst = max(g.worst, rate)
	if rate > gossipBudget {
		w.fault("gossip", "%.0f bytes a second of each node", rate)
	}
}
