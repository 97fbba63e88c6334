package udpbatch

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// refusing is a port whose kernel refuses: refuse is asked for the error of the first message of each call, 0 for none, and how
// many messages are taken then; it may change both.
func refusing(t *testing.T, refuse func(messages []unix.Mmsghdr) (take int, errno unix.Errno)) *receiver {
	t.Helper()
	p := open(t, "127.0.0.1:0", Options{Sockets: 1})
	if !p.gso.Load() {
		t.Skip(p.Why())
	}
	real := p.system.send
	p.system.send = func(fd uintptr, messages []unix.Mmsghdr) (int, unix.Errno) {
		take, errno := refuse(messages)
		if errno != 0 {
			return -1, errno
		}
		return real(fd, messages[:take])
	}
	return reading(t, p)
}

// three commits three messages: of 5 datagrams, of 1, of 3.
func three(b *Batch, to netip.AddrPort) (want [][]byte) {
	for _, size := range []int{900, 900, 900, 900, 500, 100, 200, 200, 200} {
		data := random(size)
		commit(b, data, to)
		want = append(want, data)
	}
	if len(b.pending) != 3 && b.socket.port.gso.Load() {
		panic("not three messages")
	}
	return want
}

func TestRefusals(t *testing.T) {
	isJoined := func(m []unix.Mmsghdr) bool { return m[0].Hdr.Controllen > 0 }
	for _, c := range []struct {
		name   string
		refuse func(call int, m []unix.Mmsghdr) (int, unix.Errno)
		lost   map[int]bool // of the datagrams
		calls  int          // at most
		mode   string       // afterwards
	}{
		{name: "no checksums", mode: "sendmmsg", calls: 8, refuse: func(_ int, m []unix.Mmsghdr) (int, unix.Errno) {
			if isJoined(m) {
				return 0, unix.EIO
			}
			return len(m), 0
		}},
		{name: "small MTU", mode: "sendmmsg+gso", calls: 8, refuse: func(_ int, m []unix.Mmsghdr) (int, unix.Errno) {
			if isJoined(m) && m[0].Hdr.Iov.Len > 1000 {
				return 0, unix.EMSGSIZE
			}
			return len(m), 0
		}},
		{name: "small MTU, older kernels", mode: "sendmmsg+gso", calls: 8, refuse: func(_ int, m []unix.Mmsghdr) (int, unix.Errno) {
			if isJoined(m) {
				return 0, unix.EINVAL
			}
			return len(m), 0
		}},
		{name: "no call", mode: "plain", calls: 1, refuse: func(int, []unix.Mmsghdr) (int, unix.Errno) { return 0, unix.ENOSYS }},
		{name: "no call for pieces", mode: "plain", calls: 3, refuse: func(call int, _ []unix.Mmsghdr) (int, unix.Errno) {
			return 0, []unix.Errno{unix.EIO, unix.ENOSYS, unix.ENOSYS}[call]
		}},
		{name: "one by one", mode: "sendmmsg+gso", calls: 3, refuse: func(int, []unix.Mmsghdr) (int, unix.Errno) { return 1, 0 }},
		{name: "interrupted", mode: "sendmmsg+gso", calls: 2, refuse: func(call int, m []unix.Mmsghdr) (int, unix.Errno) {
			return len(m), []unix.Errno{unix.EINTR, 0}[call]
		}},
		{name: "full for a moment", mode: "sendmmsg+gso", calls: 2, refuse: func(call int, m []unix.Mmsghdr) (int, unix.Errno) {
			return len(m), []unix.Errno{unix.EAGAIN, 0}[call]
		}},
		{name: "full", mode: "sendmmsg+gso", calls: 2, lost: map[int]bool{0: true, 1: true, 2: true, 3: true, 4: true, 5: true, 6: true,
			7: true, 8: true}, refuse: func(int, []unix.Mmsghdr) (int, unix.Errno) { return 0, unix.EAGAIN }},
		{name: "full after the first", mode: "sendmmsg+gso", calls: 3, lost: map[int]bool{5: true, 6: true, 7: true, 8: true},
			refuse: func(call int, _ []unix.Mmsghdr) (int, unix.Errno) {
				return 1, []unix.Errno{0, unix.EAGAIN, unix.EAGAIN}[call]
			}},
		{name: "no memory for one", mode: "sendmmsg+gso", calls: 3, lost: map[int]bool{5: true},
			refuse: func(call int, m []unix.Mmsghdr) (int, unix.Errno) {
				return []int{1, 0, len(m)}[call], []unix.Errno{0, unix.ENOBUFS, 0}[call]
			}},
		{name: "unreachable", mode: "sendmmsg+gso", calls: 2, lost: map[int]bool{0: true, 1: true, 2: true, 3: true, 4: true},
			refuse: func(call int, m []unix.Mmsghdr) (int, unix.Errno) {
				return len(m), []unix.Errno{unix.EHOSTUNREACH, 0}[call]
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := 0
			r := refusing(t, func(m []unix.Mmsghdr) (int, unix.Errno) {
				calls++
				return c.refuse(calls-1, m)
			})
			b := r.NewBatch(0, Limits{})
			want := three(b, r.Addr())
			sent, err := b.Flush()
			if sent != len(want)-len(c.lost) || (err != nil) != (len(c.lost) > 0) {
				t.Errorf("%d sent, %v", sent, err)
			}
			if s := b.Stats(); s.Datagrams != uint64(sent) || s.Dropped != uint64(len(c.lost)) || s != r.Stats().Sent {
				t.Errorf("%+v, the port %+v", s, r.Stats().Sent)
			}
			if calls > c.calls {
				t.Errorf("%d calls, want at most %d", calls, c.calls)
			}
			for i, data := range want {
				if c.lost[i] {
					continue
				}
				if got := r.next(); !bytes.Equal(got.data, data) {
					t.Errorf("datagram %d has %d bytes, want %d, or others", i, len(got.data), len(data))
				}
			}
			if got := r.Mode(); got != "recvmmsg+gro, "+c.mode && r.gro.Load() {
				t.Errorf("goes on as %q", got)
			}
			if best := strings.HasSuffix(c.mode, "+gso"); best != (r.Why() == "") {
				t.Errorf("because of %q", r.Why())
			}
		})
	}
}

