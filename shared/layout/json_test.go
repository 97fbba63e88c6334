package layout

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

// An update of portal protocol T-140 and management API C30.
func TestSceneOnTheWire(t *testing.T) {
	expect(t, with(view(t, "fluid", 16), 1).Scene().Value().String(),
		`[{"stream":"S1","region":{"id":"1","shape":"rectangle","area":{"left":"0/1","top":"0/1","width":"1/1","height":"1/1"}}}]`)
}

// Management API C35: what is given and what is answered.
func TestC_35_LayoutIsEchoed(t *testing.T) {
	scene := layout(t, `[{"stream":"S1","region":{"id":"1","shape":"rectangle","area":{"left":"0","top":"0","width":"1/2","height":"1"}}},
		{"region":{"id":"2","shape":"rectangle","area":{"left":"1/2","top":"0","width":"1/2","height":"1"}}}]`)
	a := moved(t)(with(view(t, "fluid", 16), 1).Set(scene))
	expect(t, a.Scene().Value().String(),
		`[{"stream":"S1","region":{"id":"1","shape":"rectangle","area":{"left":"0/1","top":"0/1","width":"1/2","height":"1/1"}}},`+
			`{"region":{"id":"2","shape":"rectangle","area":{"left":"1/2","top":"0/1","width":"1/2","height":"1/1"}}}]`)
	// C37
	if b, err := a.MoveTo("S1", 0); err != nil || !slices.Equal(a.Scene(), b.Scene()) {
		t.Errorf("became %s, %v", show(b.Scene()), err)
	}
	for _, i := range []int{1, 9} {
		if _, err := a.MoveTo("S1", i); err != ErrRegion {
			t.Errorf("index %d: %v", i, err)
		}
	}
}

const anArea = `"area":{"left":"0","top":"0","width":"1/2","height":"1"}`

