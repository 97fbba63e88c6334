package placement

import (
	"testing"
	"time"
)

// TestDue has Seats that are ticked only when they are due do what those do that are ticked all the time.
func TestDue(t *testing.T) {
	timing := DefaultTiming()
	edges := []Edge{{ID: "a", Boot: 1, Weight: 1}, {ID: "b", Boot: 1, Weight: 1}, {ID: "c", Boot: 1, Weight: 1}}
	for _, event := range []Event{nil, Lost{ID: "b"}, View{Edges: edges[:1]}} {
		at := map[bool]time.Duration{}
		for _, lazy := range []bool{false, true} {
			now := time.Duration(0)
			s := NewSeat(Config{Room: "room", Self: Name{ID: "a", Boot: 1}})
			if s.Due() != Never {
				t.Error("a Seat that does nothing is due")
			}
			s.Handle(View{Edges: edges}, now)
			s.Handle(Want{On: true}, now)
			s.Handle(Received{From: Name{ID: "b", Boot: 1}, Message: Heartbeat{Epoch: Epoch{Number: 1, Home: Name{ID: "b", Boot: 1}}}}, now)
			if e, alive := s.Standing(now); e.Number != 1 || !alive {
				t.Fatalf("%v, %t", e, alive)
			}
			if event != nil {
				s.Handle(event, now)
			}
			ticks := 0
			for _, leads := s.Epoch(); !leads && now < time.Minute; _, leads = s.Epoch() {
				if lazy {
					now = s.Due()
				} else {
					now += time.Millisecond
				}
				s.Handle(Tick{}, now)
				ticks++
			}
			if at[lazy] = now; lazy && ticks > 40 {
				t.Errorf("%T: %d ticks", event, ticks)
			}
			if _, alive := s.Standing(now + timing.Lease + 1); alive {
				t.Error("a home that was suspended says that it lives")
			}
		}
		if d := at[true] - at[false]; d < -2*time.Millisecond || d > 2*time.Millisecond {
			t.Errorf("%T: a home of its own after %v, ticked all the time after %v", event, at[true], at[false])
		}
	}
}
