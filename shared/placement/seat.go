package placement

import (
	"slices"
	"time"
)

// maxFollowers bounds what a Seat remembers of others.
const maxFollowers = 4096

// Config is what a Seat is made of.
type Config struct {
	Room   string
	Region string // where the home shall be; empty: anywhere
	Self   Name
	Timing Timing // zero: DefaultTiming
}

type mode uint8

const (
	idle      mode = iota // nothing to do with the room, except to remember
	seeking               // no home is known to live
	claiming              // waiting for the anchors' answers to a claim
	following             // another node is the home
	leading               // this node is the home
)

// Seat is one node's part in one room. Make it with NewSeat. It belongs to one goroutine.
type Seat struct {
	cfg  Config
	mode mode

	want, draining bool
	edges          []Edge
	lost           map[string]bool
	anchors        []string // of the present view

	now   time.Duration // of the last event
	due   time.Duration // the next thing to do without an event
	out   []Effect
	inbox []Received // messages to itself

	highest uint64        // number seen in any epoch, in effect or not
	top     Epoch         // the highest epoch in effect that is known
	heard   time.Duration // last sign of its home, direct or told
	gone    bool          // its home has ended it, or was found not to lead

	denied Epoch // one whose home itself said that it does not lead

	// Since when this node has been sent to a home of which it has no sign itself.
	vain      bool
	vainSince time.Duration

	rival Epoch         // leading: a higher epoch in effect whose home cannot be reached
	since time.Duration // of it

	promised Epoch // the claim this node, as an anchor, has agreed to and not yet seen in effect
	until    time.Duration

	claim     Epoch // claiming
	over      Epoch
	pending   []string // claiming: anchors that have not agreed; seeking: anchors asked
	pausing   bool     // seeking: waiting before it asks again
	hidden    bool     // seeking: an anchor hears a home which this node cannot reach
	busy      bool     // seeking: an anchor has promised the room to somebody
	summoned  string   // seeking: whom it has summoned
	preferred string   // seeking: whom to summon, though the hash may name another
	avoid     map[string]bool
	answered  bool // seeking, claiming: another anchor has
	cut       bool // the same: there was none to ask, or one was lost meanwhile

	followers map[string]time.Duration // leading, claiming: when each was last heard
	wanted    time.Duration            // leading: when the room was last wanted
}

// NewSeat makes a Seat that knows nothing yet: it needs a View before it can do anything of use.
func NewSeat(cfg Config) *Seat {
	if cfg.Timing == (Timing{}) {
		cfg.Timing = DefaultTiming()
	}
	return &Seat{cfg: cfg, lost: map[string]bool{}, avoid: map[string]bool{}, followers: map[string]time.Duration{}}
}

// Epoch is what this node obeys or leads by; none when the room has no home that it knows to live.
func (s *Seat) Epoch() (e Epoch, leads bool) {
	if s.mode == leading || s.mode == following {
		return s.top, s.mode == leading
	}
	return Epoch{}, false
}

// Forgettable tells that the Seat can be dropped: nobody wants the room here, and what it remembers has been of no use for keep.
// Forgetting costs at most a claim that is refused once.
func (s *Seat) Forgettable(now, keep time.Duration) bool {
	return s.mode == idle && !s.want && now-s.heard > keep && now >= s.until
}

// Handle takes one event at the time now, which counts from anywhere and does not go back. The effects are valid until the next call.
func (s *Seat) Handle(event Event, now time.Duration) []Effect {
	s.begin(now)
	switch e := event.(type) {
	case Want:
		s.setWant(e.On)
	case View:
		s.edges, s.anchors = e.Edges, Anchors(s.cfg.Room, e.Edges)
		clear(s.avoid)
		for id := range s.lost {
			if s.edge(id) == nil {
				delete(s.lost, id)
			}
		}
		s.viewChanged()
	case Lost:
		if e.ID != s.cfg.Self.ID {
			s.lost[e.ID] = true
			s.viewChanged()
			if s.edge(e.ID) == nil {
				delete(s.lost, e.ID) // when gossip knows it again, nobody may say that it is healed
			}
		}
	case Healed:
		delete(s.lost, e.ID)
		delete(s.avoid, e.ID)
		if s.mode == leading {
			s.send(e.ID, Heartbeat{Epoch: s.top})
		}
	case Drain:
		s.draining = e.On
		if s.mode == leading && e.On {
			s.handOver()
		}
	case Tick:
		s.tick()
	case Received:
		s.receive(e.From, e.Message)
	}
	for len(s.inbox) > 0 {
		next := s.inbox[0]
		s.inbox = s.inbox[1:]
		s.receive(next.From, next.Message)
	}
	return s.out
}

// Command judges a command of the room that came under an epoch, from its home or to it: it is obeyed when ok. The effects are to be
// carried out first.
func (s *Seat) Command(from Name, e Epoch, now time.Duration) (ok bool, effects []Effect) {
	s.begin(now)
	if e.Home == from && from != s.cfg.Self && (e.Compare(s.top) > 0 || s.mode == seeking && e == s.top) {
		s.receive(from, Heartbeat{Epoch: e}) // as good as one
	}
	inOffice := s.mode == following || s.mode == leading || s.mode == claiming && s.over == s.top
	if inOffice && e == s.top && !e.Zero() {
		return true, s.out
	}
	if e != s.top || s.gone {
		s.send(from.ID, Refused{Epoch: e, Standing: s.top})
	}
	return false, s.out
}

