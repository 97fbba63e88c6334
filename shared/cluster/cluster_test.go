package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/goleak"

	"portico/shared/cluster/clustertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	key1 = bytes.Repeat([]byte{1}, KeySize)
	key2 = bytes.Repeat([]byte{2}, KeySize)
)

// bubble runs a test in a time of its own. It ends only when all goroutines have: memberlist's may take a probe longer than Close.
func bubble(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(10 * time.Second) })
		fn(t)
	})
}

// member is a node of a test.
type member struct {
	*Cluster
	wire   *clustertest.Transport
	mu     sync.Mutex // guards what follows
	events []string
	logs   bytes.Buffer
}

func (m *member) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.logs.Write(p)
}

// warnings are the lines for the operator that hold a text.
func (m *member) warnings(text string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Count(m.logs.String(), text)
}

func (m *member) took() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.events
	m.events = nil
	return list
}

func (m *member) notify(e Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e := e.(type) {
	case Joined:
		m.events = append(m.events, fmt.Sprintf("%s/%d joined", e.Node.ID, e.Node.Boot))
	case Changed:
		m.events = append(m.events, fmt.Sprintf("%s %v load %d", e.Node.ID, e.Node.State, e.Node.Load))
	case Left:
		m.events = append(m.events, fmt.Sprintf("%s/%d left %t", e.Node.ID, e.Node.Boot, e.Said))
	}
}

func meta(id string, boot uint64) Meta {
	return Meta{
		ID: id, Boot: boot, Region: "east", Roles: Edge, Capacity: 4, Fingerprint: [32]byte{9},
		Addresses: []Address{{ForLinks, "192.0.2.1:8080"}, {ForClients, "edge-17.example.org:8080"}},
	}
}

