package directory

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"portico/shared/meshproto"
	"portico/shared/placement"
	"portico/shared/roster"
)

// ask has the home give a place, as package mesh does: it waits through a change of home.
func (w *world) ask(name string, a roster.Admission, limit int, patience time.Duration) error {
	w.t.Helper()
	e := w.edges[name]
	if !e.entered {
		e.handle(e.enter())
	}
	e.handle(Wish{On: true})
	defer func() {
		if e.up {
			e.handle(Wish{})
		}
	}()
	a.Owner, a.Request = name, fmt.Sprint(name, w.now)
	for end := w.now + patience; w.now < end; w.run(50 * time.Millisecond) {
		epoch, _ := e.room.Epoch()
		home := w.edges[epoch.Home.ID]
		if home == nil || !w.joined(e, home) || !home.room.Settled() {
			continue
		}
		if a.Token != "" && home.used[a.Token] {
			return errUsed
		}
		if _, err := home.room.Admit(a, limit, w.now); err != roster.ErrNotYet {
			if err == nil && a.Token != "" {
				home.used[a.Token] = true
				home.carry(home.room.Use(roster.Use{Token: a.Token, Request: a.Request}, 0, w.now))
			}
			return err
		}
	}
	return roster.ErrNotYet
}

var errUsed = errors.New("used")

// enters brings a participant in with a token, as package mesh does.
func (w *world) enters(name, id string) {
	w.t.Helper()
	if err := w.ask(name, roster.Admission{Participant: id, Generation: 1, Token: "token of " + id}, -1, 10*time.Second); err != nil {
		w.t.Fatalf("%v: %s cannot enter on %s: %v", w.now, id, name, err)
	}
	w.join(name, id)
}

// resumes takes a participant up on another edge, and tells how long it took.
func (w *world) resumes(name, id string, generation uint64) time.Duration {
	w.t.Helper()
	began := w.now
	if err := w.ask(name, roster.Admission{Participant: id, Generation: generation, Resume: true}, -1, 10*time.Second); err != nil {
		w.t.Errorf("%v: %s cannot resume on %s: %v", w.now, id, name, err)
	}
	w.edges[name].handle(Put{Key: person(id), Generation: generation, Value: []byte("about " + id)})
	return w.now - began
}

// lonely is a room with three participants, all on the edge that is its home, and quiet.
func lonely(t *testing.T, names ...string) (w *world, home *edge, others []string) {
	t.Helper()
	for _, name := range names {
		w = newWorld(t, names...)
		for _, id := range []string{"ann", "bob", "cleo"} {
			w.enters(name, id)
		}
		w.run(3 * time.Second)
		if home = w.home(); home.name.ID == name {
			break
		}
	}
	if home.room.own.Len() != 3 {
		t.Fatal("the hash names none of those edges")
	}
	for _, name := range names {
		if name != home.name.ID {
			others = append(others, name)
		}
	}
	return w, home, others
}

// standby is who keeps what the home knows.
func (w *world) standby() *edge {
	w.t.Helper()
	id := w.home().room.State(w.now).Standby
	if id == "" {
		w.t.Fatalf("%v: the home has no standby", w.now)
	}
	return w.edges[id]
}

// keepers are those edges that take themselves for standbys.
func (w *world) keepers() (list []string) {
	for _, name := range w.names() {
		if e := w.edges[name]; e.up && e.room.State(w.now).Keeps {
			list = append(list, name)
		}
	}
	return list
}

// TestLonely has the one edge die where everybody is.
func TestLonely(t *testing.T) {
	var longest time.Duration
	for _, names := range [][]string{{"a", "b", "c"}, {"a", "b"}, {"A", "B", "a", "b", "c", "d"}} {
		w, home, others := lonely(t, names...)
		if s := w.standby(); s == home || s.epoch() != (placement.Epoch{}) || s.entered || !slices.Equal(w.keepers(), []string{s.name.ID}) {
			t.Errorf("standby %s obeys %v, entered %t; keepers %v", s.name.ID, s.epoch(), s.entered, w.keepers())
		}
		w.kill(home.name.ID)
		for i, id := range []string{"ann", "bob", "cleo"} {
			name := others[i%len(others)]
			longest = max(longest, w.resumes(name, id, 2))
		}
		w.run(time.Second)
		w.check("ann", "bob", "cleo")
		// What has let them in does not let anybody else in.
		for _, id := range []string{"ann", "bob", "cleo"} {
			a := roster.Admission{Participant: "thief", Generation: 1, Token: "token of " + id}
			if err := w.ask(others[0], a, -1, 3*time.Second); err != errUsed {
				t.Errorf("the token of %s is used again: %v", id, err)
			}
		}
		again := roster.Admission{Participant: "ann", Generation: 2, Resume: true}
		if err := w.ask(others[0], again, -1, 3*time.Second); err != roster.ErrReplayed {
			t.Errorf("the ticket of ann is used again: %v", err)
		}
		w.run(70 * time.Second)
		w.check("ann", "bob", "cleo")
		if len(others) > 1 {
			w.standby()
		}
	}
	t.Logf("the longest took %v", longest)
	if longest > 4*time.Second {
		t.Error("too long")
	}
}

