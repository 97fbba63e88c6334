package cascade

import (
	"slices"
	"testing"

	"portico/edge/room"
	"portico/edge/rtc"
	"portico/edge/sfu"
	"portico/shared/conference"
)

// mixing is a view's mix on all edges.
func mixing(x *cluster) (list []room.Mixer) {
	for _, e := range x.edges {
		m := e.OpenMixer(room.MixerSpec{Room: "R", Stream: "M", View: conference.View{Label: "common"}})
		x.t.Cleanup(m.Close)
		list = append(list, m)
	}
	return list
}

// listen subscribes to the mix.
func listen(e *edge, name, listener string, width int) *viewer {
	e.t.Helper()
	making := func(f conference.Format) rtc.Making {
		return rtc.Making{Formats: []conference.Format{f}, Listener: listener, Resolution: conference.Resolution{Width: width, Height: width / 2}}
	}
	return view(e, name, "sub-"+name,
		rtc.SubTrack{From: "M-audio", Making: making(conference.Format{Codec: "opus", SampleRate: 48000, ChannelNum: 2})},
		rtc.SubTrack{From: "M-video", Making: making(conference.Format{Codec: "vp8"})})
}

func inputs(participants ...string) (m room.Mix) {
	for _, p := range participants {
		m.Inputs = append(m.Inputs, room.MixInput{Stream: p + "-pub", Participant: p, Audio: p + "-0"})
	}
	return m
}

// TestMixElsewhere: a mix is made at one edge and comes to another one, equal wishes once; who is in it hears the others alone. When the
// making goes to another edge, the subscriptions of all stay.
func TestMixElsewhere(t *testing.T) {
	x := newCluster(t, 2, nil)
	a, b := x.edges[0], x.edges[1]
	m := mixing(x)
	m[0].Update(inputs("bob"))
	m[1].Follow(a.name)
	bob := listen(b, "bob", "bob", 640)
	carol := listen(b, "carol", "carol", 640)
	dave := listen(b, "dave", "dave", 640)
	anna := listen(a, "anna", "anna", 640)
	for _, v := range []*viewer{bob, carol, dave, anna} {
		v.sound.gets(t, "sound for "+v.name, 'A')
		v.picture.gets(t, "a picture for "+v.name, 'A')
	}
	waitFor(t, "those who are not in it share one sound", func() bool { return len(b.pulls()) == 2 && a.serves(b) == 3 })
	waitFor(t, "what is made", func() bool {
		return slices.Equal(a.jobs.making(), []string{"", "-", "-", "anna", "bob"}) && len(b.jobs.making()) == 0
	})
	small := listen(b, "small", "small", 320)
	small.picture.gets(t, "another picture", 'A')
	if n := a.serves(b); n != 4 {
		t.Errorf("%d served", n)
	}
	b.engine.Stop("sub-small")
	waitFor(t, "that is let go", func() bool { return a.serves(b) == 3 })

	m[0].Update(inputs("carol")) // bob is out, carol is in
	waitFor(t, "carol alone has a sound of her own", func() bool {
		return slices.Equal(a.jobs.making(), []string{"", "-", "-", "anna", "carol"})
	})

	m[1].Update(inputs("bob")) // the home goes over
	m[0].Follow(b.name)
	for _, v := range []*viewer{bob, carol, dave, anna} {
		v.sound.gets(t, "sound from the other edge for "+v.name, 'B')
		v.picture.gets(t, "a picture from the other edge for "+v.name, 'B')
		v.stays()
	}
	waitFor(t, "nothing is made at the old one", func() bool { return len(a.jobs.making()) == 0 && a.serves(b) == 0 && b.serves(a) == 2 })
	waitFor(t, "which knows it", func() bool {
		f := a.jobs.mixers[0]
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.follows == b.name && len(f.mix.Inputs) == 0
	})
	m[0].Update(inputs("bob")) // and back
	m[1].Follow(a.name)
	for _, v := range []*viewer{bob, anna} {
		v.sound.gets(t, "sound after all for "+v.name, 'A')
		v.stays()
	}
	for _, v := range []*viewer{bob, carol, dave, anna} {
		b.engine.Stop("sub-" + v.name)
		a.engine.Stop("sub-" + v.name)
	}
	waitFor(t, "all is let go", func() bool { return len(a.jobs.making())+len(b.jobs.making()) == 0 && len(b.pulls()) == 0 })
}

// TestBothFollow: as long as each of two edges takes the other one for the home, nothing comes, and it does as soon as one knows better.
func TestBothFollow(t *testing.T) {
	x := newCluster(t, 2, nil)
	a, b := x.edges[0], x.edges[1]
	m := mixing(x)
	m[0].Follow(b.name)
	m[1].Follow(a.name)
	done := make(chan *viewer)
	go func() { done <- listen(b, "bob", "bob", 640) }()
	waitFor(t, "it is pulled in vain", func() bool { return len(b.pulls()) > 0 })
	m[0].Update(inputs())
	bob := <-done
	bob.sound.gets(t, "sound", 'A')
	if *m[1].(*mix).edge.Load() != a.name || m[1].Ready() != nil {
		t.Error("the mix is not where it was said to be")
	}
}

// TestCeilings: what the subscribers' networks carry is told where the picture is made, and what it would take comes back.
func TestCeilings(t *testing.T) {
	x := newCluster(t, 2, nil)
	a, b := x.edges[0], x.edges[1]
	m := mixing(x)
	m[0].Update(inputs())
	m[1].Follow(a.name)
	format := conference.Format{Codec: "vp8"}
	var outputs []rtc.Output
	for range 2 {
		o := b.Open(rtc.Conversion{Track: "M-video", Kind: conference.Video, Format: format, Feed: ignore, Trouble: func(string) {}})
		defer o.Close()
		outputs = append(outputs, o)
	}
	outputs[0].SetCeiling(1000)
	outputs[1].SetCeiling(700)
	waitFor(t, "the ceiling", func() bool {
		a.jobs.mu.Lock()
		defer a.jobs.mu.Unlock()
		if len(a.jobs.outputs) != 1 {
			return false
		}
		o := a.jobs.outputs[0]
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.ceiling == 700
	})
	waitFor(t, "the target", func() bool { return outputs[0].Target() == 1234 && outputs[1].Target() == 1234 })
}

func ignore(*sfu.Encoding) {}

// TestLateFromElsewhere: what comes from the other edge after the making has come here does not end what is made here.
func TestLateFromElsewhere(t *testing.T) {
	x := newCluster(t, 1, nil)
	a := x.edges[0]
	m := mixing(x)[0].(*mix)
	fed := make(chan *sfu.Encoding, 100)
	out := a.Open(rtc.Conversion{
		Track: "M-audio", Kind: conference.Audio, Format: conference.Format{Codec: "opus"},
		Feed: func(e *sfu.Encoding) { fed <- e }, Trouble: func(string) {},
	})
	defer out.Close()
	if err := a.loop.Do(t.Context(), func() {
		h := out.(*handle)
		k := m.newMaking(makingKey{track: "M-audio"})
		k.live = sfu.NewEncoding(sfu.EncodingConfig{Codec: "opus", ClockRate: 48000})
		h.next = k
		h.settle(k)
		if h.here.Load() == nil {
			t.Error("what is made here was let go")
		}
		k.live.Close()
	}); err != nil {
		t.Fatal(err)
	}
	<-fed
	<-fed
	waitFor(t, "it is had from here", func() bool {
		done := false
		_ = a.loop.Do(t.Context(), func() { done = out.(*handle).has == nil })
		return done
	})
}
