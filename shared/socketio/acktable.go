package socketio

import (
	"sync"

	"portico/shared/jsonvalue"
)

// AckFunc takes the answer to a request: its arguments, or why there will be none. It is called at most once.
type AckFunc func(args []jsonvalue.Value, err error)

// AckTable remembers the requests of one connection that have not been answered. The zero AckTable is ready for use. Its
// methods may be called from any goroutine; functions are called without its lock, by the goroutine that ended their wait.
type AckTable struct {
	mu      sync.Mutex // guards what follows
	next    int64
	waiting map[int64]AckFunc
	failed  error
}

// Add keeps fn until its request is answered and returns the id to send the request with. After FailAll it calls fn with
// that error at once and returns NoID.
func (t *AckTable) Add(fn AckFunc) int64 {
	t.mu.Lock()
	if err := t.failed; err != nil {
		t.mu.Unlock()
		fn(nil, err)
		return NoID
	}
	id := t.next
	t.next++
	if t.waiting == nil {
		t.waiting = make(map[int64]AckFunc)
	}
	t.waiting[id] = fn
	t.mu.Unlock()
	return id
}

// Resolve answers request id. It reports false when that does not wait, which an ack of the other end may well claim.
func (t *AckTable) Resolve(id int64, args []jsonvalue.Value) bool {
	fn := t.take(id)
	if fn != nil {
		fn(args, nil)
	}
	return fn != nil
}

// Remove forgets request id without calling its function, and reports whether it was waiting.
func (t *AckTable) Remove(id int64) bool { return t.take(id) != nil }

func (t *AckTable) take(id int64) AckFunc {
	t.mu.Lock()
	defer t.mu.Unlock()
	fn := t.waiting[id]
	delete(t.waiting, id)
	return fn
}

// FailAll ends the wait of every request, present and future, with err, in no particular order. Only its first call counts.
func (t *AckTable) FailAll(err error) {
	t.mu.Lock()
	waiting := t.waiting
	t.waiting = nil
	if t.failed == nil {
		t.failed = err
	}
	t.mu.Unlock()
	for _, fn := range waiting {
		fn(nil, err)
	}
}

// Len is the number of requests that wait.
func (t *AckTable) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting)
}
