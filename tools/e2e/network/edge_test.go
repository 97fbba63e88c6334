//go:build linux

package network

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"portico/edge/config"
	"portico/edge/node"
	"portico/edge/store"
	"portico/shared/jsonvalue"
	"portico/tools/netlab"
	"portico/tools/portico/manage"
)

// edge is a running edge in a namespace of its own, with a room.
type edge struct {
	t    *testing.T
	lab  *netlab.TestLab
	home *netlab.Namespace
	api  *manage.Client
	room string

	pulse pulse
}

// seed is that of all losses.
const seed = 1

func startEdge(t *testing.T) *edge {
	t.Helper()
	e := &edge{t: t, lab: netlab.ForTest(t, seed)}
	over, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		e.pulse.run(over)
	}()
	t.Cleanup(func() {
		close(over)
		<-stopped
	})
	e.home = e.lab.Namespace("edge")
	cfg := config.Default()
	cfg.HTTP.Listen, cfg.DataDir = netip.AddrPortFrom(e.home.Addr(), 0).String(), t.TempDir()
	var at netip.AddrPort
	var n *node.Node
	err := e.home.Do(func() error {
		sockets, err := node.Listen(cfg)
		if err != nil {
			return err
		}
		at = netip.AddrPortFrom(e.home.Addr(), uint16(sockets.Port()))
		n, err = node.New(cfg, sockets, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := n.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	if e.api, err = e.manage(cfg, at); err != nil {
		t.Fatal(err)
	}
	options, err := jsonvalue.Parse([]byte(`{"enableBandwidthAdaptation": true}`), jsonvalue.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	created, err := e.api.CreateRoom(t.Context(), "network", options)
	if err != nil {
		t.Fatal(err)
	}
	e.room = created.Get("_id").Text()
	return e
}

// manage reaches the management API from outside the namespace, as the sample service.
func (e *edge) manage(cfg *config.Settings, at netip.AddrPort) (*manage.Client, error) {
	outside, err := e.home.Expose(at)
	if err != nil {
		return nil, err
	}
	s, err := store.OpenSQLite(e.t.Context(), cfg.DataDir, store.Limits{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	service, err := s.ServiceByName(e.t.Context(), store.SampleServiceName)
	if err != nil {
		return nil, err
	}
	return manage.New(manage.Settings{URL: fmt.Sprintf("http://%v", outside), Service: service.ID, Key: service.Key})
}

// lets so much time pass, for something to be measured.
func lets(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
