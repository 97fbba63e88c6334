//go:build cgo

package pipeline

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"portico/relay/codec"
	"portico/relay/codec/yuv"
	"portico/shared/conference"
	"portico/shared/layout"
	"portico/shared/relayproto"
)

var h264, vp9 = conference.Format{Codec: "h264"}, conference.Format{Codec: "vp9"}

// psnr of two pictures' Y, in dB.
func psnr(a, b *codec.Picture) float64 {
	var sum float64
	for y := range a.Height {
		for x := range a.Width {
			d := float64(a.Y[y*a.StrideY+x]) - float64(b.Y[y*b.StrideY+x])
			sum += d * d
		}
	}
	return 10 * math.Log10(255*255/max(sum/float64(a.Width*a.Height), 1e-4))
}

// goldenCanvas is what three inputs of 640x360, 320x240 and 240x320 look like in four regions of 640x360 (rooms-and-media 5.7).
func goldenCanvas() *codec.Picture {
	p := codec.NewPicture(640, 360)
	yuv.Fill(p, yuv.Whole(p), background[0], background[1], background[2])
	for _, c := range []struct {
		colour [3]byte
		at     layout.Rect
	}{
		{red, layout.Rect{X: 0, Y: 0, W: 320, H: 180}},
		{green, layout.Rect{X: 360, Y: 0, W: 240, H: 180}},
		{grey, layout.Rect{X: 92, Y: 180, W: 134, H: 180}},
	} {
		yuv.Fill(p, c.at, c.colour[0], c.colour[1], c.colour[2])
	}
	return p
}

// TestGoldenColours has three inputs, each of one colour and one codec, decoded, composed, encoded and decoded again.
func TestGoldenColours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, built{})
		defer w.close()
		w.viewOf(640, 360, 30)
		for i, c := range []struct {
			codec         string
			width, height int
			colour        [3]byte
		}{{"vp8", 640, 360, red}, {"h264", 320, 240, green}, {"vp9", 240, 320, grey}} {
			w.film("S"+string(rune('1'+i)), c.codec, c.width, c.height, 30).colour(c.colour)
		}
		w.scene("fluid", "S1", "S2", "S3")
		eyes := map[string]*eye{}
		for _, f := range []conference.Format{vp8, h264, vp9} {
			eyes[f.Codec] = w.watch(relayproto.Output{ID: f.Codec, Format: f, Framerate: 30, Bitrate: 1200})
		}
		small := w.watch(relayproto.Output{ID: "small", Format: vp8, Framerate: 15, Bitrate: 300, Width: 320, Height: 240})
		w.give()
		w.run(1500 * time.Millisecond)
		want := goldenCanvas()
		for name, e := range eyes {
			for _, at := range [][2]int{{160, 90}, {480, 90}, {160, 270}, {480, 270}, {340, 90}, {80, 270}} {
				i := at[1]*want.StrideY + at[0]
				k := at[1]/2*want.StrideUV + at[0]/2
				if err := near(e.at(at[0], at[1]), [3]byte{want.Y[i], want.U[k], want.V[k]}, 6); err != nil {
					t.Errorf("%s at %v: %v", name, at, err)
				}
			}
			if e.frames < 40 || e.keys != 1 {
				t.Errorf("%s: %d pictures, %d keys", name, e.frames, e.keys)
			}
			db := psnr(e.picture, want)
			t.Logf("%s: PSNR %.1f dB", name, db)
			if db < 32 {
				t.Errorf("%s: PSNR %.1f dB", name, db)
			}
		}
		if err := near(small.at(80, 60), red, 6); err != nil || small.picture.Width != 320 || small.picture.Height != 240 {
			t.Errorf("%v of %dx%d", err, small.picture.Width, small.picture.Height)
		}
	})
}

