package sfu

import (
	"time"

	"portico/edge/sfu/feedback"
	"portico/edge/sfu/layer"
	"portico/shared/rtp/rewrite"
)

// When the edge does not keep up, packets get old in the queues of its Writers. A Subscription whose packets are older than maxAge
// drops them from the next picture on and goes on at a key frame. When that happens again soon it waits longer and longer, so
// that those that are left are served well: audio, which only drops what is old, and as many subscribers as the edge can.
const (
	maxAge      = 150 * time.Millisecond
	spareFirst  = 500 * time.Millisecond // how long the second time
	spareMost   = 8 * time.Second        // it doubles up to this
	spareForget = 10 * time.Second       // after so long the next time is the first again
)

// forwarding is what a Subscription's Writer knows of it. Only the Writer's goroutine touches it.
type forwarding struct {
	stream   *rewrite.Stream
	selector *layer.Selector
	plan     *plan
	encoding *Encoding // where the packets of the stream come from; nil: nothing was sent yet
	epoch    uint32
	pauses   uint32
	note     uint32 // of the present run of the stream
	x        Extensions
	answers  *feedback.Answers
	asked    *plan // for which a key frame was asked for, because a layer cannot begin without

	lastTS    uint32 // of the newest packet sent
	lastAt    int64  // when that came; 0: nothing was sent
	last      rewrite.Offsets
	exact     uint32  // what timestamps should have added to them,
	restamp   bool    // but the last ones had to be pushed on
	catchUp   *replay // packets come from the history: all belong to this moment
	replayed  int64   // up to this packet in the order of the Encoding all was sent from there
	replayOf  *Encoding
	cuts      int // by overload
	cutAt     int64
	rtcp      []byte
	sent      sent
	rtxSeq    uint16 // of the next packet on the RTX stream
	delivered counts // not yet in the statistics
}

// sent is what went out on the stream itself, without an RTX stream, as sender reports count it.
type sent struct{ packets, octets uint32 }

// counts are statistics of one run.
type counts struct {
	packets, bytes uint64
	pictures       uint32
	media          uint64 // bytes that were not sent again
}

// forward handles a run of packets of e.
func (s *Subscription) forward(e *Encoding, run []slot, now int64) {
	if s.closed.Load() {
		return
	}
	f := &s.forwarding
	s.adopt(now)
	place := f.plan.place(e)
	switch {
	case place < 0:
		s.drops[DropNoPlace].Add(uint64(len(run))) // of a source that is no longer wanted
		return
	case s.paused.Load():
		s.drops[DropPaused].Add(uint64(len(run)))
		return
	}
	if until := s.spared.Load(); until != 0 && e.inspect != nil {
		if now < until {
			s.drops[DropOverloaded].Add(uint64(len(run)))
			return
		}
		s.spared.Store(0)
		s.want(e, now)
		s.note(now)
	}
	for i := range run {
		s.packet(e, place, &run[i], now)
	}
	s.account(now)
	if f.asked != f.plan && place == f.plan.target.Encoding && place == f.selector.Current() && !f.selector.Settled() {
		f.asked = f.plan
		e.RequestKeyFrame(now)
	}
}

// adopt takes over what was changed from outside.
func (s *Subscription) adopt(now int64) {
	f := &s.forwarding
	f.x = unpack(s.extensions.Load())
	if p := s.plan.Load(); p != f.plan {
		f.plan = p
		f.selector.SetTarget(p.target)
		f.selector.SetCurrent(p.place(s.current.Load()))
		if f.selector.Waiting() {
			s.stop(now)
		}
	}
	if pauses := s.pauses.Load(); pauses != f.pauses {
		f.pauses = pauses
		s.interrupt(now)
	}
}

// interrupt makes forwarding wait for a key frame.
func (s *Subscription) interrupt(now int64) {
	s.forwarding.selector.Restart()
	s.stop(now)
}

// stop takes note that nothing is forwarded from now on.
func (s *Subscription) stop(now int64) {
	if s.live.Swap(false) {
		s.stopped.Store(now)
	}
}

// account adds what was done to the statistics.
func (s *Subscription) account(now int64) {
	c := &s.forwarding.delivered
	if c.packets == 0 {
		return
	}
	s.packets.Add(c.packets)
	s.bytes.Add(c.bytes)
	s.meter.add(c, now)
	*c = counts{}
}

// packet handles one packet that is in its place in the plan.
func (s *Subscription) packet(e *Encoding, place int, t *slot, now int64) {
	f := &s.forwarding
	if t.lost != 0 {
		s.drops[DropQueueFull].Add(uint64(t.lost))
		s.cut(e, place, true, now)
	}
	switch {
	case !t.ok:
		s.drop(DropGone)
		return
	case e == f.replayOf && t.order <= f.replayed && f.catchUp == nil:
		return // sent from the history already
	case now-t.arrival > int64(maxAge) && f.catchUp == nil && !s.finishes(e, t, now):
		s.drop(DropLate)
		s.cut(e, place, t.keyFrame, now)
		return
	}
	forwarded := place == f.selector.Current()
	if forwarded && t.epoch != f.epoch && !f.selector.Waiting() {
		s.interrupt(now)
		e.RequestKeyFrame(now)
	}
	waiting := f.selector.Waiting()
	switch {
	case e == f.encoding && t.index < f.stream.Next():
		s.late(t, now)
	case t.empty():
		if forwarded && !waiting && !f.stream.Skip(t.index, 0) {
			s.drop(DropNoPlace)
		}
	default:
		s.decide(e, place, t, now)
	}
}

