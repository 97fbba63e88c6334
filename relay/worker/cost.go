package worker

import (
	"math"

	"portico/shared/conference"
	"portico/shared/relayproto"
)

// What one pixel costs a codec, in nanoseconds of one core, from runs of the libraries on Debian 12 with AVX2: nine decoders that take
// turns in one process (a decoder alone needs two thirds), encoders at 1280x720 and 2 Mbit/s with the settings the mixers use. A
// machine without AVX2 takes twice as long, which only the measured load shows.
var (
	decodePixel = map[string]float64{"vp8": 2.7, "vp9": 3.0, "h264": 3.0, "av1": 2.4}
	encodePixel = map[string]float64{"vp8": 7.6, "vp9": 12.4, "h264": 6.1, "av1": 15.4}
)

const (
	scalePixel  = 0.8  // into a tile, for each pixel of the input
	otherPixel  = 0.4  // composing the canvas, or scaling it for an output of another size
	unknownRate = 15.4 // the dearest codec: what is not known is not cheap

	decodeSound = 0.0027 // cores for one Opus input of 48 kHz stereo
	encodeSound = 0.0125 // cores for one Opus output of complexity 5 with recovery of losses
	plainSound  = 0.0005 // cores for one of G.711 or G.722, and for mixing one input

	// overhead is what jitter buffers, packets and the runtime add to the libraries' own time.
	overhead = 1.15
	// process is what a job needs before it does anything, in cores.
	process = 0.01
)

// What an input is taken for, whose size no order says: what a camera's middle layer has. Of a transcode it is the one input, as it
// was published.
const (
	mixedInput      = 640 * 360
	transcodedInput = 1280 * 720
	usualRate       = 30 // pictures a second
)

// soundsAtOnce is how many outputs of one form are encoded at a time: those who are silent share one encoding, and few speak.
const soundsAtOnce = 4

// estimate is how many cores a job is going to need. It is not exact, and what the job really takes replaces it after a while; it is
// there so that many jobs that come at once are not all admitted.
func estimate(o *relayproto.Order) float64 {
	cores := process
	video, pixels := false, float64(mixedInput)
	rate, canvas := float64(usualRate), 0.0
	if v := o.View; v != nil {
		canvas = float64(v.Width) * float64(v.Height)
		if v.Framerate > 0 {
			rate = v.Framerate
		}
	}
	if o.Kind == relayproto.Transcode {
		pixels = transcodedInput
	}
	sounds := map[conference.Format]int{}
	for i := range o.Outputs {
		switch out := &o.Outputs[i]; out.Kind {
		case conference.Video:
			video = true
			cores += videoOutput(out, pixels, rate)
		case conference.Audio:
			sounds[out.Format]++
		}
	}
	for format, n := range sounds {
		cores += float64(min(n, soundsAtOnce)) * sound(format.Codec, encodeSound)
	}
	for i := range o.Inputs {
		in := &o.Inputs[i]
		if in.Video != nil && video && !in.Video.Muted {
			// All pictures of an input are decoded, whatever the rate of the mix.
			cores += perSecond(pixels*(rateOf(decodePixel, in.Video.Format.Codec)+scalePixel), usualRate)
		}
		if in.Audio != nil && len(sounds) > 0 {
			cores += sound(in.Audio.Format.Codec, decodeSound)
		}
	}
	if video {
		cores += perSecond(canvas*otherPixel, rate)
	}
	return cores * overhead
}

func videoOutput(out *relayproto.Output, pixels, rate float64) float64 {
	if out.Width > 0 && out.Height > 0 {
		pixels = float64(out.Width) * float64(out.Height)
	}
	if out.Framerate > 0 {
		rate = math.Min(rate, out.Framerate)
	}
	return perSecond(pixels*(rateOf(encodePixel, out.Format.Codec)+otherPixel), rate)
}

// perSecond turns nanoseconds of each picture into cores.
func perSecond(nanoseconds, pictures float64) float64 { return nanoseconds * pictures / 1e9 }

func rateOf(table map[string]float64, codec string) float64 {
	if r, ok := table[codec]; ok {
		return r
	}
	return unknownRate
}

func sound(codec string, opus float64) float64 {
	if codec == "opus" {
		return opus + plainSound
	}
	return plainSound
}
