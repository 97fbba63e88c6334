package bitrate

import "math"

// MaxLayers is how many layers of one Demand are looked at: three pictures by four frame rates. Further ones are left out.
const MaxLayers = 12

// Kind is what a subscription carries.
type Kind uint8

const (
	Audio Kind = iota
	Video
)

// Layer is one thing that can be sent for a subscription. Encoding, Spatial and Temporal are the caller's names for it.
type Layer struct {
	Encoding          int8
	Spatial, Temporal int8
	Width, Height     int     // of the picture; 0: not known
	FrameRate         float64 // a second; 0: not known
	// Bitrate is the measured rate with all that the layer needs below it. 0: not measured, as for a layer that was paused at our
	// request: its last known rate counts, or one guessed from the other layers. Layers that the source cannot send are left out.
	Bitrate Bitrate
}

// name identifies a layer from one allocation to the next.
func (l *Layer) name() uint32 {
	return 1<<24 | uint32(uint8(l.Encoding))<<16 | uint32(uint8(l.Spatial))<<8 | uint32(uint8(l.Temporal))
}

// Demand is one subscription of the transport.
type Demand struct {
	Kind          Kind
	Layers        []Layer // in any order; the caller's, only read during Allocate
	Width, Height int     // at which the receiver displays it, in its pixels; 0: not known, any size is welcome
	FrameRate     float64 // wanted at most; 0: any
	Priority      int8    // higher ones come first with everything beyond the lowest layer
	Hidden        bool    // the receiver does not display it now; means nothing for audio
	Paused        bool    // nothing is to be sent: the receiver's or the source's wish
}

// Reason says why a subscription gets what it gets.
type Reason uint8

const (
	Unknown            Reason = iota // nothing is known yet of its layers' rates
	Everything                       // the best layer there is
	LimitedByDisplay                 // all that the receiver displays: size or frame rate
	LimitedByBandwidth               // a better layer is wanted, but does not fit, or not for long enough
	PausedForBandwidth               // not even the lowest layer fits
	Hidden                           // not displayed
	Paused                           // not wanted by the receiver, or not sent by the source
)

func (r Reason) String() string {
	names := [...]string{"nothing known yet", "everything wanted", "limited by display size", "limited by bandwidth",
		"paused for bandwidth", "hidden", "paused"}
	if int(r) >= len(names) {
		return "unknown"
	}
	return names[r]
}

// Grant is what one subscription gets. The caller keeps it from one allocation to the next: it carries the hysteresis. The zero
// value is a new subscription.
type Grant struct {
	Layer  int // index into Demand.Layers; -1: nothing is sent
	Best   int // index of the layer wanted if there were room; -1: none
	Reason Reason
	Since  int64   // when Layer or Reason last changed
	Rate   Bitrate // expected rate of Layer

	known    bool   // not new
	name     uint32 // of Layer; 0: none
	content  bool   // had all it wanted
	born     int64  // when it was new
	switched int64  // last change of layer
	raised   int64  // last change to a better one for bandwidth
	waiting  int64  // since when a better layer would fit; 0: does not
	starving int64  // since when the lowest layer does not quite fit; 0: fits
	failures uint8  // raises in a row that did not last

	measured int64 // when rates were last smoothed
	names    [MaxLayers]uint32
	rates    [MaxLayers]float32 // smoothed, bit/s
}

// Times over which measured rates are smoothed: a key frame must not look like a dearer layer.
const (
	smoothFirst = 500 * millisecond // while a subscription is new
	smoothUp    = 1500 * millisecond
	smoothDown  = 3 * second
	newFor      = 3 * second
)

// smooth takes the measured rates of the layers.
func (g *Grant) smooth(layers []Layer, now int64) {
	passed := float64(max(now-g.measured, 0))
	g.measured = now
	for i := range layers {
		l := &layers[i]
		if name := l.name(); g.names[i] != name {
			g.names[i], g.rates[i] = name, g.rateOf(name)
		}
		rate := float32(max(l.Bitrate, 0))
		switch old := g.rates[i]; {
		case rate == 0:
		case old == 0:
			g.rates[i] = rate
		default:
			over := smoothDown
			if rate > old {
				over = smoothUp
			}
			if now-g.born < newFor {
				over = smoothFirst
			}
			g.rates[i] += (rate - old) * float32(1-math.Exp(-passed/float64(over)))
		}
	}
	for i := len(layers); i < MaxLayers; i++ {
		g.names[i] = 0
	}
}

// rateOf is the rate kept for a layer that has moved to another place; 0: none. Places before it may have been overwritten.
func (g *Grant) rateOf(name uint32) float32 {
	for i, n := range g.names {
		if n == name {
			return g.rates[i]
		}
	}
	return 0
}

// step is a layer as the allocation sees it.
type step struct {
	layer   int8
	quality float64
	cost    float64 // bit/s
}

// ladder is the layers worth sending, each better and dearer than the one before.
type ladder struct {
	steps  [MaxLayers]step
	n      int
	capped bool // better layers exist than are displayed
	blind  bool // no rate is known
}

