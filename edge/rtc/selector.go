package rtc

import (
	"maps"
	"sync"
	"time"

	"portico/edge/sfu"
	"portico/edge/sfu/speakers"
	"portico/shared/conference"
)

// selectorTick is how often a selector looks after the subscriptions of its slots. Decisions come less often (package speakers).
const selectorTick = 50 * time.Millisecond

// maxSlots bounds the slots of a selector.
const maxSlots = 16

// selectedCodec is that of the slots. What is in them changes while their subscriptions stay as they were negotiated, so only
// publications in this codec are candidates.
var selectedCodec = codec{conference.Audio, "opus", 48000, 2}

// SelectorSpec declares a selector.
type SelectorSpec struct {
	// Tracks are the ids of the slots, never used before: subscriptions name them like those of published tracks.
	Tracks []string
	// Changed is told who is in a slot and whether it is the loudest of all. publication is its session, empty when the slot has
	// become free. Calls come one at a time; they must not block, nor close the selector.
	Changed func(slot int, publication string, major bool)
	// Wanted is told, while the choice is made elsewhere (Follow), when somebody has a use for a slot, and when nobody had for a while. It
	// is like Changed. nil: such a choice does not come.
	Wanted func(slot int, on bool)
}

// Selector feeds the subscriptions of a few virtual audio tracks, the slots, from the loudest of many published ones (rooms-and-
// media 6.3). Make it with Engine.OpenSelector. All methods are safe for concurrent use.
type Selector struct {
	engine  *Engine
	changed func(slot int, publication string, major bool)
	wanted  func(slot int, on bool)
	slots   []*published  // their encoding is that of who is in them
	nobody  *sfu.Encoding // what is in a free slot: nothing ever comes from it
	stop    chan struct{}
	once    sync.Once
	done    chan struct{}

	// The Engine's mu guards these.
	speakers *speakers.Selector
	inputs   map[*speakers.Input]*published
	started  map[*session]bool // subscriptions that have been given their first source
	away     *elsewhere        // nil: the choice is made here
	far      map[string]bool   // publications of other edges that are candidates
	ears     map[*ear]bool

	// Only the selector's goroutine touches these.
	feeds    []feeding
	news     []slotNews
	starting []*session
	calls    []func()
}

// feeding is what a subscription gets.
type feeding struct {
	out    *sfu.Subscription
	source *sfu.Encoding
}

// slotNews is one call of Changed.
type slotNews struct {
	slot        int
	publication string
	major       bool
}

// selectors are those of an Engine, whose mu guards them but for candidates. The zero value is ready.
type selectors struct {
	open       map[*Selector]bool
	slots      map[string]*published // by track id
	candidates sync.Map              // *published to its *speakers.Input
}

// OpenSelector makes a selector, whose slots are free until Add. Its owner calls Close; so does the Engine when it closes. It
// fails with ErrBadTracks (none, or too many), ErrIDInUse or ErrClosed.
func (e *Engine) OpenSelector(spec SelectorSpec) (*Selector, error) {
	if len(spec.Tracks) == 0 || len(spec.Tracks) > maxSlots {
		return nil, ErrBadTracks
	}
	s := &Selector{
		engine: e, changed: spec.Changed, wanted: spec.Wanted, stop: make(chan struct{}), done: make(chan struct{}),
		far: make(map[string]bool), ears: make(map[*ear]bool),
		speakers: speakers.New(len(spec.Tracks)), inputs: make(map[*speakers.Input]*published), started: make(map[*session]bool),
		nobody: sfu.NewEncoding(sfu.EncodingConfig{Codec: selectedCodec.name, ClockRate: selectedCodec.clock}),
	}
	f := format{name: selectedCodec.name, clock: selectedCodec.clock, channels: selectedCodec.channels}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	for i, id := range spec.Tracks {
		for _, other := range spec.Tracks[:i] {
			if other == id {
				return nil, ErrIDInUse
			}
		}
		if id == "" || e.trackNamed(id) != nil {
			return nil, ErrIDInUse
		}
		s.slots = append(s.slots, &published{
			id: id, line: &mline{kind: selectedCodec.kind}, format: f.reported(), clock: f.clock, encoding: s.nobody,
			subscribers: make(map[*session]bool),
		})
	}
	if e.selectors.open == nil {
		e.selectors.open, e.selectors.slots = make(map[*Selector]bool), make(map[string]*published)
	}
	e.selectors.open[s] = true
	for _, slot := range s.slots {
		e.selectors.slots[slot.id] = slot
	}
	go s.run()
	return s, nil
}

// trackNamed is what a subscription means by a track id: a published track, a slot of a selector, or a feed; nil without. mu is held.
func (e *Engine) trackNamed(id string) *published {
	if p := e.tracks[id]; p != nil {
		return p
	}
	if p := e.selectors.slots[id]; p != nil {
		return p
	}
	return e.feeds[id]
}

// closeSelectors closes all that are left.
func (e *Engine) closeSelectors() {
	e.mu.Lock()
	var left []*Selector
	for s := range e.selectors.open {
		left = append(left, s)
	}
	e.mu.Unlock()
	for _, s := range left {
		s.Close()
	}
}

