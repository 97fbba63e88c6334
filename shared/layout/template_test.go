package layout

import (
	"strconv"
	"strings"
	"testing"

	"portico/shared/conference"
)

// covered counts for each field of a grid of side by side how many regions lie on it.
func covered(t *testing.T, s template, side int64) []int {
	t.Helper()
	grid := make([]int, side*side)
	at := func(r Rational) int64 {
		if r.Num < 0 || r.Num > r.Den || r.Num*side%r.Den != 0 {
			t.Fatalf("%v is not on a grid of %d", r, side)
		}
		return r.Num * side / r.Den
	}
	for _, r := range s {
		left, top := at(r.Area.Left), at(r.Area.Top)
		for y := top; y < top+at(r.Area.Height); y++ {
			for x := left; x < left+at(r.Area.Width); x++ {
				grid[y*side+x]++
			}
		}
	}
	return grid
}

// Every base template tiles the canvas without gap or overlap, and its ids are its numbers.
func TestBaseTemplatesTile(t *testing.T) {
	var all []template
	for _, base := range []string{"fluid", "lecture"} {
		series, err := templates(conference.Templates{Base: base}, MaxRegions)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, series...)
	}
	if len(all) != 16+10 {
		t.Errorf("%d templates", len(all))
	}
	for _, s := range all {
		for i, n := range covered(t, s, s[len(s)-1].Area.Width.Den) {
			if n != 1 {
				t.Fatalf("template of %d: field %d is covered %d times", len(s), i, n)
			}
		}
		for i, r := range s {
			if r.ID != strconv.Itoa(i+1) {
				t.Errorf("template of %d: region %d is %q", len(s), i, r.ID)
			}
		}
	}
}

func sizesOf(series []template) string {
	var all []string
	for _, s := range series {
		mark := ""
		if strings.HasPrefix(s[0].ID, "c") {
			mark = "c"
		}
		all = append(all, strconv.Itoa(len(s))+mark)
	}
	return strings.Join(all, " ")
}

func TestCustomTemplatesMerge(t *testing.T) {
	for _, c := range []struct {
		base     string
		maxInput int
		custom   []int
		want     string
	}{
		{"fluid", 9, []int{2}, "1 2c 4 9"},
		{"fluid", 9, []int{4, 1}, "1c 4c 9"},
		{"fluid", 9, []int{12}, "1 4 9 12c"},
		{"fluid", 9, []int{0}, "1 4 9"},
		{"lecture", 16, []int{13}, "1 6 8 10 12 13c 14 17"}, // not shadowed by the base's 13
		{"void", 16, []int{3, 2}, "2c 3c"},
		{"void", 16, nil, ""},
		{"", 1, nil, "1"},
	} {
		given := conference.Templates{Base: c.base}
		for _, n := range c.custom {
			given.Custom = append(given.Custom, columns(n, "1/9"))
		}
		series, err := templates(given, c.maxInput)
		if got := sizesOf(series); got != c.want || err != nil {
			t.Errorf("%s %d %v: %s, %v", c.base, c.maxInput, c.custom, got, err)
		}
	}
	series, _ := templates(conference.Templates{Base: "void", Custom: []conference.Template{columns(2, "1/9"), columns(2, "1/8")}}, 4)
	if len(series) != 1 || series[0][0].Area.Width != (Rational{1, 8}) {
		t.Errorf("the later of one size does not win: %v", series)
	}
}

func TestCustomCoordinates(t *testing.T) {
	for text, want := range map[string]string{
		"0.25": "1/4", "2/4": "1/2", "0.333": "333/1000", "0": "0/1", "1": "1/1", "1/3": "1/3", ".5": "1/2", "0.50": "1/2", "1.": "1/1", "0/7": "0/1",
		"-1/2": "-1/2", "-0.5": "-1/2", "3/2": "3/2", "2": "2/1", "0.123456789": "123456789/1000000000", "-0": "0/1",
		"999999999.999999999": "999999999999999999/1000000000",
		"":                    "", "x": "", "1/0": "", "0/0": "", "1/-2": "", ".": "", "-": "", "1/2/3": "", "1.2.3": "", "1e3": "", "1 /2": "", "+1": "", "0x1": "",
		"1234567890": "", "1/1234567890": "", "0.1234567890": "", "½": "", "--1": "", "1.5/2": "",
	} {
		r, ok := parseShare(text)
		if ok != (want != "") || ok && r.String() != want {
			t.Errorf("%q is %v, %v", text, r, ok)
		}
	}
}

func TestCustomFaults(t *testing.T) {
	good := conference.Area{Left: "0", Top: "0", Width: "1/2", Height: "1"}
	for _, c := range []struct {
		region conference.Region
		want   string
	}{
		{conference.Region{Area: good}, "custom.1.region.0.id: Path `id` is required."},
		{conference.Region{ID: "1", Shape: "circle", Area: good}, "custom.1.region.0.shape: `circle` is not a valid enum value for path `shape`."},
		{conference.Region{ID: "1", Area: conference.Area{Left: "0", Top: "0", Width: "x", Height: "1"}},
			"custom.1.region.0.area.width: x is not a valid fraction string!"},
		{conference.Region{ID: "1"}, "custom.1.region.0.area.left:  is not a valid fraction string!"},
	} {
		a, err := New(conference.Templates{Base: "void", Custom: []conference.Template{columns(3, "1/3"), {Region: []conference.Region{c.region}}}}, 16)
		if err == nil || err.Error() != c.want {
			t.Errorf("error %v, want %s", err, c.want)
		}
		expect(t, who(a.Add("S1").Scene()), "c1:S1 c2:- c3:-") // the rest is usable
	}
	if _, err := New(conference.Templates{Custom: []conference.Template{columns(MaxRegions, "1/3")}}, 16); err != nil {
		t.Error(err)
	}
	_, err := New(conference.Templates{Base: "mosaic", Custom: []conference.Template{columns(MaxRegions+1, "1/3")}}, 16)
	expect(t, err.Error(), "base: mosaic is not a template series\ncustom.0.region: 257 regions, at most 256 are allowed")
}
