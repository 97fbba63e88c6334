package room

import (
	"errors"
	"slices"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/layout"
	"portico/shared/portalproto"
)

// view is a mixed stream of the room, and what is in it.
type view struct {
	config  conference.View
	stream  conference.Stream
	inputs  []string           // ids of publications in the order of mixing, also of those without video
	empty   layout.Arrangement // the arrangement as the view begins
	places  layout.Arrangement // of the inputs that have video
	scene   layout.Scene       // of places, as it was told last
	loudest string             // the mixer's last word; "" when its next one counts whatever it is
	resets  int                // how often somebody has asked for another arrangement

	// In a cluster:
	edge           string   // who is the home, while that is another edge
	generation     uint64   // of the view's entry
	shown          []string // the inputs of places, as they were told last
	fixed          bool     // somebody has set the layout
	revision, base uint64   // of mixState
	lost           *lost    // this edge is not the home any more, and has not heard of another
}

// newViews are the room's views without inputs. Of several with one label the last counts (rooms-and-media 1.2). faults are the
// templates that the views do without.
func newViews(config *conference.Room, transcodes bool) (list []*view, faults []error) {
	for _, c := range config.Views {
		v := &view{config: c, stream: mixedStream(config, c, transcodes)}
		if c.Video != nil {
			var err error
			if v.empty, err = layout.New(c.Video.Layout.Templates, c.Video.MaxInput); err != nil {
				faults = append(faults, err)
			}
			v.places = v.empty
		}
		if i := slices.IndexFunc(list, func(o *view) bool { return o.config.Label == c.Label }); i >= 0 {
			list[i] = v
			continue
		}
		list = append(list, v)
	}
	return list, faults
}

func mixedStream(config *conference.Room, v conference.View, transcodes bool) conference.Stream {
	s := conference.Stream{
		ID: config.ID + "-" + v.Label, Type: conference.Mixed, Label: v.Label, ActiveInput: unknown, Layout: jsonvalue.OfArray(),
		Tracks: []conference.Track{{Kind: conference.Audio, Format: conference.Format{
			Codec: v.Audio.Format.Codec, SampleRate: v.Audio.Format.SampleRate, ChannelNum: v.Audio.Format.ChannelNum}}},
	}
	if v.Video != nil {
		p := v.Video.Parameters
		s.Tracks = append(s.Tracks, conference.Track{Kind: conference.Video,
			Format: conference.Format{Codec: v.Video.Format.Codec, Profile: v.Video.Format.Profile},
			Parameters: conference.VideoParameters{Resolution: p.Resolution, Framerate: p.Framerate,
				Bitrate: int(p.Bitrate), KeyFrameInterval: int(p.KeyFrameInterval)}})
	}
	for i := range s.Tracks {
		s.Tracks[i].Optional = config.OptionalOf(s.Tracks[i], transcodes)
	}
	return s
}

func (m *machine) viewNamed(label string) *view {
	for _, v := range m.views {
		if v.config.Label == label {
			return v
		}
	}
	return nil
}

// viewOf is the view of a mixed stream.
func (m *machine) viewOf(stream string) *view {
	for _, v := range m.views {
		if v.stream.ID == stream {
			return v
		}
	}
	return nil
}

func notMixing(k conference.Kind) *portalproto.Error {
	if k == conference.Audio {
		return portalproto.ErrNoAudioMixer
	}
	return portalproto.ErrNoVideoMixer
}

// mix takes a publication into a view; one that is there already stays as it is (rooms-and-media 5.1). That no relay runs the mix at
// the moment is no obstacle: the room knows what belongs into it.
func (m *machine) mix(p *publication, label string) error {
	v := m.viewNamed(label)
	switch {
	case !m.leads:
		return elsewhere{}
	case v == nil:
		return portalproto.ErrInvalidView
	case len(p.stream.Tracks) == 0:
		return portalproto.ErrInvalidStream
	case !m.mixes:
		return notMixing(p.stream.Tracks[0].Kind)
	case slices.Contains(v.inputs, p.stream.ID):
		return nil
	}
	v.inputs = append(v.inputs, p.stream.ID)
	p.stream.InViews = append(slices.Clip(p.stream.InViews), label)
	if v.config.Video != nil && p.stream.Has(conference.Video) {
		v.places = v.places.Add(p.stream.ID)
	}
	m.mixed(v)
	return nil
}

