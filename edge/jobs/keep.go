package jobs

import (
	"context"
	"errors"
	"time"

	"portico/shared/link"
	"portico/shared/relayproto"
)

// How long it takes until a job is tried again that has failed everywhere, or soon after its beginning: twice as long each time.
const (
	leastPause = 250 * time.Millisecond
	mostPause  = 10 * time.Second
	healthy    = 5 * time.Second // a job that ran for so long begins anew without a pause
)

// callTimeout is how long a relay has to take a job's call.
const callTimeout = 3 * time.Second

// refused is the error of a run that the relay ended.
type refused struct {
	relayproto.Refusal
	without bool // of a crash: what it may have come from is left out from now on
}

func refuse(why relayproto.Reason, err error) *refused {
	return &refused{Refusal: relayproto.Refusal{Reason: why, Detail: err.Error()}}
}

func (r *refused) Error() string {
	if r.Detail == "" {
		return string(r.Reason)
	}
	return string(r.Reason) + ": " + r.Detail
}

// keep keeps the job on a relay until ctx ends.
func (x *job) keep(ctx context.Context) {
	except := make(map[*relay]relayproto.Reason) // those that have refused it
	pause := time.Duration(0)
	for runs := 0; ctx.Err() == nil; runs++ {
		at, changed, err := x.jobs.pool.pick(except)
		if err == nil {
			if runs > 0 {
				x.jobs.restarts.Add(1)
			}
			began := time.Now()
			err = x.serve(ctx, at)
			if time.Since(began) > healthy {
				pause = 0
				clear(except)
			}
			if ctx.Err() != nil {
				return
			}
			if !x.next(ctx, at, err, except) {
				continue
			}
		} else if len(except) == 0 {
			x.post(func() { x.tell(err) })
		}
		if err != errNoRelay || len(except) > 0 {
			changed = nil // there are relays: it is they who have to be given time
		}
		clear(except)
		pause = min(max(2*pause, leastPause), mostPause)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-time.After(pause):
		}
	}
}

// next looks at why a run has ended and tells whether there has to be a pause before the next.
func (x *job) next(ctx context.Context, at *port, err error, except map[*relay]relayproto.Reason) (pause bool) {
	x.jobs.log.Warn("job has ended on its relay", "room", x.room(), "relay", at.relay.address, "err", err)
	var no *refused
	if !errors.As(err, &no) {
		return at.link.Err() == nil // else the link is gone, and the pool knows
	}
	x.jobs.refusals.Add(1)
	switch no.Reason {
	case relayproto.Crashed:
		return !no.without // else what it died of may do it again; the first pause is short
	case relayproto.Full:
		x.jobs.pool.full(at.relay)
	}
	except[at.relay] = no.Reason
	if _, _, none := x.jobs.pool.pick(except); none == nil {
		return false
	}
	without := false
	if fault(except) {
		_ = x.loop.Do(ctx, func() { without = x.leaveOut(err) })
	}
	if without {
		clear(except)
		return false
	}
	x.post(func() { x.tell(err) })
	return true
}

// fault tells whether all relays refuse for what they are asked, and not for want of room.
func fault(refusals map[*relay]relayproto.Reason) bool {
	for _, r := range refusals {
		if r != relayproto.Unable && r != relayproto.BadOrder {
			return false
		}
	}
	return len(refusals) > 0
}

// refusedTime is how long an output that the relays cannot make is not asked for again.
const refusedTime = time.Minute

// leaveOut does without the newest output that no relay has ever made. A relay does without what it cannot make by itself, and refuses an
// order of which nothing is left; should it refuse one for an output, what one subscriber asks for must not cost the others theirs. It
// tells whether there was one. The job's Loop calls it.
func (x *job) leaveOut(err error) bool {
	var newest *output
	for _, o := range x.outputs {
		if o.ordered > 0 && !o.proven && o.refused == "" && (newest == nil || o.number > newest.number) {
			newest = o
		}
	}
	if newest == nil {
		return false
	}
	newest.refused = err.Error()
	for k, at := range x.refused {
		if time.Since(at) > refusedTime {
			delete(x.refused, k)
		}
	}
	x.refused[newest.key] = time.Now()
	for h := range x.handles {
		if h.next == newest {
			h.wish.Trouble(newest.refused)
		}
	}
	x.review()
	return true
}

// tell says why the job does not run.
func (x *job) tell(err error) {
	if x.keeper != nil {
		why := err.Error()
		x.say(&why)
	}
}

func (x *job) post(f func()) { _ = x.loop.Post(f) } // refused when the job has ended

// serve runs the job on one relay. It returns why that has ended: a *refused where the relay said so.
func (x *job) serve(ctx context.Context, at *port) error {
	short, cancel := context.WithTimeout(ctx, callTimeout)
	call, err := at.link.Call(short)
	cancel()
	if err != nil {
		if ctx.Err() == nil && at.link.Err() == nil { // as many as it takes are there
			return refuse(relayproto.Full, err)
		}
		return err
	}
	r := &run{job: x, port: at, id: newID(), inputs: make(map[inputKey]*input), dirty: make(chan struct{}, 1)}
	defer x.jobs.pool.busy(r, 0, true)
	x.jobs.pool.busy(r, guessedLoad, false)
	ctx, cancel = context.WithCancel(ctx)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		r.send(ctx, call)
	}()
	defer func() {
		cancel()
		call.Close() // lets go of what it waits for
		<-sent
		_ = x.loop.Do(context.Background(), func() { r.end() }) // refused: ended already
	}()
	if err := x.loop.Do(ctx, func() { r.begins(ctx) }); err != nil {
		return err
	}
	for {
		raw, err := call.Receive(ctx)
		if err != nil {
			return r.why(at.link, err)
		}
		m, err := relayproto.Decode(raw)
		switch {
		case err != nil:
			return refuse(relayproto.Unable, err)
		case m.Refusal != nil:
			no := &refused{Refusal: *m.Refusal}
			if no.Reason == relayproto.Crashed && len(no.Suspects) > 0 {
				_ = x.loop.Do(ctx, func() { no.without = r.blame(no.Suspects) }) // refused when the job has ended
			}
			return no
		case m.Report != nil:
			x.jobs.pool.busy(r, m.Report.CPU, false)
			x.post(func() { r.reported(m.Report) })
		}
	}
}

// why is the reason of a call's end: when the relay is still there, the job died without a word.
func (r *run) why(l *link.Link, err error) error {
	select {
	case <-l.Done():
		return err
	default:
		return refuse(relayproto.Crashed, err)
	}
}

// send sends the relay an order whenever there is a new one, and looks after the run once a second.
func (r *run) send(ctx context.Context, call *link.Call) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		var order []byte
		act := func() { order = r.order() }
		select {
		case <-ctx.Done():
			return
		case <-r.dirty:
		case <-ticker.C:
			act = func() { r.tick() }
		}
		if r.job.loop.Do(ctx, act) != nil {
			return
		}
		if order != nil && call.Send(order) != nil {
			return // the call has ended, or ends
		}
	}
}
