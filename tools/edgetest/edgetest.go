// Package edgetest runs an edge inside a test: the program's own node, on a free port of this machine, with a data folder that goes away.
//
// Tests of what surrounds an edge start here; what they ask of it, they ask over its port like everybody else, but for the key of its
// sample service, which Service reads from the store.
package edgetest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"portico/edge/config"
	"portico/edge/node"
	"portico/edge/store"
	"portico/tools/portico/manage"
)

// stopTime is how long an edge may take to end.
const stopTime = 20 * time.Second

// Edge is one that runs until the test ends.
type Edge struct {
	Node   *node.Node
	Config *config.Settings
	Port   int
	URL    string // http://127.0.0.1:port
}

// Start runs an edge with the settings of a machine that is tried out (config.Dev), changed by change unless that is nil. It logs to the
// test's output from that level on.
func Start(t testing.TB, level slog.Level, change func(*config.Settings)) *Edge {
	t.Helper()
	cfg := config.Dev() // media over loopback
	cfg.HTTP.Listen, cfg.DataDir = "127.0.0.1:0", t.TempDir()
	if change != nil {
		change(cfg)
	}
	sockets, err := node.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return Run(t, level, cfg, sockets)
}

// Run is Start with sockets that are open, such as those of a network of its own.
func Run(t testing.TB, level slog.Level, cfg *config.Settings, sockets *node.Sockets) *Edge {
	t.Helper()
	n, err := node.New(cfg, sockets, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level})))
	if err != nil {
		sockets.Close()
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTime)
		defer cancel()
		if err := n.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return &Edge{Node: n, Config: cfg, Port: sockets.Port(), URL: fmt.Sprintf("http://127.0.0.1:%d", sockets.Port())}
}

// Service is what the sample service's owner knows.
func (e *Edge) Service(t testing.TB) manage.Settings {
	t.Helper()
	s, err := store.OpenSQLite(t.Context(), e.Config.DataDir, store.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	service, err := s.ServiceByName(t.Context(), store.SampleServiceName)
	if err != nil {
		t.Fatal(err)
	}
	return manage.Settings{URL: e.URL, Service: service.ID, Key: service.Key}
}
