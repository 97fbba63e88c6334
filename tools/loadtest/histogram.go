package loadtest

import (
	"math/bits"
	"time"
)

// histogram counts durations in steps of about 1.6 %. The zero value is ready; it is not safe for concurrent use.
type histogram struct {
	buckets [subBuckets * 40]uint64
	count   uint64
	sum     time.Duration
	max     time.Duration
}

// subBuckets is the number of steps from one power of two to the next.
const subBuckets = 64

// bucketOf is the bucket of a duration: exact below subBuckets nanoseconds, then the power of two and its next six bits.
func bucketOf(d time.Duration) int {
	n := uint64(max(d, 0))
	if n < subBuckets {
		return int(n)
	}
	shift := bits.Len64(n) - 7
	return min(subBuckets*(shift+1)+int(n>>shift)-subBuckets, subBuckets*40-1)
}

// bucketEnd is the longest duration of a bucket.
func bucketEnd(i int) time.Duration {
	if i < subBuckets {
		return time.Duration(i)
	}
	shift := i/subBuckets - 1
	return time.Duration(uint64(i%subBuckets+subBuckets+1)<<shift - 1)
}

func (h *histogram) record(d time.Duration) {
	h.buckets[bucketOf(d)]++
	h.count++
	h.sum += d
	h.max = max(h.max, d)
}

func (h *histogram) add(o *histogram) {
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
	h.count += o.count
	h.sum += o.sum
	h.max = max(h.max, o.max)
}

// quantile is the duration that a share q of what was recorded does not exceed; 0 when nothing was.
func (h *histogram) quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(q*float64(h.count) + 0.999999)
	rank = min(max(rank, 1), h.count)
	for i, n := range h.buckets {
		if n >= rank {
			if i == len(h.buckets)-1 { // which has no end
				return h.max
			}
			return min(bucketEnd(i), h.max)
		}
		rank -= n
	}
	return h.max
}

// Percentiles sum up many durations.
type Percentiles struct {
	Count              uint64
	P50, P95, P99, Max time.Duration
}

func (h *histogram) percentiles() Percentiles {
	return Percentiles{Count: h.count, P50: h.quantile(.5), P95: h.quantile(.95), P99: h.quantile(.99), Max: h.max}
}
