package bitrate

import (
	"encoding/binary"
	"errors"
)

// ErrMalformed is given for feedback that is not of the form in the draft: nothing of it was taken.
var ErrMalformed = errors.New("malformed transport-wide feedback")

// ErrFlood is given for feedback that tells of far more packets than were sent: nothing of it was taken.
var ErrFlood = errors.New("more transport-wide feedback than packets")

const (
	feedbackHeader = 8              // bytes before the chunks
	referenceUnit  = 64_000_000     // ns
	deltaUnit      = 250_000        // ns
	maxRun         = 1<<13 - 1      // packets of one run-length chunk
	referenceWrap  = int64(1) << 24 // values of the reference time
)

// Statuses of a packet.
const (
	smallDelta = 1 // 0: not received
	largeDelta = 2
	reserved   = 3
)

// message is one feedback message whose chunks and deltas have been found complete. It points into the caller's bytes.
type message struct {
	base      uint16
	count     int
	reference uint32 // 24 bits
	number    uint8  // counts the messages of one receiver
	chunks    []byte
	deltas    []byte
}

// parse checks the whole of a message; what follows the deltas is padding.
func parse(fci []byte) (m message, ok bool) {
	if len(fci) < feedbackHeader {
		return m, false
	}
	m.base = binary.BigEndian.Uint16(fci)
	m.count = int(binary.BigEndian.Uint16(fci[2:]))
	m.reference = binary.BigEndian.Uint32(fci[4:]) >> 8
	m.number = fci[7]
	rest := fci[feedbackHeader:]
	at, deltas := 0, 0
	for left := m.count; left > 0; at += 2 {
		if at+2 > len(rest) {
			return m, false
		}
		n, bytes, good := measure(binary.BigEndian.Uint16(rest[at:]), left)
		if !good {
			return m, false
		}
		left -= n
		deltas += bytes
	}
	if at+deltas > len(rest) {
		return m, false
	}
	m.chunks, m.deltas = rest[:at], rest[at:at+deltas]
	return m, true
}

// measure tells how many of the left statuses a chunk holds and how many bytes of deltas belong to them.
func measure(chunk uint16, left int) (n, deltas int, ok bool) {
	if chunk>>15 == 0 {
		n = min(int(chunk&maxRun), left)
		status := int(chunk >> 13)
		return n, n * status, n > 0 && status != reserved
	}
	n = min(chunkLen(chunk), left)
	for i := range n {
		status := statusIn(chunk, i)
		if status == reserved {
			return 0, 0, false
		}
		deltas += status // none, one byte, two bytes
	}
	return n, deltas, true
}

// chunkLen is how many statuses a vector chunk has room for.
func chunkLen(chunk uint16) int {
	if chunk&(1<<14) == 0 {
		return 14
	}
	return 7
}

// statusIn is the status at place i of a vector chunk.
func statusIn(chunk uint16, i int) int {
	if chunk&(1<<14) == 0 {
		return int(chunk>>(13-i)) & 1
	}
	return int(chunk>>(12-2*i)) & 3
}

// reader walks through the statuses of a checked message.
type reader struct {
	m       message
	left    int // statuses not read yet
	chunk   uint16
	inChunk int   // statuses read of chunk
	size    int   // statuses in chunk
	time    int64 // ns on the receiver's clock: of the packet received last
}

// read starts at the first status; reference is the unwrapped reference time.
func (m message) read(reference int64) reader {
	return reader{m: m, left: m.count, time: reference * referenceUnit}
}

// next gives the next packet's status and, when it was received, its time. The caller asks m.count times at most.
func (r *reader) next() (received bool, arrival int64) {
	if r.inChunk == r.size {
		r.chunk = binary.BigEndian.Uint16(r.m.chunks)
		r.m.chunks = r.m.chunks[2:]
		r.inChunk = 0
		if r.size = chunkLen(r.chunk); r.chunk>>15 == 0 {
			r.size = int(r.chunk & maxRun)
		}
	}
	status := int(r.chunk >> 13)
	if r.chunk>>15 != 0 {
		status = statusIn(r.chunk, r.inChunk)
	}
	r.inChunk++
	r.left--
	switch status {
	case smallDelta:
		r.time += int64(r.m.deltas[0]) * deltaUnit
		r.m.deltas = r.m.deltas[1:]
	case largeDelta:
		r.time += int64(int16(binary.BigEndian.Uint16(r.m.deltas))) * deltaUnit
		r.m.deltas = r.m.deltas[2:]
	default:
		return false, 0
	}
	return true, r.time
}

// unwrapReference is the value nearest to last whose low 24 bits are reference.
func unwrapReference(last int64, reference uint32) int64 {
	distance := (int64(reference) - last) & (referenceWrap - 1)
	if distance >= referenceWrap/2 {
		distance -= referenceWrap
	}
	return last + distance
}
