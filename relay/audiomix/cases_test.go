package audiomix

import (
	"fmt"
	"testing"
)

// The cases of rooms-and-media 19. A tone is there when it is as strong as it was sent, within 0.1 dB, and absent below -100 dB.
const (
	loud   = 10_000.0
	sent   = -10.308 // dB: loud of 32767
	absent = -100.0
)

func hears(t *testing.T, who string, e *ear, hz float64, want bool) {
	t.Helper()
	got := strength(e.pcm, Rate, Channels, hz)
	switch {
	case want && (got < sent-0.1 || got > sent+0.1):
		t.Errorf("%s hears %v Hz at %.2f dB, which was sent at %.2f", who, hz, got, sent)
	case !want && got > absent:
		t.Errorf("%s hears %v Hz at %.2f dB", who, hz, got)
	}
}

func (e *ear) forget() { e.pcm = e.pcm[:0] }

// TestTwoTones has 440 Hz from one and 880 Hz from another: each hears only the other's, a third hears both.
func TestTwoTones(t *testing.T) {
	m := New(Config{})
	talkers := []*talker{talk(t, m, "ann", 440, loud), talk(t, m, "bob", 880, loud)}
	ann, bob, eve := listen(t, m, "ann"), listen(t, m, "bob"), listen(t, m, "eve")
	play(t, m, 5, talkers)
	play(t, m, 100, talkers, ann, bob, eve)
	for _, c := range []struct {
		who      string
		e        *ear
		low, top bool
	}{{"ann", ann, false, true}, {"bob", bob, true, false}, {"eve", eve, true, true}} {
		hears(t, c.who, c.e, 440, c.low)
		hears(t, c.who, c.e, 880, c.top)
		if got := rest(c.e.pcm, Rate, Channels, 440, 880); got > -80 {
			t.Errorf("%s hears something else at %.1f dB", c.who, got)
		}
	}
}

func TestA_01_OwnVoiceIsAbsent(t *testing.T) {
	m := New(Config{})
	talkers := []*talker{talk(t, m, "P", 440, loud)}
	p, other := listen(t, m, "P"), listen(t, m, "other")
	play(t, m, 100, talkers, p, other)
	for i, v := range p.pcm {
		if v != 0 {
			t.Fatalf("P hears %d at sample %d of its own voice", v, i/Channels)
		}
	}
	other.pcm = other.pcm[10*FrameLength:]
	hears(t, "another", other, 440, true)
}

func TestA_02_BothOwnStreamsAreAbsent(t *testing.T) {
	m := New(Config{})
	talkers := []*talker{talk(t, m, "P", 440, loud), talk(t, m, "P", 880, loud), talk(t, m, "Q", 1320, loud)}
	p, q, viewer := listen(t, m, "P"), listen(t, m, "Q"), listen(t, m, "")
	play(t, m, 5, talkers)
	play(t, m, 100, talkers, p, q, viewer)
	for _, c := range []struct {
		who  string
		e    *ear
		want [3]bool
	}{{"P", p, [3]bool{false, false, true}}, {"Q", q, [3]bool{true, true, false}}, {"a viewer", viewer, [3]bool{true, true, true}}} {
		for i, hz := range []float64{440, 880, 1320} {
			hears(t, c.who, c.e, hz, c.want[i])
		}
	}
}

func TestA_03_ViewersHearTheSame(t *testing.T) {
	m := New(Config{})
	talkers := []*talker{talk(t, m, "P", 440, loud), talk(t, m, "Q", 880, loud)}
	viewer, recording := listen(t, m, ""), listen(t, m, "")
	p := listen(t, m, "P")
	listen(t, m, "Q")
	play(t, m, 5, talkers)
	play(t, m, 100, talkers, viewer, recording, p)
	if viewer.l.Output() != recording.l.Output() || viewer.l.Output() == p.l.Output() {
		t.Error("viewer and recording are to share one output, which is not P's")
	}
	hears(t, "a viewer", viewer, 440, true)
	hears(t, "a viewer", viewer, 880, true)
}

func TestA_04_StreamingInIsAlwaysHeard(t *testing.T) {
	m := New(Config{})
	talkers := []*talker{talk(t, m, "", 440, loud)}
	for i := range 5 {
		name := fmt.Sprint("P", i)
		talkers = append(talkers, talk(t, m, name, 1000+200*float64(i), loud/2*(1+float64(i)/5)))
		listen(t, m, name)
	}
	p, viewer := listen(t, m, "P0"), listen(t, m, "")
	play(t, m, 20, talkers)
	play(t, m, 300, talkers, p, viewer)
	hears(t, "a talker", p, 440, true)
	hears(t, "a viewer", viewer, 440, true)
	heard := 0
	for i := range 5 {
		if strength(viewer.pcm, Rate, Channels, 1000+200*float64(i)) > absent {
			heard++
		}
	}
	if heard != 3 {
		t.Errorf("%d of five talkers are mixed besides", heard)
	}
}

func TestA_05_MutedIsSilent(t *testing.T) {
	m := New(Config{})
	p := talk(t, m, "P", 440, loud)
	viewer, q := listen(t, m, ""), listen(t, m, "Q")
	play(t, m, 50, []*talker{p}, viewer, q)
	p.in.SetMuted(true)
	play(t, m, 1, []*talker{p}, viewer) // fades
	if b := bend(viewer.pcm); b > 60 {
		t.Errorf("muting clicks: %d", b)
	}
	viewer.forget()
	q.forget()
	play(t, m, 50, []*talker{p}, viewer, q)
	for _, e := range []*ear{viewer, q} {
		for _, v := range e.pcm {
			if v != 0 {
				t.Fatal("P is muted and heard")
			}
		}
	}
	if level, voice := p.in.Level(); level != 127 || voice || !m.Shared().Silent {
		t.Errorf("level %d, voice %v", level, voice)
	}
	p.in.SetMuted(false)
	play(t, m, 2, []*talker{p}, viewer)
	if b := bend(viewer.pcm); b > 60 {
		t.Errorf("unmuting clicks: %d", b)
	}
	viewer.forget()
	play(t, m, 100, []*talker{p}, viewer)
	hears(t, "a viewer", viewer, 440, true)
}

// TestL_17_AudioOnlyStreamIsAudible: the mixer knows nothing of video.
func TestL_17_AudioOnlyStreamIsAudible(t *testing.T) {
	m := New(Config{})
	viewer := listen(t, m, "")
	play(t, m, 30, nil, viewer)
	p := talk(t, m, "P", 440, loud)
	play(t, m, 2, []*talker{p}, viewer)
	if b := bend(viewer.pcm); b > 60 {
		t.Errorf("joining clicks: %d", b)
	}
	viewer.forget()
	play(t, m, 100, []*talker{p}, viewer)
	hears(t, "a viewer", viewer, 440, true)
}
