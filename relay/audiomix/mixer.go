// Package audiomix adds up the sound of a view's participants, so that each hears the others and nobody hears oneself
// (rooms-and-media 7).
//
// It stands between the decoders and the encoders of a mix. Every 10 ms the owner has written what was decoded to the Inputs and
// calls Mix, which leaves the result in Outputs: 48 kHz, stereo, 16 bits. Inputs and listeners come and go in between.
//
// # Groups
//
// An input and a listener belong to a group, which is a participant: a listener hears every input that is mixed except its
// group's. Listeners without a group (viewers, recordings, streams going out) hear all. What everybody hears is added up once; a
// group's mix is that less its own. A group of which nothing is in the mix hears the same as those without one, and is given the
// same Output: what is encoded for one is good for all. Once it has had something in the mix it gets an Output of its own, which
// it keeps a while longer, so that a pause between two sentences does not change encoders.
//
// # Talkers
//
// Inputs of groups that do not listen (streams coming in) are always mixed. Of the others at most Config.Talkers are: those with
// voice, by loudness; then those mixed until now; then the rest. A challenger has to be louder by 3 dB. Whoever comes in or goes
// out is faded over one frame. The sum is plain as long as it fits into 16 bits, and beyond that turned down, never clipped.
package audiomix

import (
	"errors"
	"slices"
	"time"
)

// The format of all that is mixed.
const (
	Rate         = 48_000
	Channels     = 2
	Frame        = 10 * time.Millisecond
	FrameSamples = Rate / 100              // of a frame, in each channel
	FrameLength  = FrameSamples * Channels // values of a frame; left and right take turns
	frames       = 100                     // a second
)

// Limits of a group.
const (
	MaxInputs    = 128
	MaxListeners = 32
)

// Errors of adding.
var (
	ErrInputs    = errors.New("audiomix: too many inputs of one group")
	ErrListeners = errors.New("audiomix: too many listeners of one group")
)

// Config is what a mix is like. Zero means the default.
type Config struct {
	Talkers    int           // of the groups that listen, mixed at most; default 3, negative: all
	ShareAfter time.Duration // after which a group that says nothing hears the shared mix again; default 2 s, negative: never
}

// Mixer is the sound of one view. Make it with New. It is not safe for concurrent use; its owner calls everything, also the
// methods of its Inputs and Listeners. Mix does not allocate.
type Mixer struct {
	talkers    int
	shareAfter int // frames
	groups     []*group
	inputs     []*Input // in the order they were added
	shared     Output
	everybody  int // listeners without a group
	outputs    []*Output
	top        []*Input // scratch of choose
	total      [FrameLength]int32
	own        [FrameLength]int32
	activity   activity
}

// group is one participant.
type group struct {
	name      string
	inputs    []*Input
	listeners int
	out       Output
	unheard   int  // frames since something of it was in the mix
	apart     bool // it has an Output of its own now
}

// Output is one mix. It is valid until the next call of Mix.
type Output struct {
	PCM    [FrameLength]int16
	Silent bool // all of PCM is zero
	limit  limiter
}

// Level is the level of the mix in -dBov, 0 (loudest) to 127 (RFC 6464).
func (o *Output) Level() uint8 { return dbov(power(&o.PCM)) }

// Listener hears the mix. Make it with AddListener.
type Listener struct {
	m    *Mixer
	g    *group // nil: hears all
	gone bool
}

// Result is what a call of Mix brought. It is valid until the next call.
type Result struct {
	Outputs []*Output // all that are different and have listeners
	Active  *Input    // who is newly the loudest talker of a second (rooms-and-media 6.1); nil: no change
}

// New makes a Mixer without inputs and listeners.
func New(config Config) *Mixer {
	m := &Mixer{talkers: config.Talkers, shareAfter: int(config.ShareAfter / Frame)}
	if config.Talkers == 0 {
		m.talkers = 3
	}
	if config.ShareAfter == 0 {
		m.shareAfter = 2 * frames
	}
	m.shared.reset()
	m.outputs = make([]*Output, 0, 16)
	m.top = make([]*Input, 0, max(m.talkers, 0)+1)
	return m
}

func (m *Mixer) group(name string) *group {
	for _, g := range m.groups {
		if g.name == name {
			return g
		}
	}
	g := &group{name: name, unheard: 1 << 30}
	g.out.reset()
	m.groups = append(m.groups, g)
	m.outputs = slices.Grow(m.outputs[:0], len(m.groups)+1)
	return g
}

// drop forgets a group that is empty.
func (m *Mixer) drop(g *group) {
	if len(g.inputs) == 0 && g.listeners == 0 {
		m.groups = slices.DeleteFunc(m.groups, func(other *group) bool { return other == g })
	}
}

