package sfu

import (
	"time"

	"portico/edge/sfu/feedback"
	"portico/shared/rtp/rewrite"
)

// plausible is how far timestamps may be from what the time that has passed says, when a stream goes on.
const plausible = time.Second

// begin lets the stream go on with a packet of e. Timestamps follow those before by the time that has passed at the source. Where
// that would not let them rise they rise a little, and fall into line with later pictures; the same for pictures from the history,
// which all belong to the moment of the last, so that the receiver does not play them slowly.
func (s *Subscription) begin(e *Encoding, t *slot) {
	f := &s.forwarding
	var out uint32
	if r := f.catchUp; r != nil {
		f.exact = s.stamp(e, r.newest, r.newestAt)
		out = r.newest + f.exact - uint32(r.pictures)*s.moment()
	} else {
		f.exact = s.stamp(e, t.timestamp, t.arrival)
		out = t.timestamp + f.exact
	}
	if f.lastAt != 0 && int32(out-f.lastTS) <= 0 {
		out = f.lastTS + s.moment()
	}
	f.restamp = out != t.timestamp+f.exact
	var offsets rewrite.Offsets
	if f.lastAt != 0 {
		offsets = rewrite.Offsets{
			Picture: f.last.Picture + 1 - t.frame.Picture, TL0: f.last.TL0 + 1 - t.frame.TL0, Frame: f.last.Frame + 1 - t.frame.Number,
		}
	}
	if e == f.encoding {
		f.stream.Resume(t.index, offsets)
		f.stream.Restamp(t.index, out-t.timestamp)
	} else {
		f.stream.Switch(t.index, t.timestamp, out, offsets)
	}
	f.encoding, f.epoch = e, t.epoch
}

// moment is the least by which timestamps rise from picture to picture, in ticks: a millisecond.
func (s *Subscription) moment() uint32 { return uint32(max(1, s.config.ClockRate/1000)) }

// align brings the timestamps of the picture that begins with a packet nearer to where they should be.
func (s *Subscription) align(t *slot) {
	f := &s.forwarding
	out := t.timestamp + f.exact
	if f.catchUp != nil || int32(out-f.lastTS) <= 0 {
		out = f.lastTS + s.moment()
	} else {
		f.restamp = false
	}
	f.stream.Restamp(t.index, out-t.timestamp)
}

// stamp is what to add to the timestamps of e so that they follow what was sent before, from a packet on with that timestamp that
// came at arrival.
func (s *Subscription) stamp(e *Encoding, timestamp uint32, arrival int64) uint32 {
	f := &s.forwarding
	if f.lastAt == 0 {
		return 0
	}
	passed := max(arrival-f.lastAt, 0)
	next := f.lastTS + max(1, ticks(passed, s.config.ClockRate))
	if e == f.encoding {
		if off := int64(int32(timestamp + f.exact - next)); within(off, s.config.ClockRate) {
			return f.exact
		}
	} else if between, ok := s.between(e, timestamp); ok {
		out := f.lastTS + uint32(between)
		if within(int64(int32(out-next)), s.config.ClockRate) {
			return out - timestamp
		}
	}
	return next - timestamp
}

func within(off int64, rate int) bool {
	limit := int64(rate) * int64(plausible) / int64(time.Second)
	return off < limit && off > -limit
}

// between is the time at the source from the newest packet sent to one of another encoding with that timestamp, in ticks, as the
// sender reports of both tell.
func (s *Subscription) between(e *Encoding, timestamp uint32) (int32, bool) {
	f := &s.forwarding
	old, ok := f.encoding.lastReport()
	if !ok || old.epoch != f.epoch {
		return 0, false
	}
	now, ok := e.lastReport()
	if !ok {
		return 0, false
	}
	place, _ := f.stream.Current()
	rate := s.config.ClockRate
	// Both are how long after its report's moment a packet was taken.
	then := int32(f.lastTS - place.Stamp - old.timestamp)
	this := int32(timestamp - now.timestamp)
	apart := now.at - old.at
	if apart > int64(time.Minute) || apart < -int64(time.Minute) {
		return 0, false
	}
	return this - then + int32(apart*int64(rate)/int64(time.Second)), true
}

// ticks converts nanoseconds to clock ticks.
func ticks(d int64, rate int) uint32 {
	seconds, rest := d/int64(time.Second), d%int64(time.Second)
	return uint32(seconds*int64(rate) + rest*int64(rate)/int64(time.Second))
}

// sendReport sends a sender report, if packets of e are being forwarded.
func (s *Subscription) sendReport(e *Encoding, now int64) {
	if !s.closed.Load() && !s.paused.Load() && e == s.forwarding.encoding {
		s.report(now)
	}
}

// report sends a sender report: this moment on our clock and in the outgoing stream, so that the receiver can play streams
// of one time together.
func (s *Subscription) report(now int64) {
	f := &s.forwarding
	if f.selector.Waiting() || f.encoding == nil || f.catchUp != nil {
		return
	}
	last, ok := f.encoding.lastReport()
	if !ok || last.epoch != f.epoch {
		return
	}
	at := last.timestamp + f.exact // the outgoing timestamp of now
	if now >= last.at {
		at += ticks(now-last.at, s.config.ClockRate)
	} else {
		at -= ticks(last.at-now, s.config.ClockRate)
	}
	f.rtcp = feedback.AppendSenderReport(f.rtcp[:0], feedback.SenderReport{
		SSRC: s.config.SSRC, NTP: feedback.ToNTP(now), Timestamp: at, Packets: f.sent.packets, Octets: f.sent.octets,
	})
	if s.config.Sink.WriteRTCP(f.rtcp) == nil {
		s.reports.Add(1)
	}
}
