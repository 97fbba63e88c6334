//go:build linux

package mixing

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/tools/pionpeer/clip"
)

// deadly is the text that testdata/crash.c looks for.
const deadly = "this crashes the decoder"

// crashing is what a relay's environment needs for its decoders to die of that text.
func crashing(t *testing.T) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "crash.so")
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-O1", "-o", file, "testdata/crash.c", "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	return []string{"LD_PRELOAD=" + file}
}

// poisoned is a clip with the text behind each picture, or each packet of sound: a decoder without the fault does not look at it.
func poisoned(c *clip.Clip, kind conference.Kind) *clip.Clip {
	with := func(frames []clip.Frame) []clip.Frame {
		frames = slices.Clone(frames)
		for i := range frames {
			frames[i].Data = slices.Concat(frames[i].Data, []byte(deadly))
		}
		return frames
	}
	p := *c
	if kind == conference.Video {
		p.Video = with(c.Video)
	} else {
		p.Audio = with(c.Audio)
	}
	return &p
}

// notMixed is why a stream's sound or pictures are not in the mix, as its quality says; absent when they are.
func (s *system) notMixed(stream string, kind conference.Kind) jsonvalue.Value {
	s.t.Helper()
	q, err := s.api.StreamQuality(s.t.Context(), s.room, stream, "")
	s.must(err)
	list := q.Get("notMixed")
	for i := range list.Len() {
		if list.Index(i).Get("kind").Text() == string(kind) {
			return list.Index(i)
		}
	}
	return jsonvalue.Value{}
}

// culprit is somebody whose media is to crash a decoder.
type culprit struct {
	*camera
	clip *clip.Clip
	kind conference.Kind
}

// crash has the decoder crash, and waits until the edge says whose fault it was.
func (c *culprit) crash() (at time.Time) {
	t, s, r := c.t, c.system, c.relays[0]
	t.Helper()
	mark, edge := r.Mark(), s.edge.Mark()
	at = c.play(poisoned(c.clip, c.kind))
	r.await(mark, "job crashed", "SIGSEGV", "cgo", c.published.ID())
	t.Log(s.hear(s.edge, edge, "input is not in the mix", c.published.ID(), string(c.kind), "crashed"))
	return at
}

// told checks what the quality of the culprit's stream says.
func (c *culprit) told(at time.Time) {
	t := c.t
	t.Helper()
	why := c.notMixed(c.published.ID(), c.kind)
	since, err := time.Parse(time.RFC3339, why.Get("since").Text())
	until, err2 := time.Parse(time.RFC3339, why.Get("until").Text())
	if errors.Join(err, err2) != nil || why.Get("view").Text() != view || why.Get("reason").Text() != "its media crashed the decoder" ||
		since.Before(at.Truncate(time.Millisecond)) || until.Sub(since) < time.Minute {
		t.Errorf("the quality of what crashed the decoder at %v says %s", at, why)
	}
}

// others are the relay's processes but for these.
func (r *relay) others(than ...int) []int {
	return slices.DeleteFunc(children(r.PID()), func(pid int) bool { return slices.Contains(than, pid) })
}

// TestCrash: a decoder crashes in C of what somebody sends, pictures or sound. That costs the job's process; the mix is back without what
// it died of, which goes on to be forwarded, and another room's mix goes on.
func TestCrash(t *testing.T) {
	s := start(t, options{environment: crashing(t)})
	elsewhere := call(s)
	r := s.relays[0]
	untouched := r.others()
	s.room = s.newRoom()

	people := []person{red, green, blue, yellow}
	var cameras []*camera
	for i, name := range []string{"Ann", "Bob", "Mallory", "Oscar"} {
		cameras = append(cameras, s.join(name).camera("vp8", clipOf(t, people[i])))
	}
	v := s.join("Cid").watch()
	v.playing()
	v.sees(people...)
	from := time.Now()
	for _, c := range []*culprit{{cameras[2], clipOf(t, blue), conference.Video}, {cameras[3], clipOf(t, yellow), conference.Audio}} {
		stream, before := c.published.ID(), r.others(untouched...)
		forwarded, err := s.join("Dan").subscribe(stream, "vp8")
		s.must(err)
		forwarded.playing()
		began := time.Now()
		at := c.crash()
		c.told(at)
		for i, x := range cameras { // whoever's media were decoded in the same moment are as suspect
			if people[i] != somebody && s.notMixed(x.published.ID(), conference.Video).Exists() {
				t.Logf("%s is left out", people[i].colour)
				people[i] = somebody
			}
		}
		v.goesOn(at, at, "a decoder crashes of "+string(c.kind), people...)
		video, audio := v.gaps(at, time.Now())
		t.Logf("the mix stood still for %v, its sound for %v", video.Round(time.Millisecond), audio.Round(time.Millisecond))
		if audio > within {
			t.Errorf("the sound is not back within %v", within)
		}
		if now := r.others(untouched...); len(now) != 1 || slices.Equal(before, now) {
			t.Errorf("the job's process was %v and is %v", before, now)
		}
		forwarded.plays(began, "what is forwarded")
	}
	elsewhere.plays(from, "the other room's mix")
	elsewhere.sees(red, green)
	elsewhere.continuous()
	for _, pid := range untouched {
		if !slices.Contains(children(r.PID()), pid) {
			t.Errorf("the other room's process %d is gone: %v", pid, children(r.PID()))
		}
	}
	v.looksMuted(2, cameras[0], 0)
}

// plays checks that a stream has gone on since from.
func (v *viewer) plays(from time.Time, what string) {
	t := v.seat.t
	t.Helper()
	video, audio := v.gaps(from, time.Now())
	t.Logf("%s stands still for %v, its sound for %v, at most", what, video.Round(time.Millisecond), audio.Round(time.Millisecond))
	if video > within || audio > within || v.Ended() {
		t.Errorf("%s does not go on", what)
	}
}

// looksMuted checks that a region looks as another does when its publisher turns the camera off.
func (v *viewer) looksMuted(region int, x *camera, other int) {
	t := v.seat.t
	t.Helper()
	x.must(x.published.Mute(x.ctx, conference.Video))
	var differs string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		picture, err := v.look()
		if err != nil {
			continue
		}
		differs = ""
		for _, off := range [][2]float64{{0, 0}, {.05, .05}, {-.1, .1}, {.1, -.1}, {0, .15}} {
			got := picture.at(places[region][0]+off[0], places[region][1]+off[1])
			if want := picture.at(places[other][0]+off[0], places[other][1]+off[1]); !near(got, want) {
				differs = fmt.Sprintf("%v where a muted one shows %v", got, want)
			}
		}
		if differs == "" {
			return
		}
	}
	t.Errorf("what is left out shows %s", differs)
}
