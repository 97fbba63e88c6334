package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/edge/clusterapi"
	"portico/edge/config"
	"portico/edge/node"
	"portico/edge/store"
	"portico/shared/identity"
	"portico/shared/jsonvalue"
	"portico/shared/token"
)

// town is a cluster of edges in this process, with one store.
type town struct {
	t      *testing.T
	ids    []*identity.Identity
	secret identity.Secret
	folder string
	edges  []*townEdge
	super  store.Service
	room   string
}

type townEdge struct {
	*node.Node
	url  string
	log  *lines
	stop func()
}

// lines are a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// until waits for what no event tells.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	look, deadline := time.NewTicker(10*time.Millisecond), time.NewTimer(patience)
	defer look.Stop()
	defer deadline.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func newTown(t *testing.T, edges int) *town {
	t.Helper()
	return newTownOf(t, edges, nil)
}

func newTownOf(t *testing.T, edges int, change func(*config.Settings)) *town {
	t.Helper()
	roles := make([]string, edges)
	for i := range roles {
		roles[i] = identity.Edge
	}
	ids, err := identity.Ephemeral(roles...)
	if err != nil {
		t.Fatal(err)
	}
	c := &town{t: t, ids: ids, secret: identity.NewSecret(), folder: filepath.Join(t.TempDir(), "store")}
	for range edges {
		c.start(change)
	}
	db, err := store.OpenSQLite(t.Context(), c.folder, store.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if c.super, err = db.ServiceByName(t.Context(), store.SuperServiceName); err != nil {
		t.Fatal(err)
	}
	until(t, "the cluster", func() bool {
		for _, e := range c.edges {
			if len(e.Nodes()) != edges {
				return false
			}
		}
		return true
	})
	return c
}

// start adds an edge.
func (c *town) start(change func(*config.Settings)) *townEdge {
	c.t.Helper()
	e := c.build(change)
	if err := e.Start(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.edges = append(c.edges, e)
	e.stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			c.t.Errorf("stop: %v", err)
		}
	})
	c.t.Cleanup(e.stop)
	return e
}

func (c *town) build(change func(*config.Settings)) *townEdge {
	c.t.Helper()
	cfg := config.Default()
	cfg.Dev = true
	cfg.HTTP.Listen, cfg.DataDir, cfg.Store.URL = "127.0.0.1:0", c.t.TempDir(), "sqlite:"+c.folder
	cfg.Cluster.Listen, cfg.Cluster.Profile, cfg.Cluster.DrainTimeout = "127.0.0.1:0", "local", 3*time.Second
	cfg.Secret = c.secret
	if len(c.edges) < len(c.ids) {
		cfg.Identity = c.ids[len(c.edges)]
	}
	for _, other := range c.edges {
		cfg.Cluster.Seeds = append(cfg.Cluster.Seeds, other.GossipAddr())
	}
	if change != nil {
		change(cfg)
	}
	sockets, err := node.Listen(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	e := &townEdge{url: fmt.Sprintf("http://127.0.0.1:%d", sockets.Port()), log: &lines{}}
	e.Node, err = node.New(cfg, sockets, slog.New(slog.NewTextHandler(e.log, nil)))
	if err != nil {
		sockets.Close()
		c.t.Fatal(err)
	}
	return e
}

// call makes a request of the management API as the super service.
func (c *town) call(e *townEdge, method, path, body string, into any) int {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, e.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	a := token.MAuth{ServiceID: c.super.ID, Nonce: "n", Timestamp: fmt.Sprint(time.Now().UnixMilli())}
	r.Header.Set("Authorization", a.Sign(c.super.Key).Header())
	r.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if text, ok := into.(*bytes.Buffer); ok {
		if _, err := text.ReadFrom(answer.Body); err != nil {
			c.t.Fatal(err)
		}
		return answer.StatusCode
	}
	if into != nil && answer.StatusCode == http.StatusOK {
		if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
			c.t.Fatal(err)
		}
	}
	return answer.StatusCode
}

// citizen is a participant; what it is told comes by told.
type citizen struct {
	id   string
	told chan string
	ack  jsonvalue.Value
}

