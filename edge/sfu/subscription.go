package sfu

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"portico/edge/sfu/feedback"
	"portico/shared/rtp/inspect"
	"portico/shared/rtp/rewrite"
)

// Bounds of what waits for one subscriber.
const (
	maxQueued = 512                    // packets
	maxAge    = 400 * time.Millisecond // older ones are thrown away, and forwarding goes on at a key frame
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
	AudioLevel     uint8 // id of the header extension with the audio level at the receiver, 0 without, at most 14
	Sink           Sink
	Writer         *Writer
}

// Subscription is one outgoing RTP stream: what one receiver gets of one track. Make it with NewSubscription; SetSource starts
// it. All methods are safe for concurrent use.
type Subscription struct {
	config SubscriptionConfig

	payloadType atomic.Uint32
	rtx         atomic.Uint32 // payload type, 0 without
	audioLevel  atomic.Uint32
	source      atomic.Pointer[Encoding]
	paused      atomic.Bool
	closed      atomic.Bool
	pauses      atomic.Uint32 // counts changes of paused
	queued      atomic.Int32

	// Only the Writer's goroutine touches these.
	stream    *rewrite.Stream
	encoding  *Encoding // where packets come from now
	began     *Encoding // where those of the present run came from
	epoch     uint32
	pausesHad uint32
	broken    bool // the next packet begins a run
	waiting   bool // it must be a key frame
	lastTS    uint32
	lastAt    int64
	answers   feedback.Answers
	reported  bool // an SR was sent in this run
	rtcp      []byte
	sent      sent
	rtxSeq    uint16 // of the next packet on the RTX stream

	packets, bytes, resent, reports atomic.Uint64
	drops                           [drops]atomic.Uint64
	loss                            atomic.Uint32 // fraction lost of 256, as the receiver reported last
}

// sent is what went out on the stream itself, without an RTX stream, as sender reports count it.
type sent struct{ packets, octets uint32 }

// SubscriptionStats are the counts of a Subscription so far.
type SubscriptionStats struct {
	Packets, Bytes uint64 // sent, retransmissions included
	Resent         uint64
	Lost           float64 // part lost on the way, as the receiver last reported: 0 to 1
	Drops          Drops
}

// NewSubscription makes a Subscription that gets nothing yet.
func NewSubscription(config SubscriptionConfig) *Subscription {
	s := &Subscription{
		config: config, stream: rewrite.New(uint16(rand.Uint32N(1 << 15))), broken: true, rtcp: make([]byte, 0, 64),
		rtxSeq: uint16(rand.Uint32N(1 << 15)),
	}
	s.Renegotiated(config.PayloadType, config.RTXPayloadType, config.AudioLevel)
	return s
}

// Renegotiated sets what a new negotiation may change: the payload types, of which the one of RTX may be 0, and the id of the
// audio level extension.
func (s *Subscription) Renegotiated(payloadType, rtx, audioLevel uint8) {
	s.payloadType.Store(uint32(payloadType))
	s.rtx.Store(uint32(rtx))
	s.audioLevel.Store(uint32(audioLevel))
}

// SetSource makes the Subscription get its packets from e, of the same codec as before; nil stops it. Video goes on with the
// next key frame, which is asked for; the receiver sees one unbroken stream.
func (s *Subscription) SetSource(e *Encoding, now int64) {
	old := s.source.Swap(e)
	if old == e {
		return
	}
	if old != nil {
		old.detach(s)
	}
	if e != nil && !s.closed.Load() {
		e.attach(s)
		if s.closed.Load() { // meanwhile; Close may have come before attach
			e.detach(s)
			return
		}
		e.RequestKeyFrame(now)
	}
}

// SetActive pauses the Subscription (false) or lets it go on, video with a key frame.
func (s *Subscription) SetActive(active bool, now int64) {
	if s.paused.Swap(!active) == !active {
		return
	}
	s.pauses.Add(1)
	if e := s.source.Load(); active && e != nil {
		e.RequestKeyFrame(now)
	}
}

// Close ends the Subscription. A packet being written at this moment may still reach the Sink.
func (s *Subscription) Close() {
	s.closed.Store(true)
	s.SetSource(nil, 0)
}

