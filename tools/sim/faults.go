package main

import (
	"maps"
	"slices"
	"time"
)

// kill ends a node's process.
func (w *world) kill(n *node) {
	if !n.up {
		return
	}
	w.logf("kill %s", n.name.ID)
	w.trouble()
	w.stats.kills++
	w.stop(n)
	w.miss(n)
}

// stop has a node be down, and those on it notice.
func (w *world) stop(n *node) {
	n.died = w.now
	if n.paused { // what it keeps for others is kept from when it was last heard
		w.failing--
		n.died = n.stood
	}
	if w.parted > 0 {
		n.died = min(n.died, w.parted)
	}
	n.up, n.paused = false, false
	n.held = nil
	n.load.counted = 0
	for _, p := range n.list {
		p.ended = true
		p.room.parts = slices.DeleteFunc(p.room.parts, func(q *part) bool { return q == p })
		w.check.touch(p.room)
	}
	for _, p := range w.linked {
		end := slices.Index(p.ends[:], n)
		if end < 0 {
			continue
		}
		p.state[end], p.dials[end], p.queued[end] = unknown, false, nil
		if p.link != nil {
			w.shut(p.link, end)
		}
	}
	w.rewire()
	w.desert(n, 500*time.Millisecond, 3*time.Second)
}

// desert has the participants on a node find out that it is gone.
func (w *world) desert(n *node, least, most time.Duration) {
	life := n.name.Boot
	gone := func(n *node) bool { return !n.up || n.paused || n.name.Boot != life }
	for _, c := range w.clients {
		if p := c.seat; p != nil && p.n == n {
			w.at(w.between(least, most), func() {
				if c.seat == p && (gone(n) || !c.reaches(n)) {
					c.lose(p)
				}
			})
		}
	}
	for _, c := range w.cohorts {
		if c.n == n && c.life == life {
			w.at(w.between(least, most), func() {
				if c.n == n && c.life == life && (gone(n) || w.side[n.region] != w.side[c.region]) {
					c.lose()
				}
			})
		}
	}
}

// revive starts a node again.
func (w *world) revive(n *node) {
	if n.up {
		return
	}
	n.rate, n.wall = n.skewed()
	if w.bend.bootByClock {
		n.wall -= time.Minute
	}
	w.start(n)
	w.revived = w.now
	w.logf("start %s, boot %d", n.name.ID, n.name.Boot)
	w.rewire()
}

// skewed is a clock for a new life: mostly a good one.
func (n *node) skewed() (rate float64, wall time.Duration) {
	w := n.w
	rate = 1 + (w.rng.Float64()-0.5)*0.0004
	if w.chance(0.3) {
		return rate, n.wall // still as wrong as before
	}
	return rate, w.random(4*time.Second) - 2*time.Second
}

// pause stops a node's process, or lets it go on.
func (w *world) pause(n *node, on bool) {
	if !n.up || n.paused == on {
		return
	}
	w.logf("pause %s: %t", n.name.ID, on)
	w.trouble()
	n.paused = on
	if on {
		n.stood = w.now
		w.trouble()
		w.stats.pauses++
		w.failing++
		w.rewire()
		w.miss(n)
		w.desert(n, 3*time.Second, 6*time.Second)
		for _, p := range n.list {
			w.check.touch(p.room)
		}
		return
	}
	w.failing--
	held := n.held
	n.held = nil
	slices.SortFunc(held, func(a, b event) int {
		if a.at < b.at || a.at == b.at && a.order < b.order {
			return -1
		}
		return 1
	})
	for _, e := range held {
		w.order++
		e.at, e.order = w.now, w.order
		w.queue.push(e)
	}
	w.rewire()
	w.announce(n, w.between(100*time.Millisecond, time.Second))
	w.refresh(n, w.between(100*time.Millisecond, time.Second))
	for _, p := range n.list {
		w.check.touch(p.room)
	}
}

