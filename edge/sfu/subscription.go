package sfu

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"portico/edge/sfu/feedback"
	"portico/edge/sfu/layer"
	"portico/shared/rtp/rewrite"
)

// SubscriptionConfig is what a Subscription is made of.
type SubscriptionConfig struct {
	Video       bool
	SSRC        uint32
	ClockRate   int
	PayloadType uint8
	// RTXPayloadType and RTXSSRC are those of the stream that packets are sent again on (RFC 4588). Without the first, 0, they
	// go out again as they were.
	RTXPayloadType uint8
	RTXSSRC        uint32
	Extensions     Extensions // ids at the receiver
	Sink           Sink
	Writer         *Writer
}

// Subscription is one outgoing RTP stream: what one receiver gets of one track. Make it with NewSubscription; SetSource or
// SetSources starts it. All methods are safe for concurrent use.
type Subscription struct {
	config SubscriptionConfig

	payloadType atomic.Uint32
	rtx         atomic.Uint32 // payload type, 0 without
	redundant   atomic.Uint32 // as rtx
	extensions  atomic.Uint32
	repairRate  atomic.Int64 // SetRepair
	repairPause atomic.Int64
	plan        atomic.Pointer[plan]
	current     atomic.Pointer[Encoding] // that is, or was, forwarded
	paused      atomic.Bool
	closed      atomic.Bool
	live        atomic.Bool   // packets are being forwarded; until then a key frame is missing
	stopped     atomic.Int64  // when that ended last; 0: never began
	limits      atomic.Uint32 // layer.Limits
	pauses      atomic.Uint32 // counts changes of paused
	spared      atomic.Int64  // until then nothing is forwarded: the edge does not keep up
	controls    atomic.Int32
	padding     atomic.Int64 // bytes to send

	mu       sync.Mutex // guards the fields below and changes of plan
	attached [2]*Encoding
	reason   Reason
	since    int64

	// Only the Writer's goroutine touches these.
	forwarding forwarding

	packets, bytes, resent, reports atomic.Uint64
	drops                           [drops]atomic.Uint64
	loss                            atomic.Uint32 // fraction lost of 256, as the receiver reported last
	meter                           meter
}

// SubscriptionStats are the counts of a Subscription so far.
type SubscriptionStats struct {
	Packets, Bytes uint64 // sent, retransmissions included
	Resent         uint64
	Lost           float64 // part lost on the way, as the receiver last reported: 0 to 1
	Drops          Drops
}

// NewSubscription makes a Subscription that gets nothing yet.
func NewSubscription(config SubscriptionConfig) *Subscription {
	s := &Subscription{config: config}
	s.plan.Store(&plan{target: All(0), asked: All(0)})
	s.forwarding = forwarding{
		stream: rewrite.New(uint16(rand.Uint32N(1 << 15))), selector: layer.New(), rtxSeq: uint16(rand.Uint32N(1 << 15)),
	}
	s.Renegotiated(config.PayloadType, config.RTXPayloadType, config.Extensions)
	return s
}

// Renegotiated sets what a new negotiation may change: the payload types, of which the one of RTX may be 0, and the ids of
// extensions.
func (s *Subscription) Renegotiated(payloadType, rtx uint8, x Extensions) {
	s.payloadType.Store(uint32(payloadType))
	s.rtx.Store(uint32(rtx))
	s.extensions.Store(x.pack())
}

// SetRedundant says with which payload type the receiver takes packets with audio from before them too (RFC 2198); 0, as at the
// beginning: it gets all packets without.
func (s *Subscription) SetRedundant(payloadType uint8) { s.redundant.Store(uint32(payloadType)) }

// SetActive pauses the Subscription (false) or lets it go on, video with a key frame.
func (s *Subscription) SetActive(active bool, now int64) {
	if s.paused.Swap(!active) == !active {
		return
	}
	s.pauses.Add(1)
	s.stop(now)
	if e := s.plan.Load().wanted(); active && e != nil {
		s.want(e, now)
	}
	s.note(now)
}

// Close ends the Subscription. A packet being written at this moment may still reach the Sink.
func (s *Subscription) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed.Store(true)
	s.plan.Store(&plan{target: All(0), asked: All(0)})
	s.reconcile()
}

// Receive takes an RTCP compound of the receiver that may concern this stream: losses are answered from the history, wishes
// for key frames go to the source. Packets about other streams are ignored.
func (s *Subscription) Receive(compound []byte, now int64) {
	for p, rest, ok := feedback.Next(compound); ok; p, rest, ok = feedback.Next(rest) {
		switch p.Type {
		case feedback.TypeTransport:
			if media, ok := p.Media(); ok && media == s.config.SSRC {
				p.NACK(s.orderResend)
			}
		case feedback.TypePayload:
			if p.WantsKeyFrame(s.config.SSRC) {
				s.refresh(now)
			}
		default:
			p.Reports(func(r feedback.Report) {
				if r.SSRC == s.config.SSRC {
					s.loss.Store(uint32(r.FractionLost))
				}
			})
		}
	}
}

// refresh asks for a key frame of what is being forwarded, because the receiver cannot go on without.
func (s *Subscription) refresh(now int64) {
	p := s.plan.Load()
	e := s.current.Load()
	if p.place(e) < 0 {
		e = p.wanted()
	}
	if e != nil && !s.paused.Load() {
		e.RequestKeyFrame(now)
	}
}

func (s *Subscription) orderResend(seq uint16) {
	if !s.order(control{sub: s, seq: seq, kind: controlResend}) {
		s.drop(DropQueueFull)
	}
}

// Pad sends about that many bytes of padding, as a probe of the network. It goes out on the RTX stream, so that nothing of the
// media is renumbered; without one nothing is sent.
func (s *Subscription) Pad(bytes int) {
	if bytes <= 0 || s.rtx.Load() == 0 || s.closed.Load() {
		return
	}
	if s.padding.Add(int64(min(bytes, maxPadding))) > maxPadding {
		s.padding.Store(maxPadding)
	}
	s.order(control{sub: s, kind: controlPad})
}

// maxPadding is how many bytes of padding may be waiting.
const maxPadding = 1 << 16

// order queues something for the Writer's goroutine; false when there is too much of it.
func (s *Subscription) order(c control) bool {
	if s.controls.Add(1) > maxControls || !s.config.Writer.order(c) {
		s.controls.Add(-1)
		return false
	}
	return true
}

// obey does what was ordered, on the Writer's goroutine.
func (s *Subscription) obey(w *Writer, c *control) {
	s.controls.Add(-1)
	if s.closed.Load() {
		return
	}
	switch c.kind {
	case controlResend:
		s.resend(&w.single, c.seq, w.clock())
	case controlStart:
		s.start(w)
	case controlPad:
		s.pad(&w.single, int(s.padding.Swap(0)))
	}
}

// Stats returns the counts so far.
func (s *Subscription) Stats() SubscriptionStats {
	stats := SubscriptionStats{
		Packets: s.packets.Load(), Bytes: s.bytes.Load(), Resent: s.resent.Load(), Lost: float64(s.loss.Load()) / 256,
	}
	for i := range s.drops {
		stats.Drops[i] = s.drops[i].Load()
	}
	return stats
}

func (s *Subscription) drop(reason Drop) { s.drops[reason].Add(1) }
