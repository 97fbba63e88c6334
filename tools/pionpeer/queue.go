package pionpeer

import "sync"

// queue runs functions one at a time in the order they were posted. Posting never blocks. The peer's own engine posts a handful of
// events per negotiation, so it needs no bound.
type queue struct {
	mu     sync.Mutex // guards items and closed
	items  []func()
	closed bool
	wake   chan struct{} // holds one token when there may be something to do
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

func (q *queue) post(fn func()) {
	q.mu.Lock()
	if !q.closed {
		q.items = append(q.items, fn)
	}
	q.mu.Unlock()
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// close forgets what has not run yet; the function that runs may still be running.
func (q *queue) close() {
	q.mu.Lock()
	q.closed, q.items = true, nil
	q.mu.Unlock()
	q.signal()
}

func (q *queue) run() {
	for range q.wake {
		for {
			fn, closed := q.next()
			if closed {
				return
			}
			if fn == nil {
				break
			}
			fn()
		}
	}
}

func (q *queue) next() (fn func(), closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.items) == 0 {
		return nil, q.closed
	}
	fn = q.items[0]
	q.items = q.items[1:]
	return fn, false
}
