package conference

import "strconv"

// Wanted is what a subscriber asks of a video that is made for it; zero values ask for nothing.
type Wanted struct {
	Resolution Resolution
	Framerate  float64 // pictures a second
	Bitrate    string  // a factor ("x0.8"), or kbit/s
}

// MixedBitrate is the bit rate of a mixed stream in kbit/s (rooms-and-media 8.3): the view's own, in proportion to the pixels and the
// pictures a second that are asked for; where the view says none, what the format needs for them. A factor multiplies either.
func MixedBitrate(view *ViewVideo, format Format, wanted Wanted) float64 {
	kbps, factor := readBitrate(wanted.Bitrate)
	if kbps > 0 {
		return kbps
	}
	size, rate := wanted.Resolution, wanted.Framerate
	own := view.Parameters
	if size.Width <= 0 || size.Height <= 0 {
		size = own.Resolution
	}
	if rate <= 0 {
		rate = own.Framerate
	}
	if own.Bitrate > 0 && own.Framerate > 0 && pixels(own.Resolution) > 0 {
		return factor * own.Bitrate * pixels(size) / pixels(own.Resolution) * rate / own.Framerate
	}
	return factor * defaultBitrate(size, rate) * codecFactor(format.Codec) * view.MotionFactor
}

// TranscodedBitrate is the bit rate in kbit/s of a stream that is made of another (rooms-and-media 8.3). source is the size of that, zero
// while it is unknown: without a size and a factor asked for the result is then 0, and the encoder goes by the pictures that come.
func TranscodedBitrate(source Resolution, format Format, wanted Wanted) float64 {
	kbps, factor := readBitrate(wanted.Bitrate)
	if kbps > 0 {
		return kbps
	}
	size, rate := wanted.Resolution, wanted.Framerate
	if size.Width <= 0 || size.Height <= 0 {
		if factor == 1 { // the encoder follows a source that changes its size
			return 0
		}
		size = source
	}
	if size.Width <= 0 || size.Height <= 0 {
		size = Resolution{baseWidth, baseHeight}
	}
	if rate <= 0 {
		rate = baseFramerate
	}
	return factor * defaultBitrate(size, rate) * codecFactor(format.Codec)
}

// readBitrate reads "x0.8" as a factor and "500" as kbit/s. What is neither asks for nothing.
func readBitrate(text string) (kbps, factor float64) {
	if text == "" {
		return 0, 1
	}
	number, scales := text, text[0] == 'x'
	if scales {
		number = text[1:]
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !(n > 0 && n < 1e9) {
		return 0, 1
	}
	if scales {
		return 0, n
	}
	return n, 1
}

func pixels(r Resolution) float64 { return float64(r.Width) * float64(r.Height) }

// bitratePoints are what pictures of so many pixels need at 30 a second, in kbit/s; between them it is linear.
var bitratePoints = []struct{ pixels, kbps float64 }{
	{0, 0}, {76_800, 400}, {307_200, 800}, {921_600, 2000}, {2_073_600, 4000}, {8_294_400, 16_000}, {33_177_600, 64_000},
}

// defaultBitrate is f(w·h·fps/30) of rooms-and-media 8.3.
func defaultBitrate(size Resolution, rate float64) float64 {
	load := pixels(size) * rate / 30
	for i, to := range bitratePoints[1:] {
		if from := bitratePoints[i]; load <= to.pixels {
			return from.kbps + (load-from.pixels)*(to.kbps-from.kbps)/(to.pixels-from.pixels)
		}
	}
	return bitratePoints[len(bitratePoints)-1].kbps
}

func codecFactor(codec string) float64 {
	switch codec {
	case "vp8":
		return 1.2
	case "vp9":
		return 0.8
	case "h265":
		return 0.9
	}
	return 1
}
