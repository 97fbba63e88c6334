package sfu

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"portico/edge/sfu/feedback"
)

// TestHostileRTP: what makes no sense is refused or kept small, and the stream goes on.
func TestHostileRTP(t *testing.T) {
	b := newBench(t, true)
	_, to := b.subscribe(true)
	b.send(100, keyFrame)
	bad := map[string][]byte{
		"padding past the header":   append([]byte{0xa0}, append(raw(96, 101, b.ts, interFrame)[1:], 200)...),
		"padding of nothing":        append([]byte{0xa0}, append(raw(96, 101, b.ts, interFrame)[1:], 0)...),
		"extension past the end":    append([]byte{0x90}, append(raw(96, 101, b.ts, nil)[1:], 0xbe, 0xde, 0xff, 0xff, 1)...),
		"sources past the end":      append([]byte{0x8f}, raw(96, 101, b.ts, nil)[1:]...),
		"another version":           append([]byte{0x40}, raw(96, 101, b.ts, interFrame)[1:]...),
		"longer than any datagram":  append(raw(96, 101, b.ts, nil), make([]byte, 70_000)...),
		"nothing but a fixed start": {0x80, 96, 0, 101},
	}
	for name, p := range bad {
		if err := b.enc.Ingest(p, b.now, nil); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, seq := range []uint16{100, 40_000, 65_000, 40_002, 90} { // replayed, far away, from before the beginning
		b.send(seq, interFrame)
	}
	old := b.enc.Stats().Drops
	if old[DropMalformed] != uint64(len(bad)) || old[DropDuplicate] != 1 || old[DropStrange] != 2 {
		t.Errorf("drops %v", old)
	}
	b.send(101, interFrame)
	for _, jump := range []uint32{1 << 31, 1, 1<<31 + 5, 90_000} { // timestamps that jump about
		b.ts += jump
		b.now += 33 * ms
		b.send(uint16(102+len(to.packets)-2), interFrame)
	}
	for i, p := range to.packets {
		if p.header.Sequence != to.packets[0].header.Sequence+uint16(i) {
			t.Errorf("packet %d has number %d", i, p.header.Sequence-to.packets[0].header.Sequence)
		}
	}
	if len(to.packets) != 6 {
		t.Errorf("%d packets", len(to.packets))
	}
}

// TestRollOver goes twice round the sequence numbers.
func TestRollOver(t *testing.T) {
	b := newBench(t, true)
	s, to := b.subscribe(true)
	count := &null{}
	s.config.Sink = count
	for i := range 140_000 {
		payload := interFrame
		if i == 0 {
			payload = keyFrame
		}
		b.ts += 900
		b.now += 10 * ms
		b.send(uint16(60_000+i), payload)
	}
	if n := count.n.Load(); n != 140_000 || len(to.packets) != 0 {
		t.Errorf("%d packets", n)
	}
	if stats := b.enc.Stats(); stats.PacketsRequested != 0 || stats.Drops != (Drops{}) {
		t.Errorf("%+v", stats)
	}
}

// TestKeyFrameFlood: a thousand wishes a second from each of many subscribers are two requests a second.
func TestKeyFrameFlood(t *testing.T) {
	b := newBench(t, true)
	var subs []*Subscription
	for range 20 {
		s, _ := b.subscribe(true)
		subs = append(subs, s)
	}
	pli := feedback.AppendPLI(nil, 1, 0xaaaa)
	before := b.up.keyFrames
	for i := range 5000 {
		b.now += ms
		for _, s := range subs {
			s.Receive(pli, b.now)
		}
		if i%33 == 0 { // the sender obeys
			b.ts += 3000
			b.send(uint16(i/33), keyFrame)
		}
	}
	if n := b.up.keyFrames - before; n < 8 || n > 10 {
		t.Errorf("%d requests in 5 s", n)
	}
}

// TestSmallPublishersAreCheap: what an encoding holds depends on what it sends.
func TestSmallPublishersAreCheap(t *testing.T) {
	const encodings = 100
	measure := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := measure()
	var list []*Encoding
	payload := make([]byte, 500)
	copy(payload, keyFrame)
	now := start
	for range encodings {
		e := NewEncoding(EncodingConfig{Video: true, Codec: "vp8", ClockRate: 90_000, PayloadType: 96, NACK: true, Upstream: &upstream{}})
		for i := range 100 { // 4 s of 25 packets a second: 100 kbit/s
			if err := e.Ingest(raw(96, uint16(i), uint32(i)*3600, payload), now+int64(i)*40*ms, nil); err != nil {
				t.Fatal(err)
			}
		}
		list = append(list, e)
	}
	if each := (measure() - before) / encodings; each > 48<<10 {
		t.Errorf("%d bytes for each", each)
	}
	for _, e := range list {
		e.Close()
	}
	runtime.KeepAlive(list)
}

// TestOverload: a Writer that can carry a part of its subscribers serves these well, spares the others, and takes them up again
// when it can.
func TestOverload(t *testing.T) {
	b := newBench(t, true)
	clock := b.now
	cost := int64(0) // of each packet sent
	w := newWriter(func() int64 { return clock })
	const subscribers = 40
	var subs []*Subscription
	var counts []*slow
	for i := range subscribers {
		to := &slow{clock: &clock, cost: &cost}
		s := NewSubscription(SubscriptionConfig{Video: true, ClockRate: 90_000, SSRC: uint32(i), Sink: to, Writer: w})
		s.SetSource(b.enc, clock)
		subs, counts = append(subs, s), append(counts, to)
	}
	seq := uint16(0)
	asked, longest := 0, int64(0)
	run := func(d time.Duration) {
		for until := b.now + int64(d); b.now < until; {
			b.now += 10 * ms // a packet is a picture
			clock = max(clock, b.now)
			payload := interFrame
			if b.up.keyFrames > asked {
				asked, payload = b.up.keyFrames, keyFrame
			}
			b.ts += 900
			if err := b.enc.Ingest(raw(96, seq, b.ts, payload), b.now, nil); err != nil {
				t.Fatal(err)
			}
			seq++
			if clock < b.now+10*ms { // the Writer's goroutine is free
				w.drain()
				longest = max(longest, int64(w.Delay()))
			}
		}
	}
	served := func() (n int) {
		for _, to := range counts {
			if to.n > 0 {
				n++
			}
			to.n = 0
		}
		return n
	}
	run(2 * time.Second)
	if n := served(); n != subscribers {
		t.Fatalf("%d are served at rest", n)
	}
	cost = ms / 2 // 20 a picture can be carried
	run(20 * time.Second)
	served()
	keys := b.up.keyFrames
	run(5 * time.Second)
	n := 0
	for _, to := range counts {
		if to.n > 400 { // of 500
			n++
		}
	}
	if n < 8 || n > 20 {
		t.Errorf("%d of %d are served well by half of what is needed", n, subscribers)
	}
	if longest > 3*int64(maxAge) {
		t.Errorf("packets waited %v", time.Duration(longest))
	}
	if asked := b.up.keyFrames - keys; asked > 10 {
		t.Errorf("%d key frames were asked for in 5 s", asked)
	}
	spared := 0
	for _, s := range subs {
		if r, _ := s.Reason(clock); r == ReasonOverloaded {
			spared++
		}
	}
	if spared == 0 {
		t.Error("nobody is told that the edge is overloaded")
	}
	cost = 0
	served()
	run(10 * time.Second)
	if n := served(); n != subscribers {
		t.Errorf("%d are served when the load has gone", n)
	}
}

// slow is a sink whose packets take their time.
type slow struct {
	clock, cost *int64
	n           int
}

func (s *slow) WriteRTP([]byte, int) error { *s.clock += *s.cost; s.n++; return nil }
func (s *slow) WriteRTCP([]byte) error     { return nil }
