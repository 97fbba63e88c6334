//go:build unix

package rtc

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/pion/rtp"
	"portico/shared/conference"
)

// BenchmarkForward is the way from the forwarding core through pion's SRTP and ICE to the socket, for one source and several
// subscribers on PeerConnections of their own. One operation is one packet of 1,050 bytes in; the metric is the CPU time of the
// process for each one out. The subscribers run in this process and throw packets away unread: what that costs is in the figure.
func BenchmarkForward(b *testing.B) {
	for _, subscribers := range []int{1, 50} {
		b.Run(fmt.Sprintf("1to%d", subscribers), func(b *testing.B) { benchmarkForward(b, subscribers) })
	}
}

func benchmarkForward(b *testing.B, subscribers int) {
	e := newEngine(b, nil)
	newSource(b, e, "alice")
	for i := range subscribers {
		c := newClient(b, e, fmt.Sprint("sub", i))
		all := func(*rtp.Header) bool { return true }
		c.wire.lose.Store(&all)
		c.receive(conference.Video)
		c.subscribe(c.name, SubTrack{conference.Video, "0", "alice-pub-1"})
		c.negotiate()
		c.up()
	}
	e.mu.Lock()
	in := e.tracks["alice-pub-1"].encoding
	e.mu.Unlock()
	packet := append([]byte{0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, append(keyFrame, make([]byte, 1050-len(keyFrame))...)...)
	sent := func() uint64 {
		stats := e.Stats()
		out := stats.PacketsOut
		for _, n := range stats.Drops {
			out += n
		}
		return out
	}
	before, cpu := e.Stats(), cpuTime()
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		n++
		binary.BigEndian.PutUint16(packet[2:], uint16(n))
		binary.BigEndian.PutUint32(packet[4:], uint32(n)*750)
		if err := in.Ingest(packet, e.now()); err != nil {
			b.Fatal(err)
		}
		if n%16 == 0 {
			for sent() < (n-min(n, 32))*uint64(subscribers) {
				time.Sleep(50 * time.Microsecond)
			}
		}
	}
	out := e.Stats().PacketsOut - before.PacketsOut
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(max(1, out)), "cpu-ns/forwarded")
	b.ReportMetric(float64(out)/float64(n), "out/in")
}

// cpuTime is what the process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
