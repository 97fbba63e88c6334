package rtc

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"portico/edge/sfu"
	"portico/edge/sfu/feedback"
	"portico/shared/conference"
)

// IntakeSpec says how the packets of a track come from another edge.
type IntakeSpec struct {
	SSRC        uint32
	PayloadType uint8
	Redundant   uint8 // of packets with audio from before them too; 0: there are none
	Extensions  sfu.Extensions
	// Timeline is shared by what comes of one publication by one way. nil: the intake's own.
	Timeline *feedback.Timeline
	// Send takes RTCP to whoever sends the packets. It must not block.
	Send func(compound []byte)
	// Came, if set, is told when there is a picture, or sound, that one can begin with; the track comes by this way from then on. Ingest
	// calls it; it must not block.
	Came func()
}

// Intake is one way by which a track comes. Make it with Remote.Begin. Ingest and Control are for one goroutine at a time; the rest is safe
// for concurrent use.
type Intake struct {
	spec     IntakeSpec
	track    *published
	encoding *sfu.Encoding
	video    bool
	began    int64         // when the first packet came; Ingest's own
	came     atomic.Bool   // a picture, or sound, that one can begin with
	strange  atomic.Uint64 // packets of no such stream
	closed   bool          // the Engine's mu guards it
}

// linkSender is our SSRC in RTCP on links: the flow says what it is about.
const linkSender = 1

// Begin lets a track come by a new way. While it comes by another one, that goes on until there is a picture, or sound, to go on with: then
// it is let go. It fails with ErrNoSuchTrack.
func (r *Remote) Begin(track string, spec IntakeSpec) (*Intake, error) {
	e := r.engine
	if spec.Timeline == nil {
		spec.Timeline = new(feedback.Timeline)
	}
	var effects effects
	e.mu.Lock()
	p := r.tracks[track]
	if p == nil || p.gone {
		e.mu.Unlock()
		return nil, ErrNoSuchTrack
	}
	in := &Intake{spec: spec, track: p, video: p.line.kind == conference.Video}
	config := sfu.EncodingConfig{
		Video: in.video, Codec: p.format.Codec, ClockRate: p.clock, PayloadType: spec.PayloadType, NACK: true,
		Extensions: spec.Extensions, Upstream: in, Timeline: spec.Timeline,
	}
	if !in.video {
		config.Level = p.heard
	}
	in.encoding = sfu.NewEncoding(config)
	in.encoding.SetRedundant(spec.Redundant)
	if p.remote.intake == nil {
		p.comesBy(in, &effects)
	}
	e.mu.Unlock()
	effects.run(e.now())
	return in, nil
}

// comesBy makes an intake that by which the track comes; nil: it comes no more. The Engine's mu is held.
func (p *published) comesBy(in *Intake, effects *effects) {
	p.engine.totals.addEncoding(p.encoding.Stats())
	effects.closeIn(p.encoding)
	if p.remote.pulled { // by whom it is used the steerer knows of the encoding before
		p.remote.until = max(p.remote.until, p.engine.now()+int64(unpulledAfter))
	}
	p.remote.intake = in
	if in != nil {
		p.encoding = in.encoding
	} else {
		p.encoding = nothing(p, p.line.kind)
	}
	for s := range p.subscribers {
		for _, l := range s.lines {
			if l.feed == p || l.before != nil && l.before.feed == p {
				effects.feeding = append(effects.feeding, l)
			}
		}
	}
	for t := range p.taps {
		effects.tapping = append(effects.tapping, t)
	}
	p.engine.steerer.soon() // for those that choose among layers
}

// Ingest takes a packet. It copies it; what is of another stream is counted and dropped.
func (in *Intake) Ingest(packet []byte) {
	if len(packet) < 12 || binary.BigEndian.Uint32(packet[8:]) != in.spec.SSRC {
		in.strange.Add(1)
		return
	}
	now := in.track.engine.now()
	if in.encoding.Ingest(packet, now, nil) == nil && !in.came.Load() { // it counts what it refuses
		in.arrive(now)
	}
}

// keyFrameWithin is how long after its first packet a track is to have a key frame, which it begins with as a rule.
const keyFrameWithin = 50 * time.Millisecond

// arrive takes note of the first picture, or sound. While there is none nobody is fed by it who could ask for a key frame.
func (in *Intake) arrive(now int64) {
	p := in.track
	if s := in.encoding.Stats(); s.Packets == 0 || in.video && s.KeyFrames == 0 {
		switch {
		case s.Packets == 0:
		case in.began == 0:
			in.began = now
		case now-in.began > int64(keyFrameWithin):
			in.encoding.RequestKeyFrame(now)
		}
		return
	}
	in.came.Store(true)
	var effects effects
	e := p.engine
	e.mu.Lock()
	if !in.closed && !p.gone && p.remote.intake != in {
		p.comesBy(in, &effects)
	}
	e.mu.Unlock()
	effects.run(e.now())
	e.steerer.soon() // an heir may have waited for it
	if in.spec.Came != nil {
		in.spec.Came()
	}
}

// Control takes RTCP of whoever sends the packets.
func (in *Intake) Control(compound []byte) {
	for p, rest, ok := feedback.Next(compound); ok; p, rest, ok = feedback.Next(rest) {
		if sr, ok := p.SenderReport(); ok && sr.SSRC == in.spec.SSRC {
			in.encoding.SenderReport(sr, in.track.engine.now())
		}
	}
}

// RequestPackets implements sfu.Upstream.
func (in *Intake) RequestPackets(seqs []uint16) {
	in.spec.Send(feedback.AppendNACK(nil, linkSender, in.spec.SSRC, seqs))
}

// RequestKeyFrame implements sfu.Upstream.
func (in *Intake) RequestKeyFrame() { in.spec.Send(feedback.AppendPLI(nil, linkSender, in.spec.SSRC)) }

// Report tells whoever sends the packets how they arrive, and begins a new period.
func (in *Intake) Report() {
	if b, ok := in.encoding.Report(in.spec.SSRC, in.track.engine.now()); ok {
		in.track.up.fraction.Store(uint32(b.FractionLost))
		in.spec.Send(feedback.AppendReceiverReport(nil, linkSender, []feedback.Report{b}))
	}
}

// Came tells whether there was something to begin with.
func (in *Intake) Came() bool { return in.came.Load() }

// IntakeStats are the counts of an Intake so far.
type IntakeStats struct {
	sfu.EncodingStats
	Lost    float64 // part lost on the way, of the last Report: 0 to 1
	Strange uint64  // packets of no such stream
}

// Stats returns them.
func (in *Intake) Stats() IntakeStats {
	return IntakeStats{EncodingStats: in.encoding.Stats(), Lost: float64(in.track.up.fraction.Load()) / 256, Strange: in.strange.Load()}
}

// Close ends the way. If the track comes by it, it comes no more. It is safe twice.
func (in *Intake) Close() {
	p := in.track
	var effects effects
	p.engine.mu.Lock()
	if !in.closed {
		in.closed = true
		if p.remote.intake == in && !p.gone {
			p.comesBy(nil, &effects)
		} else {
			effects.closeIn(in.encoding)
		}
	}
	p.engine.mu.Unlock()
	effects.run(p.engine.now())
}
