package netlab

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// tunnels carry TCP connections from outside into a namespace. The zero value is ready.
type tunnels struct {
	running sync.WaitGroup

	mu     sync.Mutex // guards what follows
	closed bool
	ends   map[io.Closer]struct{} // listeners and connections
}

// dialTimeout is how long a connection from outside waits for its other end.
const dialTimeout = 10 * time.Second

// open takes the connections of the listener and joins each with one that dial makes.
func (t *tunnels) open(listener net.Listener, dial func(context.Context) (net.Conn, error)) {
	if !t.keep(listener) {
		return
	}
	t.running.Go(func() {
		defer t.drop(listener)
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			t.running.Go(func() { t.join(near, dial) })
		}
	})
}

func (t *tunnels) join(near net.Conn, dial func(context.Context) (net.Conn, error)) {
	if !t.keep(near) {
		return
	}
	defer t.drop(near)
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	far, err := dial(ctx)
	if err != nil || !t.keep(far) {
		return
	}
	defer t.drop(far)
	there := make(chan struct{})
	go func() {
		defer close(there)
		pass(far, near)
	}()
	pass(near, far)
	<-there
}

// pass copies until one end says that there is no more, and says so to the other.
func pass(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	if tcp, ok := to.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}

// keep notes what to close at the end; when that has been it closes it.
func (t *tunnels) keep(c io.Closer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = c.Close()
		return false
	}
	if t.ends == nil {
		t.ends = map[io.Closer]struct{}{}
	}
	t.ends[c] = struct{}{}
	return true
}

func (t *tunnels) drop(c io.Closer) {
	_ = c.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.ends, c)
}

func (t *tunnels) close() {
	t.mu.Lock()
	t.closed = true
	for c := range t.ends {
		_ = c.Close()
	}
	t.mu.Unlock()
	t.running.Wait()
}
