package task

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("runtime.handleEvent")) // which every js program has
}

func TestLoopRunsInOrderOnOneGoroutine(t *testing.T) {
	l := NewLoop(LoopOptions{})
	const posters, each = 8, 500
	seen := make([][]int, posters) // written by the Loop only: the race detector is the judge
	var wg sync.WaitGroup
	for p := range posters {
		wg.Go(func() {
			for i := range each {
				if err := l.Post(func() { seen[p] = append(seen[p], i) }); err != nil {
					t.Errorf("post: %v", err)
				}
			}
		})
	}
	wg.Wait()
	l.Close()
	for p := range posters {
		if len(seen[p]) != each {
			t.Fatalf("poster %d: %d of %d functions ran", p, len(seen[p]), each)
		}
		for i, v := range seen[p] {
			if v != i {
				t.Fatalf("poster %d: function %d ran as number %d", p, v, i)
			}
		}
	}
}

func TestDoWaitsAndReturns(t *testing.T) {
	l := NewLoop(LoopOptions{})
	defer l.Close()
	x := 0
	if err := l.Do(t.Context(), func() { x = 7 }); err != nil || x != 7 {
		t.Fatalf("x = %d, err = %v", x, err)
	}
}

func TestDoGivesUpBeforeItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLoop(LoopOptions{})
		gate := make(chan struct{})
		if err := l.Post(func() { <-gate }); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ran := false
		if err := l.Do(ctx, func() { ran = true }); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("err = %v, want deadline exceeded", err)
		}
		close(gate)
		l.Close()
		if ran {
			t.Fatal("a function that was given up ran all the same")
		}
	})
}

func TestDoWaitsForWhatHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLoop(LoopOptions{})
		defer l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ended := false
		err := l.Do(ctx, func() {
			<-time.After(time.Minute)
			ended = true
		})
		if err != nil || !ended {
			t.Fatalf("err = %v, ended = %v: Do must wait for a function that has begun", err, ended)
		}
	})
}

func TestMailboxBound(t *testing.T) {
	var reported atomic.Uint64
	l := NewLoop(LoopOptions{Mailbox: 3, OnOverflow: func(n uint64) { reported.Store(n) }})
	gate, busy := make(chan struct{}), make(chan struct{})
	if err := l.Post(func() { close(busy); <-gate }); err != nil {
		t.Fatal(err)
	}
	<-busy
	ran := 0
	for range 3 {
		if err := l.Post(func() { ran++ }); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := l.Post(func() { ran += 100 }); !errors.Is(err, ErrFull) {
			t.Fatalf("err = %v, want ErrFull", err)
		}
	}
	if reported.Load() != 2 || l.Len() != 3 {
		t.Fatalf("reported %d refusals, %d waiting; want 2 and 3", reported.Load(), l.Len())
	}
	close(gate)
	if err := l.Do(t.Context(), func() { ran += 10 }); err != nil {
		t.Fatal(err)
	}
	if ran != 13 {
		t.Fatalf("ran = %d, want 13", ran)
	}
	if err := l.Post(func() {}); err != nil {
		t.Fatalf("post after the mailbox emptied: %v", err)
	}
	l.Close()
}

func TestPanicIsReportedAndTheLoopGoesOn(t *testing.T) {
	var got *PanicError
	l := NewLoop(LoopOptions{OnPanic: func(e *PanicError) { got = e }})
	boom := errors.New("boom")
	err := l.Do(t.Context(), func() { panic(boom) })
	var pe *PanicError
	if !errors.As(err, &pe) || !errors.Is(err, boom) || !strings.Contains(pe.Stack, "task_test.go") {
		t.Fatalf("err = %v, stack:\n%s", err, pe.Stack)
	}
	ok := false
	if err := l.Do(t.Context(), func() { ok = true }); err != nil || !ok {
		t.Fatalf("after a panic: err = %v, ran = %v", err, ok)
	}
	l.Close()
	if got != pe {
		t.Fatal("the panic handler did not get the panic")
	}
}

func TestGoexitLosesNothing(t *testing.T) {
	l := NewLoop(LoopOptions{})
	gate := make(chan struct{})
	ran := 0
	for _, fn := range []func(){func() { <-gate }, runtime.Goexit, func() { ran++ }, func() { ran++ }} {
		if err := l.Post(fn); err != nil {
			t.Fatal(err)
		}
	}
	close(gate)
	l.Close()
	if ran != 2 {
		t.Fatalf("%d of 2 functions ran after one ended the goroutine", ran)
	}
}

func TestClose(t *testing.T) {
	l := NewLoop(LoopOptions{})
	ran := false
	if err := l.Post(func() { l.Stop(); ran = true }); err != nil {
		t.Fatal(err)
	}
	<-l.Done()
	l.Close()
	l.Close()
	if !ran {
		t.Fatal("an accepted function did not run")
	}
	if err := l.Post(func() {}); !errors.Is(err, ErrClosed) {
		t.Fatalf("post after close: %v", err)
	}
	if err := l.Do(t.Context(), func() {}); !errors.Is(err, ErrClosed) {
		t.Fatalf("do after close: %v", err)
	}
}

func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var panics atomic.Int32
		g := NewGroup(t.Context(), func(*PanicError) { panics.Add(1) })
		if err := g.Wait(t.Context()); err != nil {
			t.Fatalf("an empty group is idle: %v", err)
		}
		var ended atomic.Int32
		for range 3 {
			if err := g.Go(func(ctx context.Context) { <-ctx.Done(); ended.Add(1) }); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.Go(func(context.Context) { panic("one goroutine") }); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := g.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("wait = %v, want deadline exceeded", err)
		}
		g.Close()
		g.Close()
		if ended.Load() != 3 || panics.Load() != 1 {
			t.Fatalf("%d goroutines ended, %d panics; want 3 and 1", ended.Load(), panics.Load())
		}
		if err := g.Go(func(context.Context) {}); !errors.Is(err, ErrClosed) {
			t.Fatalf("go after close: %v", err)
		}
	})
}

func TestPanicText(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
	}{{"text", "task: panic: text"}, {errors.New("err"), "task: panic: err"}, {time.Second, "task: panic: 1s"}, {7, "task: panic: value that is neither error nor text"}} {
		if got := (&PanicError{Value: c.value}).Error(); got != c.want {
			t.Errorf("%v: %q, want %q", c.value, got, c.want)
		}
	}
}

func BenchmarkPost(b *testing.B) {
	l := NewLoop(LoopOptions{Mailbox: 1 << 30})
	n := 0
	for b.Loop() {
		_ = l.Post(func() { n++ })
	}
	l.Close()
	b.ReportMetric(float64(l.refused), "refused")
}
