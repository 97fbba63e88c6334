package sfu

import (
	"errors"
	"slices"
	"testing"
)

func TestPauseIsSeamless(t *testing.T) {
	b := newBench(t, true)
	s, to := b.subscribe(true)
	seq := uint16(65530)
	step := func(payload []byte) { b.send(seq, payload); seq++; b.tick() }
	step(keyFrame)
	step(interFrame)
	s.SetActive(false, b.now)
	for range 30 {
		step(interFrame)
	}
	keys := b.up.keyFrames
	s.SetActive(true, b.now)
	if b.up.keyFrames != keys+1 {
		t.Error("no key frame was asked for")
	}
	step(interFrame)
	step(keyFrame)
	step(interFrame)
	if got := seqs(to.packets); !slices.Equal(got, []uint16{0, 1, 2, 3}) {
		t.Fatalf("numbers %v", got)
	}
	if d := to.packets[2].header.Timestamp - to.packets[1].header.Timestamp; d != 32*2970 {
		t.Errorf("timestamps jump by %d", d)
	}
	if stats := s.Stats(); stats.Drops[DropPaused] != 30 || stats.Drops[DropWaitingKey] != 1 {
		t.Errorf("stats %+v", stats)
	}
}

func TestMuteStopsAtTheSource(t *testing.T) {
	b := newBench(t, true)
	_, to := b.subscribe(true)
	b.send(1, keyFrame)
	b.enc.SetActive(false, b.now)
	for i := range uint16(16) {
		b.tick()
		b.send(2+i, interFrame)
	}
	b.enc.RequestKeyFrame(b.now)
	keys := b.up.keyFrames
	if keys != 1 || len(to.packets) != 1 {
		t.Fatalf("while muted: %d key frames asked for, %d packets", keys, len(to.packets))
	}
	b.enc.SetActive(true, b.now)
	if b.up.keyFrames != keys+1 {
		t.Error("unmuting asks for no key frame")
	}
	b.tick()
	b.send(18, keyFrame)
	if got := seqs(to.packets); !slices.Equal(got, []uint16{0, 1}) || len(b.up.packets) != 0 {
		t.Errorf("numbers %v, asked for %v", got, b.up.packets)
	}
	if stats := b.enc.Stats(); stats.Drops[DropMuted] != 16 {
		t.Errorf("stats %+v", stats)
	}
}

// A key frame that was asked for before the sender could hear it is asked for again at its first packet, not half a second later.
func TestAskedBeforeItBegan(t *testing.T) {
	b := newBench(t, true)
	_, to := b.subscribe(true)
	if b.up.keyFrames != 1 {
		t.Fatalf("%d key frames were asked for, not 1", b.up.keyFrames)
	}
	b.tick()
	b.send(1, interFrame)
	if b.up.keyFrames != 2 {
		t.Error("it is not asked for again")
	}
	b.tick()
	b.send(2, interFrame)
	if b.up.keyFrames != 2 {
		t.Error("it is asked for at every packet")
	}
	b.tick()
	b.send(3, keyFrame)
	if len(to.packets) != 1 {
		t.Errorf("%d packets were forwarded, not 1", len(to.packets))
	}
}

func TestSourceRestarts(t *testing.T) {
	b := newBench(t, true)
	_, to := b.subscribe(true)
	b.send(1, keyFrame)
	b.now += 100 * ms
	b.ts = 3_000_000_000
	b.send(40_000, keyFrame) // strange at first
	b.send(40_001, keyFrame)
	b.tick()
	b.send(40_002, interFrame)
	if got := seqs(to.packets); !slices.Equal(got, []uint16{0, 1, 2}) {
		t.Fatalf("numbers %v", got)
	}
	if d := to.packets[1].header.Timestamp - to.packets[0].header.Timestamp; d != 9000 {
		t.Errorf("timestamps go on by %d, want the 100 ms that passed", d)
	}
}

