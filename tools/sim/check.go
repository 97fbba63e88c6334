package main

import (
	"hash/maphash"
	"slices"
	"time"

	"portico/shared/meshproto"
	"portico/shared/placement"
	"portico/shared/roster"
)

// checker looks after the invariants. After every event it looks at what the event has touched.
type checker struct {
	dirty []*room
	led   map[string]map[placement.Epoch]string // of each room: who leads or has led
	used  map[string]use                        // of tokens
}

type use struct {
	epoch   placement.Epoch
	at      time.Duration
	request string
}

// admittance is a ticket that was accepted.
type admittance struct {
	epoch placement.Epoch
	at    time.Duration
	by    placement.Name
	here  bool // by the edge that had the participant
	told  bool // the edge was still there a moment later, and had a way to the home
}

// spoken is a follower as a home knows it.
type spoken struct {
	home, to placement.Name
	epoch    placement.Epoch
	call     *call
}

func (c *checker) afterEvent(w *world) {
	for _, r := range c.dirty {
		if r.dirty {
			r.dirty = false
			c.agreement(w, r)
		}
	}
	c.dirty = c.dirty[:0]
}

func (c *checker) touch(r *room) {
	if !r.dirty {
		r.dirty = true
		c.dirty = append(c.dirty, r)
	}
}

// moved notes that a part obeys another epoch, or leads.
func (c *checker) moved(w *world, p *part, epoch placement.Epoch, leads bool) {
	if leads {
		by := c.led[p.room.name]
		if by == nil {
			by = map[placement.Epoch]string{}
			c.led[p.room.name] = by
		}
		who := p.n.name.ID
		if other, ok := by[epoch]; ok && other != who || epoch.Home != p.n.name {
			w.fault("unique", "%s leads %v, as %s has", p, epoch, other)
		}
		if _, ok := by[epoch]; !ok {
			w.stats.leads++
		}
		by[epoch] = who
	}
	if !epoch.Zero() {
		c.obeyed(w, p, epoch)
	}
	w.logf("%s: %v, leads %t", p, epoch, leads)
	c.touch(p.room)
}

// obeyed checks that a part obeys nothing lower than before.
func (c *checker) obeyed(w *world, p *part, epoch placement.Epoch) {
	if epoch.Compare(p.high) < 0 {
		w.fault("stale", "%s obeys %v after %v", p, epoch, p.high)
	}
	p.high = epoch
}

// agreement checks that those of a connected part who want a room obey one home.
func (c *checker) agreement(w *world, r *room) {
	if wrong := r.disagreement(w); wrong == "" {
		if r.disagreed >= 0 && w.failing == 0 {
			w.stats.agreed = max(w.stats.agreed, w.now-max(r.disagreed, w.troubled))
		}
		r.disagreed = -1
		return
	} else if r.disagreed < 0 {
		r.disagreed = w.now
		w.logf("%s: %s", r.name, wrong)
		c.expect(w, r)
	}
}

// since is from when on a room ought to come to rest, of which something happened at a time. Whoever has a link to a node that is gone knows
// within a second or two, and whoever looks for the room on one that nobody has a link to finds out as soon. Among very many nodes several
// of these may have to be tried in turn: there gossip has to notice first.
func (w *world) since(happened time.Duration) time.Duration {
	if happened = max(happened, w.troubled); len(w.nodes) > veryMany {
		happened = max(happened, w.noticed)
	}
	return happened
}

const veryMany = 500

// restless tells that something fails, or that gossip has yet to notice it where that counts.
func (w *world) restless() bool { return w.failing > 0 || len(w.nodes) > veryMany && w.missed > 0 }

// expect looks at a room again when it ought to agree.
func (c *checker) expect(w *world, r *room) {
	w.at(max(w.since(r.disagreed)+quiet+time.Millisecond-w.now, lookAgain), func() {
		switch {
		case r.disagreed < 0:
		case w.restless(), w.now-w.since(r.disagreed) <= quiet:
			c.expect(w, r)
		default:
			if wrong := r.disagreement(w); wrong != "" {
				w.fault("epoch", "%s: %v after: %s", r.name, w.now-r.disagreed, wrong)
			}
		}
	})
}

