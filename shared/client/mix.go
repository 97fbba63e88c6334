package client

import (
	"context"
	"errors"
	"slices"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// Mix takes a stream of this client's into the mixed stream of the view with that label, and keeps it there until Unmix or its end
// (portal protocol 6.4); should the client have to join anew, the publication is restored with it, in whichever region is free then. The
// server refuses it, with a *ServerError, when the room has no such view or does not mix.
func (c *Conference) Mix(ctx context.Context, stream, view string) error {
	return c.mix(ctx, portalproto.Mix, stream, view)
}

// Unmix ends Mix.
func (c *Conference) Unmix(ctx context.Context, stream, view string) error {
	return c.mix(ctx, portalproto.Unmix, stream, view)
}

// mix is Mix and Unmix. For a publication the wish counts from now on, as with pause.
func (c *Conference) mix(ctx context.Context, operation portalproto.Operation, stream, view string) error {
	if stream == "" || view == "" {
		return ErrArgument
	}
	var s *session
	var before []string
	restoring := false
	if err := c.do(ctx, func() error {
		if s = c.publicationNamed(stream); s == nil {
			return nil // somebody else's: an admin may
		}
		before = s.views
		s.views = slices.DeleteFunc(slices.Clone(before), func(v string) bool { return v == view })
		if operation == portalproto.Mix {
			s.views = append(s.views, view)
		}
		restoring = !s.live
		return nil
	}); err != nil || restoring {
		return err
	}
	_, err := c.control(ctx, portalproto.StreamControl{ID: stream, Operation: operation, View: view})
	var refused *ServerError
	switch {
	case s == nil:
	case isReplaced(err):
		return nil
	case errors.As(err, &refused):
		_ = c.do(ctx, func() error { s.views = before; return nil })
	}
	return err
}

// publicationNamed is the publication that the application knows by that id, nil without, on the loop.
func (c *Conference) publicationNamed(id string) *session {
	for s := range c.state.sessions {
		if name := s.name.Load(); s.publication && name != nil && *name == id {
			return s
		}
	}
	return nil
}

// Region is the id of the region in which the stream is shown in a view.
func (c *Conference) Region(ctx context.Context, stream, view string) (string, error) {
	answer, err := c.control(ctx, portalproto.StreamControl{ID: stream, Operation: portalproto.GetRegion, View: view})
	if err != nil {
		return "", err
	}
	region, ok := portalproto.DecodeRegion(answer)
	if !ok {
		return "", ErrProtocol
	}
	return region, nil
}

// SetRegion moves the stream to a region of a view, whose stream takes its place.
func (c *Conference) SetRegion(ctx context.Context, stream, view, region string) error {
	_, err := c.control(ctx, portalproto.StreamControl{ID: stream, Operation: portalproto.SetRegion, View: view, Region: region})
	return err
}

func (c *Conference) control(ctx context.Context, r portalproto.StreamControl) (jsonvalue.Value, error) {
	if r.ID == "" || r.View == "" {
		return jsonvalue.Value{}, ErrArgument
	}
	return c.request(ctx, portalproto.EventStreamControl, r.Encode())
}
