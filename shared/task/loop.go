// Package task owns goroutines: Loop is the single owner of mutable things, Group starts goroutines and waits for them.
//
// Signalling runs on it: a Room and the negotiation of a Transport are a Loop each, and every node keeps its long-running
// goroutines in a Group, so that nothing runs without an owner that stops it and waits. The packet path has no Loop.
//
// Waiting goes down only (Connection, Room, Transport): use Do downward. Upward use Post, which never blocks the poster.
package task

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// DefaultMailbox is the number of functions a Loop holds when LoopOptions.Mailbox is zero. It is far above what a busy room
// queues (1,000 participants with some tens of events each) and low enough to be a few megabytes: reaching it means that
// the Loop stands still or that somebody floods it.
const DefaultMailbox = 1 << 16

// Errors of Do and Post. In each case the function has not run and never will.
var (
	ErrClosed = errors.New("task: closed")
	ErrFull   = errors.New("task: mailbox full")
)

// PanicError is what Do returns, and what the panic handlers get, when a function panicked.
type PanicError struct {
	Value any    // what was given to panic
	Stack string // the stack of the goroutine at the panic
}

// Error names the panic without its stack.
func (e *PanicError) Error() string { return "task: panic: " + panicText(e.Value) }

// Unwrap gives the panic's value when it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// LoopOptions are what NewLoop needs. The zero value is valid.
type LoopOptions struct {
	// Mailbox bounds how many functions wait at a time; 0 is DefaultMailbox. Functions given to Do do not count:
	// their callers wait, which bounds them already.
	Mailbox int
	// OnOverflow is called by the poster for each function that was refused because the mailbox is full, with how many have
	// been refused so far. It must not block and must not call the Loop.
	OnOverflow func(refused uint64)
	// OnPanic is called on the Loop's goroutine after a function panicked; the Loop goes on with the next function.
	// The function's half-done work stays as it is: whoever owns the state decides here whether it can still be used.
	OnPanic func(*PanicError)
}

// Loop runs functions one at a time, in the order they came, on one goroutine of its own: what only they touch needs no lock.
// Functions do no I/O and wait for no Loop. All methods are safe for concurrent use.
type Loop struct {
	opts LoopOptions
	done chan struct{}
	wake chan struct{} // one token: there is something to do

	posted atomic.Int64 // functions that came by Post and have not begun

	mu      sync.Mutex // guards the fields below; held for a few instructions
	queue   []item
	spare   []item // the array the goroutine has finished with, to be filled next
	refused uint64
	closed  bool
}

type item struct {
	fn   func()
	call *call // nil when it came by Post
}

// call is one Do. Its state says who may still decide: the caller giving up, or the Loop starting.
type call struct {
	mu      sync.Mutex // guards started and gone
	started bool
	gone    bool
	done    chan struct{}
	err     error // written before done is closed
}

// NewLoop starts a Loop. Its owner calls Close.
func NewLoop(opts LoopOptions) *Loop {
	if opts.Mailbox <= 0 {
		opts.Mailbox = DefaultMailbox
	}
	l := &Loop{opts: opts, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	go l.run()
	return l
}

// Post queues fn and returns at once. ErrFull and ErrClosed say that fn will not run; a poster that can do nothing about
// a full mailbox may ignore it, since OnOverflow has been told.
func (l *Loop) Post(fn func()) error {
	l.mu.Lock()
	switch {
	case l.closed:
		l.mu.Unlock()
		return ErrClosed
	case l.posted.Load() >= int64(l.opts.Mailbox):
		l.refused++
		refused := l.refused
		l.mu.Unlock()
		if l.opts.OnOverflow != nil {
			l.opts.OnOverflow(refused)
		}
		return ErrFull
	}
	l.posted.Add(1)
	l.queue = append(l.queue, item{fn: fn})
	l.mu.Unlock()
	l.signal()
	return nil
}

// Do runs fn on the Loop's goroutine and waits until it has returned. ctx bounds the waiting for its turn only: the error of
// ctx means that fn has not run and never will, so its captured variables are the caller's again. A function that has begun
// is waited for. A panic in fn comes back as *PanicError. Do must not be called from a function of the same Loop: it would
// wait for itself until ctx ends.
func (l *Loop) Do(ctx context.Context, fn func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &call{done: make(chan struct{})}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.queue = append(l.queue, item{fn: fn, call: c})
	l.mu.Unlock()
	l.signal()
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
	}
	if c.abandon() {
		return ctx.Err()
	}
	<-c.done
	return c.err
}

// Len is how many functions of Post wait for their turn, for metrics.
func (l *Loop) Len() int { return int(l.posted.Load()) }

// Stop ends the Loop without waiting: what was accepted still runs, later functions get ErrClosed. It may be called from a
// function of the Loop itself. Done tells the end.
func (l *Loop) Stop() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.signal()
}

// Close is Stop, then waits until everything accepted has run and the goroutine has ended. It is safe twice, but not from a
// function of the Loop itself.
func (l *Loop) Close() {
	l.Stop()
	<-l.done
}

// Done is closed when the Loop's goroutine has ended.
func (l *Loop) Done() <-chan struct{} { return l.done }

func (l *Loop) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *Loop) run() {
	// A function may end the goroutine with runtime.Goexit (a test's FailNow does): another one goes on in its place.
	finished := false
	defer func() {
		if finished {
			close(l.done)
		} else {
			go l.run()
		}
	}()
	for {
		batch, more := l.take()
		for i := range batch {
			it := batch[i]
			batch[i] = item{}
			l.runOne(it, batch[i+1:])
		}
		if !more {
			finished = true
			return
		}
		if len(batch) == 0 {
			<-l.wake
		}
	}
}

// take hands the whole queue to the goroutine, and says whether more can come.
func (l *Loop) take() (batch []item, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch = l.queue
	l.queue = l.spare[:0]
	// An array grown by a burst is not kept for ever.
	if cap(batch) <= 1024 {
		l.spare = batch
	} else {
		l.spare = nil
	}
	return batch, !l.closed || len(batch) > 0
}

// runOne runs one function; rest are the items of its batch that would be lost if it ended the goroutine.
func (l *Loop) runOne(it item, rest []item) {
	if it.call != nil {
		if !it.call.begin() {
			return
		}
		defer close(it.call.done)
	} else {
		l.posted.Add(-1)
	}
	ok := false
	defer func() {
		if ok {
			return
		}
		value := recover()
		if value == nil { // runtime.Goexit
			l.putBack(rest)
			value = errors.New("function ended its goroutine")
		}
		e := newPanicError(value)
		if it.call != nil {
			it.call.err = e
		}
		if l.opts.OnPanic != nil {
			l.opts.OnPanic(e)
		}
	}()
	it.fn()
	ok = true
}

// putBack returns the unrun rest of a batch to the head of the queue.
func (l *Loop) putBack(rest []item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(append(make([]item, 0, len(rest)+len(l.queue)), rest...), l.queue...)
	l.spare = nil
}

// begin says whether the Loop may run the call's function.
func (c *call) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = !c.gone
	return c.started
}

// abandon takes the function back; false means that it has begun.
func (c *call) abandon() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = !c.started
	return c.gone
}

func newPanicError(value any) *PanicError {
	buf := make([]byte, 8<<10)
	return &PanicError{Value: value, Stack: string(buf[:runtime.Stack(buf, false)])}
}

func panicText(v any) string {
	switch v := v.(type) {
	case error:
		return v.Error()
	case string:
		return v
	case interface{ String() string }:
		return v.String()
	}
	return "value that is neither error nor text"
}
