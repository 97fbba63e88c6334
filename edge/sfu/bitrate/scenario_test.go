package bitrate

import (
	"math/rand/v2"
	"testing"
)

// plain is a network of 3 Mbit/s with 50 ms there and back and a queue of 160 ms.
func plain() network { return network{rate: constant(3e6), queue: 60_000, delay: 25 * millisecond} }

// dip is 3 Mbit/s with low from 15 to 35 seconds after the start.
func dip(low float64) func(int64) float64 {
	return func(at int64) float64 {
		if after := at - startAt; after >= 15*second && after < 35*second {
			return low
		}
		return 3_000_000
	}
}

func (w *world) seed(n uint64) { w.random = rand.New(rand.NewPCG(n, 99)) }

// ms is a time for people.
func ms(t int64) int64 { return t / millisecond }

// heard fails when audio stopped for longer than gap, or less than share of it arrived.
func (w *world) heard(gap int64, share float64) {
	w.t.Helper()
	if w.audioGap > gap || float64(w.audioGot) < share*float64(w.audioSent) {
		w.t.Errorf("audio: %d of %d packets, a gap of %d ms", w.audioGot, w.audioSent, ms(w.audioGap))
	}
}

// stays fails when sub had another layer than layer between two times after the start.
func (w *world) stays(sub, layer int, from, to int64) {
	w.t.Helper()
	if at := w.layerAt(sub, startAt+from); at != layer {
		w.t.Errorf("layer %d at %d ms, want %d", at, ms(from), layer)
	}
	for _, e := range w.events {
		if e.sub == sub && e.at > startAt+from && e.at < startAt+to {
			w.t.Errorf("layer %d at %d ms: %v", e.layer, ms(e.at-startAt), e.reason)
		}
	}
}

func TestSteady(t *testing.T) {
	w := newWorld(t, plain(), simulcast)
	w.run(60 * second)
	w.heard(200*millisecond, 0.995)
	w.stays(0, 2, 3*second, 60*second)
	if e := w.est.Estimate(); e < 1_900_000 || e > 3_000_000 {
		t.Errorf("the estimate is %d of 3,000,000", e)
	}
	if w.longestDelay > 250*millisecond {
		t.Errorf("delay up to %d ms", ms(w.longestDelay))
	}
	if g := w.grants[0]; g.Reason != Everything || g.Layer != 2 {
		t.Errorf("layer %d, %v", g.Layer, g.Reason)
	}
	if s := w.est.Snapshot(); s.By != ByTWCC || s.Loss > 0.01 || s.Remember > 512 {
		t.Errorf("%+v", s)
	}
}

// TestSteadyFull has more to send than goes: the estimate must find the 3 Mbit/s.
func TestSteadyFull(t *testing.T) {
	w := newWorld(t, plain(), simulcast, simulcast, simulcast)
	low, high := DefaultMax, Bitrate(0)
	for range 60 {
		w.run(second)
		if w.now > startAt+10*second {
			low, high = min(low, w.est.Estimate()), max(high, w.est.Estimate())
		}
	}
	t.Logf("estimate between %d and %d, delay up to %d ms", low, high, ms(w.longestDelay))
	if low < 1_200_000 || high > 3_600_000 {
		t.Errorf("the estimate of 3,000,000 went from %d to %d", low, high)
	}
	w.heard(250*millisecond, 0.99)
}

// steps checks down within 2 s and up within 10 s around the dip.
func (w *world) steps(low int) {
	w.t.Helper()
	down := w.since(0, startAt+15*second, func(layer int) bool { return layer <= low })
	up := w.since(0, startAt+35*second, func(layer int) bool { return layer == 2 })
	w.t.Logf("layer %d after %d ms, layer 2 again after %d ms; audio gap %d ms", low, ms(down), ms(up), ms(w.audioGap))
	if down < 0 || down > 2*second {
		w.t.Errorf("down to layer %d after %d ms", low, ms(down))
	}
	if up < 0 || up > 10*second {
		w.t.Errorf("up to the top layer after %d ms", ms(up))
	}
	if at := w.layerAt(0, w.now); at != 2 {
		w.t.Errorf("layer %d at the end", at)
	}
}

