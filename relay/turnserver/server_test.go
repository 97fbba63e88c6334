package turnserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/shared/token"
)

func TestBinding(t *testing.T) {
	s := startServer(t, nil)
	c := udpClient(t, s, "alice")
	addr, err := c.SendBindingRequest()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(addr.String(), "127.0.0.1:") {
		t.Fatalf("mapped address %v", addr)
	}
}

func TestRelayOverUDP(t *testing.T) {
	peer, allow := newPeer(t)
	s := startServer(t, func(o *Options) { o.Allow = []Allowed{allow} })
	relay := allocate(t, udpClient(t, s, "alice"))
	for i := range 20 { // the client goes over from Send indications to a channel by itself
		exchange(t, relay, peer, fmt.Sprint("packet ", i))
	}
	waitFor(t, s, "the counts", func(n Stats) bool {
		return n.Allocations == 1 && n.AllocationsTotal == 1 && n.PacketsToPeers == 20 && n.PacketsFromPeers == 20 && n.BytesFromPeers == n.BytesToPeers+80
	})
	if err := relay.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, s, "the end of the allocation", func(n Stats) bool { return n.Allocations == 0 })
}

func TestRelayOverTCPAndTLS(t *testing.T) {
	peer, allow := newPeer(t)
	cert := certificate(t)
	s := startServer(t, func(o *Options) {
		o.UDP, o.TLS = "", "127.0.0.1:0"
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
		o.Allow = []Allowed{allow}
	})
	plain, err := net.Dial("tcp", s.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	secure, err := tls.Dial("tcp", s.TLSAddr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{plain, secure} {
		relay := allocate(t, streamClient(t, conn, "alice"))
		for i := range 10 { // sizes that need padding, too
			exchange(t, relay, peer, strings.Repeat("x", 500+i))
		}
	}
	if n := s.Stats(); n.Connections != 2 || n.Allocations != 2 {
		t.Fatalf("%+v", n)
	}
	// A connection that goes takes its allocation with it.
	_ = plain.Close()
	waitFor(t, s, "the end of the allocation", func(n Stats) bool { return n.Allocations == 1 && n.Connections == 1 })
}

func TestPortRange(t *testing.T) {
	probe, _ := newPeer(t)
	port := probe.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	_ = probe.Close()
	s := startServer(t, func(o *Options) { o.MinPort, o.MaxPort = port, port })
	relay := allocate(t, udpClient(t, s, "alice"))
	if got := relay.LocalAddr().(*net.UDPAddr).Port; got != int(port) {
		t.Fatalf("relayed port %d, want %d", got, port)
	}
	if _, err := udpClient(t, s, "bob").Allocate(); err == nil || !strings.Contains(err.Error(), "508") {
		t.Fatalf("the range is used up: %v", err)
	}
	if s.Stats().Refused["no_port"] != 1 {
		t.Fatalf("%+v", s.Stats())
	}
}

func TestRefusedPeers(t *testing.T) {
	s := startServer(t, nil)
	c := udpClient(t, s, "alice")
	relay := allocate(t, c)
	for text, reason := range map[string]string{
		"0.0.0.0": "peer_unspecified", "127.0.0.1": "peer_loopback", "10.0.0.1": "peer_private", "172.16.0.1": "peer_private",
		"192.168.0.1": "peer_private", "100.64.0.1": "peer_private", "169.254.169.254": "peer_link_local", "224.0.0.1": "peer_multicast",
		"255.255.255.255": "peer_broadcast", "203.0.113.1": "peer_documentation", "240.0.0.1": "peer_reserved", "198.18.0.1": "peer_reserved",
		"::": "peer_unspecified", "::1": "peer_loopback", "fd00::1": "peer_private", "fe80::1": "peer_link_local", "ff02::1": "peer_multicast",
		"64:ff9b::127.0.0.1": "peer_translated", "64:ff9b:1::10.0.0.1": "peer_translated", "2002:7f00:1::1": "peer_translated",
		"2001::1": "peer_translated", "2606:4700::5efe:10.0.0.1": "peer_translated", "2606:4700::1": "peer_family",
	} {
		before := s.Stats().Refused[reason]
		addr := &net.UDPAddr{IP: net.ParseIP(text), Port: 9}
		if err := c.CreatePermission(addr); err == nil {
			t.Errorf("%s: a permission was granted", text)
		}
		if after := s.Stats().Refused[reason]; after != before+1 {
			t.Errorf("%s: %d refusals for %s, had %d", text, after, reason, before)
		}
		// The client asks for the permission again before it sends.
		if _, err := relay.WriteTo([]byte("x"), addr); err == nil {
			t.Errorf("%s: sent", text)
		}
	}
	if n := s.Stats(); n.PacketsToPeers != 0 {
		t.Fatalf("%+v", n)
	}
	// The same addresses in IPv4-mapped form.
	for _, text := range []string{"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"} {
		if s.policy.refuseIP(netip.MustParseAddr(text)) == passes {
			t.Errorf("%s passes", text)
		}
	}
	if err := c.CreatePermission(&net.UDPAddr{IP: net.IPv4(93, 184, 216, 34), Port: 9}); err != nil {
		t.Errorf("a public peer: %v", err)
	}
}

// A permission is for an address; the allow list may be for one port of it. Whatever slips through is dropped packet by packet.
func TestEveryPacketIsJudged(t *testing.T) {
	good, allow := newPeer(t)
	bad, _ := newPeer(t)
	s := startServer(t, func(o *Options) { o.Allow = []Allowed{allow} })
	c := udpClient(t, s, "alice")
	relay := allocate(t, c)
	exchange(t, relay, good, "first")
	if _, err := relay.WriteTo([]byte("to the wrong port"), bad.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if _, err := bad.WriteTo([]byte("from the wrong port"), relay.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	// Packets behind them arrive in order, and are the next that either side gets.
	exchange(t, relay, good, "second")
	waitFor(t, s, "both refusals", func(n Stats) bool { return n.Refused["peer_loopback"] == 2 })
	_ = bad.SetReadDeadline(time.Now())
	if n, _, err := bad.ReadFrom(make([]byte, 100)); err == nil {
		t.Fatalf("%d bytes reached a port that is not allowed", n)
	}
	waitFor(t, s, "the counts", func(n Stats) bool { return n.PacketsToPeers == 2 && n.PacketsFromPeers == 2 })
}

func TestOwnMachine(t *testing.T) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(addrs, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.To4() != nil
	})
	if i < 0 {
		t.Skip("this machine has no IPv4 address")
	}
	ip, _ := netip.AddrFromSlice(addrs[i].(*net.IPNet).IP.To4())
	if p := newPolicy(nil, netip.MustParseAddr("8.8.4.4")); !p.own[ip] {
		t.Fatalf("%v is this machine's and not known as such", ip)
	}
}

func TestCredentials(t *testing.T) {
	s := startServer(t, nil)
	expired, expiredPassword := token.TURNCredential(testSecret, "alice", time.Now().Add(-time.Second))
	other, otherPassword := token.TURNCredential("other secret", "alice", time.Now().Add(time.Hour))
	for name, c := range map[string]struct{ username, password, reason string }{
		"expired":     {expired, expiredPassword, "credentials"},
		"no expiry":   {"alice", "x", "credentials"},
		"no user":     {"", "", "credentials"},
		"wrong":       {other, otherPassword, "bad_request"},
		"no password": {other, "", "bad_request"},
	} {
		before := s.Stats().Refused[c.reason]
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newClient(t, conn, s.UDPAddr(), c.username, c.password).Allocate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if n := s.Stats(); n.Allocations != 0 || n.Refused[c.reason] != before+1 {
			t.Errorf("%s: %+v", name, n)
		}
	}
}

func TestQuotas(t *testing.T) {
	s := startServer(t, func(o *Options) { o.AllocationsPerUser, o.Allocations = 2, 3 })
	first := allocate(t, udpClient(t, s, "alice"))
	allocate(t, udpClient(t, s, "alice"))
	if _, err := udpClient(t, s, "alice").Allocate(); err == nil || !strings.Contains(err.Error(), "486") {
		t.Fatalf("a third allocation of one user: %v", err)
	}
	allocate(t, udpClient(t, s, "bob"))
	if _, err := udpClient(t, s, "carol").Allocate(); err == nil || !strings.Contains(err.Error(), "508") {
		t.Fatalf("a fourth allocation: %v", err)
	}
	n := s.Stats()
	if n.Refused["user_quota"] != 1 || n.Refused["server_quota"] != 1 || n.Allocations != 3 {
		t.Fatalf("%+v", n)
	}
	_ = first.Close()
	waitFor(t, s, "the end of one allocation", func(n Stats) bool { return n.Allocations == 2 })
	allocate(t, udpClient(t, s, "alice"))
}

func TestPermissionQuota(t *testing.T) {
	s := startServer(t, func(o *Options) { o.PermissionsPerAllocation = 3 })
	c := udpClient(t, s, "alice")
	allocate(t, c)
	for i := range 5 {
		err := c.CreatePermission(&net.UDPAddr{IP: net.IPv4(93, 184, 216, byte(i)), Port: 9})
		if (err == nil) != (i < 3) {
			t.Fatalf("permission %d: %v", i, err)
		}
	}
	if err := c.CreatePermission(&net.UDPAddr{IP: net.IPv4(93, 184, 216, 1), Port: 10}); err != nil {
		t.Fatalf("renewing one of them: %v", err)
	}
	if n := s.Stats(); n.Refused["permission_quota"] != 2 {
		t.Fatalf("%+v", n)
	}
}

func TestRoomForgets(t *testing.T) {
	now := time.Now()
	table := map[int]time.Time{1: now.Add(-time.Second), 2: now.Add(time.Second)}
	if !room(table, 3, 2, now) || len(table) != 1 {
		t.Fatalf("what has ended still counts: %v", table)
	}
	if room(table, 3, 1, now) || !room(table, 2, 1, now) || !room(table, 3, 0, now) {
		t.Fatal("the limit is not kept")
	}
}

func TestBitrate(t *testing.T) {
	peer, allow := newPeer(t)
	s := startServer(t, func(o *Options) { o.Allow, o.Bitrate = []Allowed{allow}, 8 }) // one byte a second after the burst of 64 KiB
	relay := allocate(t, udpClient(t, s, "alice"))
	exchange(t, relay, peer, "a small one passes")
	packet := make([]byte, 1000)
	for range 100 {
		if _, err := relay.WriteTo(packet, peer.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, s, "drops", func(n Stats) bool { return n.PacketsToPeers+n.Refused["bit_rate"] == 101 })
	if n := s.Stats(); n.PacketsToPeers != 66 {
		t.Fatalf("%d packets passed, want the first and 65 of 1,000 bytes", n.PacketsToPeers)
	}
}

func TestPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	_, err = Listen(Options{UDP: "127.0.0.1:0", TCP: taken.Addr().String(), Realm: "r", Password: checkPassword,
		RelayIP: netip.MustParseAddr("127.0.0.1"), Log: startServer(t, nil).opts.Log, Pion: quiet()})
	var le *ListenError
	if !errors.As(err, &le) || le.What != "TURN over TCP" || le.Addr != taken.Addr().String() {
		t.Fatalf("%v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := startServer(t, nil).opts
	for name, change := range map[string]func(*Options){
		"no listener":  func(o *Options) { o.UDP, o.TCP = "", "" },
		"no cert":      func(o *Options) { o.TLS = "127.0.0.1:0" },
		"no password":  func(o *Options) { o.Password = nil },
		"IPv6 relay":   func(o *Options) { o.RelayIP = netip.MustParseAddr("::1") },
		"ports":        func(o *Options) { o.MinPort, o.MaxPort = 2, 1 },
		"half a range": func(o *Options) { o.MaxPort = 1 },
	} {
		o := good
		change(&o)
		if s, err := Listen(o); err == nil {
			closeServer(t, s)
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestCloseUnderLoad(t *testing.T) {
	peer, allow := newPeer(t)
	s := startServer(t, func(o *Options) { o.Allow = []Allowed{allow} })
	var relays []net.PacketConn
	for i := range 6 {
		c := udpClient(t, s, "alice")
		if i%2 == 1 {
			conn, err := net.Dial("tcp", s.TCPAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			c = streamClient(t, conn, "bob")
		}
		relays = append(relays, allocate(t, c))
		exchange(t, relays[i], peer, "x")
	}
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for _, relay := range relays {
		senders.Go(func() {
			packet := make([]byte, 1000)
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := relay.WriteTo(packet, peer.LocalAddr()); err != nil {
					return // over TCP: the server has closed
				}
				_, _ = peer.WriteTo(packet, relay.LocalAddr())
			}
		})
	}
	before := s.Stats()
	waitFor(t, s, "traffic", func(n Stats) bool {
		return n.PacketsToPeers > before.PacketsToPeers+100 && n.PacketsFromPeers > before.PacketsFromPeers+100
	})
	closeServer(t, s)
	closeServer(t, s)
	close(stop)
	senders.Wait()
}

func TestCloseKeepsToItsContext(t *testing.T) {
	s := startServer(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.running.Add(1) // something that does not end
	if err := s.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	s.running.Done()
}

func TestAlive(t *testing.T) {
	for _, change := range []func(*Options){nil, func(o *Options) { o.UDP = "" }, func(o *Options) { o.UDP = "0.0.0.0:0" }} {
		s := startServer(t, change)
		ctx, cancel := context.WithTimeout(t.Context(), waiting)
		if err := s.Alive(ctx); err != nil {
			t.Errorf("%v", err)
		}
		closeServer(t, s)
		if err := s.Alive(ctx); err == nil {
			t.Error("a closed server is alive")
		}
		cancel()
	}
}
