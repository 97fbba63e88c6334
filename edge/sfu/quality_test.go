package sfu

import (
	"encoding/hex"
	"math"
	"testing"
	"time"
)

func near(got, want float64) bool { return math.Abs(got-want) <= want*0.1 }

// TestLayersVP9: two spatial and two temporal layers, 30 pictures a second.
func TestLayersVP9(t *testing.T) {
	b := newBench(t, true)
	l := b.layered("vp9", 1, 0)
	if list := l.enc.Layers(b.now); len(list) != 0 {
		t.Errorf("layers of nothing: %+v", list)
	}
	sizes := [2]int{300, 900} // of RTP packets
	for n := range 90 {
		l.num++
		l.ts += 3000
		for spatial := range 2 {
			payload := vp9(n == 0, l.num, uint8(spatial), uint8(n%2))
			if n == 0 && spatial == 0 { // with the sizes of the layers
				payload[0] |= 0x02
				payload = append(append(append([]byte{}, payload[:5]...), unhex("30014000b402800168")...), payload[5:]...)
			}
			l.packet(append(payload, make([]byte, sizes[spatial]-12-len(payload))...), spatial == 1)
		}
		b.now += int64(time.Second) / 30
	}
	list := l.enc.Layers(b.now)
	want := []LayerRate{
		{0, 0, 320, 180, 300 * 8 * 15, 15}, {0, 1, 320, 180, 300 * 8 * 30, 30}, {1, 0, 640, 360, 1200 * 8 * 15, 15}, {1, 1, 640, 360, 1200 * 8 * 30, 30},
	}
	if len(list) != len(want) {
		t.Fatalf("%+v", list)
	}
	for i, w := range want {
		got := list[i]
		if got.Spatial != w.Spatial || got.Temporal != w.Temporal || got.Width != w.Width || got.Height != w.Height ||
			!near(got.Bitrate, w.Bitrate) || !near(got.FrameRate, w.FrameRate) {
			t.Errorf("%+v, want %+v", got, w)
		}
	}
	if n := testing.AllocsPerRun(100, func() { l.enc.Layers(b.now) }); n != 0 {
		t.Errorf("%v allocations to ask again", n)
	}
	b.now += 2 * int64(time.Second)
	if list := l.enc.Layers(b.now); len(list) != 0 {
		t.Errorf("layers that have stopped: %+v", list)
	}
}

// TestLayersAV1: what a layer needs is told by the decode targets.
func TestLayersAV1(t *testing.T) {
	b := newBench(t, true)
	l := b.layered("av1", 1, 0)
	structure, err := hex.DecodeString(chromeStructure)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 60 {
		l.ts += 3000
		for spatial := range byte(3) {
			template := [4]byte{0, 3, 2, 4}[n%4] + 5*spatial
			if n == 0 {
				template = 1 + 5*spatial
			}
			l.num++
			descriptor := []byte{0xc0 | template, byte(l.num >> 8), byte(l.num)}
			if n == 0 && spatial == 0 {
				descriptor = append(descriptor, structure[3:]...)
			}
			p := av1Packet(l.seq, l.ts, descriptor, n == 0 && spatial == 0, spatial == 2)
			l.seq++
			if err := l.enc.Ingest(append(p, make([]byte, 100-len(p)%100)...), b.now, nil); err != nil {
				t.Fatal(err)
			}
		}
		b.now += int64(time.Second) / 30
	}
	list := l.enc.Layers(b.now)
	if len(list) != 9 {
		t.Fatalf("%+v", list)
	}
	for i, got := range list {
		spatial, temporal := i/3, i%3
		frames := []float64{7.5, 15, 30}[temporal]
		if int(got.Spatial) != spatial || int(got.Temporal) != temporal || !near(got.FrameRate, frames) ||
			!near(got.Bitrate, frames*float64(spatial+1)*100*8) || got.Width != 120<<spatial {
			t.Errorf("%+v", got)
		}
	}
}

