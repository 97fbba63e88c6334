package node

import (
	"encoding/base64"
	"errors"
	"net"
	"time"

	"portico/edge/cascade"
	"portico/edge/conduit"
	"portico/edge/config"
	"portico/edge/peer"
	"portico/edge/portal"
	"portico/edge/room"
	"portico/edge/rtc"
	"portico/edge/udpdoor"
	"portico/edge/wt"
	"portico/shared/metrics"
	"portico/shared/portalproto"
)

// openDoor shares out the UDP port, where it is not media's alone.
func (n *Node) openDoor() {
	if n.cfg.DataStreams() || n.members != nil {
		n.udp = udpdoor.Over(n.port.UDP)
	}
}

// openMedia starts the engines on the UDP port: that of media, and that of data streams, which shares the port with it.
func (n *Node) openMedia() (err error) {
	sockets := peer.Sockets(n.port.UDP)
	if n.udp != nil {
		sockets = n.udp
	}
	n.engine, err = rtc.New(rtc.Config{
		Converter: n.converter(), Sockets: sockets, TCP: n.port.door, Plain: n.cfg.Media.Path == config.PathPlain,
		PublicIPs: n.cfg.HTTP.PublicIPs, AllowLoopback: n.cfg.Dev, Log: n.log,
		// A participant who is away keeps its place for that long, and so it keeps its media.
		ICEFailed: n.cfg.Portal.ReconnectTime,
	})
	if err != nil || !n.cfg.DataStreams() {
		return err
	}
	c := wt.Config{
		Conn: n.udp.QUIC(), Key: n.keys.tokens().Current, Origins: n.cfg.Portal.CORS, Allow: n.ourPage, Hosts: []string{n.host},
		MaxConnections: n.cfg.Portal.MaxConnections, MaxQueue: n.cfg.WebTransport.QueueBytes, Log: n.log,
	}
	if n.peers != nil {
		c.Linger = dataLinger
	}
	// Browsers know the authority of a public certificate, but not the one that -tls of the operator's CLI makes.
	if n.tls != nil && !n.cfg.WebTransport.OwnCertificate && !n.cfg.Dev {
		c.Certificate = n.tls.GetCertificate
	}
	if n.data, err = wt.New(c); err != nil {
		return err
	}
	if n.peers != nil {
		n.conduit = conduit.New(conduit.Options{Links: n.peers, Data: n.data, Log: n.log})
	}
	n.observeData()
	return nil
}

// dataLinger is how long subscriptions outlive a publisher's connection, so that they go on if it turns out to be on another edge: longer
// than rooms wait for the word of that.
const dataLinger = 5 * time.Second

// dataURL is where tokens send clients for data streams; empty when there are none. A browser takes localhost for the IPv6 address,
// so that name must not stand for a socket of IPv4.
func (n *Node) dataURL() string {
	if n.data == nil {
		return ""
	}
	at := n.port.UDP.LocalAddr().(*net.UDPAddr).AddrPort()
	host := n.host
	if name, _, err := net.SplitHostPort(host); err == nil && name == "localhost" && at.Addr().Unmap().Is4() {
		host = "127.0.0.1"
	}
	return n.cfg.DataURL(host, int(at.Port()))
}

// sessions is the media layer as the rooms see it: media, and data streams beside it.
type sessions struct {
	media
	data    *wt.Server       // nil: there are none
	cascade *cascade.Cascade // nil: there are no other edges
	conduit *conduit.Conduit // nil: there are none, or no data streams
}

func (n *Node) sessions() room.Media { return sessions{media{n.engine}, n.data, n.cascade, n.conduit} }

// Remote and RemoteEnded implement room.Media.
func (s sessions) Remote(stream room.RemoteStream) {
	switch {
	case stream.Data && s.conduit != nil:
		s.conduit.Remote(stream.Room, stream.Stream, stream.Edge)
	case !stream.Data && s.cascade != nil:
		s.cascade.Remote(stream)
	}
}

func (s sessions) RemoteEnded(stream string) {
	if s.cascade != nil {
		s.cascade.RemoteEnded(stream)
	}
	if s.conduit != nil {
		s.conduit.RemoteEnded(stream)
	}
}

func (s sessions) Publish(p room.MediaPublication) error {
	if !p.Data {
		return s.media.Publish(p)
	}
	if s.data == nil {
		return portalproto.NoTransport(p.Transport)
	}
	return dataRefusal(s.data.Publish(wt.Spec{
		Participant: p.Participant, Transport: p.Transport, Session: p.Session, Resumed: p.Resumed, Events: p.Events,
	}), p.Transport, portalproto.ErrBadPublication)
}

