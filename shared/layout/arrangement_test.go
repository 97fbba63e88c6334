package layout

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

// show writes a scene as the conformance cases do: id:stream@left,top,side, with "-" for nobody.
func show(s Scene) string {
	var all []string
	for _, p := range s {
		stream, a := p.Stream, p.Region.Area
		if stream == "" {
			stream = "-"
		}
		side := a.Width.String()
		if a.Height != a.Width {
			side += "x" + a.Height.String()
		}
		all = append(all, p.Region.ID+":"+stream+"@"+a.Left.String()+","+a.Top.String()+","+side)
	}
	return strings.Join(all, " ")
}

// who is show without the areas.
func who(s Scene) string {
	var all []string
	for _, p := range strings.Fields(show(s)) {
		all = append(all, p[:strings.LastIndex(p, "@")])
	}
	return strings.Join(all, " ")
}

func view(t *testing.T, base string, maxInput int, custom ...conference.Template) Arrangement {
	t.Helper()
	a, err := New(conference.Templates{Base: base, Custom: custom}, maxInput)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// with adds S1 to Sn.
func with(a Arrangement, n int) Arrangement {
	for i := range n {
		a = a.Add("S" + strconv.Itoa(i+1))
	}
	return a
}

func expect(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("is   %s\nwant %s", got, want)
	}
}

