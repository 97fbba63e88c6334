package worker

import (
	"runtime"
	"time"
)

// How far the machine is filled. Mixing is bound to time: a core that is asked for all it has is late with every picture, and half of
// what is measured of a job can come back within a second, when somebody turns a camera on.
const (
	fullAt      = 0.85
	settled     = 10 * time.Second // until then a job counts for what was estimated, if that is more
	leastCounts = 0.5              // of the estimate, however little it uses
	smoothing   = 0.3              // weight of the newest second
	sampleEvery = time.Second
)

// Capacity is how many cores this process may use: all that the Go runtime has found, or fewer where a container's quota is not whole.
func Capacity() float64 {
	cores := float64(runtime.GOMAXPROCS(0))
	if q := quota(); q > 0 && q < cores {
		cores = q
	}
	return cores
}

// load is how a job weighs in the admission of others. Its owner guards it.
type load struct {
	estimate float64   // cores
	since    time.Time // of the estimate
	cpu      float64   // cores, measured and smoothed
	measured bool
	last     time.Duration // CPU time at the last sample
	at       time.Time     // of the last sample
}

// expect takes a new estimate. One that rises by a tenth or more has to prove itself again.
func (l *load) expect(cores float64, now time.Time) {
	if cores > 1.1*l.estimate {
		l.since = now
	}
	l.estimate = cores
}

// sample takes the CPU time that the job's process has used so far.
func (l *load) sample(used time.Duration, now time.Time) {
	if !l.at.IsZero() && now.After(l.at) && used >= l.last {
		cores := float64(used-l.last) / float64(now.Sub(l.at))
		if l.measured {
			cores = smoothing*cores + (1-smoothing)*l.cpu
		}
		l.cpu, l.measured = cores, true
	}
	l.last, l.at = used, now
}

// weight is how many cores the job counts for.
func (l *load) weight(now time.Time) float64 {
	if !l.measured || now.Sub(l.since) < settled {
		return max(l.estimate, l.cpu)
	}
	return max(leastCounts*l.estimate, l.cpu)
}
