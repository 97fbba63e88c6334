package rtc

import (
	"slices"

	"portico/edge/sfu"
	"portico/edge/sfu/speakers"
)

// A selector may follow one of another edge: the slots then are fed with what comes from there. The other way round, what is in a slot goes
// to those edges that listen.

// elsewhere is a choice that is made on another edge. The Engine's mu guards it.
type elsewhere struct {
	slots []faraway
}

// faraway is a slot of it.
type faraway struct {
	encoding *sfu.Encoding // nil: nothing comes
	wanted   bool          // as Wanted was told
	until    int64         // somebody has had a use for it until then
}

// ear is who listens to a slot from another edge. The Engine's mu guards it.
type ear struct {
	slot  *published
	feed  func(e *sfu.Encoding)
	ended func()
	heard *sfu.Encoding // what feed was told last
}

// Follow says that another edge chooses from now on, or with an empty one this edge again. While another one does, Changed is told nothing,
// the slots are fed by Feed, and nobody can Listen.
func (s *Selector) Follow(edge string) {
	e, on := s.engine, edge != ""
	var effects effects
	e.mu.Lock()
	switch {
	case !e.selectors.open[s] || on == (s.away != nil):
	case on:
		s.away = &elsewhere{slots: make([]faraway, len(s.slots))}
		for in, p := range s.inputs {
			if p.remote != nil {
				s.far[p.publication()] = true
				s.speakers.Remove(in)
				delete(s.inputs, in)
				e.selectors.candidates.Delete(p)
			}
		}
		s.deafen(&effects)
	default:
		s.away = nil
		for publication := range s.far {
			if e.remotes[publication] == nil {
				delete(s.far, publication)
				continue
			}
			s.add(publication)
		}
	}
	e.mu.Unlock()
	effects.run(e.now())
}

// Feed says by which encoding a slot comes that is chosen elsewhere; nil: by none.
func (s *Selector) Feed(slot int, e *sfu.Encoding) {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	if s.away != nil {
		s.away.slots[slot].encoding = e
	}
}

// Listen has feed told what is in a slot, now and whenever that changes, until stop is called or the choice is not made here any more:
// then ended is called. Neither may block. ok is false for no slot of the selector, and when it is not made here.
func (s *Selector) Listen(track string, feed func(e *sfu.Encoding), ended func()) (stop func(), ok bool) {
	e := s.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(s.slots, func(slot *published) bool { return slot.id == track })
	if i < 0 || s.away != nil || !e.selectors.open[s] {
		return nil, false
	}
	x := &ear{slot: s.slots[i], feed: feed, ended: ended}
	s.ears[x] = true
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(s.ears, x)
	}, true
}

// deafen ends what others listen to. The Engine's mu is held.
func (s *Selector) deafen(effects *effects) {
	for x := range s.ears {
		effects.ended = append(effects.ended, x.ended)
	}
	clear(s.ears)
}

// decide is who comes into the slots, if that is decided here. The Engine's mu is held.
func (s *Selector) decide(now int64) []speakers.Change {
	if s.away != nil {
		return nil
	}
	return s.speakers.Decide(now)
}

// comes is what a slot that is chosen elsewhere is fed by, and takes note of whether that is of use. The Engine's mu is held.
func (s *Selector) comes(i int, slot *published, now int64) *sfu.Encoding {
	x := &s.away.slots[i]
	for sub := range slot.subscribers {
		if sub.hears(slot) {
			x.until = now + int64(unpulledAfter)
			break
		}
	}
	if on := now < x.until; on != x.wanted && s.wanted != nil {
		x.wanted = on
		s.calls = append(s.calls, func() { s.wanted(i, on) })
	}
	if x.encoding == nil {
		return s.nobody
	}
	return x.encoding
}

// hears tells whether a subscription of a slot is neither paused nor over. The Engine's mu is held.
func (s *session) hears(slot *published) bool {
	return slices.ContainsFunc(s.lines, func(l *mline) bool { return l.feed == slot && l.active && !s.ended })
}

// heed lets those who listen to a slot know what is in it. The Engine's mu is held.
func (s *Selector) heed(slot *published) {
	for x := range s.ears {
		if x.slot == slot && x.heard != slot.encoding {
			x.heard = slot.encoding
			feed, e := x.feed, slot.encoding
			s.calls = append(s.calls, func() { feed(e) })
		}
	}
}