// start begins a node on the network, with the first as its seed.
func start(t *testing.T, net *clustertest.Network, seeds []*member, change func(*Config), self Meta) *member {
	t.Helper()
	m := &member{wire: net.New()}
	cfg := Config{
		Self: self, Label: "test", Keys: [][]byte{key1}, Transport: m.wire, Notify: m.notify,
		Log: slog.New(slog.NewTextHandler(m, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	for _, s := range seeds {
		cfg.Seeds = append(cfg.Seeds, s.wire.Addr())
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if m.Cluster, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// begin starts a cluster of nodes n-0 to n-(count-1), each with the first as its seed.
func begin(t *testing.T, net *clustertest.Network, count int) []*member {
	list := []*member{start(t, net, nil, nil, meta("n-0", 1))}
	for i := 1; i < count; i++ {
		list = append(list, start(t, net, list[:1], nil, meta(fmt.Sprint("n-", i), 1)))
	}
	return list
}

// until waits for something, in the bubble's time, and gives how long it took.
func until(t *testing.T, most time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > most {
			t.Fatalf("%s: not within %v", what, most)
		}
		time.Sleep(10 * time.Millisecond) // the bubble's time: nothing is waited for outside
		synctest.Wait()
	}
	return time.Since(began)
}

func full(list []*member, count int) func() bool {
	return func() bool {
		return !slices.ContainsFunc(list, func(m *member) bool { return m.Size() != count })
	}
}

func TestLife(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var net clustertest.Network
		list := begin(t, &net, 3)
		until(t, 5*time.Second, "three nodes", full(list, 3))
		a, b, c := list[0], list[1], list[2]
		if got := a.took(); len(got) != 2 || !slices.Contains(got, "n-1/1 joined") || !slices.Contains(got, "n-2/1 joined") {
			t.Errorf("%q", got)
		}
		n := a.Nodes()[1]
		if n.Address(ForLinks) != "192.0.2.1:8080" || n.Gossip != b.wire.Addr() || n.Roles != Edge || n.Fingerprint != [32]byte{9} {
			t.Errorf("%+v", n)
		}
		b.SetDraining(true)
		if b.Self().State != Draining {
			t.Error("it does not know itself")
		}
		until(t, 2*time.Second, "draining is seen", func() bool { return a.Nodes()[1].State == Draining && c.Nodes()[1].State == Draining })
		if got := a.took(); !slices.Equal(got, []string{"n-1 draining load 0"}) {
			t.Errorf("%q", got)
		}
		b.SetDraining(false)
		until(t, 2*time.Second, "drain is cancelled", func() bool { return a.Nodes()[1].State == Active })
		a.took()

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := b.Leave(ctx); err != nil {
			t.Error(err)
		}
		b.Close()
		if err := b.Leave(ctx); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		until(t, 2*time.Second, "it has left", full([]*member{a, c}, 2))
		if got := a.took(); len(got) == 0 || got[len(got)-1] != "n-1/1 left true" {
			t.Errorf("%q", got)
		}

		_ = c.wire.Shutdown() // killed
		took := until(t, 10*time.Second, "it is found dead", full([]*member{a}, 1))
		t.Log("a killed node of two is found dead in", took)
		if got := a.took(); !slices.Equal(got, []string{"n-2/1 left false"}) {
			t.Errorf("%q", got)
		}
		// It starts again, elsewhere, while the old one is remembered.
		again := start(t, &net, list[:1], nil, meta("n-2", 2))
		until(t, 5*time.Second, "it is back", full([]*member{a, again}, 2))
		if got := a.took(); !slices.Equal(got, []string{"n-2/2 joined"}) {
			t.Errorf("%q", got)
		}
		// The same before anybody has noticed its end.
		_ = again.wire.Shutdown()
		again = start(t, &net, list[:1], nil, meta("n-2", 3))
		until(t, 20*time.Second, "it is back at once", func() bool { return a.Size() == 2 && a.Nodes()[1].Boot == 3 })
		if got := a.took(); !slices.Equal(got, []string{"n-2/2 left false", "n-2/3 joined"}) {
			t.Errorf("%q", got)
		}
	})
}

// A node that starts again faster than anybody notices is another life all the same.
func TestRestart(t *testing.T) {
	known := map[string]Node{}
	n := note{alive: true, meta: meta("a", 1), gossip: "x"}
	if e := compare(known, "a", n); len(e) != 1 {
		t.Fatal(e)
	}
	n.meta.Boot = 2
	e := compare(known, "a", n)
	if len(e) != 2 {
		t.Fatal(e)
	}
	if l, ok := e[0].(Left); !ok || l.Node.Boot != 1 || l.Said {
		t.Error(e[0])
	}
	if j, ok := e[1].(Joined); !ok || j.Node.Boot != 2 {
		t.Error(e[1])
	}
	if e := compare(known, "a", n); e != nil {
		t.Error(e)
	}
}

// Parts that were cut off from each other for longer than the dead are remembered grow together.
func TestSplit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var net clustertest.Network
		list := begin(t, &net, 5)
		until(t, 5*time.Second, "five nodes", full(list, 5))
		net.Split(1, list[2].wire, list[3].wire, list[4].wire)
		until(t, 20*time.Second, "two parts", func() bool { return full(list[:2], 2)() && full(list[2:], 3)() })
		time.Sleep(90 * time.Second)
		net.Split(0, list[2].wire, list[3].wire, list[4].wire)
		t.Log("one cluster after", until(t, 5*time.Second, "one cluster", full(list, 5)))
	})
}

func TestRotation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var net clustertest.Network
		list := begin(t, &net, 4)
		until(t, 5*time.Second, "four nodes", full(list, 4))
		for _, step := range []func(m *member) error{
			func(m *member) error { return m.AddKey(key2) },
			func(m *member) error { return m.UseKey(KeyName(key2)) },
			func(m *member) error { return m.RemoveKey(KeyName(key1)) },
		} {
			for _, m := range list {
				if err := step(m); err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * time.Second) // gossip goes on under way
			}
		}
		a := list[0]
		if k := a.Keys(); len(k) != 1 || k[0] != (KeyInfo{KeyName(key2), true}) {
			t.Errorf("%+v", k)
		}
		for _, m := range list {
			for _, e := range m.took() {
				if strings.Contains(e, "left") {
					t.Errorf("meanwhile: %s", e)
				}
			}
		}
		if err := a.RemoveKey(KeyName(key2)); !errors.Is(err, ErrKeyInUse) {
			t.Error(err)
		}
		if err := a.UseKey(KeyName(key1)); !errors.Is(err, ErrNoKey) {
			t.Error(err)
		}
		if a.AddKey(key1) != nil || a.AddKey(key1) != nil || !errors.Is(a.AddKey(bytes.Repeat([]byte{3}, KeySize)), ErrKeys) ||
			!errors.Is(a.AddKey(nil), ErrKey) {
			t.Error("AddKey")
		}
	})
}

