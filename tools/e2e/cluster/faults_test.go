//go:build linux

package cluster

import (
	"os"
	"slices"
	"testing"
	"time"

	"portico/tools/netlab"
)

// on are those who are connected to an edge now.
func (c *cluster) on(e *edge) (list []*person) {
	for _, p := range c.people {
		if p.edge() == e {
			list = append(list, p)
		}
	}
	return list
}

// off are the others.
func (c *cluster) off(e *edge) (list []*person) {
	for _, p := range c.people {
		if p.edge() != e {
			list = append(list, p)
		}
	}
	return list
}

// uninterrupted checks that these people have heard and seen each other all the time.
func (c *cluster) uninterrupted(people []*person, from, to time.Time, sound, view time.Duration) {
	c.t.Helper()
	for _, p := range people {
		for _, o := range people {
			if p == o {
				continue
			}
			s, v := p.sink(o).Gaps(from, to)
			c.t.Logf("%s heard nothing of %s for %v at most, and saw nothing for %v", p.name, o.name, s.Round(time.Millisecond), v.Round(time.Millisecond))
			if s > sound || v > view {
				c.t.Errorf("%s heard nothing of %s for %v (%v at most), and saw nothing for %v (%v)", p.name, o.name, s, sound, v, view)
			}
		}
	}
}

// runs is how often an edge is killed.
func runs() int {
	if os.Getenv("PORTICO_TEST_SHORT") != "" {
		return 3
	}
	return 20
}

// TestAccessEdgeDies: whoever was on an edge that is killed is on another one soon, and the others notice nothing but a pause.
func TestAccessEdgeDies(t *testing.T) {
	c, anna, _, _ := everyone(t)
	before := c.settled()
	var gaps []time.Duration
	for range runs() {
		e := anna.edge()
		victims, others := c.on(e), c.off(e)
		killed := time.Now()
		e.Kill()
		for _, p := range victims {
			c.until(15*time.Second, p.name+" is on another edge", func() bool { return p.edge() != e })
			for _, o := range others {
				o.hears(killed.Add(time.Second), 15*time.Second, p)
				p.hears(killed.Add(time.Second), 15*time.Second, o)
				for _, way := range [][2]*person{{o, p}, {p, o}} {
					sound, _ := way[0].sink(way[1]).Gaps(killed, time.Now())
					gaps = append(gaps, sound)
				}
			}
		}
		c.uninterrupted(others, killed, time.Now(), 300*time.Millisecond, time.Second)
		e.up()
		c.whole(4)
	}
	c.agree(5 * time.Second)
	if after := anna.roster(); !slices.Equal(after, before) {
		t.Errorf("the room is not as before: %q, then %q", before, after)
	}
	slices.Sort(gaps)
	p95 := gaps[len(gaps)*95/100]
	t.Logf("sound was away for %v (median), %v (95 %%), %v (longest) of %d", gaps[len(gaps)/2], p95, gaps[len(gaps)-1], len(gaps))
	if p95 > 5*time.Second {
		t.Errorf("sound was away for %v", p95)
	}
}

// TestHomeDies: those who are not on it do not notice.
func TestHomeDies(t *testing.T) {
	c, _, _, _ := everyone(t)
	before := c.settled()
	home := c.home()
	others := c.off(home)
	killed := time.Now()
	home.Kill()
	took := c.until(10*time.Second, "there is another home", func() bool { h := c.home(home); return h != nil && h != home })
	t.Logf("another home after %v", took.Round(time.Millisecond))
	c.lets(3 * time.Second)
	c.uninterrupted(others, killed, time.Now(), 300*time.Millisecond, 500*time.Millisecond)
	c.until(15*time.Second, "nobody is on the dead edge", func() bool { return len(c.on(home)) == 0 })
	home.up()
	c.whole(4)
	c.agree(5 * time.Second)
	if after := others[0].roster(); !slices.Equal(after, before) {
		t.Errorf("the room is not as before: %q, then %q", before, after)
	}
}

