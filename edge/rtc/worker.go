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
}

// newWorker starts a worker. Its owner closes the writer.
func newWorker(outlet *peer.Outlet, now func() int64) *worker {
	return &worker{writer: sfu.NewWriter(now, outlet.Flush), outlet: outlet}
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
