// Package clustertest is a network in memory for tests of clusters: as many nodes as wanted in one process, without sockets, with
// counters, and with nodes that can be cut off. It works in the bubbles of testing/synctest, where its time is that of the bubble.
package clustertest

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// Network connects Transports. The zero value is ready. It is safe for concurrent use.
type Network struct {
	mu    sync.Mutex // guards the fields below
	nodes map[string]*Transport
	side  map[string]int
	next  int
}

// Errors of streams.
var (
	errRefused = errors.New("connection refused")
	errTimeout = errors.New("i/o timeout")
)

// Transport is a node's end. It implements cluster.Transport.
type Transport struct {
	network *Network
	addr    *net.UDPAddr
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	once    sync.Once
	sent    atomic.Uint64
	count   atomic.Uint64
}

// New adds a node with an address of its own.
func (n *Network) New() *Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next++
	t := &Transport{
		network: n, addr: &net.UDPAddr{IP: net.IPv4(10, 0, byte(n.next>>8), byte(n.next)), Port: 7946},
		packets: make(chan *memberlist.Packet, 1024), streams: make(chan net.Conn), done: make(chan struct{}),
	}
	if n.nodes == nil {
		n.nodes, n.side = map[string]*Transport{}, map[string]int{}
	}
	n.nodes[t.Addr()] = t
	return t
}

// Split puts Transports on a side: nodes on different sides do not reach each other. All begin on side 0.
func (n *Network) Split(side int, list ...*Transport) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range list {
		n.side[t.Addr()] = side
	}
}

func (n *Network) find(from *Transport, to string) (t *Transport, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nodes[to], n.side[from.Addr()] != n.side[to]
}

// Addr is the node's host:port.
func (t *Transport) Addr() string { return t.addr.String() }

// Sent is how many bytes the node has sent so far, without headers of UDP and TCP, and in how many packets and writes to streams.
func (t *Transport) Sent() (bytes, packets uint64) { return t.sent.Load(), t.count.Load() }

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *Transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.addr.IP, t.addr.Port, nil
}

// WriteTo implements memberlist.Transport.
func (t *Transport) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	t.sent.Add(uint64(len(b)))
	t.count.Add(1)
	to, cut := t.network.find(t, addr)
	if to == nil || cut || t.closed() || to.closed() {
		return now, nil // as packets get lost
	}
	select {
	case to.packets <- &memberlist.Packet{Buf: b, From: t.addr, Timestamp: now}:
	default:
	}
	return now, nil
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *Transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// PacketCh implements memberlist.Transport.
func (t *Transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements memberlist.Transport.
func (t *Transport) StreamCh() <-chan net.Conn { return t.streams }

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *Transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// DialTimeout implements memberlist.Transport.
func (t *Transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to, cut := t.network.find(t, addr)
	if t.closed() || !cut && (to == nil || to.closed()) {
		return nil, fmt.Errorf("dial %s: %w", addr, errRefused)
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	var streams chan net.Conn // nil: nobody takes it
	var done chan struct{}
	if !cut {
		streams, done = to.streams, to.done
	}
	near, far := net.Pipe()
	select {
	case streams <- &stream{Conn: far, from: t.addr, owner: to}:
		return &stream{Conn: near, from: &net.TCPAddr{IP: net.ParseIP(addr)}, owner: t}, nil
	case <-timer.C:
	case <-t.done:
	case <-done:
	}
	return nil, fmt.Errorf("dial %s: %w", addr, errors.Join(errTimeout, near.Close(), far.Close()))
}

// Shutdown implements memberlist.Transport. It is also how a test kills a node.
func (t *Transport) Shutdown() error {
	t.once.Do(func() { close(t.done) })
	return nil
}

func (t *Transport) closed() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// stream counts what its owner sends.
type stream struct {
	net.Conn
	from  net.Addr
	owner *Transport
}

func (s *stream) RemoteAddr() net.Addr { return s.from }

func (s *stream) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	s.owner.sent.Add(uint64(n))
	s.owner.count.Add(1)
	return n, err
}
