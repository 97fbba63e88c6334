package bitrate

import "time"

// Bitrate is a rate in bit/s.
type Bitrate int64

// Units of time, ns.
const (
	millisecond = int64(time.Millisecond)
	second      = int64(time.Second)
)

// Defaults of Config.
const (
	DefaultStart = Bitrate(500_000)
	DefaultMin   = Bitrate(30_000)
	DefaultMax   = Bitrate(50_000_000)
)

// Config bounds an Estimator. Zero fields mean the defaults.
type Config struct {
	Start Bitrate // before anything is known
	Min   Bitrate // the estimate is never below
	Max   Bitrate // nor above
}

func (c Config) withDefaults() Config {
	if c.Min <= 0 {
		c.Min = DefaultMin
	}
	if c.Max <= 0 {
		c.Max = DefaultMax
	}
	if c.Start <= 0 {
		c.Start = DefaultStart
	}
	c.Max = max(c.Max, c.Min)
	c.Start = min(max(c.Start, c.Min), c.Max)
	return c
}

// Times of the Estimator.
const (
	longestTick = 200 * millisecond // a longer pause between calls is a machine that slept, not a silent receiver
	quietAfter  = 500 * millisecond // silence that lowers the rate, with three round trips
	quietStep   = 250 * millisecond
	quietTo     = 0.7
	stalled     = 3 * second
	idleAfter   = 3 * second        // without a packet sent
	growthIdle  = 1.5               // a second
	startTime   = 3 * second        // how long the beginning lasts at most, from the first feedback
	settleTime  = 100 * millisecond // packets so much older than the newest one received are lost when missing
	jump        = 3 * second        // difference between the two clocks' progress that is a jump
	rembFresh   = 10 * second
)

// Estimator estimates the rate at which one transport may send. Make it with New. It is not safe for concurrent use.
type Estimator struct {
	config Config
	clock  int64 // the newest time given
	begun  int64 // when New was called

	history history
	work    int64 // statuses of packets that feedback may still tell
	settled int64 // index up to which loss has been counted

	twcc      bool // feedback has come
	firstTWCC int64
	reference int64 // unwrapped, of the last message
	arrival   int64 // newest arrival, receiver's clock
	arrivedAt int64 // and when it was told, our clock
	lastSent  int64
	unheard   int   // packets sent since the last feedback
	quiet     int64 // silence of the receiver while packets were sent
	quietNext int64 // next step down in quiet

	delays   delays
	control  control
	losses   losses
	prober   prober
	arrives  meter // acknowledged, at the receiver's time
	sent     meter // everything, at ours
	pads     meter // padding of it
	burst    burstQueue
	rtt      int64 // smoothed; 0: not known
	leastRTT int64

	over     int64 // when overuse was last seen
	standing int64 // since when the queue stands; 0: does not
	stands   int   // times the rate went down for it
	wanted   Bitrate
	started  bool // the beginning is over

	remb     Bitrate // 0: none
	rembAt   int64
	fallback Bitrate
	reports  int64 // when the last report or REMB came; 0: none
	rising   int64 // when fallback was last raised
}

// New makes an Estimator for a transport that starts at now.
func New(config Config, now int64) *Estimator {
	e := &Estimator{config: config.withDefaults(), clock: now, begun: now, lastSent: now, work: firstWork}
	e.control.rate = e.config.Start
	e.control.changed = now
	e.burst.drain = float64(e.config.Start) / float64(second)
	e.fallback = e.config.Start
	e.losses.faded, e.losses.raised = now, now
	return e
}

// Statuses that feedback may tell: statusesPerPacket for each packet sent, kept up to mostWork.
const (
	firstWork         = 4096
	mostWork          = 1 << 16
	statusesPerPacket = 8
	workPerMessage    = 4
)

// Sent notes a packet of size bytes that left at now with transport-wide number seq. Numbers follow each other. Sizes are counted
// alike everywhere: RTP packets before SRTP, if the layers' rates are. Called for every packet, it allocates nothing once the
// record has the size that round trip and rate need.
func (e *Estimator) Sent(seq uint16, size int, now int64) { e.numbered(seq, size, 0, now) }

// SentPadding is Sent for a packet that holds only padding, or repeats a packet only to probe: it is never counted as loss.
func (e *Estimator) SentPadding(seq uint16, size int, now int64) { e.numbered(seq, size, padding, now) }

// SentPlain notes a packet without a transport-wide number, to a receiver that knows none.
func (e *Estimator) SentPlain(size int, now int64) {
	now = e.forward(now)
	e.lastSent = now
	e.sent.add(now, size)
}

func (e *Estimator) numbered(seq uint16, size int, what flags, now int64) {
	now = e.forward(now)
	p := packet{at: now, size: uint16(min(max(size, 0), 1<<16-1)), flags: what}
	p.own = uint16(e.burst.add(int(p.size), now) / ownUnit)
	if e.prober.sending() {
		p.cluster = e.prober.sent(int(p.size), what&padding != 0, now)
	}
	e.history.add(seq, p)
	e.work = min(e.work+statusesPerPacket, mostWork)
	e.unheard++
	e.lastSent = now
	e.sent.add(now, int(p.size))
	if what&padding != 0 {
		e.pads.add(now, int(p.size))
	}
}

