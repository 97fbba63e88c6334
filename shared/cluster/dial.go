package cluster

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// dialer is a Transport whose streams end with it: memberlist would let them run into their time-outs.
type dialer struct {
	Transport
	sockets bool // dial with the system
	ctx     context.Context
	cancel  context.CancelFunc

	mu    sync.Mutex // guards conns
	conns map[net.Conn]struct{}
}

func newDialer(t Transport, sockets bool) *dialer {
	d := &dialer{Transport: t, sockets: sockets, conns: map[net.Conn]struct{}{}}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// DialTimeout implements memberlist.Transport.
func (d *dialer) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return d.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (d *dialer) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	var conn net.Conn
	var err error
	if d.sockets {
		conn, err = (&net.Dialer{Timeout: timeout}).DialContext(d.ctx, "tcp", a.Addr)
	} else {
		conn, err = d.Transport.DialAddressTimeout(a, timeout)
	}
	if err != nil {
		return nil, err
	}
	// Until memberlist sets a deadline of its own there is none.
	_ = conn.SetDeadline(time.Now().Add(timeout))
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() != nil {
		return nil, errors.Join(ErrClosed, conn.Close())
	}
	d.conns[conn] = struct{}{}
	return &tracked{Conn: conn, dialer: d}, nil
}

// Shutdown implements memberlist.Transport.
func (d *dialer) Shutdown() error {
	d.end()
	return d.Transport.Shutdown()
}

// end closes all streams and refuses new ones.
func (d *dialer) end() {
	d.cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	for conn := range d.conns {
		_ = conn.Close()
	}
	clear(d.conns)
}

type tracked struct {
	net.Conn
	dialer *dialer
}

func (t *tracked) Close() error {
	t.dialer.mu.Lock()
	delete(t.dialer.conns, t.Conn)
	t.dialer.mu.Unlock()
	return t.Conn.Close()
}
