package cascade

import (
	"sync/atomic"
	"time"

	"portico/edge/room"
	"portico/edge/rtc"
	"portico/edge/sfu/feedback"
	"portico/shared/conference"
	"portico/shared/meshproto"
	"portico/shared/relayproto"
)

// mix is a view's mix. It implements room.Mixer: here it is made by Options.Mixers, elsewhere pulled.
type mix struct {
	cascade *Cascade
	spec    room.MixerSpec
	inner   room.Mixer
	tracks  []string
	edge    atomic.Pointer[string] // where it is made; empty: here

	// The Loop owns the fields below, and changes edge.
	handles  map[*handle]bool
	makings  map[makingKey]*making
	members  map[string]bool // whose sound is in it, as the other edge says; nil: unknown
	inside   []string        // the same of what is made here
	served   map[*served]bool
	moves    int                // counts changes of edge
	making   bool               // what is made here goes on, for those to whom it has not come from elsewhere
	timeline *feedback.Timeline // of what comes by
	from     *neighbour         // this one,
	life     int                // in this life of its
	closed   bool
}

// OpenMixer implements room.Mixers.
func (c *Cascade) OpenMixer(spec room.MixerSpec) room.Mixer {
	m := &mix{
		cascade: c, spec: spec, tracks: []string{room.MixedTrack(spec.Stream, conference.Audio), room.MixedTrack(spec.Stream, conference.Video)},
		handles: make(map[*handle]bool), makings: make(map[makingKey]*making), served: make(map[*served]bool),
	}
	m.edge.Store(new(string))
	c.mu.Lock()
	for _, track := range m.tracks { // before anybody can subscribe
		c.mixes[track] = m
	}
	c.mu.Unlock()
	m.inner = c.options.Mixers.OpenMixer(spec)
	return m
}

// Update implements room.Mixer.
func (m *mix) Update(now room.Mix) {
	m.cascade.post(func() {
		if m.closed {
			return
		}
		m.inner.Update(now)
		m.inside = m.inside[:0:0]
		for i := range now.Inputs {
			if in := &now.Inputs[i]; in.Audio != "" && in.Participant != "" && len(m.inside) < meshproto.MaxMembers {
				m.inside = append(m.inside, in.Participant)
			}
		}
		for x := range m.served {
			m.tellMembers(x)
		}
		m.locate("")
	})
}

// Follow implements room.Mixer.
func (m *mix) Follow(edge string) {
	m.cascade.post(func() {
		if !m.closed {
			m.locate(edge)
		}
	})
}

// locate takes note of where the mix is made, on the Loop. What was made here goes on for a while.
func (m *mix) locate(edge string) {
	before := *m.edge.Load()
	if before == edge {
		return
	}
	m.edge.Store(&edge)
	m.members = nil
	m.moves++
	if before == "" {
		m.making = true
		turn := m.moves
		time.AfterFunc(moveTime, func() {
			m.cascade.post(func() {
				if m.moves == turn {
					m.stopMaking()
				}
			})
		})
	}
	if edge == "" {
		m.making = false
	}
	for _, k := range m.makings {
		k.look()
	}
	for h := range m.handles {
		m.direct(h)
	}
	m.review()
}

// stopMaking ends what is made here.
func (m *mix) stopMaking() {
	if !m.making || m.closed {
		return
	}
	m.making = false
	for x := range m.served {
		x.over(meshproto.PullElsewhere, "it is made on another edge now")
	}
	m.inner.Follow(*m.edge.Load())
}

// review lets go of what nobody has, on the Loop.
func (m *mix) review() {
	wanted := make(map[*making]bool)
	local := len(m.served) > 0
	for h := range m.handles {
		wanted[h.has], wanted[h.next] = true, true
		local = local || h.here.Load() != nil
	}
	for key, k := range m.makings {
		if !wanted[k] {
			delete(m.makings, key)
			k.close()
		}
	}
	if !local {
		m.stopMaking()
	}
}

// Ready implements room.Mixer.
func (m *mix) Ready() error {
	if *m.edge.Load() == "" {
		return m.inner.Ready()
	}
	return nil // the subscriptions are told
}

// Close implements room.Mixer.
func (m *mix) Close() {
	c := m.cascade
	c.mu.Lock()
	for _, track := range m.tracks {
		if c.mixes[track] == m {
			delete(c.mixes, track)
		}
	}
	c.mu.Unlock()
	m.inner.Close()
	c.post(func() {
		m.closed = true
		for x := range m.served {
			x.over(meshproto.PullOver, "the mix has ended")
		}
		for h := range m.handles {
			h.drop()
		}
		clear(m.handles)
		for _, k := range m.makings {
			k.close()
		}
		clear(m.makings)
	})
}

// makingKey is what is pulled; subscribers whose wishes come to the same one share it.
type makingKey struct {
	track    string
	ask      meshproto.PullMaking
	listener string
}

// keyOf is what a wish comes to: only who is in the mix gets a sound of its own.
func (m *mix) keyOf(c *rtc.Conversion) makingKey {
	k := makingKey{track: c.Track, ask: meshproto.PullMaking{Kind: c.Kind, Format: c.Format}}
	if c.Kind == conference.Audio {
		if m.members == nil || m.members[c.Listener] {
			k.ask.Listener = c.Listener
		}
		return k
	}
	k.ask.Width, k.ask.Height, k.ask.Framerate = c.Resolution.Width, c.Resolution.Height, c.Framerate
	k.ask.Bitrate, k.ask.KeyFrameInterval = c.Bitrate, c.KeyFrameInterval
	return k
}

