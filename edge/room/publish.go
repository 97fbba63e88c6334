package room

import (
	"slices"
	"strings"
	"time"

	"portico/shared/conference"
	"portico/shared/portalproto"
)

// publish checks a publication (portal protocol 6.2 rows 3 to 6) and holds its place as connecting. The media layer opens it
// afterwards, outside the state machine: published or abandon tells how that went. The session has the id that it is given, unless it
// goes on with a stream of the owner's that is on another edge.
func (m *machine) publish(owner, session string, r portalproto.PublishRequest) (*publication, error) {
	who := m.local(owner)
	if who == nil {
		return nil, portalproto.ErrNotJoinedRoom
	}
	for _, t := range r.Tracks {
		if (t.Kind == conference.Audio || t.Kind == conference.Video) && !who.participant.Permission.Publish.Has(t.Kind) {
			return nil, portalproto.ErrUnauthorized
		}
	}
	old := m.resumable(owner, r.Resume)
	if old == nil && m.config.InputLimit >= 0 && len(m.streams) >= m.config.InputLimit {
		return nil, portalproto.ErrTooManyInputs
	}
	if old != nil {
		session = old.stream.ID
	}
	data, via := r.Transport.Type == portalproto.TransportQUIC, viaWebRTC
	if data {
		via = portalproto.TransportQUIC
	}
	if data && (!r.Data || len(r.Tracks) > 0 || r.Transport.ID == "") || !data && !usable(r.Tracks) {
		return nil, portalproto.ErrBadPublication
	}
	if err := m.reserve(owner); err != nil {
		return nil, err
	}
	p := &publication{generation: 1, transport: transportOf(r.Transport, session), stream: conference.Stream{
		ID: session, Type: conference.Forward, Owner: owner, Via: via, InViews: []string{}, Attributes: r.Attributes, Data: data,
	}}
	if old != nil {
		p.generation = old.generation + 1
		p.stream.InViews = old.stream.InViews
		if !p.stream.Attributes.Exists() {
			p.stream.Attributes = old.stream.Attributes
		}
		m.resuming[session] = p
		return p, nil
	}
	m.streams = append(m.streams, p)
	return p, nil
}

// viaWebRTC is how media comes in, in a stream's info.
const viaWebRTC = "webrtc"

// transportOf is the transport a session runs on: a new one has the id of the session that opens it (quirk Q-01).
func transportOf(ref portalproto.TransportRef, session string) string {
	if ref.ID != "" {
		return ref.ID
	}
	return session
}

// usable tells whether tracks can be found in an offer: each with kind and mid, no mid twice, at least one.
func usable(tracks []portalproto.PublishTrack) bool {
	mids := map[string]bool{}
	for _, t := range tracks {
		if t.Kind == "" || t.Mid == "" || mids[t.Mid] {
			return false
		}
		mids[t.Mid] = true
	}
	return len(tracks) > 0
}

// abandon forgets a session that the media layer refused, without telling anyone.
func (m *machine) abandon(session string) {
	if p := m.published(session); p != nil {
		m.forget(p)
	}
	if s := m.subs[session]; s != nil {
		delete(m.subs, session)
		m.release(s.owner)
	}
}

// live tells whether a session is still wanted, after the media layer has opened it.
func (m *machine) live(session string) bool {
	return m.published(session) != nil || m.subs[session] != nil
}

// published is the publication of this edge with that session, or nil.
func (m *machine) published(session string) *publication {
	if p := m.resuming[session]; p != nil {
		return p
	}
	if p := m.publication(session); p != nil && p.edge == "" {
		return p
	}
	return nil
}

func (m *machine) publication(id string) *publication {
	for _, p := range m.streams {
		if p.stream.ID == id {
			return p
		}
	}
	return nil
}

