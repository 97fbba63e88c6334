package audiomix

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestSilenceIsZero(t *testing.T) {
	m := New(Config{})
	viewer, p := listen(t, m, ""), listen(t, m, "P")
	play(t, m, 10, nil, viewer, p)
	for range 4 {
		in := input(t, m, "P")
		for range 20 {
			if err := in.Write(make([]int16, FrameLength), Rate, Channels); err != nil {
				t.Fatal(err)
			}
			m.Mix()
			viewer.hear()
			p.hear()
		}
	}
	for _, e := range []*ear{viewer, p} {
		for _, v := range e.pcm {
			if v != 0 {
				t.Fatal("silence is not zero")
			}
		}
	}
	if viewer.l.Output() != p.l.Output() || !m.Shared().Silent || m.Shared().Level() != 127 {
		t.Error("silence is not shared")
	}
}

// TestPlainSum mixes noise and compares with the sum, sample by sample.
func TestPlainSum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	m := New(Config{Talkers: -1})
	viewer := listen(t, m, "")
	var ears []*ear
	var inputs []*Input
	for i := range 6 {
		name := fmt.Sprint(i / 2) // two streams each
		inputs = append(inputs, input(t, m, name))
		if i%2 == 0 {
			ears = append(ears, listen(t, m, name))
		}
	}
	for frame := range 200 {
		want := make([][FrameLength]int, 4)
		for i, in := range inputs {
			pcm := make([]int16, FrameLength)
			for j := range pcm {
				pcm[j] = int16(r.IntN(10_000) - 5000)
				for group := range want {
					if group != i/2 {
						want[group][j] += int(pcm[j])
					}
				}
			}
			if err := in.Write(pcm, Rate, Channels); err != nil {
				t.Fatal(err)
			}
		}
		m.Mix()
		if frame == 0 {
			continue // they come in
		}
		for group, e := range append(ears[:3:3], viewer) {
			for j, v := range e.l.Output().PCM {
				if int(v) != want[group][j] {
					t.Fatalf("frame %d, listener %d, value %d: %d, want %d", frame, group, j, v, want[group][j])
				}
			}
		}
	}
}

// TestNoClipping has 16 inputs at -1 dB: the sum is 23 dB too loud.
func TestNoClipping(t *testing.T) {
	m := New(Config{Talkers: -1})
	viewer := listen(t, m, "")
	p := listen(t, m, "P0")
	var talkers []*talker
	var hz []float64
	for i := range 16 {
		f := 300 + 97*float64(i)
		hz = append(hz, f)
		talkers = append(talkers, talk(t, m, fmt.Sprint("P", i), f, 29_000))
	}
	play(t, m, 200, talkers, viewer, p)
	for name, e := range map[string]*ear{"a viewer": viewer, "a talker": p} {
		flat, longest, top := 0, 0, 0
		for i := Channels; i < len(e.pcm); i += Channels {
			v, before := int(e.pcm[i]), int(e.pcm[i-Channels])
			top = max(top, v, -v)
			if max(v, -v) >= ceiling && v == before {
				flat++
				longest = max(longest, flat)
			} else {
				flat = 0
			}
		}
		if top > edge+10 || top < 25_000 || longest > 0 {
			t.Errorf("%s: loudest sample %d, %d in a row cut off", name, top, longest)
		}
		late := e.pcm[180*FrameLength:]
		distortion := rest(late, Rate, Channels, hz...)
		t.Logf("%s: loudest sample %d, distortion %.1f dB", name, top, distortion)
		if distortion > -30 { // the gain follows the beat of the tones a little
			t.Errorf("%s: distortion %.1f dB", name, distortion)
		}
	}
}

