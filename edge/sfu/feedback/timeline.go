package feedback

import (
	"sync/atomic"
	"time"
)

// ntpUnix is the Unix epoch in seconds of NTP, which begins in 1900.
const ntpUnix = 2_208_988_800

// ToNTP converts nanoseconds since the Unix epoch to the 64-bit format of NTP.
func ToNTP(unix int64) uint64 {
	seconds, rest := unix/int64(time.Second), unix%int64(time.Second)
	return uint64(seconds+ntpUnix)<<32 | uint64(rest<<32/int64(time.Second))
}

// FromNTP converts the 64-bit format of NTP to nanoseconds since the Unix epoch. Whatever a peer puts there has a result.
func FromNTP(ntp uint64) int64 {
	return (int64(ntp>>32)-ntpUnix)*int64(time.Second) + int64((ntp&0xffff_ffff)*uint64(time.Second)>>32)
}

// stepped is how far a source's clock may run away before it is measured anew.
const stepped = 500 * time.Millisecond

// Timeline carries the wall clock of one source, as its sender reports give it, over to ours. All encodings of the source share
// it, so that what was captured at one moment keeps one time, and pictures and sound stay together at every subscriber, also
// where they come from different sources. The zero value is ready; safe for concurrent use.
type Timeline struct {
	offset atomic.Int64 // our clock less theirs; 0: unknown
}

// Local converts the source's time ntp of a report that came at now.
func (t *Timeline) Local(ntp uint64, now int64) int64 {
	theirs := FromNTP(ntp)
	offset := t.offset.Load()
	if d := now - theirs - offset; offset == 0 || d > int64(stepped) || d < -int64(stepped) {
		// The first report decides for all encodings; what the way takes is in it for all of them alike.
		if t.offset.CompareAndSwap(offset, now-theirs) {
			offset = now - theirs
		} else {
			offset = t.offset.Load()
		}
	}
	return theirs + offset
}
