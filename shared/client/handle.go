package client

import (
	"context"
	"errors"
	"slices"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// handle is what Publication and Subscription have in common.
type handle struct {
	c *Conference
	s *session
}

// ID is the session's id; a publication's is also its stream's. It changes when the session was restored, see Events.SessionRestored.
func (h handle) ID() string {
	if id := h.s.name.Load(); id != nil {
		return *id
	}
	return ""
}

// Stop ends it and tells the server. It has ended, and sends nothing more, even when the server could not be told; safe twice.
func (h handle) Stop(ctx context.Context) error {
	stopped, id := false, ""
	var lines []line
	err := h.c.do(context.WithoutCancel(ctx), func() error {
		if stopped = !h.s.ended; stopped {
			id, lines = h.s.id, h.s.lines
			h.c.endSession(h.s, ErrStopped, ReasonStopped)
		}
		return nil
	})
	if err != nil || !stopped { // over already
		return nil
	}
	if h.s.publication { // the m-lines end with the next negotiation, the media now
		for _, l := range lines {
			_ = l.transceiver.ReplaceTrack(nil)
		}
	}
	if id == "" { // it was about to be restored
		return nil
	}
	err = h.c.simple(ctx, h.s.endRequest(), portalproto.EncodeID(id))
	var refused *ServerError
	if isReplaced(err) || errors.As(err, &refused) && refused.gone() {
		return nil
	}
	return err
}

// Ended tells whether it has ended, for whatever reason.
func (h handle) Ended() bool {
	ended := true
	_ = h.c.do(context.Background(), func() error {
		ended = h.s.ended
		return nil
	})
	return ended
}

// pause mutes a kind, or unmutes it. The wish counts from now on: should the client have to join anew, the session is restored with it.
func (h handle) pause(ctx context.Context, operation portalproto.Operation, kind conference.Kind) error {
	var request jsonvalue.Value
	var before conference.MediaSet
	restoring := false
	err := h.c.do(ctx, func() error {
		if h.s.data {
			return ErrArgument
		}
		before = h.s.muted
		h.s.muted = with(before, kind, operation == portalproto.Pause)
		request = h.s.controlRequest(operation, kind)
		restoring = !h.s.live && !h.s.ended
		return nil
	})
	if err != nil {
		return err
	}
	if !restoring {
		_, err = h.c.request(ctx, h.s.controlName(), request)
	}
	var refused *ServerError
	switch {
	case isReplaced(err):
		return nil
	case errors.As(err, &refused):
		_ = h.c.do(ctx, func() error { h.s.muted = before; return nil })
	case err == nil && operation == portalproto.Play:
		h.c.supply(h.s, kind)
	}
	return err
}

func (s *session) controlName() string {
	if s.publication {
		return portalproto.EventStreamControl
	}
	return portalproto.EventSubscriptionControl
}

// controlRequest is the pause or its end, on the loop.
func (s *session) controlRequest(operation portalproto.Operation, kind conference.Kind) jsonvalue.Value {
	media := conference.MediaSet{Audio: kind != conference.Video, Video: kind != conference.Audio}
	if s.publication {
		return portalproto.StreamControl{ID: s.id, Operation: operation, Media: media}.Encode()
	}
	return portalproto.SubscriptionControl{ID: s.id, Operation: operation, Media: media}.Encode()
}

// Publication is media on its way to the room.
type Publication struct{ handle }

// Mute has the server forward nothing of that kind ("" for both) to anybody, and tell the room so. What the client sends does not change.
func (p *Publication) Mute(ctx context.Context, kind conference.Kind) error {
	return p.pause(ctx, portalproto.Pause, kind)
}

// Unmute ends Mute.
func (p *Publication) Unmute(ctx context.Context, kind conference.Kind) error {
	return p.pause(ctx, portalproto.Play, kind)
}

// Replace changes the local track of that kind, the first when there are several, without negotiation; nil sends nothing.
// ErrArgument says that the publication has no such track, ErrStopped that it has ended.
func (p *Publication) Replace(kind conference.Kind, local any) error {
	var transceiver Transceiver
	err := p.c.do(context.Background(), func() error {
		i := slices.IndexFunc(p.s.tracks, func(t sessionTrack) bool { return t.kind == kind })
		switch {
		case p.s.ended:
			return ErrStopped
		case i < 0:
			return ErrArgument
		}
		p.s.tracks[i].local = local
		p.s.tracks[i].changes++
		if len(p.s.lines) > i && !has(p.s.withheld, kind) { // else it is taken up with the restoration
			transceiver = p.s.lines[i].transceiver
		}
		return nil
	})
	if errors.Is(err, ErrEnded) {
		return ErrStopped
	}
	if err != nil || transceiver == nil {
		return err
	}
	return transceiver.ReplaceTrack(local)
}

// Subscription is media of the room on its way to this client.
type Subscription struct{ handle }

// Mute has the server send nothing of that kind ("" for both) to this client.
func (s *Subscription) Mute(ctx context.Context, kind conference.Kind) error {
	return s.pause(ctx, portalproto.Pause, kind)
}

// Unmute ends Mute.
func (s *Subscription) Unmute(ctx context.Context, kind conference.Kind) error {
	return s.pause(ctx, portalproto.Play, kind)
}

// SubscriptionUpdate is a change of what is received. Empty fields stay as they are.
type SubscriptionUpdate struct {
	AudioFrom, VideoFrom string // stream or track ids
	Wanted               portalproto.Wanted
}

func (u SubscriptionUpdate) apply(t *portalproto.SubscribeTrack) {
	from := u.AudioFrom
	if t.Kind == conference.Video {
		from = u.VideoFrom
		if u.Wanted != (portalproto.Wanted{}) {
			t.Wanted = u.Wanted
		}
	}
	if from != "" {
		t.From = from
	}
}

// Update changes what is received, without negotiation (portal protocol 6.7). Where the room adapts, the resolution may be any: it is the
// size at which the video is shown.
func (s *Subscription) Update(ctx context.Context, update SubscriptionUpdate) error {
	request := portalproto.SubscriptionControl{
		Operation: portalproto.Update, AudioFrom: update.AudioFrom, VideoFrom: update.VideoFrom, Wanted: update.Wanted,
		Media: conference.MediaSet{
			Audio: update.AudioFrom != "", Video: update.VideoFrom != "" || update.Wanted != portalproto.Wanted{},
		},
	}
	if err := s.c.do(ctx, func() error {
		if s.s.data {
			return ErrArgument
		}
		if request.ID = s.s.id; request.ID == "" {
			return errReplaced // the subscription is being restored
		}
		return nil
	}); err != nil {
		return err
	}
	if err := s.c.simple(ctx, portalproto.EventSubscriptionControl, request.Encode()); err != nil {
		return err
	}
	return s.c.do(ctx, func() error {
		s.s.updated(update)
		return nil
	})
}

// Quality is what the server says of what this client gets, and why: one of the subscriptions that the management API tells of in the
// quality of a stream. Servers of others refuse it.
func (s *Subscription) Quality(ctx context.Context) (jsonvalue.Value, error) {
	id := ""
	if err := s.c.do(ctx, func() error {
		if s.s.data {
			return ErrArgument
		}
		if id = s.s.id; id == "" {
			return errReplaced // the subscription is being restored
		}
		return nil
	}); err != nil {
		return jsonvalue.Value{}, err
	}
	return s.c.request(ctx, portalproto.EventSubscriptionQuality, portalproto.EncodeID(id))
}

// Tracks is the remote media that has come: one entry per m-line the server accepted, audio before video as they were asked for.
func (s *Subscription) Tracks() []RemoteTrack {
	var tracks []RemoteTrack
	read := func() {
		for _, l := range s.s.lines {
			for _, r := range s.s.remote {
				if r.Mid == l.mid {
					tracks = append(tracks, r)
				}
			}
		}
	}
	if err := s.c.loop.Do(context.Background(), read); err != nil {
		<-s.c.loop.Done()
		read()
	}
	return tracks
}
