package placement

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"
)

// world is some nodes with a network that loses, repeats, delays and reorders, all from one seed. It checks after every event what has
// to hold always.
type world struct {
	rng   *rand.Rand
	now   time.Duration
	nodes []*node
	cut   map[[2]int]bool // from, to
	queue deliveries
	order int

	loss, repeat float64
	delay        time.Duration // the longest
	lag          time.Duration // the longest until a view tells of a change

	ledBy  map[Epoch]string
	leads  int // Lead effects so far
	faults []string
	bend   bend
}

// bend breaks a rule: it changes or drops what a node is told, or changes what comes of it.
type bend struct {
	event   func(w *world, n *node, e Event) (Event, bool)
	effect  func(w *world, n *node, e Effect) Effect
	command func(n *node, e Epoch) Epoch
	name    func(i int) Name
	forget  func(w *world, n *node) bool // makes the node's Seat anew within one life
}

type node struct {
	i            int
	name         Name
	region       string
	seat         *Seat
	up, paused   bool
	want, drains bool
	nextTick     time.Duration
	highest      Epoch // obeyed or led in this life
	leading      Epoch // by effects
	held         []delivery
}

type delivery struct {
	at    time.Duration
	order int
	to    int
	life  uint64 // boot of the receiver, for its own events; 0: a message
	event Event
	look  bool // a View
	from  Name
	cmd   Epoch
}

type deliveries []delivery

func (d deliveries) Len() int { return len(d) }
func (d deliveries) Less(i, j int) bool {
	return d[i].at < d[j].at || d[i].at == d[j].at && d[i].order < d[j].order
}
func (d deliveries) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *deliveries) Push(x any)   { *d = append(*d, x.(delivery)) }
func (d *deliveries) Pop() any {
	x := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return x
}

const (
	tickEvery = 100 * time.Millisecond
	theRoom   = "room"
)

func newWorld(seed uint64, count int, b bend) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 0x706f7274)), cut: map[[2]int]bool{}, ledBy: map[Epoch]string{}, bend: b,
		delay: 20 * time.Millisecond, lag: time.Second,
	}
	for i := range count {
		n := &node{i: i, name: Name{ID: fmt.Sprint("edge-", i), Boot: 1}, region: []string{"east", "west"}[i%2]}
		if b.name != nil {
			n.name = b.name(i)
		}
		w.nodes = append(w.nodes, n)
		w.start(n)
	}
	w.tellViews(0)
	return w
}

func (w *world) start(n *node) {
	n.up, n.paused, n.drains = true, false, false
	n.highest, n.leading, n.held = Epoch{}, Epoch{}, nil
	n.seat = NewSeat(Config{Room: theRoom, Region: "east", Self: n.name})
	n.nextTick = w.now + time.Duration(w.rng.Int64N(int64(tickEvery)))
}

func (w *world) fault(format string, args ...any) {
	if len(w.faults) < 10 {
		w.faults = append(w.faults, fmt.Sprintf("%v: ", w.now)+fmt.Sprintf(format, args...))
	}
}

func (w *world) connected(a, b *node) bool {
	return a == b || a.up && b.up && !a.paused && !b.paused && !w.cut[[2]int{a.i, b.i}] && !w.cut[[2]int{b.i, a.i}]
}

// view is what gossip will say to n in the end.
func (w *world) view(n *node) []Edge {
	var list []Edge
	for _, m := range w.nodes {
		if m == n || w.connected(n, m) {
			list = append(list, Edge{ID: m.name.ID, Boot: m.name.Boot, Region: m.region, Weight: 1 + m.i, Draining: m.drains})
		}
	}
	return list
}

// tellViews has every node learn of the present state within lag.
func (w *world) tellViews(lag time.Duration) {
	for _, n := range w.nodes {
		if n.up {
			w.push(delivery{at: w.now + w.random(lag), to: n.i, life: n.name.Boot, look: true})
		}
	}
}

func (w *world) random(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.rng.Int64N(int64(d)))
}

func (w *world) push(d delivery) {
	w.order++
	d.order = w.order
	heap.Push(&w.queue, d)
}

