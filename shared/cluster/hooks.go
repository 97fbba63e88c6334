package cluster

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
)

// hooks is what memberlist calls, mostly under its own lock: nothing here waits or calls back.
type hooks struct{ c *Cluster }

// note is the latest word about a node.
type note struct {
	alive  bool
	meta   Meta
	gossip string
}

// refusal is a node that is not let in.
type refusal struct {
	name, address string
	err           error
}

// maxReported bounds what is remembered of nodes that were not let in.
const maxReported = 1024

var (
	errFull     = errors.New("the cluster has as many nodes as it may")
	errName     = errors.New("it describes another node than it is, or has no address")
	errConflict = errors.New("another node has its name: give each its own (if it has moved, it is let in once its former self is found dead)")
)

// NodeMeta implements memberlist.Delegate.
func (h hooks) NodeMeta(int) []byte {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	return h.c.encoded
}

// NotifyMsg and the other methods of memberlist.Delegate are not used: nothing of ours travels by gossip but Meta.
func (hooks) NotifyMsg([]byte)                {}
func (hooks) GetBroadcasts(_, _ int) [][]byte { return nil }
func (hooks) LocalState(bool) []byte          { return nil }
func (hooks) MergeRemoteState([]byte, bool)   {}

// NotifyAlive implements memberlist.AliveDelegate: an error keeps the node out.
func (h hooks) NotifyAlive(n *memberlist.Node) error {
	c := h.c
	if n.Name == c.cfg.Self.ID {
		return nil
	}
	meta, err := DecodeMeta(n.Meta, c.protocol())
	if err == nil && (meta.ID != n.Name || len(n.Addr) != net.IPv4len && len(n.Addr) != net.IPv6len) {
		err = errName
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && !c.room(n.Name) {
		err = errFull
	}
	if err != nil {
		c.refuse(n.Name, n.Address(), err)
	}
	return err
}

// NotifyConflict implements memberlist.ConflictDelegate.
func (h hooks) NotifyConflict(_, other *memberlist.Node) {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	if other.Name == h.c.cfg.Self.ID {
		h.c.contested = true
	}
	h.c.refuse(other.Name, other.Address(), errConflict)
}

// refuse takes note of a node that is not let in, once. c.mu is held.
func (c *Cluster) refuse(name, address string, err error) {
	key := name + " " + err.Error()
	if _, ok := c.reported[key]; ok || c.closed || len(name) > 256 {
		return
	}
	if len(c.reported) >= maxReported {
		if time.Since(c.cleared) < again {
			return // somebody makes names up
		}
		clear(c.reported)
		c.cleared = time.Now()
	}
	c.reported[key] = struct{}{}
	c.refused = append(c.refused, refusal{name: name, address: address, err: err})
	poke(c.wake)
}

// NotifyJoin implements memberlist.EventDelegate.
func (h hooks) NotifyJoin(n *memberlist.Node) { h.alive(n) }

// NotifyUpdate implements memberlist.EventDelegate.
func (h hooks) NotifyUpdate(n *memberlist.Node) { h.alive(n) }

func (h hooks) alive(n *memberlist.Node) {
	meta, err := DecodeMeta(n.Meta, h.c.protocol())
	if err != nil || n.Name == h.c.cfg.Self.ID {
		return // NotifyAlive has seen it before
	}
	h.c.take(n.Name, note{alive: true, meta: meta, gossip: n.Address()})
}

// NotifyLeave implements memberlist.EventDelegate.
func (h hooks) NotifyLeave(n *memberlist.Node) {
	if n.Name != h.c.cfg.Self.ID {
		h.c.take(n.Name, note{gossip: n.Address()})
	}
}

func (c *Cluster) protocol() uint8 {
	if p := c.cfg.Self.Protocol; p != 0 {
		return p
	}
	return Protocol
}

// take notes the latest about a node.
func (c *Cluster) take(name string, n note) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.alive {
		c.appear(name)
	} else {
		c.vanish(name)
	}
	if c.closed {
		return
	}
	if before, ok := c.notes[name]; !ok {
		c.order = append(c.order, name)
	} else if !n.alive && before.alive {
		n.meta = before.meta // what it said last counts
	}
	c.notes[name] = n
	poke(c.wake)
}

// runEvents turns notes into events.
func (c *Cluster) runEvents(ctx context.Context) {
	known := map[string]Node{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		c.mu.Lock()
		notes, order, refused := c.notes, c.order, c.refused
		c.notes, c.order, c.refused = map[string]note{}, nil, nil
		c.mu.Unlock()
		for _, r := range refused {
			c.log.Warn("node is not let in", "node", r.name, "address", r.address, "reason", r.err.Error())
		}
		var events []Event
		for _, name := range order {
			events = append(events, compare(known, name, notes[name])...)
		}
		c.parted(events)
		c.setNodes(known)
		for _, e := range events {
			c.report(e)
			if c.cfg.Notify != nil && ctx.Err() == nil {
				c.cfg.Notify(e)
			}
		}
	}
}

// parted notes who has gone as they said, before the list lacks them: they are not looked for.
func (c *Cluster) parted(events []Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range events {
		switch e := e.(type) {
		case Joined:
			delete(c.gone, e.Node.Gossip)
		case Left:
			if e.Said && len(c.gone) < maxLost {
				c.gone[e.Node.Gossip] = true
			}
		}
	}
}

// compare brings what is known of a node up to date and says what that means.
func compare(known map[string]Node, name string, n note) []Event {
	before, was := known[name]
	if !n.alive {
		if !was {
			return nil
		}
		delete(known, name)
		if n.meta.ID != "" {
			before.Meta = n.meta
		}
		return []Event{Left{Node: before, Said: before.State == Leaving}}
	}
	now := Node{Meta: n.meta, Gossip: n.gossip}
	known[name] = now
	switch {
	case !was:
		return []Event{Joined{Node: now}}
	case before.Boot != now.Boot:
		return []Event{Left{Node: before, Said: before.State == Leaving}, Joined{Node: now}}
	case !before.same(&now.Meta) || before.Gossip != now.Gossip:
		return []Event{Changed{Node: now, Before: before}}
	}
	return nil
}

func (c *Cluster) report(e Event) {
	switch e := e.(type) {
	case Joined:
		c.log.Info("node joined", "node", e.Node.ID, "region", e.Node.Region, "address", e.Node.Gossip, "state", e.Node.State.String())
	case Changed:
		if e.Node.State != e.Before.State {
			c.log.Info("node changed", "node", e.Node.ID, "state", e.Node.State.String())
		}
	case Left:
		if e.Said {
			c.log.Info("node left", "node", e.Node.ID)
		} else {
			c.log.Warn("node is gone", "node", e.Node.ID, "address", e.Node.Gossip)
		}
	}
}
