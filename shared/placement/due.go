package placement

import (
	"math"
	"time"
)

// Never is a time that does not come.
const Never = time.Duration(math.MaxInt64)

// Due tells when a Tick has something to do at the earliest, as long as nothing else happens: who runs many Seats ticks each of them
// then, and none of those that only remember.
func (s *Seat) Due() time.Duration {
	switch s.mode {
	case idle:
		return Never
	case following:
		patience := s.cfg.Timing.Lease
		if s.edge(s.top.Home.ID) == nil {
			patience = 3 * s.cfg.Timing.Beat / 2
		}
		return min(s.due, s.heard+patience+1)
	}
	return s.due
}

// Standing is the highest epoch in effect that this node knows, and whether its home was lately heard or this node leads under it:
// what it would answer to Ask.
func (s *Seat) Standing(now time.Duration) (e Epoch, alive bool) {
	if s.mode == leading {
		return s.top, now-s.now <= s.cfg.Timing.Lease
	}
	return s.top, !s.top.Zero() && !s.gone && now-s.heard <= s.cfg.Timing.Lease && s.reachable(s.top.Home)
}

// Anchors are those of the room in the present view.
func (s *Seat) Anchors() []string { return s.anchors }

// Followers tells how many nodes the home has heard from lately.
func (s *Seat) Followers() int { return len(s.followers) }

// Prefer says in which region the home shall be from now on, which those who only remember a room do not know.
func (s *Seat) Prefer(region string) { s.cfg.Region = region }
