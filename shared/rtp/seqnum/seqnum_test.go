package seqnum

import (
	"math/rand/v2"
	"testing"
)

func TestNewer(t *testing.T) {
	for _, c := range []struct {
		a, b uint16
		want bool
	}{{1, 0, true}, {0, 1, false}, {5, 5, false}, {0, 65535, true}, {65535, 0, false}, {32767, 0, true}, {32768, 0, false}} {
		if got := Newer(c.a, c.b); got != c.want {
			t.Errorf("Newer(%d, %d) = %v", c.a, c.b, got)
		}
	}
	if !TimestampNewer(3, 0xffff_fff0) || TimestampNewer(0xffff_fff0, 3) || TimestampNewer(9, 9) {
		t.Error("TimestampNewer is wrong around the wrap")
	}
}

func TestUnwrapRollsOver(t *testing.T) {
	var u Unwrapper
	first, _ := u.Next(65530)
	for i := int64(1); i < 200_000; i++ {
		index, result := u.Next(uint16(65530 + i))
		if index != first+i || result != Ordered {
			t.Fatalf("packet %d: index %d, %v; want %d", i, index, result, first+i)
		}
	}
	if u.Highest() != first+199_999 {
		t.Errorf("Highest() = %d", u.Highest())
	}
}

func TestUnwrapLate(t *testing.T) {
	var u Unwrapper
	first, _ := u.Next(10)
	u.Next(20)
	if index, result := u.Next(15); index != first+5 || result != Ordered {
		t.Errorf("late packet: %d, %v", index-first, result)
	}
	if index, _ := u.Next(65530); index != first-16 {
		t.Errorf("packet from before the first: %d", index-first)
	}
	if index, _ := u.Next(20); index != first+10 {
		t.Errorf("duplicate: %d", index-first)
	}
}

func TestNear(t *testing.T) {
	var u Unwrapper
	if u.Near(1) {
		t.Error("near nothing")
	}
	u.Next(65530)
	for seq, want := range map[uint16]bool{65530: true, 10: true, 65530 - 999: true, 65530 - 1000: false, 5994: true, 5995: false, 30_000: false} {
		if u.Near(seq) != want {
			t.Errorf("Near(%d) is %v", seq, !want)
		}
	}
	if u.Highest() != 1<<16+65530 {
		t.Error("Near changed something")
	}
}

func TestUnwrapRestart(t *testing.T) {
	var u Unwrapper
	first, _ := u.Next(100)
	if _, result := u.Next(40_000); result != Strange {
		t.Fatalf("a jump is %v", result)
	}
	if index, result := u.Next(101); index != first+1 || result != Ordered {
		t.Fatalf("the old run no longer counts: %d, %v", index-first, result)
	}
	u.Next(30_000)
	index, result := u.Next(30_001)
	if result != Restarted || index <= first+1 || uint16(index) != 30_001 {
		t.Fatalf("restart: index %d, %v", index, result)
	}
	if next, result := u.Next(30_002); next != index+1 || result != Ordered {
		t.Fatalf("after the restart: %d, %v", next-index, result)
	}
}

func TestTimestamps(t *testing.T) {
	var ts Timestamps
	first := ts.Next(0xffff_ff00)
	if got := ts.Next(0x100) - first; got != 0x200 {
		t.Errorf("over the wrap: %#x", got)
	}
	if got := ts.Next(0xffff_ff80) - first; got != 0x80 {
		t.Errorf("back over the wrap: %#x", got)
	}
}

// FuzzUnwrap checks what everything behind relies on: an index carries its sequence number in its low bits, and the highest
// index never falls.
func FuzzUnwrap(f *testing.F) {
	f.Add(uint64(1), 100)
	f.Add(uint64(7), 3)
	f.Fuzz(func(t *testing.T, seed uint64, spread int) {
		if spread <= 0 {
			spread = 1
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		var u Unwrapper
		at := rng.IntN(1 << 16)
		for range 1000 {
			at += rng.IntN(2*spread%(1<<16)+1) - spread%(1<<15)
			before := u.Highest()
			index, result := u.Next(uint16(at))
			if result != Strange && uint16(index) != uint16(at) {
				t.Fatalf("index %d for number %d", index, uint16(at))
			}
			if u.Highest() < before || index > u.Highest() {
				t.Fatalf("highest fell from %d to %d (index %d)", before, u.Highest(), index)
			}
		}
	})
}
