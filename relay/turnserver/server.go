package turnserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	pion "github.com/pion/logging"
	"github.com/pion/turn/v3"
)

// Options are what Listen needs. Zero limits mean the defaults that stand beside them; a negative one means no limit.
type Options struct {
	UDP, TCP, TLS string // addresses to listen on, "0.0.0.0:3478"; "" leaves the listener out
	TLSConfig     *tls.Config
	Realm         string
	// Password gives the password of a username that is valid now. It is called for each request, by several goroutines.
	Password func(username string) (password string, ok bool)

	RelayIP          netip.Addr // the IPv4 address under which peers reach the relayed ports
	MinPort, MaxPort uint16     // range of the relayed ports; both 0 lets the system choose
	Allow            []Allowed  // peers to be relayed to although they are refused by default

	AllocationsPerUser       int   // 20: a browser makes one for each relay address and network interface
	Allocations              int   // 1,000: in all
	PermissionsPerAllocation int   // 100 peer addresses
	ChannelsPerAllocation    int   // 100
	Bitrate                  int64 // bit/s of one allocation in each direction; 50,000,000
	Connections              int   // 2,000: TCP and TLS, in all
	ConnectionsPerAddress    int   // 100: from one IP address (a household or an office behind a NAT has one)
	RequestsPerSecond        int   // 100: of clients without an allocation, from about one IP address

	Log  *slog.Logger
	Pion pion.LoggerFactory // for the library
}

func (o *Options) setDefaults() {
	for _, d := range []struct {
		limit *int
		def   int
	}{{&o.AllocationsPerUser, 20}, {&o.Allocations, 1000}, {&o.PermissionsPerAllocation, 100}, {&o.ChannelsPerAllocation, 100},
		{&o.Connections, 2000}, {&o.ConnectionsPerAddress, 100}, {&o.RequestsPerSecond, 100}} {
		if *d.limit == 0 {
			*d.limit = d.def
		}
		*d.limit = max(*d.limit, 0) // from here on 0 means no limit
	}
	if o.Bitrate == 0 {
		o.Bitrate = 50_000_000
	}
	o.Bitrate = max(o.Bitrate, 0)
}

// check finds mistakes of the program that uses the package; operators' settings are checked by relay/config.
func (o *Options) check() error {
	switch {
	case o.UDP == "" && o.TCP == "" && o.TLS == "":
		return errors.New("turnserver: no address to listen on")
	case o.TLS != "" && o.TLSConfig == nil:
		return errors.New("turnserver: TLS without a certificate")
	case o.Password == nil || o.Realm == "" || o.Log == nil || o.Pion == nil:
		return errors.New("turnserver: Password, Realm, Log and Pion are needed")
	case !o.RelayIP.Is4():
		return errors.New("turnserver: RelayIP must be an IPv4 address")
	case o.MinPort > o.MaxPort || o.MinPort == 0 && o.MaxPort != 0:
		return errors.New("turnserver: the range of relayed ports is empty")
	}
	return nil
}

// Server is a running STUN and TURN server. All methods are safe for concurrent use.
type Server struct {
	opts      Options
	policy    *policy
	bind      netip.Addr // where relayed sockets are bound
	counts    counters
	strangers *strangers
	ownPeer   sync.Once // the hint about peers on this machine is logged once

	udp       *net.UDPConn
	tcp, tls  net.Listener
	listeners sync.WaitGroup // the accept loops
	running   sync.WaitGroup // one for each front
	closing   chan struct{}

	mu      sync.Mutex // guards the fields below; a leaf
	closed  bool
	total   int // allocations
	byUser  map[string]int
	conns   map[net.Conn]netip.Addr
	byAddr  map[netip.Addr]int
	udpSide *front
}

// ListenError says which address could not be listened on.
type ListenError struct {
	What, Addr string // "TURN over TCP", "0.0.0.0:3478"
	Err        error
}

// Error names the address and the system's reason.
func (e *ListenError) Error() string { return e.What + " on " + e.Addr + ": " + e.Err.Error() }

// Unwrap gives the system's reason.
func (e *ListenError) Unwrap() error { return e.Err }

// Listen opens all listeners and starts to serve. It fails with *ListenError when an address cannot be listened on, and leaves
// nothing behind. The caller ends it with Close.
func Listen(o Options) (*Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o.setDefaults()
	s := &Server{
		opts: o, policy: newPolicy(o.Allow, o.RelayIP), bind: netip.IPv4Unspecified(), strangers: newStrangers(o.RequestsPerSecond),
		closing: make(chan struct{}), byUser: map[string]int{}, conns: map[net.Conn]netip.Addr{}, byAddr: map[netip.Addr]int{},
	}
	// Bound to the advertised address where it is one of ours, packets leave from it on a machine with several.
	if probe, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(o.RelayIP, 0))); err == nil {
		_ = probe.Close()
		s.bind = o.RelayIP
	}
	if err := s.listen(); err != nil {
		_ = s.Close(context.Background())
		return nil, err
	}
	return s, nil
}

func (s *Server) listen() error {
	if a := s.opts.UDP; a != "" {
		addr, err := net.ResolveUDPAddr("udp", a)
		if err == nil {
			s.udp, err = net.ListenUDP("udp", addr)
		}
		if err != nil {
			return &ListenError{"TURN over UDP", a, err}
		}
		_ = s.udp.SetReadBuffer(4 << 20) // as much as the system grants
		_ = s.udp.SetWriteBuffer(4 << 20)
	}
	var err error
	if a := s.opts.TCP; a != "" {
		if s.tcp, err = net.Listen("tcp", a); err != nil {
			return &ListenError{"TURN over TCP", a, err}
		}
	}
	if a := s.opts.TLS; a != "" {
		if s.tls, err = net.Listen("tcp", a); err != nil {
			return &ListenError{"TURN over TLS", a, err}
		}
	}
	return s.serve()
}

