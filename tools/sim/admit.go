package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"portico/edge/mesh/directory"
	"portico/shared/placement"
	"portico/shared/roster"
)

// How a portal gets a place for a participant, as packages mesh and room do it.

// admit asks the home for a place, waits through a change of home, and then until all is known that the home knows, as room.Directory and
// Membership do. Whether the client still waits is no matter.
func (p *part) admit(a roster.Admission, done func(by placement.Epoch, err error)) {
	w := p.n.w
	w.order++
	a.Owner, a.Request = p.n.name.ID, fmt.Sprint(p.n.name.ID, "/", p.n.name.Boot, "/", w.order)
	until := w.now + requestTime
	var by placement.Epoch
	p.wish(func(finish func(func())) {
		p.place(a, until, &by, func(err error) { finish(func() { done(by, err) }) })
	})
}

// wish has the room followed until finish is called, which goes on with what comes then.
func (p *part) wish(do func(finish func(func()))) {
	p.wishes++
	p.handle(directory.Wish{On: true})
	do(func(then func()) {
		p.wishes--
		p.handle(directory.Wish{})
		then()
		p.tidy()
	})
}

// place asks for the place, and tells under which epoch it was given.
func (p *part) place(a roster.Admission, until time.Duration, by *placement.Epoch, done func(err error)) {
	w := p.n.w
	var try func()
	again := func(after time.Duration) {
		once := false
		step := func() {
			if !once && p.alive() {
				once = true
				try()
			}
		}
		p.waiting = append(p.waiting, step)
		w.on(p.n, after, step)
	}
	answer := func(err error) {
		switch {
		case !p.alive():
		case err == errTemporary || err == roster.ErrNotYet:
			again(retryAfter)
		case err == nil:
			p.sync(until, done)
		default:
			done(err)
		}
	}
	try = func() {
		if w.now >= until {
			done(errGone)
			return
		}
		e, leads := p.core.Epoch()
		*by = e
		switch {
		case e.Zero():
			again(patience / 4)
		case leads:
			answer(p.admitHere(a, e))
		default:
			w.ask(p, e, a, answer)
		}
	}
	try()
}

// sync waits until this part knows what the home does.
func (p *part) sync(until time.Duration, done func(err error)) {
	w := p.n.w
	w.order++
	id := w.order
	p.syncs[id] = func() { done(nil) }
	w.on(p.n, until-w.now, func() {
		if p.alive() && p.syncs[id] != nil {
			delete(p.syncs, id)
			done(errGone)
		}
	})
	p.handle(directory.Sync{ID: id})
}

// errTemporary is a refusal that another home may not repeat.
var errTemporary = errors.New("ask again")

// ask has the home of a room admit somebody.
func (w *world) ask(p *part, e placement.Epoch, a roster.Admission, done func(error)) {
	home := w.byName[e.Home.ID]
	answered := false
	answer := func(err error) {
		if !answered {
			answered = true
			done(err)
		}
	}
	w.whenLinked(p.n, home, func(l *link) {
		if l == nil {
			w.on(p.n, 0, func() { answer(errTemporary) })
			return
		}
		to := slices.Index(l.pair.ends[:], home)
		w.send(l, to, func() {
			err := w.serve(home, p, e, a)
			w.send(l, 1-to, func() { answer(err) })
		})
		w.await(p.n, l, 1-to, func() bool { return answered }, func() { answer(errTemporary) })
	})
}

// await gives up an answer when its link is gone.
func (w *world) await(n *node, l *link, end int, answered func() bool, failed func()) {
	w.on(n, commandTime, func() {
		switch {
		case answered():
		case !l.open[end]:
			failed()
		default:
			w.await(n, l, end, answered, failed)
		}
	})
}

// serve is the home's answer, as package mesh gives it.
func (w *world) serve(home *node, from *part, e placement.Epoch, a roster.Admission) error {
	q := home.rooms[from.room.name]
	if q == nil {
		return errTemporary
	}
	ok, _, effects := q.core.Command(placement.Name{ID: from.n.name.ID}, e, false, home.clock())
	q.carry(effects)
	if !ok {
		w.stats.stale++
		if !w.bend.obeyStale {
			return errTemporary
		}
	}
	w.check.obeyed(w, q, e)
	return q.admitHere(a, e)
}

// admitHere gives a place at the home.
func (p *part) admitHere(a roster.Admission, e placement.Epoch) error {
	n := p.n
	if !p.core.Settled() {
		return roster.ErrNotYet
	}
	if a.Token != "" {
		if !n.useToken(a.Token, a.Request, a.Created) {
			return errUsed
		}
		n.w.check.tokenUsed(n.w, p, a.Token, a.Request, e)
		oldest := n.calendar().Add(-2 * tokenLife).Unix()
		p.carry(p.core.Use(roster.Use{Token: a.Token, Request: a.Request, Created: a.Created}, oldest, n.clock()))
	}
	_, err := p.core.Admit(a, -1, n.clock())
	p.carry(nil)
	return err
}

// store is the cluster's database, which remembers tokens too, if it answers in time.
type store struct {
	used  map[string]bool
	delay time.Duration // more than usual
}

// storeTime is how long a portal waits for the store.
const storeTime = 300 * time.Millisecond

func (s *store) use(w *world, n *node, tokenID string, done func(ok bool)) {
	delay := w.between(2*time.Millisecond, 15*time.Millisecond) + w.random(s.delay)
	ok := !s.used[tokenID] || w.bend.noSingleUse
	w.at(delay, func() { s.used[tokenID] = true })
	if delay > storeTime {
		delay, ok = storeTime, true // joins do not wait for it
	}
	w.on(n, delay, func() { done(ok) })
}
