// Package node builds a relay from its settings, starts its parts in order and stops them in reverse; main and tests use it, and the
// operator's CLI runs it beside an edge.
//
// Its parts at present: the TURN server, the worker that mixes, its membership in the cluster, by which edges find it, and the page for
// operators (/livez, /readyz, /metrics).
package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"portico/shared/cluster"
	shared "portico/shared/config"
	"portico/shared/identity"
	"portico/shared/logging"
	"portico/shared/metrics"
	"portico/shared/task"
	"portico/shared/token"
	"portico/shared/version"

	"portico/relay/config"
	"portico/relay/turnserver"
	"portico/relay/worker"
)

// Node is one relay. Start and Stop are called by one goroutine, each once at most; the rest is safe for concurrent use.
type Node struct {
	cfg      config.Settings
	log      *slog.Logger
	options  turnserver.Options
	identity *identity.Identity // nil: no mixing
	secret   identity.Secret    // nil: no gossip
	tlsName  string             // host that the certificate for TURN over TLS is for

	turn   atomic.Pointer[turnserver.Server]
	worker atomic.Pointer[worker.Worker]
	gossip atomic.Pointer[cluster.Cluster]
	admin  *http.Server
	addrs  Addrs
	tasks  *task.Group
	ready  atomic.Bool

	draining atomic.Bool
}

// Addrs are the addresses listened on, with the port that the system chose where the settings say 0; "" where nothing listens.
type Addrs struct{ UDP, TCP, TLS, Link, Admin string }

// New checks the settings against the machine: it reads the certificate and finds the public address. It starts nothing. Its
// error is one or more lines that say what to do.
func New(cfg *config.Settings, log *slog.Logger) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: *cfg, log: log}
	n.tasks = task.NewGroup(context.Background(), func(e *task.PanicError) {
		log.Error("goroutine panicked", "err", e, "stack", e.Stack)
	})
	var err error
	if n.identity, err = n.who(); err != nil {
		return nil, err
	}
	if n.secret, err = n.secretOf(); err != nil {
		return nil, err
	}
	t, l := cfg.TURN, cfg.Limit
	allow, err := cfg.Allowed()
	if err != nil {
		return nil, err
	}
	n.options = turnserver.Options{
		UDP: t.UDP, TCP: t.TCP, Realm: t.Realm, Password: passwords(turnSecret(t.Secret, n.secret)), RelayIP: publicIP(t.PublicIP),
		MinPort: t.MinPort, MaxPort: t.MaxPort, Allow: allow,
		AllocationsPerUser: noLimit(l.AllocationsPerUser), Allocations: noLimit(l.Allocations),
		PermissionsPerAllocation: noLimit(l.PermissionsPerAllocation), ChannelsPerAllocation: noLimit(l.ChannelsPerAllocation),
		Bitrate: noLimit(l.Bitrate), Connections: noLimit(l.Connections), ConnectionsPerAddress: noLimit(l.ConnectionsPerAddress),
		RequestsPerSecond: noLimit(l.RequestsPerSecond), Log: log, Pion: logging.Pion(log),
	}
	if t.CertFile != "" && t.TLS != "" {
		cert, err := shared.Certificate("turn.cert_file", t.CertFile, "turn.key_file", t.KeyFile)
		if err != nil {
			return nil, err
		}
		n.options.TLS = t.TLS
		if names := cert.Leaf.DNSNames; len(names) > 0 && !strings.Contains(names[0], "*") {
			n.tlsName = names[0]
		}
		n.options.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	return n, nil
}

