package bitrate

import "math"

// Constants of the bound by loss (gcc-02 section 6).
const (
	lossLow      = 0.02
	lossHigh     = 0.10
	lossMemory   = second // time over which loss is averaged
	slowMemory   = 5 * second
	lossEvery    = 300 * millisecond
	lossPackets  = 50 // packets before loss means anything
	lossLeast    = Bitrate(30_000)
	natureLimit  = 0.30
	natureAfter  = 1500 * millisecond
	natureLater  = 3 * second
	natureTimes  = 3
	natureRate   = 0.6 // of the rate at which the loss began
	natureRemain = 0.7 // of the loss that it began with
)

// losses bounds the rate by the share of packets lost.
type losses struct {
	all     tally // recent packets, fading
	since   tally // those of them sent since the rate last went down
	slow    tally // all, fading slowly
	faded   int64
	bound   Bitrate // 0: none
	lowered int64   // when the bound last went down
	raised  int64

	began     int64 // of the present time of loss; 0: none
	beganRate Bitrate
	beganLoss float64
	times     int     // that the bound went down since
	nature    float64 // share of loss that does not depend on the rate
}

// tally counts packets, fading.
type tally struct{ lost, total float64 }

// share is the part that was lost; 0 when there are too few to tell.
func (t tally) share() float64 {
	if t.total < lossPackets {
		return 0
	}
	return t.lost / t.total
}

func (t *tally) add(more tally) { t.lost, t.total = t.lost+more.lost, t.total+more.total }

func (t *tally) fade(keep float64) { t.lost, t.total = t.lost*keep, t.total*keep }

// count takes packets whose fate is known: all, and those sent since the rate last went down.
func (l *losses) count(all, since tally, now int64) {
	l.fade(now)
	l.all.add(all)
	l.slow.add(all)
	l.since.add(since)
}

// lower notes that the rate went down: what was lost before it says nothing about the new rate.
func (l *losses) lower(now int64) { l.lowered, l.since = now, tally{} }

func (l *losses) fade(now int64) {
	if now > l.faded {
		keep := math.Exp(-float64(now-l.faded) / float64(lossMemory))
		l.all.fade(keep)
		l.since.fade(keep)
		l.slow.fade(math.Exp(-float64(now-l.faded) / float64(slowMemory)))
		l.faded = now
	}
}

// share is the loss, 0 to 1.
func (l *losses) share() float64 { return l.all.share() }

// ours is the part of the loss that the rate may be to blame for, as far as so few packets can tell.
func (l *losses) ours() float64 {
	share := l.since.share()
	if share == 0 {
		return 0
	}
	doubt := math.Sqrt(share * (1 - share) / l.since.total)
	return max((share-doubt-l.nature)/(1-l.nature), 0)
}

// update moves the bound. sent is the rate really sent, rate the estimate by delay, queue that there is a standing queue.
func (l *losses) update(sent, rate Bitrate, queue bool, rtt, now int64) {
	l.fade(now)
	share := l.share()
	l.nature = min(l.nature, l.slow.share())
	l.judge(share, sent, queue, now)
	switch ours := l.ours(); {
	case ours > lossHigh:
		if now-l.lowered < lossEvery+rtt {
			return
		}
		if l.began == 0 {
			l.began, l.beganRate, l.beganLoss, l.times = now, sent, share, 0
		}
		l.times++
		l.lower(now)
		l.bound = max(Bitrate(float64(min(l.top(rate), rate, sent))*(1-0.5*ours)), lossLeast)
	case ours < lossLow && l.bound > 0:
		l.bound += Bitrate(float64(l.bound) * (growth - 1) * float64(min(now-l.raised, second)) / float64(second))
		if l.bound > 2*rate {
			l.bound = 0
		}
	}
	l.raised = now
	if share < lossLow {
		l.began = 0
	}
}

// judge finds out that loss stays although much less is sent, or as little as can be, and no queue stands: then it is not our
// doing.
func (l *losses) judge(share float64, sent Bitrate, queue bool, now int64) {
	passed := now - l.began
	if l.began == 0 || passed < natureAfter || queue || share < natureRemain*l.beganLoss {
		return
	}
	if float64(sent) < natureRate*float64(l.beganRate) || passed > natureLater && l.times >= natureTimes {
		l.nature, l.began = min(l.slow.share(), natureLimit), 0
	}
}

// top is the bound, or rate where there is none.
func (l *losses) top(rate Bitrate) Bitrate {
	if l.bound == 0 {
		return rate
	}
	return l.bound
}

// probed lifts the bound to a rate that a probe has shown.
func (l *losses) probed(rate Bitrate) {
	if l.bound > 0 && l.ours() < lossHigh {
		l.bound = max(l.bound, rate)
	}
}
