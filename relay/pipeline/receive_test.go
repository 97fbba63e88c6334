package pipeline

import (
	"testing"

	"portico/shared/rtp/inspect"
)

// TestNewestTimestamp is that of the packet with the highest number: neither a packet that lies far ahead, nor a sender that counts anew
// behind where it was, is taken for what the others lag behind.
func TestNewestTimestamp(t *testing.T) {
	r := reception{clock: 90_000}
	now := int64(1_800_000_000) * second
	for i, c := range []struct {
		seq             uint16
		timestamp, want uint32
	}{
		{65534, 1000, 1000}, {65535, 4000, 4000}, {1, 10_000, 10_000}, {0, 7000, 10_000}, // over the end of the numbers, and late
		{2, 10_000 + 1<<31 - 1, 10_000 + 1<<31 - 1}, {3, 16_000, 16_000},
		{4, 1<<32 - 3000, 1<<32 - 3000}, {5, 0, 0},
		{30_000, 500_000, 0}, {30_001, 503_000, 503_000}, // strange, then begun anew
	} {
		r.take(&inspect.Header{SSRC: 1, Sequence: c.seq, Timestamp: c.timestamp}, now+int64(i)*33*millisecond)
		if r.newest != c.want {
			t.Errorf("packet %d: newest %d, want %d", i, r.newest, c.want)
		}
	}
}

// TestJitter of a sender that keeps time is none, whatever the clock says.
func TestJitter(t *testing.T) {
	for _, clock := range []int{8000, 48_000, 90_000} {
		for _, begin := range []int64{0, 204_963_823_041_216_000 - 5*second, 1_800_000_000 * second} {
			r := reception{clock: clock}
			for i := range int64(500) {
				h := inspect.Header{SSRC: 1, Sequence: uint16(i), Timestamp: uint32(i * int64(clock) / 50)}
				r.take(&h, begin+i*20*millisecond)
			}
			if r.jitter > 1 {
				t.Errorf("clock %d at %d: jitter %v", clock, begin, r.jitter)
			}
		}
	}
}
