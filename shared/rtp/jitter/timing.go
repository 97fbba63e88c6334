package jitter

import "math"

// The rules of measuring.
const (
	blockLength = second // of one minimum of transit times
	blockCount  = 128    // minima that are kept: for so many seconds the drift is seen
	baseBlocks  = 2      // whole blocks that count for the base, with the one being filled

	driftBlocks = 10     // minima, at least, before a slope is believed
	maxDrift    = 500e-6 // what a clock may be off; more is the network's doing
	maxScatter  = float64(4 * millisecond)
	stepLimit   = float64(15 * millisecond) // a minimum so far off the line is another path, if the next two are too

	jump = second // between timestamp and arrival: the sender began to count anew
)

// block is the quickest packet of a second.
type block struct{ at, transit int64 }

// timing learns from timestamps and arrivals. Its transit times are relative to the first packet's.
type timing struct {
	rate   int64 // ticks a second
	origin int64 // timestamp and arrival of the first packet of this timeline
	since  int64

	lastTS, lastArrival int64 // of the packet with the highest number

	current block // being filled; at is when it began
	filling bool
	blocks  [blockCount]block // a ring, the newest at count-1
	count   int
	off     int // minima in a row that do not fit

	drift  float64 // how much faster the sender's clock is than ours, as a fraction
	delays delays
}

// elapsed is how long after the timeline's beginning ts was sent, in nanoseconds of the sender's clock.
func (t *timing) elapsed(ts int64) int64 {
	d := ts - t.origin
	return d/t.rate*second + d%t.rate*second/t.rate
}

// ticks are so many nanoseconds in ticks, rounded down.
func (t *timing) ticks(d int64) int64 { return d/second*t.rate + d%second*t.rate/second }

// nanoseconds are so many ticks in nanoseconds.
func (t *timing) nanoseconds(ticks int64) int64 {
	return ticks/t.rate*second + ticks%t.rate*second/t.rate
}

// restart begins a new timeline with this packet. What was learned about the path's jitter and the clocks stays.
func (t *timing) restart(ts, arrival int64) {
	t.origin, t.since = ts, arrival
	t.lastTS, t.lastArrival = ts, arrival
	t.filling, t.count, t.off = false, 0, 0
}

// unwrap finds the timestamp nearest to the newest packet's.
func (t *timing) unwrap(timestamp uint32) int64 {
	return t.lastTS + int64(int32(timestamp-uint32(t.lastTS)))
}

// playTime is when timestamp is due, delay behind the base.
func (t *timing) playTime(timestamp uint32, delay int64) int64 {
	return t.since + t.elapsed(t.unwrap(timestamp)) + t.base() + delay
}

// continues tells whether a packet's timestamp goes with its arrival as the newest one's did.
func (t *timing) continues(ts, arrival int64) bool {
	d := (t.elapsed(ts) - t.elapsed(t.lastTS)) - (arrival - t.lastArrival)
	return d <= jump && d >= -jump
}

// observe takes a packet in; newest: it has the highest number so far.
func (t *timing) observe(ts, arrival int64, newest bool) {
	if newest {
		t.lastTS, t.lastArrival = ts, arrival
	}
	transit := arrival - t.since - t.elapsed(ts)
	if t.filling && arrival-t.current.at >= blockLength {
		t.close()
	}
	if !t.filling {
		t.current, t.filling = block{arrival, transit}, true
	}
	t.current.transit = min(t.current.transit, transit)
	t.delays.add(transit - t.base())
}

// base is the transit time of the quickest packets lately.
func (t *timing) base() int64 {
	least := int64(math.MaxInt64)
	if t.filling {
		least = t.current.transit
	}
	for i := max(0, t.count-baseBlocks); i < t.count; i++ {
		least = min(least, t.blocks[i%blockCount].transit)
	}
	return least
}

// close takes the minimum of a second into the slope.
func (t *timing) close() {
	t.filling = false
	if t.count >= driftBlocks {
		slope, mean, middle, _ := t.line()
		expected := mean + slope*float64(t.current.at-middle)
		if math.Abs(float64(t.current.transit)-expected) > stepLimit {
			t.off++
		} else {
			t.off = 0
		}
	}
	t.blocks[t.count%blockCount] = t.current
	t.count++
	if t.off >= 3 {
		t.forget(t.off)
		t.off = 0
	}
	t.measureDrift()
}

// forget leaves only the newest n minima.
func (t *timing) forget(n int) {
	var kept [3]block
	for i := range n {
		kept[i] = t.blocks[(t.count-n+i)%blockCount]
	}
	t.count = copy(t.blocks[:], kept[:n])
}

func (t *timing) measureDrift() {
	if t.count < driftBlocks {
		return
	}
	slope, _, _, scatter := t.line()
	if scatter > maxScatter || math.Abs(slope) > 2*maxDrift {
		return
	}
	t.drift = min(max(-slope, -maxDrift), maxDrift)
}

// line lays a straight line through the minima: its slope, the mean transit time at the time middle, and how far they are from
// it.
func (t *timing) line() (slope, mean float64, middle int64, scatter float64) {
	first := max(0, t.count-blockCount)
	n := float64(t.count - first)
	begin := t.blocks[first%blockCount]
	var sx, sy float64
	for i := first; i < t.count; i++ {
		b := t.blocks[i%blockCount]
		sx += float64(b.at - begin.at)
		sy += float64(b.transit - begin.transit)
	}
	sx, sy = sx/n, sy/n
	var xx, xy, yy float64
	for i := first; i < t.count; i++ {
		b := t.blocks[i%blockCount]
		x, y := float64(b.at-begin.at)-sx, float64(b.transit-begin.transit)-sy
		xx, xy, yy = xx+x*x, xy+x*y, yy+y*y
	}
	if xx == 0 {
		return 0, sy + float64(begin.transit), begin.at, math.Sqrt(yy / n)
	}
	slope = xy / xx
	return slope, sy + float64(begin.transit), begin.at + int64(sx), math.Sqrt(max(0, yy-slope*xy) / n)
}

// The histogram of delays.
const (
	binWidth = 5 * millisecond
	bins     = 64
	quantile = 0.97
	growth   = 1 + 1.0/500 // the last 500 packets count, the newer the more
)

// delays is how much later than the quickest the packets come.
type delays struct {
	weight    [bins]float64
	sum, unit float64
}

// expect is what within says before the first hundred packets.
func (d *delays) expect(late int64) {
	d.unit, d.sum = 1, 3
	d.weight[late/binWidth-1] = 3
}

func (d *delays) add(late int64) {
	d.weight[min(max(late, 0)/binWidth, bins-1)] += d.unit
	d.sum += d.unit
	if d.unit *= growth; d.unit > 1e100 {
		for i := range d.weight {
			d.weight[i] /= d.unit
		}
		d.sum /= d.unit
		d.unit = 1
	}
}

// within is the delay by which 97 of 100 packets are there, in nanoseconds, rounded up to whole bins.
func (d *delays) within() int64 {
	var sum float64
	for i, w := range d.weight {
		if sum += w; sum >= quantile*d.sum {
			return int64(i+1) * binWidth
		}
	}
	return bins * binWidth
}
