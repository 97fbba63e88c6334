package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/relay/pipeline"
	"portico/shared/conference"
	"portico/shared/relayproto"
)

// Variables of tests that reach the processes they start.
const (
	lifeline   = "TEST_WORKER_LIFELINE"    // a socket to connect to, whose end is the process's end
	grandchild = "TEST_WORKER_GRANDPARENT" // be a relay with one job
)

func TestMain(m *testing.M) {
	makeJob = func(o pipeline.Options) job { return &fake{port: o.Port, log: o.Log, watch: o.Watch} }
	Main()
	// The race detector's processes wait a second at their end, which jobs need not: their words are read until it.
	_ = os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	if os.Getenv(grandchild) != "" {
		beRelay()
	}
	goleak.VerifyTestMain(m)
}

// fake is a job that does what its room is called, sends RTP of its inputs back by its first output, and reports every order.
type fake struct {
	port  pipeline.Port
	log   *slog.Logger
	watch pipeline.Watch

	mu      sync.Mutex
	order   *relayproto.Order
	closed  bool
	ballast [][]byte
}

func (f *fake) Order(o *relayproto.Order) error {
	f.mu.Lock()
	first := f.order == nil
	f.order = o
	f.mu.Unlock()
	f.log.Info("order", "revision", o.Revision)
	switch o.Room {
	case "unable":
		return &pipeline.Error{Reason: relayproto.Unable, Detail: "no such codec"}
	case "panic":
		go panic("the job's own fault")
		return nil
	case "quits":
		os.Exit(0)
	case "stuck":
		select {}
	case "eats":
		go f.eat()
	}
	f.decode(o)
	if addr := os.Getenv(lifeline); addr != "" && first {
		if _, err := net.Dial("unix", addr); err != nil {
			return err
		}
	}
	f.port.Report(relayproto.Report{Revision: o.Revision})
	return nil
}

// decode notes what an order's room says of its inputs' decoders.
func (f *fake) decode(o *relayproto.Order) {
	page, _ := f.watch.(*notes)
	switch o.Room {
	case "decodes", "decodes and panics":
		page.End(page.Begin("in", conference.Video)) // done
		page.Begin("in", conference.Audio)
		page.Begin("from an order before", conference.Audio)
		if o.Room != "decodes" {
			go panic("the decoder's own fault")
		}
	case "decoded":
		for range 2 * noteSlots {
			page.End(page.Begin("in", conference.Audio))
		}
	case "garbage":
		for i := range page {
			page[i].Store(rand.Uint64())
		}
	case "all":
		for _, in := range o.Inputs {
			page.Begin(in.ID, conference.Audio)
		}
	}
}

// eat holds more and more memory.
func (f *fake) eat() {
	for {
		b := make([]byte, 32<<20)
		for i := 0; i < len(b); i += 1024 {
			b[i] = 1
		}
		f.mu.Lock()
		f.ballast = append(f.ballast, b)
		closed := f.closed
		f.mu.Unlock()
		if closed {
			return
		}
	}
}

func (f *fake) Packet(flowID uint64, packet []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		panic("a packet after Close")
	case f.order.Room == "wild":
		f.port.Send(relayproto.RTP(999), packet) // nobody's
		f.port.Send(flowID, packet)              // its input's
	}
	if _, rtcp := relayproto.Flow(flowID); rtcp {
		f.port.Send(flowID, packet)
		return
	}
	f.port.Send(relayproto.RTP(f.order.Outputs[0].Flow), packet)
}

func (f *fake) Close() {
	f.mu.Lock()
	f.closed = true
	room := ""
	if f.order != nil {
		room = f.order.Room
	}
	f.mu.Unlock()
	if room == "hangs" {
		select {}
	}
}

// order is a mix of one input and one output of little cost, whose flows are n and n+1.
func order(id, room string, n uint64) *relayproto.Order {
	opus := conference.Format{Codec: "opus", SampleRate: 48000, ChannelNum: 2}
	return &relayproto.Order{
		Job: id, Room: room, Kind: relayproto.Mix, Epoch: 1, Revision: 1, View: &relayproto.View{},
		Inputs:  []relayproto.Input{{ID: "in", Audio: &relayproto.InputTrack{Flow: n, Format: opus}}},
		Outputs: []relayproto.Output{{ID: "out", Flow: n + 1, Kind: conference.Audio, Format: opus}},
	}
}

