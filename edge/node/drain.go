package node

import (
	"context"
	"time"
)

// drain has this edge give away what it has and take nothing new, or take part again. It does not wait: the others hear of it by gossip,
// the rooms' homes go to other edges at once, and clients that can are asked to follow within the time of the settings.
func (n *Node) drain(on bool) {
	if n.members == nil {
		return
	}
	n.turning.Lock()
	defer n.turning.Unlock()
	if n.draining.Swap(on) == on {
		return
	}
	n.log.Info("draining", "on", on)
	n.members.setDraining(on)
	n.mesh.Drain(on)
	if on && n.shared() {
		within := n.cfg.Cluster.DrainTimeout
		if within == 0 {
			within = defaultDrain
		}
		n.log.Info("clients are asked to go to other edges", "clients", n.portal.Move(within), "within", within.String())
	}
	if !on {
		n.portal.Stay()
	}
}

// defaultDrain is how long clients have to go when an operator drains an edge whose settings say nothing about it.
const defaultDrain = 20 * time.Second

// StopWithin is how much longer than usual an ordered stop may take: in a cluster an edge gives away what it has first.
func (n *Node) StopWithin() time.Duration {
	if n.members == nil {
		return 0
	}
	return n.cfg.Cluster.DrainTimeout
}

// emptyEvery is how often a draining edge looks whether there is anybody left.
const emptyEvery = 100 * time.Millisecond

// handOver drains this edge before it stops, as long as there are participants or rooms here, and edges to go to.
func (n *Node) handOver(ctx context.Context) {
	if n.members == nil || n.cfg.Cluster.DrainTimeout == 0 || len(n.otherPortals()) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Cluster.DrainTimeout)
	defer cancel()
	n.drain(true)
	ticker := time.NewTicker(emptyEvery)
	defer ticker.Stop()
	for !n.empty(ctx) {
		select {
		case <-ctx.Done():
			n.log.Warn("not all participants have gone to other edges in time", "participants", n.rooms.Count(context.WithoutCancel(ctx)).Participants)
			return
		case <-ticker.C:
		}
	}
}

// empty tells that nobody is here any more, that nothing is published or subscribed to here by those who have gone to other edges and
// whose media there have not come yet, and that this edge is home of nothing.
func (n *Node) empty(ctx context.Context) bool {
	left := n.rooms.Count(ctx)
	return left.Participants+left.Publications+left.Subscriptions == 0 && n.mesh.Stats().Led == 0
}
