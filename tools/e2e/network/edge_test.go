//go:build linux

package network

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"portico/edge/config"
	"portico/edge/node"
	"portico/shared/jsonvalue"
	"portico/tools/edgetest"
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
	var sockets *node.Sockets
	err := e.home.Do(func() (err error) {
		sockets, err = node.Listen(cfg)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	at = netip.AddrPortFrom(e.home.Addr(), uint16(sockets.Port()))
	running := edgetest.Run(t, slog.LevelWarn, cfg, sockets)
	if e.api, err = e.manage(running, at); err != nil {
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
func (e *edge) manage(running *edgetest.Edge, at netip.AddrPort) (*manage.Client, error) {
	outside, err := e.home.Expose(at)
	if err != nil {
		return nil, err
	}
	settings := running.Service(e.t)
	settings.URL = fmt.Sprintf("http://%v", outside)
	return manage.New(settings)
}

// lets so much time pass, for something to be measured.
func lets(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
