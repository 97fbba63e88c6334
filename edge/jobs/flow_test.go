package jobs

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"

	"portico/edge/room"
	"portico/edge/sfu/feedback"
	"portico/shared/conference"
	"portico/shared/relayproto"
)

// TestTapsAreRepaired: packets of an input go to the relay, which has those that it lost sent again, and asks for key frames.
func TestTapsAreRepaired(t *testing.T) {
	r := newRig(t, 1)
	m := r.mixer(nil)
	m.Update(r.mixOf("alice"))
	view(t, r.Jobs, r.media, mixed(conference.Video)).gets(1)
	job, o := r.relays[0].wait("the input", func(o *relayproto.Order) bool {
		return len(o.Outputs) == 1 && len(o.Inputs) == 1 && o.Inputs[0].Video != nil
	})
	flow := o.Inputs[0].Video.Flow
	r.media.mu.Lock()
	track := r.media.tracks["S-alice-v"]
	r.media.mu.Unlock()
	for range 3 {
		r.media.send(t, track)
	}
	relay := r.relays[0]
	waitFor(t, "packets of the input", func() bool { return len(relay.came(flow)) == 3 })
	second := relay.came(flow)[1]
	if second[1]&0x7f != relayproto.PayloadType("vp8") {
		t.Errorf("% x", second)
	}
	seq, ssrc := binary.BigEndian.Uint16(second[2:]), binary.BigEndian.Uint32(second[8:])
	if err := job.link.Send(relayproto.RTCP(flow), feedback.AppendNACK(nil, 9, ssrc, []uint16{seq})); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the packet again", func() bool { return len(relay.came(flow)) == 4 })
	if again := relay.came(flow)[3]; !slices.Equal(again, second) {
		t.Errorf("% x came instead of % x", again, second)
	}
	asked := track.encoding.Stats().KeyFramesRequested
	if err := job.link.Send(relayproto.RTCP(flow), feedback.AppendPLI(nil, 9, ssrc)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the wish for a key frame", func() bool { // which has its pace, and goes out with what comes
		r.media.send(t, track)
		return track.encoding.Stats().KeyFramesRequested > asked
	})
}

// TestOutputsAreRepaired: what is lost of an output is asked for, and key frames for new subscribers; and the relay is told how it arrives.
func TestOutputsAreRepaired(t *testing.T) {
	r := newRig(t, 1)
	m := r.mixer(nil)
	m.Update(r.mixOf("alice"))
	v := view(t, r.Jobs, r.media, mixed(conference.Video))
	v.gets(5)
	relay := r.relays[0]
	job, o := relay.wait("the output", outputs(1))
	flow := o.Outputs[0].Flow
	relay.mu.Lock()
	job.seqs[flow] += 2 // two are lost
	relay.mu.Unlock()
	waitFor(t, "a NACK", func() bool {
		return relay.controls(flow, func(p feedback.Packet) bool {
			media, _ := p.Media()
			return p.Type == feedback.TypeTransport && p.Format == feedback.FormatNACK && media == uint32(flow)
		}) > 0
	})
	_, e := v.feeds()
	e.RequestKeyFrame(r.media.Now())
	waitFor(t, "a PLI", func() bool {
		return relay.controls(flow, func(p feedback.Packet) bool { return p.WantsKeyFrame(uint32(flow)) }) > 0
	})
	waitFor(t, "a receiver report", func() bool {
		return relay.controls(flow, func(p feedback.Packet) bool { return p.Type == feedback.TypeReceiverReport }) > 0
	})
}

// TestCeiling: the encoder follows the lowest of the subscribers' networks, but not below a half of the highest.
func TestCeiling(t *testing.T) {
	r := newRig(t, 1)
	m := r.mixer(nil)
	m.Update(r.mixOf("alice"))
	a, b := view(t, r.Jobs, r.media, mixed(conference.Video)), view(t, r.Jobs, r.media, mixed(conference.Video))
	a.gets(1)
	b.gets(1)
	ceiling := func(kbps int) {
		t.Helper()
		r.relays[0].wait(fmt.Sprint(kbps, " kbit/s"), func(o *relayproto.Order) bool { return len(o.Outputs) == 1 && o.Outputs[0].Ceiling == kbps })
	}
	a.SetCeiling(1000)
	ceiling(1000)
	b.SetCeiling(700)
	ceiling(700)
	b.SetCeiling(100)
	ceiling(500)
	a.SetCeiling(1060) // too small a change to be told
	a.SetCeiling(1400)
	ceiling(700)
	b.end()
	ceiling(1400)
}