// TestLonelyInTurn has one edge after the other die, and all come back each time.
func TestLonelyInTurn(t *testing.T) {
	w, home, _ := lonely(t, "a", "b", "c", "d")
	generation := uint64(1)
	for range 6 {
		var next string
		for _, name := range w.names() {
			if w.edges[name].up && name != home.name.ID {
				next = name
			}
		}
		dead := home
		w.kill(dead.name.ID)
		generation++
		for _, id := range []string{"ann", "bob", "cleo"} {
			w.resumes(next, id, generation)
		}
		w.run(6 * time.Second)
		w.start(dead.name.ID)
		for _, name := range w.names() {
			w.heal(w.edges[name], dead)
		}
		w.views()
		w.run(3 * time.Second)
		w.check("ann", "bob", "cleo")
		if home = w.home(); home.name.ID != next {
			w.kill(home.name.ID) // nobody is there
			w.run(10 * time.Second)
			w.start(home.name.ID)
			for _, name := range w.names() {
				w.heal(w.edges[name], home)
			}
			w.views()
			w.run(3 * time.Second)
			w.check("ann", "bob", "cleo")
			home = w.edges[next]
		}
		if t.Failed() {
			return
		}
	}
}

func TestStandbyDies(t *testing.T) {
	w, home, others := lonely(t, "a", "b", "c", "d")
	for len(others) > 1 {
		s := w.standby().name.ID
		w.kill(s)
		others = slices.DeleteFunc(others, func(name string) bool { return name == s })
		w.run(1500 * time.Millisecond)
		if next := w.standby(); next.name.ID == s {
			t.Errorf("%s is dead, and the standby still", s)
		}
	}
	w.kill(home.name.ID)
	for _, id := range []string{"ann", "bob", "cleo"} {
		w.resumes(others[0], id, 2)
	}
	w.run(time.Second)
	w.check("ann", "bob", "cleo")
}

// TestStandbySilent has a standby not answer though it can be reached: another one is chosen.
func TestStandbySilent(t *testing.T) {
	w, _, _ := lonely(t, "a", "b", "c", "d")
	s := w.standby()
	w.mute = s.name.ID
	w.enters(w.home().name.ID, "dora")
	w.run(6 * time.Second)
	next := w.standby()
	if next == s {
		t.Error("the standby is one that does not answer")
	}
	w.mute = ""
	w.run(6 * time.Minute)
	if got := w.keepers(); !slices.Equal(got, []string{w.standby().name.ID}) {
		t.Errorf("keepers are %v, the standby %s", got, w.standby().name.ID)
	}
}

// TestStandbyIsFarAway looks whom the home chooses.
func TestStandbyIsFarAway(t *testing.T) {
	w, home, others := lonely(t, "A", "B", "a", "b", "c")
	s := w.standby()
	if w.region(s.name.ID) == w.region(home.name.ID) {
		t.Errorf("the standby of %s is %s", home.name.ID, s.name.ID)
	}
	// Who has a Copy anyway is preferred, where it fails as seldom.
	for _, name := range others {
		w.enters(name, "of-"+name)
	}
	w.run(3 * time.Second)
	if s := w.standby(); w.region(s.name.ID) == w.region(home.name.ID) || s.epoch().Zero() {
		t.Errorf("the standby of %s is %s, which follows %v", home.name.ID, s.name.ID, s.epoch())
	}
	if got := w.keepers(); len(got) != 1 {
		t.Errorf("keepers are %v", got)
	}
	for _, name := range []string{"A", "B"} {
		w.kill(name)
	}
	w.run(3 * time.Second)
	if s := w.standby(); s.epoch().Zero() {
		t.Errorf("the standby is %s, which has no Copy of its own", s.name.ID)
	}
	// It leaves the room, and keeps what it knows.
	s = w.standby()
	s.handle(Remove{Key: person("of-" + s.name.ID)})
	w.run(5 * time.Second)
	w.standby()
	if got := w.keepers(); len(got) != 1 {
		t.Errorf("keepers are %v", got)
	}
}

