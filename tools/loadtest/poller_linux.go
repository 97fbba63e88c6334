package loadtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller reads many sockets on one goroutine: it waits for all of them at once, and takes what one has got in one system call, several
// packets to a message where the kernel joined them (UDP_GRO).
type poller struct {
	mu       sync.Mutex // guards sockets and all that their receivers own
	sockets  map[int32]*socket
	nextTick int64

	epoll    int
	file     *os.File // of epoll, so that Go's own poller waits for it
	wait     syscall.RawConn
	events   [128]unix.EpollEvent
	messages [16]message
	received [16]received
	done     chan struct{} // closed when the goroutine has ended
}

// message is struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
	_      uint32
}

// received is what one message is read into.
type received struct {
	from    unix.RawSockaddrInet6
	data    [64 << 10]byte
	control [64]byte
	vector  unix.Iovec
}

// socket is one participant's.
type socket struct {
	poller   *poller
	receiver receiver
	fd       int
	port     uint16
	v6       bool

	mu     sync.RWMutex // held while writing, so that fd is nobody else's
	closed bool
}

// newPoller starts a poller; the caller closes it after its sockets.
func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	p := &poller{sockets: map[int32]*socket{}, epoll: fd, file: os.NewFile(uintptr(fd), "epoll"), done: make(chan struct{})}
	if p.wait, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil, err
	}
	for i := range p.messages {
		r := &p.received[i]
		r.vector.Base = &r.data[0]
		r.vector.SetLen(len(r.data))
		p.messages[i].header = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&r.from)), Iov: &r.vector, Iovlen: 1, Control: &r.control[0]}
	}
	go p.run()
	return p, nil
}

// close ends the goroutine and waits for it.
func (p *poller) close() {
	_ = p.file.Close()
	<-p.done
}

func (p *poller) run() {
	defer close(p.done)
	for {
		if p.tick() != nil {
			return
		}
		if err := p.wait.Read(p.poll); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// tick tells the receivers the time when it is due, and has the waiting end at the next one.
func (p *poller) tick() error {
	now := clock()
	if now < p.nextTick {
		return nil
	}
	p.nextTick = now + int64(tickInterval)
	p.mu.Lock()
	for _, s := range p.sockets {
		s.receiver.tick(now)
	}
	p.mu.Unlock()
	return p.file.SetReadDeadline(time.Now().Add(tickInterval))
}

// poll reads every socket that has something once, and tells whether any had.
func (p *poller) poll(uintptr) bool {
	n, err := unix.EpollWait(p.epoll, p.events[:], 0)
	if err != nil || n == 0 {
		return err != nil && !errors.Is(err, unix.EINTR)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.events[:n] {
		if s := p.sockets[p.events[i].Fd]; s != nil {
			p.read(s)
		}
	}
	return true
}

// read takes what a socket has got; what is left is reported again.
func (p *poller) read(s *socket) {
	for i := range p.messages {
		h := &p.messages[i].header
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(len(p.received[i].control))
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&p.messages[0])), uintptr(len(p.messages)),
		unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 { // nothing there after all, or an ICMP error: the next read says
		return
	}
	now := clock()
	for i := range int(n) {
		r, m := &p.received[i], &p.messages[i]
		from, data := addrPortOf(&r.from), r.data[:m.length]
		size := segmentSize(r.control[:m.header.Controllen])
		if size <= 0 {
			size = len(data)
		}
		for len(data) > size {
			s.receiver.datagram(data[:size], from, now)
			data = data[size:]
		}
		s.receiver.datagram(data, from, now)
	}
}

// segmentSize is the size of the packets in a message that the kernel joined, 0 when it is one packet.
func segmentSize(control []byte) int {
	for len(control) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		size := int(h.Len)
		if size < unix.SizeofCmsghdr || size > len(control) {
			return 0
		}
		if h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && size >= unix.CmsgLen(2) {
			return int(binary.NativeEndian.Uint16(control[unix.CmsgLen(0):]))
		}
		control = control[min(unix.CmsgSpace(size-unix.CmsgLen(0)), len(control)):]
	}
	return 0
}

// open makes a socket on all addresses; v6 says of which family.
func (p *poller) open(v6 bool, r receiver) (*socket, error) {
	family, bind := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{})
	if v6 {
		family, bind = unix.AF_INET6, &unix.SockaddrInet6{}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &socket{poller: p, receiver: r, fd: fd, v6: v6}
	if err := s.prepare(bind); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("cannot open a UDP socket: %w", err)
	}
	p.mu.Lock()
	p.sockets[int32(fd)] = s
	p.mu.Unlock()
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		s.close()
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return s, nil
}

func (s *socket) prepare(bind unix.Sockaddr) error {
	for _, option := range []struct{ forced, plain int }{
		{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF},
	} {
		if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, option.forced, socketBuffer) != nil { // for administrators only
			_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, option.plain, socketBuffer)
		}
	}
	_ = unix.SetsockoptInt(s.fd, unix.SOL_UDP, unix.UDP_GRO, 1) // older kernels lack it
	if err := unix.Bind(s.fd, bind); err != nil {
		return os.NewSyscallError("bind", err)
	}
	at, err := unix.Getsockname(s.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	switch a := at.(type) {
	case *unix.SockaddrInet4:
		s.port = uint16(a.Port)
	case *unix.SockaddrInet6:
		s.port = uint16(a.Port)
	}
	return nil
}

// close closes the socket. Its receiver is not called any more. Safe twice.
func (s *socket) close() {
	s.poller.mu.Lock()
	defer s.poller.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		delete(s.poller.sockets, int32(s.fd))
		_ = unix.Close(s.fd)
	}
}

// writeTo sends one datagram, from any goroutine. The kernel drops what it has no room for, as a network would.
func (s *socket) writeTo(b []byte, to netip.AddrPort) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return errSocketClosed
	}
	var address unix.RawSockaddrInet6
	size := putAddress(&address, to, s.v6)
	_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&address)), size)
	if errno != 0 && errno != unix.EAGAIN && errno != unix.ENOBUFS {
		return errno
	}
	return nil
}

// drops is how many datagrams the kernel dropped for want of room in the socket's buffer. The poller's mu is held.
func (s *socket) drops() uint64 {
	if s.poller.sockets[int32(s.fd)] != s { // closed
		return 0
	}
	var info [9]uint32 // SK_MEMINFO_DROPS is the last
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0
	}
	return uint64(info[8])
}

// putAddress writes a socket address of either family and returns its size.
func putAddress(raw *unix.RawSockaddrInet6, to netip.AddrPort, v6 bool) uintptr {
	port := (*[2]byte)(unsafe.Pointer(&raw.Port))
	if v6 {
		raw.Family = unix.AF_INET6
		raw.Addr = to.Addr().As16()
		binary.BigEndian.PutUint16(port[:], to.Port())
		return unix.SizeofSockaddrInet6
	}
	v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(raw))
	v4.Family = unix.AF_INET
	v4.Addr = to.Addr().Unmap().As4()
	binary.BigEndian.PutUint16(port[:], to.Port()) // at the same place in both
	return unix.SizeofSockaddrInet4
}

// addrPortOf is a socket address of either family.
func addrPortOf(raw *unix.RawSockaddrInet6) netip.AddrPort {
	port := (*[2]byte)(unsafe.Pointer(&raw.Port))
	number := binary.BigEndian.Uint16(port[:])
	if raw.Family == unix.AF_INET6 {
		return netip.AddrPortFrom(netip.AddrFrom16(raw.Addr).Unmap(), number)
	}
	return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(raw)).Addr), number)
}
