package udpdoor

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of what waits for QUIC.
const (
	maxPacket  = 1500 // bytes; QUIC as we speak it sends no more than 1452 in a packet
	queueLimit = 1024 // packets: 1.5 MB, some milliseconds of a fast sender
	addrLimit  = 4096 // peers whose addresses are kept as net.Addr
)

// packet is one that waits.
type packet struct {
	from netip.AddrPort
	n    int
	data [maxPacket]byte
}

var packets = sync.Pool{New: func() any { return new(packet) }}

// QUIC is the side of QUIC: a net.PacketConn. One goroutine at a time reads, any number may write, a datagram each.
//
// It deliberately has no SyscallConn: a QUIC library that gets hold of the socket reads from it, past the Door, and forbids
// fragmentation for media too.
type QUIC struct {
	door    *Door
	part    bool        // closing it closes nothing else
	wanted  atomic.Bool // somebody reads it
	queue   chan *packet
	closed  chan struct{}
	once    sync.Once
	dropped atomic.Uint64
	addrs   map[netip.AddrPort]*net.UDPAddr // the reader's own

	mu      sync.Mutex    // guards what follows
	expired chan struct{} // closed when the deadline for reading has passed
	timer   *time.Timer   // closes it
	set     uint64        // how often the deadline was set: a timer of an earlier one does nothing
}

func (q *QUIC) open(d *Door) {
	q.door = d
	q.queue = make(chan *packet, queueLimit)
	q.closed, q.expired = make(chan struct{}), make(chan struct{})
	q.addrs = map[netip.AddrPort]*net.UDPAddr{}
}

// deliver copies a datagram into the queue, or drops it: QUIC sends it again, and media must not wait.
func (q *QUIC) deliver(b []byte, from netip.AddrPort) {
	if len(b) > maxPacket {
		q.dropped.Add(1)
		return
	}
	p := packets.Get().(*packet)
	p.n, p.from = copy(p.data[:], b), from
	select {
	case q.queue <- p:
	default:
		packets.Put(p)
		q.dropped.Add(1)
	}
}

// ReadFrom implements net.PacketConn. The address is shared with other reads and must not be changed. After Close it fails with
// net.ErrClosed, after the deadline with os.ErrDeadlineExceeded.
func (q *QUIC) ReadFrom(b []byte) (int, net.Addr, error) {
	q.mu.Lock()
	expired := q.expired
	q.mu.Unlock()
	select { // before what is queued: a reader that was told to end must not go on as long as there is something
	case <-q.closed:
		return 0, nil, net.ErrClosed
	case <-expired:
		return 0, nil, os.ErrDeadlineExceeded
	default:
	}
	select {
	case p := <-q.queue:
		n, from := copy(b, p.data[:p.n]), q.addr(p.from)
		packets.Put(p)
		return n, from, nil
	case <-q.closed:
		return 0, nil, net.ErrClosed
	case <-expired:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

// addr is an address as net.Addr, made once for each peer.
func (q *QUIC) addr(from netip.AddrPort) net.Addr {
	a := q.addrs[from]
	if a == nil {
		if len(q.addrs) >= addrLimit {
			clear(q.addrs)
		}
		a = net.UDPAddrFromAddrPort(from)
		q.addrs[from] = a
	}
	return a
}

// errAddress is the answer to an address that is not one of UDP.
var errAddress = errors.New("udpdoor: no address of UDP")

// WriteTo implements net.PacketConn.
func (q *QUIC) WriteTo(b []byte, to net.Addr) (int, error) {
	a, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, errAddress
	}
	return q.door.port.WriteTo(b, a.AddrPort())
}

// Close closes the Door, or that of the links this connection alone.
func (q *QUIC) Close() error {
	if !q.part {
		return q.door.Close()
	}
	q.wanted.Store(false)
	q.end()
	return nil
}

func (q *QUIC) end() { q.once.Do(func() { close(q.closed) }) }

// LocalAddr implements net.PacketConn.
func (q *QUIC) LocalAddr() net.Addr { return q.door.port.LocalAddr() }

// SetReadDeadline implements net.PacketConn: it also ends a read that waits already, if the deadline has passed or passes then.
func (q *QUIC) SetReadDeadline(t time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.set++
	if q.timer != nil {
		q.timer.Stop()
	}
	select {
	case <-q.expired:
		q.expired = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return nil
	}
	wait := time.Until(t)
	if wait <= 0 {
		close(q.expired)
		return nil
	}
	set := q.set
	q.timer = time.AfterFunc(wait, func() { q.expire(set) })
	return nil
}

// expire ends the reads that wait for a deadline, unless it has been moved meanwhile.
func (q *QUIC) expire(set uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.set == set {
		close(q.expired)
	}
}

// errWriteDeadline is the answer to a deadline for writing.
var errWriteDeadline = errors.New("udpdoor: the socket is shared, and has no deadlines for writing")

// SetWriteDeadline fails: media writes to the same socket. Writing UDP does not wait.
func (q *QUIC) SetWriteDeadline(time.Time) error { return errWriteDeadline }

// SetDeadline fails, as SetWriteDeadline does.
func (q *QUIC) SetDeadline(time.Time) error { return errWriteDeadline }

// SetReadBuffer does nothing: the sockets' buffers are large already.
func (q *QUIC) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing, as SetReadBuffer.
func (q *QUIC) SetWriteBuffer(int) error { return nil }
