package mesh

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"portico/edge/mesh/directory"
	"portico/shared/meshproto"
	"portico/shared/placement"
	"portico/shared/roster"
)

// TestForgotten: what comes for a room that is being forgotten at that moment is for the next one of its name, and does not bring the
// forgotten one to life.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newHouse(t, 10*time.Millisecond, "a", "b").fabric
		m := f.nodes["a"].mesh
		old := m.room("room", true)
		time.Sleep(2 * keepIdle)
		synctest.Wait()
		if m.room("room", false) != nil || !old.dead {
			t.Fatal("not forgotten")
		}
		// Whoever has looked it up before finds out.
		if err := old.put(func() { t.Error("it runs") }, 0); err != errForgotten {
			t.Errorf("put: %v", err)
		}
		if err := old.do(t.Context(), func() { t.Error("it runs") }); err != errForgotten {
			t.Errorf("do: %v", err)
		}
		old.event(placement.Tick{})
		old.ended(1)
		if len(old.queue) > 0 || old.running {
			t.Error("something waits in it")
		}
		ran := false
		r, err := m.with("room", true, maxQueue, func(*room) { ran = true })
		synctest.Wait()
		if err != nil || r == old || !ran || m.room("room", false) != r {
			t.Errorf("the next one: %v, ran: %t", err, ran)
		}
		if _, err := m.with("nosuch", false, 0, func(*room) { t.Error("it runs") }); err != ErrNoRoom {
			t.Errorf("where there is none: %v", err)
		}
		m.posted("b", meshproto.Standby{Room: "nosuch"}) // a stranger's answer, or nothing
		// A Membership that was closed says nothing to what came after.
		part := newPart(t, "a")
		s := m.Enter("room", "", part)
		s.Close()
		time.Sleep(2 * keepIdle)
		synctest.Wait()
		if err := s.Put(roster.Key{Kind: roster.Participant, ID: "p"}, 1, nil); err != nil {
			t.Error(err)
		}
		if err := s.Note(t.Context(), "", nil); err == nil {
			t.Error("a note of a closed part")
		}
		if err := s.Synced(t.Context()); err != ErrClosed {
			t.Errorf("synced: %v", err)
		}
		s.Resync()
		s.Close()
	})
}

// TestRoomsWhileForgetting: a room that is forgotten while the rooms are listed does not hide the others.
func TestRoomsWhileForgetting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newHouse(t, 10*time.Millisecond, "a").fabric
		n := f.nodes["a"]
		part := newPart(t, "a")
		s := n.mesh.Enter("here", "", part)
		defer s.Close()
		if err := s.Put(roster.Key{Kind: roster.Participant, ID: "p"}, 1, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		for i := range 20 { // in no order
			r := n.mesh.room(string(rune('a'+i)), true)
			synctest.Wait()
			r.mu.Lock()
			r.dead = true
			r.mu.Unlock()
		}
		if list := n.mesh.Rooms(t.Context()); len(list) != 1 || list[0].Room != "here" {
			t.Errorf("%+v", list)
		}
	})
}

// TestResync: a part that could not take something is told the whole, as it stands in the order of what it is told.
func TestResync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newHouse(t, 10*time.Millisecond, "a", "b").fabric
		a, b := f.nodes["a"], f.nodes["b"]
		pa, pb := newPart(t, "a"), newPart(t, "b")
		one, two := a.mesh.Enter("room", "", pa), b.mesh.Enter("room", "", pb)
		key := func(id string) roster.Key { return roster.Key{Kind: roster.Participant, ID: id} }
		for id, s := range map[string]*Membership{"anna": one, "alf": one, "bob": two} {
			if err := s.Put(key(id), 1, []byte(id)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		one.Remove(key("alf"))
		time.Sleep(time.Second)
		one.Resync()
		two.Resync()
		synctest.Wait()
		for _, of := range []struct {
			part *fakePart
			want []string
		}{{pa, []string{"bob"}}, {pb, []string{"anna"}}} {
			var got []string
			for _, e := range of.part.whole[0] {
				got = append(got, e.ID)
			}
			if len(of.part.whole) != 1 || !slices.Equal(got, of.want) {
				t.Errorf("%s is told of %q", of.part.name, got)
			}
		}
		var state directory.State
		if err := one.room.do(t.Context(), func() { state = one.room.core.State(a.mesh.now()) }); err != nil || state.Own != 1 {
			t.Errorf("%+v, %v", state, err)
		}
		one.Close()
		two.Close()
		one.Resync()
		synctest.Wait()
		if len(pa.whole) != 1 {
			t.Error("told after its end")
		}
	})
}
