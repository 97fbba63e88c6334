package directory

import (
	"container/heap"
	"maps"
	"slices"
	"testing"
	"time"

	"portico/shared/placement"
	"portico/shared/roster"
)

// world is some edges with one room, and a network between them that takes its time. Everything in it happens in one order.
type world struct {
	t     testing.TB
	now   time.Duration
	edges map[string]*edge
	cut   map[[2]string]bool
	queue happenings
	order int
	delay time.Duration
	dead  time.Duration // of silence until a link is lost
	posts int           // that were sent
	lossy bool          // every other one gets lost
	mute  string        // whose get lost
}

// edge is one node, with its part of the room.
type edge struct {
	w      *world
	name   placement.Name
	room   *Room
	up     bool
	paused bool
	drains bool
	held   []func() // what came while it was paused
	calls  map[uint64]*line
	last   uint64
	tick   time.Duration
	ticks  int

	// The part.
	entered   bool
	leads     bool
	roster    map[roster.Key]string // of others, and who owns it
	told      []string              // what Apply said, in words
	notes     []string
	moved     []roster.Key
	synced    int
	used      map[string]bool // tokens, of other homes
	leadTimes []time.Duration
	over      int
}

// line is one end of a call.
type line struct {
	from, to *edge
	session  uint64 // at the other end
	life     uint64 // of the other end's node
	last     time.Duration
	gone     bool
}

type happening struct {
	at    time.Duration
	order int
	do    func()
}

type happenings []happening

func (h happenings) Len() int { return len(h) }
func (h happenings) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].order < h[j].order
}
func (h happenings) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *happenings) Push(x any)   { *h = append(*h, x.(happening)) }
func (h *happenings) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

func newWorld(t testing.TB, names ...string) *world {
	w := &world{t: t, edges: map[string]*edge{}, cut: map[[2]string]bool{}, delay: 10 * time.Millisecond, dead: time.Second}
	for _, name := range names {
		w.edges[name] = &edge{w: w, name: placement.Name{ID: name, Boot: 1}}
	}
	for _, name := range names {
		w.start(name)
	}
	w.views()
	return w
}

func (w *world) start(name string) *edge {
	e := w.edges[name]
	*e = edge{
		w: w, name: placement.Name{ID: name, Boot: e.name.Boot + 1}, up: true, calls: map[uint64]*line{}, roster: map[roster.Key]string{},
		tick: placement.Never, used: map[string]bool{},
	}
	e.room = New(Config{Room: "room", Self: e.name, Region: "west", Standby: true})
	return e
}

// region is where an edge is: small letters in the west, capitals in the east.
func (w *world) region(name string) string {
	if name < "a" {
		return "east"
	}
	return "west"
}

func (w *world) at(after time.Duration, do func()) {
	w.order++
	heap.Push(&w.queue, happening{w.now + after, w.order, do})
}

func (w *world) names() []string { return slices.Sorted(maps.Keys(w.edges)) }

func (w *world) joined(a, b *edge) bool {
	return a == b || a.up && b.up && !a.paused && !b.paused && !w.cut[[2]string{a.name.ID, b.name.ID}]
}

// views tells every edge which there are, as gossip would in the end.
func (w *world) views() {
	for _, name := range w.names() {
		e := w.edges[name]
		if !e.up || e.paused {
			continue
		}
		var list []placement.Edge
		for _, other := range w.names() {
			if o := w.edges[other]; w.joined(e, o) {
				list = append(list, placement.Edge{ID: other, Boot: o.name.Boot, Weight: 1, Draining: o.drains, Region: w.region(other)})
			}
		}
		e.handle(placement.View{Edges: list})
	}
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	end := w.now + d
	for {
		next, who := end, (*edge)(nil)
		for _, name := range w.names() {
			if e := w.edges[name]; e.up && !e.paused && e.tick < next {
				next, who = e.tick, e
			}
		}
		switch {
		case len(w.queue) > 0 && w.queue[0].at <= next:
			h := heap.Pop(&w.queue).(happening)
			w.now = max(w.now, h.at)
			h.do()
		case who != nil:
			w.now = max(w.now, next)
			who.ticks++
			who.handle(placement.Tick{})
		default:
			w.now = end
			return
		}
	}
}

// deliver hands an event to a node in one of its lives, once it is awake.
func (w *world) deliver(to *edge, life uint64, event func() Event) {
	switch {
	case !to.up || to.name.Boot != life:
	case to.paused:
		to.held = append(to.held, func() { w.deliver(to, life, event) })
	default:
		if e := event(); e != nil {
			to.handle(e)
		}
	}
}

