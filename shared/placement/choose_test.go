package placement

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func edges(n int) []Edge {
	var list []Edge
	for i := range n {
		list = append(list, Edge{ID: fmt.Sprint("edge-", i), Region: []string{"east", "west", "south"}[i%3], Weight: 1 + i%4})
	}
	return list
}

// The logarithm of integers is the logarithm.
func TestCost(t *testing.T) {
	for _, u := range []uint64{1, 2, 3, 1000, 1 << 40, 1<<63 - 1, 1 << 63, 1<<63 + 1, math.MaxUint64 - 1<<40, math.MaxUint64} {
		want := 64 - math.Log2(float64(u))
		if got := float64(logCost(u)) / (1 << costBits); math.Abs(got-want) > 1e-9 {
			t.Errorf("%d: %g, want %g", u, got, want)
		}
		if logCost(u) == 0 {
			t.Errorf("%d costs nothing", u)
		}
	}
	if logCost(0) < logCost(1) {
		t.Error("0")
	}
}

// What other nodes, and other versions, must compute too.
func TestHomeGolden(t *testing.T) {
	var got []string
	for i := range 6 {
		room := fmt.Sprint("room-", i)
		got = append(got, Home(room, "east", edges(30)))
		got = append(got, Anchors(room, edges(30))...)
	}
	want := []string{
		"edge-18", "edge-11", "edge-27", "edge-9", "edge-29", "edge-19", "edge-3", "edge-20", "edge-28",
		"edge-6", "edge-20", "edge-22", "edge-21", "edge-18", "edge-4", "edge-18", "edge-25", "edge-17",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestHomeShares(t *testing.T) {
	list := edges(12)
	count := map[string]int{}
	const rooms = 20000
	for i := range rooms {
		count[Home(fmt.Sprint(i), "", list)]++
	}
	sum := 0
	for _, e := range list {
		sum += e.Weight
	}
	for _, e := range list {
		if share, want := float64(count[e.ID])/rooms, float64(e.Weight)/float64(sum); math.Abs(share-want) > 0.15*want {
			t.Errorf("%s with weight %d has %.3f of the rooms, want %.3f", e.ID, e.Weight, share, want)
		}
	}
}

// An edge that goes takes its own rooms with it and no other; order does not matter.
func TestHomeMoves(t *testing.T) {
	list := edges(12)
	less := slices.Clone(list)
	less[4].Draining = true
	slices.Reverse(less)
	moved := 0
	for i := range 5000 {
		room := fmt.Sprint(i)
		switch before, after := Home(room, "", list), Home(room, "", less); {
		case after == "edge-4":
			t.Fatal("a draining edge is home")
		case before == "edge-4":
			moved++
		case before != after:
			t.Fatalf("%s moved from %s to %s", room, before, after)
		}
	}
	if moved == 0 {
		t.Error("it had none")
	}
}

func TestHomeRegion(t *testing.T) {
	list := edges(9)
	for i := range 300 {
		if h := Home(fmt.Sprint(i), "west", list); list[slices.IndexFunc(list, func(e Edge) bool { return e.ID == h })].Region != "west" {
			t.Fatal(h)
		}
	}
	if Home("r", "north", list) == "" || Home("r", "", nil) != "" || Home("r", "", []Edge{{ID: "a", Draining: true}}) != "" {
		t.Error("without edges of the region, without edges, all drain")
	}
}

func TestFind(t *testing.T) {
	sorted := []Edge{{ID: "a"}, {ID: "b"}, {ID: "d"}, {ID: "e"}, {ID: "g"}}
	mixed := []Edge{{ID: "e"}, {ID: "a"}, {ID: "g"}, {ID: "d"}, {ID: "b"}}
	for _, edges := range [][]Edge{sorted, mixed, nil} {
		for _, id := range []string{"", "a", "b", "c", "d", "e", "f", "g", "h"} {
			at := slices.IndexFunc(edges, func(e Edge) bool { return e.ID == id })
			if got := Find(edges, id); got == nil && at >= 0 || got != nil && (at < 0 || got != &edges[at]) {
				t.Errorf("%q in %v: %v", id, edges, got)
			}
		}
	}
}

func TestAnchors(t *testing.T) {
	list := edges(9)
	region := map[string]string{}
	for _, e := range list {
		region[e.ID] = e.Region
	}
	same := 0
	for i := range 500 {
		room := fmt.Sprint(i)
		a := Anchors(room, list)
		if len(a) != 2 || region[a[0]] == region[a[1]] {
			t.Fatal(a)
		}
		if a[0] == Home(room, "", list) {
			same++
		}
	}
	if same > 150 {
		t.Errorf("the home is the first anchor of %d of 500 rooms: they are not independent", same)
	}
	one := []Edge{{ID: "a", Draining: true}, {ID: "b"}}
	if got := Anchors("r", one); !slices.Equal(got, []string{"b", "a"}) {
		t.Error(got)
	}
	if got := Anchors("r", one[:1]); !slices.Equal(got, []string{"a"}) || Anchors("r", nil) != nil {
		t.Error(got)
	}
}

func seeded() Random { return rand.New(rand.NewPCG(1, 2)).IntN }

func TestChooseRelay(t *testing.T) {
	list := []Relay{
		{ID: "east-vp8", Region: "east", Codecs: []string{"vp8"}, Load: 5},
		{ID: "east-all", Region: "east", Codecs: []string{"vp8", "h264"}, Load: 3},
		{ID: "west-all", Region: "west", Codecs: []string{"h264", "vp8"}, Load: 0},
		{ID: "east-av1", Region: "east", Codecs: []string{"av1"}, Draining: true},
	}
	for _, c := range []struct {
		job    Job
		change func(l []Relay)
		want   Choice
		err    error
	}{
		{Job{Region: "east", Codecs: []string{"vp8"}}, nil, Choice{"east-all", "region"}, nil},
		{Job{Region: "east", Codecs: []string{"h264"}}, nil, Choice{"east-all", "region"}, nil},
		{Job{Region: "east", Codecs: []string{"h264"}}, func(l []Relay) { l[1].Load = 6 }, Choice{"west-all", "any"}, nil},
		{Job{Region: "east", Codecs: []string{"h264"}}, func(l []Relay) { l[1].Load, l[2].Load = 6, 6 }, Choice{"east-all", "region, busy"}, nil},
		{Job{Region: "east", Codecs: []string{"h264"}, Avoid: []string{"east-all"}}, nil, Choice{"west-all", "any"}, nil},
		{
			Job{Codecs: []string{"h264"}, Avoid: []string{"east-all", "west-all"}}, func(l []Relay) { l[2].Draining = true },
			Choice{"east-all", "any, refused before"}, nil,
		},
		{Job{Codecs: []string{"av1"}}, nil, Choice{}, ErrUnfit},
		{Job{Codecs: []string{"h264"}}, func(l []Relay) { l[1].Load, l[2].Load = 7, 7 }, Choice{}, ErrFull},
		{Job{}, func(l []Relay) {
			for i := range l {
				l[i].Draining = true
			}
		}, Choice{}, ErrNone},
	} {
		l := slices.Clone(list)
		if c.change != nil {
			c.change(l)
		}
		if got, err := ChooseRelay(c.job, l, seeded()); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%+v: %+v, %v, want %+v, %v", c.job, got, err, c.want, c.err)
		}
	}
}

func TestChooseAccess(t *testing.T) {
	list := []Edge{
		{ID: "e1", Region: "east", Load: 2}, {ID: "e2", Region: "east", Load: 4}, {ID: "e3", Region: "east", Draining: true},
		{ID: "w1", Region: "west", Load: 1}, {ID: "w2", Region: "west", Load: 7},
	}
	at := func(ids ...string) func(string) bool { return func(id string) bool { return slices.Contains(ids, id) } }
	for _, c := range []struct {
		client Access
		want   Choice
		err    error
	}{
		{Access{Region: "east"}, Choice{"e1", "region"}, nil},
		{Access{Region: "east", Present: at("e2", "e3")}, Choice{"e2", "room and region"}, nil},
		{Access{Region: "east", Present: at("w1")}, Choice{"e1", "region"}, nil},
		{Access{Region: "north", Present: at("w1", "w2")}, Choice{"w1", "room"}, nil},
		{Access{Region: "west", Present: at("w2")}, Choice{"w1", "region"}, nil},
		{Access{Region: "west", Avoid: []string{"w1", "e2"}}, Choice{"e1", "any"}, nil},
	} {
		if got, err := ChooseAccess(c.client, list, seeded()); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%+v: %+v, %v", c.client, got, err)
		}
	}
	if _, err := ChooseAccess(Access{}, list[2:3], seeded()); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	if _, err := ChooseAccess(Access{}, list[4:], seeded()); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
}

// Many who choose at once from the same old figures spread; taking the least loaded they would all go to one.
func TestChoiceSpreads(t *testing.T) {
	list := edges(10)
	for i := range list {
		list[i].Region, list[i].Weight, list[i].Load = "east", 1, i%5
	}
	count := map[string]int{}
	random := seeded()
	for range 1000 {
		c, err := ChooseAccess(Access{Region: "east"}, list, random)
		if err != nil {
			t.Fatal(err)
		}
		count[c.ID]++
	}
	if len(count) < 8 {
		t.Errorf("only %d edges are taken: %v", len(count), count)
	}
	for id, n := range count {
		if n > 250 {
			t.Errorf("%s gets %d of 1000", id, n)
		}
	}
	if idle, laden := count["edge-0"]+count["edge-5"], count["edge-3"]+count["edge-8"]; idle < 2*laden {
		t.Errorf("the idle get %d, the laden %d", idle, laden)
	}
}

func BenchmarkHome(b *testing.B) {
	list := edges(1000)
	for b.Loop() {
		Home("a room of this cluster", "", list)
	}
}