// AddInput makes an input of a participant's; "" is nobody's, like a stream coming in. It fails with ErrInputs only.
func (m *Mixer) AddInput(participant string) (*Input, error) {
	in := newInput()
	if participant != "" {
		g := m.group(participant)
		if len(g.inputs) >= MaxInputs {
			return nil, ErrInputs
		}
		in.group = g
		g.inputs = append(g.inputs, in)
	}
	m.inputs = append(m.inputs, in)
	return in, nil
}

// RemoveInput takes an input out, with a fade in the next frame. Nothing may be done with it afterwards but removing it again.
func (m *Mixer) RemoveInput(in *Input) { in.leaving = true }

// AddListener makes a listener: a participant who may publish sound and therefore does not hear its own, or "", who hears all. It
// fails with ErrListeners only.
func (m *Mixer) AddListener(participant string) (*Listener, error) {
	l := &Listener{m: m}
	if participant == "" {
		m.everybody++
		return l, nil
	}
	g := m.group(participant)
	if g.listeners >= MaxListeners {
		return nil, ErrListeners
	}
	g.listeners++
	l.g = g
	return l, nil
}

// RemoveListener takes a listener out. Doing so twice is no error.
func (m *Mixer) RemoveListener(l *Listener) {
	if l.gone {
		return
	}
	l.gone = true
	if l.g == nil {
		m.everybody--
		return
	}
	l.g.listeners--
	m.drop(l.g)
}

// Output is what l hears of the frame mixed last. Listeners with the same Output hear the same. It changes from the shared one to
// the group's own in the frame in which something of the group comes into the mix, and back after Config.ShareAfter without; both
// times the sound goes on without a step.
func (l *Listener) Output() *Output {
	if l.g != nil && l.g.apart && !l.gone {
		return &l.g.out
	}
	return &l.m.shared
}

// Shared is the mix with all voices, whoever hears it.
func (m *Mixer) Shared() *Output { return &m.shared }

// Mix makes the next frame of every output from the next frame of every input.
func (m *Mixer) Mix() Result {
	for _, in := range m.inputs {
		in.take()
	}
	m.choose()
	clear(m.total[:])
	added := false
	for _, in := range m.inputs {
		if in.contribute() {
			add(&m.total, in.part)
			added = true
		}
	}
	before := m.shared.limit
	m.shared.set(&m.total, added)
	m.outputs = m.outputs[:0]
	together := m.everybody > 0
	for _, g := range m.groups {
		if m.apart(g, before) {
			m.subtract(g)
			m.outputs = append(m.outputs, &g.out)
		} else if g.listeners > 0 {
			together = true
		}
	}
	if together {
		m.outputs = append(m.outputs, &m.shared)
	}
	r := Result{Outputs: m.outputs, Active: m.activity.frame(m.inputs)}
	m.sweep()
	return r
}

// apart finds out whether g hears something else than everybody. before is how that was limited in the last frame.
func (m *Mixer) apart(g *group, before limiter) bool {
	g.unheard++
	for _, in := range g.inputs {
		if in.part != nil {
			g.unheard = 0
		}
	}
	was := g.apart
	g.apart = g.listeners > 0 && (g.unheard <= m.shareAfter || m.shareAfter < 0)
	if g.apart && !was {
		g.out.limit = before // goes on from what it heard
	}
	return g.apart
}

// subtract makes the mix that g hears.
func (m *Mixer) subtract(g *group) {
	if g.unheard > 0 {
		g.out.set(&m.total, !m.shared.Silent)
		return
	}
	m.own = m.total
	for _, in := range g.inputs {
		if in.part != nil {
			sub(&m.own, in.part)
		}
	}
	g.out.set(&m.own, true)
}

// sweep forgets the inputs that have left.
func (m *Mixer) sweep() {
	for i := 0; i < len(m.inputs); {
		in := m.inputs[i]
		if !in.leaving {
			i++
			continue
		}
		m.inputs = slices.Delete(m.inputs, i, i+1)
		m.activity.leave(in)
		if g := in.group; g != nil {
			g.inputs = slices.DeleteFunc(g.inputs, func(other *Input) bool { return other == in })
			m.drop(g)
		}
	}
}

func (o *Output) reset() { o.Silent, o.limit = true, limiter{gain: unity} }

// set makes the output of a sum; without, when nothing was added to it.
func (o *Output) set(sum *[FrameLength]int32, added bool) {
	if !added {
		if !o.Silent {
			clear(o.PCM[:])
		}
		o.reset()
		return
	}
	o.limit.run(&o.PCM, sum)
	o.Silent = o.PCM == [FrameLength]int16{}
}

func add(sum *[FrameLength]int32, part *[FrameLength]int16) {
	for i, v := range part {
		sum[i] += int32(v)
	}
}

func sub(sum *[FrameLength]int32, part *[FrameLength]int16) {
	for i, v := range part {
		sum[i] -= int32(v)
	}
}
