// Package node builds an edge from its settings, starts its parts in order and stops them in reverse; main, the operator's CLI
// and tests use it.
//
// Its parts, from the bottom: the store; the media engine (rtc) and the data streams (wt); in a cluster the links to other edges (peers), what
// goes over them (mesh) and gossip; the rooms; the portal and the Socket.IO server before it; the management API; the pages; one HTTP server
// for all of them. The node holds them together and knows no protocol.
package node

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"github.com/google/uuid"

	"portico/edge/cascade"
	"portico/edge/clusterapi"
	"portico/edge/conduit"
	"portico/edge/config"
	"portico/edge/console"
	"portico/edge/jobs"
	"portico/edge/mesh"
	"portico/edge/peers"
	"portico/edge/portal"
	"portico/edge/restapi"
	"portico/edge/room"
	"portico/edge/rtc"
	"portico/edge/sioserver"
	"portico/edge/store"
	"portico/edge/udpdoor"
	"portico/edge/wt"
	"portico/shared/certs"
	"portico/shared/metrics"
	"portico/shared/task"
	"portico/shared/version"
)

// Node is one edge. Start and Stop are called by one goroutine, each once at most; the rest is safe for concurrent use.
type Node struct {
	cfg      config.Settings
	log      *slog.Logger
	port     *Sockets
	host     string        // where clients find the edge, with the port
	secure   bool          // and whether by TLS
	certs    *certs.Source // nil: plain HTTP
	tls      *tls.Config
	scrapers []netip.Prefix

	store   store.Store
	keys    keyring
	udp     *udpdoor.Door // nil: the UDP port is media's alone
	engine  *rtc.Engine
	jobs    *jobs.Jobs   // nil: there are no relays
	data    *wt.Server   // nil: no data streams
	members *members     // nil: no cluster, and nothing of the next three
	peers   *peers.Peers // links to the other edges
	mesh    *mesh.Mesh   // rooms on several edges
	cascade *cascade.Cascade
	conduit *conduit.Conduit // nil: no cluster, or no data streams
	load    *load

	presence *presence
	rooms    *room.Directory
	portal   *portal.Portal
	sockets  *sioserver.Server
	metrics  *metrics.Registry
	http     *http.Server
	tasks    *task.Group
	ready    atomic.Bool

	draining atomic.Bool
	turning  sync.Mutex // one at a time begins or ends draining
}

// New checks the settings against the machine and takes over the sockets. It starts nothing. Its error is one or more lines
// that say what to do.
func New(cfg *config.Settings, sockets *Sockets, log *slog.Logger) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: *cfg, log: log, port: sockets, metrics: metrics.New("portico-edge", version.Number()), load: newLoad()}
	for _, network := range cfg.HTTP.MetricsFrom {
		prefix, err := netip.ParsePrefix(network)
		if err != nil {
			return nil, fmt.Errorf("http.metrics_from: %q is no network", network)
		}
		n.scrapers = append(n.scrapers, prefix)
	}
	n.tasks = task.NewGroup(context.Background(), func(e *task.PanicError) {
		log.Error("goroutine panicked", "error", e, "stack", e.Stack)
	})
	var err error
	if n.host, n.secure, err = cfg.Advertised(sockets.Port(), func() netip.Addr { return sockets.reachable() }); err != nil {
		return nil, err
	}
	if n.members, err = newMembers(cfg, log); err != nil {
		return nil, err
	}
	if files, ok := cfg.Certificate(); ok { // the last step: its source has to be closed
		if n.certs, err = certs.Open(files, log); err != nil {
			return nil, err
		}
		n.tls = n.certs.TLSConfig(tls.VersionTLS12)
		n.tls.NextProtos = []string{"http/1.1"} // WebSockets need it
	}
	n.warn()
	return n, nil
}

// warn tells the log what is odd about the settings though it works.
func (n *Node) warn() {
	for _, line := range n.cfg.Warnings() {
		n.log.Warn(line)
	}
	n.warnCluster()
	if n.certs == nil {
		return
	}
	name, _, err := net.SplitHostPort(n.host)
	if err != nil {
		name = n.host
	}
	if err := n.certs.Leaf().VerifyHostname(name); err != nil {
		n.log.Warn("clients will refuse the certificate: it is not for the host that tokens name; set portal.hostname, or get one that is",
			"host", name, "error", err)
	}
}

// Reload looks at the certificate's files now, without waiting for the next look.
func (n *Node) Reload() {
	if n.certs != nil {
		_ = n.certs.Reload() // tells the log itself
	}
}

// Start opens the store and begins to serve. When it fails it leaves nothing running and the sockets closed; its error is a
// line that says what to do.
func (n *Node) Start(ctx context.Context) error {
	if err := n.build(ctx); err != nil {
		n.stopParts(ctx)
		return err
	}
	_ = n.tasks.Go(func(context.Context) { n.serve() })
	n.ready.Store(true)
	if err := n.joinCluster(); err != nil {
		n.stopParts(ctx)
		return err
	}
	n.log.Info("edge started", "version", version.Number(), "http", n.URL(), "media", n.port.UDP.LocalAddr().String())
	return nil
}

