package udpbatch

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// families are addresses to listen on, and from where to reach them.
var families = []struct{ listen, reach string }{
	{"127.0.0.1:0", "127.0.0.1"},
	{"[::1]:0", "::1"},
	{"[::]:0", "127.0.0.1"},
	{"[::]:0", "::1"},
}

// TestTransfer sends runs of all sizes from a port in each mode to ports in each mode; all come, whole and in order.
func TestTransfer(t *testing.T) {
	for _, mode := range modes {
		for _, family := range families {
			t.Run(mode.name+" "+family.listen+" "+family.reach, func(t *testing.T) {
				if !reachable(family.reach) {
					t.Skip("this machine has no such address")
				}
				transfer(t, open(t, family.listen, mode.Options), family.listen, family.reach)
			})
		}
	}
}

// reachable reports whether a machine has an address.
func reachable(address string) bool {
	c, err := net.ListenPacket("udp", net.JoinHostPort(address, "0"))
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

func transfer(t *testing.T, sender *Port, listen, reach string) {
	var receivers []*receiver
	for _, mode := range modes {
		receivers = append(receivers, reading(t, open(t, listen, mode.Options)))
	}
	r := rand.New(rand.NewPCG(1, 2))
	batch, total := sender.NewBatch(0, Limits{}), 0
	for range 60 {
		want := make([][][]byte, len(receivers))
		waiting := 0
		for waiting < 24 { // no more at once than the smallest buffer takes
			i, size := r.IntN(len(receivers)), 1+r.IntN(1600)
			for n := 1 + r.IntN(12); n > 0; n-- {
				data := random(size)
				if r.IntN(6) == 0 {
					data = data[:1+r.IntN(size)]
				}
				commit(batch, data, receivers[i].to(reach))
				want[i] = append(want[i], data)
				waiting++
			}
		}
		if n, err := batch.Flush(); n != waiting || err != nil {
			t.Fatalf("%d of %d were sent: %v", n, waiting, err)
		}
		total += waiting
		for i := range receivers {
			for k, data := range want[i] {
				got := receivers[i].next()
				if !bytes.Equal(got.data, data) {
					t.Fatalf("%s: datagram %d has %d bytes, want %d, or others", modes[i].name, k, len(got.data), len(data))
				}
				if from := got.from; from.Port() != sender.Addr().Port() || from.Addr().String() != reach {
					t.Fatalf("from %v", from)
				}
			}
		}
	}
	if s := sender.Stats().Sent; s.Datagrams != uint64(total) || s.Dropped != 0 || s != batch.Stats() {
		t.Errorf("%d were sent, counted %+v, by the batch %+v", total, s, batch.Stats())
	}
	received := uint64(0)
	for _, r := range receivers {
		received += r.Stats().Received
	}
	if received > uint64(total) { // the last ones may not be counted yet
		t.Errorf("%d were received of %d", received, total)
	}
}

// Single datagrams go and come in both families, mapped addresses too.
func TestWriteTo(t *testing.T) {
	for _, mode := range modes {
		p := reading(t, open(t, "[::]:0", mode.Options))
		for _, reach := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
			if !reachable(reach) {
				continue // a machine without IPv6
			}
			if _, err := p.WriteTo([]byte("me"), p.to(reach)); err != nil {
				t.Fatalf("%s to %s: %v", mode.name, reach, err)
			}
			want := netip.MustParseAddr(reach).Unmap()
			if got := p.next(); string(got.data) != "me" || got.from != netip.AddrPortFrom(want, p.Addr().Port()) {
				t.Errorf("%s to %s: got %q from %v", mode.name, reach, got.data, got.from)
			}
		}
	}
	p := open(t, "127.0.0.1:0", Options{Sockets: 1})
	if _, err := p.WriteTo([]byte("x"), netip.MustParseAddrPort("[::1]:9")); err == nil || p.Stats().Sent.Dropped != 1 {
		t.Errorf("IPv6 from a socket of IPv4: %v, %+v", err, p.Stats())
	}
}