// disagreement is what is not as it should be with a room's home, in any connected part.
func (r *room) disagreement(w *world) string {
	for side := range 2 {
		var epoch placement.Epoch
		var home *part
		for _, p := range r.parts {
			if !p.alive() || p.n.paused || w.side[p.n.region] != side {
				continue
			}
			if p.leads {
				if home != nil {
					return home.String() + " and " + p.n.name.ID + " both lead"
				}
				home = p
			}
			if len(p.own) == 0 && !p.leads {
				continue
			}
			switch {
			case p.epoch.Zero():
				return p.String() + ": no home"
			case epoch.Zero():
				epoch = p.epoch
			case epoch != p.epoch:
				return p.String() + ": " + p.epoch.String() + " is not " + epoch.String()
			}
		}
		if !epoch.Zero() && home == nil {
			return epoch.String() + " is obeyed, and nobody leads"
		}
	}
	return ""
}

// seatSince is from when on a participant of a region ought to find a place.
func (w *world) seatSince(unseated time.Duration, region int) time.Duration {
	return max(unseated, w.troubled, w.scarce[w.side[region]])
}

// watch has somebody seated in time.
func (c *checker) watch(w *world, cl *client) {
	w.at(w.seatSince(cl.unseated, cl.region)+seatTime+time.Millisecond-w.now, func() {
		since := w.seatSince(cl.unseated, cl.region)
		switch {
		case !cl.wants || cl.seat != nil || cl.told:
		case w.now-since > seatTime:
			cl.told = true
			w.fault("seat", "%s of %s has no place for %v", cl.id, cl.room.name, w.now-cl.unseated)
		default:
			c.watch(w, cl)
		}
	})
}

// said checks the order of what a home tells.
func (c *checker) said(w *world, p *part, on *call, m *meshproto.RoomMessage) {
	d := m.Delta
	if d == nil {
		return
	}
	to := 1 - on.end(p)
	if on.parts[to] == nil {
		return
	}
	key := spoken{home: p.n.name, to: on.parts[to].n.name, epoch: d.Epoch, call: on}
	before, again := p.room.spoken[key]
	switch {
	case d.To < before:
		w.fault("order", "%s tells %s of %d after %d", p, key.to.ID, d.To, before)
	case again && !d.Full && d.From > before:
		w.fault("order", "%s tells %s of what is after %d, and before of %d", p, key.to.ID, d.From, before)
	}
	p.room.spoken[key] = d.To
}

var hashSeed = maphash.MakeSeed()

func digest(e *roster.Entry) uint64 {
	return maphash.Comparable(hashSeed, e.Gone()) ^ maphash.Bytes(hashSeed, e.Value)
}

// apply takes what a part is told of others: exact differences, and nobody is said to have left who has not.
func (c *checker) apply(w *world, p *part, changes []roster.Change) {
	for _, ch := range changes {
		w.stats.changes++
		e := ch.Now
		if e == nil {
			e = ch.Was
		}
		known := p.shadow[e.Key]
		if (known == nil) != (ch.Was == nil) || known != nil && digest(known) != digest(ch.Was) {
			w.fault("told", "%s knows %v and is told %+v", p, known, ch)
		}
		if known != nil {
			p.hash ^= digest(known)
		}
		if ch.Now == nil {
			delete(p.shadow, e.Key)
			c.left(w, p, ch.Was)
			continue
		}
		p.hash ^= digest(ch.Now)
		p.shadow[e.Key] = ch.Now
	}
}

// left checks that an entry was removed by its owner, or has lost it for as long as it is kept.
func (c *checker) left(w *world, p *part, e *roster.Entry) {
	if len(p.own) == 0 && p.wishes == 0 || e.Gone() != p.room.top[e.Key] || e.Gone() == p.room.removed[e.Key] {
		return // it leaves the room itself, or somebody else has the entry, or nobody
	}
	owner := w.byName[e.Owner]
	q := owner.rooms[p.room.name]
	if owner.up && owner.name.Boot == e.Life && q != nil {
		if mine, ok := q.own[e.Key]; ok && mine.Generation == e.Generation && w.calm(grace) {
			w.fault("left", "%s is told that %s left, which %s has", p, e.ID, owner.name.ID)
		}
		return
	}
	if owner.name.Boot == e.Life && !owner.up && owner.died > 0 && w.now-owner.died < grace-time.Second && !owner.leaving {
		w.fault("left", "%s is told that %s left, whose edge died %v ago", p, e.ID, w.now-owner.died)
	}
}