// join lets somebody in by an edge, with a token that another may have made.
func (c *town) join(at *townEdge, tokenOf *townEdge, roomName string) *citizen {
	c.t.Helper()
	p := &citizen{told: make(chan string, 100)}
	conn := connectWith(c.t, at.url, func(name string, data []jsonvalue.Value) {
		text := name
		if len(data) > 0 {
			text += " " + data[0].String()
		}
		p.told <- text
	}, func(error) { p.told <- "closed" })
	ack, err := conn.Request(c.t.Context(), "login", login(demoToken(c.t, tokenOf.url, roomName)))
	if err != nil || ack[0].Text() != "ok" {
		c.t.Fatalf("login: %v, %v", ack, err)
	}
	p.ack, p.id = ack[1], ack[1].Get("id").Text()
	return p
}

// hears waits for an event with all these words.
func (p *citizen) hears(t *testing.T, words ...string) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case text := <-p.told:
			all := true
			for _, w := range words {
				all = all && strings.Contains(text, w)
			}
			if all {
				return
			}
		case <-deadline.C:
			t.Fatalf("does not hear %q", words)
		}
	}
}

// One room lives on all edges of a cluster: who joins by one is seen by those on the others, with a token that any of them has made.
func TestRoomOnSeveralEdges(t *testing.T) {
	c := newTown(t, 3)
	a := c.join(c.edges[0], c.edges[0], "r")
	b := c.join(c.edges[1], c.edges[2], "r")
	a.hears(t, "participant", "join", b.id)
	if list := b.ack.Path("room", "participants"); list.Len() != 2 {
		t.Errorf("the second sees %s", list)
	}
	z := c.join(c.edges[2], c.edges[0], "r")
	a.hears(t, "participant", "join", z.id)
	b.hears(t, "participant", "join", z.id)

	var s clusterapi.Status
	if code := c.call(c.edges[1], "GET", "/v1/cluster", "", &s); code != http.StatusOK || len(s.Nodes) != 3 || len(s.Rooms) != 1 {
		t.Fatalf("%d: %+v", code, s)
	}
	room := s.Rooms[0]
	if room.Home == "" || len(room.Followers) != 2 || len(room.Anchors) != 2 || room.Entries < 3 || room.Why == "" {
		t.Errorf("%+v", room)
	}
	until(t, "a standby", func() bool {
		var s clusterapi.Status
		return c.call(c.edges[1], "GET", "/v1/cluster", "", &s) == http.StatusOK && len(s.Rooms) == 1 && slices.Contains(s.Rooms[0].Followers, s.Rooms[0].Standby)
	})
	people := 0
	for _, n := range s.Nodes {
		if people += n.Participants; n.Error != "" || n.State != "active" || n.Role != "edge" || n.Portal == "" {
			t.Errorf("%+v", n)
		}
	}
	if people != 3 || len(s.Links) < 4 {
		t.Errorf("%d participants, links %+v", people, s.Links)
	}

	_, metrics := get(t, c.edges[0].url+"/metrics")
	for _, line := range []string{`portico_cluster_nodes{role="edge"} 3`, `portico_cluster_nodes{role="relay"} 0`, "portico_cluster_draining 0"} {
		if !strings.Contains(metrics, line) {
			t.Errorf("metrics lack %s", line)
		}
	}

	// The home goes: what it had goes on elsewhere.
	for i, e := range c.edges {
		if e.Self() == room.Home {
			e.stop()
			other := c.edges[(i+1)%3]
			until(t, "another home", func() bool {
				var s clusterapi.Status
				return c.call(other, "GET", "/v1/cluster", "", &s) == http.StatusOK && len(s.Rooms) == 1 && s.Rooms[0].Home != room.Home && len(s.Nodes) == 2
			})
		}
	}
}

