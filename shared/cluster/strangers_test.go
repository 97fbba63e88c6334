package cluster

import (
	"testing"

	"github.com/hashicorp/memberlist"

	"portico/shared/cluster/clustertest"
)

// TestStrangers: whoever has the key of gossip and makes nodes up takes a part of the places, and none of those that are confirmed, which come
// back as long as they are remembered.
func TestStrangers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var net clustertest.Network
		a := start(t, &net, nil, func(c *Config) { c.MaxNodes, c.MaxStrangers = 4, 2 }, meta("a", 1))
		h := hooks{a.Cluster}
		node := func(name string) *memberlist.Node {
			m := meta(name, 1)
			data, err := m.Encode()
			if err != nil {
				t.Fatal(err)
			}
			return &memberlist.Node{Name: name, Addr: []byte{10, 9, 9, 9}, Meta: data}
		}
		comes := func(name string, want error) {
			t.Helper()
			n := node(name)
			if err := h.NotifyAlive(n); err != want {
				t.Errorf("%s: %v, want %v", name, err, want)
			} else if err == nil {
				h.NotifyJoin(n)
			}
		}
		goes := func(name string) { h.NotifyLeave(node(name)) }
		for _, name := range []string{"b", "c", "d"} {
			comes(name, nil)
			a.Confirm(name)
			a.Confirm(name)
		}
		comes("x", nil)
		comes("y", errFull) // four in all
		goes("b")
		comes("y", nil)
		comes("z", errFull)
		comes("x", nil) // it is there
		comes("b", nil) // though there are four without it
		a.Confirm("e")
		comes("e", nil)
		a.Confirm("f")
		comes("f", errFull) // those are bounded, too: by MaxNodes
		goes("c")
		a.Confirm("f") // in the place of one that is gone
		comes("f", nil)
		a.Confirm("x") // there is no room in what is remembered
		comes("c", errFull)
		goes("x")
		goes("x")
		goes("nobody")
		comes("z", errFull)
		for _, name := range []string{"b", "d", "e"} {
			goes(name)
		}
		comes("z", nil)
		comes("u", errFull) // the bound of strangers
		goes("y")
		comes("u", nil)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.strangers != 2 || len(a.present) != 3 || len(a.known) != 4 {
			t.Errorf("%d strangers, %v, known %v", a.strangers, a.present, a.known)
		}
	})
}
