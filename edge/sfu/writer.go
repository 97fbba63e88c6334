package sfu

import (
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of what waits in a Writer. Time is bounded by maxAge.
const (
	videoQueue  = 384 // packets of one encoding; then the rest of the picture and no more
	audioQueue  = 64
	queueSlack  = 128 // for the rest of a picture
	maxControls = 512 // things asked of one Subscription
)

// runLength is how many packets of one encoding each Subscription handles in turn: few enough that all stay in the processor's
// cache while they go to one receiver after another.
const runLength = 32

// Writer is one goroutine that sends for Subscriptions: those of one transport, or many transports' where their sinks never
// block. Make it with NewWriter.
type Writer struct {
	clock func() int64
	flush func()
	wake  chan struct{} // one token: there is something to do
	done  chan struct{}
	delay atomic.Int64
	turn  sync.Mutex   // held by the goroutine that sends; see Wake
	took  atomic.Int64 // how long the last turn took

	mu       sync.Mutex // guards the fields below, and of each group those it says; held for a few instructions
	pending  bool       // something was queued since the last time all was taken
	ready    [kinds][]*group
	controls []control
	closed   bool

	// Only the goroutine that holds turn touches these.
	taken       [kinds][]*group
	takenOrders []control
	run         [runLength]slot
	single      slot // for what is sent again
}

// Sound goes before pictures: there is little of it, and it is missed first.
const (
	kindAudio = iota
	kindVideo
	kinds
)

// control is one thing asked of a Subscription.
type control struct {
	sub  *Subscription
	seq  uint16 // of a resend
	kind controlKind
}

type controlKind uint8

const (
	controlResend controlKind = iota
	controlStart              // begin, from the history if that is possible
	controlPad
)

// NewWriter starts a Writer. clock gives the present time. flush, if not nil, is called on the Writer's goroutine each time that
// it has done all that was queued. Its owner calls Close.
func NewWriter(clock func() int64, flush func()) *Writer {
	w := newWriter(clock)
	w.flush = flush
	go w.loop()
	return w
}

func newWriter(clock func() int64) *Writer {
	return &Writer{clock: clock, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// Delay is how long the packets sent last had waited: what an overloaded edge adds.
func (w *Writer) Delay() time.Duration { return time.Duration(w.delay.Load()) }

// push queues a packet for a group of Subscriptions; first says that a picture begins with it.
func (w *Writer) push(g *group, e entry, first bool, wake *Wake) {
	w.mu.Lock()
	n := len(g.queue)
	if w.closed || n > 0 && g.lost > 0 || n >= g.limit && first || n >= g.limit+queueSlack {
		g.lost++
		w.mu.Unlock()
		return
	}
	e.lost, g.lost = g.lost, 0
	g.queue = append(g.queue, e)
	anew := w.enter(g)
	w.mu.Unlock()
	if anew {
		wake.add(w)
	}
}

// enter makes a group one that has something to do. mu is held; the result goes to Wake.
func (w *Writer) enter(g *group) (anew bool) {
	if !g.entered {
		g.entered = true
		w.ready[g.kind] = append(w.ready[g.kind], g)
	}
	anew, w.pending = !w.pending, true
	return anew
}

// report lets the Subscriptions of a group send sender reports.
func (w *Writer) report(g *group) {
	w.mu.Lock()
	g.report = true
	anew := !w.closed && w.enter(g)
	w.mu.Unlock()
	if anew {
		w.signal()
	}
}

// order queues what is asked of one Subscription, which bounds it; false after Close.
func (w *Writer) order(c control) bool {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return false
	}
	w.controls = append(w.controls, c)
	anew := !w.pending
	w.pending = true
	w.mu.Unlock()
	if anew {
		w.signal()
	}
	return true
}

func (w *Writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *Writer) loop() {
	defer close(w.done)
	for range w.wake {
		w.turn.Lock()
		open := w.drain()
		w.turn.Unlock()
		if !open {
			return
		}
	}
}

// lightWork is how long a turn may have taken for the next one to be done by whoever brings the packets. What takes longer would
// keep it from reading, and what waits in its socket meanwhile has no age yet.
const lightWork = int64(time.Millisecond)

// help drains on the goroutine of the caller, or wakes the Writer's when there is much to do or that is at work.
func (w *Writer) help() {
	if w.took.Load() > lightWork || !w.turn.TryLock() {
		w.signal()
		return
	}
	w.drain()
	w.turn.Unlock()
}

// drain does all that is queued; false when the Writer is closed.
func (w *Writer) drain() bool {
	began := w.clock()
	defer func() { w.took.Store(w.clock() - began) }()
	for {
		some, closed := w.take()
		if closed || !some {
			return !closed
		}
		w.work(w.taken[kindAudio])
		for i := range w.takenOrders {
			c := &w.takenOrders[i]
			c.sub.obey(w, c)
			*c = control{}
		}
		w.work(w.taken[kindVideo])
		if w.flush != nil {
			w.flush()
		}
	}
}

// take takes over what is queued.
func (w *Writer) take() (some, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || !w.pending {
		return false, w.closed
	}
	w.pending = false
	w.controls, w.takenOrders = w.takenOrders[:0], w.controls
	for kind := range w.ready {
		w.ready[kind], w.taken[kind] = w.taken[kind][:0], w.ready[kind]
		for _, g := range w.taken[kind] {
			g.entered = false
			g.queue, g.taken = g.taken[:0], g.queue
			g.reportTaken, g.report = g.report, false
		}
	}
	return true, false
}

// work lets the Subscriptions of each group send what was taken.
func (w *Writer) work(groups []*group) {
	for i, g := range groups {
		for rest := g.taken; len(rest) > 0; {
			n := min(len(rest), runLength)
			w.load(g, rest[:n])
			w.forward(g, w.run[:n])
			rest = rest[n:]
		}
		if g.reportTaken {
			now := w.clock()
			for _, s := range *g.subs.Load() {
				s.sendReport(g.enc, now)
			}
		}
		groups[i] = nil
	}
}

// load copies a run from the history.
func (w *Writer) load(g *group, entries []entry) {
	for i, e := range entries {
		t := &w.run[i]
		t.entry = e
		t.load(g.enc)
	}
}

// forward lets each Subscription of the group send the run.
func (w *Writer) forward(g *group, run []slot) {
	now := w.clock()
	if run[0].ok {
		w.delay.Store(now - run[0].arrival)
	}
	for i, s := range *g.subs.Load() {
		if i%16 == 15 { // the time that the others took counts
			now = w.clock()
		}
		s.forward(g.enc, run, now)
	}
}

// Close throws away what is queued, and returns when the goroutine has ended. It is safe twice, not from within a Sink.
func (w *Writer) Close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.signal()
	<-w.done
	w.turn.Lock() // by now nobody sends for long
	w.turn.Unlock()
}

// Wake collects the Writers that have got something to do, so that each is woken once for many packets. The zero value is ready;
// it belongs to one goroutine. A nil one wakes at once.
type Wake struct {
	// Own, if set, is a Writer that Done does not wake: it does that one's work itself, unless that one is at it. Its owner
	// saves two switches of goroutines that way, which is much where there is little to send.
	Own     *Writer
	writers []*Writer
}

func (k *Wake) add(w *Writer) {
	if k == nil {
		w.signal()
		return
	}
	k.writers = append(k.writers, w)
}

// Done wakes the Writers.
func (k *Wake) Done() {
	own := false
	for i, w := range k.writers {
		if w == k.Own {
			own = true
		} else {
			w.signal()
		}
		k.writers[i] = nil
	}
	if own { // last, so that the others are at work meanwhile
		k.Own.help()
	}
	k.writers = k.writers[:0]
}
