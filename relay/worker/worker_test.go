package worker

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"portico/shared/relayproto"
)

func TestJobStartsChangesAndEnds(t *testing.T) {
	b := start(t, Options{})
	e, way := b.edge("edge-1")
	o := order("a", "R", 1)
	c := b.call(e, o)
	runs(t, c, 1)
	echoes(t, e, way, 1)
	if !e.deliver(relayproto.RTCP(2), []byte("pli")) {
		t.Error("RTCP about the output was not wanted")
	}
	arrives(t, way, sent{relayproto.RTCP(2), "pli"})
	if e.deliver(relayproto.RTP(2), []byte("x")) || e.deliver(relayproto.RTP(3), []byte("x")) {
		t.Error("a packet that is no input was wanted")
	}
	s := b.w.Stats()
	if s.Jobs[relayproto.Mix] != 1 || s.Started != 1 || s.Load <= 0 || s.ToJobs != 2 || s.FromJobs != 2 {
		t.Errorf("%+v", s)
	}

	o.Revision, o.Inputs[0].Audio.Flow, o.Outputs[0].Flow = 2, 11, 12
	c.down <- encode(t, o)
	runs(t, c, 2)
	echoes(t, e, way, 11)
	if e.deliver(relayproto.RTP(1), []byte("x")) {
		t.Error("the flow of the order before is still wanted")
	}
	o.Revision = 1
	c.down <- encode(t, o) // late: dropped
	o.Revision = 3
	c.down <- encode(t, o)
	runs(t, c, 3)

	// A service's stop signals all of its processes: the job leaves it to the relay to end it.
	if err := syscall.Kill(b.process("a"), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	o.Revision = 4
	c.down <- encode(t, o)
	runs(t, c, 4)

	c.hangUp()
	over(t, c)
	b.w.drain()
	s = b.w.Stats()
	if s.Jobs[relayproto.Mix] != 0 || s.Load != 0 || s.Crashed != 0 || s.ToJobs != 3 || s.FromJobs != 3 || len(*e.flows.Load()) != 0 {
		t.Errorf("%+v", s)
	}
}

func TestCrashCostsThatJobAlone(t *testing.T) {
	var log logged
	b := start(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	e, way := b.edge("edge-1")
	for i, signal := range []syscall.Signal{syscall.SIGSEGV, syscall.SIGABRT, syscall.SIGKILL} {
		a, other := b.call(e, order("a", "R", 1)), b.call(e, order("b", "R", 11))
		runs(t, a, 1)
		runs(t, other, 1)
		if err := syscall.Kill(b.process("a"), signal); err != nil {
			t.Fatal(err)
		}
		refused(t, a, relayproto.Crashed, "")
		echoes(t, e, way, 11)
		if s := b.w.Stats(); s.Crashed != uint64(i+1) || s.Refused[relayproto.Crashed] != s.Crashed {
			t.Errorf("%+v", s)
		}
		again := b.call(e, order("a", "R", 1)) // its flows are free again
		runs(t, again, 1)
		echoes(t, e, way, 1)
		for _, c := range []*wire{again, other} {
			c.hangUp()
			over(t, c)
		}
	}
	if text := log.String(); !strings.Contains(text, "job crashed") || !strings.Contains(text, "signal: killed") || !strings.Contains(text, "SIGSEGV") {
		t.Errorf("the log does not say how:\n%s", text)
	}
}

func TestPanicIsACrash(t *testing.T) {
	var log logged
	b := start(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	e, _ := b.edge("edge-1")
	refused(t, b.call(e, order("a", "panic", 1)), relayproto.Crashed, "exit status 2")
	refused(t, b.call(e, order("a", "quits", 1)), relayproto.Crashed, "exit status 0")
	for _, want := range []string{"panic: the job's own fault", `msg=order job=a room=panic edge=edge-1 revision=1`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, &log)
		}
	}
}

// logged is a log that is read while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestRefusals(t *testing.T) {
	b := start(t, Options{Jobs: 2})
	e, _ := b.edge("edge-1")
	a := b.call(e, order("a", "R", 1))
	runs(t, a, 1)
	refused(t, b.call(e, order("b", "unable", 11)), relayproto.Unable, "no such codec")
	twin := order("b", "R", 2) // its input is the output of a
	refused(t, b.call(e, twin), relayproto.BadOrder, "a flow of another job")
	twin = order("b", "R", 11)
	twin.Outputs[0].Flow = 2
	refused(t, b.call(e, twin), relayproto.BadOrder, "a flow of another job")
	twin = order("b", "R", 11)
	twin.Inputs[0].Audio.Flow = 1 // one flow for two mixes
	second := b.call(e, twin)
	runs(t, second, 1)
	refused(t, b.call(e, order("c", "R", 21)), relayproto.Full, "2 jobs")

	other, _ := b.edge("edge-2")
	second.hangUp()
	over(t, second)
	b.drained("b")
	second = b.call(other, order("c", "R", 1)) // numbers of another link
	runs(t, second, 1)
	if s := b.w.Stats(); s.Refused[relayproto.Full] != 1 || s.Refused[relayproto.BadOrder] != 2 || s.Refused[relayproto.Unable] != 1 || s.Crashed != 0 {
		t.Errorf("%+v", s)
	}
}

