package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/shared/identity"
	"portico/shared/link"
	"portico/shared/meshproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// cluster is some edges on the loopback interface.
type cluster struct {
	t     *testing.T
	ids   []*identity.Identity
	mu    sync.Mutex // guards what follows
	where map[string]string
}

func newCluster(t *testing.T, n int) *cluster {
	t.Helper()
	ids, err := identity.Ephemeral(slices.Repeat([]string{identity.Edge}, n)...)
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{t: t, ids: ids, where: map[string]string{}}
}

func (c *cluster) address(name string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.where[name]
	return at, ok
}

func (c *cluster) set(name, address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if address == "" {
		delete(c.where, name)
	} else {
		c.where[name] = address
	}
}

// socket is that of an edge, at the address it had, if any.
func (c *cluster) socket(i int) net.PacketConn {
	c.t.Helper()
	at := "127.0.0.1:0"
	if old, ok := c.address(c.ids[i].Name); ok {
		at = old
	}
	conn, err := net.ListenPacket("udp4", at)
	if err != nil {
		c.t.Fatal(err)
	}
	c.set(c.ids[i].Name, conn.LocalAddr().String())
	return conn
}

// edge starts one.
func (c *cluster) edge(i int, o Options, h Handlers) *Peers {
	c.t.Helper()
	conn := c.socket(i)
	o.Identity = c.ids[i]
	o.Address = c.address
	o.DeadAfter = max(o.DeadAfter, 2*time.Second)
	o.Listen = func(lo link.Options) (*link.Listener, error) { return link.Listen(conn, c.ids[i], lo) }
	p, err := New(o)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(p.Close)
	p.Start(h)
	return p
}

func echo(_ context.Context, from string, c *link.Call, first []byte) {
	for {
		if c.Send(append([]byte(from+": "), first...)) != nil {
			return
		}
		var err error
		if first, err = c.Receive(context.Background()); err != nil {
			return
		}
	}
}

var services = map[string]Handler{"echo": echo}

