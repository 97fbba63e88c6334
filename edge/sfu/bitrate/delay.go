package bitrate

// Groups of packets and what their delays tell.
const (
	burst       = 5 * millisecond // packets sent within are one group (gcc-02 section 5.2)
	silence     = 2 * second      // a gap after which the line is fitted anew
	baseEvery   = 15 * second     // how long a lowest delay is believed, once or twice
	standingLag = 16              // groups over which the standing queue is smoothed

	recentGroups = 3 // the luckiest of so many groups counts, against jitter
)

// group is the packets of one burst.
type group struct {
	first   int64 // when its first packet was sent
	delay   int64 // lowest delay of its packets, on two clocks: only differences mean something
	own     int64 // by which its first packet waits behind our own packets
	arrival int64
	packets int
}

// delays gathers packets to groups, watches how the groups' delays change, and compares them with the lowest one known.
type delays struct {
	current group
	highest int64 // index of the newest packet
	line    trendline

	lowest, before int64 // lowest delays of the present and of the previous period
	since          int64 // begin of the present period, receiver's clock
	started        bool
	queue          float64 // ns by which delays are above the lowest, smoothed

	recent [recentGroups]int64 // the same of the last groups, without our own bursts
	groups int
}

// packet takes one packet that has arrived, own the time that it had to wait behind our own packets. Packets older than the
// newest say nothing new.
func (d *delays) packet(index, sent, own, arrival int64) {
	if d.current.packets > 0 && index <= d.highest {
		return
	}
	d.highest = index
	if d.current.packets > 0 && sent-d.current.first > burst {
		d.complete()
	}
	if d.current.packets == 0 {
		d.current = group{first: sent, delay: arrival - sent, own: own, arrival: arrival}
	}
	d.current.packets++
	d.current.delay = min(d.current.delay, arrival-sent)
	d.current.arrival = max(d.current.arrival, arrival)
}

// complete ends the group. What its packets had to wait behind our own burst is no sign of the network.
func (d *delays) complete() {
	g := d.current
	d.current.packets = 0
	if !d.started {
		d.started, d.since, d.lowest, d.before = true, g.arrival, g.delay, g.delay
	}
	if g.arrival-d.since > baseEvery {
		d.since, d.before, d.lowest = g.arrival, d.lowest, g.delay
	}
	d.lowest = min(d.lowest, g.delay)
	queue := g.delay - min(d.lowest, d.before)
	d.queue += (float64(queue) - d.queue) / standingLag
	d.recent[d.groups%recentGroups] = max(queue-g.own, 0)
	d.groups++
	excess := d.recent[0]
	for _, r := range d.recent[:min(d.groups, recentGroups)] {
		excess = min(excess, r)
	}
	d.line.add(float64(g.arrival)/float64(millisecond), float64(excess)/float64(millisecond))
}

// restart forgets everything: the receiver's clock has jumped.
func (d *delays) restart() { *d = delays{line: trendline{threshold: d.line.threshold}} }

// accept takes the present delay for the lowest one: the way has become longer.
func (d *delays) accept() {
	d.lowest += int64(d.queue)
	d.before, d.queue = d.lowest, 0
}

// usage is what the delays say about the network.
type usage uint8

const (
	normal   usage = iota
	underuse       // a queue is draining
	overuse        // a queue is growing
)

func (u usage) String() string { return [...]string{"normal", "underuse", "overuse"}[u] }

// Constants of the line and of the detector, as libwebrtc has them; times in ms.
const (
	lineGroups   = 20
	smoothing    = 0.9
	lineGain     = 4
	lineCount    = 60 // groups after which the gain grows no more
	thresholdMin = 6
	thresholdMax = 600
	threshold0   = 12.5
	thresholdUp  = 0.0087
	thresholdDn  = 0.039
	outlier      = 15 // a trend so far above the threshold does not raise it
	overTime     = 30 // how long the trend must be over the threshold; three times the draft's, for bursts of key frames
)

