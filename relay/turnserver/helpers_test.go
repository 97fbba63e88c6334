package turnserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v3"
	"go.uber.org/goleak"

	"portico/shared/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testSecret = "test secret"

// checkPassword is what a relay does with names of the REST scheme.
func checkPassword(username string) (string, bool) {
	_, expires, ok := token.ParseTURNUsername(username)
	if !ok || !time.Now().Before(expires) {
		return "", false
	}
	return token.TURNPassword(testSecret, username), true
}

func quiet() logging.LoggerFactory {
	f := logging.NewDefaultLoggerFactory()
	f.DefaultLogLevel = logging.LogLevelDisabled
	return f
}

// waiting bounds every wait of these tests; nothing is expected to take that long.
const waiting = 10 * time.Second

func startServer(t testing.TB, change func(*Options)) *Server {
	t.Helper()
	o := Options{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", Realm: "portico", Password: checkPassword, RelayIP: netip.MustParseAddr("127.0.0.1"),
		Log: slog.New(slog.DiscardHandler), Pion: quiet()}
	if change != nil {
		change(&o)
	}
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeServer(t, s) })
	return s
}

func closeServer(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waiting)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Fatalf("close: %v", err)
	}
	if n := s.Stats(); n.Allocations != 0 || n.Connections != 0 {
		t.Fatalf("after close: %+v", n)
	}
}

// newPeer is a socket to relay to, and its entry for the allow list.
func newPeer(t testing.TB) (*net.UDPConn, Allowed) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(waiting))
	ap := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return c, Allowed{netip.PrefixFrom(ap.Addr(), 32), ap.Port()}
}

func credentials(user string) (username, password string) {
	return token.TURNCredential(testSecret, user, time.Now().Add(time.Hour))
}

// newClient is a client over the given socket, which it closes in the end.
func newClient(t testing.TB, conn net.PacketConn, server net.Addr, username, password string) *turn.Client {
	t.Helper()
	c, err := turn.NewClient(&turn.ClientConfig{Conn: conn, TURNServerAddr: server.String(), STUNServerAddr: server.String(),
		Username: username, Password: password, Realm: "portico", LoggerFactory: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		_ = conn.Close()
	})
	return c
}

func udpClient(t testing.TB, s *Server, user string) *turn.Client {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	username, password := credentials(user)
	return newClient(t, conn, s.UDPAddr(), username, password)
}

func streamClient(t testing.TB, conn net.Conn, user string) *turn.Client {
	t.Helper()
	username, password := credentials(user)
	return newClient(t, turn.NewSTUNConn(conn), conn.RemoteAddr(), username, password)
}

func allocate(t testing.TB, c *turn.Client) net.PacketConn {
	t.Helper()
	relay, err := c.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = relay.Close() })
	_ = relay.SetDeadline(time.Now().Add(waiting))
	return relay
}

// exchange sends a packet each way between the relay's client and a peer.
func exchange(t testing.TB, relay net.PacketConn, peer *net.UDPConn, text string) {
	t.Helper()
	buf := make([]byte, 2000)
	if _, err := relay.WriteTo([]byte(text), peer.LocalAddr()); err != nil {
		t.Fatalf("to the peer: %v", err)
	}
	n, from, err := peer.ReadFrom(buf)
	if err != nil || string(buf[:n]) != text || from.String() != relay.LocalAddr().String() {
		t.Fatalf("the peer got %q from %v (%v), relayed address %v", buf[:n], from, err, relay.LocalAddr())
	}
	if _, err := peer.WriteTo([]byte("re: "+text), from); err != nil {
		t.Fatal(err)
	}
	n, from, err = relay.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "re: "+text || from.String() != peer.LocalAddr().String() {
		t.Fatalf("the client got %q from %v (%v)", buf[:n], from, err)
	}
}

// waitFor waits until a condition on the statistics holds; the server has no event to wait for.
func waitFor(t testing.TB, s *Server, what string, ok func(Stats) bool) {
	t.Helper()
	deadline := time.After(waiting)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok(s.Stats()) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s did not come: %+v", what, s.Stats())
		}
	}
}

func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// readAll reads until the other side closes, and says whether it did so in time.
func readAll(conn net.Conn) ([]byte, error) {
	_ = conn.SetReadDeadline(time.Now().Add(waiting))
	return io.ReadAll(conn)
}
