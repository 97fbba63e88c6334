package node

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/relay/config"
	"portico/relay/worker"
	"portico/shared/token"
)

func TestMain(m *testing.M) {
	worker.Main()
	// The race detector's processes wait a second at their end, which jobs need not.
	_ = os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	goleak.VerifyTestMain(m)
}

const secret = "a secret for this test"

func settings() *config.Settings {
	s := config.Dev(secret, netip.MustParseAddrPort("127.0.0.1:8080"))
	s.TURN.UDP, s.TURN.TCP, s.TURN.TLS, s.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0", "", "127.0.0.1:0"
	return s
}

func start(t *testing.T, cfg *config.Settings) *Node {
	t.Helper()
	n, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

func stop(t *testing.T, n *Node) {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, n *Node, path string) (int, string) {
	t.Helper()
	r, err := http.Get("http://" + n.Addrs().Admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

func TestPages(t *testing.T) {
	n := start(t, settings())
	defer stop(t, n)
	for _, path := range []string{"/livez", "/readyz"} {
		if code, body := get(t, n, path); code != 200 || body != "ok\n" {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	code, body := get(t, n, "/metrics")
	if code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	for _, want := range []string{"portico_turn_allocations 0", `portico_turn_refused_total{reason="peer_loopback"} 0`, `portico_turn_relayed_bytes_total{direction="to_peers"} 0`, `portico_build_info{program="portico-relay"`} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
	n.ready.Store(false)
	if code, _ := get(t, n, "/readyz"); code != 503 {
		t.Errorf("stopping and ready: %d", code)
	}
	if code, _ := get(t, n, "/livez"); code != 200 {
		t.Errorf("stopping is not dead: %d", code)
	}
	n.ready.Store(true)
	if code, _ := get(t, n, "/other"); code != 404 {
		t.Errorf("/other: %d", code)
	}
}

func TestLivezSeesADeadServer(t *testing.T) {
	n := start(t, settings())
	defer stop(t, n)
	if err := n.turn.Load().Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if code, body := get(t, n, "/livez"); code != 503 || !strings.Contains(body, "turn does not answer") {
		t.Fatalf("%d %q", code, body)
	}
}

func TestPasswordsExpire(t *testing.T) {
	check := passwords(secret)
	name, password := token.TURNCredential(secret, "alice", time.Now().Add(time.Minute))
	if got, ok := check(name); !ok || got != password {
		t.Fatalf("%q, %v", got, ok)
	}
	for _, username := range []string{"", "alice", "x:alice", "-1:alice"} {
		if _, ok := check(username); ok {
			t.Errorf("%q is accepted", username)
		}
	}
	name, _ = token.TURNCredential(secret, "alice", time.Now().Add(-time.Second))
	if _, ok := check(name); ok {
		t.Error("an expired one is accepted")
	}
}

func TestTakenPortsAreNamed(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tcp.Close() }()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	for setting, change := range map[string]func(*config.Settings){
		"turn.udp":     func(s *config.Settings) { s.TURN.UDP = udp.LocalAddr().String() },
		"turn.tcp":     func(s *config.Settings) { s.TURN.TCP = tcp.Addr().String() },
		"admin.listen": func(s *config.Settings) { s.Admin.Listen = tcp.Addr().String() },
		"link.listen":  func(s *config.Settings) { s.Link.Listen, s.Identity = udp.LocalAddr().String(), identities(t)[0] },
	} {
		cfg := settings()
		change(cfg)
		n, err := New(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		err = n.Start(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), setting+": 127.0.0.1:") || !strings.Contains(err.Error(), "is taken by another program") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", setting, err)
		}
		stop(t, n)
	}
}

func TestMissingCertificateIsNamed(t *testing.T) {
	cfg := settings()
	cfg.TURN.TLS, cfg.TURN.CertFile, cfg.TURN.KeyFile = "127.0.0.1:0", filepath.Join(t.TempDir(), "cert.pem"), "key.pem"
	_, err := New(cfg, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "turn.cert_file: there is no file") || strings.Contains(err.Error(), "\n") {
		t.Fatalf("%v", err)
	}
	cfg = settings()
	cfg.Dev, cfg.TURN.Secret = false, ""
	if _, err := New(cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.HasPrefix(err.Error(), "turn.secret is empty: make one with") {
		t.Fatalf("%v", err)
	}
}

func TestPublicIP(t *testing.T) {
	if ip := publicIP("8.8.4.4"); ip.String() != "8.8.4.4" {
		t.Errorf("%v", ip)
	}
	if ip := publicIP(""); !ip.Is4() || ip.IsUnspecified() {
		t.Errorf("%v", ip)
	}
}
