package loadtest

import (
	"context"
	"errors"
	"os"
	"time"
)

var selfPID = os.Getpid()

// measurement is the part of a scenario in which numbers are taken.
type measurement struct {
	load  *load
	crowd *crowd
	edge  *server

	before      reading // of the edge, without participants
	first, last sight
	late        Percentiles
	full        reading // the last that has the metrics page
	timeline    []Moment
	interrupted bool
}

// sight is everything countable at one moment.
type sight struct {
	edge    reading
	own     usage
	machine time.Duration // CPU time of all programs
	counts  Counts
	sent    uint64 // by publishers
	drops   uint64 // in the generator's own sockets
}

func (m *measurement) look() sight {
	s := sight{}
	m.crowd.peers(func(_ *participant, p *peer) {
		s.counts.add(p.total())
		if p.transport != nil {
			s.drops += p.transport.socket.drops()
		}
		for _, t := range p.tracks {
			for _, e := range t.encodings {
				s.sent += e.sent.Load()
			}
		}
	})
	s.edge = m.edge.read()
	s.own, _ = processUsage(selfPID) // zero where it is unknown
	s.machine = machineTime()
	return s
}

// join lets the crowd in and waits until it flows.
func (m *measurement) join(ctx context.Context) error {
	done := make(chan struct{})
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		m.report(done)
	}()
	err := m.crowd.join(ctx, m.load.o.JoinRate)
	if err == nil {
		err = m.crowd.flow(ctx, m.load.o.JoinTimeout)
	}
	close(done)
	<-reported
	at := m.crowd.state()
	switch {
	case err != nil:
		m.interrupted = true
		return err
	case at.streams == 0 && at.failed > 0:
		return errors.New(m.crowd.failures()[0])
	case at.streams == 0:
		return errors.New("no media has come back from the edge")
	case at.streams < m.crowd.scenario.streams():
		m.load.say("  only %d of %d streams flow; measuring those", at.streams, m.crowd.scenario.streams())
	}
	return nil
}

// report says how far joining has come.
func (m *measurement) report(done <-chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var said state
	for {
		select {
		case <-ticker.C:
		case <-done:
			return
		}
		s := m.crowd.state()
		if s == said {
			continue
		}
		said = s
		failed := ""
		if s.failed > 0 {
			failed = ", " + plural(s.failed, "failure")
		}
		m.load.say("  %d of %d have joined, %d of %d streams flow%s", s.joined, m.crowd.scenario.Participants(), s.streams,
			m.crowd.scenario.streams(), failed)
	}
}

// run warms up and measures. When ctx ends, what was measured until then counts.
func (m *measurement) run(ctx context.Context) error {
	o := &m.load.o
	if err := pause(ctx, o.WarmUp); err != nil {
		m.interrupted = true
		return err
	}
	m.crowd.host.locked(func(_ *poller, m *meter) { m.latency, m.recent = histogram{}, histogram{} })
	m.crowd.lateness.take()
	m.first = m.look()
	m.last = m.first
	begin := time.Now()
	phase := o.Duration / time.Duration(len(o.Rates))
	if o.Timeline {
		m.load.say("%s", momentHead)
	}
	for {
		next := time.Since(begin).Truncate(time.Second) + time.Second
		m.interrupted = pause(ctx, min(next, o.Duration)-time.Since(begin)) != nil
		passed := time.Since(begin)
		m.moment(passed)
		if m.interrupted || passed >= o.Duration || m.edge.died() != nil {
			break
		}
		rate := o.Rates[min(int(passed/phase), len(o.Rates)-1)]
		m.crowd.rate.Store(uint64(rate*100 + .5))
	}
	m.late = m.crowd.lateness.take()
	m.full = m.edge.readAll(context.WithoutCancel(ctx))
	return ctx.Err()
}

// moment looks at what the last second brought.
func (m *measurement) moment(passed time.Duration) {
	now := m.look()
	var recent histogram
	m.crowd.host.locked(func(_ *poller, meter *meter) {
		recent.add(&meter.recent)
		meter.recent = histogram{}
	})
	at := Moment{Seconds: passed.Seconds(), Rate: float64(m.crowd.rate.Load()) / 100, Latency: recent.percentiles()}
	counts, seconds := now.counts.since(m.last.counts), float64(now.edge.at-m.last.edge.at)/1e9
	at.Loss = counts.Loss()
	if seconds > 0 {
		at.Delivered = float64(counts.Delivered) / seconds
		at.ServerCPU = (now.edge.cpu - m.last.edge.cpu).Seconds() / seconds
	}
	m.timeline = append(m.timeline, at)
	if m.load.o.Timeline {
		m.load.say("%s", at)
	}
	m.last = now
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
