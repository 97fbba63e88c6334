package sfu

import (
	"errors"
	"slices"
	"testing"
	"time"
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
	for i := range uint16(10) {
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
	b.send(12, keyFrame)
	if got := seqs(to.packets); !slices.Equal(got, []uint16{0, 1}) || len(b.up.packets) != 0 {
		t.Errorf("numbers %v, asked for %v", got, b.up.packets)
	}
	if stats := b.enc.Stats(); stats.Drops[DropMuted] != 10 {
		t.Errorf("stats %+v", stats)
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
	if err := first.Ingest(raw(96, 3, 1, interFrame), b.now); err != nil {
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
	if err := b.enc.Ingest(raw(96, 902, 1, interFrame), b.now); !errors.Is(err, ErrClosed) {
		t.Errorf("Ingest after Close: %v", err)
	}
}

func TestSlowSubscriberLosesItsOwn(t *testing.T) {
	b := newBench(t, true)
	slow, toSlow := b.subscribe(true)
	quick := newWriter(b.writer.clock)
	to := &sink{}
	other := NewSubscription(SubscriptionConfig{Video: true, ClockRate: 90_000, SSRC: 7, Sink: to, Writer: quick})
	other.SetSource(b.enc, b.now)
	ingest := func(seq uint16, payload []byte) {
		if err := b.enc.Ingest(raw(96, seq, b.ts, payload), b.now); err != nil {
			t.Fatal(err)
		}
		quick.drain()
	}
	ingest(0, keyFrame)
	for seq := range uint16(2 * maxQueued) { // nobody drains the slow one
		ingest(1+seq, interFrame)
	}
	if len(to.packets) != 2*maxQueued+1 {
		t.Errorf("the quick one has %d packets", len(to.packets))
	}
	if stats := slow.Stats(); stats.Drops[DropQueueFull] != maxQueued+1 {
		t.Errorf("slow: %+v", stats)
	}
	// What waited too long is thrown away, and forwarding goes on without a gap at the next key frame.
	b.now += int64(time.Second)
	b.writer.drain()
	if len(toSlow.packets) != 0 {
		t.Fatalf("%d old packets were sent", len(toSlow.packets))
	}
	b.send(2000, interFrame)
	b.send(2001, keyFrame)
	b.send(2002, interFrame)
	if got := seqs(toSlow.packets); !slices.Equal(got, []uint16{0, 1}) {
		t.Errorf("numbers %v", got)
	}
	if stats := slow.Stats(); stats.Drops[DropLate]+stats.Drops[DropGone] == 0 {
		t.Errorf("slow: %+v", stats)
	}
}

func TestLatePacketsAskForAKeyFrameOnce(t *testing.T) {
	b := newBench(t, true)
	s, to := b.subscribe(true)
	b.send(1, keyFrame)
	for seq := range uint16(20) {
		if err := b.enc.Ingest(raw(96, 2+seq, b.ts, interFrame), b.now); err != nil {
			t.Fatal(err)
		}
	}
	keys := b.up.keyFrames
	b.now += int64(time.Second)
	b.writer.drain()
	if b.up.keyFrames != keys+1 || s.Stats().Drops[DropLate] != 20 {
		t.Errorf("%d requests, %+v", b.up.keyFrames-keys, s.Stats())
	}
	b.send(22, keyFrame)
	if got := seqs(to.packets); !slices.Equal(got, []uint16{0, 1}) {
		t.Errorf("numbers %v", got)
	}
}
