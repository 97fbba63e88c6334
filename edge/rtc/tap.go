package rtc

import (
	"sync"

	"portico/edge/sfu"
	"portico/shared/conference"
	"portico/shared/layout"
)

// TapSpec declares a tap.
type TapSpec struct {
	// Tracks are the ids of one published track, or of several layers of one simulcast.
	Tracks []string
	// Whole takes all of one track as it is, whatever the Display.
	Whole bool
	// Local takes only what is published here, and not on another edge.
	Local bool
	// Sink gets the packets, and sender reports; its calls must not block.
	Sink sfu.Sink
	// What they are sent with.
	SSRC        uint32
	PayloadType func(conference.Format) uint8
	Redundant   uint8 // of packets with audio from before them too; 0: they come without
	Extensions  sfu.Extensions
	// Display is as in SetDisplay. Crop says that the picture will fill the size at which it is displayed, else that it will be within it.
	Display conference.Resolution
	Crop    bool
	// Ended is told that the source is gone. It must not block.
	Ended func()
}

// Tap takes a published track out of the edge as one stream. Of several layers it takes the smallest that does for the size at which it
// is displayed, whatever the bandwidth. Make it with Engine.OpenTap. All methods are safe for concurrent use.
type Tap struct {
	engine *Engine
	spec   TapSpec
	format conference.Format
	clock  int
	out    *sfu.Subscription
	worker *worker

	feeding sync.Mutex // held while it is given sources, from when it is known which; before the Engine's mu

	// The Engine's mu guards these.
	tracks  []*published
	display conference.Resolution // 0: the largest picture there is
	active  bool
	closed  bool
	steered tapState // the steerer's alone, but for tracks
}

// tapState is a tap as of the beginning of a round.
type tapState struct {
	sources []*sfu.Encoding
	offs    []bool
	known   [][2]int      // their sizes
	sizes   []layout.Size // scratch
	layers  []sfu.Target
	comes   []bool
}

// OpenTap begins to take a track, video with a key frame. Of the tracks named those that are there, and are of the first one's form, are
// taken. Its owner calls Close; so does the Engine when it closes. It fails with ErrNoSuchTrack or ErrClosed.
func (e *Engine) OpenTap(spec TapSpec) (*Tap, error) {
	t := &Tap{engine: e, spec: spec, active: true, display: spec.Display}
	t.feeding.Lock()
	defer t.feeding.Unlock()
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil, ErrClosed
	}
	for _, id := range spec.Tracks {
		if p := e.tracks[id]; p != nil && !(spec.Local && p.remote != nil) && (len(t.tracks) == 0 || p.line == t.tracks[0].line && p.format == t.tracks[0].format) {
			t.tracks = append(t.tracks, p)
		}
	}
	if len(t.tracks) == 0 {
		e.mu.Unlock()
		return nil, ErrNoSuchTrack
	}
	first := t.tracks[0]
	t.format, t.clock = complete(first.format), first.clock
	t.worker = e.leastBusy()
	t.worker.transports++
	t.out = sfu.NewSubscription(sfu.SubscriptionConfig{
		Video: first.line.kind == conference.Video, SSRC: spec.SSRC, ClockRate: t.clock, PayloadType: spec.PayloadType(t.format),
		Extensions: spec.Extensions, Sink: spec.Sink, Writer: t.worker.writer,
	})
	t.out.SetRedundant(spec.Redundant)
	now := e.now()
	for _, p := range t.tracks {
		p.enter(t)
		p.hold(now)
	}
	e.taps[t] = true
	sources := t.order(nil)
	var x tapState // until the next round of the steerer looks closer
	for i, s := range sources {
		width, height := t.sizeOf(s)
		x.add(sfu.All(i), width, height, true)
	}
	e.mu.Unlock()
	t.out.SetTarget(sfu.All(max(0, x.choose(spec.Display, spec.Crop, false))), sfu.ReasonDisplayed, now)
	t.out.SetSources(sources, now)
	return t, nil
}

