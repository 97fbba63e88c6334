package rtc

import (
	"cmp"
	"slices"

	"portico/edge/sfu"
	"portico/shared/conference"
)

// A publication may go on as another one of the same id: its participant has come to this edge from another one, or has gone there. The
// tracks of the new one are then the heirs of those before. What is fed by a track goes on with it until its heir has a picture, or sound,
// to go on with, or the track ends; then it goes over.

// takeOver makes the tracks of a publication that has been negotiated the heirs of one on another edge. The Engine's mu is held.
func (s *session) takeOver(effects *effects) {
	e := s.transport.engine
	if r := e.remotes[s.id]; r != nil && s.publishes {
		r.taken = true
		e.succeed(r.published(), s.published(), effects)
	}
}

// succeed finds each track's heir. mu is held.
func (e *Engine) succeed(before, after []*published, effects *effects) {
	for _, old := range before {
		p := heirOf(old, after)
		if p == nil || old.gone || p == old {
			continue
		}
		old.heir = p
		p.forebears = append(p.forebears, old)
		for _, older := range old.forebears { // which have not come to it
			older.heir = p
			p.forebears = append(p.forebears, older)
		}
		old.forebears = nil
		delete(e.heirs, old)
		e.heirs[p] = true
		if e.tracks[old.id] == old {
			delete(e.tracks, old.id)
		}
		if in, ok := e.selectors.candidates.Load(old); ok {
			e.inheritCandidate(old, p, in)
		}
	}
}

// heirOf is the track that goes on in another one's place: that of the same id, or the one that is most like it.
func heirOf(old *published, after []*published) *published {
	rank := func(p *published) int {
		switch {
		case p.line.kind != old.line.kind:
			return 0
		case p.id == old.id:
			return 5
		case p.rid == old.rid && p.line.mid == old.line.mid:
			return 4
		case p.rid == old.rid:
			return 3
		case p.line.mid == old.line.mid:
			return 2
		}
		return 1
	}
	if len(after) == 0 {
		return nil
	}
	best := slices.MaxFunc(after, func(a, b *published) int { return cmp.Compare(rank(a), rank(b)) })
	if rank(best) == 0 {
		return nil
	}
	return best
}

// succession lets heirs take over that have something to go on with, and tells whether some still wait for it.
func (s *steerer) succession(now int64) (waiting bool) {
	e := s.engine
	var effects effects
	var blind []*sfu.Encoding
	e.mu.Lock()
	for p := range e.heirs {
		if p.gone || len(p.forebears) == 0 {
			delete(e.heirs, p)
			continue
		}
		if !p.began() {
			if waiting = true; p.encoding.Stats().Packets > 0 { // what began it got lost, and nobody is fed by it who could ask
				blind = append(blind, p.encoding)
			}
			continue
		}
		for _, of := range p.line.tracks { // who chooses among layers goes over with the first of them
			for _, old := range of.forebears {
				old.hand(of == p, &effects)
			}
		}
		forebears := p.forebears
		p.forebears = nil
		for _, old := range forebears {
			if old.heir = nil; old.remote != nil {
				old.remote.of.remove(old, &effects)
			}
		}
		delete(e.heirs, p)
	}
	e.mu.Unlock()
	for _, encoding := range blind {
		encoding.RequestKeyFrame(now)
	}
	effects.run(now)
	return waiting
}

// began tells whether the track has a picture, or sound, to go on with.
func (p *published) began() bool {
	s := p.encoding.Stats()
	return s.KeyFrames > 0 || s.Packets > 0 && p.line.kind == conference.Audio
}

// bequeath leaves everything to the heir, as the track ends. The Engine's mu is held.
func (p *published) bequeath(effects *effects) {
	heir := p.heir
	if heir == nil || heir.gone {
		return
	}
	p.hand(true, effects)
	p.heir = nil
	heir.forebears = slices.DeleteFunc(heir.forebears, func(old *published) bool { return old == p })
}

// hand lets what is fed by the track go over to its heir: all, or only what chooses among layers. The Engine's mu is held.
func (p *published) hand(all bool, effects *effects) {
	heir := p.heir
	for s := range p.subscribers {
		for _, l := range s.lines {
			if l.before != nil && l.before.feed == p {
				l.before.feed = heir
				effects.feeding = append(effects.feeding, l)
			}
			if l.feed == p && (all || l.adapts && l.made == nil) && !s.ended {
				l.goOver(heir, effects)
			}
		}
		if !s.ended {
			s.release(p)
		}
	}
	for t := range p.taps {
		if all || len(t.tracks) > 1 {
			t.goOver(effects)
		}
	}
}

// goOver feeds an m-line from the heir of its source. One that cannot take it loses its source. The Engine's mu is held.
func (l *mline) goOver(heir *published, effects *effects) {
	s := l.session
	same := heir.format == l.feed.format && (l.made == nil || heir.id == l.from)
	if same || !l.accepted {
		l.feed, l.from = heir, heir.id
		heir.subscribers[s] = true
		effects.feeding = append(effects.feeding, l)
		return
	}
	old := l.feed
	err := l.change(heir, &SubTrack{From: heir.id, Adapt: l.adapts, Display: l.display, Making: l.making}, effects)
	if err != nil {
		delete(old.subscribers, s)
		s.end(effects)
		effects.tell(s, ReasonSourceLoss)
		return
	}
	effects.feeding = append(effects.feeding, l)
}

// goOver lets a tap go on with the heirs of its tracks; one that cannot ends with them. The Engine's mu is held.
func (t *Tap) goOver(effects *effects) {
	var tracks []*published
	for _, p := range t.tracks {
		heir := p.heir
		if heir == nil || heir.gone || heir.format != p.format || t.spec.Local && heir.remote != nil {
			return
		}
		if !slices.Contains(tracks, heir) {
			tracks = append(tracks, heir)
		}
	}
	for _, p := range t.tracks {
		delete(p.taps, t)
	}
	t.tracks = tracks
	for _, p := range tracks {
		p.enter(t)
	}
	effects.tapping = append(effects.tapping, t)
}
