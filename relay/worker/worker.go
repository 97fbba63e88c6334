// Package worker runs the jobs that edges order of a relay: mixes and streams in other forms.
//
// It stands between the node links (package link), by which orders and packets come, and relay/pipeline, which does the work. Each job
// is a process of its own, of this same program started once more: the libraries that decode what strangers send are written in C, and
// a crash in one costs the job and not the relay. The edge is told, and orders the job again.
//
// Between the two processes of a job lie two sockets, one for relayproto's messages and one for packets, both as in frames.go. The
// process ends when they do. In a page of memory beside them it notes whose media its decoders are at work on: of a crash the edge is
// told who may have sent what it came from, as the same would bring down the next run as well. What the worker itself does is little: it admits jobs as long as the machine has time for them, passes
// messages and packets on, and counts.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"portico/shared/identity"
	"portico/shared/link"
	"portico/shared/relayproto"
	"portico/shared/task"
)

// Defaults of Options.
const (
	JobsPerCore   = 16
	DefaultMemory = 2 << 30
)

// Limits that nobody sets.
const (
	maxCalls    = 512              // of one link at a time
	maxRooms    = 10_000           // whose epoch is remembered without a job
	firstOrder  = 5 * time.Second  // after a call was opened
	silentAfter = 30 * time.Second // without a report from a job, which sends one every few seconds: it hangs
)

// Options are what New needs. Conn, Identity and Log are required.
type Options struct {
	Conn     net.PacketConn     // UDP socket of the links; the worker closes it
	Identity *identity.Identity // edges of the same cluster are served
	Cores    float64            // how much of the machine jobs may use, at most; 0: Capacity
	Jobs     int                // at a time; 0: JobsPerCore for each core
	Memory   int64              // of one job, in bytes: one that holds more is ended as if it had crashed; 0: DefaultMemory
	// Command answers a command of an edge (relayproto.Message); nil: there are none.
	Command func(edge string, body []byte) []byte
	Log     *slog.Logger
}

// Stats is a snapshot; counters rise from New on.
type Stats struct {
	Links   int
	Jobs    map[relayproto.JobKind]int // running
	Cores   float64                    // that jobs may use
	Load    float64                    // cores that the running jobs count for in the admission of another
	CPU     float64                    // cores that the running jobs use, measured
	Started uint64
	Crashed uint64
	Refused map[relayproto.Reason]uint64 // orders refused or given up, crashes and the worker's own end included
	// Packets to and from jobs, and those lost on the way: no job wanted them, or it took its packets too slowly; a job sent what was
	// not its own.
	ToJobs, FromJobs       uint64
	DroppedTo, DroppedFrom uint64
}

// Worker admits and runs jobs. Make it with New, end it with Close. All methods are safe for concurrent use.
type Worker struct {
	opts     Options
	log      *slog.Logger
	cores    float64
	parallel int
	silence  time.Duration // after which a job hangs: silentAfter
	tasks    *task.Group
	spawner  *spawner
	listener *link.Listener
	closed   sync.Once

	edges  sync.Map      // *link.Link to *edge: of the links that are up
	strays atomic.Uint64 // packets of edges that nobody wanted
	wild   atomic.Uint64 // packets of jobs that could not be sent, or were not theirs to send

	mu       sync.Mutex // guards the fields below
	draining bool
	jobs     map[*running]bool
	rooms    map[string]*room // by line of epochs
	links    int
	own      load // this process itself
	started  uint64
	crashed  uint64
	refused  map[relayproto.Reason]uint64
	// Packets of jobs that have ended: to them, from them, and those that they were too slow for.
	to, from, lost uint64
}

// room is what is remembered of a line of epochs: of those without a job for a while, and until there are too many.
type room struct {
	epoch uint64
	jobs  int
	idle  time.Time // since when it has none
}

