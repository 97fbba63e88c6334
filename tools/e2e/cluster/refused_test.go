//go:build linux

package cluster

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/shared/client"
	"portico/shared/identity"
	"portico/shared/wsconn"
	"portico/tools/netlab"
)

// stranger is an edge that is linked to all nodes, and which those of the cluster should not take for one of them.
func (c *cluster) stranger(name string, id identity.Files) *edge {
	c.t.Helper()
	e := &edge{node: node{cluster: c, name: name, region: west, home: c.lab.Namespace(name), identity: id}}
	shape := netlab.Shape{Delay: 200 * time.Microsecond}
	for _, n := range c.nodes() {
		c.lab.Link(e.home, n.home, shape, shape)
	}
	e.expose()
	return e
}

// nodes are those of the cluster.
func (c *cluster) nodes() (list []*node) {
	for _, e := range c.edges {
		list = append(list, &e.node)
	}
	return append(list, &c.relay.node)
}

// guest is the network of somebody who only wants to be let in, at one of these edges.
func (c *cluster) guest(name string, edges ...*edge) *netlab.Namespace {
	c.t.Helper()
	home := c.lab.Namespace(name)
	for _, e := range edges {
		c.lab.Link(home, e.home, netlab.Shape{}, netlab.Shape{})
	}
	return home
}

// enter joins with a token, without media.
func (c *cluster) enter(from *netlab.Namespace, token string) (*client.Conference, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	there := wsconn.DialOptions{Platform: wsconn.Platform{DialContext: from.DialContext}}
	return client.Join(ctx, token, client.Options{Dial: client.DialSocketIOBy(func(ctx context.Context, url string) (wsconn.Conn, error) {
		return wsconn.Dial(ctx, url, there)
	})})
}

// tokenFor is one of the cluster's that names another edge.
func (c *cluster) tokenFor(user string, at *edge) string {
	c.t.Helper()
	e := *c.edges[0]
	e.node.home = at.home
	return e.token(user)
}

// complaints are the lines of a node's log from a mark on that tell of a fault; with others, those that name one of them.
func (n *node) complaints(from int, others ...*node) (list []string) {
	for line := range strings.Lines(n.Since(from)) {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			if len(others) == 0 || slices.ContainsFunc(others, func(o *node) bool { return o.named(line) }) {
				list = append(list, strings.TrimSpace(line))
			}
		}
	}
	return list
}

// named tells whether a line has the node's name or address in it.
func (n *node) named(line string) bool {
	words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" :=\"\n", r) })
	return slices.ContainsFunc(words, func(word string) bool {
		return word == n.name || word == n.home.Addr().String()
	})
}

// anotherVersion builds an edge that speaks the next version of what nodes say to each other.
func (c *cluster) anotherVersion() string {
	c.t.Helper()
	root, err := filepath.Abs("../../..")
	c.must(err)
	replace := map[string]string{}
	for file, change := range map[string][2]string{
		"shared/cluster/meta.go": {"const Protocol = 1\n", "const Protocol = 2\n"},
		"shared/link/tls.go":     {`const alpn = "portico-link/1"`, `const alpn = "portico-link/2"`},
	} {
		text, err := os.ReadFile(filepath.Join(root, file))
		c.must(err)
		if strings.Count(string(text), change[0]) != 1 {
			c.t.Fatalf("%s does not have %q once", file, change[0])
		}
		changed := filepath.Join(c.dir, filepath.Base(file))
		c.must(os.WriteFile(changed, []byte(strings.Replace(string(text), change[0], change[1], 1)), 0o600))
		replace[filepath.Join(root, file)] = changed
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	c.must(err)
	list, program := filepath.Join(c.dir, "overlay.json"), filepath.Join(c.dir, "edge-of-another-version")
	c.must(os.WriteFile(list, overlay, 0o600))
	cmd := exec.CommandContext(c.t.Context(), "go", "build", "-overlay", list, "-o", program, "portico/edge")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("an edge of another version: %v\n%s", err, out)
	}
	return program
}

// another makes the authority of another cluster, with this one's secret or with its own.
func (c *cluster) another(name string, same bool) string {
	c.t.Helper()
	dir := filepath.Join(c.dir, name)
	if same {
		secret, err := os.ReadFile(filepath.Join(c.ca, "secret"))
		c.must(err)
		c.must(os.Mkdir(dir, 0o700))
		c.must(os.WriteFile(filepath.Join(dir, "secret"), secret, 0o600))
	}
	c.must(identity.Init(dir))
	return dir
}

// refusal is an edge that is not to be taken for one of the cluster's, and what each side says of it in its one line.
type refusal struct {
	name        string
	id          func(name string) identity.Files
	extra       []string
	program     string
	here, there string

	edge *edge
}

