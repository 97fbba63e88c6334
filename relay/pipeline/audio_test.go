package pipeline

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/conference"
)

// The cases of rooms-and-media 19, with codecs that lose nothing. A tone that is heard is as strong as it was sent, within 0.3 dB; one
// that is not is below -75 dB.
const (
	loud      = 10_000.0
	heardDB   = -10.308 // loud of 32767
	tolerance = 0.3
	absentDB  = -75.0

	settling = 15 * time.Second // until the sound is not stretched any more, to get its delay down
)

func hears(t *testing.T, e *ear, hz float64, want bool) {
	t.Helper()
	got := e.hears(hz)
	if want && (got < heardDB-tolerance || got > heardDB+tolerance) || !want && got > absentDB {
		t.Errorf("%s hears %v Hz at %.1f dB; wanted: %v", e.name, hz, got, want)
	}
}

// listenFor forgets what was heard up to now and listens for so long.
func (w *world) listenFor(d time.Duration, ears ...*ear) {
	for _, e := range ears {
		e.forget()
	}
	w.run(d)
}

func TestA_01_OwnVoiceIsAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		w.talk("S1", "P", opusFormat, 440, loud)
		p, other := w.listen("p", "P", opusFormat), w.listen("q", "Q", opusFormat)
		w.give()
		w.run(settling)
		w.listenFor(time.Second, p, other)
		hears(t, p, 440, false)
		hears(t, other, 440, true)
	})
}

func TestA_02_BothOwnStreamsAreAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		w.talk("S1", "P", opusFormat, 440, loud)
		w.talk("S2", "P", opusFormat, 880, loud)
		w.talk("S3", "Q", opusFormat, 1320, loud)
		p, q, viewer := w.listen("p", "P", opusFormat), w.listen("q", "Q", opusFormat), w.listen("v", "", opusFormat)
		w.give()
		w.run(settling)
		w.listenFor(time.Second, p, q, viewer)
		for _, c := range []struct {
			e    *ear
			want [3]bool
		}{{p, [3]bool{false, false, true}}, {q, [3]bool{true, true, false}}, {viewer, [3]bool{true, true, true}}} {
			for i, hz := range []float64{440, 880, 1320} {
				hears(t, c.e, hz, c.want[i])
			}
		}
	})
}

func TestA_03_ViewersHearTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakes{}
		w := newWorld(t, f)
		defer w.close()
		w.talk("S1", "P", opusFormat, 440, loud)
		w.talk("S2", "Q", opusFormat, 880, loud)
		viewer, recording := w.listen("v", "", opusFormat), w.listen("r", "", opusFormat)
		w.give()
		w.run(settling)
		before := f.encodings.Load()
		w.listenFor(time.Second, viewer, recording)
		hears(t, viewer, 440, true)
		hears(t, viewer, 880, true)
		if fmt.Sprint(viewer.payload) != fmt.Sprint(recording.payload) {
			t.Error("viewer and recording do not get the same")
		}
		if viewer.ssrc == recording.ssrc || viewer.last == recording.last {
			t.Errorf("SSRCs %d and %d, numbers %d and %d", viewer.ssrc, recording.ssrc, viewer.last, recording.last)
		}
		// Two talkers and one mix, in 20 ms.
		if n := f.encodings.Load() - before; n != 150 {
			t.Errorf("%d packets were encoded in a second", n)
		}
	})
}

func TestA_04_StreamingInIsAlwaysHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		w.talk("in", "", opusFormat, 440, loud/2)
		for i := range 5 {
			name := fmt.Sprint("P", i)
			w.talk("S"+name, name, opusFormat, 1000+200*float64(i), loud/4*(1+float64(i)/5))
			w.listen("o"+name, name, opusFormat)
		}
		viewer := w.listen("v", "", opusFormat)
		w.give()
		w.run(settling)
		w.listenFor(2*time.Second, viewer)
		if got := viewer.hears(440); got < heardDB-6.02-tolerance || got > heardDB-6.02+tolerance {
			t.Errorf("the stream coming in is heard at %.1f dB", got)
		}
		heard := 0
		for i := range 5 {
			if viewer.hears(1000+200*float64(i)) > -40 {
				heard++
			}
		}
		if heard != 3 {
			t.Errorf("%d of five talkers are heard besides", heard)
		}
	})
}

func TestA_05_MutedIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		w.talk("S1", "P", opusFormat, 440, loud)
		viewer := w.listen("v", "", opusFormat)
		w.give()
		w.run(settling)
		w.listenFor(time.Second, viewer)
		hears(t, viewer, 440, true)
		w.input("S1").Audio.Muted = true
		w.give()
		w.run(200 * time.Millisecond)
		w.listenFor(time.Second, viewer)
		for _, v := range viewer.pcm {
			if v != 0 {
				t.Fatal("heard while muted")
			}
		}
		if len(viewer.pcm) != rawRate || viewer.levels[10] != 127 {
			t.Errorf("%d samples of silence at level %d", len(viewer.pcm), viewer.levels[10])
		}
		w.input("S1").Audio.Muted = false
		w.give()
		w.run(settling)
		w.listenFor(time.Second, viewer)
		hears(t, viewer, 440, true)
		if level := viewer.levels[10]; level&0x80 == 0 || level&0x7f < 11 || level&0x7f > 15 { // a sine is 3 dB below its peak
			t.Errorf("level %#x", level)
		}
	})
}

