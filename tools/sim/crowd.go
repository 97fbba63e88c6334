package main

import "time"

// cohort is participants who are only counted: they find an edge and lose it together.
type cohort struct {
	w        *world
	size     int
	region   int
	n        *node
	life     uint64
	unseated time.Duration
	told     bool
	searches bool
}

// seek looks for an edge with room for all.
func (c *cohort) seek(avoid []string) {
	w := c.w
	c.searches = true
	again := func(after time.Duration, avoid []string) { w.at(after, func() { c.seek(avoid) }) }
	api := w.someNode(func(n *node) bool { return n.up && !n.paused && !n.leaving && w.side[n.region] == w.side[c.region] })
	if api == nil {
		again(time.Second, nil)
		return
	}
	id, err := api.choose(c.region, w.rooms[0], avoid)
	if err != nil {
		again(w.between(500*time.Millisecond, time.Second), nil)
		return
	}
	n := w.byName[id]
	switch {
	case !n.up || n.paused || w.side[n.region] != w.side[c.region]:
		again(w.between(time.Second, patience), append(avoid, id))
	case n.refuses() != nil:
		w.stats.refusals++
		again(w.between(50*time.Millisecond, 200*time.Millisecond), append(avoid, id)) // the refusal names others
	default:
		c.searches = false
		c.n, c.life = n, n.name.Boot
		n.load.counted += c.size
		if over := n.load.now(n); over > 1.1 {
			w.fault("crowd", "%s has %.0f%% of what it can do", n.name.ID, 100*over)
		}
	}
}

// lose has a cohort be without an edge.
func (c *cohort) lose() {
	if c.n == nil {
		return
	}
	if c.life == c.n.name.Boot {
		c.n.load.counted -= c.size
	}
	c.n = nil
	w := c.w
	c.unseated, c.told = w.now, false
	w.at(seatTime, func() { c.late() })
	c.seek(nil)
}

// late looks whether a cohort has waited for too long.
func (c *cohort) late() {
	w := c.w
	if c.n != nil || c.told {
		return
	}
	if since := w.seatSince(c.unseated, c.region); w.now-since < seatTime || w.failing > 0 {
		w.at(max(since+seatTime-w.now, 500*time.Millisecond), func() { c.late() })
		return
	}
	c.told = true
	w.fault("seat", "%d participants of region %s have no place for %v", c.size, regionName(c.region), w.now-c.unseated)
}
