package peers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"portico/shared/link"
	"portico/shared/meshproto"
)

// Open opens a Call to a service of a node, with the first message for its Handler. It waits for the link as Link does. The Call is
// the caller's to close.
func (p *Peers) Open(ctx context.Context, name, service string, first []byte) (*link.Call, error) {
	greeting := meshproto.EncodeHello(service)
	for again := true; ; again = false {
		h, err := p.get(ctx, name)
		if err != nil {
			return nil, err
		}
		c, err := p.open(ctx, h, greeting, first)
		if err == nil || !again || h.link.Err() == nil {
			return c, err
		}
		// The peer may have closed a link that nobody needed at this moment.
	}
}

func (p *Peers) open(ctx context.Context, h *held, messages ...[]byte) (*link.Call, error) {
	h.calls.Add(1)
	c, err := h.link.Call(ctx)
	if err == nil {
		for _, m := range messages {
			if err = c.Send(m); err != nil {
				c.Close()
				break
			}
		}
	}
	if err == nil && p.tasks.Go(func(ctx context.Context) {
		defer h.done()
		select {
		case <-c.Done():
		case <-ctx.Done():
		}
	}) == nil {
		return c, nil
	}
	h.done()
	if err == nil {
		c.Close()
		err = ErrClosed
	}
	return nil, err
}

// handle takes a Call that the peer has opened from its Hello on.
func (p *Peers) handle(ctx context.Context, h *held, c *link.Call) {
	defer h.done()
	defer c.Close()
	begin, cancel := context.WithTimeout(ctx, firstTime)
	message, err := c.Receive(begin)
	var named meshproto.Hello
	if err == nil {
		if named, err = meshproto.DecodeHello(message); err != nil {
			cancel()
			p.Cut(h.node.name, err)
			return
		}
		message, err = c.Receive(begin)
	}
	cancel()
	switch {
	case errors.Is(err, link.ErrTooLong), errors.Is(err, link.ErrBadPeer):
		p.Cut(h.node.name, err)
		return
	case err != nil:
		return // it has gone
	}
	p.mu.Lock()
	handler := p.handlers.Services[named.Service]
	p.mu.Unlock()
	if handler == nil || named.Version != meshproto.Version {
		p.options.Log.Debug("call of a service that is not here", "node", h.node.name, "service", named.Service, "version", named.Version)
		return
	}
	handler(ctx, h.node.name, c, message)
}

// Cut ends all links with a node that does not keep to the format of a service, and takes none for half a minute. It can be called
// from a Handler, and leaves one line in the log.
func (p *Peers) Cut(name string, why error) {
	p.mu.Lock()
	now := time.Now()
	for other, until := range p.cut {
		if now.After(until) {
			delete(p.cut, other)
		}
	}
	_, already := p.cut[name]
	p.cut[name] = now.Add(cutTime)
	var links []*held
	if n := p.nodes[name]; n != nil {
		links = append(links, n.links...)
	}
	p.mu.Unlock()
	if already {
		return // whoever was first closes what there was, and nothing came since
	}
	p.options.Log.Warn("edge cut off", "node", name, "error", fmt.Errorf("%w: %w", link.ErrBadPeer, why), "for", cutTime.String())
	for _, h := range links {
		_ = p.tasks.Go(func(context.Context) { h.link.Close() })
	}
}
