package udpbatch

import (
	"errors"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readMessages is how many messages one call takes: with room for 64 KiB each, a reader has 1 MiB. The kernel touches no more of
// it than what comes needs.
const readMessages = 16

// control is room for the one control message of a datagram: its header, and the size of the segments, an int for reading and a
// uint16 for writing.
type control struct {
	header unix.Cmsghdr
	value  [8]byte
}

// reader reads one socket. All its memory is made once.
type reader struct {
	socket   *socket
	handle   func([]byte, netip.AddrPort)
	end      func()
	buffer   []byte
	messages [readMessages]unix.Mmsghdr
	vectors  [readMessages]unix.Iovec
	names    [readMessages]name
	controls [readMessages]control
	err      error
}

// readBatches reads until there is an error that ends it. The runtime's poller waits, so that no thread is blocked.
func (s *socket) readBatches(handle func([]byte, netip.AddrPort), end func()) error {
	r := &reader{socket: s, handle: handle, end: end, buffer: make([]byte, readMessages*maxDatagram)}
	for i := range r.messages {
		r.vectors[i].Base = &r.buffer[i*maxDatagram]
		r.vectors[i].SetLen(maxDatagram)
		h := &r.messages[i].Hdr
		h.Iov = &r.vectors[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Control = (*byte)(unsafe.Pointer(&r.controls[i]))
	}
	var faults faults
	step := r.step
	for {
		r.err = nil
		err := s.raw.Read(step)
		if err == nil && r.err == nil {
			faults = 0
			continue
		}
		if errors.Is(r.err, unix.ENOSYS) {
			s.joinNothing() // what follows could not tell it apart
			s.port.gro.Store(false)
			s.port.without(&s.port.recvmmsg, "recvmmsg", r.err)
			return errNoBatches
		}
		if err == nil {
			err = r.err
		}
		if err = faults.survive(s, err); err != nil {
			return err
		}
	}
}

// step is one call. It returns false when the poller should wait before the next: when nothing is left, which a batch with room to
// spare shows as well as an error does. What comes meanwhile is not missed, since the poller remembers it from the beginning of
// RawConn.Read on.
func (r *reader) step(fd uintptr) bool {
	for i := range r.messages { // the kernel has written the lengths
		h := &r.messages[i].Hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(int(unsafe.Sizeof(control{})))
	}
	n, errno := r.socket.port.system.receive(fd, r.messages[:])
	switch errno {
	case 0:
	case unix.EAGAIN:
		return false
	case unix.EINTR:
		return true
	default:
		r.err = errno
		return true
	}
	if n == 0 {
		return false
	}
	datagrams := 0
	for i := range n {
		datagrams += r.deliver(i)
	}
	r.socket.received.Add(uint64(datagrams))
	r.socket.receiveCalls.Add(1)
	r.end()
	return n == readMessages
}

// deliver hands out the datagrams of one message, and returns how many.
func (r *reader) deliver(i int) int {
	h, from := &r.messages[i].Hdr, read(&r.names[i])
	if h.Flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 { // not whole, or not to be told apart
		r.socket.unreadable.Add(1)
		return 0
	}
	all := r.buffer[i*maxDatagram:][:r.messages[i].Len]
	segment := len(all)
	if c := &r.controls[i]; int(h.Controllen) >= unix.CmsgLen(4) &&
		c.header.Level == unix.IPPROTO_UDP && c.header.Type == unix.UDP_GRO {
		if size := *(*int32)(unsafe.Pointer(&c.value)); size > 0 {
			segment = int(size)
		}
	}
	if len(all) <= segment {
		r.handle(all[:len(all):len(all)], from)
		return 1
	}
	datagrams := 0
	for ; len(all) > 0; datagrams++ {
		n := min(segment, len(all))
		r.handle(all[:n:n], from)
		all = all[n:]
	}
	return datagrams
}
