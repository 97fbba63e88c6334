package sfu

import (
	"slices"
	"testing"
	"time"

	"portico/edge/sfu/feedback"
)

// TestJoinerHasAPictureAtOnce: it begins at the last key frame, and what came since belongs to the moment it joins.
func TestJoinerHasAPictureAtOnce(t *testing.T) {
	b := newBench(t, true)
	l := b.layered("vp8", 65530, 0)
	l.picture(true, 0, false)
	for range 9 {
		l.ts, b.now = l.ts+2970, b.now+33*ms
		l.picture(false, 0, false)
	}
	_, to := b.watch(l)
	l.ts, b.now = l.ts+2970, b.now+33*ms
	l.num++
	l.tl0++
	l.packet(vp8(false, l.num, l.tl0, 0, false), true) // is there before the Writer begins, and in its queue: goes out once
	b.writer.drain()
	for range 2 {
		l.ts, b.now = l.ts+2970, b.now+33*ms
		l.picture(false, 0, false)
	}
	if len(to.packets) != 13 || l.keyFrames() != 0 {
		t.Fatalf("%d packets, %d key frames asked for", len(to.packets), l.keyFrames())
	}
	first, payload := to.read(t, 0)
	if payload[len(payload)-1] != keyFrame[len(keyFrame)-1] {
		t.Error("begins with no key frame")
	}
	last := first
	for i := range to.packets {
		h, _ := to.read(t, i)
		want := uint32(90) // the past is one moment
		if i > 10 {
			want = 2970
		}
		if h.Sequence != first.Sequence+uint16(i) || i > 0 && h.Timestamp-last.Timestamp != want {
			t.Errorf("packet %d: number %d, timestamp goes on by %d", i, h.Sequence-first.Sequence, h.Timestamp-last.Timestamp)
		}
		last = h
	}
	if last.Timestamp != l.ts {
		t.Errorf("ends at %d, the source at %d", last.Timestamp, l.ts)
	}
}

// TestReplayIsSentAgainAsItWas: also what came from the history with timestamps of its own.
func TestReplayIsSentAgainAsItWas(t *testing.T) {
	b := newBench(t, true)
	l := b.layered("vp8", 1, 0)
	for i := range 8 {
		l.ts, b.now = l.ts+2970, b.now+33*ms
		if i == 4 {
			l.seq++ // missing
		}
		l.picture(i == 0, 0, false)
	}
	s, to := b.watch(l)
	s.Renegotiated(100, 0, Extensions{})
	b.writer.drain()
	// The one that was missing comes now, and has its place.
	if err := l.enc.IngestRepair(raw(96, 5, 5*2970, vp8(false, 4, 4, 0, false)), b.now, nil); err != nil {
		t.Fatal(err)
	}
	b.writer.drain()
	if len(to.packets) != 9 {
		t.Fatalf("%d packets", len(to.packets))
	}
	first, _ := to.read(t, 0)
	if h, _ := to.read(t, 8); h.Sequence != first.Sequence+4 {
		t.Errorf("the late one has number %d", h.Sequence-first.Sequence)
	}
	for i := range 9 {
		h, _ := to.read(t, i)
		s.Receive(feedback.AppendNACK(nil, 1, 0xaaaa, []uint16{h.Sequence}), b.now)
	}
	b.writer.drain()
	for i := range 9 {
		if !slices.Equal(to.packets[i], to.packets[9+i]) {
			t.Errorf("packet %d is another one the second time", i)
		}
	}
}

