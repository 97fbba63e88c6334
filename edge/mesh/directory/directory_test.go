package directory

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"portico/shared/placement"
	"portico/shared/roster"
)

// three is a room with a participant on each of three edges, quiet.
func three(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, "a", "b", "c")
	for _, name := range []string{"a", "b", "c"} {
		w.join(name, "of-"+name)
	}
	w.run(3 * time.Second)
	w.check("of-a", "of-b", "of-c")
	if t.Failed() {
		t.FailNow()
	}
	w.forget()
	return w
}

// others are the edges that do not lead.
func (w *world) others() (home *edge, list []*edge) {
	home = w.home()
	for _, name := range w.names() {
		if w.edges[name] != home {
			list = append(list, w.edges[name])
		}
	}
	return home, list
}

func TestJoin(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	w.join("a", "ann")
	w.run(400 * time.Millisecond)
	w.check("ann")
	w.join("b", "bob")
	w.run(400 * time.Millisecond)
	w.check("ann", "bob")
	w.join("c", "cleo")
	w.run(400 * time.Millisecond)
	w.check("ann", "bob", "cleo")
	w.edges["b"].handle(Put{Key: person("bob"), Generation: 1, Value: []byte("other")})
	w.run(400 * time.Millisecond)
	for _, name := range []string{"a", "c"} {
		if e, ok := w.edges[name].room.Get(person("bob")); !ok || string(e.Value) != "other" || e.Owner != "b" {
			t.Errorf("%s has %+v", name, e)
		}
	}
	w.edges["a"].handle(Remove{Key: person("ann")})
	w.run(400 * time.Millisecond)
	w.check("bob", "cleo")
	// Alone in the cluster there is nothing to wait for.
	alone := newWorld(t, "a")
	alone.join("a", "ann")
	if !alone.edges["a"].leads {
		t.Error("a single edge does not lead at once")
	}
}

func TestLeaving(t *testing.T) {
	w := three(t)
	home, others := w.others()
	e := others[0]
	e.handle(Remove{Key: person("of-" + e.name.ID)})
	w.run(4 * time.Second)
	if at := e.epoch(); !at.Zero() || len(e.roster) > 0 || len(e.calls) > 0 {
		t.Errorf("who left obeys %v, knows %v, has %d calls", at, e.roster, len(e.calls))
	}
	if list := home.room.State(w.now).Followers; !slices.Equal(list, []string{others[1].name.ID}) {
		t.Errorf("the home's followers: %v", list)
	}
	w.forget()
	w.join(e.name.ID, "again")
	w.run(time.Second)
	w.check("again", "of-"+home.name.ID, "of-"+others[1].name.ID)
	for _, name := range w.names() {
		for _, entry := range w.edges[name].room.own.Entries() {
			w.edges[name].handle(Remove{Key: entry.Key})
		}
	}
	w.run(20 * time.Second)
	if home.over != 1 {
		t.Errorf("the room has ended %d times at its home", home.over)
	}
	for _, name := range w.names() {
		if e := w.edges[name]; !e.epoch().Zero() || e.leads || len(e.calls) > 0 {
			t.Errorf("%s: obeys %v, leads %t, %d calls", name, e.epoch(), e.leads, len(e.calls))
		}
	}
}

func TestHomeKilled(t *testing.T) {
	w := three(t)
	home, others := w.others()
	began := w.now
	w.kill(home.name.ID)
	w.run(3 * time.Second)
	next := w.home(others[0].name.ID, others[1].name.ID)
	took := next.leadTimes[len(next.leadTimes)-1] - began
	t.Logf("another home after %v", took)
	if took > 2500*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	w.join(others[0].name.ID, "new")
	w.run(time.Second)
	w.check("of-a", "of-b", "of-c", "new")
	for _, e := range others {
		if want := []string{"+new"}; e != others[0] && !slices.Equal(e.told, want) {
			t.Errorf("%s was told %v", e.name.ID, e.told)
		}
	}
	w.run(50 * time.Second)
	w.check("of-a", "of-b", "of-c", "new")
	w.run(20 * time.Second)
	w.check("of-"+others[0].name.ID, "of-"+others[1].name.ID, "new")
}

