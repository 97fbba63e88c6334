package bitrate

// Probing.
const (
	clusterTime   = 120 * millisecond
	clusterLead   = 10 * millisecond // what is sent ahead, for callers that come every so often
	clusterLeast  = 5                // packets that a result needs
	clusterShare  = 0.8              // of the packets that must arrive
	probeBlame    = 250 * millisecond
	probeWait     = second // with the round trip: how long a result is waited for
	probeFirst    = 3.0    // of the start rate
	probeStep     = 2.0
	probeCareful  = 1.5 // after a failure
	probeGood     = 0.75
	probeSpace    = 300 * millisecond // between clusters that succeed
	probeBackoff0 = 2 * second
	probeBackoff  = 4 * second
	probeSettle   = second // after the rate went down
	repeatMost    = 4      // clusters repeated because their feedback was lost, or we did not send them as planned
)

// cluster is one probe: what was sent, what of it arrived.
type cluster struct {
	id     uint8
	rate   Bitrate
	begin  int64 // when it was planned
	end    int64 // when it was sent; 0: not yet
	budget int   // bytes in all

	bytes   int // sent
	packets int
	pads    int   // bytes of padding among them
	bursts  int   // times at which packets were sent
	first   int64 // time of the first packet sent, and of the last
	last    int64
	tail    int // bytes sent at last

	arrived      int // packets
	gone         int // packets that had not come when they should
	arrivedBytes int
	firstBytes   int   // of the packet that arrived first
	firstArrival int64 // receiver's clock
	lastArrival  int64
}

// prober plans clusters and reads their results.
type prober struct {
	cluster
	active   bool // a cluster is being sent, or its result waited for
	done     bool // the first clusters are over
	hurt     bool // delays grew while probing
	ids      uint8
	failures int
	next     int64 // not before
	ended    int64 // when the last cluster was sent
	unsent   int   // clusters in a row that nobody filled
	repeated int   // clusters in a row that were repeated: they did not tell
}

// sending tells whether packets belong to the cluster.
func (p *prober) sending() bool { return p.active && p.end == 0 }

// blamed tells whether an overuse at now is the probe's own doing.
func (p *prober) blamed(rtt, now int64) bool {
	return p.sending() || p.ended != 0 && now-p.ended < rtt+probeBlame
}

// blind tells that probing is in vain, because padding is not sent when it is asked for.
func (p *prober) blind() bool { return p.unsent > 0 }

// plan begins a cluster at rate.
func (p *prober) plan(rate Bitrate, now int64) {
	p.ids++
	if p.ids == 0 {
		p.ids = 1
	}
	bytes := int(int64(rate) * int64(clusterTime/millisecond) / 8000)
	p.cluster = cluster{id: p.ids, rate: rate, begin: now, budget: max(bytes, clusterLeast*200)}
	p.active, p.hurt = true, false
}

// due is how many bytes the cluster lacks now.
func (p *prober) due(now int64) int {
	bytes := float64(p.rate) / 8 * float64(now-p.begin+clusterLead) / float64(second)
	return max(min(int(bytes), p.budget)-p.bytes, 0)
}

// sent counts a packet to the cluster, and ends it when it has all.
func (p *prober) sent(size int, pad bool, now int64) (id uint8) {
	if p.packets == 0 {
		p.first = now
	}
	if now-p.last > millisecond || p.packets == 0 {
		p.bursts, p.tail = p.bursts+1, 0
	}
	p.last = now
	p.tail += size
	p.bytes += size
	p.packets++
	if pad {
		p.pads += size
	}
	if p.bytes >= p.budget && p.packets >= clusterLeast {
		p.finish(now)
	}
	return p.id
}

// finish ends the sending.
func (p *prober) finish(now int64) { p.end, p.ended = now, now }

// arrival counts a packet of the cluster that the receiver has.
func (p *prober) arrival(id uint8, size int, at int64) {
	if !p.active || id != p.id {
		return
	}
	if p.arrived == 0 || at < p.firstArrival {
		p.firstArrival, p.firstBytes = at, size
	}
	if p.arrived == 0 || at > p.lastArrival {
		p.lastArrival = at
	}
	p.arrived++
	p.arrivedBytes += size
}

// missed counts n packets of the cluster that the receiver has not got.
func (p *prober) missed(id uint8, n int) {
	if p.active && id == p.id {
		p.gone += n
	}
}

// outcome of a cluster.
type outcome uint8

const (
	pending   outcome = iota
	succeeded         // the rate, or nearly, got through
	partly            // less got through: that is the capacity
	failed            // no result
	unheard           // feedback was lost
	slow              // all that was sent got through, but it was not sent as fast as planned
	neverSent         // nobody sent the padding
)

// result reads the cluster at now; rate is what got through. loss is the share that is lost anyway.
func (p *prober) result(rtt int64, loss float64, now int64) (rate Bitrate, out outcome) {
	if p.sending() {
		if now-p.begin < 2*clusterTime+200*millisecond {
			return 0, pending
		}
		p.finish(now)
	}
	if p.pads == 0 && p.end-p.begin > 2*clusterTime || p.packets == 0 {
		return 0, neverSent
	}
	told := p.arrived+p.gone == p.packets && (p.gone == 0 || now-p.end > rtt+settleTime)
	if !told && now-p.end < rtt+probeWait {
		return 0, pending
	}
	if float64(p.arrived+p.gone) < clusterShare*float64(p.packets) {
		return 0, unheard
	}
	if p.arrived < clusterLeast || float64(p.arrived) < clusterShare*(1-loss)*float64(p.packets) {
		return 0, failed
	}
	rate, full := p.through(loss)
	switch {
	case float64(rate) >= probeGood*float64(p.rate):
		return rate, succeeded
	case full:
		return rate, partly
	}
	return rate, slow
}

// through is the lower one of the rates at which the cluster was sent and received; full tells that it was received clearly more
// slowly. The last burst had no time on the sender's side, the first packet none on the receiver's.
func (p *prober) through(loss float64) (rate Bitrate, full bool) {
	sent := p.rate
	if p.bursts >= 4 && p.last > p.first {
		sent = Bitrate(float64(p.bytes-p.tail) * 8 * float64(second) / float64(p.last-p.first))
	}
	took := max(p.lastArrival-p.firstArrival, millisecond)
	got := Bitrate(float64(p.arrivedBytes-p.firstBytes) * 8 * float64(second) / float64(took) / (1 - loss))
	if float64(got) < 0.9*float64(sent) {
		return Bitrate(0.95 * float64(got)), true // stay below the bottleneck
	}
	return min(sent, got), false
}

// close ends the cluster with its result and says when the next may come.
func (p *prober) close(out outcome, now int64) {
	p.active = false
	if out == neverSent {
		p.unsent++
	} else {
		p.unsent = 0
	}
	if out == succeeded && !p.hurt {
		p.failures, p.repeated = 0, 0
		p.next = now + probeSpace/3
		return
	}
	// A small cluster may fail for a packet or two lost by chance.
	if again := out == unheard || out == slow && !p.hurt; again && p.repeated < repeatMost || out == failed && !p.hurt && p.repeated == 0 {
		p.repeated++
		p.next = now + probeSpace
		return
	}
	p.done, p.repeated = true, 0
	p.failures = min(p.failures+1, 8)
	wait := probeBackoff0
	for range p.failures - 1 {
		wait = min(wait*3/2, probeBackoff)
	}
	p.next = now + wait
}
