//go:build linux

package network

import (
	"testing"
	"time"

	"portico/tools/netlab"
)

// narrow is a line to a subscriber of so many kbit/s. Up to 300 ms wait for their turn, as when tc's tbf is told so.
func narrow(kbps int) netlab.Shape {
	return netlab.Shape{Rate: kbps, Queue: kbps * 300 / 8, Delay: usual.Delay}
}

// TestRate: the subscriber's line falls from 3 Mbit/s to 300 kbit/s and rises again. Audio never stops; video is soon on a layer that
// fits, without a long freeze, and comes back to the best.
func TestRate(t *testing.T) {
	e := startEdge(t)
	stream := e.join("publisher", usual, usual).publish()
	s := e.join("subscriber", usual, narrow(3000))
	v := s.watch(stream)
	v.playing()
	start := clock()
	const steady = 15 * time.Second
	if !v.until(steady, func(v *viewer) bool { return v.lately(top, time.Second) }) {
		t.Errorf("not on the best layer %v after the start: %s", steady, v.path(start))
	}
	t.Logf("3 Mbit/s: %v; layers: %s", v.figures(start, clock()), v.path(start))

	s.line.Set(down, narrow(300))
	fall := clock()
	const low = 8 * time.Second
	lets(t, low)
	rise := clock()
	f, settled := v.figures(fall, rise), v.figures(fall+3*time.Second, rise)
	t.Logf("300 kbit/s: %v; layers: %s", f, v.path(fall))
	t.Logf("from 3 s on: %v; %d key frames asked for, %+v", settled, settled.asked, s.line.Counts(down))
	if f.audioGap > 400*time.Millisecond || settled.audioLost > 0.02 {
		t.Error("audio was broken off")
	}
	v.check(t, f)
	if at, ok := v.first(0, fall); !ok || at-fall > 2*time.Second {
		t.Errorf("video is not on the smallest layer within 2 s")
	}
	if f.videoGap > 2*time.Second || settled.perSecond() < 20 || settled.layers[0] < settled.frames*9/10 {
		t.Error("video does not flow at 300 kbit/s")
	}

	s.line.Set(down, narrow(3000))
	back := v.until(10*time.Second, func(v *viewer) bool { _, ok := v.firstOf(top, rise); return ok })
	at, _ := v.first(top, rise)
	lets(t, 2*time.Second)
	f = v.figures(rise, clock())
	t.Logf("3 Mbit/s: %v; layers: %s", f, v.path(rise))
	if !back {
		t.Fatal("video is not on the best layer within 10 s")
	}
	if stays := v.figures(at, at+2*time.Second); stays.layers[top] < stays.frames*9/10 || stays.videoGap > 500*time.Millisecond {
		t.Errorf("video does not stay on the best layer: %v", stays)
	}
	v.check(t, f)
	if f.audioGap > 400*time.Millisecond || f.audioLost > 0.01 {
		t.Error("audio was broken off on the way back")
	}
}
