// Package layer chooses which packets of a source with several qualities one subscriber gets: which of its simulcast encodings,
// and up to which spatial and temporal layer.
//
// It is pure and works on what inspect found in the packets. On the packet path the writer of a Subscription asks its Selector
// about each packet that comes in order, before the packet is renumbered. The rules are those under which a decoder never meets a
// picture that refers to one it did not get:
//
//   - another encoding begins at a key frame, and until one comes the old encoding goes on;
//   - fewer spatial or temporal layers begin with the next picture;
//   - more spatial layers begin with a key frame, which is known when the picture begins;
//   - more temporal layers begin with a key frame or where the stream says that one may switch: Y of VP8, U of VP9;
//   - with a dependency descriptor all of this follows from what each frame is to each decode target.
//
// What was decided is kept as Limits beside the packet's place, from which the same follows for a packet that comes late or is
// sent again.
package layer

import "portico/shared/rtp/inspect"

// Target is what is wanted: one of the encodings, by its place in the list, and of that the layers up to these; -1 stands for all.
type Target struct {
	Encoding          int
	Spatial, Temporal int8
}

// top stands for all layers.
const top = 127

func limit(n int8) uint8 {
	if n < 0 {
		return top
	}
	return uint8(n)
}

// Limits are the layers that are forwarded at one moment.
type Limits struct {
	Spatial, Temporal uint8
	Decode            uint8 // the decode target, for packets with a dependency descriptor
}

// Note packs the limits into a number.
func (l Limits) Note() uint32 {
	return uint32(l.Spatial) | uint32(l.Temporal)<<8 | uint32(l.Decode)<<16
}

// FromNote is the reverse of Note.
func FromNote(n uint32) Limits {
	return Limits{Spatial: uint8(n), Temporal: uint8(n >> 8), Decode: uint8(n >> 16)}
}

// Keep tells whether a packet is within the limits.
func (l Limits) Keep(f *inspect.Frame) bool {
	if f.Structure != nil {
		return f.Indication(int(l.Decode)) != inspect.NotPresent
	}
	return f.Spatial <= l.Spatial && f.Temporal <= l.Temporal
}

// Last tells whether a packet is the last of its picture within the limits: it gets the marker bit (RFC 9628 section 4.1).
func (l Limits) Last(f *inspect.Frame) bool { return f.End && f.Spatial == l.Spatial }

// Packet is what a Selector looks at.
type Packet struct {
	Encoding  int // place in the list
	Timestamp uint32
	Key       bool // a decoder can begin here
	Frame     *inspect.Frame
}

// Choice is what becomes of a packet.
type Choice uint8

// The choices.
const (
	Ignore  Choice = iota // it is of an encoding that is not being forwarded
	Skip                  // its layer is left out: numbering closes up
	Forward               // it is sent
)

// Decision is what a Selector decides about a packet.
type Decision struct {
	Choice  Choice
	Switch  bool   // of Forward: the encoding begins here
	Picture bool   // it is the first packet of a picture
	Limits  Limits // that hold for the packet
}

// Selector decides for one subscriber. Make it with New. Its writer owns it.
type Selector struct {
	target  Target
	current int // encoding; -1: none yet
	waiting bool
	limits  Limits
	up      bool // higher temporal layers may be entered with the next picture
	begun   bool // a picture came since the last switch
	ts      uint32
	top     uint8 // highest spatial layer met since the last switch

	structure *inspect.Structure
	frames    frames
}

// New makes a Selector that waits for a key frame of the first encoding.
func New() *Selector {
	return &Selector{target: Target{Spatial: -1, Temporal: -1}, current: -1, waiting: true}
}

// SetTarget says what is wanted.
func (s *Selector) SetTarget(t Target) { s.target = t }

// SetCurrent tells that the encoding being forwarded has another place in the list now; -1: it is not in it any more.
func (s *Selector) SetCurrent(encoding int) {
	s.current = encoding
	s.waiting = s.waiting || encoding < 0
}

// Restart makes forwarding stop until a key frame comes.
func (s *Selector) Restart() { s.waiting = true }

// Waiting tells whether nothing is forwarded until a key frame comes.
func (s *Selector) Waiting() bool { return s.waiting }

// Current is the encoding that is forwarded, or was before a Restart; -1: none.
func (s *Selector) Current() int { return s.current }

// Limits are the layers that are forwarded.
func (s *Selector) Limits() Limits { return s.limits }

// Settled is false while what is wanted has to wait for a key frame.
func (s *Selector) Settled() bool {
	switch {
	case s.waiting || s.current != s.target.Encoding:
		return false
	case s.structure != nil:
		want := s.best(s.structure)
		return s.frames.intact>>want&1 != 0 || s.structure.Targets[s.limits.Decode].Spatial == s.structure.Targets[want].Spatial
	}
	return s.limits.Spatial >= min(limit(s.target.Spatial), s.top)
}

// Next decides about a packet that comes later in its encoding than all before.
func (s *Selector) Next(p Packet) Decision {
	if p.Encoding != s.current || s.waiting {
		if !p.Key || p.Encoding != s.target.Encoding && !s.waiting {
			return Decision{Choice: Ignore}
		}
		s.enter(p)
		return Decision{Choice: Forward, Switch: true, Picture: true, Limits: s.limits}
	}
	picture := !s.begun || p.Timestamp != s.ts
	s.begun, s.ts = true, p.Timestamp
	s.top = max(s.top, p.Frame.Spatial)
	if p.Frame.Structure != nil {
		s.described(p, picture)
	} else {
		s.layered(p, picture)
	}
	d := Decision{Choice: Skip, Picture: picture, Limits: s.limits}
	if s.limits.Keep(p.Frame) {
		d.Choice = Forward
	}
	return d
}

// enter begins an encoding, or begins it again, at a key frame.
func (s *Selector) enter(p Packet) {
	s.current, s.waiting, s.begun, s.up = p.Encoding, false, true, false
	s.ts, s.top, s.structure = p.Timestamp, p.Frame.Spatial, nil
	s.limits = s.wanted()
	if p.Frame.Structure != nil {
		s.described(p, true)
	}
	s.up = p.Frame.SwitchUp
}

func (s *Selector) wanted() Limits {
	return Limits{Spatial: limit(s.target.Spatial), Temporal: limit(s.target.Temporal)}
}

// layered moves the limits for a packet that tells its layers by itself.
func (s *Selector) layered(p Packet, picture bool) {
	want, f := s.wanted(), p.Frame
	s.structure = nil
	switch {
	case p.Key:
		s.limits, s.up = want, false
	case picture:
		s.limits.Spatial = min(s.limits.Spatial, want.Spatial)
		if s.limits.Temporal > want.Temporal || s.up {
			s.limits.Temporal = want.Temporal
		}
		s.up = false
	}
	if f.Sync && f.Temporal == s.limits.Temporal+1 && f.Temporal <= want.Temporal {
		s.limits.Temporal = f.Temporal
	}
	if f.SwitchUp && f.Temporal <= s.limits.Temporal {
		s.up = true
	}
}