func (w *world) transmit(from *node, to string, d delivery) {
	for _, m := range w.nodes {
		if m.name.ID != to || w.cut[[2]int{from.i, m.i}] || w.rng.Float64() < w.loss {
			continue
		}
		d.to, d.from = m.i, from.name
		d.at = w.now + time.Millisecond + w.random(w.delay)
		w.push(d)
		if w.rng.Float64() < w.repeat {
			d.at += w.random(10 * w.delay)
			w.push(d)
		}
	}
}

// run lets time pass until end.
func (w *world) run(end time.Duration) {
	for {
		at, who := end, -1
		for _, n := range w.nodes {
			if n.up && !n.paused && n.nextTick < at {
				at, who = n.nextTick, n.i
			}
		}
		if len(w.queue) > 0 && w.queue[0].at <= at {
			d := heap.Pop(&w.queue).(delivery)
			w.now = max(w.now, d.at)
			w.deliver(d)
			continue
		}
		w.now = max(w.now, at)
		if who < 0 {
			return
		}
		n := w.nodes[who]
		n.nextTick += tickEvery
		w.handle(n, Tick{})
		if n.leading != (Epoch{}) && w.rng.IntN(4) == 0 {
			for _, m := range w.nodes {
				if m != n {
					w.transmit(n, m.name.ID, delivery{cmd: n.leading})
				}
			}
		}
	}
}

func (w *world) deliver(d delivery) {
	n := w.nodes[d.to]
	switch {
	case !n.up, d.life != 0 && d.life != n.name.Boot:
	case n.paused:
		n.held = append(n.held, d)
	case d.cmd != Epoch{}:
		w.command(n, d)
	case d.look:
		w.handle(n, View{Edges: w.view(n)}) // as it is by now: views do not overtake each other
	case d.event != nil:
		w.handle(n, d.event)
	}
}

func (w *world) command(n *node, d delivery) {
	epoch := d.cmd
	if w.bend.command != nil {
		epoch = w.bend.command(n, epoch)
	}
	ok, effects := n.seat.Command(d.from, epoch, w.now)
	w.carryOut(n, effects)
	if ok {
		w.obeys(n, d.cmd)
	}
}

func (w *world) handle(n *node, e Event) {
	if w.bend.forget != nil && w.bend.forget(w, n) {
		n.seat = NewSeat(Config{Room: theRoom, Region: "east", Self: n.name})
		n.leading = Epoch{}
		w.carryOut(n, n.seat.Handle(View{Edges: w.view(n)}, w.now))
		w.carryOut(n, n.seat.Handle(Want{On: n.want}, w.now))
	}
	if w.bend.event != nil {
		var ok bool
		if e, ok = w.bend.event(w, n, e); !ok {
			return
		}
	}
	w.carryOut(n, n.seat.Handle(e, w.now))
}

func (w *world) obeys(n *node, e Epoch) {
	if e.Compare(n.highest) < 0 {
		w.fault("monotone: %s obeys %v after %v", n.name.ID, e, n.highest)
	}
	n.highest = e
}

func (w *world) carryOut(n *node, effects []Effect) {
	for _, e := range effects {
		if w.bend.effect != nil {
			e = w.bend.effect(w, n, e)
		}
		switch e := e.(type) {
		case Send:
			w.transmit(n, e.To, delivery{event: Received{From: n.name, Message: e.Message}})
		case Lead:
			who := fmt.Sprint(n.i, " in life ", n.name.Boot)
			if other, ok := w.ledBy[e.Epoch]; ok {
				w.fault("unique: node %s leads %v as node %s has", who, e.Epoch, other)
			}
			w.ledBy[e.Epoch] = who
			w.leads++
			w.obeys(n, e.Epoch)
			n.leading = e.Epoch
		case Obey:
			if n.leading != (Epoch{}) {
				w.fault("order: %s obeys %v and leads %v", n.name.ID, e.Epoch, n.leading)
			}
			w.obeys(n, e.Epoch)
		case Resign:
			if n.leading != e.From {
				w.fault("order: %s resigns from %v and leads %v", n.name.ID, e.From, n.leading)
			}
			n.leading = Epoch{}
		case Orphan:
			n.leading = Epoch{}
		}
	}
}

