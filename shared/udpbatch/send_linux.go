package udpbatch

import (
	"errors"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// patience is how long one push waits for room in the kernel's buffer, in milliseconds: longer than a network interface needs to
// make some, and short beside the time a packet has to arrive.
const patience = 2

var (
	errAddress = errors.New("udpbatch: the socket cannot reach this address")
	errFull    = os.NewSyscallError("sendmmsg", unix.EAGAIN)
)

// sender sends the messages of one Batch. All its memory is made once.
type sender struct {
	batch    *Batch
	headers  []unix.Mmsghdr
	vectors  []unix.Iovec
	names    []name
	controls []control
	pieces   []message // of a message that has to be taken apart

	call   func(fd uintptr) // sends headers[:given], made once since RawConn takes a function
	given  int
	taken  int
	errno  unix.Errno
	waited bool // in this push
	room   []unix.PollFd
}

func newSender(b *Batch) *sender {
	n := max(b.limits.Messages, maxSegments)
	s := &sender{
		batch: b, headers: make([]unix.Mmsghdr, n), vectors: make([]unix.Iovec, n), names: make([]name, n),
		controls: make([]control, n), pieces: make([]message, 0, maxSegments), room: make([]unix.PollFd, 1),
	}
	for i := range s.headers {
		h := &s.headers[i].Hdr
		h.Name = (*byte)(unsafe.Pointer(&s.names[i]))
		h.Iov = &s.vectors[i]
		h.SetIovlen(1)
		s.controls[i].header = unix.Cmsghdr{Level: unix.IPPROTO_UDP, Type: unix.UDP_SEGMENT}
		s.controls[i].header.SetLen(unix.CmsgLen(2))
	}
	s.call = func(fd uintptr) { s.taken, s.errno = s.batch.socket.port.system.send(fd, s.headers[:s.given]) }
	return s
}

// push sends messages, at most as many as a Batch holds.
func (s *sender) push(messages []message) {
	s.waited = false
	s.pushAll(messages)
}

func (s *sender) pushAll(messages []message) {
	for len(messages) > 0 {
		if s.given = s.fill(messages); s.given == 0 {
			s.batch.drop(messages[0].count, errAddress)
			messages = messages[1:]
			continue
		}
		// Control takes no lock, as Write would: other goroutines may send from the same socket.
		if err := s.batch.socket.raw.Control(s.call); err != nil {
			s.dropAll(messages, net.ErrClosed)
			return
		}
		if s.errno != 0 {
			messages = s.refused(messages)
			continue
		}
		s.batch.stats.Calls++
		for i := range messages[:s.taken] {
			s.batch.took(messages[i].count, messages[i].end-messages[i].start)
		}
		messages = messages[s.taken:] // where some are left, the next call tells why
	}
}

// fill describes messages to the kernel, up to the first without a usable address, and returns how many.
func (s *sender) fill(messages []message) int {
	for i := range messages {
		m, h := &messages[i], &s.headers[i].Hdr
		if h.Namelen = write(&s.names[i], m.to, s.batch.socket.ipv4); h.Namelen == 0 {
			return i
		}
		s.vectors[i].Base = unsafe.SliceData(s.batch.buffer[m.start:])
		s.vectors[i].SetLen(m.end - m.start)
		if m.count == 1 {
			h.Control = nil
			h.SetControllen(0)
			continue
		}
		*(*uint16)(unsafe.Pointer(&s.controls[i].value)) = uint16(m.segment)
		h.Control = (*byte)(unsafe.Pointer(&s.controls[i]))
		h.SetControllen(unix.CmsgSpace(2))
	}
	return len(messages)
}

// refused deals with the first of the messages, which the kernel has refused, and returns those that are still to be sent.
func (s *sender) refused(messages []message) []message {
	p, first := s.batch.socket.port, &messages[0]
	err := os.NewSyscallError("sendmmsg", s.errno)
	switch s.errno {
	case unix.EINTR:
		return messages
	case unix.EAGAIN:
		if !s.waited && s.waitForRoom() {
			return messages
		}
		s.dropAll(messages, errFull)
		return nil
	case unix.ENOSYS:
		p.without(&p.sendmmsg, "sendmmsg", err)
		p.gso.Store(false)
		s.batch.sender = nil
		s.batch.pushPlain(messages)
		return nil
	case unix.EIO: // the interface cannot make checksums, which cutting apart needs
		if first.count > 1 {
			p.without(&p.gso, "GSO", err)
			s.pushPieces(first)
			return messages[1:]
		}
	case unix.EINVAL, unix.EMSGSIZE: // the segments are longer than the path's MTU: alone they travel in fragments
		if first.count > 1 {
			s.pushPieces(first)
			return messages[1:]
		}
	}
	s.batch.drop(first.count, err)
	return messages[1:]
}

// pushPieces sends the datagrams of a message as messages of their own.
func (s *sender) pushPieces(m *message) {
	s.pieces = s.pieces[:0]
	for at := m.start; at < m.end; at += m.segment {
		end := min(at+m.segment, m.end)
		s.pieces = append(s.pieces, message{to: m.to, start: at, end: end, segment: end - at, count: 1})
	}
	s.pushAll(s.pieces)
}

// waitForRoom waits until the kernel takes something again, once in a push. It blocks a thread, for so short that this does no
// harm.
func (s *sender) waitForRoom() bool {
	s.waited = true
	ready := 0
	_ = s.batch.socket.raw.Control(func(fd uintptr) {
		s.room[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT}
		ready, _ = unix.Poll(s.room, patience)
	})
	return ready > 0
}

func (s *sender) dropAll(messages []message, err error) {
	for i := range messages {
		s.batch.drop(messages[i].count, err)
	}
}
