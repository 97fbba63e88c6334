package link

import (
	"context"
	"sync"
	"time"

	"portico/shared/identity"
	"portico/shared/task"
)

// Pauses before a node is dialed again: doubled each time, and short again after a Link that has lasted.
const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
)

// Dialer keeps one Link to each node that it was asked for, and dials again when it is lost. Make it with NewDialer. All methods are
// safe for concurrent use.
type Dialer struct {
	id      *identity.Identity
	options Options
	tasks   *task.Group

	mu    sync.Mutex // guards what follows
	nodes map[string]*node
}

// node is one that is kept. The Dialer's mu guards it.
type node struct {
	cancel  context.CancelFunc
	link    *Link         // nil while there is none
	err     error         // of the last attempt, while the next one waits its turn
	changed chan struct{} // closed with the next change of the two
}

// NewDialer makes a Dialer; its Links get the options.
func NewDialer(id *identity.Identity, o Options) *Dialer {
	o.fill()
	return &Dialer{id: id, options: o, nodes: map[string]*node{}, tasks: task.NewGroup(context.Background(), nil)}
}

// Get gives the Link to the node at an address, "host:port", which the Dialer keeps from the first Get on and shares: it is not the
// caller's to close. It waits while the node is being dialed. After an attempt that failed it fails at once, with the reason, until
// the next one begins, at the latest five seconds later; after Close with ErrClosed.
func (d *Dialer) Get(ctx context.Context, address string) (*Link, error) {
	for {
		d.mu.Lock()
		n := d.nodes[address]
		if n == nil {
			ctx, cancel := context.WithCancel(d.tasks.Context())
			n = &node{cancel: cancel, changed: make(chan struct{})}
			if d.tasks.Go(func(context.Context) { d.keep(ctx, address, n) }) != nil {
				cancel()
				d.mu.Unlock()
				return nil, ErrClosed
			}
			d.nodes[address] = n
		}
		link, err, changed := n.link, n.err, n.changed
		d.mu.Unlock()
		switch {
		case d.tasks.Context().Err() != nil:
			return nil, ErrClosed
		case link != nil && link.Err() == nil:
			return link, nil
		case err != nil:
			return nil, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-d.tasks.Context().Done():
			return nil, ErrClosed
		}
	}
}

// Forget ends the Link to an address and the attempts at it. Who waits for it in Get begins anew.
func (d *Dialer) Forget(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.nodes[address]; n != nil {
		delete(d.nodes, address)
		n.cancel()
	}
}

func (d *Dialer) set(n *node, link *Link, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n.link, n.err = link, err
	close(n.changed)
	n.changed = make(chan struct{})
}

// keep dials a node again and again.
func (d *Dialer) keep(ctx context.Context, address string, n *node) {
	defer n.cancel()
	defer d.set(n, nil, nil)
	log := d.options.Log.With("address", address)
	pause, said := minPause, ""
	for ctx.Err() == nil {
		link, err := Dial(ctx, address, d.id, d.options)
		if err == nil {
			name, role := link.Peer()
			log.Info("link made", "node", name, "role", role)
			d.set(n, link, nil)
			began := time.Now()
			select {
			case <-link.Done():
			case <-ctx.Done():
				link.Close()
				return
			}
			err, said = link.Err(), ""
			log.Warn("link lost", "node", name, "error", err)
			if time.Since(began) > maxPause {
				pause, err = minPause, nil // dialed again soon: who asks meanwhile waits
			}
		} else if text := err.Error(); text != said && ctx.Err() == nil {
			log.Warn("link cannot be made, and is tried again", "error", err)
			said = text
		}
		d.set(n, nil, err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, maxPause)
		d.set(n, nil, nil)
	}
}

// Close ends all Links and attempts, and waits for them. It is safe twice.
func (d *Dialer) Close() { d.tasks.Close() }
