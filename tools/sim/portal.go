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

// What a portal and package mesh do with a participant, as far as the directory is concerned.

// Times of portals.
const (
	retryAfter  = 100 * time.Millisecond // a home is asked again
	commandTime = 1500 * time.Millisecond
	keepSeat    = 30 * time.Second // for a participant whose connection is gone
	keepStream  = 10 * time.Second // of a participant that is elsewhere now
	tidyAfter   = 3 * time.Second  // a room without participants is left
	patience    = 3 * time.Second  // of a client with an edge
)

// Why a portal does not take somebody.
var (
	errDraining = errors.New("the edge drains")
	errFull     = errors.New("the edge is full")
	errGone     = errors.New("the client is gone")
	errUsed     = errors.New("the token was used")
)

// attempt is a client's try on one edge.
type attempt struct {
	client *client
	id     string // of the participant
	n      *node
	over   bool // the client has given up, or has its answer
}

// live tells whether the client still waits.
func (a *attempt) live() bool { return !a.over }

// refuses is an edge's own reason to take nobody.
func (n *node) refuses() error {
	switch {
	case n.draining || n.leaving:
		return errDraining
	case !n.w.bend.blind && n.load.now(n) >= 1:
		return errFull
	}
	return nil
}

// login takes a participant in with a token.
func (a *attempt) login(tokenID string, created int64, done func(generation uint64, err error)) {
	n, c := a.n, a.client
	if err := n.refuses(); err != nil {
		done(0, err)
		return
	}
	w := n.w
	w.store.use(w, n, tokenID, func(ok bool) {
		if !ok {
			done(0, errUsed)
			return
		}
		p := n.part(c.room.name)
		p.enter()
		p.admit(roster.Admission{Participant: a.id, Generation: 1, Token: tokenID, Created: created}, a.live, func(err error) {
			if err == nil {
				p.take(c, a.id, 1)
				w.stats.logins++
			}
			done(1, err)
		})
	})
}

// resume takes a participant again with a ticket.
func (a *attempt) resume(id string, ticket uint64, done func(generation uint64, err error)) {
	n, c := a.n, a.client
	if err := n.refuses(); err != nil {
		done(0, err)
		return
	}
	if highest, seen := n.gens.Highest(id, n.calendar()); seen && ticket <= highest {
		done(0, roster.ErrReplayed)
		return
	}
	w := n.w
	p := n.part(c.room.name)
	if s := p.people[id]; s != nil && s.generation != ticket {
		done(0, roster.ErrReplayed)
		return
	}
	p.enter()
	admitted := func(err error) {
		if err == nil && !n.gens.Accept(id, ticket, n.calendar()) {
			err = roster.ErrReplayed // somebody was faster here
		}
		if err == nil {
			w.check.accepted(w, p, id, ticket)
			if p.people[id] != nil {
				w.stats.relogins++
			} else {
				w.stats.resumes++
			}
			p.take(c, id, ticket+1)
		}
		done(ticket+1, err)
	}
	// Also whom it knows: an edge that was stopped may not know that the participant is elsewhere by now.
	if w.bend.noHome || w.bend.knowing && p.people[id] != nil {
		admitted(nil)
		return
	}
	p.admit(roster.Admission{Participant: id, Generation: ticket + 1, Resume: true}, a.live, admitted)
}

// take has a participant be here.
func (p *part) take(c *client, id string, generation uint64) {
	key := roster.Key{Kind: roster.Participant, ID: id}
	p.n.w.logf("%s takes %s, generation %d", p, id, generation)
	if p.people[id] == nil {
		p.n.seats++
	}
	p.people[id] = &seat{client: c, generation: generation, stream: c.publishes}
	p.enter()
	p.put(key, generation)
	if c.publishes {
		p.put(streamOf(id), generation)
	}
}

func streamOf(id string) roster.Key { return roster.Key{Kind: roster.Stream, ID: id + "/s"} }

