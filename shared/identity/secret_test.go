package identity

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// All nodes that are issued have the cluster's secret, and those of an authority that was made without one get one.
func TestSecret(t *testing.T) {
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	issue := func(name string) Files {
		t.Helper()
		f, err := Issue(dir, name, Edge, false)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	read := func(f Files) Secret {
		t.Helper()
		s, err := LoadSecret(Files{Folder: f.Folder}.SecretFile())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a := issue("a")
	first := read(a)
	if !bytes.Equal(read(issue("b")), first) || len(first) != secretSize {
		t.Error("two nodes have two secrets")
	}
	if err := os.Remove(filepath.Join(dir, secretFile)); err != nil {
		t.Fatal(err)
	}
	if c := read(issue("c")); bytes.Equal(c, first) || !bytes.Equal(read(issue("d")), c) {
		t.Error("an authority without a secret makes one and keeps it")
	}
	if _, err := os.Stat(a.GossipKeysFile()); err == nil {
		t.Error("keys of gossip that are derived are in a file")
	}
	if err := WriteFile(AuthorityKeysFile(dir), []byte("keys")); err != nil {
		t.Fatal(err)
	}
	e := issue("e")
	if data, err := os.ReadFile(e.GossipKeysFile()); string(data) != "keys" || err != nil || filepath.Dir(e.GossipKeysFile()) != e.Folder {
		t.Errorf("%q, %v in %s", data, err, e.GossipKeysFile())
	}
	if k := (Files{Key: "x/y.pem"}).GossipKeysFile(); k != filepath.Join("x", "gossip-keys") {
		t.Error(k)
	}
}

func TestSecretFaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	for text, want := range map[string]string{"": "it does not hold 32 bytes", "QUJD\n": "it does not hold 32 bytes", "?": "portico cluster init"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadSecret(file); err == nil || !strings.Contains(err.Error(), want) || text != "" && strings.Contains(err.Error(), strings.TrimSpace(text)+" ") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := LoadSecret(file + "x"); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Error(err)
	}
}

// Keys of different purposes and of different clusters have nothing to do with each other, and each is the same everywhere.
func TestDerive(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	seen := map[string]bool{}
	for _, key := range [][]byte{a.Derive("one", 32), a.Derive("two", 32), b.Derive("one", 32), b.Derive("two", 32)} {
		if len(key) != 32 || seen[string(key)] {
			t.Fatalf("%x again", key)
		}
		seen[string(key)] = true
	}
	if !bytes.Equal(a.Derive("one", 32), append(Secret{}, a...).Derive("one", 32)) {
		t.Error("a key differs from one time to the next")
	}
	// Nodes of one cluster may be of different builds: what is derived must not change.
	if got := make(Secret, secretSize).Derive("gossip key", 4); !bytes.Equal(got, golden) {
		t.Errorf("%x", got)
	}
}

var golden = []byte{0x43, 0xd4, 0x27, 0xa7}

// TestRelaysKnowLess: what relays are given is not the edges' secret, and the same for all of them.
func TestRelaysKnowLess(t *testing.T) {
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	secrets := map[string]Secret{}
	for name, role := range map[string]string{"e1": Edge, "r1": Relay, "r2": Relay} {
		f, err := Issue(dir, name, role, false)
		if err != nil {
			t.Fatal(err)
		}
		if secrets[name], err = LoadSecret(f.SecretFile()); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(secrets["r1"], secrets["r2"]) || !bytes.Equal(secrets["r1"], secrets["e1"].ForRelays()) || bytes.Equal(secrets["r1"], secrets["e1"]) {
		t.Error("a relay's secret is not what edges derive for relays")
	}
}
