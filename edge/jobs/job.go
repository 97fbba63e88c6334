package jobs

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"portico/edge/room"
	"portico/edge/rtc"
	"portico/shared/conference"
	"portico/shared/relayproto"
	"portico/shared/task"
)

// job is one view, or one published track in other forms.
type job struct {
	jobs    *Jobs
	loop    *task.Loop
	spec    *room.MixerSpec // of a mix
	source  string          // of a transcoding: the track
	kind    conference.Kind // and its kind
	users   int             // handles; the Jobs' mu guards it
	running atomic.Bool
	made    atomic.Int64           // outputs
	trouble atomic.Pointer[string] // why it does not run though it should

	// The Loop owns the fields below.
	mix      room.Mix
	handles  map[*handle]bool
	outputs  map[key]*output
	last     int // number of the last output
	run      *run
	keeper   *keeper           // keeps the job on a relay; nil: it is not wanted
	idle     int               // counts the times that it became idle
	idles    bool              // it is, and the keeper stays for a while
	active   string            // the input that was the loudest; empty: whoever is told next counts
	resets   int               // of the mix, as last ordered,
	since    uint64            // and the revision of the first order with it
	refused  map[key]time.Time // outputs that the relays could not make, and when
	culprits culprits
	revision uint64
	ended    bool
}

// keeper is the goroutine that keeps a job on a relay.
type keeper struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// key is what an output is; subscribers whose wishes come to the same one share it.
type key struct {
	kind          conference.Kind
	format        conference.Format
	width, height int
	rate          float64 // pictures a second
	kbps          int
	interval      float64 // of key frames, in seconds
	group         string  // whose own sound is left out
}

// output is one stream that comes out of the job.
type output struct {
	number  int
	key     key
	ordered uint64  // revision of the first order with it, 0 before
	proven  bool    // a relay has made it
	refused string  // why the relays cannot make it; empty: they can, as far as is known
	trouble string  // what a relay last said of it
	coming  *stream // by which it comes from the present relay, nil without
	live    *stream // by which subscribers get it: from the present relay as soon as something has come from there
	ceiling int     // as told to the relay
}

// newJob completes a job and starts its Loop. The Jobs' mu is held.
func newJob(j *Jobs, x *job) *job {
	x.jobs, x.handles, x.outputs = j, make(map[*handle]bool), make(map[key]*output)
	x.refused, x.culprits = make(map[key]time.Time), make(culprits)
	x.loop = task.NewLoop(task.LoopOptions{OnPanic: func(p *task.PanicError) {
		j.log.Error("job failed unexpectedly", "panic", p.Error(), "stack", p.Stack)
	}})
	j.all[x] = true
	return x
}

// close ends the job and waits for it. It is safe twice, not from the Loop.
func (x *job) close() {
	var k *keeper
	_ = x.loop.Do(context.Background(), func() { // refused when it has ended
		k = x.keeper
		x.end()
	})
	if k != nil {
		<-k.done // it needs the Loop to end
	}
	x.loop.Close()
	x.jobs.mu.Lock()
	delete(x.jobs.all, x)
	x.jobs.mu.Unlock()
}

// end lets go of everything. The rest is the keeper's.
func (x *job) end() {
	x.ended = true
	if x.keeper != nil {
		x.keeper.cancel()
	}
	for _, o := range x.outputs {
		x.discard(o)
	}
	clear(x.handles)
}

// add makes the output of a handle, or gives it the one that is there.
func (x *job) add(h *handle) {
	if x.ended {
		return
	}
	x.handles[h] = true
	x.direct(h)
	if why := x.trouble.Load(); why != nil {
		h.wish.Trouble(*why)
	}
	if x.spec == nil && x.culprits.out(inputKey{x.source, x.kind}, []string{x.source}, time.Now()) {
		h.wish.Trouble(crashes)
	}
	x.review()
}

func (x *job) remove(h *handle) {
	delete(x.handles, h)
	h.out, h.next = nil, nil
	x.review()
}

// direct sees to it that a handle has, or will have, the output that it wants as things are.
func (x *job) direct(h *handle) {
	k := x.keyOf(&h.wish)
	h.target.Store(int64(k.kbps))
	o := x.outputs[k]
	if o == nil {
		if len(x.outputs) >= relayproto.MaxOutputs {
			h.wish.Trouble("too many different outputs")
			return
		}
		x.last++
		o = &output{number: x.last, key: k}
		x.outputs[k] = o
		if at, ok := x.refused[k]; ok && time.Since(at) < refusedTime {
			o.refused = "no relay could make it"
		}
		if x.run != nil {
			x.run.begin(o)
		}
	}
	if o == h.out {
		h.next = nil
		return
	}
	if o.refused != "" {
		h.wish.Trouble(o.refused)
	}
	if h.next = o; o.live != nil {
		x.settle(h, o)
	}
}

// settle gives a handle its next output.
func (x *job) settle(h *handle, o *output) {
	h.out, h.next = o, nil
	h.wish.Feed(o.live.encoding)
}

// arrived takes note that the first packet of a stream came.
func (x *job) arrived(s *stream) {
	o := s.output
	if o.coming != s {
		return // too late
	}
	old := o.live
	o.live = s
	for h := range x.handles {
		if h.out == o || h.next == o {
			x.settle(h, o)
		}
	}
	if old != nil {
		old.encoding.Close()
	}
	x.review() // outputs that were had meanwhile
}