// split cuts the links between two edges, or mends them: both find out.
func (w *world) split(a, b string, on bool) {
	w.cut[[2]string{a, b}], w.cut[[2]string{b, a}] = on, on
	if !on {
		w.heal(w.edges[a], w.edges[b])
		return
	}
	w.sever(w.edges[a], w.edges[b])
}

// sever has both ends lose their link after a while.
func (w *world) sever(a, b *edge) {
	for _, pair := range [][2]*edge{{a, b}, {b, a}} {
		e, other := pair[0], pair[1]
		life := e.name.Boot
		for _, session := range slices.Sorted(maps.Keys(e.calls)) {
			if l := e.calls[session]; l.to == other {
				l.gone = true
			}
		}
		w.at(w.dead, func() {
			for _, session := range slices.Sorted(maps.Keys(e.calls)) {
				if l := e.calls[session]; l.to == other && l.gone {
					delete(e.calls, session)
					w.deliver(e, life, func() Event { return Ended{session} })
				}
			}
			w.deliver(e, life, func() Event {
				if w.joined(e, other) {
					return nil
				}
				return placement.Lost{ID: other.name.ID}
			})
		})
	}
}

func (w *world) heal(a, b *edge) {
	for _, pair := range [][2]*edge{{a, b}, {b, a}} {
		w.at(300*time.Millisecond, func() {
			if w.joined(a, b) {
				w.deliver(pair[0], pair[0].name.Boot, func() Event { return placement.Healed{ID: pair[1].name.ID} })
			}
		})
	}
}

func (w *world) kill(name string) {
	e := w.edges[name]
	e.up = false
	for _, other := range w.names() {
		if o := w.edges[other]; o != e {
			w.sever(o, e)
		}
	}
	w.at(5*time.Second, w.views)
}

// pause stops a node without telling it; resume has it find everything that came meanwhile.
func (w *world) pause(name string) {
	e := w.edges[name]
	e.paused = true
	for _, other := range w.names() {
		if o := w.edges[other]; o != e {
			w.sever(o, e)
		}
	}
}

func (w *world) resume(name string) {
	e := w.edges[name]
	e.paused = false
	held := e.held
	e.held = nil
	for _, do := range held {
		do()
	}
	for _, other := range w.names() {
		if o := w.edges[other]; o != e {
			w.heal(o, e)
		}
	}
	w.views()
}

func (e *edge) handle(event Event) {
	e.carry(e.room.Handle(event, e.w.now))
	e.tick = e.room.Due()
}

func (e *edge) carry(effects []Effect) {
	w := e.w
	for _, effect := range slices.Clone(effects) {
		switch f := effect.(type) {
		case Seat:
			to := w.edges[f.To]
			life := to.name.Boot
			if w.joined(e, to) || to.paused {
				w.at(w.delay, func() {
					w.deliver(to, life, func() Event { return placement.Received{From: e.name, Message: f.Message} })
				})
			}
		case Post:
			w.posts++
			to := w.edges[f.To]
			life := to.name.Boot
			if (w.joined(e, to) || to.paused) && w.mute != e.name.ID && !(w.lossy && w.posts%2 == 0) {
				w.at(w.delay, func() { w.deliver(to, life, func() Event { return Posted{e.name.ID, f.Message} }) })
			}
		case Used:
			for _, u := range f.Uses {
				e.used[u.Token] = true
			}
		case Dial:
			e.dial(f)
		case Say:
			if l := e.calls[f.Session]; l != nil {
				l.send(func() Event { return Heard{l.session, f.Message} })
			}
		case HangUp:
			if l := e.calls[f.Session]; l != nil {
				delete(e.calls, f.Session)
				l.send(func() Event {
					delete(l.to.calls, l.session)
					return Ended{l.session}
				})
			}
		case Rubbish:
			w.t.Errorf("%v: %s calls what %s sent rubbish: %v", w.now, e.name.ID, f.From, f.Err)
		default:
			e.tell(f)
		}
	}
}

