package jobs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"portico/edge/room"
	"portico/edge/rtc"
	"portico/edge/sfu"
	"portico/shared/conference"
	"portico/shared/layout"
	"portico/shared/relayproto"
)

var (
	opus = conference.Format{Codec: "opus", SampleRate: 48000, ChannelNum: 2}
	vp8  = conference.Format{Codec: "vp8"}
)

// rig is an edge's jobs with some relays.
type rig struct {
	*Jobs
	t      testing.TB
	media  *fakeMedia
	relays []*fakeRelay
}

func newRig(t testing.TB, relays int) *rig {
	t.Helper()
	r := &rig{t: t, media: newMedia(t)}
	ids := cluster(t, relays)
	var addresses []string
	for _, id := range ids[1:] {
		relay := newRelay(t, id)
		r.relays = append(r.relays, relay)
		addresses = append(addresses, relay.address)
	}
	r.Jobs = New(Options{Relays: addresses, Identity: ids[0], Media: r.media, Linger: 50 * time.Millisecond})
	t.Cleanup(r.Jobs.Close)
	waitFor(t, "the links", func() bool { return r.Stats().Connected == relays })
	return r
}

// mixer opens a mix of the default view; the loudest go to active.
func (r *rig) mixer(active func(string)) room.Mixer {
	m := r.OpenMixer(room.MixerSpec{Room: "R", Stream: "M", View: conference.DefaultView(), Active: active})
	r.t.Cleanup(m.Close)
	return m
}

// mixOf publishes a stream of sound and picture for each owner, and mixes them.
func (r *rig) mixOf(owners ...string) room.Mix {
	r.t.Helper()
	arrangement, err := layout.New(conference.Templates{Base: "fluid"}, 16)
	if err != nil {
		r.t.Fatal(err)
	}
	var mix room.Mix
	for _, owner := range owners {
		s := "S-" + owner
		if _, there := r.media.TrackSize(s + "-a"); !there {
			r.media.publish(s+"-a", conference.Audio, opus)
			r.media.publish(s+"-v", conference.Video, vp8)
		}
		mix.Inputs = append(mix.Inputs, room.MixInput{Stream: s, Participant: owner, Audio: s + "-a", Videos: []string{s + "-v"}})
		arrangement = arrangement.Add(s)
	}
	mix.Scene = arrangement.Scene()
	return mix
}

func mixed(kind conference.Kind) rtc.Conversion {
	c := rtc.Conversion{Track: room.MixedTrack("M", kind), Kind: kind, Format: vp8}
	if kind == conference.Audio {
		c.Format = opus
	}
	return c
}

func outputs(n int) func(*relayproto.Order) bool {
	return func(o *relayproto.Order) bool { return len(o.Outputs) == n }
}

func TestMixedStreamComesInTheFormAskedFor(t *testing.T) {
	r := newRig(t, 1)
	m := r.mixer(nil)
	if err := m.Ready(); err != nil {
		t.Fatal(err)
	}
	m.Update(r.mixOf("alice", "bob"))
	v := view(t, r.Jobs, r.media, mixed(conference.Video))
	small := mixed(conference.Video)
	small.Resolution, small.Framerate, small.Format = conference.Resolution{Width: 320, Height: 240}, 12, conference.Format{Codec: "h264", Profile: "CB"}
	h264 := r.Open(withFeed(small))
	defer h264.Close()
	v.gets(20)
	_, o := r.relays[0].wait("both outputs", outputs(2))
	if o.Kind != relayproto.Mix || o.View == nil || *o.View != (relayproto.View{Width: 640, Height: 480, Framerate: 24}) || o.Room != "R" || len(o.Job) != 32 {
		t.Errorf("%+v %+v", o, o.View)
	}
	i := slices.IndexFunc(o.Outputs, func(x relayproto.Output) bool { return x.Format.Codec == "vp8" })
	got := o.Outputs[i]
	want := relayproto.Output{
		ID: got.ID, Flow: got.Flow, Kind: conference.Video, Format: vp8, Width: 640, Height: 480, Framerate: 24, Bitrate: 666, KeyFrameInterval: 100,
	}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	got = o.Outputs[1-i]
	want = relayproto.Output{
		ID: got.ID, Flow: got.Flow, Kind: conference.Video, Format: small.Format, Width: 320, Height: 240, Framerate: 12, Bitrate: 128, KeyFrameInterval: 100,
	}
	if got != want || h264.Target() != 128 {
		t.Errorf("%+v, want %+v", got, want)
	}
	if len(o.Inputs) != 2 || o.Inputs[0].ID != "S-alice" || o.Inputs[0].Video == nil || o.Inputs[0].Audio != nil || o.Inputs[0].Video.Format != vp8 {
		t.Errorf("inputs: %+v", o.Inputs) // nobody hears it: the sound stays where it is
	}
	if p := v.packets[0]; p[1]&0x7f != 120 || p[12+3] != 0x0d || p[13]&1 != 0 {
		t.Errorf("the first packet is % x, no key frame as the subscriber calls it", p)
	}
}

