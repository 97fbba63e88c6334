package udpdoor

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"portico/shared/udpbatch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestProtocolOf(t *testing.T) {
	want := map[protocol][][2]int{
		protocolMedia: {{0, 3}, {20, 63}, {128, 191}},
		protocolQUIC:  {{64, 127}, {192, 255}},
		protocolNone:  {{4, 19}},
	}
	seen := 0
	for p, ranges := range want {
		for _, r := range ranges {
			for b := r[0]; b <= r[1]; b++ {
				seen++
				if got := protocolOf([]byte{byte(b)}); got != p {
					t.Errorf("first byte %d: %d, want %d", b, got, p)
				}
			}
		}
	}
	if seen != 256 || protocolOf(nil) != protocolNone {
		t.Errorf("%d first bytes tried", seen)
	}
}

// pair is a Door and a socket that talks to it; media is what its readers hear.
func pair(t testing.TB) (d *Door, peer *net.UDPConn, media chan []byte) {
	t.Helper()
	port, err := udpbatch.Listen("127.0.0.1:0", udpbatch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if peer, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	d, media = Over(port), make(chan []byte, 100)
	var readers sync.WaitGroup
	for i := range d.Sockets() {
		some := false
		readers.Go(func() {
			err := d.Read(i, func(b []byte, from netip.AddrPort) {
				some = true
				if from != peer.LocalAddr().(*net.UDPAddr).AddrPort() && from != d.Addr() {
					t.Errorf("media from %v", from)
				}
				media <- bytes.Clone(b)
			}, func() {
				if !some {
					t.Error("an end without media")
				}
				some = false
			})
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("reading ended with %v", err)
			}
		})
	}
	t.Cleanup(func() {
		_ = d.Close()
		_ = peer.Close()
		readers.Wait()
	})
	return d, peer, media
}

func send(t testing.TB, peer *net.UDPConn, d *Door, b []byte) {
	t.Helper()
	if _, err := peer.WriteTo(b, d.LocalAddr()); err != nil {
		t.Fatal(err)
	}
}

func TestEachGetsItsOwn(t *testing.T) {
	d, peer, media := pair(t)
	send(t, peer, d, []byte{9, 9}) // nobody's
	send(t, peer, d, []byte{})
	send(t, peer, d, []byte("\xc0long"))
	send(t, peer, d, []byte("\x40short"))
	send(t, peer, d, []byte("\x80rtp"))
	send(t, peer, d, []byte("\x00stun"))
	for _, want := range []string{"\x80rtp", "\x00stun"} {
		if got := <-media; string(got) != want {
			t.Errorf("media got %q, want %q", got, want)
		}
	}
	b := make([]byte, 2000)
	var last net.Addr
	for _, want := range []string{"\xc0long", "\x40short"} {
		n, from, err := d.QUIC().ReadFrom(b)
		if err != nil || string(b[:n]) != want || from.String() != peer.LocalAddr().String() {
			t.Errorf("QUIC got %q from %v (%v), want %q", b[:n], from, err, want)
		}
		if last != nil && from != last {
			t.Error("the same peer has two addresses")
		}
		last = from
	}
	if got := d.Stats(); got.Unknown != 2 || got.QUICDropped != 0 {
		t.Errorf("%+v", got)
	}
	to := peer.LocalAddr().(*net.UDPAddr).AddrPort()
	for name, write := range map[string]func() (int, error){
		"media": func() (int, error) { return d.WriteTo([]byte("m"), to) },
		"batch": func() (int, error) {
			batch := d.NewBatch(0, udpbatch.Limits{})
			batch.Commit(copy(batch.Space(), "b"), to)
			return batch.Flush()
		},
		"quic": func() (int, error) { return d.QUIC().WriteTo([]byte("q"), last) },
	} {
		if _, err := write(); err != nil {
			t.Fatal(err)
		}
		n, _, err := peer.ReadFrom(b)
		if err != nil || n != 1 || b[0] != name[0] {
			t.Errorf("%s: the peer got %q, %v", name, b[:n], err)
		}
	}
	if _, err := d.QUIC().WriteTo([]byte("q"), &net.UnixAddr{Name: "x"}); err == nil {
		t.Error("QUIC wrote to what is no address of UDP")
	}
	if d.Mode() == "" || d.Mode() == "plain" && d.Why() == "" || d.Addr().String() != d.QUIC().LocalAddr().String() {
		t.Errorf("%v is %q because of %q", d.Addr(), d.Mode(), d.Why())
	}
}

