package node

import (
	"testing"
	"time"

	"portico/shared/roster"
)

// Load is the greatest of what is used up, averaged over some seconds.
func TestLoad(t *testing.T) {
	at := time.Unix(1000, 0)
	step := func(l *load, s sample, connections float64) float64 {
		at = at.Add(time.Second)
		s.at = at
		return l.measure(s, connections)
	}
	settled := func(cpu time.Duration, packets uint64, connections float64) float64 {
		l := &load{cores: 2}
		for i := range 20 {
			step(l, sample{cpu: time.Duration(i) * cpu, packets: uint64(i) * packets}, connections)
		}
		return l.Value()
	}
	for name, c := range map[string]struct {
		cpu         time.Duration
		packets     uint64
		connections float64
		want        float64
	}{
		"idle":            {want: 0},
		"one core of two": {cpu: time.Second, want: 0.5},
		"both":            {cpu: 2 * time.Second, want: 1},
		"packets":         {packets: packetsPerCore, cpu: 100 * time.Millisecond, want: 0.5},
		"connections":     {connections: 0.75, cpu: time.Second, want: 0.75},
	} {
		if got := settled(c.cpu, c.packets, c.connections); got < c.want-0.01 || got > c.want+0.01 {
			t.Errorf("%s: %.3f, want %.2f", name, got, c.want)
		}
	}
	l := &load{cores: 1}
	step(l, sample{}, 0)
	if v := step(l, sample{cpu: time.Second}, 0); v > 0.5 {
		t.Errorf("one busy second makes an edge full: %v", v)
	}
	if cpuTime() <= 0 {
		t.Error("no processor time is measured")
	}
}

// presence counts what edges have in a room, and tells when an edge comes or goes.
func TestPresence(t *testing.T) {
	told := 0
	p := &presence{rooms: map[string]map[string]int{}, changed: func() { told++ }}
	of := func(owner, id string) *roster.Entry {
		return &roster.Entry{Key: roster.Key{Kind: roster.Participant, ID: id}, Owner: owner}
	}
	for _, c := range []struct {
		changes []roster.Change
		told    int
		edges   string
	}{
		{[]roster.Change{{Now: of("a", "1")}, {Now: of("a", "2")}}, 1, "a"},
		{[]roster.Change{{Now: of("b", "3")}}, 2, "ab"},
		{[]roster.Change{{Was: of("a", "1"), Now: of("b", "1")}}, 2, "ab"},
		{[]roster.Change{{Was: of("a", "2")}}, 3, "b"},
		{[]roster.Change{{Was: of("nobody", "9")}}, 3, "b"},
		{[]roster.Change{{Was: of("b", "3"), Now: of("c", "3")}, {Was: of("b", "1"), Now: of("c", "1")}}, 4, "c"},
	} {
		p.take("R", c.changes)
		edges := p.of("R")
		if told != c.told || len(edges) != len(c.edges) {
			t.Errorf("told %d times of %v, want %d of %s", told, edges, c.told, c.edges)
		}
		for _, e := range c.edges {
			if !edges[string(e)] {
				t.Errorf("%v lacks %c", edges, e)
			}
		}
	}
	if p.leave("R"); len(p.of("R")) != 0 || len(p.rooms) != 0 {
		t.Error("a room that was left is kept")
	}
}