// withFeed is a wish whose media nobody looks at.
func withFeed(c rtc.Conversion) rtc.Conversion {
	v := &viewer{}
	c.Trouble = func(string) {}
	c.Feed = func(e *sfu.Encoding) { v.mu.Lock(); v.encodings = append(v.encodings, e); v.mu.Unlock() }
	return c
}

// TestEqualWishesShareAnOutput, which ends with the last of them, and the job a while later.
func TestEqualWishesShareAnOutput(t *testing.T) {
	r := newRig(t, 1)
	m := r.mixer(nil)
	m.Update(r.mixOf("alice"))
	a, b := view(t, r.Jobs, r.media, mixed(conference.Video)), view(t, r.Jobs, r.media, mixed(conference.Video))
	explicit := mixed(conference.Video)
	explicit.Resolution, explicit.Bitrate = conference.Resolution{Width: 640, Height: 480}, "x1"
	c := view(t, r.Jobs, r.media, explicit)
	for _, v := range []*viewer{a, b, c} {
		v.gets(5)
	}
	_, first := a.feeds()
	for _, v := range []*viewer{b, c} {
		if n, e := v.feeds(); n != 1 || e != first {
			t.Error("it gets an encoding of its own")
		}
	}
	job, o := r.relays[0].wait("the output", outputs(1))
	if s := r.Stats(); s.Mixes != 1 || s.Outputs != 1 || s.Inputs != 1 {
		t.Errorf("%+v", s)
	}
	a.end()
	b.end()
	c.gets(5)
	if len(r.relays[0].present()) != 1 {
		t.Error("the job has ended under a subscriber")
	}
	c.end()
	r.relays[0].wait("the output's end", outputs(0))
	waitFor(t, "the job's end", func() bool { return len(r.relays[0].present()) == 0 })
	waitFor(t, "the taps' end", func() bool { return r.Stats() == (Stats{Relays: 1, Connected: 1}) })

	again := view(t, r.Jobs, r.media, mixed(conference.Video))
	again.gets(5)
	next, order := r.relays[0].wait("the next job", outputs(1))
	if next == job || order.Job == o.Job || order.Outputs[0].Flow <= o.Outputs[0].Flow || order.Revision <= o.Revision {
		t.Errorf("%+v after %+v: its job and its flows are none before", order, o)
	}
}

// TestListenersHearAllButThemselves while there is something of theirs to leave out.
func TestListenersHearAllButThemselves(t *testing.T) {
	r := newRig(t, 1)
	m := r.mixer(nil)
	m.Update(r.mixOf("alice", "bob"))
	listen := func(who string) *viewer {
		c := mixed(conference.Audio)
		c.Listener = who
		return view(t, r.Jobs, r.media, c)
	}
	alice, carol, dave := listen("alice"), listen("carol"), listen("")
	groups := func(want ...string) func(o *relayproto.Order) bool {
		return func(o *relayproto.Order) bool {
			var got []string
			for _, out := range o.Outputs {
				got = append(got, out.Participant)
			}
			slices.Sort(got)
			return slices.Equal(got, want)
		}
	}
	r.relays[0].wait("one of alice's own, one for all others", groups("", "alice"))
	for _, v := range []*viewer{alice, carol, dave} {
		v.gets(5)
	}
	m.Update(r.mixOf("carol", "bob"))
	r.relays[0].wait("one of carol's own", groups("", "carol"))
	waitFor(t, "alice and dave hear the same, carol another", func() bool {
		_, a := alice.feeds()
		_, c := carol.feeds()
		_, d := dave.feeds()
		return a == d && a != c
	})
	for _, v := range []*viewer{alice, carol, dave} {
		v.gets(5)
		v.unbroken()
	}
}