// What comes from one address comes from one socket.
func TestSocketsShareThePort(t *testing.T) {
	const senders = 64
	p := open(t, "127.0.0.1:0", Options{Sockets: 4})
	if !spreads {
		if p.Sockets() != 1 {
			t.Fatalf("%d sockets", p.Sockets())
		}
		return
	}
	if p.Sockets() != 4 {
		t.Fatalf("%d sockets: %s", p.Sockets(), p.Why())
	}
	for _, s := range p.sockets {
		if s.conn.LocalAddr().String() != p.Addr().String() {
			t.Errorf("a socket at %v, the port is %v", s.conn.LocalAddr(), p.Addr())
		}
	}
	r := reading(t, p)
	socketOf, used := map[netip.AddrPort]int{}, map[int]bool{}
	for range senders {
		conn := dial(t, "udp4")
		for range 5 {
			if _, err := conn.WriteToUDPAddrPort([]byte("x"), p.Addr()); err != nil {
				t.Fatal(err)
			}
			d := r.next()
			if s, ok := socketOf[d.from]; ok && s != d.socket {
				t.Errorf("%v came from sockets %d and %d", d.from, s, d.socket)
			}
			socketOf[d.from], used[d.socket] = d.socket, true
		}
	}
	if len(socketOf) != senders || len(used) < 2 {
		t.Errorf("%d senders, on %d sockets", len(socketOf), len(used))
	}
	if _, err := Listen(p.Addr().String(), Options{Sockets: 2}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the same port again: %v", err)
	}
}

// New takes sockets that are there, and opens others beside them.
func TestNew(t *testing.T) {
	if _, err := New(nil, Options{}); err == nil {
		t.Error("a port without sockets")
	}
	for _, network := range []string{"udp4", "udp6", "udp"} {
		conn, err := net.ListenUDP(network, nil)
		if err != nil {
			continue // a machine without IPv6
		}
		p, err := New([]*net.UDPConn{conn}, Options{Sockets: 3})
		if err != nil {
			t.Fatal(err)
		}
		if want := conn.LocalAddr().String(); p.LocalAddr().String() != want || spreads && p.Sockets() != 3 {
			t.Errorf("%s: %d sockets at %v, want %v", network, p.Sockets(), p.LocalAddr(), want)
		}
		_ = p.Close()
	}
}

func TestMode(t *testing.T) {
	if p := open(t, "127.0.0.1:0", Options{Plain: true}); p.Mode() != "plain" || p.Why() == "" {
		t.Errorf("%q because of %q", p.Mode(), p.Why())
	}
	p := open(t, "127.0.0.1:0", Options{})
	if best := p.Mode() == "recvmmsg+gro, sendmmsg+gso"; best != (p.Why() == "") {
		t.Errorf("%q because of %q", p.Mode(), p.Why())
	}
	p = open(t, "127.0.0.1:0", Options{NoGRO: true, NoGSO: true})
	if strings.Contains(p.Mode(), "+") || !strings.Contains(p.Why(), "off") && p.Mode() != "plain" {
		t.Errorf("%q because of %q", p.Mode(), p.Why())
	}
}