// TestLimiter drives sums of all kinds through it: nothing beyond 16 bits, nothing changed that fits.
func TestLimiter(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	l := limiter{gain: unity}
	var sum [FrameLength]int32
	var out [FrameLength]int16
	for frame := range 3000 {
		loud := [4]int32{30_000, 60_000, 500_000, 128 * 32_768}[r.IntN(4)]
		quiet := frame%500 > 200
		for i := range sum {
			sum[i] = r.Int32N(2*loud) - loud
			if quiet {
				sum[i] = r.Int32N(60_000) - 30_000
			}
		}
		if r.IntN(3) == 0 {
			sum[r.IntN(FrameLength)] = math.MinInt16 * 128
		}
		before := l.gain
		l.run(&out, &sum)
		for i, v := range out {
			if s := sum[i]; s != 0 && (v > 0) != (s > 0) && v != 0 {
				t.Fatalf("frame %d: %d becomes %d", frame, s, v)
			}
			if v == math.MinInt16 && sum[i] != math.MinInt16 {
				t.Fatalf("frame %d: %d is clipped", frame, sum[i])
			}
			if before == unity && l.gain == unity && int32(v) != sum[i] {
				t.Fatalf("frame %d: %d becomes %d without need", frame, sum[i], v)
			}
		}
		if l.gain > unity || l.gain <= 0 {
			t.Fatalf("gain %d", l.gain)
		}
	}
	for i := range sum {
		sum[i] = 1000
	}
	for range 300 {
		l.run(&out, &sum)
	}
	if l.gain != unity {
		t.Errorf("three seconds later the gain is %v", float64(l.gain)/unity)
	}
}

// TestNothingClicks: whoever comes, goes, is muted, loses packets or makes place for somebody is not heard doing so.
func TestNothingClicks(t *testing.T) {
	m := New(Config{Talkers: 1})
	viewer := listen(t, m, "")
	a := talk(t, m, "A", 225, 8000) // not whole periods in a frame
	listen(t, m, "A")
	play(t, m, 51, []*talker{a}, viewer)
	play(t, m, 7, nil, viewer) // packets are missing
	play(t, m, 20, []*talker{a}, viewer)
	b := talk(t, m, "B", 275, 8000)
	listen(t, m, "B")
	play(t, m, 50, []*talker{a, b}, viewer)
	b.amplitude = 16_000 // is louder, and takes A's place
	play(t, m, 1, []*talker{a, b})
	if got := bend(viewer.pcm); got > 60 { // a step would be thousands
		t.Errorf("a bend of %d", got)
	}
	viewer.forget()
	play(t, m, 50, []*talker{a, b}, viewer)
	if a.in.Mixed() || !b.in.Mixed() {
		t.Error("the louder one is not heard")
	}
	m.RemoveInput(b.in)
	play(t, m, 20, []*talker{a, b}, viewer)
	a.in.SetMuted(true)
	play(t, m, 20, []*talker{a}, viewer)
	a.in.SetMuted(false)
	play(t, m, 20, []*talker{a}, viewer)
	if got := bend(viewer.pcm); got > 60 {
		t.Errorf("a bend of %d", got)
	}
}

func TestTalkers(t *testing.T) {
	m := New(Config{})
	var all []*talker
	for i := range 8 {
		name := fmt.Sprint(i)
		all = append(all, talk(t, m, name, 300+100*float64(i), 3000-10*float64(i)))
		listen(t, m, name)
	}
	mixed := func() (who string) {
		for i, k := range all {
			if k.in.Mixed() {
				who += fmt.Sprint(i)
			}
		}
		return who
	}
	step := func(name, want string) {
		t.Helper()
		play(t, m, 50, all)
		if got := mixed(); got != want {
			t.Errorf("%s: %s are mixed, want %s", name, got, want)
		}
	}
	step("all alike", "012")
	all[7].amplitude = 3500
	step("one a little louder", "012")
	all[7].amplitude = 9000
	step("one much louder", "017")
	all[4].amplitude, all[5].amplitude = 9000, 9000
	step("three much louder", "457")
	all[7].amplitude = 8000
	step("one of them a little less", "457")
	for _, k := range all {
		k.amplitude = 0
	}
	step("silence", "457")
	all[2].amplitude = 5000
	step("one speaks", "245")
	m.RemoveInput(all[2].in)
	all[2] = talk(t, m, "2", 500, 5000)
	step("and comes anew", "024") // 0 and 4 were mixed before
}

// TestTalkersDoNotFlicker has five that are about equally loud: the choice changes seldom.
func TestTalkersDoNotFlicker(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	m := New(Config{})
	var inputs []*Input
	for i := range 5 {
		inputs = append(inputs, input(t, m, fmt.Sprint(i)))
		listen(t, m, fmt.Sprint(i))
	}
	changes, was := 0, make([]bool, 5)
	for range 1000 {
		for _, in := range inputs {
			noise(t, r, in, 4000*(0.8+0.4*r.Float64()))
		}
		m.Mix()
		for i, in := range inputs {
			if in.Mixed() != was[i] {
				changes++
				was[i] = in.Mixed()
			}
		}
	}
	if changes > 3 {
		t.Errorf("%d changes in ten seconds", changes)
	}
}

