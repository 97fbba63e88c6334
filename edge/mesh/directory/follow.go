package directory

import (
	"fmt"
	"slices"
	"time"

	"portico/shared/meshproto"
	"portico/shared/placement"
	"portico/shared/roster"
)

// Pauses before a home whose call has ended is called again.
const (
	minPause = 50 * time.Millisecond
	maxPause = time.Second
)

// obey has another node be the home.
func (r *Room) obey(e placement.Epoch) {
	r.stepDown(e)
	r.hangUp()
	r.epoch, r.leads = e, false
	r.redial, r.pause = 0, minPause
	r.lead1(false)
}

// orphan says that there is no home that is known to live. What this node knew as one is of use to the next.
func (r *Room) orphan() {
	r.hangUp()
	r.dismiss(meshproto.Stale{Standing: r.epoch})
	r.epoch, r.leads = placement.Epoch{}, false
}

// hangUp ends the call to the home.
func (r *Room) hangUp() {
	if r.session != 0 {
		r.effect(HangUp{Session: r.session})
	}
	r.cutOff()
}

func (r *Room) cutOff() {
	r.session, r.enrolled, r.asked = 0, false, 0
	for i := range r.syncs {
		r.syncs[i].enrols = -1
	}
}

// dial calls the home if it has to be.
func (r *Room) dial() {
	if r.epoch.Zero() || r.session != 0 || r.now < r.redial || !r.following {
		return
	}
	r.lastID++
	r.session = 2*r.lastID + 1
	r.effect(Dial{Session: r.session, To: r.epoch.Home.ID})
	r.sayEnrol()
}

func (r *Room) sayEnrol() {
	r.asked++
	r.say(r.session, meshproto.RoomMessage{Enrol: &meshproto.Enrol{
		Room: r.cfg.Room, Epoch: r.epoch, Life: r.cfg.Self.Boot, Position: r.copy.Position(),
	}})
}

// ended takes note that a call is over.
func (r *Room) ended(session uint64) {
	if session == r.session && session != 0 {
		r.cutOff()
		r.redial = r.now + r.pause
		r.pause = min(2*r.pause, maxPause)
		return
	}
	if f := r.sessions[session]; f != nil {
		delete(r.sessions, session)
		f.session, f.ready, f.since = 0, false, r.now
	}
}

// heard takes a message of a call.
func (r *Room) heard(e Heard) {
	if e.Session == r.session && r.session != 0 {
		r.fromHome(&e.Message)
	} else if f := r.sessions[e.Session]; f != nil {
		r.fromFollower(f, &e.Message)
	}
}

func (r *Room) fromHome(m *meshproto.RoomMessage) {
	ok, effects := r.seat.Command(r.epoch.Home, r.epoch, r.now)
	r.carry(effects)
	if !ok {
		return
	}
	switch {
	case m.Enrolled != nil:
		r.welcome(m.Enrolled)
	case m.Delta != nil:
		r.delta(m.Delta)
	case m.Outdone != nil:
		for _, g := range m.Outdone {
			r.yield(g)
		}
	case m.NeedFull != nil:
		r.announce()
	case m.Stale != nil:
		// The seat is told by its own messages. Until then the home is asked again now and then.
		r.ended(r.session)
	case m.Note != nil:
		r.accept(m.Note)
		r.say(r.session, meshproto.RoomMessage{Noted: &meshproto.Noted{Origin: m.Note.Origin, Life: m.Note.Life, Number: m.Note.Number}})
	case m.Noted != nil:
		if m.Noted.Origin == r.cfg.Self.ID && m.Noted.Life == r.cfg.Self.Boot {
			r.noted(m.Noted.Number)
		}
	default:
		r.effect(HangUp{Session: r.session})
		r.effect(Rubbish{From: r.epoch.Home.ID, Err: fmt.Errorf("%w: a home says what followers say", meshproto.ErrMessage)})
		r.ended(r.session)
	}
}

// welcome answers Enrolled.
func (r *Room) welcome(m *meshproto.Enrolled) {
	r.asked--
	if r.enrolled {
		for i := range r.syncs {
			r.syncs[i].enrols--
		}
		r.synced(func(s syncing) bool { return s.enrols == 0 })
		return
	}
	r.enrolled = true
	r.pause = minPause
	if m.Hearsay {
		h := r.copy.Hearsay()
		r.say(r.session, meshproto.RoomMessage{Hearsay: &h})
	}
	r.announce()
	for i := range r.notes.mine {
		r.say(r.session, meshproto.RoomMessage{Note: &r.notes.mine[i]})
	}
}

