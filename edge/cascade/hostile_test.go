package cascade

import (
	"errors"
	"testing"

	"portico/shared/link"
	"portico/shared/meshproto"
	"portico/shared/relayproto"
)

// rogue is an edge that pulls by its own rules.
type rogue struct {
	t    *testing.T
	call *link.Call
}

func (r *rogue) say(m meshproto.PullMessage) {
	r.t.Helper()
	b, err := meshproto.EncodePull(m)
	if err == nil {
		err = r.call.Send(b)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rogue) hears() meshproto.PullMessage {
	r.t.Helper()
	b, err := r.call.Receive(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := meshproto.DecodePull(b)
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

func newRogue(t *testing.T, from, to *edge, first meshproto.PullMessage) *rogue {
	t.Helper()
	b, err := meshproto.EncodePull(first)
	if err != nil {
		t.Fatal(err)
	}
	call, err := from.peers.Open(t.Context(), to.name, meshproto.ServicePull, b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(call.Close)
	return &rogue{t, call}
}

// TestRefusals: what makes no sense is refused with a reason, and the other pulls go on.
func TestRefusals(t *testing.T) {
	x := newCluster(t, 2, func(o *Options) { o.MaxPulls = 3 })
	a, b := x.edges[0], x.edges[1]
	alice := publish(a, "alice", "alice-pub", 1)
	carol := publish(b, "carol", "carol-pub", 1)
	carol.remote(a, "carol-pub")
	sound := alice.tracks[0].ID
	ours, theirs := uint64(2), uint64(3) // by the names
	if !a.neighbour(b.name).theirs(ours) {
		ours, theirs = theirs, ours
	}
	ask := func(flow uint64, track string) meshproto.PullMessage {
		return meshproto.PullMessage{Pull: &meshproto.Pull{Flow: flow, SSRC: 7, Room: "R", Stream: "alice-pub", Track: track}}
	}
	r := newRogue(t, b, a, ask(ours, sound))
	if m := r.hears(); m.Pulled == nil || m.Pulled.Flow != ours || m.Pulled.Format.Codec != "opus" {
		t.Fatalf("%+v", m)
	}
	making := ask(ours+4, "M-audio")
	making.Pull.Making = &meshproto.PullMaking{Kind: "audio", Format: alice.tracks[0].Format}
	slot := ask(ours+4, "R-active-audio-0")
	slot.Pull.Slot = true
	for _, c := range []struct {
		name string
		ask  meshproto.PullMessage
		want meshproto.PullReason
	}{
		{"unknown track", ask(ours+4, "nobody's"), meshproto.PullUnknown},
		{"flow of the other side's", ask(theirs, sound), meshproto.PullBad},
		{"flow in use", ask(ours, sound), meshproto.PullBad},
		{"published elsewhere", ask(ours+4, carol.tracks[0].ID), meshproto.PullElsewhere},
		{"no such mix", making, meshproto.PullUnknown},
		{"no such selection", slot, meshproto.PullUnknown},
	} {
		r.say(c.ask)
		if m := r.hears(); m.Ended == nil || m.Ended.Reason != c.want || m.Ended.Flow != c.ask.Pull.Flow {
			t.Errorf("%s: %+v", c.name, m)
		}
	}
	for i := range uint64(2) {
		r.say(ask(ours+10+2*i, sound))
		if m := r.hears(); m.Pulled == nil {
			t.Fatalf("%+v", m)
		}
	}
	r.say(ask(ours+20, sound))
	if m := r.hears(); m.Ended == nil || m.Ended.Reason != meshproto.PullFull {
		t.Errorf("one too many: %+v", m)
	}
	other := newRogue(t, b, a, ask(ours+22, sound)) // by another call as well
	if m := other.hears(); m.Ended == nil || m.Ended.Reason != meshproto.PullFull {
		t.Errorf("one too many by another call: %+v", m)
	}
	leave := theirs + 100 // which is nothing
	r.say(meshproto.PullMessage{Leave: &leave})
	r.say(meshproto.PullMessage{Ceiling: &meshproto.PullRate{Flow: ours, Kbps: 5}})
	r.say(meshproto.PullMessage{Members: &meshproto.PullMembers{Stream: "M"}}) // means nothing here
	r.say(meshproto.PullMessage{Leave: &ours})
	r.say(ask(ours+24, sound))
	if m := r.hears(); m.Pulled == nil {
		t.Errorf("after one has left: %+v", m)
	}
	a.engine.Stop("alice-pub")
	for range 3 {
		if m := r.hears(); m.Ended == nil || m.Ended.Reason != meshproto.PullOver {
			t.Errorf("%+v", m)
		}
	}
	waitFor(t, "nothing is served", func() bool { return a.neighbour(b.name).served.Load() == 0 })
}

// TestJunk: packets of no flow, and of flows that are not theirs, change nothing; words that are none end the call.
func TestJunk(t *testing.T) {
	x := newCluster(t, 2, nil)
	a, b := x.edges[0], x.edges[1]
	alice := publish(a, "alice", "alice-pub", 1)
	alice.remote(b, "alice-pub")
	bob := watch(b, "bob", "sub-bob", alice)
	bob.sound.gets(t, "sound", 1)
	var flows []uint64
	for _, s := range b.Stats(t.Context()) {
		flows = append(flows, s.Flow)
	}
	l, err := a.peers.Link(t.Context(), b.name)
	if err != nil {
		t.Fatal(err)
	}
	back, err := b.peers.Link(t.Context(), a.name)
	if err != nil {
		t.Fatal(err)
	}
	for _, flow := range append(flows, 0, 1, 99999) {
		for _, junk := range [][]byte{{}, {0x80}, make([]byte, 12), append([]byte{0x80, 111, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4}, make([]byte, 1400)...)} {
			for _, id := range []uint64{relayproto.RTP(flow), relayproto.RTCP(flow)} {
				for _, way := range []*link.Link{l, back} {
					if err := way.Send(id, junk); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	waitFor(t, "junk is counted", func() bool {
		return b.neighbour(a.name).unrouted.Load() >= 24 && a.neighbour(b.name).unrouted.Load() >= 24
	})
	bob.sound.gets(t, "sound after all", 1)
	bob.picture.gets(t, "a picture after all", 1)

	call, err := b.peers.Open(t.Context(), a.name, meshproto.ServicePull, []byte(`{"pull":{"flow":-1}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer call.Close()
	if _, err := call.Receive(t.Context()); err == nil || errors.Is(err, t.Context().Err()) {
		t.Error("the call goes on")
	}
	bob.sound.gets(t, "sound by the other call", 1)
	bob.stays()
}

// TestSilentReader: who asks and does not read is given up, and costs little until then.
func TestSilentReader(t *testing.T) {
	x := newCluster(t, 2, nil)
	a, b := x.edges[0], x.edges[1]
	ours := uint64(2)
	if !a.neighbour(b.name).theirs(ours) {
		ours++
	}
	ask := meshproto.PullMessage{Pull: &meshproto.Pull{Flow: ours, SSRC: 7, Room: "R", Stream: "S", Track: "nobody's"}}
	r := newRogue(t, b, a, ask)
	raw, err := meshproto.EncodePull(ask)
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for ; r.call.Send(raw) == nil; sent++ {
	}
	t.Logf("given up after %d messages", sent)
	if sent > 40*maxQueue {
		t.Errorf("%d messages were taken", sent)
	}
	waitFor(t, "nothing is served", func() bool { return a.neighbour(b.name).served.Load() == 0 })
}