// sessionReady is the media layer's word that a session's media can flow: its owner is told, and for a publication everyone
// learns of the new stream, the owner included and after its own progress (portal protocol 7.2).
func (m *machine) sessionReady(session string, tracks []conference.Track) {
	if p := m.published(session); p != nil && !p.ready {
		p.ready = true
		p.stream.Tracks = m.offered(tracks)
		m.tell(p.stream.Owner, p.progress(portalproto.ProgressReady, ""))
		if m.resuming[session] == p {
			m.resumed(p)
		} else {
			m.streamAdded(p)
		}
		m.announceStream(p)
		m.offerAudio(p)
	}
	if s := m.subs[session]; s != nil {
		m.tell(s.owner, s.progress(portalproto.ProgressReady, ""))
	}
}

// resumable is a stream of the owner's on another edge that it may go on with here. One that was here before, and whose media still are,
// is not: they would have the same names.
func (m *machine) resumable(owner, stream string) *publication {
	p := m.publication(stream)
	if p == nil || p.edge == "" || p.stream.Owner != owner || m.resuming[stream] != nil || m.superseded[stream] != "" {
		return nil
	}
	return p
}

// resumed puts a publication in the place of the one on another edge that it goes on with. If that has ended meanwhile, it is a new one.
func (m *machine) resumed(p *publication) {
	delete(m.resuming, p.stream.ID)
	i := slices.IndexFunc(m.streams, func(o *publication) bool { return o.stream.ID == p.stream.ID })
	if i < 0 {
		m.streams = append(m.streams, p)
		m.relabel(p)
		m.streamAdded(p)
		return
	}
	was := m.streams[i]
	m.remoteEnded(was) // what is fed by it goes over to what has taken its place
	p.generation, p.stream.InViews = max(p.generation, was.generation+1), was.stream.InViews
	m.streams = slices.Clone(m.streams)
	m.streams[i] = p
	m.changed(p, &was.stream)
}

// offered is a publication's tracks with what the room offers to make of them.
func (m *machine) offered(tracks []conference.Track) []conference.Track {
	tracks = slices.Clone(tracks)
	for i := range tracks {
		tracks[i].Optional = m.config.OptionalOf(tracks[i], m.mixes)
	}
	return tracks
}

// layersWanted tells the owner of a publication which of its layers are of use, in words of ours that only clients hear that asked for
// them.
func (m *machine) layersWanted(session string, rids []string) {
	if p := m.published(session); p != nil && p.ready {
		m.tell(p.stream.Owner, p.progress(portalproto.ProgressLayers, strings.Join(rids, ",")))
	}
}

// sessionFailed is the media layer's word that a session is over.
func (m *machine) sessionFailed(session, reason string) {
	p := m.published(session)
	switch {
	case p == nil:
	case p.ready && m.local(p.stream.Owner) == nil:
		p.failed = true
		m.effects = append(m.effects, effect{orphan: session})
	default:
		m.tell(p.stream.Owner, p.progress(portalproto.ProgressError, reason))
		if m.resuming[session] == p {
			m.forget(p)
		} else {
			m.removeStream(p)
		}
	}
	delete(m.superseded, session)
	if s := m.subs[session]; s != nil {
		m.endSubscription(s, reason)
	}
}

// orphanTime is how long a stream whose publisher has gone to another edge is waited for: its connection there has come before the one here
// has ended, but the word of that may come later.
const orphanTime = 3 * time.Second

// orphaned ends a publication whose session has ended, unless it is elsewhere by now, or here again.
func (m *machine) orphaned(session string) {
	if p := m.published(session); p != nil && p.failed {
		m.removeStream(p)
	}
}

// tracksChanged is the media layer's word that it knows more of a publication's tracks, such as a picture's size.
func (m *machine) tracksChanged(session string, tracks []conference.Track) {
	p := m.published(session)
	if p == nil || !p.ready {
		return
	}
	inactive := map[string]bool{}
	for _, t := range p.stream.Tracks {
		inactive[t.ID] = t.Inactive
	}
	updated := m.offered(tracks)
	for i := range updated {
		updated[i].Inactive = inactive[updated[i].ID]
	}
	p.stream.Tracks = updated
	stream := p.stream
	m.tellStreams(portalproto.StreamUpdated{ID: session, Field: portalproto.FieldAll, Stream: &stream})
	m.announceStream(p)
	m.mixedAnew(p)
}

