package jobs

import (
	"slices"
	"testing"
	"time"

	"portico/edge/room"
	"portico/edge/rtc"
	"portico/shared/conference"
	"portico/shared/relayproto"
)

// crash has a job's process die.
func (j *fakeJob) crash(suspects ...relayproto.Suspect) {
	j.say(relayproto.Message{Refusal: &relayproto.Refusal{Reason: relayproto.Crashed, Suspects: suspects}})
	j.call.Close()
}

// tracks is how many of an order's inputs have sound and pictures that are mixed; stream's are told apart.
func tracks(o *relayproto.Order, stream string) (audio, video bool, others int) {
	for _, in := range o.Inputs {
		a, v := in.Audio != nil && !in.Audio.Muted, in.Video != nil && !in.Video.Muted
		switch {
		case in.ID == stream:
			audio, video = a, v
		case a && v:
			others += 2
		case a || v:
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
		avatar := o.Inputs[0].Video
		if avatar == nil || avatar.Format != vp8 || avatar.Flow == 0 || len(r.relays[0].came(avatar.Flow)) > 0 {
			t.Errorf("in their place is %+v", avatar)
		}
		got := r.Troubles(t.Context(), "R", "S-alice")
		if len(got) != 1 || got[0].View != "common" || got[0].Kind != conference.Video || got[0].Why != crashes ||
			got[0].Since.Before(began) || got[0].Until.Sub(got[0].Since) != out {
			t.Errorf("alice's stream is told of as %+v", got)
		}
		pictures.gets(5)
		sound.gets(5)
		back, o := r.relays[0].wait("alice's pictures", orderOf("S-alice", true, true, 4))
		if o.Inputs[0].Video.Flow == avatar.Flow {
			t.Error("they come by the flow that stood for them")
		}
		if took := time.Since(began); back != next || took < out {
			t.Errorf("they are back after %v; another job: %v", took, back != next)
		}
		out *= 2
	}
	pictures.unbroken()
	sound.unbroken()
	for _, x := range [][2]string{{"R", "S-alice"}, {"R", "S-bob"}, {"other", "S-alice"}} {
		if got := r.Troubles(t.Context(), x[0], x[1]); got != nil {
			t.Errorf("%s in room %s: %+v", x[1], x[0], got)
		}
	}
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
	r.mu.Lock()
	x := r.mixes[room.MixedTrack("M", conference.Video)]
	r.mu.Unlock()
	var again []byte
	err := x.loop.Do(t.Context(), func() {
		x.run.take()
		again = x.run.order()
	})
	if err != nil || again != nil {
		t.Errorf("the same is ordered twice: %v, %s", err, again)
	}
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

// TestTroubles: what a relay says of an input is told, and since when; also when the words change.
func TestTroubles(t *testing.T) {
	r := newRig(t, 1)
	m := r.mixer(nil)
	m.Update(r.mixOf("alice", "bob"))
	view(t, r.Jobs, r.media, mixed(conference.Video))
	job, o := r.relays[0].wait("the job", outputs(1))
	report := func(why string) {
		inputs := []relayproto.InputReport{{ID: "S-alice", Trouble: why}, {ID: "S-bob"}}
		job.say(relayproto.Message{Report: &relayproto.Report{Revision: o.Revision, Inputs: inputs}})
	}
	var since time.Time
	for _, why := range []string{"this", "that"} {
		report(why)
		waitFor(t, why, func() bool {
			got := r.Troubles(t.Context(), "R", "S-alice")
			if len(got) != 1 || got[0].Why != why {
				return false
			}
			if want := (Trouble{View: "common", Why: why, Since: got[0].Since}); got[0] != want || !since.IsZero() && got[0].Since != since {
				t.Errorf("%+v, want %+v since %v", got[0], want, since)
			}
			since = got[0].Since
			return true
		})
	}
	if got := r.Troubles(t.Context(), "R", "S-bob"); got != nil {
		t.Errorf("bob's: %+v", got)
	}
	report("")
	waitFor(t, "its end", func() bool { return r.Troubles(t.Context(), "R", "S-alice") == nil })
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
