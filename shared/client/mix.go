package client

import (
	"context"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// Mix takes a stream of this client's into the mixed stream of the view with that label, and keeps it there until Unmix or its end
// (portal protocol 6.4). The server refuses it, with a *ServerError, when the room has no such view or does not mix. A stream that was
// restored under another id has to be mixed again.
func (c *Conference) Mix(ctx context.Context, stream, view string) error {
	_, err := c.control(ctx, portalproto.StreamControl{ID: stream, Operation: portalproto.Mix, View: view})
	return err
}

// Unmix ends Mix.
func (c *Conference) Unmix(ctx context.Context, stream, view string) error {
	_, err := c.control(ctx, portalproto.StreamControl{ID: stream, Operation: portalproto.Unmix, View: view})
	return err
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
