package speakers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	ms    = int64(time.Millisecond)
	start = int64(1_700_000_000) * int64(time.Second)
)

// stage is a Selector with named inputs and a clock, in milliseconds since start.
type stage struct {
	t      *testing.T
	s      *Selector
	inputs map[string]*Input
	names  map[*Input]string
	now    int64
}

func newStage(t *testing.T, slots int, names string) *stage {
	g := &stage{t: t, s: New(slots), inputs: map[string]*Input{}, names: map[*Input]string{}}
	for _, name := range strings.Fields(names) {
		g.add(name)
	}
	return g
}

func (g *stage) add(name string) {
	in := g.s.Add()
	g.inputs[name], g.names[in] = in, name
}

// speak lets d milliseconds pass in which those named send a packet every 20 ms. "a:20" has voice at -20 dBov, "a~20" none.
func (g *stage) speak(d int64, who string) {
	for end := g.now + d; g.now < end; g.now += 20 {
		for _, w := range strings.Fields(who) {
			var level uint8
			name, text, voice := strings.Cut(w, ":")
			if !voice {
				name, text, _ = strings.Cut(w, "~")
			}
			if _, err := fmt.Sscan(text, &level); err != nil {
				g.t.Fatal(err)
			}
			g.inputs[name].Packet(level, voice, start+g.now*ms)
		}
	}
}

// decide is the slots after a decision: names, "*" behind the major, "-" where nobody is. It checks the changes against them.
func (g *stage) decide() string {
	before := slices.Clone(g.s.told)
	due := !g.s.ever || start+g.now*ms-g.s.decided >= int64(Interval)
	changes := g.s.Decide(start + g.now*ms)
	var list []string
	for i := range g.s.slots {
		is := Change{Slot: i, Input: g.s.At(i), Major: g.s.At(i) != nil && g.s.At(i) == g.s.major}
		if told := slices.Contains(changes, is); told != (due && is != before[i]) {
			g.t.Errorf("at %d ms slot %d: told %v, was %+v, is %+v", g.now, i, told, before[i], is)
		}
		text := "-"
		if is.Input != nil {
			text = g.names[is.Input]
		}
		if is.Major {
			text += "*"
		}
		list = append(list, text)
	}
	return strings.Join(list, " ")
}

type step struct {
	d    int64 // milliseconds
	who  string
	want string
}

func TestDecide(t *testing.T) {
	for name, c := range map[string]struct {
		inputs string
		steps  []step
	}{
		"nobody": {"", []step{{200, "", "- - -"}}},
		"silent ones take free slots, and nobody is major": {"a b", []step{{200, "", "a b -"}, {200, "a~20 b~30", "a b -"}}},
		"the loudest is major":                             {"a b c", []step{{200, "a:40 b:20 c:30", "b* c a"}, {200, "a:10 b:20 c:30", "b c a*"}}},
		"a louder one takes the slot of the quietest": {"a b c d", []step{
			{200, "a:10 b:30 c:20", "a* c b"}, {200, "a:10 b:30 c:20 d:15", "a* c d"}, {200, "a:10 b:14 c:20 d:15", "a* b d"}}},
		"in the top three, nobody moves": {"a b c d", []step{
			{200, "a:10 b:20 c:30 d:40", "a* b c"}, {200, "a:30 b:10 c:20 d:40", "a b* c"}, {200, "a:38 b:39 c:10 d:40", "a b c*"}}},
		"who is as loud takes nothing": {"a b c d e", []step{
			{200, "a:30 b:30 c:30", "a* b c"}, {200, "d:30 e:30 a:30 b:30 c:30", "a* b c"}}},
		"no voice is no loudness":           {"a b c d", []step{{200, "a:50 b:50 c:50 d~0", "a* b c"}, {600, "d~0", "a* b c"}}},
		"silence keeps slots and the major": {"a b c", []step{{200, "b:20", "b* a c"}, {2000, "", "b* a c"}}},
		"a silent major gives way at once to who speaks": {"a b c", []step{
			{200, "b:20", "b* a c"}, {600, "", "b* a c"}, {200, "a:90", "b a* c"}}},
		"within 600 ms of its last word an input is as loud as then": {"a b c d", []step{
			{200, "a:20 b:20 c:20", "a* b c"}, {400, "d:40", "a* b c"}, {200, "d:40", "a b d*"}}},
		"digital silence with the voice flag is more than none": {"a b c d", []step{{200, "d:127", "d* a b"}}},
		"levels are averages": {"a b c d", []step{{200, "a:20 b:20 c:40 c:20 d:31", "a* b c"}, {200, "a:20 b:20 c:40 c:20 d:29", "a* b d"}}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newStage(t, 3, c.inputs)
			for i, s := range c.steps {
				g.speak(s.d, s.who)
				if got := g.decide(); got != s.want {
					t.Fatalf("step %d: %q, want %q", i, got, s.want)
				}
			}
		})
	}
}

