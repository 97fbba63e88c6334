package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"portico/shared/cluster"
	"portico/shared/placement"
)

// Whoever has the gossip key can say that there is an edge, or a relay, at any address. Where clients are sent to, with their tokens, is
// therefore confirmed by the node itself, over the link on which it has shown its certificate: once in its life, and again when gossip
// says something else of it.

const (
	confirmWait  = 3 * time.Second // for an answer
	confirmEvery = time.Second     // nodes that have not answered are asked again
	confirmMost  = 16              // at a time
)

// confirm asks the nodes, until ctx ends.
func (n *Node) confirm(ctx context.Context) {
	ticker := time.NewTicker(confirmEvery)
	defer ticker.Stop()
	for {
		n.confirmAll(ctx)
		select {
		case <-ctx.Done():
			return
		case <-n.members.news:
		case <-ticker.C:
		}
	}
}

func (n *Node) confirmAll(ctx context.Context) {
	var all sync.WaitGroup
	most := make(chan struct{}, confirmMost)
	for _, node := range n.members.unconfirmed() {
		most <- struct{}{}
		all.Go(func() {
			defer func() { <-most }()
			asking, cancel := context.WithTimeout(ctx, confirmWait)
			defer cancel()
			answer, err := n.Ask(asking, node.ID, cluster.Command{Do: cluster.DoDescribe})
			if err == nil && answer.Confirms(&node.Meta) {
				n.members.setConfirmed(node.Meta)
			}
		})
	}
	all.Wait()
}

func (m *members) unconfirmed() (list []cluster.Node) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for id, n := range m.nodes {
		if !m.isConfirmed(id) {
			list = append(list, n)
		}
	}
	return list
}

func (m *members) setConfirmed(is cluster.Meta) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.nodes[is.ID]; there {
		m.confirmed[is.ID] = is
	}
}

// isConfirmed tells whether a node has said of itself what gossip says of it now. The mu is held.
func (m *members) isConfirmed(id string) bool {
	if id == m.self.ID {
		return true
	}
	n := m.nodes[id]
	is, ok := m.confirmed[id]
	return ok && is.Boot == n.Boot && is.Roles == n.Roles && slices.Equal(is.Addresses, n.Addresses)
}

// confirmedEdges are those that clients can be sent to, this one included.
func (m *members) confirmedEdges() []placement.Edge {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.DeleteFunc(slices.Clone(m.edges), func(e placement.Edge) bool { return !m.isConfirmed(e.ID) })
}
