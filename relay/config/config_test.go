package config

import (
	"bytes"
	"flag"
	"math"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	shared "portico/shared/config"
)

var update = flag.Bool("update", false, "write the sample file anew")

const sampleFile = "relay.sample.toml"

func TestSampleEqualsDefaults(t *testing.T) {
	want := shared.Sample(Default(), "Settings of portico-relay: "+About)
	if *update {
		if err := os.WriteFile(sampleFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(sampleFile)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s is not what Default says (%v): run go test ./relay/config -update", sampleFile, err)
	}
	s := Default()
	s.TURN, s.Limit, s.Link, s.Mixing, s.Admin, s.Log = TURN{}, Limit{}, Link{}, Mixing{}, Admin{}, Log{}
	err = shared.Load(s, shared.Source{Args: []string{"-config", sampleFile}})
	if err == nil || !strings.HasPrefix(err.Error(), "turn.secret is empty: make one with") || strings.Contains(err.Error(), "\n") {
		t.Fatalf("the sample should lack a secret and nothing else: %v", err)
	}
	if !reflect.DeepEqual(s, Default()) {
		t.Fatalf("the sample loads as %+v", s)
	}
}

func TestValidateTellsAllFaults(t *testing.T) {
	s := Default()
	s.TURN = TURN{UDP: "3478", TCP: "", TLS: "", CertFile: "x", PublicIP: "::1", MinPort: 2, MaxPort: 1, AllowPeers: []string{"edge", "10.0.0.1/8"}, Secret: "short"}
	s.Limit.Allocations, s.Limit.Bitrate = -1, -1
	s.Admin.Listen = "x"
	s.Link.Listen, s.Cluster.CA, s.Mixing.Memory = "8081", "ca.pem", 1
	s.Log = Log{"loud", "xml"}
	err := s.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	got := strings.Split(err.Error(), "\n")
	want := []string{"turn.udp: ", "link.listen: ", "admin.listen: ", "turn.public_ip: ", "turn.secret has fewer", "turn.realm is empty", "turn.cert_file and turn.key_file",
		"turn.min_port 2", `turn.allow_peers: "edge"`, `turn.allow_peers: "10.0.0.1/8"`, "limits.allocations is", "limits.bitrate_per_allocation is",
		"cluster.ca_file, cluster.cert_file and cluster.key_file belong", "mixing.memory_per_job is 1: write 256", "log.level is", "log.format is"}
	if len(got) != len(want) {
		t.Fatalf("%d faults, want %d:\n%v", len(got), len(want), err)
	}
	for i, w := range want {
		if !strings.HasPrefix(got[i], w) {
			t.Errorf("fault %d is %q, want %q", i, got[i], w)
		}
	}
	for want, m := range map[string]Mixing{"mixing.cores is": {Cores: -1, Memory: 512}, "mixing.cores is NaN": {Cores: math.NaN(), Memory: 512}, "mixing.jobs is": {Jobs: -1, Memory: 512}} {
		s := Dev("made by dev")
		s.Mixing = m
		if err := s.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: %v", m, err)
		}
	}
	s = Default()
	s.TURN.UDP, s.TURN.TCP, s.TURN.Secret = "", "", strings.Repeat("x", minSecret)
	if err := s.Validate(); err == nil || !strings.Contains(err.Error(), "are all off") {
		t.Fatalf("TLS without a certificate is no listener: %v", err)
	}
}

func TestDev(t *testing.T) {
	s := Dev("made by dev", netip.MustParseAddrPort("[::ffff:192.168.1.5]:8080"), netip.MustParseAddrPort("127.0.0.1:8080"))
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	allowed, err := s.Allowed()
	if err != nil || len(allowed) != 2 || allowed[0].String() != "192.168.1.5:8080" || allowed[1].String() != "127.0.0.1:8080" || s.TURN.PublicIP != "192.168.1.5" {
		t.Fatalf("%v, %v, %+v", allowed, err, s.TURN)
	}
}
