package directory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestRandom lets things happen in a random order, heals everything, and looks whether all agree.
func TestRandom(t *testing.T) {
	seeds := 400
	if testing.Short() {
		seeds = 30
	}
	for seed := range seeds {
		t.Run(strconv.Itoa(seed), func(t *testing.T) { random(t, uint64(seed)) })
	}
}

func random(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 6))
	names := []string{"a", "b", "c", "d", "e"}[:2+rng.IntN(4)]
	w := newWorld(t, names...)
	w.delay = time.Duration(1+rng.IntN(60)) * time.Millisecond
	people := map[string]string{} // who is where
	said := map[string]int{}
	next := 0
	pick := func() *edge { return w.edges[names[rng.IntN(len(names))]] }
	for range 40 {
		e := pick()
		switch rng.IntN(9) {
		case 0, 1, 2:
			if e.up && !e.paused {
				id := fmt.Sprint("p", next)
				next++
				w.join(e.name.ID, id)
				people[id] = e.name.ID
			}
		case 3:
			for _, id := range sortedKeys(people) {
				if people[id] == e.name.ID && e.up && !e.paused && e.entered {
					e.handle(Remove{Key: person(id)})
					delete(people, id)
					break
				}
			}
		case 4:
			if e.up && !e.paused && rng.IntN(3) == 0 {
				w.kill(e.name.ID)
				for _, id := range sortedKeys(people) {
					if people[id] == e.name.ID {
						delete(people, id)
					}
				}
				w.at(time.Duration(rng.IntN(6000))*time.Millisecond+2*time.Second, func() {
					if !e.up {
						w.start(e.name.ID)
						for _, other := range names {
							w.heal(w.edges[other], e)
						}
						w.views()
					}
				})
			}
		case 5:
			if e.up && !e.paused && rng.IntN(2) == 0 {
				w.pause(e.name.ID)
				w.at(time.Duration(rng.IntN(8000))*time.Millisecond+2*time.Second, func() {
					if e.paused {
						w.resume(e.name.ID)
					}
				})
			}
		case 6:
			other := pick()
			if other != e && !w.cut[[2]string{e.name.ID, other.name.ID}] && rng.IntN(2) == 0 {
				w.split(e.name.ID, other.name.ID, true)
				w.at(2*time.Second, w.views)
				w.at(time.Duration(rng.IntN(8000))*time.Millisecond+2*time.Second, func() {
					w.split(e.name.ID, other.name.ID, false)
					w.at(time.Second, w.views)
				})
			}
		case 7:
			if e.up && !e.paused && e.entered && e.room.own.Len() > 0 {
				said[e.name.ID]++
				e.handle(Note{Body: fmt.Appendf(nil, "%s%06d", e.name.ID, said[e.name.ID])})
			}
		}
		w.run(time.Duration(rng.IntN(1500)) * time.Millisecond)
		if t.Failed() {
			return
		}
	}
	w.run(15 * time.Second) // everything is mended
	w.views()
	w.run(80 * time.Second)
	w.check(sortedKeys(people)...)
	if len(people) > 0 {
		w.home()
	}
	for _, name := range names {
		notes := w.edges[name].notes
		for _, from := range names {
			var mine []string
			for _, n := range notes {
				if n[:1] == from {
					mine = append(mine, n)
				}
			}
			if !slices.IsSorted(mine) || len(slices.Compact(slices.Clone(mine))) != len(mine) {
				t.Errorf("%s heard of %s: %v", name, from, mine)
			}
		}
	}
}