// TestNoReplay: where it would cost too much, or would go back in time, a key frame is asked for.
func TestNoReplay(t *testing.T) {
	for name, c := range map[string]struct {
		before func(l *layered)
		asks   bool
	}{
		"fresh":         {func(l *layered) {}, false},
		"slow source":   {func(l *layered) { l.now += int64(5 * time.Second); l.ts += 450_000; l.picture(false, 0, false) }, false},
		"old":           {func(l *layered) { l.now += int64(11 * time.Second) }, true},
		"many packets":  {func(l *layered) { l.many(replayPackets, false) }, true},
		"many pictures": {func(l *layered) { l.many(replayPictures+1, true) }, true},
		"muted since":   {func(l *layered) { l.enc.SetActive(false, l.now); l.enc.SetActive(true, l.now) }, true},
	} {
		b := newBench(t, true)
		l := b.layered("vp8", 1, 0)
		l.picture(true, 0, false)
		c.before(l)
		b.now += 600 * ms
		before := l.keyFrames()
		_, to := b.watch(l)
		b.writer.drain()
		if asks := l.keyFrames() > before; asks != c.asks || asks == (len(to.packets) > 0) {
			t.Errorf("%s: asks %v, %d packets", name, asks, len(to.packets))
		}
	}
}

func (l *layered) many(n int, pictures bool) {
	for range n {
		if pictures {
			l.ts += 3000
		}
		l.packet([]byte{0, 1, 2}, false)
	}
}

func TestReplayAfterAPause(t *testing.T) {
	b := newBench(t, true)
	l := b.layered("vp8", 1, 0)
	s, to := b.watch(l)
	tick := func() { l.ts += 2970; b.now += 33 * ms }
	l.picture(true, 0, false)
	s.SetActive(false, b.now)
	for i := range 10 {
		tick()
		l.picture(i == 6, 0, false)
	}
	keys := l.keyFrames()
	s.SetActive(true, b.now)
	b.writer.drain()
	tick()
	l.picture(false, 0, false)
	if len(to.packets) != 1+4+1 || l.keyFrames() != keys {
		t.Fatalf("%d packets, %d key frames asked for", len(to.packets), l.keyFrames()-keys)
	}
	var steps []uint32
	for i := 1; i < len(to.packets); i++ {
		before, _ := to.read(t, i-1)
		h, _ := to.read(t, i)
		if h.Sequence != before.Sequence+1 {
			t.Errorf("number %d after %d", h.Sequence, before.Sequence)
		}
		steps = append(steps, h.Timestamp-before.Timestamp)
	}
	if !slices.Equal(steps, []uint32{10*2970 - 270, 90, 90, 90, 2970}) {
		t.Errorf("timestamps go on by %v", steps)
	}
	// The key frame before the pause is of no use the next time.
	s.SetActive(false, b.now)
	b.now += 600 * ms
	s.SetActive(true, b.now)
	if l.keyFrames() != keys+1 {
		t.Error("no key frame was asked for")
	}
}

// TestReplayOfAnotherSender: a switch to somebody else's picture has it at once too, and his clock is followed from then on.
func TestReplayOfAnotherSender(t *testing.T) {
	b := newBench(t, true)
	l := b.layered("vp8", 1, 0)
	b.enc = b.encoding(true) // with a Timeline of its own
	other := b.layered("vp8", 700, 3_000_000_000)
	tick := func() {
		b.now += 33 * ms
		for _, x := range []*layered{l, other} {
			x.ts += 2970
			x.picture(x.num == 100*x.seq && x.tl0 == uint8(x.seq), 0, false)
		}
	}
	s, to := b.watch()
	s.SetSource(l.enc, b.now)
	for range 10 {
		tick()
	}
	keys := other.keyFrames()
	s.SetSource(other.enc, b.now)
	b.writer.drain()
	if len(to.packets) != 20 || other.keyFrames() != keys {
		t.Fatalf("%d packets, %d key frames asked for", len(to.packets), other.keyFrames()-keys)
	}
	tick()
	tick()
	before, _ := to.read(t, 9)
	last := before
	for i := 10; i < 22; i++ {
		h, _ := to.read(t, i)
		if h.Sequence != last.Sequence+1 || int32(h.Timestamp-last.Timestamp) <= 0 {
			t.Errorf("packet %d: number %d after %d, timestamp goes on by %d", i, h.Sequence, last.Sequence, int32(h.Timestamp-last.Timestamp))
		}
		last = h
	}
	if d := int32(last.Timestamp - before.Timestamp); d < 2*2970 || d > 2*2970+100 {
		t.Errorf("after two pictures' time it is %d further", d)
	}
}
