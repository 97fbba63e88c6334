package link

import (
	"encoding/binary"
	"errors"
	"sync"

	"github.com/quic-go/quic-go"
)

// Bounds of what waits to be sent. The first is some 100 ms of 100 Mbit/s, which a burst of key frames takes.
const (
	queueLimit     = 1024    // datagrams
	longQueueLimit = 256     // long packets
	longQueueBytes = 1 << 20 // in them
)

// datagram is one that waits: flow id and packet.
type datagram struct {
	n    int
	data [maxDatagram]byte
}

var datagramPool = sync.Pool{New: func() any { return new(datagram) }}

// queue holds datagrams until QUIC takes them. When it is full, the oldest makes room: late media is worth the least.
type queue struct {
	wake chan struct{} // has an element when there may be something new

	mu          sync.Mutex // guards what follows
	ring        [queueLimit]*datagram
	first, size int
	closed      bool
}

func (q *queue) open() { q.wake = make(chan struct{}, 1) }

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for ; q.size > 0; q.size-- {
		datagramPool.Put(q.ring[q.first])
		q.ring[q.first] = nil
		q.first = (q.first + 1) % queueLimit
	}
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// push copies a packet into the queue; what it takes has been checked to fit.
func (q *queue) push(flowID uint64, packet []byte) (dropped, ok bool) {
	d := datagramPool.Get().(*datagram)
	d.n = len(append(appendVarint(d.data[:0], flowID), packet...))
	var old *datagram
	q.mu.Lock()
	switch {
	case q.closed:
		old = d
	default:
		ok = true
		if q.size == queueLimit {
			old, dropped = q.ring[q.first], true
			q.first = (q.first + 1) % queueLimit
			q.size--
		}
		q.ring[(q.first+q.size)%queueLimit] = d
		q.size++
		if q.size == 1 {
			q.signal()
		}
	}
	q.mu.Unlock()
	if old != nil {
		datagramPool.Put(old)
	}
	return dropped, ok
}

// pop waits for a datagram; nil at the end.
func (q *queue) pop() *datagram {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return nil
		}
		if q.size > 0 {
			d := q.ring[q.first]
			q.ring[q.first] = nil
			q.first = (q.first + 1) % queueLimit
			q.size--
			q.mu.Unlock()
			return d
		}
		q.mu.Unlock()
		<-q.wake
	}
}

// longQueue holds frames of the stream of long packets.
type longQueue struct {
	wake chan struct{}

	mu     sync.Mutex // guards what follows
	frames [][]byte   // with their length in front
	bytes  int
	closed bool
}

func (q *longQueue) open() { q.wake = make(chan struct{}, 1) }

func (q *longQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.frames = true, nil
	q.signal()
}

func (q *longQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *longQueue) push(flowID uint64, packet []byte) error {
	n := varintLen(flowID) + len(packet)
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return ErrClosed
	case len(q.frames) == longQueueLimit || q.bytes+n > longQueueBytes:
		return ErrFull
	}
	frame := binary.BigEndian.AppendUint16(make([]byte, 0, 2+n), uint16(n))
	frame = append(appendVarint(frame, flowID), packet...)
	q.add(frame)
	return nil
}

// add queues a frame, without a bound. mu is held.
func (q *longQueue) add(frame []byte) {
	q.frames = append(q.frames, frame)
	q.bytes += len(frame) - 2
	q.signal()
}

// pop waits for a frame; nil at the end.
func (q *longQueue) pop() []byte {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return nil
		}
		if len(q.frames) > 0 {
			f := q.frames[0]
			q.frames[0] = nil
			q.frames = q.frames[1:]
			q.bytes -= len(f) - 2
			q.mu.Unlock()
			return f
		}
		q.mu.Unlock()
		<-q.wake
	}
}

// sendDatagrams gives QUIC what waits; QUIC blocks when the network is slower. It copies each datagram.
func (l *Link) sendDatagrams() {
	for {
		d := l.datagrams.pop()
		if d == nil {
			return
		}
		err := l.conn.SendDatagram(d.data[:d.n])
		var tooLong *quic.DatagramTooLargeError
		if errors.As(err, &tooLong) { // the limit has come down meanwhile
			l.limit.Store(tooLong.MaxDatagramPayloadSize)
			frame := append(binary.BigEndian.AppendUint16(nil, uint16(d.n)), d.data[:d.n]...)
			l.long.mu.Lock()
			l.long.add(frame)
			l.long.mu.Unlock()
		} else if err == nil {
			l.sent.Add(1)
		}
		datagramPool.Put(d)
	}
}

// sendLong writes long packets to their stream. QUIC finds out by and by what the network carries: a packet that is long no more goes
// as a datagram, and so do its like from then on.
func (l *Link) sendLong() {
	for {
		frame := l.long.pop()
		if frame == nil {
			return
		}
		if body := frame[2:]; len(body) <= maxDatagram && l.conn.SendDatagram(body) == nil {
			l.limit.Store(int64(len(body)))
		} else if _, err := l.outlet.Write(frame); err != nil {
			l.shut(codeBadPeer, "the stream of long packets was refused")
			return
		}
		l.sent.Add(1)
	}
}

// receiveDatagrams hands on what comes.
func (l *Link) receiveDatagrams() {
	ctx := l.conn.Context()
	for {
		b, err := l.conn.ReceiveDatagram(ctx)
		if err != nil {
			return
		}
		if flowID, packet, ok := cutVarint(b); ok {
			l.deliver(flowID, packet)
		} else {
			l.junk.Add(1)
		}
	}
}

// receiveLong hands on what comes over the stream, which lives as long as the Link.
func (l *Link) receiveLong() {
	var buf []byte
	for {
		var (
			flowID uint64
			packet []byte
			err    error
		)
		if flowID, packet, buf, err = readFrame(l.in, buf); err != nil {
			l.shut(codeBadPeer, "the stream of long packets ended or holds junk")
			return
		}
		l.deliver(flowID, packet)
	}
}

func (l *Link) deliver(flowID uint64, packet []byte) {
	l.receiving.Lock()
	defer l.receiving.Unlock()
	l.received.Add(1)
	l.options.Receive(l, flowID, packet)
}
