package loadtest

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/pion/transport/v5/deadline"
)

// queue is what ICE or DTLS reads of a socket that many protocols share. It is a net.PacketConn whose packets its transport puts in.
type queue struct {
	packets  chan datagram
	closed   chan struct{}
	once     sync.Once
	deadline *deadline.Deadline
	local    net.Addr
	write    func(b []byte, to net.Addr) error
}

type datagram struct {
	data []byte
	from netip.AddrPort
}

// queueLength bounds the datagrams that wait; what comes beyond is lost, as in a socket.
const queueLength = 64

func newQueue(local net.Addr, write func([]byte, net.Addr) error) *queue {
	return &queue{packets: make(chan datagram, queueLength), closed: make(chan struct{}), deadline: deadline.New(), local: local, write: write}
}

// put copies a datagram in.
func (q *queue) put(b []byte, from netip.AddrPort) {
	select {
	case q.packets <- datagram{append([]byte(nil), b...), from}:
	default:
	}
}

// ReadFrom implements net.PacketConn.
func (q *queue) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-q.packets:
		return copy(b, d.data), net.UDPAddrFromAddrPort(d.from), nil
	case <-q.closed:
		return 0, nil, net.ErrClosed
	case <-q.deadline.Done():
		return 0, nil, os.ErrDeadlineExceeded
	}
}

// WriteTo implements net.PacketConn.
func (q *queue) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-q.closed:
		return 0, net.ErrClosed
	default:
	}
	if err := q.write(b, to); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close implements net.PacketConn.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// LocalAddr implements net.PacketConn.
func (q *queue) LocalAddr() net.Addr { return q.local }

// SetDeadline implements net.PacketConn.
func (q *queue) SetDeadline(t time.Time) error { return q.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (q *queue) SetReadDeadline(t time.Time) error {
	q.deadline.Set(t)
	return nil
}

// SetWriteDeadline implements net.PacketConn; writing never blocks.
func (q *queue) SetWriteDeadline(time.Time) error { return nil }
