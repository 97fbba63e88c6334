package cascade

import (
	"sync/atomic"

	"portico/edge/room"
	"portico/edge/rtc"
	"portico/edge/sfu/feedback"
	"portico/shared/conference"
	"portico/shared/meshproto"
	"portico/shared/relayproto"
)

// choice is the loudest voices of a room. It implements room.AudioSelector: here they are chosen by the media engine, elsewhere pulled.
type choice struct {
	cascade *Cascade
	tracks  []string
	inner   *rtc.Selector
	edge    atomic.Pointer[string] // where they are chosen; empty: here

	// The Loop owns the fields below.
	voices []*voice
	closed bool
}

// voice is one of them that is pulled. The Loop owns it.
type voice struct {
	fetch
	choice *choice
	slot   int
}

// selected is the codec of the voices, as rtc has it.
var selected = conference.Format{Codec: "opus", SampleRate: 48000, ChannelNum: 2}

// OpenSelector implements room.Selectors.
func (c *Cascade) OpenSelector(tracks []string, changed func(slot int, publication string, major bool)) (room.AudioSelector, error) {
	x := &choice{cascade: c, tracks: tracks, voices: make([]*voice, len(tracks))}
	x.edge.Store(new(string))
	inner, err := c.options.Media.OpenSelector(rtc.SelectorSpec{
		Tracks: tracks, Changed: changed,
		Wanted: func(slot int, on bool) { c.post(func() { x.wanted(slot, on) }) },
	})
	if err != nil {
		return nil, err
	}
	x.inner = inner
	c.mu.Lock()
	for _, track := range tracks {
		c.slots[track] = x
	}
	c.mu.Unlock()
	return x, nil
}

// Add implements room.AudioSelector.
func (x *choice) Add(publication string) { x.inner.Add(publication) }

// Follow implements room.AudioSelector.
func (x *choice) Follow(edge string) {
	x.cascade.post(func() {
		if x.closed || *x.edge.Load() == edge {
			return
		}
		x.edge.Store(&edge)
		x.inner.Follow(edge)
		for slot, v := range x.voices {
			switch {
			case v == nil:
			case edge == "":
				v.close()
				x.voices[slot] = nil
			default:
				v.look()
			}
		}
	})
}

// wanted takes the engine's word that a voice chosen elsewhere is of use, or not any more, on the Loop.
func (x *choice) wanted(slot int, on bool) {
	v := x.voices[slot]
	switch {
	case x.closed || on == (v != nil):
	case on:
		v = &voice{choice: x, slot: slot}
		v.fetch = fetch{
			cascade: x.cascade, owner: v, codec: selected.Codec, edge: func() string { return *x.edge.Load() },
			timeline: func(*neighbour) *feedback.Timeline { return new(feedback.Timeline) }, // whose voice it is changes
		}
		x.voices[slot] = v
		v.look()
	default:
		x.inner.Feed(slot, nil)
		v.close()
		x.voices[slot] = nil
	}
}

// Close implements room.AudioSelector.
func (x *choice) Close() {
	c := x.cascade
	c.mu.Lock()
	for _, track := range x.tracks {
		if c.slots[track] == x {
			delete(c.slots, track)
		}
	}
	c.mu.Unlock()
	x.inner.Close()
	c.post(func() {
		x.closed = true
		for _, v := range x.voices {
			if v != nil {
				v.close()
			}
		}
	})
}

// asks implements fetcher.
func (v *voice) asks() meshproto.Pull {
	track := v.choice.tracks[v.slot]
	return meshproto.Pull{Room: track, Stream: track, Track: track, Slot: true}
}

// arrived implements fetcher.
func (v *voice) arrived() { v.choice.inner.Feed(v.slot, v.live) }

func (v *voice) heard(*meshproto.PullMessage) {}

func (v *voice) trouble(why string) {
	v.cascade.log.Debug("a chosen voice does not come", "track", v.choice.tracks[v.slot], "why", why)
}

func (v *voice) ticks(*pull) {}

// listen begins to send a voice that is chosen here.
func (x *served) listen() (format conference.Format, why meshproto.PullReason, detail string) {
	c := x.server.cascade
	c.mu.Lock()
	of := c.slots[x.ask.Track]
	c.mu.Unlock()
	switch {
	case of == nil:
		return format, meshproto.PullUnknown, "no such choice"
	case *of.edge.Load() != "":
		return format, meshproto.PullElsewhere, "it is chosen on another edge"
	}
	outlet, err := c.options.Media.OpenOutlet(rtc.OutletSpec{
		Kind: conference.Audio, ClockRate: relayproto.ClockRate(selected.Codec), Sink: x, SSRC: x.ask.SSRC,
		PayloadType: relayproto.PayloadType(selected.Codec), Redundant: meshproto.PayloadRedundant, Extensions: extensions,
	})
	if err != nil {
		return format, meshproto.PullUnable, err.Error()
	}
	ended := func() { x.over(meshproto.PullElsewhere, "it is chosen here no more") }
	stop, ok := of.inner.Listen(x.ask.Track, outlet.Feed, ended)
	if !ok {
		outlet.Close()
		return format, meshproto.PullElsewhere, "it is chosen on another edge"
	}
	x.server.mu.Lock()
	x.way = voiced{outlet, stop}
	x.server.mu.Unlock()
	return selected, "", ""
}

// voiced is an outlet that the loudest voice is given to.
type voiced struct {
	*rtc.Outlet
	stop func()
}

func (v voiced) Close() {
	v.stop()
	v.Outlet.Close()
}