// New starts to serve the edges of the cluster on the socket.
func New(o Options) (*Worker, error) {
	w, err := newWorker(o)
	if err != nil {
		_ = o.Conn.Close()
		return nil, err
	}
	w.listener, err = link.Listen(o.Conn, o.Identity, link.Options{
		Receive: w.receive, Log: o.Log, Roles: []string{identity.Edge}, MaxCalls: maxCalls,
	})
	if err == nil {
		err = w.tasks.Go(w.accept)
	}
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("worker: %w", err)
	}
	return w, nil
}

// newWorker is a Worker to whom nobody listens yet.
func newWorker(o Options) (*Worker, error) {
	w := &Worker{
		opts: o, log: o.Log, cores: o.Cores, silence: silentAfter,
		jobs: map[*running]bool{}, rooms: map[string]*room{}, refused: map[relayproto.Reason]uint64{},
	}
	all := Capacity()
	if w.cores <= 0 || w.cores > all {
		w.cores = all
	}
	w.parallel = int(math.Ceil(w.cores))
	if w.opts.Jobs <= 0 {
		w.opts.Jobs = JobsPerCore * w.parallel
	}
	if w.opts.Memory <= 0 {
		w.opts.Memory = DefaultMemory
	}
	w.tasks = task.NewGroup(context.Background(), func(e *task.PanicError) {
		o.Log.Error("goroutine panicked", "err", e, "stack", e.Stack)
	})
	var err error
	if w.spawner, err = newSpawner(w.tasks); err == nil {
		err = w.tasks.Go(w.watch)
	}
	return w, err
}

// Addr is where edges reach the worker.
func (w *Worker) Addr() net.Addr { return w.listener.Addr() }

// Close ends all jobs, telling their edges to go elsewhere, then the links, and waits for every process and goroutine. A job's process
// that does not end by itself is killed after some seconds. It is safe twice.
func (w *Worker) Close() {
	w.closed.Do(func() {
		w.tasks.Stop()
		w.drain()
		if w.listener != nil {
			w.listener.Close()
		}
	})
	w.tasks.Close()
}

// drain waits until all jobs have ended: their links are still needed to say so.
func (w *Worker) drain() {
	for {
		var one *running
		w.mu.Lock()
		for j := range w.jobs {
			one = j
			break
		}
		w.mu.Unlock()
		if one == nil {
			return
		}
		<-one.told
	}
}

// reasons are all there are: what is counted by reason has each from the start.
var reasons = []relayproto.Reason{
	relayproto.Full, relayproto.Unable, relayproto.BadOrder, relayproto.Stale, relayproto.Crashed, relayproto.ShuttingOff,
}

