package sfu

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"portico/edge/sfu/feedback"
)

// null is a sink that takes everything and counts.
type null struct{ n atomic.Uint64 }

func (s *null) WriteRTP([]byte, int) error { s.n.Add(1); return nil }
func (s *null) WriteRTCP([]byte) error     { return nil }

// feeder makes the packets of a source without allocating.
type feeder struct {
	enc    *Encoding
	packet []byte
	seq    uint16
	now    int64
}

func newFeeder(enc *Encoding) *feeder {
	return &feeder{enc: enc, packet: raw(96, 0, 0, append(append([]byte{}, keyFrame...), make([]byte, 1000)...)), now: start}
}

func (f *feeder) next() {
	f.seq++
	f.now += 8 * ms
	binary.BigEndian.PutUint16(f.packet[2:], f.seq)
	binary.BigEndian.PutUint32(f.packet[4:], uint32(f.seq)*720)
	if err := f.enc.Ingest(f.packet, f.now, nil); err != nil {
		panic(err)
	}
}

// stepper makes the packets of a source of that kind, 120 a second.
func stepper(kind string, up Upstream) (enc *Encoding, next func(), now *int64) {
	config := EncodingConfig{
		Video: true, Codec: kind, ClockRate: 90_000, PayloadType: 96, NACK: true, Upstream: up, Extensions: Extensions{DependencyDescriptor: 4},
	}
	enc, now = NewEncoding(config), new(int64)
	*now = start
	structure := unhex(chromeStructure)
	body := make([]byte, 1000)
	var scratch []byte
	n := 0
	next = func() {
		ts, seq, picture := uint32(n/3)*2970, uint16(n), uint16(n/3)
		key, spatial := n == 0, byte(n%3)
		scratch = append(scratch[:0], 0x80, 96, byte(seq>>8), byte(seq), byte(ts>>24), byte(ts>>16), byte(ts>>8), byte(ts), 0, 0, 0x11, 0x11)
		switch kind {
		case "vp8": // three packets a picture, two temporal layers
			start := byte(0x80)
			if spatial == 0 {
				start = 0x90
			}
			scratch = append(scratch, start, 0xe0, 0x80|byte(picture>>8)&0x7f, byte(picture), byte(picture/2), byte(picture%2)<<6|0x20)
			if key {
				scratch = append(scratch, keyFrame[1:]...)
			}
		case "vp9": // three spatial layers
			flags := byte(0xec)
			if key {
				flags = 0xac
			}
			scratch = append(scratch, flags, 0x80|byte(picture>>8)&0x7f, byte(picture), 0x10|spatial<<1, byte(picture))
			scratch = append(scratch, 0x82, 0x49, 0x83, 0x42, 0, 0x27, 0xf0, 0x16, 0x78, 0)
		case "av1": // three spatial layers of three temporal ones
			template := [4]byte{0, 3, 2, 4}[picture%4] + 5*spatial
			if picture == 0 {
				template = 1 + 5*spatial
			}
			descriptor := structure[:3]
			if key {
				descriptor = structure
			}
			descriptor[0], descriptor[1], descriptor[2] = 0xc0|template, byte(seq>>8), byte(seq)
			words := (2 + len(descriptor) + 3) / 4
			scratch[0] |= 0x10
			scratch = append(append(scratch, 0x10, 0, 0, byte(words), 4, byte(len(descriptor))), descriptor...)
			for len(scratch)%4 != 0 {
				scratch = append(scratch, 0)
			}
			scratch = append(scratch, 0x10, 0x30)
			if key {
				scratch[len(scratch)-2] |= 0x08
			}
		}
		scratch = append(scratch, body...)
		*now += 8 * ms
		if err := enc.Ingest(scratch, *now, nil); err != nil {
			panic(err)
		}
		n++
	}
	return enc, next, now
}