// trendline fits a line through the last delays (least squares) and compares its slope with a threshold.
type trendline struct {
	count    int
	base     float64 // first delay
	origin   float64 // first arrival
	smoothed float64
	x, y     [lineGroups]float64
	last     float64 // arrival of the last group

	threshold float64
	trend     float64
	over      float64 // how long the trend has been over the threshold; -1: is not
	overCount int
	usage     usage
}

// add takes a group's arrival and delay in ms.
func (l *trendline) add(arrival, delay float64) {
	if l.count > 0 && (arrival-l.last > float64(silence/millisecond) || arrival < l.last-1000) {
		*l = trendline{threshold: l.threshold}
	}
	if l.count == 0 {
		l.base, l.origin, l.last = delay, arrival, arrival
		l.over = -1
		if l.threshold == 0 {
			l.threshold = threshold0
		}
	}
	between := max(arrival-l.last, 0)
	l.last = max(arrival, l.last)
	l.smoothed = smoothing*l.smoothed + (1-smoothing)*(delay-l.base)
	l.x[l.count%lineGroups], l.y[l.count%lineGroups] = arrival-l.origin, l.smoothed
	l.count++
	if l.count < lineGroups {
		return
	}
	if l.count > 1<<30 {
		l.count = lineGroups + l.count%lineGroups + 3*lineGroups
	}
	l.detect(l.slope(), between, delay-l.base)
}

// slope is that of the line in ms of delay per ms.
func (l *trendline) slope() float64 {
	var meanX, meanY, over, under float64
	for i := range l.x {
		meanX += l.x[i] / lineGroups
		meanY += l.y[i] / lineGroups
	}
	for i := range l.x {
		over += (l.x[i] - meanX) * (l.y[i] - meanY)
		under += (l.x[i] - meanX) * (l.x[i] - meanX)
	}
	if under == 0 {
		return 0
	}
	return over / under
}

// detect compares the slope with the threshold, over time, and adapts the threshold (gcc-02 section 5.4).
func (l *trendline) detect(slope, between, delay float64) {
	before := l.trend
	l.trend = slope * float64(min(l.count, lineCount)) * lineGain
	switch {
	case l.trend > l.threshold:
		if l.over < 0 {
			l.over = between / 2
		} else {
			l.over += between
		}
		l.overCount++
		// A queue that is emptying lies below its own mean: the slope only has not noticed yet.
		if l.over > overTime && l.overCount > 1 && l.trend >= before && delay >= l.smoothed {
			l.usage = overuse
		}
	case l.trend < -l.threshold:
		l.over, l.overCount, l.usage = -1, 0, underuse
	default:
		l.over, l.overCount, l.usage = -1, 0, normal
	}
	size := max(l.trend, -l.trend)
	if size > l.threshold+outlier {
		return
	}
	gain := thresholdUp
	if size < l.threshold {
		gain = thresholdDn
	}
	l.threshold = min(max(l.threshold+gain*(size-l.threshold)*min(between, 100), thresholdMin), thresholdMax)
}

// mostOwn is how much delay at most is put down to our own bursts.
const mostOwn = 200 * millisecond

// burstQueue is the queue that our own packets make where the estimate is all that gets through: a key frame of a forwarder
// leaves as fast as it came.
type burstQueue struct {
	bits  float64
	at    int64
	drain float64 // bits a nanosecond
}

// add takes a packet of size bytes and returns how long it waits behind the earlier ones.
func (q *burstQueue) add(size int, now int64) (wait int64) {
	q.bits = max(q.bits-float64(now-q.at)*q.drain, 0)
	q.at = now
	if q.bits > 0 {
		wait = min(int64(q.bits/q.drain), mostOwn)
	}
	q.bits = min(q.bits+float64(size)*8, 2*float64(mostOwn)*q.drain)
	return wait
}
