//go:build linux

package network

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// figures are what a viewer heard and saw in a window of time.
type figures struct {
	length time.Duration
	still  time.Duration // how long the process stood still; gaps are without

	audioLost    float64       // share of what was sent in the window
	audioGap     time.Duration // longest time without a packet
	audioLatency latency

	frames       int
	layers       [3]int // frames of each
	missed       int    // pictures left out between two of one layer
	videoGap     time.Duration
	freezes      int           // as WebRTC statistics count them
	frozen       time.Duration // in them
	videoLatency latency
	glitches     int           // picture ids that do not follow
	clockError   time.Duration // most that timestamps were off between two pictures

	repaired, asked int // packets that came again and key frames asked for, since the beginning
}

type latency struct{ median, p95 time.Duration }

func (f figures) String() string {
	return fmt.Sprintf("%.1f s: audio %.1f%% lost, longest gap %d ms, latency %v; video %.1f/s of layers %v, longest gap %d ms, "+
		"%d freezes of %.2f s together, %d pictures left out, latency %v, timestamps off by %d ms at most; %d ms stood still",
		f.length.Seconds(), f.audioLost*100, f.audioGap.Milliseconds(), f.audioLatency, f.perSecond(), f.layers,
		f.videoGap.Milliseconds(), f.freezes, f.frozen.Seconds(), f.missed, f.videoLatency, f.clockError.Milliseconds(), f.still.Milliseconds())
}

func (l latency) String() string {
	return fmt.Sprintf("%d/%d ms", l.median.Milliseconds(), l.p95.Milliseconds())
}

func (f figures) perSecond() float64 { return float64(f.frames) / f.length.Seconds() }

// transit is how old an audio packet may be when it comes for it not to count as lost.
const transit = time.Second

// figures looks at what happened between two times.
func (v *viewer) figures(from, to time.Duration) figures {
	v.mu.Lock()
	defer v.mu.Unlock()
	pulse := &v.seat.pulse
	f := figures{length: to - from, still: pulse.within(from, to), repaired: v.repaired, asked: v.asked}
	f.audio(v.heard, from, to, pulse)
	f.video(v.shown, from, to, pulse)
	return f
}

func (f *figures) audio(heard []arrival, from, to time.Duration, pulse *pulse) {
	sent, came := map[uint32]bool{}, []time.Duration{}
	var took []time.Duration
	for _, a := range heard {
		if a.sent >= from && a.sent < to-transit && a.at-a.sent <= transit {
			sent[a.number] = true
		}
		if a.at >= from && a.at < to {
			came, took = append(came, a.at), append(took, a.at-a.sent)
		}
	}
	f.audioGap, _ = longestGap(came, from, to, pulse)
	f.audioLatency = latencyOf(took)
	if expected := float64(to-transit-from) / float64(audioTime); expected > 0 {
		f.audioLost = max(0, 1-float64(len(sent)+1)/expected) // one may fall on the edge of the window
	}
}

func (f *figures) video(shown []arrival, from, to time.Duration, pulse *pulse) {
	var came, took []time.Duration
	for i, a := range shown {
		if a.at < from || a.at >= to {
			continue
		}
		f.frames++
		f.layers[a.layer]++
		came, took = append(came, a.at), append(took, a.at-a.sent)
		if i == 0 {
			continue
		}
		before := shown[i-1]
		if a.layer == before.layer {
			f.missed += int(a.number - before.number - 1)
		}
		step := (a.picture - before.picture) & 0x7fff
		if step == 0 || step > 0x3fff || a.layer == before.layer && a.number == before.number+1 && step != 1 {
			f.glitches++
		}
		ticks := time.Duration(int32(a.timestamp-before.timestamp)) * time.Millisecond / 90
		f.clockError = max(f.clockError, (ticks - (a.sent - before.sent)).Abs())
	}
	var gaps []time.Duration
	f.videoGap, gaps = longestGap(came, from, to, pulse)
	f.videoLatency = latencyOf(took)
	f.freeze(gaps)
}

// freeze counts freezes: a gap that is at least three times the mean one, and 150 ms longer.
func (f *figures) freeze(gaps []time.Duration) {
	for _, g := range gaps {
		if g > max(3*frameTime, frameTime+150*time.Millisecond) {
			f.freezes++
			f.frozen += g
		}
	}
}

// longestGap looks at the times between arrivals, and to the edges of the window.
func longestGap(came []time.Duration, from, to time.Duration, pulse *pulse) (longest time.Duration, gaps []time.Duration) {
	last := from
	for _, at := range append(slices.Clone(came), to) {
		gaps = append(gaps, at-last-pulse.within(last, at))
		last = at
	}
	return slices.Max(gaps), gaps
}

func latencyOf(took []time.Duration) latency {
	if len(took) == 0 {
		return latency{}
	}
	slices.Sort(took)
	return latency{took[len(took)/2], took[len(took)*95/100]}
}

// path is how the layer changed from a time on: "f 0.0 s, q 1.2 s".
func (v *viewer) path(from time.Duration) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var parts []string
	last := uint8(255)
	for _, a := range v.shown {
		if a.layer != last && a.at >= from {
			parts = append(parts, fmt.Sprintf("%s %.2f s", layerSpecs[a.layer].rid, (a.at-from).Seconds()))
			last = a.layer
		}
	}
	return strings.Join(parts, ", ")
}

// firstOf is when a picture of the layer was first shown after a time; false: not yet. mu is held.
func (v *viewer) firstOf(layer uint8, after time.Duration) (time.Duration, bool) {
	for _, a := range v.shown {
		if a.at >= after && a.layer == layer {
			return a.at, true
		}
	}
	return 0, false
}

// first is firstOf without mu held.
func (v *viewer) first(layer uint8, after time.Duration) (time.Duration, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.firstOf(layer, after)
}

// lately tells whether all that was shown for so long was of the layer. mu is held.
func (v *viewer) lately(layer uint8, length time.Duration) bool {
	now := clock()
	for i := len(v.shown) - 1; i >= 0; i-- {
		switch a := v.shown[i]; {
		case a.layer != layer:
			return false
		case a.at < now-length:
			return true
		}
	}
	return false
}

// check fails the test when layers do not join as one stream.
func (v *viewer) check(t *testing.T, f figures) {
	t.Helper()
	if f.glitches != 0 {
		t.Errorf("%d picture ids do not follow the one before", f.glitches)
	}
	if f.clockError > 100*time.Millisecond {
		t.Errorf("timestamps are off by %v where layers change", f.clockError)
	}
}