// making is something made elsewhere that is pulled. The Loop owns it.
type making struct {
	fetch
	mix     *mix
	key     makingKey
	ceiling int // as said last
}

func (m *mix) newMaking(key makingKey) *making {
	k := &making{mix: m, key: key}
	k.fetch = fetch{
		cascade: m.cascade, owner: k, video: key.ask.Kind == conference.Video, codec: key.ask.Format.Codec, timeline: m.timelineOf,
		edge: func() string { return *m.edge.Load() },
	}
	return k
}

// asks implements fetcher.
func (k *making) asks() meshproto.Pull {
	ask := k.key.ask
	ask.Ceiling = k.lowest()
	k.ceiling = ask.Ceiling
	return meshproto.Pull{Room: k.mix.spec.Room, Stream: k.mix.spec.Stream, Track: k.key.track, Making: &ask}
}

// arrived implements fetcher.
func (k *making) arrived() {
	for h := range k.mix.handles {
		if h.has == k || h.next == k {
			h.settle(k)
		}
	}
	k.mix.cascade.post(k.mix.review) // not before what was is closed
}

// timelineOf is shared by sound and picture.
func (m *mix) timelineOf(n *neighbour) *feedback.Timeline {
	if m.timeline == nil || m.from != n || m.life != n.life {
		m.timeline, m.from, m.life = new(feedback.Timeline), n, n.life
	}
	return m.timeline
}

// heard implements fetcher.
func (k *making) heard(msg *meshproto.PullMessage) {
	m := k.mix
	switch {
	case msg.Members != nil:
		m.members = make(map[string]bool)
		for _, p := range msg.Members.Participants {
			m.members[p] = true
		}
		for h := range m.handles {
			if h.wish.Kind == conference.Audio {
				m.direct(h)
			}
		}
		m.review()
	case msg.Target != nil:
		for h := range m.handles {
			if h.has == k || h.next == k {
				h.target.Store(int64(msg.Target.Kbps))
			}
		}
	case msg.Trouble != nil && msg.Trouble.Why != "":
		k.trouble(msg.Trouble.Why)
	}
}

// trouble implements fetcher.
func (k *making) trouble(why string) {
	for h := range k.mix.handles {
		if h.has == k || h.next == k {
			h.wish.Trouble(why)
		}
	}
}

// ticks implements fetcher: it tells what the subscribers' networks carry.
func (k *making) ticks(p *pull) {
	if is := k.lowest(); is != k.ceiling && p.n.talk != nil {
		k.ceiling = is
		p.n.talk.post(meshproto.PullMessage{Ceiling: &meshproto.PullRate{Flow: p.flow, Kbps: is}})
	}
}

// lowest is what the networks of those who get it carry, as with jobs: the lowest, but not below a half of the highest.
func (k *making) lowest() int {
	lowest, highest := int64(0), int64(0)
	for h := range k.mix.handles {
		if kbps := h.ceiling.Load(); kbps > 0 && (h.has == k || h.next == k) {
			highest = max(highest, kbps)
			if lowest == 0 || kbps < lowest {
				lowest = kbps
			}
		}
	}
	return int(max(lowest, highest/2))
}

// make begins to send what is made here.
func (x *served) make() (why meshproto.PullReason, detail string) {
	s := x.server
	c, ask := s.cascade, x.ask.Making
	c.mu.Lock()
	m := c.mixes[x.ask.Track]
	c.mu.Unlock()
	codec := ask.Format.Codec
	switch {
	case m == nil || m.spec.Stream != x.ask.Stream:
		return meshproto.PullUnknown, "no such mix"
	case *m.edge.Load() != "":
		return meshproto.PullElsewhere, "it is made on another edge"
	case relayproto.PayloadType(codec) == 0 && codec != "pcmu":
		return meshproto.PullUnable, "codec " + codec
	}
	outlet, err := c.options.Media.OpenOutlet(rtc.OutletSpec{
		Kind: ask.Kind, ClockRate: relayproto.ClockRate(codec), Sink: x, SSRC: x.ask.SSRC, PayloadType: relayproto.PayloadType(codec),
		Extensions: extensions,
	})
	if err != nil {
		return meshproto.PullUnable, err.Error()
	}
	output := c.options.Converter.Open(rtc.Conversion{
		Track: x.ask.Track, Kind: ask.Kind, Format: ask.Format, Framerate: ask.Framerate, Bitrate: ask.Bitrate,
		Resolution: conference.Resolution{Width: ask.Width, Height: ask.Height}, KeyFrameInterval: ask.KeyFrameInterval, Listener: ask.Listener,
		Feed: outlet.Feed,
		Trouble: func(why string) {
			s.talk.post(meshproto.PullMessage{Trouble: &meshproto.PullTrouble{Flow: x.ask.Flow, Why: why}})
		},
	})
	if ask.Ceiling > 0 {
		output.SetCeiling(ask.Ceiling)
	}
	s.mu.Lock()
	x.way, x.output, x.mix = outlet, output, m
	s.mu.Unlock()
	c.post(func() {
		if m.closed {
			x.over(meshproto.PullOver, "the mix has ended")
			return
		}
		m.served[x] = true
	})
	return "", ""
}

// unserve forgets one that it was served to, on the Loop.
func (m *mix) unserve(x *served) {
	delete(m.served, x)
	m.review()
}

// tellMembers says whose sound is in the mix, on the Loop.
func (m *mix) tellMembers(x *served) {
	if m.served[x] && x.ask.Making.Kind == conference.Audio {
		x.server.talk.post(meshproto.PullMessage{Members: &meshproto.PullMembers{Stream: m.spec.Stream, Participants: m.inside}})
	}
}
