package audiomix

import "math"

// overload is the power of the loudest sound there can be, a square wave of full scale: 0 dBov.
const overload = 32768.0 * 32768.0

// power is the mean of the squared values.
func power(pcm *[FrameLength]int16) float64 {
	var sum int64
	for _, v := range pcm {
		sum += int64(v) * int64(v)
	}
	return float64(sum) / FrameLength
}

// decibels of a power, in dBov; digital silence is -127.
func decibels(power float64) float64 {
	return max(10*math.Log10(power/overload), -127)
}

// dbov is a power as RFC 6464 writes it.
func dbov(power float64) uint8 {
	return uint8(min(max(-math.Round(decibels(power)), 0), 127))
}

// The rules of voice activity, in dB and frames.
const (
	quietest = -55.0 // below this nothing is voice
	lowest   = -75.0 // what the background is at least taken for,
	highest  = -40.0 // and at most: whatever is louder than that and the distance is voice, even a tone without end
	distance = 9.0   // between background and voice
	rise     = 0.03  // of the background in a frame that is louder: 3 dB a second
	fall     = 0.25  // share of the way down that the background takes in a frame that is less loud
	onset    = 3     // frames in a row until it is voice: a click is none
	hangover = 25    // frames for which it stays voice: gaps between words
)

// voice decides by energy whether there is a voice. The background follows the quiet moments, which speech has and noise has
// not: a fan is voice for a few seconds at most. The rules of WebRTC's detector, which looks at bands, are not needed for
// choosing talkers and naming the loudest of a second; what it would call voice and this does not is quieter than the background
// plus 9 dB.
type voice struct {
	background float64
	started    bool
	run, hang  int
	active     bool
}

// frame takes the loudness of a frame in dBov.
func (v *voice) frame(db float64) {
	if !v.started {
		v.started = true
		v.background = min(max(db, lowest), -50)
	}
	if db > quietest && db > v.background+distance {
		v.run++
	} else {
		v.run = 0
	}
	switch {
	case v.run >= onset:
		v.active, v.hang = true, hangover
	case v.hang > 0:
		v.hang--
	default:
		v.active = false
	}
	if db > v.background {
		v.background = min(v.background+rise, highest)
	} else {
		v.background = max(v.background+(db-v.background)*fall, lowest)
	}
}

// pause is a frame that is missing or muted: it teaches nothing about the background.
func (v *voice) pause() {
	v.run = 0
	if v.hang > 0 {
		v.hang--
	} else {
		v.active = false
	}
}