// TestNewHomeKnowsLess has the next home miss an entry whose owner is gone, which another follower has heard of.
func TestNewHomeKnowsLess(t *testing.T) {
	needed := 0
	for i := range 3 {
		w := newWorld(t, "a", "b", "c", "d")
		for _, name := range w.names() {
			w.join(name, "of-"+name)
		}
		w.run(3 * time.Second)
		w.forget()
		home, others := w.others()
		behind, owner, knows := others[i], others[(i+1)%3], others[(i+2)%3]
		for _, l := range home.calls {
			l.gone = l.to == behind
		}
		w.join(owner.name.ID, "late")
		w.run(100 * time.Millisecond)
		w.kill(home.name.ID)
		w.kill(owner.name.ID)
		w.run(5 * time.Second)
		w.check("of-a", "of-b", "of-c", "of-d", "late")
		for _, e := range []*edge{behind, knows} {
			if !slices.Equal(e.told, []string{"+late"}) {
				t.Errorf("%s was told %v", e.name.ID, e.told)
			}
		}
		if w.home() == behind {
			needed++
		}
	}
	if needed == 0 {
		t.Error("the next home was never the one that knows less")
	}
}

// TestAdmitWhileNew has a new home not judge before those that it knows of have told what they have.
func TestAdmitWhileNew(t *testing.T) {
	w := three(t)
	home, others := w.others()
	w.kill(home.name.ID)
	var next *edge
	for next == nil {
		w.run(time.Millisecond)
		for _, e := range others {
			if e.leads {
				next = e
			}
		}
	}
	a := roster.Admission{Participant: "new", Owner: next.name.ID, Request: "1", Generation: 1}
	if _, err := next.room.Admit(a, 3, w.now); err != roster.ErrNotYet {
		t.Errorf("at once: %v", err)
	}
	w.run(time.Second + time.Millisecond)
	if _, err := next.room.Admit(a, 3, w.now); err != roster.ErrRoomFull {
		t.Errorf("then: %v", err)
	}
	if _, err := next.room.Admit(a, 4, w.now); err != nil {
		t.Errorf("then: %v", err)
	}
	for _, e := range others {
		if _, err := e.room.Admit(a, 4, w.now); e != next && err != roster.ErrNotYet {
			t.Errorf("at another edge: %v", err)
		}
	}
}

func TestCommands(t *testing.T) {
	w := three(t)
	home, others := w.others()
	at := home.epoch()
	obeys := func(e, from *edge, under placement.Epoch, owner bool) bool {
		ok, _, effects := e.room.Command(from.name, under, owner, w.now)
		e.carry(effects)
		return ok
	}
	if !obeys(home, others[0], at, false) || !obeys(others[0], others[1], at, true) || !obeys(home, others[0], placement.Epoch{}, false) {
		t.Error("a command is refused")
	}
	before, after := at, at
	before.Number--
	after.Number++
	for _, under := range []placement.Epoch{before, after} {
		if obeys(home, others[0], under, false) || obeys(others[0], others[1], under, true) {
			t.Errorf("a command under %v is obeyed, %v stands", under, at)
		}
	}
	if obeys(others[0], others[1], at, false) || obeys(others[0], others[1], placement.Epoch{}, true) {
		t.Error("another than the home obeys")
	}
	w.run(3 * time.Second)
	w.check("of-a", "of-b", "of-c")
	w.quiet()
}

func TestFollowerKilled(t *testing.T) {
	w := three(t)
	_, others := w.others()
	w.kill(others[0].name.ID)
	others[1].handle(Note{Body: []byte("all")})
	w.run(500 * time.Millisecond)
	if len(others[1].room.notes.mine) != 1 {
		t.Error("a note is taken for delivered that an edge may still want")
	}
	w.run(50 * time.Second)
	if len(others[1].room.notes.mine) != 0 {
		t.Error("a note waits for a dead edge for ever")
	}
	w.check("of-a", "of-b", "of-c")
	w.quiet()
	w.run(20 * time.Second)
	if _, ok := w.home().roster[person("of-"+others[0].name.ID)]; ok {
		t.Error("the entry of a dead edge stays for ever")
	}
}

