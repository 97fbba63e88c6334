package inspect

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/pion/rtp/codecs"
)

func TestVP8Frame(t *testing.T) {
	for name, c := range map[string]struct {
		payload string
		want    Frame
	}{
		"plain":            {"10d0", Frame{Begin: true}},
		"rest":             {"00d0", Frame{}},
		"second partition": {"11d0", Frame{}},
		"short picture id": {"9080" + "41", Frame{Begin: true, PictureAt: 2, Picture: 0x41, Counted: true}},
		"long picture id":  {"9080" + "8141", Frame{Begin: true, PictureAt: 2, Picture: 0x141, Wide: true, Counted: true}},
		"all": {"90f0" + "ffff" + "07" + "a3", Frame{Begin: true, PictureAt: 2, Picture: 0x7fff, Wide: true, Counted: true,
			TL0At: 4, TL0: 7, Temporal: 2, Sync: true, Layered: true}},
		"key index alone": {"9010" + "a3", Frame{Begin: true}},
		"temporal alone":  {"9020" + "40", Frame{Begin: true, Temporal: 1, Layered: true}},
	} {
		if f, ok := VP8Frame(unhex(t, c.payload)); !ok || f != c.want {
			t.Errorf("%s: %+v, %v", name, f, ok)
		}
	}
	for _, s := range []string{"", "90", "9080", "908081", "904081"[:4], "9020", "90f08001"} {
		if f, ok := VP8Frame(unhex(t, s)); ok {
			t.Errorf("%s: %+v", s, f)
		}
	}
}

func TestVP9Frame(t *testing.T) {
	for name, c := range map[string]struct {
		payload string
		want    Frame
	}{
		"plain":      {"08", Frame{Begin: true}},
		"picture id": {"8c" + "05", Frame{Begin: true, End: true, PictureAt: 1, Picture: 5}},
		"non-flexible": {"ec" + "8123" + "55" + "09", Frame{Begin: true, End: true, Inter: true, PictureAt: 1, Picture: 0x123, Wide: true,
			Temporal: 2, SwitchUp: true, Spatial: 2, Layered: true, TL0At: 4, TL0: 9}},
		"flexible": {"f4" + "8123" + "25" + "02", Frame{End: true, Inter: true, PictureAt: 1, Picture: 0x123, Wide: true,
			Temporal: 1, Spatial: 2, Layered: true}},
	} {
		if f, ok := VP9Frame(unhex(t, c.payload)); !ok || f != c.want {
			t.Errorf("%s: %+v, %v", name, f, ok)
		}
	}
	for _, s := range []string{"", "80", "8081", "a005", "a00555"} {
		if f, ok := VP9Frame(unhex(t, s)); ok {
			t.Errorf("%s: %+v", s, f)
		}
	}
}

// TestVP9FrameLikePion compares with another reader of the same format.
func TestVP9FrameLikePion(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	read := 0
	for range 20_000 {
		b := make([]byte, 24)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		var theirs codecs.VP9Packet
		if _, err := theirs.Unmarshal(b); err != nil {
			continue
		}
		f, ok := VP9Frame(b)
		want := Frame{
			Begin: theirs.B, End: theirs.E, Inter: theirs.P, Layered: theirs.L, Picture: theirs.PictureID, Temporal: theirs.TID,
			Spatial: theirs.SID, SwitchUp: theirs.U, TL0: theirs.TL0PICIDX, PictureAt: f.PictureAt, TL0At: f.TL0At, Wide: f.Wide,
		}
		if read++; !ok || f != want || (f.PictureAt != 0) != theirs.I {
			t.Fatalf("%x: %+v, pion has %+v", b, f, theirs)
		}
		if sizes, n := VP9Sizes(b); n > 0 && (n != int(theirs.NS)+1 || sizes[n-1].Width != int(theirs.Width[n-1])) {
			t.Fatalf("%x: sizes %v, pion has %v", b, sizes[:n], theirs.Width)
		}
	}
	if read < 1000 {
		t.Errorf("only %d were readable", read)
	}
}

