package plc

import (
	"math"
	"testing"
)

func wave(rate, hertz, from, n int) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(9000 * math.Sin(2*math.Pi*float64(hertz)*float64(from+i)/float64(rate)))
	}
	return pcm
}

func distance(a, b []int16) (most int) {
	for i := range a {
		most = max(most, int(math.Abs(float64(a[i])-float64(b[i]))))
	}
	return most
}

// A tone that stops goes on as if nothing had happened for 10 ms, is gone after 60, and comes back without a step.
func TestToneGoesOn(t *testing.T) {
	for _, rate := range []int{8000, 16_000, 48_000} {
		for _, hertz := range []int{100, 200, 400} {
			c := New(rate)
			ms := rate / 1000
			c.Heard(wave(rate, hertz, 0, 40*ms))
			made := c.Make(nil, 200*ms)
			if d := distance(made[:10*ms], wave(rate, hertz, 40*ms, 10*ms)); d > 900 {
				t.Errorf("%d Hz at %d: off by %d", hertz, rate, d)
			}
			for i, v := range made[60*ms:] {
				if v != 0 {
					t.Fatalf("%d Hz at %d: %d after %d samples", hertz, rate, v, 60*ms+i)
				}
			}
			back := wave(rate, hertz, 240*ms+ms, 20*ms)
			heard := append([]int16(nil), back...)
			c.Heard(heard)
			if heard[0] != 0 || distance(heard[5*ms:], back[5*ms:]) != 0 {
				t.Errorf("%d Hz at %d: comes back with %d", hertz, rate, heard[0])
			}
		}
	}
}

func TestSilenceStaysSilent(t *testing.T) {
	c := New(8000)
	for _, v := range c.Make(nil, 1000) {
		if v != 0 {
			t.Fatal(v)
		}
	}
	c.Heard(nil)
	c.Heard(make([]int16, 3))
	if got := c.Make(nil, -5); len(got) != 0 {
		t.Error(len(got))
	}
}
