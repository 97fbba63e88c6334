package cluster

import "time"

// coarsen turns a measured load, 0 idle to 1 full, into 0 to MaxLoad. It leaves the level it is at only when the measure is well past
// its border: a load that trembles is told once.
func coarsen(level int, load float64) int {
	const margin = 0.35 // of a level
	at := min(max(load, 0), 1) * MaxLoad
	if !(at == at) { // not a number
		return level
	}
	if d := at - float64(level); d > 0.5+margin || d < -0.5-margin {
		return int(at + 0.5)
	}
	return level
}

// perSecond is how many changes of load the whole cluster may tell in a second.
const perSecond = 3

// Least times between two changes of a node's own description.
const (
	leastLoad  = 2 * time.Second
	leastState = 100 * time.Millisecond
)

// pace says how long a node waits after its last change before it tells another: so long that nodes which all do so make perSecond
// changes together, less for a load that jumps by several levels; a change of anything else goes out at once.
func pace(nodes, jump int, other bool) time.Duration {
	if other {
		return leastState
	}
	share := time.Duration(nodes) * time.Second / perSecond
	return max(leastLoad, share/time.Duration(max(jump, 1)))
}
