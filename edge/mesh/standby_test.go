package mesh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/meshproto"
	"portico/shared/placement"
	"portico/shared/roster"
)

// lonely has three participants on the one edge that is their room's home, among four.
func lonely(t *testing.T) (h *house, home string, others []string) {
	t.Helper()
	h = newHouse(t, 20*time.Millisecond, "a", "bb", "ccc", "dddd")
	var view []placement.Edge
	for _, name := range h.names {
		view = append(view, placement.Edge{ID: name, Boot: 1, Weight: 1})
	}
	home = placement.Home(theRoom, "", view)
	for _, id := range []string{"ann", "bob", "cleo"} {
		if err := h.enters(home, id, "token of "+id); err != nil {
			t.Fatal(err)
		}
	}
	settle(time.Second)
	if !h.members[home].Leads() {
		t.Fatalf("%s is not the home", home)
	}
	for _, name := range h.names {
		if name != home {
			others = append(others, name)
		}
	}
	return h, home, others
}

// enters brings somebody in with a token.
func (h *house) enters(name, id, token string) error {
	s, _ := h.enter(name)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	_, err := s.Admit(ctx, roster.Admission{Participant: id, Generation: 1, Token: token, Created: time.Now().Unix()})
	if err == nil {
		err = s.Put(person(id), 1, []byte("about "+id))
	}
	return err
}

// resumes takes somebody up.
func (h *house) resumes(name, id string, generation uint64) error {
	s, _ := h.enter(name)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	_, err := s.Admit(ctx, roster.Admission{Participant: id, Generation: generation, Resume: true})
	if err == nil {
		err = errors.Join(s.Synced(ctx), s.Put(person(id), generation, []byte("about "+id)))
	}
	return err
}

// standby is who keeps what the home knows.
func (h *house) standby(home string) string {
	h.t.Helper()
	rooms := h.mesh(home).Rooms(context.Background())
	if len(rooms) != 1 || rooms[0].Standby == "" || rooms[0].Standby == home {
		h.t.Fatalf("%s has no standby: %+v", home, rooms)
	}
	return rooms[0].Standby
}

func TestLonelyEdgeDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, home, others := lonely(t)
		keeper := h.standby(home)
		if s := h.mesh(keeper).Stats(); s.Rooms != 1 || s.Followed != 0 || s.Led != 0 || h.members[keeper] != nil {
			t.Errorf("the standby takes part: %+v", s)
		}
		began := time.Now()
		h.fabric.kill(h.fabric.nodes[home])
		ids := []string{"ann", "bob", "cleo"}
		errs := make(chan error, len(ids))
		for i, id := range ids {
			go func() { errs <- h.resumes(others[i], id, 2) }()
		}
		for range ids {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		t.Logf("all have resumed elsewhere after %v", time.Since(began))
		if time.Since(began) > 4*time.Second {
			t.Error("too late")
		}
		settle(time.Second)
		next, _ := h.home(others...)
		for i, name := range others {
			h.check(name, slices.Delete(slices.Clone(ids), i, i+1)...)
			for _, told := range h.parts[name].take() {
				if told[0] == '-' && told != "-"+ids[i] {
					t.Errorf("%s was told %s", name, told)
				}
			}
		}
		for i, id := range ids {
			if err := h.enters(others[i], "thief", "token of "+id); !errors.Is(err, ErrTokenUsed) {
				t.Errorf("the token of %s is used again: %v", id, err)
			}
			if err := h.resumes(others[i], id, 2); !errors.Is(err, ErrReplayed) {
				t.Errorf("the ticket of %s is used again: %v", id, err)
			}
		}
		h.fabric.views()
		settle(70 * time.Second)
		for i, name := range others {
			h.check(name, slices.Delete(slices.Clone(ids), i, i+1)...)
		}
		h.standby(next)
	})
}

// TestFullWhileHomeChanges has nobody slip in before the new home knows who is there.
func TestFullWhileHomeChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, home, others := lonely(t)
		h.mu.Lock()
		h.limit = 3
		h.mu.Unlock()
		h.fabric.kill(h.fabric.nodes[home])
		for _, name := range others {
			if err := h.enters(name, "of-"+name, "new "+name); !errors.Is(err, ErrRoomFull) {
				t.Errorf("a fourth of three enters on %s: %v", name, err)
			}
		}
	})
}