func TestStepDownAndUp(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*network)
	}{
		{"plain", func(*network) {}},
		{"short queue", func(n *network) { n.queue = 15_000 }},
		{"200 ms there and back", func(n *network) { n.delay = 100 * millisecond }},
		{"feedback every 50 ms", func(n *network) { n.feedback = 50 * millisecond }},
		{"jitter", func(n *network) { n.jitter = 30 * millisecond }},
		{"token bucket of 8 kB", func(n *network) { n.depth = 8000 }},
		{"5 % loss", func(n *network) { n.loss = 0.05 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(4) {
				n := plain()
				n.rate = dip(300_000)
				c.change(&n)
				w := newWorld(t, n, simulcast)
				w.seed(seed)
				w.run(60 * second)
				w.steps(0)
				w.stays(0, 0, 17*second, 35*second)
				w.heard(500*millisecond, 0.93)
			}
		})
	}
}

// TestLongDip has the narrow time last five minutes: probing must not have given up.
func TestLongDip(t *testing.T) {
	n := plain()
	n.rate = func(at int64) float64 {
		if at > startAt+15*second && at < startAt+315*second {
			return 300_000
		}
		return 3_000_000
	}
	w := newWorld(t, n, simulcast)
	w.run(315 * second)
	pads := w.padSent
	w.run(15 * second)
	if up := w.since(0, startAt+315*second, func(l int) bool { return l == 2 }); up < 0 || up > 10*second {
		t.Errorf("up after %d ms", ms(up))
	}
	if share := float64(pads) * 8 / 300 / 300_000; share > 0.1 {
		t.Errorf("probing took %.0f %% of the narrow link", share*100)
	}
	w.stays(0, 0, 20*second, 300*second)
}

func TestSingleLayer(t *testing.T) {
	n := plain()
	n.rate = dip(300_000)
	w := newWorld(t, n, []float64{1_500_000})
	w.run(60 * second)
	off := w.since(0, startAt+15*second, func(l int) bool { return l == -1 })
	on := w.since(0, startAt+35*second, func(l int) bool { return l == 0 })
	if off < 0 || off > 2*second || on < 0 || on > 10*second {
		t.Errorf("paused after %d ms, resumed after %d ms", ms(off), ms(on))
	}
	w.stays(0, -1, 18*second, 34*second)
	w.heard(500*millisecond, 0.99)
}

// TestSingleLayerTight keeps a video that does not quite fit: paused video is worse than a little loss.
func TestSingleLayerTight(t *testing.T) {
	n := plain()
	n.rate = constant(900_000)
	w := newWorld(t, n, []float64{700_000})
	w.run(40 * second)
	w.stays(0, 0, 2*second, 40*second)
	w.heard(300*millisecond, 0.97)
}

func TestRandomLoss(t *testing.T) {
	for seed := range uint64(4) {
		n := plain()
		n.loss = 0.05
		w := newWorld(t, n, simulcast)
		w.seed(seed)
		w.run(60 * second)
		w.stays(0, 2, 15*second, 60*second)
		w.heard(300*millisecond, 0.92)
	}
	for seed := range uint64(4) {
		n := plain()
		n.loss = 0.2
		w := newWorld(t, n, simulcast)
		w.seed(seed)
		w.run(60 * second)
		w.heard(400*millisecond, 0.75)
		if at := w.layerAt(0, w.now); at < 1 {
			t.Errorf("20 %% loss: layer %d at the end: %v", at, w.events)
		}
		for _, e := range w.events {
			if e.layer < 0 {
				t.Errorf("20 %% loss: video paused at %d ms", ms(e.at-startAt))
			}
		}
	}
}

