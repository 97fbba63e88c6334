package placement

import (
	"fmt"
	"slices"
	"testing"
)

func wide(perRegion ...int) []Edge {
	var list []Edge
	for r, n := range perRegion {
		for i := range n {
			list = append(list, Edge{ID: fmt.Sprintf("edge-%d-%d", r, i), Region: fmt.Sprint("region-", r), Weight: 1 + i%3})
		}
	}
	return list
}

// tree checks that every edge gets the stream, by two hops at most, and gives the fan-out of each and how many hops there are.
func tree(t *testing.T, stream, origin string, list []Edge) (children map[string]int, depth int) {
	t.Helper()
	children = map[string]int{}
	direct := map[string]bool{} // known to pull from the origin
	for _, e := range list {
		parent := Parent(stream, origin, e.ID, list)
		if e.ID == origin {
			if parent != "" {
				t.Errorf("the origin pulls from %q", parent)
			}
			continue
		}
		children[parent]++
		hops := 1
		if parent != origin {
			hops = 2
			if !direct[parent] {
				if grand := Parent(stream, origin, parent, list); grand != origin {
					t.Errorf("%s pulls from %s, which pulls from %s", e.ID, parent, grand)
				}
				direct[parent] = true
			}
		}
		depth = max(depth, hops)
	}
	return children, depth
}

func TestTree(t *testing.T) {
	for _, c := range []struct {
		regions []int
		depth   int
		direct  int // who pull from the origin; 0: whatever
	}{
		{[]int{1}, 0, 0}, {[]int{9}, 1, 8}, {[]int{3, 3, 3}, 1, 8}, {[]int{4, 3, 3}, 2, 3 + 1 + 1}, {[]int{1, 9}, 2, 1}, {[]int{33}, 2, 1},
		{[]int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 1, 9}, {[]int{30, 3, 3}, 2, 31}, {[]int{31, 3, 3}, 2, 32}, {[]int{40, 3, 3}, 2, 4},
		{[]int{10, 34, 33}, 2, 9 + 2 + 1}, {[]int{1, 100}, 2, 4}, {[]int{334, 333, 333}, 2, 0},
		{slices.Repeat([]int{2}, 100), 2, 0}, {[]int{1057}, 2, 32},
	} {
		list := wide(c.regions...)
		children, depth := tree(t, "stream", "edge-0-0", list)
		if depth != c.depth || c.direct > 0 && children["edge-0-0"] != c.direct {
			t.Errorf("%v: depth %d, %d pull from the origin", c.regions, depth, children["edge-0-0"])
		}
		for id, n := range children {
			if n > FanOut {
				t.Errorf("%v: %d pull from %s", c.regions, n, id)
			}
		}
		// The order in which edges are known does not matter, and an edge that nobody else knows of yet gets it too.
		if len(list) > 200 {
			continue
		}
		slices.Reverse(list)
		again, _ := tree(t, "stream", "edge-0-0", list)
		if fmt.Sprint(again) != fmt.Sprint(children) {
			t.Errorf("%v: another order, another tree", c.regions)
		}
		if p := Parent("stream", "edge-0-0", "nobody", list); p != "edge-0-0" {
			t.Errorf("%v: an unknown edge pulls from %q", c.regions, p)
		}
	}
	// More than fit are shared evenly.
	children, depth := tree(t, "stream", "edge-0-0", wide(1401))
	for id, n := range children {
		if depth != 2 || n > 64 {
			t.Errorf("%d of 1,400 pull from %s", n, id)
		}
	}
}

func TestTreeChoosesByStream(t *testing.T) {
	list := wide(1, 20)
	parents := map[string]int{}
	for i := range 200 {
		parents[Parent(fmt.Sprint("stream-", i), "edge-0-0", "edge-1-0", list)]++
	}
	if len(parents) < 15 {
		t.Errorf("of 20 edges only %d are parents", len(parents))
	}
	// One that drains hands its streams over, and nothing else moves.
	before := map[string]string{}
	for i := range 200 {
		s := fmt.Sprint("stream-", i)
		before[s] = Parent(s, "edge-0-0", "edge-1-0", list)
	}
	drains := "edge-1-7"
	for i := range list {
		list[i].Draining = list[i].ID == drains
	}
	for s, was := range before {
		if now := Parent(s, "edge-0-0", "edge-1-0", list); now == drains || was != drains && now != was {
			t.Errorf("%s: %s after %s", s, now, was)
		}
	}
	for i := range list {
		list[i].Draining = true
	}
	if p := Parent("stream-1", "edge-0-0", "edge-1-0", list); p != before["stream-1"] {
		t.Errorf("all drain: %s", p)
	}
}

// An edge that leaves moves few others to another parent.
func TestTreeIsSteady(t *testing.T) {
	list := wide(1, 300)
	moved := 0
	gone := "edge-1-150"
	less := slices.DeleteFunc(slices.Clone(list), func(e Edge) bool { return e.ID == gone })
	for _, e := range less {
		if was, now := Parent("s", "edge-0-0", e.ID, list), Parent("s", "edge-0-0", e.ID, less); was != now {
			moved++
		}
	}
	if moved > 60 {
		t.Errorf("%d of 300 have another parent", moved)
	}
}

func BenchmarkParent(b *testing.B) {
	list := wide(333, 333, 333)
	for b.Loop() {
		Parent("stream", "edge-0-0", "edge-2-7", list)
	}
}
