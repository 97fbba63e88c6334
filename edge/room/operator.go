package room

import (
	"cmp"
	"context"
	"errors"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/layout"
	"portico/shared/portalproto"
)

// What an operator sees and does of a room that is active here (management API 7 and 8). Of one that is not there is nothing to see, and
// whatever is done to it fails.

// PermissionChange says which of a participant's rights change, and to what; nil members stay as they are.
type PermissionChange struct {
	PublishAudio, PublishVideo     *bool
	SubscribeAudio, SubscribeVideo *bool
}

// StreamChange is one thing to change of a stream (management API 8.3): one of the types below.
type StreamChange interface {
	// apply changes the publication p or, when that is nil, the view v. It fails with elsewhere when another edge has to do it.
	apply(m *machine, p *publication, v *view) error
	value() jsonvalue.Value // for another edge
}

// MixInto mixes a forward stream into the view of that label, where it may be already.
type MixInto struct{ View string }

// UnmixFrom is the reverse.
type UnmixFrom struct{ View string }

// SetStatus lets one kind of a published stream through to everybody, or not.
type SetStatus struct {
	Kind   conference.Kind
	Active bool
}

// SetLayout replaces the layout of a mixed stream for good.
type SetLayout struct{ Scene layout.Scene }

// Occupy moves a forward stream to a region of a mixed stream, which is counted from 0; whoever is there goes where it was.
type Occupy struct {
	Region int
	Stream string
}

// Participants lists who is in a room, in the order of joining; nobody is in one that is not active. Half a list is an error.
func (d *Directory) Participants(ctx context.Context, room string) ([]conference.Participant, error) {
	return pages(func(from int) ([]conference.Participant, bool, error) {
		r, err := d.operate(ctx, room, command{op: opParticipants, from: from})
		return r.participants, r.more, err
	})
}

// errEndless is of a list that another edge goes on and on with.
var errEndless = errors.New("another edge's list does not end")

// Bounds of a list that comes from another edge, page by page.
const (
	maxPages  = 256
	maxListed = 1 << 16
)

// pages gathers a list. next gives what follows after so many, and whether there is more.
func pages[T any](next func(from int) (page []T, more bool, err error)) (list []T, err error) {
	for range maxPages {
		page, more, err := next(len(list))
		switch {
		case err == portalproto.ErrNotJoinedRoom:
			return nil, nil
		case err != nil:
			return nil, err
		}
		list = append(list, page...)
		switch {
		case !more || len(page) == 0:
			return list, nil
		case len(list) > maxListed:
			return nil, errEndless
		}
	}
	return nil, errEndless
}

// ChangePermission changes what a participant may publish and subscribe to from now on; what it does already goes on.
func (d *Directory) ChangePermission(ctx context.Context, room, participant string, p PermissionChange) (conference.Participant, error) {
	r, err := d.operate(ctx, room, command{op: opPermission, participant: participant, permission: p})
	return r.participant, err
}

// DropParticipant ends a participation: the client is told and disconnected.
func (d *Directory) DropParticipant(ctx context.Context, room, participant string) error {
	_, err := d.operate(ctx, room, command{op: opDrop, participant: participant})
	return err
}

// Streams lists the streams of a room: those of its views, those of the loudest audio, then those that are published. Otherwise it is as
// Participants.
func (d *Directory) Streams(ctx context.Context, room string) ([]conference.Stream, error) {
	return pages(func(from int) ([]conference.Stream, bool, error) {
		r, err := d.operate(ctx, room, command{op: opStreams, from: from})
		return r.streams, r.more, err
	})
}

// ChangeStream makes the changes in their order, those of SetStatus only if all others could be made. Of these, one that fails does not
// keep the next from being made, and none is undone.
func (d *Directory) ChangeStream(ctx context.Context, room, stream string, changes []StreamChange) (conference.Stream, error) {
	r, err := d.operate(ctx, room, command{op: opChange, stream: stream, changes: changes})
	return r.stream, err
}

// DeleteStream ends a publication; its owner is told no more than everybody.
func (d *Directory) DeleteStream(ctx context.Context, room, stream string) error {
	_, err := d.operate(ctx, room, command{op: opDelete, stream: stream})
	return err
}