func TestVP9Sizes(t *testing.T) {
	for _, s := range []string{
		"0a" + "30" + "014000b4" + "02800168",
		"8a" + "8101" + "30" + "014000b4" + "02800168",
		"aa" + "8101" + "0000" + "30" + "014000b4" + "02800168",
		"fa" + "8101" + "00" + "0302" + "30" + "014000b4" + "02800168", // two references
	} {
		sizes, n := VP9Sizes(unhex(t, s))
		if n != 2 || sizes[0] != (Size{320, 180}) || sizes[1] != (Size{640, 360}) {
			t.Errorf("%s: %v", s, sizes[:n])
		}
	}
	for _, s := range []string{"", "08", "0a", "0a00", "0a30014000b402", "faff0101010101010130014000b402800168"} {
		if sizes, n := VP9Sizes(unhex(t, s)); n != 0 {
			t.Errorf("%s: %v", s, sizes[:n])
		}
	}
}

func TestAV1Frame(t *testing.T) {
	layered := Frame{Temporal: 2, Spatial: 1, Layered: true}
	for name, c := range map[string]struct {
		payload string
		want    Frame
		ok      bool
	}{
		"frame with layers":     {"10" + "3448" + "aabb", layered, true},
		"behind the sequence":   {"280e" + av1Sequence + "3448aabb", layered, true},
		"behind a delimiter":    {"20" + "0110" + "3448aabb", layered, true},
		"frame without":         {"10" + av1Frame, Frame{}, true},
		"sequence header alone": {"18" + av1Sequence, Frame{}, false},
		"rest of an OBU":        {"903448", Frame{}, false},
		"cut off":               {"1034", Frame{}, false},
		"nothing":               {"10", Frame{}, false},
	} {
		if f, ok := AV1Frame(unhex(t, c.payload)); ok != c.ok || f != c.want {
			t.Errorf("%s: %+v, %v", name, f, ok)
		}
	}
}

// chromeStructure and chromeFrames are dependency descriptors of a Chromium that sends three spatial and three temporal layers.
const chromeStructure = "c1017280081485214eafffaaaa863cf0430c10c302afc0aaa0063c00430010c002a000a80006000040001d954926e082b04a0941b820ac1282503157f97400" +
	"0ca864330e222222eca8655304224230eca877530077004200ef008601df010d"

func TestDependencies(t *testing.T) {
	var d Dependencies
	if f, ok := d.Read(unhex(t, "860173")); ok {
		t.Errorf("without a structure: %+v", f)
	}
	f, ok := d.Read(unhex(t, chromeStructure))
	if !ok || !f.Key || !f.Begin || !f.End || f.Number != 370 || f.Spatial != 0 || f.Temporal != 0 || f.DiffCount != 0 || f.Active != 1<<9-1 {
		t.Fatalf("key frame: %+v, %v", f, ok)
	}
	s := f.Structure
	if s.Count != 9 || s.Spatial != 3 || s.Sizes[0] != (Size{120, 67}) || s.Sizes[2] != (Size{480, 270}) {
		t.Errorf("structure of %d decode targets, sizes %v", s.Count, s.Sizes)
	}
	for i := range 9 {
		if want := (DecodeTarget{uint8(i / 3), uint8(i % 3)}); s.Targets[i] != want || f.Indication(i) != Switch {
			t.Errorf("decode target %d: %+v, %d", i, s.Targets[i], f.Indication(i))
		}
	}
	for _, c := range []struct {
		descriptor        string
		begin, end        bool
		number            uint16
		spatial, temporal uint8
		diffs             []uint8
		targets           string
		active            uint32
	}{
		{"86017340fc", true, false, 371, 1, 0, []uint8{1}, "---SSSSSS", 0x3f},
		{"46017340fc", false, true, 371, 1, 0, []uint8{1}, "---SSSSSS", 0x3f},
		{"8b0174", true, false, 372, 2, 0, []uint8{1}, "------SSS", 0x3f}, // what is active stays so
		{"c3017540fc", true, true, 373, 0, 2, []uint8{3}, "--D--R--R", 0x3f},
		{"88017640fc", true, false, 374, 1, 2, []uint8{3, 1}, "-----D--R", 0x3f},
		{"c2017840fc", true, true, 376, 0, 1, []uint8{6}, "-DS-RR-RR", 0x3f},
	} {
		f, ok := d.Read(unhex(t, c.descriptor))
		var targets []byte
		for i := range s.Count {
			targets = append(targets, "-DSR"[f.Indication(i)])
		}
		if !ok || f.Begin != c.begin || f.End != c.end || f.Number != c.number || f.Spatial != c.spatial || f.Temporal != c.temporal ||
			!bytes.Equal(f.Diffs[:f.DiffCount], c.diffs) || string(targets) != c.targets || f.Active != c.active || f.Structure != s {
			t.Errorf("%s: %+v %s, %v", c.descriptor, f, targets, ok)
		}
	}
	if again, ok := d.Read(unhex(t, chromeStructure)); !ok || again.Structure != s {
		t.Error("the same structure again is another one")
	}
	for _, bad := range []string{"", "c101", "bf0173", chromeStructure[:60], "c10172a0"} {
		if f, ok := d.Read(unhex(t, bad)); ok {
			t.Errorf("%s: %+v", bad, f)
		}
	}
}