// ask calls the echo of a node.
func ask(t *testing.T, p *Peers, node, text string) {
	t.Helper()
	c, err := p.Open(patient(t), node, "echo", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.Receive(patient(t))
	if err != nil || string(got) != p.Self()+": "+text {
		t.Fatalf("%s said %q, %v", node, got, err)
	}
}

// A link that is made while Close has begun already ends with it.
func TestDialedWhileClosing(t *testing.T) {
	c := newCluster(t, 2)
	c.edge(1, Options{}, Handlers{Services: services})
	begun, made := make(chan struct{}), make(chan *link.Link, 1)
	p := c.edge(0, Options{Dial: func(ctx context.Context, address string, id *identity.Identity, o link.Options) (*link.Link, error) {
		close(begun)
		<-ctx.Done()
		l, err := link.Dial(patient(t), address, id, o)
		made <- l
		return l, err
	}}, Handlers{})
	asked := make(chan error, 1)
	go func() {
		_, err := p.Link(patient(t), c.ids[1].Name)
		asked <- err
	}()
	<-begun
	p.Close()
	if l := <-made; l == nil || l.Err() == nil {
		t.Error("the link outlives Close")
	}
	if err := <-asked; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// until waits for something that others do.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func TestOpen(t *testing.T) {
	c := newCluster(t, 2)
	packets := make(chan string, 10)
	a := c.edge(0, Options{}, Handlers{Services: services})
	b := c.edge(1, Options{}, Handlers{Services: services, Packets: func(from string, _ *link.Link, flow uint64, packet []byte) {
		packets <- fmt.Sprint(from, " ", flow, " ", string(packet))
	}})
	ask(t, a, b.Self(), "hello")
	ask(t, b, a.Self(), "and back")
	l, err := a.Link(patient(t), b.Self())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Send(7, []byte("packet")); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-packets:
		if got != a.Self()+" 7 packet" {
			t.Error(got)
		}
	case <-time.After(patience):
		t.Fatal("no packet")
	}
	stats := b.Stats()
	if len(stats) != 1 || stats[0].Node != a.Self() || !stats[0].InUse || stats[0].Flows[7] != (Flow{1, 6}) || stats[0].Received != 1 {
		t.Errorf("%+v", stats)
	}
	until(t, "calls end", func() bool { return a.Stats()[0].Calls == 0 && b.Stats()[0].Calls == 0 })
	if _, err := a.Open(patient(t), a.Self(), "echo", nil); !errors.Is(err, ErrSelf) {
		t.Error(err)
	}
	if _, err := a.Open(patient(t), "nobody", "echo", nil); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	call, err := a.Open(patient(t), b.Self(), "else", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := call.Receive(patient(t)); err != io.EOF {
		t.Errorf("of a service that is not there: %v", err)
	}
	call.Close()
	a.Close()
	if _, err := a.Open(patient(t), b.Self(), "echo", nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestBothDial(t *testing.T) {
	c := newCluster(t, 2)
	a := c.edge(0, Options{IdleAfter: 400 * time.Millisecond}, Handlers{Services: services})
	b := c.edge(1, Options{IdleAfter: 400 * time.Millisecond}, Handlers{Services: services})
	// Both links are made before either side hears of the other's.
	var group sync.WaitGroup
	for _, pair := range [][2]*Peers{{a, b}, {b, a}} {
		group.Go(func() {
			l, err := link.Dial(patient(t), c.where[pair[1].Self()], pair[0].options.Identity, pair[0].linkOptions(identity.Edge))
			if err != nil {
				t.Error(err)
				return
			}
			pair[0].add(l, pair[1].Self(), true)
		})
	}
	group.Wait()
	until(t, "two links", func() bool { return len(a.Stats()) == 2 && len(b.Stats()) == 2 })
	for _, p := range []*Peers{a, b} {
		lower := p.Self() == min(a.Self(), b.Self())
		for _, s := range p.Stats() {
			if s.InUse != (s.Dialed == lower) {
				t.Errorf("%s: %+v", p.Self(), s)
			}
		}
	}
	held, err := a.Open(patient(t), b.Self(), "echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "one link", func() bool { return len(a.Stats()) == 1 && len(b.Stats()) == 1 })
	if !a.Stats()[0].InUse || !b.Stats()[0].InUse || held.Send([]byte("x")) != nil {
		t.Error("the wrong one was closed")
	}
	held.Close()
	until(t, "none", func() bool { return len(a.Stats()) == 0 && len(b.Stats()) == 0 })
}

func TestIdleIsNoLoss(t *testing.T) {
	c := newCluster(t, 2)
	var mu sync.Mutex
	var changes []string
	changed := func(node string, up bool) {
		mu.Lock()
		defer mu.Unlock()
		changes = append(changes, fmt.Sprint(node, up))
	}
	a := c.edge(0, Options{IdleAfter: 200 * time.Millisecond}, Handlers{Services: services, Changed: changed})
	b := c.edge(1, Options{IdleAfter: 200 * time.Millisecond}, Handlers{Services: services, Changed: changed})
	for range 2 {
		ask(t, a, b.Self(), "hello")
		until(t, "the link is closed", func() bool { return len(a.Stats()) == 0 && len(b.Stats()) == 0 })
	}
	mu.Lock()
	defer mu.Unlock()
	for _, change := range changes {
		if !strings.HasSuffix(change, "true") {
			t.Error(changes)
		}
	}
}

func TestLostAndBack(t *testing.T) {
	c := newCluster(t, 2)
	changes := make(chan bool, 100)
	a := c.edge(0, Options{}, Handlers{Services: services, Changed: func(_ string, up bool) { changes <- up }})
	next := func(want bool) {
		t.Helper()
		select {
		case up := <-changes:
			if up != want {
				t.Fatalf("up %t", up)
			}
		case <-time.After(patience):
			t.Fatal("nothing is told")
		}
	}
	for range 3 {
		b := c.edge(1, Options{}, Handlers{Services: services})
		if a.Self() > b.Self() {
			t.Fatal("names")
		}
		until(t, "it is there", func() bool { // right after a loss, it is not tried at once again
			_, err := a.Link(patient(t), b.Self())
			return err == nil
		})
		next(true)
		held, err := a.Open(patient(t), b.Self(), "echo", nil)
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
		next(false)
		held.Close()
	}
	// It is dialed again without being asked for.
	b := c.edge(1, Options{}, Handlers{Services: services})
	next(true)
	b.Close()
	c.set(b.Self(), "")
	until(t, "it is forgotten", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.nodes) == 0
	})
}

func TestChangesAreNotLeftOut(t *testing.T) {
	c := newCluster(t, 1)
	var got []bool
	wait := make(chan struct{})
	told := make(chan struct{}, 10)
	p, err := New(Options{Identity: c.ids[0]})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Start(Handlers{Changed: func(_ string, up bool) {
		got = append(got, up)
		told <- struct{}{}
		<-wait
	}})
	set := func(s state) {
		p.mu.Lock()
		defer p.mu.Unlock()
		n := p.nodes["x"]
		if n == nil {
			n = p.enter("x")
		}
		p.set(n, s)
	}
	set(up)
	<-told
	for range 5 {
		set(down)
		set(up)
	}
	close(wait)
	<-told
	<-told
	if !slices.Equal(got, []bool{true, false, true}) {
		t.Error(got)
	}
}

func TestWrongNode(t *testing.T) {
	c := newCluster(t, 3)
	a := c.edge(0, Options{}, Handlers{Services: services})
	b := c.edge(1, Options{}, Handlers{Services: services})
	at, _ := c.address(b.Self())
	c.set(c.ids[2].Name, at)
	if _, err := a.Link(patient(t), c.ids[2].Name); !errors.Is(err, ErrWrong) {
		t.Errorf("gossip that lies leads to %v", err)
	}
	ask(t, a, b.Self(), "still there")
}

// lines is a log that counts.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

func TestRubbish(t *testing.T) {
	rubbish := []string{"", "{}", `{"service":"echo"}`, `{"service":"echo","version":1`, "\x00\xff", strings.Repeat("x", 100_000)}
	c := newCluster(t, 2+len(rubbish))
	var log lines
	a := c.edge(0, Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, Handlers{Services: services})
	good := c.edge(1, Options{}, Handlers{Services: services})
	ask(t, good, a.Self(), "before")
	at, _ := c.address(a.Self())
	for i, text := range rubbish {
		was := log.count("edge cut off")
		bad, err := link.Dial(patient(t), at, c.ids[2+i], link.Options{DeadAfter: patience})
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			call, err := bad.Call(patient(t))
			if err != nil {
				break
			}
			_ = call.Send([]byte(text))
		}
		select {
		case <-bad.Done():
		case <-time.After(patience):
			t.Fatalf("%.20q is taken", text)
		}
		if n := log.count("edge cut off") - was; n != 1 {
			t.Errorf("%.20q: %d lines in the log", text, n)
		}
	}
	// While it is cut off it comes in vain, whatever it says.
	again, err := link.Dial(patient(t), at, c.ids[2], link.Options{DeadAfter: patience})
	if err == nil {
		select {
		case <-again.Done():
		case <-time.After(patience):
			t.Error("it is taken again")
		}
	}
	if _, err := a.Link(patient(t), c.ids[2].Name); !errors.Is(err, ErrCut) && !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	ask(t, good, a.Self(), "after")
}

func TestTooManyCalls(t *testing.T) {
	c := newCluster(t, 2)
	running := make(chan struct{}, 100)
	hold := map[string]Handler{"hold": func(ctx context.Context, _ string, c *link.Call, _ []byte) {
		running <- struct{}{}
		_, _ = c.Receive(ctx)
	}}
	a := c.edge(0, Options{MaxCalls: 4}, Handlers{Services: hold})
	b := c.edge(1, Options{}, Handlers{})
	var calls []*link.Call
	for range 4 {
		call, err := b.Open(patient(t), a.Self(), "hold", nil)
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, call)
		<-running
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.Open(ctx, a.Self(), "hold", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one more: %v", err)
	}
	calls[0].Close()
	call, err := b.Open(patient(t), a.Self(), "hold", nil)
	if err != nil {
		t.Fatal(err)
	}
	<-running
	call.Close()
	_ = meshproto.Version
}
