package pipeline

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"

	"portico/shared/conference"
	"portico/shared/relayproto"
)

var vp8 = conference.Format{Codec: "vp8"}

// viewOf makes the order one of a mix with pictures.
func (w *world) viewOf(width, height int, rate float64) {
	w.order.View = &relayproto.View{
		Width: width, Height: height, Framerate: rate, Background: conference.Color{R: 10, G: 20, B: 200},
	}
}

// background is that colour, and the colours of three inputs.
var (
	background = [3]byte{48, 208, 110} // by the formula of rooms-and-media 5.7
	red        = [3]byte{82, 90, 240}
	green      = [3]byte{145, 54, 34}
	grey       = [3]byte{180, 128, 128}
)

func (c *camera) colour(to [3]byte) { c.draw = colour(to[0], to[1], to[2]) }

// three has three inputs with sizes and rates of their own, in a view of 128 by 96 with 30 pictures a second.
func three(w *world) (cameras []*camera) {
	w.viewOf(128, 96, 30)
	for i, c := range [][3]byte{red, green, grey} {
		camera := w.film("S"+string(rune('1'+i)), "vp8", []int{64, 96, 48}[i], []int{48, 54, 64}[i], []float64{30, 15, 25}[i])
		camera.colour(c)
		cameras = append(cameras, camera)
	}
	w.scene("fluid", "S1", "S2", "S3")
	return cameras
}

// seesThree checks a picture of three inputs in four regions.
func seesThree(t *testing.T, e *eye, most int) {
	t.Helper()
	if e.picture == nil {
		t.Fatalf("%s: no picture", e.name)
	}
	w, h := e.picture.Width, e.picture.Height
	for _, c := range []struct {
		x, y int
		want [3]byte
	}{
		{w / 4, h / 4, red}, {w * 3 / 4, h / 4, green}, {w / 4, h * 3 / 4, grey}, {w * 3 / 4, h * 3 / 4, background},
		{w * 3 / 4, h / 100, background}, // above the second, which is wider than its region
		{2, h * 3 / 4, background},       // beside the third, which is higher
	} {
		if err := near(e.at(c.x, c.y), c.want, most); err != nil {
			t.Errorf("%s at %d,%d: %v", e.name, c.x, c.y, err)
		}
	}
}

func TestThreeInputs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakes{}
		w := newWorld(t, f)
		defer w.close()
		three(w)
		e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		small := w.watch(relayproto.Output{ID: "s", Format: vp8, Framerate: 15, Width: 64, Height: 64})
		w.give()
		w.run(2 * time.Second)
		seesThree(t, e, 0)
		if p := e.picture; p.Width != 128 || p.Height != 96 {
			t.Errorf("%dx%d", p.Width, p.Height)
		}
		if p := small.picture; p.Width != 64 || p.Height != 64 {
			t.Errorf("%dx%d", p.Width, p.Height)
		}
		if err := near(small.at(16, 16), red, 0); err != nil {
			t.Error(err)
		}
		if e.frames < 59 || e.frames > 61 || small.frames < 29 || small.frames > 31 || e.keys != 1 {
			t.Errorf("%d and %d pictures, %d keys", e.frames, small.frames, e.keys)
		}
		r := w.inputReport("S2")
		if r.Width != 96 || r.Height != 54 || r.Trouble != "" || w.newest().Revision != 1 {
			t.Errorf("%+v", w.newest())
		}
		w.run(3 * time.Second)
		// The picture of the very moment at which the keeper measures may count before it or after it: 59 in two seconds at least.
		const picture = 128 * 96 * 12 // bits
		o := w.outputReport("v")
		if o.Frames < 60 || o.Bitrate < picture*59/2/1000 || o.Bitrate > picture*31/1000*105/100 || o.Trouble != "" {
			t.Errorf("%+v", o)
		}
	})
}

// TestRates has outputs of many rates: each at its own, evenly.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		w.viewOf(32, 32, 24)
		rates := []float64{1, 6, 7.5, 12, 15, 24, 25, 30, 48, 60}
		var eyes []*eye
		for _, rate := range rates {
			eyes = append(eyes, w.watch(relayproto.Output{ID: sizeText(int(rate*10), 0), Format: vp8, Framerate: rate}))
		}
		w.give() // without any input
		w.run(4 * time.Second)
		for i, e := range eyes {
			if want := rates[i] * 4; math.Abs(float64(e.frames)-want) > 1 {
				t.Errorf("%d pictures at %v a second", e.frames, rates[i])
			}
			period := float64(second) / rates[i]
			for k := 1; k < len(e.times); k++ {
				d := float64(e.times[k] - e.times[k-1])
				ticks := float64(e.stamps[k]-e.stamps[k-1]) / 90_000 * float64(second)
				if math.Abs(d-period) > 17e6 || math.Abs(ticks-d) > 1e6 {
					t.Errorf("at %v a second: %v ms, %v ms in timestamps", rates[i], d/1e6, ticks/1e6)
				}
			}
		}
	})
}

func TestKeyFramesOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		w.viewOf(32, 32, 30)
		e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		other := w.watch(relayproto.Output{ID: "o", Format: vp8, Framerate: 15})
		w.give()
		w.run(time.Second)
		if e.keys != 1 {
			t.Errorf("%d key frames at the beginning", e.keys)
		}
		w.ask(e.flow, &rtcp.PictureLossIndication{MediaSSRC: e.ssrc})
		w.run(100 * time.Millisecond)
		if e.keys != 2 {
			t.Errorf("%d key frames after one request", e.keys)
		}
		for range 200 { // 2 s
			w.ask(e.flow, &rtcp.FullIntraRequest{MediaSSRC: e.ssrc, FIR: []rtcp.FIREntry{{SSRC: e.ssrc}}})
			w.run(10 * time.Millisecond)
		}
		for i := 1; i < len(e.keyTimes); i++ {
			if d := e.keyTimes[i] - e.keyTimes[i-1]; d < 500*millisecond {
				t.Errorf("key frames %d ms apart", d/millisecond)
			}
		}
		if e.keys < 5 || e.keys > 7 || other.keys != 1 {
			t.Errorf("%d key frames, %d of another output", e.keys, other.keys)
		}
	})
}

func TestK_01_KeyFrameInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		w.viewOf(32, 32, 24)
		e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 24, KeyFrameInterval: 2})
		w.give()
		w.run(9 * time.Second)
		for i := 1; i < len(e.keyTimes); i++ {
			if d := e.keyTimes[i] - e.keyTimes[i-1]; d > 2*second+millisecond {
				t.Errorf("key frames %d ms apart", d/millisecond)
			}
		}
		if e.keys != 5 {
			t.Errorf("%d key frames in 9 s", e.keys)
		}
	})
}

func TestPacketsAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		w.viewOf(32, 32, 30)
		e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		w.give()
		w.run(time.Second)
		var packets [][]byte
		w.sinks[e.flow] = collect(func(b []byte) { packets = append(packets, b) })
		w.run(200 * time.Millisecond)
		number := uint16(packets[3][2])<<8 | uint16(packets[3][3])
		nacks := rtcp.NackPairsFromSequenceNumbers([]uint16{number, number + 1, number - 5000})
		w.ask(e.flow, &rtcp.TransportLayerNack{MediaSSRC: e.ssrc, Nacks: nacks})
		w.take()
		seen := make(map[string]int)
		for _, b := range packets {
			seen[string(b)]++
		}
		if seen[string(packets[3])] != 2 || seen[string(packets[4])] != 2 || len(packets)-len(seen) != 2 {
			t.Errorf("%d of %d packets came again", len(packets)-len(seen), len(packets))
		}
	})
}

type collect func([]byte)

func (c collect) rtp(b []byte, _ int64) { c(b) }
func (c collect) rtcp([]byte, int64)    {}

// TestNobodyWatches: only what is seen is decoded, and only while somebody sees it.
func TestNobodyWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakes{}
		w := newWorld(t, f)
		defer w.close()
		cameras := three(w)
		w.give()
		w.run(time.Second)
		if n := f.decoded.Load(); n != 0 || f.open.Load() > 3 { // of the cameras
			t.Errorf("%d pictures are decoded for nobody, %d codecs", n, f.open.Load())
		}
		e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		w.scene("fluid", "S1")
		w.give()
		w.run(time.Second)
		if err := near(e.at(64, 48), red, 0); err != nil || cameras[0].keys != 1 || cameras[1].keys+cameras[2].keys != 0 {
			t.Errorf("%v, keys asked for: %d %d %d", err, cameras[0].keys, cameras[1].keys, cameras[2].keys)
		}
		w.scene("fluid", "S1", "S2", "S3")
		w.give()
		w.run(time.Second)
		seesThree(t, e, 0)
		w.order.Outputs = nil
		w.give()
		w.run(time.Second)
		if n := f.open.Load(); n != 4 { // of the cameras and of the eye
			t.Errorf("%d codecs are open when nobody watches", n)
		}
	})
}

// TestA_05_MutedShowsTheAvatar is the other half of the case.
func TestA_05_MutedShowsTheAvatar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakes{}
		w := newWorld(t, f)
		defer w.close()
		cameras := three(w)
		e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		w.give()
		w.run(time.Second)
		w.input("S1").Video.Muted = true
		w.give()
		w.run(time.Second)
		if near(e.at(32, 24), red, 20) == nil || near(e.at(32, 24), background, 5) == nil {
			t.Errorf("a muted input is %v", e.at(32, 24))
		}
		keys := cameras[0].keys
		w.input("S1").Video.Muted = false
		w.give()
		w.run(time.Second)
		seesThree(t, e, 0)
		if cameras[0].keys != keys+1 {
			t.Errorf("%d key frames were asked for", cameras[0].keys-keys)
		}
	})
}