// TestPolicer is a bottleneck without a queue: loss is all that it says.
func TestPolicer(t *testing.T) {
	n := plain()
	n.rate, n.queue = dip(700_000), 4000
	w := newWorld(t, n, simulcast)
	w.run(60 * second)
	down := w.since(0, startAt+15*second, func(l int) bool { return l < 2 })
	if down < 0 || down > 2*second {
		t.Errorf("down after %d ms: %v", ms(down), w.events)
	}
	if loss := 1 - float64(w.audioGot)/float64(w.audioSent); loss > 0.06 {
		t.Errorf("audio lost %.1f %%", loss*100)
	}
}

func TestJitterAndOrder(t *testing.T) {
	for name, change := range map[string]func(*network){
		"jitter 30 ms": func(n *network) { n.jitter = 30 * millisecond },
		"reordering":   func(n *network) { n.reorder = 0.1 },
		"both":         func(n *network) { n.jitter, n.reorder = 20*millisecond, 0.05 },
	} {
		t.Run(name, func(t *testing.T) {
			n := plain()
			change(&n)
			w := newWorld(t, n, simulcast)
			w.run(60 * second)
			w.stays(0, 2, 8*second, 60*second)
			if loss := w.est.Snapshot().Loss; loss > 0.01 {
				t.Errorf("loss %.3f where nothing is lost", loss)
			}
		})
	}
}

func TestFeedbackLostAndRepeated(t *testing.T) {
	n := plain()
	n.feedbackLoss, n.feedbackTwice = 0.2, 0.2
	w := newWorld(t, n, simulcast)
	w.run(60 * second)
	w.stays(0, 2, 15*second, 60*second)
	if loss := w.est.Snapshot().Loss; loss > 0.01 {
		t.Errorf("lost feedback counts as loss: %.3f", loss)
	}
}

// TestSilence has a receiver whose feedback stops: the rate goes down, in the end to the least, and comes back.
func TestSilence(t *testing.T) {
	n := plain()
	n.mute = func(at int64) bool { return at > startAt+15*second && at < startAt+25*second }
	w := newWorld(t, n, simulcast)
	w.run(17 * second)
	if e := w.est.Estimate(); e > 700_000 || w.est.Stalled() {
		t.Errorf("after 2 s of silence the estimate is %d, stalled %v", e, w.est.Stalled())
	}
	w.run(3 * second)
	if e := w.est.Estimate(); e != DefaultMin || !w.est.Stalled() || w.layerAt(0, w.now) != -1 {
		t.Errorf("after 5 s of silence: %d, stalled %v, layer %d", e, w.est.Stalled(), w.layerAt(0, w.now))
	}
	w.run(25 * second)
	if up := w.since(0, startAt+25*second, func(l int) bool { return l == 2 }); up < 0 || up > 10*second {
		t.Errorf("top layer %d ms after the silence", ms(up))
	}
}

// TestSilenceOfAll has nothing left to send when the video is paused for the silence: it must be tried again.
func TestSilenceOfAll(t *testing.T) {
	for _, noPad := range []bool{false, true} {
		n := plain()
		n.mute = func(at int64) bool { return at > startAt+15*second && at < startAt+45*second }
		w := newWorld(t, n, simulcast)
		w.noAudio, w.noPad = true, noPad
		w.run(70 * second)
		if at := w.layerAt(0, startAt+20*second); at != -1 {
			t.Errorf("layer %d in the silence", at)
		}
		if up := w.since(0, startAt+45*second, func(l int) bool { return l == 2 }); w.layerAt(0, w.now) != 2 {
			t.Errorf("without padding %v: top layer %d ms after the silence: %v", noPad, ms(up), w.events)
		}
	}
}

