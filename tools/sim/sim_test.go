package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"portico/edge/mesh/directory"
	"portico/shared/placement"
	"portico/shared/roster"
)

// What must hold whatever happens.
func TestSeeds(t *testing.T) {
	seeds := 200
	if testing.Short() {
		seeds = 20
	}
	var all stats
	events := 0
	many(0, seeds, moderate, func(w *world) {
		if len(w.faults) > 0 {
			t.Errorf("seed %d (go run ./tools/sim -seed %d -v):\n%s", w.cfg.seed, w.cfg.seed, strings.Join(w.faults, "\n"))
		}
		events += w.count
		all.add(&w.stats)
	})
	// Of what is to be withstood enough must have happened.
	n := seeds / 4
	for what, happened := range map[string]struct{ count, least int }{
		"kills": {all.kills, n}, "pauses": {all.pauses, n}, "cuts": {all.cuts, n / 4}, "cuts between regions": {all.regionCuts, n / 4},
		"partitions": {all.partitions, n / 4}, "drains": {all.drains, n / 4}, "clocks": {all.skews, n / 4},
		"mass restarts": {all.restarts, n / 10}, "slow stores": {all.slowStores, n / 10}, "bad lines": {all.badLines, n / 10},
		"resumptions": {all.resumes, 20 * n}, "resumptions on the same edge": {all.relogins, n}, "entries moved": {all.moved, n},
	} {
		if happened.count < max(happened.least, 1) {
			t.Errorf("%d %s are too few", happened.count, what)
		}
	}
	t.Logf("%d events; %v", events, &all)
}

func TestManyEdges(t *testing.T) {
	if testing.Short() {
		t.Skip("200 edges take ten seconds and more: run without -short")
	}
	many(0, 2, wide, func(w *world) {
		if len(w.faults) > 0 {
			t.Errorf("seed %d (go run ./tools/sim -wide -seed %d -v):\n%s", w.cfg.seed, w.cfg.seed, strings.Join(w.faults, "\n"))
		}
		t.Log(w.summary())
	})
}

// The same seed gives the same run, to the last line of its log.
func TestRepeatable(t *testing.T) {
	run := func(seed uint64) [32]byte {
		var log bytes.Buffer
		cfg := moderate(seed)
		cfg.log, cfg.rounds = &log, 1
		simulate(cfg)
		if log.Len() < 10_000 {
			t.Fatal("hardly anything happens")
		}
		return sha256.Sum256(log.Bytes())
	}
	for seed := range uint64(3) {
		if run(seed) != run(seed) {
			t.Errorf("seed %d runs in two ways", seed)
		}
	}
	if run(1) == run(2) {
		t.Error("two seeds run in one way")
	}
}

// Each invariant is broken by breaking the rule behind it.
func TestNotices(t *testing.T) {
	half := func(_ *world, _ *part, e directory.Effect) directory.Effect {
		if a, ok := e.(directory.Apply); ok {
			return directory.Apply{Changes: append([]roster.Change(nil), a.Changes[:len(a.Changes)/2]...)}
		}
		return e
	}
	neighbour := func(w *world, n *node) placement.Name { return w.nodes[n.i/2*2].name }
	odd := func(_ *world, a, b *node) bool { return a.i%2 != b.i%2 }
	for name, c := range map[string]struct {
		bend bend
		want string
	}{
		"two nodes under one name":                             {bend{name: neighbour}, "unique"},
		"a room is divided though its links are not":           {bend{seatLost: odd}, "epoch"},
		"commands of any epoch are obeyed":                     {bend{obeyStale: true}, "stale"},
		"clients that give up":                                 {bend{noRetry: true}, "seat"},
		"changes that are not told":                            {bend{effect: half}, "told"},
		"rosters that lack something":                          {bend{effect: half}, "roster"},
		"no grace":                                             {bend{grace: time.Second}, "left"},
		"old news":                                             {bend{oldDeltas: true}, "order"},
		"tickets are taken without the home":                   {bend{noHome: true}, "replay"},
		"an edge takes whom it knows without the home":         {bend{hasty: true}, "replay"},
		"tickets that are not spent where they are exchanged":  {bend{noRenew: true}, "replay"},
		"tickets of clocks that are ahead are refused":         {bend{punctual: true}, "drain"},
		"tokens are used again and again":                      {bend{noSingleUse: true}, "replay: token"},
		"clients stay on an edge that drains":                  {bend{noMove: true}, "drain"},
		"rooms stay on an edge that drains":                    {bend{noDrain: true}, "drain"},
		"every change of load is told":                         {bend{trembling: true}, "gossip"},
		"nobody looks at the load":                             {bend{blind: true}, "crowd"},
		"a node that starts again with a clock that goes back": {bend{bootByClock: true}, "roster"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(60) {
				cfg := moderate(seed)
				cfg.bend = c.bend
				if w := simulate(cfg); strings.Contains(strings.Join(w.faults, "\n"), "s "+c.want) {
					return
				}
			}
			t.Error("60 seeds, and nothing is noticed")
		})
	}
}

func TestQueue(t *testing.T) {
	w := build(config{seed: 1, edges: 1, regions: 1, rooms: 1})
	w.queue = nil
	var got []string
	for i, at := range []int{5, 1, 3, 1, 9, 0, 3} {
		w.at(time.Duration(at)*time.Second, func() { got = append(got, fmt.Sprint(at, "/", i)) })
	}
	w.run(6 * time.Second)
	if want := "0/5 1/1 1/3 3/2 3/6 5/0"; strings.Join(got, " ") != want || w.now != 6*time.Second || len(w.queue) != 1 {
		t.Errorf("%v at %v", got, w.now)
	}
}
