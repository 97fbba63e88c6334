package mesh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"portico/shared/roster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const theRoom = "room"

// house is some edges, each with a part of one room once somebody is there.
type house struct {
	t      *testing.T
	fabric *fabric
	rtt    time.Duration

	mu      sync.Mutex // guards what follows
	members map[string]*Membership
	parts   map[string]*fakePart
	names   []string
	limit   int
}

func newHouse(t *testing.T, rtt time.Duration, names ...string) *house {
	h := &house{
		t: t, fabric: newFabric(t, rtt), rtt: rtt, members: map[string]*Membership{}, parts: map[string]*fakePart{}, names: names, limit: -1,
	}
	for _, name := range names {
		h.start(name, 1)
	}
	h.fabric.views()
	return h
}

func (h *house) start(name string, boot uint64) {
	h.fabric.start(name, boot, Options{
		Host: func(string) { h.enter(name) },
		Limit: func(string) int {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.limit
		},
	})
}

// enter gives an edge's part of the room, made if there is none.
func (h *house) enter(name string) (*Membership, *fakePart) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.members[name] == nil {
		h.parts[name] = newPart(h.t, name)
		h.members[name] = h.fabric.nodes[name].mesh.Enter(theRoom, "", h.parts[name])
	}
	return h.members[name], h.parts[name]
}

func (h *house) mesh(name string) *Mesh { return h.fabric.nodes[name].mesh }

// join brings a participant in, and tells how long it took until its edge knew the whole room.
func (h *house) join(name, id string) time.Duration {
	h.t.Helper()
	began := time.Now()
	s, _ := h.enter(name)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if _, err := s.Admit(ctx, roster.Admission{Participant: id, Generation: 1}); err != nil {
		h.t.Fatalf("%s to %s: %v", id, name, err)
	}
	if err := s.Put(person(id), 1, []byte("about "+id)); err != nil {
		h.t.Fatal(err)
	}
	if err := s.Synced(ctx); err != nil {
		h.t.Fatalf("%s to %s: %v", id, name, err)
	}
	return time.Since(began)
}

// settle lets a while pass.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// check looks whether the parts know of exactly these participants of others.
func (h *house) check(name string, want ...string) {
	h.t.Helper()
	p := h.parts[name]
	p.mu.Lock()
	defer p.mu.Unlock()
	var have []string
	for key := range p.known {
		have = append(have, key.ID)
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		h.t.Errorf("%s knows %v, not %v", name, have, want)
	}
}

func (h *house) quiet(names ...string) {
	h.t.Helper()
	for _, name := range names {
		if told := h.parts[name].take(); len(told) > 0 {
			h.t.Errorf("%s was told %v", name, told)
		}
	}
}

// home gives the edge that leads, and the others with a part.
func (h *house) home(among ...string) (home string, others []string) {
	h.t.Helper()
	for _, name := range among {
		switch {
		case !h.members[name].Leads():
			others = append(others, name)
		case home != "":
			h.t.Fatalf("%s and %s lead", home, name)
		default:
			home = name
		}
	}
	if home == "" {
		h.t.Fatal("nobody leads")
	}
	return home, others
}

// three has a participant on each of three edges.
func three(t *testing.T) *house {
	h := newHouse(t, 20*time.Millisecond, "a", "b", "c")
	for _, name := range h.names {
		h.join(name, "of-"+name)
	}
	settle(time.Second)
	h.check("a", "of-b", "of-c")
	h.check("b", "of-a", "of-c")
	h.check("c", "of-a", "of-b")
	for _, p := range h.parts {
		p.take()
	}
	return h
}

func TestJoinTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 50*time.Millisecond, "a")
		if took := h.join("a", "ann"); took > time.Millisecond {
			t.Errorf("in a cluster of one edge the first join took %v", took)
		}
	})
	var longest time.Duration
	for _, first := range []string{"a", "b", "c"} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, 50*time.Millisecond, "a", "b", "c")
			took := h.join(first, "first")
			longest = max(longest, took)
			again := h.join(first, "second")
			var far time.Duration
			for _, name := range h.names {
				if name != first {
					far = max(far, h.join(name, "of-"+name))
				}
			}
			t.Logf("at 50 ms: first join %v, second on the same edge %v, first on another %v", took, again, far)
			if took > 400*time.Millisecond || again > 120*time.Millisecond || far > 300*time.Millisecond {
				t.Error("too slow")
			}
		})
	}
}

func TestHomeKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := three(t)
		home, others := h.home(h.names...)
		began := time.Now()
		h.fabric.kill(h.fabric.nodes[home])
		h.join(others[0], "new") // waits through the change
		t.Logf("a join when the home was killed took %v", time.Since(began))
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
		settle(time.Second)
		h.home(others...)
		h.quiet(others[0])
		if told := h.parts[others[1]].take(); !slices.Equal(told, []string{"+new"}) {
			t.Errorf("%s was told %v", others[1], told)
		}
		h.fabric.views()
		settle(45 * time.Second)
		h.quiet(others...)
		settle(30 * time.Second)
		h.check(others[0], "of-"+others[1])
	})
}

func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := three(t)
		alone, rest := "a", []string{"b", "c"}
		for _, name := range rest {
			h.fabric.split(h.fabric.nodes[alone], h.fabric.nodes[name], true)
		}
		settle(5 * time.Second)
		h.fabric.views()
		h.join(alone, "here")
		h.join("b", "there")
		settle(10 * time.Second)
		if !h.members[alone].Leads() {
			t.Error("who is alone has no home")
		}
		h.home(rest...)
		h.quiet(alone, "b")
		h.parts["c"].take()
		for _, name := range rest {
			h.fabric.split(h.fabric.nodes[alone], h.fabric.nodes[name], false)
		}
		h.fabric.views()
		settle(5 * time.Second)
		h.home(h.names...)
		h.check("a", "of-b", "of-c", "there")
		h.check("b", "of-a", "of-c", "here")
		h.check("c", "of-a", "of-b", "here", "there")
		for _, p := range h.parts {
			for _, told := range p.take() {
				if told[0] == '-' {
					t.Errorf("%s was told %s", p.name, told)
				}
			}
		}
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := three(t)
		home, _ := h.home(h.names...)
		h.mesh(home).Drain(true)
		h.fabric.views()
		settle(time.Second)
		if next, _ := h.home(h.names...); next == home {
			t.Error("it is the home still")
		}
		h.quiet(h.names...)
		// Its last participant leaves, and it follows no more.
		h.members[home].Remove(person("of-" + home))
		settle(5 * time.Second)
		if h.members[home].HomeEdge() != "" {
			t.Error("it follows the room still")
		}
		h.members[home].Close()
	})
}

func TestAdmissions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := three(t)
		home, others := h.home(h.names...)
		ctx := t.Context()
		admit := func(name, id string, generation uint64, resume bool, token string) error {
			_, err := h.members[name].Admit(ctx, roster.Admission{
				Participant: id, Generation: generation, Resume: resume, Token: token, Created: time.Now().Unix(),
			})
			return err
		}
		h.mu.Lock()
		h.limit = 4
		h.mu.Unlock()
		settle(5 * time.Second) // from then on the home says that somebody is unknown
		for i, c := range []struct {
			edge, id   string
			generation uint64
			resume     bool
			token      string
			want       error
		}{
			{others[0], "of-" + home, 1, false, "", ErrTaken},
			{others[0], "nobody", 2, true, "", ErrUnknownParticipant},
			{others[0], "of-" + home, 1, true, "", ErrReplayed},
			{others[0], "new", 1, false, "t1", nil},
			{others[1], "newer", 1, false, "t1", ErrTokenUsed},
			{home, "newer", 1, false, "t2", ErrRoomFull},
			{others[1], "newer", 1, false, "t3", ErrRoomFull},
		} {
			if err := admit(c.edge, c.id, c.generation, c.resume, c.token); !errors.Is(err, c.want) {
				t.Errorf("%d: %v, not %v", i, err, c.want)
			}
		}
	})
}

func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := three(t)
		h.join("b", "stays")
		settle(time.Second)
		_, others := h.home(h.names...)
		from, to := others[0], others[1]
		if from == "b" && to == "a" || to == "b" {
			from, to = to, from
		}
		id := "of-" + from
		got, err := h.members[to].Admit(t.Context(), roster.Admission{Participant: id, Generation: 2, Resume: true})
		if err != nil || got.Before != from {
			t.Fatalf("%+v, %v", got, err)
		}
		_ = h.members[to].Put(person(id), 2, []byte("here"))
		settle(time.Second)
		if moved := h.parts[from].moved; !slices.Equal(moved, []roster.Key{person(id)}) {
			t.Errorf("moved: %v", moved)
		}
		body, err := h.members[to].Owner(t.Context(), person(id), []byte("hi"))
		if err != nil || string(body) != to+" heard hi of "+to {
			t.Errorf("%s, %v", body, err)
		}
	})
}

func TestCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := three(t)
		home, others := h.home(h.names...)
		ctx := t.Context()
		for _, name := range h.names {
			if got, err := h.members[name].Home(ctx, []byte("x")); err != nil || string(got) != home+" heard x of "+name {
				t.Errorf("home: %s, %v", got, err)
			}
			if got, err := h.members[name].Owner(ctx, person("of-"+others[0]), nil); err != nil || string(got) != others[0]+" heard  of "+name {
				t.Errorf("owner: %s, %v", got, err)
			}
			if got, err := h.mesh(name).Command(ctx, theRoom, []byte("y")); err != nil || string(got) != home+" heard y of "+name {
				t.Errorf("mesh: %s, %v", got, err)
			}
		}
		if _, err := h.members[home].Owner(ctx, person("nobody"), nil); !errors.Is(err, ErrGone) {
			t.Error(err)
		}
		h.parts[home].mu.Lock()
		h.parts[home].answer = func(string, []byte) ([]byte, error) { return nil, errors.New("not like this") }
		h.parts[home].mu.Unlock()
		var failed *Failed
		_, err := h.members[others[0]].Home(ctx, nil)
		if !errors.Is(err, ErrRefused) || !errors.As(err, &failed) || failed.Text != "not like this" {
			t.Error(err)
		}
		// An edge that has nothing to do with the room.
		h.start("dddd", 1)
		h.fabric.views()
		h.parts[home].answer = nil
		if got, err := h.mesh("dddd").Command(ctx, theRoom, []byte("z")); err != nil || string(got) != home+" heard z of dddd" {
			t.Errorf("%s, %v", got, err)
		}
		if _, err := h.mesh("dddd").Command(ctx, "another", nil); !errors.Is(err, ErrNoRoom) {
			t.Error(err)
		}
		rooms := h.mesh(home).Rooms(ctx)
		if len(rooms) != 1 || rooms[0].Home != home || !rooms[0].Leads || len(rooms[0].Followers) != 2 ||
			rooms[0].Entries != 3 || rooms[0].Own != 1 {
			t.Errorf("%+v", rooms)
		}
	})
}

func TestNotesThroughChangeOfHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := three(t)
		home, others := h.home(h.names...)
		ctx := t.Context()
		var want []string
		for i := range 60 {
			text := fmt.Sprintf("%03d", i)
			if err := h.members[others[0]].Note(ctx, "", []byte(text)); err != nil {
				t.Fatal(err)
			}
			want = append(want, text)
			if i == 20 {
				time.Sleep(15 * time.Millisecond)
				h.fabric.kill(h.fabric.nodes[home])
			}
			time.Sleep(time.Duration(i) * time.Millisecond)
		}
		settle(5 * time.Second)
		if got := h.parts[others[1]].notes; !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
		if err := h.members[others[0]].Note(ctx, "of-"+others[1], []byte("you")); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		if got := h.parts[others[1]].notes; got[len(got)-1] != "you" {
			t.Errorf("%v", got)
		}
	})
}

func TestRestartedEdge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := three(t)
		_, others := h.home(h.names...)
		name := others[0]
		old := h.fabric.nodes[name]
		h.fabric.kill(old)
		settle(1500 * time.Millisecond)
		old.mesh.Close()
		old.stop()
		h.mu.Lock()
		delete(h.members, name)
		h.mu.Unlock()
		h.start(name, 2)
		h.fabric.views()
		for _, other := range h.names {
			if other != name {
				h.mesh(other).Changed(name, true)
			}
		}
		h.join(name, "new")
		settle(time.Second)
		h.check(others[1], "of-"+name, "new", "of-"+h.other(others...))
		// Its participant of before resumes there.
		got, err := h.members[name].Admit(t.Context(), roster.Admission{Participant: "of-" + name, Generation: 2, Resume: true})
		if err != nil || got.Before != name {
			t.Errorf("%+v, %v", got, err)
		}
		_ = h.members[name].Put(person("of-"+name), 2, nil)
		settle(time.Second)
		for _, told := range h.parts[others[1]].take() {
			if told[0] == '-' {
				t.Errorf("told %s", told)
			}
		}
		settle(70 * time.Second)
		h.check(others[1], "of-"+name, "new", "of-"+h.other(others...))
	})
}

// other gives the edge that is not among those.
func (h *house) other(not ...string) string {
	for _, name := range h.names {
		if !slices.Contains(not, name) {
			return name
		}
	}
	return ""
}

func TestIdleRoomsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := three(t)
		for name, s := range h.members {
			s.Close()
			delete(h.members, name)
		}
		settle(3 * time.Minute)
		for _, name := range h.names {
			if s := h.mesh(name).Stats(); s.Rooms != 0 {
				t.Errorf("%s: %+v", name, s)
			}
			if n := len(h.mesh(name).clock.due); n != 0 {
				t.Errorf("%s: %d rooms wait for the clock", name, n)
			}
		}
	})
}
