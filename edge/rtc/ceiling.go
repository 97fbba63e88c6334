package rtc

import (
	"time"

	"portico/edge/sfu/bitrate"
	"portico/shared/conference"
)

// What Converters are told of the networks of those they make something for.
const (
	ceilingInterval = time.Second
	ceilingChange   = 15                      // per cent, below which it is not worth telling
	leastCeiling    = bitrate.Bitrate(50_000) // below it there is no picture worth having
)

// tellCeilings tells each conversion of video how much of what the client's network carries is left for it: the rest beside what
// is sent as it came, in equal parts, and a tenth less, for its encoder is not exact.
func (s *steering) tellCeilings(budget bitrate.Budget, now int64) {
	conversions, left := 0, bitrate.Bitrate(float64(budget.Rate)*(1-min(budget.Loss, 0.5)))
	for i := range s.lines {
		switch x := &s.lines[i]; {
		case x.paused:
		case x.converts():
			conversions++
		default:
			left -= x.takes(s.grants[i])
		}
	}
	if conversions == 0 || budget.Starting {
		return
	}
	kbps := int(max(left*9/10/bitrate.Bitrate(conversions), leastCeiling) / 1000)
	for i := range s.lines {
		if x := &s.lines[i]; x.converts() && !x.paused {
			x.made.tell(kbps, now)
		}
	}
}

// converts tells whether what goes out is a picture that is made for it.
func (x *steeredLine) converts() bool { return x.made != nil && x.line.kind == conference.Video }

// takes is the rate of what goes out.
func (x *steeredLine) takes(g bitrate.Grant) bitrate.Bitrate {
	if x.adapts {
		if g.Layer < 0 || g.Layer >= len(x.layers) {
			return 0
		}
		return x.layers[g.Layer].Bitrate
	}
	most := bitrate.Bitrate(0)
	for i := range x.layers {
		most = max(most, x.layers[i].Bitrate)
	}
	return most
}

// tell passes a ceiling on when it is news. The steerer calls it.
func (c *conversion) tell(kbps int, now int64) {
	if change := max(kbps-c.told, c.told-kbps); c.told != 0 && (100*change < ceilingChange*c.told || now-c.toldAt < int64(ceilingInterval)) {
		return
	}
	c.use(func(o Output) {
		c.told, c.toldAt = kbps, now
		o.SetCeiling(kbps)
	})
}

// missing is how much more would go out if nothing held it down: the network has to be asked for it, or the encoders would stay as
// low as they once had to be.
func (s *steering) missing() (rate bitrate.Bitrate) {
	for i := range s.lines {
		if x := &s.lines[i]; x.converts() && !x.paused {
			x.made.use(func(o Output) {
				rate += max(0, bitrate.Bitrate(o.Target())*1000-x.takes(bitrate.Grant{}))
			})
		}
	}
	return rate
}
