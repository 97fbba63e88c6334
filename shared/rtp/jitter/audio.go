package jitter

import "time"

// Config are an Audio's bounds. Zero means the default.
type Config struct {
	ClockRate int           // of the RTP timestamps, in ticks a second; default 48000. G.722 says 8000 (RFC 3551 section 4.5.2)
	Frame     time.Duration // what a packet's sound lasts until that is known; default 20 ms
	Min, Max  time.Duration // of the target delay; default 20 and 200 ms
	Packets   int           // held at most, rounded up to a power of two; default 128
}

func (c Config) withDefaults() Config {
	if c.ClockRate <= 0 {
		c.ClockRate = 48_000
	}
	if c.Frame <= 0 {
		c.Frame = 20 * time.Millisecond
	}
	if c.Min <= 0 {
		c.Min = 20 * time.Millisecond
	}
	if c.Max <= 0 {
		c.Max = 200 * time.Millisecond
	}
	c.Max = max(c.Max, c.Min)
	if c.Packets <= 0 {
		c.Packets = 128
	}
	return c
}

// The rules of playing.
const (
	firstTarget = 40 * time.Millisecond  // until jitter was measured
	patience    = 200 * time.Millisecond // without a packet, until the sender counts as silent
	silencePart = 10 * time.Millisecond  // silence is given in parts no longer than this

	startFaster = 15 * millisecond // how far the delay may be over, or under the target before the sound is stretched,
	startSlower = 5 * millisecond
	enough      = 2 * millisecond // and when it is right again
	maxStretch  = 0.01            // of the sound, by which the delay is corrected: a sixth of a semitone
	correction  = 2 * second      // in which the delay would be corrected

	lossPackets = 128   // over which the share of lost packets is measured
	lossMany    = 0.02  // it is so much that the delay is made longer,
	lossFew     = 0.005 // and so little that it need not be

	maxTicks = 120 // of a packet, in thousandths of a second: Opus has no longer ones
)

// Kind is what Pop gives.
type Kind uint8

const (
	Sound   Kind = iota // a packet
	Lost                // one packet's sound is missing, and the next one is there: conceal, or decode what Next has of it (FEC)
	Starved             // nothing is there, though something should be: conceal
	Silence             // the sender sends nothing, or its packet's time has not come: play silence, or comfort noise
)

// Item is the next piece of sound.
type Item struct {
	Kind    Kind
	Ticks   int    // how long it is, in ticks of the RTP clock; for Sound as far as known, and the decoder knows better
	Seq     uint16 // of Sound and Lost
	TS      uint32 // RTP timestamp of Sound and Lost
	Payload []byte // of Sound; valid until the next call of Push or Pop
	Next    []byte // of Lost: payload of the packet behind it, when that is the very next; likewise
}

// Stats are counts since the beginning, and how things are now.
type Stats struct {
	Packets, Late, Duplicates, Strange, TooLong uint64 // that came
	Lost                                        uint64 // packets that were not there in time: the late ones are among them
	Skipped                                     uint64 // packets that were dropped to get the delay down
	Restarts                                    uint64 // times the sender began anew
	Starved                                     uint64 // ticks of sound asked for in vain
	Delay, Target                               time.Duration
	Drift                                       float64 // how much faster the sender's clock is than ours, in millionths
}

func (s *Stats) count(result Result) {
	s.Packets++
	switch result {
	case Late:
		s.Late++
	case Duplicate:
		s.Duplicates++
	case Strange:
		s.Strange++
	case TooLong:
		s.TooLong++
	}
}

// Audio gives the packets of one encoding of sound back in order, whenever its player has nothing left to play. Make it with
// NewAudio. It is not safe for concurrent use. It does not allocate once its slots have held packets of the usual length.
type Audio struct {
	config Config
	intake
	queue queue
	stats Stats

	given     bool // a packet was given out
	playing   bool // cursor moves on with what is given; else the next packet waits for its time
	quiet     bool // the last packet said that the sender falls silent
	cursor    int64
	frame     int64 // ticks of a usual packet
	apart     int64 // between the newest packet and the one before, when neither says how long it is
	end       int64 // timestamp behind the newest packet
	concealed int64 // ticks of Starved that were given in place of sound that may still come
	starved   int64 // ticks of Starved in a row
	delay     int64 // behind the base, smoothed, in nanoseconds
	adjusting bool
	loss      float64 // share of packets that are lost
	lossy     bool
}