// decide handles a packet that comes later than all before.
func (s *Subscription) decide(e *Encoding, place int, t *slot, now int64) {
	f := &s.forwarding
	d := f.selector.Next(layer.Packet{
		Encoding: place, Timestamp: t.timestamp, Key: t.keyFrame || e.inspect == nil, Frame: &t.frame,
	})
	switch d.Choice {
	case layer.Ignore:
		if f.selector.Waiting() || place == f.plan.target.Encoding {
			s.drop(DropWaitingKey)
		} else {
			s.drop(DropNoPlace)
		}
		return
	case layer.Skip:
		pictures := uint16(0)
		if d.Picture && t.frame.Counted {
			pictures = 1
		}
		f.stream.Skip(t.index, pictures)
		s.drop(DropLayer)
		return
	}
	if d.Switch {
		s.begin(e, t)
	} else if d.Picture && f.restamp {
		s.align(t)
	}
	if note := d.Limits.Note(); note != f.note || d.Switch {
		f.stream.Annotate(t.index, note)
		f.note = note
		s.limits.Store(note)
	}
	at, ok := f.stream.Forward(t.index)
	if !ok {
		s.drop(DropNoPlace)
		return
	}
	if d.Picture {
		f.delivered.pictures++
	}
	s.newest(t, at)
	if s.write(t, at, outgoing{marker: t.marker || d.Limits.Last(&t.frame)}) && d.Switch {
		s.report(now)
	}
	if d.Switch {
		s.begun(now)
	}
}

// newest takes note of the numbers of the packet with which the stream goes on.
func (s *Subscription) newest(t *slot, at rewrite.Place) {
	f := &s.forwarding
	if ts := t.timestamp + at.Stamp; int32(ts-f.lastTS) > 0 || f.lastAt == 0 {
		f.lastTS, f.lastAt = ts, t.arrival
	}
	if t.frame.PictureAt != 0 {
		f.last.Picture = t.frame.Picture + at.Picture
	}
	if t.frame.TL0At != 0 {
		f.last.TL0 = t.frame.TL0 + at.TL0
	}
	if t.frame.Structure != nil {
		f.last.Frame = t.frame.Number + at.Frame
	}
}

// late handles a packet that others came before: it has a place if it was missing, and what it would have been then follows from
// that. If its layer was left out its number is used up all the same, by a packet without payload.
func (s *Subscription) late(t *slot, now int64) {
	f := &s.forwarding
	if f.selector.Waiting() {
		s.drop(DropWaitingKey)
		return
	}
	at, ok := f.stream.Forward(t.index)
	if !ok {
		s.drop(DropNoPlace)
		return
	}
	s.write(t, at, s.outgoing(t, at))
}

// outgoing is what follows from a packet's place.
func (s *Subscription) outgoing(t *slot, at rewrite.Place) outgoing {
	limits := layer.FromNote(at.Note)
	return outgoing{marker: t.marker || limits.Last(&t.frame), empty: t.empty() || !limits.Keep(&t.frame)}
}

// finishes tells whether a packet that is late is the rest of a picture whose beginning was sent.
func (s *Subscription) finishes(e *Encoding, t *slot, now int64) bool {
	f := &s.forwarding
	return e.inspect != nil && e == f.encoding && !t.first && !f.selector.Waiting() && now-t.arrival < 2*int64(maxAge)
}

// cut makes video wait for a key frame because the edge does not keep up; key says that one may have been among what was dropped.
func (s *Subscription) cut(e *Encoding, place int, key bool, now int64) {
	f := &s.forwarding
	if e.inspect == nil {
		return
	}
	if f.selector.Waiting() || place != f.selector.Current() {
		if key {
			e.RequestKeyFrame(now)
		}
		return
	}
	s.interrupt(now)
	if now-f.cutAt > int64(spareForget) {
		f.cuts = 0
	}
	if f.cutAt, f.cuts = now, f.cuts+1; f.cuts == 1 {
		e.RequestKeyFrame(now)
	} else {
		s.spared.Store(now + min(int64(spareMost), int64(spareFirst)<<min(f.cuts-2, 8)))
	}
	s.note(now)
}

// begun takes note that an encoding is being forwarded from now on.
func (s *Subscription) begun(now int64) {
	f := &s.forwarding
	changed := s.current.Swap(f.encoding) != f.encoding
	s.live.Store(true)
	if changed {
		s.mu.Lock()
		s.reconcile()
		s.mu.Unlock()
	}
	s.note(now)
}
