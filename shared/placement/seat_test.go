package placement

import (
	"strings"
	"testing"
	"time"
)

const seeds = 400

// What must hold whatever happens, and agreement after it.
func TestStorms(t *testing.T) {
	var worst time.Duration
	var which uint64
	for seed := range uint64(seeds) {
		took, faults := storm(seed, bend{})
		if len(faults) > 0 {
			t.Fatalf("seed %d: %s", seed, strings.Join(faults, "\n"))
		}
		if took > worst {
			worst, which = took, seed
		}
	}
	t.Logf("agreement at most %v after healing (seed %d)", worst, which)
	if worst > 5*time.Second {
		t.Errorf("seed %d: agreement took %v", which, worst)
	}
}

// Each check of the storms fails when the rule behind it is broken.
func TestStormsNotice(t *testing.T) {
	for name, c := range map[string]struct {
		bend bend
		want string
	}{
		"two nodes with one name": {bend{name: func(i int) Name { return Name{ID: "edge-" + string(rune('0'+i/2)), Boot: 1} }}, "unique"},
		"numbers used twice": {bend{effect: func(_ *world, _ *node, e Effect) Effect {
			if l, ok := e.(Lead); ok {
				l.Epoch.Number = 1
				return l
			}
			return e
		}}, "unique"},
		"a memory that fails": {bend{forget: func(w *world, n *node) bool { return w.rng.IntN(2000) == 0 }}, "monotone"},
		"stale commands obeyed": {bend{command: func(n *node, e Epoch) Epoch {
			if top, _ := n.seat.Epoch(); !top.Zero() {
				return top
			}
			return e
		}}, "monotone"},
		"no home gives way": {bend{event: func(_ *world, n *node, e Event) (Event, bool) {
			r, ok := e.(Received)
			_, leads := n.seat.Epoch()
			return e, !ok || !leads || r.From.ID == n.name.ID
		}, command: func(n *node, e Epoch) Epoch {
			if top, leads := n.seat.Epoch(); leads && e.Compare(top) > 0 {
				return Epoch{}
			}
			return e
		}}, "agreement"},
		"no resignation": {bend{effect: func(_ *world, _ *node, e Effect) Effect {
			if _, ok := e.(Resign); ok {
				return Send{}
			}
			return e
		}}, "order"},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(seeds) {
				if _, faults := storm(seed, c.bend); strings.Contains(strings.Join(faults, "\n"), c.want+":") {
					return
				}
			}
			t.Errorf("%d seeds, and nothing is noticed", seeds)
		})
	}
}

// calm is a room in a cluster where nothing fails but what f does.
func calm(t *testing.T, count int, f func(w *world)) *world {
	t.Helper()
	w := newWorld(1, count, bend{})
	for _, n := range w.nodes {
		w.setWant(n, true)
	}
	w.run(5 * time.Second)
	if wrong := w.agreed(); wrong != "" {
		t.Fatal("at the start: ", wrong)
	}
	if f != nil {
		f(w)
	}
	if len(w.faults) > 0 {
		t.Error(strings.Join(w.faults, "\n"))
	}
	return w
}

func (w *world) home() *node {
	for _, n := range w.nodes {
		if _, leads := n.seat.Epoch(); n.up && leads {
			return n
		}
	}
	return nil
}

// sticky is how often the home changes while edges come that the hash would prefer.
func sticky(t *testing.T, b bend) int {
	return calm(t, 3, func(w *world) {
		w.bend = b
		w.leads = 0
		for i := 3; i < 12; i++ {
			n := &node{i: i, name: Name{ID: "late-" + string(rune('a'+i)), Boot: 1}, region: "east"}
			w.nodes = append(w.nodes, n)
			w.start(n)
			w.tellViews(w.lag)
			w.run(w.now + 2*time.Second)
			w.setWant(n, true)
			w.run(w.now + 6*time.Second)
		}
		if wrong := w.agreed(); wrong != "" && b.event == nil {
			t.Error(wrong)
		}
	}).leads
}

