package loadtest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the floor is measured with.
const (
	floorPacket   = 1200 // bytes
	floorSinks    = 64   // sockets that are sent to, one message after another
	floorMessages = 16   // of one sendmmsg
	floorSegments = 4    // packets of one message
	floorTime     = 1500 * time.Millisecond
)

// sink takes packets and does nothing with them.
type sink struct{}

func (sink) datagram([]byte, netip.AddrPort, int64) {}
func (sink) tick(int64)                             {}

// measureFloor seals and sends over loopback as cheaply as this machine can, on one thread of a core (below 0: of any). Sockets of the
// generator receive, so that the kernel does all of its work.
func measureFloor(ctx context.Context, core int) (*Floor, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	defer p.close()
	var to []unix.RawSockaddrInet6
	for range floorSinks {
		s, err := p.open(false, sink{})
		if err != nil {
			return nil, err
		}
		defer s.close()
		var raw unix.RawSockaddrInet6
		putAddress(&raw, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), s.port), false)
		to = append(to, raw)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer)
	type outcome struct {
		floor *Floor
		err   error
	}
	done := make(chan outcome)
	go func() {
		runtime.LockOSThread() // for good: a thread on another core must not serve other goroutines
		if core >= 0 {
			if err := unix.SchedSetaffinity(0, coreSet([]int{core})); err != nil {
				done <- outcome{err: err}
				return
			}
		}
		f, err := sealAndSend(ctx, fd, to)
		done <- outcome{f, err}
	}()
	o := <-done
	return o.floor, o.err
}

func sealAndSend(ctx context.Context, fd int, to []unix.RawSockaddrInet6) (*Floor, error) {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	s := &floorSender{fd: fd, to: to, aead: aead}
	s.prepare()
	f := &Floor{}
	if f.Plain, err = s.measure(ctx, s.plain); err != nil {
		return nil, fmt.Errorf("cannot send over loopback: %w", err)
	}
	if f.GSO, err = s.measure(ctx, s.batch); err != nil {
		f.GSO = 0 // an older kernel
	}
	return f, ctx.Err()
}

// floorSender does what an edge must do with a packet, and nothing else.
type floorSender struct {
	fd       int
	to       []unix.RawSockaddrInet6
	next     int
	aead     cipher.AEAD
	nonce    [12]byte
	clear    [floorPacket]byte
	sealed   [floorMessages][floorSegments * floorPacket]byte
	messages [floorMessages]message
	vectors  [floorMessages]unix.Iovec
	control  [floorMessages][32]byte
}

func (s *floorSender) prepare() {
	for i := range s.messages {
		s.vectors[i].Base = &s.sealed[i][0]
		s.vectors[i].SetLen(len(s.sealed[i]))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&s.control[i][0]))
		h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		h.SetLen(unix.CmsgLen(2))
		*(*uint16)(unsafe.Pointer(&s.control[i][unix.CmsgLen(0)])) = floorPacket
		s.messages[i].header = unix.Msghdr{Namelen: unix.SizeofSockaddrInet4, Iov: &s.vectors[i], Iovlen: 1, Control: &s.control[i][0]}
		s.messages[i].header.SetControllen(unix.CmsgSpace(2))
	}
}

// measure runs a step until floorTime is over and returns the thread's µs per packet.
func (s *floorSender) measure(ctx context.Context, step func() (packets int, err error)) (float64, error) {
	begin, end, packets := threadTime(), clock()+int64(floorTime), 0
	for clock() < end && ctx.Err() == nil {
		n, err := step()
		if err != nil {
			return 0, err
		}
		packets += n
	}
	if packets == 0 {
		return 0, ctx.Err()
	}
	return float64((threadTime() - begin).Nanoseconds()) / 1000 / float64(packets), nil
}

// seal puts an encrypted packet into b: header in the clear, the tag within floorPacket bytes.
func (s *floorSender) seal(b []byte) {
	s.nonce[0]++
	const clear = floorPacket - 16
	copy(b[:12], s.clear[:12])
	s.aead.Seal(b[:12], s.nonce[:], s.clear[12:clear], s.clear[:12])
}

func (s *floorSender) plain() (int, error) {
	b := s.sealed[0][:floorPacket]
	s.seal(b)
	s.next = (s.next + 1) % len(s.to)
	_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(&b[0])), floorPacket, 0,
		uintptr(unsafe.Pointer(&s.to[s.next])), unix.SizeofSockaddrInet4)
	if errno != 0 {
		return 0, errno
	}
	return 1, nil
}

func (s *floorSender) batch() (int, error) {
	for i := range s.messages {
		for j := range floorSegments {
			s.seal(s.sealed[i][j*floorPacket:][:floorPacket])
		}
		s.next = (s.next + 1) % len(s.to)
		s.messages[i].header.Name = (*byte)(unsafe.Pointer(&s.to[s.next]))
	}
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.messages[0])), floorMessages, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n) * floorSegments, nil
}
