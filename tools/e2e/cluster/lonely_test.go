//go:build linux

package cluster

import (
	"slices"
	"testing"
	"time"

	"portico/edge/clusterapi"
)

// lonely has three people on the one edge that is the room's home.
func lonely(t *testing.T) (c *cluster, home *edge) {
	t.Helper()
	c = start(t)
	scout := c.joins("scout", c.edges[0])
	c.until(5*time.Second, "the room has a home", func() bool { home = c.home(); return home != nil })
	begin := time.Now()
	for _, name := range []string{"anna", "bert", "carl"} {
		c.joins(name, home)
	}
	scout.leave()
	c.people = c.people[1:]
	for _, p := range c.people {
		p.hears(begin, 15*time.Second, c.people...)
	}
	c.until(15*time.Second, "the room is on one edge alone", func() bool { return c.alone(home) })
	return c, home
}

// alone tells whether an edge is the home of the room, and no other one follows.
func (c *cluster) alone(home *edge) bool {
	s, ok := c.status(home)
	return ok && slices.ContainsFunc(s.Rooms, func(r clusterapi.Room) bool {
		return r.ID == c.room && r.Home == home.name && len(r.Followers) == 0
	})
}

// TestLonelyEdgeDies: when the one edge dies that a room is on, its people meet on the others, as who they were.
func TestLonelyEdgeDies(t *testing.T) {
	c, home := lonely(t)
	before := c.settled()
	c.lets(time.Second)
	killed := time.Now()
	home.Kill()
	for _, p := range c.people {
		c.until(10*time.Second-time.Since(killed), p.name+" is on another edge", func() bool { return p.edge() != home })
	}
	t.Logf("all are on other edges after %v", time.Since(killed).Round(10*time.Millisecond))
	for _, p := range c.people {
		p.hears(killed.Add(time.Second), 10*time.Second-time.Since(killed), c.people...)
	}
	t.Logf("all hear and see each other after %v", time.Since(killed).Round(10*time.Millisecond))
	c.agree(5 * time.Second)
	if after := c.people[0].roster(); !slices.Equal(after, before) {
		t.Errorf("the room is not as before: %q, then %q", before, after)
	}
	from := time.Now()
	c.lets(3 * time.Second)
	c.uninterrupted(c.people, from, time.Now(), 300*time.Millisecond, time.Second)
	// The one that was killed comes back, and nobody notices.
	home.up()
	c.whole(4)
	c.oneHome(5 * time.Second)
	c.agree(5 * time.Second)
	if after := c.people[0].roster(); !slices.Equal(after, before) {
		t.Errorf("the room is not as before: %q, then %q", before, after)
	}
}
