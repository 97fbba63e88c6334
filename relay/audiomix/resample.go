package audiomix

import "math"

// Resampler converts sound from one rate to another, and remembers what it needs of what came before. Make it with NewResampler.
// It is not safe for concurrent use.
//
// It is a polyphase filter: between two samples of the input lie as many places as the output needs, each with the taps of a
// low-pass filter for just that place, a sinc under a Kaiser window. So n samples become exactly n*to/from, for ever.
type Resampler struct {
	channels int
	up, down int // the ratio, reduced
	taps     int
	coef     []int32 // up times taps, the oldest sample's first
	work     [2][]int16
	history  int // samples at the beginning of work that belong to the past: taps-1
	index    int // of the next output, in samples of work, the newest it takes
	phase    int
}

const (
	baseTaps  = 32   // of the filter, in samples of the lower rate
	cutoff    = 0.46 // of the lower rate
	beta      = 6.5  // of the Kaiser window: stops 65 dB
	coefUnity = 1 << 20
	chunk     = 1024 // samples that are converted at a time
)

func knownRate(rate int) bool {
	switch rate {
	case 8000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000:
		return true
	}
	return false
}

// NewResampler makes a Resampler of sound with one or two channels between rates of 8, 12, 16, 24, 32, 44.1 and 48 kHz; anything
// else fails with ErrFormat.
func NewResampler(from, to, channels int) (*Resampler, error) {
	if !knownRate(from) || !knownRate(to) || channels < 1 || channels > 2 {
		return nil, ErrFormat
	}
	divisor := gcd(from, to)
	r := &Resampler{channels: channels, up: to / divisor, down: from / divisor, taps: baseTaps}
	if from == to {
		return r, nil
	}
	width := 1.0 // of the input's samples to the lower rate's
	if from > to {
		width = float64(from) / float64(to)
		r.taps = int(math.Ceil(baseTaps*width/8)) * 8
	}
	r.history = r.taps - 1
	r.index = r.history
	for c := range channels {
		r.work[c] = make([]int16, r.history, r.history+chunk)
	}
	r.design(width)
	return r, nil
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// design computes the filters of all phases. Each lets a constant through as it is.
func (r *Resampler) design(width float64) {
	r.coef = make([]int32, r.up*r.taps)
	half := float64(r.taps) / 2
	h := make([]float64, r.taps)
	for p := range r.up {
		var sum float64
		for i := range h {
			// The output lies phase p behind the newest sample but half the filter, which is its delay.
			t := float64(r.taps-1-i) + float64(p)/float64(r.up) - half
			h[i] = sinc(2*cutoff*t/width) * kaiser(t/half)
			sum += h[i]
		}
		for i := range h {
			r.coef[p*r.taps+i] = int32(math.Round(h[i] / sum * coefUnity))
		}
	}
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// kaiser is the window at x, from -1 to 1.
func kaiser(x float64) float64 {
	if x <= -1 || x >= 1 {
		return 0
	}
	return bessel(beta*math.Sqrt(1-x*x)) / bessel(beta)
}

// bessel is the modified Bessel function of order zero.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-12*sum; k++ {
		term *= x * x / (4 * k * k)
		sum += term
	}
	return sum
}

// Process converts src, whose channels take turns, and appends the result to dst.
func (r *Resampler) Process(dst, src []int16) []int16 {
	if r.coef == nil {
		return append(dst, src...)
	}
	for len(src) >= r.channels {
		n := min(len(src)/r.channels, chunk)
		for c := range r.channels {
			for i := range n {
				r.work[c] = append(r.work[c], src[i*r.channels+c])
			}
		}
		src = src[n*r.channels:]
		dst = r.convert(dst)
	}
	return dst
}

// convert uses up work.
func (r *Resampler) convert(dst []int16) []int16 {
	for r.index < len(r.work[0]) {
		coef := r.coef[r.phase*r.taps : (r.phase+1)*r.taps]
		for c := range r.channels {
			dst = append(dst, dot(coef, r.work[c][r.index-r.history:]))
		}
		r.phase += r.down
		r.index += r.phase / r.up
		r.phase %= r.up
	}
	used := len(r.work[0]) - r.history
	for c := range r.channels {
		r.work[c] = r.work[c][:copy(r.work[c], r.work[c][used:])]
	}
	r.index -= used
	return dst
}

// dot adds up the products; there are a multiple of eight.
func dot(coef []int32, x []int16) int16 {
	var a, b, c, d int64
	for len(coef) >= 8 && len(x) >= 8 {
		a += int64(coef[0])*int64(x[0]) + int64(coef[4])*int64(x[4])
		b += int64(coef[1])*int64(x[1]) + int64(coef[5])*int64(x[5])
		c += int64(coef[2])*int64(x[2]) + int64(coef[6])*int64(x[6])
		d += int64(coef[3])*int64(x[3]) + int64(coef[7])*int64(x[7])
		coef, x = coef[8:], x[8:]
	}
	return int16(min(max((a+b+c+d+coefUnity/2)>>20, -32768), 32767))
}

// Mono appends the mean of the two channels of src, which take turns, to dst.
func Mono(dst, src []int16) []int16 {
	for i := 0; i+1 < len(src); i += 2 {
		dst = append(dst, int16((int32(src[i])+int32(src[i+1]))>>1))
	}
	return dst
}

// Stereo appends src to dst, on both channels.
func Stereo(dst, src []int16) []int16 {
	for _, v := range src {
		dst = append(dst, v, v)
	}
	return dst
}
