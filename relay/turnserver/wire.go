package turnserver

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Deadlines of streams.
const (
	streamIdle  = 30 * time.Second // between messages while there is no allocation
	streamFrame = 10 * time.Second // from the first byte of a message to its last, and for a TLS handshake
	streamWrite = 5 * time.Second  // for one message to be taken
)

// udpWire is a UDP socket.
type udpWire struct {
	conn   *net.UDPConn
	counts *counters
	closed chan struct{}
	once   sync.Once
}

func newUDPWire(conn *net.UDPConn, counts *counters) *udpWire {
	return &udpWire{conn: conn, counts: counts, closed: make(chan struct{})}
}

// Read implements wire. Errors of the system other than the closing of the socket are ridden out.
func (w *udpWire) Read(p []byte) (int, netip.AddrPort, error) {
	for {
		n, src, err := w.conn.ReadFromUDPAddrPort(p)
		switch {
		case errors.Is(err, net.ErrClosed):
			return 0, src, err
		case err != nil:
			select {
			case <-w.closed:
			case <-time.After(10 * time.Millisecond):
			}
		case n > maxMessage:
			w.counts.refuse(TooLong)
		case n > 0:
			return n, unmapped(src), nil
		}
	}
}

// Write implements wire.
func (w *udpWire) Write(p []byte, to netip.AddrPort) error {
	_, err := w.conn.WriteToUDPAddrPort(p, to)
	return err
}

// LocalAddr implements wire.
func (w *udpWire) LocalAddr() net.Addr { return w.conn.LocalAddr() }

// Allocated implements wire: a datagram socket has no idle time.
func (w *udpWire) Allocated(bool) {}

// Close implements wire.
func (w *udpWire) Close() error {
	var err error
	w.once.Do(func() {
		close(w.closed)
		err = w.conn.Close()
	})
	return err
}

// streamWire frames STUN and ChannelData on a TCP or TLS connection (RFC 5389 section 7.2.2, RFC 5766 section 11.5).
// What cannot be framed, and whoever is slow, ends the connection.
type streamWire struct {
	conn   net.Conn
	peer   netip.AddrPort
	in     *bufio.Reader
	counts *counters

	mu        sync.Mutex // guards allocated together with the deadline that follows from it
	allocated bool

	writing sync.Mutex // keeps messages whole; held during a write, which has a deadline
}

func newStreamWire(conn net.Conn, peer netip.AddrPort, counts *counters) *streamWire {
	return &streamWire{conn: conn, peer: peer, in: bufio.NewReaderSize(conn, 2*maxMessage), counts: counts}
}

// Read implements wire. Every error is final.
func (w *streamWire) Read(p []byte) (int, netip.AddrPort, error) {
	n, err := w.frame(p)
	switch {
	case err == nil:
		return n, w.peer, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.counts.refuse(ConnectionTiming)
	case errors.Is(err, errFraming):
		w.counts.refuse(Malformed)
	}
	_ = w.conn.Close()
	return 0, w.peer, err
}

var errFraming = errors.New("no STUN message or ChannelData begins here")

func (w *streamWire) frame(p []byte) (int, error) {
	if w.in.Buffered() == 0 {
		w.idle()
		if _, err := w.in.Peek(1); err != nil {
			return 0, err
		}
	}
	if w.in.Buffered() < dataHeader {
		_ = w.conn.SetReadDeadline(time.Now().Add(streamFrame))
	}
	header, err := w.in.Peek(dataHeader)
	if err != nil {
		return 0, err
	}
	size := frameSize(header)
	if size == 0 || size > min(maxMessage, len(p)) {
		return 0, errFraming
	}
	if w.in.Buffered() < size {
		_ = w.conn.SetReadDeadline(time.Now().Add(streamFrame))
	}
	return io.ReadFull(w.in, p[:size])
}

// idle sets the deadline for the next message to begin.
func (w *streamWire) idle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	var deadline time.Time // with an allocation there is none: the allocation's own lifetime bounds it
	if !w.allocated {
		deadline = time.Now().Add(streamIdle)
	}
	_ = w.conn.SetReadDeadline(deadline)
}

// Allocated implements wire.
func (w *streamWire) Allocated(has bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.allocated && !has {
		_ = w.conn.SetReadDeadline(time.Now().Add(streamIdle))
	}
	w.allocated = has
}

// Write implements wire. A client that does not take its data in time is cut off: it cannot find its place in the stream again.
func (w *streamWire) Write(p []byte, _ netip.AddrPort) error {
	w.writing.Lock()
	defer w.writing.Unlock()
	_ = w.conn.SetWriteDeadline(time.Now().Add(streamWrite))
	_, err := w.conn.Write(p)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			w.counts.refuse(ConnectionTiming)
		}
		_ = w.conn.Close()
	}
	return err
}

// LocalAddr implements wire.
func (w *streamWire) LocalAddr() net.Addr { return w.conn.LocalAddr() }

// Close implements wire.
func (w *streamWire) Close() error { return w.conn.Close() }
