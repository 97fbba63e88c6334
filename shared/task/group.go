package task

import (
	"context"
	"errors"
	"sync"
)

// Group is a set of goroutines with one context and one waiter. Make it with NewGroup. All methods are safe for concurrent use.
type Group struct {
	ctx     context.Context
	cancel  context.CancelFunc
	onPanic func(*PanicError)

	mu      sync.Mutex // guards the fields below
	running int
	closed  bool
	idle    chan struct{} // closed when running reaches 0; remade by the next Go
}

// NewGroup makes a Group whose context ends with ctx or with Close. onPanic is told of a panic in one of its goroutines, on that
// goroutine, which then ends; nil ignores it. Its owner calls Close.
func NewGroup(ctx context.Context, onPanic func(*PanicError)) *Group {
	g := &Group{onPanic: onPanic, idle: make(chan struct{})}
	g.ctx, g.cancel = context.WithCancel(ctx)
	close(g.idle)
	return g
}

// Go runs fn on a goroutine of its own; fn returns soon after its context ends. After Close it does nothing and returns ErrClosed.
func (g *Group) Go(fn func(ctx context.Context)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	if g.running == 0 {
		g.idle = make(chan struct{})
	}
	g.running++
	go g.run(fn)
	return nil
}

func (g *Group) run(fn func(ctx context.Context)) {
	ok := false
	defer func() {
		if !ok {
			value := recover()
			if value == nil { // runtime.Goexit
				value = errors.New("function ended its goroutine")
			}
			if g.onPanic != nil {
				g.onPanic(newPanicError(value))
			}
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.running--; g.running == 0 {
			close(g.idle)
		}
	}()
	fn(g.ctx)
	ok = true
}

// Context ends when the Group is closed.
func (g *Group) Context() context.Context { return g.ctx }

// Wait waits until no goroutine of the Group runs, or until ctx ends, and then returns its error. It cancels nothing.
func (g *Group) Wait(ctx context.Context) error {
	g.mu.Lock()
	idle := g.idle
	g.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop ends the Group's context and refuses new goroutines, without waiting: for use from one of its own goroutines.
func (g *Group) Stop() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel()
}

// Close is Stop, then waits for all goroutines. It is safe twice, but not from a goroutine of the Group itself.
func (g *Group) Close() {
	g.Stop()
	g.mu.Lock()
	idle := g.idle
	g.mu.Unlock()
	<-idle
}