func TestSlowQUICCostsOnlyItself(t *testing.T) {
	d, peer, media := pair(t)
	from := peer.LocalAddr().(*net.UDPAddr).AddrPort()
	for range queueLimit + 7 {
		d.quic.deliver([]byte("\xc0"), from)
	}
	d.quic.deliver(make([]byte, maxPacket+1), from)
	if got := d.Stats(); got.Unknown != 0 || got.QUICDropped != 8 {
		t.Errorf("%+v", got)
	}
	send(t, peer, d, []byte("\x80rtp"))
	if got := <-media; string(got) != "\x80rtp" {
		t.Errorf("media got %q", got)
	}
}

func TestAddressesAreBounded(t *testing.T) {
	d, _, _ := pair(t)
	for i := range 3 * addrLimit {
		want := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 7)
		if got := d.quic.addr(want); got.String() != want.String() {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	if len(d.quic.addrs) > addrLimit {
		t.Errorf("%d addresses are kept", len(d.quic.addrs))
	}
}

func TestCloseEndsReading(t *testing.T) {
	d, _, _ := pair(t)
	failed := make(chan error)
	go func() {
		_, _, err := d.QUIC().ReadFrom(make([]byte, 10))
		failed <- err
	}()
	_ = d.Close()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading ended with %v", err)
	}
	if _, _, err := d.QUIC().ReadFrom(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after the end: %v", err)
	}
	if _, err := d.QUIC().WriteTo([]byte("x"), d.QUIC().LocalAddr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after the end: %v", err)
	}
}

func TestReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Door{}
		q := d.QUIC()
		q.open(d)
		read := func() error {
			_, _, err := q.ReadFrom(make([]byte, 10))
			return err
		}
		_ = q.SetReadDeadline(time.Now().Add(-time.Second))
		if err := read(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("past deadline: %v", err)
		}
		start := time.Now()
		_ = q.SetReadDeadline(start.Add(time.Second))
		_ = q.SetReadDeadline(start.Add(time.Minute)) // the first one does not count any more
		if err := read(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("deadline to come: %v after %v", err, time.Since(start))
		}
		_ = q.SetReadDeadline(time.Time{})
		q.deliver([]byte("\xc0"), netip.AddrPort{})
		if err := read(); err != nil {
			t.Errorf("without a deadline: %v", err)
		}
		failed := make(chan error)
		go func() { failed <- read() }()
		synctest.Wait()
		_ = q.SetReadDeadline(time.Now()) // as a QUIC library ends its reader
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a read that waited: %v", err)
		}
	})
}

func TestNoDeadlinesForWriting(t *testing.T) {
	d, _, _ := pair(t)
	if d.QUIC().SetWriteDeadline(time.Now()) == nil || d.QUIC().SetDeadline(time.Now()) == nil {
		t.Error("QUIC can stop media from writing")
	}
}

// What comes joined is told apart datagram by datagram.
func TestMixedRun(t *testing.T) {
	d, _, media := pair(t)
	batch := d.NewBatch(0, udpbatch.Limits{})
	const count = 30
	for i := range byte(count) {
		first := byte(0x80)
		if i%3 == 0 {
			first = 0xc0
		}
		batch.Commit(copy(batch.Space(), []byte{first, i}), d.Addr())
	}
	if n, err := batch.Flush(); n != count || err != nil {
		t.Fatal(n, err)
	}
	b := make([]byte, 10)
	for i := range byte(count) {
		if i%3 != 0 {
			if got := <-media; !bytes.Equal(got, []byte{0x80, i}) {
				t.Errorf("media got %x, want number %d", got, i)
			}
		} else if n, _, err := d.QUIC().ReadFrom(b); err != nil || !bytes.Equal(b[:n], []byte{0xc0, i}) {
			t.Errorf("QUIC got %x (%v), want number %d", b[:n], err, i)
		}
	}
}

