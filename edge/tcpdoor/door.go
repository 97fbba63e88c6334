// Package tcpdoor shares one TCP port between HTTP, with or without TLS, and ICE: a Door gives the HTTP server a listener, and media
// the connections of clients that reach it by TCP only.
//
// It stands at the very beginning and end of a packet's way, beside udpdoor. What a connection is for is told by its first byte:
//
//	0x00 to 0x05   ICE     the length of the first packet, which is a binding request of STUN (RFC 4571 section 2, RFC 6544)
//	0x16           TLS     a record with the beginning of a handshake
//	else           HTTP    a letter of the method; what it makes no sense of, HTTP answers
//
// That byte is looked at when the HTTP server reads it, so its own bounds of time and number hold until then, and no goroutine
// waits for it. From there a connection of ICE has a few seconds to show that it is somebody's, and few may do so at a time from one
// address.
package tcpdoor

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of connections of ICE.
const (
	maxConns   = 20_000          // in all
	maxUnknown = 1024            // that have not shown whose they are
	perAddress = 32              // of those, from one address, or one network of IPv6
	firstTime  = 5 * time.Second // that they have for it
)

// Side is whom the connections of ICE belong to.
type Side interface {
	// Join says whose a connection is, by the first packet on it, which is the Conn's again when it returns; nil: nobody's, and it
	// is closed. The Receiver gets that packet too. Join may wait.
	Join(first []byte, c *Conn) Receiver
}

// Receiver takes what comes on one connection. The calls come one at a time.
type Receiver interface {
	// Receive takes a packet, which is the Conn's again when it returns.
	Receive(packet []byte)
	// Gone says that the connection has ended, and with it all of its goroutines but this one. It is the last call.
	Gone()
}

// Stats are totals since the start, but for Open.
type Stats struct {
	Open    int    // connections of ICE now
	Refused uint64 // because there were too many
	Unknown uint64 // closed because they were nobody's
	Dropped uint64 // packets that a client did not take in time, or at all
}

// Door is one TCP port and the two sides it is split into. Make it with Over; its owner calls Close.
type Door struct {
	listener net.Listener
	running  sync.WaitGroup // of the connections of ICE

	refused, unknown, dropped atomic.Uint64

	mu      sync.Mutex // guards the fields below
	side    Side
	conns   map[*Conn]bool
	waiting map[netip.Addr]int // connections that are nobody's yet, by where they come from
	waits   int                // all of them
	closed  bool
}

// Over takes over a listener.
func Over(l net.Listener) *Door {
	return &Door{listener: l, conns: make(map[*Conn]bool), waiting: make(map[netip.Addr]int)}
}

// Open says who takes the connections of ICE from now on. Until then HTTP gets them.
func (d *Door) Open(side Side) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.side = side
}

// Addr is the address of the port.
func (d *Door) Addr() net.Addr { return d.listener.Addr() }

// Web is the listener for HTTP. Closing it leaves connections of ICE as they are.
func (d *Door) Web() net.Listener { return web{d} }

// Stats is a snapshot.
func (d *Door) Stats() Stats {
	d.mu.Lock()
	open := len(d.conns)
	d.mu.Unlock()
	return Stats{Open: open, Refused: d.refused.Load(), Unknown: d.unknown.Load(), Dropped: d.dropped.Load()}
}

// Close closes the port and the connections of ICE, and returns when nothing of them runs any more. Closing twice is safe.
func (d *Door) Close() error {
	err := d.listener.Close()
	d.mu.Lock()
	d.closed = true
	for c := range d.conns {
		c.abort()
	}
	d.mu.Unlock()
	d.running.Wait()
	if errors.Is(err, net.ErrClosed) { // by HTTP
		return nil
	}
	return err
}

// take takes a connection of ICE over, or closes it when there are too many; first is what was read of it. It reports whether the
// connection is HTTP's no more.
func (d *Door) take(raw net.Conn, first []byte) bool {
	from := address(raw.RemoteAddr())
	place := network(from.Addr())
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.side == nil {
		return false
	}
	if d.closed || len(d.conns) >= maxConns || d.waits >= maxUnknown || d.waiting[place] >= perAddress {
		d.refused.Add(1)
		_ = raw.Close()
		return true
	}
	d.waits++
	d.waiting[place]++
	c := newConn(d, raw, from, first)
	d.conns[c] = true
	side := d.side
	d.running.Go(func() { c.run(side, place) })
	return true
}

// known takes note that a connection waits no more.
func (d *Door) known(place netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waits--
	if d.waiting[place]--; d.waiting[place] == 0 {
		delete(d.waiting, place)
	}
}

func (d *Door) forget(c *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
}

// address is that of one end of a connection.
func address(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	at := tcp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}

// network is what one client has: an address of IPv4, or 64 bits of IPv6.
func network(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

// web is the side of HTTP.
type web struct{ door *Door }

// Accept implements net.Listener.
func (w web) Accept() (net.Conn, error) {
	raw, err := w.door.listener.Accept()
	if err != nil {
		return nil, err
	}
	return &webConn{Conn: raw, door: w.door}, nil
}

// Close implements net.Listener.
func (w web) Close() error { return w.door.listener.Close() }

// Addr implements net.Listener.
func (w web) Addr() net.Addr { return w.door.listener.Addr() }

// webConn is a connection as HTTP has it. Nobody writes to it before something was read.
type webConn struct {
	net.Conn
	door   *Door
	sorted bool // the first byte was looked at; the reader's own, of which there is one at a time
	taken  atomic.Bool
}

// Read implements net.Conn. Of a connection of ICE it reads the end.
func (c *webConn) Read(b []byte) (int, error) {
	if c.sorted {
		if c.taken.Load() {
			return 0, io.EOF
		}
		return c.Conn.Read(b)
	}
	n, err := c.Conn.Read(b)
	if n == 0 {
		return n, err
	}
	c.sorted = true
	if isICE(b[0]) && c.door.take(c.Conn, b[:n]) {
		c.taken.Store(true)
		return 0, io.EOF
	}
	return n, err
}

// isICE tells whether a connection that begins with this byte is one of ICE.
func isICE(first byte) bool { return first <= maxPacket>>8 }

// Write implements net.Conn.
func (c *webConn) Write(b []byte) (int, error) {
	if c.taken.Load() {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

// Close implements net.Conn.
func (c *webConn) Close() error {
	if c.taken.Load() {
		return nil
	}
	return c.Conn.Close()
}

// SetDeadline implements net.Conn.
func (c *webConn) SetDeadline(t time.Time) error {
	if c.taken.Load() {
		return nil
	}
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *webConn) SetReadDeadline(t time.Time) error {
	if c.taken.Load() {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *webConn) SetWriteDeadline(t time.Time) error {
	if c.taken.Load() {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}
