package cluster

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func sample() Meta {
	return Meta{
		ID: "east-1", Boot: 1 << 40, Region: "eu-east", Roles: Edge | Relay, State: Draining, Load: 5, Capacity: 300, Protocol: Protocol,
		Fingerprint: [32]byte{1, 31: 2},
		Addresses:   []Address{{ForLinks, "10.0.0.1:8080"}, {ForSecure, "edge.example.org:443"}, {99, "[::1]:9"}},
		Codecs:      []string{"vp8", "h264"},
	}
}

func TestMeta(t *testing.T) {
	m := sample()
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeMeta(append(data, "of a later version"...), Protocol); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("%+v, %v", got, err)
	}
	if m.Address(ForSecure) != "edge.example.org:443" || m.Address(ForSTUN) != "" {
		t.Error("Address")
	}
	for n := range len(data) {
		if _, err := DecodeMeta(data[:n], Protocol); !errors.Is(err, ErrMeta) {
			t.Errorf("%d bytes of %d: %v", n, len(data), err)
		}
	}
	var version *VersionError
	if _, err := DecodeMeta([]byte{77, 2}, Protocol); !errors.As(err, &version) || version.Theirs != 2 {
		t.Errorf("another version, all else different too: %v", err)
	}
}

func TestMetaBounds(t *testing.T) {
	for name, spoil := range map[string]func(*Meta){
		"no name":        func(m *Meta) { m.ID = "" },
		"name":           func(m *Meta) { m.ID = "a/b" },
		"region":         func(m *Meta) { m.Region = "a b" },
		"long region":    func(m *Meta) { m.Region = strings.Repeat("r", 33) },
		"no role":        func(m *Meta) { m.Roles = 0 },
		"load":           func(m *Meta) { m.Load = 8 },
		"negative load":  func(m *Meta) { m.Load = -1 },
		"state":          func(m *Meta) { m.State = 3 },
		"no capacity":    func(m *Meta) { m.Capacity = 0 },
		"capacity":       func(m *Meta) { m.Capacity = 1 << 16 },
		"address":        func(m *Meta) { m.Addresses[0].Text = "a\nb" },
		"empty address":  func(m *Meta) { m.Addresses[0].Text = "" },
		"use":            func(m *Meta) { m.Addresses[0].Use = 0 },
		"many addresses": func(m *Meta) { m.Addresses = make([]Address, 9) },
		"codec":          func(m *Meta) { m.Codecs[0] = "vp 8" },
		"too long":       func(m *Meta) { m.Addresses = slicesRepeat(Address{ForLinks, strings.Repeat("a", 60)}, 8) },
	} {
		m := sample()
		spoil(&m)
		if data, err := m.Encode(); err == nil {
			t.Errorf("%s: encoded as %q", name, data)
		}
	}
}

func slicesRepeat(a Address, n int) []Address {
	var list []Address
	for range n {
		list = append(list, a)
	}
	return list
}

func FuzzDecodeMeta(f *testing.F) {
	m := sample()
	data, err := m.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte{})
	f.Add([]byte{1, 1})
	f.Add(bytes.Repeat([]byte{1}, MaxMeta))
	f.Add(append(data[:47:47], bytes.Repeat([]byte{255}, 200)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := DecodeMeta(data, Protocol)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if !bytes.HasPrefix(data, again) {
			t.Errorf("%q is written as %q", data, again)
		}
	})
}

func TestCoarsen(t *testing.T) {
	for _, c := range []struct {
		level int
		load  float64
		want  int
	}{
		{0, 0, 0}, {0, 0.11, 0}, {0, 0.13, 1}, {1, 0.03, 1}, {1, 0.02, 0}, {3, 1, 7}, {7, 2, 7}, {7, -1, 0}, {4, math.NaN(), 4},
		{3, 0.5, 3}, {4, 0.5, 4}, // on the border it stays
	} {
		if got := coarsen(c.level, c.load); got != c.want {
			t.Errorf("at %d, %g gives %d, want %d", c.level, c.load, got, c.want)
		}
	}
}

func TestPace(t *testing.T) {
	for _, c := range []struct {
		nodes, jump int
		other       bool
		want        time.Duration
	}{
		{3, 1, false, leastLoad}, {3, 7, false, leastLoad}, {300, 1, true, leastState},
		{300, 1, false, 100 * time.Second}, {300, 4, false, 25 * time.Second},
	} {
		if got := pace(c.nodes, c.jump, c.other); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestKeys(t *testing.T) {
	key, err := ParseKey("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	if err != nil || len(key) != KeySize || len(KeyName(key)) != 8 {
		t.Error(key, err)
	}
	for _, bad := range []string{"", "AAEC", "not base64"} {
		if _, err := ParseKey(bad); !errors.Is(err, ErrKey) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
