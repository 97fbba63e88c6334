package audiomix

import (
	"errors"
	"math"
)

// ErrFormat is of sound that cannot be converted: not one or two channels, or not a rate of 8, 12, 16, 24, 32, 44.1 or 48 kHz.
var ErrFormat = errors.New("audiomix: unknown sample rate or number of channels")

const (
	maxBuffered = Rate * 16 / 100 // samples: the longest packet, 120 ms, and more than a frame
	maxSkew     = 6               // samples that a frame is stretched at most
	fadeSamples = 240             // in which sound that ends without warning is let go
)

// Input is the sound of one stream. Make it with Mixer.AddInput.
type Input struct {
	group   *group // nil: nobody's
	muted   bool
	leaving bool

	buffer    []int16 // what was written; in front of at is what was mixed
	at        int     // where the next frame begins
	resampler *Resampler
	converted []int16
	rate      int
	channels  int
	stretch   float64 // samples a second to leave out
	owed      float64 // samples to leave out
	dropped   uint64

	frame          *[FrameLength]int16 // the frame being mixed, nil: none
	resized, faded [FrameLength]int16  // frames that are not as they were written
	part           *[FrameLength]int16 // what of it is in the mix, nil: nothing
	last           [Channels]int16     // the last sample that was mixed
	prior          [Channels]int16     // the last sample that was taken
	chosen         bool                // it is to be mixed
	mixed          bool                // it was

	power  float64 // of the frame
	smooth float64 // of the last frames: rises quickly, falls slowly
	energy float64 // of this second, while there was voice
	voice  voice
}

func newInput() *Input { return &Input{buffer: make([]int16, 0, maxBuffered*Channels)} }

// Write adds decoded sound behind what was written before; pcm, whose channels take turns, is copied. Other rates than 48 kHz are
// converted, one channel becomes two. Of more than 160 ms the oldest is dropped. It allocates only when the format changes.
func (in *Input) Write(pcm []int16, rate, channels int) error {
	if rate != in.rate || channels != in.channels {
		r, err := NewResampler(rate, Rate, channels)
		if err != nil {
			return err
		}
		in.resampler, in.rate, in.channels = r, rate, channels
	}
	for len(pcm) >= channels {
		n := min(len(pcm), in.rate/25*channels) // 40 ms
		n -= n % channels
		part := pcm[:n]
		pcm = pcm[n:]
		if rate != Rate {
			in.converted = in.resampler.Process(in.converted[:0], part)
			part = in.converted
		}
		in.push(part, channels)
	}
	return nil
}

// push adds sound of 48 kHz, less than the buffer holds.
func (in *Input) push(pcm []int16, channels int) {
	n := len(pcm) / channels * Channels
	if len(in.buffer)+n > cap(in.buffer) {
		if over := len(in.buffer) - in.at + n - cap(in.buffer); over > 0 {
			in.dropped += uint64(over / Channels)
			in.at += over
		}
		in.buffer = in.buffer[:copy(in.buffer, in.buffer[in.at:])]
		in.at = 0
	}
	if channels == Channels {
		in.buffer = append(in.buffer, pcm...)
		return
	}
	for _, v := range pcm {
		in.buffer = append(in.buffer, v, v)
	}
}

// Buffered is how many samples at 48 kHz were written and not mixed yet. With less than Need the next frame goes without this
// input.
func (in *Input) Buffered() int { return (len(in.buffer) - in.at) / Channels }

// Need is how many samples the next frame takes.
func (in *Input) Need() int { return FrameSamples + in.skew() }

// Dropped is how many samples were written too many.
func (in *Input) Dropped() uint64 { return in.dropped }

// SetMuted says whether the input is skipped, what is written to it is lost then. Both ways it is faded.
func (in *Input) SetMuted(muted bool) { in.muted = muted }

// SetStretch says how many samples at 48 kHz to leave out a second, or to put in when negative, within one in a hundred: so an
// input keeps pace with its sender's clock.
func (in *Input) SetStretch(samples float64) {
	if samples != samples {
		samples = 0
	}
	in.stretch = min(max(samples, -Rate/100), Rate/100)
}