// operate carries out what an operator asks for: in the room if it is active here, else where it is.
func (d *Directory) operate(ctx context.Context, room string, cmd command) (r reply, err error) {
	if d.find(room) == nil && d.options.Cluster != nil {
		answer, err := d.options.Cluster.Command(ctx, room, cmd.encode())
		switch {
		case errors.Is(err, ErrNoRoom):
			return r, portalproto.ErrNotJoinedRoom
		case err != nil:
			return r, portalproto.ErrClusterUnavailable
		}
		return decodeReply(answer)
	}
	err = d.in(room, func(c *controller) error {
		r, err = c.execute(ctx, cmd)
		return err
	})
	return r, err
}

func (c *controller) drop(ctx context.Context, participant string) error {
	return c.run(ctx, func() error {
		if who := c.machine.members[participant]; who != nil && who.edge != "" {
			return elsewhere{Key{ParticipantEntry, participant}}
		}
		member := c.members[participant]
		if member == nil || !c.machine.leave(participant) {
			return portalproto.ErrNotJoinedRoom
		}
		delete(c.members, participant)
		member.Drop()
		c.log.Info("participant dropped", "participant", participant)
		c.left()
		return nil
	})
}

func (m *machine) changePermission(participant string, c PermissionChange) (conference.Participant, error) {
	who := m.members[participant]
	if who == nil {
		return conference.Participant{}, portalproto.ErrNotJoinedRoom
	}
	if who.edge != "" {
		return conference.Participant{}, elsewhere{Key{ParticipantEntry, participant}}
	}
	p := &who.participant.Permission
	for _, right := range []struct{ of, to *bool }{
		{&p.Publish.Audio, c.PublishAudio}, {&p.Publish.Video, c.PublishVideo},
		{&p.Subscribe.Audio, c.SubscribeAudio}, {&p.Subscribe.Video, c.SubscribeVideo},
	} {
		if right.to != nil {
			*right.of = *right.to
		}
	}
	m.announceMember(who)
	return who.participant, nil
}

func (m *machine) changeStream(id string, changes []StreamChange) (conference.Stream, error) {
	p, v := m.publication(id), m.viewOf(id)
	if p == nil && v == nil {
		if i := m.selectedIndex(id); i >= 0 && len(changes) == 0 {
			return m.selected[i].Stream, nil
		}
		return conference.Stream{}, portalproto.ErrNoStream
	}
	if p != nil && !p.ready {
		return conference.Stream{}, portalproto.ErrStreamNotReady
	}
	for _, last := range []bool{false, true} {
		var failed error
		for _, c := range changes {
			if _, mute := c.(SetStatus); mute == last {
				failed = cmp.Or(failed, c.apply(m, p, v))
			}
		}
		if failed != nil {
			return conference.Stream{}, failed
		}
	}
	if p != nil {
		return p.stream, nil
	}
	return v.stream, nil
}

func (c MixInto) apply(m *machine, p *publication, _ *view) error {
	if p == nil {
		return portalproto.ErrStreamMixed
	}
	return m.mix(p, c.View)
}

func (c UnmixFrom) apply(m *machine, p *publication, _ *view) error {
	if p == nil {
		return portalproto.ErrStreamMixed
	}
	return m.unmix(p, c.View)
}

func (c SetStatus) apply(m *machine, p *publication, _ *view) error {
	if p == nil || p.stream.Via != viaWebRTC {
		return portalproto.ErrNoTrackToMute
	}
	return m.setActive(p, conference.MediaSet{Audio: c.Kind == conference.Audio, Video: c.Kind == conference.Video}, c.Active)
}

func (c SetLayout) apply(m *machine, _ *publication, v *view) error {
	if v == nil || v.config.Video == nil {
		return portalproto.ErrInvalidMixView
	}
	if !m.leads {
		return elsewhere{}
	}
	places, err := v.places.Set(c.Scene)
	v.fixed = v.fixed || err == nil && m.mixes
	return m.rearrange(v, places, err)
}

func (c Occupy) apply(m *machine, _ *publication, v *view) error {
	if v == nil || v.config.Video == nil {
		return portalproto.ErrInvalidMixView
	}
	if !m.leads {
		return elsewhere{}
	}
	places, err := v.places.MoveTo(c.Stream, c.Region)
	return m.rearrange(v, places, err)
}

// deleteStream ends a publication. One that is not ready is nothing that an operator knows of.
func (m *machine) deleteStream(id string) error {
	p := m.publication(id)
	if p == nil || !p.ready {
		return portalproto.ErrNoStream
	}
	if p.edge != "" {
		return elsewhere{Key{StreamEntry, id}}
	}
	m.do(func(media Media) { media.Stop(id) })
	m.removeStream(p)
	return nil
}