// An edge that drains takes nobody new, is given to nobody, says so, and takes part again when it is told to.
func TestDrain(t *testing.T) {
	c := newTown(t, 2)
	c.join(c.edges[0], c.edges[0], "r")
	drained, other := c.edges[0], c.edges[1]
	if code := c.call(other, "POST", "/v1/cluster/nodes/nobody/drain", "", nil); code != http.StatusNotFound {
		t.Errorf("a node that is not there: %d", code)
	}
	if code := c.call(other, "POST", "/v1/cluster/nodes/"+drained.Self()+"/drain", "", nil); code != http.StatusOK {
		t.Fatalf("%d", code)
	}
	if code, body := get(t, drained.url+"/readyz"); code != http.StatusServiceUnavailable || body != "draining\n" {
		t.Errorf("%d %s", code, body)
	}
	state := func() (state, home string) {
		var s clusterapi.Status
		if c.call(other, "GET", "/v1/cluster", "", &s) != http.StatusOK {
			return "", ""
		}
		for _, n := range s.Nodes {
			if n.ID == drained.Self() {
				state = n.State
			}
		}
		if len(s.Rooms) == 1 {
			home = s.Rooms[0].Home
		}
		return state, home
	}
	until(t, "the drain", func() bool { s, home := state(); return s == "draining" && home == other.Self() })
	until(t, "a refusal that names the other edge", func() bool {
		ack, err := connect(t, drained.url).Request(t.Context(), "login", login(demoToken(t, other.url, "r")))
		if err != nil || ack[0].Text() != "error" {
			t.Fatalf("login: %v, %v", ack, err)
		}
		return strings.Contains(jsonvalue.OfArray(ack...).String(), other.url)
	})
	if code := c.call(drained, "DELETE", "/v1/cluster/nodes/"+drained.Self()+"/drain", "", nil); code != http.StatusOK {
		t.Errorf("%d", code)
	}
	until(t, "the end of the drain", func() bool { s, _ := state(); return s == "active" })
	if code, _ := get(t, drained.url+"/readyz"); code != http.StatusOK {
		t.Errorf("readyz %d", code)
	}
	c.join(drained, other, "r")
}

// Keys of gossip are replaced on all nodes by any of them, and by nobody but the super service.
func TestKeys(t *testing.T) {
	c := newTown(t, 2)
	var d clusterapi.Done
	keys := func() (used, all []string) {
		t.Helper()
		if code := c.call(c.edges[0], "GET", "/v1/cluster/keys", "", &d); code != http.StatusOK || !d.Done {
			t.Fatalf("%d %+v", code, d)
		}
		for _, n := range d.Nodes {
			for _, k := range n.Keys {
				all = append(all, k.Name)
				if k.InUse {
					used = append(used, k.Name)
				}
			}
		}
		return used, all
	}
	before, _ := keys()
	change := func(do, member, value string, want int) {
		t.Helper()
		body := fmt.Sprintf(`{"do": %q, %q: %q}`, do, member, value)
		d = clusterapi.Done{}
		if code := c.call(c.edges[1], "POST", "/v1/cluster/keys", body, &d); code != want || want == http.StatusOK && !d.Done {
			t.Errorf("%s: %d %+v", do, code, d)
		}
	}
	change("use", "name", "0badc0de", http.StatusConflict)
	change("remove", "name", before[0], http.StatusConflict)
	change("add", "key", "short", http.StatusBadRequest)
	change("add", "key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", http.StatusOK)
	_, all := keys()
	if len(all) != 4 {
		t.Fatalf("%v", all)
	}
	added := all[1]
	change("use", "name", added, http.StatusOK)
	change("remove", "name", before[0], http.StatusOK)
	if used, all := keys(); len(all) != 2 || used[0] != added || used[1] != added {
		t.Errorf("%v of %v", used, all)
	}
	if len(c.edges[0].Nodes()) != 2 || len(c.edges[1].Nodes()) != 2 {
		t.Error("the nodes have lost each other")
	}
	super := c.super
	c.super.Key = "wrong"
	if code := c.call(c.edges[0], "GET", "/v1/cluster/keys", "", nil); code != http.StatusUnauthorized {
		t.Errorf("a wrong key: %d", code)
	}
	c.super = super
}

// A node that does not belong to the cluster is told why, and so are the others.
func TestStrangers(t *testing.T) {
	c := newTown(t, 1)
	foreign, err := identity.Ephemeral(identity.Edge, identity.Edge)
	if err != nil {
		t.Fatal(err)
	}
	both := func(what string, change func(*config.Settings), ours, theirs string) {
		t.Helper()
		e := c.build(func(s *config.Settings) { s.Identity = foreign[1]; change(s) })
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = e.Stop(context.Background()) }()
		until(t, what+" is noticed by both", func() bool { return c.edges[0].log.has(ours) && e.log.has(theirs) })
	}
	both("another gossip key", func(s *config.Settings) { s.Secret = identity.NewSecret() },
		"gossip with another key is refused", "it has another gossip key")
	both("another label", func(s *config.Settings) { s.Cluster.Label = "other" },
		"gossip of a cluster with another label is refused", "another label")
}

