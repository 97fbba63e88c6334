package cascade

import (
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

func (e *edge) neighbourNames() []string {
	return slices.Sorted(maps.Keys(*e.neighbours.Load()))
}

// TestEdgeLeftCluster: an edge that is in the cluster no more is forgotten, but not before nothing comes from it or goes there; and what
// comes back begins anew.
func TestEdgeLeftCluster(t *testing.T) {
	x := newCluster(t, 2, nil)
	a, b := x.edges[0], x.edges[1]
	alice := publish(a, "alice", "alice-pub", 1)
	alice.remote(b, "alice-pub")
	bob := watch(b, "bob", "sub-bob", alice)
	bob.picture.gets(t, "a picture", 1)
	for _, e := range x.edges {
		e.View([]string{a.name, b.name})
	}
	a.View([]string{a.name})
	b.View([]string{b.name})
	bob.picture.gets(t, "pictures all the same", 1)
	if len(a.neighbourNames()) != 1 || len(b.neighbourNames()) != 1 {
		t.Errorf("known: %q, %q", a.neighbourNames(), b.neighbourNames())
	}
	b.engine.Stop("sub-bob")
	l, err := b.peers.Link(t.Context(), a.name)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "all is let go", func() bool { return len(b.pulls()) == 0 && a.serves(b) == 0 })
	l.Close() // else the call is kept for a while
	waitFor(t, "both are forgotten", func() bool { return len(a.neighbourNames())+len(b.neighbourNames()) == 0 })
	carol := watch(b, "carol", "sub-carol", alice)
	carol.picture.gets(t, "a picture of one that is back", 1)
	a.View([]string{a.name, b.name})
	b.View([]string{a.name, b.name})
	b.engine.Stop("sub-carol")
	waitFor(t, "all is let go once more", func() bool { return len(b.pulls()) == 0 && a.serves(b) == 0 })
	if len(a.neighbourNames()) != 1 || len(b.neighbourNames()) != 1 {
		t.Errorf("known: %q, %q", a.neighbourNames(), b.neighbourNames())
	}
}

// TestParentAgain: a parent that did not have a stream is asked again after a while, though nobody says that anything has changed.
func TestParentAgain(t *testing.T) {
	const shun = 100 * time.Millisecond
	var parent, child string
	var asked atomic.Int64
	x := newCluster(t, 3, func(o *Options) {
		o.shun = shun
		o.Parent = func(string, string, string) string {
			if o.Links.Self() == child {
				asked.Add(1)
				return parent
			}
			return ""
		}
	})
	a, b, c := x.edges[0], x.edges[1], x.edges[2]
	parent, child = b.name, c.name
	alice := publish(a, "alice", "alice-pub", 1)
	alice.remote(c, "alice-pub") // the parent has not heard of it yet
	carol := watch(c, "carol", "sub-carol", alice)
	carol.picture.gets(t, "a picture from the origin", 1)
	n := asked.Load()
	waitFor(t, "the parent is asked again, and again", func() bool { return asked.Load() > n+4 })
	waitFor(t, "it comes from the origin", func() bool { return a.serves(c) == 2 && b.serves(c) == 0 })
	alice.remote(b, "alice-pub")
	waitFor(t, "it comes from the parent", func() bool { return a.serves(c) == 0 && b.serves(c) == 2 })
	carol.sound.gets(t, "sound", 1)
	carol.picture.gets(t, "a picture", 1)
	carol.stays()
	_ = c.loop.Do(t.Context(), func() {
		if s := c.streams["alice-pub"]; len(s.shunned) != 0 {
			t.Errorf("shunned: %v", s.shunned)
		}
	})
	c.RemoteEnded("alice-pub")
	_ = c.loop.Do(t.Context(), func() {})
}