// unmix takes a publication out of a view, in which it need not be.
func (m *machine) unmix(p *publication, label string) error {
	v := m.viewNamed(label)
	switch {
	case !m.leads:
		return elsewhere{}
	case v == nil:
		return portalproto.ErrInvalidView
	}
	id := p.stream.ID
	if !slices.Contains(v.inputs, id) {
		return nil
	}
	v.inputs = slices.DeleteFunc(v.inputs, func(in string) bool { return in == id })
	p.stream.InViews = slices.DeleteFunc(slices.Clone(p.stream.InViews), func(l string) bool { return l == label })
	v.places = v.places.Remove(id)
	if v.loudest == id {
		v.loudest = ""
	}
	if v.stream.ActiveInput == id {
		v.stream.ActiveInput = unknown
	}
	m.mixed(v)
	return nil
}

// unmixAll takes a publication that has ended out of all views. Where these are made elsewhere, that edge does it.
func (m *machine) unmixAll(p *publication) {
	for _, v := range m.views {
		_ = m.unmix(p, v.config.Label) // the view is there
	}
}

// mixedAnew tells the mixers of everything a publication is in that something about it is not as it was.
func (m *machine) mixedAnew(p *publication) {
	for _, v := range m.views {
		if m.leads && slices.Contains(v.inputs, p.stream.ID) {
			m.mixed(v)
		}
	}
}

// mixed follows every change of a view: its mixer is told all that is in it, and when it looks otherwise, everyone is told how.
func (m *machine) mixed(v *view) {
	scene := v.places.Scene()
	m.effects = append(m.effects, effect{view: v.config.Label, mix: &Mix{Inputs: m.inputsOf(v), Scene: scene, Resets: v.resets}})
	m.retell(v, scene)
	m.announceMix(v)
}

// retell tells everyone how a view looks, if it looks otherwise.
func (m *machine) retell(v *view, scene layout.Scene) {
	if slices.Equal(scene, v.scene) {
		return
	}
	v.scene = scene
	v.stream.Layout = scene.Value()
	m.tellStreams(portalproto.StreamUpdated{ID: v.stream.ID, Field: portalproto.FieldLayout, Value: v.stream.Layout})
}

func (m *machine) inputsOf(v *view) []MixInput {
	published := make(map[string]*publication, len(m.streams)) // a large room changes often
	for _, p := range m.streams {
		published[p.stream.ID] = p
	}
	list := make([]MixInput, 0, len(v.inputs))
	for _, id := range v.inputs {
		if p := published[id]; p != nil {
			list = append(list, mixInput(&p.stream, v.config.Video != nil))
		}
	}
	return list
}

// mixInput is a stream in a mix: its first sound, and its first video with all encodings, if the mix has video.
func mixInput(s *conference.Stream, video bool) MixInput {
	in := MixInput{Stream: s.ID, Participant: s.Owner}
	if t, ok := s.Track(s.ID, conference.Audio); ok {
		in.Audio, in.AudioMuted = t.ID, t.Inactive
	}
	first, ok := s.Track(s.ID, conference.Video)
	if !ok || !video {
		return in
	}
	in.VideoMuted = first.Inactive
	encodings := encodingsOf(s, first)
	slices.SortStableFunc(encodings, func(a, b conference.Track) int { return pixels(a) - pixels(b) })
	for _, t := range encodings {
		in.Videos = append(in.Videos, t.ID)
	}
	return in
}

// encodingsOf are the tracks that show the same as a track of the stream: of simulcast all, else itself alone.
func encodingsOf(s *conference.Stream, of conference.Track) []conference.Track {
	var list []conference.Track
	for _, t := range s.Tracks {
		if t.Kind == of.Kind && t.Mid == of.Mid && (t.Rid != "" || t.ID == of.ID) {
			list = append(list, t)
		}
	}
	return list
}

// pixels orders pictures by size, those of unknown size behind all others.
func pixels(t conference.Track) int {
	const most = 1 << 30
	r := t.Parameters.Resolution
	if r == (conference.Resolution{}) {
		return most
	}
	return min(r.Width*r.Height, most-1)
}

