package worker

import (
	"os"
	"testing"
	"time"
)

func TestQuota(t *testing.T) {
	for text, want := range map[string]float64{
		"max 100000\n": 0, "150000 100000\n": 1.5, "-1 100000": 0, "": 0, "1": 0, "0 0": 0, "a b": 0, "50000 100000": 0.5, "NaN 1": 0,
	} {
		if got := parseQuota(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestUsage(t *testing.T) {
	stat := "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 150 25 0 0 20 0 5 0 100 1000000 300 18446744073709551615 1 1"
	cpu, memory, ok := parseStat([]byte(stat))
	if !ok || cpu != 1750*time.Millisecond || memory != int64(300*os.Getpagesize()) {
		t.Errorf("%v %d %v", cpu, memory, ok)
	}
	for _, bad := range []string{"", "42 (a", ") 1 2 3", "42 (a) S 1 42 42 0 -1 4194560 1 0 0 0 x 25 0 0 20 0 5 0 100 1000000 300"} {
		if _, _, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q was read", bad)
		}
	}
	// What the system says of this very process, between two of its own readings.
	before := ownUsage()
	for until := before + 50*time.Millisecond; ownUsage() < until; {
	}
	cpu, memory, ok = usage(os.Getpid())
	if !ok || cpu < before-2*tick || cpu > ownUsage()+2*tick || memory < 1<<20 {
		t.Errorf("%v, %d bytes, %v; own %v", cpu, memory, ok, ownUsage())
	}
	if _, _, ok := usage(-1); ok {
		t.Error("a process -1")
	}
}
