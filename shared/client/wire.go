package client

import (
	"context"
	"errors"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
	"portico/shared/task"
)

// wire is one Socket in the life of a conference. It comes into use with the answer to login or relogin; what it brings before, which
// some servers send too early, is held until then.
type wire struct {
	c      *Conference
	socket Socket // set before the loop may use it

	// The loop's.
	open bool
	held []portalproto.Notification
}

// maxHeldEvents bounds what is held.
const maxHeldEvents = 1024

// dial opens a wire to the portal. Its Socket is the caller's to close until the wire is the conference's.
func (c *Conference) dial(ctx context.Context, url string) (*wire, error) {
	limited, cancel := context.WithTimeoutCause(ctx, c.options.Timeouts.Connect, ErrTimeout)
	defer cancel()
	w := &wire{c: c}
	socket, err := c.options.Dial(limited, DialOptions{URL: url, OnEvent: w.event, OnClose: w.closed})
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, withCause(ErrConnect, err)
	}
	w.socket = socket
	return w, nil
}

// ask sends the request that brings the wire into use. take gets the answer on the loop, before anything that came after it.
func (w *wire) ask(ctx context.Context, name string, data jsonvalue.Value, take func(answer jsonvalue.Value) error) error {
	limited, cancel := context.WithTimeoutCause(ctx, w.c.options.Timeouts.Login, ErrTimeout)
	defer cancel()
	result := make(chan error, 1)
	abandoned := false // the loop's
	w.socket.Ask(name, func(args []jsonvalue.Value, err error) {
		w.c.post(func() {
			if abandoned {
				return
			}
			if err != nil {
				result <- withCause(ErrLost, err)
				return
			}
			answer, err := decodeAck(name, args)
			switch {
			case err != nil:
			case w.c.state.over:
				err = ended(w.c.state.err)
			default:
				err = take(answer)
			}
			result <- err
		})
	}, data)
	select {
	case err := <-result:
		return err
	case <-w.c.loop.Done():
		select {
		case err := <-result: // who refuses ends the connection at once
			return err
		default:
			return ended(w.c.state.err)
		}
	case <-limited.Done():
	}
	_ = w.c.loop.Do(context.Background(), func() { abandoned = true })
	select {
	case err := <-result: // it was quicker
		return err
	default:
		return context.Cause(limited)
	}
}

func decodeAck(name string, args []jsonvalue.Value) (jsonvalue.Value, error) {
	answer, err := portalproto.DecodeAck(args)
	var refusal *portalproto.Error
	if errors.As(err, &refusal) {
		refused := &ServerError{Request: name, Text: refusal.Text}
		var redirect *portalproto.Redirect
		if errors.As(err, &redirect) {
			refused.edges = redirect.Edges
		}
		return answer, refused
	}
	return answer, err
}

// post hands what the network brought to the loop, which never waits: a full mailbox is a flood.
func (c *Conference) post(fn func()) {
	if err := c.loop.Post(fn); errors.Is(err, task.ErrFull) {
		_ = c.loop.Do(context.Background(), func() { c.finish(ErrProtocol) })
	}
}

// event and closed run on the Socket's goroutine.

func (w *wire) event(name string, args []jsonvalue.Value) {
	var data jsonvalue.Value
	if len(args) > 0 {
		data = args[0]
	}
	n, _ := portalproto.DecodeNotification(name, data) // nil for what is unknown: it counts all the same (portal protocol 5.6)
	w.c.post(func() { w.c.heard(w, n) })
}

func (w *wire) closed(err error) { w.c.post(func() { w.c.lose(w, err) }) }

// heard takes a notification, on the loop.
func (c *Conference) heard(w *wire, n portalproto.Notification) {
	switch {
	case c.state.over:
	case !w.open:
		if w.held = append(w.held, n); len(w.held) > maxHeldEvents {
			c.finish(ErrProtocol)
		}
	case w == c.state.wire: // what an old wire still brings will be told again
		c.state.received++
		c.notice(n)
	}
}

// open brings the conference's wire into use, on the loop: what was held, then the requests that were kept.
func (c *Conference) open(w *wire) {
	w.open = true
	held := w.held
	w.held = nil
	for _, n := range held {
		c.heard(w, n)
	}
	if c.state.over {
		return
	}
	c.startClocks()
	c.flush()
	c.wakeNegotiator()
}
