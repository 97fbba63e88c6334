package rtc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/pion/stun/v4"
	"portico/shared/conference"
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

func newMuxAndPeers(t *testing.T, n int) (*udpMux, []muxPeer) {
	t.Helper()
	listen := func() *net.UDPConn {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	m := newUDPMux(listen(), true)
	t.Cleanup(func() { _ = m.Close() })
	var peers []muxPeer
	for range n {
		p := muxPeer{t, listen(), m.conn.LocalAddr()}
		t.Cleanup(func() { _ = p.Close() })
		peers = append(peers, p)
	}
	return m, peers
}

func (m *udpMux) mustGet(t *testing.T, ufrag string) *muxShare {
	t.Helper()
	c, err := m.GetConn(ufrag, m.conn.LocalAddr())
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
	a, b := m.mustGet(t, "aaaa"), m.mustGet(t, "bbbb")
	peers[0].send([]byte("before its name is known")) // lost
	peers[0].send(binding(t, "nobody:x"))             // lost
	toA, toB := binding(t, "aaaa:x"), binding(t, "bbbb:y")
	peers[0].send(toA)
	peers[1].send(toB)
	expect(t, a, toA, peers[0])
	expect(t, b, toB, peers[1])
	peers[0].send([]byte("media"))
	expect(t, a, []byte("media"), peers[0])
	// Sending to an address does not win it.
	if _, err := b.WriteTo([]byte("hello"), peers[0].LocalAddr()); err != nil {
		t.Fatal(err)
	}
	peers[0].send([]byte("still mine"))
	expect(t, a, []byte("still mine"), peers[0])
	// The client behind the address may change its transport.
	again := binding(t, "bbbb:z")
	peers[0].send(again)
	expect(t, b, again, peers[0])
	peers[0].send([]byte("now for b"))
	expect(t, b, []byte("now for b"), peers[0])
}

func TestMuxSharesAndEnds(t *testing.T) {
	m, peers := newMuxAndPeers(t, 1)
	one, two := m.mustGet(t, "aaaa"), m.mustGet(t, "aaaa")
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
	peers[0].send([]byte("x"))
	expect(t, one, []byte("x"), peers[0])
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if len(m.peers) != 0 || len(m.ufrags[familyIPv4]) != 0 {
		t.Errorf("left: %v, %v", m.peers, m.ufrags)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.GetConn("x", m.conn.LocalAddr()); err == nil {
		t.Error("GetConn after Close")
	}
}

// TestMuxForgetsOldAddresses: a client cannot fill the table with its addresses.
func TestMuxForgetsOldAddresses(t *testing.T) {
	m, _ := newMuxAndPeers(t, 0)
	m.mustGet(t, "aaaa")
	request := binding(t, "aaaa:x")
	for port := range uint16(1000) {
		if m.find(request, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), 1000+port)) == nil {
			t.Fatal("a request finds nothing")
		}
	}
	if len(m.peers) != muxPeers {
		t.Errorf("%d addresses", len(m.peers))
	}
	if m.find([]byte("media"), netip.MustParseAddrPort("192.0.2.1:1999")) == nil {
		t.Error("the newest address is forgotten")
	}
}

// TestNoTheftByCandidate: naming another client's address as one's own takes nothing away from it.
func TestNoTheftByCandidate(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	bob := watch(t, e, "bob", "alice-pub-1")
	mallory := newSource(t, e, "mallory")
	port := alice.wire.LocalAddr().(*net.UDPAddr).Port
	if err := e.Candidate("mallory", "mallory-pub", fmt.Sprintf("candidate:1 1 udp 2130706431 127.0.0.1 %d typ host", port), "0", 0); err != nil {
		t.Fatal(err)
	}
	mallory.publish("more", decls(2, conference.Audio))
	mallory.send(mallory.track(conference.Audio))
	mallory.negotiate() // by now the candidate has been handled
	mallory.next("session ready")
	alice.start()
	r := bob.arrived()
	for range 100 {
		bob.read(r.track)
	}
	alice.quiet()
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
