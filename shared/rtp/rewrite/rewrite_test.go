package rewrite

import (
	"math/rand/v2"
	"testing"
)

func forward(t *testing.T, s *Stream, index int64, ts uint32, wantSeq uint16, wantTS uint32) {
	t.Helper()
	p, ok := s.Forward(index)
	if !ok || p.Seq != wantSeq || ts+p.Stamp != wantTS {
		t.Errorf("Forward(%d) = %+v, %v; want %d, %d", index, p, ok, wantSeq, wantTS)
	}
}

func lookup(t *testing.T, s *Stream, seq uint16, wantIndex int64) {
	t.Helper()
	index, p, ok := s.Lookup(seq)
	if !ok || index != wantIndex || p.Seq != seq {
		t.Errorf("Lookup(%d) = %d, %+v, %v; want %d", seq, index, p, ok, wantIndex)
	}
}

func refuses(t *testing.T, s *Stream, index int64) {
	t.Helper()
	if p, ok := s.Forward(index); ok {
		t.Errorf("Forward(%d) = %+v", index, p)
	}
}

func forgotten(t *testing.T, s *Stream, seq uint16) {
	t.Helper()
	if index, _, ok := s.Lookup(seq); ok {
		t.Errorf("Lookup(%d) = %d", seq, index)
	}
}

func TestOneSource(t *testing.T) {
	s := New(65534)
	refuses(t, s, 1)
	forgotten(t, s, 65534)
	if _, ok := s.Current(); ok || s.Next() != 0 {
		t.Error("has a place before Switch")
	}
	s.Switch(1000, 50, 7000, Offsets{})
	forward(t, s, 1000, 50, 65534, 7000)
	forward(t, s, 1003, 60, 1, 7010) // 1001 and 1002 are missing: the gap stays
	forward(t, s, 1001, 50, 65535, 7000)
	forward(t, s, 1003, 60, 1, 7010)
	refuses(t, s, 999)
	lookup(t, s, 0, 1002)
	lookup(t, s, 65534, 1000)
	forgotten(t, s, 2)
	if p, ok := s.Current(); !ok || 100+p.Stamp != 7050 || s.Next() != 1004 {
		t.Errorf("Current = %+v, %v, Next = %d", p, ok, s.Next())
	}
}

func TestPauseAndSwitch(t *testing.T) {
	s := New(10)
	s.Switch(100, 0, 0, Offsets{Picture: 5, TL0: 6, Frame: 7})
	forward(t, s, 100, 0, 10, 0)
	forward(t, s, 101, 3000, 11, 3000)
	s.Resume(500, Offsets{Picture: 8})
	forward(t, s, 500, 90_000, 12, 90_000)
	forward(t, s, 101, 3000, 11, 3000) // still in place
	if p, _ := s.Forward(101); p.Offsets != (Offsets{Picture: 5, TL0: 6, Frame: 7}) {
		t.Errorf("the old packet has %+v", p)
	}
	if p, _ := s.Forward(500); p.Offsets != (Offsets{Picture: 8}) {
		t.Errorf("the new packet has %+v", p)
	}
	refuses(t, s, 300)
	lookup(t, s, 11, 101)
	lookup(t, s, 12, 500)
	s.Switch(70, 1_000_000, 93_000, Offsets{})
	refuses(t, s, 69)
	forward(t, s, 70, 1_000_000, 13, 93_000)
	forward(t, s, 72, 1_003_000, 15, 96_000)
	lookup(t, s, 14, 71)
	forgotten(t, s, 12) // of the source before
}

func TestSkip(t *testing.T) {
	s := New(10)
	if s.Skip(5, 0) {
		t.Error("skips before Switch")
	}
	s.Switch(100, 0, 0, Offsets{Picture: 10})
	if !s.Skip(100, 1) || !s.Skip(101, 0) {
		t.Error("cannot skip at the beginning")
	}
	forward(t, s, 102, 0, 10, 0)
	for index := int64(103); index < 200; index++ { // a burst of padding is one break
		if !s.Skip(index, 0) {
			t.Fatalf("cannot skip %d", index)
		}
	}
	forward(t, s, 200, 0, 11, 0)
	if s.Skip(199, 0) || s.Skip(200, 0) {
		t.Error("skips what has been passed")
	}
	// 201 is missing when 202 is left out; it keeps its number.
	if !s.Skip(202, 1) {
		t.Error("cannot skip after a gap")
	}
	forward(t, s, 203, 0, 13, 0)
	forward(t, s, 201, 0, 12, 0)
	lookup(t, s, 10, 102)
	lookup(t, s, 12, 201)
	lookup(t, s, 13, 203)
	for index, picture := range map[int64]uint16{102: 9, 201: 9, 203: 8} {
		if p, _ := s.Forward(index); p.Picture != picture {
			t.Errorf("packet %d has %+v, want picture ids less %d", index, p, picture)
		}
	}
}

