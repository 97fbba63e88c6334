package config

import (
	"bytes"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"portico/shared/cluster"
	shared "portico/shared/config"
	"portico/shared/identity"
)

var update = flag.Bool("update", false, "write the sample file anew")

const sampleFile = "edge.sample.toml"

func TestSampleEqualsDefaults(t *testing.T) {
	want := shared.Sample(Default(), "Settings of portico-edge: "+About)
	if *update {
		if err := os.WriteFile(sampleFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(sampleFile)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s is not what Default says (%v): run go test ./edge/config -update", sampleFile, err)
	}
	var s Settings
	if err := shared.Load(&s, shared.Source{Args: []string{"-config", sampleFile}}); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&s, Default()) {
		t.Fatalf("the sample loads as %+v", s)
	}
}

func TestDefaultsAndDevAreValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	a, b := Dev(), Dev()
	if err := a.Validate(); err != nil {
		t.Error(err)
	}
	if !a.Dev || a.TURN.Secret == b.TURN.Secret || len(a.TURN.Secret) < 32 {
		t.Error("every dev edge has a secret of its own")
	}
}

func TestDevIsNoSetting(t *testing.T) {
	if err := shared.Load(Default(), shared.Source{Args: []string{"-dev"}}); err == nil {
		t.Fatal("-dev is accepted")
	}
	if err := shared.Load(Default(), shared.Source{Env: []string{"PORTICO_DEV=true"}}); err == nil {
		t.Fatal("PORTICO_DEV is accepted")
	}
}

func TestStoreDir(t *testing.T) {
	s := Default()
	if s.StoreDir() != "data" {
		t.Errorf("%q", s.StoreDir())
	}
	s.Store.URL = "sqlite:other/folder/"
	if s.StoreDir() != "other/folder" {
		t.Errorf("%q", s.StoreDir())
	}
}

func TestValidateTellsAllFaults(t *testing.T) {
	s := &Settings{
		HTTP:         HTTP{Listen: "8080", PublicIPs: []string{"here", "0.0.0.0"}, MetricsFrom: []string{"10.0.0.1/8"}},
		Portal:       Portal{Hostname: "https://x", CORS: []string{"x.org", "https://x.org/", "*"}, MaxPayload: 10},
		TLS:          TLS{CertFile: "x"},
		WebTransport: WebTransport{Enabled: "true", URL: "http://x/"},
		Store:        Store{URL: "mysql://user:hush@host/db"},
		TURN:         TURN{URLs: []string{"turn:host:3478?transport=quic", "turn:host"}},
		Relay:        Relay{Nodes: []string{"relay", "relay:x", "relay:1", "relay:1"}},
		Cluster: Cluster{Settings: cluster.Settings{
			Files: identity.Files{CA: "ca.pem", Secret: "secret"}, Label: "a b", Seeds: []string{"b c"}, Profile: "x", Listen: "x", Capacity: -1,
		}, DrainTimeout: -1},
		Log: Log{"loud", "xml"},
	}
	err := s.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	want := []string{"data_dir is empty", "http.listen: ", `http.public_ips: "here"`, `http.public_ips: "0.0.0.0"`, "http.metrics_from: ",
		"portal.hostname: ", `portal.cors: "x.org"`, `portal.cors: "https://x.org/"`, "portal.ping_interval is 0s", "portal.ping_timeout",
		"portal.login_timeout", "portal.reconnection_ticket_lifetime", "portal.reconnection_timeout", "portal.relogin_ack is", "portal.max_connections is 0",
		"portal.max_payload is 10", "tls.cert_file and tls.key_file", "media.path is",
		"webtransport.enabled is", "webtransport.url: ", "webtransport.queue_bytes is 0", "store.url: ", `turn.urls: "turn:host:3478?transport=quic"`,
		"turn.credential_lifetime", `relay.nodes: "relay"`, `relay.nodes: "relay:x"`, "relay.nodes: relay:1 is there twice",
		"cluster.ca_file, cluster.cert_file and cluster.key_file belong", "cluster.label is", "cluster.listen: ", "cluster.seeds: ", "cluster.profile is",
		"cluster.capacity is -1", "cluster.drain_timeout is -1ns", "cluster.grace is 0s", "limits.participants_per_room is 0", "limits.sessions_per_participant is 0", "limits.pictures_per_participant is 0",
		"limits.queue_packets is 0", "limits.queue_bytes is 0", "log.level is", "log.format is"}
	got := strings.Split(err.Error(), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d faults, want %d:\n%v", len(got), len(want), err)
	}
	for i, w := range want {
		if !strings.HasPrefix(got[i], w) {
			t.Errorf("fault %d is %q, want %q", i, got[i], w)
		}
	}
	s.Cluster = Default().Cluster
	if err := s.Validate(); err == nil || !strings.Contains(err.Error(), "\nturn.secret is empty") {
		t.Error("without a cluster there has to be a secret for TURN")
	}
	if strings.Contains(err.Error(), "hush") {
		t.Error("a fault shows the store's password")
	}
}

func TestICEURLs(t *testing.T) {
	for text, ok := range map[string]bool{
		"turn:relay.example.org:3478?transport=udp": true, "turns:relay.example.org:5349?transport=tcp": true, "turn:10.0.0.1": true,
		"stun:relay.example.org": true, "stun:[2001:db8::1]:3478": true, "turn:[2001:db8::1]": true,
		"stun:x?transport=udp": false, "turn:": false, "http://x": false, "turn:x:0": false, "turn:x y": false, "turn://x": false,
		"turn:2001:db8::1": false, "": false,
	} {
		if _, got := iceURL(text); got != ok {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestRelaysNeedAnIdentity(t *testing.T) {
	s := Default()
	s.Relay.Nodes = []string{"relay.example.org:8081", "[2001:db8::1]:8081"}
	if err := s.Validate(); err == nil || !strings.HasPrefix(err.Error(), "relay.nodes are set, but cluster.folder") {
		t.Error(err)
	}
	s.Identity = new(identity.Identity)
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	s.Identity, s.Cluster.Files = nil, identity.Files{CA: "a", Cert: "b", Key: "c"}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
}

func TestStores(t *testing.T) {
	for place, want := range map[string]string{
		"": "", "sqlite:": "", "sqlite:shared": "", "postgres://u:hush@host:5432/db?sslmode=disable": "", "postgresql://host/db": "",
		"postgres://u:hush@/db?host=/run/postgresql": "", "postgres:///db": "store.url is no address",
		"postgres://u:hush@host": "store.url is no address", "postgres://:x:y/db": "store.url is no address", "mysql://u:hush@h/db": "store.url: ", "file": "store.url: ",
	} {
		s := Default()
		s.Store = Store{URL: place, KeyFile: "key"}
		err := s.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%s: %v", place, err)
		}
	}
	s := Default()
	s.Store.URL = "postgres://host/db"
	if err := s.Validate(); err == nil || !strings.HasPrefix(err.Error(), "store.key_file is empty") {
		t.Error(err)
	}
	s.Secret = identity.NewSecret()
	if err := s.Validate(); err != nil || s.StorePlace() != "postgres://host/db" || !s.SharedStore() {
		t.Error(err)
	}
	s.Store.URL = "sqlite:"
	if s.SharedStore() || s.StorePlace() != "data" {
		t.Error("the folder of one edge is shared")
	}
	if s.Store.URL = "sqlite:other"; !s.SharedStore() || s.StorePlace() != "other" {
		t.Error("a folder of its own is not shared")
	}
}