func (s sessions) Subscribe(sub room.MediaSubscription) error {
	if sub.Data == "" {
		return s.media.Subscribe(sub)
	}
	if s.data == nil {
		return portalproto.NoTransport(sub.Transport)
	}
	return dataRefusal(s.data.Subscribe(wt.Spec{
		Participant: sub.Participant, Transport: sub.Transport, Session: sub.Session, From: sub.Data, Events: sub.Events,
	}), sub.Transport, portalproto.ErrBadSubscription)
}

func (s sessions) Stop(session string) {
	s.media.Stop(session)
	if s.data != nil {
		s.data.Stop(session)
	}
}

func (s sessions) CloseParticipant(participant string) {
	s.media.CloseParticipant(participant)
	if s.data != nil {
		s.data.CloseParticipant(participant)
	}
}

// dataRefusal is the protocol's word for an error of the data streams; bad is the one for what cannot be.
func dataRefusal(err error, transport string, bad *portalproto.Error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, wt.ErrNoTransport):
		return portalproto.NoTransport(transport)
	case errors.Is(err, wt.ErrNoSource):
		return portalproto.ErrSourceReleased
	case errors.Is(err, wt.ErrTooMany):
		return portalproto.ErrTooManySessions
	}
	return bad
}

// grants gives the portal's clients their transports for data.
type grants struct {
	data *wt.Server
	url  string
}

func (g grants) Readmit(room, participant string) portal.DataGrant {
	g.data.Lose(participant)
	return g.Admit(room, participant)
}

func (g grants) Admit(room, participant string) portal.DataGrant {
	a := g.data.Admit(room, participant)
	if a.Token == "" {
		return portal.DataGrant{}
	}
	grant := portal.DataGrant{URL: g.url, Token: a.Token, Transport: a.Transport}
	for _, h := range g.data.Hashes() {
		grant.Hashes = append(grant.Hashes, base64.StdEncoding.EncodeToString(h))
	}
	return grant
}

func (g grants) Revoke(participant string) { g.data.CloseParticipant(participant) }

// dataStreams is what the portal gets: nothing when there are none.
func (n *Node) dataStreams() portal.DataStreams {
	if n.data == nil {
		return nil
	}
	return grants{n.data, n.dataURL()}
}

func (n *Node) observeData() {
	n.metrics.Source([]metrics.Series{
		{Name: "portico_data_connections", Help: "WebTransport connections, also those without a token yet."},
		{Name: "portico_data_sessions", Help: "Publications and subscriptions of data.", Labels: []string{"kind"}},
		{Name: "portico_data_queued_bytes", Help: "Data that waits for subscribers."},
		{Name: "portico_data_admitted_total", Help: "WebTransport connections that showed a valid token."},
		{Name: "portico_data_refused_total", Help: "WebTransport connections that were refused, by reason.", Labels: []string{"reason"}},
		{Name: "portico_data_bytes_total", Help: "Data by direction; out counts each subscriber.", Labels: []string{"direction"}},
		{Name: "portico_data_slow_total", Help: "Subscriptions, and what other edges get, ended because they did not keep up."},
		{Name: "portico_data_pulls", Help: "Publications of data that come from other edges, or that others get from here.", Labels: []string{"direction"}},
		{Name: "portico_data_link_bytes_total", Help: "Data between edges, one copy for each, by direction.", Labels: []string{"direction"}},
		{Name: "portico_udp_dropped_datagrams_total", Help: "Datagrams that were not taken from the UDP port, by reason.", Labels: []string{"reason"}},
	}, func(emit func(int, float64, ...string)) {
		s, d := n.data.Stats(), n.udp.Stats()
		emit(0, float64(s.Connections))
		emit(1, float64(s.Publications), "publication")
		emit(1, float64(s.Subscriptions), "subscription")
		emit(2, float64(s.Queued))
		emit(3, float64(s.Admitted))
		emit(4, float64(s.RefusedFull), "full")
		emit(4, float64(s.RefusedOrigin), "origin")
		emit(4, float64(s.RefusedToken), "token")
		emit(4, float64(s.TimedOut), "timeout")
		emit(5, float64(s.BytesIn), "in")
		emit(5, float64(s.BytesOut), "out")
		emit(6, float64(s.Slow))
		if n.conduit != nil {
			l := n.conduit.Stats()
			emit(7, float64(l.Pulling), "in")
			emit(7, float64(l.Serving), "out")
			emit(8, float64(l.BytesIn), "in")
			emit(8, float64(l.BytesOut), "out")
		}
		emit(9, float64(d.Unknown), "unknown")
		emit(9, float64(d.QUICDropped), "quic_queue")
	})
}
