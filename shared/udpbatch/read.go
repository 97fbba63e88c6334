package udpbatch

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

// maxDatagram is room for any datagram, and for any the kernel has joined.
const maxDatagram = 64 << 10

// errNoBatches says that the kernel cannot read in batches after all.
var errNoBatches = errors.New("udpbatch: no recvmmsg")

// Read reads one of the sockets (0 to Sockets()-1) until the Port is closed, and then returns net.ErrClosed; other errors mean
// that the socket is unusable. One goroutine per socket.
//
// handle is called for each datagram, also for empty ones, end (which may be nil) after those that came together. The datagram may
// be changed, and is valid until handle returns. Neither may block, nor close the Port.
func (p *Port) Read(socket int, handle func(datagram []byte, from netip.AddrPort), end func()) error {
	s := p.sockets[socket]
	if end == nil {
		end = func() {}
	}
	if p.recvmmsg.Load() {
		if err := s.readBatches(handle, end); !errors.Is(err, errNoBatches) {
			return err
		}
	}
	return s.readPlain(handle, end)
}

// readPlain reads datagram by datagram.
func (s *socket) readPlain(handle func([]byte, netip.AddrPort), end func()) error {
	var faults faults
	for buffer := make([]byte, maxDatagram); ; {
		n, from, err := s.conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			if err = faults.survive(s, err); err != nil {
				return err
			}
			continue
		}
		faults = 0
		s.received.Add(1)
		s.receiveCalls.Add(1)
		handle(buffer[:n:n], unmap(from))
		end()
	}
}

// faults counts errors in a row. Most are told once, such as that a peer's port is closed (ICMP), and reading goes on; one that
// stays must not keep a processor busy.
type faults int

// survive waits a little when there are many. It returns an error when reading has to end.
func (f *faults) survive(s *socket, err error) error {
	switch {
	case errors.Is(err, net.ErrClosed):
		return net.ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return err
	}
	s.unreadable.Add(1)
	*f++
	const atOnce, doublings = 8, 7 // 1 ms, then 2 ms, up to 128 ms
	if *f <= atOnce {
		return nil
	}
	wait := time.NewTimer(time.Millisecond << min(int(*f)-atOnce-1, doublings))
	defer wait.Stop()
	select {
	case <-s.port.closed:
		return net.ErrClosed
	case <-wait.C:
		return nil
	}
}
