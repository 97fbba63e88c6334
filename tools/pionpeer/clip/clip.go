// Package clip makes a short clip of moving pictures and a tone, plays it into local tracks as a camera and a microphone would, and
// counts what arrives on remote ones: the eyes and ears of native participants in tests.
//
// A clip is VP8 and Opus, made by ffmpeg when it is asked for; nothing is kept in the repository.
package clip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
)

// ErrNoFFmpeg says that the program that makes clips is not installed.
var ErrNoFFmpeg = errors.New("clip: ffmpeg is not installed (apt-get install ffmpeg)")

// Spec says what the clip looks and sounds like. A zero field means its default.
type Spec struct {
	Width, Height int           // pixels, even; default 320 and 240
	Rate          int           // pictures a second; default 20
	KeyEvery      int           // pictures from one key frame to the next; default Rate: one a second
	Kbps          int           // of the video; default 300
	ToneHz        int           // default 440
	Length        time.Duration // default 4 s; playing goes round
	Picture       string        // an ffmpeg lavfi source without size and rate; default "testsrc2"
}

func (s Spec) withDefaults() Spec {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	set(&s.Width, 320)
	set(&s.Height, 240)
	set(&s.Rate, 20)
	set(&s.KeyEvery, s.Rate)
	set(&s.Kbps, 300)
	set(&s.ToneHz, 440)
	if s.Length == 0 {
		s.Length = 4 * time.Second
	}
	if s.Picture == "" {
		s.Picture = "testsrc2"
	}
	return s
}

// Frame is one VP8 picture or one Opus packet and how long it lasts.
type Frame struct {
	Data     []byte
	Duration time.Duration
}

// Clip is media in memory; read-only, so one Clip may be played by any number of participants at the same time.
type Clip struct {
	Width, Height int // pixels
	Video, Audio  []Frame
}

// Make has ffmpeg write the clip into files under dir, "clip.ivf" and "clip.ogg", and reads them. Files of an earlier call are used again.
func Make(ctx context.Context, dir string, spec Spec) (*Clip, error) {
	spec = spec.withDefaults()
	video, audio := filepath.Join(dir, "clip.ivf"), filepath.Join(dir, "clip.ogg")
	seconds := strconv.FormatFloat(spec.Length.Seconds(), 'f', 3, 64)
	source := spec.Picture
	if source == "testsrc2" {
		source += fmt.Sprintf("=size=%dx%d:rate=%d", spec.Width, spec.Height, spec.Rate)
	} else {
		source += fmt.Sprintf(":size=%dx%d:rate=%d", spec.Width, spec.Height, spec.Rate)
	}
	err := ffmpeg(ctx, video, "-f", "lavfi", "-i", source, "-t", seconds, "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8",
		"-b:v", strconv.Itoa(spec.Kbps)+"k", "-g", strconv.Itoa(spec.KeyEvery), "-keyint_min", strconv.Itoa(spec.KeyEvery),
		"-auto-alt-ref", "0", "-error-resilient", "1")
	if err != nil {
		return nil, err
	}
	// One packet to a page: the reader gives pages.
	err = ffmpeg(ctx, audio, "-f", "lavfi", "-i", "sine=frequency="+strconv.Itoa(spec.ToneHz)+":sample_rate=48000", "-t", seconds,
		"-c:a", "libopus", "-ac", "2", "-b:a", "48k", "-frame_duration", "20", "-page_duration", "20000")
	if err != nil {
		return nil, err
	}
	return load(video, audio)
}

func ffmpeg(ctx context.Context, out string, args ...string) error {
	if _, err := os.Stat(out); err == nil {
		return nil
	}
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		return ErrNoFFmpeg
	}
	part := filepath.Join(filepath.Dir(out), "part-"+filepath.Base(out)) // an interrupted run leaves no clip behind
	args = append([]string{"-hide_banner", "-loglevel", "error", "-y"}, append(args, part)...)
	if text, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("clip: ffmpeg: %w: %s", err, text)
	}
	return os.Rename(part, out)
}

func load(video, audio string) (*Clip, error) {
	c := &Clip{}
	if err := withFile(video, c.readVideo); err != nil {
		return nil, fmt.Errorf("clip: %s: %w", video, err)
	}
	if err := withFile(audio, c.readAudio); err != nil {
		return nil, fmt.Errorf("clip: %s: %w", audio, err)
	}
	return c, nil
}

func withFile(name string, read func(io.Reader) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return read(f)
}

func (c *Clip) readVideo(r io.Reader) error {
	reader, header, err := ivfreader.NewWith(r)
	if err != nil {
		return err
	}
	c.Width, c.Height = int(header.Width), int(header.Height)
	frame := time.Second * time.Duration(header.TimebaseNumerator) / time.Duration(max(header.TimebaseDenominator, 1))
	for {
		data, _, err := reader.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		c.Video = append(c.Video, Frame{data, frame})
	}
	if len(c.Video) == 0 {
		return errors.New("no pictures")
	}
	return nil
}

// opusRate is the clock of Ogg's granule positions for Opus (RFC 7845 section 4).
const opusRate = 48000

func (c *Clip) readAudio(r io.Reader) error {
	reader, _, err := oggreader.NewWith(r)
	if err != nil {
		return err
	}
	var last uint64
	for {
		data, page, err := reader.ParseNextPage()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if len(data) == 0 || string(data[:min(8, len(data))]) == "OpusTags" {
			continue
		}
		length := time.Duration(page.GranulePosition-last) * time.Second / opusRate
		last = page.GranulePosition
		if length <= 0 || length > 120*time.Millisecond { // the first page counts pre-skip, the last is cut short
			length = 20 * time.Millisecond
		}
		c.Audio = append(c.Audio, Frame{data, length})
	}
	if len(c.Audio) == 0 {
		return errors.New("no sound")
	}
	return nil
}
