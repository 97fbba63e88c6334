package link

import (
	"testing"
)

// A packet from Send to Receive, with both ends in this process; the allocations are QUIC's.
func BenchmarkSendReceive(b *testing.B) {
	const window = 64
	slots := make(chan struct{}, window)
	a, _ := pair(b, Options{}, Options{Receive: func(*Link, uint64, []byte) { <-slots }})
	packet := make([]byte, 1200)
	b.SetBytes(int64(len(packet)))
	b.ReportAllocs()
	for b.Loop() {
		slots <- struct{}{}
		if err := a.Send(5, packet); err != nil {
			b.Fatal(err)
		}
	}
	for range window {
		slots <- struct{}{}
	}
}

// What Send itself does: no allocation.
func TestSendDoesNotAllocate(t *testing.T) {
	var q queue
	q.open()
	packet := make([]byte, 1200)
	push := func() { q.push(300, packet) }
	for range queueLimit {
		push()
	}
	if n := testing.AllocsPerRun(1000, push); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
