package bitrate

import "time"

// Constants of the estimate for receivers without transport-wide feedback.
const (
	rembRoom     = 1.25 // a REMB so far above what is sent does not say that more would not go
	reportRise   = 1.08 // a second
	reportRoom   = 1.25 // of what is sent and gets there
	reportDelay  = 200 * millisecond
	reportEvery  = 300 * millisecond
	unboundedBit = 1 << 62
)

// REMB takes the receiver's own estimate in bit/s (draft-alvestrand-rmcat-remb), any value. With transport-wide feedback it is an
// upper bound as long as it is repeated; without, the estimate follows it. A REMB is itself bound to what is sent, so one that
// leaves room lets the estimate grow beyond it.
func (e *Estimator) REMB(bps uint64, now int64) {
	e.Update(now)
	now = e.clock
	rate := e.config.Max
	if bps < unboundedBit {
		rate = min(max(Bitrate(bps), e.config.Min), e.config.Max)
	}
	e.remb, e.rembAt = rate, now
	e.reports = now
	if e.twcc {
		return
	}
	e.heard()
	sent, ok := e.sent.rate(second)
	if !ok || float64(rate) < rembRoom*float64(sent) {
		e.fallback, e.rising = rate, now
		e.started = e.started || ok && float64(rate) < rembRoom*float64(sent)
		return
	}
	e.fallback = max(e.fallback, rate)
	e.grow(growthBlind, now)
}

// Report takes the loss (in 1/256, as it stands there) and the round trip (0: not known) of a receiver report (RFC 3550 section
// 6.4.1) for media that we sent. With transport-wide feedback only the round trip counts, and only before the first feedback.
// Blocks of several streams may be given one by one, or their worst.
func (e *Estimator) Report(fractionLost uint8, rtt time.Duration, now int64) {
	e.Update(now)
	now = e.clock
	e.reports = now
	if e.twcc {
		return
	}
	e.heard()
	if rtt > 0 && rtt < time.Minute {
		e.measureRTT(int64(rtt))
	}
	// A report every second or so stands for about that many packets.
	block := tally{lost: float64(fractionLost), total: 256}
	e.losses.count(block, block, now)
	sent, ok := e.sent.rate(second)
	if e.remb > 0 && now-e.rembAt < rembFresh || !ok {
		return
	}
	share := e.losses.share()
	late := e.rtt > e.leastRTT+reportDelay
	switch {
	case (share > lossHigh || late) && now-e.losses.lowered > reportEvery+e.rtt:
		e.losses.lowered, e.rising = now, now
		cut := max(0.5*share, 0.1)
		e.fallback = max(Bitrate(float64(min(e.fallback, sent))*(1-cut)), e.config.Min)
		e.started = true
	case share < lossLow && !late:
		e.fallback = max(e.fallback, Bitrate(reportRoom*float64(sent)))
		e.grow(reportRise, now)
	}
}

// grow raises the fall-back by factor a second, as far as anybody wants it.
func (e *Estimator) grow(factor float64, now int64) {
	seconds := float64(min(now-e.rising, 2*second)) / float64(second)
	if e.rising == 0 {
		seconds = 0
	}
	e.rising = now
	if e.fallback < e.wanted {
		e.fallback += Bitrate(float64(e.fallback) * (factor - 1) * seconds)
	}
	e.fallback = min(e.fallback, e.config.Max)
}

// heard ends a silence.
func (e *Estimator) heard() { e.unheard, e.quiet, e.quietNext = 0, 0, 0 }
