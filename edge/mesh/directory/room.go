package directory

import (
	"errors"
	"time"

	"portico/shared/meshproto"
	"portico/shared/placement"
	"portico/shared/roster"
)

// Errors of Note and Put.
var (
	ErrBusy = errors.New("too many notes are on their way")
)

// Bounds of one room on one node.
const (
	maxNotes     = 1024 // of this node that wait for an acknowledgement
	maxNoteBytes = 8 << 20
	maxFollowers = 4096
	maxOrigins   = 8192
)

// Config is what a Room is made of.
type Config struct {
	Room   string
	Region string // where the home shall be; empty: anywhere
	Self   placement.Name
	Timing placement.Timing // zero: the default
	Roster roster.Config
	// Standby has a home keep another edge informed, and ask others before it begins. All nodes of a cluster have it, or none.
	Standby bool
}

// Room is one node's part in the directory of one room. Make it with New. It belongs to one goroutine.
type Room struct {
	cfg  Config
	seat *placement.Seat
	now  time.Duration
	out  []Effect

	view   []placement.Edge
	gone   map[string]bool // nodes that are lost
	epoch  placement.Epoch // obeyed or led; none while there is no home
	leads  bool
	told   bool // the part was told that it leads
	own    *roster.Own
	copy   *roster.Copy
	index  *roster.Index // while leading, and while it is not known who does instead
	lastID uint64        // of sessions

	entered   bool
	wishes    int
	wanted    time.Duration // when there was last a reason to follow
	following bool          // the seat was told so

	// As a follower.
	session  uint64 // of the call to the home; 0: none
	enrolled bool
	sent     uint64        // version of own that the home was told
	redial   time.Duration // when the home is dialed again
	pause    time.Duration
	syncs    []syncing
	asked    int // Enrols that are not answered

	// As the home.
	followers map[string]*follower
	sessions  map[uint64]*follower
	announced uint64        // version of own that is in the index
	settle    time.Duration // until when Deltas are held back; 0: they are not
	beat      time.Duration // when it next looks after the absent

	notes notes

	// What outlives the home: standby.go and keeper.go.
	draining bool
	before   placement.Epoch // the highest that was known after the last event
	uses     roster.Register // at the home and its standby
	oldest   int64           // tokens created before, in Unix seconds, cannot be used any more
	home     home
	keeping  keeping
}

// syncing is a Sync that waits for the answer to an Enrol.
type syncing struct {
	id     uint64
	enrols int // that are to be answered first
}

// New makes a Room that knows nothing: its first event is a View, and Lost for each node that cannot be reached.
func New(cfg Config) *Room {
	if cfg.Timing == (placement.Timing{}) {
		cfg.Timing = placement.DefaultTiming()
	}
	r := &Room{
		cfg: cfg, gone: map[string]bool{}, followers: map[string]*follower{}, sessions: map[uint64]*follower{},
		own: roster.NewOwn(cfg.Self.ID, cfg.Self.Boot), copy: roster.NewCopy(), wanted: -time.Hour,
		seat: placement.NewSeat(placement.Config{Room: cfg.Room, Region: cfg.Region, Self: cfg.Self, Timing: cfg.Timing}),
	}
	r.notes.init()
	return r
}

// Handle takes one event at the time now.
func (r *Room) Handle(event Event, now time.Duration) []Effect {
	r.begin(now)
	switch e := event.(type) {
	case placement.Event:
		r.placement(e)
	case Enter:
		r.enter(e.On)
	case Wish:
		if r.wishes++; !e.On {
			r.wishes -= 2
		}
	case Put:
		_ = r.own.Put(e.Key, e.Generation, e.Value) // the part has checked it
	case Remove:
		r.own.Remove(e.Key)
	case Note:
		r.note(e.To, e.Body)
	case Sync:
		r.sync(e.ID)
	case Called:
		r.called(e)
	case Heard:
		r.heard(e)
	case Posted:
		r.posted(e)
	case Ended:
		r.ended(e.Session)
	}
	r.finish()
	return r.out
}

// begin starts an event. A node that was suspended finds out here, before it obeys anything of before.
func (r *Room) begin(now time.Duration) {
	gap := now - r.now
	r.now = now
	r.out = r.out[:0]
	if gap > r.cfg.Timing.Lease && !r.epoch.Zero() {
		r.carry(r.seat.Handle(placement.Tick{}, now))
	}
}

// Prefer says in which region the home shall be, from now on.
func (r *Room) Prefer(region string) {
	r.cfg.Region = region
	r.seat.Prefer(region)
}

// finish is what every event ends with.
func (r *Room) finish() {
	if r.index != nil && !r.leads && r.seat.Due() == placement.Never {
		r.retire()
	}
	r.want()
	if r.leads {
		r.look()
	} else {
		r.dial()
	}
	if !r.keeping.epoch.Zero() && !r.leads {
		r.keep()
	}
	r.flush()
	if r.leads {
		r.attend()
	}
	r.before, _ = r.seat.Standing(r.now)
}

func (r *Room) effect(e Effect) { r.out = append(r.out, e) }

func (r *Room) say(session uint64, m meshproto.RoomMessage) {
	r.effect(Say{Session: session, Message: m})
}

