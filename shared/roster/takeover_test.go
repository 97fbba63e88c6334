package roster

import (
	"errors"
	"testing"
	"time"

	"portico/shared/placement"
)

// TestTakeoverAgain: a takeover that came to nothing can be made again by the same edge at once, and by another one when the first cannot
// come with it any more: that it is lost does not say so, because it may only have been stopped.
func TestTakeoverAgain(t *testing.T) {
	x := NewIndex(placement.Epoch{Number: 1, Home: placement.Name{ID: "h", Boot: 1}}, Config{}, 0)
	now := 10 * time.Second
	admit := func(owner, request string, generation uint64, resume bool) (Admitted, error) {
		now += time.Second
		return x.Admit(Admission{Participant: "p", Owner: owner, Request: request, Generation: generation, Resume: resume}, -1, now)
	}
	if _, err := admit("a", "1", 1, false); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Announce(Update{
		Owner: "a", Life: 1, To: 1, Full: true, Put: []Entry{{Key: Key{Participant, "p"}, Generation: 1, Value: []byte("v")}},
	}, now); err != nil {
		t.Fatal(err)
	}
	for _, request := range []string{"2", "3"} {
		if got, err := admit("b", request, 2, true); err != nil || got.Before != "a" {
			t.Errorf("request %s: %+v, %v", request, got, err)
		}
	}
	if _, err := admit("c", "4", 2, true); !errors.Is(err, ErrReplayed) {
		t.Errorf("another edge with the same ticket: %v", err)
	}
	x.Lost("b", now)
	if _, err := admit("c", "5", 2, true); !errors.Is(err, ErrReplayed) {
		t.Errorf("another edge while the first is lost: %v", err)
	}
	now += 5 * time.Second
	if got, err := admit("c", "6", 2, true); err != nil || got.Before != "a" {
		t.Errorf("after the first has had its time: %+v, %v", got, err)
	}
}
