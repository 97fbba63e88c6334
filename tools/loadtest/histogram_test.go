package loadtest

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogramAgainstSorting(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var h, other histogram
	var all []time.Duration
	for i := range 20_000 {
		d := time.Duration(random.ExpFloat64() * float64(3*time.Millisecond))
		all = append(all, d)
		if i%3 == 0 {
			other.record(d)
		} else {
			h.record(d)
		}
	}
	h.add(&other)
	slices.Sort(all)
	for _, q := range []float64{0, .01, .5, .95, .99, .9999, 1} {
		want := all[max(0, int(q*float64(len(all))+.999999)-1)]
		if got := h.quantile(q); got < want || float64(got) > float64(want)*1.017+1 {
			t.Errorf("quantile %v: %v, sorted %v", q, got, want)
		}
	}
	p := h.percentiles()
	if p.Count != 20_000 || p.Max != all[len(all)-1] || p.P50 > p.P95 || p.P95 > p.P99 || p.P99 > p.Max {
		t.Errorf("percentiles %+v", p)
	}
}

func TestHistogramBuckets(t *testing.T) {
	for i := range subBuckets * 30 {
		end := bucketEnd(i)
		if bucketOf(end) != i || bucketOf(end+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, which is in %d; the next is in %d", i, end, bucketOf(end), bucketOf(end+1))
		}
	}
	var h histogram
	if h.quantile(.5) != 0 || h.percentiles() != (Percentiles{}) {
		t.Error("an empty histogram has quantiles")
	}
	h.record(-time.Second) // clocks of two machines
	h.record(1000 * time.Hour)
	if h.quantile(1) != 1000*time.Hour || h.quantile(.5) != 0 {
		t.Errorf("extremes: %+v", h.percentiles())
	}
}
