package pipeline

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"portico/relay/codec"
	"portico/shared/relayproto"
)

// TestLipSync has a clap, which is seen and heard at the same moment of its sender, come by ways of different delay and jitter: by the
// job's own reports it is seen and heard within 40 ms.
func TestLipSync(t *testing.T) {
	for _, c := range []struct {
		name         string
		sound, sight network
	}{
		{"alike", network{delay: 20 * time.Millisecond}, network{delay: 20 * time.Millisecond}},
		{"pictures late", network{delay: 10 * time.Millisecond}, network{delay: 160 * time.Millisecond}},
		{"sound late", network{delay: 150 * time.Millisecond}, network{delay: 10 * time.Millisecond}},
		{"sound jitters", network{delay: 10 * time.Millisecond, jitter: 80 * time.Millisecond}, network{delay: 10 * time.Millisecond}},
		{"pictures jitter", network{delay: 10 * time.Millisecond}, network{delay: 10 * time.Millisecond, jitter: 60 * time.Millisecond}},
	} {
		t.Run(c.name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { lipSync(t, c.sound, c.sight) }) })
	}
}

func lipSync(t *testing.T, sound, sight network) {
	w := newWorld(t, &fakes{})
	defer w.close()
	w.viewOf(32, 32, 30)
	begin := time.Now().UnixNano()
	const rate = 27 // so that pictures come at all moments between the job's own
	period := second / rate
	clapping := func(at int64) bool { return (at-begin)/period%29 < 3 }
	v := w.film("S1", "vp8", 32, 32, rate)
	v.net, v.skew = sight, 1234*time.Second
	v.draw = func(p *codec.Picture, at int64) {
		if clapping(at) {
			colour(235, 128, 128)(p, at)
		} else {
			colour(16, 128, 128)(p, at)
		}
	}
	a := w.talk("S1", "P", opusFormat, 440, loud)
	a.net, a.skew = sound, v.skew
	sine := a.sound
	a.sound = func(at int64, i int) float64 {
		if clapping(at + int64(i%(rawRate/50))*second/rawRate) {
			return sine(at, i)
		}
		return 0
	}
	w.scene("fluid", "S1")
	var seen []int64
	dark := true
	e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
	e.seen = func(p *codec.Picture, timestamp uint32, now int64) {
		bright := p.Y[p.StrideY*16+16] > 128
		if bright && dark && len(e.reports) > 0 {
			seen = append(seen, e.moment(timestamp, 90_000))
		}
		dark = !bright
	}
	o := w.listen("a", "", opusFormat)
	w.give()
	w.run(25 * time.Second)
	heard := claps(o)
	var worst, sum int64
	n := int64(0)
	for _, at := range seen[15:] { // the sound has come to its pictures by then, a little at a time
		i, _ := slices.BinarySearch(heard, at-second/2)
		if i == len(heard) {
			continue
		}
		off := at - heard[i]
		worst = max(worst, off, -off)
		sum += off
		n++
	}
	s := w.soundStats()
	t.Logf("%d claps: seen %.1f ms after they are heard, at most %.1f ms apart; sound is delayed by %v", n, float64(sum)/float64(n)/1e6,
		float64(worst)/1e6, s.Delay)
	if n < 8 || worst > 40*millisecond {
		t.Errorf("%d claps, %d ms apart", n, worst/millisecond)
	}
}

// claps are the moments at which sound begins.
func claps(e *ear) (list []int64) {
	each := len(e.pcm) / len(e.stamps)
	quiet := 0
	for i, v := range e.pcm {
		if v < 2000 && v > -2000 {
			quiet++
			continue
		}
		if quiet > rawRate/5 {
			list = append(list, e.moment(e.stamps[i/each], 48_000)+int64(i%each)*second/rawRate)
		}
		quiet = 0
	}
	return list
}

// TestLoss has every tenth packet of an input lost for thirty seconds, both when packets can be had again and when they cannot.
func TestLoss(t *testing.T) {
	for _, again := range []bool{true, false} {
		t.Run(map[bool]string{true: "repaired", false: "not repaired"}[again], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { loss(t, again) })
		})
	}
}

func loss(t *testing.T, again bool) {
	f := &fakes{}
	w := newWorld(t, f)
	defer w.close()
	cameras := three(w)
	a := w.talk("S1", "P", opusFormat, 440, loud)
	o := w.listen("a", "", opusFormat)
	e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
	w.give()
	w.run(3 * time.Second)
	seesThree(t, e, 0)
	if !again {
		cameras[0].sent = nil
	}
	cameras[0].net.loss, a.net.loss = 0.1, 0.1
	frames, packets, decoded := e.frames, len(o.stamps), f.decoded.Load()
	w.run(30 * time.Second)
	got := float64(f.decoded.Load()-decoded)/30 - 30 - 15 - 25 // less those of the others and of the output
	t.Logf("of the input %.1f pictures a second are decoded, %d packets asked for again, %d key frames",
		got, cameras[0].nacks, cameras[0].keys)
	if d := e.frames - frames; d < 899 || d > 901 {
		t.Errorf("%d pictures in 30 s", d)
	}
	if d := len(o.stamps) - packets; d < 1499 || d > 1501 {
		t.Errorf("%d packets of sound in 30 s", d)
	}
	if again && got < 28 || !again && got < 1 {
		t.Errorf("%.1f pictures a second", got)
	}
	if most := 30 * 4; cameras[0].keys > most {
		t.Errorf("%d key frames were asked for", cameras[0].keys)
	}
	cameras[0].net.loss, a.net.loss = 0, 0
	cameras[0].colour(grey)
	w.run(6 * time.Second)
	if err := near(e.at(32, 24), grey, 0); err != nil || w.inputReport("S1").Trouble != "" {
		t.Errorf("after it: %v, %+v", err, w.inputReport("S1"))
	}
}
