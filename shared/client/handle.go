package client

import (
	"context"
	"errors"
	"slices"

	"portico/shared/conference"
	"portico/shared/portalproto"
)

// handle is what Publication and Subscription have in common.
type handle struct {
	c *Conference
	s *session
}

// ID is the session's id; a publication's is also its stream's.
func (h handle) ID() string { return h.s.id }

// Stop ends it and tells the server. It has ended, and sends nothing more, even when the server could not be told; safe twice.
func (h handle) Stop(ctx context.Context) error {
	stopped := false
	err := h.c.do(context.WithoutCancel(ctx), func() error {
		if stopped = !h.s.ended; stopped {
			h.c.endSession(h.s, ErrStopped, ReasonStopped)
		}
		return nil
	})
	if err != nil || !stopped { // over already
		return nil
	}
	if h.s.publication { // the m-lines end with the next negotiation, the media now
		for _, l := range h.s.lines {
			_ = l.transceiver.ReplaceTrack(nil)
		}
	}
	err = h.c.simple(ctx, h.s.endRequest(), portalproto.EncodeID(h.s.id))
	var refused *ServerError
	if errors.As(err, &refused) && refused.gone() {
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

// media is the kinds a mute is about; the empty kind is both.
func media(kind conference.Kind) conference.MediaSet {
	return conference.MediaSet{Audio: kind != conference.Video, Video: kind != conference.Audio}
}

// Publication is media on its way to the room.
type Publication struct{ handle }

// Mute has the server forward nothing of that kind ("" for both) to anybody, and tell the room so. What the client sends does not change.
func (p *Publication) Mute(ctx context.Context, kind conference.Kind) error {
	return p.control(ctx, portalproto.Pause, kind)
}

// Unmute ends Mute.
func (p *Publication) Unmute(ctx context.Context, kind conference.Kind) error {
	return p.control(ctx, portalproto.Play, kind)
}

func (p *Publication) control(ctx context.Context, operation portalproto.Operation, kind conference.Kind) error {
	request := portalproto.StreamControl{ID: p.s.id, Operation: operation, Media: media(kind)}
	return p.c.simple(ctx, portalproto.EventStreamControl, request.Encode())
}

// Replace changes the local track of that kind, the first when there are several, without negotiation; nil sends nothing.
// ErrArgument says that the publication has no such track, ErrStopped that it has ended.
func (p *Publication) Replace(kind conference.Kind, local any) error {
	if p.Ended() {
		return ErrStopped
	}
	i := slices.IndexFunc(p.s.lines, func(l line) bool { return l.kind == kind })
	if i < 0 {
		return ErrArgument
	}
	return p.s.lines[i].transceiver.ReplaceTrack(local)
}

// Subscription is media of the room on its way to this client.
type Subscription struct{ handle }

// Mute has the server send nothing of that kind ("" for both) to this client.
func (s *Subscription) Mute(ctx context.Context, kind conference.Kind) error {
	return s.control(ctx, portalproto.SubscriptionControl{Operation: portalproto.Pause, Media: media(kind)})
}

// Unmute ends Mute.
func (s *Subscription) Unmute(ctx context.Context, kind conference.Kind) error {
	return s.control(ctx, portalproto.SubscriptionControl{Operation: portalproto.Play, Media: media(kind)})
}

// SubscriptionUpdate is a change of what is received. Empty fields stay as they are.
type SubscriptionUpdate struct {
	AudioFrom, VideoFrom string // stream or track ids
	Wanted               portalproto.Wanted
}

// Update changes what is received, without negotiation (portal protocol 6.7).
func (s *Subscription) Update(ctx context.Context, update SubscriptionUpdate) error {
	return s.control(ctx, portalproto.SubscriptionControl{
		Operation: portalproto.Update, AudioFrom: update.AudioFrom, VideoFrom: update.VideoFrom, Wanted: update.Wanted,
		Media: conference.MediaSet{
			Audio: update.AudioFrom != "", Video: update.VideoFrom != "" || update.Wanted != portalproto.Wanted{},
		},
	})
}

func (s *Subscription) control(ctx context.Context, request portalproto.SubscriptionControl) error {
	request.ID = s.s.id
	return s.c.simple(ctx, portalproto.EventSubscriptionControl, request.Encode())
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
