//go:build linux

package network

import (
	"fmt"
	"testing"
	"time"

	"portico/tools/netlab"
)

// TestLoss: on a way to the subscriber that loses 5 % and 20 % audio goes on, and lost video comes again.
func TestLoss(t *testing.T) {
	e := startEdge(t)
	stream := e.join("publisher", usual, usual).publish()
	s := e.join("subscriber", usual, usual)
	v := s.watch(stream)
	v.playing()
	for _, c := range []struct {
		loss      float64
		perSecond float64
		longest   time.Duration
	}{{0.05, 20, time.Second}, {0.20, 10, 2 * time.Second}} {
		t.Run(fmt.Sprintf("%.0f%%", c.loss*100), func(t *testing.T) {
			const length = 8 * time.Second
			before := s.line.Counts(down)
			s.line.Set(down, netlab.Shape{Loss: c.loss, Delay: usual.Delay})
			from := clock()
			lets(t, length)
			f := v.figures(from, clock())
			line := s.line.Counts(down).Since(before)
			t.Logf("%v", f)
			t.Logf("%d of %d packets lost, %d came again so far, %d key frames asked for, layers: %s",
				line.Lost, line.Packets, f.repaired, f.asked, v.path(from))
			if line.Lost == 0 {
				t.Error("the line lost nothing")
			}
			if f.audioGap > 400*time.Millisecond || f.audioLost > c.loss+0.1 {
				t.Error("audio does not go on")
			}
			if f.perSecond() < c.perSecond || f.videoGap > c.longest {
				t.Error("video does not go on")
			}
			if f.glitches != 0 {
				t.Errorf("%d picture ids do not follow the one before", f.glitches)
			}
		})
	}
}
