package roster

import (
	"bytes"
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"portico/shared/placement"
)

// world is nodes that have parts in one room, with a network that loses, repeats, delays and reorders, all from one seed. Who is home is
// ordained; it may be another, or one on each side, at any time.
type world struct {
	rng   *rand.Rand
	now   time.Duration
	nodes []*node
	side  map[int]int // of a partition
	queue deliveries
	order int

	loss, repeat float64
	delay        time.Duration

	number  uint64 // highest epoch so far
	ids     int
	clients map[string]*client // of participants, while they are there
	top     map[Key]Gone       // the highest claim there ever was
	faults  []string
	bend    bend
}

// bend breaks a rule.
type bend struct {
	noHearsay bool                    // followers tell nothing of others
	apply     func(c *Copy, d *Delta) // what a Copy is told
	before    func(c *Copy, d *Delta) // the same, behind the back of the check of order
	announce  func(u *Update)
	noYield   bool
}

type client struct {
	at         int
	life       uint64
	generation uint64
}

type node struct {
	i          int
	id         string
	life       uint64
	up, paused bool
	obeys      placement.Epoch
	own        *Own
	copy       *Copy
	index      *Index
	linked     map[int]bool // leading: to whom there was a way at the last tick
	acked      uint64       // version the home is known to have
	full       bool         // the next Update is to be full
	hearsay    bool         // the next request has it
	seen       map[Key]*Entry
	value      int
	next       time.Duration
}

type delivery struct {
	at      time.Duration
	order   int
	to      int
	from    int
	life    uint64 // of the receiver; none of a request
	request *request
	reply   *reply
	do      func()
}

type request struct {
	epoch    placement.Epoch
	life     uint64
	position Position
	hearsay  *Hearsay
	update   Update
}

type reply struct {
	epoch       placement.Epoch
	delta       *Delta
	answer      Answer
	needHearsay bool
	version     uint64
}

type deliveries []delivery

func (d deliveries) Len() int { return len(d) }
func (d deliveries) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(d[i].at, d[j].at), cmp.Compare(d[i].order, d[j].order)) < 0
}
func (d deliveries) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *deliveries) Push(x any)   { *d = append(*d, x.(delivery)) }
func (d *deliveries) Pop() any {
	x := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return x
}

const tickEvery = 200 * time.Millisecond

func newWorld(seed uint64, count int, b bend) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 0x726f73)), bend: b, delay: 20 * time.Millisecond,
		side: map[int]int{}, clients: map[string]*client{}, top: map[Key]Gone{},
	}
	for i := range count {
		n := &node{i: i, id: fmt.Sprint("edge-", i)}
		w.nodes = append(w.nodes, n)
		w.start(n)
	}
	w.elect(w.nodes[0])
	w.run(w.now + time.Second)
	return w
}

func (w *world) start(n *node) {
	n.life++
	n.up, n.paused, n.obeys, n.index = true, false, placement.Epoch{}, nil
	n.own, n.copy, n.seen = NewOwn(n.id, n.life), NewCopy(), map[Key]*Entry{}
	n.next = w.now + w.random(tickEvery)
}

func (w *world) random(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.rng.Int64N(int64(d)))
}

func (w *world) fault(format string, args ...any) {
	if len(w.faults) < 10 {
		w.faults = append(w.faults, fmt.Sprintf("%v: ", w.now)+fmt.Sprintf(format, args...))
	}
}

func (w *world) connected(a, b *node) bool {
	return a == b || a.up && b.up && !a.paused && !b.paused && w.side[a.i] == w.side[b.i]
}

func (w *world) push(d delivery) {
	w.order++
	d.order = w.order
	heap.Push(&w.queue, d)
}

func (w *world) send(from, to *node, d delivery) {
	if w.side[from.i] != w.side[to.i] || w.rng.Float64() < w.loss {
		return
	}
	d.from, d.to, d.at = from.i, to.i, w.now+time.Millisecond+w.random(w.delay)
	w.push(d)
	if w.rng.Float64() < w.repeat {
		d.at += w.random(10 * w.delay)
		w.push(d)
	}
}

// run lets time pass until end.
func (w *world) run(end time.Duration) {
	for {
		at, who := end, -1
		for _, n := range w.nodes {
			if n.up && !n.paused && n.next < at {
				at, who = n.next, n.i
			}
		}
		if len(w.queue) > 0 && w.queue[0].at <= at {
			d := heap.Pop(&w.queue).(delivery)
			w.now = max(w.now, d.at)
			w.deliver(d)
			continue
		}
		if w.now = max(w.now, at); who < 0 {
			return
		}
		w.nodes[who].next += tickEvery
		w.tick(w.nodes[who])
	}
}