// TestLoudest is known of views that want to, also where nobody looks.
func TestLoudest(t *testing.T) {
	r := newRig(t, 1)
	var mu sync.Mutex
	var told []string
	m := r.mixer(func(stream string) { mu.Lock(); told = append(told, stream); mu.Unlock() })
	m.Update(r.mixOf("alice", "bob"))
	job, o := r.relays[0].wait("the sound", func(o *relayproto.Order) bool {
		return len(o.Inputs) == 2 && o.Inputs[1].Audio != nil && o.Inputs[1].Video == nil
	})
	if !o.View.VAD || len(o.Outputs) != 0 {
		t.Errorf("%+v", o)
	}
	for _, s := range []string{"S-alice", "S-alice", "S-bob", ""} {
		job.say(relayproto.Message{Report: &relayproto.Report{Revision: o.Revision, Active: s}})
	}
	waitFor(t, "the loudest", func() bool { mu.Lock(); defer mu.Unlock(); return len(told) == 2 })
	if !slices.Equal(told, []string{"S-alice", "S-bob"}) {
		t.Error(told)
	}
	m.Update(room.Mix{})
	waitFor(t, "the job's end", func() bool { return len(r.relays[0].present()) == 0 })
}

// TestLoudestAfterAReset: when regions were set, whoever is the loudest is told again, though it be the same; not what a relay says that
// does not know of it yet.
func TestLoudestAfterAReset(t *testing.T) {
	r := newRig(t, 1)
	told := make(chan string, 10)
	m := r.mixer(func(stream string) { told <- stream })
	mix := r.mixOf("alice", "bob")
	m.Update(mix)
	ordered := func(resets uint64) func(o *relayproto.Order) bool {
		return func(o *relayproto.Order) bool {
			return len(o.Inputs) == 2 && o.Inputs[1].Audio != nil && o.Resets == resets
		}
	}
	say := func(job *fakeJob, revision uint64, active string) {
		job.say(relayproto.Message{Report: &relayproto.Report{Revision: revision, Active: active}})
	}
	job, before := r.relays[0].wait("the sound", ordered(0))
	say(job, before.Revision, "S-alice")
	if got := <-told; got != "S-alice" {
		t.Errorf("told %s", got)
	}
	for i := range 2 {
		mix.Resets++
		m.Update(mix)
		_, o := r.relays[0].wait("the reset", ordered(uint64(i)+1))
		say(job, before.Revision, "S-bob") // from before
		say(job, o.Revision, "")
		say(job, o.Revision, "S-alice")
		say(job, o.Revision, "S-alice")
		if got := <-told; got != "S-alice" {
			t.Errorf("after a reset: told %s", got)
		}
		before = o
	}
	say(job, before.Revision, "S-bob")
	if got := <-told; got != "S-bob" {
		t.Errorf("told %s", got)
	}
}

// TestTapsFitTheirRegions: a picture is taken as large as its region is, and not at all where it is not shown.
func TestTapsFitTheirRegions(t *testing.T) {
	r := newRig(t, 1)
	m := r.mixer(nil)
	mix := r.mixOf("alice", "bob")
	m.Update(mix)
	view(t, r.Jobs, r.media, mixed(conference.Video)).gets(1)
	shown := func(owner string, want conference.Resolution, active bool) {
		t.Helper()
		waitFor(t, owner+"'s picture", func() bool {
			taps := r.media.tapped("S-" + owner + "-v")
			if len(taps) != 1 {
				return false
			}
			size, is := taps[0].state()
			return size == want && is == active
		})
	}
	shown("alice", conference.Resolution{Width: 320, Height: 240}, true)
	alone := r.mixOf("alice")
	mix.Scene = alone.Scene
	mix.Inputs = slices.Clone(mix.Inputs)
	mix.Inputs[0].VideoMuted = true
	m.Update(mix)
	shown("alice", conference.Resolution{Width: 640, Height: 480}, true)
	shown("bob", conference.Resolution{}, false)
	_, o := r.relays[0].wait("alice's avatar", func(o *relayproto.Order) bool {
		return len(o.Inputs) == 2 && o.Inputs[0].Video != nil && o.Inputs[0].Video.Muted
	})
	if string(o.Scene) != alone.Scene.Value().String() {
		t.Errorf("%s", o.Scene)
	}
	m.Update(alone)
	r.relays[0].wait("bob's end", func(o *relayproto.Order) bool { return len(o.Inputs) == 1 })
	if n := len(r.media.tapped("S-bob-v")); n != 0 {
		t.Errorf("%d taps of one that is not in the mix", n)
	}
}

