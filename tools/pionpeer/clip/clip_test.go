package clip

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMakeWithoutFFmpeg(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := Make(t.Context(), t.TempDir(), Spec{}); !errors.Is(err, ErrNoFFmpeg) {
		t.Errorf("error %v", err)
	}
}

// TestMake: what was asked for is what the frames say, and a second call makes nothing anew.
func TestMake(t *testing.T) {
	dir := t.TempDir()
	spec := Spec{Width: 160, Height: 120, Rate: 10, KeyEvery: 5, Length: 2 * time.Second, Picture: "color=c=red"}
	c, err := Make(t.Context(), dir, spec)
	if errors.Is(err, ErrNoFFmpeg) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var video, audio time.Duration
	keys := 0
	for _, f := range c.Video {
		video += f.Duration
		if isKeyFrame("vp8", f.Data) {
			keys++
		}
	}
	for _, f := range c.Audio {
		audio += f.Duration
	}
	if c.Width != 160 || c.Height != 120 || video != spec.Length || keys != 4 || audio < spec.Length || audio > spec.Length+100*time.Millisecond {
		t.Errorf("%dx%d, %v of video with %d key frames, %v of audio", c.Width, c.Height, video, keys, audio)
	}
	again, err := Make(context.Background(), dir, spec)
	if err != nil || len(again.Video) != len(c.Video) || !bytes.Equal(again.Video[0].Data, c.Video[0].Data) {
		t.Errorf("second call: %v", err)
	}
}

func TestIsKeyFrame(t *testing.T) {
	for _, c := range []struct {
		codec string
		frame []byte
		want  bool
	}{
		{"vp8", []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a}, true},
		{"vp8", []byte{0x11}, false},
		{"vp8", nil, false},
		{"vp9", []byte{0x82}, true}, // frame marker 10, profile 00, shown, key
		{"vp9", []byte{0x86}, false},
		{"vp9", []byte{0x8a}, false}, // shows an existing frame
		{"h264", []byte{0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x65, 9}, true},
		{"h264", []byte{0, 0, 0, 1, 0x41, 9}, false},
		{"h264", []byte{0, 0, 1}, false},
		{"opus", []byte{0}, false},
	} {
		if got := isKeyFrame(c.codec, c.frame); got != c.want {
			t.Errorf("%s %x: %v", c.codec, c.frame, got)
		}
	}
}
