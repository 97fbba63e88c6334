package sfu

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
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

func TestForwardingAllocatesNothing(t *testing.T) {
	up := &upstream{}
	enc := NewEncoding(EncodingConfig{Video: true, Codec: "vp8", ClockRate: 90_000, PayloadType: 96, NACK: true, Upstream: up})
	f := newFeeder(enc)
	w := newWriter(func() int64 { return f.now })
	to := &null{}
	for i := range uint32(50) {
		s := NewSubscription(SubscriptionConfig{Video: true, ClockRate: 90_000, SSRC: i, PayloadType: 96, Sink: to, Writer: w})
		s.SetSource(enc, f.now)
	}
	step := func() { f.next(); w.drain() }
	for range 2000 {
		step()
	}
	before := to.n.Load()
	if n := testing.AllocsPerRun(2000, step); n != 0 {
		t.Errorf("%v allocations per packet to 50 subscribers", n)
	}
	if sent := to.n.Load() - before; sent != 2001*50 {
		t.Errorf("%d packets were sent", sent)
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
