package token

import (
	"strconv"
	"testing"
	"time"
)

const testLife = 3 * time.Minute

func TestUsedOnce(t *testing.T) {
	start := time.UnixMilli(1700000000000)
	for _, c := range []struct {
		name        string
		first, then time.Duration // after the creation
		want        [2]bool
	}{
		{"at once and again", 0, 0, [2]bool{true, false}},
		{"at once and at the end", 0, testLife, [2]bool{true, false}},
		{"at the end and beyond", testLife, testLife + 1, [2]bool{true, false}},
		{"beyond its life", testLife + 1, 2 * testLife, [2]bool{false, false}},
		{"made in the future, and again at its very end", -testLife, testLife, [2]bool{true, false}},
		{"made too far in the future, then in time", -testLife - 1, 0, [2]bool{false, true}},
		{"clock that goes back", time.Minute, 0, [2]bool{true, false}},
	} {
		u := NewUsed(testLife, 0)
		got := [2]bool{u.Use("a", start, start.Add(c.first)), u.Use("a", start, start.Add(c.then))}
		if got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestUsedForgetsAndIsBounded(t *testing.T) {
	now := time.UnixMilli(1700000000000)
	u := NewUsed(testLife, 1000)
	for i := range 1000 {
		if !u.Use(strconv.Itoa(i), now, now) {
			t.Fatalf("token %d is refused", i)
		}
	}
	if u.Use("one more", now, now) || u.Len() != 1000 {
		t.Errorf("%d are remembered, 1000 allowed", u.Len())
	}
	// One token a second for an hour: what is remembered is what the last minutes brought.
	u = NewUsed(testLife, 0)
	for i := range 3600 {
		now = now.Add(time.Second)
		if !u.Use(strconv.Itoa(i), now, now) {
			t.Fatalf("token %d is refused", i)
		}
		if most := int(4*testLife/time.Second) + 2; u.Len() > most {
			t.Fatalf("%d remembered after %d seconds, %d would do", u.Len(), i, most)
		}
	}
	if now = now.Add(time.Hour); !u.Use("after a pause", now, now) || u.Len() != 1 {
		t.Errorf("%d remembered after an hour's pause", u.Len())
	}
}

func BenchmarkUsed(b *testing.B) {
	u, now := NewUsed(testLife, 0), time.UnixMilli(1700000000000)
	for i := 0; b.Loop(); i++ {
		now = now.Add(time.Millisecond)
		u.Use(strconv.Itoa(i), now, now)
	}
}