func TestSharing(t *testing.T) {
	m := New(Config{ShareAfter: 500 * time.Millisecond})
	a := talk(t, m, "A", 440, loud)
	b := talk(t, m, "B", 880, 0)
	all := []*talker{a, b}
	la, lb, lb2, viewer := listen(t, m, "A"), listen(t, m, "B"), listen(t, m, "B"), listen(t, m, "")
	play(t, m, 10, all)
	if len(m.outputs) != 2 || la.l.Output() == viewer.l.Output() || lb.l.Output() != viewer.l.Output() {
		t.Errorf("%d outputs: A is to have its own, B that of the viewers", len(m.outputs))
	}
	b.amplitude = loud
	play(t, m, 1, all)
	if len(m.outputs) != 3 || lb.l.Output() == viewer.l.Output() || lb.l.Output() != lb2.l.Output() {
		t.Errorf("%d outputs: B speaks and is to have its own", len(m.outputs))
	}
	b.amplitude = 0
	play(t, m, 40, all)
	if len(m.outputs) != 3 {
		t.Errorf("%d outputs after 0.4 s", len(m.outputs))
	}
	play(t, m, 20, all)
	if len(m.outputs) != 2 || lb.l.Output() != viewer.l.Output() {
		t.Errorf("%d outputs after 0.6 s", len(m.outputs))
	}
	m.RemoveListener(viewer.l)
	m.RemoveListener(viewer.l)
	m.RemoveListener(lb.l)
	play(t, m, 1, all)
	if len(m.outputs) != 2 {
		t.Errorf("%d outputs: one B is there still, and hears what all hear", len(m.outputs))
	}
	m.RemoveListener(lb2.l)
	play(t, m, 1, all)
	if len(m.outputs) != 1 || m.outputs[0] != la.l.Output() {
		t.Errorf("%d outputs for A alone", len(m.outputs))
	}
}

// TestOwnAndSharedMeet: when a listener gets an output of its own, and when it comes back to the shared one, nothing jumps, although
// both are turned down.
func TestOwnAndSharedMeet(t *testing.T) {
	m := New(Config{ShareAfter: 100 * time.Millisecond})
	a, b := talk(t, m, "A", 440, 30_000), talk(t, m, "B", 880, 30_000)
	c := talk(t, m, "C", 660, 20_000)
	e := listen(t, m, "C")
	play(t, m, 100, []*talker{a, b}, e)
	play(t, m, 100, []*talker{a, b, c}, e)
	if got := bend(e.pcm[50*FrameLength:]); got > 700 {
		t.Errorf("a bend of %d", got)
	}
	c.in.SetMuted(true)
	play(t, m, 1, []*talker{a, b, c}, e)
	for range 30 {
		was := e.l.Output()
		play(t, m, 1, []*talker{a, b, c}, e)
		if e.l.Output() == was {
			continue
		}
		if e.l.Output() != m.Shared() {
			t.Fatal("another output")
		}
		pcm := e.pcm[len(e.pcm)-3*FrameLength:]
		if got := bend(pcm); got > 700 { // of the tones themselves: 300
			t.Errorf("a bend of %d", got)
		}
		return
	}
	t.Error("does not share")
}

func TestActiveInput(t *testing.T) {
	m := New(Config{})
	a, b := talk(t, m, "A", 440, 0), talk(t, m, "B", 880, 0)
	all := []*talker{a, b}
	second := func(want *Input) {
		t.Helper()
		got := play(t, m, 100, all)
		switch {
		case want == nil && len(got) > 0, len(got) > 1, want != nil && (len(got) != 1 || got[0] != want):
			t.Errorf("told %d changes", len(got))
		}
	}
	second(nil) // silence: nobody
	a.amplitude = 5000
	second(a.in)
	second(nil) // as before
	b.amplitude = 8000
	second(b.in)
	a.amplitude, b.amplitude = 0, 0
	second(nil) // a rest of voice may be left of B
	second(nil)
	m.ResetActive()
	second(nil)
	b.amplitude = 8000
	second(b.in)
	m.ResetActive()
	second(b.in)
	a.amplitude = 20_000
	a.in.SetMuted(true)
	second(nil)
	a.in.SetMuted(false)
	second(a.in)
	m.RemoveInput(a.in)
	all = all[1:]
	second(b.in)
}

