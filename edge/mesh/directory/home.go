package directory

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"portico/shared/meshproto"
	"portico/shared/placement"
	"portico/shared/roster"
)

// follower is a node that obeys this one, or is expected to.
type follower struct {
	id      string
	life    uint64        // 0: it has not enrolled
	session uint64        // 0: its call has ended, or has not come yet
	since   time.Duration // of that

	ready   bool // its Update has come, so that it gets Deltas
	fresh   bool // it has had none in this call
	full    bool // it gets everything
	at      uint64
	outdone []roster.Gone
	enrols  int // that are to be answered
}

// lead has this node be the home under an epoch.
func (r *Room) lead(e placement.Epoch) {
	before := r.index
	r.hangUp()
	r.dismiss(meshproto.Stale{Standing: e})
	r.index = roster.NewIndex(e, r.cfg.Roster, r.now)
	if before != nil {
		r.index.Hearsay(before.Known(), r.now)
	}
	r.index.Hearsay(r.copy.Hearsay(), r.now)
	r.epoch, r.leads = e, true
	r.announced = 0
	r.beat = r.now + r.cfg.Timing.Beat
	r.absent()
	for _, id := range r.expected() {
		r.settle = r.now + 2*r.cfg.Timing.Wait
		if r.followers[id] == nil {
			r.followers[id] = &follower{id: id, since: r.now}
		}
	}
	r.takeOffice(e)
	r.reach()
	clear(r.notes.origins)
	for _, n := range slices.Clone(r.notes.mine) {
		r.route(&n)
	}
	if r.lead1(true); !r.entered {
		r.effect(Host{})
	}
}

// expected gives the owners that can be reached and have not announced.
func (r *Room) expected() (list []string) {
	for _, h := range r.index.Absent() {
		if e := r.edge(h.Owner); e != nil && !r.gone[h.Owner] && e.Boot == h.Life && h.Owner != r.cfg.Self.ID {
			list = append(list, h.Owner)
		}
	}
	return list
}

// reach tells the owners that are expected where the home is. Those that are gone are found out by that, if nobody had a link to them:
// gossip takes some seconds to notice, longer than the entries of somebody are kept who could announce them and does not.
func (r *Room) reach() {
	for _, id := range r.expected() {
		if f := r.followers[id]; f == nil || f.session == 0 {
			r.effect(Seat{To: id, Message: placement.Heartbeat{Epoch: r.epoch}})
		}
	}
}

// absent tells the Index which of the owners that are away can be reached.
func (r *Room) absent() {
	for _, h := range r.index.Absent() {
		e, f := r.edge(h.Owner), r.followers[h.Owner]
		if f != nil && f.session != 0 {
			r.index.Back(h.Owner, max(f.life, h.Life), r.now) // whatever others say of it
		} else if e != nil && !r.gone[h.Owner] {
			r.index.Back(h.Owner, max(e.Boot, h.Life), r.now)
		} else {
			r.index.Lost(h.Owner, r.now)
		}
	}
}

// look is what a home does from time to time.
func (r *Room) look() {
	if r.settle > 0 && (r.now >= r.settle || len(r.home.recall) == 0 && len(r.expected()) == 0) {
		r.settle = 0
	}
	if r.now < r.beat {
		return
	}
	r.beat = r.now + r.cfg.Timing.Beat
	for _, id := range slices.Sorted(maps.Keys(r.followers)) {
		f := r.followers[id]
		if f.session != 0 {
			continue
		}
		if silent := r.now - f.since; silent > 2*r.cfg.Timing.Lease {
			r.drop(f)
			r.index.Lost(id, r.now)
		} else if silent > r.cfg.Timing.Lease {
			r.index.Lost(id, r.now)
		}
	}
	r.absent()
	r.reach()
	r.index.Expire(r.now)
}

// resign has this node be home no more.
func (r *Room) resign(to placement.Epoch) {
	if to.Zero() {
		r.dismiss(meshproto.Stale{Standing: r.epoch})
		r.over()
		r.epoch, r.leads = placement.Epoch{}, false
		r.clear()
		r.effect(Over{})
		return
	}
	r.stepDown(to)
	r.wanted = r.now // so that the next home hears what this one knew
}

// retire is of a former home whose seat has settled without it: nobody wants the room here.
func (r *Room) retire() {
	standing, alive := r.seat.Standing(r.now)
	r.stepDown(standing)
	if alive {
		r.wanted = r.now // so that the home hears what this one knew
	} else if !r.following {
		r.clear()
	}
}

