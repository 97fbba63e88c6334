package node

import (
	"context"
	"time"

	"portico/edge/sfu"
	"portico/shared/metrics"
)

// observe describes the edge's parts on the metrics page.
func (n *Node) observe() {
	n.observePortal()
	n.observeRooms()
	n.observeMedia()
	n.observePort()
	n.observeJobs()
	n.observeCluster()
}

func (n *Node) observePortal() {
	n.metrics.Source([]metrics.Series{
		{Name: "portico_portal_connections", Help: "Open Socket.IO sessions."},
		{Name: "portico_portal_connections_total", Help: "Socket.IO sessions since the start."},
		{Name: "portico_portal_connections_closed_total", Help: "Ended Socket.IO sessions by reason.", Labels: []string{"reason"}},
		{Name: "portico_portal_handshakes_refused_total", Help: "Refused requests to the Socket.IO server by reason.", Labels: []string{"reason"}},
		{Name: "portico_portal_packets_total", Help: "Engine.IO packets by direction.", Labels: []string{"direction"}},
	}, func(emit func(int, float64, ...string)) {
		s := n.sockets.Stats()
		emit(0, float64(s.Connections))
		emit(1, float64(s.Opened))
		for reason, count := range s.Closed {
			emit(2, float64(count), reason)
		}
		for reason, count := range s.Refused {
			emit(3, float64(count), reason)
		}
		emit(4, float64(s.PacketsIn), "in")
		emit(4, float64(s.PacketsOut), "out")
	})
	n.metrics.Source([]metrics.Series{
		{Name: "portico_portal_logins_total", Help: "Logins by result.", Labels: []string{"result"}},
		{Name: "portico_portal_requests_total", Help: "Requests of participants by result.", Labels: []string{"result"}},
	}, func(emit func(int, float64, ...string)) {
		c := n.portal.Counts()
		emit(0, float64(c.Logins), "ok")
		emit(0, float64(c.LoginsRefused), "refused")
		emit(1, float64(c.Requests-c.RequestsRefused), "ok")
		emit(1, float64(c.RequestsRefused), "refused")
	})
}

func (n *Node) observeRooms() {
	n.metrics.Source([]metrics.Series{
		{Name: "portico_rooms", Help: "Active rooms."},
		{Name: "portico_participants", Help: "Participants in them."},
		{Name: "portico_publications", Help: "Publications in them."},
		{Name: "portico_subscriptions", Help: "Subscriptions in them."},
	}, func(emit func(int, float64, ...string)) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		c := n.rooms.Count(ctx)
		emit(0, float64(c.Rooms))
		emit(1, float64(c.Participants))
		emit(2, float64(c.Publications))
		emit(3, float64(c.Subscriptions))
	})
}

func (n *Node) observeMedia() {
	n.metrics.Source([]metrics.Series{
		{Name: "portico_transports", Help: "PeerConnections."},
		{Name: "portico_tracks", Help: "Published tracks, each encoding counting one."},
		{Name: "portico_rtp_packets_total", Help: "RTP packets by direction; out counts each subscriber and retransmissions.", Labels: []string{"direction"}},
		{Name: "portico_rtp_bytes_total", Help: "Bytes of those.", Labels: []string{"direction"}},
		{Name: "portico_rtp_resent_packets_total", Help: "Packets that were sent again because a subscriber asked."},
		{Name: "portico_rtp_requests_total", Help: "What publishers were asked for: packets, or key frames.", Labels: []string{"of"}},
		{Name: "portico_rtp_dropped_packets_total", Help: "Packets that were not forwarded, by reason.", Labels: []string{"reason"}},
	}, func(emit func(int, float64, ...string)) {
		s := n.engine.Stats()
		emit(0, float64(s.Transports))
		emit(1, float64(s.Tracks))
		emit(2, float64(s.PacketsIn), "in")
		emit(2, float64(s.PacketsOut), "out")
		emit(3, float64(s.BytesIn), "in")
		emit(3, float64(s.BytesOut), "out")
		emit(4, float64(s.Resent))
		emit(5, float64(s.PacketsRequested), "packet")
		emit(5, float64(s.KeyFramesRequested), "key_frame")
		emit(6, float64(s.Unrouted), "unrouted")
		emit(6, float64(s.SocketDrops), "socket")
		for i, count := range s.Drops {
			emit(6, float64(count), sfu.Drop(i).String())
		}
	})
}

