package conference

import (
	"math"
	"strconv"
	"strings"
)

// What a track without parameters is reckoned as.
const (
	baseWidth, baseHeight = 640, 480
	baseFramerate         = 30
)

// OptionalOf computes what the room offers instead of the track (rooms-and-media 4.3, portal protocol 9.4), every list in
// the order of mediaOut. A server that cannot transcode says so with transcodes false, and offers nothing whatever the room
// allows. The lists may be the room's own: nobody changes them.
func (r *Room) OptionalOf(t Track, transcodes bool) Optional {
	var o Optional
	if !transcodes {
		return o
	}
	if t.Kind == Audio {
		if r.Transcoding.Audio {
			o.AudioFormats = without(r.MediaOut.Audio, AudioFormat{t.Format.Codec, t.Format.SampleRate, t.Format.ChannelNum})
		}
		return o
	}
	if r.Transcoding.Video.Format {
		o.VideoFormats = without(r.MediaOut.Video.Format, VideoFormat{t.Format.Codec, t.Format.Profile})
	}
	out, may := r.MediaOut.Video.Parameters, r.Transcoding.Video.Parameters
	if may.Resolution {
		o.Resolutions = smallerResolutions(out.Resolution, t.Parameters.Resolution)
	}
	if may.Framerate {
		o.Framerates = lowerRates(out.Framerate, t.Parameters.Framerate)
	}
	if may.Bitrate {
		o.Bitrates = out.Bitrate
	}
	if may.KeyFrameInterval {
		o.KeyFrameIntervals = out.KeyFrameInterval
	}
	return o
}

// without lists the formats that are not the track's own; it is never nil, since nil would say that none can be had.
func without[F comparable](list []F, own F) []F {
	others := make([]F, 0, len(list))
	for _, f := range list {
		if f != own {
			others = append(others, f)
		}
	}
	return others
}

func lowerRates(list []float64, base float64) []float64 {
	if base <= 0 {
		base = baseFramerate
	}
	var lower []float64
	for _, rate := range list {
		if rate < base {
			lower = append(lower, rate)
		}
	}
	return lower
}

func smallerResolutions(list []string, base Resolution) []Resolution {
	if base.Width <= 0 || base.Height <= 0 {
		base = Resolution{baseWidth, baseHeight}
	}
	var smaller []Resolution
	seen := make(map[Resolution]bool)
	for _, name := range list {
		r, ok := ResolveResolution(name, base)
		if ok && r.Width < base.Width && r.Height < base.Height && !seen[r] {
			seen[r] = true
			smaller = append(smaller, r)
		}
	}
	return smaller
}

var namedResolutions = map[string]Resolution{
	"xga": {1024, 768}, "svga": {800, 600}, "vga": {640, 480}, "hvga": {480, 320}, "cif": {352, 288},
	"qvga": {320, 240}, "qcif": {176, 144}, "hd720p": {1280, 720}, "hd1080p": {1920, 1080},
}

// ResolveResolution is the size that an entry of mediaOut means for a track of the given size: a name, "r<W>x<H>", or
// "x<A>/<B>", rounded down to even numbers; false for anything else and for sizes without a pixel.
func ResolveResolution(name string, base Resolution) (Resolution, bool) {
	if r, ok := namedResolutions[name]; ok {
		return r, true
	}
	r, ok := Resolution{}, false
	if size, sized := strings.CutPrefix(name, "r"); sized {
		r.Width, r.Height, ok = twoNumbers(size, "x")
	} else if ratio, scaled := strings.CutPrefix(name, "x"); scaled {
		var a, b int
		if a, b, ok = twoNumbers(ratio, "/"); ok && b > 0 {
			r = Resolution{scaleEven(base.Width, a, b), scaleEven(base.Height, a, b)}
		}
	}
	return r, ok && r.Width > 0 && r.Height > 0
}

// scaleEven is n·a/b, rounded down to an even number, or to 0 when it is no size at all.
func scaleEven(n, a, b int) int {
	scaled := int64(n) * int64(a) / int64(b)
	if scaled > math.MaxInt32 {
		return 0
	}
	return int(scaled) &^ 1
}

// twoNumbers reads two numbers of at most 5 digits with the separator between them.
func twoNumbers(s, separator string) (a, b int, ok bool) {
	left, right, ok := strings.Cut(s, separator)
	if !ok || len(left) > 5 || len(right) > 5 || !isDigits(left) || !isDigits(right) {
		return 0, 0, false
	}
	a, _ = strconv.Atoi(left)
	b, _ = strconv.Atoi(right)
	return a, b, true
}