func moved(t *testing.T) func(Arrangement, error) Arrangement {
	return func(a Arrangement, err error) Arrangement {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
}

// columns is a custom template of n regions, each of that width, full height.
func columns(n int, width string) conference.Template {
	var c conference.Template
	for i := range n {
		c.Region = append(c.Region, conference.Region{ID: "c" + strconv.Itoa(i+1), Shape: "rectangle",
			Area: conference.Area{Left: strconv.Itoa(i) + "/" + strconv.Itoa(n), Top: "0", Width: width, Height: "1"}})
	}
	return c
}

func layout(t *testing.T, text string) Scene {
	t.Helper()
	s, err := ReadLayout(parse(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parse(t *testing.T, text string) jsonvalue.Value {
	t.Helper()
	v, err := jsonvalue.Parse([]byte(text), jsonvalue.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// halves is a layout of two regions a and b, with these streams, "" for none.
func halves(a, b string) string {
	entry := func(stream, id, left string) string {
		if stream != "" {
			stream = `"stream":"` + stream + `",`
		}
		return `{` + stream + `"region":{"id":"` + id + `","shape":"rectangle","area":{"left":"` + left + `","top":"0","width":"1/2","height":"1"}}}`
	}
	return `[` + entry(a, "a", "0") + `,` + entry(b, "b", "1/2") + `]`
}

func TestL_01_NothingMixed(t *testing.T) {
	for _, base := range []string{"fluid", "lecture", "void"} {
		a := view(t, base, 16)
		expect(t, a.Scene().Value().String(), "[]")
	}
}

func TestL_02_One(t *testing.T) {
	expect(t, show(with(view(t, "fluid", 16), 1).Scene()), "1:S1@0/1,0/1,1/1")
}

func TestL_03_Two(t *testing.T) {
	expect(t, show(with(view(t, "fluid", 16), 2).Scene()), "1:S1@0/2,0/2,1/2 2:S2@1/2,0/2,1/2 3:-@0/2,1/2,1/2 4:-@1/2,1/2,1/2")
}

func TestL_04_Five(t *testing.T) {
	expect(t, show(with(view(t, "fluid", 16), 5).Scene()), "1:S1@0/3,0/3,1/3 2:S2@1/3,0/3,1/3 3:S3@2/3,0/3,1/3 "+
		"4:S4@0/3,1/3,1/3 5:S5@1/3,1/3,1/3 6:-@2/3,1/3,1/3 7:-@0/3,2/3,1/3 8:-@1/3,2/3,1/3 9:-@2/3,2/3,1/3")
}

func TestL_05_Unmix(t *testing.T) {
	expect(t, show(with(view(t, "fluid", 16), 5).Remove("S2").Scene()), "1:S1@0/2,0/2,1/2 2:S3@1/2,0/2,1/2 3:S4@0/2,1/2,1/2 4:S5@1/2,1/2,1/2")
}

func TestL_06_MaxInput(t *testing.T) {
	four := with(view(t, "fluid", 4), 4)
	a := four.Add("S5")
	expect(t, who(a.Scene()), "1:S1 2:S2 3:S3 4:S4")
	if !slices.Equal(a.Scene(), four.Scene()) {
		t.Error("an input that waits changes the scene")
	}
	if !a.Has("S5") || a.Waiting() != 1 {
		t.Errorf("S5 is not waiting: %v, %d", a.Inputs(), a.Waiting())
	}
	if id, err := a.RegionOf("S5"); err != ErrInput {
		t.Errorf("region %q, %v", id, err)
	}
}

func TestL_07_OldestWaitingTakesThePlace(t *testing.T) {
	a := with(view(t, "fluid", 4), 6)
	b := a.Remove("S2")
	expect(t, who(b.Scene()), "1:S1 2:S5 3:S3 4:S4")
	if slices.Equal(a.Scene(), b.Scene()) {
		t.Error("no change to tell clients")
	}
	expect(t, who(b.Remove("S1").Scene()), "1:S6 2:S5 3:S3 4:S4")
	expect(t, who(b.Remove("S6").Remove("S1").Scene()), "1:S5 2:S3 3:S4 4:-")
}

func TestL_08_SetRegion(t *testing.T) {
	a := moved(t)(with(view(t, "fluid", 16), 2).Move("S2", "1"))
	expect(t, who(a.Scene()), "1:S2 2:S1 3:- 4:-")
	if id, err := a.RegionOf("S2"); id != "1" || err != nil {
		t.Errorf("region %q, %v", id, err)
	}
	same := moved(t)(a.Move("S2", "1"))
	expect(t, who(same.Scene()), "1:S2 2:S1 3:- 4:-")
	expect(t, who(moved(t)(a.MoveTo("S1", 0)).Scene()), "1:S1 2:S2 3:- 4:-")
}

func TestL_09_SetRegionRefused(t *testing.T) {
	a := with(view(t, "fluid", 16), 2)
	for _, c := range []struct {
		stream, region, text string
	}{
		{"S1", "3", "Invalid region_id."}, {"S1", "5", "Invalid region_id."}, {"S1", "", "Invalid region_id."},
		{"S9", "1", "Invalid input stream_id."},
	} {
		b, err := a.Move(c.stream, c.region)
		if err == nil || err.Error() != c.text {
			t.Errorf("%s to %s: %v", c.stream, c.region, err)
		}
		expect(t, who(b.Scene()), "1:S1 2:S2 3:- 4:-")
	}
	for _, i := range []int{-1, 2, 9} {
		if _, err := a.MoveTo("S1", i); err != ErrRegion {
			t.Errorf("number %d: %v", i, err)
		}
	}
	if _, err := a.RegionOf("S9"); err != ErrInput {
		t.Errorf("region of a stranger: %v", err)
	}
}

func TestL_10_LastLeaves(t *testing.T) {
	expect(t, show(with(view(t, "fluid", 16), 1).Remove("S1").Scene()), "1:-@0/1,0/1,1/1")
	expect(t, show(with(view(t, "lecture", 16), 3).Remove("S1").Remove("S3").Remove("S2").Scene()), "1:-@0/1,0/1,1/1")
	expect(t, who(with(view(t, "void", 16, columns(3, "1/3")), 1).Remove("S1").Scene()), "c1:- c2:- c3:-")
}

func TestL_11_LectureOfTwo(t *testing.T) {
	expect(t, show(with(view(t, "lecture", 6), 2).Scene()), "1:S1@0/1,0/1,2/3 2:S2@2/3,0/1,1/3 3:-@2/3,1/3,1/3 "+
		"4:-@2/3,2/3,1/3 5:-@1/3,2/3,1/3 6:-@0/1,2/3,1/3")
}

func TestL_12_LectureOfEleven(t *testing.T) {
	if n := len(with(view(t, "lecture", 16), 11).Scene()); n != 12 {
		t.Errorf("%d regions", n)
	}
}

func TestL_13_LectureTemplates(t *testing.T) {
	for inputs, want := range map[int]int{13: 13, 14: 14, 15: 17} {
		if n := len(with(view(t, "lecture", 16), inputs).Scene()); n != want {
			t.Errorf("%d inputs: %d regions", inputs, n)
		}
	}
}

func TestL_14_VoidWithCustom(t *testing.T) {
	a := with(view(t, "void", 16, columns(3, "1/3")), 5)
	expect(t, show(a.Scene()), "c1:S1@0/1,0/1,1/3x1/1 c2:S2@1/3,0/1,1/3x1/1 c3:S3@2/3,0/1,1/3x1/1")
	if id, err := a.RegionOf("S4"); id != "" || err != nil {
		t.Errorf("an input without a region is in %q, %v", id, err)
	}
	expect(t, who(a.Remove("S1").Scene()), "c1:S2 c2:S3 c3:S4")
	expect(t, who(moved(t)(a.Move("S5", "c1")).Scene()), "c1:S5 c2:S2 c3:S3")
	expect(t, show(with(view(t, "void", 16), 5).Scene()), "")
	if _, err := with(view(t, "void", 16), 5).Move("S1", "1"); err != ErrRegion {
		t.Errorf("moved to nowhere: %v", err)
	}
}

func TestL_15_CustomBesideFluid(t *testing.T) {
	a := view(t, "fluid", 16, columns(2, "0.25"))
	expect(t, show(with(a, 1).Scene()), "1:S1@0/1,0/1,1/1")
	expect(t, show(with(a, 2).Scene()), "c1:S1@0/1,0/1,1/4x1/1 c2:S2@1/2,0/1,1/4x1/1")
	expect(t, who(with(a, 3).Scene()), "1:S1 2:S2 3:S3 4:-")
}

func TestL_16_SetLayout(t *testing.T) {
	a := moved(t)(with(view(t, "fluid", 16), 1).Set(layout(t, halves("S1", ""))))
	expect(t, show(a.Scene()), "a:S1@0/1,0/1,1/2x1/1 b:-@1/2,0/1,1/2x1/1")
	a = a.Add("S2").Add("S3")
	expect(t, who(a.Scene()), "a:S1 b:S2")
	expect(t, who(a.Remove("S1").Remove("S2").Scene()), "a:S3 b:-")
	expect(t, who(a.Remove("S1").Remove("S2").Remove("S3").Scene()), "a:- b:-") // no way back to the view's templates
}

func TestL_16b_SetLayoutWithFewerRegions(t *testing.T) {
	three := with(view(t, "fluid", 16), 3)
	a := moved(t)(three.Set(layout(t, halves("S3", ""))))
	expect(t, who(a.Scene()), "a:S3 b:S1")
	expect(t, who(a.Remove("S3").Scene()), "a:S1 b:S2")
	// Those that waited are inputs like others from then on, and the order of the rest is that of mixing, not of the old layout.
	full := with(view(t, "fluid", 4), 6).Promote("S6").Promote("S3")
	a = moved(t)(full.Set(layout(t, halves("S5", ""))))
	expect(t, strings.Join(a.Inputs(), " "), "S5 S1 S2 S3 S4 S6")
	if a.Waiting() != 0 {
		t.Errorf("%d wait", a.Waiting())
	}
}

func TestL_16c_SetLayoutRefused(t *testing.T) {
	a := with(view(t, "fluid", 16), 1)
	b, err := a.Set(layout(t, halves("S1", "S2")))
	if err != ErrInput {
		t.Errorf("error %v", err)
	}
	expect(t, show(b.Scene()), "1:S1@0/1,0/1,1/1")
	var fault *Fault
	region := Region{ID: "1"}
	for _, s := range []Scene{{{"S1", region}, {"", region}}, {{"", region}, {"S1", Region{ID: "2"}}}, {{"S1", Region{}}}} {
		if b, err = a.Set(s); !errors.As(err, &fault) {
			t.Errorf("%v: error %v", s, err)
		}
		expect(t, show(b.Scene()), "1:S1@0/1,0/1,1/1")
	}
}

func TestL_16d_SimulcastHasOneRegion(t *testing.T) {
	a := view(t, "fluid", 16).Add("S1").Add("S1").Add("S1")
	expect(t, show(a.Scene()), "1:S1@0/1,0/1,1/1")
	expect(t, show(a.Remove("S1").Scene()), "1:-@0/1,0/1,1/1")
	full := with(view(t, "fluid", 1), 2).Add("S2")
	if full.Waiting() != 1 {
		t.Errorf("%d wait", full.Waiting())
	}
}

func TestL_17_18_OthersChangeNothing(t *testing.T) {
	// An audio-only stream is not added, and a muted one keeps its region: neither is known here.
	a := with(view(t, "fluid", 16), 3)
	for _, b := range []Arrangement{a.Remove("X"), a.Promote("X"), a.Add("S2")} {
		if !slices.Equal(a.Scene(), b.Scene()) {
			t.Errorf("became %s", show(b.Scene()))
		}
	}
}

func TestL_19_Promote(t *testing.T) {
	a := with(view(t, "fluid", 16), 5).Promote("S3")
	expect(t, who(a.Scene()), "1:S3 2:S2 3:S1 4:S4 5:S5 6:- 7:- 8:- 9:-")
	expect(t, who(a.Promote("S3").Scene()), who(a.Scene()))
}

func TestPromoteOfWaiting(t *testing.T) {
	a := with(view(t, "fluid", 4), 5)
	// S1 and S2 have been promoted once each, so S3 gives way, and the first of the list changes places with S5.
	a = a.Promote("S1").Promote("S2")
	expect(t, who(a.Scene()), "1:S2 2:S1 3:S3 4:S4")
	a = a.Promote("S5")
	expect(t, who(a.Scene()), "1:S5 2:S1 3:S2 4:S4")
	expect(t, strings.Join(a.Inputs(), " "), "S5 S1 S2 S4 S3")
	// S3 was never promoted, nor S4, who is in the list.
	expect(t, who(a.Promote("S3").Scene()), "1:S3 2:S1 3:S2 4:S5")
}

func TestMoveOfWaiting(t *testing.T) {
	full := with(view(t, "fluid", 4), 6)
	a := moved(t)(full.Move("S5", "3"))
	expect(t, who(a.Scene()), "1:S1 2:S2 3:S5 4:S4")
	expect(t, strings.Join(a.Inputs(), " "), "S1 S2 S5 S4 S6 S3") // who made room waits behind all others
	if _, err := full.Move("S5", "7"); err != ErrRegion {
		t.Errorf("error %v", err)
	}
	expect(t, who(full.Scene()), "1:S1 2:S2 3:S3 4:S4")
}

func TestSetLayoutOfNothing(t *testing.T) {
	a := moved(t)(with(view(t, "fluid", 16), 2).Set(layout(t, `[]`)))
	expect(t, a.Scene().Value().String(), "[]")
	a = a.Add("S3").Remove("S1")
	expect(t, a.Scene().Value().String(), "[]")
	expect(t, strings.Join(a.Inputs(), " "), "S2 S3")
	a = moved(t)(a.Set(layout(t, halves("", ""))))
	expect(t, who(a.Scene()), "a:S2 b:S3")
}

func TestF_04_Restarted(t *testing.T) {
	a := moved(t)(with(view(t, "fluid", 4), 6).Set(layout(t, halves("S6", "S2")))).Restarted()
	expect(t, show(a.Scene()), "1:S6@0/2,0/2,1/2 2:S2@1/2,0/2,1/2 3:S1@0/2,1/2,1/2 4:S3@1/2,1/2,1/2")
	expect(t, strings.Join(a.Inputs(), " "), "S6 S2 S1 S3 S4 S5")
	if a.Waiting() != 2 {
		t.Errorf("%d wait", a.Waiting())
	}
}

func TestZeroArrangement(t *testing.T) {
	var a Arrangement
	expect(t, a.Scene().Value().String(), "[]")
	expect(t, show(a.Add("S1").Promote("S1").Remove("S1").Scene()), "")
}

// golden reads a table of testdata: by number of regions, the regions.
func golden(t *testing.T, name string) map[int]Scene {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	rational := func(s string) Rational {
		r, ok := parseFraction(s, givenDigits)
		if !ok {
			t.Fatalf("%s: %q", name, s)
		}
		return r
	}
	all := make(map[int]Scene)
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n")[1:] {
		fields := strings.Fields(line)
		at := slices.IndexFunc(fields, func(f string) bool { return strings.Contains(f, ":") })
		var s Scene
		for i, f := range fields[at:] {
			id, place, _ := strings.Cut(strings.TrimSuffix(f, ")"), ":(")
			left, top, _ := strings.Cut(place, ",")
			side := rational(fields[1+min(i, at-2)])
			s = append(s, Placed{Region: Region{id, Area{rational(left), rational(top), side, side}}})
		}
		if strconv.Itoa(len(s)) != fields[0] {
			t.Fatalf("%s: %d regions in %q", name, len(s), line)
		}
		all[len(s)] = s
	}
	return all
}

// TestTables checks every base template for 1 to 30 inputs, region by region.
func TestTables(t *testing.T) {
	fluid, lecture := golden(t, "fluid.txt"), golden(t, "lecture.txt")
	sizes := func(limits ...int) (by [31]int) { // limits: how many inputs the template of that size holds, ascending
		for n := 1; n <= 30; n++ {
			by[n] = limits[len(limits)-1]
			for i := len(limits) - 1; i >= 0 && limits[i] >= n; i-- {
				by[n] = limits[i]
			}
		}
		return by
	}
	for _, c := range []struct {
		base     string
		maxInput []int
		golden   map[int]Scene
		size     [31]int
	}{
		{"fluid", []int{1}, fluid, sizes(1)},
		{"fluid", []int{2, 4}, fluid, sizes(1, 4)},
		{"fluid", []int{5, 9}, fluid, sizes(1, 4, 9)},
		{"fluid", []int{10, 16, 0}, fluid, sizes(1, 4, 9, 16)},
		{"fluid", []int{17, 25}, fluid, sizes(1, 4, 9, 16, 25)},
		{"fluid", []int{26, 30, 36}, fluid, sizes(1, 4, 9, 16, 25, 36)},
		{"lecture", []int{1, 6}, lecture, sizes(1, 6)},
		{"lecture", []int{7, 8}, lecture, sizes(1, 6, 8)},
		{"lecture", []int{9, 10}, lecture, sizes(1, 6, 8, 10)},
		{"lecture", []int{11, 12}, lecture, sizes(1, 6, 8, 10, 12)},
		{"lecture", []int{13, 14}, lecture, sizes(1, 6, 8, 10, 12, 14)},
		{"lecture", []int{15, 16, 17, 0}, lecture, sizes(1, 6, 8, 10, 12, 13, 14, 17)},
		{"lecture", []int{18, 21}, lecture, sizes(1, 6, 8, 10, 12, 13, 14, 17, 21)},
		{"lecture", []int{22, 25, 30, 256, 1000}, lecture, sizes(1, 6, 8, 10, 12, 13, 14, 17, 21, 25)},
	} {
		for _, maxInput := range c.maxInput {
			a := view(t, c.base, maxInput)
			most := maxInput
			if most == 0 {
				most = 16
			}
			for n := 1; n <= 30; n++ {
				a = a.Add("S" + strconv.Itoa(n))
				want := slices.Clone(c.golden[c.size[min(n, most)]])
				for i := range min(n, most, len(want)) {
					want[i].Stream = "S" + strconv.Itoa(i+1)
				}
				if got := a.Scene(); len(want) == 0 || !slices.Equal(got, want) {
					t.Fatalf("%s, maxInput %d, %d inputs:\nis   %s\nwant %s", c.base, maxInput, n, show(got), show(want))
				}
			}
		}
	}
}