// serve starts everything; the listeners are open.
func (s *Server) serve() error {
	if s.udp != nil {
		f, err := s.start(newUDPWire(s.udp, &s.counts))
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.udpSide = f
		s.mu.Unlock()
		s.running.Go(f.wait)
	}
	if s.tcp != nil {
		s.listeners.Go(func() { s.accept(s.tcp, nil) })
	}
	if s.tls != nil {
		s.listeners.Go(func() { s.accept(s.tls, s.opts.TLSConfig) })
	}
	return nil
}

// start gives a wire a turn.Server of its own.
func (s *Server) start(w wire) (*front, error) {
	f := newFront(s, w)
	_, err := turn.NewServer(turn.ServerConfig{
		PacketConnConfigs:  []turn.PacketConnConfig{{PacketConn: f, RelayAddressGenerator: f, PermissionHandler: f.permit}},
		LoggerFactory:      s.opts.Pion,
		Realm:              s.opts.Realm,
		AuthHandler:        f.authenticate,
		ChannelBindTimeout: channelLife,
		InboundMTU:         maxMessage + 1,
	})
	if err != nil {
		return nil, fmt.Errorf("turnserver: %w", err)
	}
	return f, nil
}

// accept takes connections until the listener is closed. A system out of descriptors is waited for.
func (s *Server) accept(l net.Listener, tlsConfig *tls.Config) {
	for {
		conn, err := l.Accept()
		if err != nil {
			select {
			case <-s.closing:
				return
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		peer, ok := s.admit(conn)
		if !ok {
			s.counts.refuse(ConnectionQuota)
			_ = conn.Close()
			continue
		}
		s.listeners.Go(func() {
			defer s.leave(conn)
			s.serveConn(conn, peer, tlsConfig)
		})
	}
}

// serveConn serves one connection to its end.
func (s *Server) serveConn(conn net.Conn, peer netip.AddrPort, tlsConfig *tls.Config) {
	if tlsConfig != nil {
		secure := tls.Server(conn, tlsConfig)
		ctx, cancel := context.WithTimeout(context.Background(), streamFrame)
		err := secure.HandshakeContext(ctx)
		cancel()
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				s.counts.refuse(ConnectionTiming)
			} else {
				s.counts.refuse(Malformed)
			}
			return
		}
		conn = secure
	}
	f, err := s.start(newStreamWire(conn, peer, &s.counts))
	if err != nil {
		s.opts.Log.Error("cannot serve turn connection", "err", err)
		return
	}
	f.wait()
}

// admit counts a connection in, or says that it has to go.
func (s *Server) admit(conn net.Conn) (netip.AddrPort, bool) {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	peer := unmapped(tcp.AddrPort())
	a := peer.Addr()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed,
		s.opts.Connections > 0 && len(s.conns) >= s.opts.Connections,
		s.opts.ConnectionsPerAddress > 0 && s.byAddr[a] >= s.opts.ConnectionsPerAddress:
		return peer, false
	}
	s.conns[conn] = a
	s.byAddr[a]++
	return peer, true
}

func (s *Server) leave(conn net.Conn) {
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.conns[conn]
	delete(s.conns, conn)
	if s.byAddr[a]--; s.byAddr[a] <= 0 {
		delete(s.byAddr, a)
	}
}

// reserve counts an allocation in.
func (s *Server) reserve(user string) Reason {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed, s.opts.Allocations > 0 && s.total >= s.opts.Allocations:
		return ServerQuota
	case s.opts.AllocationsPerUser > 0 && s.byUser[user] >= s.opts.AllocationsPerUser:
		return UserQuota
	}
	s.total++
	s.byUser[user]++
	return passes
}

func (s *Server) release(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.byUser[user]--; s.byUser[user] <= 0 {
		delete(s.byUser, user)
	}
}

// judge says whether packets may pass between a relayed port and a peer.
func (s *Server) judge(peer netip.AddrPort) Reason {
	r := s.policy.refuse(peer)
	if r == PeerOwn {
		s.ownPeer.Do(func() {
			s.opts.Log.Warn("refused to relay to this machine; if an edge runs here, list it as an allowed peer with its port", "peer", peer)
		})
	}
	return r
}

// UDPAddr is the address of the UDP listener, TCPAddr and TLSAddr of the others; nil when there is none.
func (s *Server) UDPAddr() net.Addr {
	if s.udp == nil {
		return nil
	}
	return s.udp.LocalAddr()
}

// TCPAddr is described at UDPAddr.
func (s *Server) TCPAddr() net.Addr { return addrOf(s.tcp) }

// TLSAddr is described at UDPAddr.
func (s *Server) TLSAddr() net.Addr { return addrOf(s.tls) }

func addrOf(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

// Stats is a snapshot for metrics.
func (s *Server) Stats() Stats {
	out := s.counts.snapshot()
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Allocations, out.Connections = s.total, len(s.conns)
	return out
}

// Close ends the server in order: no new connections and allocations, then every connection and allocation at once, then it
// waits for all goroutines, or for ctx, whose error it returns. It is safe twice.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	if first {
		close(s.closing)
	}
	conns := make([]net.Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	udpSide := s.udpSide
	s.mu.Unlock()
	for _, l := range []net.Listener{s.tcp, s.tls} {
		if l != nil {
			_ = l.Close()
		}
	}
	switch {
	case udpSide != nil:
		_ = udpSide.Close()
	case s.udp != nil: // Listen has failed before serving
		_ = s.udp.Close()
	}
	for _, c := range conns {
		_ = c.Close()
	}
	done := make(chan struct{})
	go func() {
		s.listeners.Wait()
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
