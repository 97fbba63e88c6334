package pipeline

import (
	"slices"
	"sync"
	"sync/atomic"

	"portico/relay/codec"
)

const (
	defaultRate = 30.0 // pictures a second, when nobody says
	maxRate     = 60.0
)

// videoSide is the video of a job behind the decoders: a clock that has the stage composed and the outputs encoded.
type videoSide struct {
	job  *Job
	wake chan struct{}
	half atomic.Int64 // half of the clock's period

	mu    sync.Mutex // guards the fields below; held while a picture is composed
	stage stage
	outs  []*videoOut
	left  []*videoOut // to be closed by run
	rate  float64     // of the clock; 0: it stands still

	// Of run.
	anchor int64 // when tick 0 was
	tick   int64 // the next one
	ticked float64
	last   int64 // time of the last picture
}

func newVideoSide(j *Job) *videoSide { return &videoSide{job: j, wake: make(chan struct{}, 1)} }

// halfPeriod is how long before its time a picture may be shown, so that on average it is neither early nor late.
func (v *videoSide) halfPeriod() int64 { return v.half.Load() }

// replace puts outputs in the place of what was there; those that stay are in the list.
func (v *videoSide) replace(outs []*videoOut) {
	v.mu.Lock()
	for _, o := range v.outs {
		if !slices.Contains(outs, o) {
			v.left = append(v.left, o)
		}
	}
	v.outs, v.rate = outs, 0
	for _, o := range outs {
		v.rate = max(v.rate, o.rate)
	}
	if v.rate > 0 {
		v.half.Store(int64(float64(second) / v.rate / 2))
	}
	v.mu.Unlock()
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// run makes pictures at the rate of the fastest output.
func (v *videoSide) run() {
	alarm := v.job.newAlarm()
	defer alarm.t.Stop()
	for {
		next, running := v.next()
		if !running {
			next = v.job.now() + 60*second
		}
		select {
		case <-v.job.closing:
			return
		case <-v.wake:
		case <-alarm.at(next):
			if running {
				v.picture()
			}
		}
	}
}

// next is the time of the next picture; not running: nobody wants one. It closes the outputs that have left, too.
func (v *videoSide) next() (at int64, running bool) {
	v.mu.Lock()
	rate, left := v.rate, v.left
	v.left = nil
	v.mu.Unlock()
	for _, o := range left {
		o.close()
	}
	if rate == 0 {
		v.ticked = 0
		return 0, false
	}
	if rate != v.ticked {
		v.ticked, v.tick = rate, 0
		v.anchor = max(v.job.now(), v.last+int64(float64(second)/rate))
	}
	return v.time(v.tick), true
}

func (v *videoSide) time(tick int64) int64 {
	return v.anchor + int64(float64(tick)*float64(second)/v.ticked)
}

// picture makes one picture. When it comes too late by more than a period, those that should have been before are left out.
func (v *videoSide) picture() {
	for now := v.job.now(); v.time(v.tick+1) <= now; {
		v.tick++
	}
	at := v.time(v.tick)
	var p *codec.Picture
	var due []*videoOut
	v.job.work(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		var changed bool
		p, changed = v.stage.compose(at)
		for _, o := range v.outs {
			o.changed = o.changed || changed
			if p != nil && o.isDue(at) {
				due = append(due, o)
			}
		}
	})
	v.last = at
	v.tick++
	v.encode(due, p, at)
}

// encode has the outputs encode the picture beside each other, and waits for them: nobody writes it meanwhile.
func (v *videoSide) encode(due []*videoOut, p *codec.Picture, at int64) {
	if len(due) == 0 {
		return
	}
	var others sync.WaitGroup
	for _, o := range due[1:] {
		others.Go(func() { v.job.work(func() { o.encode(p, at) }) })
	}
	v.job.work(func() { due[0].encode(p, at) })
	others.Wait()
}

// close is for when run has ended.
func (v *videoSide) close() {
	for _, o := range slices.Concat(v.outs, v.left) {
		o.close()
	}
}
