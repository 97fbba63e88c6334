package node

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"portico/edge/clusterapi"
	"portico/shared/cluster"
	"portico/shared/link"
)

// nodeService is the service of peers by which edges pass on what an operator wants. Relays hear it over the links of the jobs.
const nodeService = "node"

// Self implements clusterapi.Cluster.
func (n *Node) Self() string { return n.members.self.ID }

// Nodes implements clusterapi.Cluster.
func (n *Node) Nodes() []cluster.Node { return n.members.Nodes() }

// Ask implements clusterapi.Cluster.
func (n *Node) Ask(ctx context.Context, node string, c cluster.Command) (cluster.Answer, error) {
	if node == n.members.self.ID {
		return cluster.DecodeAnswer(n.obey(ctx, c).Encode())
	}
	is, ok := n.members.Node(node)
	if !ok {
		return cluster.Answer{}, fmt.Errorf("there is no node %s", node)
	}
	var answer []byte
	var err error
	if is.Roles&cluster.Edge != 0 {
		answer, err = n.askEdge(ctx, node, c.Encode())
	} else {
		answer, err = n.jobs.Ask(ctx, node, c.Encode())
	}
	if err != nil {
		return cluster.Answer{}, fmt.Errorf("%s does not answer: %w", node, err)
	}
	return cluster.DecodeAnswer(answer)
}

func (n *Node) askEdge(ctx context.Context, node string, command []byte) ([]byte, error) {
	call, err := n.peers.Open(ctx, node, nodeService, command)
	if err != nil {
		return nil, err
	}
	defer call.Close()
	return call.Receive(ctx)
}

// serveNode takes a command from another edge. Its certificate is what it may do so by.
func (n *Node) serveNode(ctx context.Context, from string, call *link.Call, first []byte) {
	c, err := cluster.DecodeCommand(first)
	answer := cluster.Answer{}
	if err != nil {
		answer.Error = err.Error()
	} else {
		if c.Do != cluster.DoTell && c.Do != cluster.DoKeys && c.Do != cluster.DoDescribe {
			n.log.Info("command of an operator", "edge", from, "command", c.Do)
		}
		answer = n.obey(ctx, c)
	}
	_ = call.Send(answer.Encode()) // who has asked may be gone
}

func (n *Node) obey(ctx context.Context, c cluster.Command) cluster.Answer {
	switch c.Do {
	case cluster.DoTell:
		t := n.tell(ctx)
		t.Fit(maxTold)
		told, err := json.Marshal(t)
		if err != nil {
			return cluster.Answer{Error: err.Error()}
		}
		return cluster.Answer{Told: told}
	case cluster.DoDrain, cluster.DoUndrain:
		n.drain(c.Do == cluster.DoDrain)
		return cluster.Answer{}
	}
	n.members.telling.Lock()
	gossip := n.members.gossip
	n.members.telling.Unlock()
	if gossip == nil {
		return cluster.Answer{Error: "this node is starting or stopping"}
	}
	return gossip.Obey(c)
}

// maxTold bounds what an edge tells of itself: it has to go into one message.
const maxTold = link.MaxMessage - 1<<10

// tell is what this edge knows of itself. The rooms that it could not ask in time are left out, and counted.
func (n *Node) tell(ctx context.Context) clusterapi.Told {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	self := n.members.self.ID
	told := clusterapi.Told{Participants: n.rooms.Count(ctx).Participants, Rooms: []clusterapi.Room{}, Links: []clusterapi.Link{}}
	for _, r := range n.mesh.Rooms(ctx) {
		if r.Leads {
			told.Rooms = append(told.Rooms, clusterapi.Room{
				ID: r.Room, Home: self, Why: r.Why, Epoch: r.Epoch.String(), Anchors: r.Anchors, Followers: r.Followers, Standby: r.Standby,
				Entries: r.Entries,
			})
		}
	}
	if ctx.Err() != nil {
		told.Omitted.Rooms = max(0, n.mesh.Stats().Led-len(told.Rooms))
	}
	for _, s := range n.peers.Stats() {
		l := clusterapi.Link{
			From: self, To: s.Node, InUse: s.InUse, RTT: float64(s.RTT.Microseconds()) / 1000, Lost: s.Lost, Sent: s.Sent, Received: s.Received,
			Dropped: s.Dropped, Calls: s.Calls,
		}
		for id, f := range s.Flows {
			l.Flows = append(l.Flows, clusterapi.Flow{ID: id, Packets: f.Packets, Bytes: f.Bytes})
		}
		told.Links = append(told.Links, l)
	}
	return told
}
