package rtc

import (
	"portico/edge/peer"
	"portico/edge/sfu"
)

// worker is one goroutine that sends for many transports, each of which belongs to one worker: there is one for each socket, and so
// for each processor. What it sends at a time goes out together.
type worker struct {
	writer     *sfu.Writer
	outlet     *peer.Outlet // of the writer's goroutine
	transports int          // that belong to it; the Engine's mu guards it

	clock func() int64 // and what it showed last, for the writer's goroutine
	time  int64
	reads int
}

// clockReads is how many packets go by one look at the clock.
const clockReads = 16

// now is the time, to a few packets' time.
func (w *worker) now() int64 {
	if w.reads == 0 {
		w.time = w.clock()
	}
	w.reads = (w.reads + 1) % clockReads
	return w.time
}

// flush ends a batch.
func (w *worker) flush() {
	w.outlet.Flush()
	w.reads = 0
}

// newWorker starts a worker. Its owner closes the writer.
func newWorker(outlet *peer.Outlet, now func() int64) *worker {
	w := &worker{outlet: outlet, clock: now}
	w.writer = sfu.NewWriter(now, w.flush)
	return w
}

// leastBusy is the worker for a new transport. mu is held.
func (e *Engine) leastBusy() *worker {
	least := e.workers[0]
	for _, w := range e.workers[1:] {
		if w.transports < least.transports {
			least = w
		}
	}
	return least
}
