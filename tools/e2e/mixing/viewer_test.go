//go:build linux

package mixing

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/oggwriter"
	"github.com/pion/webrtc/v4/pkg/media/samplebuilder"

	"portico/shared/client"
	"portico/tools/pionpeer"
)

// viewer is a subscription to the mixed stream, and all that came of it.
type viewer struct {
	*client.Subscription
	seat   *seat
	people []*seat // of its call
	remote *pionpeer.Remote

	mu       sync.Mutex // guards what follows
	changed  chan struct{}
	pictures []picture
	sounds   []sound
	video    sequence
	audio    sequence
}

// picture is one that came as a whole.
type picture struct {
	at        time.Time
	key       bool
	timestamp uint32
	data      []byte // of VP8
}

// sound is one packet of Opus.
type sound struct {
	at     time.Time
	packet *rtp.Packet
}

// sequence counts the numbers of a stream's packets: those of one stream follow on each other whatever happens behind the edge.
type sequence struct {
	have     map[int]bool
	last     int
	from, to int
	jumps    int // numbers that nobody would call a successor
}

func (s *sequence) take(number uint16) {
	if s.have == nil {
		s.have, s.last = map[int]bool{}, int(number)
		s.from, s.to = s.last, s.last
	}
	n := s.last + int(int16(number-uint16(s.last)))
	if n-s.last > 3000 || s.last-n > 3000 {
		s.jumps++
	}
	s.have[n] = true
	s.last = max(s.last, n)
	s.from, s.to = min(s.from, n), max(s.to, n)
}

// missing is how many numbers never came.
func (s *sequence) missing() int { return s.to - s.from + 1 - len(s.have) }

func (v *viewer) update(fn func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fn()
	close(v.changed)
	v.changed = make(chan struct{})
}

// maxLate is how many packets a picture may wait for a missing one.
const maxLate = 200

func (v *viewer) seePackets(track *webrtc.TrackRemote) {
	builder := samplebuilder.New(maxLate, &codecs.VP8Packet{}, 90_000)
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		v.update(func() {
			v.video.take(packet.SequenceNumber)
			if len(packet.Payload) == 0 {
				return // padding, which probes the path
			}
			builder.Push(packet)
			for s := builder.Pop(); s != nil; s = builder.Pop() {
				v.pictures = append(v.pictures, picture{time.Now(), len(s.Data) > 0 && s.Data[0]&1 == 0, s.PacketTimestamp, s.Data})
			}
		})
	}
}

func (v *viewer) hearPackets(track *webrtc.TrackRemote) {
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		v.update(func() {
			v.audio.take(packet.SequenceNumber)
			v.sounds = append(v.sounds, sound{time.Now(), packet})
		})
	}
}

// until waits until something is true of what came.
func (v *viewer) until(limit time.Duration, what func() bool) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		v.mu.Lock()
		ok, changed := what(), v.changed
		v.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return false
		}
	}
}

// playing waits until there are a picture that can be seen and sound.
func (v *viewer) playing() {
	v.seat.t.Helper()
	if !v.until(patience, func() bool { return v.keyAfter(time.Time{}) != nil && len(v.sounds) > 0 }) {
		v.seat.t.Fatalf("%s sees or hears nothing of the mix: %d pictures, %d sounds", v.seat.name, len(v.pictures), len(v.sounds))
	}
}

// keyAfter is the first key frame after a time, nil when there is none yet. The caller holds mu, as in until.
func (v *viewer) keyAfter(from time.Time) *picture {
	for i := range v.pictures {
		if p := &v.pictures[i]; p.key && p.at.After(from) {
			return p
		}
	}
	return nil
}

// soundAfter is when sound first came after a time, zero when it has not. The caller holds mu.
func (v *viewer) soundAfter(from time.Time) (at time.Time) {
	for i := len(v.sounds) - 1; i >= 0 && v.sounds[i].at.After(from); i-- {
		at = v.sounds[i].at
	}
	return at
}

// gaps are the longest times between two pictures and two packets of sound within a span.
func (v *viewer) gaps(from, to time.Time) (video, audio time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	last := from
	for _, p := range v.pictures {
		if p.at.After(from) && p.at.Before(to) {
			video, last = max(video, p.at.Sub(last)), p.at
		}
	}
	video, last = max(video, to.Sub(last)), from
	for _, s := range v.sounds {
		if s.at.After(from) && s.at.Before(to) {
			audio, last = max(audio, s.at.Sub(last)), s.at
		}
	}
	return video, max(audio, to.Sub(last))
}