// put makes an entry this node's, with a new value.
func (p *part) put(key roster.Key, generation uint64) {
	w := p.n.w
	w.order++
	value := fmt.Appendf(nil, "%s %s %d", p.n.name.ID, key.ID, w.order)
	e := roster.Entry{Key: key, Owner: p.n.name.ID, Life: p.n.name.Boot, Generation: generation, Value: value}
	p.own[key] = e
	if g := e.Gone(); g.Compare(p.room.top[key]) > 0 {
		p.room.top[key] = g
	}
	w.check.change(w, p.room)
	p.handle(directory.Put{Key: key, Generation: generation, Value: value})
}

func (p *part) remove(key roster.Key) {
	e, ok := p.own[key]
	if !ok {
		return
	}
	p.n.w.logf("%s removes %s, generation %d", p, key.ID, e.Generation)
	p.room.removed[key] = e.Gone()
	delete(p.own, key)
	p.n.w.check.change(p.n.w, p.room)
	p.handle(directory.Remove{Key: key})
}

// leave has a participant be here no more.
func (p *part) leave(id string) {
	if p.people[id] == nil {
		return
	}
	delete(p.people, id)
	p.n.seats--
	p.remove(streamOf(id))
	p.remove(roster.Key{Kind: roster.Participant, ID: id})
	p.tidy()
}

// moved is the core saying that another edge has an entry of this one's.
func (p *part) moved(key roster.Key) {
	w := p.n.w
	w.logf("%s has lost %s", p, key.ID)
	delete(p.own, key)
	w.check.change(w, p.room)
	w.stats.moved++
	if key.Kind != roster.Participant {
		return
	}
	s := p.people[key.ID]
	if s == nil {
		return
	}
	delete(p.people, key.ID)
	p.n.seats--
	if c := s.client; c.seat == p && c.generation == s.generation && !s.gone {
		w.on(nil, 0, func() { c.lose(p) }) // it holds the lower of two places
	}
	w.on(p.n, keepStream, func() {
		if p.alive() && p.people[key.ID] == nil {
			p.remove(streamOf(key.ID))
		}
	})
	p.tidy()
}

// tidy leaves a room without participants after a while.
func (p *part) tidy() {
	w := p.n.w
	w.on(p.n, tidyAfter, func() {
		if p.alive() && p.entered && len(p.people) == 0 && p.wishes == 0 {
			if _, leads := p.core.Epoch(); !leads && len(p.own) == 0 {
				p.exit()
			} else {
				p.tidy()
			}
		}
	})
}

// exit leaves a room in good order.
func (p *part) exit() {
	p.entered = false
	for key, e := range p.own {
		p.room.removed[key] = e.Gone()
	}
	clear(p.own)
	clear(p.people)
	clear(p.shadow)
	p.hash = 0
	p.n.w.check.change(p.n.w, p.room)
	p.handle(directory.Enter{})
}

// dropped notes that a participant's connection is gone.
func (p *part) dropped(id string) {
	s := p.people[id]
	if s == nil {
		return
	}
	s.gone = true
	p.n.w.on(p.n, keepSeat, func() {
		if p.alive() && p.people[id] == s && s.gone {
			p.leave(id)
		}
	})
}

// admit asks the home for a place, and waits through a change of home as long as live, as Membership.Admit does.
func (p *part) admit(a roster.Admission, live func() bool, done func(err error)) {
	w := p.n.w
	w.order++
	a.Owner, a.Request = p.n.name.ID, fmt.Sprint(p.n.name.ID, "/", p.n.name.Boot, "/", w.order)
	p.wishes++
	p.handle(directory.Wish{On: true})
	finish := func(err error) {
		p.wishes--
		p.handle(directory.Wish{})
		done(err)
		p.tidy()
	}
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
		default:
			finish(err)
		}
	}
	try = func() {
		if !live() {
			finish(errGone)
			return
		}
		switch e, leads := p.core.Epoch(); {
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
