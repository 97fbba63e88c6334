package placement

import (
	"math/bits"
	"strings"
)

// MaxLoad is the coarse load of a node that is full; 0 is idle.
const MaxLoad = 7

// Edge is what the choices need to know of an edge.
type Edge struct {
	ID       string
	Boot     uint64 // differs between two lives of a node
	Region   string
	Weight   int // capacity, from 1 to 65,535; less counts as 1 and more as 65,535
	Draining bool
	Load     int // 0 to MaxLoad
}

// Find gives the edge of that id, or nil. It is quick when the list is in the order of the ids.
func Find(edges []Edge, id string) *Edge {
	low, high := 0, len(edges)
	for low < high {
		at := int(uint(low+high) >> 1)
		switch c := strings.Compare(edges[at].ID, id); {
		case c == 0:
			return &edges[at]
		case c < 0:
			low = at + 1
		default:
			high = at
		}
	}
	for i := range edges { // perhaps the list is in another order
		if edges[i].ID == id {
			return &edges[i]
		}
	}
	return nil
}

// What is hashed is named, so that a room's home and its anchors are independent.
const (
	saltHome   = 0x9e3779b97f4a7c15
	saltAnchor = 0xd1b54a32d192ed03
)

// Home names the edge that shall be home of a room without one: of the active edges of the region, or of all when the region has
// none. It is empty when no edge is active.
func Home(room, region string, edges []Edge) string {
	best := pick(room, saltHome, edges, true, func(e *Edge) bool { return !e.Draining && e.Region == region })
	if best < 0 {
		best = pick(room, saltHome, edges, true, func(e *Edge) bool { return !e.Draining })
	}
	if best < 0 {
		return ""
	}
	return edges[best].ID
}

// Anchors names the edges that remember the home of a room: two, or as many as there are. Draining edges take part only where active
// ones do not suffice. All weigh the same, because remembering costs next to nothing.
func Anchors(room string, edges []Edge) []string {
	active := func(e *Edge) bool { return !e.Draining }
	first := pick(room, saltAnchor, edges, false, active)
	if first < 0 {
		if first = pick(room, saltAnchor, edges, false, func(*Edge) bool { return true }); first < 0 {
			return nil
		}
	}
	a := &edges[first]
	second := -1
	for _, fits := range []func(e *Edge) bool{
		func(e *Edge) bool { return !e.Draining && e.Region != a.Region },
		active,
		func(*Edge) bool { return true },
	} {
		second = pick(room, saltAnchor, edges, false, func(e *Edge) bool { return e.ID != a.ID && fits(e) })
		if second >= 0 {
			return []string{a.ID, edges[second].ID}
		}
	}
	return []string{a.ID}
}

// pick gives the index of the edge with the highest score for the room, or -1.
func pick(room string, salt uint64, edges []Edge, weighted bool, fits func(*Edge) bool) int {
	seed := mix(hash(room) ^ salt)
	best := -1
	var bestCost, bestWeight uint64
	for i := range edges {
		e := &edges[i]
		if !fits(e) {
			continue
		}
		u := mix(seed ^ hash(e.ID))
		weight, cost := uint64(1), ^u // where all weigh the same, the logarithm changes nothing
		if weighted {
			weight, cost = uint64(weigh(e.Weight)), logCost(u)
		}
		// The lesser cost for its weight wins: cost / weight < bestCost / bestWeight.
		mine, other := cost*bestWeight, bestCost*weight
		if best < 0 || mine < other || mine == other && e.ID < edges[best].ID {
			best, bestCost, bestWeight = i, cost, weight
		}
	}
	return best
}

const costBits = 40

// logCost gives -log2(u / 2^64) with costBits bits behind the point, at most 64 x 2^40 = 2^46: with a weight below 2^16 the product fits
// 62 bits. The least of such costs, each divided by its weight, falls on a candidate with a probability in proportion to the weight.
// It is computed without floating point, whose last bit differs between machines.
func logCost(u uint64) uint64 {
	if u == 0 {
		return 64 << costBits
	}
	zeros := uint64(bits.LeadingZeros64(u))
	x := u << zeros // 1 <= x / 2^63 < 2
	var fraction uint64
	for range costBits {
		high, low := bits.Mul64(x, x) // the square of the mantissa, with 126 bits behind the point
		fraction <<= 1
		if high >= 1<<63 { // 2 or more: the next bit of the logarithm is 1
			fraction |= 1
			x = high
		} else {
			x = high<<1 | low>>63
		}
	}
	return (zeros+1)<<costBits - fraction
}

// hash is FNV-1a with 64 bits; mix spreads what it leaves in the low bits.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