// for some time has something be broken.
func (w *world) broken(d time.Duration, begin, end func()) {
	w.trouble()
	w.failing++
	begin()
	w.at(d, func() {
		w.failing--
		w.trouble()
		end()
	})
}

// partition parts some regions from the others. Both sides are connected parts, which have to agree.
func (w *world) partition(d time.Duration) {
	if slices.Max(w.side) > 0 || len(w.side) < 2 {
		return
	}
	side := make([]int, len(w.side))
	cut := 1 + w.rng.IntN(len(side)-1)
	for i, at := range w.rng.Perm(len(side)) {
		if i < cut {
			side[at] = 1
		}
	}
	w.logf("partition %v for %v", side, d)
	w.trouble()
	w.stats.partitions++
	w.parted = w.now
	w.split(side)
	touch := func() {
		for _, r := range w.rooms {
			w.check.touch(r)
			w.check.change(w, r)
		}
	}
	touch()
	for _, c := range w.clients {
		if p := c.seat; p != nil && !c.reaches(p.n) {
			w.at(w.between(3*time.Second, 6*time.Second), func() {
				if c.seat == p && !c.reaches(p.n) {
					c.lose(p)
				}
			})
		}
	}
	w.at(d, func() {
		w.logf("the partition ends")
		w.parted = 0
		w.trouble()
		w.join()
		touch()
	})
}

// drain has a node give away what it has, and stop.
func (w *world) drain(n *node, deadline time.Duration, cancel bool) {
	if !n.up || n.paused || n.draining {
		return
	}
	w.logf("drain %s within %v", n.name.ID, deadline)
	w.stats.drains++
	n.draining = true
	began := w.now
	w.announce(n, w.random(300*time.Millisecond))
	if !w.bend.noDrain {
		n.all(drainEvent(true))
	}
	life := n.name.Boot
	for _, c := range w.clients {
		if p := c.seat; p != nil && p.n == n && c.migrates && !w.bend.noMove {
			w.at(c.way(n), func() { c.move(p, 0) })
		}
	}
	for _, c := range w.cohorts {
		if c.n == n && c.life == life {
			w.at(w.random(deadline/2), func() {
				if c.n == n && c.life == life {
					c.lose()
				}
			})
		}
	}
	if cancel {
		w.on(n, deadline/2, func() {
			n.draining = false
			w.announce(n, w.random(300*time.Millisecond))
			n.all(drainEvent(false))
		})
		return
	}
	w.on(n, deadline, func() {
		if !n.draining {
			return
		}
		if w.troubled < began && w.failing == 0 && w.others(n) && w.scarce[w.side[n.region]] < began {
			w.check.drained(w, n)
		}
		w.retire(n)
	})
}

// others tells whether somebody else can do what a node did.
func (w *world) others(n *node) bool {
	return slices.ContainsFunc(w.nodes, func(m *node) bool { return m != n && m.up && !m.paused && !m.draining && !m.leaving })
}

// retire ends a node in good order.
func (w *world) retire(n *node) {
	n.leaving = true
	for _, p := range slices.Clone(n.list) {
		for _, id := range slices.Sorted(maps.Keys(p.people)) {
			if c := p.people[id].client; c.seat == p {
				w.at(w.between(100*time.Millisecond, time.Second), func() { c.lose(p) })
			}
		}
		if p.entered {
			p.exit()
		}
	}
	w.on(n, 500*time.Millisecond, func() {
		w.logf("%s has left", n.name.ID)
		w.stop(n)
		w.announce(n, w.random(300*time.Millisecond))
	})
}

// kind is of what can go wrong.
type kind int

const (
	killing kind = iota
	pausing
	cutting // one way from an edge to another
	cuttingRegion
	parting
	skewing
	restarting
	slowing // the store
	spoiling
	draining
	kinds
)

// often is how often each kind comes up, in random trouble.
var often = [kinds]int{
	killing: 9, pausing: 6, cutting: 3, cuttingRegion: 3, parting: 3, skewing: 3, restarting: 1, slowing: 1, spoiling: 1, draining: 3,
}