func (e *edge) dial(f Dial) {
	w := e.w
	to := w.edges[f.To]
	to.last += 2
	l := &line{from: e, to: to, session: to.last, life: to.name.Boot}
	e.calls[f.Session] = l
	back := &line{from: to, to: e, session: f.Session, life: e.name.Boot}
	if !w.joined(e, to) {
		l.gone = true
		w.at(100*time.Millisecond, func() {
			if e.calls[f.Session] == l {
				delete(e.calls, f.Session)
				w.deliver(e, back.life, func() Event { return Ended{f.Session} })
			}
		})
		return
	}
	l.send(func() Event {
		to.calls[l.session] = back
		return Called{l.session, e.name.ID}
	})
}

// send has the other end get something, in order.
func (l *line) send(event func() Event) {
	w := l.from.w
	l.last = max(l.last, w.now+w.delay)
	w.at(l.last-w.now, func() {
		if l.gone && !l.to.paused {
			return
		}
		w.deliver(l.to, l.life, event)
	})
}

// tell is the part: it checks that it hears of everything once.
func (e *edge) tell(effect Effect) {
	w := e.w
	fault := func(format string, args ...any) {
		w.t.Errorf("%v: the part on %s "+format, append([]any{w.now, e.name.ID}, args...)...)
	}
	switch f := effect.(type) {
	case Apply:
		for _, c := range f.Changes {
			switch {
			case c.Now == nil:
				if _, ok := e.roster[c.Was.Key]; !ok {
					fault("is told that %v is gone, which it does not know", c.Was.Key)
				}
				delete(e.roster, c.Was.Key)
				e.told = append(e.told, "-"+c.Was.ID)
			default:
				if owner, ok := e.roster[c.Now.Key]; ok != (c.Was != nil) {
					fault("is told of %v of %s, and knows it of %q", c.Now.Key, c.Now.Owner, owner)
				}
				e.roster[c.Now.Key] = c.Now.Owner
				e.told = append(e.told, "+"+c.Now.ID)
			}
		}
	case Moved:
		e.moved = append(e.moved, f.Key)
	case Leads:
		if e.leads == f.On {
			fault("is told twice whether it leads: %t", f.On)
		}
		e.leads = f.On
		e.leadTimes = append(e.leadTimes, w.now)
	case Deliver:
		e.notes = append(e.notes, string(f.Body))
	case Synced:
		e.synced++
	case Host:
		w.at(0, func() { w.deliver(e, e.name.Boot, func() Event { return e.enter() }) })
	case Over:
		e.over++
	}
}

func (e *edge) enter() Event {
	e.entered = true
	return Enter{On: true}
}

func person(id string) roster.Key { return roster.Key{Kind: roster.Participant, ID: id} }

// join brings a participant in.
func (w *world) join(name, id string) {
	e := w.edges[name]
	if !e.entered {
		e.handle(e.enter())
	}
	e.handle(Put{Key: person(id), Generation: 1, Value: []byte("about " + id)})
}

// check tells whether every part knows exactly who is in the room.
func (w *world) check(want ...string) {
	w.t.Helper()
	slices.Sort(want)
	for _, name := range w.names() {
		e := w.edges[name]
		if !e.up || e.paused || e.room.own.Len() == 0 && !e.leads {
			continue
		}
		var have []string
		for key := range e.roster {
			have = append(have, key.ID)
		}
		for _, own := range e.room.own.Entries() {
			have = append(have, own.ID)
		}
		slices.Sort(have)
		if !slices.Equal(have, want) {
			w.t.Errorf("%v: on %s the room is %v, not %v", w.now, name, have, want)
		}
	}
}

// home gives the one edge that leads, among those named or all.
func (w *world) home(among ...string) *edge {
	w.t.Helper()
	if len(among) == 0 {
		among = w.names()
	}
	var home *edge
	for _, name := range among {
		e := w.edges[name]
		if _, leads := e.room.Epoch(); !leads || !e.up || e.paused {
			continue
		}
		if home != nil {
			w.t.Fatalf("%v: %s and %s both lead", w.now, home.name.ID, name)
		}
		home = e
	}
	if home == nil {
		w.t.Fatalf("%v: nobody leads", w.now)
	}
	return home
}

func (e *edge) epoch() placement.Epoch {
	at, _ := e.room.Epoch()
	return at
}

// forget has what was told so far not count.
func (w *world) forget() {
	for _, e := range w.edges {
		e.told, e.notes, e.moved = nil, nil, nil
	}
}

// quiet checks that no part was told of any change since forget.
func (w *world) quiet() {
	w.t.Helper()
	for _, name := range w.names() {
		if e := w.edges[name]; len(e.told) > 0 {
			w.t.Errorf("%v: %s was told %v", w.now, name, e.told)
		}
	}
}
