package layer

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"portico/shared/rtp/inspect"
)

// next asks about a packet, and says in one word what was decided: "." ignored, "-" left out, "F" forwarded, "S" switched to; with
// "*" it is the last of its picture.
func next(s *Selector, encoding int, ts uint32, key bool, f inspect.Frame) string {
	d := s.Next(Packet{Encoding: encoding, Timestamp: ts, Key: key, Frame: &f})
	word := ".-F"[d.Choice : d.Choice+1]
	if d.Switch {
		word = "S"
	}
	if d.Choice == Forward && d.Limits.Last(&f) {
		word += "*"
	}
	return word
}

func TestSimulcast(t *testing.T) {
	s := New()
	got := ""
	step := func(encoding int, ts uint32, key bool) { got += next(s, encoding, ts, key, inspect.Frame{}) }
	s.SetTarget(Target{Encoding: 0, Spatial: -1, Temporal: -1})
	step(0, 1, false)
	step(0, 2, true)
	step(0, 3, false)
	s.SetTarget(Target{Encoding: 2, Spatial: -1, Temporal: -1})
	if s.Settled() {
		t.Error("a switch that waits is settled")
	}
	step(2, 3, false)
	step(0, 4, false) // the old one goes on
	step(1, 4, true)  // nobody wants this one
	step(2, 4, true)
	step(0, 5, true) // and is over then
	step(2, 5, false)
	if !s.Settled() || s.Current() != 2 {
		t.Error("not settled on the encoding wanted")
	}
	s.Restart()
	step(2, 6, false)
	step(0, 6, true) // while nothing is shown any key frame will do
	step(2, 7, false)
	step(2, 8, true)
	if want := ".SF.F.S.F.S.S"; got != want {
		t.Errorf("decided %s, want %s", got, want)
	}
	// The list changes: the same encoding has another place, or none.
	s.SetCurrent(0)
	s.SetTarget(Target{Encoding: 0, Spatial: -1, Temporal: -1})
	if w := next(s, 0, 9, false, inspect.Frame{}); w != "F" {
		t.Errorf("in its new place: %s", w)
	}
	s.SetCurrent(-1)
	if w := next(s, 0, 10, false, inspect.Frame{}); w != "." || !s.Waiting() {
		t.Errorf("without a place: %s", w)
	}
}

func TestVP8Temporal(t *testing.T) {
	s := New()
	ts := uint32(0)
	step := func(temporal uint8, sync, key bool) string {
		ts++
		return next(s, 0, ts, key, inspect.Frame{Begin: true, Layered: true, Temporal: temporal, Sync: sync})
	}
	got := step(0, false, true) + step(2, false, false) + step(1, false, false)
	s.SetTarget(Target{Spatial: -1, Temporal: 0})
	got += step(2, false, false) + step(1, true, false) + step(0, false, false) // at once
	s.SetTarget(Target{Spatial: -1, Temporal: -1})
	got += step(2, true, false)  // not before the layer below
	got += step(1, false, false) // needs one that was left out
	got += step(1, true, false)
	got += step(2, false, false)
	got += step(0, false, false)
	got += step(2, true, false)
	got += step(2, false, false)
	if want := "SFF--F--F-FFF"; got != want {
		t.Errorf("decided %s, want %s", got, want)
	}
	s.SetTarget(Target{Spatial: -1, Temporal: 1})
	got = step(2, false, false)
	s.SetTarget(Target{Spatial: -1, Temporal: 2})
	got += step(0, false, true) + step(2, false, false) // a key frame brings all
	if want := "-FF"; got != want {
		t.Errorf("decided %s, want %s", got, want)
	}
}

// TestVP9Spatial: three layers, each of two packets; between two pictures of them the target changes.
func TestVP9Spatial(t *testing.T) {
	s := New()
	ts := uint32(0)
	picture := func(key, inter bool, temporal uint8, up bool) string {
		ts++
		word := ""
		for spatial := range uint8(3) {
			for _, end := range []bool{false, true} {
				word += next(s, 0, ts, key && spatial == 0 && !end, inspect.Frame{
					Spatial: spatial, Temporal: temporal, Begin: !end, End: end, Inter: inter, Layered: true, SwitchUp: up,
				})
			}
		}
		return word
	}
	check := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("decided %s, want %s", got, want)
		}
	}
	check(picture(true, false, 0, true), "SFFFFF")
	s.SetTarget(Target{Spatial: 1, Temporal: -1})
	check(picture(false, true, 0, true), "FFFF*--")
	s.SetTarget(Target{Spatial: 0, Temporal: 0})
	check(picture(false, true, 0, true), "FF*----")
	check(picture(false, true, 1, true), "------")
	s.SetTarget(Target{Spatial: 2, Temporal: 1})
	if s.Settled() {
		t.Error("settled without the upper layers")
	}
	check(picture(false, true, 1, false), "------") // where one may switch is known behind a picture of the base layer
	check(picture(false, true, 0, true), "FF*----")
	check(picture(false, true, 1, false), "FF*----")
	check(picture(false, false, 0, false), "FF*----") // the lower layer has gone out as the end of the picture
	check(picture(false, true, 0, false), "FF*----")
	s.SetTarget(Target{Spatial: -1, Temporal: -1})
	check(picture(true, true, 0, false), "FFFFFF")
	if !s.Settled() {
		t.Error("not settled after a key frame")
	}
}