// round is some trouble, and then quiet, in which everything has to be well.
func (w *world) round() {
	count := 1 + w.rng.IntN(3) + len(w.nodes)/100
	if w.chance(0.2) {
		count += 4
	}
	var all []kind
	for k, n := range often {
		all = append(all, slices.Repeat([]kind{kind(k)}, n)...)
		if w.cfg.every {
			w.at(w.random(8*time.Second), func() { w.upset(kind(k)) })
		}
	}
	for range count {
		k := all[w.rng.IntN(len(all))]
		w.at(w.random(8*time.Second), func() { w.upset(k) })
	}
	w.run(w.now + 12*time.Second)
	for w.failing > 0 {
		w.run(w.now + time.Second)
	}
	for _, n := range w.nodes {
		if !n.up && w.chance(0.7) {
			w.at(w.random(2*time.Second), func() { w.revive(n) })
		}
	}
	w.run(w.now + 18*time.Second)
}

// upset has one thing go wrong, if it can.
func (w *world) upset(k kind) {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	switch k {
	case killing:
		w.kill(n)
		if w.chance(0.5) {
			w.at(w.between(200*time.Millisecond, 8*time.Second), func() { w.revive(n) })
		}
	case pausing:
		w.pause(n, true)
		w.at(w.between(100*time.Millisecond, 12*time.Second), func() { w.pause(n, false) })
	case cutting:
		m := w.nodes[w.rng.IntN(len(w.nodes))]
		if m == n {
			return
		}
		w.logf("nothing goes from %s to %s", n.name.ID, m.name.ID)
		w.stats.cuts++
		w.cut(w.oneWay, [2]int{n.i, m.i}, w.between(500*time.Millisecond, 9*time.Second))
	case cuttingRegion:
		a, b := w.rng.IntN(len(w.side)), w.rng.IntN(len(w.side))
		if a == b {
			return
		}
		w.stats.regionCuts++
		w.logf("nothing goes from region %s to %s", regionName(a), regionName(b))
		w.cut(w.regions, [2]int{a, b}, w.between(500*time.Millisecond, 5*time.Second))
	case parting:
		w.partition(w.between(2*time.Second, 35*time.Second))
	case skewing:
		w.skew(n)
	case restarting:
		w.restart()
	case slowing:
		w.logf("the store is slow")
		w.stats.slowStores++
		w.store.delay = 20 * time.Second
		w.at(w.between(5*time.Second, 20*time.Second), func() { w.store.delay = 0 })
	case spoiling:
		w.logf("the lines between regions are bad")
		w.stats.badLines++
		w.slow, w.lossy = 300*time.Millisecond, 0.1
		w.at(w.between(3*time.Second, 15*time.Second), func() { w.slow, w.lossy = 0, 0 })
	case draining:
		w.drain(n, w.between(12*time.Second, 20*time.Second), w.chance(0.3))
	}
}

// restart has many nodes start again.
func (w *world) restart() {
	w.logf("many nodes start again")
	w.stats.restarts++
	for _, n := range w.nodes {
		if w.chance(0.6) {
			w.at(w.random(3*time.Second), func() {
				w.kill(n)
				w.at(w.between(100*time.Millisecond, 3*time.Second), func() { w.revive(n) })
			})
		}
	}
}

func (w *world) cut(set map[[2]int]bool, key [2]int, d time.Duration) {
	w.broken(d, func() { set[key] = true; w.rewire() }, func() { delete(set, key); w.rewire() })
}

// maxSkew is by how much a calendar is off at most: a token is good for admitTime, and a ticket for clocks within clockLeeway.
const maxSkew = 25 * time.Second

func (w *world) skew(n *node) {
	if !n.up || n.paused {
		return
	}
	n.setRate(1 + (w.rng.Float64()-0.5)*0.04)
	n.wall = w.random(2*maxSkew) - maxSkew
	w.stats.skews++
	w.logf("the clock of %s goes at %.3f and is off by %v", n.name.ID, n.rate, n.wall)
}