// Who does not belong is not let in, and both sides write one line that says why.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change       func(*Config)
		self         Meta
		here, theirs string
		there        int
	}{
		"key": {func(c *Config) { c.Keys = [][]byte{key2} }, meta("x", 1), "gossip with another key is refused", "it has another gossip key", 1},
		"label": {
			func(c *Config) { c.Label = "other" }, meta("x", 1),
			"gossip of a cluster with another label is refused", "another label, or is no node", 1,
		},
		"version": {func(c *Config) { c.Self.Protocol = 2 }, meta("x", 1), "it speaks version 2", "it speaks version 1", 2},
		"name":    {nil, meta("n-1", 2), "another node has its name", "another node has its name", 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var net clustertest.Network
				list := begin(t, &net, 2)
				until(t, 5*time.Second, "two nodes", full(list, 2))
				x := start(t, &net, list[:1], c.change, c.self)
				time.Sleep(90 * time.Second)
				synctest.Wait()
				if name != "name" && (list[0].Size() != 2 || x.Size() != 1) {
					t.Errorf("sizes %d and %d", list[0].Size(), x.Size())
				}
				if n := list[0].warnings(c.here); n != 1 {
					t.Errorf("%d lines here:\n%s", n, list[0].logs.String())
				}
				if n := x.warnings(c.theirs); n != c.there {
					t.Errorf("%d lines there:\n%s", n, x.logs.String())
				}
			})
		})
	}
}

// Leaving takes no longer than it may, also when nobody hears it.
func TestLeaveAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var net clustertest.Network
		list := begin(t, &net, 2)
		until(t, 5*time.Second, "two nodes", full(list, 2))
		_ = list[0].wire.Shutdown()
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := list[1].Leave(ctx); err != nil && !strings.Contains(err.Error(), "leaving the cluster") {
			t.Error(err)
		}
		if took := time.Since(began); took > 1100*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		list[1].Close()
	})
}

// What says nothing that can be understood, or lies about who it is, stays outside.
// A node that said it would go is not looked for, whenever it goes between two looks.
func TestLeaveIsNoLoss(t *testing.T) {
	for at := range 10 {
		bubble(t, func(t *testing.T) {
			var net clustertest.Network
			quick := func(c *Config) { c.Profile = Local }
			var list []*member
			for i := range 3 {
				list = append(list, start(t, &net, list[:min(i, 1)], quick, meta(fmt.Sprint("n-", i), 1)))
			}
			until(t, time.Minute, "the cluster", full(list, 3))
			time.Sleep(time.Duration(at) * Local.rejoin() / 10)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := list[2].Leave(ctx); err != nil {
				t.Fatal(err)
			}
			list[2].Close()
			until(t, time.Minute, "its end", full(list[:2], 2))
			time.Sleep(30 * time.Second)
			for _, m := range list[:2] {
				if m.warnings("not reached")+m.warnings("is gone") > 0 {
					t.Errorf("%s looks for who has left: %s", m.Self().ID, &m.logs)
				}
			}
		})
	}
}