// placement hands an event to the seat, and takes what the directory has to know of it.
func (r *Room) placement(event placement.Event) {
	switch e := event.(type) {
	case placement.View:
		r.view = e.Edges
		for id := range r.gone {
			if r.edge(id) == nil {
				delete(r.gone, id)
			}
		}
		r.beat, r.home.choose = 0, true
	case placement.Lost:
		r.gone[e.ID], r.home.choose = true, true
		delete(r.home.recall, e.ID)
		if r.index != nil {
			r.index.Lost(e.ID, r.now)
		}
		if f := r.followers[e.ID]; f != nil && f.session != 0 {
			// The word may come late, when it calls again already: then it is to begin anew, and announce.
			r.effect(HangUp{Session: f.session})
			r.ended(f.session)
		}
	case placement.Healed:
		delete(r.gone, e.ID)
		r.beat, r.home.choose = 0, true
		r.redial = 0
	case placement.Drain:
		r.draining = e.On
	case placement.Received:
		if _, asks := e.Message.(placement.Ask); asks {
			r.stepIn()
		}
	}
	r.carry(r.seat.Handle(event, r.now))
}

// carry carries out what the seat asks for.
func (r *Room) carry(effects []placement.Effect) {
	for _, effect := range effects {
		switch e := effect.(type) {
		case placement.Send:
			r.effect(Seat{To: e.To, Message: e.Message})
		case placement.Lead:
			r.lead(e.Epoch)
		case placement.Obey:
			r.obey(e.Epoch)
		case placement.Resign:
			r.resign(e.To)
		case placement.Orphan:
			r.orphan()
		}
	}
}

// want tells the seat whether there is a reason to follow the room here.
func (r *Room) want() {
	linger := 2 * r.cfg.Timing.Beat
	if r.entered && (r.own.Len() > 0 || r.wishes > 0 || len(r.notes.mine) > 0) {
		r.wanted = r.now
	}
	if r.leads && r.cfg.Standby && r.index.Participants() > 0 {
		r.wanted = r.now // those of an edge that was lost may resume
	}
	want := r.now-r.wanted < linger
	if want == r.following {
		return
	}
	if !want && !r.leads {
		r.withdraw()
	}
	r.following = want
	effects := r.seat.Handle(placement.Want{On: want}, r.now)
	r.carry(effects)
}

// enter begins or ends the part of the room on this node.
func (r *Room) enter(on bool) {
	if on == r.entered {
		return
	}
	r.entered = on
	if !on {
		for _, e := range r.own.Entries() {
			r.own.Remove(e.Key)
		}
		r.notes.mine, r.notes.bytes = nil, 0
		r.wishes, r.told = 0, false
		r.wanted = min(r.wanted, r.now-2*r.cfg.Timing.Beat)
		return
	}
	var changes []roster.Change
	foreign, _ := r.Told()
	for i := range foreign {
		changes = append(changes, roster.Change{Now: &foreign[i]})
	}
	if len(changes) > 0 {
		r.effect(Apply{Changes: changes})
	}
	if r.leads {
		r.lead1(true)
	}
}

// Told gives what the part has been told of that counts still: the entries of others, and whether this node leads.
func (r *Room) Told() (entries []roster.Entry, leads bool) {
	for _, e := range r.copy.Entries() {
		if e.Owner != r.cfg.Self.ID || e.Life != r.cfg.Self.Boot {
			entries = append(entries, e)
		}
	}
	return entries, r.told
}

// lead1 tells the part whether it leads.
func (r *Room) lead1(on bool) {
	if r.entered && r.told != on {
		r.told = on
		r.effect(Leads{On: on})
	}
}

// apply brings the Copy forward and tells the part of the difference.
func (r *Room) apply(d roster.Delta) (gap bool) {
	changes, gap := r.copy.Apply(d)
	if gap {
		return true
	}
	for _, key := range r.own.Outdone(&d) {
		if r.entered {
			r.effect(Moved{Key: key})
		}
	}
	r.tell(changes)
	return false
}

func (r *Room) tell(changes []roster.Change) {
	if !r.entered {
		return
	}
	foreign := make([]roster.Change, 0, len(changes))
	for _, c := range changes {
		if c, ok := c.Foreign(r.cfg.Self.ID, r.cfg.Self.Boot); ok {
			foreign = append(foreign, c)
		}
	}
	if len(foreign) > 0 {
		r.effect(Apply{Changes: foreign})
	}
}

// yield gives up an entry that another owner's goes before.
func (r *Room) yield(standing roster.Gone) {
	if r.own.Yield(standing) && r.entered {
		r.effect(Moved{Key: standing.Key})
	}
}

// sync answers when the Copy has what the home knows now.
func (r *Room) sync(id uint64) {
	s := syncing{id: id}
	if !r.leads && r.enrolled {
		r.sayEnrol()
		s.enrols = r.asked
	} else if !r.leads {
		s.enrols = -1 // after the next full Delta
	}
	r.syncs = append(r.syncs, s)
}

// synced answers those that are due.
func (r *Room) synced(which func(syncing) bool) {
	kept := r.syncs[:0]
	for _, s := range r.syncs {
		if which(s) {
			r.effect(Synced{ID: s.id})
		} else {
			kept = append(kept, s)
		}
	}
	r.syncs = kept
}

// flush sends what is new.
func (r *Room) flush() {
	if r.leads {
		r.publish()
	} else if r.enrolled && r.own.Version() > r.sent {
		u := r.own.Since(r.sent)
		r.sent = u.To
		r.say(r.session, meshproto.RoomMessage{Update: &u})
	}
}

func (r *Room) edge(id string) *placement.Edge { return placement.Find(r.view, id) }
