package directory

import (
	"fmt"
	"testing"
	"time"

	"portico/shared/meshproto"
	"portico/shared/placement"
	"portico/shared/roster"
)

// office is a room whose home is one of n edges, which has a link to none of the others.
func office(t testing.TB, n int) (r *Room, view []placement.Edge, now time.Duration) {
	t.Helper()
	r = New(Config{Room: "room", Self: placement.Name{ID: "edge-0000", Boot: 1}, Standby: true})
	for i := range n {
		view = append(view, placement.Edge{ID: fmt.Sprintf("edge-%04d", i), Boot: 1, Region: fmt.Sprint(i % 8), Weight: 1})
	}
	r.Handle(placement.View{Edges: view}, 0)
	for i := range view {
		r.Handle(placement.Lost{ID: view[i].ID}, 0)
	}
	r.Handle(Enter{On: true}, 0)
	r.Handle(Put{Key: person("pa"), Generation: 1}, 0)
	for ; !r.Settled(); now += 100 * time.Millisecond {
		if now > time.Minute {
			t.Fatal("it is not the home")
		}
		r.Handle(placement.Tick{}, now)
	}
	for i := range view {
		r.Handle(placement.Healed{ID: view[i].ID}, now)
	}
	return r, view, now
}

// An owner that nobody has a link to may be gone, though gossip does not know it yet: it is called, so that its link tells.
func TestOwnerUnheard(t *testing.T) {
	for _, gone := range []bool{true, false} {
		r, view, now := office(t, 80)
		owner, epoch := view[70], r.epoch
		r.Handle(Posted{From: view[1].ID, Message: meshproto.Standby{Room: "room", Epoch: epoch, Hearsay: &roster.Hearsay{
			Position: roster.Position{Epoch: placement.Epoch{Number: 1, Home: placement.Name{ID: view[2].ID, Boot: 1}}, Seq: 1},
			Entries:  []roster.Entry{{Key: person("pb"), Owner: owner.ID, Life: owner.Boot, Generation: 1}},
		}}}, now)
		called := 0
		for end := now + 20*time.Second; now < end; now += 100 * time.Millisecond {
			for _, e := range r.Handle(placement.Tick{}, now) {
				if s, ok := e.(Seat); ok && s.To == owner.ID && s.Message == (placement.Heartbeat{Epoch: epoch}) {
					called++
				}
			}
			if gone && called == 2 {
				called++
				r.Handle(placement.Lost{ID: owner.ID}, now)
			}
		}
		if _, there := r.index.Get(person("pb")); there != gone || called < 3 {
			t.Errorf("its owner is gone: %t; it is there: %t; it was called %d times", gone, there, called)
		}
	}
}

// Of many edges not all are asked, but those who own something are.
func TestRecallOfOwners(t *testing.T) {
	r, view, now := office(t, 200)
	owner := view[180]
	r.copy.Apply(roster.Delta{
		Epoch: placement.Epoch{Number: 7, Home: placement.Name{ID: "edge-0150", Boot: 1}}, To: 1, Full: true,
		Put: []roster.Entry{{Key: person("pb"), Owner: owner.ID, Life: owner.Boot, Generation: 1}},
	})
	r.begin(now)
	r.lead(placement.Epoch{Number: 9, Home: r.cfg.Self})
	asked := map[string]bool{}
	for _, e := range r.out {
		if p, ok := e.(Post); ok && p.Message.Recall != nil {
			asked[p.To] = true
		}
	}
	if len(asked) != maxRecalled || !asked[owner.ID] {
		t.Errorf("%d are asked, the owner among them: %t", len(asked), asked[owner.ID])
	}
	for _, id := range r.seat.Anchors() {
		if !asked[id] && id != r.cfg.Self.ID {
			t.Errorf("%s is not asked, which is an anchor", id)
		}
	}
}

// What a home does when one more of many edges can be reached, which happens as often as there are edges.
func BenchmarkManyEdges(b *testing.B) {
	r, view, now := office(b, 1000)
	i := 0
	for b.Loop() {
		r.Handle(placement.Healed{ID: view[i%1000].ID}, now)
		i++
	}
}
