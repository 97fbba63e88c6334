//go:build linux

package cluster

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/edge/store"
	"portico/shared/identity"
	"portico/shared/jsonvalue"
	sharedtoken "portico/shared/token"
	"portico/tools/netlab"
	"portico/tools/portico/manage"
	"portico/tools/proctest"
)

// patience is how long the tests wait for what has no limit of its own.
const patience = 30 * time.Second

// The regions, and the way between them.
const (
	west = "west"
	east = "east"
)

var far = netlab.Shape{Delay: 25 * time.Millisecond, Loss: 0.005}

// cluster is three edges, the first two in the west and the third in the east, and a relay in the west.
type cluster struct {
	t     *testing.T
	lab   *netlab.TestLab
	dir   string
	files string // of the programs
	ca    string
	edges []*edge
	relay *relay
	lines map[[2]*netlab.Namespace]*netlab.Link
	store string   // url
	extra []string // settings of the edges beside those that all clusters have

	people []*person
	super  manage.Settings  // of the service that may see the cluster
	keys   sharedtoken.Keys // of tokens
	room   string
}

// node is what edges and relays have in common.
type node struct {
	*proctest.Process // nil: it was never started
	*cluster
	name, region string
	home         *netlab.Namespace
	identity     identity.Files
}

type edge struct {
	node
	program string         // the file; empty: as all
	outside string         // where this process reaches it: http://host:port
	api     *manage.Client // as the sample service
}

type relay struct{ node }

const (
	clientPort = 8080
	gossipPort = 7946
)

func (n *node) at(port uint16) string { return netip.AddrPortFrom(n.home.Addr(), port).String() }

// start starts a cluster with a room, and returns when everybody sees everybody.
func start(t *testing.T, extra ...string) *cluster {
	t.Helper()
	return startOn(t, "", extra...)
}

// startOn is start with the URL of a store; empty: a database in a folder of the test's.
func startOn(t *testing.T, url string, extra ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, lab: netlab.ForTest(t, 1), dir: t.TempDir(), store: url, extra: extra, lines: map[[2]*netlab.Namespace]*netlab.Link{}}
	files, err := programs.Get()
	c.must(err)
	c.files, c.ca = files, filepath.Join(c.dir, "ca")
	if url == "" {
		c.store = "sqlite:" + filepath.Join(c.dir, "store")
	}
	c.must(identity.Init(c.ca))
	for _, e := range []struct{ name, region string }{{"w1", west}, {"w2", west}, {"e1", east}} {
		c.edges = append(c.edges, &edge{node: c.node(e.name, e.region, identity.Edge)})
	}
	c.relay = &relay{c.node("relay", west, identity.Relay)}
	all := []*node{&c.edges[0].node, &c.edges[1].node, &c.edges[2].node, &c.relay.node}
	for i, a := range all {
		for _, b := range all[i+1:] {
			shape := netlab.Shape{Delay: 200 * time.Microsecond}
			if a.region != b.region {
				shape = far
			}
			c.lines[[2]*netlab.Namespace{a.home, b.home}] = c.lab.Link(a.home, b.home, shape, shape)
		}
	}
	for _, e := range c.edges {
		e.expose()
		e.up()
	}
	c.relay.up()
	c.manage()
	c.whole(len(all))
	return c
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) node(name, region, role string) node {
	c.t.Helper()
	id, err := identity.Issue(c.ca, name, role, false)
	c.must(err)
	return node{cluster: c, name: name, region: region, home: c.lab.Namespace(name), identity: id}
}

// line is the link between two nodes.
func (c *cluster) line(a, b *node) *netlab.Link {
	if l := c.lines[[2]*netlab.Namespace{a.home, b.home}]; l != nil {
		return l
	}
	return c.lines[[2]*netlab.Namespace{b.home, a.home}]
}

// settings of a node of the cluster.
func (n *node) settings() []string {
	seeds := []string{n.edges[0].at(gossipPort), n.edges[1].at(gossipPort)}
	return []string{
		"-log.level", "info", "-cluster.folder", filepath.Dir(n.identity.CA), "-cluster.region", n.region, "-cluster.listen", n.at(gossipPort),
		"-cluster.seeds", strings.Join(seeds, ","),
	}
}

