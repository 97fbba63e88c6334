package clusterapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// much is what a very busy edge could say of itself: far more than there is space for.
func much(rooms, links, flows, followers int) Told {
	t := Told{Participants: 7, Rooms: []Room{}, Links: []Link{}}
	for i := range rooms {
		r := Room{ID: fmt.Sprintf("room-<%06d>", (i*7919)%rooms), Home: "a", Why: "hash", Anchors: []string{"a", "b"}, Entries: i % 100}
		for f := range followers {
			r.Followers = append(r.Followers, fmt.Sprint("edge-", f))
		}
		t.Rooms = append(t.Rooms, r)
	}
	for i := range links {
		l := Link{From: "a", To: fmt.Sprint("edge-", (i*31)%links), InUse: i%2 == 0, Sent: uint64(i)}
		for f := range flows {
			l.Flows = append(l.Flows, Flow{ID: uint64(f), Packets: 1 << 40, Bytes: uint64(f * i)})
		}
		t.Links = append(t.Links, l)
	}
	return t
}

// What an edge says fits whatever there is, is as much as goes in, and says what is left out; the same every time.
func TestFit(t *testing.T) {
	const most = 1<<17 - 1<<10
	for name, c := range map[string]struct{ rooms, links, flows, followers int }{
		"nothing": {}, "little": {3, 2, 5, 1}, "rooms": {2500, 2, 5, 3}, "flows": {10, 50, 500, 1}, "links": {10, 2500, 0, 1},
		"all": {2000, 1000, 10, 200}, "followers": {300, 1, 1, 300},
	} {
		told := much(c.rooms, c.links, c.flows, c.followers)
		told.Fit(most)
		text, err := json.Marshal(told)
		if err != nil || len(text) > most {
			t.Fatalf("%s: %d bytes, %v", name, len(text), err)
		}
		flows := 0
		for i, l := range told.Links {
			flows += len(l.Flows)
			if len(l.Flows)+l.OmittedFlows != c.flows {
				t.Errorf("%s: %d and %d flows of a link", name, len(l.Flows), l.OmittedFlows)
			}
			if before := told.Links[max(i-1, 0)]; l.InUse && !before.InUse || l.InUse == before.InUse && l.Sent > before.Sent {
				t.Errorf("%s: link %d is more important than %d", name, i, i-1)
			}
		}
		o := told.Omitted
		if len(told.Rooms)+o.Rooms != c.rooms || len(told.Links)+o.Links != c.links || flows+o.Flows != c.links*c.flows {
			t.Errorf("%s: %d rooms, %d links, %d flows, and %+v", name, len(told.Rooms), len(told.Links), flows, o)
		}
		if o != (Omitted{}) && len(text) < most/2 {
			t.Errorf("%s: left out %+v, and says no more than %d bytes", name, o, len(text))
		}
		for i, r := range told.Rooms {
			if before := told.Rooms[max(i-1, 0)]; r.Entries > before.Entries || r.Entries == before.Entries && r.ID < before.ID {
				t.Errorf("%s: room %s comes after %s", name, r.ID, before.ID)
			}
			if len(r.Followers)+r.OmittedFollowers != c.followers {
				t.Errorf("%s: %d and %d followers", name, len(r.Followers), r.OmittedFollowers)
			}
		}
		again := much(c.rooms, c.links, c.flows, c.followers)
		slices.Reverse(again.Rooms)
		slices.Reverse(again.Links)
		again.Fit(most)
		if other, _ := json.Marshal(again); string(other) != string(text) {
			t.Errorf("%s: in another order it says something else", name)
		}
	}
}

// A Status is bounded, too: each edge has its share, and what the edges and this one leave out is counted.
func TestStatusIsBounded(t *testing.T) {
	r := newRig(t)
	r.o.MaxStatus = 3 * minShare
	told := much(2000, 3, 3, 1)
	told.Omitted = Omitted{Rooms: 5, Flows: -7}
	text, err := json.Marshal(told)
	if err != nil {
		t.Fatal(err)
	}
	r.told = map[string]json.RawMessage{"b": text}
	var s Status
	code, body := r.call("super", "k", "GET", "/v1/cluster", "")
	if err := json.Unmarshal([]byte(body), &s); code != 200 || err != nil {
		t.Fatalf("%d %.300s %v", code, body, err)
	}
	b, a := s.Nodes[0], s.Nodes[1]
	if len(body) > 4*minShare || b.Homes != 2005 || b.Omitted.Rooms < 1500 || b.Omitted.Rooms+len(s.Rooms) != 2006 || b.Omitted.Flows != 0 || s.Omitted != b.Omitted {
		t.Errorf("%d bytes, %d rooms of %+v, and %+v", len(body), len(s.Rooms), b, s.Omitted)
	}
	if a.Omitted != (Omitted{}) || a.Homes != 1 || strings.Count(body, "omitted") < 2 {
		t.Errorf("%+v", a)
	}
}

// Rooms of which an edge says nothing take little space as it tells them, and more in a Status.
func TestStatusOfEmptyRooms(t *testing.T) {
	r := newRig(t)
	r.o.MaxStatus = 3 * minShare
	const rooms = minShare/3 - 10
	r.told = map[string]json.RawMessage{"b": json.RawMessage(`{"rooms":[{}` + strings.Repeat(",{}", rooms-1) + `]}`)}
	var s Status
	code, body := r.call("super", "k", "GET", "/v1/cluster", "")
	if err := json.Unmarshal([]byte(body), &s); code != 200 || err != nil {
		t.Fatalf("%d %.300s %v", code, body, err)
	}
	if len(r.told["b"]) > minShare || len(body) > 4*minShare || s.Nodes[0].Homes != rooms || s.Omitted.Rooms < rooms/2 {
		t.Errorf("%d bytes of %d, %+v", len(body), len(r.told["b"]), s.Omitted)
	}
}