// refusals are all reasons there are, those together who do not hear of each other: who has the wrong certificate only takes part in gossip.
func (c *cluster) refusals() [][]*refusal {
	own := func(name string) identity.Files {
		id, err := identity.Issue(c.ca, name, identity.Edge, false)
		c.must(err)
		return id
	}
	return [][]*refusal{{
		{name: "key", id: own, extra: []string{"-cluster.secret_file", filepath.Join(c.another("keys", false), "secret")},
			here: "gossip key", there: "another key"},
		{name: "label", id: own, extra: []string{"-cluster.label", "other"}, here: "another label", there: "another label"},
		{name: "certificate", id: func(name string) identity.Files {
			id, err := identity.Issue(c.another("authority", true), name, identity.Edge, false)
			c.must(err)
			return id
		}, here: "certificate", there: "certificate"},
	}, {
		{name: "version", id: own, program: c.anotherVersion(), here: "version 1", there: "version 2"},
	}}
}

// TestRefused: an edge that is none of the cluster's is told so once, as is the cluster, and the room goes on without it.
func TestRefused(t *testing.T) {
	c, _, _, _ := everyone(t)
	before := c.settled()
	for _, some := range c.refusals() {
		c.refuses(t, some)
		if after := c.people[0].roster(); !slices.Equal(after, before) {
			t.Errorf("the room is not as before: %q, then %q", before, after)
		}
	}
}

// refuses has strangers come, and go again.
func (c *cluster) refuses(t *testing.T, all []*refusal) {
	t.Helper()
	marks := map[*node]int{}
	for _, n := range c.nodes() {
		marks[n] = n.Mark()
	}
	begin := time.Now()
	for _, r := range all {
		r.edge = c.stranger("x-"+r.name, r.id("x-"+r.name))
		r.edge.program = r.program
		r.edge.up(r.extra...)
		defer r.edge.Stop(t)
	}
	for _, r := range all {
		r.edge.says(0, "level=WARN", r.here)
	}
	t.Logf("all strangers know after %v", time.Since(begin).Round(10*time.Millisecond))
	c.lets(8 * time.Second) // in which it would be said again
	strangers := make([]*node, len(all))
	for i, r := range all {
		strangers[i] = &r.edge.node
		t.Run(r.name, func(t *testing.T) {
			c.spoke(t, r, marks)
			c.apart(t, r.edge)
		})
	}
	for n, mark := range marks {
		if said := n.complaints(mark); len(said) > len(n.complaints(mark, strangers...)) {
			t.Errorf("%s complains of more than the strangers:\n%s", n.name, strings.Join(said, "\n"))
		}
	}
	c.uninterrupted(c.people, begin, time.Now(), 300*time.Millisecond, time.Second)
	c.agree(5 * time.Second)
}

// spoke checks what the log of a stranger and those of the cluster's nodes, from the marks on, say of each other.
func (c *cluster) spoke(t *testing.T, r *refusal, marks map[*node]int) {
	t.Helper()
	e := r.edge
	if all := e.complaints(0); len(all) > len(e.complaints(0, c.nodes()...)) {
		t.Errorf("%s complains of more than the nodes:\n%s", e.name, strings.Join(all, "\n"))
	}
	both := 0
	for n, mark := range marks {
		told, tells := e.complaints(0, n), n.complaints(mark, &e.node)
		if len(told) > 0 && len(tells) > 0 {
			both++
			t.Logf("%s and %s say of each other:\n%s\n%s", e.name, n.name, told[0], tells[0])
		}
		for _, l := range []struct {
			lines []string
			word  string
		}{{told, r.here}, {tells, r.there}} {
			if len(l.lines) > 1 || len(l.lines) == 1 && !strings.Contains(l.lines[0], l.word) {
				t.Errorf("%s and %s do not say once that it is the %s:\n%s", e.name, n.name, l.word, strings.Join(l.lines, "\n"))
			}
		}
	}
	if both == 0 {
		t.Errorf("%s and the cluster do not both say that they do not take each other", e.name)
	}
}

// apart checks that whoever joins at a stranger is not in the cluster's room.
func (c *cluster) apart(t *testing.T, e *edge) {
	t.Helper()
	visitor, err := c.enter(c.guest("guest-"+e.name, e), c.tokenFor("visitor", e))
	if err != nil {
		t.Logf("who joins there is told: %v", err)
		return
	}
	defer func() { _ = visitor.Leave(context.Background()) }()
	info := visitor.Info()
	t.Logf("who joins there is with %d others", len(info.Participants)-1)
	if len(info.Participants) > 1 {
		t.Errorf("who joins at %s sees %v", e.name, info.Participants)
	}
	if s, ok := c.status(c.edges[0]); ok {
		for _, r := range s.Rooms {
			if slices.Contains(r.Anchors, e.name) || r.Home == e.name {
				t.Errorf("%s has a part in the room: %+v", e.name, r)
			}
		}
	}
}
