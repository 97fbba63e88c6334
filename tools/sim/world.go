package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"portico/edge/mesh/directory"
	"portico/shared/placement"
)

// config is what a run is made of.
type config struct {
	seed         uint64
	edges        int
	regions      int
	rooms        int
	participants int
	counted      int  // participants that are only counted, in cohorts
	rounds       int  // of trouble and quiet
	every        bool // a round has every kind of trouble
	log          io.Writer
	bend         bend
}

// Times of the simulated cluster.
const (
	quiet     = 5 * time.Second        // after which rooms agree and rosters are equal
	told      = time.Second            // until a home has heard of what was done on an edge
	lookAgain = 200 * time.Millisecond // until an invariant is looked at again
	seatTime  = 15 * time.Second       // within which a participant has a place again
	grace     = time.Minute            // that entries of a lost edge stay
	arrival   = 10 * time.Second       // of all participants, at the beginning
	memory    = time.Minute            // that a room without use is remembered
)

// world is a cluster. All that happens in it happens in one order, and everything random comes from one seed.
type world struct {
	cfg   config
	bend  bend
	rng   *rand.Rand
	now   time.Duration
	queue queue
	order uint64
	count int // of events

	nodes   []*node
	byName  map[string]*node
	side    []int         // of each region, in a partition
	parted  time.Duration // since when there is one; 0: there is none
	oneWay  map[[2]int]bool
	regions map[[2]int]bool // from region to region nothing goes
	slow    time.Duration   // more on every way between regions
	lossy   float64
	pairs   map[[2]int]*pair
	linked  []*pair // in the order of their making

	rooms   []*room
	clients []*client
	cohorts []*cohort
	groups  []*group
	store   store
	gossip  gossip

	troubled time.Duration    // when something last failed or was mended
	revived  time.Duration    // when a node last started again
	noticed  time.Duration    // when all had heard last that gossip had lost a node
	missed   int              // nodes that have gone, which gossip has not noticed yet
	scarce   [2]time.Duration // when a side last had too few places for all
	failing  int              // what fails at the moment
	check    checker
	stats    stats
	faults   []string
}

// stats is what a run tells of itself.
type stats struct {
	logins, resumes, relogins int // the last on the edge that had them
	refusals                  int // by edges that drain or are full
	replays, unknown          int // tickets that were refused
	strays, stranded          int // tickets taken, and clients left, on an edge that a participant has been taken from
	moved, leads, changes     int
	stale                     int // commands refused

	slowest time.Duration // until a participant had a place again
	agreed  time.Duration // until a room agreed

	// What went wrong; cuts are of one way between two edges or regions.
	kills, pauses, cuts, regionCuts, partitions, drains, skews, restarts, slowStores, badLines int
}

// add sums up, and takes the slowest.
func (s *stats) add(t *stats) {
	for _, n := range []struct {
		sum  *int
		more int
	}{
		{&s.logins, t.logins}, {&s.resumes, t.resumes}, {&s.relogins, t.relogins}, {&s.refusals, t.refusals}, {&s.replays, t.replays},
		{&s.unknown, t.unknown}, {&s.moved, t.moved}, {&s.leads, t.leads}, {&s.changes, t.changes}, {&s.stale, t.stale},
		{&s.strays, t.strays}, {&s.stranded, t.stranded}, {&s.kills, t.kills}, {&s.pauses, t.pauses}, {&s.cuts, t.cuts},
		{&s.regionCuts, t.regionCuts}, {&s.partitions, t.partitions}, {&s.drains, t.drains}, {&s.skews, t.skews},
		{&s.restarts, t.restarts}, {&s.slowStores, t.slowStores}, {&s.badLines, t.badLines},
	} {
		*n.sum += n.more
	}
	s.slowest, s.agreed = max(s.slowest, t.slowest), max(s.agreed, t.agreed)
}

// event is something that happens. One of a node happens in that life of it, and not while it is stopped.
type event struct {
	at    time.Duration
	order uint64
	node  *node
	life  uint64
	do    func()
}

// queue is a heap of events.
type queue []event

func (q queue) less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}