// TestInputChanges: another size in the middle of the stream, and another flow with another order.
func TestInputChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		cameras := three(w)
		e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		w.give()
		w.run(time.Second)
		cameras[0].resize(160, 120)
		cameras[0].colour(green)
		w.run(500 * time.Millisecond)
		if err := near(e.at(32, 24), green, 0); err != nil || w.inputReport("S1").Width != 160 {
			t.Errorf("%v, %+v", err, w.inputReport("S1"))
		}
		w.silence(cameras[0])
		again := w.film("S1", "vp8", 64, 48, 20)
		again.colour(grey)
		w.give()
		w.run(30 * time.Millisecond)
		if err := near(e.at(32, 24), green, 0); err != nil {
			t.Errorf("the last picture does not stay: %v", err)
		}
		w.run(time.Second)
		if err := near(e.at(32, 24), grey, 0); err != nil || e.frames < 70 {
			t.Errorf("%v, %d pictures", err, e.frames)
		}
		// A sender that begins anew with an SSRC of its own is understood, too.
		again.ssrc, again.seq, again.offset = again.ssrc+1, again.seq+30_000, again.offset+1<<30
		again.encoder.Close()
		again.encoder = nil
		again.colour(red)
		w.run(time.Second)
		seesThree(t, e, 0)
	})
}

// TestHostileInput: pictures that are too large or make no sense take the input out, with a reason, until they are sound again.
func TestHostileInput(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func([]byte) []byte
		want  string
	}{
		"absurd size": {func(b []byte) []byte { b[7] = 0x3f; b[0] &^= 1; return b }, "larger than allowed"},
		"truncated":   {func(b []byte) []byte { return b[:len(b)/2] }, "cannot be decoded"},
		"nothing":     {func(b []byte) []byte { return b[:12] }, "cannot be decoded"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &fakes{})
				defer w.close()
				cameras := three(w)
				e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
				w.give()
				w.run(time.Second)
				keys := cameras[0].keys
				cameras[0].spoil = c.spoil
				w.run(10 * time.Second)
				seesThree(t, e, 0) // the last picture stays
				if r := w.inputReport("S1"); !strings.Contains(r.Trouble, c.want) {
					t.Errorf("%+v", r)
				}
				if n := cameras[0].keys - keys; n < 4 || n > 12 {
					t.Errorf("%d key frames were asked for in 10 s", n)
				}
				if d := e.frames; d < 329 || d > 331 {
					t.Errorf("%d pictures in 11 s", d)
				}
				cameras[0].spoil = nil
				cameras[0].colour(grey)
				w.run(4 * time.Second)
				if err := near(e.at(32, 24), grey, 0); err != nil || w.inputReport("S1").Trouble != "" {
					t.Errorf("%v, %+v", err, w.inputReport("S1"))
				}
			})
		})
	}
}

// TestTooMuchToDo has encoders that take longer than there is time: pictures are left out evenly, none comes late, and sound goes on.
func TestTooMuchToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{slow: 45 * time.Millisecond})
		defer w.close()
		w.viewOf(32, 32, 30)
		w.talk("S1", "P", opusFormat, 440, loud)
		o := w.listen("a", "", opusFormat)
		e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		w.give()
		w.run(6 * time.Second)
		if d := len(o.stamps); d < 298 || d > 301 {
			t.Errorf("%d packets of sound in 6 s", d)
		}
		if e.frames < 125 || e.frames > 135 { // 6 s of 45 ms
			t.Errorf("%d pictures in 6 s", e.frames)
		}
		for i := 5; i < len(e.times); i++ {
			late := e.times[i] - e.moment(e.stamps[i], 90_000)
			apart := float64(e.stamps[i]-e.stamps[i-1]) / 90
			if late > 80*millisecond || apart > 67 {
				t.Fatalf("picture %d: %d ms late, %.0f ms behind the one before", i, late/millisecond, apart)
			}
		}
		if r := w.outputReport("v"); !strings.Contains(r.Trouble, "were left out") {
			t.Errorf("%+v", r)
		}
	})
}

func TestBitrates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakes{}
		w := newWorld(t, f)
		defer w.close()
		w.viewOf(32, 32, 30)
		w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30, Bitrate: 1000, Ceiling: 2000})
		w.give()
		rate := func() int {
			w.run(100 * time.Millisecond)
			f.mu.Lock()
			defer f.mu.Unlock()
			if r, ok := f.rate[32]; ok {
				return r
			}
			return f.made[len(f.made)-1].Bitrate
		}
		for _, c := range []struct{ bitrate, ceiling, want int }{
			{1000, 2000, 1_000_000}, {1000, 400, 400_000}, {1000, 30, 100_000}, {1000, 0, 1_000_000}, {700, 0, 700_000},
		} {
			w.order.Outputs[0].Bitrate, w.order.Outputs[0].Ceiling = c.bitrate, c.ceiling
			w.give()
			if got := rate(); got != c.want {
				t.Errorf("%d, at most %d: %d bit/s", c.bitrate, c.ceiling, got)
			}
		}
		if len(f.made) != 1 {
			t.Errorf("%d encoders for one output", len(f.made))
		}
	})
}