// frameWorth weighs frame rate against picture size: 30 pictures a second of a small picture come before 7 of one four times
// as large, and after 15 of it.
const frameWorth = 1.2

// build finds the ladder of a demand. rates are the layers' smoothed rates.
func (l *ladder) build(d *Demand, layers []Layer, rates *[MaxLayers]float32) {
	l.n, l.capped, l.blind = 0, false, true
	sized := true
	for i := range layers {
		sized = sized && layers[i].Width > 0 && layers[i].Height > 0
		l.blind = l.blind && rates[i] == 0
	}
	size, frames := math.Inf(1), math.Inf(1)
	if sized {
		size = enoughPixels(d, layers)
	}
	frames = enoughFrames(d, layers)
	for i := range layers {
		layer := &layers[i]
		if sized && pixels(layer) > size || layer.FrameRate > frames {
			l.capped = true
			continue
		}
		quality := float64(i + 1)
		if sized {
			quality = math.Log2(pixels(layer)) + frameWorth*math.Log2(max(layer.FrameRate, 1))
		}
		cost := rateOrGuess(i, layers, rates)
		if cost > 0 || l.blind {
			l.insert(step{layer: int8(i), quality: quality, cost: cost})
		}
	}
	if l.n == 0 {
		l.least(layers, rates)
	}
	l.prune()
}

// least takes the cheapest layer, where none is small and slow enough; the first where no rate is known.
func (l *ladder) least(layers []Layer, rates *[MaxLayers]float32) {
	best := -1
	for i := range layers {
		if l.blind && best < 0 || rates[i] > 0 && (best < 0 || rates[i] < rates[best]) {
			best = i
		}
	}
	if best >= 0 {
		l.insert(step{layer: int8(best), cost: float64(rates[best])})
	}
}

// insert keeps the steps in the order of quality.
func (l *ladder) insert(s step) {
	at := l.n
	for ; at > 0 && l.steps[at-1].quality > s.quality; at-- {
		l.steps[at] = l.steps[at-1]
	}
	l.steps[at] = s
	l.n++
}

// prune drops steps that cost as much as a better one.
func (l *ladder) prune() {
	kept := l.n
	for i := l.n - 1; i >= 0; i-- {
		if kept < l.n && l.steps[i].cost >= l.steps[kept].cost && !l.blind {
			continue
		}
		kept--
		l.steps[kept] = l.steps[i]
	}
	copy(l.steps[:], l.steps[kept:l.n])
	l.n -= kept
}

// find is the step of the layer with that name; where that layer is gone from the ladder, the best one that costs no more than it
// did. It is -1 when nothing was sent.
func (l *ladder) find(name uint32, layers []Layer, cost float64) int {
	if name == 0 || l.n == 0 {
		return -1
	}
	at := 0
	for i := range l.steps[:l.n] {
		if layers[l.steps[i].layer].name() == name {
			return i
		}
		if l.steps[i].cost <= cost {
			at = i
		}
	}
	return at
}

func pixels(l *Layer) float64 { return float64(l.Width) * float64(l.Height) }

// upscale is how much a picture may be stretched before a larger one is wanted.
const upscale = 1.15

// enoughPixels is the size of the smallest picture that covers the display without being stretched much.
func enoughPixels(d *Demand, layers []Layer) float64 {
	enough := math.Inf(1)
	for i := range layers {
		l := &layers[i]
		scale := math.Inf(1)
		if d.Width > 0 {
			scale = float64(d.Width) / float64(l.Width)
		}
		if d.Height > 0 {
			scale = min(scale, float64(d.Height)/float64(l.Height))
		}
		if scale <= upscale {
			enough = min(enough, pixels(l))
		}
	}
	return enough
}

// enoughFrames is the lowest frame rate that gives what is wanted.
func enoughFrames(d *Demand, layers []Layer) float64 {
	enough := math.Inf(1)
	if d.FrameRate <= 0 {
		return enough
	}
	for i := range layers {
		if layers[i].FrameRate >= 0.9*d.FrameRate {
			enough = min(enough, layers[i].FrameRate)
		}
	}
	return enough
}

// rateOrGuess is the smoothed rate of layer i; for one never measured, that of the nearest measured one scaled by pixels a
// second to the power of 3/4, or a tenth of a bit for each pixel.
func rateOrGuess(i int, layers []Layer, rates *[MaxLayers]float32) float64 {
	if rates[i] > 0 {
		return float64(rates[i])
	}
	speed := pixels(&layers[i]) * max(layers[i].FrameRate, 1)
	if speed == 0 {
		return 0
	}
	best, guess := math.Inf(1), 0.1*pixels(&layers[i])*max(layers[i].FrameRate, 15)
	for j := range layers {
		other := pixels(&layers[j]) * max(layers[j].FrameRate, 1)
		if rates[j] == 0 || other == 0 {
			continue
		}
		if far := math.Abs(math.Log2(speed / other)); far < best {
			best, guess = far, float64(rates[j])*math.Pow(speed/other, 0.75)
		}
	}
	return guess
}
