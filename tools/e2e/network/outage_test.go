//go:build linux

package network

import (
	"slices"
	"testing"
	"time"

	"portico/tools/netlab"
)

// TestOutage: a participant's network goes away for 8 s and comes back, and with it the participant and the media both ways.
func TestOutage(t *testing.T) {
	e := startEdge(t)
	a, b := e.join("a", usual, usual), e.join("b", usual, usual)
	atA, atB := a.watch(b.publish()), b.watch(a.publish())
	atA.playing()
	atB.playing()
	id := a.c.Info().Self.ID
	a.line.SetBoth(netlab.Shape{Down: true})
	lets(t, 8*time.Second)
	back := clock()
	a.line.SetBoth(usual)
	for name, v := range map[string]*viewer{"to": atA, "from": atB} {
		const limit = 10 * time.Second
		if !v.until(limit, func(v *viewer) bool {
			return len(v.heard) > 0 && v.heard[len(v.heard)-1].sent > back && len(v.shown) > 0 && v.shown[len(v.shown)-1].sent > back
		}) {
			t.Errorf("no media %s the participant %v after its network came back", name, limit)
		}
		t.Logf("media %s the participant %.2f s after its network came back", name, (clock() - back).Seconds())
	}
	lets(t, 2*time.Second)
	end := clock()
	for name, v := range map[string]*viewer{"to": atA, "from": atB} {
		f := v.figures(end-2*time.Second, end)
		t.Logf("%s: %v", name, f)
		if f.perSecond() < 20 || f.audioGap > 400*time.Millisecond {
			t.Errorf("media %s the participant do not flow", name)
		}
	}
	if now := a.c.Info().Self.ID; now != id {
		t.Errorf("the participant is %s now, was %s", now, id)
	}
	for _, s := range []*seat{a, b} {
		s.mu.Lock()
		states, ended := slices.Clone(s.states), slices.Clone(s.ended)
		s.mu.Unlock()
		t.Logf("%s: %v", s.name, states)
		if len(ended) != 0 {
			t.Errorf("sessions of %s are over: %v", s.name, ended)
		}
	}
}
