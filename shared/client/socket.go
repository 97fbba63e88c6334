package client

import (
	"context"

	"portico/shared/jsonvalue"
)

// Socket is a Socket.IO connection to a portal. Only Close may block.
type Socket interface {
	// Ask sends an event and has done called once: with the arguments of its acknowledgement, or with why there will be none. Events are
	// sent in the order of the calls. done runs where OnEvent runs, so that answers and events keep the order of the wire, and before
	// OnClose; only for a connection that has ended Ask may call it itself.
	Ask(name string, done func(answer []jsonvalue.Value, err error), args ...jsonvalue.Value)
	// Emit sends an event without acknowledgement.
	Emit(name string, args ...jsonvalue.Value) error
	// Close ends the connection; safe twice. No function of the client is called after it has returned.
	Close() error
}

// DialOptions say where a Socket leads and who hears what comes. Both functions return at once and do not call the Socket.
type DialOptions struct {
	URL     string                                    // http(s)://host[:port]
	OnEvent func(name string, args []jsonvalue.Value) // events in their order, from one goroutine
	OnClose func(err error)                           // once; ErrDropped when the server said goodbye (a Socket.IO disconnect)
}

// Dialer connects to a portal. ctx bounds the connecting only.
type Dialer func(ctx context.Context, options DialOptions) (Socket, error)
