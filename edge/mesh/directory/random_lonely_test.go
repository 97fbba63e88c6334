package directory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"portico/shared/placement"
	"portico/shared/roster"
)

// TestRandomLonely has edges die in a random order of things, and whoever was on them resume elsewhere: nobody is unknown there who has
// been in the room for a second, unless home and standby die within the same one, and no token is used again.
func TestRandomLonely(t *testing.T) {
	seeds := 400
	if testing.Short() {
		seeds = 30
	}
	back, lost := 0, 0
	for seed := range seeds {
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			l := &lonelyWorld{rng: rand.New(rand.NewPCG(uint64(seed), 60)), people: map[string]*lonelyPerson{}}
			names := []string{"A", "a", "b", "B", "c", "d"}[:2+l.rng.IntN(5)]
			l.world = newWorld(t, names...)
			l.delay = time.Duration(1+l.rng.IntN(60)) * time.Millisecond
			l.live()
			back, lost = back+l.back, lost+l.lost
		})
	}
	t.Logf("%d were taken up elsewhere, %d were lost with home and standby", back, lost)
	if back < 5*seeds {
		t.Error("too few to mean anything")
	}
}

// unsafe is how long it may take after a death until what is known is in two places again: a second until the loss is noticed, half of one
// until there is another home, and the way there and back.
const unsafe = 2 * time.Second

// lonelyWorld is a world where people go on when their edge is gone.
type lonelyWorld struct {
	*world
	rng    *rand.Rand
	people map[string]*lonelyPerson
	next   int

	// When an edge was last killed or started, when something else was last not as it should be, and when a death may last have cost what
	// was known.
	died, troubled, doubt time.Duration

	back, lost int
}

type lonelyPerson struct {
	edge       string
	generation uint64
	came       time.Duration
	since      time.Duration
}

