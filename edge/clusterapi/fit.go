package clusterapi

import (
	"cmp"
	"encoding/json"
	"slices"
)

// Omitted counts what an edge has left out of what it says, because all of it would be too much.
type Omitted struct {
	Rooms int `json:"rooms,omitempty"`
	Links int `json:"links,omitempty"`
	Flows int `json:"flows,omitempty"` // of all links
}

func (o *Omitted) add(more Omitted) {
	o.Rooms += max(0, more.Rooms)
	o.Links += max(0, more.Links)
	o.Flows += max(0, more.Flows)
}

// Bounds of Fit.
const (
	maxFollowers = 64      // of one room, that are named
	envelope     = 1 << 10 // bytes for what is not an element of a list
	perLink      = 64      // bytes for the rest of a link: its list of flows, and how many are left out
)

// Fit leaves out as much as has to be for the JSON of t to be no longer than so many bytes, and counts it: of the rooms those with the
// fewest entries, of the links those that are not in use or carry little, of the flows the smallest. Where there is too much of everything, rooms
// have half of the space, links and flows a quarter each. Rooms and links are in the order of their importance then, and so are the flows
// of each.
func (t *Told) Fit(most int) {
	space := max(0, most-envelope)
	for i := range t.Rooms {
		r := &t.Rooms[i]
		if more := len(r.Followers) - maxFollowers; more > 0 {
			r.Followers, r.OmittedFollowers = r.Followers[:maxFollowers], r.OmittedFollowers+more
		}
	}
	left := space - t.fitLinks(space-min(t.sizeOfRooms(), space/2)-min(t.sizeOfFlows(), space/4))
	left -= t.fitRooms(left - min(t.sizeOfFlows(), space/4))
	t.fitFlows(left)
}

func (t *Told) sizeOfRooms() (n int) {
	for i := range t.Rooms {
		n += sizeOf(t.Rooms[i])
	}
	return n
}

func (t *Told) sizeOfFlows() (n int) {
	for i := range t.Links {
		for _, f := range t.Links[i].Flows {
			n += sizeOf(f)
		}
	}
	return n
}

// fitLinks keeps the links for which there is room, and tells how much they take.
func (t *Told) fitLinks(space int) (taken int) {
	slices.SortFunc(t.Links, func(a, b Link) int {
		if a.InUse != b.InUse {
			if a.InUse {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Sent+b.Received, a.Sent+a.Received), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	n := 0
	for ; n < len(t.Links); n++ {
		size := perLink + sizeOf(withoutFlows(t.Links[n]))
		if taken+size > space {
			break
		}
		taken += size
	}
	for _, l := range t.Links[n:] {
		t.Omitted.Links++
		t.Omitted.Flows += len(l.Flows)
	}
	t.Links = t.Links[:n]
	return taken
}

func withoutFlows(l Link) Link {
	l.Flows = nil
	return l
}

// fitRooms keeps the rooms for which there is room, and tells how much they take.
func (t *Told) fitRooms(space int) (taken int) {
	slices.SortFunc(t.Rooms, func(a, b Room) int { return cmp.Or(cmp.Compare(b.Entries, a.Entries), cmp.Compare(a.ID, b.ID)) })
	n := 0
	for ; n < len(t.Rooms); n++ {
		size := sizeOf(t.Rooms[n])
		if taken+size > space {
			break
		}
		taken += size
	}
	t.Omitted.Rooms += len(t.Rooms) - n
	t.Rooms = t.Rooms[:n]
	return taken
}

// fitFlows keeps the flows for which there is room, the largest of all links first.
func (t *Told) fitFlows(space int) {
	type place struct {
		link int
		flow Flow
	}
	var all []place
	for i := range t.Links {
		for _, f := range t.Links[i].Flows {
			all = append(all, place{i, f})
		}
		t.Links[i].Flows = nil
	}
	slices.SortFunc(all, func(a, b place) int {
		return cmp.Or(cmp.Compare(b.flow.Bytes, a.flow.Bytes), cmp.Compare(a.link, b.link), cmp.Compare(a.flow.ID, b.flow.ID))
	})
	for _, p := range all {
		l := &t.Links[p.link]
		if space -= sizeOf(p.flow); space < 0 {
			l.OmittedFlows++
			t.Omitted.Flows++
			continue
		}
		l.Flows = append(l.Flows, p.flow)
	}
}

// sizeOf is how long something is in a list.
func sizeOf(v any) int {
	b, _ := json.Marshal(v) // numbers and texts: it does not fail
	return len(b) + 1
}
