package cascade

import (
	"encoding/binary"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"portico/edge/rtc"
	"portico/edge/sfu"
	"portico/shared/conference"
	"portico/shared/meshproto"
	"portico/shared/relayproto"
)

// counter is a sink that counts.
type counter struct {
	packets, dropped atomic.Int64
	next             sfu.Sink // nil: none
}

func (c *counter) WriteRTP(packet []byte, at int) error {
	c.packets.Add(1)
	if c.next != nil {
		return c.next.WriteRTP(packet, at)
	}
	return nil
}

func (c *counter) WriteRTCP(compound []byte) error {
	if c.next != nil {
		return c.next.WriteRTCP(compound)
	}
	return nil
}

// hop is a picture that comes to an edge by a flow, and goes out to sink.
type hop struct {
	e      *edge
	flow   uint64
	packet []byte
	number uint16
}

func newHop(t testing.TB, e *edge, from string, sink sfu.Sink) *hop {
	t.Helper()
	r, err := e.engine.OpenRemote(rtc.RemoteSpec{
		Session: "S", Tracks: []rtc.RemoteTrack{{ID: "S-1", Kind: conference.Video, Format: conference.Format{Codec: "vp8"}}},
		Wanted: func(string, bool) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	in, err := r.Begin("S-1", rtc.IntakeSpec{SSRC: 7, PayloadType: 96, Extensions: extensions, Send: func([]byte) {}})
	if err != nil {
		t.Fatal(err)
	}
	h := &hop{e: e, flow: 1000, packet: make([]byte, 12, 1200)}
	e.neighbour(from).enter(h.flow, intakeFlow{in})
	h.packet[0], h.packet[1], h.packet[11] = 0x80, 0x80|96, 7
	h.packet = append(h.packet, interFrame...)
	h.packet = h.packet[:1100]
	tap, err := e.engine.OpenTap(rtc.TapSpec{
		Tracks: []string{"S-1"}, Whole: true, Sink: sink, SSRC: 8, Extensions: extensions,
		PayloadType: func(f conference.Format) uint8 { return relayproto.PayloadType(f.Codec) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tap.Close)
	return h
}

// come brings the next packet.
func (h *hop) come(from string) {
	h.number++
	binary.BigEndian.PutUint16(h.packet[2:], h.number)
	binary.BigEndian.PutUint32(h.packet[4:], uint32(h.number)*3000)
	h.packet[13] = 0xd1
	if h.number%256 == 1 {
		copy(h.packet[12:], keyFrame[:14])
	}
	h.e.Packets(from, nil, relayproto.RTP(h.flow), h.packet)
}

// TestPathDoesNotAllocate: neither on the way in nor on the way out.
func TestPathDoesNotAllocate(t *testing.T) {
	x := newCluster(t, 2, nil)
	a, b := x.edges[0], x.edges[1]
	var out counter
	h := newHop(t, b, a.name, &out)
	for range 2000 { // until all that is kept is there
		h.come(a.name)
	}
	waitFor(t, "packets", func() bool { // a busy machine leaves out what has waited for long
		h.come(a.name)
		return out.packets.Load() > 0
	})
	if n := testing.AllocsPerRun(2000, func() { h.come(a.name) }); n != 0 {
		t.Errorf("%v allocations for a packet that comes", n)
	}
	// What QUIC does with a packet is not ours: the link has ended.
	l, err := a.peers.Link(t.Context(), b.name)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	n := newNeighbour(a.Cascade, "elsewhere")
	n.link.Store(l)
	s := &served{server: &server{cascade: a.Cascade, n: n}, ask: meshproto.Pull{Flow: 2}, id: relayproto.RTP(2)}
	if n := testing.AllocsPerRun(2000, func() { _ = s.WriteRTP(h.packet, 0) }); n != 0 {
		t.Errorf("%v allocations for a packet that goes", n)
	}
}

// BenchmarkHopIn is a packet from the link to one subscriber.
func BenchmarkHopIn(b *testing.B) {
	x := newCluster(b, 2, nil)
	var out counter
	h := newHop(b, x.edges[1], x.edges[0].name, &out)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		h.come(x.edges[0].name)
		if i%32 == 31 { // as fast as it goes out
			keepUp(func() bool { return out.packets.Load() > int64(i-200) })
		}
	}
	b.ReportMetric(float64(out.packets.Load())/float64(b.N), "out/op")
}

// BenchmarkHopOut is a packet from the forwarding core to the other edge, over QUIC on loopback: both edges' work.
func BenchmarkHopOut(b *testing.B) {
	x := newCluster(b, 2, nil)
	first, second := x.edges[0], x.edges[1]
	l, err := first.peers.Link(b.Context(), second.name)
	if err != nil {
		b.Fatal(err)
	}
	n := first.neighbour(second.name)
	n.link.Store(l)
	got := new(arrivals)
	second.neighbour(first.name).enter(2, got)
	s := &served{server: &server{cascade: first.Cascade, n: n}, ask: meshproto.Pull{Flow: 2}, id: relayproto.RTP(2)}
	sent := &counter{next: s}
	h := newHop(b, first, "nobody", sent)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		h.come("nobody")
		if i%32 == 31 {
			keepUp(func() bool { return got.packets.Load() > int64(i-200) })
		}
	}
	b.ReportMetric(float64(got.packets.Load())/float64(b.N), "arrived/op")
}

// keepUp waits until packets have gone their way; for those that were dropped not for long.
func keepUp(done func() bool) {
	for began := time.Now(); !done() && time.Since(began) < 20*time.Millisecond; {
		runtime.Gosched()
	}
}

// arrivals counts what comes of a flow.
type arrivals struct{ packets atomic.Int64 }

func (a *arrivals) rtp([]byte)  { a.packets.Add(1) }
func (a *arrivals) rtcp([]byte) {}

// BenchmarkHopDelay is how long one packet takes from the forwarding core of one edge to the other, over loopback.
func BenchmarkHopDelay(b *testing.B) {
	x := newCluster(b, 2, nil)
	first, second := x.edges[0], x.edges[1]
	l, err := first.peers.Link(b.Context(), second.name)
	if err != nil {
		b.Fatal(err)
	}
	n := first.neighbour(second.name)
	n.link.Store(l)
	got := new(arrivals)
	second.neighbour(first.name).enter(2, got)
	s := &served{server: &server{cascade: first.Cascade, n: n}, ask: meshproto.Pull{Flow: 2}, id: relayproto.RTP(2)}
	h := newHop(b, first, "nobody", s)
	b.ResetTimer()
	for b.Loop() {
		before := got.packets.Load()
		h.come("nobody")
		keepUp(func() bool { return got.packets.Load() > before })
	}
}
