//go:build linux

package mixing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"

	"portico/shared/client"
	"portico/shared/conference"
	"portico/tools/pionpeer/clip"
)

// rate is how many pictures a second footage has, and keyEvery how many there are from one key frame to the next: clips are not made
// anew when a key frame is asked for.
const (
	rate     = 20
	keyEvery = 5
)

// encoders are ffmpeg's words for codecs in which clips are made.
var encoders = map[string][]string{
	"vp8": {"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-f", "ivf"},
	"vp9": {"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-f", "ivf"},
	"av1": {"-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-f", "ivf"},
	"h264": {
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "baseline", "-x264-params", "aud=1", "-f", "h264",
	},
}

// footage is one second of the person's colour in another codec or size, with the person's tone.
func footage(t *testing.T, who person, codec string, width, height int) *clip.Clip {
	t.Helper()
	source := fmt.Sprintf("color=c=%s:size=%dx%d:rate=%d", who.colour, width, height, rate)
	arguments := append([]string{"-f", "lavfi", "-i", source, "-t", "1", "-pix_fmt", "yuv420p", "-g", fmt.Sprint(keyEvery)}, encoders[codec]...)
	file, err := ffmpeg(nil, append(arguments, "-")...)
	if err != nil {
		t.Fatal(err)
	}
	c := &clip.Clip{Width: width, Height: height, Audio: clipOf(t, who).Audio}
	pictures := units(file)
	if codec != "h264" {
		pictures, err = frames(file)
	}
	if err != nil || len(pictures) != rate {
		t.Fatalf("%d pictures of %s: %v", len(pictures), codec, err)
	}
	for _, p := range pictures {
		c.Video = append(c.Video, clip.Frame{Data: p, Duration: time.Second / rate})
	}
	return c
}

// frames are those of an IVF file.
func frames(file []byte) (list [][]byte, err error) {
	r, _, err := ivfreader.NewWith(bytes.NewReader(file))
	for err == nil {
		var data []byte
		if data, _, err = r.ParseNextFrame(); err == nil {
			list = append(list, data)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return list, err
}

// units are the access units of H.264, each of which begins with a delimiter.
func units(file []byte) (list [][]byte) {
	delimiter := []byte{0, 0, 0, 1, 9}
	for _, unit := range bytes.Split(file, delimiter)[1:] {
		list = append(list, slices.Concat(delimiter, unit))
	}
	return list
}

// camera is a publication in the mix whose pictures can become others.
type camera struct {
	*seat
	published    *client.Publication
	video, audio *webrtc.TrackLocalStaticSample
	stop         context.CancelFunc
	stopped      chan struct{} // closed when nothing is played any more
}

// camera publishes in a codec, takes it into the mix, and plays a clip.
func (p *seat) camera(codec string, c *clip.Clip) *camera {
	p.t.Helper()
	x := &camera{seat: p}
	_, audio, err := clip.Tracks(p.name)
	p.must(err)
	x.audio = audio
	x.video, err = webrtc.NewTrackLocalStaticSample(mimes[codec], "video", p.name)
	p.must(err)
	x.published, err = p.c.Publish(p.ctx, client.PublishOptions{Tracks: []client.LocalTrack{
		{Kind: conference.Audio, Local: x.audio}, {Kind: conference.Video, Local: x.video, Send: client.SendOptions{Codecs: []string{codec}}},
	}})
	if err != nil {
		p.t.Fatalf("%s cannot publish: %v\n%s", p.name, err, p.edge.Tail())
	}
	x.play(c)
	p.must(p.c.Mix(p.ctx, x.published.ID(), view))
	return x
}

// play plays the clip from now on and returns when its first picture is sent: by the same tracks as the one before, which ends.
func (x *camera) play(c *clip.Clip) time.Time {
	if x.stop != nil {
		x.stop()
		<-x.stopped
	}
	ctx, cancel := context.WithCancel(x.ctx)
	stopped := make(chan struct{})
	x.stop, x.stopped = cancel, stopped
	began := make(chan time.Time, 1)
	var once sync.Once
	x.tasks.Go(func() {
		defer close(stopped)
		_ = c.PlayNoting(ctx, x.video, x.audio, func(int) { once.Do(func() { began <- time.Now() }) }) // what cannot be sent is lost
	})
	select {
	case at := <-began:
		return at
	case <-x.ctx.Done():
		return time.Now()
	}
}

// end takes the publication back.
func (x *camera) end() {
	x.t.Helper()
	x.stop()
	<-x.stopped
	x.must(x.published.Stop(x.ctx))
}
