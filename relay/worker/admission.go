package worker

import (
	"context"
	"fmt"
	"time"

	"portico/shared/relayproto"
)

// admit makes a place for a job, or says why there is none. What is admitted is released.
func (w *Worker) admit(e *edge, o *relayproto.Order) (*running, *relayproto.Refusal) {
	now := time.Now()
	j := &running{
		worker: w, edge: e, id: o.Job, room: o.Room, line: lineOf(e, o), kind: o.Kind, queue: newQueue(queueLimit),
		end: make(chan relayproto.Refusal, 1), told: make(chan struct{}),
		log: w.log.With("job", o.Job, "room", o.Room, "edge", e.name),
	}
	j.load.expect(estimate(o), now)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tasks.Context().Err() != nil || w.draining {
		return nil, &relayproto.Refusal{Reason: relayproto.ShuttingOff}
	}
	if r := w.obeys(j.line, o, now); r != nil {
		return nil, r
	}
	w.replace(e, o)
	if r := w.fits(j, now); r != nil {
		return nil, r
	}
	if !e.route(j, o) {
		return nil, &relayproto.Refusal{Reason: relayproto.BadOrder, Detail: "a flow of another job"}
	}
	j.epoch, j.revision, j.tracks = o.Epoch, o.Revision, tracksOf(o)
	w.jobs[j] = true
	r := w.rooms[j.line]
	if r == nil {
		w.forget()
		r = &room{}
		w.rooms[j.line] = r
	}
	r.jobs++
	w.rise(j.line, o)
	return j, nil
}

// lineOf names the line of epochs that an order's is of: its room's, or with a transcoding job, which any edge of a room may order, that
// of the edge.
func lineOf(e *edge, o *relayproto.Order) string {
	if o.Kind == relayproto.Mix {
		return o.Room
	}
	return e.name + " " + o.Room // no id of a room has a space
}

// keepLine is how long the epoch of a line without jobs is remembered: long enough for a home that was suspended and does not know yet
// that it has been succeeded, and less than edges remember a room that has ended, whose epochs begin anew after that.
const keepLine = 30 * time.Second

// obeys refuses orders of an epoch that is over. The caller holds mu.
func (w *Worker) obeys(line string, o *relayproto.Order, now time.Time) *relayproto.Refusal {
	r := w.rooms[line]
	if r != nil && r.jobs == 0 && now.Sub(r.idle) > keepLine {
		r.epoch = 0
	}
	if r != nil && o.Epoch < r.epoch {
		return &relayproto.Refusal{Reason: relayproto.Stale, Detail: fmt.Sprintf("epoch %d of the room, known is %d", o.Epoch, r.epoch)}
	}
	return nil
}

// rise takes note of an order's epoch and ends the room's jobs of earlier ones. The caller holds mu.
func (w *Worker) rise(line string, o *relayproto.Order) {
	r := w.rooms[line]
	if o.Epoch <= r.epoch {
		return
	}
	r.epoch = o.Epoch
	for other := range w.jobs {
		if other.line == line && other.epoch < o.Epoch {
			other.finish(relayproto.Refusal{Reason: relayproto.Stale, Detail: fmt.Sprintf("epoch %d of the room has begun", o.Epoch)})
		}
	}
}

// replace ends an earlier run of the same job by the same edge, whose link is gone without our knowing yet. The caller holds mu.
func (w *Worker) replace(e *edge, o *relayproto.Order) {
	for other := range w.jobs {
		if other.id == o.Job && other.edge.name == e.name {
			other.finish(relayproto.Refusal{Reason: relayproto.Stale, Detail: "ordered once more"})
		}
	}
}

// fits refuses what there is no time for. One job alone always fits: it has all there is. The caller holds mu.
func (w *Worker) fits(j *running, now time.Time) *relayproto.Refusal {
	count, sum := 0, w.own.cpu
	for other := range w.jobs {
		if !other.ending {
			count++
			sum += other.load.weight(now)
		}
	}
	switch {
	case count >= w.opts.Jobs:
		return &relayproto.Refusal{Reason: relayproto.Full, Detail: fmt.Sprintf("%d jobs", count)}
	case count > 0 && sum+j.load.estimate > fullAt*w.cores:
		detail := fmt.Sprintf("%.2f of %.2f cores are taken, %.2f more are needed", sum, w.cores, j.load.estimate)
		return &relayproto.Refusal{Reason: relayproto.Full, Detail: detail}
	}
	return nil
}

// forget makes room for another room. The caller holds mu.
func (w *Worker) forget() {
	if len(w.rooms) < maxRooms {
		return
	}
	for name, r := range w.rooms {
		if r.jobs == 0 {
			delete(w.rooms, name)
		}
	}
}

// reorder takes a later order of a running job; false drops it.
func (w *Worker) reorder(j *running, o *relayproto.Order) (bool, *relayproto.Refusal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case o.Job != j.id || o.Room != j.room || o.Kind != j.kind:
		return false, &relayproto.Refusal{Reason: relayproto.BadOrder, Detail: "another job on the same stream"}
	case o.Revision < j.revision:
		return false, nil
	}
	if r := w.obeys(j.line, o, time.Now()); r != nil {
		return false, r
	}
	if !j.edge.route(j, o) {
		return false, &relayproto.Refusal{Reason: relayproto.BadOrder, Detail: "a flow of another job"}
	}
	j.epoch, j.revision, j.tracks = o.Epoch, o.Revision, tracksOf(o)
	j.load.expect(estimate(o), time.Now())
	w.rise(j.line, o)
	return true, nil
}

// free gives back what a job has held whose process has ended. The edge may order it again as soon as it knows.
func (w *Worker) free(j *running) {
	j.edge.route(j, nil)
	w.mu.Lock()
	j.ending, j.over = true, true
	w.mu.Unlock()
}

// release ends what admit began, once the edge knows.
func (w *Worker) release(j *running) {
	taken, dropped := j.queue.counts()
	w.mu.Lock()
	delete(w.jobs, j)
	if r := w.rooms[j.line]; r.jobs == 1 {
		r.jobs, r.idle = 0, time.Now()
	} else {
		r.jobs--
	}
	w.to += taken
	w.from += j.sent.Load()
	w.lost += dropped
	w.mu.Unlock()
	close(j.told)
}

// watch measures the jobs' processes once a second, and ends those that take too much memory.
func (w *Worker) watch(ctx context.Context) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			w.sample(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

func (w *Worker) sample(now time.Time) {
	own := ownUsage()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.own.sample(own, now)
	for j := range w.jobs {
		if j.child == nil || j.over {
			continue
		}
		cpu, memory, ok := usage(j.child.pid())
		if !ok {
			continue
		}
		j.load.sample(cpu, now)
		if memory > w.opts.Memory && !j.ending {
			j.finish(relayproto.Refusal{Reason: relayproto.Crashed, Detail: fmt.Sprintf("%d MB of memory", memory>>20)})
		}
	}
}
