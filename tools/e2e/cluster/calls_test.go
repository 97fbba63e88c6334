//go:build linux

package cluster

import (
	"slices"
	"testing"
	"time"
)

// everyone has three people on three edges, who hear and see each other.
func everyone(t *testing.T, extra ...string) (c *cluster, anna, bert, carl *person) {
	t.Helper()
	c = start(t, extra...)
	begin := time.Now()
	anna, bert, carl = c.joins("anna", c.edges[0]), c.joins("bert", c.edges[1]), c.joins("carl", c.edges[2])
	for _, p := range c.people {
		p.hears(begin, 15*time.Second, c.people...)
	}
	return c, anna, bert, carl
}

// agree checks that everybody sees the same room, and that nobody was told anything but this.
func (c *cluster) agree(within time.Duration, told ...string) {
	c.t.Helper()
	took := c.until(within, "all see the same room", func() bool {
		first := c.people[0].roster()
		return !slices.ContainsFunc(c.people, func(p *person) bool { return !slices.Equal(p.roster(), first) })
	})
	c.t.Logf("all see the same room after %v", took.Round(10*time.Millisecond))
	for _, p := range c.people {
		if heard := p.heard(); !slices.Equal(heard, told) {
			c.t.Errorf("%s was told %q, not %q", p.name, heard, told)
		}
	}
}

// settled waits until nothing more is told of the joining, and forgets it.
func (c *cluster) settled() []string {
	c.t.Helper()
	c.until(5*time.Second, "all see the same room", func() bool {
		first := c.people[0].roster()
		return len(first) == 2*len(c.people)+len(c.mixed()) && !slices.ContainsFunc(c.people, func(p *person) bool { return !slices.Equal(p.roster(), first) })
	})
	for _, p := range c.people {
		_ = p.heard()
	}
	return c.people[0].roster()
}

// latency is the median time that sound takes from one to another.
func (c *cluster) latency(from, to *person, after time.Time) time.Duration {
	c.t.Helper()
	var list []time.Duration
	for _, a := range to.sink(from).Sounds(after) {
		list = append(list, a.At.Sub(from.source.Sent(a.Number)))
	}
	if len(list) == 0 {
		c.t.Fatalf("%s hears nothing of %s", to.name, from.name)
	}
	slices.Sort(list)
	return list[len(list)/2].Round(10 * time.Microsecond)
}

// TestEveryoneSeesEveryone: people on three edges in two regions are in one room, and each stream is on each link once.
func TestEveryoneSeesEveryone(t *testing.T) {
	c, anna, bert, carl := everyone(t)
	c.settled()
	for _, p := range c.people {
		t.Logf("%s joined in %v", p.name, p.joined.Round(time.Millisecond))
	}
	// Beside carl, and beside anna: what anna sends crosses to the east once, and to emil not at all.
	dora, emil := c.joins("dora", c.edges[2]), c.joins("emil", c.edges[0])
	dora.hears(time.Now(), 15*time.Second, c.people...)
	emil.hears(time.Now(), 15*time.Second, c.people...)
	c.settled()
	from := time.Now()
	c.lets(3 * time.Second)
	near, hop, over := c.latency(anna, emil, from), c.latency(anna, bert, from), c.latency(anna, carl, from)
	t.Logf("sound of anna's takes %v on her edge, %v over another one near by, %v over one %v away", near, hop, over, far.Delay)
	if added := hop - near; added > 20*time.Millisecond {
		t.Errorf("the hop adds %v", added)
	}
	for _, p := range c.people {
		for _, o := range c.people {
			if p == o {
				continue
			}
			if sound, view := p.sink(o).Gaps(from, time.Now()); sound > 500*time.Millisecond || view > time.Second || p.sink(o).Strange() > 0 {
				t.Errorf("%s has heard nothing of %s for %v and seen nothing for %v; %d packets were somebody else's", p.name, o.name, sound, view, p.sink(o).Strange())
			}
		}
	}
	for _, l := range []struct {
		from, to *edge
		streams  []*person
	}{
		{c.edges[0], c.edges[2], []*person{anna, emil}}, {c.edges[1], c.edges[2], []*person{bert}}, {c.edges[0], c.edges[1], []*person{anna, emil}},
		{c.edges[2], c.edges[0], []*person{carl, dora}}, {c.edges[2], c.edges[1], []*person{carl, dora}}, {c.edges[1], c.edges[0], []*person{bert}},
	} {
		if flows := c.flows(l.from, l.to); flows != 2*len(l.streams) { // sound and picture
			t.Errorf("%s sends %d flows to %s, not %d", l.from.name, flows, l.to.name, 2*len(l.streams))
		}
	}
}
