package udpbatch

import (
	"net/netip"
)

// What the kernel takes as one message: Linux allows 64 segments (UDP_MAX_SEGMENTS), and 65,535 bytes with all headers.
const (
	maxSegments = 64
	maxMessage  = 65000
)

// Limits of a Batch. Zero values mean the defaults.
type Limits struct {
	Datagram int // bytes of the longest datagram; default and least 1600, at most 65,000
	Bytes    int // of all datagrams between two flushes; default 256 KiB, at least two of the longest datagrams
	Messages int // between two flushes, each a run of datagrams of one size to one address; default 64, at most 1024
}

func (l Limits) withDefaults() Limits {
	if l.Bytes == 0 {
		l.Bytes = 256 << 10
	}
	if l.Messages <= 0 {
		l.Messages = 64
	}
	l.Datagram = min(max(l.Datagram, 1600), maxMessage)
	l.Bytes = max(l.Bytes, 2*l.Datagram)
	l.Messages = min(l.Messages, 1024) // UIO_MAXIOV, the kernel's bound for one call
	return l
}

// Batch collects datagrams and sends them together. It belongs to one goroutine. Its memory is made once, and nothing is allocated
// for a datagram.
//
//	packet := seal(batch.Space()[:0], …)
//	batch.Commit(len(packet), receiver)
//	…
//	batch.Flush()
//
// Datagrams leave in the order of their Commits. It pays to commit what goes to one address in a row, and there what has one size.
type Batch struct {
	socket  *socket
	sender  *sender // nil: one call per datagram
	limits  Limits
	buffer  []byte
	used    int       // bytes of buffer
	pending []message // at most limits.Messages

	sent    int   // datagrams since the last Flush
	err     error // the first one since then
	stats   SendStats
	counted SendStats // of stats, what the socket's counters have
}

// message is a run of datagrams that goes to the kernel as one: all have one size, but the last may be shorter.
type message struct {
	to         netip.AddrPort
	start, end int // where it lies in the Batch's buffer
	segment    int // bytes of each datagram but the last
	count      int // datagrams
}

// joins reports whether a datagram of n bytes can be the next of the message.
func (m *message) joins(n int, to netip.AddrPort) bool {
	size := m.end - m.start
	return n > 0 && n <= m.segment && m.to == to && size == m.segment*m.count && m.count < maxSegments && size+n <= maxMessage
}

// NewBatch makes a Batch that sends from one of the sockets (0 to Sockets()-1), best from one that no other Batch uses.
func (p *Port) NewBatch(socket int, l Limits) *Batch {
	l = l.withDefaults()
	s := p.sockets[socket]
	b := &Batch{socket: s, limits: l, buffer: make([]byte, l.Bytes), pending: make([]message, 0, l.Messages)}
	if p.sendmmsg.Load() {
		b.sender = newSender(b)
	}
	return b
}

// Space is room for one datagram, Limits.Datagram bytes. It is valid until the next call of any method; what was written into it
// counts only after Commit. It sends what waits when there is no room left.
func (b *Batch) Space() []byte {
	if len(b.buffer)-b.used < b.limits.Datagram {
		b.send()
		b.used = 0
	}
	end := b.used + b.limits.Datagram
	return b.buffer[b.used:end:end]
}

// Commit adds the first n bytes of the last Space as a datagram; n above its length is a fault of the caller and panics. It sends
// what waits when there are too many messages.
func (b *Batch) Commit(n int, to netip.AddrPort) {
	if n < 0 || n > b.limits.Datagram {
		panic("udpbatch: more committed than there was space")
	}
	start := b.used
	b.used += n
	if last := len(b.pending) - 1; last >= 0 && b.pending[last].joins(n, to) && b.socket.port.gso.Load() {
		b.pending[last].end += n
		b.pending[last].count++
		return
	}
	if len(b.pending) == b.limits.Messages {
		b.send() // and this datagram stays where it is
	}
	b.pending = append(b.pending, message{to: to, start: start, end: start + n, segment: n, count: 1})
}

// Flush sends what waits. It returns how many datagrams the kernel took since the last Flush, also those that were sent because
// there was no room, and the first error: the others went all the same, or were dropped too, which Stats tells. What was refused
// is gone, as anything may be that is sent by UDP. On Linux, Flush waits two milliseconds at most for room in the kernel's buffer.
func (b *Batch) Flush() (sent int, err error) {
	b.send()
	b.used = 0
	sent, err = b.sent, b.err
	b.sent, b.err = 0, nil
	return sent, err
}

// Stats are totals of this Batch, for the goroutine that owns it.
func (b *Batch) Stats() SendStats { return b.stats }

// send sends all messages, and forgets them.
func (b *Batch) send() {
	if len(b.pending) == 0 {
		return
	}
	if b.sender != nil {
		b.sender.push(b.pending)
	} else {
		b.pushPlain(b.pending)
	}
	b.pending = b.pending[:0]
	now, before := b.stats, b.counted
	b.counted = now
	b.socket.add(SendStats{
		now.Datagrams - before.Datagrams, now.Bytes - before.Bytes, now.Messages - before.Messages,
		now.Calls - before.Calls, now.Dropped - before.Dropped,
	})
}

// pushPlain sends messages datagram by datagram.
func (b *Batch) pushPlain(messages []message) {
	for i := range messages {
		m := &messages[i]
		for at, left := m.start, m.count; left > 0; left-- {
			end := min(at+m.segment, m.end)
			if _, err := b.socket.conn.WriteToUDPAddrPort(b.buffer[at:end], unmap(m.to)); err != nil {
				b.drop(1, err)
			} else {
				b.stats.Calls++
				b.took(1, end-at)
			}
			at = end
		}
	}
}

// took counts a message that the kernel has taken.
func (b *Batch) took(datagrams, bytes int) {
	b.stats.Messages++
	b.stats.Datagrams += uint64(datagrams)
	b.stats.Bytes += uint64(bytes)
	b.sent += datagrams
}

// drop counts datagrams that will not be sent.
func (b *Batch) drop(datagrams int, err error) {
	b.stats.Dropped += uint64(datagrams)
	if b.err == nil {
		b.err = err
	}
}