// Close ends reading, idle or in the middle of a flood, and everything after it fails.
func TestClose(t *testing.T) {
	for _, mode := range modes {
		p := open(t, "127.0.0.1:0", mode.Options)
		some, done := make(chan struct{}, 1), make(chan error, p.Sockets())
		for i := range p.Sockets() {
			go func() {
				done <- p.Read(i, func([]byte, netip.AddrPort) {
					select {
					case some <- struct{}{}:
					default:
					}
				}, nil)
			}()
		}
		stop, flooded := make(chan struct{}), make(chan struct{})
		flood := dial(t, "udp4")
		go func() {
			defer close(flooded)
			for {
				select {
				case <-stop:
					return
				default:
					_, _ = flood.WriteToUDPAddrPort(make([]byte, 100), p.Addr())
				}
			}
		}()
		<-some
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		for range p.Sockets() {
			if err := <-done; !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: reading ended with %v", mode.name, err)
			}
		}
		close(stop)
		<-flooded
		if err := p.Read(0, nil, nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: reading afterwards: %v", mode.name, err)
		}
		if _, err := p.WriteTo([]byte("x"), flood.LocalAddr().(*net.UDPAddr).AddrPort()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: writing afterwards: %v", mode.name, err)
		}
		b := p.NewBatch(0, Limits{})
		commit(b, []byte("x"), netip.MustParseAddrPort("127.0.0.1:9"))
		if n, err := b.Flush(); n != 0 || !errors.Is(err, net.ErrClosed) || b.Stats().Dropped != 1 {
			t.Errorf("%s: flushing afterwards: %d, %v, %+v", mode.name, n, err, b.Stats())
		}
		if err := p.Close(); err != nil {
			t.Errorf("%s: closing twice: %v", mode.name, err)
		}
	}
}

// The shortest and the longest datagrams there are come like others.
func TestExtremes(t *testing.T) {
	for _, mode := range modes {
		o := mode.Options
		o.Sockets = 1
		r := reading(t, open(t, "127.0.0.1:0", o))
		conn := dial(t, "udp4")
		for _, size := range []int{0, 65507, 0, 0, 1, 1600, 65507} {
			want := random(size)
			if _, err := conn.WriteToUDPAddrPort(want, r.Addr()); err != nil {
				t.Fatal(err)
			}
			if got := r.next(); !bytes.Equal(got.data, want) {
				t.Errorf("%s: %d bytes came as %d", mode.name, size, len(got.data))
			}
		}
		b := r.NewBatch(0, Limits{Datagram: 65000})
		for _, size := range []int{0, 65000, 0, 0, 20000, 20000, 20000, 20000} {
			want := random(size)
			commit(b, want, r.Addr())
			if n, err := b.Flush(); n != 1 || err != nil {
				t.Fatalf("%s: %d bytes: %d, %v", mode.name, size, n, err)
			}
			if got := r.next(); !bytes.Equal(got.data, want) {
				t.Errorf("%s: %d bytes came as %d", mode.name, size, len(got.data))
			}
		}
	}
}

// The end of a batch follows the datagrams that came together, and never anything else.
func TestEnd(t *testing.T) {
	for _, mode := range modes {
		r := reading(t, open(t, "127.0.0.1:0", mode.Options))
		b := r.NewBatch(0, Limits{})
		const count = 40
		for range count {
			commit(b, make([]byte, 500), r.Addr())
		}
		_, _ = b.Flush()
		for got := 0; got < count; {
			select {
			case n := <-r.ends:
				if n == 0 {
					t.Errorf("%s: an end of nothing", mode.name)
				}
				got += n
			case <-time.After(patient):
				t.Fatalf("%s: %d datagrams had an end", mode.name, got)
			}
		}
	}
}

// Errors in a row cost no processor, and do not keep Close waiting.
func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &socket{port: &Port{closed: make(chan struct{})}}
		start, refused := time.Now(), error(syscall.ECONNREFUSED)
		var f faults
		for range 8 {
			if err := f.survive(s, refused); err != nil || time.Since(start) != 0 {
				t.Fatalf("%v after %v", err, time.Since(start))
			}
		}
		for range 10 {
			if err := f.survive(s, refused); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := time.Since(start), (255+2*128)*time.Millisecond; got != want {
			t.Errorf("waited %v, want %v", got, want)
		}
		if n := s.unreadable.Load(); n != 18 {
			t.Errorf("%d were counted", n)
		}
		start = time.Now()
		close(s.port.closed)
		if err := f.survive(s, refused); !errors.Is(err, net.ErrClosed) || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
