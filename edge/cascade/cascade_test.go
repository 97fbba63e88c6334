package cascade

import (
	"bytes"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"portico/shared/relayproto"
)

// TestOneHop: what is published on one edge is subscribed to on another, once over the link however many have it, from a key frame on.
func TestOneHop(t *testing.T) {
	x := newCluster(t, 2, nil)
	a, b := x.edges[0], x.edges[1]
	alice := publish(a, "alice", "alice-pub", 1)
	alice.remote(b, "alice-pub")
	if len(b.pulls()) != 0 {
		t.Error("pulled though nobody wants it")
	}
	bob := watch(b, "bob", "sub-bob", alice)
	bob.sound.gets(t, "sound", 1)
	bob.picture.gets(t, "a picture", 1)
	carol := watch(b, "carol", "sub-carol", alice)
	carol.picture.gets(t, "a picture of carol's", 1)
	for _, v := range []*viewer{bob, carol} {
		v.picture.mu.Lock()
		if !bytes.Equal(v.picture.first[:100], keyFrame[:100]) {
			t.Errorf("the first picture of %s is no key frame", v.name)
		}
		v.picture.mu.Unlock()
	}
	want := map[string]string{alice.tracks[0].ID: a.name, alice.tracks[1].ID: a.name}
	if got := b.pulls(); !maps.Equal(got, want) || a.serves(b) != 2 {
		t.Errorf("pulled %v, %d served", got, a.serves(b))
	}
	media := 0
	for _, s := range b.peers.Stats() {
		for id, f := range s.Flows {
			if _, rtcp := relayproto.Flow(id); !rtcp && f.Packets > 0 {
				media++
			}
		}
	}
	if media != 2 {
		t.Errorf("%d flows on the link", media)
	}
	b.engine.Stop("sub-bob")
	b.engine.Stop("sub-carol")
	waitFor(t, "all is let go", func() bool { return len(b.pulls()) == 0 && a.serves(b) == 0 })
}

// TestLinkLoss: what gets lost on the link is asked for there.
func TestLinkLoss(t *testing.T) {
	x := newCluster(t, 2, nil)
	a, b := x.edges[0], x.edges[1]
	alice := publish(a, "alice", "alice-pub", 1)
	alice.remote(b, "alice-pub")
	lost := make(map[uint16]bool)
	x.mu.Lock()
	x.lose = func(from, _ string, id uint64, packet []byte) bool {
		_, rtcp := relayproto.Flow(id)
		number := uint16(packet[2])<<8 | uint16(packet[3])
		if rtcp || from != a.name || number%8 != 3 || lost[number] {
			return false
		}
		lost[number] = true
		return true
	}
	x.mu.Unlock()
	bob := watch(b, "bob", "sub-bob", alice)
	waitFor(t, "300 pictures", func() bool { n, _, _ := bob.picture.seen(); return n > 300 })
	waitFor(t, "none is missing", func() bool { _, _, gaps := bob.picture.seen(); return gaps <= 1 })
	var requested, resent uint64
	for _, s := range b.Stats(t.Context()) {
		requested += s.Requested
	}
	for _, s := range a.Stats(t.Context()) {
		resent += s.Resent
	}
	if requested < 20 || resent < 20 || a.engine.Stats().PacketsRequested != 0 {
		t.Errorf("%d requested, %d resent, %d of the publisher", requested, resent, a.engine.Stats().PacketsRequested)
	}
}