// TestClosing leaves nothing, in whichever order.
func TestClosing(t *testing.T) {
	r := newRig(t, 1)
	m := r.mixer(nil)
	m.Update(r.mixOf("alice"))
	v := view(t, r.Jobs, r.media, mixed(conference.Video))
	v.gets(1)
	m.Close()
	m.Close()
	waitFor(t, "the job's end", func() bool { return len(r.relays[0].present()) == 0 })
	r.media.mu.Lock()
	if len(r.media.feeds) != 0 || len(r.media.taps) != 0 {
		t.Error("feeds or taps are left")
	}
	r.media.mu.Unlock()
	v.Close()
	r.Jobs.Close()
	r.Jobs.Close()
	if m := r.mixer(nil); m.Ready() == nil {
		t.Error("a mixer of jobs that are closed is ready")
	}
	r.Open(withFeed(mixed(conference.Video))).Close()
}

// TestOutputThatNoRelayMakes does not cost the others theirs: the job goes on without it.
func TestOutputThatNoRelayMakes(t *testing.T) {
	r := newRig(t, 2)
	for _, relay := range r.relays {
		relay.mu.Lock()
		relay.cannot = "av1"
		relay.mu.Unlock()
	}
	m := r.mixer(nil)
	m.Update(r.mixOf("alice"))
	v := view(t, r.Jobs, r.media, mixed(conference.Video))
	v.gets(5)
	c := mixed(conference.Video)
	c.Format = conference.Format{Codec: "av1"}
	told := func(v *viewer) func() bool {
		return func() bool { v.mu.Lock(); defer v.mu.Unlock(); return len(v.troubles) > 0 }
	}
	bad := view(t, r.Jobs, r.media, c)
	waitFor(t, "word of it", told(bad))
	waitFor(t, "the others' media", func() bool { n, _ := v.feeds(); return n > 1 })
	v.gets(5)
	v.unbroken()
	if told(v)() || m.Ready() != nil {
		t.Error("the others are told")
	}
	n := r.Stats().Refusals
	again := view(t, r.Jobs, r.media, c) // it is not asked for again
	waitFor(t, "word of it", told(again))
	bad.end()
	again.end()
	v.gets(5)
	if got := r.Stats().Refusals; n != 2 || got != 2 {
		t.Errorf("%d refusals, then %d", n, got)
	}
	view(t, r.Jobs, r.media, c)
	v.gets(5)
	if got := r.Stats().Refusals; got != 2 {
		t.Errorf("%d refusals at the next attempt", got)
	}
}

// TestOutputsTrouble: what a relay says of an output goes to those who have it.
func TestOutputsTrouble(t *testing.T) {
	r := newRig(t, 1)
	m := r.mixer(nil)
	m.Update(r.mixOf("alice"))
	v := view(t, r.Jobs, r.media, mixed(conference.Video))
	job, o := r.relays[0].wait("the output", outputs(1))
	for _, why := range []string{"slow", "slow", "", "slow"} {
		job.say(relayproto.Message{Report: &relayproto.Report{Revision: o.Revision, Outputs: []relayproto.OutputReport{{ID: o.Outputs[0].ID, Trouble: why}}}})
	}
	waitFor(t, "word of it", func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return slices.Equal(v.troubles, []string{"slow", "slow"})
	})
}