// After a refusal everything goes on in the new way, also what other Batches had collected for the old one.
func TestGoesOnAfterRefusal(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EIO, unix.ENOSYS} {
		calls := 0
		r := refusing(t, func(m []unix.Mmsghdr) (int, unix.Errno) {
			calls++
			if errno == unix.ENOSYS || m[0].Hdr.Controllen > 0 {
				return 0, errno
			}
			return len(m), 0
		})
		one, two := r.NewBatch(0, Limits{}), r.NewBatch(0, Limits{})
		want := three(two, r.Addr())
		want = append(three(one, r.Addr()), want...)
		_, _ = one.Flush()
		_, _ = two.Flush()
		calls = 0
		want = append(want, three(one, r.Addr())...)
		want = append(want, three(one, r.Addr())...)
		if n, err := one.Flush(); n != 18 || err != nil {
			t.Errorf("%d sent, %v", n, err)
		}
		if errno == unix.ENOSYS && calls != 0 || errno == unix.EIO && calls != 1 {
			t.Errorf("%v: %d calls afterwards", errno, calls)
		}
		for i, data := range want {
			if got := r.next(); !bytes.Equal(got.data, data) {
				t.Errorf("datagram %d has %d bytes, want %d, or others", i, len(got.data), len(data))
			}
		}
	}
}

