package loadtest

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// taker counts what comes for it.
type taker struct {
	mu    sync.Mutex // guards the fields below
	got   map[string]int
	from  netip.AddrPort
	ticks int
	more  chan struct{}
}

func newTaker() *taker { return &taker{got: map[string]int{}, more: make(chan struct{}, 1)} }

func (k *taker) datagram(b []byte, from netip.AddrPort, _ int64) {
	k.mu.Lock()
	k.got[string(b)]++
	k.from = from
	k.mu.Unlock()
	k.signal()
}

func (k *taker) tick(int64) {
	k.mu.Lock()
	k.ticks++
	k.mu.Unlock()
	k.signal()
}

func (k *taker) signal() {
	select {
	case k.more <- struct{}{}:
	default:
	}
}

// until waits for a state of the taker.
func (k *taker) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for {
		k.mu.Lock()
		done := ok()
		k.mu.Unlock()
		if done {
			return
		}
		select {
		case <-k.more:
		case <-deadline.C:
			t.Fatalf("never: %s", what)
		}
	}
}

func TestPoller(t *testing.T) {
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	a, b := newTaker(), newTaker()
	sa, err := p.open(false, a)
	if err != nil {
		t.Fatal(err)
	}
	defer sa.close()
	sb, err := p.open(false, b)
	if err != nil {
		t.Fatal(err)
	}
	at := func(s *socket) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), s.port)
	}
	const packets = 500
	for i := range packets {
		if err := sb.writeTo(fmt.Appendf(nil, "%d", i), at(sa)); err != nil {
			t.Fatal(err)
		}
	}
	a.until(t, "all packets", func() bool { return len(a.got) == packets })
	if a.from != at(sb) || a.got["17"] != 1 {
		t.Errorf("from %v, %v", a.from, a.got["17"])
	}
	if err := sa.writeTo([]byte("back"), at(sb)); err != nil {
		t.Fatal(err)
	}
	b.until(t, "one packet back", func() bool { return b.got["back"] == 1 })
	a.until(t, "ticks", func() bool { return a.ticks > 2 })
	sb.close()
	sb.close()
	if err := sb.writeTo([]byte("x"), at(sa)); err == nil {
		t.Error("a closed socket sends")
	}
	p.mu.Lock()
	drops := sa.drops()
	p.mu.Unlock()
	if drops != 0 {
		t.Errorf("%d drops", drops)
	}
}

// A queue is a net.PacketConn as DTLS and ICE need it: it can be closed and given up while it is read.
func TestQueue(t *testing.T) {
	var sent []byte
	local := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	q := newQueue(local, func(b []byte, _ net.Addr) error {
		sent = append(sent, b...)
		return nil
	})
	from := netip.MustParseAddrPort("192.0.2.1:99")
	data := []byte("hello")
	q.put(data, from)
	data[0] = 'j' // the queue has its own
	buffer := make([]byte, 10)
	if n, at, err := q.ReadFrom(buffer); err != nil || string(buffer[:n]) != "hello" || at.String() != from.String() {
		t.Errorf("%q %v %v", buffer[:n], at, err)
	}
	if n, err := q.WriteTo([]byte("out"), nil); n != 3 || err != nil || string(sent) != "out" || q.LocalAddr() != local {
		t.Errorf("%d %v %q", n, err, sent)
	}
	for range 2 * queueLength { // more than it holds is lost
		q.put(data, from)
	}
	for range queueLength {
		if _, _, err := q.ReadFrom(buffer); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := q.ReadFrom(buffer); err == nil {
		t.Error("read past the deadline")
	}
	if err := q.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() {
		_, _, err := q.ReadFrom(buffer)
		read <- err
	}()
	_ = q.Close()
	_ = q.Close()
	if err := <-read; err == nil {
		t.Error("read from a closed queue")
	}
	if _, err := q.WriteTo(data, nil); err == nil {
		t.Error("wrote to a closed queue")
	}
}