func TestQuality(t *testing.T) {
	b := newBench(t, true)
	small, large := b.layered("vp8", 1, 0), b.layered("vp8", 500, 0)
	s, _ := b.watch(small, large)
	check := func(reason Reason, current int) {
		t.Helper()
		q := s.Quality(b.now)
		r, since := s.Reason(b.now)
		if q.Reason != reason || r != reason || q.Current.Encoding != current || !q.Since.Equal(since) || q.Target != s.Target() {
			t.Errorf("%+v (%v), want %v and encoding %d", q, q.Reason, reason, current)
		}
	}
	both := func(key bool) {
		b.now += 33 * ms
		small.ts, large.ts = small.ts+2970, large.ts+2970
		small.picture(key, 0, false)
		large.picture(key, 0, false)
	}
	check(ReasonKeyFrame, -1)
	s.SetTarget(All(0), ReasonDisplayed, b.now)
	for i := range 90 {
		both(i == 0)
	}
	check(ReasonDisplayed, 0)
	if q := s.Quality(b.now); !near(q.FrameRate, 30.3) || !near(q.Bitrate, 30.3*8*float64(12+5+len(interFrame))) || q.Width != 640 || q.Height != 360 {
		t.Errorf("%+v", q)
	}
	since := b.now
	s.SetTarget(All(1), ReasonAsked, b.now)
	check(ReasonKeyFrame, 0)
	both(false)
	if q := s.Quality(b.now); !q.Since.Equal(time.Unix(0, since)) {
		t.Errorf("since %v", q.Since)
	}
	both(true)
	check(ReasonAsked, 1)
	s.SetTarget(All(2), ReasonAsked, b.now)
	check(ReasonSourceEnds, 1)
	s.SetTarget(Target{Encoding: 1, Spatial: 1, Temporal: -1}, ReasonDisplayed, b.now)
	check(ReasonSourceEnds, 1)
	large.enc.SetActive(false, b.now)
	check(ReasonMuted, 1)
	large.enc.SetActive(true, b.now)
	s.SetActive(false, b.now)
	check(ReasonPaused, -1)
	s.SetActive(true, b.now)
	check(ReasonKeyFrame, -1)
	s.SetSource(nil, b.now)
	check(ReasonNone, -1)
	for r := Reason(0); r < reasons; r++ {
		if r.String() == "" || r.String() == "unknown" {
			t.Errorf("reason %d has no name", r)
		}
	}
}

// TestSetSourceBetweenLayers: one layer after the other chosen by its track goes on without a break where they are of one sender.
func TestSetSourceBetweenLayers(t *testing.T) {
	b := newBench(t, true)
	small, large := b.layered("vp8", 1, 0), b.layered("vp8", 500, 0)
	other := newBench(t, true)
	other.writer = b.writer
	stranger := other.layered("vp8", 900, 0)
	s, to := b.watch()
	picture := func(l *layered, key bool) int {
		n := len(to.packets)
		l.ts += 2970
		b.now += 33 * ms
		other.now = b.now
		l.picture(key, 0, false)
		return len(to.packets) - n
	}
	s.SetSource(small.enc, b.now)
	picture(small, true)
	s.SetSource(large.enc, b.now)
	if picture(small, false) != 1 || picture(large, false) != 0 {
		t.Error("the old layer does not go on until the new one can begin")
	}
	if picture(large, true) != 1 || picture(small, true) != 0 || picture(large, false) != 1 {
		t.Error("the new layer does not take over")
	}
	s.SetSource(stranger.enc, b.now)
	if picture(large, false) != 0 || picture(stranger, false) != 0 || picture(stranger, true) != 1 {
		t.Error("another sender's stream has to take its place at once")
	}
	first, _ := to.read(t, 0)
	for i := range to.packets {
		if h, _ := to.read(t, i); h.Sequence != first.Sequence+uint16(i) {
			t.Errorf("packet %d has number %d", i, h.Sequence-first.Sequence)
		}
	}
	s.Close()
	s.SetSource(small.enc, b.now)
	if len(small.enc.groupsOf())+len(large.enc.groupsOf())+len(stranger.enc.groupsOf()) != 0 {
		t.Error("a closed subscription is attached")
	}
}