// A kernel that loses recvmmsg is read datagram by datagram.
func TestReceiveRefused(t *testing.T) {
	p := open(t, "127.0.0.1:0", Options{Sockets: 1})
	if !p.recvmmsg.Load() {
		t.Skip(p.Why())
	}
	p.system.receive = func(uintptr, []unix.Mmsghdr) (int, unix.Errno) { return -1, unix.ENOSYS }
	r := reading(t, p)
	if _, err := p.WriteTo([]byte("x"), p.Addr()); err != nil {
		t.Fatal(err)
	}
	b := p.NewBatch(0, Limits{}) // the reader has switched GRO off when the first one comes
	if got := r.next(); string(got.data) != "x" || !strings.HasPrefix(p.Mode(), "plain") || !strings.Contains(p.Why(), "recvmmsg") {
		t.Errorf("%q, %q because of %q", got.data, p.Mode(), p.Why())
	}
	want := three(b, p.Addr())
	_, _ = b.Flush()
	for i, data := range want {
		if got := r.next(); !bytes.Equal(got.data, data) {
			t.Errorf("datagram %d has %d bytes, want %d, or others", i, len(got.data), len(data))
		}
	}
}

// Errors that ICMP brings are survived, with what comes beside them.
func TestPeerIsGone(t *testing.T) {
	for _, mode := range modes {
		o := mode.Options
		o.Sockets = 1
		p := open(t, "127.0.0.1:0", o)
		// Only with this option a socket without a connection is told.
		if err := p.sockets[0].control(func(fd int) error {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		}); err != nil {
			t.Fatal(err)
		}
		gone := dial(t, "udp4")
		nobody := netip.AddrPortFrom(p.Addr().Addr(), port16(gone.LocalAddr().String()))
		_ = gone.Close()
		r := reading(t, p)
		peer := dial(t, "udp4")
		for i := range byte(20) {
			_, _ = p.WriteTo([]byte("x"), nobody)
			if _, err := peer.WriteToUDPAddrPort([]byte{i}, p.Addr()); err != nil {
				t.Fatal(err)
			}
			if got := r.next(); !bytes.Equal(got.data, []byte{i}) {
				t.Errorf("%s: got %x", mode.name, got.data)
			}
		}
	}
}

func port16(address string) uint16 { return netip.MustParseAddrPort(address).Port() }

// An error that stays is asked for a few times only, and Close still ends it.
func TestErrorThatStays(t *testing.T) {
	p := open(t, "127.0.0.1:0", Options{Sockets: 1})
	if !p.recvmmsg.Load() {
		t.Skip(p.Why())
	}
	tried := make(chan struct{}, 1000)
	p.system.receive = func(uintptr, []unix.Mmsghdr) (int, unix.Errno) {
		tried <- struct{}{}
		return -1, unix.ENETDOWN
	}
	reading(t, p)
	for range 10 {
		<-tried
	}
	_ = p.Close()
	if n := p.Stats().Unreadable; n < 9 {
		t.Errorf("%d errors were counted", n)
	}
}

// Where the kernel is to join nothing, it does not, also not for who reads a socket past the Port.
func TestNothingJoined(t *testing.T) {
	for _, o := range []Options{{NoGRO: true}, {}} {
		p := open(t, "127.0.0.1:0", o)
		for _, s := range p.sockets {
			on := -1
			_ = s.control(func(fd int) (err error) {
				on, err = unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO)
				return err
			})
			if on >= 0 && (on != 0) != p.gro.Load() || o.NoGRO && p.gro.Load() {
				t.Errorf("%+v: the socket has GRO %d, the port %v", o, on, p.gro.Load())
			}
		}
	}
}

// Zones of link-local addresses cross the socket both ways.
func TestZones(t *testing.T) {
	lo := netip.MustParseAddrPort("[fe80::1%lo]:7")
	var n name
	if write(&n, lo, false) != unix.SizeofSockaddrInet6 || n.Scope_id == 0 {
		t.Skip("no interface of this name")
	}
	if got := read(&n); got != lo {
		t.Errorf("%v, want %v", got, lo)
	}
	for _, unknown := range []string{"[fe80::1%no such]:7", "[fe80::1%4294967290]:7"} {
		a := netip.MustParseAddrPort(unknown)
		write(&n, a, false)
		if got := read(&n); a.Addr().Zone() == "4294967290" && got != a {
			t.Errorf("%v, want %v", got, a)
		}
	}
}