func TestSticky(t *testing.T) {
	if n := sticky(t, bend{}); n != 0 {
		t.Errorf("the home changed %d times", n)
	}
	// With anchors that forget, each newcomer would claim the room.
	if sticky(t, bend{event: func(_ *world, n *node, e Event) (Event, bool) {
		if r, ok := e.(Received); ok {
			if m, ok := r.Message.(Told); ok {
				m.Standing, m.Alive = Epoch{}, false
				r.Message = m
			}
			if m, ok := r.Message.(Claim); ok {
				m.Insist = true
				r.Message = m
			}
			_, summon := r.Message.(Summon)
			_, beat := r.Message.(Heartbeat)
			return r, !(summon && n.i < 3) && !(beat && n.i >= 3)
		}
		return e, true
	}, command: func(_ *node, e Epoch) Epoch { return Epoch{} }}) == 0 {
		t.Error("the home would not change even without anchors: the test sees nothing")
	}
}

func TestHomeDies(t *testing.T) {
	calm(t, 5, func(w *world) {
		old := w.home()
		old.up = false
		for _, n := range w.nodes {
			if n != old {
				w.carryOut(n, n.seat.Handle(Lost{ID: old.name.ID}, w.now))
			}
		}
		w.run(w.now + 2*time.Second)
		if wrong := w.agreed(); wrong != "" {
			t.Error(wrong)
		}
	})
}

// A home stopped for ten seconds finds another in office, and says nothing under its own epoch.
func TestHomeStops(t *testing.T) {
	calm(t, 4, func(w *world) {
		old := w.home()
		w.pause(old, true)
		w.tellViews(w.lag)
		w.run(w.now + 10*time.Second)
		if now := w.home(); now == nil || now == old {
			t.Fatal("nobody else")
		}
		before, _ := old.seat.Epoch()
		ok, effects := old.seat.Command(old.name, before, w.now)
		if w.carryOut(old, effects); ok {
			t.Error("its own epoch still counts")
		}
		w.pause(old, false)
		w.tellViews(w.lag)
		w.run(w.now + 4*time.Second)
		if wrong := w.agreed(); wrong != "" || w.home() == old {
			t.Error("afterwards:", wrong)
		}
	})
}

// Both sides of a partition have a home; healed, the higher epoch stays.
func TestPartition(t *testing.T) {
	calm(t, 6, func(w *world) {
		side := func(n *node) bool { return n.i < 3 }
		for _, a := range w.nodes {
			for _, b := range w.nodes {
				if side(a) != side(b) {
					w.cut[[2]int{a.i, b.i}] = true
				}
			}
		}
		w.tellViews(w.lag)
		w.run(w.now + 30*time.Second)
		var homes []Epoch
		for _, n := range w.nodes {
			e, leads := n.seat.Epoch()
			if e.Zero() {
				t.Errorf("%s is without a home", n.name.ID)
			}
			if leads {
				homes = append(homes, e)
			}
		}
		if len(homes) != 2 {
			t.Fatal("homes:", homes)
		}
		w.heal()
		w.run(w.now + 3*time.Second)
		e, _ := w.nodes[0].seat.Epoch()
		if wrong := w.agreed(); wrong != "" || e.Compare(homes[0]) < 0 || e.Compare(homes[1]) < 0 || e != homes[0] && e != homes[1] {
			t.Errorf("of %v %v stays; %s", homes, e, wrong)
		}
	})
}

func TestDrain(t *testing.T) {
	calm(t, 4, func(w *world) {
		old := w.home()
		old.drains = true
		w.carryOut(old, old.seat.Handle(Drain{On: true}, w.now))
		w.tellViews(w.lag)
		for w.home() == old {
			// It stays in office: no node is without a home meanwhile.
			for _, n := range w.nodes {
				e, _ := n.seat.Epoch()
				if ok, _ := n.seat.Command(e.Home, old.leading, w.now); !ok && w.home() == old {
					t.Fatalf("%s does not obey the home any more", n.name.ID)
				}
			}
			if w.run(w.now + 10*time.Millisecond); w.now > time.Minute {
				t.Fatal("it stays for ever")
			}
		}
		w.run(w.now + 2*time.Second)
		if wrong := w.agreed(); wrong != "" {
			t.Error(wrong)
		}
		// All drain: somebody has to be it.
		for _, n := range w.nodes {
			n.drains = true
			w.carryOut(n, n.seat.Handle(Drain{On: true}, w.now))
		}
		w.tellViews(w.lag)
		w.run(w.now + 5*time.Second)
		if wrong := w.agreed(); wrong != "" {
			t.Error("all drain:", wrong)
		}
	})
}

