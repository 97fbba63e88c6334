package loadtest

import (
	"math/rand/v2"
	"testing"
)

func TestSequence(t *testing.T) {
	type want struct{ received, missing, duplicates, late, stale uint64 }
	for name, c := range map[string]struct {
		seqs []uint16
		want want
	}{
		"in order":               {[]uint16{5, 6, 7, 8}, want{received: 4}},
		"roll-over":              {[]uint16{65534, 65535, 0, 1}, want{received: 4}},
		"gap":                    {[]uint16{5, 8, 9}, want{received: 3, missing: 2}},
		"gap over the roll-over": {[]uint16{65533, 2}, want{received: 2, missing: 4}},
		"gap filled":             {[]uint16{5, 7, 6, 8}, want{received: 4, late: 1}},
		"twice":                  {[]uint16{5, 5, 6, 5, 6}, want{received: 2, duplicates: 3}},
		"first overtaken":        {[]uint16{6, 5, 7, 5}, want{received: 3, late: 1, duplicates: 1}},
		"too late":               {[]uint16{1, 10_000, 2}, want{received: 2, missing: 9998, stale: 1}},
		"nothing":                {nil, want{}},
	} {
		var s sequence
		for _, n := range c.seqs {
			s.packet(n)
		}
		if got := (want{s.received, s.missing(), s.duplicates, s.late, s.stale}); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// A network that loses, doubles and reorders, against a set of all that came.
func TestSequenceAgainstModel(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var s sequence
	came := map[int64]bool{}
	var duplicates uint64
	next := int64(70_000)
	for range 300_000 {
		next++
		index := next - random.Int64N(100)
		if random.IntN(20) == 0 {
			next += random.Int64N(50)
		}
		if came[index] {
			duplicates++
		}
		came[index] = true
		s.packet(uint16(index))
	}
	lowest, highest := next, int64(0)
	for i := range came {
		lowest, highest = min(lowest, i), max(highest, i)
	}
	if s.received != uint64(len(came)) || s.duplicates != duplicates || s.stale != 0 || s.missing() != uint64(highest-lowest+1)-uint64(len(came)) {
		t.Errorf("received %d of %d, twice %d of %d, missing %d", s.received, len(came), s.duplicates, duplicates, s.missing())
	}
}

func TestCounts(t *testing.T) {
	before := Counts{Delivered: 100, Lost: 3, Repairs: 1}
	after := Counts{Delivered: 197, Lost: 1, LeftOut: 3, Repairs: 2}
	since := after.since(before)
	if since != (Counts{Delivered: 97, LeftOut: 3, Repairs: 1}) { // a gap of before was filled
		t.Errorf("since %+v", since)
	}
	if since.Loss() != .03 || (Counts{Delivered: 5}).Loss() != 0 || (Counts{}).Loss() != 0 {
		t.Errorf("loss %v", since.Loss())
	}
}
