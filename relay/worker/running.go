package worker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"portico/shared/relayproto"
)

// running is one job as the worker has it: its call, its process, and what passes between them.
type running struct {
	worker   *Worker
	edge     *edge
	id, room string
	line     string // of epochs
	kind     relayproto.JobKind
	queue    *queue        // packets to the process
	sent     atomic.Uint64 // packets from it that were its own to send
	log      *slog.Logger
	end      chan relayproto.Refusal // one: why it ends, for reasons that are not its own
	told     chan struct{}           // closed when it has ended and the edge knows

	// Guarded by the worker's mu.
	load            load
	epoch, revision uint64
	tracks          []relayproto.Suspect // of the last order
	ending          bool                 // it does not count in the admission of others
	over            bool                 // its process has ended
	child           *child               // nil while it starts
}

// finish ends the job for a reason from outside. It does not wait; the caller holds the worker's mu.
func (j *running) finish(r relayproto.Refusal) {
	j.ending = true
	select {
	case j.end <- r:
	default: // it has a reason already
	}
}

// run is the job's life. It returns when its process and its goroutines have ended, with what the edge is to be told; nil when the edge
// itself has ended it.
func (j *running) run(ctx context.Context, c call, first []byte) *relayproto.Refusal {
	w := j.worker
	said := newTalk(j.log)
	p, err := w.spawner.start(ctx, settings{Job: j.id, Parallel: w.parallel, Memory: w.opts.Memory, Level: levelOf(j.log)}, said)
	if err != nil {
		if ctx.Err() != nil {
			return &relayproto.Refusal{Reason: relayproto.ShuttingOff}
		}
		j.log.Error("no process for a job", "err", err)
		return &relayproto.Refusal{Reason: relayproto.Full, Detail: err.Error()}
	}
	w.mu.Lock()
	j.child = p
	w.started++
	w.mu.Unlock()
	begun := time.Now()
	j.log.Info("job started", "kind", string(j.kind), "pid", p.pid())

	ctx, cancel := context.WithCancel(ctx)
	outcome := make(chan *relayproto.Refusal, 3)
	var parts sync.WaitGroup
	parts.Go(func() { outcome <- j.orders(ctx, c, p, first) })
	parts.Go(func() { outcome <- j.reports(c, p) })
	parts.Go(func() { j.fromProcess(p) })
	parts.Go(func() { j.queue.drain(p.packets, ctx.Done()) })

	var refusal *relayproto.Refusal
	select {
	case refusal = <-outcome:
	case r := <-j.end:
		refusal = &r
	case <-ctx.Done():
		refusal = &relayproto.Refusal{Reason: relayproto.ShuttingOff}
	}
	cancel()
	if refusal != nil && refusal.Reason == relayproto.Crashed {
		p.kill() // it is dead, or cannot be talked to
	}
	p.stop()
	parts.Wait()
	if refusal != nil && refusal.Reason == relayproto.Crashed {
		refusal.Suspects = j.suspects(p)
	}
	p.forget()
	j.ended(refusal, p, begun)
	return refusal
}

func (j *running) ended(refusal *relayproto.Refusal, p *child, begun time.Time) {
	ran := time.Since(begun).Round(time.Millisecond)
	if refusal != nil && refusal.Reason == relayproto.Crashed {
		j.worker.mu.Lock()
		j.worker.crashed++
		j.worker.mu.Unlock()
		j.log.Error("job crashed", "cause", p.cause(), "detail", refusal.Detail, "suspects", refusal.Suspects, "said", p.said.words(), "ran", ran)
		return
	}
	_, dropped := j.queue.counts()
	j.log.Info("job ended", "ran", ran, "dropped", dropped)
}

// suspects are whose media a process may have died of that has ended.
func (j *running) suspects(p *child) []relayproto.Suspect {
	if p.page == nil || !p.faulted() {
		return nil
	}
	j.worker.mu.Lock()
	known := j.tracks
	j.worker.mu.Unlock()
	return suspects(p.page, known, j.worker.parallel+1) // pictures, and sound
}

// levelOf is the least level that is logged.
func levelOf(log *slog.Logger) slog.Level {
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if log.Enabled(context.Background(), l) {
			return l
		}
	}
	return slog.LevelError
}

// orders passes orders on until the edge ends the call, which is nil, or one is refused.
func (j *running) orders(ctx context.Context, c call, p *child, text []byte) *relayproto.Refusal {
	for {
		_ = p.control.SetWriteDeadline(time.Now().Add(j.worker.silence))
		if err := writeMessage(p.control, text); err != nil {
			return j.lost(p, "takes no orders")
		}
		for {
			var err error
			if text, err = c.Receive(ctx); err != nil {
				if ctx.Err() != nil {
					return &relayproto.Refusal{Reason: relayproto.ShuttingOff}
				}
				return nil
			}
			order, err := readOrder(text)
			if err != nil {
				return &relayproto.Refusal{Reason: relayproto.BadOrder, Detail: err.Error()}
			}
			obeyed, refusal := j.worker.reorder(j, order)
			if refusal != nil {
				return refusal
			}
			if obeyed {
				break
			}
		}
	}
}

// reports passes the process's messages on until it refuses to go on, ends, or makes no sense.
func (j *running) reports(c call, p *child) *relayproto.Refusal {
	for {
		_ = p.control.SetReadDeadline(time.Now().Add(j.worker.silence))
		text, err := readMessage(p.control)
		if err != nil {
			return j.lost(p, err.Error())
		}
		m, err := relayproto.Decode(text)
		switch {
		case err != nil || m.Order != nil:
			return senseless()
		case m.Refusal != nil:
			return believed(m.Refusal)
		}
		j.worker.mu.Lock()
		m.Report.CPU = j.load.cpu
		j.worker.mu.Unlock()
		if text, err = relayproto.Encode(m); err == nil {
			err = c.Send(text)
		}
		if err != nil {
			return nil // the edge is gone, or takes nothing any more
		}
	}
}

func senseless() *relayproto.Refusal {
	return &relayproto.Refusal{Reason: relayproto.Crashed, Detail: "the job's process says what makes no sense"}
}

// longDetail is how much of a refusal's detail is passed on, in bytes.
const longDetail = 1000

// believed is what a process says as far as it may: reasons are counted and details logged, and a library that runs wild says anything.
func believed(r *relayproto.Refusal) *relayproto.Refusal {
	if !slices.Contains(reasons, r.Reason) {
		return senseless()
	}
	r.Detail, r.Suspects = r.Detail[:min(len(r.Detail), longDetail)], nil
	return r
}

// lost is what became of a process that cannot be talked to any more: dead as a rule, and then it is known how.
func (j *running) lost(p *child, detail string) *relayproto.Refusal {
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-p.exited:
		detail = p.cause()
	case <-timer.C:
		detail = fmt.Sprintf("the job's process hangs: %s", detail)
	}
	return &relayproto.Refusal{Reason: relayproto.Crashed, Detail: detail}
}

// fromProcess sends the process's packets to the edge until the socket ends. A packet of a flow that is not the job's is dropped: a
// library that runs wild must not reach the streams of others.
func (j *running) fromProcess(p *child) {
	_ = readPackets(p.packets, func(flowID uint64, packet []byte) {
		if !j.edge.sends(j, flowID) {
			j.worker.wild.Add(1)
			return
		}
		j.sent.Add(1)
		if j.edge.back.Send(flowID, packet) != nil {
			j.worker.wild.Add(1)
		}
	})
}
