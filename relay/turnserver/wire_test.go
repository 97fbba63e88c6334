package turnserver

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func readFull(r io.Reader, b []byte) (int, error) { return io.ReadFull(r, b) }

// outcome is how a stream's reader ended, and when.
type outcome struct {
	err   error
	after time.Duration
}

// onStream runs a reader on one end of a pipe, with the bubble's clock.
func onStream(t *testing.T, client func(conn net.Conn, w *streamWire)) (outcome, *counters) {
	t.Helper()
	var got outcome
	var counts counters
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		w := newStreamWire(far, netip.MustParseAddrPort("127.0.0.1:1"), &counts)
		start := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			buf := make([]byte, maxMessage+1)
			for {
				if _, _, err := w.Read(buf); err != nil {
					got = outcome{err, time.Since(start)}
					return
				}
			}
		}()
		client(near, w)
		<-done
		_ = near.Close()
	})
	return got, &counts
}

func TestIdleStreamIsCut(t *testing.T) {
	got, counts := onStream(t, func(conn net.Conn, _ *streamWire) { _, _ = conn.Write(stunMessage(bindingRequest)) })
	if !errors.Is(got.err, os.ErrDeadlineExceeded) || got.after != streamIdle || counts.refused[ConnectionTiming].Load() != 1 {
		t.Fatalf("%+v", got)
	}
}

func TestSlowFrameIsCut(t *testing.T) {
	got, _ := onStream(t, func(conn net.Conn, _ *streamWire) {
		// A byte every four seconds: each comes within the idle time, the whole message does not come within its own.
		for _, b := range stunMessage(bindingRequest) {
			if _, err := conn.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(4 * time.Second)
		}
	})
	if !errors.Is(got.err, os.ErrDeadlineExceeded) || got.after > 3*streamFrame {
		t.Fatalf("%+v", got)
	}
}

func TestAllocationMayBeIdle(t *testing.T) {
	got, _ := onStream(t, func(conn net.Conn, w *streamWire) {
		w.Allocated(true)
		_, _ = conn.Write(stunMessage(bindingRequest))
		time.Sleep(time.Hour)
		w.Allocated(false)
	})
	if !errors.Is(got.err, os.ErrDeadlineExceeded) || got.after != time.Hour+streamIdle {
		t.Fatalf("%+v", got)
	}
}

func TestSlowReceiverIsCut(t *testing.T) {
	got, counts := onStream(t, func(_ net.Conn, w *streamWire) {
		if err := w.Write([]byte("nobody reads"), netip.AddrPort{}); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
	if got.err == nil || got.after != streamWrite || counts.refused[ConnectionTiming].Load() != 1 {
		t.Fatalf("%+v", got)
	}
}

func TestBucketRefills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(8_000_000) // 1 MB/s, 250 kB at once
		if !b.take(250_000) || b.take(1) {
			t.Fatal("the burst is not a quarter of a second")
		}
		time.Sleep(100 * time.Millisecond)
		if !b.take(100_000) || b.take(1000) {
			t.Fatal("100 ms are not 100 kB")
		}
		time.Sleep(time.Hour)
		if b.take(250_001) {
			t.Fatal("unused time adds up")
		}
		unlimited := newBucket(0)
		if !unlimited.take(1 << 30) {
			t.Fatal("0 is no limit")
		}
	})
}

func TestStrangersAreCountedBySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStrangers(3)
		a := netip.MustParseAddr("2001:db8::1")
		for i := range 5 {
			if s.admit(a) != (i < 3) {
				t.Fatalf("request %d", i)
			}
		}
		if s.admit(netip.MustParseAddr("2001:db8::2")) {
			t.Fatal("another address of the same /64 counts apart")
		}
		time.Sleep(time.Second)
		if !s.admit(a) {
			t.Fatal("a new second does not count anew")
		}
		if off := newStrangers(0); !off.admit(a) {
			t.Fatal("0 is no limit")
		}
	})
}
