// Package jitter puts the packets of one encoding back into the order and rhythm in which they were sent, for the mixers.
//
// It stands between the leg that brings RTP packets to a node and the decoder. The network brings packets early, late, twice, in
// another order, or not at all; a decoder wants them one after the other, and a mixer wants sound whenever its clock says so.
// Audio is for sound, Video for pictures. Both keep nothing but what arrived and have not been asked for yet.
//
// # Delay
//
// Of every packet it is known when it was sent (its RTP timestamp) and when it arrived. The difference, less an unknown
// constant, is its transit time. The quickest packets of the last seconds are the base; how much later than that the others come
// is measured, and the target is the delay over the base by which 97 of 100 of them are there. A packet is played when the base
// and the delay have passed. When the target changes, the sound is played a little faster or slower until the delay is right, or
// at once in the next silence.
//
// # Drift
//
// The sender's clock is not ours: 100 millionths off, it sends 4.8 samples a second too many at 48 kHz, and any buffer overflows
// or runs dry in the end. The transit time of the quickest packets then rises or falls steadily; the slope over two minutes is
// the drift. Audio.Stretch says how many samples to leave out or to put in, drift and correction of the delay together.
package jitter

import "portico/shared/rtp/seqnum"

// Packet is one RTP packet's part that matters here.
type Packet struct {
	Seq       uint16
	Timestamp uint32
	Ticks     int    // how long its sound is, in ticks of the RTP clock; 0: not known, taken from its neighbours
	Quiet     bool   // the sender says with it that it falls silent (DTX): that nothing follows is no loss
	Marker    bool   // the last packet of a picture
	Payload   []byte // copied in
}

// Result is what Push did with a packet.
type Result uint8

const (
	Stored    Result = iota
	Late             // its time was over: dropped
	Duplicate        // dropped
	Strange          // a number far from all others: dropped; when its successor comes too, the sender began anew
	TooLong          // payload over MaxPayload: dropped
)

// MaxPayload is the longest payload that is taken, in bytes.
const MaxPayload = 1500

// All times are nanoseconds of any clock that only rises.
const (
	millisecond = int64(1_000_000)
	second      = 1000 * millisecond
)

// slot is one packet that is held.
type slot struct {
	index  int64 // -1: empty
	ts     int64 // unwrapped
	ticks  int64
	came   int64
	quiet  bool
	marker bool
	data   []byte
}

// queue holds packets by index, at most as many as it has slots; what lies behind next has been given out or is lost.
type queue struct {
	slots   []slot
	next    int64 // the index that is to be given out now
	highest int64 // the highest index that was put; next-1 when none is held
	held    int
}

// newQueue makes a queue of n slots at least.
func newQueue(n int) queue {
	size := 16
	for size < n {
		size *= 2
	}
	q := queue{slots: make([]slot, size)}
	for i := range q.slots {
		q.slots[i].index = -1
	}
	return q
}

func (q *queue) at(index int64) *slot { return &q.slots[index&int64(len(q.slots)-1)] }

// put copies p in. The index lies at next or behind it, less than len(slots) ahead, and is not held yet.
func (q *queue) put(index int64, p Packet, ts, now int64) *slot {
	s := q.at(index)
	s.index, s.ts, s.ticks, s.came, s.quiet, s.marker = index, ts, int64(p.Ticks), now, p.Quiet, p.Marker
	s.data = append(s.data[:0], p.Payload...)
	q.held++
	q.highest = max(q.highest, index)
	return s
}

func (q *queue) has(index int64) bool { return q.at(index).index == index }

// first is the lowest packet that is held; nil when none is.
func (q *queue) first() *slot {
	if q.held == 0 {
		return nil
	}
	for i := q.next; ; i++ {
		if s := q.at(i); s.index == i {
			return s
		}
	}
}

// advance moves next to index and returns how many packets it passed that were held.
func (q *queue) advance(index int64) (dropped int) {
	if index-q.next >= int64(len(q.slots)) || q.held == 0 {
		dropped = q.held
		q.clear()
	} else {
		for i := q.next; i < index; i++ {
			if s := q.at(i); s.index == i {
				s.index = -1
				dropped++
			}
		}
	}
	q.held -= dropped
	q.next = index
	q.highest = max(q.highest, index-1)
	return dropped
}

func (q *queue) clear() {
	for i := range q.slots {
		q.slots[i].index = -1
	}
}

// intake is what every packet goes through: its numbers are unwrapped, and its timing is learned from.
type intake struct {
	seq     seqnum.Unwrapper
	timing  timing
	started bool
}

// arrival is what intake found out about a packet.
type arrival struct {
	result  Result // Stored: goes on
	index   int64
	ts      int64
	newest  bool
	restart bool  // the first of all, or the sender began anew with it: what was before does not count
	first   bool  // the first of all
	apart   int64 // ticks since the packet with the number before, when that was the newest; else 0
}

func (in *intake) take(p Packet, now int64) arrival {
	if len(p.Payload) > MaxPayload {
		return arrival{result: TooLong}
	}
	before := in.seq.Highest()
	index, result := in.seq.Next(p.Seq)
	if result == seqnum.Strange {
		return arrival{result: Strange}
	}
	t := &in.timing
	a := arrival{index: index, first: !in.started, newest: !in.started || index > before}
	a.ts = t.unwrap(p.Timestamp)
	goesOn := in.started && result != seqnum.Restarted && t.continues(a.ts, now)
	switch {
	case goesOn && index == before+1:
		a.apart = a.ts - t.lastTS
	case !goesOn && !a.newest:
		return arrival{result: Late}
	case !goesOn:
		in.started, a.restart = true, true
		t.restart(a.ts, now)
	}
	t.observe(a.ts, now, a.newest)
	return a
}