// continuous checks that both streams are what a decoder takes without a seam: numbers that follow on each other, times that rise.
func (v *viewer) continuous() {
	v.seat.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, s := range map[string]*sequence{"video": &v.video, "audio": &v.audio} {
		if s.jumps > 0 || s.missing() > 0 {
			v.seat.t.Errorf("%s: %d of %d packets are missing, the numbers jump %d times", name, s.missing(), s.to-s.from+1, s.jumps)
		}
	}
	back := 0
	for i := 1; i < len(v.pictures); i++ {
		if int32(v.pictures[i].timestamp-v.pictures[i-1].timestamp) <= 0 {
			back++
		}
	}
	for i := 1; i < len(v.sounds); i++ {
		if int32(v.sounds[i].packet.Timestamp-v.sounds[i-1].packet.Timestamp) <= 0 {
			back++
		}
	}
	if back > 0 {
		v.seat.t.Errorf("time goes back %d times", back)
	}
}

// screen is the newest picture, decoded.
type screen struct {
	width, height int
	rgb           []byte
}

// at is the colour at a place, from 0 to 1 across and down.
func (s *screen) at(x, y float64) (c [3]int) {
	i := 3 * (int(y*float64(s.height))*s.width + int(x*float64(s.width)))
	for j := range c {
		c[j] = int(s.rgb[i+j])
	}
	return c
}

// shows tells whether there is about this colour at a place.
func (s *screen) shows(x, y float64, want [3]int) bool { return near(s.at(x, y), want) }

// near tells whether two colours are about the same.
func near(a, b [3]int) bool {
	const most = 40
	for i := range a {
		if a[i]-b[i] > most || b[i]-a[i] > most {
			return false
		}
	}
	return true
}

// look asks for a key frame and decodes what comes.
func (v *viewer) look() (*screen, error) {
	from := time.Now()
	if err := v.remote.RequestKeyFrame(); err != nil {
		return nil, err
	}
	if !v.until(5*time.Second, func() bool { return v.keyAfter(from) != nil }) {
		return nil, fmt.Errorf("no key frame within 5 s of being asked for")
	}
	v.mu.Lock()
	data := v.keyAfter(from).data
	v.mu.Unlock()
	if len(data) < 10 {
		return nil, fmt.Errorf("a key frame of %d bytes", len(data))
	}
	s := &screen{}
	var file []byte
	var err error
	file, s.width, s.height = ivf(data)
	s.rgb, err = ffmpeg(file, "-f", "ivf", "-i", "-", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
	if err == nil && len(s.rgb) < 3*s.width*s.height {
		err = fmt.Errorf("a picture of %dx%d in %d bytes", s.width, s.height, len(s.rgb))
	}
	return s, err
}

// ivf is a file of pictures, the first of which is a key frame.
func ivf(pictures ...[]byte) (file []byte, width, height int) {
	key := pictures[0]
	width, height = int(binary.LittleEndian.Uint16(key[6:])&0x3fff), int(binary.LittleEndian.Uint16(key[8:])&0x3fff)
	file = append([]byte("DKIF\x00\x00\x20\x00VP80"), make([]byte, 20)...)
	binary.LittleEndian.PutUint16(file[12:], uint16(width))
	binary.LittleEndian.PutUint16(file[14:], uint16(height))
	binary.LittleEndian.PutUint32(file[16:], 30)
	binary.LittleEndian.PutUint32(file[20:], 1)
	for i, data := range pictures {
		file = binary.LittleEndian.AppendUint32(file, uint32(len(data)))
		file = append(binary.LittleEndian.AppendUint64(file, uint64(i)), data...)
	}
	return file, width, height
}

// shot is one picture of the mix, decoded and made small.
type shot struct {
	screen
	came time.Time
}

// film are all pictures that have come since a time. There has to have been a key frame before.
func (v *viewer) film(from time.Time) (shots []shot) {
	t := v.seat.t
	t.Helper()
	v.mu.Lock()
	first := 0
	for i, p := range v.pictures {
		if p.key && !p.at.After(from) {
			first = i
		}
	}
	pictures := slices.Clone(v.pictures[first:])
	v.mu.Unlock()
	var list [][]byte
	for _, p := range pictures {
		list = append(list, p.data)
	}
	if len(list) == 0 || !pictures[0].key || len(list[0]) < 10 {
		t.Fatal("no key frame has come")
	}
	file, _, _ := ivf(list...)
	const width, height = 64, 48
	raw, err := ffmpeg(file, "-f", "ivf", "-i", "-", "-vf", fmt.Sprintf("scale=%d:%d:flags=area", width, height), "-fps_mode", "passthrough",
		"-f", "rawvideo", "-pix_fmt", "rgb24", "-")
	v.seat.must(err)
	if len(raw) != len(list)*3*width*height {
		t.Fatalf("%d pictures were decoded to %d bytes", len(list), len(raw))
	}
	for i, p := range pictures {
		if p.at.After(from) {
			shots = append(shots, shot{screen{width, height, raw[3*width*height*i:][:3*width*height]}, p.at})
		}
	}
	return shots
}

// places are the middles of the regions of a grid of two, from the left to the right and from the top to the bottom.
var places = [][2]float64{{.25, .25}, {.75, .25}, {.25, .75}, {.75, .75}}

// somebody may be anybody, and need not be seen.
var somebody person

// sees waits until the mix shows these people, in the order of places.
func (v *viewer) sees(people ...person) *screen {
	v.seat.t.Helper()
	places := places
	if len(people) <= 1 {
		places = [][2]float64{{.5, .5}}
	}
	var s *screen
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if s, err = v.look(); err != nil {
			continue
		}
		all := true
		for i, p := range people {
			all = all && (p == somebody || s.shows(places[i][0], places[i][1], p.rgb))
		}
		if all {
			return s
		}
	}
	if err != nil {
		v.seat.t.Fatalf("%s sees nothing: %v", v.seat.name, err)
	}
	v.seat.t.Log(v.seat.edge.Tail())
	for i, p := range people {
		v.seat.t.Errorf("%s sees %v where %s should be", v.seat.name, s.at(places[i][0], places[i][1]), p.colour)
	}
	v.seat.t.FailNow()
	return nil
}