func TestLimits(t *testing.T) {
	m := New(Config{})
	for i := range MaxInputs + 1 {
		if _, err := m.AddInput("P"); (err != nil) != (i == MaxInputs) || err != nil && !errors.Is(err, ErrInputs) {
			t.Fatalf("input %d: %v", i, err)
		}
	}
	for i := range MaxListeners + 1 {
		if _, err := m.AddListener("P"); (err != nil) != (i == MaxListeners) || err != nil && !errors.Is(err, ErrListeners) {
			t.Fatalf("listener %d: %v", i, err)
		}
	}
	for range MaxListeners + 1 {
		listen(t, m, "")
	}
}

func TestGroupsAreForgotten(t *testing.T) {
	m := New(Config{})
	for i := range 1000 {
		name := fmt.Sprint("P", i)
		p := talk(t, m, name, 440, loud)
		e := listen(t, m, name)
		play(t, m, 2, []*talker{p})
		if i%2 == 0 {
			m.RemoveListener(e.l)
		}
		m.RemoveInput(p.in)
		m.RemoveInput(p.in)
		play(t, m, 1, nil)
		m.RemoveListener(e.l)
	}
	if len(m.groups) != 0 || len(m.inputs) != 0 || m.everybody != 0 {
		t.Errorf("%d groups, %d inputs, %d listeners are left", len(m.groups), len(m.inputs), m.everybody)
	}
}

// TestMinutes mixes for five minutes: what goes in comes out, sample by sample, and nothing piles up.
func TestMinutes(t *testing.T) {
	m := New(Config{Talkers: -1})
	viewer := listen(t, m, "")
	in, phone := input(t, m, "A"), input(t, m, "B")
	quiet := make([]int16, 160)
	var pcm [2 * FrameLength]int16
	n := int32(0)
	for frame := range 30_000 {
		if frame%2 == 0 { // packets of 20 ms
			for i := range pcm {
				n = n*1_103_515_245 + 12_345
				pcm[i] = int16(n >> 18)
			}
			if in.Write(pcm[:], Rate, Channels) != nil || phone.Write(quiet, 8000, 1) != nil {
				t.Fatal("not taken")
			}
		}
		m.Mix()
		if frame > 0 && viewer.l.Output().PCM != [FrameLength]int16(pcm[frame%2*FrameLength:]) {
			t.Fatalf("frame %d is another", frame)
		}
		if in.Buffered() != (1-frame%2)*FrameSamples || phone.Buffered() != (1-frame%2)*FrameSamples {
			t.Fatalf("frame %d: %d and %d samples wait", frame, in.Buffered(), phone.Buffered())
		}
	}
}

func TestTooMuchIsDropped(t *testing.T) {
	m := New(Config{})
	in := input(t, m, "")
	viewer := listen(t, m, "")
	s := tone{hz: 100, amplitude: 1000}
	if err := in.Write(s.next(3*Rate, Rate, 2), Rate, 2); err != nil {
		t.Fatal(err)
	}
	if in.Buffered() > maxBuffered || in.Dropped() != uint64(3*Rate-in.Buffered()) {
		t.Errorf("%d wait, %d dropped", in.Buffered(), in.Dropped())
	}
	want := s.next(1, Rate, 1)[0]
	for in.Buffered() >= in.Need() {
		m.Mix()
		viewer.hear()
	}
	if got := viewer.pcm[len(viewer.pcm)-1]; got > want+20 || got < want-20 {
		t.Errorf("ends with %d, not the newest, %d", got, want)
	}
}

func TestUnknownFormats(t *testing.T) {
	in := input(t, New(Config{}), "")
	for _, c := range [][2]int{{0, 1}, {-8000, 1}, {48_001, 2}, {48_000, 0}, {48_000, 3}, {48_000, -1}} {
		if err := in.Write(make([]int16, 100), c[0], c[1]); !errors.Is(err, ErrFormat) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if in.Buffered() != 0 {
		t.Error("something was taken")
	}
}
