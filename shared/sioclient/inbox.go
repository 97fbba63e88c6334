package sioclient

import "sync"

// inbox holds the calls that wait for the application. Its lock is a leaf.
type inbox struct {
	mu      sync.Mutex // guards what follows
	changed sync.Cond
	calls   []func()
	last    func() // comes when the inbox is closed and calls is empty
	closed  bool
}

func (b *inbox) init() { b.changed.L = &b.mu }

// put adds a call, or reports that the last one has been taken.
func (b *inbox) put(call func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed && b.last == nil {
		return false
	}
	b.calls = append(b.calls, call)
	b.changed.Signal()
	return true
}

func (b *inbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.calls)
}

// close says which call is the last.
func (b *inbox) close(last func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.last = true, last
	b.changed.Signal()
}

// take waits for the next call; nil after the last.
func (b *inbox) take() func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.calls) == 0 && !b.closed {
		b.changed.Wait()
	}
	if len(b.calls) == 0 {
		call := b.last
		b.last = nil
		return call
	}
	call := b.calls[0]
	b.calls[0] = nil
	b.calls = b.calls[1:]
	return call
}
