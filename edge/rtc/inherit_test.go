package rtc

import (
	"errors"
	"slices"
	"testing"

	"portico/shared/conference"
)

// TestRemoteSourceMoves: who publishes is on another edge all of a sudden; the subscriptions go on without a gap in their numbers.
func TestRemoteSourceMoves(t *testing.T) {
	first, second, far := newEngine(t, nil), newEngine(t, nil), newEngine(t, nil)
	alice, again := newSource(t, first, "alice"), newSource(t, second, "again")
	alice.start()
	again.start()
	x := relay(t, first, far, "alice-pub", tracksAt(first, "alice-pub"))
	bob := newClient(t, far, "bob")
	sound, picture := both(bob, "sub", "alice-pub-0", "alice-pub-1")
	bob.read(sound.track)
	bob.read(picture.track)
	// The new source has other ids. What comes from the old one goes on until it comes.
	tracks := tracksAt(second, "again-pub")
	y := &relayed{
		t: t, from: second, to: far, taps: make(map[string]*Tap), pulls: make(map[string]int), ended: make(chan string, 100), remote: x.remote,
	}
	t.Cleanup(func() {
		y.mu.Lock()
		y.closed = true
		y.mu.Unlock()
		y.cut()
	})
	x.remote.spec.Wanted = func(track string, on bool) {
		if slices.ContainsFunc(tracks, func(new conference.Track) bool { return new.ID == track }) {
			y.wanted(track, on)
		} else {
			x.wanted(track, on)
		}
	}
	if err := x.remote.Update(remoteTracks(tracks)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the new source is pulled, and the old one let go", func() bool { return len(y.pulled()) == 2 && len(x.pulled()) == 0 })
	last := bob.read(picture.track)
	for range 30 {
		p := bob.read(picture.track)
		if p.SequenceNumber != last.SequenceNumber+1 {
			t.Fatalf("%d after %d", p.SequenceNumber, last.SequenceNumber)
		}
		last = p
		bob.read(sound.track)
	}
	if err := bob.trySubscribe("old", SubTrack{Kind: conference.Video, Mid: "7", From: "alice-pub-1"}); !errors.Is(err, ErrNoSuchTrack) {
		t.Error(err)
	}
	bob.quiet()
}

// TestTakeOver: a publication comes to an edge where it was another's, and goes away again. Its subscriptions and taps stay.
func TestTakeOver(t *testing.T) {
	origin, far := newEngine(t, nil), newEngine(t, nil)
	alice := newSource(t, origin, "alice")
	alice.start()
	x := relay(t, origin, far, "alice-pub", tracksAt(origin, "alice-pub"))
	bob := newClient(t, far, "bob")
	sound, picture := both(bob, "sub", "alice-pub-0", "alice-pub-1")
	tap, got, ended := tapOf(t, far, conference.Resolution{}, "alice-pub-1")
	defer tap.Close()
	bob.read(sound.track)
	bob.read(picture.track)

	moved := newClient(t, far, "alice")
	there := newSourceOf(moved) // the same ids
	x.remote.Close()
	if len(x.pulled()) != 2 {
		t.Errorf("pulled: %v", x.pulled())
	}
	there.start()
	waitFor(t, "the old one is let go", func() bool { return len(x.pulled()) == 0 })
	flows := func(what string) {
		t.Helper()
		last, lastSound, n := bob.read(picture.track), bob.read(sound.track), len(got.all())
		for range 30 {
			p, q := bob.read(picture.track), bob.read(sound.track)
			if p.SequenceNumber != last.SequenceNumber+1 || q.SequenceNumber != lastSound.SequenceNumber+1 {
				t.Fatalf("%s: %d after %d, %d after %d", what, p.SequenceNumber, last.SequenceNumber, q.SequenceNumber, lastSound.SequenceNumber)
			}
			last, lastSound = p, q
		}
		waitFor(t, "the tap", func() bool { return len(got.all()) > n+10 })
	}
	flows("here")

	back := relay(t, origin, far, "alice-pub", tracksAt(origin, "alice-pub"))
	waitFor(t, "it is pulled again", func() bool { return len(back.pulled()) == 2 })
	waitFor(t, "nobody has the one here", func() bool {
		far.mu.Lock()
		defer far.mu.Unlock()
		n := 0
		for _, p := range far.sessions["alice-pub"].published() {
			n += len(p.subscribers) + len(p.taps)
		}
		return n == 0
	})
	flows("there")
	far.Stop("alice-pub")
	flows("after its end")
	select {
	case <-ended:
		t.Error("the tap has ended")
	default:
	}
	bob.quiet()
	far.mu.Lock()
	if len(far.heirs) != 0 {
		t.Errorf("%d heirs wait", len(far.heirs))
	}
	far.mu.Unlock()
}

// TestTakeOverInAnotherCodec: who cannot go on loses the source, and is told.
func TestTakeOverInAnotherCodec(t *testing.T) {
	far := newEngine(t, nil)
	pub := newSource(t, far, "alice")
	pub.start()
	bob := watch(t, far, "bob", "alice-pub-1")
	tracks := tracksAt(far, "alice-pub")
	tracks[1].Format = conference.Format{Codec: "h264", Profile: "CB"}
	x := relay(t, far, far, "alice-pub", tracks[:1])
	x.remote.Close()
	x.open("alice-pub", tracks)
	defer x.remote.Close()
	x.delay = make(chan struct{})
	defer close(x.delay)
	far.Stop("alice-pub") // its heir has not come
	if e := bob.next("session failed"); e.text != ReasonSourceLoss {
		t.Errorf("%v", e)
	}
}

// TestRemoteLinkLost: the subscriptions stay while nothing comes, and go on with what comes anew.
func TestRemoteLinkLost(t *testing.T) {
	origin, far := newEngine(t, nil), newEngine(t, nil)
	alice := newSource(t, origin, "alice")
	alice.start()
	x := relay(t, origin, far, "alice-pub", tracksAt(origin, "alice-pub"))
	bob := newClient(t, far, "bob")
	sound, picture := both(bob, "sub", "alice-pub-0", "alice-pub-1")
	bob.read(sound.track)
	bob.read(picture.track)
	x.cut()
	stats := far.Stats()
	x.pull("alice-pub-0")
	x.pull("alice-pub-1")
	waitFor(t, "packets", func() bool { return far.Stats().PacketsOut > stats.PacketsOut+100 })
	last, lastSound := bob.read(picture.track), bob.read(sound.track)
	for range 60 {
		p, q := bob.read(picture.track), bob.read(sound.track)
		if p.SequenceNumber != last.SequenceNumber+1 || q.SequenceNumber != lastSound.SequenceNumber+1 {
			t.Fatalf("%d after %d, %d after %d", p.SequenceNumber, last.SequenceNumber, q.SequenceNumber, lastSound.SequenceNumber)
		}
		last, lastSound = p, q
	}
	bob.quiet()
}

// TestTakeOverWithoutKeyFrame: the heir's first key frame got lost before it came here. Nobody is fed by it who could ask for another.
func TestTakeOverWithoutKeyFrame(t *testing.T) {
	origin, far := newEngine(t, nil), newEngine(t, nil)
	alice := newSource(t, origin, "alice")
	alice.start()
	relay(t, origin, far, "alice-pub", tracksAt(origin, "alice-pub"))
	bob := watch(t, far, "bob", "alice-pub-1")
	bob.arrived()
	there := newSourceOf(newClient(t, far, "alice"))
	waitFor(t, "a key frame is asked for", func() bool {
		there.frame(interFrame)
		return there.reports(isPLI) > 0
	})
	if n := there.reports(isPLI); n > 2 {
		t.Errorf("%d times", n)
	}
}
