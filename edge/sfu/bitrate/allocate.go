package bitrate

import (
	"cmp"
	"slices"
)

// Budget is what there is to divide.
type Budget struct {
	Rate     Bitrate
	Loss     float64 // 0 to 1: what is lost is sent again
	Starting bool    // the rate is a first guess: nothing is paused for it
}

// Constants of the allocation.
const (
	upMargin      = 1.2 // room that a better layer needs: packets sent again, and that the rate fluctuates
	resumeMargin  = 1.2
	keepLeast     = 0.7 // of its cost that the lowest layer needs to be kept for a while
	starveAtOnce  = 0.4 // below it is paused at once
	starveAfter   = second
	holdUp        = second
	holdResume    = 2 * second
	holdNew       = 200 * millisecond // while the subscription is new
	startFor      = 5 * second
	betweenRaises = 2 * second
	raiseFailed   = 8 * second // a raise that lasts no longer was wrong
	raiseProven   = 30 * second
	mostFailures  = 4
	roomyFailures = 2
	ample         = 1.4 // times what is wanted to be sent now: less need to doubt
	lossMost      = 0.3
)

// Allocator divides a transport's budget. It only keeps memory for its work: all state is in the Grants. The zero value is ready.
// It is not safe for concurrent use.
type Allocator struct {
	works  []work
	order  []int32
	round  []candidate
	wanted Bitrate
	total  Bitrate
}

// work is one demand's part in an allocation.
type work struct {
	ladder
	layers []Layer
	weight float64 // by what upgrades are compared: pixels displayed
	prev   int     // step sent until now; -1: none
	limit  int     // highest step in this pass
	at     int     // step given; -1: none
	spent  float64
	video  bool
	stop   bool // no step of this one fits any more
	credit bool // the lowest layer does not nearly fit
}

// Wanted is the rate that would satisfy all demands of the last Allocate with the room they need: it is for Estimator.Want.
func (a *Allocator) Wanted() Bitrate { return a.wanted }

// Granted is the sum of the rates given by the last Allocate.
func (a *Allocator) Granted() Bitrate { return a.total }

// Allocate divides the budget at now. grants runs parallel to demands and holds what the last call gave to each, zero values for
// new ones; they are replaced by the new decisions. Audio always gets its best layer. Then every video gets its lowest layer,
// then one better layer each, round by round. Down goes at once; up only after there has been room for a while.
// Once the Allocator has grown to the number of demands it allocates nothing.
func (a *Allocator) Allocate(now int64, budget Budget, demands []Demand, grants []Grant) {
	n := min(len(demands), len(grants))
	a.works = slices.Grow(a.works[:0], n)[:n]
	a.order = slices.Grow(a.order[:0], n)[:0]
	a.round = slices.Grow(a.round[:0], n)[:0]
	again := 1 + min(max(budget.Loss, 0), lossMost)
	left, wanted := float64(budget.Rate), 0.0
	for i := range n {
		w, g := &a.works[i], &grants[i]
		a.prepare(w, &demands[i], g, again, now)
		if w.n == 0 {
			continue
		}
		best := w.steps[w.n-1].cost
		if !w.video {
			w.at = w.n - 1
			left -= best
			wanted += best
			continue
		}
		wanted += best * upMargin
		a.order = append(a.order, int32(i))
	}
	a.wanted = Bitrate(wanted * 1.02)
	a.sort(demands, grants)
	a.divide(left, budget.Starting, demands, grants, now)
	if a.wait(float64(budget.Rate), demands, grants, now) {
		a.divide(left, budget.Starting, demands, grants, now)
	}
	a.total = 0
	for i := range n {
		a.conclude(&a.works[i], &demands[i], &grants[i], now)
		a.total += grants[i].Rate
		a.works[i].layers = nil
	}
}

