package portal

import (
	"context"

	"portico/edge/sioserver"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// prepared is a request whose data was found good: run performs it for a participant and gives the acknowledgement's data.
// acked, when run calls it, sends the acknowledgement early: what the request causes is told after it.
type prepared func(ctx context.Context, p *participant, acked func()) (jsonvalue.Value, error)

// handler checks a request's data.
type handler func(portal *Portal, data jsonvalue.Value, version portalproto.Version) (prepared, error)

// requests are the requests of a participant (6), by event.
var requests = map[string]handler{
	portalproto.EventText:                text,
	portalproto.EventPublish:             publish,
	portalproto.EventUnpublish:           unpublish,
	portalproto.EventStreamControl:       streamControl,
	portalproto.EventSubscribe:           subscribe,
	portalproto.EventUnsubscribe:         unsubscribe,
	portalproto.EventSubscriptionControl: subscriptionControl,
	portalproto.EventSubscriptionQuality: subscriptionQuality,
	portalproto.EventSOAC:                soac,
}

// request performs one request: illegal before any login, then checked, then refused when nobody is joined (2.2).
func (c *connection) request(handle handler, data jsonvalue.Value, ack sioserver.Ack) {
	c.portal.counts.requests.Add(1)
	c.mu.Lock()
	p, joinedBefore := c.participant, c.everJoined && c.state == initialized
	c.mu.Unlock()
	value, err := jsonvalue.Value{}, error(portalproto.ErrIllegalRequest)
	if p != nil || joinedBefore {
		version := portalproto.V12
		if p != nil {
			version = p.receiver.Version
		}
		value, err = c.perform(handle, p, version, data, func() { ack(portalproto.AckOK(jsonvalue.Value{})...) })
	}
	if err != nil {
		c.portal.counts.requestsRefused.Add(1)
		ack(portalproto.AckError(err)...)
		return
	}
	ack(portalproto.AckOK(value)...)
}

func (c *connection) perform(handle handler, p *participant, version portalproto.Version, data jsonvalue.Value, acked func()) (jsonvalue.Value, error) {
	run, err := handle(c.portal, data, version)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	if p == nil {
		return jsonvalue.Value{}, portalproto.ErrNotJoined
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.portal.options.RequestTimeout)
	defer cancel()
	value, err := run(ctx, p, acked)
	if err != nil {
		return value, roomError(err)
	}
	return value, nil
}

func text(portal *Portal, data jsonvalue.Value, _ portalproto.Version) (prepared, error) {
	t, err := portalproto.DecodeText(data)
	return func(ctx context.Context, p *participant, _ func()) (jsonvalue.Value, error) {
		return jsonvalue.Value{}, portal.options.Rooms.Text(ctx, p.room, p.id, t.To, t.Message)
	}, err
}

func publish(portal *Portal, data jsonvalue.Value, version portalproto.Version) (prepared, error) {
	r, err := portalproto.DecodePublish(data, version)
	return func(ctx context.Context, p *participant, _ func()) (jsonvalue.Value, error) {
		r.Transport = p.onTransport(r.Transport)
		ack, err := portal.options.Rooms.Publish(ctx, p.room, p.id, r)
		return ack.Encode(), err
	}, err
}

func unpublish(portal *Portal, data jsonvalue.Value, _ portalproto.Version) (prepared, error) {
	id, err := portalproto.DecodeStreamID(data)
	return func(ctx context.Context, p *participant, acked func()) (jsonvalue.Value, error) {
		return jsonvalue.Value{}, portal.options.Rooms.Unpublish(ctx, p.room, p.id, id, acked)
	}, err
}

func subscribe(portal *Portal, data jsonvalue.Value, version portalproto.Version) (prepared, error) {
	r, err := portalproto.DecodeSubscribe(data, version)
	return func(ctx context.Context, p *participant, _ func()) (jsonvalue.Value, error) {
		r.Transport = p.onTransport(r.Transport)
		ack, err := portal.options.Rooms.Subscribe(ctx, p.room, p.id, r)
		return ack.Encode(), err
	}, err
}

func unsubscribe(portal *Portal, data jsonvalue.Value, _ portalproto.Version) (prepared, error) {
	id, err := portalproto.DecodeSubscriptionID(data)
	return func(ctx context.Context, p *participant, _ func()) (jsonvalue.Value, error) {
		return jsonvalue.Value{}, portal.options.Rooms.Unsubscribe(ctx, p.room, p.id, id)
	}, err
}

func streamControl(portal *Portal, data jsonvalue.Value, _ portalproto.Version) (prepared, error) {
	r, err := portalproto.DecodeStreamControl(data)
	return func(ctx context.Context, p *participant, _ func()) (jsonvalue.Value, error) {
		region, err := portal.options.Rooms.StreamControl(ctx, p.room, p.id, r)
		return portalproto.EncodeControlled(r.Operation, region), err
	}, err
}

func subscriptionControl(portal *Portal, data jsonvalue.Value, _ portalproto.Version) (prepared, error) {
	r, err := portalproto.DecodeSubscriptionControl(data)
	return func(ctx context.Context, p *participant, _ func()) (jsonvalue.Value, error) {
		return jsonvalue.Value{}, portal.options.Rooms.SubscriptionControl(ctx, p.room, p.id, r)
	}, err
}

func subscriptionQuality(portal *Portal, data jsonvalue.Value, _ portalproto.Version) (prepared, error) {
	id, err := portalproto.DecodeSubscriptionID(data)
	return func(ctx context.Context, p *participant, _ func()) (jsonvalue.Value, error) {
		return portal.options.Rooms.SubscriptionQuality(ctx, p.room, p.id, id)
	}, err
}

func soac(portal *Portal, data jsonvalue.Value, _ portalproto.Version) (prepared, error) {
	s, err := portalproto.DecodeSignaling(data)
	return func(_ context.Context, p *participant, _ func()) (jsonvalue.Value, error) {
		return jsonvalue.Value{}, portal.options.Signaling.Signal(p.id, s)
	}, err
}