// chromeStructure is the descriptor of a Chromium's key frame with three spatial and three temporal layers.
const chromeStructure = "c1017280081485214eafffaaaa863cf0430c10c302afc0aaa0063c00430010c002a000a80006000040001d954926e082b04a0941b820ac1282503157f97400" +
	"0ca864330e222222eca8655304224230eca877530077004200ef008601df010d"

// av1 makes the frames of such a stream.
type av1 struct {
	t       testing.TB
	reader  inspect.Dependencies
	number  uint16
	picture int
}

// templates of the pictures of one round, for the lowest spatial layer; each further one has 5 more.
var templates = [4]byte{0, 3, 2, 4}

func (a *av1) frames(key bool) (list []inspect.Frame) {
	if key {
		a.picture = 0
	}
	for spatial := range byte(3) {
		template := templates[a.picture%4]
		if key {
			template = 1
		}
		descriptor := []byte{0xc0 | template + 5*spatial, byte(a.number >> 8), byte(a.number)}
		if key && spatial == 0 {
			structure, err := hex.DecodeString(chromeStructure)
			if err != nil {
				a.t.Fatal(err)
			}
			descriptor = append(descriptor, structure[3:]...)
		}
		f, ok := a.reader.Read(descriptor)
		if !ok {
			a.t.Fatalf("descriptor %x makes no sense", descriptor)
		}
		list = append(list, f)
		a.number++
	}
	a.picture++
	return list
}

func TestAV1(t *testing.T) {
	s := New()
	a := &av1{t: t, number: 65530}
	ts := uint32(0)
	picture := func(key bool) (word string) {
		ts++
		for i, f := range a.frames(key) {
			word += next(s, 0, ts, key && i == 0, f)
		}
		return word
	}
	check := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("decided %s, want %s", got, want)
		}
	}
	check(picture(true), "SFF*")
	check(picture(false), "FFF*") // T2
	s.SetTarget(Target{Spatial: 1, Temporal: 2})
	check(picture(false), "FF*-") // T1
	s.SetTarget(Target{Spatial: 1, Temporal: 0})
	check(picture(false), "---") // T2
	check(picture(false), "FF*-")
	check(picture(false), "---")
	s.SetTarget(Target{Spatial: 0, Temporal: 2})
	check(picture(false), "F*--") // T1: needs but T0
	check(picture(false), "F*--")
	check(picture(false), "F*--")
	check(picture(false), "F*--")
	s.SetTarget(Target{Spatial: -1, Temporal: -1})
	if s.Settled() {
		t.Error("settled without the upper layers")
	}
	for range 8 {
		if w := picture(false); w != "F*--" {
			t.Errorf("decided %s before a key frame", w)
		}
	}
	check(picture(true), "FFF*")
	if !s.Settled() {
		t.Error("not settled after a key frame")
	}
}

// world is a stream whose frames know what they need, to check what a Selector lets through.
type world struct {
	rng     *rand.Rand
	history []*frame
	sent    map[*frame]bool
	codec   string
	av1     *av1
}

type frame struct {
	inspect.Frame
	picture int
	needs   []*frame
}

// find is the newest frame before with those layers.
func (w *world) find(spatial, temporal uint8) *frame {
	for _, f := range slices.Backward(w.history) {
		if f.Spatial == spatial && f.Temporal <= temporal {
			return f
		}
	}
	return nil
}