// unbroken checks that what a viewer got is one stream.
func (v *viewer) unbroken() {
	v.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := 1; i < len(v.packets); i++ {
		a, b := binary.BigEndian.Uint16(v.packets[i-1][2:]), binary.BigEndian.Uint16(v.packets[i][2:])
		if b != a+1 {
			v.t.Fatalf("after packet %d came %d", a, b)
		}
	}
}

// TestRelayThatDies: the job goes on at another within three seconds; the subscriber keeps its stream and sees a key frame.
func TestRelayThatDies(t *testing.T) {
	r := newRig(t, 2)
	m := r.mixer(nil)
	m.Update(r.mixOf("alice"))
	v := view(t, r.Jobs, r.media, mixed(conference.Video))
	v.gets(15)
	first, second := r.relays[0], r.relays[1]
	if len(first.present()) == 0 {
		first, second = second, first
	}
	first.kill()
	before := v.count()
	died := time.Now()
	second.wait("the job", outputs(1))
	waitFor(t, "its media", func() bool { n, _ := v.feeds(); return n == 2 && v.count() > before+5 })
	if took := time.Since(died); took > 3*time.Second {
		t.Errorf("it took %v", took)
	} else {
		t.Logf("back after %v", took)
	}
	v.unbroken()
	v.mu.Lock()
	defer v.mu.Unlock()
	keys := 0
	for _, p := range v.packets[before:] {
		if p[13]&1 == 0 {
			keys++
		}
	}
	if p := v.packets[before]; p[13]&1 != 0 && keys == 0 {
		t.Error("no key frame came")
	}
	if s := r.Stats(); s.Restarts != 1 || s.Connected != 1 {
		t.Errorf("%+v", s)
	}
}

// TestRelayThatComesBack: the same with the only one there is.
func TestRelayThatComesBack(t *testing.T) {
	r := newRig(t, 1)
	m := r.mixer(nil)
	m.Update(r.mixOf("alice"))
	v := view(t, r.Jobs, r.media, mixed(conference.Video))
	v.gets(5)
	r.relays[0].kill()
	waitFor(t, "Ready says so", func() bool { return m.Ready() != nil })
	if err := m.Ready(); !errors.Is(err, errNoRelay) {
		t.Error(err)
	}
	waitFor(t, "the subscriber is told", func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return slices.Contains(v.troubles, errNoRelay.Error())
	})
	r.relays[0].begin(r.relays[0].address)
	waitFor(t, "its media", func() bool { n, _ := v.feeds(); return n == 2 })
	v.gets(5)
	v.unbroken()
	waitFor(t, "Ready", func() bool { return m.Ready() == nil })
}

// TestJobThatCrashes begins again where it was.
func TestJobThatCrashes(t *testing.T) {
	r := newRig(t, 1)
	m := r.mixer(nil)
	m.Update(r.mixOf("alice"))
	v := view(t, r.Jobs, r.media, mixed(conference.Video))
	v.gets(5)
	for i, crash := range []func(*fakeJob){
		func(j *fakeJob) {
			j.say(relayproto.Message{Refusal: &relayproto.Refusal{Reason: relayproto.Crashed}})
			j.call.Close()
		},
		func(j *fakeJob) { j.call.Close() },
	} {
		job, _ := r.relays[0].wait("the job", outputs(1))
		crash(job)
		waitFor(t, "another", func() bool { n, _ := v.feeds(); return n == i+2 })
		v.gets(5)
	}
	v.unbroken()
}

