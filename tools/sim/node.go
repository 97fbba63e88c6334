package main

import (
	"slices"
	"time"

	"portico/edge/mesh/directory"
	"portico/shared/meshproto"
	"portico/shared/placement"
	"portico/shared/roster"
	"portico/shared/token"
)

// node is an edge.
type node struct {
	w      *world
	i      int
	name   placement.Name
	region int
	weight int
	load   *load

	up, paused        bool
	draining, leaving bool
	boot              uint64        // of its last life, as its data folder keeps it
	died              time.Duration // or was last heard, when that was before
	stood             time.Duration // when it was paused last
	held              []event       // what came while it was stopped

	rate  float64 // of its clock
	base  time.Duration
	since time.Duration // when its clock showed base
	wall  time.Duration // how far its calendar is off

	group *group
	view  []placement.Edge
	fresh bool // a look at gossip is on its way
	lost  map[string]bool

	rooms    map[string]*part
	list     []*part // the same in order
	sessions uint64
	used     *token.Used
	asked    map[string]string // token to request, as package mesh keeps it
	seats    int               // participants with a place here, as this node counts
}

// epoch0 is when the calendar of all nodes begins.
var epoch0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (w *world) start(n *node) {
	n.up, n.paused, n.draining, n.leaving = true, false, false, false
	boot := uint64(n.calendar().UnixMilli())
	if !w.bend.bootByClock {
		boot = max(boot, n.boot+1)
	}
	n.boot = boot
	n.name = placement.Name{ID: n.name.ID, Boot: boot}
	n.base, n.since = w.random(time.Hour), w.now
	n.held, n.lost, n.rooms, n.list = nil, map[string]bool{}, map[string]*part{}, nil
	n.used, n.asked = token.NewUsed(tokenLife, 0), map[string]string{}
	n.seats = 0
	n.load.last = w.now - w.random(time.Duration(len(w.nodes))*time.Second/perSecond) // nodes that start together do not tell together
	n.view = []placement.Edge{n.edge()}
	n.group = w.groupOf(n)
	w.on(n, w.random(10*time.Second), n.sweep)
	w.refresh(n, w.between(50*time.Millisecond, 300*time.Millisecond))
	w.announce(n, w.between(100*time.Millisecond, 800*time.Millisecond))
}

// clock is the node's time as its rooms count it.
func (n *node) clock() time.Duration {
	return n.base + time.Duration(float64(n.w.now-n.since)*n.rate)
}

// calendar is what the node takes for the time of day.
func (n *node) calendar() time.Time { return epoch0.Add(n.w.now + n.wall) }

// setRate has the clock go at another rate from now on.
func (n *node) setRate(rate float64) { n.base, n.since, n.rate = n.clock(), n.w.now, rate }

// edge is what gossip says of the node.
func (n *node) edge() placement.Edge {
	return placement.Edge{
		ID: n.name.ID, Boot: n.name.Boot, Region: regionName(n.region), Weight: n.weight, Draining: n.draining || n.leaving, Load: n.load.told,
	}
}

func regionName(i int) string { return string(rune('A' + i)) }

func (n *node) knows(id string) bool { return placement.Find(n.view, id) != nil }

// part is a room on a node: the real directory.Room, and what package mesh and a portal would keep beside it.
type part struct {
	n       *node
	room    *room
	core    *directory.Room
	calls   map[uint64]*call
	ended   bool
	entered bool
	ticks   time.Duration // when a Tick is on its way; 0: none
	waiting []func()      // for another epoch
	syncs   map[uint64]func()
	wishes  int

	epoch placement.Epoch // as it was last seen
	leads bool
	obeys time.Duration   // since when
	high  placement.Epoch // the highest it has obeyed

	own    map[roster.Key]roster.Entry
	shadow map[roster.Key]*roster.Entry // of others, by what it was told
	hash   uint64                       // of the shadow
	people map[string]*seat
}

// seat is a participant on its edge.
type seat struct {
	client     *client
	generation uint64
	stream     bool
	gone       bool // its connection is
}

func (p *part) alive() bool { return p.n.up && !p.ended && p.n.rooms[p.room.name] == p }

func (n *node) part(name string) *part {
	if p := n.rooms[name]; p != nil {
		return p
	}
	r := n.w.roomNamed(name)
	p := &part{
		n: n, room: r, calls: map[uint64]*call{}, own: map[roster.Key]roster.Entry{}, shadow: map[roster.Key]*roster.Entry{},
		people: map[string]*seat{}, syncs: map[uint64]func(){},
	}
	p.fill()
	n.rooms[name] = p
	n.list = append(n.list, p)
	r.parts = append(r.parts, p)
	return p
}

// fill makes the core of a part.
func (p *part) fill() {
	n := p.n
	cfg := directory.Config{Room: p.room.name, Self: n.name, Roster: roster.Config{Grace: grace}, Standby: true}
	if bend := &n.w.bend; bend.grace > 0 {
		cfg.Roster.Grace = bend.grace
	} else if bend.name != nil {
		cfg.Self = bend.name(n.w, n)
	}
	p.core = directory.New(cfg)
	p.handle(placement.View{Edges: n.view})
	for _, e := range n.view {
		if n.lost[e.ID] {
			p.handle(placement.Lost{ID: e.ID})
		}
	}
	if n.draining && !n.w.bend.noDrain {
		p.handle(placement.Drain{On: true})
	}
}