// TestTwoHops: an edge that has a stream from another one sends it on, and gets it from the origin itself.
func TestTwoHops(t *testing.T) {
	var names [3]string
	x := newCluster(t, 3, func(o *Options) {
		o.Parent = func(_, stream, origin string) string {
			switch o.Links.Self() {
			case names[2]:
				return names[1]
			case names[1]:
				return names[2] // each other's, as of two that know different rooms
			}
			return ""
		}
	})
	for i, e := range x.edges {
		names[i] = e.name
	}
	a, b, c := x.edges[0], x.edges[1], x.edges[2]
	alice := publish(a, "alice", "alice-pub", 1)
	alice.remote(b, "alice-pub")
	alice.remote(c, "alice-pub")
	carol := watch(c, "carol", "sub-carol", alice)
	carol.sound.gets(t, "sound", 1)
	carol.picture.gets(t, "a picture", 1)
	if a.serves(c) != 0 || b.serves(c) != 2 || a.serves(b) != 2 {
		t.Errorf("%d from the origin, %d from the parent, %d to it", a.serves(c), b.serves(c), a.serves(b))
	}
	bob := watch(b, "bob", "sub-bob", alice)
	bob.picture.gets(t, "a picture at the parent", 1)
	if a.serves(b) != 2 {
		t.Errorf("%d to the parent", a.serves(b))
	}
	carol.stays()
}

// TestParentWithoutStream: what a parent does not have comes from the origin.
func TestParentWithoutStream(t *testing.T) {
	var parent string
	x := newCluster(t, 3, func(o *Options) { o.Parent = func(string, string, string) string { return parent } })
	a, b, c := x.edges[0], x.edges[1], x.edges[2]
	parent = b.name
	alice := publish(a, "alice", "alice-pub", 1)
	alice.remote(c, "alice-pub")
	carol := watch(c, "carol", "sub-carol", alice)
	carol.picture.gets(t, "a picture", 1)
	if a.serves(c) != 2 || b.serves(c) != 0 {
		t.Errorf("%d from the origin, %d from the parent", a.serves(c), b.serves(c))
	}
}

// TestParentCutOff: when a parent cannot reach the origin any more, those that can get the stream from there.
func TestParentCutOff(t *testing.T) {
	var parent, child string
	x := newCluster(t, 3, func(o *Options) {
		o.Parent = func(string, string, string) string {
			if o.Links.Self() == child {
				return parent
			}
			return ""
		}
	})
	a, b, c := x.edges[0], x.edges[1], x.edges[2]
	parent, child = b.name, c.name
	alice := publish(a, "alice", "alice-pub", 1)
	alice.remote(b, "alice-pub")
	alice.remote(c, "alice-pub")
	carol := watch(c, "carol", "sub-carol", alice)
	carol.picture.gets(t, "a picture", 1)
	if a.serves(c) != 0 || b.serves(c) != 2 {
		t.Fatalf("%d from the origin, %d from the parent", a.serves(c), b.serves(c))
	}
	l, err := b.peers.Link(t.Context(), a.name)
	if err != nil {
		t.Fatal(err)
	}
	x.mu.Lock()
	x.cut[a.name+" "+b.name] = true
	x.mu.Unlock()
	l.Close()
	waitFor(t, "the parent gets nothing", func() bool { return a.serves(b) == 0 })
	carol.sound.gets(t, "sound from the origin", 1)
	carol.picture.gets(t, "a picture from the origin", 1)
	waitFor(t, "it comes from there alone", func() bool { return a.serves(c) == 2 && b.serves(c) == 0 })
	carol.stays()
}

