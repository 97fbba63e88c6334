package jobs

import (
	"slices"
	"testing"
	"time"

	"portico/edge/rtc"
	"portico/shared/conference"
	"portico/shared/relayproto"
)

// crash has a job's process die.
func (j *fakeJob) crash(suspects ...relayproto.Suspect) {
	j.say(relayproto.Message{Refusal: &relayproto.Refusal{Reason: relayproto.Crashed, Suspects: suspects}})
	j.call.Close()
}

// tracks is how many of an order's inputs have sound and pictures; stream's are told apart.
func tracks(o *relayproto.Order, stream string) (audio, video bool, others int) {
	for _, in := range o.Inputs {
		switch {
		case in.ID == stream:
			audio, video = in.Audio != nil, in.Video != nil
		case in.Audio != nil && in.Video != nil:
			others += 2
		case in.Audio != nil || in.Video != nil:
			others++
		}
	}
	return audio, video, others
}

// orderOf fits orders with two outputs in which a stream has these tracks, and all others together so many.
func orderOf(stream string, audio, video bool, others int) func(*relayproto.Order) bool {
	return func(o *relayproto.Order) bool {
		a, v, n := tracks(o, stream)
		return len(o.Outputs) == 2 && a == audio && v == video && n == others
	}
}

// TestMediaThatCrashTheDecoder are left out for a while, and they alone.
func TestMediaThatCrashTheDecoder(t *testing.T) {
	r := newRig(t, 1)
	r.leastOut = 2 * time.Second
	m := r.mixer(nil)
	m.Update(r.mixOf("alice", "bob", "carol"))
	pictures, sound := view(t, r.Jobs, r.media, mixed(conference.Video)), view(t, r.Jobs, r.media, mixed(conference.Audio))
	out := r.leastOut
	for range 2 {
		job, before := r.relays[0].wait("the job", orderOf("S-alice", true, true, 4))
		began := time.Now()
		job.crash(relayproto.Suspect{Input: "S-alice", Kind: conference.Video}, relayproto.Suspect{Input: "nobody", Kind: conference.Video})
		next, o := r.relays[0].wait("another without alice's pictures", orderOf("S-alice", true, false, 4))
		if next == job || o.Job == before.Job || len(o.Inputs) != 3 {
			t.Errorf("%+v after %+v", o, before)
		}
		pictures.gets(5)
		sound.gets(5)
		back, o := r.relays[0].wait("alice's pictures", orderOf("S-alice", true, true, 4))
		if took := time.Since(began); back != next || took < out {
			t.Errorf("they are back after %v; another job: %v", took, back != next)
		}
		out *= 2
	}
	pictures.unbroken()
	sound.unbroken()
	if m.Ready() != nil {
		t.Error(m.Ready())
	}
}

// TestCrashesThatAreExplainedCostNoPause: however many send such media one after the other.
func TestCrashesThatAreExplainedCostNoPause(t *testing.T) {
	r := newRig(t, 1)
	owners := []string{"a", "b", "c", "d", "e", "f"}
	m := r.mixer(nil)
	m.Update(r.mixOf(owners...))
	view(t, r.Jobs, r.media, mixed(conference.Video))
	view(t, r.Jobs, r.media, mixed(conference.Audio))
	began := time.Now()
	for i, owner := range owners[1:] {
		stream, others := "S-"+owner, 2*len(owners)-2-i
		job, _ := r.relays[0].wait("the job", orderOf(stream, true, true, others))
		job.crash(relayproto.Suspect{Input: stream, Kind: conference.Audio})
		r.relays[0].wait("another", orderOf(stream, false, true, others))
	}
	pauses := time.Duration(0)
	for i := range len(owners) - 1 {
		pauses += leastPause << i
	}
	if took := time.Since(began); took > pauses {
		t.Errorf("%d crashes took %v", len(owners)-1, took)
	}
}