// stepDown ends the office, if this node was in it.
func (r *Room) stepDown(to placement.Epoch) {
	if r.index == nil {
		return
	}
	if r.leads && r.settle == 0 {
		r.publish() // its Copy tells the next home, and its followers have no less
	}
	r.dismiss(meshproto.Stale{Standing: to})
	if r.cfg.Standby && !to.Zero() && to.Home.ID != r.cfg.Self.ID {
		r.tellUses(to) // it may be in office already, and not ask
	}
	r.index = nil
	r.epoch, r.leads = placement.Epoch{}, false
	r.lead1(false)
}

// dismiss ends the calls of the followers.
func (r *Room) dismiss(why meshproto.Stale) {
	for _, session := range slices.Sorted(maps.Keys(r.sessions)) {
		r.say(session, meshproto.RoomMessage{Stale: &why})
		r.effect(HangUp{Session: session})
	}
	clear(r.sessions)
	clear(r.followers)
	clear(r.notes.origins)
	r.settle = 0
}

// called takes a call, which has to enrol first.
func (r *Room) called(e Called) {
	if len(r.sessions) >= 2*maxFollowers {
		r.effect(HangUp{Session: e.Session})
		return
	}
	r.sessions[e.Session] = &follower{id: e.From, session: e.Session, since: r.now}
}

func (r *Room) fromFollower(f *follower, m *meshproto.RoomMessage) {
	if m.Enrol == nil && f.life == 0 || m.Enrol != nil && f.life != 0 && f.life != m.Enrol.Life {
		r.rubbish(f, fmt.Errorf("%w: out of order", meshproto.ErrMessage))
		return
	}
	switch {
	case m.Enrol != nil:
		r.enrol(f, m.Enrol)
	case m.Hearsay != nil:
		r.index.Hearsay(*m.Hearsay, r.now)
	case m.Update != nil:
		r.update(f, m.Update)
	case m.Withdraw != nil:
		r.index.Withdrawn(f.id, f.life)
		r.effect(HangUp{Session: f.session})
		r.drop(f)
	case m.Note != nil && m.Note.Origin == f.id && m.Note.Life == f.life:
		r.route(m.Note)
	case m.Noted != nil:
		r.delivered(f.id, m.Noted)
	default:
		r.rubbish(f, fmt.Errorf("%w: not for a home", meshproto.ErrMessage))
	}
}

func (r *Room) rubbish(f *follower, err error) {
	r.effect(HangUp{Session: f.session})
	r.effect(Rubbish{From: f.id, Err: err})
	r.ended(f.session)
}

// enrol begins a follower's call, or tells how far it is.
func (r *Room) enrol(f *follower, m *meshproto.Enrol) {
	ok, effects := r.seat.Command(placement.Name{ID: f.id, Boot: m.Life}, m.Epoch, r.now)
	r.carry(effects)
	if r.sessions[f.session] != f {
		return // this node has stepped down
	}
	if !ok || !r.leads || m.Epoch != r.epoch {
		standing, _ := r.seat.Standing(r.now)
		r.say(f.session, meshproto.RoomMessage{Stale: &meshproto.Stale{Standing: standing}})
		r.effect(HangUp{Session: f.session})
		delete(r.sessions, f.session)
		return
	}
	if f.life != 0 {
		f.enrols++
		return
	}
	if old := r.followers[f.id]; old != nil && old.session != 0 {
		r.effect(HangUp{Session: old.session})
		delete(r.sessions, old.session)
	}
	if len(r.followers) >= maxFollowers && r.followers[f.id] == nil {
		r.effect(HangUp{Session: f.session})
		delete(r.sessions, f.session)
		return
	}
	r.followers[f.id] = f
	f.life, f.fresh = m.Life, true
	f.full, f.at = m.Position.Epoch != r.epoch, m.Position.Seq
	r.index.Back(f.id, f.life, r.now)
	r.say(f.session, meshproto.RoomMessage{Enrolled: &meshproto.Enrolled{Hearsay: !r.index.Knows(m.Position)}})
}