// prepare builds a demand's ladder and finds where it stands on it.
func (a *Allocator) prepare(w *work, d *Demand, g *Grant, again float64, now int64) {
	w.layers = d.Layers[:min(len(d.Layers), MaxLayers)]
	w.video = d.Kind == Video
	w.prev, w.at, w.spent, w.stop, w.n = -1, -1, 0, false, 0
	if !g.known {
		*g = Grant{known: true, Layer: -1, Best: -1, born: now, Since: now, measured: now, content: true}
	}
	old := g.Rate
	g.smooth(w.layers, now)
	if d.Paused || w.video && d.Hidden {
		return
	}
	w.build(d, w.layers, &g.rates)
	for i := range w.steps[:w.n] {
		w.steps[i].cost *= again
	}
	w.prev = w.find(g.name, w.layers, float64(old)*again)
	w.limit = w.n - 1
	if w.n > 0 && w.steps[w.n-1].cost == 0 {
		w.limit = 0 // nothing tells what better ones cost
	}
	w.weight = displayed(d, w.layers)
}

// displayed is how many pixels the receiver shows; a receiver that does not say shows about a quarter of a large screen.
func displayed(d *Demand, layers []Layer) float64 {
	width, height := d.Width, d.Height
	switch {
	case width <= 0 && height <= 0:
		return 640 * 360
	case width <= 0:
		width = height * 16 / 9
	case height <= 0:
		height = width * 9 / 16
	}
	return max(float64(width)*float64(height), 1)
}

// sort brings those first that get their lowest layer first: by priority, then those that are being sent, then the largest.
func (a *Allocator) sort(demands []Demand, grants []Grant) {
	slices.SortStableFunc(a.order, func(i, j int32) int {
		if p, q := demands[i].Priority, demands[j].Priority; p != q {
			return int(q) - int(p)
		}
		if p, q := a.works[i].prev >= 0, a.works[j].prev >= 0; p != q {
			if p {
				return -1
			}
			return 1
		}
		switch p, q := a.works[i].weight, a.works[j].weight; {
		case p > q:
			return -1
		case p < q:
			return 1
		}
		return 0
	})
}

// divide gives steps up to each one's limit.
func (a *Allocator) divide(left float64, starting bool, demands []Demand, grants []Grant, now int64) {
	for _, i := range a.order {
		w := &a.works[i]
		w.at, w.spent, w.stop, w.credit = -1, 0, w.limit < 0, false
		if !w.stop && a.lowest(w, &grants[i], left, starting, now) {
			w.at, w.spent = 0, w.price(0)
			w.credit = left < keepLeast*w.spent
			left -= w.spent
		} else {
			w.stop = true
		}
	}
	for from := 0; from < len(a.order); {
		to := from + 1
		for to < len(a.order) && demands[a.order[to]].Priority == demands[a.order[from]].Priority {
			to++
		}
		left = a.upgrade(a.order[from:to], left)
		from = to
	}
}

// price is what a step needs: better layers than the present one need room to spare.
func (w *work) price(step int) float64 {
	if step > w.prev && step > 0 {
		return w.steps[step].cost * upMargin
	}
	return w.steps[step].cost
}

// lowest tells whether the lowest layer is to be sent.
func (a *Allocator) lowest(w *work, g *Grant, left float64, starting bool, now int64) bool {
	cost := w.steps[0].cost
	switch {
	case starting || w.blind:
		return true
	case w.prev >= 0:
		if left >= keepLeast*cost {
			return true
		}
		return left >= starveAtOnce*cost && (g.starving == 0 || now-g.starving < starveAfter)
	case g.Reason == PausedForBandwidth:
		return left >= resumeMargin*cost
	}
	return left >= cost
}

// candidate is a demand that may get its next step in this round.
type candidate struct {
	work  int32
	score float64
}

// upgrade gives better layers, one step each in a round, those with most gain for their cost first. What does not fit once gets
// no more.
func (a *Allocator) upgrade(order []int32, left float64) float64 {
	for round := 1; ; round++ {
		a.round = a.round[:0]
		for _, i := range order {
			if w := &a.works[i]; !w.stop && w.at == round-1 && round <= w.limit {
				a.round = append(a.round, candidate{i, w.score()})
			}
		}
		if len(a.round) == 0 {
			return left
		}
		slices.SortStableFunc(a.round, func(c, d candidate) int { return cmp.Compare(d.score, c.score) })
		for _, c := range a.round {
			w := &a.works[c.work]
			price := w.price(round)
			if price-w.spent > left {
				w.stop = true
				continue
			}
			left -= price - w.spent
			w.at, w.spent = round, price
		}
	}
}