func TestForwardingAllocatesNothing(t *testing.T) {
	for _, kind := range []string{"vp8", "vp9", "av1"} {
		enc, next, now := stepper(kind, &upstream{})
		w := newWriter(func() int64 { return *now })
		to := &null{}
		var subs []*Subscription
		for i := range uint32(50) {
			s := NewSubscription(SubscriptionConfig{
				Video: true, ClockRate: 90_000, SSRC: i, PayloadType: 96, RTXPayloadType: 97, Sink: to, Writer: w,
				Extensions: Extensions{TransportSeq: 3, DependencyDescriptor: 5},
			})
			s.SetSource(enc, *now)
			if i%2 == 1 {
				s.SetTarget(Target{Spatial: 1, Temporal: 0}, ReasonBandwidth, *now)
			}
			subs = append(subs, s)
		}
		pli := feedback.AppendPLI(nil, 1, 3)
		n := 0
		step := func() {
			next()
			subs[n%50].Pad(100)
			subs[3].Receive(pli, *now)
			w.drain()
			n++
		}
		for range 2000 {
			step()
		}
		before := to.n.Load()
		if n := testing.AllocsPerRun(2000, step); n != 0 {
			t.Errorf("%s: %v allocations per packet to 50 subscribers", kind, n)
		}
		if sent := to.n.Load() - before; sent < 2001*25 {
			t.Errorf("%s: %d packets were sent", kind, sent)
		}
	}
}

// BenchmarkLayers is the way of a packet to 50 subscribers, half of which get fewer layers, without the goroutine of a Writer. The
// metric is for each packet that a subscriber was asked about.
func BenchmarkLayers(b *testing.B) {
	for _, kind := range []string{"vp8", "vp9", "av1"} {
		b.Run(kind, func(b *testing.B) {
			enc, next, now := stepper(kind, &upstream{})
			w := newWriter(func() int64 { return *now })
			to := &null{}
			for i := range uint32(50) {
				s := NewSubscription(SubscriptionConfig{
					Video: true, ClockRate: 90_000, SSRC: i, Sink: to, Writer: w, Extensions: Extensions{TransportSeq: 3, DependencyDescriptor: 5},
				})
				s.SetSource(enc, *now)
				if i%2 == 1 {
					s.SetTarget(Target{Spatial: 1, Temporal: 0}, ReasonBandwidth, *now)
				}
			}
			b.ReportAllocs()
			in := 0
			for b.Loop() {
				for range 3 {
					next()
				}
				w.drain()
				in += 3
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(50*in), "ns/asked")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(to.n.Load()), "ns/forwarded")
		})
	}
}

// BenchmarkForward is the core alone, from Ingest to a sink that does nothing. One operation is one packet in; the metric
// is for each packet out. With "own" every subscription has a Writer, with "shared" all have one.
func BenchmarkForward(b *testing.B) {
	for _, subscribers := range []int{1, 50, 200} {
		for _, own := range []bool{true, false} {
			name := fmt.Sprintf("1to%d/shared", subscribers)
			if own {
				name = fmt.Sprintf("1to%d/own", subscribers)
			}
			b.Run(name, func(b *testing.B) { benchmarkForward(b, subscribers, own) })
		}
	}
}

func benchmarkForward(b *testing.B, subscribers int, own bool) {
	enc := NewEncoding(EncodingConfig{Video: true, Codec: "vp8", ClockRate: 90_000, PayloadType: 96, NACK: true, Upstream: &upstream{}})
	f := newFeeder(enc)
	to := &null{}
	var now atomic.Int64
	now.Store(f.now)
	var writers []*Writer
	for i := range subscribers {
		if own || i == 0 {
			writers = append(writers, NewWriter(now.Load, nil))
		}
		s := NewSubscription(SubscriptionConfig{Video: true, ClockRate: 90_000, SSRC: uint32(i), Sink: to, Writer: writers[len(writers)-1]})
		s.SetSource(enc, f.now)
		defer s.Close()
	}
	b.ReportAllocs()
	in := 0
	for b.Loop() {
		f.next()
		now.Store(f.now)
		for in++; int(to.n.Load()) < (in-8)*subscribers; { // stay within the age that the writers accept
			runtime.Gosched()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(max(1, to.n.Load())), "ns/forwarded")
	for _, w := range writers {
		w.Close()
	}
}