// NewAudio makes an Audio that nothing has arrived at.
func NewAudio(config Config) *Audio {
	config = config.withDefaults()
	a := &Audio{config: config, queue: newQueue(config.Packets)}
	a.timing.rate = int64(config.ClockRate)
	a.frame = a.ticks(config.Frame)
	a.timing.delays.expect(int64(firstTarget))
	return a
}

func (a *Audio) ticks(d time.Duration) int64 { return a.timing.ticks(int64(d)) }

// Push takes a packet that arrived at the time now, in nanoseconds. p.Payload is copied. Any numbers may come in.
func (a *Audio) Push(p Packet, now int64) Result {
	arrived := a.take(p, now)
	result := arrived.result
	if result == Stored {
		if arrived.restart {
			a.begin(arrived)
		}
		result = a.store(arrived, p, now)
	}
	a.stats.count(result)
	return result
}

// begin starts a timeline; what was held before is dropped.
func (a *Audio) begin(first arrival) {
	if !first.first {
		a.stats.Restarts++
	}
	a.stats.Skipped += uint64(a.queue.advance(first.index))
	a.queue.highest = first.index - 1
	a.given = false
	a.end = first.ts
	a.rest()
}

// rest waits for the time of the next packet.
func (a *Audio) rest() {
	a.playing, a.quiet, a.concealed, a.starved = false, false, 0, 0
}

func (a *Audio) store(arrived arrival, p Packet, now int64) Result {
	size, index := int64(len(a.queue.slots)), arrived.index
	switch {
	case index < a.queue.next && !a.given && a.queue.highest-index < size:
		a.queue.next = index // out of order at the very beginning
	case index < a.queue.next:
		return Late
	case a.queue.has(index):
		return Duplicate
	case index-a.queue.next >= size:
		a.stats.Skipped += uint64(a.queue.advance(index - size + 1))
		a.rest()
	}
	p.Ticks = int(min(max(int64(p.Ticks), 0), a.longest()))
	s := a.queue.put(index, p, arrived.ts, now)
	a.learnFrame(s, arrived.apart)
	a.end = max(a.end, s.ts+a.length(s))
	return Stored
}

// longest is the most ticks of a packet.
func (a *Audio) longest() int64 { return a.timing.rate * maxTicks / 1000 }

// learnFrame finds out how long a usual packet is: as it says, or as far apart as two in a row are that came one after the other.
func (a *Audio) learnFrame(s *slot, apart int64) {
	switch {
	case s.quiet:
	case s.ticks > 0:
		a.frame = s.ticks
	case apart > 0 && apart <= a.longest():
		if apart == a.apart {
			a.frame = apart
		}
		a.apart = apart
	}
}

func (a *Audio) length(s *slot) int64 {
	if s.ticks > 0 {
		return s.ticks
	}
	return a.frame
}

// target is the delay over the base that is aimed at, in nanoseconds: with what it may be under it, enough for most packets.
// When packets are lost it is a packet's length more: then the next one, which may have the lost one's sound too, is there when
// it is missed.
func (a *Audio) target() int64 {
	t := a.timing.delays.within() + startSlower
	if a.lossy {
		t += a.timing.nanoseconds(a.frame)
	}
	return min(max(t, int64(a.config.Min)), int64(max(a.config.Max, a.config.Min)))
}

// SetMin changes Config.Min: for sound that has to wait for its pictures. It goes beyond Config.Max, too.
func (a *Audio) SetMin(d time.Duration) { a.config.Min = d }

// behind is how much later than the quickest packets ts would be played now.
func (a *Audio) behind(ts, now int64) int64 {
	return now - a.timing.since - a.timing.elapsed(ts) - a.timing.base()
}

// Pop gives the next piece of sound to a player whose clock says now, in nanoseconds, and who has nothing left to play. Ask again
// when that piece was played; the time in between is what the delay follows.
func (a *Audio) Pop(now int64) Item {
	a.skip()
	s := a.queue.first()
	if s == nil {
		return a.nothing()
	}
	missing := s.index - a.queue.next
	if a.playing {
		gap := s.ts - a.cursor
		if a.concealed > 0 && gap > 0 {
			gap, missing = a.credit(gap, missing)
		}
		a.concealed = 0
		switch {
		case gap <= missing || missing == 0 && gap <= a.frame/2: // at once, or nearly
			return a.give(s, now)
		case missing > 0 && gap < missing*a.frame+a.frame:
			return a.lost(s, gap, missing)
		}
		a.rest() // the sender was silent in between
	}
	if wait := a.target() - a.behind(s.ts, now); wait > 0 {
		ticks := max(a.timing.ticks(min(wait, int64(silencePart))), 1)
		return Item{Kind: Silence, Ticks: int(ticks)}
	}
	a.playing, a.cursor = true, s.ts
	a.delay = a.behind(s.ts, now)
	return a.give(s, now)
}