// wire is a call between a test and a worker in one process.
type wire struct {
	down, up chan []byte // to the worker, from it
	hungUp   chan struct{}
	once     sync.Once
	closed   chan struct{} // by the worker
}

func (c *wire) Send(text []byte) error {
	select {
	case c.up <- text:
		return nil
	case <-c.hungUp:
		return io.ErrClosedPipe
	}
}

func (c *wire) Receive(ctx context.Context) ([]byte, error) {
	select {
	case text := <-c.down:
		return text, nil
	case <-c.hungUp:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *wire) Close() { close(c.closed) }

func (c *wire) hangUp() { c.once.Do(func() { close(c.hungUp) }) }

// back collects what jobs send.
type back chan sent

type sent struct {
	flowID uint64
	packet string
}

func (b back) Send(flowID uint64, packet []byte) error {
	select {
	case b <- sent{flowID, string(packet)}:
		return nil
	default:
		return fmt.Errorf("full")
	}
}

// bench is a worker with nobody to listen to it, and edges and calls in the same process.
type bench struct {
	t testing.TB
	w *Worker
}

func start(t testing.TB, o Options) *bench {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	w, err := newWorker(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return &bench{t, w}
}

func (b *bench) edge(name string) (*edge, back) {
	way := make(back, 1000)
	return newEdge(name, way), way
}

// call opens a call with an order.
func (b *bench) call(e *edge, o *relayproto.Order) *wire {
	b.t.Helper()
	return b.say(e, encode(b.t, o))
}

func (b *bench) say(e *edge, first []byte) *wire {
	b.t.Helper()
	c := &wire{down: make(chan []byte, 10), up: make(chan []byte, 10), hungUp: make(chan struct{}), closed: make(chan struct{})}
	c.down <- first
	if b.w.tasks.Go(func(ctx context.Context) { b.w.serve(ctx, e, c) }) != nil {
		b.t.Fatal("the worker is closed")
	}
	b.t.Cleanup(c.hangUp)
	return c
}

func encode(t testing.TB, o *relayproto.Order) []byte {
	t.Helper()
	text, err := json.Marshal(relayproto.Message{Order: o})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

const patience = 20 * time.Second // of a machine that does something else; nothing here needs a second

// next is the next message of the worker.
func next(t testing.TB, c *wire) relayproto.Message {
	t.Helper()
	select {
	case text := <-c.up:
		m, err := relayproto.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		return m
	case <-time.After(patience):
		t.Fatal("no message of the worker")
	}
	panic("unreachable")
}

// runs waits for the report on an order.
func runs(t testing.TB, c *wire, revision uint64) {
	t.Helper()
	if m := next(t, c); m.Report == nil || m.Report.Revision != revision {
		t.Fatalf("%+v, want a report on revision %d", m.Refusal, revision)
	}
}

// refused waits for a refusal and the call's end.
func refused(t testing.TB, c *wire, reason relayproto.Reason, detail string) {
	t.Helper()
	m := next(t, c)
	for m.Report != nil {
		m = next(t, c)
	}
	if m.Refusal == nil || m.Refusal.Reason != reason || !strings.Contains(m.Refusal.Detail, detail) {
		t.Errorf("%+v, want %q because of %q", m.Refusal, reason, detail)
	}
	over(t, c)
}

func over(t testing.TB, c *wire) {
	t.Helper()
	select {
	case <-c.closed:
	case <-time.After(patience):
		t.Fatal("the call was not closed")
	}
}

// echoes sends a packet to the input n of a job and waits for it to come back.
func echoes(t testing.TB, e *edge, way back, n uint64) {
	t.Helper()
	text := fmt.Sprintf("packet for %d", n)
	if !e.deliver(relayproto.RTP(n), []byte(text)) {
		t.Fatalf("nobody wants flow %d", n)
	}
	arrives(t, way, sent{relayproto.RTP(n + 1), text})
}

func arrives(t testing.TB, way back, want sent) {
	t.Helper()
	select {
	case got := <-way:
		if got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("%+v never came", want)
	}
}

// process is the id of a job's process.
func (b *bench) process(job string) int {
	b.t.Helper()
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	for j := range b.w.jobs {
		if j.id == job && j.child != nil {
			return j.child.pid()
		}
	}
	b.t.Fatalf("no process of job %s", job)
	return 0
}