func TestAtMostEvery200ms(t *testing.T) {
	g := newStage(t, 1, "a b")
	if got := g.decide(); got != "a" {
		t.Fatalf("at first: %q", got)
	}
	g.speak(180, "b:10")
	g.now = 199
	if got := g.decide(); got != "a" {
		t.Errorf("after 199 ms: %q", got)
	}
	g.now = 200
	if got := g.decide(); got != "b*" {
		t.Errorf("after 200 ms: %q", got)
	}
	if changes := g.s.Decide(start + 400*ms); len(changes) != 0 {
		t.Errorf("nothing has changed: %+v", changes)
	}
}

func TestSilenceIs600ms(t *testing.T) {
	for gap, want := range map[int64]string{599: "a*", 600: "b*"} {
		g := newStage(t, 1, "a b")
		g.inputs["a"].Packet(10, true, start)
		g.s.Decide(start)
		g.now = gap
		g.inputs["b"].Packet(100, true, start+gap*ms)
		if got := g.decide(); got != want {
			t.Errorf("%d ms after the last word: %q, want %q", gap, got, want)
		}
	}
}

func TestAddAndRemove(t *testing.T) {
	g := newStage(t, 2, "a b c")
	g.speak(200, "a:10 b:20 c:30")
	if got := g.decide(); got != "a* b" {
		t.Fatalf("at first: %q", got)
	}
	gone := g.inputs["a"]
	g.s.Remove(gone)
	g.s.Remove(gone)
	if g.s.At(0) != nil {
		t.Error("who was removed is still in its slot")
	}
	gone.Packet(0, true, start+g.now*ms) // a late packet
	g.speak(200, "b:40 c:30")
	if got := g.decide(); got != "c* b" {
		t.Errorf("after removal: %q", got)
	}
	g.s.Remove(g.inputs["b"])
	g.s.Remove(g.inputs["c"])
	g.now += 200
	if got := g.decide(); got != "- -" {
		t.Errorf("when all are gone: %q", got)
	}
	g.add("d")
	g.now += 200
	if got := g.decide(); got != "d -" {
		t.Errorf("a new one: %q", got)
	}
}

// crowd is 100 inputs, of which 90 always talk.
func crowd() (*Selector, []*Input) {
	s := New(3)
	inputs := make([]*Input, 100)
	for i := range inputs {
		inputs[i] = s.Add()
	}
	return s, inputs
}

func talk(inputs []*Input, round int, now int64) {
	for i, in := range inputs[:90] {
		in.Packet(uint8((i*31+round*17)%128), true, now)
	}
}

func TestAllocatesNothing(t *testing.T) {
	s, inputs := crowd()
	now, round, changes := start, 0, 0
	if n := testing.AllocsPerRun(200, func() {
		now += int64(Interval)
		round++
		talk(inputs, round, now)
		changes += len(s.Decide(now))
	}); n != 0 {
		t.Errorf("%v allocations for 90 packets and a decision", n)
	}
	if changes < 200 {
		t.Errorf("only %d changes", changes)
	}
}

func BenchmarkPacket(b *testing.B) {
	_, inputs := crowd()
	b.ReportAllocs()
	now := start
	for b.Loop() {
		now += 20 * ms
		inputs[0].Packet(30, true, now)
	}
}

// BenchmarkDecide is one decision about 100 inputs of which 90 talk, with their 90 packets.
func BenchmarkDecide(b *testing.B) {
	s, inputs := crowd()
	b.ReportAllocs()
	now, round := start, 0
	for b.Loop() {
		now += int64(Interval)
		round++
		talk(inputs, round, now)
		s.Decide(now)
	}
}