// update takes a follower's word about its own entries.
func (r *Room) update(f *follower, u *roster.Update) {
	if u.Owner != f.id || u.Life != f.life {
		r.rubbish(f, fmt.Errorf("%w: an update of %q", meshproto.ErrMessage, u.Owner))
		return
	}
	answer, err := r.index.Announce(*u, r.now)
	switch {
	case answer.NeedFull:
		r.say(f.session, meshproto.RoomMessage{NeedFull: &meshproto.NeedFull{}})
		return
	case err == roster.ErrStale: // a later life of it is here: this one is a ghost
		r.effect(HangUp{Session: f.session})
		r.drop(f)
		return
	}
	f.outdone = append(f.outdone, answer.Outdone...)
	if !f.ready {
		f.ready, r.home.choose = true, true
		r.repeat(f)
	}
}

// drop forgets a follower.
func (r *Room) drop(f *follower) {
	if f.session != 0 {
		delete(r.sessions, f.session)
	}
	if r.followers[f.id] == f {
		delete(r.followers, f.id)
		r.home.choose = true
		r.spare(f.id)
	}
}

// publish brings the Index, the Copy and the followers up to date.
func (r *Room) publish() {
	for range 4 { // giving an entry up is news itself
		r.absorb()
		if r.settle > 0 {
			return
		}
		switch at := r.copy.Position(); {
		case at.Epoch != r.epoch:
			r.apply(r.index.Full())
		case at.Seq != r.index.Seq():
			r.apply(r.index.Since(at.Seq))
		}
		if r.own.Version() == r.announced {
			break
		}
	}
	if r.told || !r.entered {
		r.synced(func(syncing) bool { return true })
	}
	r.inform()
}

// absorb takes this node's own entries into the Index.
func (r *Room) absorb() {
	if r.announced == r.own.Version() && r.announced > 0 {
		return
	}
	u := r.own.Since(r.announced)
	if r.announced == 0 {
		u = r.own.Full()
	}
	r.announced = u.To
	answer, _ := r.index.Announce(u, r.now)
	for _, g := range answer.Outdone {
		r.yield(g)
	}
}

// inform tells the followers what is new.
func (r *Room) inform() {
	deltas := map[uint64]*roster.Delta{}
	for _, id := range r.audience() {
		f := r.followers[id]
		if f.session == 0 || !f.ready {
			continue
		}
		if f.full || f.fresh || f.at != r.index.Seq() {
			key := f.at
			if f.full {
				key = 1<<64 - 1
			}
			d := deltas[key]
			if d == nil {
				next := r.index.Since(f.at)
				if f.full {
					next = r.index.Full()
				}
				d = &next
				deltas[key] = d
			}
			r.say(f.session, meshproto.RoomMessage{Delta: d})
			f.at, f.full, f.fresh = d.To, false, false
		}
		for len(f.outdone) > 0 {
			n := min(len(f.outdone), meshproto.MaxOutdone)
			r.say(f.session, meshproto.RoomMessage{Outdone: f.outdone[:n:n]})
			f.outdone = f.outdone[n:]
		}
		for ; f.enrols > 0; f.enrols-- {
			r.say(f.session, meshproto.RoomMessage{Enrolled: &meshproto.Enrolled{}})
		}
	}
}

// audience is the followers in order.
func (r *Room) audience() []string { return slices.Sorted(maps.Keys(r.followers)) }

// Command judges a command that came under an epoch from another node: whether it is obeyed here, and which epoch stands. With owner it
// is for the owner of something here, otherwise for the home; none is the epoch of a node without the room.
func (r *Room) Command(
	from placement.Name, e placement.Epoch, owner bool, now time.Duration,
) (ok bool, standing placement.Epoch, effects []Effect) {
	r.begin(now)
	switch {
	case e.Zero():
		ok = r.leads && !owner
	case owner:
		ok = e == r.epoch
	default:
		var judged []placement.Effect
		ok, judged = r.seat.Command(from, e, now)
		r.carry(judged)
		ok = ok && r.leads && e == r.epoch
	}
	standing, _ = r.seat.Standing(now)
	r.finish()
	return ok, standing, r.out
}

// Admit gives a participant its place, as roster.Index does, at the home; it fails with roster.ErrNotYet when this node is not the
// home, or is so new in office that it does not know all yet.
func (r *Room) Admit(a roster.Admission, limit int, now time.Duration) (roster.Admitted, error) {
	if !r.leads || r.settle > 0 {
		return roster.Admitted{}, roster.ErrNotYet
	}
	return r.index.Admit(a, limit, now)
}