// change notes that an owner has changed something, and looks at the room when it has been quiet.
func (c *checker) change(w *world, r *room) {
	r.changed = w.now
	c.touch(r)
	if !r.checking {
		r.checking = true
		c.settle(w, r)
	}
}

// settle looks at the rosters of a room when it has been quiet. On bad lines, where each of the several messages in turn that bring two
// sides together takes up to 0.8 s, that is 2 s more.
func (c *checker) settle(w *world, r *room) {
	enough := quiet
	if w.slow > 0 {
		enough += 2 * time.Second
	}
	w.at(max(w.since(r.changed)+enough-w.now, lookAgain), func() {
		if w.restless() || w.now-w.since(r.changed) < enough {
			c.settle(w, r)
			return
		}
		r.checking = false
		c.rosters(w, r)
	})
}

// rosters checks that everybody in a room knows what its owners have.
func (c *checker) rosters(w *world, r *room) {
	for side := range 2 {
		owned := map[roster.Key]*roster.Entry{}
		var list []*part
		for _, p := range r.parts {
			if !p.alive() || p.n.paused || w.side[p.n.region] != side || !p.entered || len(p.own) == 0 {
				continue
			}
			list = append(list, p)
			for key, e := range p.own {
				if other := owned[key]; other != nil {
					w.fault("roster", "%s and %s have %s", p, other.Owner, key.ID)
				}
				owned[key] = &e
				if !p.core.Owns(key) {
					w.fault("roster", "%s: %s is not in the core", p, key.ID)
				}
			}
		}
		if !w.calm(3*quiet) && slices.ContainsFunc(list, func(p *part) bool { return p.leftovers(w, owned) }) {
			c.change(w, r) // later
			return
		}
		for i, p := range list {
			c.compare(w, p, owned)
			if i > 0 && whole(p) != whole(list[0]) {
				w.fault("roster", "%s and %s differ: %d entries and %d", p, list[0], len(p.shadow)+len(p.own), len(list[0].shadow)+len(list[0].own))
			}
		}
	}
}

// leftovers tells whether a part knows entries of an edge that has left the room while there was no home to tell: the home finds out
// (roster.Config.Confirm).
func (p *part) leftovers(w *world, owned map[roster.Key]*roster.Entry) bool {
	for key, e := range p.shadow {
		if owner := w.byName[e.Owner]; owned[key] == nil && owner.up && owner.name.Boot == e.Life {
			if q := owner.rooms[p.room.name]; q == nil || len(q.own) == 0 {
				return true
			}
		}
	}
	return false
}

func whole(p *part) uint64 {
	h := p.hash
	for _, e := range p.own {
		h ^= digest(&e)
	}
	return h
}

// compare checks one roster: all that is owned, and beyond that only what was lost lately.
func (c *checker) compare(w *world, p *part, owned map[roster.Key]*roster.Entry) {
	for key, e := range owned {
		if have := p.shadow[key]; e.Owner != p.n.name.ID && (have == nil || digest(have) != digest(e)) {
			w.fault("roster", "%s has %v of %s, not %v", p, have, key.ID, e)
			return
		}
	}
	for key, e := range p.shadow {
		if owned[key] != nil {
			continue
		}
		owner := w.byName[e.Owner]
		if owner.up && owner.name.Boot == e.Life && !owner.paused && w.side[owner.region] == w.side[p.n.region] {
			w.fault("roster", "%s has %s, which %s has not", p, key.ID, e.Owner)
			return
		}
	}
}

