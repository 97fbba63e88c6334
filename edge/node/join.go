package node

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	"portico/edge/peers"
	"portico/edge/restapi"
	"portico/shared/cluster"
	"portico/shared/conference"
	"portico/shared/meshproto"
	"portico/shared/placement"
)

// joinCluster has everything take part that openMesh has made, and tells the others that this edge is there.
func (n *Node) joinCluster() error {
	if n.members == nil {
		return nil
	}
	services := n.mesh.Services()
	services[nodeService], services[meshproto.ServicePull] = n.serveNode, n.cascade.Serve
	if n.conduit != nil {
		services[meshproto.ServiceData] = n.conduit.Serve
	}
	self, c := n.members.self, &n.cfg.Cluster
	n.mesh.View([]placement.Edge{{ID: self.ID, Boot: self.Boot, Region: c.Region, Weight: capacity(c.Capacity)}})
	n.peers.Start(peers.Handlers{Services: services, Packets: n.cascade.Packets, Changed: func(node string, up bool) {
		n.mesh.Changed(node, up)
		n.cascade.Changed(node, up)
		if n.conduit != nil {
			n.conduit.Changed(node, up)
		}
		n.members.look() // links count for more than gossip
	}})
	n.members.relays, n.members.linked = n.jobs.SetRelays, n.peers.Linked
	n.members.changed = func(edges []placement.Edge) {
		n.mesh.View(edges)
		names := make([]string, len(edges))
		for i := range edges {
			names[i] = edges[i].ID
		}
		n.cascade.View(names)
	}
	udp := n.port.UDP.LocalAddr().(*net.UDPAddr).AddrPort()
	if err := n.members.start(places{links: udp, clients: n.host, secure: n.secure, data: n.dataURL()}); err != nil {
		return err
	}
	if err := n.tasks.Go(n.confirm); err != nil {
		return err
	}
	return n.tasks.Go(n.measure)
}

// leaveCluster ends the part in the cluster, from what is told last to who hears it.
func (n *Node) leaveCluster(ctx context.Context) error {
	if n.members == nil {
		return nil
	}
	if n.mesh != nil {
		n.mesh.Close()
		n.cascade.Close()
	}
	if n.conduit != nil {
		n.conduit.Close()
	}
	err := n.members.leave(ctx)
	if n.peers != nil {
		n.peers.Close()
	}
	return err
}

// warnCluster tells the log what is odd about the cluster's settings though it works.
func (n *Node) warnCluster() {
	if n.members == nil {
		return
	}
	if left := time.Until(n.members.id.NotAfter); left < 30*24*time.Hour {
		n.log.Warn("the node's certificate expires soon: issue it again with portico cluster issue -replace, and restart the node",
			"node", n.members.id.Name, "days", strconv.Itoa(int(left.Hours()/24)))
	}
	if !n.cfg.SharedStore() {
		n.log.Warn("services and rooms are in a database of this edge alone, so no room spans edges: " +
			"set store.url to a postgres:// database on all edges of the cluster")
	}
}

// shared tells whether tokens, tickets and rooms of this edge are good on others.
func (n *Node) shared() bool { return n.members != nil && n.cfg.SharedStore() }

// edgeID is what this edge is called in its cluster; empty without one.
func (n *Node) edgeID() string {
	if !n.shared() {
		return ""
	}
	return n.members.self.ID
}

// otherPortals are the edges that clients of this one may go to.
func (n *Node) otherPortals() []string {
	if !n.shared() {
		return nil
	}
	return n.members.portals(n.cfg.Cluster.Region)
}

// portalFor is the portal for a client of that origin who is to join that room: of the cluster's edges the one that placement chooses.
func (n *Node) portalFor(room string, origin conference.Origin) restapi.PortalAddress {
	if !n.shared() {
		return n.portalAddress()
	}
	ctx, cancel := context.WithTimeout(context.Background(), limitTime)
	defer cancel()
	present := n.mesh.Present(ctx, room, n.cfg.Cluster.Region)
	choice, err := placement.ChooseAccess(placement.Access{
		Region: origin.Region, Present: func(id string) bool { return slices.Contains(present, id) },
	}, n.members.Edges(), rand.IntN)
	switch {
	case errors.Is(err, placement.ErrFull), errors.Is(err, placement.ErrNone), choice.ID == n.members.self.ID:
		return n.portalAddress() // which says itself where else to go
	case err != nil:
		return restapi.PortalAddress{}
	}
	is, ok := n.members.Node(choice.ID)
	address := restapi.PortalAddress{Host: is.Address(cluster.ForSecure), Secure: true, WebTransportURL: is.Address(cluster.ForData)}
	if address.Host == "" {
		address.Host, address.Secure = is.Address(cluster.ForClients), false
	}
	if !ok || address.Host == "" {
		return n.portalAddress()
	}
	return address
}
