package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"portico/shared/cluster"
)

// Whoever has the gossip key can say that there is an edge, or a relay, at any address, that a node has gone, has started again, or does
// something else now. So gossip says whom to ask, and nodes answer for themselves, over the link on which they have shown their
// certificate: once in their life, and again when gossip says something else of them.
//
//   - A node that was never confirmed is no place for rooms, and clients are not sent there.
//   - Of a node that there is a link to, only its own word counts, but for its load: gossip can neither remove nor change it.
//   - Of a node that there is no link to, what it said last counts until it says something else, or gossip loses it.
//   - Those that were never confirmed have a part of the places that gossip has for nodes, and take none of the others'.

const (
	confirmWait  = 3 * time.Second  // for an answer
	confirmEvery = time.Second      // a node that has not answered is asked again, the first time
	confirmMost  = 30 * time.Second // and later, when gossip says the same of it still
	confirming   = 64               // nodes without a link that are asked at a time
)

// inquiry is a node that is being asked, or to be asked again.
type inquiry struct {
	about cluster.Meta // what gossip said
	busy  bool
	wait  time.Duration
	next  time.Time
}

// confirm asks the nodes, until ctx ends.
func (n *Node) confirm(ctx context.Context) {
	m := n.members
	var asking sync.WaitGroup
	defer asking.Wait()
	ticker := time.NewTicker(confirmEvery)
	defer ticker.Stop()
	for {
		for _, node := range m.unconfirmed(m.linked(), time.Now()) {
			asking.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, confirmWait)
				defer cancel()
				answer, err := n.Ask(ctx, node.ID, cluster.Command{Do: cluster.DoDescribe})
				is, ok := answer.Description(node.ID)
				m.answered(is, node.Meta, err == nil && ok)
				m.keep(node.ID)
				m.look()
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-m.news:
		case <-ticker.C:
			if m.holding() {
				m.look() // a link may have ended because nobody needed it
			}
		}
	}
}

// unconfirmed are the nodes to be asked now, which counts as done.
func (m *members) unconfirmed(linked map[string]bool, now time.Time) (list []cluster.Node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	busy := 0
	for id, q := range m.inquiries {
		if _, there := m.heard[id]; !there && !q.busy {
			delete(m.inquiries, id)
		}
		if q.busy && !linked[id] {
			busy++
		}
	}
	for id, n := range m.heard { // in no order, so that no crowd of made-up nodes comes first
		if is, ok := m.confirmed[id]; id == m.self.ID || ok && same(&is, &n.Meta) {
			delete(m.inquiries, id)
			continue
		}
		q := m.inquiries[id]
		if q == nil {
			q = &inquiry{about: n.Meta}
			m.inquiries[id] = q
		} else if !same(&q.about, &n.Meta) {
			q.about, q.wait = n.Meta, 0
			if soon := now.Add(confirmEvery); soon.Before(q.next) {
				q.next = soon
			}
		}
		if q.busy || now.Before(q.next) || !linked[id] && busy >= confirming {
			continue
		}
		if !linked[id] {
			busy++
		}
		q.busy = true
		list = append(list, n)
	}
	return list
}

// answered takes note of what a node says of itself, ok when it has said something.
func (m *members) answered(is, asked cluster.Meta, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// Its role was shown by its certificate, under which it was asked: a relay is not made an edge by its own word.
	if ok && is.Roles == asked.Roles {
		m.confirmed[asked.ID] = is
		if at := portalURL(&cluster.Node{Meta: is}); at != "" {
			m.pages.Add(at)
		}
	}
	q := m.inquiries[asked.ID]
	if q == nil {
		return
	}
	q.busy = false
	q.wait = min(max(2*q.wait, confirmEvery), confirmMost)
	q.next = time.Now().Add(q.wait)
}

// keep has gossip let a node in before those that were never confirmed, if it is.
func (m *members) keep(id string) {
	m.mu.RLock()
	confirmed := m.isConfirmed(id)
	m.mu.RUnlock()
	m.telling.Lock()
	defer m.telling.Unlock()
	if confirmed && m.gossip != nil {
		m.gossip.Confirm(id)
	}
}

// same tells that gossip says of a node what it has said itself, but for its load.
func same(is, heard *cluster.Meta) bool {
	return is.Boot == heard.Boot && is.Roles == heard.Roles && is.State == heard.State && is.Region == heard.Region &&
		is.Capacity == heard.Capacity && slices.Equal(is.Addresses, heard.Addresses) && slices.Equal(is.Codecs, heard.Codecs)
}

// believe makes of what gossip says the nodes as they are taken to be. The mu is held.
func (m *members) believe(heard map[string]cluster.Node, linked map[string]bool) map[string]cluster.Node {
	nodes := make(map[string]cluster.Node, len(heard))
	for id, n := range heard {
		if is, ok := m.confirmed[id]; ok {
			load, state := n.Load, n.State
			if n.Meta = is; linked[id] {
				state = is.State
			}
			n.Load, n.State = load, state
		}
		nodes[id] = n
	}
	m.holds = false
	for id, is := range m.confirmed {
		if _, ok := heard[id]; ok {
			continue
		}
		if linked[id] {
			nodes[id], m.holds = cluster.Node{Meta: is, Gossip: m.nodes[id].Gossip}, true
		} else {
			delete(m.confirmed, id)
		}
	}
	return nodes
}

func (m *members) holding() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.holds
}

// isConfirmed tells whether a node has said itself what it is. The mu is held.
func (m *members) isConfirmed(id string) bool {
	_, ok := m.confirmed[id]
	return ok || id == m.self.ID
}
