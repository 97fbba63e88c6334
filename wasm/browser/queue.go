//go:build js && wasm

package browser

import "sync"

// queue runs functions one after the other on a goroutine of its own. Posting never waits, so JavaScript callbacks may post.
// It is unbounded, but what is posted is bounded by what one negotiation makes: candidates, tracks, states.
type queue struct {
	mu      sync.Mutex // guards pending and closed
	pending []func()
	closed  bool
	wake    chan struct{} // holds one token when something was posted
	ended   chan struct{} // closed when the goroutine has ended
}

func newQueue() *queue {
	q := &queue{wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go q.run()
	return q
}

func (q *queue) post(fn func()) {
	q.mu.Lock()
	if !q.closed {
		q.pending = append(q.pending, fn)
	}
	q.mu.Unlock()
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // a token is there already
	}
}

func (q *queue) run() {
	defer close(q.ended)
	for range q.wake {
		for {
			fn, open := q.take()
			if !open {
				return
			}
			if fn == nil {
				break
			}
			guard(fn)
		}
	}
}

// take removes the oldest function; nil when there is none.
func (q *queue) take() (fn func(), open bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.pending) == 0 {
		return nil, !q.closed
	}
	fn = q.pending[0]
	q.pending[0] = nil
	q.pending = q.pending[1:]
	return fn, true
}

// close drops what is left and waits until the function that runs now has returned. Safe twice.
func (q *queue) close() {
	q.mu.Lock()
	q.closed, q.pending = true, nil
	q.mu.Unlock()
	q.signal()
	<-q.ended
}
