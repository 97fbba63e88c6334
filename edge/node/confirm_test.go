package node

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"portico/shared/cluster"
	"portico/shared/placement"
)

// edgeMeta is how an edge describes itself.
func edgeMeta(id string) cluster.Meta {
	return cluster.Meta{
		ID: id, Boot: 7, Roles: cluster.Edge, Capacity: 100, Addresses: []cluster.Address{{Use: cluster.ForLinks, Text: "192.0.2.1:8080"}},
	}
}

// gossip is a members of the edge self to which gossip says what is in heard.
type gossip struct {
	*members
	links map[string]bool
}

func newGossip() *gossip {
	g := &gossip{links: map[string]bool{}, members: &members{
		self: placement.Name{ID: "self"}, heard: map[string]cluster.Node{}, nodes: map[string]cluster.Node{},
		confirmed: map[string]cluster.Meta{}, inquiries: map[string]*inquiry{},
	}}
	g.hear(edgeMeta("self"))
	return g
}

func (g *gossip) hear(m cluster.Meta) {
	g.heard[m.ID] = cluster.Node{Meta: m, Gossip: "192.0.2.1:7946"}
}

// edgesNow are the edges that count.
func (g *gossip) edgesNow() (ids []string) {
	g.nodes = g.believe(g.heard, g.links)
	edges, _ := g.sorted(g.nodes)
	for _, e := range edges {
		ids = append(ids, fmt.Sprintf("%s/%d", e.ID, e.Boot))
	}
	return ids
}

func (g *gossip) want(t *testing.T, what string, ids ...string) {
	t.Helper()
	if got := g.edgesNow(); !slices.Equal(got, ids) {
		t.Errorf("%s: the edges are %q, not %q", what, got, ids)
	}
}

// Gossip says whom to ask; what counts is what nodes say themselves, as long as there is a link to them.
func TestBelieve(t *testing.T) {
	g := newGossip()
	g.hear(edgeMeta("a"))
	g.want(t, "nobody has confirmed it", "self/7")
	g.confirmed["a"] = edgeMeta("a")
	g.want(t, "it is confirmed", "a/7", "self/7")

	for what, change := range map[string]func(*cluster.Meta){
		"another life": func(m *cluster.Meta) { m.Boot = 9 }, "another role": func(m *cluster.Meta) { m.Roles = cluster.Relay },
		"another address": func(m *cluster.Meta) { m.Addresses[0].Text = "192.0.2.66:1" },
		"another state":   func(m *cluster.Meta) { m.State = cluster.Leaving },
	} {
		for _, linked := range []bool{true, false} {
			g.links["a"] = linked
			m := edgeMeta("a")
			change(&m)
			g.hear(m)
			g.want(t, what, "a/7", "self/7")
			n := g.nodes["a"]
			if n.Address(cluster.ForLinks) != "192.0.2.1:8080" || linked && n.State != cluster.Active {
				t.Errorf("%s is believed: %+v", what, n)
			}
			if asked := g.unconfirmed(g.links, time.Now().Add(time.Hour)); len(asked) != 1 || asked[0].ID != "a" {
				t.Errorf("%s: %v are asked", what, asked)
			}
			clear(g.inquiries)
		}
	}
	g.links["a"] = true
	delete(g.heard, "a")
	g.want(t, "gossip has lost it, and it is linked", "a/7", "self/7")
	if !g.holding() {
		t.Error("nobody looks when the link ends")
	}
	g.links["a"] = false
	g.want(t, "gossip has lost it, and there is no link", "self/7")
	g.hear(edgeMeta("a"))
	g.want(t, "it is back, and has to confirm it again", "self/7")
}

// A node that answers otherwise than gossip says, or not at all, is asked again ever more rarely; a crowd of those does not keep a node
// that is linked from being asked.
func TestInquiries(t *testing.T) {
	g := newGossip()
	for i := range 10 * confirming {
		g.hear(edgeMeta(fmt.Sprintf("y%d", i)))
	}
	now := time.Now()
	if asked := g.unconfirmed(g.links, now); len(asked) != confirming {
		t.Fatalf("%d are asked at a time", len(asked))
	}
	if asked := g.unconfirmed(g.links, now); len(asked) != 0 {
		t.Errorf("%d more are asked", len(asked))
	}
	g.hear(edgeMeta("a"))
	g.links["a"] = true
	if asked := g.unconfirmed(g.links, now); len(asked) != 1 || asked[0].ID != "a" {
		t.Errorf("%v are asked, and not the one that is linked", asked)
	}
	says := edgeMeta("a")
	says.Boot = 8
	g.answered(says, edgeMeta("a"), true)
	g.want(t, "its own word", "a/8", "self/7")
	var asked []time.Duration
	for at := time.Duration(0); at < 2*time.Minute; at += 100 * time.Millisecond {
		for _, n := range g.unconfirmed(g.links, now.Add(at)) {
			if n.ID == "a" {
				asked = append(asked, at.Round(time.Second))
				q := g.inquiries["a"]
				g.answered(says, n.Meta, false)
				q.next = now.Add(at + q.wait)
			}
		}
	}
	about := func(a, seconds time.Duration) bool { return a >= seconds*time.Second && a <= (seconds+1)*time.Second }
	if !slices.EqualFunc(asked, []time.Duration{1, 3, 7, 15, 31, 61, 91}, about) {
		t.Errorf("asked after %v", asked)
	}
	g.hear(says) // the truth has come round
	if asked := g.unconfirmed(g.links, now); len(asked) != 0 || g.inquiries["a"] != nil {
		t.Errorf("%v are asked", asked)
	}
}

// TestRelayIsNoEdge: what a node says of itself counts for the role under which it was asked.
func TestRelayIsNoEdge(t *testing.T) {
	m := &members{heard: map[string]cluster.Node{}, nodes: map[string]cluster.Node{}, confirmed: map[string]cluster.Meta{}, inquiries: map[string]*inquiry{}}
	asked := cluster.Meta{ID: "r", Boot: 1, Roles: cluster.Relay}
	m.heard["r"] = cluster.Node{Meta: asked}
	is := asked
	is.Roles, is.Capacity = cluster.Edge, 100
	is.Addresses = []cluster.Address{{Use: cluster.ForSecure, Text: "elsewhere.example:443"}}
	m.answered(is, asked, true)
	m.nodes = m.believe(m.heard, map[string]bool{})
	m.edges, _ = m.sorted(m.nodes)
	if len(m.portals("")) > 0 || m.pages.Allow("https://elsewhere.example") || m.isConfirmed("r") {
		t.Error("a relay is an edge by its own word")
	}
}
