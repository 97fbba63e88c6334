package audiomix

import (
	"math"
	"math/rand/v2"
	"testing"
)

// tone is a sine on both channels that goes on from frame to frame.
type tone struct {
	hz, amplitude float64
	n             int
}

// next are so many samples of it.
func (s *tone) next(samples, rate, channels int) []int16 {
	pcm := make([]int16, 0, samples*channels)
	for range samples {
		v := int16(math.Round(s.amplitude * math.Sin(2*math.Pi*s.hz*float64(s.n)/float64(rate))))
		for range channels {
			pcm = append(pcm, v)
		}
		s.n++
	}
	return pcm
}

// frame writes 10 ms of it to an input.
func (s *tone) frame(t testing.TB, in *Input) {
	t.Helper()
	if err := in.Write(s.next(FrameSamples, Rate, Channels), Rate, Channels); err != nil {
		t.Fatal(err)
	}
}

// noise writes 10 ms of white noise to an input.
func noise(t testing.TB, r *rand.Rand, in *Input, amplitude float64) {
	t.Helper()
	pcm := make([]int16, FrameLength)
	for i := range pcm {
		pcm[i] = int16((r.Float64()*2 - 1) * amplitude)
	}
	if err := in.Write(pcm, Rate, Channels); err != nil {
		t.Fatal(err)
	}
}

// strength is how strong a frequency is in one channel, in dBov of a sine: 0 is a sine of full scale. The recording is a whole
// number of the frequency's periods long, or a few seconds; a Hann window keeps neighbours out.
func strength(pcm []int16, rate, channels int, hz float64) float64 {
	n := len(pcm) / channels
	var re, im, sum float64
	for i := range n {
		w := 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(n))
		x := w * float64(pcm[i*channels])
		sin, cos := math.Sincos(2 * math.Pi * hz * float64(i) / float64(rate))
		re, im, sum = re+x*cos, im+x*sin, sum+w
	}
	return 20 * math.Log10(max(2*math.Hypot(re, im)/sum, 1e-9)/32767)
}

// rest is what remains of one channel when sines of these frequencies are taken out by least squares, in dB below all of it.
func rest(pcm []int16, rate, channels int, hz ...float64) float64 {
	n := len(pcm) / channels
	x := make([]float64, n)
	var all float64
	for i := range x {
		x[i] = float64(pcm[i*channels])
		all += x[i] * x[i]
	}
	for range 4 { // the sines are nearly orthogonal: a few rounds are exact
		for _, f := range hz {
			var ss, cc, sc, xs, xc float64
			for i, v := range x {
				s, c := math.Sincos(2 * math.Pi * f * float64(i) / float64(rate))
				ss, cc, sc, xs, xc = ss+s*s, cc+c*c, sc+s*c, xs+v*s, xc+v*c
			}
			det := ss*cc - sc*sc
			a, b := (xs*cc-xc*sc)/det, (xc*ss-xs*sc)/det
			for i := range x {
				s, c := math.Sincos(2 * math.Pi * f * float64(i) / float64(rate))
				x[i] -= a*s + b*c
			}
		}
	}
	var left float64
	for _, v := range x {
		left += v * v
	}
	return 10 * math.Log10(max(left, 1e-9)/all)
}

// bend is the strongest bend of one channel: the second difference, which a click makes large.
func bend(pcm []int16) int {
	most := 0
	for i := 2 * Channels; i < len(pcm); i += Channels {
		d := int(pcm[i]) - 2*int(pcm[i-Channels]) + int(pcm[i-2*Channels])
		most = max(most, d, -d)
	}
	return most
}

// ear records what a listener hears.
type ear struct {
	l   *Listener
	pcm []int16
}

func listen(t testing.TB, m *Mixer, participant string) *ear {
	t.Helper()
	l, err := m.AddListener(participant)
	if err != nil {
		t.Fatal(err)
	}
	return &ear{l: l}
}

func (e *ear) hear() { e.pcm = append(e.pcm, e.l.Output().PCM[:]...) }

func input(t testing.TB, m *Mixer, participant string) *Input {
	t.Helper()
	in, err := m.AddInput(participant)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// talker is an input that makes a tone.
type talker struct {
	in *Input
	tone
}

func talk(t testing.TB, m *Mixer, participant string, hz, amplitude float64) *talker {
	t.Helper()
	return &talker{input(t, m, participant), tone{hz: hz, amplitude: amplitude}}
}

// play mixes so many frames of all talkers for all ears.
func play(t testing.TB, m *Mixer, n int, talkers []*talker, ears ...*ear) (actives []*Input) {
	t.Helper()
	for range n {
		for _, k := range talkers {
			k.frame(t, k.in)
		}
		if r := m.Mix(); r.Active != nil {
			actives = append(actives, r.Active)
		}
		for _, e := range ears {
			e.hear()
		}
	}
	return actives
}
