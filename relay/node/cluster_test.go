package node

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"portico/relay/config"
	"portico/shared/cluster"
	"portico/shared/identity"
	"portico/shared/link"
	"portico/shared/relayproto"
	"portico/shared/token"
)

// gossiping are the settings of a relay that gossips on this machine.
func gossiping(id *identity.Identity, secret identity.Secret) *config.Settings {
	s := mixing(id)
	s.Secret, s.TURN.Secret = secret, ""
	s.Cluster.Listen, s.Cluster.Profile, s.Cluster.Region = "127.0.0.1:0", "local", "east"
	s.Cluster.DrainTimeout = 5 * time.Second
	return s
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	look, deadline := time.NewTicker(10*time.Millisecond), time.NewTimer(20*time.Second)
	defer look.Stop()
	defer deadline.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// A relay says by gossip where it is reached and what it can do, obeys commands of edges, and goes in good order.
func TestGossip(t *testing.T) {
	ids, secret := identities(t), identity.NewSecret()
	n, err := New(gossiping(ids[0], secret), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := n.Stop(ctx); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	events := make(chan cluster.Event, 100)
	edge, err := cluster.New(cluster.Config{
		Self:  cluster.Meta{ID: "edge-1", Boot: 1, Roles: cluster.Edge, Capacity: 1},
		Label: "portico", Keys: [][]byte{secret.Derive("gossip key", cluster.KeySize)}, Seeds: []string{n.GossipAddr()}, Bind: "127.0.0.1:0", Profile: cluster.Local,
		Notify: func(e cluster.Event) { events <- e },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(edge.Close)
	joined, ok := (<-events).(cluster.Joined)
	if !ok {
		t.Fatalf("%+v", joined)
	}
	is := joined.Node
	_, turn, _ := net.SplitHostPort(n.Addrs().UDP)
	if is.ID != "relay-1" || is.Roles != cluster.Relay || is.Region != "east" || is.Capacity < 1 || len(is.Codecs) == 0 ||
		is.Address(cluster.ForLinks) != n.Addrs().Link || is.Address(cluster.ForSTUN) != net.JoinHostPort(n.options.RelayIP.String(), turn) ||
		is.Address(cluster.ForTURN) == "" || is.Address(cluster.ForTURNS) != "" {
		t.Errorf("%+v", is)
	}

	l, err := link.Dial(t.Context(), n.Addrs().Link, ids[1], link.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	command := func(c string) cluster.Answer {
		t.Helper()
		call, err := l.Call(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer call.Close()
		text, err := relayproto.Encode(relayproto.Message{Command: []byte(c)})
		if err == nil {
			err = call.Send(text)
		}
		if err != nil {
			t.Fatal(err)
		}
		a, err := cluster.DecodeAnswer(receive(t, call).Answer)
		if err != nil {
			return cluster.Answer{Error: err.Error()}
		}
		return a
	}
	if a := command(`{"do":"describe"}`); !a.Confirms(&is.Meta) {
		t.Errorf("%+v", a)
	}
	if a := command(`{"do":"keys"}`); len(a.Keys) != 1 || !a.Keys[0].InUse {
		t.Errorf("%+v", a)
	}
	for _, bad := range []string{`{"do":"tell"}`, `{"do":"reboot"}`, `{"do":"use-key","key":"none"}`} {
		if a := command(bad); a.Error == "" {
			t.Errorf("%s is obeyed", bad)
		}
	}

	c := order(t, l, "a", 7)
	if m := receive(t, c); m.Report == nil {
		t.Fatalf("%+v", m)
	}
	command(`{"do":"drain"}`)
	for m := receive(t, c); m.Refusal == nil; m = receive(t, c) {
	}
	state := func() cluster.State {
		for _, n := range edge.Nodes() {
			if n.ID == "relay-1" {
				return n.State
			}
		}
		return cluster.Leaving
	}
	until(t, "the drain", func() bool { return state() == cluster.Draining })
	command(`{"do":"undrain"}`)
	until(t, "the end of the drain", func() bool { return state() == cluster.Active })
	stop()
	for e := range events {
		if left, ok := e.(cluster.Left); ok {
			if !left.Said {
				t.Error("it has not said that it goes")
			}
			break
		}
	}
}

// Relays of a cluster accept the credentials that its edges make without any setting.
func TestDerivedTURNSecret(t *testing.T) {
	ids, secret := identities(t), identity.NewSecret()
	s := gossiping(ids[0], secret)
	s.Dev = false
	n, err := New(s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	name, password := token.TURNCredential(secret.TURN(), "u", time.Now().Add(time.Minute))
	if got, ok := n.options.Password(name); !ok || got != password {
		t.Error("a credential of the cluster is refused")
	}
	s.TURN.Secret = "one that the settings name"
	if n, err = New(s, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if got, _ := n.options.Password(name); got == password {
		t.Error("the settings' own secret does not count")
	}
}
