package client

import (
	"context"

	"portico/shared/jsonvalue"
)

// Socket is a Socket.IO connection to a portal.
type Socket interface {
	// Request sends an event and waits for its acknowledgement; it fails when ctx ends or the connection does.
	Request(ctx context.Context, name string, args ...jsonvalue.Value) ([]jsonvalue.Value, error)
	// Emit sends an event without acknowledgement.
	Emit(name string, args ...jsonvalue.Value) error
	// Close ends the connection; safe twice. OnEvent is not called after it has returned.
	Close() error
}

// DialOptions say where a Socket leads and who hears what comes. Both functions return at once and never call the Socket.
type DialOptions struct {
	URL     string                                    // http(s)://host[:port]
	OnEvent func(name string, args []jsonvalue.Value) // events in their order, from one goroutine
	OnClose func(err error)                           // once; ErrDropped when the server said goodbye (a Socket.IO disconnect)
}

// Dialer connects to a portal. ctx bounds the connecting only.
type Dialer func(ctx context.Context, options DialOptions) (Socket, error)