// Stats is a snapshot.
func (w *Worker) Stats() Stats {
	s := Stats{Jobs: map[relayproto.JobKind]int{relayproto.Mix: 0, relayproto.Transcode: 0}, Refused: map[relayproto.Reason]uint64{}, Cores: w.cores}
	for _, r := range reasons {
		s.Refused[r] = 0
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Links, s.Started, s.Crashed, s.DroppedTo = w.links, w.started, w.crashed, w.lost
	for r, n := range w.refused {
		s.Refused[r] += n
	}
	s.ToJobs, s.FromJobs = w.to, w.from
	for j := range w.jobs {
		if !j.over {
			s.Jobs[j.kind]++
			s.Load += j.load.weight(now)
			s.CPU += j.load.cpu
		}
		taken, dropped := j.queue.counts()
		s.ToJobs += taken
		s.DroppedTo += dropped
		s.FromJobs += j.sent.Load()
	}
	s.DroppedTo += w.strays.Load()
	s.DroppedFrom = w.wild.Load()
	return s
}

// accept takes links until the worker is closed.
func (w *Worker) accept(ctx context.Context) {
	for {
		l, err := w.listener.Accept(ctx)
		if err != nil {
			if ctx.Err() == nil {
				w.log.Error("node links ended", "err", err)
			}
			return
		}
		_ = w.tasks.Go(func(ctx context.Context) { w.serveLink(ctx, l) })
	}
}

// serveLink takes the calls of one link, each of which is a job.
func (w *Worker) serveLink(ctx context.Context, l *link.Link) {
	name, _ := l.Peer()
	e := newEdge(name, l)
	w.edges.Store(l, e)
	w.count(&w.links, 1)
	w.log.Info("edge connected", "edge", name)
	for {
		c, err := l.Accept(ctx)
		if err != nil {
			break
		}
		if w.tasks.Go(func(ctx context.Context) { w.serve(ctx, e, c) }) != nil {
			c.Close()
		}
	}
	w.edges.Delete(l)
	w.count(&w.links, -1)
	if ctx.Err() == nil {
		w.log.Info("edge gone", "edge", name, "err", l.Err())
	}
}

func (w *Worker) count(what *int, by int) {
	w.mu.Lock()
	*what += by
	w.mu.Unlock()
}

// receive takes a packet of a link, on the link's goroutine.
func (w *Worker) receive(l *link.Link, flowID uint64, packet []byte) {
	e, ok := w.edges.Load(l)
	if !ok || !e.(*edge).deliver(flowID, packet) {
		w.strays.Add(1)
	}
}

// call is a control stream of an edge, as of link.Call.
type call interface {
	Send(text []byte) error
	Receive(ctx context.Context) ([]byte, error)
	Close()
}

// serve runs one job, from its first order to its end.
func (w *Worker) serve(ctx context.Context, e *edge, c call) {
	defer c.Close()
	first, cancel := context.WithTimeout(ctx, firstOrder)
	text, err := c.Receive(first)
	cancel()
	if err != nil {
		return // nothing was ordered
	}
	order, command, err := readFirst(text)
	if command != nil && w.opts.Command != nil {
		if text, err := relayproto.Encode(relayproto.Message{Answer: w.opts.Command(e.name, command)}); err == nil {
			_ = c.Send(text)
		}
		return
	}
	if err == nil && order == nil {
		err = errors.New("worker: not an order")
	}
	if err != nil {
		w.refuse(e, c, "", relayproto.Refusal{Reason: relayproto.BadOrder, Detail: err.Error()})
		return
	}
	j, refusal := w.admit(e, order)
	if refusal == nil {
		defer w.release(j) // whatever happens: Close waits for it
		refusal = j.run(ctx, c, text)
		w.free(j)
	}
	if refusal != nil {
		w.refuse(e, c, order.Job, *refusal)
	}
}

// readFirst reads the message that a call begins with.
func readFirst(text []byte) (*relayproto.Order, []byte, error) {
	m, err := relayproto.Decode(text)
	return m.Order, m.Command, err
}

func readOrder(text []byte) (*relayproto.Order, error) {
	m, err := relayproto.Decode(text)
	switch {
	case err != nil:
		return nil, err
	case m.Order == nil:
		return nil, errors.New("worker: not an order")
	}
	return m.Order, nil
}

// Drain says whether the worker is to take nothing new. What it does is given back then: the edges take it elsewhere.
func (w *Worker) Drain(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.draining = on
	if !on {
		return
	}
	for j := range w.jobs {
		j.finish(relayproto.Refusal{Reason: relayproto.ShuttingOff, Detail: "the relay drains"})
	}
}

// refuse tells the edge, which may be gone.
func (w *Worker) refuse(e *edge, c call, id string, r relayproto.Refusal) {
	w.mu.Lock()
	w.refused[r.Reason]++
	w.mu.Unlock()
	level := slog.LevelWarn
	if r.Reason == relayproto.ShuttingOff || r.Reason == relayproto.Full || r.Reason == relayproto.Stale {
		level = slog.LevelInfo
	}
	w.log.Log(context.Background(), level, "job refused", "edge", e.name, "job", id, "reason", string(r.Reason), "detail", r.Detail)
	if text, err := relayproto.Encode(relayproto.Message{Refusal: &r}); err == nil {
		_ = c.Send(text)
	}
}