// A home that one follower alone cannot reach is replaced after Patience, and not before.
func TestOneWay(t *testing.T) {
	calm(t, 5, func(w *world) {
		old := w.home()
		other := w.nodes[(old.i+1)%5]
		w.cut[[2]int{old.i, other.i}], w.cut[[2]int{other.i, old.i}] = true, true
		w.tellViews(w.lag)
		w.run(w.now + 8*time.Second)
		if w.home() != old {
			t.Error("replaced early")
		}
		w.run(w.now + 10*time.Second)
		if wrong := w.agreed(); wrong != "" || w.home() == old {
			t.Errorf("home %v; %s", w.home(), wrong)
		}
	})
}

func TestRoomEnds(t *testing.T) {
	calm(t, 4, func(w *world) {
		top, _ := w.nodes[0].seat.Epoch()
		for _, n := range w.nodes {
			w.setWant(n, false)
		}
		w.run(w.now + 20*time.Second)
		for _, n := range w.nodes {
			if e, _ := n.seat.Epoch(); !e.Zero() || n.leading != (Epoch{}) || !n.seat.Forgettable(w.now+time.Hour, time.Hour) {
				t.Errorf("%s: %v", n.name.ID, e)
			}
		}
		w.setWant(w.nodes[1], true)
		w.run(w.now + 2*time.Second)
		if e, _ := w.nodes[1].seat.Epoch(); e.Compare(top) <= 0 {
			t.Errorf("%v after %v", e, top)
		}
	})
}

// Messages that nobody honest sends change nothing.
func TestForged(t *testing.T) {
	w := calm(t, 3, nil)
	top, _ := w.nodes[0].seat.Epoch()
	liar := Name{ID: "liar", Boot: 9}
	for _, n := range w.nodes {
		for _, m := range []Message{
			Heartbeat{Epoch: Epoch{99, w.nodes[1].name}}, Heartbeat{Epoch: Epoch{99, w.nodes[1].name}, Ended: true},
			Heartbeat{Epoch: top, Ended: true}, HandOver{Epoch: top}, Claim{Epoch: Epoch{99, w.nodes[1].name}},
			Claimed{Epoch: Epoch{99, n.name}}, Told{Standing: Epoch{99, liar}, Alive: true}, Told{Standing: top},
		} {
			n.seat.Handle(Received{From: liar, Message: m}, w.now)
			if e, _ := n.seat.Epoch(); e != top {
				t.Fatalf("%s is at %v after %+v", n.name.ID, e, m)
			}
		}
		if ok, _ := n.seat.Command(liar, Epoch{99, w.nodes[1].name}, w.now); ok {
			t.Error("another's epoch is obeyed")
		}
	}
}

// seated is a Seat that obeys home, with two more edges as its anchors.
func seated(t *testing.T) (s *Seat, home Epoch, others []Edge) {
	t.Helper()
	edges := []Edge{{ID: "self", Boot: 1}, {ID: "home", Boot: 1}, {ID: "other", Boot: 1}, {ID: "third", Boot: 1}}
	room := ""
	for i := 0; room == ""; i++ { // one whose anchors are other and third
		name := string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
		if a := Anchors(name, edges); a[0] != "self" && a[1] != "self" && a[0] != "home" && a[1] != "home" {
			room = name
		}
	}
	s = NewSeat(Config{Room: room, Self: Name{"self", 1}})
	home = Epoch{1, Name{"home", 1}}
	s.Handle(View{Edges: edges}, 0)
	s.Handle(Want{On: true}, 0)
	s.Handle(Received{From: Name{"other", 1}, Message: Told{Standing: home, Alive: true}}, 0)
	s.Handle(Received{From: home.Home, Message: Heartbeat{Epoch: home}}, 0)
	if e, _ := s.Epoch(); e != home {
		t.Fatal("it obeys", e)
	}
	return s, home, edges
}

