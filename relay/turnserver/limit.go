package turnserver

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// bucket limits bytes in one direction of an allocation. Only one goroutine uses it at a time: the front's reader on the way out,
// the allocation's on the way in.
type bucket struct {
	rate  float64 // bytes a second; 0 means no limit
	fill  float64
	last  time.Time
	depth float64
}

// newBucket makes a bucket for a bit rate in bit/s that lets a quarter of a second through at once: a key frame is such a burst.
func newBucket(bitrate int64) bucket {
	b := bucket{rate: float64(bitrate) / 8}
	b.depth = max(b.rate/4, 64<<10)
	b.fill = b.depth
	return b
}

func (b *bucket) take(n int) bool {
	if b.rate == 0 {
		return true
	}
	now := time.Now()
	if !b.last.IsZero() {
		b.fill = min(b.depth, b.fill+b.rate*now.Sub(b.last).Seconds())
	}
	b.last = now
	if b.fill < float64(n) {
		return false
	}
	b.fill -= float64(n)
	return true
}

// strangers limits requests per second from addresses without an allocation, in constant memory: each address counts in one of
// a fixed number of cells, chosen by a keyed hash, so a flood of forged addresses costs at most the cells it falls into.
type strangers struct {
	limit int64 // requests a second and cell; 0 means no limit
	seed  maphash.Seed
	start time.Time
	cells [4096]atomic.Int64 // second since start << 24 | count
}

func newStrangers(limit int) *strangers {
	return &strangers{limit: int64(limit), seed: maphash.MakeSeed(), start: time.Now()}
}

func (s *strangers) admit(a netip.Addr) bool {
	if s.limit == 0 {
		return true
	}
	// An IPv6 user has a whole /64.
	if a.Is6() {
		p, _ := a.Prefix(64)
		a = p.Addr()
	}
	cell := &s.cells[maphash.Comparable(s.seed, a)%uint64(len(s.cells))]
	second := int64(time.Since(s.start)/time.Second) << 24
	old := cell.Load()
	if old>>24<<24 != second {
		cell.Store(second | 1)
		return true
	}
	if old-second >= s.limit {
		return false
	}
	cell.Add(1)
	return true
}
