package worker

import (
	"context"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"time"

	"portico/shared/identity"
	"portico/shared/link"
	"portico/shared/relayproto"
)

// linked is a worker on a socket, and an edge's link to it.
func linked(t testing.TB, receive func(flowID uint64, packet []byte)) (*Worker, *link.Link) {
	t.Helper()
	ids, err := identity.Ephemeral(identity.Relay, identity.Edge)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w, err := New(Options{Conn: conn, Identity: ids[0], Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l, err := link.Dial(ctx, w.Addr().String(), ids[1], link.Options{
		Receive: func(_ *link.Link, flowID uint64, packet []byte) { receive(flowID, packet) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return w, l
}

// order sends an order on a new call and waits until it runs.
func ordered(t testing.TB, l *link.Link, o *relayproto.Order) *link.Call {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := l.Call(ctx)
	if err == nil {
		err = c.Send(encode(t, o))
	}
	if err != nil {
		t.Fatal(err)
	}
	if m := heard(t, c); m.Report == nil {
		t.Fatalf("%+v", m.Refusal)
	}
	return c
}

func heard(t testing.TB, c *link.Call) relayproto.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	text, err := c.Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m, err := relayproto.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestJobsOverALink(t *testing.T) {
	got := make(back, 100)
	w, l := linked(t, func(flowID uint64, packet []byte) { _ = got.Send(flowID, packet) })
	a, b := ordered(t, l, order("a", "R", 1)), ordered(t, l, order("b", "R", 11))
	long := string(make([]byte, 9000)) // longer than any datagram of a network
	for _, text := range []string{"short", long} {
		if err := l.Send(relayproto.RTP(1), []byte(text)); err != nil {
			t.Fatal(err)
		}
		arrives(t, got, sent{relayproto.RTP(2), text})
	}
	if s := w.Stats(); s.Links != 1 || s.Jobs[relayproto.Mix] != 2 {
		t.Errorf("%+v", s)
	}
	bench := &bench{t, w}
	if err := syscall.Kill(bench.process("a"), syscall.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	if m := heard(t, a); m.Refusal == nil || m.Refusal.Reason != relayproto.Crashed {
		t.Errorf("%+v", m)
	}
	again := ordered(t, l, order("a", "R", 1))

	// The edge ends one job, and the other with its link.
	again.Close()
	bench.drained("a")
	if s := w.Stats(); s.Jobs[relayproto.Mix] != 1 {
		t.Errorf("%+v", s)
	}
	_ = b
	l.Close()
	bench.drained("b")
	if n := children(t); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

func TestEdgeHearsOfTheEnd(t *testing.T) {
	w, l := linked(t, func(uint64, []byte) {})
	c := ordered(t, l, order("a", "R", 1))
	go w.Close()
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Fatal("the edge's call goes on")
	}
	w.Close()
	<-l.Done()
}

// BenchmarkProxy sends packets of 1,200 bytes through a job's process and back: the worker's part of the way of each.
func BenchmarkProxy(b *testing.B) {
	w, err := newWorker(Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	bench := &bench{b, w}
	arrived := make(chan struct{}, 4096)
	e := newEdge("edge", counter(arrived))
	c := bench.call(e, order("a", "R", 1))
	runs(b, c, 1)
	packet := make([]byte, 1200)
	const window = 256 // on the way at a time
	b.SetBytes(int64(len(packet)))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i >= window {
			<-arrived
		}
		e.deliver(relayproto.RTP(1), packet)
	}
	for range min(b.N, window) {
		<-arrived
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}

type counter chan struct{}

func (c counter) Send(uint64, []byte) error { c <- struct{}{}; return nil }

// BenchmarkStart starts a job, waits for its first report and ends it.
func BenchmarkStart(b *testing.B) {
	bench := start(b, Options{})
	e, _ := bench.edge("edge")
	for b.Loop() {
		c := bench.call(e, order("a", "R", 1))
		runs(b, c, 1)
		c.hangUp()
		over(b, c)
		bench.drained("a")
	}
}
