package history

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"
	"time"
)

func TestPutGet(t *testing.T) {
	r := New[int](Config{Packets: 100, Blocks: 64, Keep: time.Hour})
	dst := make([]byte, 1500)
	if _, _, ok := r.Get(0, dst); ok {
		t.Error("an empty ring has packet 0")
	}
	packet := []byte("one packet")
	if !r.Put(1000, packet, 7, 1) {
		t.Fatal("Put refused a new packet")
	}
	packet[0] = 'X' // the ring has its own copy
	if n, meta, ok := r.Get(1000, dst); !ok || meta != 7 || string(dst[:n]) != "one packet" {
		t.Errorf("Get = %q, %d, %v", dst[:n], meta, ok)
	}
	if r.Put(1000, []byte("again"), 8, 2) || r.Put(1000-128, []byte("old"), 8, 2) {
		t.Error("a duplicate or an older packet took the place")
	}
	if _, _, ok := r.Get(1000, dst[:5]); ok {
		t.Error("Get into a short buffer succeeded")
	}
	if !r.Put(1000+128, bytes.Repeat([]byte{1}, 1400), 9, 2) || r.Has(1000) || !r.Has(1128) {
		t.Error("a newer packet did not take the place of the old one")
	}
}

func TestConcurrentReaders(t *testing.T) {
	r := New[int64](Config{Packets: 64, Blocks: 64, Keep: time.Second})
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
		r.Put(index, packet, index, index)
		next <- index
	}
	close(next)
	readers.Wait()
}

func TestAllocs(t *testing.T) {
	r := New[int64](Config{Packets: 64, Blocks: 64, Keep: time.Second})
	packet, dst := make([]byte, 1200), make([]byte, 1500)
	index := int64(0)
	step := func() {
		r.Put(index, packet, index, index)
		r.Get(index, dst)
		index++
	}
	for range 200 {
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

func BenchmarkPutGet(b *testing.B) {
	r := New[int64](Config{Packets: 512, Blocks: 128, Keep: time.Second})
	packet, dst := make([]byte, 1200), make([]byte, 1500)
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		r.Put(i, packet, i, i*int64(8*time.Millisecond))
		r.Get(i, dst)
	}
}

// TestHoldsWhatIsYoung: few packets a second need few blocks and slots, many need more, within bounds.
func TestHoldsWhatIsYoung(t *testing.T) {
	const keep = time.Second
	for _, c := range []struct {
		perSecond, size         int
		minHeld, maxKB, maxSlot int
	}{
		{10, 100, 10, 16, 32},
		{50, 100, 50, 24, 64},
		{120, 1050, 120, 160, 128},
		{2000, 1000, 500, 8 * 64, 512}, // more than the bounds allow
	} {
		r := New[int](Config{Packets: 512, Blocks: 64, Keep: keep})
		packet, dst := make([]byte, c.size), make([]byte, c.size)
		last := int64(10 * c.perSecond)
		for i := range last + 1 {
			packet[0], packet[c.size-1] = byte(i), byte(i)
			if !r.Put(i, packet, 0, i*int64(time.Second)/int64(c.perSecond)) {
				t.Fatalf("%d/s: packet %d refused", c.perSecond, i)
			}
		}
		bytes, slots := r.Memory()
		if bytes > c.maxKB<<10 || slots > c.maxSlot {
			t.Errorf("%d/s: %d bytes and %d slots", c.perSecond, bytes, slots)
		}
		for i := last; i > last-int64(c.minHeld); i-- {
			if n, _, ok := r.Get(i, dst); !ok || n != c.size || dst[0] != byte(i) || dst[n-1] != byte(i) {
				t.Fatalf("%d/s: packet %d of %d is gone or wrong", c.perSecond, i, last)
			}
		}
		r.Release()
		if bytes, _ := r.Memory(); bytes != 0 || r.Has(last) || r.Put(last+1, packet, 0, last) {
			t.Errorf("released, it holds %d bytes", bytes)
		}
	}
}