func (e *edge) expose() {
	e.t.Helper()
	outside, err := e.home.Expose(netip.AddrPortFrom(e.home.Addr(), clientPort))
	e.must(err)
	e.outside = "http://" + outside.String()
}

// up starts the edge, in its place and with its data.
func (e *edge) up(extra ...string) {
	e.t.Helper()
	arguments := append(append(e.settings(), e.extra...), "-http.listen", e.at(clientPort), "-http.metrics_from", "0.0.0.0/0",
		"-data_dir", filepath.Join(e.dir, e.name), "-store.url", e.store, "-cluster.drain_timeout", "10s")
	program := cmp.Or(e.program, filepath.Join(e.files, "edge"))
	p, err := proctest.Run(e.name, e.home.Start, program, nil, append(arguments, extra...)...)
	e.must(err)
	e.Process = p
	e.t.Cleanup(func() { p.Stop(e.t) })
	e.says(0, "edge started")
}

func (r *relay) up(extra ...string) {
	r.t.Helper()
	arguments := append(r.settings(), "-turn.udp", r.at(3478), "-turn.tcp", r.at(3478), "-turn.tls", "", "-turn.public_ip", r.home.Addr().String(),
		"-admin.listen", r.at(9090), "-link.listen", r.at(8081))
	p, err := proctest.Run(r.name, r.home.Start, filepath.Join(r.files, "relay"), nil, append(arguments, extra...)...)
	r.must(err)
	r.Process = p
	r.t.Cleanup(func() { p.Stop(r.t) })
	r.says(0, "relay started")
}

// says waits until the node has said something.
func (n *node) says(from int, words ...string) string {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	line, err := n.Said(ctx, from, words...)
	n.must(err)
	return line
}

// manage opens the management API of each edge, and makes the room by the first.
func (c *cluster) manage() {
	c.t.Helper()
	shared := store.IsPostgres(c.store)
	var o store.Options
	if shared {
		o.KeyFile = filepath.Join(c.dir, c.edges[0].name, "cluster-store.key")
	}
	db, err := store.Open(c.t.Context(), c.store, o)
	c.must(err)
	sample, err := db.ServiceByName(c.t.Context(), store.SampleServiceName)
	c.must(err)
	super, err := db.ServiceByName(c.t.Context(), store.SuperServiceName)
	c.must(err)
	if shared {
		c.keys, err = store.ClusterKeys(c.t.Context(), db, "token")
		c.must(err)
	} else {
		secret, err := identity.LoadSecret(c.edges[0].identity.SecretFile())
		c.must(err)
		c.keys = sharedtoken.Keys{Current: sharedtoken.KeyFromRandom([64]byte(secret.Derive("token key", 64)))}
	}
	c.must(db.Close())
	c.super = manage.Settings{Service: super.ID, Key: super.Key}
	for _, e := range c.edges {
		e.api, err = manage.New(manage.Settings{URL: e.outside, Service: sample.ID, Key: sample.Key})
		c.must(err)
	}
	options, err := jsonvalue.Parse([]byte(`{"enableBandwidthAdaptation": true}`), jsonvalue.Limits{})
	c.must(err)
	created, err := c.edges[0].api.CreateRoom(c.t.Context(), "cluster", options)
	c.must(err)
	c.room = created.Get("_id").Text()
}

// until looks again and again: what it waits for is told by nobody.
func (c *cluster) until(limit time.Duration, what string, ok func() bool) time.Duration {
	c.t.Helper()
	begin := time.Now()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-c.t.Context().Done():
			c.t.FailNow()
		}
		if time.Since(begin) > limit {
			c.tails()
			c.t.Fatalf("not within %v: %s", limit, what)
		}
	}
	return time.Since(begin)
}

// tails shows what the nodes said last.
func (c *cluster) tails() {
	for _, n := range []*node{&c.edges[0].node, &c.edges[1].node, &c.edges[2].node, &c.relay.node} {
		if n.Process != nil {
			c.t.Logf("%s said last:\n%s", n.name, n.Tail())
		}
	}
}

// lets so much time pass, for something to be measured.
func (c *cluster) lets(d time.Duration) {
	select {
	case <-time.After(d):
	case <-c.t.Context().Done():
	}
}

func (e *edge) url() string { return fmt.Sprintf("http://%s", e.at(clientPort)) }
