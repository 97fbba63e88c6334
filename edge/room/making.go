package room

import (
	"slices"
	"strings"

	"portico/shared/conference"
	"portico/shared/portalproto"
)

// source finds the ready track that a request means, checks what is asked of it, and says what the media layer is to do (portal
// protocol 6.5 rows 5 to 12, rooms-and-media 8.1 and 8.2). detail says what is wrong, one of the portalproto.Detail texts.
func (m *machine) source(owner string, t portalproto.SubscribeTrack) (s subscribed, detail string) {
	s = subscribed{request: t, active: true, source: MediaSource{Kind: t.Kind, Mid: t.Mid}}
	if track, ok := m.selectedSource(t); ok {
		s.stream, s.source.Track = t.From, track.ID
		return s, ""
	}
	if v := m.viewOf(t.From); v != nil {
		return m.mixedSource(s, v, owner)
	}
	for _, p := range m.streams {
		if !p.ready {
			continue
		}
		if track, ok := layer(&p.stream, t); ok {
			s.stream, s.source.Track = p.stream.ID, track.ID
			return m.forwardSource(s, track, m.adapts(p, t))
		}
	}
	return s, missing(t.Kind)
}

func missing(k conference.Kind) string {
	if k == conference.Audio {
		return portalproto.DetailAudio
	}
	return portalproto.DetailVideo
}

// mixedSource is source for the stream of a view.
func (m *machine) mixedSource(s subscribed, v *view, owner string) (subscribed, string) {
	t := s.request
	track, ok := v.stream.Track(t.From, t.Kind)
	if !ok {
		return s, missing(t.Kind)
	}
	making, detail := m.making(track, t, true)
	if t.Kind == conference.Audio && m.members[owner].participant.Permission.Publish.Audio {
		making.Listener = owner // who may not speak shares the sound of all others like it (rooms-and-media 7)
	}
	s.stream, s.view, s.source.Track, s.source.Making = v.stream.ID, v.config.Label, MixedTrack(v.stream.ID, t.Kind), making
	return s, detail
}

// forwardSource is source for a published track. One that adapts takes the size that is asked for as that at which it is shown, which
// may be any. What has to be made, perhaps only because the client offers no codec of the source's, does not adapt: it gets that size if
// it can be had.
func (m *machine) forwardSource(s subscribed, track conference.Track, adapts bool) (subscribed, string) {
	making, detail := m.making(track, s.request, false)
	if adapts {
		shown := s.request
		shown.Wanted.Resolution = conference.Resolution{}
		free, wrong := m.making(track, shown, false)
		switch {
		case wrong == "" && free.forwards(track):
			s.source.Adapt, s.source.Display = true, s.request.Wanted.Resolution
			if detail != "" {
				making, detail = free, ""
			}
		case detail != "":
			making, detail = free, wrong
		}
	}
	s.source.Making = making
	return s, detail
}

// adapts tells whether a track is chosen anew all the time (rooms and media 8.8): a video that is asked for by its stream, not by one
// of its layers.
func (m *machine) adapts(p *publication, t portalproto.SubscribeTrack) bool {
	return m.config.EnableBandwidthAdaptation && t.Kind == conference.Video && t.Rid == "" && t.From == p.stream.ID
}

// layer is the track of a stream that a request means: of a simulcast video the layer it names, or that of the size it asks for, or
// the first.
func layer(s *conference.Stream, t portalproto.SubscribeTrack) (conference.Track, bool) {
	if t.Rid != "" && t.From == s.ID {
		for _, track := range s.Tracks {
			if track.Kind == t.Kind && track.Rid == t.Rid {
				return track, true
			}
		}
	}
	first, ok := s.Track(t.From, t.Kind)
	if ok && t.From == s.ID && t.Wanted.Resolution != (conference.Resolution{}) {
		for _, track := range encodingsOf(s, first) {
			if track.Parameters.Resolution == t.Wanted.Resolution {
				return track, true
			}
		}
	}
	return first, ok
}

// making is what has to be made of a track so that it is what was asked for: what the track is anyway is left out. detail says what
// of it cannot be had.
func (m *machine) making(track conference.Track, t portalproto.SubscribeTrack, mixed bool) (k Making, detail string) {
	formats := m.formats(track, t.Format, mixed)
	if len(formats) == 0 {
		return k, portalproto.DetailFormat
	}
	if track.Kind == conference.Video {
		if k, detail = wishes(track, t.Wanted); detail != "" {
			return k, detail
		}
	}
	if !m.mixes {
		return Making{}, ""
	}
	if mixed || len(formats) > 1 || formats[0] != track.Format {
		k.Formats = formats
	}
	return k, ""
}