// A home that gossip does not show yet is followed as soon as it does, on the word of the anchors.
func TestMovedBeforeGossip(t *testing.T) {
	s, home, edges := seated(t)
	next := Epoch{2, Name{"late", 1}}
	now := 10 * time.Millisecond
	s.Handle(Lost{ID: "late"}, now) // a link of before: nobody says that it is healed
	s.Handle(Received{From: home.Home, Message: Moved{Epoch: next}}, now)
	if e, _ := s.Epoch(); !e.Zero() {
		t.Error("it obeys", e)
	}
	s.Handle(View{Edges: append(edges, Edge{ID: "late", Boot: 1})}, now)
	for range 40 {
		if e, _ := s.Epoch(); e == next {
			return
		}
		now += 100 * time.Millisecond
		for _, e := range append([]Effect(nil), s.Handle(Tick{}, now)...) {
			if ask, ok := e.(Send); ok {
				if _, ok := ask.Message.(Ask); ok {
					s.Handle(Received{From: Name{ask.To, 1}, Message: Told{Standing: next, Alive: true}}, now)
				}
			}
		}
	}
	t.Error("it does not find the home")
}

// A node that finds all its links lost waits for a moment before it claims alone, and asks those whom it reaches again.
func TestClaimsNotAtOnce(t *testing.T) {
	s, home, _ := seated(t)
	now := time.Second
	for _, id := range []string{"other", "third", "home"} {
		s.Handle(Lost{ID: id}, now)
	}
	if e, leads := s.Epoch(); !e.Zero() || leads {
		t.Fatal("it claims at once")
	}
	for _, id := range []string{"home", "other", "third"} {
		s.Handle(Healed{ID: id}, now+100*time.Millisecond)
	}
	var asked int
	for range 10 {
		now += 100 * time.Millisecond
		for _, e := range append([]Effect(nil), s.Handle(Tick{}, now)...) {
			send, ok := e.(Send)
			if ask, is := send.Message.(Ask); ok && is && asked < 2 {
				asked++
				s.Handle(Received{From: Name{send.To, 1}, Message: Told{Standing: ask.Standing, Alive: true}}, now)
			}
		}
	}
	if e, _ := s.Epoch(); e != home || asked == 0 {
		t.Errorf("at %v, %d anchors asked", e, asked)
	}
	// With nobody there it goes on alone, a little later.
	s, _, _ = seated(t)
	now = time.Second
	for _, id := range []string{"other", "third", "home"} {
		s.Handle(Lost{ID: id}, now)
	}
	for end := now + 2*time.Second; now < end; now += 100 * time.Millisecond {
		s.Handle(Tick{}, now)
	}
	if _, leads := s.Epoch(); !leads {
		t.Error("a part of one has no home")
	}
}

// A home that says itself that it is none is taken at its word, whatever the anchors have heard.
func TestRefusedByItself(t *testing.T) {
	s, home, _ := seated(t)
	claims := false
	var handle func(e Event, now time.Duration)
	handle = func(e Event, now time.Duration) {
		for _, e := range append([]Effect(nil), s.Handle(e, now)...) {
			send, _ := e.(Send)
			switch send.Message.(type) {
			case Ask:
				handle(Received{From: Name{send.To, 1}, Message: Told{Standing: home, Alive: true}}, now)
			case Summon, Claim:
				claims = true
			}
		}
	}
	handle(Received{From: home.Home, Message: Refused{Epoch: home, Standing: home}}, 0)
	for i := range 20 {
		handle(Tick{}, time.Duration(i)*100*time.Millisecond)
	}
	if !claims {
		t.Error("it waits for a home that is none")
	}
}