// unpublish ends a publication (portal protocol 6.3). acked is called before anyone is told that the stream is gone.
func (m *machine) unpublish(participant, session string, acked func()) error {
	if m.local(participant) == nil {
		return portalproto.ErrNotJoinedRoom
	}
	p := m.publication(session)
	if p == nil {
		if m.viewOf(session) != nil || m.selectedIndex(session) >= 0 {
			return portalproto.ErrUnauthorized // nobody owns a stream that the room makes
		}
		return portalproto.ErrNoStream
	}
	if !m.mayControl(participant, p.stream.Owner) {
		return portalproto.ErrUnauthorized
	}
	return m.unpublished(p, acked)
}

// unpublished ends a publication that may be ended.
func (m *machine) unpublished(p *publication, acked func()) error {
	session := p.stream.ID
	if p.edge != "" {
		return elsewhere{Key{StreamEntry, session}}
	}
	m.do(func(media Media) { media.Stop(session) })
	m.forget(p)
	m.endSubscriptionsTo(session)
	acked()
	m.unmixAll(p)
	m.streamRemoved(p)
	return nil
}

// streamControl pauses, resumes, mixes or moves a stream (portal protocol 6.4). region is the answer to GetRegion.
func (m *machine) streamControl(participant string, c portalproto.StreamControl) (region string, err error) {
	if m.local(participant) == nil {
		return "", portalproto.ErrNotJoinedRoom
	}
	p := m.publication(c.ID)
	if p == nil {
		return "", m.uncontrolled(participant, c.ID)
	}
	if !m.mayControl(participant, p.stream.Owner) {
		return "", portalproto.ErrUnauthorized
	}
	return m.controlled(p, c)
}

// controlled carries out what may be done.
func (m *machine) controlled(p *publication, c portalproto.StreamControl) (region string, err error) {
	if !p.ready {
		return "", portalproto.ErrStreamNotReady
	}
	switch c.Operation {
	case portalproto.Pause, portalproto.Play:
		return "", m.setActive(p, c.Media, c.Operation == portalproto.Play)
	case portalproto.Mix:
		return "", m.mix(p, c.View)
	case portalproto.Unmix:
		return "", m.unmix(p, c.View)
	case portalproto.SetRegion:
		return "", m.setRegion(p, c.View, c.Region)
	}
	return m.regionOf(p, c.View)
}

// uncontrolled is why a stream that nobody publishes cannot be controlled.
func (m *machine) uncontrolled(participant, stream string) error {
	mixed := m.viewOf(stream) != nil
	switch {
	case !mixed && m.selectedIndex(stream) < 0:
		return portalproto.ErrNoStream
	case m.members[participant].participant.Role != adminRole:
		return portalproto.ErrUnauthorized
	case mixed:
		return portalproto.ErrStreamMixed
	}
	return portalproto.ErrNoTrackToMute // what is in it belongs to others
}

// setActive pauses or resumes the stream's tracks of the given kinds for everyone. Both updates follow "av", even for a stream
// of one kind, and a repeated state is told again (quirk Q-13).
func (m *machine) setActive(p *publication, kinds conference.MediaSet, active bool) error {
	if !(kinds.Audio && p.stream.Has(conference.Audio) || kinds.Video && p.stream.Has(conference.Video)) {
		return portalproto.ErrNoTrackToMute
	}
	if p.edge != "" {
		return elsewhere{Key{StreamEntry, p.stream.ID}}
	}
	tracks := append([]conference.Track(nil), p.stream.Tracks...)
	for i := range tracks {
		if kinds.Has(tracks[i].Kind) {
			tracks[i].Inactive = !active
			id := tracks[i].ID
			m.do(func(media Media) { media.SetActive(id, active) })
		}
	}
	p.stream.Tracks = tracks
	m.announceStream(p)
	m.mixedAnew(p)
	status := statusValue(active)
	if kinds.Audio {
		m.tellStreams(portalproto.StreamUpdated{ID: p.stream.ID, Field: portalproto.FieldAudioStatus, Value: status})
	}
	if kinds.Video {
		m.tellStreams(portalproto.StreamUpdated{ID: p.stream.ID, Field: portalproto.FieldVideoStatus, Value: status})
	}
	return nil
}