// Level is the level of the last frame in -dBov, 0 (loudest) to 127 (RFC 6464), and whether there was voice. A frame that was
// missing or muted is 127.
func (in *Input) Level() (level uint8, voice bool) { return dbov(in.power), in.voice.active }

// Mixed tells whether the input was in the last frame: whether it was one of the talkers.
func (in *Input) Mixed() bool { return in.mixed }

// skew is how many samples more the next frame takes than it gives.
func (in *Input) skew() int {
	return int(min(max(in.owed+in.stretch/frames, -maxSkew), maxSkew))
}

// take finds the next frame and measures it.
func (in *Input) take() {
	in.frame, in.part = nil, nil
	if skew := in.skew(); in.Buffered() >= FrameSamples+skew {
		in.owed += in.stretch/frames - float64(skew)
		if skew == 0 {
			in.frame = (*[FrameLength]int16)(in.buffer[in.at:])
		} else {
			in.resize(skew)
			in.frame = &in.resized
		}
		in.at += (FrameSamples + skew) * Channels
		in.prior = [Channels]int16(in.buffer[in.at-Channels:])
	}
	in.power = 0
	if in.frame == nil || in.muted {
		in.voice.pause()
		in.smooth -= in.smooth / 32
		return
	}
	in.power = power(in.frame)
	if in.power > in.smooth {
		in.smooth += (in.power - in.smooth) / 4
	} else {
		in.smooth += (in.power - in.smooth) / 32
	}
	in.voice.frame(decibels(in.power))
}

// contribute makes part, what of the frame is in the mix, and tells whether that is anything.
func (in *Input) contribute() bool {
	was := in.mixed
	in.mixed = in.chosen
	switch {
	case in.frame == nil:
		if was && in.last != [Channels]int16{} {
			in.letGo()
			in.part = &in.faded
		}
	case was && in.chosen:
		in.part = in.frame
	case in.chosen:
		in.fade(0, 1)
	case was:
		in.fade(FrameSamples, -1)
	}
	in.last = [Channels]int16{}
	if in.part == nil || in.chosen && in.power == 0 { // digital silence adds nothing
		in.part = nil
		return false
	}
	if in.chosen {
		in.last = [Channels]int16(in.part[FrameLength-Channels:])
	}
	return true
}

// fade makes part of the frame, with a volume that begins at from of 480 parts and goes up or down with each sample.
func (in *Input) fade(from, step int32) {
	for i := 0; i < FrameLength; i += Channels {
		in.faded[i] = int16(int32(in.frame[i]) * from / FrameSamples)
		in.faded[i+1] = int16(int32(in.frame[i+1]) * from / FrameSamples)
		from += step
	}
	in.part = &in.faded
}

// letGo makes a frame of sound that is missing: from the last sample down to nothing, which does not click.
func (in *Input) letGo() {
	clear(in.faded[:])
	for i := range int32(fadeSamples) {
		for c, v := range in.last {
			in.faded[int(i)*Channels+c] = int16(int32(v) * (fadeSamples - i) / fadeSamples)
		}
	}
}

// resize makes resized of skew samples more than a frame, or fewer when negative: a curve of third order through four
// neighbours, at as many places.
func (in *Input) resize(skew int) {
	have := in.buffer[in.at:]
	last := len(have)/Channels - 1
	step := float64(FrameSamples+skew) / FrameSamples
	for c := range Channels {
		for i := range FrameSamples {
			at := step * float64(i)
			n := int(at)
			x := at - float64(n)
			p0 := float64(in.prior[c])
			if n > 0 {
				p0 = float64(have[(n-1)*Channels+c])
			}
			p1 := float64(have[n*Channels+c])
			p2 := float64(have[min(n+1, last)*Channels+c])
			p3 := float64(have[min(n+2, last)*Channels+c])
			v := p1 + x/2*(p2-p0+x*(2*p0-5*p1+4*p2-p3+x*(3*(p1-p2)+p3-p0)))
			in.resized[i*Channels+c] = int16(min(max(math.Floor(v+0.5), -32768), 32767))
		}
	}
}
