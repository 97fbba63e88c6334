package loadtest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/tools/pionpeer/clip"
)

// TestStamps reads from each picture of the clip which one it is.
func TestStamps(t *testing.T) {
	c, err := stampedClip(t.Context(), t.TempDir())
	if errors.Is(err, clip.ErrNoFFmpeg) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Video) != stampPictures || len(c.Audio) == 0 {
		t.Fatalf("%d pictures, %d packets of sound", len(c.Video), len(c.Audio))
	}
	var pictures []shown
	for _, f := range c.Video {
		pictures = append(pictures, shown{data: f.Data})
	}
	width, height := vp8Size(pictures[0].data)
	numbers, err := stamps(t.Context(), pictures, width, height, 1)
	if err != nil || width != mixWidth || height != mixHeight {
		t.Fatalf("%dx%d, %v", width, height, err)
	}
	for i, n := range numbers {
		if i != n {
			t.Errorf("picture %d is read as %d", i, n)
		}
	}
	if numbers, err = stamps(t.Context(), pictures, width, height, 7); err != nil || numbers[5] == 5 && numbers[6] == 6 && numbers[7] == 7 {
		t.Errorf("where there is no stamp, %v are read, %v", numbers[:8], err)
	}
}

// TestMix measures small rooms for a moment.
func TestMix(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip(clip.ErrNoFFmpeg)
	}
	dir := t.TempDir()
	for name, cgo := range map[string]string{"edge": "0", "relay": "1"} {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, name), "portico/"+name)
		build.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	report, err := Run(context.Background(), Options{
		Programs: []Program{{File: filepath.Join(dir, "edge")}}, Mixer: Program{File: filepath.Join(dir, "relay")},
		Mixes: []MixLoad{{2, true}, {5, false}}, Duration: 3 * time.Second, WarmUp: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Mix) != 2 {
		t.Fatalf("%d results", len(report.Mix))
	}
	video, sound := report.Mix[0], report.Mix[1]
	if video.CPU <= 0 || video.RSS == 0 || video.Pictures < 20 || video.PerFrame <= 0 || video.Added.Count < 10 || video.Added.P50 <= 0 ||
		video.Mixed.P50 <= video.Forwarded.P50 {
		t.Errorf("%+v", video)
	}
	if sound.CPU <= 0 || sound.Sounds < 150 || sound.Pictures != 0 {
		t.Errorf("%+v", sound)
	}
	var text strings.Builder
	if err := report.Write(&text); err != nil || !strings.Contains(text.String(), "2 of 640x360 into 1280x720") ||
		!strings.Contains(text.String(), "5 with sound alone") {
		t.Errorf("%v\n%s", err, text.String())
	}
}
