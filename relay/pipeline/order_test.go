package pipeline

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"portico/relay/codec"
	"portico/shared/conference"
	"portico/shared/relayproto"
)

func TestOrdersThatAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		w.viewOf(32, 32, 30)
		e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		w.give()
		good := w.order
		for name, c := range map[string]struct {
			spoil func(*relayproto.Order)
			want  relayproto.Reason
		}{
			"video codec": {func(o *relayproto.Order) { o.Outputs[0].ID, o.Outputs[0].Format.Codec = "w", "h265" }, relayproto.Unable},
			"audio codec": {func(o *relayproto.Order) {
				o.Outputs = []relayproto.Output{{ID: "a", Flow: 99, Kind: conference.Audio, Format: conference.Format{Codec: "ilbc"}}}
			}, relayproto.Unable},
			"scene":    {func(o *relayproto.Order) { o.Scene = []byte(`{"a":1}`) }, relayproto.BadOrder},
			"job":      {func(o *relayproto.Order) { o.Job = "other" }, relayproto.BadOrder},
			"kind":     {func(o *relayproto.Order) { o.Kind = relayproto.Transcode }, relayproto.BadOrder},
			"canvas":   {func(o *relayproto.Order) { o.View = &relayproto.View{Width: 64, Height: 32} }, relayproto.BadOrder},
			"no view":  {func(o *relayproto.Order) { o.View = nil }, relayproto.BadOrder},
			"revision": {func(o *relayproto.Order) { o.Revision = 0 }, relayproto.BadOrder},
		} {
			o := good
			o.Revision++
			o.Outputs = slices.Clone(good.Outputs)
			c.spoil(&o)
			var refused *Error
			if err := w.job.Order(&o); !errors.As(err, &refused) || refused.Reason != c.want {
				t.Errorf("%s: %v", name, err)
			}
		}
		w.run(time.Second)
		if e.frames < 29 || e.keys != 1 || w.newest().Revision != 1 {
			t.Errorf("%d pictures, %d keys, revision %d", e.frames, e.keys, w.newest().Revision)
		}
	})
	j := New(Options{Port: &world{}})
	j.Close()
	j.Close()
	if err := j.Order(&relayproto.Order{}); err == nil {
		t.Error("an order to a job that has ended")
	}
}

// TestOutputsThatCannotBeMade: the rest is, and the reports say why.
func TestOutputsThatCannotBeMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakes{}
		w := newWorld(t, f)
		defer w.close()
		three(w)
		e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		good := w.order.Outputs
		h265, ilbc := conference.Format{Codec: "h265"}, conference.Format{Codec: "ilbc"}
		w.order.Outputs = append(slices.Clone(good),
			relayproto.Output{ID: "h", Flow: 98, Kind: conference.Video, Format: h265, Framerate: 60},
			relayproto.Output{ID: "a", Flow: 99, Kind: conference.Audio, Format: ilbc})
		for range 2 { // in the first order, and when there is something already
			w.give()
			w.job.Packet(relayproto.RTP(98), make([]byte, 12))
			w.job.Packet(relayproto.RTCP(99), []byte{0x80, 206, 0, 0})
			w.run(3 * time.Second)
			seesThree(t, e, 0)
			if v, h, a := w.outputReport("v"), w.outputReport("h"), w.outputReport("a"); v.Trouble != "" || v.Bitrate == 0 || h.Trouble == "" || a.Trouble == "" {
				t.Errorf("%+v, %+v, %+v", v, h, a)
			}
		}
		ours := int64(4)                            // codecs of the cameras and of the eye
		if e.keys != 1 || f.open.Load() != ours+4 { // three decoders and an encoder
			t.Errorf("%d key frames, %d codecs", e.keys, f.open.Load())
		}
		w.order.Outputs = w.order.Outputs[1:]
		var refused *Error
		if err := w.try(); !errors.As(err, &refused) || refused.Reason != relayproto.Unable {
			t.Errorf("with nothing to do: %v", err)
		}
		w.order.View.VAD = true
		w.give()
		w.run(time.Second)
		if w.newest().Revision != w.order.Revision || f.open.Load() != ours {
			t.Errorf("to find out who is the loudest alone: %+v, %d codecs", w.newest(), f.open.Load())
		}
	})
}

// TestReportsAreFewHoweverMuchChanges: an input whose pictures have another size each time makes no report for each of them.
func TestReportsAreFewHoweverMuchChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		c := three(w)[0]
		w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		w.give()
		w.run(time.Second)
		reports := func() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.reports) }
		before := reports()
		for i := range 90 {
			c.resize(32+16*(i%2), 48)
			w.run(33 * time.Millisecond)
		}
		if n := reports() - before; n < 10 || n > 35 {
			t.Errorf("%d reports in three seconds", n)
		}
	})
}

