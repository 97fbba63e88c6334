package rtc

import "sync"

// control sends the RTCP of a transport from a goroutine of its own. Most of it is caused by the reader of the transport's
// packets, which must not write: pion's writers wait for the lock under which pion, when it closes, waits for that reader.
type control struct {
	write func(compound []byte) error
	wake  chan struct{} // one token: there is something to send, or the end
	done  chan struct{}

	mu     sync.Mutex // guards the fields below; a leaf
	queue  [][]byte
	closed bool
}

// maxControl bounds what waits. RTCP beyond it is dropped: all of it is said again while it is true.
const maxControl = 256

func newControl(write func([]byte) error) *control {
	c := &control{write: write, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go c.run()
	return c
}

// send queues a copy of the compound and does not block.
func (c *control) send(compound []byte) {
	c.mu.Lock()
	if !c.closed && len(c.queue) < maxControl {
		c.queue = append(c.queue, append([]byte(nil), compound...))
	}
	c.mu.Unlock()
	c.signal()
}

func (c *control) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *control) run() {
	defer close(c.done)
	for range c.wake {
		c.mu.Lock()
		queue, closed := c.queue, c.closed
		c.queue = nil
		c.mu.Unlock()
		if closed {
			return
		}
		for _, compound := range queue {
			_ = c.write(compound) // what it says is said again
		}
	}
}

// close throws away what waits, and returns when the goroutine has ended. It is safe twice.
func (c *control) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.signal()
	<-c.done
}