// credit takes off the gap what was concealed of it before it was known to be one.
func (a *Audio) credit(gap, missing int64) (gapLeft, missingLeft int64) {
	took := min(a.concealed, gap)
	a.cursor, gap = a.cursor+took, gap-took
	left := min(missing, (gap+a.frame/2)/a.frame)
	a.queue.next += missing - left
	a.countLost(missing - left)
	return gap, left
}

// countLost counts packets that will not be played, and finds out whether they are many.
func (a *Audio) countLost(n int64) {
	a.stats.Lost += uint64(n)
	for range min(n, lossPackets) {
		a.loss += (1 - a.loss) / lossPackets
	}
	a.lossy = a.lossy || a.loss > lossMany
}

// skip gets rid of what is too much: more sound than any delay within the bounds explains.
func (a *Audio) skip() {
	limit := a.ticks(max(a.config.Max, a.config.Min)) + 2*a.frame
	s := a.queue.first()
	if s == nil || a.end-s.ts <= limit {
		return
	}
	limit = a.timing.ticks(a.target()) + a.frame
	for a.queue.held > 1 && a.end-s.ts > limit {
		a.stats.Skipped += uint64(a.queue.advance(s.index + 1))
		s = a.queue.first()
	}
	if a.playing {
		a.queue.advance(s.index) // those missing in between are not worth concealing
		a.cursor, a.concealed, a.starved = s.ts, 0, 0
	}
}

// give gives out the packet s.
func (a *Audio) give(s *slot, now int64) Item {
	a.countLost(s.index - a.queue.next)
	a.loss -= a.loss / lossPackets
	a.lossy = a.lossy && a.loss > lossFew
	a.queue.next = s.index + 1
	a.queue.held--
	s.index, a.quiet, a.given, a.starved = -1, s.quiet, true, 0
	a.delay += (a.behind(s.ts, now) - a.delay) / 8
	a.cursor = s.ts + a.length(s)
	index := a.queue.next - 1
	return Item{Kind: Sound, Ticks: int(a.length(s)), Seq: uint16(index), TS: uint32(s.ts), Payload: s.data}
}

// lost gives out that the packet at next is missing, where s is the next that is there, gap ticks and missing packets ahead.
func (a *Audio) lost(s *slot, gap, missing int64) Item {
	a.countLost(1)
	it := Item{Kind: Lost, Ticks: int(gap / missing), Seq: uint16(a.queue.next), TS: uint32(a.cursor)}
	if missing == 1 {
		it.Next = s.data
	}
	a.queue.next++
	a.cursor += gap / missing
	a.given, a.starved = true, 0
	return it
}

// nothing is given when no packet is held.
func (a *Audio) nothing() Item {
	if a.playing && a.starved < a.ticks(patience) && !a.quiet {
		a.starved += a.frame
		a.concealed += a.frame
		a.stats.Starved += uint64(a.frame)
		return Item{Kind: Starved, Ticks: int(a.frame)}
	}
	a.rest()
	return Item{Kind: Silence, Ticks: int(a.ticks(silencePart))}
}

// Stretch is how many samples a second to leave out, or to put in when negative, of sound at the RTP clock's rate: so the player
// keeps pace with the sender's clock, and the delay comes to its target.
func (a *Audio) Stretch() float64 {
	fraction := a.timing.drift
	off := a.delay - a.target()
	switch {
	case !a.playing:
		a.adjusting = false
	case off > startFaster || off < -startSlower:
		a.adjusting = true
	case off < enough && off > -enough:
		a.adjusting = false
	}
	if a.adjusting {
		fraction += min(max(float64(off)/float64(correction), -maxStretch), maxStretch)
	}
	return fraction * float64(a.timing.rate)
}

// PlayTime is when the sound or picture with this RTP timestamp, which is near the newest one, is to be played: on the clock of
// Push, in nanoseconds. ok is false before the first packet.
func (a *Audio) PlayTime(timestamp uint32) (at int64, ok bool) {
	if !a.started {
		return 0, false
	}
	return a.timing.playTime(timestamp, a.target()), true
}

// Stats are the figures so far.
func (a *Audio) Stats() Stats {
	s := a.stats
	s.Delay, s.Target, s.Drift = time.Duration(a.delay), time.Duration(a.target()), a.timing.drift*1e6
	return s
}