// noLimit translates the settings' 0, which is no limit, for options where 0 is the default.
func noLimit[T int | int64](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

// passwords gives the password of every user name that has not expired (the scheme is token.TURNCredential's).
func passwords(secret string) func(string) (string, bool) {
	return func(username string) (string, bool) {
		_, expires, ok := token.ParseTURNUsername(username)
		if !ok || !time.Now().Before(expires) {
			return "", false
		}
		return token.TURNPassword(secret, username), true
	}
}

// publicIP is the setting, or the address from which this machine would reach the internet. Nothing is sent.
func publicIP(setting string) netip.Addr {
	if ip, err := netip.ParseAddr(setting); err == nil {
		return ip
	}
	conn, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	defer func() { _ = conn.Close() }()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// Start opens the operators' page, then the TURN server, then the door for edges. When it fails it leaves nothing running, and its error
// is a line that says what to do.
func (n *Node) Start(context.Context) error {
	page, err := n.startAdmin()
	if err != nil {
		return err
	}
	server, err := turnserver.Listen(n.options)
	if err != nil {
		n.stopAdmin(context.Background())
		var le *turnserver.ListenError
		if errors.As(err, &le) {
			return shared.ListenFault(settingOf(le.What), le.Addr, le.Err)
		}
		return err
	}
	n.turn.Store(server)
	door, err := n.startMixing()
	if err != nil {
		_ = server.Close(context.Background())
		n.stopAdmin(context.Background())
		return err
	}
	n.addrs = Addrs{UDP: text(server.UDPAddr()), TCP: text(server.TCPAddr()), TLS: text(server.TLSAddr()), Link: door, Admin: page}
	if err := n.startGossip(); err != nil {
		_ = n.Stop(context.Background())
		return err
	}
	n.ready.Store(true)
	n.log.Info("relay started", "version", version.Number(), "udp", n.addrs.UDP, "tcp", n.addrs.TCP, "tls", n.addrs.TLS,
		"link", n.addrs.Link, "admin", n.addrs.Admin, "public_ip", n.options.RelayIP)
	if class := turnserver.Classify(n.options.RelayIP); class != turnserver.Public && !n.cfg.Dev {
		n.log.Warn("relayed ports are not reachable from everywhere; behind a nat set turn.public_ip", "public_ip", n.options.RelayIP, "class", class)
	}
	return nil
}

// settingOf finds the setting behind a turnserver.ListenError.
func settingOf(what string) string {
	switch what {
	case "TURN over UDP":
		return "turn.udp"
	case "TURN over TCP":
		return "turn.tcp"
	}
	return "turn.tls"
}

func text(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// Addrs tells where the node listens, once Start has returned.
func (n *Node) Addrs() Addrs { return n.addrs }

// Stats is the TURN server's snapshot; zero before Start.
func (n *Node) Stats() turnserver.Stats {
	if s := n.turn.Load(); s != nil {
		return s.Stats()
	}
	return turnserver.Stats{}
}

// Stop ends the node in order: not ready any more, all jobs with their processes, TURN with all allocations, the operators' page, every
// goroutine. It waits for all of it or until ctx ends, whose error it returns. It is safe after a failed Start.
func (n *Node) Stop(ctx context.Context) error {
	n.ready.Store(false)
	var errs []error
	if err := n.farewell(ctx); err != nil {
		errs = append(errs, err)
	}
	if err := n.stopMixing(ctx); err != nil {
		errs = append(errs, fmt.Errorf("jobs: %w", err))
	}
	if s := n.turn.Load(); s != nil {
		if err := s.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("turn server: %w", err))
		}
	}
	n.stopAdmin(ctx)
	n.tasks.Stop()
	if err := n.tasks.Wait(ctx); err != nil {
		errs = append(errs, fmt.Errorf("goroutines: %w", err))
	}
	n.log.Info("relay stopped")
	return errors.Join(errs...)
}

// stopAdmin ends the operators' page, answers under way included.
func (n *Node) stopAdmin(ctx context.Context) {
	if n.admin != nil && n.admin.Shutdown(ctx) != nil {
		_ = n.admin.Close()
	}
}

// startAdmin opens the operators' page and returns its address.
func (n *Node) startAdmin() (string, error) {
	addr := n.cfg.Admin.Listen
	if addr == "" {
		return "", nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", shared.ListenFault("admin.listen", addr, err)
	}
	n.admin = &http.Server{
		Handler:           n.adminHandler(),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	admin := n.admin
	if err := n.tasks.Go(func(context.Context) {
		if err := admin.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.log.Error("operators' page ended", "err", err)
		}
	}); err != nil {
		_ = l.Close()
		return "", err
	}
	return l.Addr().String(), nil
}

// aliveWithin is how long the TURN server may take to answer itself.
const aliveWithin = time.Second

func (n *Node) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), aliveWithin)
		defer cancel()
		s := n.turn.Load()
		if s == nil || !n.ready.Load() { // starting or stopping is not being stuck
			fmt.Fprintln(w, "ok")
			return
		}
		if err := s.Alive(ctx); err != nil {
			http.Error(w, "turn does not answer: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		limit := n.cfg.Limit.Allocations
		switch {
		case !n.ready.Load():
			http.Error(w, "starting or stopping", http.StatusServiceUnavailable)
		case n.draining.Load():
			http.Error(w, "draining", http.StatusServiceUnavailable)
		case limit > 0 && n.Stats().Allocations >= limit:
			http.Error(w, "all allocations are taken", http.StatusServiceUnavailable)
		default:
			fmt.Fprintln(w, "ok")
		}
	})
	mux.Handle("GET /metrics", n.metrics().Handler())
	return mux
}

// metrics describes the TURN server's snapshot.
func (n *Node) metrics() *metrics.Registry {
	reg := metrics.New("portico-relay", version.Number())
	n.describeMixing(reg)
	reg.Source([]metrics.Series{
		{Name: "portico_turn_allocations", Help: "TURN allocations at present."},
		{Name: "portico_turn_allocations_made_total", Help: "TURN allocations made."},
		{Name: "portico_turn_connections", Help: "TCP and TLS connections at present."},
		{Name: "portico_turn_relayed_packets_total", Help: "Packets relayed, to or from peers.", Labels: []string{"direction"}},
		{Name: "portico_turn_relayed_bytes_total", Help: "Payload relayed, to or from peers.", Labels: []string{"direction"}},
		{Name: "portico_turn_refused_total", Help: "Requests, packets and connections refused or dropped, by reason.", Labels: []string{"reason"}},
	}, func(emit func(int, float64, ...string)) {
		s := n.Stats()
		emit(0, float64(s.Allocations))
		emit(1, float64(s.AllocationsTotal))
		emit(2, float64(s.Connections))
		emit(3, float64(s.PacketsToPeers), "to_peers")
		emit(3, float64(s.PacketsFromPeers), "from_peers")
		emit(4, float64(s.BytesToPeers), "to_peers")
		emit(4, float64(s.BytesFromPeers), "from_peers")
		for reason, count := range s.Refused {
			emit(5, float64(count), reason)
		}
	})
	return reg
}