// takenOver notes that an edge has taken somebody over for a ticket, by a home's leave. It happens once for each ticket, and not for one
// that was exchanged on its own edge. Nobody can know of it who is on the other side of a partition, or when the edge was cut off or died
// before it could tell its home.
func (c *checker) takenOver(w *world, p *part, id string, ticket uint64, by placement.Epoch) {
	before := p.room.ticketsOf(id)[ticket]
	now := c.admittance(w, p, by)
	p.room.ticketsOf(id)[ticket], p.room.holders[id] = now, now
	if before == nil || !before.told && (before.here || w.troubled >= before.at) {
		return
	}
	together := w.side[w.byName[before.by.ID].region] == w.side[p.n.region] && (w.lives(before.by) || w.lives(before.epoch.Home))
	if before.epoch == by || together && w.calm(quiet) && w.now-before.at > quiet {
		w.fault("replay", "ticket %d of %s is accepted by %s, and was by %s %v ago", ticket, id, p.n.name.ID, before.by.ID, w.now-before.at)
	}
}

// exchanged notes that an edge has taken somebody again who is there, which it does for any ticket, but not for somebody who is elsewhere.
func (c *checker) exchanged(w *world, p *part, id string, ticket uint64) {
	w.stats.relogins++
	now, calm := c.admittance(w, p, p.epoch), w.calm(quiet)
	now.here = true
	if before := p.room.ticketsOf(id)[ticket]; before == nil || !before.told && calm {
		p.room.ticketsOf(id)[ticket] = now
	}
	holder, top := p.room.holders[id], p.room.top[keyOf{Kind: roster.Participant, ID: id}]
	if holder == nil || !holder.told || top.Owner == p.n.name.ID || top.Owner != holder.by.ID || top.Life != holder.by.Boot {
		return
	}
	w.stats.strays++
	n := w.byName[holder.by.ID]
	if w.lives(holder.by) && w.connected(p.n, n) && (p.epoch.Zero() || p.sameHome(n.rooms[p.room.name])) {
		w.fault("replay", "%s takes %s for its own, whom %s has taken over %v ago", p, id, holder.by.ID, w.now-holder.at)
	}
}

// sameHome tells whether two parts have obeyed one home for long enough to know of each other.
func (p *part) sameHome(q *part) bool {
	w := p.n.w
	return q != nil && !p.epoch.Zero() && p.epoch == q.epoch && w.lives(p.epoch.Home) && w.now-max(p.obeys, q.obeys) > told
}

// admittance notes that a ticket was accepted, and looks whether the home has heard of it.
func (c *checker) admittance(w *world, p *part, by placement.Epoch) *admittance {
	a := &admittance{epoch: by, at: w.now, by: p.n.name}
	calm := w.calm(quiet)
	w.at(told, func() {
		home := w.byName[by.Home.ID]
		a.told = w.lives(a.by) && w.lives(by.Home) && w.connected(p.n, home) && (!a.here || calm)
	})
	return a
}

func (r *room) ticketsOf(id string) map[uint64]*admittance {
	if r.admitted[id] == nil {
		r.admitted[id] = map[uint64]*admittance{}
	}
	return r.admitted[id]
}

// lives tells whether a node is in the same life.
func (w *world) lives(name placement.Name) bool {
	n := w.byName[name.ID]
	return n != nil && n.up && n.name == name
}

// tokenUsed notes that a home has let a token be used, which homes do once: the next one knows it from the one before, unless it was cut
// off from it, or died with it.
func (c *checker) tokenUsed(w *world, p *part, id, request string, epoch placement.Epoch) {
	before, again := c.used[id]
	c.used[id] = use{epoch: epoch, at: w.now, request: request}
	switch {
	case !again, before.request == request:
	case before.epoch == epoch:
		w.fault("replay", "token %s is used twice under %v", id, epoch)
	case w.lives(before.epoch.Home) && w.calm(quiet) && w.now-before.at > quiet && slices.Max(w.side) == 0:
		w.fault("replay", "token %s is used under %v, and was under %v %v ago", id, epoch, before.epoch, w.now-before.at)
	}
}

// drained checks a node at the deadline of its drain.
func (c *checker) drained(w *world, n *node) {
	for _, p := range n.list {
		for _, s := range p.people {
			if s.client.migrates && !s.gone {
				w.fault("drain", "%s is still on %s", s.client.id, n.name.ID)
				return
			}
		}
		if p.leads {
			w.fault("drain", "%s still leads", p)
			return
		}
	}
}