func TestC_36_LayoutRefused(t *testing.T) {
	entry := func(id, rest string) string { return `{"region":{"id":"` + id + `","shape":"rectangle",` + rest + `}}` }
	left := func(v string) string {
		return `[` + entry("1", `"area":{"left":`+v+`,"top":"0","width":"1/2","height":"1"}`) + `]`
	}
	const fraction = " is not a valid fraction string!"
	for _, c := range []struct{ text, want string }{
		{left(`"0.5"`), "layout.0.region.area.left: 0.5" + fraction},
		{left(`"2"`), "layout.0.region.area.left: 2" + fraction},
		{left(`"3/2"`), "layout.0.region.area.left: 3/2" + fraction},
		{left(`"-1/2"`), "layout.0.region.area.left: -1/2" + fraction},
		{left(`"1/0"`), "layout.0.region.area.left: 1/0" + fraction},
		{left(`"0/0"`), "layout.0.region.area.left: 0/0" + fraction},
		{left(`0`), "layout.0.region.area.left: " + fraction},
		{left(`null`), "layout.0.region.area.left: " + fraction},
		{left(`"` + strings.Repeat("1", 500) + `"`), "layout.0.region.area.left: " + strings.Repeat("1", maxFaultText) + "…" + fraction},
		{`[` + entry("1", `"area":{"left":"0"}`) + `]`, "layout.0.region.area.top: " + fraction},
		{`[` + entry("1", `"area":{"left":"0","depth":"1"}`) + `]`, "layout.0.region.area: should not have depth"},
		{`[` + entry("1", `"area":[]`) + `]`, "layout.0.region.area.left: " + fraction},
		{halves("", "S1"), "layout.1.stream: should come before all regions without one"},
		{halves("S1", "S1"), "layout.1.stream: should not be there twice"},
		{`[` + entry("1", anArea) + `,` + entry("1", anArea) + `]`, "layout.1.region.id: should differ from all others"},
		{`[` + entry("", anArea) + `]`, "layout.0.region.id: should be a text"},
		{`[` + entry(strings.Repeat("x", 129), anArea) + `]`, "layout.0.region.id: should be a text of 1 to 128 bytes"},
		{`[{"region":{"id":1,"shape":"rectangle",` + anArea + `}}]`, "layout.0.region.id: should be a text"},
		{`[{"region":{"id":"1","shape":"circle",` + anArea + `}}]`, "layout.0.region.shape: should be rectangle"},
		{`[{"region":{"id":"1",` + anArea + `}}]`, "layout.0.region.shape: should be rectangle"},
		{`[{"stream":"","region":{"id":"1","shape":"rectangle",` + anArea + `}}]`, "layout.0.stream: should be the id of a stream"},
		{`[{"stream":null,"region":{"id":"1","shape":"rectangle",` + anArea + `}}]`, "layout.0.stream: should be the id of a stream"},
		{`[{"stream":"S1","color":1,"region":{"id":"1","shape":"rectangle",` + anArea + `}}]`, "layout.0: should not have color"},
		{`[{"region":{"id":"1","shape":"rectangle","z":1,` + anArea + `}}]`, "layout.0.region: should not have z"},
		{`[{"stream":"S1"}]`, "layout.0.region.id: should be a text"},
		{`[7]`, "layout.0.region.id: should be a text"},
		{`[[[]]]`, "layout.0.region.id: should be a text"},
		{`{}`, "layout: should be an array"},
		{`null`, "layout: should be an array"},
		{`[` + strings.Repeat(entry("1", anArea)+`,`, MaxRegions) + `1]`, "layout: 257 regions, at most 256 are allowed"},
	} {
		s, err := ReadLayout(parse(t, c.text))
		var fault *Fault
		if !errors.As(err, &fault) || err.Error() != c.want || s != nil {
			t.Errorf("%.200s\nis   %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestReadScene(t *testing.T) {
	odd := view(t, "void", 16, conference.Template{Region: []conference.Region{
		{ID: strings.Repeat("long", 100), Area: conference.Area{Left: "-0.5", Top: "7/3", Width: "999999999.999999999", Height: "0.123456789"}}}})
	for _, a := range []Arrangement{
		{}, with(view(t, "fluid", 16), 3), with(view(t, "lecture", 25), 14), odd.Add("S1"), with(view(t, "fluid", 256), 256),
	} {
		scene := a.Scene()
		got, err := ReadScene(scene.Value())
		if err != nil || !slices.Equal(got, scene) {
			t.Errorf("%s became %s, %v", show(scene), show(got), err)
		}
	}
	later := `[{"stream":"S","z":1,"region":{"id":"1","shape":"rectangle","name":"n","area":{"left":"0/1","top":"0/1","width":"1/1","height":"1/1","x":1}}}]`
	if got, err := ReadScene(parse(t, later)); err != nil || show(got) != "1:S@0/1,0/1,1/1" {
		t.Errorf("%s, %v", show(got), err)
	}
	for _, text := range []string{
		`{}`, `[{}]`, `[{"region":{"id":"1","shape":"circle"}}]`,
		`[{"region":{"id":"1","shape":"rectangle","area":{"left":"--1/2","top":"0/1","width":"1/1","height":"1/1"}}}]`,
		`[{"region":{"id":"1","shape":"rectangle","area":{"left":"0","top":"0/1","width":"1/1","height":"1/1"}}}]`,
		`[{"region":{"id":"1","shape":"rectangle","area":{"left":"1/1000000000000000000","top":"0/1","width":"1/1","height":"1/1"}}}]`,
	} {
		if got, err := ReadScene(parse(t, text)); err == nil {
			t.Errorf("%s is %s", text, show(got))
		}
	}
}

func FuzzReadScene(f *testing.F) {
	for _, seed := range []string{`[]`, halves("S1", ""), `[{"region":{"id":"","shape":"rectangle"}}]`, `[1,{"stream":{}}]`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := jsonvalue.Parse([]byte(text), jsonvalue.Limits{})
		if err != nil {
			return
		}
		scene, err := ReadScene(v)
		if err != nil {
			return
		}
		if again, err := ReadScene(scene.Value()); err != nil || !slices.Equal(again, scene) {
			t.Fatalf("%s became %s, %v", show(scene), show(again), err)
		}
	})
}

func FuzzSetLayout(f *testing.F) {
	for _, seed := range []string{`[]`, halves("S1", ""), halves("S3", "S2"), halves("", "S1"), halves("S9", "S1"), halves("S1", "S1"), `[{"region":{}}]`,
		strings.Replace(halves("S1", ""), `"1/2"`, `"07/9"`, 1), strings.Replace(halves("S1", ""), `"b"`, `"a"`, 1)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := jsonvalue.Parse([]byte(text), jsonvalue.Limits{})
		if err != nil {
			return
		}
		scene, err := ReadLayout(v)
		if err != nil {
			return
		}
		if again, err := ReadLayout(scene.Value()); err != nil || !slices.Equal(again, scene) {
			t.Fatalf("%s became %s, %v", show(scene), show(again), err)
		}
		before := with(view(t, "fluid", 4), 6)
		a, err := before.Set(scene)
		if err != nil {
			if err != ErrInput || !slices.Equal(a.Scene(), before.Scene()) {
				t.Fatalf("%v, became %s", err, show(a.Scene()))
			}
			return
		}
		checkSound(t, a, 6)
		for i, p := range a.Scene() {
			given := scene[i]
			if p.Region != given.Region || given.Stream != "" && p.Stream != given.Stream || i < 6 && p.Stream == "" {
				t.Fatalf("%s was set to %s", show(scene), show(a.Scene()))
			}
			if r := Place(p.Region.Area, Size{640, 480}); r.X < 0 || r.Y < 0 || r.X+r.W > 640 || r.Y+r.H > 480 {
				t.Fatalf("%v is at %v", p, r)
			}
		}
	})
}

// checkSound has that many streams each once in the arrangement, and each once at most in the scene, from its beginning on.
func checkSound(t *testing.T, a Arrangement, streams int) {
	t.Helper()
	inputs, seen := a.Inputs(), make(map[string]bool)
	for _, s := range inputs {
		if seen[s] || !a.Has(s) {
			t.Fatalf("inputs %v", inputs)
		}
		seen[s] = true
	}
	if len(inputs) != streams || a.Waiting() < 0 || a.Waiting() > 0 && len(a.list) < a.maxInput || !a.fixed && len(a.list) > a.maxInput {
		t.Fatalf("%d inputs of %d, %d wait", len(inputs), streams, a.Waiting())
	}
	for i, p := range a.Scene() {
		want := ""
		if i < streams-a.Waiting() {
			want = inputs[i]
		}
		if p.Stream != want {
			t.Fatalf("region %d of %s shows %q, want %q", i, show(a.Scene()), p.Stream, want)
		}
		if id, err := a.RegionOf(want); want != "" && (err != nil || id != p.Region.ID) {
			t.Fatalf("%s is in %q, %v", want, id, err)
		}
	}
}

func FuzzCustomTemplates(f *testing.F) {
	for _, seed := range []string{
		`[]`, `[{"region":[]}]`, `[{"region":[{"id":"1","area":{"left":"1/3","top":"0","width":".5","height":"1"}}]}]`,
		`[{"region":[{"id":"1","shape":"rectangle","area":{"left":"-1/3","top":"2","width":"0.333","height":"2/4"}}]},{"region":[{"id":"1"}]}]`,
		`[{"primary":"1","region":[{"id":"1","area":{"left":"999999999.9","top":"0","width":"1/999999999","height":"1"}},{"id":"1"}]}]`,
	} {
		f.Add(seed, uint8(16), uint8(0))
		f.Add(seed, uint8(3), uint8(1))
		f.Add(seed, uint8(0), uint8(2))
	}
	f.Fuzz(func(t *testing.T, text string, maxInput, base uint8) {
		v, err := jsonvalue.Parse([]byte(text), jsonvalue.Limits{})
		if err != nil {
			return
		}
		room := conference.ReadRoom(jsonvalue.OfObject(jsonvalue.M("views", jsonvalue.OfArray(jsonvalue.OfObject(
			jsonvalue.M("video", jsonvalue.OfObject(jsonvalue.M("layout", jsonvalue.OfObject(jsonvalue.M("templates",
				jsonvalue.OfObject(jsonvalue.M("custom", v)))))))))))) // read without the checks of stored rooms
		given := room.Views[0].Video.Layout.Templates
		given.Base = []string{"fluid", "lecture", "void"}[base%3]
		a, _ := New(given, int(maxInput))
		for n := 1; n <= 20; n++ {
			a = a.Add("S" + strconv.Itoa(n))
			checkSound(t, a, n)
		}
		scene := a.Scene()
		if again, err := ReadScene(scene.Value()); err != nil || !slices.Equal(again, scene) {
			t.Fatalf("%s became %s, %v", show(scene), show(again), err)
		}
		for _, p := range scene {
			place := Place(p.Region.Area, Size{1280, 720})
			checkFit(t, Crop, Size{1280, 720}, Size{640, 480}, place, nil)
			checkFit(t, Letterbox, Size{1280, 720}, Size{640, 480}, place, nil)
		}
	})
}

// FuzzArrangement does one operation for each byte and compares who is mixed with a plain list; what was before must stay as it was.
func FuzzArrangement(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 32, 64, 96, 33, 65, 97}, uint8(4))
	f.Add([]byte{0, 1, 2, 128, 3, 4, 160, 32, 5, 66, 99}, uint8(2))
	f.Add([]byte("promote those who wait, then take them out again"), uint8(1))
	f.Fuzz(func(t *testing.T, operations []byte, maxInput uint8) {
		if len(operations) > 200 {
			return
		}
		a := view(t, []string{"fluid", "lecture"}[maxInput%2], int(maxInput)%20)
		var mixed []string
		for _, op := range operations {
			stream, before, inputs := "S"+strconv.Itoa(int(op%32)), a.Scene(), a.Inputs()
			old, was := a, slices.Contains(mixed, stream)
			switch op / 32 {
			case 0, 7:
				if a = a.Add(stream); !was {
					mixed = append(mixed, stream)
				}
			case 1:
				a = a.Remove(stream)
				mixed = slices.DeleteFunc(mixed, func(s string) bool { return s == stream })
			case 2:
				if a = a.Promote(stream); was && (len(a.Inputs()) == 0 || a.Inputs()[0] != stream) {
					t.Fatalf("%s is not first of %v", stream, a.Inputs())
				}
			case 3:
				a, _ = a.MoveTo(stream, int(op%5))
			case 4:
				a, _ = a.Move(stream, strconv.Itoa(int(op%7)))
			case 5:
				a, _ = a.Set(layout(t, halves(stream, "")))
			case 6:
				a = a.Restarted()
			}
			checkSound(t, a, len(mixed))
			if !slices.Equal(old.Scene(), before) || !slices.Equal(old.Inputs(), inputs) {
				t.Fatalf("operation %d changed what was before", op)
			}
		}
	})
}