func (q *queue) push(e event) {
	*q = append(*q, e)
	h := *q
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.less(i, up) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (q *queue) pop() event {
	h := *q
	first := h[0]
	n := len(h) - 1
	h[0] = h[n]
	h[n] = event{}
	h = h[:n]
	*q = h
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < n; child++ {
			if h.less(child, least) {
				least = child
			}
		}
		if least == i {
			return first
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// at has something happen after a while.
func (w *world) at(after time.Duration, do func()) { w.on(nil, after, do) }

// on has something happen on a node, if it is in the same life then.
func (w *world) on(n *node, after time.Duration, do func()) {
	w.order++
	e := event{at: w.now + max(after, 0), order: w.order, node: n, do: do}
	if n != nil {
		e.life = n.name.Boot
	}
	w.queue.push(e)
}

// run lets time pass until end.
func (w *world) run(end time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= end {
		e := w.queue.pop()
		w.now = e.at
		w.happen(e)
	}
	w.now = end
}

func (w *world) happen(e event) {
	w.count++
	if n := e.node; n != nil {
		switch {
		case !n.up || n.name.Boot != e.life:
			return
		case n.paused:
			n.held = append(n.held, e)
			return
		}
	}
	e.do()
	w.check.afterEvent(w)
}

func (w *world) random(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.rng.Int64N(int64(d)))
}

func (w *world) between(low, high time.Duration) time.Duration { return low + w.random(high-low) }

func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// trouble notes that something has failed or was mended just now.
func (w *world) trouble() { w.troubled = w.now }

// calm tells that nothing has failed for d, and nothing fails.
func (w *world) calm(d time.Duration) bool { return w.failing == 0 && w.now-w.troubled >= d }

// maxFaults bounds what is told of one run.
const maxFaults = 12

func (w *world) fault(kind, format string, args ...any) {
	text := fmt.Sprintf("%.3fs %s: ", w.now.Seconds(), kind) + fmt.Sprintf(format, args...)
	if len(w.faults) < maxFaults {
		w.faults = append(w.faults, text)
	}
	w.logf("FAULT %s", text)
}

func (w *world) logf(format string, args ...any) {
	if w.cfg.log != nil {
		fmt.Fprintf(w.cfg.log, "%10.3f  "+format+"\n", append([]any{w.now.Seconds()}, args...)...)
	}
}

// room is what the world knows of a room: more than any node does.
type room struct {
	i     int
	name  string
	parts []*part // of all nodes that know of it, in their present lives

	changed   time.Duration // when an owner last changed something
	checking  bool
	disagreed time.Duration // since when its nodes disagree; -1: they agree
	dirty     bool
	top       map[keyOf]mark // the highest claim there ever was of each key
	removed   map[keyOf]mark // by their owners
	admitted  map[string]map[uint64]*admittance
	holders   map[string]*admittance // the last to take a participant over
	spoken    map[spoken]uint64      // the sequence that was last told to a follower
}

func (w *world) roomNamed(name string) *room {
	var i int
	if _, err := fmt.Sscanf(name, "room-%d", &i); err != nil || i >= len(w.rooms) {
		return nil
	}
	return w.rooms[i]
}

// bend breaks a rule, so that it shows whether the invariant behind it is looked after.
type bend struct {
	seatLost func(w *world, from, to *node) bool                          // messages of seats get lost
	effect   func(w *world, p *part, e directory.Effect) directory.Effect // what becomes of what a core asks for
	name     func(w *world, n *node) placement.Name                       // under which a node speaks
	grace    time.Duration                                                // another one

	noRetry     bool // a client whose edge is gone tries one other, and no more
	noHome      bool // an edge takes whoever has a ticket, without asking the home
	noRenew     bool // a ticket that was exchanged on its own edge is good on another one still
	hasty       bool // an edge takes those it knows without waiting for the home's word
	punctual    bool // tickets of edges whose clocks are ahead are refused
	noSingleUse bool // homes forget which tokens were used
	noMove      bool // clients are not told that their edge drains
	noDrain     bool // rooms are not told that their edge drains
	trembling   bool // every change of load is told at once
	obeyStale   bool // commands of any epoch are carried out
	oldDeltas   bool // homes say again what they have said before
	blind       bool // clients are sent anywhere, whatever the load, and nobody is refused by it
	bootByClock bool // a node's boot is its clock's word alone, which goes back
}
