package placement

import (
	"cmp"
	"slices"
)

// Limits of the cascade.
const (
	// Direct is how many edges pull a stream from its origin before regions have parents.
	Direct = 8
	// FanOut is how many edges pull from one, as long as there are no more than FanOut x (FanOut + 1) of them.
	FanOut = 32
)

const saltTree = 0x2545f4914f6cdd1d

// Parent names the edge from which self pulls a stream that is published at origin. edges are those with participants in the room; self
// counts as one, the origin does not. Everyone computes the same of the same edges; of different ones for a while, an edge may pull from
// one that does not pull yet, but never in a circle: what Parent names is the origin, or an edge whose own parent is the origin as far as
// self can know. It is empty for the origin itself.
//
// To Direct edges pull from the origin. Beyond, those of the origin's region do so as long as it has room for them, and each other region
// has a parent, or several if it is large, which pulls from the origin: the edge that the hash of the stream prefers, so that different
// streams have different parents. A draining edge is a parent only where all drain.
func Parent(stream, origin, self string, edges []Edge) string {
	if self == origin {
		return ""
	}
	count := 0 // besides the origin
	regions := map[string]int{}
	home, mine, known := "", "", false
	for i := range edges {
		switch e := &edges[i]; e.ID {
		case origin:
			home = e.Region
			continue
		case self:
			mine, known = e.Region, true
		}
		count++
		regions[edges[i].Region]++
	}
	if count <= Direct || !known {
		return origin
	}
	parents := 0
	for _, n := range regions {
		parents += parentsFor(n)
	}
	spread := parents <= FanOut // else regions do not matter any more
	if spread && (regions[mine] == 1 || mine == home && len(regions) > 1 && parents-parentsFor(regions[mine])+regions[mine] <= FanOut) {
		return origin
	}
	group := make([]Edge, 0, count)
	for i := range edges {
		if e := &edges[i]; e.ID != origin && (!spread || e.Region == mine) {
			group = append(group, *e)
		}
	}
	return parentIn(stream, origin, self, group)
}

// parentsFor is how many parents a group of edges has: each serves FanOut others.
func parentsFor(n int) int { return (n + FanOut) / (FanOut + 1) }

// parentIn shares a group out among its parents: each edge takes the one that it prefers of those that are not full.
func parentIn(stream, origin, self string, group []Edge) string {
	count := parentsFor(len(group))
	ranked := rank(stream, group)
	parents := make([]uint64, count) // hashes
	for i := range parents {
		id := group[ranked[i]].ID
		if id == self {
			return origin
		}
		parents[i] = hash(id)
	}
	if count == 1 {
		return group[ranked[0]].ID
	}
	rest := ranked[count:]
	slices.SortFunc(rest, func(a, b int) int { return cmp.Compare(group[a].ID, group[b].ID) })
	each := max(FanOut, (len(rest)+count-1)/count)
	children := make([]int, count)
	for _, i := range rest {
		child := mix(hash(group[i].ID) ^ saltTree)
		best := -1
		var bestScore uint64
		for p, parent := range parents {
			if score := mix(child ^ parent); children[p] < each && (best < 0 || score > bestScore) {
				best, bestScore = p, score
			}
		}
		if group[i].ID == self {
			return group[ranked[best]].ID
		}
		children[best]++
	}
	return origin
}

// rank orders the edges of a group by how much the hash of the stream prefers them as parents, and puts draining ones last.
func rank(stream string, group []Edge) []int {
	seed := mix(hash(stream) ^ saltTree)
	costs := make([]uint64, len(group))
	order := make([]int, len(group))
	for i := range group {
		order[i], costs[i] = i, logCost(mix(seed^hash(group[i].ID)))
	}
	slices.SortFunc(order, func(a, b int) int {
		e, f := &group[a], &group[b]
		if e.Draining != f.Draining {
			if f.Draining {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(costs[a]*uint64(weigh(f.Weight)), costs[b]*uint64(weigh(e.Weight))), cmp.Compare(e.ID, f.ID))
	})
	return order
}
