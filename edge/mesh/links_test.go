package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"portico/edge/peers"
	"portico/shared/identity"
	"portico/shared/link"
	"portico/shared/placement"
	"portico/shared/roster"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// node is an edge with real links on the loopback interface.
type node struct {
	name   string
	peers  *peers.Peers
	mesh   *Mesh
	part   *fakePart
	member *Membership
	once   sync.Once
}

func (n *node) close() {
	n.once.Do(func() {
		n.mesh.Close()
		n.peers.Close()
	})
}

func (n *node) enter() *Membership {
	if n.member == nil {
		n.member = n.mesh.Enter(theRoom, "", n.part)
	}
	return n.member
}

func realNodes(t *testing.T, count int) map[string]*node {
	t.Helper()
	ids, err := identity.Ephemeral(slices.Repeat([]string{identity.Edge}, count)...)
	if err != nil {
		t.Fatal(err)
	}
	where := map[string]string{}
	var conns []net.PacketConn
	var view []placement.Edge
	for _, id := range ids {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		where[id.Name] = conn.LocalAddr().String()
		view = append(view, placement.Edge{ID: id.Name, Boot: 1, Weight: 1})
	}
	nodes := map[string]*node{}
	for i, id := range ids {
		p, err := peers.New(peers.Options{
			Identity: id, DeadAfter: 3 * time.Second,
			Address: func(name string) (string, bool) { at, ok := where[name]; return at, ok },
			Listen:  func(o link.Options) (*link.Listener, error) { return link.Listen(conns[i], id, o) },
		})
		if err != nil {
			t.Fatal(err)
		}
		n := &node{name: id.Name, peers: p, part: newPart(t, id.Name)}
		var lock sync.Mutex // the node of a home without participants enters the room
		n.mesh = New(Options{Peers: p, Self: placement.Name{ID: id.Name, Boot: 1}, Host: func(string) {
			lock.Lock()
			defer lock.Unlock()
			n.enter()
		}})
		p.Start(peers.Handlers{Services: n.mesh.Services(), Changed: n.mesh.Changed})
		n.mesh.View(view)
		nodes[id.Name] = n
		t.Cleanup(n.close)
	}
	return nodes
}

func TestRealLinks(t *testing.T) {
	nodes := realNodes(t, 3)
	ctx := patient(t)
	// Each edge has a part before anybody joins, so that the hosting node's is the same.
	for _, n := range nodes {
		n.member = n.mesh.Enter(theRoom, "", n.part)
	}
	join := func(n *node, id string) {
		t.Helper()
		began := time.Now()
		if _, err := n.member.Admit(ctx, roster.Admission{Participant: id, Generation: 1}); err != nil {
			t.Fatal(err)
		}
		if err := n.member.Put(person(id), 1, nil); err != nil {
			t.Fatal(err)
		}
		if err := n.member.Synced(ctx); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s joined on %s in %v", id, n.name, time.Since(began))
	}
	names := []string{"edge-1", "edge-2", "edge-3"}
	for _, name := range names {
		join(nodes[name], "of-"+name)
	}
	knows := func(among ...string) {
		t.Helper()
		for _, name := range among {
			for _, of := range names {
				if of != name {
					eventually(t, fmt.Sprint(name, " knows of ", of), func() bool { return nodes[name].part.owner("of-"+of) == of })
				}
			}
		}
	}
	knows(names...)
	home := nodes[nodes["edge-1"].member.HomeEdge()]
	var rest []string
	for _, name := range names {
		got, err := nodes[name].member.Home(ctx, []byte("x"))
		if want := home.name + " heard x of " + name; err != nil || string(got) != want {
			t.Errorf("%s, %v", got, err)
		}
		if name != home.name {
			rest = append(rest, name)
		}
	}
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprint(i))
		if err := nodes[rest[0]].member.Note(ctx, "", []byte(want[i])); err != nil {
			t.Fatal(err)
		}
		if i == 10 {
			go home.close()
		}
	}
	began := time.Now()
	join(nodes[rest[1]], "late")
	t.Logf("a join when the home ended took %v", time.Since(began))
	eventually(t, "the late one is known", func() bool { return nodes[rest[0]].part.owner("late") == rest[1] })
	eventually(t, "all notes have come", func() bool {
		p := nodes[rest[1]].part
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.notes) >= len(want)
	})
	if got := nodes[rest[1]].part.notes; !slices.Equal(got, want) {
		t.Errorf("notes: %v", got)
	}
	for _, name := range rest {
		nodes[name].part.mu.Lock()
		for _, told := range nodes[name].part.told {
			if told[0] == '-' && told != "-of-"+home.name {
				t.Errorf("%s was told %v", name, told)
			}
		}
		nodes[name].part.mu.Unlock()
	}
	home.close()
	if _, err := home.member.Home(ctx, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestHostileEdge has edges of the cluster send what none should: they are cut off, and the others go on.
func TestHostileEdge(t *testing.T) {
	nodes := realNodes(t, 6)
	ctx := patient(t)
	a, b := nodes["edge-1"], nodes["edge-2"]
	a.enter()
	if _, err := a.member.Admit(ctx, roster.Admission{Participant: "ann", Generation: 1}); err != nil {
		t.Fatal(err)
	}
	_ = a.member.Put(person("ann"), 1, nil)
	for i, c := range []struct {
		service  string
		messages []string
	}{
		{"seats", []string{`{"boot":1,"messages":[]}`, `{"boot":0}`}},
		{"room", []string{`{"noted":{"origin":"x","life":1,"number":1}}`}},
		{"command", []string{`{"room":""}`}},
		{"room", []string{
			`{"enrol":{"room":"room","epoch":{"number":1,"home":{"id":"x","boot":1}},"life":1,"position":{"seq":0}}}`,
			`{"update":{"owner":`,
		}},
	} {
		bad := nodes[fmt.Sprint("edge-", 3+i)]
		call, err := bad.peers.Open(ctx, a.name, c.service, []byte(c.messages[0]))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range c.messages[1:] {
			_ = call.Send([]byte(m))
		}
		eventually(t, fmt.Sprint(bad.name, " is cut off"), func() bool { return a.mesh.Stats().Rubbish == uint64(i+1) })
		_, _ = call.Receive(ctx) // the end
		if _, err := bad.peers.Open(ctx, a.name, c.service, nil); err == nil {
			eventually(t, "it is gone", func() bool { return len(bad.peers.Stats()) == 0 || bad.peers.Stats()[0].Node != a.name })
		}
		call.Close()
	}
	if got, err := b.mesh.Command(ctx, theRoom, nil); err != nil {
		t.Errorf("another edge: %s, %v", got, err)
	}
}

// eventually waits for something that others do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
