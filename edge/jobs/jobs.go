// Package jobs has relays do what costs more than forwarding: the mixed streams of rooms, and published streams in other forms.
//
// It stands beside the forwarding core. Below it are the relays that the settings name or the node finds, each behind one node link (package link);
// above it the rooms, which say what is in a mix (room.Mixers), and the media engine, which asks for each subscription's output when
// its format has been negotiated (rtc.Converter). A packet of an input leaves the engine by a tap and goes to the relay as a flow of the
// link; a packet of an output comes back as another flow, and enters the forwarding core as an sfu.Encoding, which subscriptions have
// like a published one.
//
// One job makes one view, or all forms of one published track. It runs on one relay, from when somebody wants something of it until a
// while after nobody does, and moves to another relay when that one dies, crashes or refuses it: what comes from there are new encodings,
// which take the place of the old ones in the subscriptions. Media that bring a job's process down are left out of the next for a while,
// so that only their sender suffers. Equal wishes share one output. What a job is to do is told to the relay as a whole, whenever it
// changes (package relayproto).
//
// Each job is a task.Loop that owns its state, and one goroutine that keeps it on a relay.
package jobs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"portico/edge/rtc"
	"portico/shared/conference"
	"portico/shared/identity"
	"portico/shared/task"
)

// Media is the media engine as the jobs need it.
type Media interface {
	OpenFeed(track string, kind conference.Kind) (Feed, error)
	OpenTap(spec rtc.TapSpec) (Tap, error)
	TrackSize(track string) (size conference.Resolution, ok bool)
	Now() int64
}

// Feed is an rtc.Feed.
type Feed interface{ Close() }

// Tap is an rtc.Tap.
type Tap interface {
	Format() conference.Format
	SetDisplay(size conference.Resolution)
	SetActive(active bool)
	Receive(compound []byte)
	Close()
}

// Options are what New needs.
type Options struct {
	Relays []string // "host:port" of each; SetRelays adds those that the node finds
	Region string   // where this edge is
	// Epoch is that of a room's home, which orders of mixes carry; nil, or 0: the edge's own start, as long as every room is on one edge.
	Epoch    func(room string) uint64
	Identity *identity.Identity
	Media    Media         // not used before the first Open or OpenMixer
	Linger   time.Duration // how long a job without outputs stays; default 2 s
	Log      *slog.Logger  // default: nothing is logged
}

// Jobs are all jobs of an edge. Make it with New. All methods are safe for concurrent use. It implements room.Mixers and rtc.Converter.
type Jobs struct {
	options Options
	media   Media
	log     *slog.Logger
	pool    *pool
	tasks   *task.Group
	epoch   uint64
	// leastOut is the constant of that name; tests change it before there are jobs.
	leastOut time.Duration

	mu         sync.Mutex // guards the fields below
	closed     bool
	mixes      map[string]*job // by the ids of their tracks
	transcodes map[string]*job // by the id of their source
	all        map[*job]bool

	inputs, restarts, refusals atomic.Int64
}

// New connects to the relays, in the background. Its owner calls Close, before the media engine's.
func New(o Options) *Jobs {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Linger <= 0 {
		o.Linger = 2 * time.Second
	}
	j := &Jobs{
		options: o, media: o.Media, log: o.Log, leastOut: leastOut, mixes: make(map[string]*job), transcodes: make(map[string]*job), all: make(map[*job]bool),
		epoch: uint64(time.Now().UnixMilli()),
	}
	j.tasks = task.NewGroup(context.Background(), func(p *task.PanicError) {
		j.log.Error("job failed unexpectedly", "panic", p.Error(), "stack", p.Stack)
	})
	j.pool = newPool(j)
	return j
}

// Close ends all jobs and returns when nothing of them runs. Outputs that are still there give nothing any more.
func (j *Jobs) Close() {
	j.mu.Lock()
	j.closed = true
	var all []*job
	for x := range j.all {
		all = append(all, x)
	}
	j.mu.Unlock()
	for _, x := range all {
		x.close()
	}
	j.tasks.Close()
	j.pool.close()
}

// Open implements rtc.Converter.
func (j *Jobs) Open(c rtc.Conversion) rtc.Output {
	h := &handle{jobs: j, wish: c}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return h
	}
	x := j.mixes[c.Track]
	if x == nil {
		if x = j.transcodes[c.Track]; x == nil {
			x = newJob(j, &job{source: c.Track, kind: c.Kind})
			j.transcodes[c.Track] = x
		}
	}
	h.job = x
	x.users++
	_ = x.loop.Post(func() { x.add(h) }) // refused: the job has ended, and the source with it
	return h
}

// epochOf is what an order for a room carries; that of a transcoding job has no room, and is compared with this edge's alone.
func (j *Jobs) epochOf(room string) uint64 {
	if j.options.Epoch != nil && room != "" {
		if e := j.options.Epoch(room); e != 0 {
			return e
		}
	}
	return j.epoch
}

// release notes that a handle is no more.
func (j *Jobs) release(x *job) {
	j.mu.Lock()
	x.users--
	j.mu.Unlock()
}

// retire takes a transcoding job out if nobody has a handle of it, and tells whether it has.
func (j *Jobs) retire(x *job) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if x.users > 0 || x.source == "" || j.closed {
		return false
	}
	delete(j.transcodes, x.source)
	delete(j.all, x)
	return true
}

// Stats is a snapshot of the jobs.
type Stats struct {
	Mixes, Transcodes, Outputs, Inputs int // at present, on relays
	Relays, Connected                  int
	CPU                                float64 // cores in use on the relays, as last reported
	Restarts, Refusals                 int     // since the beginning
}

// Stats takes a snapshot.
func (j *Jobs) Stats() Stats {
	s := Stats{Inputs: int(j.inputs.Load()), Restarts: int(j.restarts.Load()), Refusals: int(j.refusals.Load())}
	s.Relays, s.Connected, s.CPU = j.pool.count()
	j.mu.Lock()
	defer j.mu.Unlock()
	for x := range j.all {
		s.Outputs += int(x.made.Load())
		switch {
		case !x.running.Load():
		case x.source == "":
			s.Mixes++
		default:
			s.Transcodes++
		}
	}
	return s
}

// newID is that of a job: 32 hexadecimal digits.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// handle is one subscription's output. It implements rtc.Output.
type handle struct {
	jobs    *Jobs
	job     *job // nil: of jobs that were closed
	wish    rtc.Conversion
	ceiling atomic.Int64 // kbit/s that the subscriber's network carries, 0 while unknown
	target  atomic.Int64 // kbit/s
	once    sync.Once

	// The job's Loop owns these.
	out  *output // that it has
	next *output // that takes its place as soon as it comes
}

// SetCeiling implements rtc.Output.
func (h *handle) SetCeiling(kbps int) { h.ceiling.Store(int64(kbps)) }

// Target implements rtc.Output.
func (h *handle) Target() int { return int(h.target.Load()) }

// Close implements rtc.Output.
func (h *handle) Close() {
	h.once.Do(func() {
		if h.job == nil {
			return
		}
		h.jobs.release(h.job)
		_ = h.job.loop.Post(func() { h.job.remove(h) }) // refused when the job has ended
	})
}
