package cluster

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portico/shared/identity"
)

func TestSettingsFaults(t *testing.T) {
	whole := func(change func(*Settings)) Settings {
		s := DefaultSettings()
		s.Folder = "x"
		change(&s)
		return s
	}
	for want, s := range map[string]Settings{
		"":                              whole(func(*Settings) {}),
		"cluster.ca_file, ":             {Files: identity.Files{CA: "x"}},
		"cluster.seeds are set":         {Seeds: []string{"x"}},
		`cluster.label is ""`:           whole(func(s *Settings) { s.Label = "" }),
		`cluster.region is "a b"`:       whole(func(s *Settings) { s.Region = "a b" }),
		`cluster.listen: "7946"`:        whole(func(s *Settings) { s.Listen = "7946" }),
		`cluster.listen: "host:7946"`:   whole(func(s *Settings) { s.Listen = "host:7946" }),
		`cluster.advertise: "0.0.0.0"`:  whole(func(s *Settings) { s.Advertise = "0.0.0.0" }),
		`cluster.advertise: "x:1"`:      whole(func(s *Settings) { s.Advertise = "x:1" }),
		`cluster.advertise: "1.2.3.4:`:  whole(func(s *Settings) { s.Advertise = "1.2.3.4:0" }),
		`cluster.seeds: "a b" is no`:    whole(func(s *Settings) { s.Seeds = []string{"a", "a.b:1", "[::1]:2", "::1", "1.2.3.4", "a b"} }),
		`cluster.seeds: "a:70000"`:      whole(func(s *Settings) { s.Seeds = []string{"a:70000"} }),
		`cluster.profile is ""`:         whole(func(s *Settings) { s.Profile = "" }),
		`cluster.profile is "man"`:      whole(func(s *Settings) { s.Profile = "man" }),
		"cluster.capacity is -1":        whole(func(s *Settings) { s.Capacity = -1 }),
		"cluster.capacity is 1000000: ": whole(func(s *Settings) { s.Capacity = 1_000_000 }),
	} {
		faults := s.Check(false)
		if want == "" && len(faults) > 0 || want != "" && (len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), want)) {
			t.Errorf("%q: %v", want, faults)
		}
	}
	all := Settings{Files: identity.Files{CA: "x", Secret: "y"}, Region: " ", Seeds: []string{" "}, Capacity: -1}
	if faults := all.Check(false); len(faults) != 7 {
		t.Errorf("%d faults: %v", len(faults), faults)
	}
}

func TestWhere(t *testing.T) {
	own := func() netip.Addr { return netip.MustParseAddr("192.0.2.9") }
	for want, s := range map[string]Settings{
		"192.0.2.9:7946":  {Listen: "0.0.0.0:7946"},
		"192.0.2.9:1":     {Listen: "[::]:1"},
		"192.0.2.1:7946":  {Listen: "192.0.2.1:7946"},
		"192.0.2.2:7946":  {Listen: "192.0.2.1:7946", Advertise: "192.0.2.2"},
		"192.0.2.2:5":     {Listen: "192.0.2.1:7946", Advertise: "192.0.2.2:5"},
		"[2001:db8::1]:6": {Listen: "0.0.0.0:6", Advertise: "[2001:db8::1]"},
	} {
		if got := s.Where(own).String(); got != want {
			t.Errorf("%+v: %s, want %s", s, got, want)
		}
	}
	if a := OwnAddress(); !a.IsValid() || a.IsUnspecified() {
		t.Error(a)
	}
}

// The ring begins with the key of the secret, and goes on after a restart as it was.
func TestKeysAreKept(t *testing.T) {
	dir, secret := t.TempDir(), identity.NewSecret()
	s := DefaultSettings()
	s.Folder = dir
	first, err := s.Keys(secret)
	if err != nil || len(first) != 1 || !bytes.Equal(first[0], secret.Derive("gossip key", KeySize)) {
		t.Fatal(first, err)
	}
	c, err := New(Config{
		Self: meta("a", 1), Label: "test", Keys: first, Bind: "127.0.0.1:0", Profile: Local, SaveKeys: s.SaveKeys,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	key := NewKey()
	kept := func() string {
		t.Helper()
		keys, err := s.Keys(secret)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, k := range keys {
			names = append(names, KeyName(k))
		}
		return strings.Join(names, " ")
	}
	one, other := KeyName(first[0]), KeyName(key)
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return c.AddKey(key) }, one + " " + other},
		{func() error { return c.AddKey(key) }, one + " " + other},
		{func() error { return c.UseKey(other) }, other + " " + one},
		{func() error { return c.RemoveKey(one) }, other},
	} {
		if err := step.do(); err != nil || kept() != step.want {
			t.Errorf("%v, kept %s, want %s", err, kept(), step.want)
		}
	}
	if err := os.Remove(filepath.Join(dir, "gossip-keys")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "gossip-keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := c.AddKey(NewKey()); err == nil || !strings.Contains(err.Error(), "cluster.gossip_keys_file") || len(c.Keys()) != 1 {
		t.Errorf("a ring that cannot be kept has changed: %v, %v", err, c.Keys())
	}
	if _, err := s.Keys(secret); err == nil {
		t.Error("a folder is no file")
	}
	s.KeysFile = filepath.Join(dir, "elsewhere")
	for _, text := range []string{"", "x", FormatKey(key) + FormatKey(key), strings.Repeat(FormatKey(key)+"\n", 3)} {
		if err := os.WriteFile(s.KeysFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Keys(secret); err == nil || strings.Contains(err.Error(), FormatKey(key)) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if s := DefaultSettings(); s.SaveKeys(first) != nil || s.keysFile() != "" {
		t.Error("a node without files keeps nothing")
	}
}
