package placement

import (
	"errors"
	"slices"
)

// Random gives a number from 0 to n-1, each as likely; n is at least 1.
type Random func(n int) int

// Errors of the choices.
var (
	ErrNone  = errors.New("placement: no node of this kind is active")
	ErrFull  = errors.New("placement: all nodes are full")
	ErrUnfit = errors.New("placement: no node can do the job")
)

// busy is the load from which another node is looked at, even one that fits less well.
const busy = MaxLoad - 1

// Choice is an answer with its reason, which statistics and the console show.
type Choice struct {
	ID     string
	Reason string // "room and region", "region", "room", "any"; with ", busy" when only busy nodes fit
}

// Relay is what choosing needs to know of a relay.
type Relay struct {
	ID       string
	Region   string
	Weight   int // capacity, as an Edge's
	Codecs   []string
	Draining bool
	Load     int // 0 to MaxLoad
}

// Job is work that looks for a relay.
type Job struct {
	Region string   // where its streams are
	Codecs []string // all that it needs
	Avoid  []string // relays that refused it or lost it, taken only when no other fits
}

// ChooseRelay gives a relay for a job: one that has all the codecs and is neither draining nor full; of the job's region while one
// there is not busy; of two random ones the less loaded. ErrNone, ErrUnfit and ErrFull tell why there is none.
func ChooseRelay(job Job, relays []Relay, random Random) (Choice, error) {
	var list []option
	active, fit := false, false
	for i := range relays {
		r := &relays[i]
		if r.Draining {
			continue
		}
		active = true
		if !hasAll(r.Codecs, job.Codecs) {
			continue
		}
		fit = true
		if r.Load < MaxLoad {
			list = append(list, option{
				id: r.ID, load: r.Load, weight: r.Weight, region: r.Region == job.Region, avoid: slices.Contains(job.Avoid, r.ID),
			})
		}
	}
	switch {
	case !active:
		return Choice{}, ErrNone
	case !fit:
		return Choice{}, ErrUnfit
	case len(list) == 0:
		return Choice{}, ErrFull
	}
	return choose(list, random), nil
}

// Access is a client that looks for an edge.
type Access struct {
	Region  string               // the client's, as far as known
	Present func(id string) bool // tells the edges where the room has participants; nil: none
	Avoid   []string             // edges that refused it, taken only when no other is there
}

// ChooseAccess gives the edge a token or a refusal names: never a draining or full one; one of the client's region where the room
// already is, else of its region, else where the room is, else any, as long as it is not busy; of two random ones the less loaded.
func ChooseAccess(client Access, edges []Edge, random Random) (Choice, error) {
	var list []option
	active := false
	for i := range edges {
		e := &edges[i]
		if e.Draining {
			continue
		}
		active = true
		if e.Load < MaxLoad {
			list = append(list, option{
				id: e.ID, load: e.Load, weight: e.Weight, region: e.Region == client.Region,
				room: client.Present != nil && client.Present(e.ID), avoid: slices.Contains(client.Avoid, e.ID),
			})
		}
	}
	switch {
	case !active:
		return Choice{}, ErrNone
	case len(list) == 0:
		return Choice{}, ErrFull
	}
	return choose(list, random), nil
}

func hasAll(has, needs []string) bool {
	for _, n := range needs {
		if !slices.Contains(has, n) {
			return false
		}
	}
	return true
}

type option struct {
	id           string
	load, weight int
	region, room bool
	avoid        bool
}

// rank orders the kinds of options: the lower the better.
func (o *option) rank() int {
	r := 0
	if !o.region {
		r += 2
	}
	if !o.room {
		r++
	}
	if o.load >= busy {
		r += 4
	}
	if o.avoid {
		r += 8
	}
	return r
}

func (o *option) reason() string {
	text := "any"
	switch {
	case o.region && o.room:
		text = "room and region"
	case o.region:
		text = "region"
	case o.room:
		text = "room"
	}
	if o.load >= busy {
		text += ", busy"
	}
	if o.avoid {
		text += ", refused before"
	}
	return text
}

// choose takes the less loaded of two random options of the best rank there is. Chance is weighted by capacity.
func choose(list []option, random Random) Choice {
	best := list[0].rank()
	for i := range list {
		best = min(best, list[i].rank())
	}
	list = slices.DeleteFunc(list, func(o option) bool { return o.rank() != best })
	first := draw(list, random)
	if len(list) > 1 {
		// The second is drawn from the others: comparing one with itself would be no choice.
		list[0], list[first] = list[first], list[0]
		first = 0
		if second := 1 + draw(list[1:], random); list[second].load < list[0].load {
			first = second
		}
	}
	return Choice{ID: list[first].id, Reason: list[first].reason()}
}

func draw(list []option, random Random) int {
	sum := 0
	for i := range list {
		sum += weigh(list[i].weight)
	}
	at := random(sum)
	for i := range list {
		if at -= weigh(list[i].weight); at < 0 {
			return i
		}
	}
	return len(list) - 1
}

func weigh(w int) int { return min(max(w, 1), 1<<16-1) }