// TestDivides: what changes in the middle holds from that packet on, and numbers go on.
func TestDivides(t *testing.T) {
	s := New(0)
	s.Switch(10, 0, 100, Offsets{})
	s.Annotate(10, 1) // of nothing sent yet: no run of its own
	forward(t, s, 10, 0, 0, 100)
	s.Restamp(13, 500) // 11 and 12 are missing
	s.Annotate(13, 2)
	forward(t, s, 13, 0, 3, 500)
	forward(t, s, 12, 0, 2, 100)
	s.Annotate(12, 3) // passed already: nothing happens
	for index, note := range map[int64]uint32{10: 1, 12: 1, 13: 2} {
		if p, _ := s.Forward(index); p.Note != note {
			t.Errorf("packet %d: %+v, want note %d", index, p, note)
		}
	}
	lookup(t, s, 1, 11)
}

func TestForgets(t *testing.T) {
	s := New(0)
	s.Switch(0, 0, 0, Offsets{})
	for i := range int64(1000) {
		s.Forward(2 * i)
		s.Skip(2*i+1, 0)
	}
	forward(t, s, 2000, 0, 1000, 0)
	lookup(t, s, 1000-MaxRuns+1, 2000-2*(MaxRuns-1))
	forgotten(t, s, 1)
	refuses(t, s, 2)
	if len(s.runs) != MaxRuns {
		t.Errorf("%d runs are held", len(s.runs))
	}
	plain := New(0)
	plain.Switch(0, 0, 0, Offsets{})
	if len(plain.runs) != firstRuns {
		t.Errorf("a plain stream holds %d runs", len(plain.runs))
	}
}

func TestAllocs(t *testing.T) {
	s := New(0)
	s.Switch(0, 0, 0, Offsets{})
	index := int64(0)
	step := func() {
		s.Annotate(index, uint32(index))
		s.Forward(index)
		s.Skip(index+1, 1)
		s.Forward(index - 20)
		if p, ok := s.Forward(index); ok {
			s.Lookup(p.Seq - 20)
		}
		index += 2
	}
	for range 200 {
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzStream drives a Stream at random and checks against a map of what it gave: no number twice, Lookup inverts Forward, and a
// packet asked for again has the same place.
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
		places := map[packet]Place{}
		source, index := 0, rng.Int64N(1<<20)
		s.Switch(index, 0, 0, Offsets{})
		for range 100 {
			switch rng.IntN(10) {
			case 0:
				index += 1 + rng.Int64N(50)
				s.Resume(index, Offsets{Picture: uint16(index)})
			case 1:
				source, index = source+1, rng.Int64N(1<<20)
				s.Switch(index, 0, rng.Uint32(), Offsets{TL0: uint8(index)})
			case 2:
				if s.Skip(index, 1) {
					index++
				}
			default:
				switch rng.IntN(8) {
				case 0:
					s.Restamp(index, rng.Uint32())
				case 1:
					s.Annotate(index, rng.Uint32())
				}
				place, ok := s.Forward(index)
				if !ok {
					t.Fatalf("packet %d in order has no place", index)
				}
				p := packet{source, index}
				if other, twice := given[place.Seq]; twice && other != p {
					t.Fatalf("number %d for %v and %v", place.Seq, other, p)
				}
				given[place.Seq], places[p] = p, place
				index += 1 + rng.Int64N(3)
			}
		}
		for p, place := range places {
			if p.source != source {
				continue
			}
			got, ok := s.Forward(p.index)
			index, looked, found := s.Lookup(place.Seq)
			if !ok || got != place || !found || index != p.index || looked != place {
				t.Fatalf("packet %v had %+v, has %+v (%v), by its number %d %+v (%v)", p, place, got, ok, index, looked, found)
			}
		}
	})
}
