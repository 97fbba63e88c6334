//go:build linux

package network

import (
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	goFirst()
	goleak.VerifyTestMain(m)
}

// goFirst gives this process precedence over others on the machine: it is a network as well, whose time must not stand still. Where
// that is not allowed, the tests are skipped anyway.
func goFirst() {
	const nice = -10
	threads, _ := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, id, nice) // what they start is as nice
		}
	}
}

// pulse notices when this process stood still all the same: nothing of that is the edge's doing.
type pulse struct {
	mu    sync.Mutex // guards still
	still []span
}

type span struct{ from, to time.Duration }

const (
	beat = 5 * time.Millisecond
	late = 25 * time.Millisecond // what is no matter
)

// run watches until stop.
func (p *pulse) run(stop <-chan struct{}) {
	last := clock()
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-stop:
			return
		}
		now := clock()
		if now-last > beat+late {
			p.mu.Lock()
			p.still = append(p.still, span{last + beat, now})
			p.mu.Unlock()
		}
		last = now
	}
}

// within is how long the process stood still between two times.
func (p *pulse) within(from, to time.Duration) (sum time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.still {
		sum += max(0, min(s.to, to)-max(s.from, from))
	}
	return sum
}