// begin starts an event. A node that was suspended finds out here, before anything is said or obeyed under an old epoch.
func (s *Seat) begin(now time.Duration) {
	gap := now - s.now
	s.now = now
	s.out = s.out[:0]
	if gap <= s.cfg.Timing.Lease {
		return
	}
	s.vain = false
	if s.mode == leading {
		for _, id := range s.audience() {
			s.send(id, Heartbeat{Epoch: s.top, Ended: true}) // or they would refuse the next claim for its sake
		}
		s.preferred = s.cfg.Self.ID
		s.gone = true
		s.orphan()
	}
}

func (s *Seat) setWant(on bool) {
	was := s.want
	s.want = on
	switch {
	case on && !was:
		if s.mode != idle {
			return
		}
		if s.alive() && s.reachable(s.top.Home) {
			s.obey(s.top)
		} else {
			s.seek()
		}
	case on || !was:
	case s.mode == following:
		s.send(s.top.Home.ID, Enrol{Epoch: s.top, Off: true})
		s.mode = idle
	case s.mode == seeking && len(s.followers) == 0:
		s.mode = idle
	}
}

func (s *Seat) viewChanged() {
	switch s.mode {
	case leading:
		s.due = s.now // new anchors learn of it
	case following:
		s.checkHome()
	case seeking, claiming:
		asked := len(s.pending)
		s.pending = slices.DeleteFunc(s.pending, func(id string) bool { return !s.usable(id) })
		s.cut = s.cut || len(s.pending) < asked
		s.settle()
	}
}

// settle goes on when nobody is left to wait for. A node that has no way to any other anchor waits all the same: one that was suspended
// finds its links lost, and has them again a moment later.
func (s *Seat) settle() {
	switch {
	case len(s.pending) > 0, s.cut && !s.answered && s.now < s.due:
	case s.mode == claiming:
		s.lead(s.claim)
	case s.mode == seeking && !s.pausing && s.summoned == "":
		s.decide()
	}
}

// checkHome looks whether the home is still there. A link that is lost says so at once; a view may lag behind a home that speaks.
func (s *Seat) checkHome() {
	if s.mode != following {
		return
	}
	home := s.top.Home
	silent := s.now - s.heard
	e := s.edge(home.ID)
	restarted := e != nil && e.Boot > home.Boot
	unseen := e == nil && silent > 3*s.cfg.Timing.Beat/2
	if s.lost[home.ID] || restarted || unseen || silent > s.cfg.Timing.Lease {
		s.orphan()
	}
}

func (s *Seat) tick() {
	s.checkHome()
	if s.mode == idle || s.now < s.due {
		return
	}
	switch s.mode {
	case leading:
		s.beat()
	case following:
		s.send(s.top.Home.ID, Enrol{Epoch: s.top})
		s.due = s.now + s.cfg.Timing.Beat
	case claiming:
		if s.mended() {
			s.seek()
			return
		}
		// Whoever has not answered is out of reach: this part works on with a home of its own.
		s.lead(s.claim)
	case seeking:
		if s.pausing || s.summoned != "" {
			if s.summoned != "" {
				s.avoid[s.summoned] = true
			}
			s.ask()
			return
		}
		if s.mended() {
			s.ask()
			return
		}
		s.pending = s.pending[:0]
		s.settle()
	}
}

func (s *Seat) receive(from Name, message Message) {
	switch m := message.(type) {
	case Ask:
		s.note(m.Standing)
		alive := s.mode == leading || s.alive() && s.reachable(s.top.Home)
		s.send(from.ID, Told{Standing: s.top, Alive: alive, Busy: s.now < s.until || s.mode == claiming})
	case Told:
		s.told(from, m)
	case Summon:
		s.summon(from, m)
	case Declined:
		s.declined(from)
	case Claim:
		s.judge(from, m)
	case Claimed:
		if s.mode == claiming && m.Epoch == s.claim {
			s.answered = s.answered || from.ID != s.cfg.Self.ID
			s.pending = slices.DeleteFunc(s.pending, func(id string) bool { return id == from.ID })
			s.settle()
		}
	case Refused:
		s.refused(from, m)
	case Heartbeat:
		s.heartbeat(from, m)
	case Enrol:
		s.enrol(from, m)
	case Moved:
		s.note(m.Epoch)
		s.evidence(m.Epoch)
	case HandOver:
		s.takeOver(from, m)
	}
}

func (s *Seat) send(to string, m Message) {
	if to == s.cfg.Self.ID {
		s.inbox = append(s.inbox, Received{From: s.cfg.Self, Message: m})
		return
	}
	s.out = append(s.out, Send{To: to, Message: m})
}

func (s *Seat) note(e Epoch) { s.highest = max(s.highest, e.Number) }

func (s *Seat) edge(id string) *Edge { return Find(s.edges, id) }

func (s *Seat) usable(id string) bool { return id == s.cfg.Self.ID || !s.lost[id] && s.edge(id) != nil }

// reachable tells whether a node, in this life of it, is there as far as this one knows.
func (s *Seat) reachable(n Name) bool {
	if n.ID == s.cfg.Self.ID {
		return false // its own former claims lead nowhere
	}
	e := s.edge(n.ID)
	return e != nil && e.Boot <= n.Boot && !s.lost[n.ID]
}

// alive tells whether the home of the highest epoch was lately heard.
func (s *Seat) alive() bool {
	return !s.top.Zero() && !s.gone && s.now-s.heard <= s.cfg.Timing.Lease
}
