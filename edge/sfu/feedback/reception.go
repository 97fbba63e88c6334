package feedback

import "time"

// Reception counts how one encoding arrives, for receiver reports (RFC 3550 sections 6.4.1, A.3 and A.8). Make it with
// NewReception. Its encoding's reader owns it.
type Reception struct {
	rate    int64 // clock ticks a second
	started bool
	base    int64 // first index
	highest int64
	count   int64 // packets that came, duplicates not counted

	expectedBefore, countBefore int64 // at the last report

	transit int64 // arrival less timestamp, in ticks, of the last packet
	stamp   uint32
	jitter  int64 // 16 times the jitter in ticks

	lastSR   uint32
	lastSRAt int64
}

// NewReception makes a Reception for a stream whose clock has rate ticks a second.
func NewReception(rate int) *Reception { return &Reception{rate: int64(max(rate, 1))} }

// Packet notes a packet with its index and timestamp.
func (r *Reception) Packet(index int64, timestamp uint32, now int64) {
	r.count++
	arrival := now/int64(time.Second)*r.rate + now%int64(time.Second)*r.rate/int64(time.Second)
	transit := arrival - int64(timestamp)
	if !r.started {
		r.started = true
		r.base, r.highest = index, index
		r.transit, r.stamp = transit, timestamp
		return
	}
	r.highest = max(r.highest, index)
	if timestamp == r.stamp { // the rest of the same picture says nothing of the network
		return
	}
	// The difference is small whatever the timestamps wrap to: only its low 32 bits count.
	d := int64(int32(uint32(transit - r.transit)))
	r.transit, r.stamp = transit, timestamp
	if d < 0 {
		d = -d
	}
	r.jitter += d - (r.jitter+8)>>4
}

// SenderReport notes an SR of the source.
func (r *Reception) SenderReport(ntp uint64, now int64) {
	r.lastSR, r.lastSRAt = uint32(ntp>>16), now
}

// Restart forgets the numbers, not the sender report: the source began again.
func (r *Reception) Restart() {
	*r = Reception{rate: r.rate, lastSR: r.lastSR, lastSRAt: r.lastSRAt}
}

// Report makes the report block about ssrc and begins the next period. ok is false while nothing came.
func (r *Reception) Report(ssrc uint32, now int64) (b Report, ok bool) {
	if !r.started {
		return b, false
	}
	expected := r.highest - r.base + 1
	b = Report{SSRC: ssrc, Lost: int32(max(-1<<23, min(1<<23-1, expected-r.count))), Highest: uint32(r.highest - 1<<16),
		Jitter: uint32(r.jitter >> 4)}
	newExpected, newCount := expected-r.expectedBefore, r.count-r.countBefore
	if lost := newExpected - newCount; newExpected > 0 && lost > 0 {
		b.FractionLost = uint8(min(255, lost*256/newExpected))
	}
	r.expectedBefore, r.countBefore = expected, r.count
	if r.lastSRAt != 0 {
		b.LastSR = r.lastSR
		b.Delay = uint32(max(0, now-r.lastSRAt) * 65536 / int64(time.Second))
	}
	return b, true
}