// drained waits until a job's place is free: its call is closed a moment before.
func (b *bench) drained(job string) {
	b.w.mu.Lock()
	var j *running
	for one := range b.w.jobs {
		if one.id == job {
			j = one
		}
	}
	b.w.mu.Unlock()
	if j != nil {
		<-j.told
	}
}

func TestFullByLoad(t *testing.T) {
	b := start(t, Options{Cores: 0.05, Jobs: 100})
	e, _ := b.edge("edge-1")
	large := order("a", "R", 1)
	large.View.Width, large.View.Height, large.View.Framerate = 1280, 720, 30
	large.Outputs = append(large.Outputs, relayproto.Output{ID: "v", Flow: 3, Kind: "video", Format: large.Outputs[0].Format, Width: 1280, Height: 720})
	first := b.call(e, large) // more than there is, but there is nothing else
	runs(t, first, 1)
	refused(t, b.call(e, order("b", "R", 11)), relayproto.Full, "0.05 cores are taken")
	first.hangUp()
	over(t, first)
	b.drained("a")
	runs(t, b.call(e, order("b", "R", 11)), 1)
}

func TestEpochs(t *testing.T) {
	b := start(t, Options{})
	e, way := b.edge("edge-1")
	home, _ := b.edge("edge-2")
	a := b.call(e, order("a", "R", 1))
	elsewhere := b.call(e, order("x", "other", 31))
	runs(t, a, 1)
	runs(t, elsewhere, 1)
	newer := order("b", "R", 11)
	newer.Epoch = 5
	c := b.call(home, newer)
	runs(t, c, 1)
	refused(t, a, relayproto.Stale, "epoch 5 of the room has begun")
	old := order("d", "R", 21)
	old.Epoch = 4
	refused(t, b.call(e, old), relayproto.Stale, "known is 5")
	echoes(t, e, way, 31)

	// One more run of the same job by the same edge takes the place of the first.
	again, _ := b.edge("edge-2")
	once := b.call(again, newer)
	runs(t, once, 1)
	refused(t, c, relayproto.Stale, "ordered once more")

	newer.Epoch, newer.Revision = 4, 2
	once.down <- encode(t, newer)
	refused(t, once, relayproto.Stale, "known is 5")
}

func TestHostileOrders(t *testing.T) {
	b := start(t, Options{})
	e, _ := b.edge("edge-1")
	for _, text := range []string{
		"", "{", "[]", "{}", `{"order":{}}`, `{"report":{"revision":1}}`, `{"refusal":{"reason":"full"}}`,
		`{"order":{"job":"a","kind":"mix","inputs":null}}`, strings.Repeat("[", 100_000), `{"order":{"job":"a","kind":"mix","view":{"width":1e9}}}`,
	} {
		refused(t, b.say(e, []byte(text)), relayproto.BadOrder, "")
	}
	if s := b.w.Stats(); s.Started != 0 {
		t.Errorf("%d jobs were started", s.Started)
	}
	later := map[string]func(o *relayproto.Order){
		"job": func(o *relayproto.Order) { o.Job = "b" }, "room": func(o *relayproto.Order) { o.Room = "S" },
		"kind": func(o *relayproto.Order) { o.Kind = relayproto.Transcode },
		"what": func(o *relayproto.Order) { o.Outputs[0].Flow = 0 },
	}
	for name, spoil := range later {
		c := b.call(e, order("a", "R", 1))
		runs(t, c, 1)
		o := order("a", "R", 1)
		o.Revision = 2
		spoil(o)
		c.down <- encode(t, o)
		t.Log(name)
		refused(t, c, relayproto.BadOrder, "")
		b.drained("a")
	}
}

