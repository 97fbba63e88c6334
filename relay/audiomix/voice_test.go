package audiomix

import (
	"math/rand/v2"
	"testing"
)

func TestLevel(t *testing.T) {
	for _, c := range []struct {
		amplitude float64
		want      uint8
	}{{0, 127}, {32_767, 3}, {16_384, 9}, {3277, 23}, {328, 43}, {33, 63}} {
		m := New(Config{})
		k := talk(t, m, "A", 500, c.amplitude)
		play(t, m, 2, []*talker{k})
		if level, _ := k.in.Level(); level != c.want {
			t.Errorf("a sine of %v has a level of %d, want %d", c.amplitude, level, c.want)
		}
		if got := m.Shared().Level(); got != c.want {
			t.Errorf("the mix of a sine of %v has a level of %d, want %d", c.amplitude, got, c.want)
		}
	}
	if got := dbov(overload); got != 0 {
		t.Errorf("overload has a level of %d", got)
	}
}

// voiced is for how many of n frames there is a voice.
func voiced(t *testing.T, m *Mixer, in *Input, n int, write func(frame int)) (frames int) {
	t.Helper()
	for i := range n {
		write(i)
		m.Mix()
		if _, voice := in.Level(); voice {
			frames++
		}
	}
	return frames
}

func TestVoice(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	m := New(Config{})
	in := input(t, m, "A")
	background := func(int) { noise(t, r, in, 150) } // -51 dBov
	// Syllables of 150 ms with gaps of 100 ms and a breath every two seconds, 24 dB over the background.
	speech := func(i int) {
		if i%25 < 15 && i%200 < 150 {
			noise(t, r, in, 2400)
		} else {
			noise(t, r, in, 150)
		}
	}
	voiced(t, m, in, 300, background)
	if got := voiced(t, m, in, 200, background); got != 0 {
		t.Errorf("%d of 200 frames of background are voice", got)
	}
	if got := voiced(t, m, in, 1000, speech); got < 750 || got > 950 {
		t.Errorf("%d of 1000 frames of speech are voice", got)
	}
	if got := voiced(t, m, in, 200, background); got > hangover+1 {
		t.Errorf("%d of 200 frames after the speech are voice", got)
	}
	if got := voiced(t, m, in, 200, func(i int) {
		if i%50 == 0 {
			noise(t, r, in, 20_000) // a key is struck
		} else {
			background(i)
		}
	}); got != 0 {
		t.Errorf("%d frames with clicks are voice", got)
	}
	fan := func(int) { noise(t, r, in, 700) } // -38 dBov, from one moment to the next
	voiced(t, m, in, 600, fan)
	if got := voiced(t, m, in, 1000, fan); got != 0 {
		t.Errorf("%d of 1000 frames of a fan are voice", got)
	}
	if got := voiced(t, m, in, 1000, func(i int) {
		if i%25 < 15 {
			noise(t, r, in, 6000)
		} else {
			fan(i)
		}
	}); got < 950 {
		t.Errorf("%d of 1000 frames of speech over a fan are voice", got)
	}
}

func TestToneWithoutEndIsVoice(t *testing.T) {
	m := New(Config{})
	k := talk(t, m, "A", 440, 4000)
	if got := voiced(t, m, k.in, 6000, func(int) { k.frame(t, k.in) }); got < 5990 {
		t.Errorf("%d of 6000 frames", got)
	}
	if got := voiced(t, m, k.in, 100, func(int) {}); got > hangover {
		t.Errorf("%d of 100 frames are voice when none come", got)
	}
}
