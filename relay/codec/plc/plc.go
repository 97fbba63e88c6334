// Package plc makes sound up for packets that did not come, for codecs that know no better themselves: G.711 and G.722.
//
// It stands behind a decoder. What is made up repeats the last period of the pitch, found by correlation, and fades away within
// 60 ms; where sound comes back it is blended in over 5 ms. G.711 appendix I does much the same with more care.
package plc

// Concealer keeps what was heard last, of one channel. Make it with New.
type Concealer struct {
	rate    int     // samples a second
	past    []int16 // the last of what was heard, 40 ms
	period  []int16 // what is repeated during a loss
	at      int     // in period
	lost    int     // samples made up since sound was heard
	forward []int16 // scratch
}

// New makes a Concealer for 8,000 to 48,000 samples a second. It begins in silence.
func New(rate int) *Concealer {
	return &Concealer{rate: rate, past: make([]int16, rate*40/1000)}
}

// Heard takes sound that was decoded, in the order of play. After a loss it blends the beginning with what would have been made up.
func (c *Concealer) Heard(pcm []int16) {
	if c.lost > 0 && len(pcm) > 0 {
		n := min(c.rate*5/1000, len(pcm))
		c.forward = c.Make(c.forward[:0], n)
		for i, made := range c.forward {
			pcm[i] = int16((int(made)*(n-i) + int(pcm[i])*i) / n)
		}
		c.lost, c.period = 0, c.period[:0]
	}
	if len(pcm) >= len(c.past) {
		copy(c.past, pcm[len(pcm)-len(c.past):])
		return
	}
	copy(c.past, c.past[len(pcm):])
	copy(c.past[len(c.past)-len(pcm):], pcm)
}

// Make appends made-up sound.
func (c *Concealer) Make(pcm []int16, samples int) []int16 {
	if c.lost == 0 {
		n := c.pitch()
		c.period, c.at = append(c.period[:0], c.past[len(c.past)-n:]...), 0
	}
	full, end := c.rate*10/1000, c.rate*60/1000 // unchanged for 10 ms, gone after 60
	for range samples {
		var v int16
		if c.lost < end {
			gain := end - max(c.lost, full)
			v = int16(int(c.period[c.at]) * gain / (end - full))
			c.at = (c.at + 1) % len(c.period)
			c.lost++
		}
		pcm = append(pcm, v)
	}
	return pcm
}

// pitch is the distance, 2.5 to 15 ms, at which the last 20 ms resemble most what was before.
func (c *Concealer) pitch() int {
	shortest, longest, window := c.rate/400, c.rate*15/1000, c.rate/50
	recent := c.past[len(c.past)-window:]
	best, at := 0.0, longest
	for lag := shortest; lag <= longest; lag++ {
		before := c.past[len(c.past)-window-lag:]
		var product, energy int64
		for i := 0; i < window; i += 2 { // every other sample tells enough
			a, b := int64(recent[i]), int64(before[i])
			product += a * b
			energy += b * b
		}
		if product <= 0 || energy == 0 {
			continue
		}
		if likeness := float64(product) * float64(product) / float64(energy); likeness > best*1.001 {
			best, at = likeness, lag
		}
	}
	return at
}
