package node

import (
	"context"
	"math"
	"runtime"
	"sync/atomic"
	"time"
)

// load measures how much an edge has to do, and keeps it: from 0, idle, to 1, full.
type load struct {
	cores float64
	value atomic.Uint64 // bits of a float64
	last  sample
}

// sample is what has been used so far.
type sample struct {
	at      time.Time
	cpu     time.Duration // of this process
	packets uint64        // forwarded, in and out
}

const (
	measureEvery = time.Second
	// packetsPerCore is how many packets a second, in and out, one core forwards when it does nothing else; beyond, delays grow before the
	// processor's time is used up.
	packetsPerCore = 200_000
	// settling is how much of the last measure counts against the new one: load is an average over some seconds.
	settling = 0.6
	// fullAt is the load from which an edge takes nobody new.
	fullAt = 0.95
)

func newLoad() *load { return &load{cores: float64(max(1, runtime.GOMAXPROCS(0)))} }

// Value is the load as measured last.
func (l *load) Value() float64 { return math.Float64frombits(l.value.Load()) }

// measure takes a sample and the share of connections that are in use.
func (l *load) measure(s sample, connections float64) float64 {
	now := connections
	if passed := s.at.Sub(l.last.at).Seconds(); !l.last.at.IsZero() && passed > 0 {
		now = max(now, (s.cpu-l.last.cpu).Seconds()/passed/l.cores, float64(s.packets-l.last.packets)/passed/l.cores/packetsPerCore)
	}
	l.last = s
	value := settling*l.Value() + (1-settling)*now
	l.value.Store(math.Float64bits(value))
	return value
}

// measure keeps the load up to date, and tells gossip of it, which passes on what has changed.
func (n *Node) measure(ctx context.Context) {
	ticker := time.NewTicker(measureEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s := n.engine.Stats()
		connections := float64(n.sockets.Stats().Connections) / float64(n.cfg.Portal.MaxConnections)
		value := n.load.measure(sample{at: time.Now(), cpu: cpuTime(), packets: s.PacketsIn + s.PacketsOut}, connections)
		n.members.setLoad(value)
	}
}

// full tells whether nobody new is let in: the edge has as much to do as it can, or gives away what it has.
func (n *Node) full() bool { return n.draining.Load() || n.load.Value() >= fullAt }