// Whoever has the cluster's secret and no certificate of its authority is seen by gossip, and gets no link: both sides say why. No client is
// sent there.
func TestForeignCertificate(t *testing.T) {
	c := newTown(t, 1)
	foreign, err := identity.Ephemeral(identity.Edge, identity.Edge)
	if err != nil {
		t.Fatal(err)
	}
	e := c.build(func(s *config.Settings) { s.Identity = foreign[1] })
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Stop(context.Background()) }()
	ours := c.edges[0]
	until(t, "gossip", func() bool { return len(ours.Nodes()) == 2 && len(e.Nodes()) == 2 })
	for _, l := range []*lines{ours.log, e.log} {
		until(t, "a line about the certificate", func() bool {
			return l.has("not of this cluster's authority") || l.has("it takes our certificate for one of another cluster")
		})
		if l.has("edge cannot be reached") && l.has("link of another node not taken") {
			t.Error("it is said twice")
		}
	}
	p := c.join(ours, ours, "r")
	if edges := p.ack.Get("edges"); edges.Len() != 0 {
		t.Errorf("clients are sent to %s", edges)
	}
}

// A token sends its holder to the edge where the room is; once that drains, to another.
func TestTokensNameAnEdge(t *testing.T) {
	c := newTown(t, 2)
	host := func(by *townEdge) string {
		t.Helper()
		text := restToken(t, c, by)
		decoded, err := token.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		return "http://" + decoded.Host
	}
	for _, by := range c.edges { // before anybody is there: all edges name the same
		until(t, "the same edge", func() bool { return host(by) == host(c.edges[0]) })
	}
	at := host(c.edges[0])
	i := 0
	if at == c.edges[1].url {
		i = 1
	}
	if c.call(c.edges[0], "POST", "/v1/cluster/nodes/"+c.edges[i].Self()+"/drain", "", nil) != http.StatusOK {
		t.Fatal("not drained")
	}
	for _, by := range c.edges {
		until(t, "the other edge", func() bool { return host(by) == c.edges[1-i].url })
	}
}

// restToken makes a token with the management API, to a room that it makes once.
func restToken(t *testing.T, c *town, by *townEdge) string {
	t.Helper()
	if c.room == "" {
		var made struct {
			ID string `json:"_id"`
		}
		if code := c.call(by, "POST", "/v1/rooms", `{"name": "placed"}`, &made); code != http.StatusOK {
			t.Fatalf("room: %d", code)
		}
		c.room = made.ID
	}
	var text bytes.Buffer
	if code := c.call(by, "POST", "/v1/rooms/"+c.room+"/tokens", `{"user": "u", "role": "presenter"}`, &text); code != http.StatusOK {
		t.Fatalf("token: %d", code)
	}
	return text.String()
}

// An edge that is told to stop waits for its rooms to have another home, and tells the cluster that it goes: nobody calls it lost.
func TestStopHandsOver(t *testing.T) {
	c := newTown(t, 2)
	// Its participant cannot follow to another edge, and is told when the time is up.
	gone, stays := c.edges[0], c.edges[1]
	p := c.join(gone, gone, "r")
	other := c.join(stays, stays, "r")
	begin := time.Now()
	gone.stop()
	if took := time.Since(begin); took < 3*time.Second || took > 10*time.Second {
		t.Errorf("stopped after %v, with somebody there and 3 s to go", took)
	}
	p.hears(t, "drop")
	p.hears(t, "closed")
	other.hears(t, "participant", "leave", p.id)
	until(t, "the news", func() bool { return stays.log.has("node left") })
	if stays.log.has("node is gone") {
		t.Error("an edge that said it would go counts as lost")
	}
	// Nobody is left to go to: the last one stops at once.
	begin = time.Now()
	stays.stop()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the last edge took %v", took)
	}
}