func TestHostile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var net clustertest.Network
		a := start(t, &net, nil, func(c *Config) { c.MaxNodes = 2 }, meta("a", 1))
		good := meta("b", 1)
		data, err := good.Encode()
		if err != nil {
			t.Fatal(err)
		}
		h := hooks{a.Cluster}
		ip := []byte{10, 9, 9, 9}
		for want, n := range map[error]*memberlist.Node{
			ErrMeta: {Name: "b", Addr: ip, Meta: []byte{1, Protocol, 3}},
			errName: {Name: "c", Addr: ip, Meta: data},
		} {
			for range 3 {
				if err := h.NotifyAlive(n); !errors.Is(err, want) {
					t.Errorf("%v, want %v", err, want)
				}
			}
		}
		if err := h.NotifyAlive(&memberlist.Node{Name: "b", Addr: ip[:3], Meta: data}); !errors.Is(err, errName) {
			t.Error(err)
		}
		synctest.Wait()
		if err := h.NotifyAlive(&memberlist.Node{Name: "e", Addr: ip}); !errors.Is(err, ErrMeta) {
			t.Error(err)
		}
		for i := range 10000 {
			_ = h.NotifyAlive(&memberlist.Node{Name: fmt.Sprint("junk-", i), Addr: ip})
		}
		for _, name := range []string{"b", "c", "d"} {
			m := meta(name, 1)
			data, err := m.Encode()
			if err != nil {
				t.Fatal(err)
			}
			n := &memberlist.Node{Name: name, Addr: ip, Meta: data}
			if err := h.NotifyAlive(n); (err != nil) != (name == "d") {
				t.Errorf("%s: %v", name, err)
			} else if err == nil {
				h.NotifyJoin(n)
			}
		}
		synctest.Wait()
		if got := a.took(); !slices.Equal(got, []string{"b/1 joined", "c/1 joined"}) {
			t.Errorf("%q", got)
		}
		if a.warnings("node=b address=10.9.9.9:0 reason") != 1 || a.warnings("node=junk") >= maxReported {
			t.Errorf("%d lines of b, %d of made-up names", a.warnings("node=b"), a.warnings("node=junk"))
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if n := len(a.reported); n > maxReported {
			t.Errorf("%d are remembered", n)
		}
	})
}

// A load that trembles is not told; with many nodes changes are rare.
func TestLoad(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var net clustertest.Network
		list := begin(t, &net, 12)
		until(t, 5*time.Second, "twelve nodes", full(list, 12))
		b := list[1]
		list[0].took()
		changes := 0
		for i := range 600 {
			b.SetLoad(0.5 + 0.05*float64(i%2))
			time.Sleep(100 * time.Millisecond)
		}
		if changes = len(list[0].took()); changes != 1 {
			t.Errorf("%d changes of a trembling load", changes)
		}
		for i := range 600 {
			b.SetLoad(0.3 + 0.4*float64(i%2))
			time.Sleep(100 * time.Millisecond)
		}
		if changes = len(list[0].took()); changes < 3 || changes > 30 {
			t.Errorf("%d changes in a minute of a load that jumps", changes)
		}
	})
}

func TestSettings(t *testing.T) {
	var net clustertest.Network
	for want, spoil := range map[string]func(*Config){
		"there is no profile":     func(c *Config) { c.Profile = "space" },
		"cannot have the label":   func(c *Config) { c.Label = "" },
		"a gossip key is 32":      func(c *Config) { c.Keys = nil },
		"two keys already":        func(c *Config) { c.Keys = [][]byte{key1, key2, key1} },
		"a node cannot be called": func(c *Config) { c.Self.ID = "" },
		"is not host:port":        func(c *Config) { c.Transport, c.Bind = nil, "nowhere" },
		"is not an IP address":    func(c *Config) { c.Transport, c.Bind = nil, "nowhere:1" },
		"where others reach":      func(c *Config) { c.Transport, c.Bind, c.Advertise = nil, "127.0.0.1:0", "x" },
	} {
		cfg := Config{Self: meta("a", 1), Label: "test", Keys: [][]byte{key1}, Transport: net.New()}
		spoil(&cfg)
		if c, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", want, c, err)
		}
	}
}

// The same over sockets.
func TestSockets(t *testing.T) {
	joined := make(chan string, 16)
	var seeds []string
	for i := range 3 {
		c, err := New(Config{
			Self: meta(fmt.Sprint("s-", i), 1), Label: "test", Keys: [][]byte{key1}, Bind: "127.0.0.1:0", Seeds: seeds, Profile: Local,
			Notify: func(e Event) {
				if j, ok := e.(Joined); ok {
					joined <- j.Node.ID
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			c.Close()
			c.Close()
		})
		seeds = append(seeds, c.Self().Gossip)
	}
	for range 6 {
		select {
		case <-joined:
		case <-time.After(20 * time.Second):
			t.Fatal("they do not find each other")
		}
	}
}