func TestStandbyIsLetGo(t *testing.T) {
	w, home, _ := lonely(t, "a", "b", "c")
	for _, id := range []string{"ann", "bob", "cleo"} {
		home.handle(Remove{Key: person(id)})
	}
	w.run(3 * time.Second)
	for _, name := range w.names() {
		if n := w.edges[name].room.copy.Len(); n != 0 {
			t.Errorf("%s knows %d entries", name, n)
		}
	}
	home.handle(Enter{})
	home.entered = false
	w.run(20 * time.Second)
	if home.over != 1 || len(w.keepers()) != 0 {
		t.Errorf("keepers are %v", w.keepers())
	}
	w.run(2 * time.Minute)
	for _, name := range w.names() {
		if r := w.edges[name].room; !r.Forgettable(w.now, time.Minute) {
			t.Errorf("%s cannot forget the room: %+v", name, r.State(w.now))
		}
	}
}

// TestNobodyComesBack has all be forgotten in the end.
func TestNobodyComesBack(t *testing.T) {
	w, home, others := lonely(t, "a", "b", "c")
	w.kill(home.name.ID)
	w.run(30 * time.Second)
	if len(w.keepers()) != 1 {
		t.Errorf("keepers are %v", w.keepers())
	}
	w.run(3 * time.Minute)
	for _, name := range others {
		if r := w.edges[name].room; !r.Forgettable(w.now, time.Minute) || r.copy.Len() > 0 || r.uses.Len() > 0 {
			t.Errorf("%s cannot forget the room: %+v", name, r.State(w.now))
		}
	}
}

// TestOneComesBack has the room stay for those who take longer.
func TestOneComesBack(t *testing.T) {
	w, home, others := lonely(t, "a", "b", "c")
	w.kill(home.name.ID)
	w.resumes(others[0], "ann", 2)
	w.run(2 * time.Second)
	w.edges[others[0]].handle(Remove{Key: person("ann")})
	w.run(30 * time.Second)
	w.resumes(others[1], "bob", 2)
	w.run(time.Second)
	w.check("bob", "cleo")
	w.run(70 * time.Second)
	w.check("bob")
}

func TestLonelyHandOver(t *testing.T) {
	w, home, _ := lonely(t, "a", "b", "c")
	home.drains = true
	home.handle(placement.Drain{On: true})
	w.views()
	w.run(5 * time.Second)
	next := w.home()
	if next == home {
		t.Fatal("it is the home still")
	}
	w.check("ann", "bob", "cleo")
	s := w.standby()
	if got := w.keepers(); s == next || !slices.Equal(got, []string{s.name.ID}) {
		t.Errorf("standby %s, keepers %v", s.name.ID, got)
	}
	if err := w.ask(home.name.ID, roster.Admission{Participant: "x", Generation: 1, Token: "token of ann"}, -1, time.Second); err != errUsed {
		t.Errorf("after the hand-over a token is used again: %v", err)
	}
	// The one who has drained ends, and whoever was there goes on elsewhere.
	w.kill(home.name.ID)
	for _, id := range []string{"ann", "bob", "cleo"} {
		w.resumes(next.name.ID, id, 2)
	}
	w.run(time.Second)
	w.check("ann", "bob", "cleo")
}

// TestFullRoom has nobody slip in while the new home does not know who is there.
func TestFullRoom(t *testing.T) {
	for range 3 {
		w, home, others := lonely(t, "a", "b", "c", "d")
		w.kill(home.name.ID)
		for i, name := range others {
			a := roster.Admission{Participant: fmt.Sprint("new", i), Generation: 1}
			if err := w.ask(name, a, 3, 10*time.Second); err != roster.ErrRoomFull {
				t.Errorf("a fourth of three on %s: %v", name, err)
			}
		}
	}
}

// TestHomeRestarts has the home come back within a moment, with nothing in mind.
func TestHomeRestarts(t *testing.T) {
	w, home, others := lonely(t, "a", "b", "c")
	w.kill(home.name.ID)
	w.run(200 * time.Millisecond)
	w.start(home.name.ID)
	w.views()
	w.run(1200 * time.Millisecond)
	for _, name := range others {
		w.heal(w.edges[name], home)
	}
	w.run(500 * time.Millisecond)
	for _, id := range []string{"ann", "bob", "cleo"} {
		w.resumes(home.name.ID, id, 2)
	}
	w.run(time.Second)
	w.check("ann", "bob", "cleo")
	w.standby()
}