// A library that runs wild may make its process send anything: what is not the job's goes nowhere.
func TestJobsSendOnlyTheirOwn(t *testing.T) {
	b := start(t, Options{})
	e, way := b.edge("edge-1")
	runs(t, b.call(e, order("a", "wild", 1)), 1)
	echoes(t, e, way, 1)
	if s := b.w.Stats(); s.DroppedFrom != 2 || s.FromJobs != 1 {
		t.Errorf("%+v", s)
	}
}

func TestMemoryIsLimited(t *testing.T) {
	b := start(t, Options{Memory: 512 << 20})
	e, _ := b.edge("edge-1")
	refused(t, b.call(e, order("a", "eats", 1)), relayproto.Crashed, "MB of memory")
}

func TestAJobThatHangsIsACrash(t *testing.T) {
	b := start(t, Options{})
	b.w.silence = 100 * time.Millisecond
	e, _ := b.edge("edge-1")
	refused(t, b.call(e, order("a", "stuck", 1)), relayproto.Crashed, "the job's process hangs")
}

func TestClose(t *testing.T) {
	b := start(t, Options{})
	e, _ := b.edge("edge-1")
	var calls []*wire
	for i, room := range []string{"R", "S", "hangs"} {
		c := b.call(e, order(room, room, uint64(1+10*i)))
		runs(t, c, 1)
		calls = append(calls, c)
	}
	b.w.Close()
	for _, c := range calls {
		refused(t, c, relayproto.ShuttingOff, "")
	}
	if n := children(t); n != 0 {
		t.Errorf("%d processes are left", n)
	}
	b.w.Close()
}

func TestHundredJobsLeaveNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a hundred processes")
	}
	b := start(t, Options{})
	e, way := b.edge("edge-1")
	once := func() {
		c := b.call(e, order("a", "R", 1))
		runs(t, c, 1)
		echoes(t, e, way, 1)
		c.hangUp()
		over(t, c)
		b.drained("a")
	}
	once()
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	for range 100 {
		once()
	}
	if n := descriptors(t); n > files {
		t.Errorf("%d descriptors, there were %d", n, files)
	}
	if n := runtime.NumGoroutine(); n > goroutines+2 { // some are still returning
		t.Errorf("%d goroutines, there were %d", n, goroutines)
	}
	if n := children(t); n != 0 {
		t.Errorf("%d processes are left", n)
	}
	if s := b.w.Stats(); s.Started != 101 || s.Crashed != 0 || s.DroppedTo != 0 {
		t.Errorf("%+v", s)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc to count in")
	}
	return len(list)
}

// children counts the processes that this one has started and not waited for.
func children(t *testing.T) (n int) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(lists) == 0 {
		t.Skip("no /proc to count in")
	}
	for _, name := range lists {
		text, _ := os.ReadFile(name)
		n += len(bytes.Fields(text))
	}
	return n
}

// beRelay is a process with one job, for TestJobsDieWithTheRelay. It runs until it is killed.
func beRelay() {
	w, err := newWorker(Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	text := []byte(os.Getenv(grandchild))
	c := &wire{down: make(chan []byte, 1), up: make(chan []byte, 10), hungUp: make(chan struct{}), closed: make(chan struct{})}
	c.down <- text
	go w.serve(context.Background(), newEdge("edge", make(back)), c)
	for m := range c.up {
		fmt.Println(string(m))
	}
}

func TestJobsDieWithTheRelay(t *testing.T) {
	addr := filepath.Join(t.TempDir(), "l")
	l, err := net.Listen("unix", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	relay := exec.Command(os.Args[0])
	relay.Env = append(os.Environ(), lifeline+"="+addr, grandchild+"="+string(encode(t, order("a", "hangs", 1))))
	out, err := relay.StdoutPipe()
	if err == nil {
		err = relay.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, "report") {
		t.Fatalf("%q, %v", line, err)
	}
	job, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = job.Close() }()
	_ = relay.Process.Kill()
	_ = relay.Wait()
	_ = job.SetReadDeadline(time.Now().Add(patience))
	if _, err := job.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the job's process is still there: %v", err)
	}
}

// A process with the marker that no relay has started says so and ends.
func TestStartedAsAJobByHand(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), marker+"={}")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), errNoSockets.Error()) {
		t.Errorf("%v: %s", err, out)
	}
}
