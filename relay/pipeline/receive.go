package pipeline

import (
	"math"

	"github.com/pion/rtcp"

	"portico/shared/rtp/inspect"
	"portico/shared/rtp/seqnum"
)

// restartPause is how long a sender keeps its SSRC at least: what changes it more often is dropped.
const restartPause = 500 * millisecond

// reception is what is known of the packets of one flow that comes in: what a receiver report says, and what the sender's reports
// said. Its owner guards it.
type reception struct {
	clock   int // of the RTP timestamps
	started bool
	ssrc    uint32
	since   int64 // when the SSRC was new
	seq     seqnum.Unwrapper
	first   int64 // index
	count   int64
	transit int64 // of the newest packet, in ticks
	jitter  float64
	newest  uint32 // timestamp of the packet with the highest index

	reportedExpected, reportedCount int64

	reported bool // a sender report came
	middle   uint32
	came     int64
	ntp      int64 // of the sender's clock, in nanoseconds since the Unix epoch,
	ntpRTP   uint32
}

// what take found out.
type took uint8

const (
	takeIt  took = iota
	takeNew      // the first packet of an SSRC: what was before does not count
	takeNot
)

// take counts a packet. Its index is that of its number, of which packets may be missing.
func (r *reception) take(h *inspect.Header, now int64) (index int64, result took) {
	if !r.started || h.SSRC != r.ssrc {
		if r.started && now-r.since < restartPause {
			return 0, takeNot
		}
		*r = reception{clock: r.clock, started: true, ssrc: h.SSRC, since: now}
		result = takeNew
	}
	index, how := r.seq.Next(h.Sequence)
	if how == seqnum.Strange {
		return 0, takeNot
	}
	if how == seqnum.Restarted || result == takeNew {
		r.first, r.count, r.reportedExpected, r.reportedCount = index, 0, 0, 0
	}
	r.count++
	ticks := now/second*int64(r.clock) + now%second*int64(r.clock)/second
	transit := ticks - int64(h.Timestamp)
	if result != takeNew && index == r.seq.Highest() {
		d := math.Abs(float64(int32(transit - r.transit)))
		if d < float64(r.clock) {
			r.jitter += (d - r.jitter) / 16
		}
	}
	r.transit = transit
	if index == r.seq.Highest() { // not the greatest timestamp: a sender may count anew, or a packet lie
		r.newest = h.Timestamp
	}
	return index, result
}

// report is the block of a receiver report about the flow (RFC 3550 section 6.4.1); ok is false before the first packet.
func (r *reception) report(now int64) (block rtcp.ReceptionReport, ok bool) {
	if !r.started {
		return block, false
	}
	expected := r.seq.Highest() - r.first + 1
	lost := expected - r.count
	inExpected, inCount := expected-r.reportedExpected, r.count-r.reportedCount
	r.reportedExpected, r.reportedCount = expected, r.count
	block = rtcp.ReceptionReport{
		SSRC: r.ssrc, LastSequenceNumber: uint32(r.seq.Highest()), Jitter: uint32(r.jitter),
		TotalLost: uint32(min(max(lost, 0), 1<<23-1)),
	}
	if inExpected > 0 && inExpected > inCount {
		block.FractionLost = uint8(min((inExpected-inCount)*256/inExpected, 255))
	}
	if r.reported {
		block.LastSenderReport = r.middle
		block.Delay = uint32((now - r.came) / 1000 * 65536 / 1_000_000)
	}
	return block, true
}

// senderReport takes in what the sender said.
func (r *reception) senderReport(sr *rtcp.SenderReport, now int64) {
	r.reported, r.came = true, now
	r.middle = uint32(sr.NTPTime >> 16)
	r.ntp, r.ntpRTP = fromNTP(sr.NTPTime), sr.RTPTime
}

// captured is when the sender's clock said the timestamp was, in nanoseconds; ok is false before its first report.
func (r *reception) captured(timestamp uint32) (at int64, ok bool) {
	if !r.reported {
		return 0, false
	}
	return r.ntp + int64(int32(timestamp-r.ntpRTP))*second/int64(r.clock), true
}

// timestampAt is the timestamp that the sender's clock gave to a time; ok is false before its first report, or far from it.
func (r *reception) timestampAt(at int64) (timestamp uint32, ok bool) {
	d := at - r.ntp
	if !r.reported || d > 3600*second || d < -3600*second {
		return 0, false
	}
	return r.ntpRTP + uint32(int64(float64(d)*float64(r.clock)/1e9)), true
}

// ntpEpoch is the Unix epoch in seconds of NTP.
const ntpEpoch = 2_208_988_800

func toNTP(at int64) uint64 {
	whole, part := at/second, at%second
	return uint64(whole+ntpEpoch)<<32 | uint64(part)<<32/uint64(second)
}

func fromNTP(ntp uint64) int64 {
	whole := int64(ntp>>32) - ntpEpoch
	return whole*second + int64((ntp&math.MaxUint32)*uint64(second)>>32)
}

// gaps are the packets of a flow that are missing and may still come.
type gaps struct {
	list []gap // by index
	next int64 // the index after the newest
	keys bool  // too many are missing: only a key frame helps
}

type gap struct {
	index int64
	at    int64 // to be asked for
	tries int
}

// The rules of asking for packets.
const (
	askAfter  = 10 * millisecond // which may be out of order only
	askAgain  = 40 * millisecond
	askTimes  = 3
	maxMissed = 128 // packets; more are not asked for
)

// came notes a packet.
func (g *gaps) came(index, now int64) {
	switch {
	case g.next == 0 || index-g.next > maxMissed:
		g.list, g.keys = g.list[:0], g.next != 0
		g.next = index + 1
	case index >= g.next:
		for i := g.next; i < index && len(g.list) < 2*maxMissed; i++ {
			g.list = append(g.list, gap{index: i, at: now + askAfter})
		}
		g.next = index + 1
	default:
		for i := range g.list {
			if g.list[i].index == index {
				g.list = append(g.list[:i], g.list[i+1:]...)
				return
			}
		}
	}
}

// ask appends the numbers to be asked for now, and forgets those that were asked for too often.
func (g *gaps) ask(numbers []uint16, now int64) []uint16 {
	kept := g.list[:0]
	for _, m := range g.list {
		if m.at <= now {
			if m.tries == askTimes {
				continue
			}
			m.tries++
			m.at = now + askAgain
			numbers = append(numbers, uint16(m.index))
		}
		kept = append(kept, m)
	}
	g.list = kept
	return numbers
}

func (g *gaps) reset() { *g = gaps{list: g.list[:0]} }
