package bitrate

// Times and bounds for what follows from feedback.
const (
	longWindow    = 500 * millisecond
	rttMost       = 3 * second
	shortWindow   = 200 * millisecond
	queueStands   = float64(150 * 1_000_000) // ns over the lowest delay
	standsFor     = 2 * second
	standsMost    = 3
	appLimited    = 0.8  // of the estimate: sending less says nothing about more
	probeWorth    = 1.15 // a cluster not so far above the estimate is not worth while
	probeFeedback = second
	growsAlone    = 10 * second // after a decrease, while media fills the estimate
)

// Feedback takes the body (FCI) of one transport-wide feedback message, what follows the two SSRCs, that came at now. It keeps
// no reference and allocates nothing. Errors are ErrMalformed and ErrFlood; nothing of the message was taken then.
func (e *Estimator) Feedback(fci []byte, now int64) error {
	m, ok := parse(fci)
	if !ok {
		return ErrMalformed
	}
	cost := int64(m.count) + workPerMessage
	if cost > e.work {
		return ErrFlood
	}
	e.work -= cost
	e.Update(now)
	now = e.clock
	newest, fresh := e.take(m, now)
	if fresh == 0 {
		return nil
	}
	if !e.twcc {
		e.twcc, e.firstTWCC = true, now
	}
	e.unheard, e.quiet, e.quietNext = 0, 0, 0
	e.measureRTT(now - newest)
	e.settle(now)
	e.decide(now)
	e.burst.drain = float64(e.Estimate()) / float64(second)
	return nil
}

// take walks through the statuses; newest is when the newest packet received was sent, fresh how many packets were new.
func (e *Estimator) take(m message, now int64) (newest int64, fresh int) {
	if !e.twcc {
		e.reference = int64(m.reference)
	}
	reference := unwrapReference(e.reference, m.reference)
	e.reference = reference
	r := m.read(reference)
	for i := range m.count {
		got, arrival := r.next()
		p, index := e.history.find(m.base + uint16(i))
		if p == nil || p.flags&received != 0 {
			continue
		}
		if !got {
			if p.flags&missing == 0 {
				e.prober.missed(p.cluster, 1)
			}
			p.flags |= missing
			continue
		}
		if p.flags&missing != 0 {
			e.prober.missed(p.cluster, -1)
		}
		p.flags |= received
		fresh++
		newest = max(newest, p.at)
		e.arrived(p, index, arrival, now)
	}
	return newest, fresh
}

// arrived takes one packet that the receiver has.
func (e *Estimator) arrived(p *packet, index, arrival, now int64) {
	ahead := (arrival - e.arrival) - (now - e.arrivedAt)
	if e.arrivedAt == 0 || ahead > jump || ahead < -jump {
		e.delays.restart()
		e.arrives = meter{}
		e.arrival, e.arrivedAt = arrival, now
	}
	if arrival > e.arrival {
		e.arrival, e.arrivedAt = arrival, now
	}
	e.arrives.add(arrival, int(p.size))
	e.delays.packet(index, p.at, int64(p.own)*ownUnit, arrival)
	if p.cluster != 0 {
		e.prober.arrival(p.cluster, int(p.size), arrival)
	}
}

// measureRTT takes the time from sending to hearing of the newest packet; it holds the receiver's wait, too.
func (e *Estimator) measureRTT(sample int64) {
	sample = min(sample, rttMost)
	if e.rtt == 0 {
		e.rtt, e.leastRTT = sample, sample
	}
	e.rtt += (sample - e.rtt) / 8
	e.leastRTT = min(e.leastRTT, sample)
}

// settle counts the packets whose fate is known as received or lost. A packet that no feedback told of counts as neither: a
// feedback message was lost, not the packet.
func (e *Estimator) settle(now int64) {
	newest := e.delays.highest
	until := int64(0)
	if p := e.history.slot(newest); newest >= e.history.begin() {
		until = p.at - settleTime
	}
	var all, since tally
	cut := max(e.losses.lowered, e.control.decreased)
	e.settled = max(e.settled, e.history.begin())
	for ; e.settled < newest; e.settled++ {
		p := e.history.slot(e.settled)
		if p.flags&known != 0 && p.at > until {
			break
		}
		if p.flags&padding != 0 || p.flags&(received|missing) == 0 {
			continue
		}
		one := tally{total: 1}
		if p.flags&received == 0 {
			one.lost = 1
		}
		all.add(one)
		if p.at >= cut {
			since.add(one)
		}
	}
	e.losses.count(all, since, now)
}