func TestSwitchesSource(t *testing.T) {
	b := newBench(t, true)
	s, to := b.subscribe(true)
	b.send(1, keyFrame)
	b.send(2, interFrame)
	first := b.enc
	b.enc = b.encoding(true)
	s.SetSource(b.enc, b.now)
	b.now += 200 * ms
	b.ts = 77
	b.send(900, interFrame)
	b.send(901, keyFrame)
	if err := first.Ingest(raw(96, 3, 1, interFrame), b.now, nil); err != nil {
		t.Fatal(err)
	}
	b.writer.drain()
	if got := seqs(to.packets); !slices.Equal(got, []uint16{0, 1, 2}) {
		t.Fatalf("numbers %v", got)
	}
	if d := to.packets[2].header.Timestamp - to.packets[1].header.Timestamp; d != 18_000 {
		t.Errorf("timestamps go on by %d", d)
	}
	b.enc.Close()
	if err := b.enc.Ingest(raw(96, 902, 1, interFrame), b.now, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Ingest after Close: %v", err)
	}
}

func TestSlowWriterLosesItsOwn(t *testing.T) {
	b := newBench(t, true)
	slow, toSlow := b.subscribe(true)
	quick := newWriter(b.writer.clock)
	to := &sink{}
	other := NewSubscription(SubscriptionConfig{Video: true, ClockRate: 90_000, SSRC: 7, Sink: to, Writer: quick})
	other.SetSource(b.enc, b.now)
	ingest := func(seq uint16, payload []byte) {
		if err := b.enc.Ingest(raw(96, seq, b.ts, payload), b.now, nil); err != nil {
			t.Fatal(err)
		}
		quick.drain()
	}
	ingest(0, keyFrame)
	const packets = 2 * videoQueue
	for seq := range uint16(packets) { // nobody drains the slow one
		b.ts++
		ingest(1+seq, interFrame)
	}
	if len(to.packets) != packets+1 {
		t.Errorf("the quick one has %d packets", len(to.packets))
	}
	// It has what it could hold, whole pictures up to a point, and after that goes on at a key frame, which is asked for once.
	b.now += 600 * ms // so that a request is not merged with the first one
	keys := b.up.keyFrames
	b.send(packets+1, interFrame)
	b.writer.drain()
	b.send(packets+2, interFrame)
	if stats := slow.Stats(); stats.Drops[DropQueueFull] != packets+1-videoQueue+1 || b.up.keyFrames != keys+1 {
		t.Errorf("slow: %+v, %d requests", stats, b.up.keyFrames-keys)
	}
	if len(toSlow.packets) != 0 {
		t.Errorf("%d packets went out that had waited 600 ms", len(toSlow.packets))
	}
	b.send(packets+3, keyFrame)
	b.send(packets+4, interFrame)
	if got := seqs(toSlow.packets); !slices.Equal(got, []uint16{0, 1}) {
		t.Errorf("numbers %v", got)
	}
}

func TestLatePacketsAskForAKeyFrameOnce(t *testing.T) {
	b := newBench(t, true)
	s, to := b.subscribe(true)
	b.send(1, keyFrame)
	b.now += 600 * ms
	for seq := range uint16(20) {
		if seq != 0 {
			b.ts += 3000
		}
		if err := b.enc.Ingest(raw(96, 2+seq, b.ts, interFrame), b.now, nil); err != nil {
			t.Fatal(err)
		}
	}
	keys := b.up.keyFrames
	b.now += int64(maxAge) + 1
	b.writer.drain()
	// The first belongs to the picture that had been begun: it is still sent.
	if b.up.keyFrames != keys+1 || s.Stats().Drops[DropLate] != 19 {
		t.Errorf("%d requests, %+v", b.up.keyFrames-keys, s.Stats())
	}
	b.send(22, keyFrame)
	if got := seqs(to.packets); !slices.Equal(got, []uint16{0, 1, 2}) {
		t.Errorf("numbers %v", got)
	}
}
