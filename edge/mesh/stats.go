package mesh

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"

	"portico/edge/mesh/directory"
	"portico/shared/placement"
)

// counts are what Stats tells of.
type counts struct {
	seatsSent, seatsReceived, posts, shed               atomic.Uint64
	admissions, commands, served, notes, stale, rubbish atomic.Uint64
}

// Stats are counters since the beginning, and the number of rooms now.
type Stats struct {
	Rooms, Led, Followed int
	Remembered           int    // rooms that this edge only remembers
	SeatsSent            uint64 // messages of seats
	SeatsReceived        uint64
	Posts                uint64 // messages of homes to standbys and back, sent
	Shed                 uint64 // messages of seats that were too many, and of homes and standbys
	Admissions           uint64 // asked for here
	Commands             uint64 // sent, admissions included
	Served               uint64 // of other edges
	Notes                uint64 // that began here
	Stale                uint64 // commands that were not obeyed
	Rubbish              uint64 // messages that cannot be
}

// Stats gives the counters.
func (m *Mesh) Stats() Stats {
	c := &m.counts
	s := Stats{
		SeatsSent: c.seatsSent.Load(), SeatsReceived: c.seatsReceived.Load(), Posts: c.posts.Load(), Shed: c.shed.Load(),
		Admissions: c.admissions.Load(), Commands: c.commands.Load(), Served: c.served.Load(), Notes: c.notes.Load(),
		Stale: c.stale.Load(), Rubbish: c.rubbish.Load(),
	}
	for _, r := range m.list() {
		switch e, leads, _ := r.home(); {
		case leads:
			s.Led++
		case !e.Zero():
			s.Followed++
		default:
			s.Remembered++
		}
		s.Rooms++
	}
	return s
}

// RoomState tells of a room.
type RoomState struct {
	Room      string
	Home      string
	Epoch     placement.Epoch
	Leads     bool
	Follows   bool
	Alive     bool   // the home was heard lately
	Why       string // the home is where it is: "hash", or "sticky" where the hash names another edge now
	Anchors   []string
	Followers []string // at the home
	Standby   string   // at the home: who has all that it knows; empty while nobody has
	Keeps     bool     // this edge is the standby, as far as it knows
	Entries   int
	Own       int // of them this edge's
}

// Rooms tells of the rooms that this edge leads, follows or is an anchor of, by name.
func (m *Mesh) Rooms(ctx context.Context) []RoomState {
	var list []RoomState
	for _, r := range m.list() {
		var s directory.State
		if err := r.do(ctx, func() { s = r.core.State(m.now()) }); err == errForgotten {
			continue
		} else if err != nil {
			break
		}
		if s.Home.Zero() || !s.Alive && !s.Leads {
			continue
		}
		m.mu.Lock()
		hash := placement.Home(r.name, s.Region, m.view)
		m.mu.Unlock()
		e, leads, _ := r.home()
		state := RoomState{
			Room: r.name, Home: s.Home.Home.ID, Epoch: s.Home, Leads: leads, Follows: !leads && !e.Zero(), Alive: s.Alive || leads,
			Why: "sticky", Anchors: s.Anchors, Followers: s.Followers, Standby: s.Standby, Keeps: s.Keeps, Entries: s.Entries, Own: s.Own,
		}
		if hash == state.Home {
			state.Why = "hash"
		}
		list = append(list, state)
	}
	slices.SortFunc(list, func(a, b RoomState) int { return cmp.Compare(a.Room, b.Room) })
	return list
}

func (m *Mesh) list() []*room {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]*room, 0, len(m.rooms))
	for _, r := range m.rooms {
		list = append(list, r)
	}
	return list
}
