package room

import (
	"context"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// SubscriptionQuality tells a participant what it gets by a subscription of its own, and why: see Media.Quality.
func (d *Directory) SubscriptionQuality(ctx context.Context, room, participant, session string) (q jsonvalue.Value, err error) {
	err = d.in(room, func(c *controller) error {
		if err := c.run(ctx, func() error { return c.machine.mayLook(participant, session) }); err != nil {
			return err
		}
		found := false
		if q, found = c.media.Quality(session); !found { // of data, or it ends just now
			return portalproto.ErrNoSubscription
		}
		return nil
	})
	return q, err
}

// mayLook checks that a subscription is the participant's own. Unlike control of it, looking is for nobody else: what is told names the
// network addresses of whoever owns it.
func (m *machine) mayLook(participant, session string) error {
	if m.local(participant) == nil {
		return portalproto.ErrNotJoinedRoom
	}
	s := m.subs[session]
	if s == nil {
		return portalproto.ErrNoSubscription
	}
	if s.owner != participant {
		return portalproto.ErrUnauthorized
	}
	return nil
}

// Audience is the users behind the participants of an active room, by participant id; ok is false when the room has no such forward stream
// of media.
func (d *Directory) Audience(ctx context.Context, room, stream string) (users map[string]string, ok bool) {
	err := d.in(room, func(c *controller) error {
		return c.run(ctx, func() error {
			p := c.machine.publication(stream)
			if ok = p != nil && p.ready && !p.stream.Data; !ok {
				return nil
			}
			users = make(map[string]string, len(c.machine.members))
			for id, m := range c.machine.members {
				users[id] = m.participant.User
			}
			return nil
		})
	})
	return users, ok && err == nil
}