func (w *world) make(picture int, key bool) (list []*frame) {
	temporal := [4]uint8{0, 2, 1, 2}[picture%4]
	if key {
		temporal = 0
		w.history = nil
	}
	switch w.codec {
	case "vp8":
		f := &frame{Frame: inspect.Frame{Begin: true, Layered: true, Temporal: temporal, Counted: true}}
		f.Sync = temporal > 0 && w.rng.IntN(2) == 0
		if !key {
			reach := temporal
			if f.Sync {
				reach = 0
			}
			f.needs = append(f.needs, w.find(0, reach), w.find(0, 0))
		}
		list = append(list, f)
	case "vp9":
		flat := w.rng.IntN(6) == 0 && temporal == 0 // no prediction from earlier pictures in the upper layers
		for spatial := range uint8(3) {
			f := &frame{Frame: inspect.Frame{Begin: true, End: true, Layered: true, Spatial: spatial, Temporal: temporal, SwitchUp: true}}
			if f.Inter = !key && (!flat || spatial == 0); f.Inter {
				f.needs = append(f.needs, w.find(spatial, [4]uint8{0, 0, 0, 1}[picture%4]))
			}
			if spatial > 0 {
				f.needs = append(f.needs, list[spatial-1])
			}
			list = append(list, f)
		}
	case "av1":
		for i, d := range w.av1.frames(key) {
			f := &frame{Frame: d}
			for _, diff := range d.Diffs[:d.DiffCount] {
				for _, other := range append(w.history, list[:i]...) {
					if other.Number == d.Number-uint16(diff) {
						f.needs = append(f.needs, other)
					}
				}
			}
			list = append(list, f)
		}
	}
	w.history = append(w.history, list...)
	return list
}

// FuzzSelector lets a subscriber's wishes change at random, with key frames now and then, and checks that no frame is forwarded
// whose needs were left out, and that what is wanted is reached.
func FuzzSelector(f *testing.F) {
	for seed := range uint64(6) {
		f.Add(seed, uint8(seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, codec uint8) {
		w := &world{rng: rand.New(rand.NewPCG(seed, 3)), sent: map[*frame]bool{}, codec: []string{"vp8", "vp9", "av1"}[codec%3]}
		w.av1 = &av1{t: t, number: uint16(seed)}
		s := New()
		quiet := 0
		picture := 0
		for n := range 400 {
			if quiet++; w.rng.IntN(15) == 0 {
				s.SetTarget(Target{Spatial: int8(w.rng.IntN(4) - 1), Temporal: int8(w.rng.IntN(4) - 1)})
				quiet = 0
			}
			key := n == 0 || w.rng.IntN(25) == 0
			if key {
				picture, quiet = 0, 100
			}
			frames := w.make(picture, key)
			picture++
			var got []uint8
			for i, f := range frames {
				d := s.Next(Packet{Timestamp: uint32(n), Key: key && i == 0, Frame: &f.Frame})
				if d.Choice != Forward {
					continue
				}
				w.sent[f] = true
				got = append(got, f.Spatial)
				for _, need := range f.needs {
					if !w.sent[need] {
						t.Fatalf("%s picture %d: S%dT%d was forwarded without S%dT%d that it needs", w.codec, n, f.Spatial, f.Temporal, need.Spatial, need.Temporal)
					}
				}
			}
			if quiet >= 100 {
				wantS, wantT := limit(s.target.Spatial), limit(s.target.Temporal)
				var want []uint8
				for _, f := range frames {
					if f.Spatial <= wantS && f.Temporal <= wantT {
						want = append(want, f.Spatial)
					}
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%s picture %d, T%d: forwarded %v, want %v for %+v", w.codec, n, frames[0].Temporal, got, want, s.target)
				}
			}
		}
	})
}

func TestAllocs(t *testing.T) {
	s := New()
	a := &av1{t: t}
	key, inter := a.frames(true), a.frames(false)
	ts := uint32(0)
	if n := testing.AllocsPerRun(200, func() {
		ts += 2
		for i := range key {
			s.Next(Packet{Timestamp: ts, Key: i == 0, Frame: &key[i]})
			s.Next(Packet{Timestamp: ts + 1, Frame: &inter[i]})
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNext(b *testing.B) {
	a := &av1{t: b}
	frames := map[string][]inspect.Frame{
		"plain": {{}}, "vp9": {{Layered: true, Begin: true, End: true}, {Layered: true, Spatial: 1, Begin: true, End: true}}, "av1": a.frames(true),
	}
	for _, name := range []string{"plain", "vp9", "av1"} {
		b.Run(fmt.Sprint(name), func(b *testing.B) {
			s := New()
			s.SetTarget(Target{Spatial: 0, Temporal: -1})
			list := frames[name]
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s.Next(Packet{Timestamp: uint32(i / len(list)), Key: i == 0, Frame: &list[i%len(list)]})
			}
		})
	}
}