// agreed is empty when all that want the room, in one connected part, obey one epoch and only its home leads.
func (w *world) agreed() string {
	var epoch Epoch
	leaders := 0
	for _, n := range w.nodes {
		if !n.up {
			continue
		}
		e, leads := n.seat.Epoch()
		if leads {
			leaders++
			if e.Home != n.name || e != n.leading {
				return fmt.Sprintf("%s leads %v", n.name.ID, e)
			}
		}
		if !n.want && !leads {
			continue
		}
		if e.Zero() {
			return n.name.ID + " has no home"
		}
		if epoch.Zero() {
			epoch = e
		}
		if e != epoch {
			return fmt.Sprintf("%s is at %v, others at %v", n.name.ID, e, epoch)
		}
	}
	if leaders != 1 {
		return fmt.Sprint(leaders, " nodes lead")
	}
	return ""
}

func (w *world) setWant(n *node, on bool) {
	n.want = on
	w.carryOut(n, n.seat.Handle(Want{On: on}, w.now))
}

// upset does one thing at random.
func (w *world) upset() {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	switch w.rng.IntN(10) {
	case 0: // a partition by random sides
		side := w.rng.Uint64()
		for a := range w.nodes {
			for b := range w.nodes {
				if side>>a&1 != side>>b&1 {
					w.cut[[2]int{a, b}] = true
				}
			}
		}
	case 1: // one way only
		w.cut[[2]int{n.i, w.rng.IntN(len(w.nodes))}] = true
	case 2, 3:
		clear(w.cut)
	case 4: // kill and start again
		if n.up = !n.up; n.up {
			n.name.Boot++
			w.start(n)
			w.carryOut(n, n.seat.Handle(View{Edges: w.view(n)}, w.now))
			w.carryOut(n, n.seat.Handle(Want{On: n.want}, w.now))
		}
	case 5:
		w.pause(n, !n.paused)
	case 6:
		if n.up && !n.paused {
			n.drains = !n.drains
			w.carryOut(n, n.seat.Handle(Drain{On: n.drains}, w.now))
		}
	case 7:
		if n.up && !n.paused {
			w.setWant(n, !n.want)
		}
	case 8: // links notice before gossip
		for _, m := range w.nodes {
			if m != n && n.up && !n.paused && !w.connected(n, m) {
				w.carryOut(n, n.seat.Handle(Lost{ID: m.name.ID}, w.now))
			}
		}
		return
	case 9:
		w.loss, w.repeat = w.rng.Float64()/3, w.rng.Float64()/4
		w.delay = time.Duration(w.rng.Int64N(int64(400*time.Millisecond)) + 1)
		return
	}
	w.tellViews(w.lag + w.random(time.Second))
}

func (w *world) pause(n *node, on bool) {
	if !n.up || n.paused == on {
		return
	}
	n.paused = on
	if !on {
		held := n.held
		n.held = nil
		n.nextTick = w.now
		for _, d := range held {
			w.deliver(d)
		}
	}
}

// heal ends all trouble.
func (w *world) heal() {
	clear(w.cut)
	w.loss, w.repeat, w.delay = 0, 0, 50*time.Millisecond
	any := false
	for _, n := range w.nodes {
		w.pause(n, false)
		any = any || n.up && n.want
	}
	if !any {
		n := w.nodes[0]
		if !n.up {
			n.name.Boot++
			w.start(n)
			w.carryOut(n, n.seat.Handle(View{Edges: w.view(n)}, w.now))
		}
		w.setWant(n, true)
	}
	w.tellViews(w.lag)
	for _, n := range w.nodes {
		for _, m := range w.nodes {
			if n.up && m.up && m != n {
				w.push(delivery{at: w.now + w.random(w.lag), to: n.i, life: n.name.Boot, event: Healed{ID: m.name.ID}})
			}
		}
	}
}

// storm is a minute of trouble, then quiet; it gives how long agreement took, or the faults.
func storm(seed uint64, b bend) (took time.Duration, faults []string) {
	w := newWorld(seed, 3+int(seed%5), b)
	for _, n := range w.nodes {
		if w.rng.IntN(3) > 0 {
			w.setWant(n, true)
		}
	}
	for w.now < time.Minute {
		w.run(w.now + w.random(3*time.Second))
		w.upset()
	}
	w.heal()
	healed := w.now
	// The last thing that was wrong after healing.
	for w.now < healed+20*time.Second {
		w.run(w.now + tickEvery)
		if w.agreed() != "" {
			took = w.now - healed
		}
	}
	if wrong := w.agreed(); wrong != "" {
		w.fault("agreement: %s", wrong)
	}
	return took, w.faults
}