func TestHomePaused(t *testing.T) {
	w := three(t)
	home, others := w.others()
	old := home.epoch()
	w.pause(home.name.ID)
	w.run(10 * time.Second)
	next := w.home()
	if next == home || next.epoch().Compare(old) <= 0 {
		t.Fatalf("after %v, %v leads under %v", old, next.name.ID, next.epoch())
	}
	w.quiet()
	// What the old home says when it wakes, before it knows anything, is refused.
	for _, e := range others {
		if ok, standing, _ := e.room.Command(home.name, old, true, w.now); ok || standing != next.epoch() {
			t.Errorf("%s obeys a command of before: %t, %v stands", e.name.ID, ok, standing)
		}
	}
	w.resume(home.name.ID)
	if ok, _, effects := home.room.Command(others[0].name, old, false, w.now); ok {
		t.Error("the old home obeys a command of before")
	} else {
		home.carry(effects)
	}
	w.run(3 * time.Second)
	w.check("of-a", "of-b", "of-c")
	w.quiet()
	if w.home() != next || home.leads || home.epoch() != next.epoch() {
		t.Errorf("the old home obeys %v, leads %t", home.epoch(), home.leads)
	}
}

func TestPartition(t *testing.T) {
	for _, alone := range []string{"a", "b", "c"} {
		t.Run(alone, func(t *testing.T) {
			w := three(t)
			var rest []string
			for _, name := range w.names() {
				if name != alone {
					rest = append(rest, name)
					w.split(alone, name, true)
				}
			}
			w.at(3*time.Second, w.views)
			w.run(8 * time.Second)
			w.quiet()
			w.join(alone, "here")
			w.join(rest[0], "there")
			w.edges[alone].handle(Note{Body: []byte("alone")})
			w.run(22 * time.Second)
			w.home(alone)
			w.home(rest...)
			for _, name := range rest {
				w.split(alone, name, false)
			}
			w.at(time.Second, w.views)
			w.run(5 * time.Second)
			w.home()
			w.check("of-a", "of-b", "of-c", "here", "there")
			for _, name := range w.names() {
				want := map[string]bool{"+here": name != alone, "+there": name != rest[0]}
				for _, told := range w.edges[name].told {
					if !want[told] {
						t.Errorf("%s was told %v", name, w.edges[name].told)
					}
					delete(want, told)
				}
			}
		})
	}
}

func TestDrain(t *testing.T) {
	w := three(t)
	home, _ := w.others()
	old := home.epoch()
	home.drains = true
	w.views()
	home.handle(placement.Drain{On: true})
	w.run(time.Second)
	if next := w.home(); next == home || next.epoch().Number != old.Number+1 {
		t.Errorf("the home is %s under %v", next.name.ID, next.epoch())
	}
	w.check("of-a", "of-b", "of-c")
	w.quiet()
}

func TestResumedElsewhere(t *testing.T) {
	for _, what := range []string{"alive", "dead", "paused"} {
		t.Run(what, func(t *testing.T) {
			w := three(t)
			home, others := w.others()
			old, next := others[0], others[1]
			key := person("of-" + old.name.ID)
			w.join(old.name.ID, "stays")
			w.run(time.Second)
			switch what {
			case "dead":
				w.kill(old.name.ID)
			case "paused":
				w.pause(old.name.ID)
			}
			w.run(2 * time.Second)
			a := roster.Admission{Participant: key.ID, Owner: next.name.ID, Request: "1", Generation: 2, Resume: true}
			if got, err := home.room.Admit(a, -1, w.now); err != nil || got.Before != old.name.ID {
				t.Fatalf("%+v, %v", got, err)
			}
			if _, err := home.room.Admit(roster.Admission{
				Participant: key.ID, Owner: "x", Request: "2", Generation: 2, Resume: true,
			}, -1, w.now); err != roster.ErrReplayed {
				t.Errorf("the ticket again: %v", err)
			}
			next.handle(Put{Key: key, Generation: 2, Value: []byte("moved")})
			w.run(2 * time.Second)
			if what == "paused" {
				w.resume(old.name.ID)
				w.run(3 * time.Second)
			}
			w.run(65 * time.Second)
			if what == "dead" {
				w.check("of-a", "of-b", "of-c")
			} else {
				w.check("of-a", "of-b", "of-c", "stays")
			}
			if what != "dead" && (!slices.Equal(old.moved, []roster.Key{key}) || old.roster[key] != next.name.ID) {
				t.Errorf("the old owner: moved %v, owner %q", old.moved, old.roster[key])
			}
			if home.roster[key] != next.name.ID || slices.Contains(home.told, "-"+key.ID) {
				t.Errorf("the home: owner %q, told %v", home.roster[key], home.told)
			}
		})
	}
}

