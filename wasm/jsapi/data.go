//go:build js && wasm

package jsapi

import (
	"context"
	"syscall/js"

	"portico/shared/client"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// Data streams: the page has the WebTransport connection and what flows on it (web/sdk/data.js), the conference does the signalling.

// openData answers with what the page needs to open its connection: {url, token, certificateHashes}.
func (a *api) openData(ctx context.Context, c *call, p *participation) error {
	grant, err := p.conference.OpenData(ctx)
	if err != nil {
		return err
	}
	a.answer(c.number, result{value: jsonvalue.OfObject(
		jsonvalue.M("url", jsonvalue.Of(grant.URL)), jsonvalue.M("token", jsonvalue.Of(grant.Token)),
		jsonvalue.M("certificateHashes", portalproto.EncodeHashes(grant.Hashes)))}, nil)
	return nil
}

// publishData answers as publish does. Before, the page is told of the id, with which it begins the stream: it knows the call by its key.
func (a *api) publishData(ctx context.Context, c *call, p *participation, args jsonvalue.Value) error {
	options := client.PublishDataOptions{
		OnOpen: func(id string) {
			p.listener.tell("dataopened", jsonvalue.OfObject(jsonvalue.M("key", args.Get("key")), jsonvalue.M("id", jsonvalue.Of(id))))
		},
		OnReady: func(s *client.Publication) {
			p.add(s)
			a.answer(c.number, sessionResult(s.ID(), js.Undefined()), nil)
		},
	}
	if attributes := args.Get("attributes"); !attributes.IsNull() {
		options.Attributes = attributes
	}
	_, err := p.conference.PublishData(ctx, options)
	return err
}

func (a *api) subscribeData(ctx context.Context, c *call, p *participation, from string) error {
	_, err := p.conference.SubscribeData(ctx, from, func(s *client.Subscription) {
		p.add(s)
		a.answer(c.number, sessionResult(s.ID(), js.Undefined()), nil)
	})
	return err
}