// some gives an edge where people can be, or nil.
func (l *lonelyWorld) some() *edge {
	var list []*edge
	for _, name := range l.names() {
		if e := l.edges[name]; e.up && !e.paused {
			list = append(list, e)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[l.rng.IntN(len(list))]
}

// on are those who are on an edge.
func (l *lonelyWorld) on(name string) (list []string) {
	for _, id := range sortedKeys(l.people) {
		if l.people[id].edge == name {
			list = append(list, id)
		}
	}
	return list
}

func (l *lonelyWorld) live() {
	for range 40 {
		switch e := l.some(); l.rng.IntN(10) {
		case 0, 1, 2:
			l.come(e)
		case 3:
			if on := l.on(e.name.ID); len(on) > 0 {
				e.handle(Remove{Key: person(on[0])})
				delete(l.people, on[0])
			}
		case 4, 5, 6:
			if l.rng.IntN(2) == 0 {
				l.die(e)
			}
		case 7:
			if l.rng.IntN(3) == 0 {
				l.disturb(e)
			}
		case 8:
			if l.rng.IntN(3) == 0 {
				l.drain(e)
			}
		case 9:
			if on := l.on(e.name.ID); len(on) > 0 {
				e.handle(Put{Key: person(on[0]), Generation: l.people[on[0]].generation, Value: fmt.Append(nil, l.now)})
			}
		}
		l.run(time.Duration(l.rng.IntN(2500)) * time.Millisecond)
		if l.t.(*testing.T).Failed() {
			return
		}
	}
	l.run(15 * time.Second)
	l.views()
	l.run(100 * time.Second)
	l.check(sortedKeys(l.people)...)
	if len(l.people) > 0 {
		l.home()
	}
}

// come brings somebody in, at the edge where the others are more often than not.
func (l *lonelyWorld) come(e *edge) {
	if l.rng.IntN(3) > 0 {
		for _, id := range sortedKeys(l.people) {
			if there := l.edges[l.people[id].edge]; there.up && !there.paused {
				e = there
				break
			}
		}
	}
	l.next++
	id := fmt.Sprint("p", l.next)
	a := roster.Admission{Participant: id, Generation: 1, Token: "token of " + id}
	if err := l.ask(e.name.ID, a, -1, 15*time.Second); err != nil || !e.up {
		if err != roster.ErrNotYet {
			l.t.Errorf("%v: %s enters on %s: %v", l.now, id, e.name.ID, err)
		}
		return
	}
	l.join(e.name.ID, id)
	l.people[id] = &lonelyPerson{edge: e.name.ID, generation: 1, came: l.now, since: l.now}
}

// die kills an edge, and has those who were there go on elsewhere.
func (l *lonelyWorld) die(e *edge) {
	if l.running() < 2 {
		return
	}
	certain := l.now-l.died > unsafe && l.now-l.troubled > 10*time.Second
	at := l.now
	if l.died = at; !certain {
		l.doubt = at
	}
	l.kill(e.name.ID)
	l.at(time.Duration(l.rng.IntN(12000))*time.Millisecond+2*time.Second, func() {
		l.start(e.name.ID)
		l.died = l.now
		for _, other := range l.names() {
			l.heal(l.edges[other], e)
		}
		l.views()
	})
	for _, id := range l.on(e.name.ID) {
		p := l.people[id]
		to := l.some()
		known := at-p.since > time.Second
		err := l.ask(to.name.ID, roster.Admission{Participant: id, Generation: p.generation + 1, Resume: true}, -1, 12*time.Second)
		switch {
		case err == nil && to.up && !to.paused:
			l.back++
			p.edge, p.generation, p.since = to.name.ID, p.generation+1, l.now
			to.handle(Put{Key: person(id), Generation: p.generation, Value: []byte("about " + id)})
		case err != nil && known && certain:
			l.t.Errorf("%v: %s was on %s, which died at %v, and cannot go on on %s: %v", l.now, id, e.name.ID, at, to.name.ID, err)
			fallthrough
		default:
			l.lost++
			delete(l.people, id)
		}
		if token := "token of " + id; known && certain && p.came > l.doubt {
			if err := l.ask(to.name.ID, roster.Admission{Participant: "thief", Generation: 1, Token: token}, -1, 5*time.Second); err != errUsed {
				l.t.Errorf("%v: the %s is used again on %s: %v", l.now, token, to.name.ID, err)
			}
		}
	}
}

func (l *lonelyWorld) running() (n int) {
	for _, e := range l.edges {
		if e.up && !e.paused {
			n++
		}
	}
	return n
}

// disturb stops an edge for a while, or cuts two off from each other.
func (l *lonelyWorld) disturb(e *edge) {
	after := time.Duration(l.rng.IntN(8000))*time.Millisecond + 2*time.Second
	l.troubled = l.now + after + 2*time.Second
	l.doubt = l.troubled
	if l.rng.IntN(2) == 0 && l.running() > 1 {
		l.pause(e.name.ID)
		l.at(after, func() {
			if e.paused && e.up {
				l.resume(e.name.ID)
			}
		})
		return
	}
	other := l.some()
	if other == e || l.cut[[2]string{e.name.ID, other.name.ID}] {
		return
	}
	l.split(e.name.ID, other.name.ID, true)
	l.at(2*time.Second, l.views)
	l.at(after, func() {
		l.split(e.name.ID, other.name.ID, false)
		l.at(time.Second, l.views)
	})
}

// drain has an edge give its rooms away for a while.
func (l *lonelyWorld) drain(e *edge) {
	set := func(on bool) {
		if e.up && !e.paused {
			e.drains = on
			e.handle(placement.Drain{On: on})
			l.views()
		}
	}
	set(true)
	l.at(time.Duration(l.rng.IntN(8000))*time.Millisecond+2*time.Second, func() { set(false) })
	if !slices.ContainsFunc(l.names(), func(name string) bool { o := l.edges[name]; return o.up && !o.paused && !o.drains }) {
		l.troubled, l.doubt = l.now, l.now
	}
}