func TestNotes(t *testing.T) {
	w := three(t)
	home, others := w.others()
	n := 0
	say := func(count int) {
		for range count {
			n++
			for _, e := range others {
				e.handle(Note{Body: fmt.Appendf(nil, "%s-%03d", e.name.ID, n)})
			}
		}
	}
	say(5)
	w.run(5 * time.Millisecond)
	say(5)
	w.run(12 * time.Millisecond) // some have come, some have not
	w.kill(home.name.ID)
	say(5)
	w.run(1500 * time.Millisecond)
	say(5)
	w.run(4 * time.Second)
	say(5)
	w.run(2 * time.Second)
	for i, e := range others {
		from := others[1-i].name.ID
		var want []string
		for k := 1; k <= n; k++ {
			want = append(want, fmt.Sprintf("%s-%03d", from, k))
		}
		if !slices.Equal(e.notes, want) {
			t.Errorf("%s heard %v", e.name.ID, e.notes)
		}
		if left := len(e.room.notes.mine); left > 0 {
			t.Errorf("%s keeps %d notes", e.name.ID, left)
		}
	}
}

func TestNoteToOne(t *testing.T) {
	w := three(t)
	home, others := w.others()
	for _, e := range others {
		e.handle(Note{To: "of-" + home.name.ID, Body: []byte("to the home")})
	}
	others[0].handle(Note{To: "of-" + others[1].name.ID, Body: []byte("to another")})
	home.handle(Note{To: "of-" + others[1].name.ID, Body: []byte("of the home")})
	others[0].handle(Note{To: "nobody", Body: []byte("lost")})
	w.run(time.Second)
	if len(home.notes) != 2 || len(others[0].notes) != 0 || len(others[1].notes) != 2 {
		t.Errorf("heard: %q, %q, %q", home.notes, others[0].notes, others[1].notes)
	}
	for _, e := range w.edges {
		if len(e.room.notes.mine) > 0 {
			t.Errorf("%s keeps notes", e.name.ID)
		}
	}
}

func TestHostWithoutPart(t *testing.T) {
	// The hash names one home; of the other edges one after the other begins a room.
	for _, name := range []string{"a", "b", "c", "d"} {
		w := newWorld(t, "a", "b", "c", "d")
		w.join(name, "ann")
		w.run(time.Second)
		home := w.home()
		if !home.entered || !home.leads {
			t.Errorf("the home %s has no part", home.name.ID)
		}
		w.check("ann")
		w.edges[name].handle(Remove{Key: person("ann")})
		w.run(20 * time.Second)
		if home.over != 1 || home.leads || len(home.roster) > 0 {
			t.Errorf("begun at %s, home %s: over %d, leads %t, knows %v", name, home.name.ID, home.over, home.leads, home.roster)
		}
	}
}

func TestSynced(t *testing.T) {
	w := three(t)
	_, others := w.others()
	w.edges["d"] = &edge{w: w, name: placement.Name{ID: "d", Boot: 1}}
	d := w.start("d")
	w.views()
	d.handle(d.enter())
	d.handle(Wish{On: true})
	d.handle(Sync{ID: 1})
	for d.synced == 0 && w.now < 10*time.Second {
		w.run(time.Millisecond)
	}
	if len(d.roster) != 3 {
		t.Errorf("synced with %v", d.roster)
	}
	w.join(others[0].name.ID, "more")
	w.run(15 * time.Millisecond) // on its way to the home
	d.handle(Sync{ID: 2})
	for d.synced == 1 && w.now < 10*time.Second {
		w.run(time.Millisecond)
	}
	if len(d.roster) != 4 || d.synced != 2 {
		t.Errorf("synced %d with %v", d.synced, d.roster)
	}
	for _, e := range w.edges {
		if e.leads {
			e.synced = 0
			e.handle(Sync{ID: 3})
			if e.synced != 1 {
				t.Error("the home does not know what it knows")
			}
		}
	}
}
