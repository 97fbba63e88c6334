package conference

import (
	"reflect"
	"testing"
)

// The example lists of rooms-and-media 4.3, as the streams of management API 8.1 show them.
func TestO1_OptionalOfDefaultRoom(t *testing.T) {
	room := DefaultRoom()
	vp8 := Format{Codec: "vp8"}
	published := room.OptionalOf(Track{Kind: Video, Format: vp8, Parameters: VideoParameters{Resolution: Resolution{1280, 720}}}, true)
	want := Optional{
		VideoFormats: []VideoFormat{{"h264", "CB"}, {"h264", "B"}, {Codec: "vp9"}},
		Resolutions: []Resolution{{960, 540}, {852, 480}, {640, 360}, {426, 240}, {320, 180}, {800, 600}, {640, 480},
			{320, 240}, {352, 288}},
		Framerates:        []float64{6, 12, 15, 24},
		Bitrates:          []string{"x0.8", "x0.6", "x0.4", "x0.2"},
		KeyFrameIntervals: []float64{100, 30, 5, 2, 1},
	}
	if !reflect.DeepEqual(published, want) {
		t.Errorf("1280x720: %+v", published)
	}

	mixed := room.OptionalOf(Track{Kind: Video, Format: vp8, Parameters: VideoParameters{Resolution: Resolution{640, 480}, Framerate: 24}}, true)
	want.Resolutions = []Resolution{{480, 360}, {426, 320}, {320, 240}, {212, 160}, {160, 120}, {352, 288}}
	want.Framerates = []float64{6, 12, 15}
	if !reflect.DeepEqual(mixed, want) {
		t.Errorf("640x480 at 24: %+v", mixed)
	}

	unknown := room.OptionalOf(Track{Kind: Video, Format: vp8}, true)
	want.Framerates = []float64{6, 12, 15, 24}
	if !reflect.DeepEqual(unknown, want) {
		t.Errorf("unknown size: %+v", unknown)
	}

	audio := room.OptionalOf(Track{Kind: Audio, Format: Format{Codec: "opus", SampleRate: 48000, ChannelNum: 2}}, true)
	if !reflect.DeepEqual(audio, Optional{AudioFormats: room.MediaOut.Audio[1:]}) {
		t.Errorf("opus: %+v", audio)
	}
	if other := room.OptionalOf(Track{Kind: Audio, Format: Format{Codec: "aac"}}, true); len(other.AudioFormats) != len(room.MediaOut.Audio) {
		t.Errorf("aac of unknown rate: %+v", other)
	}
}

func TestOptionalSwitchedOff(t *testing.T) {
	room := DefaultRoom()
	video, audio := Track{Kind: Video, Format: Format{Codec: "vp8"}}, Track{Kind: Audio, Format: Format{Codec: "opus"}}
	for _, track := range []Track{video, audio} {
		if got := room.OptionalOf(track, false); !reflect.DeepEqual(got, Optional{}) {
			t.Errorf("without transcoding: %+v", got)
		}
	}
	off := room
	off.Transcoding = Transcoding{}
	if got := off.OptionalOf(video, true); !reflect.DeepEqual(got, Optional{}) {
		t.Errorf("video switched off: %+v", got)
	}
	if got := off.OptionalOf(audio, true); !reflect.DeepEqual(got, Optional{}) {
		t.Errorf("audio switched off: %+v", got)
	}
	only := room
	only.MediaOut.Video.Format = []VideoFormat{{Codec: "vp8"}}
	if got := only.OptionalOf(video, true); got.VideoFormats == nil || len(got.VideoFormats) != 0 {
		t.Errorf("no other format: %#v", got.VideoFormats)
	}
}

func TestResolveResolution(t *testing.T) {
	for name, want := range map[string]Resolution{
		"hd1080p": {1920, 1080}, "qcif": {176, 144}, "r640x360": {640, 360}, "x1/2": {500, 250}, "x2/3": {666, 334}, "x3/2": {1500, 752},
		"": {}, "x": {}, "x1": {}, "x1/0": {}, "x-1/2": {}, "x1/2/3": {}, "r1x": {}, "r0x0": {}, "x1/99999": {}, "r999999x1": {}, "uhd": {}, "X1/2": {},
	} {
		got, ok := ResolveResolution(name, Resolution{1000, 502})
		if ok != (want != Resolution{}) || ok && got != want {
			t.Errorf("%q: %v %v, want %v", name, got, ok, want)
		}
	}
	if r, ok := ResolveResolution("x99999/1", Resolution{1 << 30, 1 << 30}); ok {
		t.Errorf("overflow gives %v", r)
	}
}
