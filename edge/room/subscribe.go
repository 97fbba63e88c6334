package room

import (
	"context"
	"slices"

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

// subscribe checks a subscription (portal protocol 6.5 rows 3 to 12) and holds its place. Its tracks are in the order of the request.
func (m *machine) subscribe(owner, session string, r portalproto.SubscribeRequest) (s *subscription, err error) {
	who := m.local(owner)
	if who == nil {
		return nil, portalproto.ErrNotJoinedRoom
	}
	if r.Transport.Type == portalproto.TransportQUIC {
		return m.subscribeData(owner, session, r)
	}
	if !subscribable(r.Tracks) {
		return nil, portalproto.ErrBadSubscription
	}
	for _, t := range r.Tracks {
		if !who.participant.Permission.Subscribe.Has(t.Kind) {
			return nil, portalproto.ErrUnauthorized
		}
	}
	s = &subscription{id: session, owner: owner, transport: transportOf(r.Transport, session), tracks: make([]subscribed, len(r.Tracks))}
	for _, sound := range []bool{true, false} { // what is wrong with it is told first
		for i, t := range r.Tracks {
			if (t.Kind == conference.Audio) != sound {
				continue
			}
			detail := ""
			if s.tracks[i], detail = m.source(owner, t); detail != "" {
				return nil, unsatisfied(t.Kind, detail)
			}
		}
	}
	if m.tooMany(owner, session, s.tracks) {
		return nil, portalproto.ErrTooManySessions
	}
	if err := m.reserve(owner); err != nil {
		return nil, err
	}
	m.subs[session] = s
	return s, nil
}

func unsatisfied(k conference.Kind, detail string) error {
	if k == conference.Audio {
		return portalproto.AudioUnsatisfied(detail)
	}
	return portalproto.VideoUnsatisfied(detail)
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

func (c *controller) unsubscribe(ctx context.Context, participant, session string) error {
	err := c.unsubscribeHere(ctx, participant, session)
	if err == portalproto.ErrNoSubscription {
		return c.atOwner(ctx, participant, command{op: opUnsubscribe, session: session})
	}
	return err
}

func (c *controller) unsubscribeHere(ctx context.Context, participant, session string) error {
	return c.run(ctx, func() error {
		defer c.left()
		return c.machine.unsubscribe(participant, session)
	})
}

func (c *controller) subscriptionControl(ctx context.Context, participant string, r portalproto.SubscriptionControl) error {
	err := c.controlHere(ctx, participant, r)
	if err == portalproto.ErrNoSubscription {
		return c.atOwner(ctx, participant, command{op: opSubscription, subscription: r})
	}
	return err
}

func (c *controller) controlHere(ctx context.Context, participant string, r portalproto.SubscriptionControl) error {
	if r.Operation == portalproto.Update {
		return c.update(ctx, participant, r)
	}
	return c.run(ctx, func() error { return c.machine.subscriptionControl(participant, r) })
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
	if m.local(participant) == nil {
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

// subscriptionControl pauses or resumes a subscription (portal protocol 6.7).
func (m *machine) subscriptionControl(participant string, c portalproto.SubscriptionControl) error {
	s, err := m.ownSubscription(participant, c.ID)
	if err != nil {
		return err
	}
	if !(c.Media.Audio && s.track(conference.Audio) >= 0 || c.Media.Video && s.track(conference.Video) >= 0) {
		return portalproto.ErrNoTrackToMute
	}
	active := c.Operation == portalproto.Play
	for i := range s.tracks {
		if t := &s.tracks[i]; c.Media.Has(t.source.Kind) {
			t.active = active
			kind := t.source.Kind
			m.do(func(media Media) { media.SetSubscriptionActive(s.id, kind, active) })
		}
	}
	return nil
}

// track is the place of the first track of that kind, negative when there is none.
func (s *subscription) track(k conference.Kind) int {
	return slices.IndexFunc(s.tracks, func(t subscribed) bool { return t.source.Kind == k })
}