// TestTwoTones has 440 Hz from one and 880 Hz from another, by Opus both ways: each hears only the other's, a third hears both.
func TestTwoTones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, built{})
		defer w.close()
		w.talk("S1", "ann", opusFormat, 440, loud)
		w.talk("S2", "bob", opusFormat, 880, loud)
		ann, bob, eve := w.listen("ann", "ann", opusFormat), w.listen("bob", "bob", opusFormat), w.listen("eve", "eve", opusFormat)
		w.give()
		w.run(settling)
		w.listenFor(2*time.Second, ann, bob, eve)
		for _, c := range []struct {
			e        *ear
			low, top bool
		}{{ann, false, true}, {bob, true, false}, {eve, true, true}} {
			for hz, want := range map[float64]bool{440: c.low, 880: c.top} {
				got := c.e.hears(hz)
				t.Logf("%s hears %v Hz at %.1f dB, sent at %.1f", c.e.name, hz, got, heardDB)
				if want && math.Abs(got-heardDB) > 1.5 || !want && got > -60 {
					t.Errorf("%s hears %v Hz at %.1f dB; wanted: %v", c.e.name, hz, got, want)
				}
			}
		}
	})
}

// TestCodecChange has an input go on in other codecs, in the middle.
func TestCodecChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, built{})
		defer w.close()
		w.viewOf(160, 120, 30)
		w.scene("fluid", "S1")
		e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		for _, c := range []struct {
			codec  string
			colour [3]byte
		}{{"vp8", red}, {"h264", green}, {"vp9", grey}, {"vp8", green}} {
			camera := w.film("S1", c.codec, 160, 120, 30)
			camera.colour(c.colour)
			w.give()
			w.run(2 * time.Second)
			if err := near(e.at(80, 60), c.colour, 8); err != nil {
				t.Errorf("%s: %v, %+v", c.codec, err, w.inputReport("S1"))
			}
			camera.resize(240, 180)
			w.run(time.Second)
			if r := w.inputReport("S1"); r.Width != 240 || r.Trouble != "" {
				t.Errorf("%s: %+v", c.codec, r)
			}
			w.silence(camera)
		}
		if e.frames < 355 || e.keys != 1 {
			t.Errorf("%d pictures in 12 s, %d keys", e.frames, e.keys)
		}
	})
}

// TestFlippedBits has an input whose bits are flipped on the way for some seconds.
func TestFlippedBits(t *testing.T) {
	for _, name := range []string{"vp8", "h264", "vp9"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, built{})
				defer w.close()
				w.viewOf(320, 240, 30)
				c := w.film("S1", name, 160, 120, 30)
				w.film("S2", "vp8", 160, 120, 30).colour(green)
				w.scene("fluid", "S1", "S2")
				e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
				w.give()
				w.run(time.Second)
				c.spoil = func(b []byte) []byte {
					for range 3 {
						b[w.rand.IntN(len(b))] ^= 1 << w.rand.IntN(8)
					}
					return b
				}
				w.run(8 * time.Second)
				if err := near(e.at(240, 60), green, 8); err != nil || e.frames < 265 {
					t.Errorf("the other input: %v; %d pictures in 9 s", err, e.frames)
				}
				c.spoil, c.key = nil, true
				c.colour(grey)
				w.run(4 * time.Second)
				if err := near(e.at(80, 60), grey, 8); err != nil || w.inputReport("S1").Trouble != "" {
					t.Errorf("after it: %v, %+v", err, w.inputReport("S1"))
				}
			})
		})
	}
}

// TestOpusLoss has every tenth packet of sound lost: the tone goes on.
func TestOpusLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, built{})
		defer w.close()
		a := w.talk("S1", "P", opusFormat, 440, loud)
		o := w.listen("a", "", opusFormat)
		w.give()
		w.run(settling)
		a.net.loss = 0.1
		w.run(settling)
		w.listenFor(10*time.Second, o)
		quiet := 0 // blocks of 10 ms that are much too quiet
		for b := o.pcm; len(b) >= 960; b = b[960:] {
			var sum float64
			for _, v := range b[:960] {
				sum += float64(v) * float64(v)
			}
			if math.Sqrt(sum/960) < loud/math.Sqrt2/4 {
				quiet++
			}
		}
		t.Logf("%d of 1000 blocks are 12 dB too quiet", quiet)
		if quiet > 30 {
			t.Errorf("%d of 1000 blocks are 12 dB too quiet", quiet)
		}
	})
}