// volumes are the levels of tones within the sound of a span, in dB of full scale.
func (v *viewer) volumes(from, to time.Time, tones ...int) (levels []float64) {
	t := v.seat.t
	t.Helper()
	file := filepath.Join(t.TempDir(), "sound.ogg")
	w, err := oggwriter.New(file, 48_000, 2)
	v.seat.must(err)
	v.mu.Lock()
	for _, s := range v.sounds {
		if s.at.After(from) && s.at.Before(to) && len(s.packet.Payload) > 0 {
			v.seat.must(w.WriteRTP(s.packet))
		}
	}
	v.mu.Unlock()
	v.seat.must(w.Close())
	text, err := os.ReadFile(file)
	v.seat.must(err)
	raw, err := ffmpeg(text, "-i", "-", "-f", "s16le", "-ac", "1", "-ar", "48000", "-")
	v.seat.must(err)
	if len(raw) < 2*24_000 {
		t.Fatalf("%d samples of sound", len(raw)/2)
	}
	raw = raw[len(raw)/4:] // the beginning is the decoder's
	pcm := make([]float64, len(raw)/2)
	for i := range pcm {
		pcm[i] = float64(int16(binary.LittleEndian.Uint16(raw[2*i:]))) / 32768
	}
	for _, hz := range tones {
		levels = append(levels, goertzel(pcm, float64(hz)/48_000))
	}
	return levels
}

// goertzel is the level at a frequency, given as a part of the sampling rate, in dB of a full tone. It is the mean of pieces of 100 ms,
// whose seams do not matter.
func goertzel(pcm []float64, frequency float64) float64 {
	const piece = 4800
	var levels float64
	n := 0
	for ; len(pcm) >= piece; pcm = pcm[piece:] {
		c := 2 * math.Cos(2*math.Pi*frequency)
		var s1, s2 float64
		for i, x := range pcm[:piece] {
			window := .5 - .5*math.Cos(2*math.Pi*float64(i)/piece)
			s1, s2 = window*x+c*s1-s2, s1
		}
		levels += (s1*s1 + s2*s2 - c*s1*s2) * 16 / (piece * piece)
		n++
	}
	return 10 * math.Log10(max(levels/float64(max(1, n)), 1e-12))
}

func ffmpeg(input []byte, arguments ...string) ([]byte, error) {
	cmd := exec.Command("ffmpeg", append([]string{"-hide_banner", "-loglevel", "error"}, arguments...)...)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("ffmpeg: %w: %s", err, &said)
	}
	return out.Bytes(), nil
}
