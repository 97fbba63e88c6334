package sfu

import (
	"fmt"
	"slices"
	"testing"

	"portico/shared/rtp/inspect"
	"portico/shared/rtp/red"
)

// redundant writes the payload of a packet with the blocks that came before it, 960 ticks apart; the last is the primary one.
func redundant(payloadType uint8, blocks ...string) []byte {
	var b []byte
	for i, block := range blocks[:len(blocks)-1] {
		offset := 960 * (len(blocks) - 1 - i)
		b = append(b, 0x80|payloadType, byte(offset>>6), byte(offset<<2)|byte(len(block)>>8), byte(len(block)))
	}
	b = append(b, payloadType)
	for _, block := range blocks {
		b = append(b, block...)
	}
	return b
}

// opus gives one packet of that payload type to the encoding.
func (b *bench) opus(payloadType uint8, seq uint16, payload []byte) error {
	p := []byte{0x90, payloadType, byte(seq >> 8), byte(seq), 0, 0, 0, 0, 0, 0, 0x11, 0x11, 0xbe, 0xde, 0, 1, 0x10, 0xa0, 0, 0}
	putUint32(p[4:], 960*uint32(seq))
	err := b.enc.Ingest(append(p, payload...), b.now, nil)
	b.writer.drain()
	b.now += 20 * ms
	return err
}

func (s *sink) take() []out {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.packets
	s.packets = nil
	return list
}

// TestRedundantAudio: whoever negotiated it gets it with its own payload types, the others the primary block, in whatever order they
// stand, and with the level.
func TestRedundantAudio(t *testing.T) {
	b := newBench(t, false)
	b.enc.SetRedundant(63)
	var sinks []*sink
	types := []uint8{0, 121, 0, 122, 0}
	for _, pt := range types {
		s, to := b.subscribe(false)
		s.SetRedundant(pt)
		sinks = append(sinks, to)
	}
	for seq, p := range []struct {
		payloadType uint8
		payload     []byte
		wide        []byte
		plain       string
	}{
		{111, []byte("zero"), nil, "zero"},
		{63, redundant(111, "zero", "one"), redundant(100, "zero", "one"), "one"},
		{63, redundant(111, "zero", "one", "two and more"), redundant(100, "zero", "one", "two and more"), "two and more"},
		{63, redundant(111, "three"), redundant(100, "three"), "three"},
		{63, redundant(5, "", "", "\x78"), redundant(100, "", "", "\x78"), "\x78"}, // DTX
		{111, []byte("five"), nil, "five"},
		{63, redundant(111, "five", ""), redundant(100, "five", ""), ""},
	} {
		if err := b.opus(p.payloadType, uint16(seq+10), p.payload); err != nil {
			t.Fatal(err)
		}
		for i, to := range sinks {
			got := to.take()
			if len(got) != 1 {
				t.Fatalf("packet %d: %d packets", seq, len(got))
			}
			wantType, want := uint8(100), p.plain
			if types[i] != 0 && p.wide != nil {
				wantType, want = types[i], string(p.wide)
			}
			if h := got[0].header; h.PayloadType != wantType || got[0].payload != want || got[0].level != 0xa0 {
				t.Errorf("packet %d to %d: type %d, level %d, %q; want %d, %q", seq, i, h.PayloadType, got[0].level, got[0].payload, wantType, want)
			}
		}
	}
}

// TestRedundantAudioAgain: what is sent again is what was sent.
func TestRedundantAudioAgain(t *testing.T) {
	b := newBench(t, false)
	b.enc.SetRedundant(63)
	for _, pt := range []uint8{0, 121} {
		s, to := b.subscribe(false)
		s.SetRedundant(pt)
		if err := b.opus(63, uint16(100+pt), redundant(111, "before", "now")); err != nil {
			t.Fatal(err)
		}
		first := to.take()[0]
		s.Receive(nackFor(0xaaaa, first.header.Sequence), b.now)
		b.writer.drain()
		again := to.take()
		if len(again) != 1 || again[0].payload != first.payload || again[0].header.PayloadType != first.header.PayloadType {
			t.Errorf("%d: %+v, not %+v", pt, again, first)
		}
		s.Close()
	}
}

func nackFor(ssrc uint32, seq uint16) []byte {
	b := []byte{0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, byte(seq >> 8), byte(seq), 0, 0}
	putUint32(b[8:], ssrc)
	return b
}

// TestRedundantAudioMuted: what was said while the source was muted is not heard in what comes after.
func TestRedundantAudioMuted(t *testing.T) {
	b := newBench(t, false)
	b.enc.SetRedundant(63)
	s, to := b.subscribe(false)
	s.SetRedundant(121)
	send := func(seq uint16) []out {
		t.Helper()
		if err := b.opus(63, seq, redundant(111, fmt.Sprint("block ", seq-1), fmt.Sprint("block ", seq))); err != nil {
			t.Fatal(err)
		}
		return to.take()
	}
	if got := send(1); got[0].header.PayloadType != 121 {
		t.Errorf("%+v", got)
	}
	b.enc.SetActive(false, b.now)
	if got := send(2); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	b.enc.SetActive(true, b.now)
	for seq := range uint16(repeated) {
		if got := send(3 + seq); len(got) != 1 || got[0].header.PayloadType != 100 || got[0].payload != fmt.Sprint("block ", 3+seq) {
			t.Fatalf("packet %d: %+v", seq, got)
		}
	}
	if got := send(3 + repeated); got[0].header.PayloadType != 121 {
		t.Errorf("%+v", got)
	}
}

