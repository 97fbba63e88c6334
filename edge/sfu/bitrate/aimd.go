package bitrate

import "math"

// Constants of the rate control (gcc-02 section 5.5).
const (
	decreaseTo   = 0.85 // of what arrives
	growth       = 1.08 // a second, far from the capacity
	growthBlind  = 1.2  // a second, when there is no padding to try a rate with
	aboveArrived = 1.5  // how far the estimate may grow over what arrives
	aboveFixed   = 10_000
	packetBits   = 1200 * 8
)

// phase is the state of the rate control.
type phase uint8

const (
	hold phase = iota
	increase
	decrease
)

// control is additive increase and multiplicative decrease by the delays.
type control struct {
	rate      Bitrate
	phase     phase
	changed   int64 // when the rate was last worked out
	decreased int64 // when it last went down
	everLower bool
	capacity  float64 // mean of what arrived at overuse, kbit/s; 0: not known
	deviation float64 // of it, relative
}

// input is what the rate control goes by.
type input struct {
	usage   usage
	arrives Bitrate // acknowledged
	soon    Bitrate // acknowledged, over a shorter time
	known   bool    // arrives is known
	rtt     int64
	blocked bool // do not increase
	blind   bool // increase beyond what arrives
	enough  Bitrate
}

// update follows the state machine of the draft.
func (c *control) update(in input, now int64) {
	passed := min(now-c.changed, second)
	c.changed = now
	switch in.usage {
	case overuse:
		c.phase = decrease
	case underuse:
		c.phase = hold
	case normal:
		if c.phase == hold {
			c.phase = increase
		} else if c.phase == decrease {
			c.phase = hold
		}
	}
	switch {
	case c.phase == decrease && in.known:
		c.lower(in, now)
	case c.phase == increase && !in.blocked:
		c.raise(in, passed)
	}
}

// lower goes to 0.85 of what arrives, not again before the last step can have shown its effect.
func (c *control) lower(in input, now int64) {
	arrives := min(in.arrives, in.soon)
	wait := min(max(in.rtt, 10*millisecond), 200*millisecond) + 100*millisecond
	if c.everLower && now-c.decreased < wait && arrives > c.rate/2 {
		return
	}
	c.learn(float64(in.soon) / 1000)
	c.rate = min(c.rate, Bitrate(decreaseTo*float64(arrives)))
	c.decreased, c.everLower = now, true
	c.phase = hold
}

// raise grows slowly near the capacity known from the last overuse, else by a share.
func (c *control) raise(in input, passed int64) {
	limit := Bitrate(aboveArrived*float64(in.arrives)) + aboveFixed
	if in.blind {
		limit = max(limit, in.enough)
	}
	if !in.known || c.rate >= limit {
		return
	}
	if c.capacity > 0 && float64(in.arrives)/1000 > c.upper() {
		c.capacity = 0
	}
	seconds := float64(passed) / float64(second)
	step := float64(c.rate) * (math.Pow(growth, seconds) - 1)
	if in.blind {
		step = float64(c.rate) * (math.Pow(growthBlind, seconds) - 1)
	} else if c.capacity > 0 {
		response := float64(in.rtt+100*millisecond) / float64(second)
		step = max(packetBits/response, 4000) * seconds
	}
	c.rate = min(c.rate+Bitrate(max(step, 1000*seconds)), limit)
}

// probed takes the rate that a probe has shown.
func (c *control) probed(rate Bitrate, now int64) {
	if c.capacity > 0 && float64(rate)/1000 > c.upper() {
		c.capacity = 0
	}
	c.rate = max(c.rate, rate)
	c.phase, c.changed = hold, now
}

// learn takes the rate that arrived at an overuse, in kbit/s, into the capacity.
func (c *control) learn(rate float64) {
	if c.capacity == 0 || rate > c.upper() || rate < c.capacity-3*c.spread() {
		c.capacity, c.deviation = rate, 0.4
		return
	}
	const share = 0.05
	off := c.capacity - rate
	c.capacity -= share * off
	c.deviation = min(max((1-share)*c.deviation+share*off*off/max(c.capacity, 1), 0.4), 2.5)
}

func (c *control) upper() float64  { return c.capacity + 3*c.spread() }
func (c *control) spread() float64 { return math.Sqrt(c.deviation * c.capacity) }
