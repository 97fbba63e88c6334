package udpbatch

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spreads says that the system spreads datagrams over sockets that share an address.
const spreads = true

// system are the two calls, which tests replace: a kernel that refuses is hard to come by.
type system struct {
	receive, send func(fd uintptr, messages []unix.Mmsghdr) (int, unix.Errno)
}

// receive fills messages with what waits in a socket's buffer.
func receive(fd uintptr, messages []unix.Mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(unsafe.SliceData(messages))),
		uintptr(len(messages)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// send hands messages to the kernel. It stops at the first one that is refused, and tells the error only if that is the very
// first.
func send(fd uintptr, messages []unix.Mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(unsafe.SliceData(messages))),
		uintptr(len(messages)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// control calls do with the socket's descriptor, and returns what it does.
func (s *socket) control(do func(fd int) error) error {
	var inner error
	if err := s.raw.Control(func(fd uintptr) { inner = do(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// probe finds out what the kernel can do with the sockets, and switches it on as far as it is wanted.
func (p *Port) probe() {
	p.system = system{receive, send}
	if p.options.Plain {
		p.because("batches are switched off")
		return
	}
	var in, out, gro, gso error
	for _, s := range p.sockets {
		_ = s.control(func(fd int) error {
			domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
			s.ipv4 = err == nil && domain == unix.AF_INET
			in = errors.Join(in, refusal(receive(uintptr(fd), nil)))
			out = errors.Join(out, refusal(send(uintptr(fd), nil)))
			gro = errors.Join(gro, unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1))
			_, err = unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT)
			gso = errors.Join(gso, err)
			return nil
		})
	}
	if in != nil || gro != nil || p.options.NoGRO {
		for _, s := range p.sockets {
			s.joinNothing()
		}
	}
	p.recvmmsg.Store(p.has("recvmmsg", false, in))
	p.sendmmsg.Store(p.has("sendmmsg", false, out))
	p.gro.Store(in == nil && p.has("GRO", p.options.NoGRO, gro))
	p.gso.Store(out == nil && p.has("GSO", p.options.NoGSO, gso))
}

// joinNothing switches off GRO.
func (s *socket) joinNothing() {
	_ = s.control(func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 0) })
}

// has notes why something is not there, if so.
func (p *Port) has(name string, off bool, err error) bool {
	switch {
	case off:
		p.because(name + " is switched off")
	case err != nil:
		p.because("the kernel has no " + name)
	}
	return !off && err == nil
}

// refusal is the error of a call for no messages, which does nothing where the call exists; a socket may have an older error to
// tell.
func refusal(_ int, errno unix.Errno) error {
	if errno == unix.ENOSYS {
		return errno
	}
	return nil
}

// enlarge asks for buffers: as much as an administrator may have, or else as the limits allow. It returns what there is.
func (s *socket) enlarge(size int) (read, write int) {
	_ = s.control(func(fd int) error {
		grow := func(force, plain int) int {
			if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) != nil {
				_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, size)
			}
			got, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, plain)
			return got / 2 // the kernel doubles it, for its own book-keeping
		}
		read = grow(unix.SO_RCVBUFFORCE, unix.SO_RCVBUF)
		write = grow(unix.SO_SNDBUFFORCE, unix.SO_SNDBUF)
		return nil
	})
	return read, write
}

// share allows other sockets beside this one, and names the network to open them with. Linux lets a socket be shared that was
// bound alone, so that a port which somebody else has is still found out.
func share(raw syscall.RawConn) (network string, err error) {
	s := socket{raw: raw}
	err = s.control(func(fd int) error {
		network = "udp"
		if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil {
			return err
		} else if domain == unix.AF_INET {
			network = "udp4"
		} else if only, _ := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); only != 0 {
			network = "udp6"
		}
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	return network, err
}