// enter makes a tap one of the track's. The Engine's mu is held.
func (p *published) enter(t *Tap) {
	if p.taps == nil {
		p.taps = make(map[*Tap]bool)
	}
	p.taps[t] = true
}

// sizeOf is the size of one of the tap's sources. The Engine's mu is held.
func (t *Tap) sizeOf(e *sfu.Encoding) (width, height int) {
	for _, p := range t.tracks {
		if p.encoding == e {
			return p.size()
		}
	}
	return e.Size()
}

// refeed gives the tap the sources that it has at the moment. As with m-lines the last one to look is the last one to act.
func (t *Tap) refeed() {
	t.feeding.Lock()
	defer t.feeding.Unlock()
	e := t.engine
	e.mu.Lock()
	if t.closed {
		e.mu.Unlock()
		return
	}
	sources := t.order(nil)
	e.mu.Unlock()
	t.out.SetSources(sources, e.now())
}

// Format is the track's.
func (t *Tap) Format() conference.Format { return t.format }

// SetDisplay says at which size the picture will be shown; zero means as large as there is.
func (t *Tap) SetDisplay(size conference.Resolution) {
	t.engine.mu.Lock()
	defer t.engine.mu.Unlock()
	t.display = size
}

// SetActive pauses the tap (false), or lets it go on, video with a key frame.
func (t *Tap) SetActive(active bool) {
	t.engine.mu.Lock()
	changed := t.active != active
	t.active = active
	t.engine.mu.Unlock()
	if changed {
		t.out.SetActive(active, t.engine.now())
	}
}

// Receive takes an RTCP compound of whoever gets the stream: lost packets are sent again, wishes for key frames go to the source.
func (t *Tap) Receive(compound []byte) { t.out.Receive(compound, t.engine.now()) }

// Stats tells what has gone out.
func (t *Tap) Stats() sfu.SubscriptionStats { return t.out.Stats() }

// Close ends the tap. A packet being written at this moment may still reach the Sink. It is safe twice.
func (t *Tap) Close() {
	t.engine.mu.Lock()
	t.leave()
	t.engine.mu.Unlock()
	t.out.Close()
}

// leave takes the tap out. The Engine's mu is held.
func (t *Tap) leave() {
	if t.closed {
		return
	}
	t.closed = true
	t.worker.transports--
	delete(t.engine.taps, t)
	for _, p := range t.tracks {
		delete(p.taps, t)
	}
}

// lost deals with the end of one of the tracks: they all are of one publication and end together. The Engine's mu is held.
func (t *Tap) lost(effects *effects) {
	if t.closed {
		return
	}
	t.leave()
	out, ended := t.out, t.spec.Ended
	effects.ended = append(effects.ended, func() {
		out.Close()
		if ended != nil {
			ended()
		}
	})
}

// closeTaps closes all that are left.
func (e *Engine) closeTaps() {
	e.mu.Lock()
	var left []*Tap
	for t := range e.taps {
		left = append(left, t)
	}
	e.mu.Unlock()
	for _, t := range left {
		t.Close()
	}
}

// TrackSize is the size of a published track's picture; ok is false when there is no such track. The size is 0 while unknown.
func (e *Engine) TrackSize(id string) (size conference.Resolution, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.tracks[id]
	if p == nil {
		return size, false
	}
	size.Width, size.Height = p.size()
	return size, true
}

// order appends the encodings that the tap chooses from, the smallest picture first. The Engine's mu is held.
func (t *Tap) order(list []*sfu.Encoding) []*sfu.Encoding {
	return smallestFirst(list, t.tracks)
}