// TestEncodersOfSoundAreClosed with the last output of sound, though the job goes on.
func TestEncodersOfSoundAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakes{}
		w := newWorld(t, f)
		defer w.close()
		three(w)
		w.talk("S1", "P", opusFormat, 440, loud)
		w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		pictures := w.order.Outputs
		w.give()
		w.run(time.Second)
		before := f.open.Load()
		for _, name := range []string{"", "P", "Q"} {
			w.order.Outputs = append(w.order.Outputs,
				relayproto.Output{ID: "a" + name, Flow: w.newFlow(), Kind: conference.Audio, Format: opusFormat, Participant: name})
		}
		w.give()
		w.run(time.Second)
		if n := f.open.Load() - before; n != 2 { // one for P, one for all others
			t.Errorf("%d encoders", n)
		}
		w.order.Outputs = pictures
		w.give()
		w.run(10 * time.Second)
		if n := f.open.Load() - before; n != 0 {
			t.Errorf("%d encoders are left that nobody has", n)
		}
	})
}

// TestOthersGoOn has inputs, outputs and regions come and go beside an output of each kind, which does not notice.
func TestOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakes{}
		w := newWorld(t, f)
		defer w.close()
		cameras := three(w)
		e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		w.talk("S1", "P", opusFormat, 440, loud)
		o := w.listen("a", "", opusFormat)
		w.give()
		w.run(time.Second)
		inputs, outputs := slices.Clone(w.order.Inputs), slices.Clone(w.order.Outputs)
		for i := range 6 {
			w.order.Inputs, w.order.Outputs = slices.Clone(inputs), slices.Clone(outputs)
			if i%2 == 0 {
				w.film(fmt.Sprint("T", i), "vp8", 32, 32, 15)
				w.talk(fmt.Sprint("T", i), "T", opusFormat, 880, loud)
				w.scene("lecture", "S1", "S2", "S3", fmt.Sprint("T", i))
				w.watch(relayproto.Output{ID: fmt.Sprint("o", i), Format: vp8, Framerate: 48})
				w.listen(fmt.Sprint("l", i), "T", opusFormat)
			} else {
				w.scene("fluid", "S1", "S2", "S3")
			}
			w.give()
			w.run(500 * time.Millisecond)
		}
		w.run(200 * time.Millisecond)
		seesThree(t, e, 0)
		if e.keys != 1 || cameras[0].keys > 1 || e.frames < 123 || e.frames > 129 || len(o.stamps) < 207 {
			t.Errorf("%d keys, %d asked for, %d pictures, %d packets of sound", e.keys, cameras[0].keys, e.frames, len(o.stamps))
		}
		for i := 1; i < len(e.times); i++ {
			if d := e.times[i] - e.times[i-1]; d > 50*millisecond {
				t.Errorf("picture %d came %d ms behind the one before", i, d/millisecond)
			}
		}
	})
}

func (w *world) transcode() { w.order.Kind, w.order.View = relayproto.Transcode, nil }

// TestTranscodeVideo: the source's size when none is asked for, whatever it becomes, and any other when it is; rates by the clock.
func TestTranscodeVideo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakes{}
		w := newWorld(t, f)
		defer w.close()
		w.transcode()
		c := w.film("S1", "vp8", 64, 48, 24)
		c.colour(red)
		same := w.watch(relayproto.Output{ID: "same", Format: vp8})
		small := w.watch(relayproto.Output{ID: "small", Format: vp8, Width: 40, Height: 20, Framerate: 10, Bitrate: 77})
		w.give()
		w.run(2 * time.Second)
		if p := same.picture; p.Width != 64 || p.Height != 48 || same.frames < 57 || same.frames > 61 || near(same.at(20, 20), red, 0) != nil {
			t.Errorf("%dx%d, %d pictures, %v", p.Width, p.Height, same.frames, same.at(20, 20))
		}
		if p := small.picture; p.Width != 40 || p.Height != 20 || small.frames < 18 || small.frames > 21 || near(small.at(1, 1), red, 0) != nil {
			t.Errorf("%dx%d, %d pictures, %v", p.Width, p.Height, small.frames, small.at(1, 1))
		}
		c.resize(96, 54)
		c.colour(green)
		w.run(time.Second)
		if p := same.picture; p.Width != 96 || p.Height != 54 || near(same.at(20, 20), green, 0) != nil || small.keys != 1 || same.keys != 2 {
			t.Errorf("%dx%d, %v, %d and %d keys", p.Width, p.Height, same.at(20, 20), same.keys, small.keys)
		}
		rates := make(map[int]int)
		for _, m := range f.made {
			rates[m.Width] = m.Bitrate
		}
		// f(64·48·30/30) and f(96·54) of rooms-and-media 8.3, 76800 pixels being 400 kbit/s.
		if rates[40] != 77_000 || rates[64] != 16_000 || rates[96] != 27_000 {
			t.Errorf("bit rates by width: %v", rates)
		}
	})
}