// TestFormats has the same mix heard in each of the formats for telephones, and such inputs mixed.
func TestFormats(t *testing.T) {
	formats := []conference.Format{
		{Codec: "pcmu", SampleRate: 8000, ChannelNum: 1}, {Codec: "pcma", SampleRate: 8000, ChannelNum: 1},
		{Codec: "g722", SampleRate: 16000, ChannelNum: 1},
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		var ears []*ear
		for i, f := range formats {
			w.talk("S"+f.Codec, f.Codec, f, 400+300*float64(i), loud/2)
			ears = append(ears, w.listen("o"+f.Codec, f.Codec, f))
		}
		w.give()
		w.run(settling)
		w.listenFor(time.Second, ears...)
		for i, e := range ears {
			for k := range formats {
				hz := 400 + 300*float64(k)
				got := e.hears(hz)
				if i != k && (got < heardDB-6.02-0.5 || got > heardDB-6.02+0.5) || i == k && got > -45 {
					t.Errorf("%s hears %v Hz at %.1f dB", e.name, hz, got)
				}
			}
		}
	})
}

// TestActiveInput: the loudest with voice is reported, and silence changes nothing.
func TestActiveInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		w.order.View.VAD = true
		a := w.talk("S1", "P", opusFormat, 440, loud)
		b := w.talk("S2", "Q", opusFormat, 880, loud/4)
		w.give() // without any output
		w.run(2500 * time.Millisecond)
		if got := w.newest().Active; got != "S1" {
			t.Errorf("active: %q", got)
		}
		a.sound = tone(440, 0, rawRate)
		w.run(2500 * time.Millisecond)
		if got := w.newest().Active; got != "S2" {
			t.Errorf("active: %q", got)
		}
		b.sound = a.sound
		w.run(3 * time.Second)
		if got := w.newest().Active; got != "S2" {
			t.Errorf("active in silence: %q", got)
		}
	})
}

// TestActiveInputAfterAReset: nobody is, until a second has told who it is, though it be the same.
func TestActiveInputAfterAReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		w.order.View.VAD = true
		w.talk("S1", "P", opusFormat, 440, loud)
		w.order.Resets = 7
		w.give()
		w.run(2500 * time.Millisecond)
		for range 2 {
			w.order.Resets++
			w.give()
			w.run(500 * time.Millisecond)
			if r := w.newest(); r.Active != "" || r.Revision != w.order.Revision {
				t.Errorf("active right after a reset: %+v", r)
			}
			w.run(time.Second)
			if got := w.newest().Active; got != "S1" {
				t.Errorf("active: %q", got)
			}
			w.give() // no reset
			w.run(100 * time.Millisecond)
			if r := w.newest(); r.Active != "S1" || r.Revision != w.order.Revision {
				t.Errorf("active after another order: %+v", r)
			}
		}
	})
}

// TestNoClipping has sixteen loud inputs at once, of nobody who listens.
func TestNoClipping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		for i := range 16 {
			w.talk(fmt.Sprint("S", i), "", opusFormat, 200+110*float64(i), 30_000)
		}
		viewer := w.listen("v", "", opusFormat)
		w.give()
		w.run(settling)
		w.listenFor(2*time.Second, viewer)
		flat, run, most := 0, 0, int16(0)
		for i, v := range viewer.pcm {
			most = max(most, v, -max(v, -32767))
			if i > 0 && v == viewer.pcm[i-1] && (v >= 32760 || v <= -32760) {
				run++
				flat = max(flat, run)
			} else {
				run = 0
			}
		}
		t.Logf("peak %d, flat for %d samples", most, flat)
		if flat > 1 || most < 20_000 {
			t.Errorf("peak %d, flat for %d samples", most, flat)
		}
		for i := range 16 {
			if got := viewer.hears(200 + 110*float64(i)); got < -40 {
				t.Errorf("input %d is heard at %.1f dB", i, got)
			}
		}
	})
}

// TestClockDrift has a sender whose clock is 200 millionths fast, for two minutes, over a network with jitter and loss: what is heard
// has no gaps but what was lost.
func TestClockDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		a := w.talk("S1", "P", opusFormat, 440, loud)
		a.at, a.drift, a.net.jitter = time.Now().UnixNano(), 200, 25*time.Millisecond
		viewer := w.listen("v", "", opusFormat)
		w.give()
		w.run(2 * time.Minute)
		gaps, quiet := 0, 0
		for _, v := range viewer.pcm[rawRate:] {
			if v != 0 {
				quiet = 0
			} else if quiet++; quiet == 16 { // a millisecond
				gaps++
			}
		}
		s := w.soundStats()
		t.Logf("%d gaps, %+v", gaps, s)
		if gaps > 8 || s.Drift < 150 || s.Drift > 250 || s.Delay > 80*time.Millisecond {
			t.Errorf("%d gaps, drift %v, delay %v", gaps, s.Drift, s.Delay)
		}
	})
}