// TestRelaysThatRefuse: another one is asked; when all refuse, they are asked again, and those who wait are told.
func TestRelaysThatRefuse(t *testing.T) {
	r := newRig(t, 2)
	for i, reason := range []relayproto.Reason{relayproto.Full, relayproto.Unable} {
		r.relays[i].mu.Lock()
		r.relays[i].refusal = reason
		r.relays[i].mu.Unlock()
	}
	m := r.mixer(nil)
	m.Update(r.mixOf("alice"))
	v := view(t, r.Jobs, r.media, mixed(conference.Video))
	waitFor(t, "the subscriber is told", func() bool { v.mu.Lock(); defer v.mu.Unlock(); return len(v.troubles) > 0 })
	if m.Ready() == nil {
		t.Error("the mixer is ready though nobody does it")
	}
	if n := r.Stats().Refusals; n < 2 {
		t.Errorf("%d refusals", n)
	}
	r.relays[1].mu.Lock()
	r.relays[1].refusal = ""
	r.relays[1].mu.Unlock()
	v.gets(5)
	if len(r.relays[1].present()) != 1 || m.Ready() != nil {
		t.Error("it does not run where it can")
	}
}

// TestLeastLoaded: jobs go where the least is done.
func TestLeastLoaded(t *testing.T) {
	r := newRig(t, 3)
	for i := range 6 {
		s := fmt.Sprint("T", i)
		r.media.publish(s, conference.Video, vp8)
		view(t, r.Jobs, r.media, rtc.Conversion{Track: s, Kind: conference.Video, Format: vp8, Framerate: 15}).gets(1)
	}
	for i, relay := range r.relays {
		if n := len(relay.present()); n != 2 {
			t.Errorf("relay %d has %d jobs", i, n)
		}
	}
	if s := r.Stats(); s.Transcodes != 6 || s.CPU != 6 {
		t.Errorf("%+v", s)
	}
}

// TestTranscoding: one track, in the forms that are asked for, as rooms-and-media 8.2 and 8.3 fill them in.
func TestTranscoding(t *testing.T) {
	r := newRig(t, 1)
	f := r.media.publish("T", conference.Video, vp8)
	f.size = conference.Resolution{Width: 1280, Height: 720}
	v := view(t, r.Jobs, r.media, rtc.Conversion{Track: "T", Kind: conference.Video, Format: vp8, Bitrate: "x0.5"})
	w := view(t, r.Jobs, r.media, rtc.Conversion{Track: "T", Kind: conference.Video, Format: vp8, Framerate: 15, KeyFrameInterval: 2})
	v.gets(5)
	w.gets(5)
	_, o := r.relays[0].wait("both", outputs(2))
	if o.Kind != relayproto.Transcode || o.View != nil || len(o.Inputs) != 1 || o.Inputs[0].ID != "T" || o.Inputs[0].Video == nil || o.Inputs[0].Audio != nil {
		t.Errorf("%+v", o)
	}
	for _, got := range o.Outputs {
		rate, kbps, interval := 30.0, 1200, 1000.0
		if got.Framerate == 15 {
			rate, kbps, interval = 15, 0, 2
		}
		if got.Framerate != rate || got.Bitrate != kbps || got.KeyFrameInterval != interval || got.Width != 0 {
			t.Errorf("%+v", got)
		}
	}
	v.end()
	w.end()
	waitFor(t, "the job's end", func() bool { return len(r.relays[0].present()) == 0 && r.Stats().Inputs == 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.transcodes) != 0 || len(r.all) != 0 {
		t.Error("the job is kept")
	}
}

// TestIdleEndsThoughTheMixChanges: what goes on in a room does not keep a job that nobody wants.
func TestIdleEndsThoughTheMixChanges(t *testing.T) {
	r := newRig(t, 1)
	m := r.mixer(nil)
	m.Update(r.mixOf("alice"))
	v := view(t, r.Jobs, r.media, mixed(conference.Video))
	v.gets(1)
	v.end()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for end := time.After(10 * time.Second); r.Stats().Mixes != 0; {
		select {
		case <-ticker.C:
			m.Update(r.mixOf("alice"))
		case <-end:
			t.Fatal("the job goes on")
		}
	}
}
