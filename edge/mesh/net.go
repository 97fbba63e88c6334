package mesh

import (
	"context"

	"portico/edge/peers"
	"portico/shared/link"
)

// network is what a Mesh needs of the links to other edges; *peers.Peers is one.
type network interface {
	Self() string
	// Open opens a call to a service of a node with the first message.
	Open(ctx context.Context, node, service string, first []byte) (call, error)
	// Cut ends what there is with a node that has sent rubbish.
	Cut(node string, why error)
}

// call is a *link.Call.
type call interface {
	Send(message []byte) error
	Receive(ctx context.Context) ([]byte, error)
	Close()
}

// handler takes a call that a peer has opened; it is closed when the handler returns.
type handler func(ctx context.Context, from string, c call, first []byte)

// links has Peers be a network.
type links struct{ *peers.Peers }

func (l links) Open(ctx context.Context, node, service string, first []byte) (call, error) {
	c, err := l.Peers.Open(ctx, node, service, first)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func serve(h handler) peers.Handler {
	return func(ctx context.Context, from string, c *link.Call, first []byte) { h(ctx, from, c, first) }
}