// Add makes the audio tracks of a publication candidates until it ends: those of the slots' codec that are no selector's yet.
// A publication that has ended, or has not been negotiated, is ignored.
func (s *Selector) Add(publication string) {
	e := s.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.selectors.open[s] {
		return
	}
	s.add(publication)
}

// add is Add with the Engine's mu held. Those of other edges are not brought here for a choice that is made elsewhere.
func (s *Selector) add(publication string) {
	e := s.engine
	if e.remotes[publication] != nil {
		s.far[publication] = true
	}
	for _, l := range e.linesOf(publication) {
		for _, p := range l.tracks {
			if p.remote != nil && s.away != nil {
				continue
			}
			if _, taken := e.selectors.candidates.Load(p); !taken && p.format == s.slots[0].format {
				in := s.speakers.Add()
				s.inputs[in] = p
				e.selectors.candidates.Store(p, in)
			}
		}
	}
}

// heard takes the level of a packet of the track; its reader calls it.
func (p *published) heard(level uint8, voice bool, now int64) {
	if in, ok := p.engine.selectors.candidates.Load(p); ok {
		in.(*speakers.Input).Packet(level, voice, now)
	}
}

// Close ends the selector, and the subscriptions of its slots as with any lost source. It is safe twice. When it returns,
// Changed is called no more.
func (s *Selector) Close() {
	s.once.Do(func() { close(s.stop) })
	<-s.done
	e := s.engine
	var effects effects
	e.mu.Lock()
	if e.selectors.open[s] {
		delete(e.selectors.open, s)
		for _, p := range s.inputs {
			e.selectors.candidates.Delete(p)
		}
		clear(s.inputs)
		for _, slot := range s.slots {
			delete(e.selectors.slots, slot.id)
			slot.lose(&effects)
		}
		s.deafen(&effects)
	}
	e.mu.Unlock()
	effects.run(e.now())
}

func (s *Selector) run() {
	defer close(s.done)
	ticker := time.NewTicker(selectorTick)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			s.tick(s.engine.now())
		}
	}
}

// tick decides if it is time to, and sees to it that every subscription of a slot gets what is in it.
func (s *Selector) tick(now int64) {
	e := s.engine
	s.feeds, s.news, s.starting, s.calls = s.feeds[:0], s.news[:0], s.starting[:0], s.calls[:0]
	e.mu.Lock()
	s.prune()
	for _, c := range s.decide(now) {
		n := slotNews{slot: c.Slot, major: c.Major}
		if c.Input != nil {
			n.publication = s.inputs[c.Input].publication()
		}
		s.news = append(s.news, n)
	}
	for i, slot := range s.slots {
		slot.encoding = s.nobody
		if in := s.speakers.At(i); s.away != nil {
			slot.encoding = s.comes(i, slot, now)
		} else if in != nil {
			slot.encoding = s.inputs[in].encoding
		}
		s.heed(slot)
		for sub := range slot.subscribers {
			s.feed(sub, slot)
		}
	}
	maps.DeleteFunc(s.started, func(sub *session, _ bool) bool { return sub.ended })
	for _, sub := range s.starting {
		s.started[sub] = true
	}
	clear(s.starting)
	e.mu.Unlock()
	for _, f := range s.feeds {
		f.out.SetSource(f.source, now)
	}
	clear(s.feeds)
	for _, call := range s.calls {
		call()
	}
	clear(s.calls)
	for _, n := range s.news {
		s.changed(n.slot, n.publication, n.major)
	}
}

// prune takes out the candidates that have ended. The Engine's mu is held.
func (s *Selector) prune() {
	for in, p := range s.inputs {
		if p.gone {
			s.speakers.Remove(in)
			delete(s.inputs, in)
			s.engine.selectors.candidates.Delete(p)
		}
	}
}

// feed notes what a subscription of a slot gets. Its first source it is given when it starts, by its transport, which knows
// nothing of changes; that is left the time until the next tick. The Engine's mu is held.
func (s *Selector) feed(sub *session, slot *published) {
	switch {
	case !sub.ready:
	case !s.started[sub]:
		s.starting = append(s.starting, sub)
	default:
		for _, l := range sub.lines {
			if l.feed == slot && l.out != nil {
				s.feeds = append(s.feeds, feeding{l.out, slot.encoding})
			}
		}
	}
}

// inheritCandidate lets the heir of a track be chosen in its place. The Engine's mu is held.
func (e *Engine) inheritCandidate(old, heir *published, input any) {
	for s := range e.selectors.open {
		in := input.(*speakers.Input)
		if s.inputs[in] != old {
			continue
		}
		e.selectors.candidates.Delete(old)
		if _, taken := e.selectors.candidates.Load(heir); taken || heir.format != old.format {
			s.speakers.Remove(in)
			delete(s.inputs, in)
			return
		}
		s.inputs[in] = heir
		e.selectors.candidates.Store(heir, in)
	}
}
