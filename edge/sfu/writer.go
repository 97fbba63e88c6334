package sfu

import "sync"

// Writer is one goroutine that sends for Subscriptions: those of one transport, or several transports' at once where their
// sinks never block. Make it with NewWriter.
type Writer struct {
	clock   func() int64
	wake    chan struct{} // one token: there is something to do
	done    chan struct{}
	scratch []byte

	mu     sync.Mutex // guards the fields below; held for a few instructions
	queue  []item
	spare  []item // the array the goroutine has finished with, to be filled next
	closed bool
}

// item is one thing to do: send a packet, send one again, send a report.
type item struct {
	sub    *Subscription
	enc    *Encoding
	index  int64 // of the packet; of a resend the outgoing number
	epoch  uint32
	pauses uint32
	kind   itemKind
}

type itemKind uint8

const (
	itemPacket itemKind = iota
	itemResend
	itemReport
)

// NewWriter starts a Writer. clock gives the present time. Its owner calls Close.
func NewWriter(clock func() int64) *Writer {
	w := newWriter(clock)
	go w.run()
	return w
}

func newWriter(clock func() int64) *Writer {
	return &Writer{
		clock: clock, wake: make(chan struct{}, 1), done: make(chan struct{}), scratch: make([]byte, headroom+MaxPacket),
	}
}

// push queues an item; false after Close. What a Subscription may queue is bounded by itself.
func (w *Writer) push(it item) bool {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return false
	}
	w.queue = append(w.queue, it)
	first := len(w.queue) == 1
	w.mu.Unlock()
	if first {
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

func (w *Writer) run() {
	defer close(w.done)
	for range w.wake {
		if !w.drain() {
			return
		}
	}
}

// drain does all that is queued; false when the Writer is closed.
func (w *Writer) drain() bool {
	for {
		w.mu.Lock()
		batch := w.queue
		w.queue, w.spare = w.spare[:0], nil
		closed := w.closed
		w.mu.Unlock()
		if closed {
			return false
		}
		if len(batch) == 0 {
			w.mu.Lock()
			w.spare = batch
			w.mu.Unlock()
			return true
		}
		now := w.clock()
		for i := range batch {
			batch[i].sub.process(batch[i], w.scratch, now)
			batch[i] = item{}
		}
		w.mu.Lock()
		w.spare = batch
		w.mu.Unlock()
	}
}

// Close throws away what is queued, and returns when the goroutine has ended. It is safe twice, not from within a Sink.
func (w *Writer) Close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.signal()
	<-w.done
}