// build makes the parts, from the bottom up.
func (n *Node) build(ctx context.Context) error {
	if err := n.openStore(ctx); err != nil {
		return err
	}
	super, sample, created, err := store.Bootstrap(ctx, n.store)
	if err != nil {
		return err
	}
	if created {
		n.log.Info("services created; `portico keys` shows their keys", "data", n.cfg.StoreDir())
	}
	if err := n.openKeys(ctx); err != nil {
		return err
	}
	n.openDoor()
	if err := n.openJobs(); err != nil {
		return err
	}
	if err := n.openMesh(); err != nil {
		return err
	}
	if err := n.openMedia(); err != nil {
		return err
	}
	n.buildSignalling()
	api := restapi.New(restapi.Options{
		Store: n.store, TokenKeys: n.keys.tokens, SealRecords: n.shared(), Portal: n.portalAddress, PortalFor: n.portalFor, Conferences: conferences{n},
		SuperService: super.ID, Log: n.log,
	})
	var operator http.Handler
	if n.members != nil {
		operator = clusterapi.New(clusterapi.Options{Cluster: n, Services: n.store, SuperService: super.ID, Log: n.log})
	}
	pages := console.Options{Log: n.log}
	if n.cfg.Dev {
		pages.Dev, pages.Token = true, demoTokens(n.store, sample.ID, n.keys.tokens, n.portalAddress)
	}
	n.observe()
	n.http = &http.Server{
		Handler: n.routes(api, operator, console.New(pages)), TLSConfig: n.tls,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	return nil
}

func (n *Node) buildSignalling() {
	p := n.cfg.Portal
	n.rooms = room.NewDirectory(room.Options{
		Config: n.roomConfig, Media: n.sessions(), Selectors: n.selectors(), Mixers: n.mixers(), NewID: newSessionID,
		Cluster: n.cluster(), Region: n.cfg.Cluster.Region, Quality: n.quality, Log: n.log, Limits: room.Limits{Participants: n.cfg.Limits.RoomParticipants, Sessions: n.cfg.Limits.ParticipantSessions, Pictures: n.cfg.Limits.ParticipantPictures},
	})
	n.portal = portal.New(portal.Options{
		Rooms: n.rooms, Signaling: media{n.engine}, Admit: portal.AdmitByKeys(n.keys.tokens, n.store, time.Now),
		TicketKeys: n.keys.tickets, Edge: n.edgeID(), Edges: n.otherPortals, Full: n.full, TicketLifetime: p.TicketLifetime, ReconnectionTimeout: p.ReconnectTime,
		BufferTime: p.PingInterval + p.PingTimeout + time.Second, LoginTimeout: p.LoginTimeout,
		ReloginAck: portal.ReloginAck(p.ReloginAck), ICEServers: n.iceServers, Data: n.dataStreams(), Log: n.log,
	})
	n.sockets = sioserver.New(sioserver.Options{
		PingInterval: p.PingInterval, PingTimeout: p.PingTimeout, MaxPayload: p.MaxPayload, MaxConnections: p.MaxConnections,
		MaxQueue: sioserver.Queue{Packets: n.cfg.Limits.QueuePackets, Bytes: n.cfg.Limits.QueueBytes},
		Origins:  p.CORS, Allow: n.ourPage, Log: n.log,
		Accept: func(s *sioserver.Socket) sioserver.Handler { return n.portal.Accept(s) },
	})
}

// newSessionID makes the id of a session: 32 lower-case hexadecimal digits (portal protocol 9.3).
func newSessionID() string {
	id := uuid.New()
	return hex.EncodeToString(id[:])
}

// serve runs the HTTP server until Stop.
func (n *Node) serve() {
	// Beside its socket, a client may have a poll, a page and an API call open.
	l := netutil.LimitListener(n.port.web(), 2*n.cfg.Portal.MaxConnections+100)
	err := error(nil)
	if n.tls != nil {
		err = n.http.ServeTLS(l, "", "")
	} else {
		err = n.http.Serve(l)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		n.log.Error("http server ended", "error", err)
	}
}

// Stop ends the edge in order. In a cluster it gives away what it has first. It takes nothing new, tells every participant, lets what is queued for them leave, and closes
// rooms, media, HTTP and store. It returns when all goroutines have ended; ctx bounds the waiting for clients.
func (n *Node) Stop(ctx context.Context) error {
	n.ready.Store(false)
	n.log.Info("edge stopping")
	n.handOver(ctx)
	err := n.stopParts(ctx)
	n.log.Info("edge stopped")
	return err
}

// farewell is how long a stopping edge waits for clients to take what is queued for them: a client that is there polls, or
// reads its WebSocket, at once.
const farewell = 3 * time.Second

// shutSockets ends the clients' connections. That one did not take its farewell is no failure.
func (n *Node) shutSockets(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	err := n.sockets.Shutdown(ctx)
	if errors.Is(err, sioserver.ErrIncomplete) {
		return err
	}
	return nil
}

// stopParts stops what was built, from the top down.
func (n *Node) stopParts(ctx context.Context) error {
	var errs []error
	if n.portal != nil {
		n.portal.Drain()
		errs = append(errs, n.shutSockets(ctx))
		n.portal.Close()
		n.rooms.Close()
	}
	errs = append(errs, n.leaveCluster(ctx))
	if n.http != nil {
		errs = append(errs, n.http.Shutdown(ctx))
		_ = n.http.Close()
	}
	n.tasks.Close()
	if n.data != nil {
		errs = append(errs, n.data.Close())
	}
	if n.jobs != nil { // it takes from the engine
		n.jobs.Close()
	}
	if n.engine != nil {
		errs = append(errs, n.engine.Close())
	}
	n.port.Close()
	if n.certs != nil {
		n.certs.Close()
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	return errors.Join(errs...)
}
