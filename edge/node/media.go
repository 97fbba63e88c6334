package node

import (
	"errors"

	"portico/edge/room"
	"portico/edge/rtc"
	"portico/shared/conference"
	"portico/shared/portalproto"
)

// media joins the rooms and the portal to the media engine: it speaks room's and portal's interfaces on one side and rtc's
// words on the other, and chooses the protocol's text for each of the engine's refusals.
type media struct{ engine *rtc.Engine }

func (m media) Publish(p room.MediaPublication) error {
	tracks := make([]rtc.TrackDecl, len(p.Tracks))
	for i, t := range p.Tracks {
		tracks[i] = rtc.TrackDecl{Kind: t.Kind, Mid: t.Mid, Source: t.Source, ScalabilityMode: t.ScalabilityMode, Layers: t.Layers}
	}
	return refusal(m.engine.Publish(rtc.PublishSpec{
		Participant: p.Participant, Transport: p.Transport, Session: p.Session, New: p.New,
		Tracks: tracks, Accept: p.Accept, Events: p.Events,
	}), p.Transport, portalproto.ErrBadPublication)
}

func (m media) Subscribe(s room.MediaSubscription) error {
	tracks := make([]rtc.SubTrack, len(s.Tracks))
	for i, t := range s.Tracks {
		tracks[i] = received(t)
	}
	return refusal(m.engine.Subscribe(rtc.SubscribeSpec{
		Participant: s.Participant, Transport: s.Transport, Session: s.Session, New: s.New, Tracks: tracks, Events: s.Events,
	}), s.Transport, portalproto.ErrBadSubscription)
}

// received is a track of a subscription in the engine's words.
func received(s room.MediaSource) rtc.SubTrack {
	return rtc.SubTrack{Kind: s.Kind, Mid: s.Mid, From: s.Track, Adapt: s.Adapt, Display: s.Display, Making: rtc.Making(s.Making)}
}

func (m media) Change(session string, s room.MediaSource) error {
	return refusal(m.engine.Change(session, received(s)), "", portalproto.ErrUpdateFailed)
}

func (m media) SetActive(track string, active bool) { m.engine.SetActive(track, active) }

func (m media) SetSubscriptionActive(session string, kind conference.Kind, active bool) {
	m.engine.SetSubscriptionActive(session, kind, active)
}

func (m media) SetDisplay(session string, size conference.Resolution) {
	m.engine.SetDisplay(session, size)
}

func (m media) Stop(session string) { m.engine.Stop(session) }

func (m media) CloseParticipant(participant string) { m.engine.CloseParticipant(participant) }

// Remote and RemoteEnded implement room.Media: without a cluster there are no other edges.
func (m media) Remote(room.RemoteStream) {}

func (m media) RemoteEnded(string) {}

// OpenSelector implements room.Selectors.
func (m media) OpenSelector(tracks []string, changed func(slot int, publication string, major bool)) (room.AudioSelector, error) {
	s, err := m.engine.OpenSelector(rtc.SelectorSpec{Tracks: tracks, Changed: changed})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Signal implements portal.Signaling. A client's answer is ignored: the server never offers (portal protocol 6.8).
func (m media) Signal(participant string, s portalproto.Signaling) error {
	var err error
	switch s.Type {
	case portalproto.SignalOffer:
		err = m.engine.Offer(participant, s.Transport, s.SDP)
	case portalproto.SignalCandidate:
		for _, c := range s.Candidates {
			err = m.engine.Candidate(participant, s.Transport, c.Text, c.Mid, c.MLine)
		}
	case portalproto.SignalRemovedCandidates:
		list := make([]string, len(s.Candidates))
		for i, c := range s.Candidates {
			list[i] = c.Text
		}
		err = m.engine.RemovedCandidates(participant, s.Transport, list)
	}
	return refusal(err, s.Transport, portalproto.ErrInvalidSignaling)
}

// refusal is the protocol's word for an error of the engine; bad is the one for a request that asks for what cannot be.
func refusal(err error, transport string, bad *portalproto.Error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rtc.ErrNoTransport):
		return portalproto.NoTransport(transport)
	case errors.Is(err, rtc.ErrNoSuchTrack):
		return portalproto.ErrSourceReleased
	case errors.Is(err, rtc.ErrTooMany):
		return portalproto.ErrTooManyTransports
	}
	return bad
}