// steerTaps chooses the layers of all taps, and keeps those in use that they need.
func (s *steerer) steerTaps(now int64) {
	e := s.engine
	s.taps = s.taps[:0]
	e.mu.Lock()
	for t := range e.taps {
		switch {
		case !t.active:
		case t.spec.Whole || t.tracks[0].line.kind != conference.Video:
			for _, p := range t.tracks {
				s.wanted.want(p.encoding, now)
			}
		default:
			t.lineUp(now)
			s.taps = append(s.taps, tapRound{t, t.display})
		}
	}
	e.mu.Unlock()
	for _, x := range s.taps {
		x.tap.steer(s, x.display, now)
	}
	clear(s.taps)
}

// tapRound is a tap that is looked after.
type tapRound struct {
	tap     *Tap
	display conference.Resolution
}

// lineUp takes note of the sources. The Engine's mu is held.
func (t *Tap) lineUp(now int64) {
	x := &t.steered
	x.sources, x.offs, x.known = t.order(x.sources[:0]), x.offs[:0], x.known[:0]
	for _, e := range x.sources {
		off := false
		for _, p := range t.tracks {
			off = off || p.encoding == e && p.rests(now)
		}
		width, height := t.sizeOf(e)
		x.offs, x.known = append(x.offs, off), append(x.known, [2]int{width, height})
	}
}

// steer chooses among the layers that come, and says which it would take if all did.
func (t *Tap) steer(s *steerer, display conference.Resolution, now int64) {
	x := &t.steered
	x.sizes, x.layers, x.comes = x.sizes[:0], x.layers[:0], x.comes[:0]
	for i, e := range x.sources {
		rates := s.layers(e, now)
		width, height := x.known[i][0], x.known[i][1]
		if len(rates) == 0 {
			if n := len(x.sizes); width == 0 && x.offs[i] && n > 0 { // see sizeOrGuess
				width, height = 2*x.sizes[n-1].W, 2*x.sizes[n-1].H
			}
			x.add(sfu.All(i), width, height, false)
		}
		for j, r := range rates {
			if j+1 < len(rates) && rates[j+1].Spatial == r.Spatial { // all pictures of it
				continue
			}
			if r.Width != 0 {
				width, height = r.Width, r.Height
			}
			x.add(sfu.Target{Encoding: i, Spatial: r.Spatial, Temporal: -1}, width, height, true)
		}
	}
	best, coming := x.choose(display, t.spec.Crop, false), x.choose(display, t.spec.Crop, true)
	if best < 0 { // no size is known: it stays as it is
		if len(x.sources) > 0 {
			s.wanted.want(x.sources[0], now)
		}
		return
	}
	s.wanted.want(x.sources[x.layers[best].Encoding], now)
	if coming < 0 {
		coming = best
	}
	s.wanted.want(x.sources[x.layers[coming].Encoding], now)
	t.out.SetSources(x.sources, now)
	t.out.SetTarget(x.layers[coming], sfu.ReasonDisplayed, now)
}

func (x *tapState) add(t sfu.Target, width, height int, comes bool) {
	x.sizes = append(x.sizes, layout.Size{W: width, H: height})
	x.layers = append(x.layers, t)
	x.comes = append(x.comes, comes)
}

// choose is the smallest layer that does for the display, of those that come or of all; -1 when no size is known.
func (x *tapState) choose(display conference.Resolution, crop, coming bool) int {
	place := layout.Rect{W: display.Width, H: display.Height}
	if place.Empty() {
		place.W, place.H = 1<<15, 1<<15
	}
	policy := layout.Letterbox
	if crop {
		policy = layout.Crop
	}
	best := -1
	var found layout.Size
	for i, size := range x.sizes {
		if coming && !x.comes[i] {
			continue
		}
		if best < 0 {
			found = layout.Size{}
		}
		if layout.Encoding(policy, []layout.Size{found, size}, place) == 1 {
			best, found = i, size
		}
	}
	return best
}

// Known tells whether there is a published track of that id, here or on another edge.
func (e *Engine) Known(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tracks[id] != nil
}