// forward keeps time from going back.
func (e *Estimator) forward(now int64) int64 { return max(now, e.clock) }

// Want tells the rate that would satisfy all that the receiver asked for (Allocator.Wanted): probing goes so far.
func (e *Estimator) Want(rate Bitrate) { e.wanted = min(max(rate, 0), e.config.Max) }

// Update lets time pass and returns the estimate. It is to be called about every 100 ms, and may be called after each Feedback.
func (e *Estimator) Update(now int64) Bitrate {
	now = e.forward(now)
	tick := min(now-e.clock, longestTick)
	e.clock = now
	e.sent.advance(now)
	e.pads.advance(now)
	if now-e.lastSent > idleAfter {
		e.idle(tick)
	} else {
		e.listen(tick)
	}
	if e.prober.active {
		e.readProbe(now)
	}
	if !e.started && (e.twcc && now-e.firstTWCC > startTime || e.reports != 0 && now-e.begun > startTime) {
		e.started = true
	}
	rate := e.Estimate()
	e.burst.drain = float64(rate) / float64(second)
	return rate
}

// listen lowers the rate while the receiver is silent although packets go out.
func (e *Estimator) listen(tick int64) {
	if e.unheard == 0 {
		return
	}
	e.quiet += tick
	if !e.twcc && e.reports != 0 {
		return
	}
	if e.quietNext == 0 {
		e.quietNext = quietAfter + 3*e.rtt
	}
	for e.quiet >= e.quietNext {
		e.control.rate = max(Bitrate(quietTo*float64(e.control.rate)), e.config.Min)
		e.quietNext += quietStep
		e.started = e.started || e.twcc
	}
}

// idle forgets a silence, and lets the rate grow again while nothing is sent: otherwise nothing would ever be.
func (e *Estimator) idle(tick int64) {
	e.heard()
	if e.Estimate() < e.wanted {
		factor := growthIdle
		if e.Estimate() > e.config.Start {
			factor = growth
		}
		grow := 1 + (factor-1)*float64(tick)/float64(second)
		e.control.rate = min(Bitrate(float64(e.control.rate)*grow)+1, max(e.wanted, e.control.rate))
		e.losses.bound = Bitrate(float64(e.losses.bound) * grow)
	}
}

// Stalled tells that the receiver has been silent for seconds although packets were sent to it.
func (e *Estimator) Stalled() bool { return e.quiet >= stalled && (e.twcc || e.reports == 0) }

// Estimate is the rate as of the last Update, Feedback, REMB or Report.
func (e *Estimator) Estimate() Bitrate {
	rate := e.fallback
	switch {
	case e.Stalled():
		rate = e.config.Min
	case e.twcc || e.reports == 0:
		rate = e.losses.top(e.control.rate)
		rate = min(rate, e.control.rate)
		if e.remb > 0 && e.clock-e.rembAt < rembFresh {
			rate = min(rate, e.remb)
		}
	}
	return min(max(rate, e.config.Min), e.config.Max)
}

// Budget is the estimate as the Allocator takes it.
func (e *Estimator) Budget() Budget {
	return Budget{Rate: e.Estimate(), Loss: e.losses.share(), Starting: !e.started && !e.Stalled()}
}

// Kinds of knowledge.
const (
	ByNothing = "nothing"
	ByTWCC    = "twcc"
	ByREMB    = "remb"
	ByReports = "reports"
)

// Snapshot is what the Estimator knows, for people who ask why.
type Snapshot struct {
	By       string // what the estimate goes by
	Estimate Bitrate
	ByDelay  Bitrate
	ByLoss   Bitrate // 0: loss does not bound it
	Wanted   Bitrate
	Arrives  Bitrate // acknowledged by the receiver
	Sent     Bitrate // with padding
	RTT      time.Duration
	Queue    time.Duration // over the lowest delay
	Loss     float64       // 0 to 1
	Usage    string        // normal, underuse, overuse
	Probing  bool
	Stalled  bool
	Remember int // packets that the record has room for
}

// RTT is the round trip as measured lately, 0 while unknown.
func (e *Estimator) RTT() time.Duration { return time.Duration(e.rtt) }

// Snapshot tells the state.
func (e *Estimator) Snapshot() Snapshot {
	s := Snapshot{By: ByNothing, Estimate: e.Estimate(), ByDelay: e.control.rate, ByLoss: e.losses.bound, Wanted: e.wanted,
		RTT: time.Duration(e.rtt), Queue: time.Duration(e.delays.queue), Loss: e.losses.share(), Usage: e.delays.line.usage.String(),
		Probing: e.prober.active, Stalled: e.Stalled(), Remember: len(e.history.slots)}
	switch {
	case e.twcc:
		s.By = ByTWCC
	case e.remb > 0 && e.clock-e.rembAt < rembFresh:
		s.By = ByREMB
	case e.reports != 0:
		s.By = ByReports
	}
	s.Arrives, _ = e.arrives.rate(500 * millisecond)
	s.Sent, _ = e.sent.rate(500 * millisecond)
	return s
}
