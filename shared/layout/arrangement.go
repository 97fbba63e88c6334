package layout

import (
	"cmp"
	"errors"
	"slices"

	"portico/shared/conference"
)

// What can be wrong with a request, in the words of portal protocol 6.4.
var (
	ErrRegion = errors.New("Invalid region_id.")       // no such region, or nobody in it
	ErrInput  = errors.New("Invalid input stream_id.") // the stream is not mixed into the view, or has to be shown and waits
)

// Arrangement is who is where in a view: an immutable value, of which each method returns a changed copy. It belongs to the room and
// outlives the mixer that draws it. The zero Arrangement has no templates, shows nothing and lets nobody wait.
//
// At most maxInput inputs are in the list that fills the regions; those mixed after them wait (rooms-and-media 5.6). Once a layout was
// Set, nobody waits any more: its number of regions alone says how many are shown.
type Arrangement struct {
	base     []template // the view's, by number of regions
	maxInput int        // 0 in the zero Arrangement only: no limit
	fixed    bool       // a layout was set, base and maxInput have no effect
	current  template
	list     []input // input i is in region i of current, when there is one
	waiting  []input // oldest first; empty while there is room in list
	mixed    int     // how many were ever added
}

type input struct {
	stream  string
	order   int // of having been mixed
	primary int // how often it was promoted
}

// New is the arrangement of a view without inputs: its scene is empty until the first is added. maxInput is 1 to MaxRegions; 0 and
// less mean the default, 16. An error names faulty templates, which the arrangement does without: it is usable all the same.
func New(t conference.Templates, maxInput int) (Arrangement, error) {
	if maxInput <= 0 {
		maxInput = defaultMaxInput
	}
	maxInput = min(maxInput, MaxRegions)
	base, err := templates(t, maxInput)
	return Arrangement{base: base, maxInput: maxInput}, err
}

// Has tells whether the stream is mixed into the view, shown or not.
func (a Arrangement) Has(stream string) bool {
	return find(a.list, stream) >= 0 || find(a.waiting, stream) >= 0
}

// Inputs lists all streams that are mixed: those of the list in its order, then those that wait, the oldest first.
func (a Arrangement) Inputs() []string {
	all := make([]string, 0, len(a.list)+len(a.waiting))
	for _, in := range slices.Concat(a.list, a.waiting) {
		all = append(all, in.stream)
	}
	return all
}

// Waiting is how many of Inputs wait for a place in the list.
func (a Arrangement) Waiting() int { return len(a.waiting) }

// Scene is what is shown, all regions of the current template with or without a stream.
func (a Arrangement) Scene() Scene {
	scene := make(Scene, len(a.current))
	for i, r := range a.current {
		scene[i].Region = r
		if i < len(a.list) {
			scene[i].Stream = a.list[i].stream
		}
	}
	return scene
}

// RegionOf is the id of the stream's region; "" when it is in the list and the template has no region for it. ErrInput when it
// waits or is not mixed.
func (a Arrangement) RegionOf(stream string) (string, error) {
	i := find(a.list, stream)
	switch {
	case i < 0:
		return "", ErrInput
	case i >= len(a.current):
		return "", nil
	}
	return a.current[i].ID, nil
}

// Add appends a stream, or lets it wait when maxInput are there. A stream that is mixed already stays where it is: simulcast
// encodings share their stream's one region.
func (a Arrangement) Add(stream string) Arrangement {
	if a.Has(stream) {
		return a
	}
	in := input{stream: stream, order: a.mixed}
	a.mixed++
	if !a.fixed && a.maxInput > 0 && len(a.list) >= a.maxInput {
		a.waiting = append(slices.Clip(a.waiting), in)
		return a
	}
	a.list = append(slices.Clip(a.list), in)
	return a.rechosen()
}

// Remove takes a stream out. The oldest that waits takes exactly its place; when nobody does, all behind it move up. A stream that
// is not mixed changes nothing.
func (a Arrangement) Remove(stream string) Arrangement {
	if i := find(a.waiting, stream); i >= 0 {
		a.waiting = slices.Delete(slices.Clone(a.waiting), i, i+1)
		return a
	}
	i := find(a.list, stream)
	if i < 0 {
		return a
	}
	a.list = slices.Clone(a.list)
	if len(a.waiting) > 0 {
		a.list[i] = a.waiting[0]
		a.waiting = slices.Clone(a.waiting[1:])
		return a
	}
	a.list = slices.Delete(a.list, i, i+1)
	return a.rechosen()
}