// TestRedundantAudioNotNegotiated: such packets are foreign without, and so are broken ones with it.
func TestRedundantAudioNotNegotiated(t *testing.T) {
	b := newBench(t, false)
	_, to := b.subscribe(false)
	if err := b.opus(63, 1, redundant(111, "a", "b")); err != nil {
		t.Fatal(err)
	}
	if err := b.opus(0, 2, redundant(111, "a", "b")); err != nil {
		t.Fatal(err)
	}
	b.enc.SetRedundant(63)
	for seq, bad := range [][]byte{{0xef}, {0xef, 0, 3, 255, 111, 1}, slices.Repeat([]byte{0xff}, 1400), redundant(111, "aaaa", "b")[:6]} {
		if err := b.opus(63, uint16(3+seq), bad); err != ErrMalformed {
			t.Errorf("% x: %v", bad[:min(len(bad), 20)], err)
		}
	}
	if d := b.enc.Stats().Drops; d[DropForeignPayload] != 2 || d[DropMalformed] != 4 || len(to.take()) != 0 {
		t.Errorf("%v", d)
	}
}

// FuzzRedundant: whatever comes as redundant audio, each receiver gets what it can read, with the bytes that were sent.
func FuzzRedundant(f *testing.F) {
	f.Add(redundant(111, "now"), uint8(0))
	f.Add(redundant(111, "before", "now"), uint8(3))
	f.Add(redundant(111, "", "before", ""), uint8(0))
	f.Add([]byte{0xef, 0x0f, 0x03, 0xff, 0x6f, 1, 2, 3}, uint8(1))
	f.Fuzz(func(t *testing.T, payload []byte, padding uint8) {
		if len(payload) == 0 || len(payload)+int(padding)+20 > MaxPacket {
			return
		}
		b := newBench(t, false)
		b.enc.SetRedundant(63)
		plain, toPlain := b.subscribe(false)
		wide, toWide := b.subscribe(false)
		_, toLast := b.subscribe(false)
		plain.SetRedundant(0)
		wide.SetRedundant(121)
		p := raw(63, 1, 960, payload)
		if padding > 0 {
			p[0] |= 0x20
			p = append(p, make([]byte, padding)...)
			p[len(p)-1] = padding
		}
		block, ok := red.Primary(payload)
		if err := b.enc.Ingest(p, b.now, nil); (err == nil) != ok {
			t.Fatalf("% x: %v", payload, err)
		}
		b.writer.drain()
		if !ok {
			return
		}
		for _, to := range []*sink{toPlain, toLast} {
			if got := to.take(); len(got) != 1 || got[0].payload != string(block) || got[0].header.PayloadType != 100 {
				t.Fatalf("%+v, not %x", got, block)
			}
		}
		got := toWide.take()
		if len(got) != 1 || got[0].header.PayloadType != 121 || len(got[0].payload) != len(payload) {
			t.Fatalf("%+v", got)
		}
		if again, ok := red.Primary([]byte(got[0].payload)); !ok || string(again) != string(block) {
			t.Fatalf("%x, not %x", again, block)
		}
	})
}

// counter is a Sink that only counts.
type counter struct{ plain, wide int }

func (c *counter) WriteRTP(raw []byte, _ int) error {
	if h, ok := inspect.ParseHeader(raw); ok && h.PayloadType == 100 {
		c.plain++
	} else {
		c.wide++
	}
	return nil
}

func (c *counter) WriteRTCP([]byte) error { return nil }

func mixed(t testing.TB) (next func(), to *counter) {
	b := newBench(t, false)
	b.enc.SetRedundant(63)
	to = new(counter)
	for i := range 50 {
		s := NewSubscription(SubscriptionConfig{ClockRate: 48_000, SSRC: uint32(i + 1), PayloadType: 100, Sink: to, Writer: b.writer})
		s.SetRedundant(uint8(i%2) * 121)
		s.SetSource(b.enc, b.now)
	}
	p := raw(63, 0, 0, redundant(111, string(make([]byte, 80)), string(make([]byte, 80))))
	n := uint16(0)
	return func() {
		n++
		p[2], p[3] = byte(n>>8), byte(n)
		putUint32(p[4:], 960*uint32(n))
		_ = b.enc.Ingest(p, b.now, nil)
		b.writer.drain()
		b.now += 20 * ms
	}, to
}

func TestRedundantAudioAllocatesNothing(t *testing.T) {
	next, to := mixed(t)
	for range 2000 {
		next()
	}
	if n := testing.AllocsPerRun(2000, next); n != 0 {
		t.Errorf("%v allocations per packet to 50 subscribers", n)
	}
	if to.plain != to.wide || to.plain < 4000*25 {
		t.Errorf("%d plain, %d not", to.plain, to.wide)
	}
}

// BenchmarkRedundantAudio is the way of a packet to 50 subscribers, half of which get it as it is. An operation is one packet to one
// of them.
func BenchmarkRedundantAudio(b *testing.B) {
	next, _ := mixed(b)
	b.ReportAllocs()
	for range b.N/50 + 1 {
		next()
	}
}
