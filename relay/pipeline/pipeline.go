// Package pipeline does the work of one job: it mixes the sound and the pictures of a view, or makes one stream in another form
// (rooms-and-media 5 to 8).
//
// It stands between a node link and the codecs. RTP packets of the inputs come in by Job.Packet and go through these stages:
//
//	sound    flow > jitter.Audio > decoder > audiomix > encoder > flow     every 10 ms
//	pictures flow > jitter.Video > depacketiser > decoder > stage          whenever they come
//	         stage > scale > encoder > packetiser > flow                   by the clock of the fastest output
//
// The stage is a compositor (package videomix) in a mix, and the newest picture in a transcode.
//
// # Who does what
//
// One goroutine mixes, decodes and encodes sound; it waits for nothing but its clock. Each video input has one that decodes; a clock
// composes, and lets all outputs that are due encode beside each other. No more than Options.Parallel of these work at a time. The
// keeper sends what belongs to RTCP and the reports. Job.Packet and Job.Order only put things where these find them.
//
// # Time
//
// All times are nanoseconds of Options.Now. The frame of sound mixed, and the picture composed for the time t have the RTP timestamps
// of t in all outputs, and the sender reports say so: whoever receives sound and pictures of one job can bring them together. Inputs are
// brought together by their senders' reports before they are mixed.
//
// When the machine cannot keep up, pictures are left out evenly, and their outputs' reports say so; delay does not grow.
package pipeline

import (
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"portico/relay/codec"
	"portico/shared/conference"
	"portico/shared/relayproto"
)

// Port is where a job sends things. Calls come from several goroutines.
type Port interface {
	// Send takes an RTP or RTCP packet by its flow id. It neither keeps the packet nor blocks.
	Send(flowID uint64, packet []byte)
	// Report takes how the job goes. It does not block for long.
	Report(relayproto.Report)
}

// Options are what a job is made of.
type Options struct {
	Port Port
	Log  *slog.Logger
	// Now is the time in nanoseconds since the Unix epoch, on a clock that only rises; nil: the system's.
	Now func() int64
	// Parallel is how many pictures are worked on at a time; 0: as many as Go uses cores.
	Parallel int
	// Avatar is shown for inputs whose video is muted; nil: the compositor's own.
	Avatar *codec.Picture
	// Watch is told what the decoders are at work for; nil: nobody is.
	Watch Watch
}

// Watch is told which input a decoder is given the media of, so that it is known whose they were if the process dies of it. Calls come
// from as many goroutines as decode at a time, for every packet of sound and every picture: they neither block nor allocate.
type Watch interface {
	// Begin is called right before, with the input's id; slot is for End. Where the call panics, no End follows.
	Begin(input string, kind conference.Kind) (slot int)
	End(slot int)
}

// unwatched is the Watch of a job that has none.
type unwatched struct{}

func (unwatched) Begin(string, conference.Kind) int { return 0 }
func (unwatched) End(int)                           {}

// Error is why an order is not carried out: a relayproto.Refusal.
type Error struct {
	Reason relayproto.Reason // Unable or BadOrder
	Detail string
}

// Error is the reason and the detail.
func (e *Error) Error() string { return "pipeline: " + string(e.Reason) + ": " + e.Detail }

// The times of a job.
const (
	millisecond = int64(time.Millisecond)
	second      = int64(time.Second)
)

// end is one end of a flow. Its methods are called by the goroutine of Job.Packet.
type end interface {
	rtp(packet []byte, now int64)
	rtcp(packet []byte, now int64)
}

// Job is one job that runs. Make it with New; it does nothing before the first Order.
type Job struct {
	options Options
	codecs  codecs
	epoch   int64  // what the RTP timestamps of all outputs count from
	ssrc    uint32 // of our feedback
	slots   chan struct{}
	closing chan struct{}
	running sync.WaitGroup

	ordering sync.Mutex // guards the fields below; held while an order is carried out
	order    *relayproto.Order
	inputs   []*input
	outputs  []*output
	usable   map[conference.Format]error // whether a format of sound can be encoded
	closed   bool

	mu    sync.RWMutex // guards flows
	flows map[uint64]end

	audio  *audioSide
	video  *videoSide
	keeper *keeper
}

// New makes a job. Its owner calls Close.
func New(options Options) *Job { return newJob(options, built{}) }

func newJob(options Options, codecs codecs) *Job {
	if options.Now == nil {
		started := time.Now()
		base := started.UnixNano()
		options.Now = func() int64 { return base + int64(time.Since(started)) }
	}
	if options.Parallel <= 0 {
		options.Parallel = runtime.GOMAXPROCS(0)
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Watch == nil {
		options.Watch = unwatched{}
	}
	j := &Job{
		options: options, codecs: codecs, epoch: options.Now(), ssrc: rand.Uint32(),
		slots: make(chan struct{}, options.Parallel), closing: make(chan struct{}),
		usable: make(map[conference.Format]error), flows: make(map[uint64]end),
	}
	j.audio, j.video, j.keeper = newAudioSide(j), newVideoSide(j), newKeeper(j)
	return j
}

func (j *Job) now() int64 { return j.options.Now() }

// start begins the work with the first order.
func (j *Job) start() {
	j.goes(j.audio.run)
	j.goes(j.video.run)
	j.goes(j.keeper.run)
}

func (j *Job) goes(work func()) { j.running.Go(work) }

// Packet takes a packet of an input's flow, or RTCP about an output's. It copies the packet and does not block. One goroutine calls it.
// Anything may come in.
func (j *Job) Packet(flowID uint64, packet []byte) {
	flow, isRTCP := relayproto.Flow(flowID)
	j.mu.RLock()
	to := j.flows[flow]
	j.mu.RUnlock()
	switch {
	case to == nil:
	case isRTCP:
		to.rtcp(packet, j.now())
	default:
		to.rtp(packet, j.now())
	}
}

// Close ends the job; when it returns all goroutines have ended and all codecs are closed. Closing twice is no error.
func (j *Job) Close() {
	j.ordering.Lock()
	defer j.ordering.Unlock()
	if j.closed {
		return
	}
	j.closed = true
	j.mu.Lock()
	j.flows = nil
	j.mu.Unlock()
	close(j.closing)
	j.running.Wait()
	for _, in := range j.inputs {
		if in.audio != nil {
			in.audio.close()
		}
	}
	j.audio.close()
	j.video.close()
}

// work runs fn when one of the slots is free.
func (j *Job) work(fn func()) {
	j.slots <- struct{}{}
	defer func() { <-j.slots }()
	fn()
}

// alarm is a timer on the job's clock.
type alarm struct {
	j *Job
	t *time.Timer
}

func (j *Job) newAlarm() alarm { return alarm{j, time.NewTimer(time.Hour)} }

// at is the channel that fires at the time t.
func (a alarm) at(t int64) <-chan time.Time {
	a.t.Reset(time.Duration(max(t-a.j.now(), 0)))
	return a.t.C
}

// notice is what is wrong with an input or output at the moment; empty when all is well.
type notice struct {
	text    atomic.Pointer[string]
	changed func()
}

func (n *notice) set(text string) {
	if n.get() == text {
		return
	}
	if old := n.text.Swap(&text); old == nil && text != "" || old != nil && *old != text {
		n.changed()
	}
}

func (n *notice) get() string {
	if p := n.text.Load(); p != nil {
		return *p
	}
	return ""
}