// FuzzDeliver gives the reader messages of any length and segment size, as no kernel would.
func FuzzDeliver(f *testing.F) {
	f.Add(uint32(3000), int32(1000), uint8(24), int32(0))
	f.Add(uint32(0), int32(0), uint8(0), int32(0))
	f.Add(uint32(65535), int32(1), uint8(24), int32(0))
	f.Add(uint32(100), int32(-5), uint8(24), int32(unix.MSG_TRUNC))
	f.Fuzz(func(t *testing.T, length uint32, segment int32, controlLength uint8, flags int32) {
		length %= maxDatagram + 1
		var got []byte
		count := 0
		r := &reader{socket: &socket{}, buffer: random(maxDatagram), handle: func(b []byte, _ netip.AddrPort) {
			count++
			got = append(got, b...)
		}}
		want := bytes.Clone(r.buffer[:length])
		r.messages[0].Len, r.messages[0].Hdr.Flags = length, flags
		r.messages[0].Hdr.SetControllen(int(controlLength))
		r.controls[0].header = unix.Cmsghdr{Level: unix.IPPROTO_UDP, Type: unix.UDP_GRO}
		*(*int32)(unsafe.Pointer(&r.controls[0].value)) = segment
		if n := r.deliver(0); n != count {
			t.Fatalf("%d delivered, %d counted", count, n)
		}
		if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
			want = nil
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%d bytes of %d", len(got), len(want))
		}
	})
}

// FuzzCommit checks what the kernel is given for any run of sizes and addresses: each byte gives one datagram.
func FuzzCommit(f *testing.F) {
	f.Add([]byte("\x10\x10\x08\x10\x90\x90"))
	f.Add(bytes.Repeat([]byte{0x7f}, 200))
	f.Add([]byte{0, 0, 1, 0x80, 0x80})
	p, err := Listen("127.0.0.1:0", Options{Sockets: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = p.Close() })
	if !p.gso.Load() {
		f.Skip(p.Why())
	}
	var got []byte
	p.system.send = func(_ uintptr, messages []unix.Mmsghdr) (int, unix.Errno) {
		messages = messages[:(len(messages)+1)/2] // the rest is for the next call
		for i := range messages {
			h := &messages[i].Hdr
			all := unsafe.Slice(h.Iov.Base, h.Iov.Len)
			segment := len(all)
			if h.Controllen > 0 {
				segment = int(*(*uint16)(unsafe.Pointer(&(*control)(unsafe.Pointer(h.Control)).value)))
				if n := (len(all) + segment - 1) / segment; n < 2 || n > maxSegments || len(all) > maxMessage {
					panic("a message of too many or too long segments")
				}
			}
			to := read((*name)(unsafe.Pointer(h.Name)))
			for ; len(all) > 0; all = all[min(segment, len(all)):] {
				got = append(got, byte(to.Port()), byte(min(segment, len(all))/10), all[0])
			}
		}
		return len(messages), 0
	}
	f.Fuzz(func(t *testing.T, sizes []byte) {
		b := p.NewBatch(0, Limits{Messages: 5, Bytes: 8000})
		var want []byte
		seen := 0
		got = got[:0]
		for i, c := range sizes {
			size := int(c&0x7f)*10 + 10
			copy(b.Space(), bytes.Repeat([]byte{byte(i)}, size))
			b.Commit(size, netip.AddrPortFrom(p.Addr().Addr(), 1+uint16(c>>7)))
			want = append(want, 1+c>>7, byte(size/10), byte(i))
			seen++
		}
		if n, err := b.Flush(); n != seen || err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d of %d, %v:\n%v\nwant\n%v", n, seen, err, got, want)
		}
	})
}
