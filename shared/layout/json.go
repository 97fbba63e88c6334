package layout

import (
	"slices"
	"strconv"
	"strings"

	"portico/shared/jsonvalue"
)

const (
	rectangle   = "rectangle" // the only shape
	maxRegionID = 128         // bytes, of a layout to be set
)

// Value is the scene on the wire. It is made anew at each call: make it once for all who get it.
func (s Scene) Value() jsonvalue.Value {
	places := make([]jsonvalue.Value, len(s))
	for i, p := range s {
		var stream jsonvalue.Value
		if p.Stream != "" {
			stream = jsonvalue.Of(p.Stream)
		}
		a := p.Region.Area
		places[i] = jsonvalue.OfObject(
			jsonvalue.M("stream", stream),
			jsonvalue.M("region", jsonvalue.OfObject(
				jsonvalue.M("id", jsonvalue.Of(p.Region.ID)),
				jsonvalue.M("shape", jsonvalue.Of(rectangle)),
				jsonvalue.M("area", jsonvalue.OfObject(
					jsonvalue.M("left", jsonvalue.Of(a.Left.String())),
					jsonvalue.M("top", jsonvalue.Of(a.Top.String())),
					jsonvalue.M("width", jsonvalue.Of(a.Width.String())),
					jsonvalue.M("height", jsonvalue.Of(a.Height.String())))))))
	}
	return jsonvalue.OfArray(places...)
}

// ReadScene reads what Value makes, also from newer versions: members it does not know are ignored. A Fault says what it could not
// read.
func ReadScene(v jsonvalue.Value) (Scene, error) {
	return read(v, func(text string) (Rational, bool) {
		digits, negative := strings.CutPrefix(text, "-") // a custom template may begin outside of the canvas
		r, ok := parseFraction(digits, writtenDigits)
		if negative {
			r.Num = -r.Num
		}
		return r, ok
	})
}

// ReadLayout reads a layout that is to be Set (management API 8.4) and checks all that can be without knowing the view. Values are
// "0", "1" or "a/b" with integers 0 <= a <= b; ids are given and differ, entries with a stream come first, none twice, and members
// that are not in the schema are refused. A Fault says what is wrong; the management API hides it behind one text.
func ReadLayout(v jsonvalue.Value) (Scene, error) {
	if err := closed(v); err != nil {
		return nil, err
	}
	scene, err := read(v, givenShare)
	if err == nil {
		err = scene.check()
	}
	if err != nil {
		return nil, err
	}
	return scene, nil
}

// givenShare reads a coordinate of a layout to be set; it stays as given.
func givenShare(text string) (Rational, bool) {
	switch text {
	case "0":
		return zero, true
	case "1":
		return Rational{1, 1}, true
	}
	r, ok := parseFraction(text, givenDigits)
	return r, ok && r.Num <= r.Den
}

func read(v jsonvalue.Value, share func(string) (Rational, bool)) (Scene, error) {
	if v.Kind() != jsonvalue.Array {
		return nil, &Fault{"layout", "should be an array"}
	}
	if v.Len() > MaxRegions {
		return nil, &Fault{"layout", strconv.Itoa(v.Len()) + " regions, at most " + strconv.Itoa(MaxRegions) + " are allowed"}
	}
	scene := make(Scene, v.Len())
	for i := range scene {
		p, err := readPlaced(v.Index(i), pathOf(i), share)
		if err != nil {
			return nil, err
		}
		scene[i] = p
	}
	return scene, nil
}

func readPlaced(v jsonvalue.Value, path string, share func(string) (Rational, bool)) (p Placed, err error) {
	stream, region := v.Get("stream"), v.Get("region")
	p.Stream, p.Region.ID = stream.Text(), region.Get("id").Text()
	switch {
	case stream.Exists() && p.Stream == "":
		return p, &Fault{path + ".stream", "should be the id of a stream"}
	case p.Region.ID == "":
		return p, &Fault{path + ".region.id", "should be a text"}
	case region.Get("shape").Text() != rectangle:
		return p, &Fault{path + ".region.shape", "should be " + rectangle}
	}
	area := &p.Region.Area
	for _, part := range []struct {
		name string
		to   *Rational
	}{{"left", &area.Left}, {"top", &area.Top}, {"width", &area.Width}, {"height", &area.Height}} {
		text, ok := region.Path("area", part.name).Text(), false
		if *part.to, ok = share(text); !ok {
			return p, notFraction(path+".region.area."+part.name, text)
		}
	}
	return p, nil
}

func pathOf(i int) string { return "layout." + strconv.Itoa(i) }

// closed refuses members that a layout to be set does not have.
func closed(v jsonvalue.Value) error {
	for i := range min(v.Len(), MaxRegions) {
		entry := v.Index(i)
		for _, part := range []struct {
			at    string
			v     jsonvalue.Value
			names []string
		}{
			{"", entry, []string{"stream", "region"}},
			{".region", entry.Get("region"), []string{"id", "shape", "area"}},
			{".region.area", entry.Path("region", "area"), []string{"left", "top", "width", "height"}},
		} {
			if name, found := strange(part.v, part.names); found {
				return &Fault{pathOf(i) + part.at, "should not have " + clip(name)}
			}
		}
	}
	return nil
}

func strange(v jsonvalue.Value, known []string) (string, bool) {
	if v.Kind() != jsonvalue.Object {
		return "", false // what is missing then is found later
	}
	for i := range v.Len() {
		if name := v.Member(i).Name; !slices.Contains(known, name) {
			return name, true
		}
	}
	return "", false
}

// check are the rules of a layout to be set that concern more than one of its entries, or whoever made it without ReadLayout.
func (s Scene) check() error {
	if len(s) > MaxRegions {
		return &Fault{"layout", "too many regions"}
	}
	ids, streams := make(map[string]bool, len(s)), make(map[string]bool, len(s))
	for i, p := range s {
		switch {
		case p.Region.ID == "" || len(p.Region.ID) > maxRegionID:
			return &Fault{pathOf(i) + ".region.id", "should be a text of 1 to " + strconv.Itoa(maxRegionID) + " bytes"}
		case ids[p.Region.ID]:
			return &Fault{pathOf(i) + ".region.id", "should differ from all others"}
		case p.Stream != "" && i > 0 && s[i-1].Stream == "":
			return &Fault{pathOf(i) + ".stream", "should come before all regions without one"}
		case p.Stream != "" && streams[p.Stream]:
			return &Fault{pathOf(i) + ".stream", "should not be there twice"}
		}
		ids[p.Region.ID], streams[p.Stream] = true, true
	}
	return nil
}