// TestDependenciesCustom reads a frame that differs from its template.
func TestDependenciesCustom(t *testing.T) {
	var d Dependencies
	d.Read(unhex(t, chromeStructure))
	var b bits
	b.add(1, 1) // start
	b.add(0, 1) // end
	b.add(2, 6) // template
	b.add(900, 16)
	b.add(0, 2) // no structure, active as before
	b.add(0b111, 3)
	for i := range 9 {
		b.add(uint64(i%4), 2)
	}
	b.add(1, 2) // a difference of 4 bits
	b.add(4, 4)
	b.add(2, 2) // of 8
	b.add(199, 8)
	b.add(0, 2)
	for range 3 { // chains
		b.add(17, 8)
	}
	f, ok := d.Read(b.bytes())
	if !ok || f.Number != 900 || f.DiffCount != 2 || f.Diffs[0] != 5 || f.Diffs[1] != 200 || f.Temporal != 1 {
		t.Fatalf("%+v, %v", f, ok)
	}
	for i := range 9 {
		if f.Indication(i) != Indication(i%4) {
			t.Errorf("decode target %d: %d", i, f.Indication(i))
		}
	}
	// More than a Frame holds.
	b = b[:24]
	b.add(0, 2)
	b.add(0b010, 3)
	b.add(3, 2)
	b.add(2000, 12)
	b.add(0, 2)
	if f, ok := d.Read(b.bytes()); !ok || f.DiffCount != TooMany {
		t.Errorf("a far difference: %+v, %v", f, ok)
	}
}

func TestFrameAllocs(t *testing.T) {
	vp8, vp9, av1 := unhex(t, "90f0ffff07a3"), unhex(t, "ec81235509"), unhex(t, "103448aabb")
	structure, frame := unhex(t, chromeStructure), unhex(t, "86017340fc")
	var d Dependencies
	d.Read(structure)
	if n := testing.AllocsPerRun(100, func() {
		VP8Frame(vp8)
		VP9Frame(vp9)
		AV1Frame(av1)
		d.Read(structure)
		d.Read(frame)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzFrame(f *testing.F) {
	for _, s := range []string{vp8Key, vp8Inter, "90f0ffff07a3", "ec81235509", "0a30014000b402800168" + vp9Header, "fa8101000302" + "30014000b402800168",
		"280e" + av1Sequence + "3448aabb", "103448aabb"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, codec := range []string{"vp8", "vp9", "av1"} {
			frame, ok := FrameFor(codec)(payload)
			if !ok {
				continue
			}
			wide := 0
			if frame.Wide {
				wide = 1
			}
			if frame.PictureAt != 0 && int(frame.PictureAt)+wide >= len(payload) || frame.TL0At != 0 && int(frame.TL0At) >= len(payload) {
				t.Errorf("%s: numbers past the end: %+v", codec, frame)
			}
			if frame.Spatial >= MaxSpatial || frame.Temporal > 7 {
				t.Errorf("%s: %+v", codec, frame)
			}
		}
		if _, n := VP9Sizes(payload); n < 0 || n > MaxSpatial {
			t.Errorf("%d sizes", n)
		}
	})
}

func FuzzDependencies(f *testing.F) {
	f.Add([]byte{}, []byte{0x86, 1, 0x73})
	for _, s := range []string{"86017340fc", "c3017540fc", "8b0174"} {
		f.Add(unhex(f, chromeStructure), unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var d Dependencies
		for _, descriptor := range [][]byte{first, second, first} {
			frame, ok := d.Read(descriptor)
			if !ok {
				continue
			}
			if s := frame.Structure; s == nil || s.Count < 1 || s.Count > MaxTargets || s.Spatial > MaxSpatial {
				t.Fatalf("%+v", frame)
			}
			if frame.DiffCount != TooMany && int(frame.DiffCount) > len(frame.Diffs) || int(frame.Spatial) >= frame.Structure.Spatial {
				t.Errorf("%+v", frame)
			}
		}
	})
}
