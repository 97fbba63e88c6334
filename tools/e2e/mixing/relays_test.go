//go:build linux

package mixing

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"portico/shared/client"
	"portico/shared/conference"
)

// within is how long a mix may be away when what made it has died (from when there is a relay for it).
const within = 3 * time.Second

// call has two people publish into the mix and a third watch it.
func call(s *system) *viewer {
	s.t.Helper()
	ann, bob := s.join("Ann"), s.join("Bob")
	ann.show(red)
	bob.show(green)
	v := s.join("Cid").watch()
	v.people = []*seat{ann, bob, v.seat}
	v.playing()
	v.sees(red, green)
	return v
}

// underway is how long after what made a mix has died something of it may still come.
const underway = 100 * time.Millisecond

// goesOn checks that the mix, of which nothing of before comes after cut, is back in time, which counts from back, and shows these people:
// a key frame, sound, and nobody was told that a subscription is over.
func (v *viewer) goesOn(cut, back time.Time, what string, people ...person) {
	t := v.seat.t
	t.Helper()
	if !v.until(patience, func() bool { return v.keyAfter(cut) != nil && !v.soundAfter(cut).IsZero() }) {
		t.Fatalf("%s: the mix does not come back\n%s", what, v.seat.edge.Tail())
	}
	v.mu.Lock()
	picture, sound := v.keyAfter(cut).at.Sub(back), v.soundAfter(cut).Sub(back)
	v.mu.Unlock()
	t.Logf("%s: a key frame after %v, sound after %v", what, picture.Round(time.Millisecond), sound.Round(time.Millisecond))
	if picture > within || sound > within {
		t.Errorf("%s: the mix is not back within %v", what, within)
	}
	v.sees(people...)
	if lost := v.seat.interrupted(); len(lost) > 0 || v.Ended() {
		t.Errorf("%s: the subscription has ended: %q", what, lost)
	}
	v.continuous()
}

// gone checks that processes end when the one does that started them.
func (s *system) gone(pids []int) {
	s.t.Helper()
	s.until("the jobs' processes are gone", func() bool {
		for _, pid := range pids {
			if alive(pid) {
				return false
			}
		}
		return true
	})
}

// A relay, or a job alone, dies while a mix is watched.
func TestDeath(t *testing.T) {
	s := start(t, options{})
	v := call(s)
	r := s.relays[0]

	jobs := children(r.PID())
	if len(jobs) != 1 {
		t.Fatalf("the relay has processes %v, not the job's alone", jobs)
	}
	mark, from := r.Mark(), time.Now()
	if err := syscall.Kill(jobs[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	v.goesOn(from.Add(underway), from, "the job's process is killed", red, green)
	r.await(mark, "job crashed", "killed")

	jobs = children(r.PID())
	r.Kill()
	s.gone(jobs)
	from = time.Now()
	r.up()
	v.goesOn(from.Add(underway), time.Now(), "the relay is killed and started again", red, green)
}

// Of two relays the one that has the job dies: the other one takes it.
func TestAnotherRelay(t *testing.T) {
	s := start(t, options{relays: [][]string{nil, nil}})
	v := call(s)
	first := s.worker()
	jobs, from := children(first.PID()), time.Now()
	first.Kill()
	v.goesOn(from.Add(underway), from, "one of two relays is killed", red, green)
	s.gone(jobs)
	if s.worker() == first {
		t.Error("a dead relay has the job")
	}
}

// A relay that is full sends the job to another one; where there is none, those who are there keep what they have.
func TestFull(t *testing.T) {
	s := start(t, options{relays: [][]string{{"-mixing.jobs", "1"}, {"-mixing.jobs", "1"}}})
	v := call(s)
	s.room = s.newRoom()
	v2 := call(s)
	for _, r := range s.relays {
		if n := len(children(r.PID())); n != 1 {
			t.Errorf("%d jobs on a relay that takes one", n)
		}
	}
	from, mark := time.Now(), s.edge.Mark()
	s.room = s.newRoom()
	ann := s.join("Ann")
	ann.show(red)
	s.join("Bob").show(green)
	third, err := s.join("Cid").subscribe(ann.mixed(), "vp8") // while that is not known yet, it waits for a place
	if err == nil {
		s.hear(s.edge, mark, "job does not run", "full")
		_, err = s.join("Dan").subscribe(ann.mixed(), "vp8")
	}
	var refused *client.ServerError
	if !errors.As(err, &refused) || refused.Text != "Audio mixer is NOT ready." {
		t.Errorf("a third room: %v", err)
	}
	for _, other := range []*viewer{v, v2} {
		if video, audio := other.gaps(from, time.Now()); video > time.Second || audio > time.Second {
			t.Errorf("a mix stood still for %v and its sound for %v while another found no place", video, audio)
		}
	}
	for _, p := range v2.people {
		p.leave()
	}
	if third != nil {
		third.playing()
		third.sees(red, green)
	}
}

// Without a relay rooms work, but for the mixed stream; what was to be mixed is when one comes.
func TestNoRelay(t *testing.T) {
	s := begin(t, options{})
	ann, cid := s.join("Ann"), s.join("Cid")
	published := ann.show(red)
	s.join("Bob").show(green)
	if _, err := ann.c.Region(ann.ctx, published.ID(), view); err != nil {
		t.Errorf("the mix is not known without a relay: %v", err)
	}
	forwarded, err := cid.subscribe(published.ID(), "vp8")
	if err != nil {
		t.Fatal(err)
	}
	forwarded.playing()

	var refused *client.ServerError
	_, err = cid.c.Subscribe(cid.ctx, client.SubscribeOptions{Video: &client.SubscribeTrack{From: cid.mixed()}})
	if !errors.As(err, &refused) || refused.Text != "Video mixer is NOT ready." {
		t.Errorf("video: %v", err)
	}
	_, err = cid.c.Subscribe(cid.ctx, client.SubscribeOptions{Audio: &client.SubscribeTrack{From: cid.mixed()}})
	if !errors.As(err, &refused) || refused.Text != "Audio mixer is NOT ready." {
		t.Errorf("audio: %v", err)
	}
	for _, stream := range cid.c.Info().Streams {
		if stream.Type == conference.Mixed && !stream.Has(conference.Video) {
			t.Error("the mixed stream has no video")
		}
	}

	s.relays[0].up()
	s.connected(1)
	v := cid.watch()
	v.playing()
	v.sees(red, green)
}