// TestOtherTracksAreNotBlamed: what takes the place of a track that was left out is a new one.
func TestOtherTracksAreNotBlamed(t *testing.T) {
	r := newRig(t, 1)
	m := r.mixer(nil)
	mix := r.mixOf("alice", "bob")
	m.Update(mix)
	view(t, r.Jobs, r.media, mixed(conference.Video))
	view(t, r.Jobs, r.media, mixed(conference.Audio))
	job, _ := r.relays[0].wait("the job", orderOf("S-alice", true, true, 2))
	job.crash(relayproto.Suspect{Input: "S-alice", Kind: conference.Video})
	r.relays[0].wait("another without alice's pictures", orderOf("S-alice", true, false, 2))
	r.media.publish("V2", conference.Video, vp8)
	mix.Inputs = slices.Clone(mix.Inputs)
	mix.Inputs[0].Videos = []string{"V2"}
	m.Update(mix)
	job, _ = r.relays[0].wait("alice's new pictures", orderOf("S-alice", true, true, 2))
	// A relay that names what it was not sent is not believed: the job begins again as it was.
	job.crash(relayproto.Suspect{Input: "S-carol", Kind: conference.Video})
	waitFor(t, "that job's end", func() bool { return !slices.Contains(r.relays[0].present(), job) })
	r.relays[0].wait("all of it", orderOf("S-alice", true, true, 2))
}

// TestTranscodingOfWhatCrashes: those who wait are told, also if they come later.
func TestTranscodingOfWhatCrashes(t *testing.T) {
	r := newRig(t, 1)
	r.media.publish("T", conference.Video, vp8)
	wish := rtc.Conversion{Track: "T", Kind: conference.Video, Format: vp8, Framerate: 15}
	v := view(t, r.Jobs, r.media, wish)
	job, _ := r.relays[0].wait("the job", func(o *relayproto.Order) bool { return len(o.Inputs) == 1 })
	job.crash(relayproto.Suspect{Input: "T", Kind: conference.Video})
	r.relays[0].wait("another", func(o *relayproto.Order) bool { return len(o.Inputs) == 0 && len(o.Outputs) == 1 })
	for _, v := range []*viewer{v, view(t, r.Jobs, r.media, wish)} {
		waitFor(t, "word of it", func() bool {
			v.mu.Lock()
			defer v.mu.Unlock()
			return slices.Contains(v.troubles, crashes)
		})
	}
}

func TestCulprits(t *testing.T) {
	c := make(culprits)
	k, other := inputKey{"S", conference.Video}, inputKey{"S", conference.Audio}
	tracks, now := []string{"h", "l"}, time.Unix(1000, 0)
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, mostOut, mostOut} {
		c.blame(k, tracks, 0, leastOut, now)
		if !c.out(k, tracks, now.Add(want-1)) || c.out(k, tracks, now.Add(want)) {
			t.Errorf("it is out until %v, want %v", c[k].until.Sub(now), want)
		}
		if c.out(other, tracks, now) {
			t.Error("and so is another")
		}
		now = now.Add(want)
		c.forget(func(inputKey) []string { return []string{"l", "h"} }, now.Add(mostOut)) // the order may change
	}
	if c.out(k, []string{"h"}, now.Add(-1)) {
		t.Error("other tracks are out")
	}
	c.blame(other, []string{"a"}, 1, leastOut, now)
	if !c.out(other, []string{"a"}, now.Add(leastOut+apart-1)) || c.out(other, []string{"a"}, now.Add(leastOut+apart)) {
		t.Error("two come back at once")
	}
	c.blame(k, []string{"new"}, 0, leastOut, now)
	if !c.out(k, []string{"new"}, now) || c.out(k, []string{"new"}, now.Add(leastOut)) {
		t.Error("what the track before has done is not forgotten")
	}
	c.forget(func(k inputKey) []string {
		if k == other {
			return nil
		}
		return []string{"new"}
	}, now)
	if c[other] != nil || c[k] == nil {
		t.Errorf("%+v is remembered", c)
	}
	if c.forget(func(inputKey) []string { return []string{"new"} }, now.Add(leastOut+mostOut+1)); len(c) != 0 {
		t.Error("it is held against one for ever")
	}
}
