// Package seqnum unwraps and compares the wrapping numbers of RTP: 16-bit sequence numbers and 32-bit timestamps.
//
// It is the first step of every incoming packet: the number on the wire becomes an int64 index that never wraps, and all that
// follows (history, repair, renumbering) counts in indexes. The rules are those of RFC 3550 appendix A.1.
package seqnum

// Newer tells whether a comes after b, less than half the number space ahead.
func Newer(a, b uint16) bool { return a != b && a-b < 1<<15 }

// TimestampNewer tells whether timestamp a comes after b, less than half the number space ahead.
func TimestampNewer(a, b uint32) bool { return a != b && a-b < 1<<31 }

// Limits of what still counts as the same run of packets (RFC 3550 appendix A.1 has MAX_DROPOUT and MAX_MISORDER). Twice the
// RFC's drop-out: at 300 packets a second it lets a sender fall silent on the network for 20 seconds.
const (
	MaxDropout  = 6000 // packets that may be missing between two that arrive
	MaxMisorder = 1000 // packets that one may come late
)

// Unwrapper turns the sequence numbers of one RTP stream into indexes. The zero value is ready. It is not safe for concurrent
// use: the stream's reader owns it.
type Unwrapper struct {
	highest int64  // highest index so far
	bad     uint16 // the number that would confirm a restart
	waiting bool   // bad is set
	started bool
}

// Result is what Next found out about one packet.
type Result uint8

const (
	Ordered   Result = iota // in order or late: Index is right
	Restarted               // the sender began again with another number: Index follows the highest one
	Strange                 // far outside: drop it; if the next one follows it, that is a restart
)

// Next returns the index of the packet with sequence number seq. The first packet of a stream gets its own number plus 1<<16,
// so that packets from before it keep positive indexes. Two packets in a row far from the rest mean that the sender began
// again: the second is then Restarted and continues the indexes without a gap.
func (u *Unwrapper) Next(seq uint16) (index int64, result Result) {
	if !u.started {
		u.started = true
		u.highest = 1<<16 + int64(seq)
		return u.highest, Ordered
	}
	delta := int64(int16(seq - uint16(u.highest)))
	switch {
	case delta > 0 && delta <= MaxDropout:
		u.highest += delta
		u.waiting = false
		return u.highest, Ordered
	case delta <= 0 && delta > -MaxMisorder:
		u.waiting = false
		return u.highest + delta, Ordered
	case u.waiting && seq == u.bad:
		u.waiting = false
		// Keep the low 16 bits equal to the number on the wire: the distance to the next such index, at least one ahead.
		u.highest += int64(uint16(seq-uint16(u.highest)-1)) + 1
		return u.highest, Restarted
	}
	u.bad, u.waiting = seq+1, true
	return 0, Strange
}

// Near tells whether seq belongs to the run of packets: whether Next would call it Ordered. It changes nothing, and is false
// before the first packet.
func (u *Unwrapper) Near(seq uint16) bool {
	delta := int64(int16(seq - uint16(u.highest)))
	return u.started && delta <= MaxDropout && delta > -MaxMisorder
}

// Highest is the highest index so far; 0 before the first packet.
func (u *Unwrapper) Highest() int64 { return u.highest }

// Timestamps turns 32-bit RTP timestamps into an int64 count of clock ticks. The zero value is ready; not safe for concurrent use.
type Timestamps struct {
	last    int64
	started bool
}

// Next returns the tick count of ts: the one nearest to the last. The first gets its own value plus 1<<32.
func (t *Timestamps) Next(ts uint32) int64 {
	if !t.started {
		t.started = true
		t.last = 1<<32 + int64(ts)
		return t.last
	}
	t.last += int64(int32(ts - uint32(t.last)))
	return t.last
}
