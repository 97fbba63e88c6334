package udpbatch

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patient is how long a test waits for what has to come.
const patient = 10 * time.Second

// modes are all ways to work; a kernel without one falls back by itself, which has to work as well.
var modes = []struct {
	name string
	Options
}{
	{"plain", Options{Plain: true}},
	{"batches", Options{NoGSO: true, NoGRO: true}},
	{"joined", Options{}},
}

func open(t testing.TB, address string, o Options) *Port {
	t.Helper()
	p, err := Listen(address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

// dial is a socket of the package net, at the other side.
func dial(t testing.TB, network string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP(network, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// datagram is one that a port received.
type datagram struct {
	socket int
	from   netip.AddrPort
	data   []byte
}

// receiver reads all sockets of a port, and spoils what it has copied, as decryption does.
type receiver struct {
	*Port
	t    testing.TB
	got  chan datagram
	ends chan int // datagrams of each batch, as far as there is room
	done sync.WaitGroup
}

func reading(t testing.TB, p *Port) *receiver {
	r := &receiver{Port: p, t: t, got: make(chan datagram, 1000), ends: make(chan int, 1000)}
	for i := range p.Sockets() {
		n := 0
		r.done.Go(func() {
			err := p.Read(i, func(b []byte, from netip.AddrPort) {
				n++
				if len(b) != cap(b) {
					t.Errorf("%d bytes reach into what follows: room for %d", len(b), cap(b))
				}
				r.got <- datagram{i, from, bytes.Clone(b)}
				for j := range b {
					b[j] = 0xee
				}
			}, func() {
				select {
				case r.ends <- n:
				default:
				}
				n = 0
			})
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("reading ended with %v", err)
			}
		})
	}
	t.Cleanup(func() {
		_ = p.Close()
		r.done.Wait()
	})
	return r
}

func (r *receiver) next() datagram {
	r.t.Helper()
	select {
	case d := <-r.got:
		return d
	case <-time.After(patient):
		r.t.Fatal("nothing came")
		return datagram{}
	}
}

// to is the receiver's address as seen from the machine itself.
func (r *receiver) to(family string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(family), r.Addr().Port())
}

func random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// commit puts a datagram into a batch.
func commit(b *Batch, data []byte, to netip.AddrPort) { b.Commit(copy(b.Space(), data), to) }