// review looks at what is wanted: it lets go of outputs that nobody has, starts or ends the job, and orders anew.
func (x *job) review() {
	if x.ended {
		return
	}
	wanted := make(map[*output]bool)
	for h := range x.handles {
		wanted[h.out], wanted[h.next] = true, true
	}
	for k, o := range x.outputs {
		if !wanted[o] {
			delete(x.outputs, k)
			x.discard(o)
		}
	}
	x.made.Store(int64(len(x.outputs)))
	switch wanted := x.wanted(); {
	case wanted && x.keeper == nil:
		x.idles = false
		x.start()
	case wanted:
		x.idles = false
	case x.keeper != nil && !x.idles: // however much changes meanwhile, the time begins once
		x.idles = true
		x.idle++
		turn := x.idle
		time.AfterFunc(x.jobs.options.Linger, func() {
			_ = x.loop.Post(func() { // refused when it has ended
				if x.idle == turn && x.idles {
					x.stop()
				}
			})
		})
	case x.keeper == nil && x.source != "":
		x.stop()
	}
	if x.run != nil {
		x.run.sync()
	}
}

// wanted tells whether there is something to do: somebody has an output, or who is the loudest has to be known.
func (x *job) wanted() bool {
	for _, o := range x.outputs {
		if o.refused == "" {
			return true
		}
	}
	if !x.vad() {
		return false
	}
	for i := range x.listed() {
		if x.mix.Inputs[i].Audio != "" {
			return true
		}
	}
	return false
}

func (x *job) vad() bool { return x.spec != nil && x.spec.View.Audio.VAD && x.spec.Active != nil }

// discard ends an output.
func (x *job) discard(o *output) {
	for _, s := range []*stream{o.coming, o.live} {
		if s != nil {
			s.end()
		}
	}
	o.coming, o.live = nil, nil
}

// start begins to keep the job on a relay.
func (x *job) start() {
	ctx, cancel := context.WithCancel(x.jobs.tasks.Context())
	k := &keeper{cancel: cancel, done: make(chan struct{})}
	x.keeper = k
	x.running.Store(true)
	if x.jobs.tasks.Go(func(context.Context) { defer close(k.done); x.keep(ctx) }) != nil {
		close(k.done)
	}
}

// stop ends that; a transcoding that nobody has is then no more.
func (x *job) stop() {
	x.idles = false
	if k := x.keeper; k != nil {
		x.keeper = nil
		k.cancel()
		x.running.Store(false)
		x.detach()
		x.trouble.Store(nil)
	}
	if x.jobs.retire(x) {
		x.end()
		x.loop.Stop()
	}
}

// say takes note of why the job does not run, or that it does (nil), and tells those who wait.
func (x *job) say(why *string) {
	old := x.trouble.Swap(why)
	if why == nil || old != nil && *old == *why {
		return
	}
	x.jobs.log.Warn("job does not run", "room", x.room(), "why", *why)
	for h := range x.handles {
		h.wish.Trouble(*why)
	}
}

func (x *job) room() string {
	if x.spec != nil {
		return x.spec.Room
	}
	return ""
}

// keyOf is what a wish comes to (rooms-and-media 8.2, 8.3): what it does not say is the view's, or the source's with 30 pictures a
// second and key frames on demand.
func (x *job) keyOf(c *rtc.Conversion) key {
	k := key{kind: c.Kind, format: c.Format}
	if c.Kind == conference.Audio {
		if x.inMix(c.Listener) {
			k.group = c.Listener
		}
		return k
	}
	wanted := conference.Wanted{Resolution: c.Resolution, Framerate: c.Framerate, Bitrate: c.Bitrate}
	k.width, k.height, k.rate, k.interval = c.Resolution.Width, c.Resolution.Height, c.Framerate, c.KeyFrameInterval
	rate, interval, kbps := 30.0, 1000.0, 0.0
	if x.spec == nil {
		size, _ := x.jobs.media.TrackSize(x.source)
		kbps = conference.TranscodedBitrate(size, c.Format, wanted)
	} else if v := x.spec.View.Video; v != nil {
		rate, interval = v.Parameters.Framerate, v.Parameters.KeyFrameInterval
		if k.width == 0 || k.height == 0 {
			k.width, k.height = v.Parameters.Resolution.Width, v.Parameters.Resolution.Height
		}
		kbps = conference.MixedBitrate(v, c.Format, wanted)
	}
	if k.rate <= 0 {
		k.rate = rate
	}
	if k.interval <= 0 {
		k.interval = interval
	}
	k.rate, k.kbps = min(max(k.rate, 1), 60), int(math.Round(kbps))
	return k
}

// inMix tells whether somebody's own sound is in the mix: only then there is something to leave out.
func (x *job) inMix(participant string) bool {
	if participant == "" {
		return false
	}
	for i := range x.listed() {
		if in := &x.mix.Inputs[i]; in.Participant == participant && in.Audio != "" {
			return true
		}
	}
	return false
}

// ceiling is what the networks of those who have an output carry: the lowest of them, for all get the same, but not below a half of the
// highest. One bad network would else spoil the picture for all; whoever is below has to take a smaller picture, or the sound alone.
func (x *job) ceiling(o *output) int {
	lowest, highest := int64(0), int64(0)
	for h := range x.handles {
		if kbps := h.ceiling.Load(); kbps > 0 && (h.out == o || h.next == o) {
			highest = max(highest, kbps)
			if lowest == 0 || kbps < lowest {
				lowest = kbps
			}
		}
	}
	return int(max(lowest, highest/2))
}