// TestStandbyIsForgotten has the room end, in good order and not.
func TestStandbyIsForgotten(t *testing.T) {
	for _, kill := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h, home, others := lonely(t)
			h.standby(home)
			if kill {
				h.fabric.kill(h.fabric.nodes[home])
				h.fabric.views()
			} else {
				h.members[home].Close()
			}
			settle(5 * time.Minute)
			for _, name := range others {
				if s := h.mesh(name).Stats(); s.Rooms != 0 {
					t.Errorf("killed %t: %s has %+v, %+v", kill, name, s, h.mesh(name).Rooms(t.Context()))
				}
			}
		})
	}
}

// TestIdleRoomsKeepQuiet has what a standby costs be nothing while nothing happens.
func TestIdleRoomsKeepQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, home, _ := lonely(t)
		keeper := h.standby(home)
		settle(time.Second)
		before := h.mesh(home).Stats().Posts + h.mesh(keeper).Stats().Posts
		settle(4 * time.Minute)
		if n := h.mesh(home).Stats().Posts + h.mesh(keeper).Stats().Posts - before; n != 0 {
			t.Errorf("%d messages in 4 minutes", n)
		}
		if h.standby(home) != keeper {
			t.Error("it is another one")
		}
		if err := h.enters(home, "dora", "token of dora"); err != nil {
			t.Error(err)
		}
		settle(time.Second)
		if n := h.mesh(home).Stats().Posts + h.mesh(keeper).Stats().Posts - before; n > 4 { // there and back, the token and the entry
			t.Errorf("somebody who joins costs %d messages", n)
		}
	})
}

// TestManyParticipants has more be known than goes into one message.
func TestManyParticipants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, home, others := lonely(t)
		s := h.members[home]
		keeper := h.standby(home)
		for i := range 600 {
			id := fmt.Sprint("p", i)
			a := roster.Admission{Participant: id, Generation: 1, Token: "token of " + id, Created: time.Now().Unix()}
			if _, err := s.Admit(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			_ = s.Put(person(id), 1, make([]byte, 4<<10))
		}
		settle(time.Second)
		if h.standby(home) != keeper {
			t.Error("the standby is another one")
		}
		h.fabric.kill(h.fabric.nodes[home])
		for i := range 30 {
			if err := h.resumes(others[i%len(others)], fmt.Sprint("p", 20*i), 2); err != nil {
				t.Fatal(err)
			}
		}
		for _, i := range []int{0, 299, 599} {
			if err := h.enters(others[0], "thief", fmt.Sprint("token of p", i)); !errors.Is(err, ErrTokenUsed) {
				t.Errorf("token %d is used again: %v", i, err)
			}
		}
	})
}

// TestSameRequest has an admission be asked for again of the next home, when the answer of the one before was lost.
func TestSameRequest(t *testing.T) {
	var tokens tokens
	tokens.init(time.Hour)
	now := time.Unix(1_000_000, 0)
	tokens.learn([]roster.Use{{Token: "t", Request: "a/1/1", Created: now.Unix()}}, now)
	if !tokens.use("t", "a/1/1", now, now) || tokens.use("t", "b/1/1", now, now) {
		t.Error("who has used a token is not known")
	}
}

// TestStandbyRubbish has a peer be cut off that says what cannot be.
func TestStandbyRubbish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, home, others := lonely(t)
		peer, victim := h.fabric.nodes[others[0]], h.fabric.nodes[home]
		victim.bears = true
		epoch := placement.Epoch{Number: 7, Home: placement.Name{ID: "somebody", Boot: 1}}
		theirs, err := meshproto.EncodeStandby(meshproto.Standby{Room: theRoom, Epoch: epoch, Hold: &meshproto.Hold{}})
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range [][]byte{[]byte("{}"), theirs[0]} {
			c, err := peer.Open(t.Context(), home, meshproto.ServiceStandby, m)
			if err != nil {
				t.Fatal(err)
			}
			settle(time.Second)
			c.Close()
			h.fabric.mu.Lock()
			if victim.cuts != i+1 {
				t.Errorf("%d peers were cut off after %d messages", victim.cuts, i+1)
			}
			h.fabric.mu.Unlock()
		}
	})
}
