package audiomix

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

var rates = []int{8000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000}

// TestResample sends tones through every pair of rates. What lies within 0.38 of the lower rate comes out as it was, what lies
// beyond half of it does not come out as anything else.
func TestResample(t *testing.T) {
	for _, from := range rates {
		for _, to := range rates {
			if from != Rate && to != Rate || from == to {
				continue
			}
			low := float64(min(from, to))
			for _, share := range []float64{0.01, 0.1, 0.25, 0.38} {
				s := tone{hz: low * share, amplitude: 20_000}
				r, err := NewResampler(from, to, 1)
				if err != nil {
					t.Fatal(err)
				}
				out := r.Process(nil, s.next(from, from, 1))
				if len(out) != to {
					t.Fatalf("%d -> %d: %d samples of a second", from, to, len(out))
				}
				out = out[to/10:]
				gain := strength(out, to, 1, s.hz) - 20*math.Log10(20_000.0/32767)
				noise := rest(out, to, 1, s.hz)
				if math.Abs(gain) > 0.1 || noise > -60 {
					t.Errorf("%d -> %d: %v Hz comes with %+.2f dB, the rest at %.1f dB", from, to, s.hz, gain, noise)
				}
			}
			if from < to {
				continue
			}
			s := tone{hz: low * 0.55, amplitude: 20_000}
			r, _ := NewResampler(from, to, 1)
			out := r.Process(nil, s.next(from, from, 1))[to/10:]
			var sum float64
			for _, v := range out {
				sum += float64(v) * float64(v)
			}
			if db := decibels(sum / float64(len(out))); db > -60 {
				t.Errorf("%d -> %d: %v Hz comes out at %.1f dB as something else", from, to, s.hz, db)
			}
		}
	}
}

// TestResampleInPieces: however the sound is cut, the result is the same, and both channels are kept apart.
func TestResampleInPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for _, from := range rates {
		src := make([]int16, 2*from)
		for i := range src {
			src[i] = int16(r.IntN(60_000) - 30_000)
		}
		whole, _ := NewResampler(from, Rate, 2)
		pieces, _ := NewResampler(from, Rate, 2)
		left, _ := NewResampler(from, Rate, 1)
		want := whole.Process(nil, src)
		var got, mono []int16
		for rest := src; len(rest) > 0; {
			n := min(2*r.IntN(1500), len(rest))
			got = pieces.Process(got, rest[:n])
			rest = rest[n:]
		}
		for i := 0; i < len(src); i += 2 {
			mono = append(mono, src[i])
		}
		mono = left.Process(nil, mono)
		if len(got) != len(want) || len(want) != 2*Rate || len(mono) != Rate {
			t.Fatalf("%d: %d, %d and %d values", from, len(want), len(got), len(mono))
		}
		for i := range want {
			if got[i] != want[i] || i%2 == 0 && mono[i/2] != want[i] {
				t.Fatalf("%d: value %d is %d and %d", from, i, want[i], got[i])
			}
		}
	}
}

func TestResampleConstant(t *testing.T) {
	for _, from := range rates {
		for _, v := range []int16{0, 1, -1, 12_345, math.MaxInt16, math.MinInt16} {
			r, _ := NewResampler(from, Rate, 1)
			src := make([]int16, from/10)
			for i := range src {
				src[i] = v
			}
			for i, got := range r.Process(nil, src)[Rate/50:] {
				if d := int(got) - int(v); d < -1 || d > 1 || v == 0 && d != 0 {
					t.Fatalf("%d: %d becomes %d at %d", from, v, got, i)
				}
			}
		}
	}
}

func TestResamplerFormats(t *testing.T) {
	for _, c := range [][3]int{
		{0, 48_000, 1}, {48_000, 0, 1}, {8000, 48_000, 3}, {8000, 48_000, 0}, {22_050, 48_000, 1}, {1 << 40, 8000, 1},
	} {
		if _, err := NewResampler(c[0], c[1], c[2]); !errors.Is(err, ErrFormat) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestMonoAndStereo(t *testing.T) {
	stereo := Stereo(nil, []int16{1, -32_768, 32_767})
	mono := Mono(nil, stereo)
	for i, want := range []int16{1, -32_768, 32_767} {
		if stereo[2*i] != want || stereo[2*i+1] != want || mono[i] != want {
			t.Errorf("%v, %v", stereo, mono)
		}
	}
	if got := Mono(nil, []int16{100, 200, 7}); len(got) != 1 || got[0] != 150 {
		t.Errorf("%v", got)
	}
}

// TestOtherRatesAreMixed writes a tone at every rate, in one and two channels.
func TestOtherRatesAreMixed(t *testing.T) {
	for _, rate := range rates {
		for channels := 1; channels <= 2; channels++ {
			m := New(Config{})
			viewer := listen(t, m, "")
			in := input(t, m, "A")
			s := tone{hz: 440, amplitude: loud}
			for i := range 120 {
				if err := in.Write(s.next(rate/100, rate, channels), rate, channels); err != nil {
					t.Fatal(err)
				}
				if m.Mix(); i >= 20 {
					viewer.hear()
				}
			}
			hears(t, "a viewer", viewer, 440, true)
			if got := rest(viewer.pcm, Rate, Channels, 440); got > -60 {
				t.Errorf("%d Hz, %d channels: the rest at %.1f dB", rate, channels, got)
			}
		}
	}
}

// TestFormatChanges: another rate in the middle of a call.
func TestFormatChanges(t *testing.T) {
	m := New(Config{})
	in := input(t, m, "A")
	viewer := listen(t, m, "")
	for _, rate := range []int{48_000, 8000, 16_000, 48_000} {
		s := tone{hz: 440, amplitude: loud}
		for i := range 120 {
			if err := in.Write(s.next(rate/100, rate, 1), rate, 1); err != nil {
				t.Fatal(err)
			}
			if m.Mix(); i >= 20 {
				viewer.hear()
			}
		}
		hears(t, "a viewer", viewer, 440, true)
		viewer.forget()
	}
}

// TestStretch plays a tone that comes too fast or too slow; the right number of samples is used, and the tone stays clean.
func TestStretch(t *testing.T) {
	for _, stretch := range []float64{9.6, -9.6, 3.3, -250, 480} {
		m := New(Config{})
		viewer := listen(t, m, "")
		in := input(t, m, "A")
		in.SetStretch(stretch)
		s := tone{hz: 440, amplitude: loud}
		for range 1000 {
			for in.Buffered() < in.Need()+3 {
				if err := in.Write(s.next(FrameSamples, Rate, 2), Rate, 2); err != nil {
					t.Fatal(err)
				}
			}
			m.Mix()
			viewer.hear()
		}
		used := float64(s.n - in.Buffered())
		if want := 10 * (Rate + stretch); math.Abs(used-want) > 7 {
			t.Errorf("stretch %v: %v samples are used in ten seconds, want %v", stretch, used, want)
		}
		// At 480 the tone is a hundredth higher in every frame, at 9.6 in one of ten.
		if b := bend(viewer.pcm[FrameLength:]); b > 60 {
			t.Errorf("stretch %v: a bend of %d", stretch, b)
		}
	}
	in := input(t, New(Config{}), "")
	in.SetStretch(math.NaN())
	if in.Need() != FrameSamples {
		t.Error(in.Need())
	}
	in.SetStretch(math.Inf(1))
	if in.Need() != FrameSamples+4 {
		t.Error(in.Need())
	}
}