func (w *world) deliver(d delivery) {
	n := w.nodes[d.to]
	switch {
	case d.do != nil:
		d.do()
	case !w.connected(n, w.nodes[d.from]): // with its link, what was on its way is gone
	case d.request != nil:
		w.serve(n, w.nodes[d.from], d.request)
	case d.reply != nil && d.life == n.life && (d.reply.epoch == n.obeys || w.bend.before != nil):
		w.learn(n, d.reply)
	}
}

// elect makes a node home of its side. The others there follow within a second.
func (w *world) elect(home *node) {
	w.number++
	epoch := placement.Epoch{Number: w.number, Home: placement.Name{ID: home.id, Boot: home.life}}
	old := home.index
	home.obeys = epoch
	home.index = NewIndex(epoch, Config{}, w.now)
	home.linked = map[int]bool{}
	if old != nil {
		home.index.Hearsay(old.Known(), w.now)
	}
	home.index.Hearsay(home.copy.Hearsay(), w.now)
	w.local(home, home.own.Full())
	w.gather(home)
}

// gather has those who can hear a home follow it, if theirs is lower.
func (w *world) gather(home *node) {
	for _, n := range w.nodes {
		if n == home || !w.connected(n, home) {
			continue
		}
		life, epoch := n.life, home.obeys
		w.push(delivery{at: w.now + w.random(500*time.Millisecond), to: n.i, do: func() {
			if n.life != life || !n.up || n.paused || !w.connected(n, home) || n.obeys.Compare(epoch) >= 0 || home.obeys != epoch {
				return
			}
			n.obeys, n.index, n.full, n.acked = epoch, nil, true, 0
			n.hearsay = w.rng.IntN(2) == 0 // unasked, or when the home asks for it
		}})
	}
}

// local is the home's own part.
func (w *world) local(n *node, u Update) {
	answer, err := n.index.Announce(u, w.now)
	if err != nil {
		w.fault("%s: its own update: %v", n.id, err)
	}
	n.acked = u.To
	w.yield(n, answer.Outdone)
	w.spread(n)
}

// spread has the home's own Copy keep up.
func (w *world) spread(n *node) {
	at := n.copy.Position()
	d := n.index.Since(at.Seq)
	if at.Epoch != n.index.Epoch() {
		d = n.index.Full()
	}
	w.apply(n, d)
}

func (w *world) tick(n *node) {
	w.look(n)
	if n.index == nil {
		w.ask(n)
		return
	}
	for _, m := range w.nodes {
		is := w.connected(n, m)
		if n.linked[m.i] && !is {
			n.index.Lost(m.id, w.now)
		}
		n.linked[m.i] = is
	}
	for _, h := range n.index.Absent() {
		m := w.nodes[slices.IndexFunc(w.nodes, func(m *node) bool { return m.id == h.Owner })]
		if w.connected(n, m) {
			n.index.Back(m.id, m.life, w.now)
		} else {
			n.index.Lost(m.id, w.now)
		}
	}
	n.index.Expire(w.now)
	w.local(n, n.own.Since(n.acked))
}

// look has a node find a higher home, or another when there is no way to its own.
func (w *world) look(n *node) {
	var best *node
	for _, m := range w.nodes {
		if m.index != nil && w.connected(n, m) && (best == nil || m.obeys.Compare(best.obeys) > 0) {
			best = m
		}
	}
	switch {
	case w.rng.IntN(4) > 0:
	case best == nil:
		w.elect(n)
	case best.obeys.Compare(n.obeys) > 0:
		w.gather(best)
	case best.obeys.Compare(n.obeys) < 0:
		w.elect(best) // it has to go above what this one obeyed
	}
}

// ask is a follower's turn.
func (w *world) ask(n *node) {
	if n.obeys.Zero() {
		return
	}
	home := w.nodes[slices.IndexFunc(w.nodes, func(m *node) bool { return m.id == n.obeys.Home.ID })]
	r := request{epoch: n.obeys, life: n.life, position: n.copy.Position(), update: n.own.Since(n.acked)}
	if n.full || w.rng.IntN(50) == 0 {
		r.update = n.own.Full()
	}
	if n.hearsay && !w.bend.noHearsay {
		h := n.copy.Hearsay()
		r.hearsay = &h
	}
	if w.bend.announce != nil {
		w.bend.announce(&r.update)
	}
	w.send(n, home, delivery{request: &r})
}

// serve is the home's answer.
func (w *world) serve(home, from *node, r *request) {
	x := home.index
	if x == nil || x.Epoch() != r.epoch {
		return
	}
	if r.hearsay != nil {
		x.Hearsay(*r.hearsay, w.now)
	}
	out := reply{epoch: r.epoch, version: r.update.To}
	if !x.Knows(r.position) && !w.bend.noHearsay {
		out.needHearsay = true
	} else {
		var err error
		if out.answer, err = x.Announce(r.update, w.now); err == ErrStale {
			return
		} else if err != nil {
			w.fault("%s: update of %s: %v", home.id, from.id, err)
		}
		if !out.answer.NeedFull {
			d := x.Since(r.position.Seq)
			if r.position.Epoch != r.epoch {
				d = x.Full()
			}
			out.delta = &d
		}
	}
	w.send(home, from, delivery{life: r.life, reply: &out})
	w.spread(home)
}

