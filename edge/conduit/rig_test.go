package conduit

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/webtransport-go"
	"go.uber.org/goleak"

	"portico/edge/peers"
	"portico/edge/wt"
	"portico/edge/wt/wttest"
	"portico/shared/conference"
	"portico/shared/identity"
	"portico/shared/link"
	"portico/shared/meshproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

const room = "room"

// waitFor waits until the condition holds, for what is told by no event.
func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	look, deadline := time.NewTicker(2*time.Millisecond), time.NewTimer(patience)
	defer look.Stop()
	defer deadline.Stop()
	for !condition() {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// edge is one of a test's, with links to the others.
type edge struct {
	*Conduit
	t     testing.TB
	name  string
	data  *wt.Server
	url   string
	peers *peers.Peers
	told  chan string
	stop  func()
}

// Events of its sessions: texts in the order they came.
func (e *edge) SessionReady(_, session string, _ []conference.Track) { e.told <- "ready " + session }
func (e *edge) SessionFailed(_, session, reason string) {
	e.told <- "failed " + session + ": " + reason
}

// expect waits for these events, in any order.
func (e *edge) expect(want ...string) {
	e.t.Helper()
	left := map[string]bool{}
	for _, w := range want {
		left[w] = true
	}
	for len(left) > 0 {
		select {
		case got := <-e.told:
			if !left[got] {
				e.t.Fatalf("%s told %q, want one of %v", e.name, got, left)
			}
			delete(left, got)
		case <-time.After(patience):
			e.t.Fatalf("%s has not told %v", e.name, left)
		}
	}
}

// cluster is edges that can reach each other.
type cluster struct {
	t     testing.TB
	edges []*edge
	ids   int

	mu sync.Mutex // guards at
	at map[string]string
}

// newCluster makes edges; config changes what their data streams are like, and over the sockets of their links.
func newCluster(t testing.TB, n int, config func(*wt.Config), over func(net.PacketConn) net.PacketConn) *cluster {
	t.Helper()
	roles := make([]string, n)
	for i := range roles {
		roles[i] = identity.Edge
	}
	ids, err := identity.Ephemeral(roles...)
	if err != nil {
		t.Fatal(err)
	}
	x := &cluster{t: t, at: make(map[string]string)}
	for _, id := range ids {
		x.edges = append(x.edges, x.start(id, config, over))
	}
	t.Cleanup(func() {
		for _, e := range x.edges {
			e.stop()
		}
	})
	return x
}

func (x *cluster) start(id *identity.Identity, config func(*wt.Config), over func(net.PacketConn) net.PacketConn) *edge {
	t := x.t
	t.Helper()
	e := &edge{t: t, name: id.Name, told: make(chan string, 1000)}
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := wt.Config{Conn: socket, Key: []byte("key"), Lead: -1}
	if config != nil {
		config(&c)
	}
	if e.data, err = wt.New(c); err != nil {
		t.Fatal(err)
	}
	e.url = "https://" + socket.LocalAddr().String() + "/"
	if e.peers, err = peers.New(peers.Options{
		Identity: id,
		Listen: func(o link.Options) (*link.Listener, error) {
			conn, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			x.mu.Lock()
			x.at[e.name] = conn.LocalAddr().String()
			x.mu.Unlock()
			if over != nil {
				conn = over(conn)
			}
			return link.Listen(conn, id, o)
		},
		Address: func(node string) (string, bool) {
			x.mu.Lock()
			defer x.mu.Unlock()
			at, ok := x.at[node]
			return at, ok
		},
	}); err != nil {
		t.Fatal(err)
	}
	e.Conduit = New(Options{Links: e.peers, Data: e.data})
	e.peers.Start(peers.Handlers{Services: map[string]peers.Handler{meshproto.ServiceData: e.Serve}, Changed: e.Changed})
	e.stop = sync.OnceFunc(func() {
		x.mu.Lock()
		delete(x.at, e.name)
		x.mu.Unlock()
		e.Conduit.Close()
		e.peers.Close()
		if err := e.data.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if n := e.data.Stats(); n.Queued != 0 || n.Taps != 0 {
			t.Errorf("left behind: %+v", n)
		}
		if n := e.Stats(); n.Serving != 0 || n.Pulling != 0 {
			t.Errorf("left behind: %+v", n)
		}
		_ = socket.Close()
	})
	return e
}

func (x *cluster) newID() string {
	x.ids++
	return fmt.Sprintf("ab%030x", x.ids)
}

// client is a participant's WebTransport session.
type client struct {
	*webtransport.Session
	wt.Admission
	x    *cluster
	e    *edge
	name string
}

// connect opens a participant's session on an edge.
func (x *cluster) connect(e *edge, name string) *client {
	t := x.t
	t.Helper()
	c := &client{Admission: e.data.Admit(room, name), x: x, e: e, name: name}
	d := &webtransport.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // its certificate is wt's own matter
		QUICConfig:      &quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true, MaxIdleTimeout: patience},
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	if _, c.Session, err = d.Dial(ctx, e.url, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.CloseWithError(0, "")
		<-c.Context().Done()
	})
	stream := c.begin(append(binary.LittleEndian.AppendUint32(make([]byte, 16), uint32(len(c.Token))), c.Token...))
	wttest.Want(t, stream, string(make([]byte, 16)))
	return c
}

// begin opens a stream.
func (c *client) begin(head []byte) *webtransport.Stream {
	c.x.t.Helper()
	stream, err := c.OpenStream()
	if err != nil {
		c.x.t.Fatal(err)
	}
	_ = stream.SetDeadline(time.Now().Add(patience))
	if _, err := stream.Write(head); err != nil {
		c.x.t.Fatal(err)
	}
	return stream
}

// publish declares a publication, on an edge that it has not been on with an id of before.
func (c *client) publish(resumed string) string {
	c.x.t.Helper()
	session := resumed
	if session == "" {
		session = c.x.newID()
	}
	if err := c.e.data.Publish(wt.Spec{
		Participant: c.name, Transport: c.Transport, Session: session, Resumed: resumed != "", Events: c.e,
	}); err != nil {
		c.x.t.Fatal(err)
	}
	return session
}

func (c *client) subscribe(from string) string {
	c.x.t.Helper()
	session := c.x.newID()
	if err := c.e.data.Subscribe(wt.Spec{Participant: c.name, Transport: c.Transport, Session: session, From: from, Events: c.e}); err != nil {
		c.x.t.Fatal(err)
	}
	return session
}

// send opens a stream of a publication and takes its answer.
func (c *client) send(session string) *webtransport.Stream {
	c.x.t.Helper()
	head, _ := hex.DecodeString(session)
	stream := c.begin(head)
	answer, err := io.ReadAll(stream)
	if err != nil || hex.EncodeToString(answer) != c.Transport {
		c.x.t.Fatalf("answered by %x, %v", answer, err)
	}
	return stream
}

// want takes the next stream that the edge opens, which is to be of a subscription.
func (c *client) want(session string) *webtransport.Stream {
	c.x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := c.AcceptStream(ctx)
	if err != nil {
		c.x.t.Fatalf("no stream: %v", err)
	}
	_ = stream.SetDeadline(time.Now().Add(patience))
	head, _ := hex.DecodeString(session)
	wttest.Want(c.x.t, stream, string(head))
	return stream
}

// noise is bytes that are not alike.
func noise(n int) []byte {
	b := make([]byte, n)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(b) // never fails
	return b
}
