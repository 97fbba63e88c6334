package node_test

import (
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"portico/edge/config"
	"portico/edge/node"
	"portico/shared/identity"
	"portico/shared/link"
)

// TestRelays: an edge looks for its relays from its start on, and says on its page whether they are there.
func TestRelays(t *testing.T) {
	ids, err := identity.Ephemeral(identity.Edge, identity.Relay)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	relay, err := link.Listen(conn, ids[1], link.Options{Roles: []string{identity.Edge}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Close)
	url, stop := started(t, func(s *config.Settings) {
		s.Relay.Nodes, s.Identity = []string{relay.Addr().String()}, ids[0]
	})
	l, err := relay.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		_, metrics := get(t, url+"/metrics")
		if strings.Contains(metrics, `portico_relays{state="connected"} 1`) && strings.Contains(metrics, `portico_relays{state="named"} 1`) &&
			strings.Contains(metrics, `portico_jobs{kind="mix"} 0`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(metrics)
		}
	}
	stop()
	<-l.Done()
}

// TestRelaysNeedAnEdge: who is no edge of the cluster does not start as one.
func TestRelaysNeedAnEdge(t *testing.T) {
	ids, err := identity.Ephemeral(identity.Relay)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		id    *identity.Identity
		files identity.Files
		want  string
	}{
		"a relay's identity": {id: ids[0], want: "role is relay"},
		"no such files":      {files: identity.Files{CA: "nothing", Cert: "nothing", Key: "nothing"}, want: "cluster: "},
	} {
		cfg := config.Default()
		cfg.HTTP.Listen, cfg.DataDir = "127.0.0.1:0", t.TempDir()
		cfg.Relay.Nodes, cfg.Identity, cfg.Cluster.Files = []string{"127.0.0.1:1"}, c.id, c.files
		sockets, err := node.Listen(cfg)
		if err != nil {
			t.Fatal(err)
		}
		n, err := node.New(cfg, sockets, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