func (n *Node) observePort() {
	n.metrics.Source([]metrics.Series{
		{Name: "portico_udp_datagrams_total", Help: "Datagrams through the UDP port by direction.", Labels: []string{"direction"}},
		{Name: "portico_udp_messages_total", Help: "Messages that the outgoing ones went in: fewer where the system takes several at once."},
		{Name: "portico_udp_calls_total", Help: "System calls for them by direction.", Labels: []string{"direction"}},
		{Name: "portico_udp_refused_total", Help: "Outgoing datagrams that the system refused."},
		{Name: "portico_udp_unreadable_total", Help: "Errors of reading, such as those that other machines provoke."},
	}, func(emit func(int, float64, ...string)) {
		s := n.port.UDP.Stats()
		emit(0, float64(s.Received), "in")
		emit(0, float64(s.Sent.Datagrams), "out")
		emit(1, float64(s.Sent.Messages))
		emit(2, float64(s.ReceiveCalls), "in")
		emit(2, float64(s.Sent.Calls), "out")
		emit(3, float64(s.Sent.Dropped))
		emit(4, float64(s.Unreadable))
	})
	if n.port.door == nil {
		return
	}
	n.metrics.Source([]metrics.Series{
		{Name: "portico_ice_tcp_connections", Help: "Connections of clients whose media come by TCP."},
		{Name: "portico_ice_tcp_refused_total", Help: "Such connections that were refused, by reason.", Labels: []string{"reason"}},
		{Name: "portico_ice_tcp_dropped_packets_total", Help: "Packets that such clients did not take in time."},
	}, func(emit func(int, float64, ...string)) {
		s := n.port.door.Stats()
		emit(0, float64(s.Open))
		emit(1, float64(s.Refused), "full")
		emit(1, float64(s.Unknown), "nobody's")
		emit(2, float64(s.Dropped))
	})
}

func (n *Node) observeCluster() {
	if n.members == nil {
		return
	}
	n.metrics.Source([]metrics.Series{
		{Name: "portico_cluster_nodes", Help: "Nodes of the cluster, this one included, as gossip tells.", Labels: []string{"role"}},
		{Name: "portico_cluster_load", Help: "How much this edge has to do, from 0 to 1."},
		{Name: "portico_cluster_draining", Help: "1 while this edge gives away what it has."},
		{Name: "portico_cluster_links", Help: "Links to other edges."},
		{Name: "portico_cluster_link_packets_total", Help: "Packets on the links that there are, by direction.", Labels: []string{"direction"}},
		{Name: "portico_cluster_link_dropped_packets_total", Help: "Packets that those links did not take in time."},
		{Name: "portico_cluster_rooms", Help: "Rooms by this edge's part in them.", Labels: []string{"part"}},
		{Name: "portico_cluster_commands_total", Help: "Commands between edges about rooms, by direction.", Labels: []string{"direction"}},
		{Name: "portico_cluster_stale_total", Help: "Commands that were not obeyed because a room had another home."},
	}, func(emit func(int, float64, ...string)) {
		edges := len(n.members.Edges())
		emit(0, float64(edges), "edge")
		emit(0, float64(len(n.members.Nodes())-edges), "relay")
		emit(1, n.load.Value())
		draining := 0.0
		if n.draining.Load() {
			draining = 1
		}
		emit(2, draining)
		links := n.peers.Stats()
		var in, out, dropped uint64
		for _, l := range links {
			in, out, dropped = in+l.Received, out+l.Sent, dropped+l.Dropped
		}
		emit(3, float64(len(links)))
		emit(4, float64(in), "in")
		emit(4, float64(out), "out")
		emit(5, float64(dropped))
		m := n.mesh.Stats()
		emit(6, float64(m.Led), "home")
		emit(6, float64(m.Followed), "follower")
		emit(6, float64(m.Remembered), "anchor")
		emit(7, float64(m.Commands), "out")
		emit(7, float64(m.Served), "in")
		emit(8, float64(m.Stale))
	})
}
