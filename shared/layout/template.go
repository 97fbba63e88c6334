package layout

import (
	"errors"
	"strconv"
	"sync"

	"portico/shared/conference"
)

// template is the regions of a layout in the order in which inputs fill them. Templates are shared and never change.
type template []Region

const defaultMaxInput = 16

// templates lists those of a view by number of regions, one for each number at most (rooms-and-media 5.2). A custom template takes
// the place of a base template of its size, and a later custom one that of an earlier. Faulty custom templates are left out and
// named in the error; so is an unknown base, for which fluid stands in.
func templates(t conference.Templates, maxInput int) ([]template, error) {
	bySize := make(map[int]template)
	var faults []error
	var base []template
	switch t.Base {
	case "fluid", "":
		base = fluid(maxInput)
	case "lecture":
		base = lecture(maxInput)
	case "void":
	default:
		base = fluid(maxInput)
		faults = append(faults, &Fault{"base", clip(t.Base) + " is not a template series"})
	}
	most := 0
	for _, b := range base {
		bySize[len(b)], most = b, max(most, len(b))
	}
	for i, c := range t.Custom {
		custom, err := customTemplate(c, "custom."+strconv.Itoa(i))
		if err != nil {
			faults = append(faults, err)
			continue
		}
		bySize[len(custom)], most = custom, max(most, len(custom))
	}
	var all []template
	for n := 1; n <= most; n++ {
		if b, ok := bySize[n]; ok {
			all = append(all, b)
		}
	}
	return all, errors.Join(faults...)
}

// customTemplate reads a room's own template. Regions may overlap or reach beyond the canvas, as the management API allows.
func customTemplate(c conference.Template, path string) (template, error) {
	if len(c.Region) > MaxRegions {
		return nil, &Fault{path + ".region", strconv.Itoa(len(c.Region)) + " regions, at most " + strconv.Itoa(MaxRegions) + " are allowed"}
	}
	t := make(template, len(c.Region))
	for i, r := range c.Region {
		at := path + ".region." + strconv.Itoa(i)
		if r.ID == "" {
			return nil, &Fault{at + ".id", "Path `id` is required."}
		}
		if r.Shape != "" && r.Shape != rectangle {
			return nil, &Fault{at + ".shape", "`" + clip(r.Shape) + "` is not a valid enum value for path `shape`."}
		}
		area, err := customArea(r.Area, at+".area")
		if err != nil {
			return nil, err
		}
		t[i] = Region{r.ID, area}
	}
	return t, nil
}

func customArea(a conference.Area, path string) (area Area, err error) {
	for _, part := range []struct {
		name, text string
		to         *Rational
	}{
		{".left", a.Left, &area.Left}, {".top", a.Top, &area.Top}, {".width", a.Width, &area.Width}, {".height", a.Height, &area.Height},
	} {
		r, ok := parseShare(part.text)
		if !ok {
			return Area{}, notFraction(path+part.name, part.text)
		}
		*part.to = r
	}
	return area, nil
}

// fluid is the squares 1, 4, 9, … that hold up to maxInput inputs.
func fluid(maxInput int) []template {
	k := 1
	for k*k < maxInput {
		k++
	}
	return fluidSeries()[:k]
}

// The base templates are made once and shared by all views: the largest series has 1,496 regions.
var (
	fluidSeries = sync.OnceValue(func() []template {
		var series []template
		for k := int64(1); k*k <= MaxRegions; k++ {
			t := make(template, 0, k*k)
			for i := range k * k {
				t = t.with(Rational{i % k, k}, Rational{i / k, k}, Rational{1, k})
			}
			series = append(series, t)
		}
		return series
	})
	lectureSeries = sync.OnceValue(func() map[int]template {
		series := map[int]template{1: template(nil).with(zero, zero, Rational{1, 1})}
		for _, t := range []template{
			framed(3, 1), framed(4, 1), framed(5, 1), framed(6, 1), framed(4, 2), framed(7, 1), framed(5, 2), framed(6, 2), framed(7, 2),
		} {
			series[len(t)] = t
		}
		return series
	})
)

var zero = Rational{0, 1}

// with adds a region whose id is its number.
func (t template) with(left, top, side Rational) template {
	return append(t, Region{strconv.Itoa(len(t) + 1), Area{left, top, side, side}})
}

// framed is a large region with that many bands of small ones to its right and below, on a grid of d by d. A band runs down its
// column and then, below the large region, leftwards through its row.
func framed(d, bands int64) template {
	at := func(n int64) Rational {
		if d == 3 && n == 0 {
			return zero // the smallest of these templates is written that way
		}
		return Rational{n, d}
	}
	t := template(nil).with(zero, zero, at(d-bands))
	for line := d - bands; line < d; line++ {
		for row := range line + 1 {
			t = t.with(at(line), at(row), at(1))
		}
		for column := line - 1; column >= 0; column-- {
			t = t.with(at(column), at(line), at(1))
		}
	}
	return t
}

// lectureSizes are the numbers of regions in the lecture series, and from which maxInput on each is in it.
var lectureSizes = []struct{ regions, from int }{
	{1, 0}, {6, 0}, {8, 7}, {10, 9}, {12, 11}, {13, 15}, {14, 13}, {17, 15}, {21, 18}, {25, 22},
}

func lecture(maxInput int) []template {
	var series []template
	for _, s := range lectureSizes {
		if maxInput >= s.from {
			series = append(series, lectureSeries()[s.regions])
		}
	}
	return series
}
