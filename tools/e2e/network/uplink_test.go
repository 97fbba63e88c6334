//go:build linux

package network

import (
	"testing"
	"time"

	"portico/tools/netlab"
)

// TestUplinkLoss: what the publisher's line loses on the way to the edge comes again, so that subscribers see every picture.
func TestUplinkLoss(t *testing.T) {
	e := startEdge(t)
	p := e.join("publisher", usual, usual)
	v := e.join("subscriber", usual, usual).watch(p.publish())
	v.playing()
	before := p.line.Counts(up)
	p.line.Set(up, netlab.Shape{Loss: 0.05, Delay: usual.Delay})
	from := clock()
	lets(t, 8*time.Second)
	f := v.figures(from, clock())
	line := p.line.Counts(up).Since(before)
	t.Logf("%v; layers: %s", f, v.path(from))
	t.Logf("%d of %d packets lost, %d key frames asked for by the subscriber, %d sent",
		line.Lost, line.Packets, f.asked, p.camera.keys())
	if line.Lost == 0 {
		t.Error("the line lost nothing")
	}
	if f.perSecond() < 27 || f.missed > f.frames/50 || f.videoGap > time.Second {
		t.Error("pictures are missing")
	}
	if f.audioGap > 400*time.Millisecond || f.audioLost > 0.15 {
		t.Error("audio does not go on")
	}
	v.check(t, f)
}
