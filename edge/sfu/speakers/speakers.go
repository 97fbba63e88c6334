// Package speakers picks the loudest of many audio inputs for a few slots (rooms-and-media 6.3): a listener who is fed from the
// slots gets as many streams as there are slots, however many microphones are open.
//
// It stands beside the packet path. Whoever reads an input's packets gives their audio level (RFC 6464) to its Input, which
// only adds it up; every Interval at most, the owner of the Selector has it decide, and moves the slots' subscriptions.
//
// Only packets with the voice flag count. An input is as loud as they were on average since the last decision, and silent,
// which is less than any voice, when there was none for Silence. An input keeps its slot while it is among the loudest, so
// that a slot changes only when somebody else has to be heard; a silent input stays where nobody needs the place, and even
// takes a free one: then its first syllable is not missed.
package speakers

import (
	"slices"
	"sync/atomic"
	"time"
)

// The timetable.
const (
	Interval = 200 * time.Millisecond // between decisions, at least
	Silence  = 600 * time.Millisecond // without voice, until an input counts as silent
)

// Quietest is the level of digital silence in -dBov; 0 is the loudest.
const Quietest = 127

// Input is one audio stream that may be picked. Make it with Selector.Add.
type Input struct {
	heard  atomic.Uint64 // since the last decision: the sum of loudnesses in the upper half, their number in the lower
	voiced atomic.Int64  // when there was voice last, in nanoseconds; 0: never

	// The Selector's.
	loudness uint32 // 0: silent
	slot     int    // -1: none
}

// scale is the precision of a loudness that is an average.
const scale = 16

// Packet takes the level of a packet in -dBov, 0 (loudest) to 127, with its voice flag. now is the time of its arrival in
// nanoseconds, never 0. It may be called from any goroutine, at any time.
func (in *Input) Packet(level uint8, voice bool, now int64) {
	if !voice {
		return
	}
	in.heard.Add(uint64(Quietest+1-min(level, Quietest))<<32 | 1)
	in.voiced.Store(now)
}

// measure finds out how loud the input is now.
func (in *Input) measure(now int64) {
	heard := in.heard.Swap(0)
	if sum, n := heard>>32, heard&(1<<32-1); n > 0 {
		in.loudness = uint32(sum * scale / n)
	}
	if at := in.voiced.Load(); at == 0 || now-at >= int64(Silence) {
		in.loudness = 0
	}
}

// Selector decides which inputs are in the slots. Make it with New. Not safe for concurrent use, unlike its Inputs.
type Selector struct {
	inputs  []*Input
	slots   []*Input // nil: free
	major   *Input   // the loudest, who keeps that while all are silent; nil: nobody has spoken yet
	told    []Change // what the slots were last reported to be
	decided int64
	ever    bool // there was a decision

	top     []*Input // scratch of Decide
	changes []Change
}

// Change is what has become of a slot.
type Change struct {
	Slot  int
	Input *Input // who is in it now; nil: nobody
	Major bool   // it is the loudest of all; the others are minor
}

// New makes a Selector with that many slots, all free.
func New(slots int) *Selector {
	s := &Selector{
		slots: make([]*Input, slots), told: make([]Change, slots),
		top: make([]*Input, 0, slots+1), changes: make([]Change, 0, slots),
	}
	for i := range s.told {
		s.told[i].Slot = i
	}
	return s
}

// Add makes an input that nothing was heard of yet.
func (s *Selector) Add() *Input {
	in := &Input{slot: -1}
	s.inputs = append(s.inputs, in)
	return in
}

// Remove takes an input out; its slot is free from the next decision on. Doing so twice is no error.
func (s *Selector) Remove(in *Input) {
	s.inputs = slices.DeleteFunc(s.inputs, func(other *Input) bool { return other == in })
	if in.slot >= 0 {
		s.slots[in.slot] = nil
		in.slot = -1
	}
	if s.major == in {
		s.major = nil
	}
}

// At is who is in a slot; nil: nobody. It goes with the last decision, but for those removed since.
func (s *Selector) At(slot int) *Input { return s.slots[slot] }

// Decide puts the loudest inputs into the slots and returns what has changed, in the order of the slots; nothing when the last
// decision was less than Interval ago. now is in nanoseconds. The result is valid until the next call.
func (s *Selector) Decide(now int64) []Change {
	if s.ever && now-s.decided < int64(Interval) {
		return nil
	}
	s.decided, s.ever = now, true
	s.rank(now)
	s.place()
	if len(s.top) > 0 && s.top[0].loudness > 0 {
		s.major = s.top[0]
	}
	s.changes = s.changes[:0]
	for i, in := range s.slots {
		is := Change{Slot: i, Input: in, Major: in != nil && in == s.major}
		if is != s.told[i] {
			s.told[i] = is
			s.changes = append(s.changes, is)
		}
	}
	return s.changes
}

// rank measures all inputs and leaves the loudest in top, loudest first.
func (s *Selector) rank(now int64) {
	s.top = s.top[:0]
	for _, in := range s.inputs {
		in.measure(now)
		at := len(s.top)
		for at > 0 && s.before(in, s.top[at-1]) {
			at--
		}
		if at < len(s.slots) {
			s.top = slices.Insert(s.top, at, in)
			s.top = s.top[:min(len(s.top), len(s.slots))]
		}
	}
}

// before tells whether a comes before b. Of those that are equally loud, who has a slot keeps it, and the major stays that.
func (s *Selector) before(a, b *Input) bool {
	if a.loudness != b.loudness {
		return a.loudness > b.loudness
	}
	if a == s.major || b == s.major {
		return a == s.major
	}
	return a.slot >= 0 && b.slot < 0
}

// place gives slots to those in top that have none.
func (s *Selector) place() {
	for i, in := range s.slots {
		if in != nil && !slices.Contains(s.top, in) {
			in.slot, s.slots[i] = -1, nil
		}
	}
	for _, in := range s.top {
		if in.slot < 0 {
			in.slot = slices.Index(s.slots, nil)
			s.slots[in.slot] = in
		}
	}
	if s.major != nil && s.major.slot < 0 {
		s.major = nil
	}
}
