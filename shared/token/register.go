package token

import "time"

// Used remembers which tokens were used, so that each works once. It belongs to one goroutine or lock; it never holds more than
// the number it was made for, and forgets by itself what has expired.
type Used struct {
	life time.Duration
	ids  aging[struct{}]
}

// NewUsed makes a register for tokens that live that long. When max of them are remembered at a time (default 1,000,000, when max
// is 0), further ones are refused rather than admitted unseen.
func NewUsed(life time.Duration, max int) *Used {
	// A token that claims to be made up to life in the future is accepted until two lives from now.
	return &Used{life: life, ids: newAging[struct{}](2*life, max)}
}

// Use tells that the token of that id, created then, may be used now: true only the first time, and never once its life is over or
// when it says that it was made more than a life in the future.
func (u *Used) Use(id string, created, now time.Time) bool {
	age := now.Sub(created)
	if age > u.life || age < -u.life {
		return false
	}
	if _, used := u.ids.get(id, now); used {
		return false
	}
	return u.ids.put(id, struct{}{}, now)
}

// Len is how many tokens are remembered.
func (u *Used) Len() int { return u.ids.len() }

// Generations remembers the highest generation of a ticket that was accepted for each participant, so that no ticket works after
// it or one made later has been used. It belongs to one goroutine or lock.
type Generations struct{ seen aging[uint64] }

// NewGenerations makes a register for tickets that are valid that long: a participant is forgotten when none of its tickets can be
// valid any more. When max participants are remembered (default 1,000,000, when max is 0), tickets of further ones are refused.
func NewGenerations(validity time.Duration, max int) *Generations {
	return &Generations{newAging[uint64](validity, max)}
}

// Accept tells that a ticket of that generation may be used now: it is higher than all that were accepted for the participant.
// The caller has checked the ticket's signature and time.
func (g *Generations) Accept(participant string, generation uint64, now time.Time) bool {
	if highest, seen := g.seen.get(participant, now); seen && generation <= highest {
		return false
	}
	return g.seen.put(participant, generation, now)
}

// Highest is the highest generation accepted for the participant.
func (g *Generations) Highest(participant string, now time.Time) (generation uint64, seen bool) {
	return g.seen.get(participant, now)
}

// Len is how many participants are remembered.
func (g *Generations) Len() int { return g.seen.len() }

const defaultRegister = 1_000_000

// aging is a map whose entries are kept for at least one period after they were put and for less than two: it keeps two maps, and
// drops the older one when the younger one has been filled for a period. Time that goes back drops nothing.
type aging[V any] struct {
	period     time.Duration
	max        int
	young, old map[string]V
	since      time.Time // when young was begun
}

func newAging[V any](period time.Duration, max int) aging[V] {
	if max <= 0 {
		max = defaultRegister
	}
	return aging[V]{period: period, max: max, young: map[string]V{}}
}

func (a *aging[V]) age(now time.Time) {
	switch passed := now.Sub(a.since); {
	case a.since.IsZero():
		a.since = now
	case passed > 2*a.period:
		a.young, a.old, a.since = map[string]V{}, nil, now
	case passed > a.period:
		a.young, a.old, a.since = map[string]V{}, a.young, now
	}
}

func (a *aging[V]) get(name string, now time.Time) (V, bool) {
	a.age(now)
	v, ok := a.young[name]
	if !ok {
		v, ok = a.old[name]
	}
	return v, ok
}

func (a *aging[V]) put(name string, v V, now time.Time) bool {
	a.age(now)
	delete(a.old, name)
	if _, there := a.young[name]; !there && a.len() >= a.max {
		return false
	}
	a.young[name] = v
	return true
}

func (a *aging[V]) len() int { return len(a.young) + len(a.old) }