// TestStandbyMissesSomething has messages get lost.
func TestStandbyMissesSomething(t *testing.T) {
	w, home, others := lonely(t, "a", "b", "c")
	s := w.standby()
	for i := range 40 {
		w.lossy = i%3 != 0
		w.enters(home.name.ID, fmt.Sprint("p", i))
		w.run(50 * time.Millisecond)
	}
	w.lossy = false
	w.run(4 * time.Second)
	if w.standby() != s {
		t.Errorf("the standby was %s, and is %s", s.name.ID, w.standby().name.ID)
	}
	if s.room.copy.Len() != 43 || s.room.uses.Len() != 43 || len(s.used) != 43 {
		t.Errorf("the standby knows %d entries and %d uses, %d of others", s.room.copy.Len(), s.room.uses.Len(), len(s.used))
	}
	w.kill(home.name.ID)
	w.resumes(others[0], "p39", 2)
}

// TestIdleStandby has a room where nothing happens cost nothing but its beats.
func TestIdleStandby(t *testing.T) {
	w, home, _ := lonely(t, "a", "b", "c")
	s := w.standby()
	w.posts = 0
	before := s.ticks
	w.run(4 * time.Minute)
	if w.posts != 0 || s.ticks != before {
		t.Errorf("in 4 minutes %d messages, and the standby was woken %d times", w.posts, s.ticks-before)
	}
	w.run(20 * time.Minute)
	if w.posts > 10 || s.ticks-before > 5 {
		t.Errorf("in 24 minutes %d messages, and the standby was woken %d times", w.posts, s.ticks-before)
	}
	w.posts = 0
	home.handle(Put{Key: person("ann"), Generation: 1, Value: []byte("other")})
	w.run(time.Second)
	if w.posts != 2 {
		t.Errorf("a change costs %d messages", w.posts)
	}
}

// TestStandbyDistrusts has peers say what they must not.
func TestStandbyDistrusts(t *testing.T) {
	w, home, others := lonely(t, "a", "b", "c")
	e := w.edges[others[0]]
	if s := w.standby(); s == e {
		e = w.edges[others[1]]
	}
	s := w.standby()
	for _, m := range []meshproto.Standby{
		{Hold: &meshproto.Hold{}}, {Release: &meshproto.Release{}}, {Recall: &meshproto.Recall{}}, {Delta: &roster.Delta{}},
	} {
		m.Room, m.Epoch = "room", home.epoch()
		out := s.room.Handle(Posted{e.name.ID, m}, w.now)
		if len(out) != 1 || out[0].(Rubbish).From != e.name.ID {
			t.Errorf("%+v is answered with %v", m, out)
		}
	}
	// What a follower, or somebody who is none, says to a home that leads no more changes nothing.
	for _, at := range []placement.Epoch{home.epoch(), {Number: 9, Home: home.name}} {
		for _, m := range []meshproto.Standby{
			{Hearsay: &roster.Hearsay{}}, {Recalled: &meshproto.Recalled{Life: 1, Known: true}}, {Uses: &meshproto.Uses{To: 1 << 60}},
			{Held: &meshproto.Held{Life: 1, Uses: 1 << 60, Position: roster.Position{Epoch: home.epoch(), Seq: 1 << 60}}},
		} {
			m.Room, m.Epoch = "room", at
			home.carry(home.room.Handle(Posted{e.name.ID, m}, w.now))
		}
	}
	w.run(time.Second)
	w.check("ann", "bob", "cleo")
	if w.standby() != s {
		t.Errorf("the standby is %s", w.standby().name.ID)
	}
	for _, c := range []struct {
		m  meshproto.Standby
		ok bool
	}{
		{meshproto.Standby{Recall: &meshproto.Recall{}}, true}, {meshproto.Standby{Hold: &meshproto.Hold{}}, false},
		{meshproto.Standby{Held: &meshproto.Held{}, Epoch: placement.Epoch{Number: 1, Home: e.name}}, true},
		{meshproto.Standby{Held: &meshproto.Held{}, Epoch: placement.Epoch{Number: 1, Home: placement.Name{ID: e.name.ID, Boot: 99}}}, false},
	} {
		if _, ok := Stranger(e.name, c.m); ok != c.ok {
			t.Errorf("a stranger answers %+v: %t", c.m, ok)
		}
	}
}