// wishes is rows 9 to 12: what is asked for of a video is what the source is, or something it can be converted to.
func wishes(track conference.Track, w portalproto.Wanted) (k Making, detail string) {
	o, p := track.Optional, track.Parameters
	unknown := p.Resolution == conference.Resolution{}
	if r := w.Resolution; r != p.Resolution && r != (conference.Resolution{}) {
		if !unknown && !slices.Contains(o.Resolutions, r) {
			return k, portalproto.DetailResolution
		}
		k.Resolution = r
	}
	if w.Framerate != 0 && w.Framerate != p.Framerate {
		if !slices.Contains(o.Framerates, w.Framerate) {
			return k, portalproto.DetailFramerate
		}
		k.Framerate = w.Framerate
	}
	if b := w.Bitrate; b != "" && b != "x1.0" && b != "x1" {
		if !slices.Contains(o.Bitrates, b) {
			return k, portalproto.DetailBitrate
		}
		k.Bitrate = b
	}
	same := !unknown && w.KeyFrameInterval == float64(p.KeyFrameInterval)
	if w.KeyFrameInterval != 0 && !same {
		if !slices.Contains(o.KeyFrameIntervals, w.KeyFrameInterval) {
			return k, portalproto.DetailKeyFrameInterval
		}
		k.KeyFrameInterval = w.KeyFrameInterval
	}
	return k, ""
}

// forwards tells whether the track itself will do, as long as the client can decode it.
func (k Making) forwards(track conference.Track) bool {
	return (len(k.Formats) == 0 || k.Formats[0] == track.Format) &&
		k.Resolution == conference.Resolution{} && k.Framerate == 0 && k.Bitrate == "" && k.KeyFrameInterval == 0
}

// formats are those in which a track can be sent to who asked for one, or for none in particular: its own first, then what it can be
// converted to, in the room's order. A room may offer formats that nobody can make: asking for them is in vain (quirk R18).
func (m *machine) formats(track conference.Track, wanted *conference.Format, mixed bool) []conference.Format {
	var list []conference.Format
	add := func(f conference.Format) {
		if wanted == nil || fits(track.Kind, f, *wanted) {
			list = append(list, f)
		}
	}
	if !mixed || canBeMade(track.Kind, track.Format) {
		add(track.Format)
	}
	for _, f := range track.Optional.AudioFormats {
		if f := (conference.Format{Codec: f.Codec, SampleRate: f.SampleRate, ChannelNum: f.ChannelNum}); canBeMade(track.Kind, f) {
			add(f)
		}
	}
	for _, f := range track.Optional.VideoFormats {
		if f := (conference.Format{Codec: f.Codec, Profile: f.Profile}); canBeMade(track.Kind, f) {
			add(f)
		}
	}
	return list
}

// canBeMade tells whether relays have an encoder for a format.
func canBeMade(kind conference.Kind, f conference.Format) bool {
	if kind == conference.Audio {
		switch strings.ToLower(f.Codec) {
		case "opus", "pcmu", "pcma", "g722":
			return true
		}
		return false
	}
	switch strings.ToLower(f.Codec) {
	case "vp8", "vp9", "av1":
		return true
	case "h264":
		return f.Profile == "" || f.Profile == "CB" || f.Profile == "B"
	}
	return false
}

// fits tells whether a format is what was asked for: sound exactly, video if a decoder of what was asked for decodes it.
func fits(kind conference.Kind, f, wanted conference.Format) bool {
	if !strings.EqualFold(f.Codec, wanted.Codec) {
		return false
	}
	if kind == conference.Audio {
		return f.SampleRate == wanted.SampleRate && f.ChannelNum == wanted.ChannelNum
	}
	return profileFits(f.Profile, wanted.Profile)
}

// profiles are the H.264 profiles, each decodable by those after it.
var profiles = []string{"CB", "B", "M", "H"}

// profileFits tells whether a decoder of profile wanted decodes profile source; an unknown one fits everything.
func profileFits(source, wanted string) bool {
	s, w := slices.Index(profiles, source), slices.Index(profiles, wanted)
	return s < 0 || w < 0 || s <= w
}
