package flight

import (
	"sync"
	"testing"
	"time"
)

const second = int64(time.Second)

func TestOldestFirst(t *testing.T) {
	r := New(3)
	if got := r.Events(nil); len(got) != 0 {
		t.Errorf("at first: %v", got)
	}
	for i := range int64(5) {
		r.Record(i*second, Note{Kind: "a", Reason: string(rune('p' + i)), To: i})
	}
	got := r.Events([]Event{{At: -1}})
	if len(got) != 4 || got[0].At != -1 {
		t.Fatalf("got %v", got)
	}
	for i, e := range got[1:] {
		if want := int64(i + 2); e.At != want*second || e.To != want || e.Count != 1 || e.Until != e.At {
			t.Errorf("event %d is %+v", i, e)
		}
	}
}

func TestRepeats(t *testing.T) {
	loss := Note{Kind: "loss", From: 6, To: 6}
	for name, c := range map[string]struct {
		then []Event // what follows the first, by At and Note
		want []Event
	}{
		"again": {
			[]Event{{At: 9 * second, Note: Note{Kind: "loss", From: 8, To: 8}}},
			[]Event{{Note{Kind: "loss", From: 6, To: 8}, 0, 9 * second, 2}},
		},
		"too late": {
			[]Event{{At: 10 * second, Note: loss}},
			[]Event{{loss, 0, 0, 1}, {loss, 10 * second, 10 * second, 1}},
		},
		"others between": {
			[]Event{{At: 1, Note: Note{Kind: "x"}}, {At: 2, Note: Note{Kind: "y"}}, {At: 3, Note: loss}},
			[]Event{{loss, 0, 3, 2}, {Note{Kind: "x"}, 1, 1, 1}, {Note{Kind: "y"}, 2, 2, 1}},
		},
		"another of the kind between": {
			[]Event{{At: 1, Note: Note{Kind: "loss", Detail: "b"}}, {At: 2, Note: loss}},
			[]Event{{loss, 0, 0, 1}, {Note{Kind: "loss", Detail: "b"}, 1, 1, 1}, {loss, 2, 2, 1}},
		},
		"the clock of another goroutine is behind": {
			[]Event{{At: -5, Note: loss}},
			[]Event{{loss, 0, 0, 2}},
		},
	} {
		var r Recorder
		r.Record(0, loss)
		for _, e := range c.then {
			r.Record(e.At, e.Note)
		}
		got := r.Events(nil)
		if len(got) != len(c.want) {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: event %d is %+v, want %+v", name, i, got[i], c.want[i])
			}
		}
	}
}

// TestRepeatsInRing: a repeat is found across the end of the ring, and one that was pushed out is not.
func TestRepeatsInRing(t *testing.T) {
	r := New(2)
	for i, kind := range []string{"a", "b", "c", "b", "a"} {
		r.Record(int64(i), Note{Kind: kind})
	}
	got := r.Events(nil)
	if len(got) != 2 || got[0].Kind != "c" || got[1].Kind != "a" || got[1].At != 4 || got[1].Count != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestDefaultBound(t *testing.T) {
	var r Recorder
	for i := range int64(3 * DefaultEvents) {
		r.Record(i*repeatTime, Note{Kind: "a"})
	}
	got := r.Events(nil)
	if len(got) != DefaultEvents || got[0].At != 2*DefaultEvents*repeatTime {
		t.Errorf("%d events, the first %+v", len(got), got[0])
	}
}

func TestConcurrent(t *testing.T) {
	r := New(8)
	var all sync.WaitGroup
	for _, kind := range []string{"a", "b", "c"} {
		all.Go(func() {
			for i := range int64(1000) {
				r.Record(i, Note{Kind: kind})
				r.Events(nil)
			}
		})
	}
	all.Wait()
	total := 0
	for _, e := range r.Events(nil) {
		total += e.Count
	}
	if total == 0 || total > 3000 {
		t.Errorf("counted %d", total)
	}
}

func TestAllocations(t *testing.T) {
	r := New(16)
	at, notes := int64(0), []Note{{Kind: "a"}, {Kind: "b"}, {Kind: "b", Reason: "r"}}
	record := func() {
		at += second
		r.Record(at, notes[at/second%3])
	}
	for range 32 {
		record()
	}
	if n := testing.AllocsPerRun(100, record); n != 0 {
		t.Errorf("%v allocations per event", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	b.ReportAllocs()
	r := New(DefaultEvents)
	notes := []Note{{Kind: "a"}, {Kind: "b"}, {Kind: "b", Reason: "r"}}
	for i := 0; b.Loop(); i++ {
		r.Record(int64(i), notes[i%3])
	}
}
