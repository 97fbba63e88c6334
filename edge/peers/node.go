package peers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"portico/shared/identity"
	"portico/shared/link"
)

// node is another edge. Peers' mu guards it.
type node struct {
	name    string
	links   []*held // one; two after both dialed
	dialing bool
	pause   time.Duration // before the next attempt
	err     error         // of the last attempt, while the next one waits its turn
	changed chan struct{} // closed with the next change of links and err
	state   state
	told    state
	flapped bool // it was lost since it was last told of
}

type state uint8

const (
	unknown state = iota
	up
	down
)

// held is one link.
type held struct {
	node  *node
	link  *link.Link
	ours  bool // this side dialed it
	made  time.Time
	quiet bool         // guarded by Peers' mu: closed because it was not needed, which is no loss
	used  time.Time    // guarded by Peers' mu: when it was last seen to be needed
	moved uint64       // guarded by Peers' mu: packets it had carried then
	calls atomic.Int64 // open ones, of both sides
	ended atomic.Int64 // when the last one ended, in Unix nanoseconds

	packets func(from string, l *link.Link, flow uint64, packet []byte)

	flowsMu sync.Mutex // guards flows
	flows   map[uint64]*flow
}

// enter makes a node. The mu is held.
func (p *Peers) enter(name string) *node {
	n := &node{name: name, pause: minPause, changed: make(chan struct{})}
	p.nodes[name] = n
	return n
}

func (n *node) broadcast() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// best is the link for what is new: that which the lower name has dialed, if it lives.
func (n *node) best(self string) *held {
	var best *held
	for _, h := range n.links {
		if h.link.Err() == nil && !h.quiet && (best == nil || h.ours == (self < n.name)) {
			best = h
		}
	}
	return best
}

// set takes note of whether the node can be reached. The mu is held.
func (p *Peers) set(n *node, s state) {
	if n.state == s {
		return
	}
	n.state = s
	if s == down && n.told == up {
		n.flapped = true
	}
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// tell tells Changed.
func (p *Peers) tell(ctx context.Context) {
	type change struct {
		node string
		up   bool
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.news:
		}
		var list []change
		p.mu.Lock()
		for _, n := range p.nodes {
			if n.state == unknown {
				continue
			}
			if n.flapped && n.state == up {
				list = append(list, change{n.name, false})
			}
			if n.flapped || n.told != n.state {
				list = append(list, change{n.name, n.state == up})
			}
			n.told, n.flapped = n.state, false
		}
		changed := p.handlers.Changed
		p.mu.Unlock()
		for _, c := range list {
			changed(c.node, c.up)
		}
	}
}

// dial has a node dialed until there is a link. The mu is held.
func (p *Peers) dial(n *node) error {
	if n.dialing {
		return nil
	}
	if p.tasks.Go(func(ctx context.Context) { p.keepDialing(ctx, n) }) != nil {
		return ErrClosed
	}
	n.dialing = true
	return nil
}

func (p *Peers) keepDialing(ctx context.Context, n *node) {
	said := ""
	for {
		address, ok := p.options.Address(n.name)
		if !ok {
			p.giveUp(n)
			return
		}
		l, err := p.attempt(ctx, n.name, address)
		if err == nil {
			p.add(l, n.name, true)
		} else if text := err.Error(); text != said && err != errLinked && ctx.Err() == nil {
			if said = text; !errors.Is(err, link.ErrRefused) || p.listener == nil || p.listener.First(address, err) {
				p.options.Log.Warn("edge cannot be reached, and is tried again", "node", n.name, "error", err)
			}
		}
		p.mu.Lock()
		if n.best(p.self) != nil || ctx.Err() != nil {
			n.dialing, n.err = false, nil
			n.broadcast()
			p.mu.Unlock()
			return
		}
		n.err = err
		n.broadcast()
		p.set(n, down)
		pause, changed := n.pause, n.changed
		n.pause = min(2*pause, maxPause)
		p.mu.Unlock()
		rest(ctx, pause, changed)
		p.mu.Lock()
		n.err = nil
		p.mu.Unlock()
	}
}

// rest waits for a while, or until something has changed: the node has dialed us.
func rest(ctx context.Context, pause time.Duration, changed <-chan struct{}) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-ctx.Done():
	}
}

// giveUp ends the search for a node that the cluster does not know any more.
func (p *Peers) giveUp(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.dialing = false
	if n.err = nil; n.best(p.self) == nil {
		n.err = fmt.Errorf("%w: %s", ErrUnknown, n.name)
		if len(n.links) == 0 {
			delete(p.nodes, n.name) // who waits sees the error, who comes anew asks anew
		}
	}
	n.broadcast()
}

func (p *Peers) attempt(ctx context.Context, name, address string) (*link.Link, error) {
	p.mu.Lock()
	cut := time.Now().Before(p.cut[name])
	linked := p.nodes[name] != nil && p.nodes[name].best(p.self) != nil
	p.mu.Unlock()
	if cut {
		return nil, fmt.Errorf("%w: %s", ErrCut, name)
	}
	if linked {
		return nil, errLinked
	}
	l, err := p.options.Dial(ctx, address, p.options.Identity, p.linkOptions(identity.Edge))
	if err != nil {
		return nil, err
	}
	if is, _ := l.Peer(); is != name {
		l.Close()
		return nil, fmt.Errorf("%w: %s at %s, wanted %s", ErrWrong, is, address, name)
	}
	return l, nil
}

