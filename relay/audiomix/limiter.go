package audiomix

import "math"

// The rules of the limiter.
const (
	unity    = 1 << 24 // a gain of 1
	ceiling  = 32_000  // what peaks beyond 16 bits are turned down to
	edge     = 32_500  // where a peak at the beginning of a frame is too loud
	parts    = 10      // a frame's parts, each with a gain at its beginning and at its end
	partLen  = FrameLength / parts
	recovery = 434 // the gain rises by such a part of it in each part of a frame: 20 dB a second
)

// limiter makes 16 bits of a sum. As long as the sum fits, it is left as it is; a peak that does not fit turns the gain down
// before it comes, within a millisecond, and it comes back slowly.
type limiter struct {
	gain int64 // at the end of the last frame
}

func (l *limiter) run(out *[FrameLength]int16, sum *[FrameLength]int32) {
	if l.gain == unity && fits(out, sum) {
		return
	}
	var allowed [parts + 1]int64
	for i := range parts {
		allowed[i] = allow(sum[i*partLen : (i+1)*partLen])
	}
	allowed[parts] = unity // of the next frame nothing is known
	gain := l.gain
	for i := range parts {
		end := min(allowed[i], allowed[i+1], gain+gain/recovery+1)
		scale(out[i*partLen:(i+1)*partLen], sum[i*partLen:(i+1)*partLen], gain, end, allowed[i])
		gain = end
	}
	l.gain = gain
}

// fits writes the sum and tells whether that was right: all of it fits.
func fits(out *[FrameLength]int16, sum *[FrameLength]int32) bool {
	var over uint32
	for i, v := range sum {
		out[i] = int16(v)
		over |= uint32(v+32768) >> 16
	}
	return over == 0
}

// allow is the gain with which a part does not go beyond the ceiling.
func allow(sum []int32) int64 {
	var most int32
	for _, v := range sum {
		most = max(most, v, -v)
	}
	if most <= math.MaxInt16 {
		return unity
	}
	return ceiling * unity / int64(most)
}

// scale writes a part with a gain that goes straight from one to the other. From where it starts may be too high for a peak when
// the frame before could not know of it: then it goes faster, to be down at the peak.
func scale(out []int16, sum []int32, from, to, allowed int64) {
	way := partLen
	if from > allowed {
		for way = 0; way < partLen && !tooLoud(sum[way], from) && !tooLoud(sum[way+1], from); {
			way += Channels
		}
	}
	gain, step := from, int64(0)
	if way > 0 {
		step = (to - from) / int64(way/Channels)
	}
	for i := 0; i < partLen; i += Channels {
		if i == way {
			gain, step = to, 0
		}
		out[i] = int16(int64(sum[i]) * gain / unity)
		out[i+1] = int16(int64(sum[i+1]) * gain / unity)
		gain += step
	}
}

func tooLoud(v int32, gain int64) bool {
	v = max(v, -v)
	return int64(v)*gain > edge*unity
}
