package audiomix

import (
	"fmt"
	"testing"
)

// crowd is a mixer with so many participants, all publishing and listening, the first few of them talking.
func crowd(t testing.TB, n, talking int, config Config) (step func()) {
	t.Helper()
	m := New(config)
	listen(t, m, "")
	pcm := make([][]int16, n)
	var inputs []*Input
	for i := range n {
		name := fmt.Sprint(i)
		inputs = append(inputs, input(t, m, name))
		listen(t, m, name)
		amplitude := 30.0
		if i < talking {
			amplitude = 5000
		}
		s := tone{hz: 100 * float64(i%20+1), amplitude: amplitude}
		pcm[i] = s.next(FrameSamples, Rate, Channels)
	}
	return func() {
		for i, in := range inputs {
			if err := in.Write(pcm[i], Rate, Channels); err != nil {
				t.Fatal(err)
			}
		}
		m.Mix()
	}
}

func TestMixDoesNotAllocate(t *testing.T) {
	step := crowd(t, 16, 4, Config{})
	m := New(Config{})
	phone := input(t, m, "A")
	phone.SetStretch(200)
	s := tone{hz: 440, amplitude: 32_000}
	pcm := s.next(160, 8000, 1)
	both := func() {
		step()
		if phone.Write(pcm, 8000, 1) != nil {
			t.Fatal("not taken")
		}
		m.Mix()
		m.Mix()
	}
	for range 50 {
		both()
	}
	if n := testing.AllocsPerRun(300, both); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

func BenchmarkMix(b *testing.B) {
	for _, c := range []struct {
		name    string
		n, loud int
		config  Config
	}{
		{"16 inputs, 3 talkers", 16, 3, Config{}},
		{"100 inputs, 3 talkers", 100, 3, Config{}},
		{"16 inputs, all mixed", 16, 16, Config{Talkers: -1}},
		{"100 inputs, all mixed", 100, 100, Config{Talkers: -1}},
	} {
		b.Run(c.name, func(b *testing.B) {
			step := crowd(b, c.n, c.loud, c.config)
			b.ReportAllocs()
			for range b.N {
				step()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "µs/frame")
		})
	}
}

func BenchmarkResample(b *testing.B) {
	for _, c := range [][3]int{{8000, Rate, 1}, {16_000, Rate, 1}, {44_100, Rate, 2}, {Rate, 8000, 1}} {
		b.Run(fmt.Sprintf("%d to %d, %d channels", c[0], c[1], c[2]), func(b *testing.B) {
			r, err := NewResampler(c[0], c[1], c[2])
			if err != nil {
				b.Fatal(err)
			}
			s := tone{hz: 440, amplitude: 10_000}
			src := s.next(c[0]/100, c[0], c[2])
			var dst []int16
			b.ReportAllocs()
			for range b.N {
				dst = r.Process(dst[:0], src)
			}
		})
	}
}

func BenchmarkStretch(b *testing.B) {
	in := input(b, New(Config{}), "")
	s := tone{hz: 440, amplitude: 10_000}
	if err := in.Write(s.next(2*FrameSamples, Rate, 2), Rate, 2); err != nil {
		b.Fatal(err)
	}
	for range b.N {
		in.resize(3)
	}
}