// all tells every room something.
func (n *node) all(e directory.Event) {
	for _, p := range slices.Clone(n.list) {
		if p.alive() {
			p.handle(e)
		}
	}
}

// sweep forgets rooms that are of no use.
func (n *node) sweep() {
	kept := n.list[:0]
	for _, p := range n.list {
		if p.core.Forgettable(n.clock(), memory) && len(p.own) == 0 && p.wishes == 0 && !p.entered {
			p.drop()
		} else {
			kept = append(kept, p)
		}
	}
	clear(n.list[len(kept):])
	n.list = kept
	n.w.on(n, 10*time.Second, n.sweep)
}

// drop forgets a part.
func (p *part) drop() {
	p.ended = true
	delete(p.n.rooms, p.room.name)
	p.room.parts = slices.DeleteFunc(p.room.parts, func(q *part) bool { return q == p })
	p.room.dirty = true
	p.n.w.check.dirty = append(p.n.w.check.dirty, p.room)
}

// handle gives an event to the core, and carries out what comes of it.
func (p *part) handle(e directory.Event) {
	p.carry(p.core.Handle(e, p.n.clock()))
}

// after is what follows every event of a part.
func (p *part) after() {
	w := p.n.w
	epoch, leads := p.core.Epoch()
	if epoch != p.epoch || leads != p.leads {
		w.check.moved(w, p, epoch, leads)
		p.epoch, p.leads, p.obeys = epoch, leads, w.now
		waiting := p.waiting
		p.waiting = nil
		for _, do := range waiting {
			w.on(p.n, 0, do)
		}
	}
	p.schedule()
}

// schedule has the core ticked when it is due.
func (p *part) schedule() {
	due := p.core.Due()
	if due == placement.Never {
		return
	}
	n := p.n
	after := time.Duration(float64(due-n.clock())/n.rate) + n.w.random(3*time.Millisecond) + time.Microsecond
	at := n.w.now + max(after, time.Millisecond)
	if p.ticks != 0 && p.ticks <= at {
		return
	}
	p.ticks = at
	n.w.on(n, at-n.w.now, func() {
		if p.ticks != at {
			return
		}
		p.ticks = 0
		if p.alive() {
			p.handle(placement.Tick{})
		}
	})
}

// carry carries out what a core asks for.
func (p *part) carry(effects []directory.Effect) {
	w := p.n.w
	for _, e := range slices.Clone(effects) {
		if w.bend.effect != nil {
			if e = w.bend.effect(w, p, e); e == nil {
				continue
			}
		}
		switch e := e.(type) {
		case directory.Seat:
			w.sendSeat(p, e.To, e.Message)
		case directory.Post:
			w.post(p.n, e.To, e.Message)
		case directory.Used:
			p.n.learn(e.Uses)
		case directory.Dial:
			p.dial(e)
		case directory.Say:
			p.say(e)
		case directory.HangUp:
			if c := p.calls[e.Session]; c != nil {
				delete(p.calls, e.Session)
				c.hangUp(w, e.Session, p)
			}
		case directory.Rubbish:
			w.fault("rubbish", "%s: %v from %s", p, e.Err, e.From)
		case directory.Apply:
			w.check.apply(w, p, e.Changes)
		case directory.Moved:
			p.moved(e.Key)
		case directory.Synced:
			if done := p.syncs[e.ID]; done != nil {
				delete(p.syncs, e.ID)
				w.on(p.n, 0, done) // not in the middle of what the core asks for
			}
		case directory.Host:
			w.on(p.n, 0, func() { p.enter(); p.tidy() })
		case directory.Over:
			if len(p.people) > 0 {
				w.fault("left", "%s is told that the room is over, with %d participants there", p, len(p.people))
			}
		}
	}
	p.after()
}

func (p *part) String() string { return p.room.name + " on " + p.n.name.ID }

// enter has a room be one of this node's. Each would have its home in its own region.
func (p *part) enter() {
	if !p.entered && p.alive() {
		p.entered = true
		p.core.Prefer(regionName(p.n.region))
		p.handle(directory.Enter{On: true})
	}
}

// sendSeat sends a message of a seat.
func (w *world) sendSeat(p *part, to string, m placement.Message) {
	other := w.byName[to]
	name := p.room.name
	from := p.n.name
	if other == nil || w.bend.seatLost != nil && w.bend.seatLost(w, p.n, other) {
		return
	}
	w.whenLinked(p.n, other, func(l *link) {
		if l == nil {
			return
		}
		end := 0
		if l.pair.ends[1] == other {
			end = 1
		}
		w.send(l, end, func() {
			w.logf("%s: %s says %T%v to %s", name, from.ID, m, m, to)
			m := w.seatOverWire(from, name, m)
			other.part(name).handle(placement.Received{From: from, Message: m})
		})
	})
}

// seatOverWire writes and reads a message now and then, as it would be.
func (w *world) seatOverWire(from placement.Name, name string, m placement.Message) placement.Message {
	if w.count%64 != 0 {
		return m
	}
	b, err := meshproto.EncodeSeats(meshproto.Seats{Boot: from.Boot, Messages: []meshproto.SeatMessage{{Room: name, Message: m}}})
	if err != nil {
		w.fault("wire", "%v", err)
		return m
	}
	s, err := meshproto.DecodeSeats(b)
	if err != nil || len(s.Messages) != 1 || s.Messages[0].Message != m {
		w.fault("wire", "%+v comes as %+v: %v", m, s, err)
	}
	return m
}
