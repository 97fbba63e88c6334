package roster

// How many entries that are no more are remembered.
const (
	copyGraves  = 1024
	indexGraves = 4096
	fullGraves  = 256 // the last ones, which a full Delta tells of
)

// graves remembers entries that are no more, the highest claim of each key, as many as limit: those noted first go first.
type graves struct {
	limit int
	of    map[Key]grave
	queue []turn // when each was noted; one whose number is not the grave's any more does not count
	next  uint64
}

type grave struct {
	was  Gone
	turn uint64
}

type turn struct {
	key    Key
	number uint64
}

func newGraves(limit int) graves { return graves{limit: limit, of: map[Key]grave{}} }

func (g *graves) add(was Gone) {
	old, known := g.of[was.Key]
	if known && old.was.Compare(was) >= 0 {
		return
	}
	g.next++
	g.of[was.Key] = grave{was, g.next}
	g.queue = append(g.queue, turn{was.Key, g.next})
	for len(g.of) > g.limit || len(g.queue) > 4*g.limit {
		first := g.queue[0]
		g.queue = g.queue[1:]
		if g.of[first.key].turn == first.number {
			delete(g.of, first.key)
		}
	}
}

func (g *graves) remove(key Key) { delete(g.of, key) }

func (g *graves) get(key Key) (was Gone, ok bool) {
	x, ok := g.of[key]
	return x.was, ok
}

func (g *graves) list() []Gone { return g.last(len(g.of)) }

// last gives those that were noted last, ordered by key.
func (g *graves) last(n int) []Gone {
	n = min(n, len(g.of))
	list := make([]Gone, 0, n)
	for i := len(g.queue) - 1; len(list) < n; i-- {
		if x := g.of[g.queue[i].key]; x.turn == g.queue[i].number {
			list = append(list, x.was)
		}
	}
	order(nil, list)
	return list
}
