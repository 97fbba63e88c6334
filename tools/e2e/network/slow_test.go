//go:build linux

package network

import (
	"testing"
	"time"
)

// TestSlowSubscriber: neither a subscriber on a line that is much too narrow nor one whose process stands still costs another anything.
func TestSlowSubscriber(t *testing.T) {
	e := startEdge(t)
	stream := e.join("publisher", usual, usual).publish()
	healthy, slow := e.join("healthy", usual, usual), e.join("slow", usual, usual)
	v, w := healthy.watch(stream), slow.watch(stream)
	v.playing()
	w.playing()
	start := clock()
	const each = 4 * time.Second
	v.until(each, func(v *viewer) bool { return v.lately(top, time.Second) }) // where it stays from then on
	before := v.figures(quiet(t, v, each))
	t.Logf("before: %v; layers: %s", before, v.path(start))
	for _, c := range []struct {
		name  string
		apply func()
	}{
		{"narrow line", func() { slow.line.Set(down, narrow(200)) }},
		{"reads nothing", func() {
			slow.line.Set(down, usual)
			slow.gate.shut()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lost := healthy.line.Counts(down)
			c.apply()
			from, to := quiet(t, v, each)
			f := v.figures(from, to)
			t.Logf("healthy: %v; layers: %s", f, v.path(from))
			t.Logf("slow: %v", w.figures(from, to))
			if d := healthy.line.Counts(down).Since(lost); d.Lost+d.Overflowed != 0 {
				t.Errorf("the healthy line lost packets: %+v", d)
			}
			if f.audioLost != 0 || f.missed != 0 {
				t.Error("the healthy subscriber has lost media")
			}
			const more = 20 * time.Millisecond // what a busy machine may add
			if f.audioLatency.p95 > before.audioLatency.p95+more || f.videoLatency.p95 > before.videoLatency.p95+more {
				t.Errorf("the healthy subscriber's latency has risen: audio %v, video %v, before %v, %v",
					f.audioLatency, f.videoLatency, before.audioLatency, before.videoLatency)
			}
			if f.perSecond() < 25 || f.videoGap > 500*time.Millisecond {
				t.Error("the healthy subscriber's video does not flow")
			}
		})
	}
}

// quiet is a window of time in which this process was not held up: what is measured otherwise says nothing about the edge.
func quiet(t *testing.T, v *viewer, length time.Duration) (from, to time.Duration) {
	t.Helper()
	const attempts, most = 3, 100 * time.Millisecond
	for range attempts {
		from = clock()
		lets(t, length)
		to = clock()
		if v.seat.pulse.within(from, to) < most {
			return from, to
		}
	}
	t.Skipf("the machine is too busy: in %d times %v this process was always held up for more than %v", attempts, length, most)
	return 0, 0
}
