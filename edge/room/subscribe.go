package room

import (
	"slices"
	"strings"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

func statusValue(active bool) jsonvalue.Value {
	if active {
		return jsonvalue.Of("active")
	}
	return jsonvalue.Of("inactive")
}

// subscribe checks a subscription (portal protocol 6.5 rows 3 to 12) and holds its place; sources are the tracks that feed it,
// in the order of the request.
func (m *machine) subscribe(owner, session string, r portalproto.SubscribeRequest) (s *subscription, sources []conference.Track, err error) {
	who := m.members[owner]
	if who == nil {
		return nil, nil, portalproto.ErrNotJoinedRoom
	}
	if r.Transport.Type == portalproto.TransportQUIC {
		s, err = m.subscribeData(owner, session, r)
		return s, nil, err
	}
	if !subscribable(r.Tracks) {
		return nil, nil, portalproto.ErrBadSubscription
	}
	for _, t := range r.Tracks {
		if !who.participant.Permission.Subscribe.Has(t.Kind) {
			return nil, nil, portalproto.ErrUnauthorized
		}
	}
	s = &subscription{id: session, owner: owner, transport: transportOf(r.Transport, session)}
	for _, t := range r.Tracks {
		adapts := m.adapts(t)
		if adapts {
			t.Wanted.Resolution = conference.Resolution{} // it is where the video is shown
		}
		stream, track, err := m.source(t)
		if err != nil {
			return nil, nil, err
		}
		s.tracks = append(s.tracks, subscribed{kind: t.Kind, stream: stream, active: true, adapts: adapts})
		sources = append(sources, track)
	}
	if err := m.reserve(owner); err != nil {
		return nil, nil, err
	}
	m.subs[session] = s
	return s, sources, nil
}

// adapts tells whether a track is chosen anew all the time (rooms and media 8.8): a video that is asked for by its stream, not by one
// of its layers.
func (m *machine) adapts(t portalproto.SubscribeTrack) bool {
	return m.config.EnableBandwidthAdaptation && t.Kind == conference.Video && t.Rid == "" && m.publication(t.From) != nil
}

// subscribeData is subscribe for data (portal protocol 8.12), for which no permission is checked.
func (m *machine) subscribeData(owner, session string, r portalproto.SubscribeRequest) (*subscription, error) {
	if len(r.Tracks) > 0 || r.DataFrom == "" || r.Transport.ID == "" {
		return nil, portalproto.ErrBadSubscription
	}
	if p := m.publication(r.DataFrom); p == nil || !p.ready || !p.stream.Data {
		return nil, portalproto.ErrNoStream
	}
	if err := m.reserve(owner); err != nil {
		return nil, err
	}
	s := &subscription{id: session, owner: owner, transport: r.Transport.ID, data: r.DataFrom}
	m.subs[session] = s
	return s, nil
}

// subscribable tells whether each track says kind, mid and source, with no mid twice.
func subscribable(tracks []portalproto.SubscribeTrack) bool {
	mids := map[string]bool{}
	for _, t := range tracks {
		if t.Kind == "" || t.Mid == "" || t.From == "" || mids[t.Mid] {
			return false
		}
		mids[t.Mid] = true
	}
	return len(tracks) > 0
}

// source finds the ready track a request means and checks the request's wishes against it.
func (m *machine) source(t portalproto.SubscribeTrack) (stream string, track conference.Track, err error) {
	if track, ok := m.selectedSource(t); ok {
		return t.From, track, nil
	}
	for _, p := range m.streams {
		if !p.ready {
			continue
		}
		if track, ok := layer(&p.stream, t); ok {
			if t.Kind == conference.Audio {
				return p.stream.ID, track, audioSatisfies(track, t)
			}
			return p.stream.ID, track, videoSatisfies(track, t)
		}
	}
	if t.Kind == conference.Audio {
		return "", track, portalproto.AudioUnsatisfied(portalproto.DetailAudio)
	}
	return "", track, portalproto.VideoUnsatisfied(portalproto.DetailVideo)
}

// layer is the track of a stream that a request means: of a simulcast video the layer it names, if there is one.
func layer(s *conference.Stream, t portalproto.SubscribeTrack) (conference.Track, bool) {
	if t.Rid != "" && t.From == s.ID {
		for _, track := range s.Tracks {
			if track.Kind == t.Kind && track.Rid == t.Rid {
				return track, true
			}
		}
	}
	return s.Track(t.From, t.Kind)
}

func audioSatisfies(track conference.Track, t portalproto.SubscribeTrack) error {
	if t.Format == nil {
		return nil
	}
	for _, f := range append([]conference.AudioFormat{{Codec: track.Format.Codec, SampleRate: track.Format.SampleRate,
		ChannelNum: track.Format.ChannelNum}}, track.Optional.AudioFormats...) {
		if strings.EqualFold(f.Codec, t.Format.Codec) && f.SampleRate == t.Format.SampleRate && f.ChannelNum == t.Format.ChannelNum {
			return nil
		}
	}
	return portalproto.AudioUnsatisfied(portalproto.DetailFormat)
}

// videoSatisfies is rows 8 to 12: what is asked for is what the source is, or something it can be converted to.
func videoSatisfies(track conference.Track, t portalproto.SubscribeTrack) error {
	o, p, w := track.Optional, track.Parameters, t.Wanted
	if t.Format != nil && !videoFormatFits(track, *t.Format) {
		return portalproto.VideoUnsatisfied(portalproto.DetailFormat)
	}
	unknown := p.Resolution == conference.Resolution{}
	if r := w.Resolution; r != (conference.Resolution{}) && !unknown && r != p.Resolution && !slices.Contains(o.Resolutions, r) {
		return portalproto.VideoUnsatisfied(portalproto.DetailResolution)
	}
	if w.Framerate != 0 && w.Framerate != p.Framerate && !slices.Contains(o.Framerates, w.Framerate) {
		return portalproto.VideoUnsatisfied(portalproto.DetailFramerate)
	}
	if b := w.Bitrate; b != "" && b != "x1.0" && b != "x1" && !slices.Contains(o.Bitrates, b) {
		return portalproto.VideoUnsatisfied(portalproto.DetailBitrate)
	}
	same := !unknown && w.KeyFrameInterval == float64(p.KeyFrameInterval)
	if w.KeyFrameInterval != 0 && !same && !slices.Contains(o.KeyFrameIntervals, w.KeyFrameInterval) {
		return portalproto.VideoUnsatisfied(portalproto.DetailKeyFrameInterval)
	}
	return nil
}

func videoFormatFits(track conference.Track, wanted conference.Format) bool {
	if strings.EqualFold(track.Format.Codec, wanted.Codec) && profileFits(track.Format.Profile, wanted.Profile) {
		return true
	}
	for _, f := range track.Optional.VideoFormats {
		if strings.EqualFold(f.Codec, wanted.Codec) && profileFits(f.Profile, wanted.Profile) {
			return true
		}
	}
	return false
}

// profiles are the H.264 profiles, each decodable by those after it.
var profiles = []string{"CB", "B", "M", "H"}

// profileFits tells whether a decoder of profile wanted decodes profile source; an unknown one fits everything.
func profileFits(source, wanted string) bool {
	s, w := slices.Index(profiles, source), slices.Index(profiles, wanted)
	return s < 0 || w < 0 || s <= w
}

// unsubscribe ends a subscription (portal protocol 6.6).
func (m *machine) unsubscribe(participant, session string) error {
	s, err := m.ownSubscription(participant, session)
	if err != nil {
		return err
	}
	delete(m.subs, session)
	m.release(s.owner)
	m.do(func(media Media) { media.Stop(session) })
	return nil
}

func (m *machine) ownSubscription(participant, session string) (*subscription, error) {
	if m.members[participant] == nil {
		return nil, portalproto.ErrNotJoinedRoom
	}
	s := m.subs[session]
	if s == nil {
		return nil, portalproto.ErrNoSubscription
	}
	if !m.mayControl(participant, s.owner) {
		return nil, portalproto.ErrUnauthorized
	}
	return s, nil
}

// subscriptionControl pauses, resumes or updates a subscription (portal protocol 6.7).
func (m *machine) subscriptionControl(participant string, c portalproto.SubscriptionControl) error {
	s, err := m.ownSubscription(participant, c.ID)
	if err != nil {
		return err
	}
	has := func(k conference.Kind) bool {
		for _, t := range s.tracks {
			if t.kind == k {
				return true
			}
		}
		return false
	}
	if c.Operation == portalproto.Update {
		return m.update(s, c, has)
	}
	if !(c.Media.Audio && has(conference.Audio) || c.Media.Video && has(conference.Video)) {
		return portalproto.ErrNoTrackToMute
	}
	active := c.Operation == portalproto.Play
	for i := range s.tracks {
		if t := &s.tracks[i]; c.Media.Has(t.kind) {
			t.active = active
			kind := t.kind
			m.do(func(media Media) { media.SetSubscriptionActive(s.id, kind, active) })
		}
	}
	return nil
}

// update accepts what changes nothing, and of a video that adapts the size at which it is shown; anything else would need the source
// switched, which this media layer cannot do.
func (m *machine) update(s *subscription, c portalproto.SubscriptionControl, has func(conference.Kind) bool) error {
	if c.Media.Audio && !has(conference.Audio) {
		return portalproto.ErrNoAudioToUpdate
	}
	if c.Media.Video && !has(conference.Video) {
		return portalproto.ErrNoVideoToUpdate
	}
	size := c.Wanted.Resolution
	if c.AudioFrom != "" || c.VideoFrom != "" || c.Wanted != (portalproto.Wanted{Resolution: size}) {
		return portalproto.ErrUpdateFailed
	}
	if size == (conference.Resolution{}) {
		return nil
	}
	if !slices.ContainsFunc(s.tracks, func(t subscribed) bool { return t.adapts }) {
		return portalproto.ErrUpdateFailed
	}
	m.do(func(media Media) { media.SetDisplay(s.id, size) })
	return nil
}