// score is what the next step gives for its cost. Steps that are being sent already count double, so that measured rates that
// fluctuate do not pass a layer to and fro.
func (w *work) score() float64 {
	next := w.at + 1
	score := w.weight * (w.steps[next].quality - w.steps[w.at].quality) / max(w.price(next)-w.spent, 1)
	if next <= w.prev {
		score *= 2
	}
	return score
}

// wait bounds each one to what it has until a better layer has had room for long enough; again is true when that bounded any.
func (a *Allocator) wait(budget float64, demands []Demand, grants []Grant, now int64) (again bool) {
	spent := 0.0
	for i := range a.works[:min(len(demands), len(grants))] {
		if w := &a.works[i]; w.at >= 0 {
			spent += w.steps[w.at].cost
		}
	}
	roomy := budget > ample*spent
	for _, i := range a.order {
		w, g := &a.works[i], &grants[i]
		if w.at <= w.prev {
			g.waiting = 0
			continue
		}
		if g.content {
			continue // more is wanted than before, or it is new: there was room all the time
		}
		if g.waiting == 0 {
			g.waiting = now
		}
		if now-g.waiting < g.patience(w.prev, roomy, now) || now-g.switched < g.pause(now) {
			w.limit, again = w.prev, true
		}
	}
	return again
}

// patience is how long there must be room before a better layer is sent.
func (g *Grant) patience(prev int, roomy bool, now int64) int64 {
	wait := holdUp
	switch {
	case now-g.born < startFor && g.failures == 0:
		wait = holdNew
	case prev < 0:
		wait = holdResume
	}
	if roomy {
		return wait << min(g.failures, roomyFailures)
	}
	return wait << g.failures
}

// pause is the least time between a change and a raise.
func (g *Grant) pause(now int64) int64 {
	if now-g.born < startFor && g.failures == 0 {
		return holdNew
	}
	return betweenRaises
}

// conclude writes the decision to the grant.
func (a *Allocator) conclude(w *work, d *Demand, g *Grant, now int64) {
	old := *g
	g.Layer, g.Best, g.Rate, g.name = -1, -1, 0, 0
	if w.n > 0 {
		g.Best = int(w.steps[w.n-1].layer)
	}
	if w.at >= 0 {
		g.Layer = int(w.steps[w.at].layer)
		g.Rate = Bitrate(g.rates[g.Layer])
		g.name = w.layers[g.Layer].name()
	}
	g.Reason = w.reason(d)
	g.content = g.Reason != LimitedByBandwidth && g.Reason != PausedForBandwidth && g.Reason != Unknown
	g.starve(w, now)
	if g.name != old.name {
		g.switched = now
		g.judge(w, &old, now)
	}
	if g.name != old.name || g.Reason != old.Reason {
		g.Since = now
	}
	if g.failures > 0 && now-g.switched > raiseProven {
		g.failures = 0
	}
}

// starve keeps the time since which the lowest layer is sent on credit.
func (g *Grant) starve(w *work, now int64) {
	switch {
	case w.at != 0 || !w.video || !w.credit:
		g.starving = 0
	case g.starving == 0:
		g.starving = now
	}
}

// judge notes raises for bandwidth, and those that did not last.
func (g *Grant) judge(w *work, old *Grant, now int64) {
	switch {
	case w.at > w.prev && !old.content:
		g.raised, g.waiting = now, 0
	case w.at < w.prev && g.raised != 0 && (g.Reason == LimitedByBandwidth || g.Reason == PausedForBandwidth):
		if now-g.raised < raiseFailed {
			g.failures = min(g.failures+1, mostFailures)
		}
		g.raised = 0
	}
}

// reason names why.
func (w *work) reason(d *Demand) Reason {
	switch {
	case d.Paused:
		return Paused
	case w.video && d.Hidden:
		return Hidden
	case w.n == 0 || w.blind && w.at >= 0:
		return Unknown
	case w.at < 0:
		return PausedForBandwidth
	case w.at < w.n-1:
		return LimitedByBandwidth
	case w.capped:
		return LimitedByDisplay
	}
	return Everything
}