// errLinked is of an attempt that is not needed any more.
var errLinked = errors.New("peers: linked")

// accept takes the links that others dial.
func (p *Peers) accept(ctx context.Context) {
	for {
		l, err := p.listener.Accept(ctx)
		if err != nil {
			return
		}
		name, role := l.Peer()
		switch {
		case role == identity.Relay && p.options.Relay != nil:
			p.options.Relay(l)
		case role != identity.Edge:
			_ = p.tasks.Go(func(context.Context) { l.Close() })
		default:
			p.add(l, name, false)
		}
	}
}

// add takes a link into use.
func (p *Peers) add(l *link.Link, name string, ours bool) {
	h := &held{link: l, ours: ours, made: time.Now(), used: time.Now(), flows: map[uint64]*flow{}}
	var old []*held
	p.mu.Lock()
	n := p.nodes[name]
	refused := name == p.self || time.Now().Before(p.cut[name]) || n == nil && len(p.nodes) >= p.options.MaxNodes
	if !refused {
		if n == nil {
			n = p.enter(name)
		}
		h.node, h.packets = n, p.handlers.Packets
		p.byLink.Store(l, h)
		refused = p.tasks.Go(func(ctx context.Context) { p.serve(ctx, h) }) != nil
	}
	if refused {
		p.byLink.Delete(l)
		p.mu.Unlock()
		if p.tasks.Go(func(context.Context) { l.Close() }) != nil {
			l.Close() // Close has begun, and waits for whoever made the link
		}
		return
	}
	for _, other := range n.links {
		if other.ours == ours {
			other.quiet = true // who has dialed again has lost it
			old = append(old, other)
		}
	}
	n.links = append(n.links, h)
	n.err = nil
	n.broadcast()
	p.set(n, up)
	p.mu.Unlock()
	p.options.Log.Info("edge linked", "node", name, "address", l.RemoteAddr(), "dialed", ours)
	for _, other := range old {
		_ = p.tasks.Go(func(context.Context) { other.link.Close() })
	}
}

// serve takes the Calls of a link until it ends.
func (p *Peers) serve(ctx context.Context, h *held) {
	for {
		c, err := h.link.Accept(ctx)
		if err != nil {
			break
		}
		h.calls.Add(1)
		if p.tasks.Go(func(ctx context.Context) { p.handle(ctx, h, c) }) != nil {
			h.done()
			c.Close()
		}
	}
	if ctx.Err() != nil {
		h.link.Close()
	}
	<-h.link.Done()
	p.remove(h)
}

// done takes note of the end of a Call.
func (h *held) done() {
	h.ended.Store(time.Now().UnixNano())
	h.calls.Add(-1)
}

// resting tells that there has been no Call for so long: then the peer may close the link because nobody needs it.
func (h *held) resting(d time.Duration) bool {
	return h.calls.Load() == 0 && time.Since(time.Unix(0, h.ended.Load())) > d
}

// remove forgets a link that has ended. A node that was lost is dialed again, since somebody may need to know when it is back.
func (p *Peers) remove(h *held) {
	p.byLink.Delete(h.link)
	err := h.link.Err()
	p.mu.Lock()
	defer p.mu.Unlock()
	n := h.node
	n.links = slices.DeleteFunc(n.links, func(other *held) bool { return other == h })
	unneeded := h.quiet || h.resting(min(spareTime, p.options.IdleAfter)/2) && errors.Is(err, link.ErrClosed) && p.cut[n.name].IsZero()
	if p.tasks.Context().Err() != nil {
		return
	}
	if !unneeded {
		level := slog.LevelWarn
		if errors.Is(err, link.ErrClosed) {
			level = slog.LevelInfo // it goes, and has said so
		}
		p.options.Log.Log(context.Background(), level, "link of an edge lost", "node", n.name, "error", err)
	}
	if n.best(p.self) != nil {
		return
	}
	n.broadcast()
	if !unneeded {
		p.set(n, down)
		n.err = err
		n.pause = min(2*n.pause, maxPause)
		if time.Since(h.made) > lastedTime {
			n.err, n.pause = nil, minPause // who asks meanwhile waits
		}
		p.dialLater(n)
		return
	}
	n.state, n.told, n.flapped = unknown, unknown, false
	if !n.dialing && len(n.links) == 0 {
		delete(p.nodes, n.name)
	}
}

// dialLater has a node dialed after a pause, which grows when the link comes and goes. The mu is held.
func (p *Peers) dialLater(n *node) {
	if n.dialing {
		return
	}
	pause, changed := n.pause, n.changed
	n.dialing = p.tasks.Go(func(ctx context.Context) {
		rest(ctx, pause, changed)
		p.mu.Lock()
		n.err = nil
		p.mu.Unlock()
		p.keepDialing(ctx, n)
	}) == nil
}