// rechosen has the smallest template that holds all of the list; when none does the current one stays.
func (a Arrangement) rechosen() Arrangement {
	if a.fixed {
		return a
	}
	for _, t := range a.base {
		if len(t) >= max(len(a.list), 1) {
			a.current = t
			break
		}
	}
	return a
}

// Promote swaps the stream with the first of the list (rooms-and-media 6.2). One that waits first takes the place of the input that
// was promoted least often, of several the first in the list. A stream that is not mixed changes nothing.
func (a Arrangement) Promote(stream string) Arrangement {
	i := find(a.list, stream)
	if i < 0 && find(a.waiting, stream) < 0 {
		return a
	}
	if i < 0 {
		for k, in := range a.list {
			if i < 0 || in.primary < a.list[i].primary {
				i = k
			}
		}
		a = a.exchanged(stream, i)
	} else {
		a.list = slices.Clone(a.list)
	}
	a.list[i].primary++
	a.list[0], a.list[i] = a.list[i], a.list[0]
	return a
}

// exchanged gives a waiting stream position i of the list; whoever was there waits, after all others.
func (a Arrangement) exchanged(stream string, i int) Arrangement {
	w := find(a.waiting, stream)
	in, out := a.waiting[w], a.list[i]
	a.list = slices.Clone(a.list)
	a.list[i] = in
	a.waiting = append(slices.Delete(slices.Clone(a.waiting), w, w+1), out)
	return a
}

// Move swaps a stream with whoever is in the region of that id, the first one when a template has several. One that waits takes the
// place, and its occupant waits. ErrInput when the stream is not mixed; ErrRegion when there is no such region or nobody in it.
func (a Arrangement) Move(stream, region string) (Arrangement, error) {
	return a.MoveTo(stream, slices.IndexFunc(a.current, func(r Region) bool { return r.ID == region }))
}

// MoveTo is Move with the number of the region in Scene, from 0.
func (a Arrangement) MoveTo(stream string, region int) (Arrangement, error) {
	i := find(a.list, stream)
	switch {
	case i < 0 && find(a.waiting, stream) < 0:
		return a, ErrInput
	case region < 0 || region >= len(a.current) || region >= len(a.list):
		return a, ErrRegion
	case i < 0:
		return a.exchanged(stream, region), nil
	}
	a.list = slices.Clone(a.list)
	a.list[i], a.list[region] = a.list[region], a.list[i]
	return a, nil
}

// Set replaces all templates by the one given, for good (rooms-and-media 5.5, management API 8.4). Its streams come first, in its
// order; all others that are mixed follow in the order in which they were mixed, whether there is a region for them or not. An empty
// scene shows nothing. ErrInput when it names a stream that is not mixed, a Fault when it breaks another rule of ReadLayout.
func (a Arrangement) Set(scene Scene) (Arrangement, error) {
	if err := scene.check(); err != nil {
		return a, err
	}
	rest := slices.Concat(a.list, a.waiting)
	slices.SortFunc(rest, func(x, y input) int { return cmp.Compare(x.order, y.order) })
	list := make([]input, 0, len(rest))
	regions := make(template, len(scene))
	for i, p := range scene {
		regions[i] = p.Region
		if p.Stream == "" {
			continue
		}
		at := find(rest, p.Stream)
		if at < 0 {
			return a, ErrInput
		}
		list = append(list, rest[at])
		rest = slices.Delete(rest, at, at+1)
	}
	a.list, a.waiting = append(list, rest...), nil
	a.current, a.fixed = regions, true
	return a, nil
}

// Restarted is the arrangement as a new mixer of the view begins: the view's templates, the same inputs in the same order, nobody
// promoted yet.
func (a Arrangement) Restarted() Arrangement {
	fresh := Arrangement{base: a.base, maxInput: a.maxInput}
	for _, stream := range a.Inputs() {
		fresh = fresh.Add(stream)
	}
	return fresh
}

func find(inputs []input, stream string) int {
	return slices.IndexFunc(inputs, func(in input) bool { return in.stream == stream })
}
