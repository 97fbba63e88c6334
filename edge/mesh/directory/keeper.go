package directory

import (
	"fmt"
	"slices"
	"time"

	"portico/shared/meshproto"
	"portico/shared/placement"
	"portico/shared/roster"
)

// auditTime is how often a standby asks its home whether it is one still: the word that it is not may have got lost.
const auditTime = 5 * time.Minute

// keeping is what a standby knows of its office. What it keeps is the Room's Copy and its register of uses.
type keeping struct {
	epoch   placement.Epoch // of the home; none: this node is no standby
	region  string
	uses    uint64 // number of the last use that is here, as the home counts
	missing bool   // the home's being away was noticed
	lost    time.Duration
	audit   time.Duration
	offer   time.Duration // when the next home is told again that there is something here
	claim   time.Duration // when this node may claim the room again
}

// posted takes a message of another node about the room.
func (r *Room) posted(e Posted) {
	m := &e.Message
	switch {
	case m.Held != nil, m.Hearsay != nil, m.Recalled != nil, m.Uses != nil && m.Epoch.Home.ID == r.cfg.Self.ID:
		r.fromKeeper(e.From, m)
	case m.Epoch.Home.ID != e.From:
		r.effect(Rubbish{From: e.From, Err: fmt.Errorf("%w: of another's epoch", meshproto.ErrMessage)})
	case m.Release != nil:
		if r.keeping.epoch.Compare(m.Epoch) <= 0 {
			r.letGo()
		}
	default:
		r.fromKept(m)
	}
}

// fromKept is what a home says to others. It is also a sign of life.
func (r *Room) fromKept(m *meshproto.Standby) {
	r.carry(r.seat.Handle(placement.Received{From: m.Epoch.Home, Message: placement.Heartbeat{Epoch: m.Epoch}}, r.now))
	if standing, _ := r.seat.Standing(r.now); standing != m.Epoch || r.leads {
		return
	}
	k := &r.keeping
	missing := k.epoch != m.Epoch // Hold is to come first
	switch {
	case m.Recall != nil:
		r.tellAll(m.Epoch)
		return
	case m.Hold != nil:
		if missing {
			*k = keeping{epoch: m.Epoch, audit: r.now + auditTime}
		}
		k.region, missing = m.Hold.Region, false
	case missing:
	case m.Delta != nil && r.following: // its call tells it, after it has told what it has
	case m.Delta != nil:
		missing = m.Delta.Epoch != m.Epoch || r.apply(*m.Delta)
	case m.Uses != nil && m.Uses.From > k.uses:
		missing = true
	case m.Uses != nil:
		r.learn(m.Uses)
		k.uses = max(k.uses, m.Uses.To)
	}
	r.report(m.Epoch, missing)
}

// report tells a home how far this node is.
func (r *Room) report(e placement.Epoch, missing bool) {
	h := &meshproto.Held{Life: r.cfg.Self.Boot, Position: r.copy.Position(), Missing: missing}
	if r.keeping.epoch == e {
		h.Uses = r.keeping.uses
	}
	r.post(e.Home.ID, e, meshproto.Standby{Held: h})
}

// tellAll tells a new home what is known here.
func (r *Room) tellAll(e placement.Epoch) {
	to := e.Home.ID
	h := r.copy.Hearsay()
	if r.index != nil { // it was the home
		h = r.index.Known()
	}
	known := h.Position.Epoch != e && len(h.Entries)+len(h.Gone) > 0
	if known {
		r.post(to, e, meshproto.Standby{Hearsay: &h})
	}
	known = r.tellUses(e) || known
	r.post(to, e, meshproto.Standby{Recalled: &meshproto.Recalled{Life: r.cfg.Self.Boot, Known: known}})
}

// tellUses tells a home which tokens were used, if there are any.
func (r *Room) tellUses(e placement.Epoch) bool {
	list := r.uses.Since(0)
	some := len(list) > 0
	for len(list) > 0 {
		n := min(len(list), meshproto.MaxUses)
		r.post(e.Home.ID, e, meshproto.Standby{Uses: &meshproto.Uses{To: uint64(n), Oldest: r.oldest, List: slices.Clone(list[:n])}})
		list = list[n:]
	}
	return some
}

// letGo ends the office of a standby.
func (r *Room) letGo() {
	r.keeping = keeping{}
	if r.leads || r.index != nil {
		return
	}
	r.uses = roster.Register{}
	if !r.following {
		r.clear()
	}
}

// lostHome tells whether a node, in that life of it, is out of reach.
func (r *Room) lostHome(n placement.Name) bool {
	e := r.edge(n.ID)
	return r.gone[n.ID] || e == nil || e.Boot > n.Boot
}

// keep is what a standby does from time to time.
func (r *Room) keep() {
	k := &r.keeping
	standing, alive := r.seat.Standing(r.now)
	if alive && standing.Compare(k.epoch) > 0 && r.now >= k.offer {
		k.offer = r.now + 2*r.cfg.Timing.Beat
		r.report(standing, false)
	}
	away := r.lostHome(k.epoch.Home)
	if away && !k.missing {
		k.lost = r.now
	}
	if back := k.missing && !away; back {
		k.audit = r.now
	}
	if k.missing = away; away && r.now-k.lost > r.grace() {
		r.letGo()
		return
	}
	if r.now >= k.audit {
		if k.audit = r.now + auditTime; !away {
			r.report(k.epoch, false)
		}
	}
	if r.following && r.epoch.Zero() {
		r.stepIn()
	}
}

// grace is how long the entries of a home that is away are kept: longer than any home would keep them.
func (r *Room) grace() time.Duration {
	if r.cfg.Roster.Grace > 0 {
		return r.cfg.Roster.Grace + 2*r.cfg.Timing.Patience
	}
	return time.Minute + 2*r.cfg.Timing.Patience
}

// keepDue tells when keep has something to do.
func (r *Room) keepDue() time.Duration {
	k := &r.keeping
	due := k.audit
	if k.missing {
		due = min(due, k.lost+r.grace()+time.Millisecond)
	}
	if standing, alive := r.seat.Standing(r.now); alive && standing.Compare(k.epoch) > 0 {
		due = min(due, k.offer)
	}
	if r.following && r.epoch.Zero() && k.missing && r.fit() {
		due = min(due, max(k.claim, r.now+r.cfg.Timing.Wait))
	}
	return due
}

// stepIn has the standby claim the room whose home is gone, when somebody looks for that.
func (r *Room) stepIn() {
	k := &r.keeping
	if k.epoch.Zero() || r.leads || r.copy.Len() == 0 || r.now < k.claim || !r.lostHome(k.epoch.Home) || !r.fit() {
		return
	}
	standing, alive := r.seat.Standing(r.now)
	if standing != k.epoch || alive {
		return
	}
	k.claim = r.now + 2*r.cfg.Timing.Wait
	// As if another had asked for it: the anchors have their say.
	r.carry(r.seat.Handle(placement.Received{From: r.cfg.Self, Message: placement.Summon{Standing: standing}}, r.now))
}

// fit tells whether the hash might have named this node: it is in the room's region, unless nobody is.
func (r *Room) fit() bool {
	self := r.edge(r.cfg.Self.ID)
	if r.draining || self == nil || self.Draining {
		return false
	}
	if self.Region == r.keeping.region {
		return true
	}
	for i := range r.view {
		if e := &r.view[i]; e.Region == r.keeping.region && !e.Draining && r.usable(e.ID) {
			return false
		}
	}
	return true
}