// TestHomeStandsStill: a home that was suspended has been replaced; it does not give orders any more, and nobody is told anything.
func TestHomeStandsStill(t *testing.T) {
	c, _, _, _ := everyone(t)
	before := c.settled()
	home := c.home()
	others := c.off(home)
	suspended := time.Now()
	c.must(home.Suspend())
	c.until(8*time.Second, "there is another home", func() bool { h := c.home(home); return h != nil && h != home })
	c.lets(10*time.Second - time.Since(suspended))
	c.must(home.Resume())
	c.lets(2 * time.Second)
	c.uninterrupted(others, suspended, time.Now(), 300*time.Millisecond, 500*time.Millisecond)
	if h := c.home(); h == home {
		t.Error("the home of before is home again, though another one was there")
	}
	for _, p := range c.people {
		p.hears(time.Now(), 20*time.Second, c.people...)
	}
	c.agree(5 * time.Second)
	if after := others[0].roster(); !slices.Equal(after, before) {
		t.Errorf("the room is not as before: %q, then %q", before, after)
	}
}

// TestRegionsCutOff: both sides go on for half a minute, then they are one room again and nobody was put out.
func TestRegionsCutOff(t *testing.T) {
	c, anna, bert, carl := everyone(t)
	dora := c.joins("dora", c.edges[2])
	dora.hears(time.Now(), 15*time.Second, c.people...)
	before := c.settled()
	between := []*netlab.Link{c.line(&c.edges[0].node, &c.edges[2].node), c.line(&c.edges[1].node, &c.edges[2].node), c.line(&c.relay.node, &c.edges[2].node)}
	cut := time.Now()
	for _, l := range between {
		l.SetBoth(netlab.Shape{Down: true})
	}
	c.lets(30 * time.Second)
	c.uninterrupted([]*person{anna, bert}, cut, time.Now(), 300*time.Millisecond, time.Second)
	c.uninterrupted([]*person{carl, dora}, cut, time.Now(), 300*time.Millisecond, time.Second)
	healed := time.Now()
	for _, l := range between {
		l.SetBoth(far)
	}
	// Links are tried again every few seconds; from the first one on it takes no longer than this.
	c.until(15*time.Second, "the edges see each other", func() bool { return c.sees(c.edges[0], 4) && c.sees(c.edges[2], 4) })
	t.Logf("the edges saw each other after %v", time.Since(healed).Round(time.Millisecond))
	c.oneHome(5 * time.Second)
	c.agree(5 * time.Second)
	for _, p := range c.people {
		p.hears(time.Now(), 5*time.Second, c.people...)
	}
	if after := anna.roster(); !slices.Equal(after, before) {
		t.Errorf("the room is not as before: %q, then %q", before, after)
	}
}

// TestRollingRestart: every node is stopped and started in turn, and nobody notices.
func TestRollingRestart(t *testing.T) {
	c, anna, _, _ := everyone(t)
	before := c.settled()
	for _, e := range c.edges {
		begin := time.Now()
		c.must(e.Terminate())
		select {
		case <-e.Ended:
		case <-time.After(patience):
			c.tails()
			t.Fatalf("%s does not stop", e.name)
		}
		t.Logf("%s has ended after %v", e.name, time.Since(begin).Round(time.Millisecond))
		e.up()
		c.whole(4)
		for _, p := range c.people {
			p.hears(time.Now(), 5*time.Second, c.people...)
		}
		// Nobody is to notice it by ear; a picture may wait for a key frame.
		c.uninterrupted(c.people, begin, time.Now(), 500*time.Millisecond, 1500*time.Millisecond)
	}
	c.agree(5 * time.Second)
	if after := anna.roster(); !slices.Equal(after, before) {
		t.Errorf("the room is not as before: %q, then %q", before, after)
	}
}
