package peer

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"portico/shared/udpbatch"
)

// binding is a STUN binding request with a user name.
func binding(t testing.TB, user string) []byte {
	t.Helper()
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewSoftware("x"), stun.NewUsername(user))
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

// muxPeer is a socket that talks to a mux.
type muxPeer struct {
	t *testing.T
	*net.UDPConn
	to net.Addr
}

func (p muxPeer) send(b []byte) {
	p.t.Helper()
	if _, err := p.WriteTo(b, p.to); err != nil {
		p.t.Fatal(err)
	}
}

// newPort opens a Port on loopback.
func newPort(t testing.TB, options PortOptions) *Port {
	t.Helper()
	sockets, err := udpbatch.Listen("127.0.0.1:0", udpbatch.Options{Sockets: 2})
	if err != nil {
		t.Fatal(err)
	}
	if options.Now == nil {
		start := time.Now()
		options.Now = func() int64 { return start.UnixNano() + int64(time.Since(start)) }
	}
	options.Loopback = true
	p, err := NewPort(sockets, options)
	if err != nil {
		t.Fatal(err)
	}
	p.Start()
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func newMuxAndPeers(t *testing.T, n int) (*mux, []muxPeer) {
	t.Helper()
	port := newPort(t, PortOptions{})
	var peers []muxPeer
	for range n {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		p := muxPeer{t, conn, port.LocalAddr()}
		t.Cleanup(func() { _ = p.Close() })
		peers = append(peers, p)
	}
	return port.mux, peers
}

func (m *mux) mustGet(t *testing.T, ufrag string, owner *Conn) *muxShare {
	t.Helper()
	c, err := muxOf{m, owner}.GetConn(ufrag, m.port.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	return c.(*muxShare)
}

func expect(t *testing.T, c *muxShare, want []byte, from muxPeer) {
	t.Helper()
	b := make([]byte, 2000)
	n, address, err := c.ReadFromAddrPort(b)
	if err != nil || string(b[:n]) != string(want) || address != from.LocalAddr().(*net.UDPAddr).AddrPort() {
		t.Fatalf("read %q from %v, %v; want %q from %v", b[:n], address, err, want, from.LocalAddr())
	}
}

func TestMuxRoutesByUserName(t *testing.T) {
	m, peers := newMuxAndPeers(t, 2)
	a, b := m.mustGet(t, "aaaa", new(Conn)), m.mustGet(t, "bbbb", new(Conn))
	peers[0].send([]byte("\x20before its name is known")) // lost
	peers[0].send(binding(t, "nobody:x"))                 // lost
	toA, toB := binding(t, "aaaa:x"), binding(t, "bbbb:y")
	peers[0].send(toA)
	peers[1].send(toB)
	expect(t, a, toA, peers[0])
	expect(t, b, toB, peers[1])
	peers[0].send([]byte("\x20hello"))
	expect(t, a, []byte("\x20hello"), peers[0])
	// Sending to an address does not win it.
	if _, err := b.WriteTo([]byte("hello"), peers[0].LocalAddr()); err != nil {
		t.Fatal(err)
	}
	peers[0].send([]byte("\x20still mine"))
	expect(t, a, []byte("\x20still mine"), peers[0])
	// The client behind the address may change its transport.
	again := binding(t, "bbbb:z")
	peers[0].send(again)
	expect(t, b, again, peers[0])
	peers[0].send([]byte("\x20now for b"))
	expect(t, b, []byte("\x20now for b"), peers[0])
}

// TestMuxHoldsAddressInUse: while one's media come from an address, another's request from there, with a forged source perhaps, does
// not take it away.
func TestMuxHoldsAddressInUse(t *testing.T) {
	m, _ := newMuxAndPeers(t, 0)
	alice, mallory := new(Conn), new(Conn)
	a := m.mustGet(t, "aaaa", alice)
	m.mustGet(t, "bbbb", mallory)
	at := netip.MustParseAddrPort("192.0.2.1:1000")
	now := int64(100 * time.Second)
	if m.find(binding(t, "aaaa:x"), at, now) != a.muxConn || m.mediaOf(at) != alice {
		t.Fatal("the address is not alice's")
	}
	alice.heard.Store(now)
	if m.find(binding(t, "bbbb:x"), at, now+holdTime-1) != nil || m.mediaOf(at) != alice {
		t.Error("the address was taken away")
	}
	if m.find(binding(t, "bbbb:x"), at, now+holdTime) == nil || m.mediaOf(at) != mallory {
		t.Error("the address cannot be used again")
	}
	m.leave(mallory)
	if m.mediaOf(at) != nil || len(m.media) != 0 {
		t.Error("a Conn that has ended keeps its address")
	}
}

func TestMuxSharesAndEnds(t *testing.T) {
	m, peers := newMuxAndPeers(t, 1)
	owner := new(Conn)
	one, two := m.mustGet(t, "aaaa", owner), m.mustGet(t, "aaaa", owner)
	if _, err := (muxOf{m, new(Conn)}).GetConn("aaaa", m.port.LocalAddr()); !errors.Is(err, errUfragInUse) {
		t.Errorf("another's user name: %v", err)
	}
	request := binding(t, "aaaa:x")
	peers[0].send(request)
	expect(t, two, request, peers[0])
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := two.ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
	if _, err := two.WriteTo(nil, peers[0].LocalAddr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}
	peers[0].send([]byte("\x20x"))
	expect(t, one, []byte("\x20x"), peers[0])
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	if len(m.peers) != 0 || len(m.ufrags[familyIPv4]) != 0 {
		t.Errorf("left: %v, %v", m.peers, m.ufrags)
	}
	m.mu.Unlock()
	for range 2 {
		_ = m.port.Close()
	}
	if _, err := (muxOf{m, owner}).GetConn("x", m.port.LocalAddr()); err == nil {
		t.Error("GetConn after Close")
	}
}

// TestMuxForgetsOldAddresses: a client cannot fill the tables with its addresses.
func TestMuxForgetsOldAddresses(t *testing.T) {
	m, _ := newMuxAndPeers(t, 0)
	m.mustGet(t, "aaaa", new(Conn))
	request := binding(t, "aaaa:x")
	for port := range uint16(1000) {
		if m.find(request, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), 1000+port), 1) == nil {
			t.Fatal("a request finds nothing")
		}
	}
	if len(m.peers) != muxPeers || len(m.media) != muxPeers {
		t.Errorf("%d and %d addresses", len(m.peers), len(m.media))
	}
	newest := netip.MustParseAddrPort("192.0.2.1:1999")
	if m.find([]byte("\x20dtls"), newest, 1) == nil || m.mediaOf(newest) == nil {
		t.Error("the newest address is forgotten")
	}
}

func FuzzBindingUser(f *testing.F) {
	f.Add(binding(f, "aaaa:bbbb"))
	f.Add(binding(f, ""))
	f.Add([]byte{0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		user, ok := bindingUser(b)
		m := stun.Message{Raw: b}
		if len(b) == 0 || b[0]&0xc0 != 0 || m.Decode() != nil || m.Type != stun.BindingRequest || len(b) != 20+int(binary.BigEndian.Uint16(b[2:])) {
			return
		}
		var theirs stun.Username
		if err := theirs.GetFrom(&m); (err == nil) != ok || ok && user != theirs.String() {
			t.Errorf("%q, %v; stun has %q, %v", user, ok, theirs, err)
		}
	})
}
