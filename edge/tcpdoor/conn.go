package tcpdoor

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Bounds of one connection.
const (
	maxPacket  = 0x05ff                 // bytes; more is no packet of ours, nor a client's
	queueLimit = 512                    // packets that wait to be sent
	maxAge     = 300 * time.Millisecond // of media that waits
	maxChunk   = 16 << 10               // bytes that are handed to the system at once
	unsent     = 32 << 10               // bytes that the system keeps beyond what is on its way
	stallTime  = 20 * time.Second       // in which a client has to take something
	idleTime   = 2 * time.Minute        // in which it has to send something
	flushTime  = 500 * time.Millisecond // for what is queued at the end
)

// header is the length before each packet (RFC 4571 section 2).
const header = 2

// packet is one that waits.
type packet struct {
	since time.Time
	n     int
	data  [maxPacket]byte
}

var packets = sync.Pool{New: func() any { return new(packet) }}

// Conn is a connection of ICE: packets both ways, each behind its length. Write and Close are safe for concurrent use.
type Conn struct {
	door    *Door
	raw     net.Conn
	from    netip.AddrPort
	queue   chan *packet
	closing chan struct{}
	once    sync.Once

	// Only run's goroutine touches these.
	in         []byte
	begin, end int // of what was read and not yet taken
}

func newConn(d *Door, raw net.Conn, from netip.AddrPort, first []byte) *Conn {
	c := &Conn{
		door: d, raw: raw, from: from, queue: make(chan *packet, queueLimit), closing: make(chan struct{}),
		in: make([]byte, max(4<<10, len(first))),
	}
	c.end = copy(c.in, first)
	return c
}

// RemoteAddr is the client's address.
func (c *Conn) RemoteAddr() netip.AddrPort { return c.from }

// LocalAddr is the address at which the client found the port.
func (c *Conn) LocalAddr() netip.AddrPort { return address(c.raw.LocalAddr()) }

// Write queues a packet, whose bytes are the caller's again when it returns. It never waits: what finds no room, and media that the
// client does not take in time, is lost, as on the network. It fails with net.ErrClosed after Close.
func (c *Conn) Write(b []byte) error {
	select {
	case <-c.closing:
		return net.ErrClosed
	default:
	}
	if len(b) == 0 || len(b) > maxPacket {
		return errLength
	}
	p := packets.Get().(*packet)
	p.since, p.n = time.Now(), copy(p.data[:], b)
	select {
	case c.queue <- p:
	default:
		packets.Put(p)
		c.door.dropped.Add(1)
	}
	return nil
}

// Close ends the connection when what is queued has left, or half a second later. It does not wait for that; Gone tells.
func (c *Conn) Close() {
	c.once.Do(func() {
		close(c.closing)
		_ = c.raw.SetWriteDeadline(time.Now().Add(flushTime))
	})
}

// abort ends the connection at once.
func (c *Conn) abort() { _ = c.raw.Close() }

var errLength = errors.New("tcpdoor: packet without a byte, or too long")

// run is the life of the connection.
func (c *Conn) run(side Side, place netip.Addr) {
	defer c.door.forget(c)
	defer func() { _ = c.raw.Close() }()
	receiver := c.introduce(side)
	c.door.known(place)
	if receiver == nil {
		c.door.unknown.Add(1)
		return
	}
	var writer sync.WaitGroup
	writer.Go(c.send)
	for {
		_ = c.raw.SetReadDeadline(time.Now().Add(idleTime)) // a closed one fails below
		b, err := c.next()
		if err != nil {
			break
		}
		receiver.Receive(b)
	}
	c.Close()
	writer.Wait()
	receiver.Gone()
}

// introduce finds out whose the connection is, nil for nobody's.
func (c *Conn) introduce(side Side) Receiver {
	_ = c.raw.SetDeadline(time.Time{}) // of HTTP
	limitUnsent(c.raw)
	_ = c.raw.SetReadDeadline(time.Now().Add(firstTime))
	first, err := c.next()
	if err != nil {
		return nil
	}
	receiver := side.Join(first, c)
	if receiver != nil {
		receiver.Receive(first)
	}
	return receiver
}

// next is the next packet, valid until the one after it.
func (c *Conn) next() ([]byte, error) {
	for {
		if have := c.end - c.begin; have >= header {
			size := int(binary.BigEndian.Uint16(c.in[c.begin:]))
			if size > maxPacket {
				return nil, errLength
			}
			if have >= header+size {
				b := c.in[c.begin+header:][:size]
				c.begin += header + size
				return b, nil
			}
		}
		c.end = copy(c.in, c.in[c.begin:c.end])
		c.begin = 0
		n, err := c.raw.Read(c.in[c.end:])
		c.end += n
		if err != nil {
			return nil, err
		}
	}
}

// send writes what is queued until the connection ends, and ends it when that fails: half a packet cannot be taken back.
func (c *Conn) send() {
	defer func() { _ = c.raw.Close() }()
	out := make([]byte, 0, maxChunk)
	for {
		select {
		case p := <-c.queue:
			out = c.collect(out[:0], p)
		case <-c.closing:
			c.flush(out)
			return
		}
		_ = c.raw.SetWriteDeadline(time.Now().Add(stallTime))
		select {
		case <-c.closing: // Close may have set its own just before
			_ = c.raw.SetWriteDeadline(time.Now().Add(flushTime))
		default:
		}
		if _, err := c.raw.Write(out); err != nil {
			return
		}
	}
}

// flush writes what is queued at the end.
func (c *Conn) flush(out []byte) {
	_ = c.raw.SetWriteDeadline(time.Now().Add(flushTime)) // for all of it
	for {
		select {
		case p := <-c.queue:
			if _, err := c.raw.Write(c.collect(out[:0], p)); err != nil {
				return
			}
		default:
			return
		}
	}
}

// collect appends p, and what else is queued as far as there is room.
func (c *Conn) collect(out []byte, p *packet) []byte {
	now := time.Now()
	for {
		if p.data[0] < 128 || now.Sub(p.since) <= maxAge { // what ICE and DTLS say has no age
			out = binary.BigEndian.AppendUint16(out, uint16(p.n))
			out = append(out, p.data[:p.n]...)
		} else {
			c.door.dropped.Add(1)
		}
		packets.Put(p)
		if len(out) > maxChunk-header-maxPacket {
			return out
		}
		select {
		case p = <-c.queue:
		default:
			return out
		}
	}
}
