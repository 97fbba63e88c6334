package node

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/relay/config"
	"portico/shared/conference"
	"portico/shared/identity"
	"portico/shared/link"
	"portico/shared/relayproto"
)

// identities are a relay's and an edge's of one cluster.
func identities(t *testing.T) []*identity.Identity {
	t.Helper()
	ids, err := identity.Ephemeral(identity.Relay, identity.Edge)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func mixing(id *identity.Identity) *config.Settings {
	s := settings()
	s.Identity, s.Link.Listen, s.Mixing.Jobs = id, "127.0.0.1:0", 1
	return s
}

func receive(t *testing.T, c *link.Call) relayproto.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	text, err := c.Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m, err := relayproto.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func order(t *testing.T, l *link.Link, job string, flow uint64) *link.Call {
	t.Helper()
	pcmu := conference.Format{Codec: "pcmu", SampleRate: 8000, ChannelNum: 1}
	text, err := relayproto.Encode(relayproto.Message{Order: &relayproto.Order{
		Job: job, Room: "R", Kind: relayproto.Mix, Epoch: 1, Revision: 1, View: &relayproto.View{},
		Outputs: []relayproto.Output{{ID: "a", Flow: flow, Kind: conference.Audio, Format: pcmu}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Call(t.Context())
	if err == nil {
		err = c.Send(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A relay with an identity mixes: an edge's order becomes a job, whose packets come back over the link.
func TestMixing(t *testing.T) {
	ids := identities(t)
	n := start(t, mixing(ids[0]))
	packets := make(chan uint64, 1)
	l, err := link.Dial(t.Context(), n.Addrs().Link, ids[1], link.Options{Receive: func(_ *link.Link, flowID uint64, _ []byte) {
		select {
		case packets <- flowID:
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := order(t, l, "a", 7)
	if m := receive(t, c); m.Report == nil || m.Report.Revision != 1 {
		t.Fatalf("%+v", m)
	}
	select {
	case id := <-packets:
		if flow, _ := relayproto.Flow(id); flow != 7 {
			t.Errorf("a packet of flow %d", flow)
		}
	case <-time.After(20 * time.Second):
		t.Error("nothing was mixed")
	}
	if m := receive(t, order(t, l, "b", 9)); m.Refusal == nil || m.Refusal.Reason != relayproto.Full {
		t.Errorf("%+v", m)
	}
	_, page := get(t, n, "/metrics")
	for _, want := range []string{
		"portico_mixing_links 1", `portico_mixing_jobs{kind="mix"} 1`, `portico_mixing_jobs{kind="transcode"} 0`, "portico_mixing_started_total 1",
		`portico_mixing_refused_total{reason="full"} 1`, "portico_mixing_crashed_total 0", `portico_mixing_dropped_packets_total{direction="to_jobs"} 0`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
	stop(t, n)
	select {
	case <-c.Done():
	case <-time.After(20 * time.Second):
		t.Error("the edge is not told of the end")
	}
}

func TestWithoutAClusterNothingIsMixed(t *testing.T) {
	var out bytes.Buffer
	n, err := New(settings(), slog.New(slog.NewTextHandler(&out, nil)))
	if err == nil {
		err = n.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	stop(t, n)
	if n.Addrs().Link != "" || strings.Count(out.String(), "mixing is off") != 1 || !strings.Contains(out.String(), "cluster.folder") {
		t.Errorf("%+v, %s", n.Addrs(), &out)
	}
}

func TestIdentityOfARelay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	if err := identity.Init(dir); err != nil {
		t.Fatal(err)
	}
	for role, want := range map[string]string{
		identity.Edge: "cluster.cert_file: ", identity.Relay: "", "none": "cluster: ",
	} {
		cfg := settings()
		cfg.Cluster.Files = identity.Files{CA: "none.pem", Cert: "none.pem", Key: "none.pem"}
		if role != "none" {
			var err error
			if cfg.Cluster.Files, err = identity.Issue(dir, "x-"+role, role, false); err != nil {
				t.Fatal(err)
			}
			cfg.Cluster.Folder, cfg.Cluster.Secret = "", "" // no gossip
		}
		n, err := New(cfg, slog.New(slog.DiscardHandler))
		if want == "" && (err != nil || n.identity == nil) || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v", role, err)
		}
	}
}