// Neither side allocates for a packet.
func TestAllocations(t *testing.T) {
	port, err := udpbatch.Listen("127.0.0.1:0", udpbatch.Options{Sockets: 1})
	if err != nil {
		t.Fatal(err)
	}
	d, heard, done := Over(port), make(chan struct{}), make(chan error)
	go func() { done <- d.Read(0, func([]byte, netip.AddrPort) { heard <- struct{}{} }, nil) }()
	b, rtp, quic := make([]byte, 1500), []byte("\x80rtp"), []byte("\x40short")
	if n := testing.AllocsPerRun(200, func() {
		_, _ = d.WriteTo(quic, d.Addr())
		_, _ = d.WriteTo(rtp, d.Addr())
		<-heard
		_, from, err := d.QUIC().ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = d.QUIC().WriteTo(rtp, from)
		<-heard
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	_ = d.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// BenchmarkSort is what the Door adds to a datagram.
func BenchmarkSort(b *testing.B) {
	d, _, _ := pair(b)
	peer := netip.MustParseAddrPort("192.0.2.1:9")
	buffer := make([]byte, maxPacket)
	for name, first := range map[string]byte{"media": 0x80, "quic": 0x40} {
		b.Run(name, func(b *testing.B) {
			packet := append([]byte{first}, make([]byte, 1199)...)
			b.ReportAllocs()
			for b.Loop() {
				if !d.sort(packet, peer) {
					_, _, _ = d.QUIC().ReadFrom(buffer)
				}
			}
		})
	}
}

func FuzzProtocolOf(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x40, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		d := &Door{}
		d.quic.open(d)
		if protocolOf(b) != protocolQUIC {
			return
		}
		d.quic.deliver(b, netip.AddrPort{})
		if len(b) > maxPacket {
			if d.Stats().QUICDropped != 1 {
				t.Fatal("a packet that is too long was kept")
			}
			return
		}
		got := make([]byte, maxPacket)
		n, _, err := d.QUIC().ReadFrom(got)
		if err != nil || !bytes.Equal(got[:n], b) {
			t.Fatalf("%x came out as %x, %v", b, got[:n], err)
		}
	})
}

// Nodes and browsers share QUIC's part of the port, each packet going to whom it is for.
func TestLinksBesideBrowsers(t *testing.T) {
	d, peer, media := pair(t)
	links := d.Links()
	send(t, peer, d, []byte("\x40\x01nobody reads yet")) // of browsers
	send(t, peer, d, []byte("\x80rtp"))
	<-media
	browsers := d.QUIC()
	const version1, version2 = "\x00\x00\x00\x01", "\x6b\x33\x43\xcf"
	for _, p := range []string{
		"\xc0" + version1 + "to browsers", "\xc0" + version2 + "to links", "\x40\x7fto browsers", "\x40\x80to links", "\xc0\x6b\x33to browsers", "\x40",
	} {
		send(t, peer, d, []byte(p))
	}
	b := make([]byte, 2000)
	read := func(q *QUIC) string {
		t.Helper()
		n, _, err := q.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	for _, want := range []string{"\xc0" + version2 + "to links", "\x40\x80to links"} {
		if got := read(links); got != want {
			t.Errorf("links get %q, want %q", got, want)
		}
	}
	for _, want := range []string{"\xc0" + version1 + "to browsers", "\x40\x7fto browsers", "\xc0\x6b\x33to browsers", "\x40"} {
		if got := read(browsers); got != want {
			t.Errorf("browsers get %q, want %q", got, want)
		}
	}
	if dropped := d.Stats().Unknown; dropped != 1 {
		t.Errorf("%d dropped", dropped)
	}
	if err := links.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := links.ReadFrom(b); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed connection reads: %v", err)
	}
	send(t, peer, d, []byte("\x40\x01still there"))
	if got := read(browsers); got != "\x40\x01still there" {
		t.Errorf("the end of links is that of browsers: %q", got)
	}
}