// setRegion moves a publication to where another is (portal protocol 6.4).
func (m *machine) setRegion(p *publication, label, region string) error {
	v, err := m.picture(label)
	if err != nil {
		return err
	}
	places, err := v.places.Move(p.stream.ID, region)
	return m.rearrange(v, places, err)
}

// regionOf is the region in which a publication is shown.
func (m *machine) regionOf(p *publication, label string) (string, error) {
	v, err := m.picture(label)
	if err != nil {
		return "", err
	}
	region, err := v.places.RegionOf(p.stream.ID)
	if err != nil || region == "" {
		return "", portalproto.ErrInvalidInput
	}
	return region, nil
}

// picture is the view of that label, if it has a picture.
func (m *machine) picture(label string) (*view, error) {
	v := m.viewNamed(label)
	switch {
	case !m.leads:
		return nil, elsewhere{}
	case v == nil || v.config.Video == nil:
		return nil, portalproto.ErrInvalidMixView
	}
	return v, nil
}

// rearrange takes a new arrangement that somebody asked for, or tells why there is none. Whoever is loudest counts anew then
// (rooms-and-media 5.5).
func (m *machine) rearrange(v *view, places layout.Arrangement, err error) error {
	switch {
	case errors.Is(err, layout.ErrInput):
		return portalproto.ErrInvalidInput
	case err != nil:
		return portalproto.ErrInvalidRegion
	case !m.mixes:
		return portalproto.ErrNoVideoMixer
	}
	v.places, v.loudest = places, ""
	v.resets++
	m.mixed(v)
	return nil
}

// loudest is a mixer's word of who is the loudest from now on (rooms-and-media 6.1 and 6.2).
func (m *machine) loudest(label, stream string) {
	v := m.viewNamed(label)
	if v == nil || !m.leads || v.config.Video == nil || !v.config.Audio.VAD || stream == v.loudest || !slices.Contains(v.inputs, stream) {
		return
	}
	v.loudest, v.stream.ActiveInput = stream, stream
	m.tellStreams(portalproto.StreamUpdated{ID: v.stream.ID, Field: portalproto.FieldActiveInput, Value: jsonvalue.Of(stream)})
	if v.config.Video.KeepActiveInputPrimary {
		v.places = v.places.Promote(stream)
		if !slices.Equal(v.places.Scene(), v.scene) {
			m.mixed(v)
			return
		}
	}
	m.announceMix(v)
}

// clear empties a view, whose publications are gone, without telling anybody but its mixer.
func (m *machine) clear(v *view) {
	if len(v.inputs) == 0 && len(v.scene) == 0 {
		return
	}
	v.inputs, v.places, v.scene, v.loudest, v.shown, v.fixed = nil, v.empty, nil, "", nil, false
	v.stream.Layout, v.stream.ActiveInput = jsonvalue.OfArray(), unknown
	if m.leads {
		m.effects = append(m.effects, effect{view: v.config.Label, mix: &Mix{Resets: v.resets}})
		m.announceMix(v)
	}
}

// openMixers makes the views known to whatever mixes them.
func (c *controller) openMixers(mixers Mixers) {
	for _, v := range c.machine.views {
		label := v.config.Label
		c.mixers[label] = mixers.OpenMixer(MixerSpec{
			Room: c.machine.config.ID, Stream: v.stream.ID, View: v.config,
			Active: func(stream string) { c.post(func() { c.machine.loudest(label, stream) }) },
		})
	}
}

// mixing tells whether the views that feed the tracks can be subscribed to at the moment, those of sound first.
func (c *controller) mixing(tracks []subscribed) error {
	var refused error
	for _, t := range tracks {
		if t.view == "" {
			continue
		}
		reason := error(notMixing(t.source.Kind))
		if mixer := c.mixers[t.view]; mixer != nil {
			reason = mixer.Ready()
		}
		if reason == nil || refused != nil && t.source.Kind != conference.Audio {
			continue
		}
		c.log.Debug("mixed stream is not available", "view", t.view, "reason", reason)
		refused = notMixing(t.source.Kind)
	}
	return refused
}