func TestTranscodeAudio(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		w.transcode()
		w.talk("S1", "P", opusFormat, 440, loud)
		e := w.listen("a", "P", conference.Format{Codec: "pcmu", SampleRate: 8000, ChannelNum: 1}) // its own: a transcode has no N-1
		w.give()
		w.run(settling)
		w.listenFor(time.Second, e)
		hears(t, e, 440, true)
		if len(e.payload) < 49 || len(e.payload[0]) != 160 {
			t.Errorf("%d packets, of %d bytes", len(e.payload), len(e.payload[0]))
		}
	})
}

// TestInputWithoutCodec: the mix goes without it and says why.
func TestInputWithoutCodec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &fakes{})
		defer w.close()
		three(w)
		w.input("S4").Audio = &relayproto.InputTrack{Flow: w.newFlow(), Format: conference.Format{Codec: "ilbc"}}
		e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		w.give()
		w.run(time.Second)
		seesThree(t, e, 0)
		if r := w.inputReport("S4"); r.Trouble == "" {
			t.Errorf("%+v", r)
		}
	})
}

// TestJoinsAndLeaves has participants come and go a thousand times, each with sound and pictures and an output of both: memory,
// goroutines and codecs are what they were.
func TestJoinsAndLeaves(t *testing.T) {
	times := 1000
	if raceEnabled || testing.Short() {
		times = 100
	}
	synctest.Test(t, func(t *testing.T) {
		f := &fakes{}
		w := newWorld(t, f)
		defer w.close()
		for _, c := range three(w) {
			c.sent = nil
		}
		w.talk("S1", "P", opusFormat, 440, loud)
		e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
		w.give()
		w.run(settling)
		inputs, outputs, sources := slices.Clone(w.order.Inputs), slices.Clone(w.order.Outputs), slices.Clone(w.sources)
		joinAndLeave := func(i int) {
			id := fmt.Sprint("T", i)
			w.join(id)
			w.give()
			w.run(45 * time.Millisecond)
			w.order.Inputs, w.order.Outputs, w.sources = slices.Clone(inputs), slices.Clone(outputs), slices.Clone(sources)
			w.scene("fluid", "S1", "S2", "S3")
			w.give()
			w.run(15 * time.Millisecond)
		}
		for i := range times / 10 {
			joinAndLeave(i)
		}
		w.run(settling)
		before, goroutines, codecs := w.memory(), runtime.NumGoroutine(), f.open.Load()
		for i := range times {
			joinAndLeave(i)
		}
		w.run(settling)
		after := w.memory()
		t.Logf("%d bytes before, %d after; %d goroutines, %d codecs", before, after, goroutines, codecs)
		if most := before + before/50 + 64<<10; after > most {
			t.Errorf("%d bytes before, %d after", before, after)
		}
		if n, c := runtime.NumGoroutine(), f.open.Load(); n != goroutines || c != codecs {
			t.Errorf("%d goroutines before, %d after; %d codecs, %d", goroutines, n, codecs, c)
		}
		seesThree(t, e, 0)
	})
}

// join adds a participant to the order, with an output of each kind. Nothing of it is left to the end of the test.
func (w *world) join(id string) {
	c := &camera{packets: w.packets("vp8"), codec: "vp8", width: 32, height: 32, rate: 30, at: time.Now().UnixNano()}
	c.draw = colour(100, 100, 100)
	c.encoder = &rawEncoder{f: &fakes{}, config: codec.VideoConfig{Width: 32, Height: 32}}
	c.parts, _ = w.codecs.Packetiser("vp8", 1)
	a := &talker{packets: w.packets("opus"), encoder: &rawSound{f: &fakes{}}, at: c.at, sound: tone(880, loud, rawRate)}
	w.sources = append(w.sources, c, a)
	in := w.input(id)
	in.Participant = id
	in.Video = &relayproto.InputTrack{Flow: c.flow, Format: vp8}
	in.Audio = &relayproto.InputTrack{Flow: a.flow, Format: opusFormat}
	w.order.Outputs = append(w.order.Outputs,
		relayproto.Output{ID: id + "v", Flow: w.newFlow(), Kind: conference.Video, Format: vp8, Framerate: 15, Bitrate: 500},
		relayproto.Output{ID: id + "a", Flow: w.newFlow(), Kind: conference.Audio, Format: opusFormat, Participant: id})
	w.scene("fluid", "S1", "S2", "S3", id)
}

// memory is what is in use, without what tests have recorded.
func (w *world) memory() uint64 {
	for _, s := range w.sinks {
		if e, ok := s.(*eye); ok {
			e.stamps, e.times, e.reports = nil, nil, e.reports[len(e.reports)-1:]
		}
	}
	w.mu.Lock()
	w.reports, w.came = slices.Clone(w.reports[len(w.reports)-1:]), nil
	w.mu.Unlock()
	if f, ok := w.codecs.(*fakes); ok {
		f.made = nil
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