func TestClockJumps(t *testing.T) {
	n := plain()
	n.clock = func(at int64) int64 {
		if after := at - startAt; after > 15*second && after < 25*second {
			return at - 50*second
		}
		return at + 50*second
	}
	w := newWorld(t, n, simulcast)
	w.run(35 * second)
	w.stays(0, 2, 8*second, 35*second)

	// The machine slept: our own clock is ten seconds on, and once it goes back a little.
	before := w.est.Estimate()
	for _, jump := range []int64{10 * second, -second} {
		w.now += jump
		w.est.Update(w.now)
		if w.est.Stalled() || w.est.Estimate() < before*8/10 {
			t.Errorf("a clock that jumps lowered the estimate from %d to %d", before, w.est.Estimate())
		}
	}
}

// TestOthers has other traffic take most of the link for a while.
func TestOthers(t *testing.T) {
	n := plain()
	n.others = func(at int64) float64 {
		if after := at - startAt; after > 15*second && after < 35*second {
			return 2_300_000
		}
		return 0
	}
	w := newWorld(t, n, simulcast)
	w.run(60 * second)
	down := w.since(0, startAt+15*second, func(l int) bool { return l < 2 })
	up := w.since(0, startAt+35*second, func(l int) bool { return l == 2 })
	if down < 0 || down > 2*second || up < 0 || up > 10*second {
		t.Errorf("down after %d ms, up after %d ms: %v", ms(down), ms(up), w.events)
	}
	w.heard(400*millisecond, 0.99)
}

// TestTwoFlows shares 3 Mbit/s between two transports that both want it: neither may starve.
func TestTwoFlows(t *testing.T) {
	a, b := newWorld(t, plain(), simulcast, simulcast), newWorld(t, plain(), simulcast, simulcast)
	b.seed(7)
	together(20*second, a, b)
	a.videoGot, b.videoGot = 0, 0
	together(60*second, a, b)
	t.Logf("packets of video %d and %d", a.videoGot, b.videoGot)
	if less, more := min(a.videoGot, b.videoGot), max(a.videoGot, b.videoGot); less*4 < more {
		t.Errorf("packets of video %d and %d", a.videoGot, b.videoGot)
	}
	a.heard(400*millisecond, 0.98)
	b.heard(400*millisecond, 0.98)
}

// TestWithoutPadding has nobody send padding, as where RTX was not negotiated: growth is slower, but there is growth.
func TestWithoutPadding(t *testing.T) {
	n := plain()
	n.rate = dip(300_000)
	w := newWorld(t, n, simulcast)
	w.noPad = true
	w.run(70 * second)
	if at := w.layerAt(0, startAt+14*second); at != 2 {
		t.Errorf("layer %d before the dip", at)
	}
	if up := w.since(0, startAt+35*second, func(l int) bool { return l == 2 }); up < 0 || up > 25*second {
		t.Errorf("up after %d ms", ms(up))
	}
}

// TestKeyFrameBursts sends key frames as fast as a cache gives them: they are no congestion.
func TestKeyFrameBursts(t *testing.T) {
	n := plain()
	w := newWorld(t, n, simulcast)
	w.harsh = true
	w.run(10 * second)
	for i := range 20 {
		f := w.feeds[0]
		for range 40 + i%10 {
			f.burst = append(f.burst, parcel{size: 1100})
		}
		w.run(2 * second)
	}
	w.stays(0, 2, 8*second, 50*second)
}

// TestStart counts how long a new subscriber waits for the top layer.
func TestStart(t *testing.T) {
	w := newWorld(t, plain(), simulcast)
	w.run(5 * second)
	first := w.since(0, startAt, func(l int) bool { return l >= 0 })
	top := w.since(0, startAt, func(l int) bool { return l == 2 })
	t.Logf("first layer asked for after %d ms, top layer after %d ms", ms(first)-120, ms(top))
	if first > 200*millisecond || top < 0 || top > 2500*millisecond {
		t.Errorf("first layer after %d ms, top layer after %d ms", ms(first), ms(top))
	}
	if w.padSent > 200_000 {
		t.Errorf("%d bytes of padding to start", w.padSent)
	}
}
