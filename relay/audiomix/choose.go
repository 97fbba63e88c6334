package audiomix

// louder is how much louder a challenger has to be than one who is mixed, in power: 3 dB.
const louder = 2

// choose decides which inputs are mixed in this frame.
func (m *Mixer) choose() {
	m.top = m.top[:0]
	for _, in := range m.inputs {
		in.chosen = false
		switch {
		case in.frame == nil || in.muted || in.leaving:
		case in.group == nil || in.group.listeners == 0 || m.talkers < 0:
			in.chosen = true
		default:
			m.rank(in)
		}
	}
	for _, in := range m.top {
		in.chosen = true
	}
}

// rank puts in among the talkers, if it is one of the first.
func (m *Mixer) rank(in *Input) {
	at := len(m.top)
	for at > 0 && in.before(m.top[at-1]) {
		at--
	}
	if at >= m.talkers {
		return
	}
	if len(m.top) < m.talkers {
		m.top = append(m.top, nil)
	}
	copy(m.top[at+1:], m.top[at:])
	m.top[at] = in
}

// before tells whether in is to be heard rather than other.
func (in *Input) before(other *Input) bool {
	a, b := in.class(), other.class()
	if a != b || a != talking {
		return a > b
	}
	return in.loudness() > other.loudness()
}

// The classes, the first to be heard last.
const (
	waiting = iota
	mixed
	talking
)

func (in *Input) class() int {
	switch {
	case in.voice.active:
		return talking
	case in.mixed:
		return mixed
	}
	return waiting
}

func (in *Input) loudness() float64 {
	if in.mixed {
		return in.smooth * louder
	}
	return in.smooth
}

// activity finds out, once a second, who was the loudest with voice.
type activity struct {
	frames  int
	current *Input // told last; nil: nobody yet
}

// frame counts a frame; in is who has become the loudest with it, nil when that is as before.
func (a *activity) frame(inputs []*Input) *Input {
	for _, in := range inputs {
		if in.voice.active {
			in.energy += in.power
		}
	}
	if a.frames++; a.frames < frames {
		return nil
	}
	a.frames = 0
	var loudest *Input
	for _, in := range inputs {
		if in.energy > 0 && !in.leaving && (loudest == nil || in.energy > loudest.energy) {
			loudest = in
		}
	}
	for _, in := range inputs {
		in.energy = 0
	}
	if loudest == nil || loudest == a.current {
		return nil
	}
	a.current = loudest
	return loudest
}

func (a *activity) leave(in *Input) {
	if a.current == in {
		a.current = nil
	}
}

// ResetActive forgets who was the loudest, so that the next second tells it anew: after regions were set by hand
// (rooms-and-media 5.5).
func (m *Mixer) ResetActive() {
	m.activity = activity{}
	for _, in := range m.inputs {
		in.energy = 0
	}
}