// Receive takes an RTCP compound of the receiver that may concern this stream: losses are answered from the history, wishes
// for key frames go to the source. Packets about other streams are ignored.
func (s *Subscription) Receive(compound []byte, now int64) {
	for p, rest, ok := feedback.Next(compound); ok; p, rest, ok = feedback.Next(rest) {
		switch p.Type {
		case feedback.TypeTransport:
			if media, ok := p.Media(); ok && media == s.config.SSRC {
				p.NACK(s.offerResend)
			}
		case feedback.TypePayload:
			if p.WantsKeyFrame(s.config.SSRC) {
				if e := s.source.Load(); e != nil && !s.paused.Load() {
					e.RequestKeyFrame(now)
				}
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

// offer is called by the reader of e for each new packet. It never blocks.
func (s *Subscription) offer(e *Encoding, index int64, epoch uint32) {
	if s.paused.Load() {
		s.drop(DropPaused)
		return
	}
	s.enqueue(item{sub: s, enc: e, index: index, epoch: epoch, pauses: s.pauses.Load(), kind: itemPacket})
}

func (s *Subscription) offerReport(e *Encoding) {
	if !s.paused.Load() {
		s.enqueue(item{sub: s, enc: e, kind: itemReport})
	}
}

func (s *Subscription) offerResend(seq uint16) {
	s.enqueue(item{sub: s, index: int64(seq), kind: itemResend})
}

func (s *Subscription) enqueue(it item) {
	if s.queued.Add(1) > maxQueued {
		s.queued.Add(-1)
		s.drop(DropQueueFull)
		return
	}
	if !s.config.Writer.push(it) {
		s.queued.Add(-1)
	}
}

// process handles one item of the queue on the Writer's goroutine.
func (s *Subscription) process(it item, scratch []byte, now int64) {
	s.queued.Add(-1)
	if s.closed.Load() {
		return
	}
	switch it.kind {
	case itemPacket:
		s.forward(it, scratch, now)
	case itemResend:
		s.resend(uint16(it.index), scratch, now)
	case itemReport:
		if it.enc == s.encoding {
			s.report(now)
		}
	}
}

// forward sends one packet, if it is its turn.
func (s *Subscription) forward(it item, scratch []byte, now int64) {
	if it.enc != s.source.Load() {
		s.drop(DropNoPlace) // of a source that is no longer wanted
		return
	}
	if it.enc != s.encoding || it.epoch != s.epoch || it.pauses != s.pausesHad {
		s.broken, s.waiting = true, it.enc.inspect != nil
		s.encoding, s.epoch, s.pausesHad = it.enc, it.epoch, it.pauses
	}
	n, p, ok := it.enc.history.Get(it.index, scratch[headroom:])
	if !ok {
		s.drop(DropGone)
		return
	}
	if now-p.arrival > int64(maxAge) {
		s.drop(DropLate)
		if it.enc.inspect != nil && !s.waiting {
			s.broken, s.waiting = true, true
			it.enc.RequestKeyFrame(now)
		}
		return
	}
	if s.waiting && !p.keyFrame {
		s.drop(DropWaitingKey)
		return
	}
	empty := int(p.payload)+int(p.padding) == n
	if empty && (s.broken || s.stream.Skip(it.index)) {
		return // padding: the receiver need not know of it
	}
	if s.broken {
		s.begin(it.index, p)
	}
	seq, ts, ok := s.stream.Forward(it.index, p.timestamp)
	if !ok {
		s.drop(DropNoPlace)
		return
	}
	if int32(ts-s.lastTS) > 0 || s.lastAt == 0 {
		s.lastTS, s.lastAt = ts, p.arrival
	}
	if s.write(scratch, n, p, outgoing{seq: seq, ts: ts}) && !s.reported {
		s.report(now)
	}
}

// begin starts a run with the packet index. Where the source's own timestamps fit what was sent before, they go on; else the
// time that has passed decides.
func (s *Subscription) begin(index int64, p packet) {
	s.broken, s.waiting, s.reported = false, false, false
	passed := max(p.arrival-s.lastAt, 0)
	next := s.lastTS + max(1, ticks(passed, s.config.ClockRate))
	if ts, ok := s.stream.Timestamp(p.timestamp); ok && s.began == s.encoding {
		second := int32(s.config.ClockRate)
		if off := int32(ts - next); off < second && off > -second && int32(ts-s.lastTS) > 0 {
			s.stream.Resume(index)
			return
		}
	}
	if s.lastAt == 0 {
		next = p.timestamp
	}
	s.stream.Switch(index, p.timestamp, next)
	s.began = s.encoding
}

// ticks converts nanoseconds to clock ticks.
func ticks(d int64, rate int) uint32 {
	seconds, rest := d/int64(time.Second), d%int64(time.Second)
	return uint32(seconds*int64(rate) + rest*int64(rate)/int64(time.Second))
}

// resend answers the receiver's request for the packet with its number seq. Packets from before the last switch are of no use
// to it any more.
func (s *Subscription) resend(seq uint16, scratch []byte, now int64) {
	source, index, ok := s.stream.Lookup(seq)
	if !ok || source != s.stream.Source() {
		s.drop(DropNoPlace)
		return
	}
	n, p, ok := s.began.history.Get(index, scratch[headroom:])
	if !ok {
		s.drop(DropGone)
		return
	}
	if !s.answers.Allow(seq, now) {
		s.drop(DropTooOften)
		return
	}
	_, ts, ok := s.stream.Forward(index, p.timestamp)
	if !ok {
		return
	}
	if s.write(scratch, n, p, outgoing{seq: seq, ts: ts, rtx: uint8(s.rtx.Load())}) {
		s.resent.Add(1)
	}
}

// headroom is what is free before a packet in the scratch buffer, for a header longer than the one it came with.
const headroom = 64

// outgoing is what a packet is on the outgoing stream. With rtx, a payload type, it goes out on the RTX stream.
type outgoing struct {
	seq uint16
	ts  uint32
	rtx uint8
}

// write puts the outgoing header before the payload of the packet of n bytes at scratch[headroom:], and sends it.
func (s *Subscription) write(scratch []byte, n int, p packet, o outgoing) bool {
	level := uint8(s.audioLevel.Load())
	if !p.hasLevel {
		level = 0
	}
	size := inspect.FixedHeader
	if level != 0 {
		size += 8
	}
	payloadType, seq, ssrc := uint8(s.payloadType.Load()), o.seq, s.config.SSRC
	begin, end := headroom+int(p.payload), headroom+n-int(p.padding)
	if o.rtx != 0 { // the payload begins with the packet's own number (RFC 4588 section 4)
		begin -= 2
		scratch[begin], scratch[begin+1] = byte(o.seq>>8), byte(o.seq)
		payloadType, seq, ssrc = o.rtx, s.rtxSeq, s.config.RTXSSRC
		s.rtxSeq++
	}
	raw := scratch[begin-size : end]
	raw[0], raw[1] = 0x80, payloadType
	if p.marker {
		raw[1] |= 0x80
	}
	raw[2], raw[3] = byte(seq>>8), byte(seq)
	putUint32(raw[4:], o.ts)
	putUint32(raw[8:], ssrc)
	if level != 0 { // one element of one byte, padded to a word
		raw[0] |= 0x10
		putUint32(raw[12:], inspect.OneByteProfile<<16|1)
		putUint32(raw[16:], uint32(level)<<28|uint32(p.level)<<16)
	}
	if err := s.config.Sink.WriteRTP(raw); err != nil {
		s.drop(DropWriteFailed)
		return false
	}
	s.packets.Add(1)
	s.bytes.Add(uint64(len(raw)))
	if o.rtx == 0 {
		s.sent.packets++
		s.sent.octets += uint32(len(raw) - size)
	}
	return true
}

func putUint32(b []byte, v uint32) {
	b[0], b[1], b[2], b[3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
}

// report sends a sender report: this moment on our clock and in the outgoing stream, so that the receiver can play streams
// of one time together.
func (s *Subscription) report(now int64) {
	if s.broken || s.encoding == nil {
		return
	}
	last, ok := s.encoding.lastReport()
	if !ok || last.epoch != s.epoch {
		return
	}
	var at uint32 // the source's timestamp of now
	if now >= last.at {
		at = last.timestamp + ticks(now-last.at, s.config.ClockRate)
	} else {
		at = last.timestamp - ticks(last.at-now, s.config.ClockRate)
	}
	ts, ok := s.stream.Timestamp(at)
	if !ok {
		return
	}
	s.reported = true
	s.rtcp = feedback.AppendSenderReport(s.rtcp[:0], feedback.SenderReport{
		SSRC: s.config.SSRC, NTP: feedback.ToNTP(now), Timestamp: ts,
		Packets: s.sent.packets, Octets: s.sent.octets,
	})
	if s.config.Sink.WriteRTCP(s.rtcp) == nil {
		s.reports.Add(1)
	}
}