func (w *world) learn(n *node, r *reply) {
	switch {
	case r.needHearsay:
		n.hearsay = true
		return
	case r.answer.NeedFull:
		n.full = true
		return
	}
	n.full, n.acked = false, max(n.acked, r.version)
	w.yield(n, r.answer.Outdone)
	w.apply(n, *r.delta)
}

func (w *world) yield(n *node, standing []Gone) {
	if !w.bend.noYield {
		for _, g := range standing {
			n.own.Yield(g)
		}
	}
}

// apply takes a Delta, and checks that its changes are the exact differences, and that nobody leaves who has not.
func (w *world) apply(n *node, d Delta) {
	if w.bend.apply != nil {
		w.bend.apply(n.copy, &d)
	}
	before := n.copy.Position()
	if w.bend.before != nil {
		w.bend.before(n.copy, &d)
	}
	changes, gap := n.copy.Apply(d)
	after := n.copy.Position()
	if order := after.Epoch.Compare(before.Epoch); order < 0 || order == 0 && after.Seq < before.Seq {
		w.fault("order: %s goes from %v to %v", n.id, before, after)
	}
	if gap && len(changes) > 0 {
		w.fault("difference: changes behind a gap")
	}
	for _, c := range changes {
		was := n.seen[c.key()]
		right := (was == nil) == (c.Was == nil) && (was == nil || same(was, c.Was))
		if !right || c.Was == nil && c.Now == nil || c.Was != nil && c.Now != nil && same(c.Was, c.Now) {
			w.fault("difference: %s has %+v and is told %+v", n.id, was, c)
		}
		if c.Now == nil {
			delete(n.seen, c.key())
			w.justify(n, c.Was)
			continue
		}
		n.seen[c.key()] = c.Now
	}
	if !w.bend.noYield {
		n.own.Outdone(&d)
	}
}

// justify checks that an entry which was removed is so: its owner has it no more, or did not know that another has had it since.
func (w *world) justify(n *node, was *Entry) {
	owner := w.nodes[slices.IndexFunc(w.nodes, func(m *node) bool { return m.id == was.Owner })]
	if e, ok := owner.own.Get(was.Key); ok && owner.up && e.Gone() == was.Gone() && w.top[was.Key] == was.Gone() {
		w.fault("left: %s is told that %s left, which %s has", n.id, was.ID, owner.id)
	}
}

// settled is empty when all Copies are as the home's Index, which is what owners have and, unless alone, what lost ones had.
func (w *world) settled(alone bool) string {
	var home *node
	union := map[Key]Entry{}
	for _, n := range w.nodes {
		if n.up && n.index != nil {
			if home != nil {
				return fmt.Sprintf("%s and %s are home", home.id, n.id)
			}
			home = n
		}
		if !n.up {
			continue
		}
		for _, e := range n.own.Entries() {
			if other, ok := union[e.Key]; ok {
				return fmt.Sprintf("%s and %s have %s", other.Owner, n.id, e.ID)
			}
			union[e.Key] = e
		}
	}
	if home == nil {
		return "no home"
	}
	for _, h := range home.index.Absent() {
		if alone {
			return h.Owner + " is still remembered"
		}
		for key := range home.index.owners[h.Owner].lives[h.Life].keys {
			e, _ := home.index.Get(key)
			if other, ok := union[key]; ok {
				return fmt.Sprintf("%s has %s, which %s had", other.Owner, e.ID, e.Owner)
			}
			union[key] = e
		}
	}
	for _, n := range w.nodes {
		if !n.up {
			continue
		}
		if n.copy.Position() != (Position{home.index.Epoch(), home.index.Seq()}) {
			return fmt.Sprintf("%s is at %v, the home at %d", n.id, n.copy.Position(), home.index.Seq())
		}
		if n.copy.Len() != len(union) || len(n.seen) != len(union) {
			for _, e := range n.copy.Entries() {
				if _, ok := union[e.Key]; !ok {
					return fmt.Sprintf("%s has %s of %s, life %d, which nobody has", n.id, e.ID, e.Owner, e.Life)
				}
			}
			return fmt.Sprintf("%s has %d entries, all together %d", n.id, n.copy.Len(), len(union))
		}
		for _, e := range n.copy.Entries() {
			if u := union[e.Key]; e.Gone() != u.Gone() || !bytes.Equal(e.Value, u.Value) || !same(&e, n.seen[e.Key]) {
				return fmt.Sprintf("%s has %+v instead of %+v", n.id, e, u)
			}
		}
	}
	return ""
}
