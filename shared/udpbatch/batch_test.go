package udpbatch

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
)

// TestRuns tells which datagrams share a message.
func TestRuns(t *testing.T) {
	p := open(t, "127.0.0.1:0", Options{Sockets: 1})
	if !p.gso.Load() {
		t.Skip(p.Why())
	}
	one, two := netip.MustParseAddrPort("127.0.0.1:9001"), netip.MustParseAddrPort("127.0.0.1:9002")
	repeat := func(n, size int) (list []int) {
		for range n {
			list = append(list, size)
		}
		return list
	}
	for _, c := range []struct {
		name  string
		sizes []int
		to    func(i int) netip.AddrPort
		want  []int // datagrams of each message
	}{
		{"one size", repeat(5, 1100), nil, []int{5}},
		{"shorter last", []int{1100, 1100, 300}, nil, []int{3}},
		{"shorter closes", []int{1100, 300, 300, 1100}, nil, []int{2, 1, 1}},
		{"shorter closes for ever", []int{1100, 300, 1100, 1100}, nil, []int{2, 2}},
		{"longer begins", []int{90, 1100, 1100, 90}, nil, []int{1, 3}},
		{"64 segments", repeat(130, 10), nil, []int{64, 64, 2}},
		{"65000 bytes", repeat(60, 1600), nil, []int{40, 20}},
		{"two addresses", repeat(4, 100), func(i int) netip.AddrPort {
			if i < 2 {
				return one
			}
			return two
		}, []int{2, 2}},
		{"taking turns", repeat(4, 100), func(i int) netip.AddrPort {
			if i%2 == 0 {
				return one
			}
			return two
		}, []int{1, 1, 1, 1}},
		{"empty", []int{0, 0, 5, 0, 5}, nil, []int{1, 1, 1, 1, 1}},
	} {
		batch := p.NewBatch(0, Limits{})
		for i, size := range c.sizes {
			to := one
			if c.to != nil {
				to = c.to(i)
			}
			batch.Space()
			batch.Commit(size, to)
		}
		var got []int
		for _, m := range batch.pending {
			got = append(got, m.count)
		}
		if !equal(got, c.want) {
			t.Errorf("%s: messages of %v, want %v", c.name, got, c.want)
		}
		if n, err := batch.Flush(); n != len(c.sizes) || err != nil {
			t.Errorf("%s: %d of %d sent, %v", c.name, n, len(c.sizes), err)
		}
		if s := batch.Stats(); s.Messages != uint64(len(c.want)) || s.Calls != 1 {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// A Batch sends by itself when it is full, of bytes or of messages, and loses nothing.
func TestLimits(t *testing.T) {
	for _, mode := range modes {
		for _, l := range []Limits{{Messages: 1}, {Messages: 3}, {Bytes: 1}, {Datagram: 2000, Bytes: 5000}} {
			r := reading(t, open(t, "127.0.0.1:0", mode.Options))
			b := r.NewBatch(0, l)
			var want [][]byte
			for i := range 25 {
				if space := b.Space(); len(space) < 1600 || len(space) != max(1600, l.Datagram) {
					t.Fatalf("space of %d", len(space))
				}
				want = append(want, random(200+i%3*500))
				commit(b, want[i], r.Addr())
			}
			if b.Stats().Datagrams == 0 {
				t.Errorf("%s %+v: nothing was sent before Flush", mode.name, l)
			}
			if n, err := b.Flush(); n != len(want) || err != nil {
				t.Errorf("%s %+v: %d sent, %v", mode.name, l, n, err)
			}
			for i := range want {
				if got := r.next(); !bytes.Equal(got.data, want[i]) {
					t.Errorf("%s %+v: datagram %d is another", mode.name, l, i)
				}
			}
			if n, err := b.Flush(); n != 0 || err != nil {
				t.Errorf("%s: a flush of nothing: %d, %v", mode.name, n, err)
			}
		}
	}
}

// What has no usable address is dropped, and keeps nothing else from being sent.
func TestAddresses(t *testing.T) {
	for _, mode := range modes {
		r := reading(t, open(t, "127.0.0.1:0", mode.Options))
		b := r.NewBatch(0, Limits{})
		bad := []netip.AddrPort{
			{}, netip.MustParseAddrPort("[2001:db8::1]:9"), netip.AddrPortFrom(r.Addr().Addr(), 0),
		}
		for i, to := range bad {
			commit(b, []byte{byte(i), 0}, to)
			commit(b, []byte{byte(i), 1}, netip.AddrPortFrom(netip.AddrFrom16(r.Addr().Addr().As16()), r.Addr().Port()))
		}
		n, err := b.Flush()
		if n != len(bad) || err == nil || b.Stats().Dropped != uint64(len(bad)) {
			t.Errorf("%s: %d sent, %v, %+v", mode.name, n, err, b.Stats())
		}
		for i := range bad {
			if got := r.next(); !bytes.Equal(got.data, []byte{byte(i), 1}) {
				t.Errorf("%s: got %x", mode.name, got.data)
			}
		}
	}
}

func TestCommitTooMuch(t *testing.T) {
	b := open(t, "127.0.0.1:0", Options{}).NewBatch(0, Limits{})
	for _, n := range []int{-1, 1601} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d bytes were taken", n)
				}
			}()
			b.Space()
			b.Commit(n, netip.AddrPort{})
		}()
	}
}

// Neither way allocates for a datagram.
func TestAllocations(t *testing.T) {
	for _, mode := range modes {
		for _, listen := range []string{"127.0.0.1:0", "[::]:0"} {
			p := open(t, listen, mode.Options)
			const count = 20
			to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), p.Addr().Port())
			n, all, done := 0, make(chan struct{}), make(chan error, p.Sockets())
			handle := func([]byte, netip.AddrPort) {
				if n++; n == count {
					n = 0
					all <- struct{}{}
				}
			}
			for i := range p.Sockets() {
				go func() { done <- p.Read(i, handle, nil) }() // only one of them gets what comes from one address
			}
			b := p.NewBatch(0, Limits{})
			data := make([]byte, 1100)
			if got := testing.AllocsPerRun(100, func() {
				for range count - 1 {
					commit(b, data, to)
				}
				if _, err := b.Flush(); err != nil {
					t.Fatal(err)
				}
				if _, err := p.WriteTo(data, to); err != nil {
					t.Fatal(err)
				}
				<-all
			}); got != 0 {
				t.Errorf("%s %s: %v allocations", mode.name, listen, got)
			}
			_ = p.Close()
			for range p.Sockets() {
				if err := <-done; err == nil || errors.Is(err, errNoBatches) {
					t.Error(err)
				}
			}
		}
	}
}
