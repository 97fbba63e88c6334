package token

import "time"

// Used remembers which tokens were used, so that each works once. It belongs to one goroutine or lock; it never holds more than
// the number it was made for, and forgets by itself what has expired.
type Used struct {
	life time.Duration
	ids  aging
}

// NewUsed makes a register for tokens that live that long. When max of them are remembered at a time (default 1,000,000, when max
// is 0), further ones are refused rather than admitted unseen.
func NewUsed(life time.Duration, max int) *Used {
	// A token that claims to be made up to life in the future is accepted until two lives from now.
	return &Used{life: life, ids: newAging(2*life, max)}
}

// Use tells that the token of that id, created then, may be used now: true only the first time, and never once its life is over or
// when it says that it was made more than a life in the future.
func (u *Used) Use(id string, created, now time.Time) bool {
	age := now.Sub(created)
	if age > u.life || age < -u.life {
		return false
	}
	return !u.ids.has(id, now) && u.ids.put(id, now)
}

// Len is how many tokens are remembered.
func (u *Used) Len() int { return u.ids.len() }

const defaultRegister = 1_000_000

// aging is a set whose members are kept for at least one period after they were put and for less than two: it keeps two maps, and
// drops the older one when the younger one has been filled for a period. Time that goes back drops nothing.
type aging struct {
	period     time.Duration
	max        int
	young, old map[string]struct{}
	since      time.Time // when young was begun
}

func newAging(period time.Duration, max int) aging {
	if max <= 0 {
		max = defaultRegister
	}
	return aging{period: period, max: max, young: map[string]struct{}{}}
}

func (a *aging) age(now time.Time) {
	switch passed := now.Sub(a.since); {
	case a.since.IsZero():
		a.since = now
	case passed > 2*a.period:
		a.young, a.old, a.since = map[string]struct{}{}, nil, now
	case passed > a.period:
		a.young, a.old, a.since = map[string]struct{}{}, a.young, now
	}
}

func (a *aging) has(name string, now time.Time) bool {
	a.age(now)
	_, young := a.young[name]
	_, old := a.old[name]
	return young || old
}

func (a *aging) put(name string, now time.Time) bool {
	a.age(now)
	delete(a.old, name)
	if _, there := a.young[name]; !there && a.len() >= a.max {
		return false
	}
	a.young[name] = struct{}{}
	return true
}

func (a *aging) len() int { return len(a.young) + len(a.old) }
