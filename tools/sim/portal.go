package main

import (
	"errors"
	"fmt"
	"time"

	"portico/edge/mesh/directory"
	"portico/shared/placement"
	"portico/shared/roster"
	"portico/shared/token"
)

// What a portal and package mesh do with a participant, as far as the directory is concerned.

// Times of portals.
const (
	retryAfter  = 100 * time.Millisecond // a home is asked again
	commandTime = 1500 * time.Millisecond
	requestTime = 6 * time.Second  // of a portal with the home
	keepSeat    = time.Minute      // for a participant whose connection is gone
	keepStream  = 10 * time.Second // of a participant that is elsewhere now
	tidyAfter   = 3 * time.Second  // a room without participants is left
	linger      = 20 * time.Second // of the connection of a participant that is elsewhere now
	patience    = 3 * time.Second  // of a client with an edge

	admitTime   = 3 * time.Minute // after its creation a token admits
	ticketLife  = 10 * time.Minute
	clockLeeway = time.Minute // by which the clock of a ticket's edge may be ahead
)

// Why a portal does not take somebody.
var (
	errDraining = errors.New("the edge drains")
	errFull     = errors.New("the edge is full")
	errGone     = errors.New("the client is gone")
	errUsed     = errors.New("the token was used")
	errExpired  = errors.New("the ticket is not in force")
	errHere     = errors.New("the participant is here already")
)

// ticket brings a participant back. Its edge takes any of them, again and again, as the protocol has it; another edge asks the home for
// the participant under the generation after the ticket's, so that it is taken over once.
type ticket struct {
	token.Ticket
	generation uint64
}

func (n *node) mint(generation uint64) ticket {
	now := n.calendar()
	return ticket{token.Ticket{NotBefore: now, NotAfter: now.Add(ticketLife)}, generation}
}

// inForce tells whether a ticket is good by the node's own clock.
func (n *node) inForce(t ticket) bool {
	now := n.calendar()
	return t.Valid(now) || !n.w.bend.punctual && t.Valid(now.Add(clockLeeway))
}

// attempt is a client's try on one edge.
type attempt struct {
	client *client
	id     string // of the participant
	n      *node
	over   bool // the client has given up, or has its answer
	new    bool // it is a login
}

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
func (a *attempt) login(tokenID string, created int64, done func(t ticket, err error)) {
	n, c := a.n, a.client
	a.new = true
	if err := n.refuses(); err != nil {
		done(ticket{}, err)
		return
	}
	w := n.w
	w.store.use(w, n, tokenID, func(ok bool) {
		if age := n.calendar().Sub(time.Unix(created, 0)); !ok || age > admitTime {
			done(ticket{}, errUsed)
			return
		}
		p := n.part(c.room.name)
		p.enter()
		p.admit(roster.Admission{Participant: a.id, Generation: 1, Token: tokenID, Created: created}, func(_ placement.Epoch, err error) {
			if err == nil {
				p.take(c, a.id, 1)
				w.stats.logins++
			}
			done(n.mint(1), err)
		})
	})
}

// resume takes a participant again with a ticket: as it is if it is here, or else from the edge that has it, or had it.
func (a *attempt) resume(id string, t ticket, done func(t ticket, err error)) {
	n, c := a.n, a.client
	w := n.w
	if !n.inForce(t) {
		done(ticket{}, errExpired)
		return
	}
	if p := n.rooms[c.room.name]; p != nil && p.people[id] != nil {
		p.again(c, id, t, done)
		return
	}
	if err := n.refuses(); err != nil {
		done(ticket{}, err)
		return
	}
	p := n.part(c.room.name)
	p.enter()
	admitted := func(by placement.Epoch, err error) {
		switch {
		case err != nil:
			done(ticket{}, err)
			return
		case p.people[id] != nil:
			done(ticket{}, errHere)
			return
		case p.knows(id) > t.generation && !w.bend.noHome: // it has taken so long that another edge was faster
			done(ticket{}, roster.ErrReplayed)
			return
		}
		w.check.takenOver(w, p, id, t.generation, by)
		w.stats.resumes++
		p.take(c, id, t.generation+1)
		done(n.mint(t.generation+1), nil)
	}
	if w.bend.noHome {
		admitted(p.epoch, nil)
		return
	}
	p.admit(roster.Admission{Participant: id, Generation: t.generation + 1, Resume: true}, admitted)
}

// knows gives the generation of a participant as the room's directory has it here.
func (p *part) knows(id string) uint64 {
	e, _ := p.core.Get(roster.Key{Kind: roster.Participant, ID: id})
	return e.Generation
}

// again takes a participant again that is here, once it is sure that it is not elsewhere: this edge may have been stopped.
func (p *part) again(c *client, id string, t ticket, done func(t ticket, err error)) {
	w := p.n.w
	synced := func(err error) {
		if err == nil && p.people[id] == nil {
			err = roster.ErrReplayed
		}
		if err != nil {
			done(ticket{}, err)
			return
		}
		w.check.exchanged(w, p, id, t.generation)
		done(p.n.mint(p.rebind(c, id, t.generation)), nil)
	}
	if w.bend.hasty {
		synced(nil)
		return
	}
	p.wish(func(finish func(func())) {
		p.sync(w.now+requestTime, func(err error) { finish(func() { synced(err) }) })
	})
}

// rebind gives a participant that is here another connection, and sees to it that the ticket is not taken on another edge as well.
func (p *part) rebind(c *client, id string, generation uint64) (next uint64) {
	s := p.people[id]
	p.n.w.logf("%s has %s again, ticket %d, generation %d", p, id, generation, s.generation)
	if c.wants {
		s.client, s.gone = c, false
	}
	if generation >= s.generation && !p.n.w.bend.noRenew {
		s.generation = generation + 1
		p.put(roster.Key{Kind: roster.Participant, ID: id}, s.generation)
	}
	return max(s.generation, generation+1)
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
	// One that is about to go elsewhere ends its connection itself; one that has the lower of two places finds out by that.
	c := s.client
	w.on(nil, linger, func() {
		if c.seat == p && c.id == key.ID && p.people[key.ID] == nil {
			w.logf("%s puts out the client of %s", p, key.ID)
			w.stats.stranded++
			c.lose(p)
		}
	})
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
	clear(p.syncs)
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