// TestOwnerMoves: a publication goes on at another edge. Its subscriptions elsewhere stay, and at the two edges too.
func TestOwnerMoves(t *testing.T) {
	x := newCluster(t, 3, nil)
	a, b, c := x.edges[0], x.edges[1], x.edges[2]
	alice := publish(a, "alice", "alice-pub", 1)
	alice.remote(b, "alice-pub")
	alice.remote(c, "alice-pub")
	viewers := map[string]*viewer{
		"a": watch(a, "anna", "sub-anna", alice), "b": watch(b, "bob", "sub-bob", alice), "c": watch(c, "carol", "sub-carol", alice),
	}
	for name, v := range viewers {
		v.sound.gets(t, "sound at "+name, 1)
		v.picture.gets(t, "a picture at "+name, 1)
	}
	moved := publish(b, "alice2", "alice-pub", 2) // while the old one still sends
	b.RemoteEnded("alice-pub")
	moved.remote(a, "alice-pub")
	moved.remote(c, "alice-pub")
	for name, v := range viewers {
		v.sound.gets(t, "the new sound at "+name, 2)
		v.picture.gets(t, "the new picture at "+name, 2)
	}
	alice.hush()
	a.engine.Stop("alice-pub") // the old one's end changes nothing
	waitFor(t, "the old one is let go", func() bool { return a.serves(b)+a.serves(c) == 0 && b.serves(a) == 2 && b.serves(c) == 2 })
	for name, v := range viewers {
		v.sound.gets(t, "sound after all at "+name, 2)
		v.picture.gets(t, "a picture after all at "+name, 2)
		v.stays()
		if _, _, gaps := v.sound.seen(); gaps > 0 {
			t.Errorf("%d packets of sound are missing at %s", gaps, name)
		}
		v.sound.mu.Lock()
		t.Logf("longest without sound at %s: %v", name, v.sound.longest)
		v.sound.mu.Unlock()
	}
}

// TestLinkCut: subscriptions stay while an edge cannot be reached, and go on when it can.
func TestLinkCut(t *testing.T) {
	x := newCluster(t, 2, nil)
	a, b := x.edges[0], x.edges[1]
	alice := publish(a, "alice", "alice-pub", 1)
	alice.remote(b, "alice-pub")
	bob := watch(b, "bob", "sub-bob", alice)
	bob.sound.gets(t, "sound", 1)
	bob.picture.gets(t, "a picture", 1)
	cut := func(on bool) {
		x.mu.Lock()
		x.cut[a.name] = on
		x.mu.Unlock()
	}
	l, err := b.peers.Link(t.Context(), a.name)
	if err != nil {
		t.Fatal(err)
	}
	cut(true)
	l.Close()
	waitFor(t, "the other edge lets go", func() bool { return a.serves(b) == 0 })
	cut(false)
	bob.sound.gets(t, "sound again", 1)
	bob.picture.gets(t, "a picture again", 1)
	bob.stays()
	if a.serves(b) != 2 {
		t.Errorf("%d served", a.serves(b))
	}
	if l, err = b.peers.Link(t.Context(), a.name); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	l.Close() // and is made again at once
	bob.sound.gets(t, "sound once more", 1)
	t.Logf("20 packets of sound after a link was lost: %v", time.Since(began))
	bob.stays()
}

// TestFirstPictureLost: when a link is made anew, and the key frame with which a track begins gets lost on it, because the other edge still
// sends by the link before, for instance, then another one is asked for.
func TestFirstPictureLost(t *testing.T) {
	x := newCluster(t, 2, nil)
	a, b := x.edges[0], x.edges[1]
	alice := publishAs(a, "alice", "alice-pub", 1, true)
	alice.remote(b, "alice-pub")
	bob := watch(b, "bob", "sub-bob", alice)
	bob.sound.gets(t, "sound", 1)
	bob.picture.gets(t, "a picture", 1)
	l, err := b.peers.Link(t.Context(), a.name)
	if err != nil {
		t.Fatal(err)
	}
	var pictures atomic.Int64
	x.mu.Lock()
	x.lose = func(from, _ string, id uint64, packet []byte) bool { // the first pictures
		_, rtcp := relayproto.Flow(id)
		return from == a.name && !rtcp && packet[1]&0x7f == relayproto.PayloadType("vp8") && pictures.Add(1) <= 50
	}
	x.mu.Unlock()
	asked := alice.asked.Load()
	l.Close()
	bob.sound.gets(t, "sound again", 1)
	waitFor(t, "pictures get lost", func() bool { return pictures.Load() > 50 })
	bob.picture.gets(t, "a picture again", 1)
	bob.stays()
	if n := alice.asked.Load() - asked; n < 1 || n > 3 {
		t.Errorf("the publisher was asked for %d key frames", n)
	}
}
