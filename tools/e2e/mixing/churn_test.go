//go:build linux

package mixing

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"portico/shared/client"
	"portico/tools/pionpeer/clip"
	"portico/tools/proctest"
)

// at most so much of what a node holds may remain of those who were there.
const remains = .02

// visit is one participant who comes into a mixed room, is seen and sees, and goes in one of several ways.
func (s *system) visit(n int, c *clip.Clip) (err error) {
	f, err := factory()
	if err != nil {
		return err
	}
	p, err := s.enter(fmt.Sprint("guest", n), client.Options{Peers: f})
	if err != nil {
		return err
	}
	defer p.leave()
	published, err := p.publish(c)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := p.c.Mix(p.ctx, published.ID(), view); err != nil {
		return err
	}
	v, err := p.subscribe(p.mixed(), "vp8")
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if !v.until(patience, func() bool { return len(v.pictures) > 0 && len(v.sounds) > 0 }) {
		return fmt.Errorf("%d pictures and %d sounds came of the mix", len(v.pictures), len(v.sounds))
	}
	switch n % 4 {
	case 0: // in order
		err = errors.Join(v.Stop(p.ctx), p.c.Unmix(p.ctx, published.ID(), view), published.Stop(p.ctx))
	case 1:
		err = errors.Join(p.c.Unmix(p.ctx, published.ID(), view), p.c.Mix(p.ctx, published.ID(), view))
	case 2:
		err = published.Stop(p.ctx)
	}
	return err // and it leaves, whatever it still has
}

// visits has so many come, some at a time.
func (s *system) visits(from, count, atOnce int, c *clip.Clip) {
	s.t.Helper()
	var next atomic.Int64
	failed := make(chan error, atOnce)
	for range atOnce {
		go func() {
			var err error
			for err == nil {
				n := next.Add(1)
				if n > int64(count) {
					break
				}
				err = s.visit(from+int(n), c)
			}
			failed <- err
		}()
	}
	for range atOnce {
		if err := <-failed; err != nil {
			next.Store(int64(count))
			s.t.Error(err)
		}
	}
	if s.t.Failed() {
		s.t.Fatalf("edge:\n%s\nrelay:\n%s", s.edge.Tail(), s.relays[0].Tail())
	}
}

// holding is what a node holds when all is quiet.
type holding struct{ goroutines, heap float64 }

// settle waits until nobody is left of those who were there, and measures.
func (s *system) settle() map[string]holding {
	s.t.Helper()
	s.until("all jobs have ended", func() bool { return len(children(s.relays[0].PID())) == 0 })
	s.until("all connections have ended", func() bool {
		m := s.metrics(s.url)
		return m["portico_transports"]+m["portico_participants"]+m["portico_portal_connections"]+m["portico_job_inputs"] == 0
	})
	return map[string]holding{"edge": s.hold(s.url), "relay": s.hold("http://" + s.there(s.relays[0].admin))}
}

// hold is the least of several readings of what a garbage collection found in use, with collections between them: reading makes garbage
// enough with the GOGC that the programs run with.
func (s *system) hold(url string) holding {
	s.t.Helper()
	least := holding{math.Inf(1), math.Inf(1)}
	first := 0.0
	s.until("some garbage collections", func() bool {
		m := s.metrics(url)
		collections := m["go_gc_duration_seconds_count"]
		if first == 0 {
			first = collections
		}
		if collections >= first+3 { // what lies in pools is gone after two
			least.goroutines = min(least.goroutines, m["go_goroutines"])
			least.heap = min(least.heap, m["go_gc_heap_live_bytes"])
		}
		return collections >= first+6
	})
	return least
}

// memory is how long an edge may hold what it does of those who are gone: some of their resources end by timers.
const memory = 60 * time.Second

// forget waits until the nodes hold no more than before.
func (s *system) forget(before map[string]holding) {
	s.t.Helper()
	began := time.Now()
	for {
		after, over := s.settle(), false
		for node, b := range before {
			a := after[node]
			over = over || a.goroutines > b.goroutines*(1+remains) || a.heap > b.heap*(1+remains)
		}
		late := time.Since(began) > memory
		if over && !late {
			lets(s.t, time.Second)
			continue
		}
		for node, b := range before {
			a := after[node]
			s.t.Logf("%s: %.0f goroutines and %.0f kB after %v, before %.0f and %.0f kB", node, a.goroutines, a.heap/1000,
				time.Since(began).Round(time.Second/10), b.goroutines, b.heap/1000)
		}
		if over {
			s.t.Error("something of them remains")
		}
		return
	}
}

// churn has people come and go, and compares what the nodes hold before and after.
func churn(t *testing.T, o options, warm, count, atOnce int) {
	c := clipOf(t, red)
	o.environment = append(o.environment, "GOGC=5")
	s := start(t, o)
	s.visits(0, warm, atOnce, c)
	if long() {
		lets(t, memory) // else what is measured is what the first ones still hold
	}
	before := s.settle()
	began := time.Now()
	s.visits(warm, count, atOnce, c)
	t.Logf("%d came and went in %v", count, time.Since(began).Round(time.Second/10))
	s.forget(before)
	for _, p := range []*proctest.Process{s.edge, s.relays[0].Process} {
		p.Stop(t)
		if text := p.All(); strings.Contains(text, "DATA RACE") || strings.Contains(text, "job crashed") {
			t.Errorf("%s", text)
		}
	}
}

// TestChurn: of participants who came into a mixed room and went nothing remains.
func TestChurn(t *testing.T) {
	count := 60
	if long() {
		count = 1000
	}
	churn(t, options{}, 30, count, 4)
}

// TestChurnRace is that with programs that were built with the race detector.
func TestChurnRace(t *testing.T) {
	if os.Getenv("PORTICO_TEST_RACE") == "" {
		t.Skip("building the programs once more takes minutes: PORTICO_TEST_RACE=1 runs it")
	}
	churn(t, options{race: true, environment: []string{"GORACE=halt_on_error=1"}}, 20, 100, 2)
}
