package conference

import (
	"math"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-6 }

// TestDefaultBitrates are the examples of rooms-and-media 8.3.
func TestDefaultBitrates(t *testing.T) {
	for _, c := range []struct {
		codec, profile string
		width, height  int
		rate, motion   float64
		want           float64
	}{
		{"vp8", "", 640, 480, 24, 0.8, 665.6},
		{"vp8", "", 1280, 720, 24, 0.8, 1574.4},
		{"vp8", "", 1920, 1080, 30, 0.8, 3840},
		{"vp8", "", 320, 240, 12, 0.8, 153.6},
		{"h264", "CB", 1280, 720, 30, 0.8, 1600},
		{"vp9", "", 1280, 720, 30, 0.8, 1280},
		{"vp8", "", 1280, 720, 30, 1, 2400},
		{"av1", "", 8192, 8192, 60, 1, 64000},
	} {
		view := &ViewVideo{MotionFactor: c.motion, Parameters: ViewParameters{Resolution: Resolution{c.width, c.height}, Framerate: c.rate}}
		format := Format{Codec: c.codec, Profile: c.profile}
		if got := MixedBitrate(view, format, Wanted{}); !near(got, c.want) {
			t.Errorf("%+v: %v", c, got)
		}
		if c.motion != 1 {
			continue
		}
		if got := TranscodedBitrate(Resolution{}, format, Wanted{Resolution{c.width, c.height}, c.rate, ""}); !near(got, c.want) {
			t.Errorf("%+v, transcoded: %v", c, got)
		}
	}
}

// TestU_05_MixedBitrate is the view's bit rate B in proportion to what is asked for.
func TestU_05_MixedBitrate(t *testing.T) {
	view := &ViewVideo{MotionFactor: 0.8, Parameters: ViewParameters{Resolution: Resolution{640, 480}, Framerate: 24, Bitrate: 1000}}
	free := *view
	free.Parameters.Bitrate = 0
	vp8 := Format{Codec: "vp8"}
	for _, c := range []struct {
		name   string
		view   *ViewVideo
		wanted Wanted
		want   float64
	}{
		{"U-05", view, Wanted{Resolution{320, 240}, 12, ""}, 125},
		{"nothing asked", view, Wanted{}, 1000},
		{"U-02", view, Wanted{Bitrate: "x1"}, 1000},
		{"factor", view, Wanted{Bitrate: "x0.8"}, 800},
		{"rate alone", view, Wanted{Framerate: 12}, 500},
		{"size and factor", view, Wanted{Resolution: Resolution{320, 240}, Bitrate: "x0.4"}, 100},
		{"number", view, Wanted{Resolution{320, 240}, 12, "300"}, 300},
		{"no B", &free, Wanted{Resolution{320, 240}, 12, ""}, 153.6},
		{"no B, factor", &free, Wanted{Bitrate: "x0.5"}, 332.8},
		{"nonsense", view, Wanted{Bitrate: "xNaN"}, 1000},
		{"negative", view, Wanted{Bitrate: "x-1"}, 1000},
	} {
		if got := MixedBitrate(c.view, vp8, c.wanted); !near(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestTranscodedBitrate(t *testing.T) {
	vp8 := Format{Codec: "vp8"}
	for _, c := range []struct {
		name   string
		source Resolution
		wanted Wanted
		want   float64
	}{
		{"nothing asked", Resolution{1280, 720}, Wanted{}, 0},
		{"rate alone", Resolution{1280, 720}, Wanted{Framerate: 15}, 0},
		{"size", Resolution{1920, 1080}, Wanted{Resolution: Resolution{1280, 720}}, 2400},
		{"factor", Resolution{1280, 720}, Wanted{Bitrate: "x0.5"}, 1200},
		{"factor, size unknown", Resolution{}, Wanted{Bitrate: "x0.5"}, 480},
		{"number", Resolution{}, Wanted{Bitrate: "700"}, 700},
	} {
		if got := TranscodedBitrate(c.source, vp8, c.wanted); !near(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
