package history

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"
)

func TestPutGet(t *testing.T) {
	r := New[int](100)
	if r.Len() != 128 {
		t.Fatalf("Len() = %d", r.Len())
	}
	dst := make([]byte, 1500)
	if _, _, ok := r.Get(0, dst); ok {
		t.Error("an empty ring has packet 0")
	}
	packet := []byte("one packet")
	if !r.Put(1000, packet, 7) {
		t.Fatal("Put refused a new packet")
	}
	packet[0] = 'X' // the ring has its own copy
	if n, meta, ok := r.Get(1000, dst); !ok || meta != 7 || string(dst[:n]) != "one packet" {
		t.Errorf("Get = %q, %d, %v", dst[:n], meta, ok)
	}
	if r.Put(1000, []byte("again"), 8) || r.Put(1000-128, []byte("old"), 8) {
		t.Error("a duplicate or an older packet took the place")
	}
	if _, _, ok := r.Get(1000, dst[:5]); ok {
		t.Error("Get into a short buffer succeeded")
	}
	if !r.Put(1000+128, bytes.Repeat([]byte{1}, 1400), 9) || r.Has(1000) || !r.Has(1128) {
		t.Error("a newer packet did not take the place of the old one")
	}
}

func TestConcurrentReaders(t *testing.T) {
	r := New[int64](64)
	const packets = 20_000
	next := make(chan int64, 16)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			dst := make([]byte, 1500)
			for index := range next {
				n, meta, ok := r.Get(index, dst)
				if ok && (n != 8 || meta != index || binary.BigEndian.Uint64(dst[:n]) != uint64(index)) {
					t.Errorf("packet %d reads as %d", index, binary.BigEndian.Uint64(dst[:n]))
				}
			}
		})
	}
	packet := make([]byte, 8)
	for index := range int64(packets) {
		binary.BigEndian.PutUint64(packet, uint64(index))
		r.Put(index, packet, index)
		next <- index
	}
	close(next)
	readers.Wait()
}

func TestAllocs(t *testing.T) {
	r := New[int64](64)
	packet, dst := make([]byte, 1200), make([]byte, 1500)
	index := int64(0)
	step := func() {
		r.Put(index, packet, index)
		r.Get(index, dst)
		index++
	}
	for range 64 {
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

func BenchmarkPutGet(b *testing.B) {
	r := New[int64](512)
	packet, dst := make([]byte, 1200), make([]byte, 1500)
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		r.Put(i, packet, i)
		r.Get(i, dst)
	}
}