// decide moves the estimate after feedback.
func (e *Estimator) decide(now int64) {
	usage := e.delays.line.usage
	long, known := e.arrives.rate(longWindow)
	short, _ := e.arrives.rate(shortWindow)
	usage = e.stand(usage, now)
	if usage == overuse {
		e.over = now
		if e.prober.blamed(e.rtt, now) {
			e.prober.hurt = true
			usage = normal
		}
	}
	before := e.control.rate
	e.control.update(input{usage: usage, arrives: long, soon: short, known: known, rtt: e.rtt, enough: e.wanted,
		blocked: e.delays.queue > queueStands || e.prober.active || e.over == now,
		blind:   e.prober.blind() && e.wanted > e.control.rate}, now)
	if e.control.rate < before {
		e.started = true
		e.losses.lower(now)
	}
	e.control.rate = min(max(e.control.rate, e.config.Min), e.config.Max)
	sent, ok := e.sent.rate(longWindow)
	if ok {
		e.losses.update(sent, e.control.rate, e.delays.queue > queueStands, e.rtt, now)
	}
	if e.prober.active {
		e.readProbe(now)
	}
}

// stand calls a queue that neither grows nor goes away overuse, a few times; then the way itself must have become longer.
func (e *Estimator) stand(u usage, now int64) usage {
	switch {
	case e.delays.queue < queueStands || u == underuse:
		e.standing = 0
		if e.delays.queue < queueStands/2 {
			e.stands = 0
		}
	case e.standing == 0 || u == overuse:
		e.standing = now
	case now-e.standing > standsFor:
		e.standing = now
		if e.stands++; e.stands <= standsMost {
			return overuse
		}
		e.stands = 0
		e.delays.accept()
	}
	return u
}

// Probing tells whether Probe is to be called soon, at every batch sent or every 10 ms: a cluster is being sent.
func (e *Estimator) Probing() bool { return e.prober.sending() }

// Probe asks for padding: bytes to send now, at once, to reach rate together with the media. ok is false when there is nothing to
// probe, and bytes is 0 while media alone fills the probe. It is to be called with every Update and, while Probing, at every
// batch sent, at least every 10 ms or so. Where padding cannot be sent the estimate grows without, more slowly.
func (e *Estimator) Probe(now int64) (rate Bitrate, bytes int, ok bool) {
	now = e.forward(now)
	if !e.prober.active {
		rate, worth := e.probeRate(now)
		if !worth {
			return 0, 0, false
		}
		e.prober.plan(rate, now)
	}
	if !e.prober.sending() {
		return 0, 0, false
	}
	return e.prober.rate, e.prober.due(now), true
}

// probeRate is the rate that is worth probing now; ok is false when none is, or the network is not fit for it.
func (e *Estimator) probeRate(now int64) (rate Bitrate, ok bool) {
	p, estimate := &e.prober, e.Estimate()
	switch {
	case now < p.next || !e.twcc || e.wanted <= estimate:
		return 0, false
	case e.quiet >= quietAfter || now-e.arrivedAt > probeFeedback && e.unheard > 0:
		return 0, false // a result would not be heard
	case e.delays.queue > queueStands/2 || e.losses.ours() > lossHigh:
		return 0, false
	case e.control.everLower && now-e.control.decreased < probeSettle || e.over != 0 && now-e.over < probeSettle/2:
		return 0, false
	case p.done && now-e.control.decreased < growsAlone && e.filled(estimate):
		return 0, false
	}
	factor := probeStep
	switch {
	case p.ids == 0:
		factor = probeFirst
	case p.failures > 0:
		factor = probeCareful
	}
	return min(Bitrate(factor*float64(estimate)), Bitrate(probeWorth*float64(e.wanted)), e.config.Max), true
}

// filled tells that media alone nearly fills the estimate: then it grows by itself.
func (e *Estimator) filled(estimate Bitrate) bool {
	sent, known := e.sent.rate(longWindow)
	pads, _ := e.pads.rate(longWindow)
	return known && float64(sent-pads) > appLimited*float64(estimate)
}

// readProbe takes the result of a cluster.
func (e *Estimator) readProbe(now int64) {
	rate, out := e.prober.result(e.rtt, min(e.losses.share(), lossMost), now)
	if out == pending {
		return
	}
	if (out == succeeded || out == partly || out == slow) && rate > e.control.rate {
		e.control.probed(min(rate, e.config.Max), now)
	}
	if out == succeeded {
		e.losses.probed(rate)
	}
	e.prober.close(out, now)
	if e.prober.done || e.Estimate() >= e.wanted {
		e.started = true
	}
}