// announce says all that this node owns.
func (r *Room) announce() {
	u := r.own.Full()
	r.sent = u.To
	r.say(r.session, meshproto.RoomMessage{Update: &u})
}

func (r *Room) delta(d *roster.Delta) {
	if d.Epoch != r.epoch {
		return
	}
	if r.apply(*d) { // what was before is missing: the call begins anew
		r.effect(HangUp{Session: r.session})
		r.ended(r.session)
		return
	}
	// It is the first one of this call for those who wait for it.
	r.synced(func(s syncing) bool { return s.enrols < 0 })
}

// withdraw leaves the room in good order.
func (r *Room) withdraw() {
	if r.enrolled {
		if r.own.Version() > r.sent {
			u := r.own.Since(r.sent)
			r.sent = u.To
			r.say(r.session, meshproto.RoomMessage{Update: &u})
		}
		r.say(r.session, meshproto.RoomMessage{Withdraw: &meshproto.Withdraw{}})
	}
	r.hangUp()
	r.epoch = placement.Epoch{}
	if r.keeping.epoch.Zero() {
		r.clear()
	}
}

// clear forgets the directory.
func (r *Room) clear() {
	var changes []roster.Change
	for _, e := range r.copy.Entries() {
		changes = append(changes, roster.Change{Was: &e})
	}
	r.copy = roster.NewCopy()
	r.tell(changes)
	r.index = nil
	r.lead1(false)
}

// Get gives an entry as this node knows it: its own, or what its Copy has.
func (r *Room) Get(key roster.Key) (roster.Entry, bool) {
	if e, ok := r.own.Get(key); ok {
		return e, true
	}
	return r.copy.Get(key)
}

// Owns tells whether this node has an entry itself.
func (r *Room) Owns(key roster.Key) bool {
	_, ok := r.own.Get(key)
	return ok
}

// Epoch is what this node obeys or leads by; none while there is no home.
func (r *Room) Epoch() (e placement.Epoch, leads bool) { return r.epoch, r.leads }

// Standing is the highest epoch in effect that is known, and whether its home was heard lately.
func (r *Room) Standing(now time.Duration) (e placement.Epoch, alive bool) {
	return r.seat.Standing(now)
}

// Due tells when a Tick is wanted at the latest.
func (r *Room) Due() time.Duration {
	due := r.seat.Due()
	switch {
	case r.leads:
		due = min(due, r.beat)
		if r.settle > 0 {
			due = min(due, r.settle)
		}
	case !r.epoch.Zero() && r.session == 0:
		due = min(due, r.redial)
	}
	if !r.keeping.epoch.Zero() && !r.leads {
		due = min(due, r.keepDue())
	}
	if r.following {
		due = min(due, r.wanted+2*r.cfg.Timing.Beat)
	}
	return max(due, r.now+time.Millisecond)
}

// Forgettable tells that the Room can be dropped: it has not been of use for keep.
func (r *Room) Forgettable(now, keep time.Duration) bool {
	return !r.entered && !r.leads && r.keeping.epoch.Zero() && r.session == 0 && len(r.sessions) == 0 && r.seat.Forgettable(now, keep)
}

// State tells of a Room for those who look at the cluster.
type State struct {
	Home      placement.Epoch // the highest that is known
	Alive     bool            // its home was heard lately
	Leads     bool
	Anchors   []string
	Region    string
	Followers []string // at the home
	Standby   string   // at the home: who keeps what it knows; empty while nobody has all of it
	Keeps     bool     // this node is the standby
	Entries   int
	Own       int
	Notes     int // of this node, on their way
}

// State gives the State.
func (r *Room) State(now time.Duration) State {
	s := State{
		Leads: r.leads, Region: r.cfg.Region, Anchors: slices.Clone(r.seat.Anchors()), Entries: r.copy.Len(), Own: r.own.Len(),
		Notes: len(r.notes.mine), Keeps: !r.keeping.epoch.Zero(),
	}
	s.Home, s.Alive = r.seat.Standing(now)
	if r.leads {
		s.Followers = r.audience()
		s.Entries = r.index.Len()
		if r.covered() {
			s.Standby = r.home.second.id
		}
	}
	return s
}
