package layer

import "portico/shared/rtp/inspect"

// span is how many frames back the frames remember what was forwarded: as far as a Frame's differences reach.
const span = 256

// frames is what was forwarded of a stream with dependency descriptors.
type frames struct {
	sent   [span / 64]uint64 // by frame number, modulo span
	number uint16            // of the newest
	any    bool
	intact uint32 // for each decode target: all that it needs was forwarded
	active uint32 // decode targets that are being sent

	best    uint8 // what best found last,
	bestFor struct {
		structure *inspect.Structure
		target    Target
		active    uint32
	} // and for what
}

func (f *frames) has(number uint16) bool { return f.sent[number%span/64]>>(number%64)&1 != 0 }

func (f *frames) set(number uint16, sent bool) {
	bit := uint64(1) << (number % 64)
	if f.sent[number%span/64] &^= bit; sent {
		f.sent[number%span/64] |= bit
	}
}

// advance makes number the newest frame; those passed over did not come.
func (f *frames) advance(number uint16) {
	if ahead := number - f.number; !f.any || ahead >= span {
		f.sent = [span / 64]uint64{}
	} else {
		for n := f.number + 1; n != number; n++ {
			f.set(n, false)
		}
	}
	f.number, f.any = number, true
}

// complete tells whether all that the frame needs was forwarded.
func (f *frames) complete(frame *inspect.Frame) bool {
	if frame.DiffCount == inspect.TooMany {
		return false
	}
	for _, diff := range frame.Diffs[:frame.DiffCount] {
		if !f.has(frame.Number - uint16(diff)) {
			return false
		}
	}
	return true
}

// best is the decode target that comes nearest to the one wanted without going over it: spatial layers count more. Of those that
// are not being sent it takes none if it can; 0 when there is no other.
func best(s *inspect.Structure, target Target, active uint32) uint8 {
	want := inspect.DecodeTarget{Spatial: limit(target.Spatial), Temporal: limit(target.Temporal)}
	found, rank := lowest(s), -1
	for i := range s.Count {
		d := s.Targets[i]
		if d.Spatial > want.Spatial || d.Temporal > want.Temporal || active>>i&1 == 0 {
			continue
		}
		if r := int(d.Spatial)<<8 | int(d.Temporal); r > rank {
			found, rank = uint8(i), r
		}
	}
	return found
}

// best is like the function, and remembers what it found: that changes seldom.
func (s *Selector) best(structure *inspect.Structure) uint8 {
	f := &s.frames
	if f.bestFor.structure != structure || f.bestFor.target != s.target || f.bestFor.active != f.active {
		f.best = best(structure, s.target, f.active)
		f.bestFor.structure, f.bestFor.target, f.bestFor.active = structure, s.target, f.active
	}
	return f.best
}

// lowest is the decode target with the fewest layers.
func lowest(s *inspect.Structure) (found uint8) {
	for i := range s.Count {
		d, least := s.Targets[i], s.Targets[found]
		if d.Spatial < least.Spatial || d.Spatial == least.Spatial && d.Temporal < least.Temporal {
			found = uint8(i)
		}
	}
	return found
}

// described moves the limits for a packet with a dependency descriptor. Only the first packet of a frame changes anything.
func (s *Selector) described(p Packet, picture bool) {
	f := p.Frame
	s.frames.active = f.Active
	anew := f.Structure != s.structure
	if !anew && s.frames.any && f.Number == s.frames.number {
		return
	}
	want := s.best(f.Structure)
	switch {
	case p.Key || anew && f.Key:
		s.frames.any, s.frames.intact = false, ^uint32(0)
		s.limits.Decode = want
	case anew: // the structure came with a packet that was lost, or one that is no key frame
		s.frames.intact = 0
		s.limits.Decode = best(f.Structure, Target{Spatial: int8(s.limits.Spatial), Temporal: int8(s.limits.Temporal)}, f.Active)
	}
	s.structure = f.Structure
	s.frames.advance(f.Number)
	complete := s.frames.complete(f)
	if !p.Key {
		s.move(f, want, picture, complete)
	}
	d := s.structure.Targets[s.limits.Decode]
	s.limits.Spatial, s.limits.Temporal = d.Spatial, d.Temporal
	s.note(f, complete)
}

// move goes over to the decode target wanted, if one may at the frame f. More spatial layers cannot begin within a picture: what is
// below them has gone out as its end. On the way down fewer temporal layers may have to do until a key frame lets the spatial
// layer change.
func (s *Selector) move(f *inspect.Frame, want uint8, picture, complete bool) {
	if want == s.limits.Decode {
		return
	}
	now, wanted := s.structure.Targets[s.limits.Decode], s.structure.Targets[want]
	enters := f.Indication(int(want)) == inspect.Switch && complete && (picture || wanted.Spatial <= now.Spatial)
	if enters || picture && s.frames.intact>>want&1 != 0 {
		s.limits.Decode = want
		return
	}
	if !picture {
		return
	}
	if now.Temporal <= wanted.Temporal {
		return
	}
	for i := range s.structure.Count {
		d := s.structure.Targets[i]
		if d.Spatial == now.Spatial && d.Temporal == wanted.Temporal && s.frames.intact>>i&1 != 0 {
			s.limits.Decode = uint8(i)
			return
		}
	}
}

// note remembers what becomes of the frame f, and which decode targets are still whole.
func (s *Selector) note(f *inspect.Frame, complete bool) {
	sent := f.Indication(int(s.limits.Decode)) != inspect.NotPresent
	s.frames.set(f.Number, sent)
	for i := range s.structure.Count {
		switch indication := f.Indication(i); {
		case !sent && indication > inspect.Discardable:
			s.frames.intact &^= 1 << i
		case sent && complete && indication == inspect.Switch:
			s.frames.intact |= 1 << i
		}
	}
}
