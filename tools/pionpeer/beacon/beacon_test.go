package beacon

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestStamp(t *testing.T) {
	s, err := NewSource("annabella")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []bool{false, true} {
		b := s.stamp(vp8(key, 7), viewSize, kindKey, 1<<20)
		if got, ok := readStamp(b); !ok || got != (stamp{"annabell", kindKey, 1 << 20}) || len(b) != viewSize {
			t.Errorf("%d bytes, %v %+v", len(b), ok, got)
		}
	}
	for _, b := range [][]byte{nil, make([]byte, stampSize-1), make([]byte, stampSize)} {
		if _, ok := readStamp(b); ok {
			t.Errorf("%d bytes have a stamp", len(b))
		}
	}
}

// TestSinkWaits: pictures behind one that is missing are shown when that comes after all, and those before a key frame never.
func TestSinkWaits(t *testing.T) {
	k, begin := NewSink("anna"), time.Now()
	take := func(kind byte, number uint32, after time.Duration, want int) {
		t.Helper()
		k.take(stamp{"anna", kind, number}, begin.Add(after))
		if len(k.views) != want {
			t.Errorf("after picture %d there are %v", number, k.views)
		}
	}
	take(kindKey, 1, 1, 1)
	take(kindPicture, 3, 2, 1) // 2 is missing
	take(kindPicture, 4, 3, 1)
	take(kindPicture, 6, 4, 1) // 5 too
	take(kindPicture, 2, 5, 4)
	if last := k.views[3]; last.Number != 4 || last.At != begin.Add(5) {
		t.Errorf("the fourth was shown as %+v", last)
	}
	take(kindPicture, 5, 6, 6)
	take(kindPicture, 8, 7, 6)
	take(kindKey, 9, 8, 7)
	if len(k.waiting) != 0 {
		t.Errorf("%v still wait", k.waiting)
	}
}

// TestSink: a picture counts when it can be shown; what comes twice, or from others, does not count.
func TestSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewSink("anna")
		begin := time.Now()
		arrived := make(chan time.Time)
		go func() {
			at, err := k.Await(context.Background(), begin)
			if err != nil {
				t.Error(err)
			}
			arrived <- at
		}()
		for i, s := range []stamp{
			{"anna", kindPicture, 3}, {"bob", kindKey, 4}, {"anna", kindSound, 1}, {"anna", kindSound, 1}, {"anna", kindKey, 4}, {"anna", kindPicture, 6},
			{"anna", kindPicture, 5}, {"anna", kindSound, 2},
		} {
			time.Sleep(time.Duration(i+1) * time.Second)
			k.take(s, time.Now())
		}
		if at := <-arrived; at.Sub(begin) != 15*time.Second {
			t.Errorf("both had come after %v", at.Sub(begin))
		}
		sound, view := k.Gaps(begin, time.Now().Add(20*time.Second))
		if sound != 30*time.Second || view != 28*time.Second || k.Strange() != 1 {
			t.Errorf("gaps of %v and %v, %d strange", sound, view, k.Strange())
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := k.Await(ctx, time.Now()); err == nil {
			t.Error("something came after the end")
		}
	})
}
