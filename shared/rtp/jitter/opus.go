package jitter

// Opus reads from an Opus packet (RFC 6716 section 3.1) how long its sound is, in ticks of 48 kHz, and whether the sender falls
// silent with it: a packet of two bytes or less has no sound in it, which is what discontinuous transmission sends. Any bytes
// may come in; ticks is 0 when the packet is not valid.
//
//	0 1 2 3 4 5 6 7
//	| config  |s| c |   config: mode, bandwidth and length of a frame; s: stereo; c: 1, 2, 2 or any number of frames
func Opus(payload []byte) (ticks int, quiet bool) {
	if len(payload) == 0 {
		return 0, true
	}
	config, frames := payload[0]>>3, 1
	switch payload[0] & 3 {
	case 1, 2:
		frames = 2
	case 3:
		if len(payload) < 2 {
			return 0, true
		}
		frames = int(payload[1] & 0x3f)
	}
	switch {
	case config < 12: // SILK: 10, 20, 40, 60 ms
		ticks = [4]int{480, 960, 1920, 2880}[config&3]
	case config < 16: // hybrid: 10, 20 ms
		ticks = 480 << (config & 1)
	default: // CELT: 2.5, 5, 10, 20 ms
		ticks = 120 << (config & 3)
	}
	if ticks *= frames; ticks > 5760 {
		ticks = 0
	}
	return ticks, len(payload) <= 2
}
