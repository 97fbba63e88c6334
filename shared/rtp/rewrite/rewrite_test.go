package rewrite

import (
	"math/rand/v2"
	"testing"
)

func forward(t *testing.T, s *Stream, index int64, ts uint32, wantSeq uint16, wantTS uint32) {
	t.Helper()
	seq, out, ok := s.Forward(index, ts)
	if !ok || seq != wantSeq || out != wantTS {
		t.Errorf("Forward(%d, %d) = %d, %d, %v; want %d, %d", index, ts, seq, out, ok, wantSeq, wantTS)
	}
}

func lookup(t *testing.T, s *Stream, seq uint16, wantSource int, wantIndex int64) {
	t.Helper()
	source, index, ok := s.Lookup(seq)
	if !ok || source != wantSource || index != wantIndex {
		t.Errorf("Lookup(%d) = %d, %d, %v; want %d, %d", seq, source, index, ok, wantSource, wantIndex)
	}
}

func TestOneSource(t *testing.T) {
	s := New(65534)
	if _, _, ok := s.Forward(1, 1); ok {
		t.Error("forwards before Switch")
	}
	if _, _, ok := s.Lookup(65534); ok || s.Source() != -1 {
		t.Error("knows a packet before Switch")
	}
	s.Switch(1000, 50, 7000)
	forward(t, s, 1000, 50, 65534, 7000)
	forward(t, s, 1003, 60, 1, 7010) // 1001 and 1002 are missing: the gap stays
	forward(t, s, 1001, 50, 65535, 7000)
	forward(t, s, 1003, 60, 1, 7010)
	if _, _, ok := s.Forward(999, 50); ok {
		t.Error("forwards a packet from before the switch")
	}
	lookup(t, s, 0, 0, 1002)
	lookup(t, s, 65534, 0, 1000)
	if _, _, ok := s.Lookup(2); ok {
		t.Error("knows a number it never gave")
	}
	if ts, ok := s.Timestamp(100); !ok || ts != 7050 {
		t.Errorf("Timestamp = %d, %v", ts, ok)
	}
}

func TestPauseAndSwitch(t *testing.T) {
	s := New(10)
	s.Switch(100, 0, 0)
	forward(t, s, 100, 0, 10, 0)
	forward(t, s, 101, 3000, 11, 3000)
	s.Resume(500)
	forward(t, s, 500, 90_000, 12, 90_000)
	forward(t, s, 101, 3000, 11, 3000) // still in place
	if _, _, ok := s.Forward(300, 50_000); ok {
		t.Error("forwards a packet of the pause")
	}
	s.Switch(70, 1_000_000, 93_000)
	if _, _, ok := s.Forward(69, 1_000_000); ok {
		t.Error("forwards a packet from before the switch")
	}
	forward(t, s, 70, 1_000_000, 13, 93_000)
	forward(t, s, 72, 1_003_000, 15, 96_000)
	lookup(t, s, 11, 0, 101)
	lookup(t, s, 12, 0, 500)
	lookup(t, s, 14, 1, 71)
	if s.Source() != 1 {
		t.Errorf("Source() = %d", s.Source())
	}
}

func TestSkip(t *testing.T) {
	s := New(10)
	if s.Skip(5) {
		t.Error("skips before Switch")
	}
	s.Switch(100, 0, 0)
	if !s.Skip(100) || !s.Skip(101) {
		t.Error("cannot skip at the beginning")
	}
	forward(t, s, 102, 0, 10, 0)
	for index := int64(103); index < 200; index++ { // a burst of padding is one break
		if !s.Skip(index) {
			t.Fatalf("cannot skip %d", index)
		}
	}
	forward(t, s, 200, 0, 11, 0)
	if s.Skip(199) || s.Skip(200) {
		t.Error("skips what has been passed")
	}
	// 201 is missing when 202 is left out; it keeps its number.
	if !s.Skip(202) {
		t.Error("cannot skip after a gap")
	}
	forward(t, s, 203, 0, 13, 0)
	forward(t, s, 201, 0, 12, 0)
	lookup(t, s, 10, 0, 102)
	lookup(t, s, 12, 0, 201)
	lookup(t, s, 13, 0, 203)
}

func TestForgets(t *testing.T) {
	s := New(0)
	s.Switch(0, 0, 0)
	for i := range int64(1000) {
		s.Forward(2*i, 0)
		s.Skip(2*i + 1)
	}
	forward(t, s, 2000, 0, 1000, 0)
	lookup(t, s, 999, 0, 1998)
	if _, _, ok := s.Lookup(1); ok {
		t.Error("remembers for ever")
	}
}

// FuzzStream drives a Stream at random and checks against a map of what it gave: no number twice, numbers rise without holes
// of its own making, and Lookup inverts Forward.
func FuzzStream(f *testing.F) {
	f.Add(uint64(1))
	f.Add(uint64(99))
	f.Fuzz(func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 2))
		s := New(uint16(rng.Uint32()))
		type packet struct {
			source int
			index  int64
		}
		given := map[uint16]packet{}
		index := rng.Int64N(1 << 20)
		s.Switch(index, 0, 0)
		for range 200 {
			switch rng.IntN(8) {
			case 0:
				index += 1 + rng.Int64N(50)
				s.Resume(index)
			case 1:
				index = rng.Int64N(1 << 20)
				s.Switch(index, 0, 0)
			case 2:
				if s.Skip(index) {
					index++
				}
			default:
				seq, _, ok := s.Forward(index, 0)
				if !ok {
					t.Fatalf("packet %d in order has no place", index)
				}
				p := packet{s.Source(), index}
				if other, twice := given[seq]; twice && other != p {
					t.Fatalf("number %d for %v and %v", seq, other, p)
				}
				given[seq] = p
				if source, got, ok := s.Lookup(seq); !ok || source != p.source || got != p.index {
					t.Fatalf("Lookup(%d) = %d, %d, %v; want %v", seq, source, got, ok, p)
				}
				index += 1 + rng.Int64N(3)
			}
		}
	})
}
