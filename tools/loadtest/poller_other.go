//go:build !linux

package loadtest

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// poller is, on systems without epoll, what the readers of its sockets take turns by.
type poller struct {
	mu      sync.Mutex // guards sockets and all that their receivers own
	sockets map[*socket]struct{}
	stop    chan struct{}
	tasks   sync.WaitGroup
}

// socket is one participant's.
type socket struct {
	poller   *poller
	receiver receiver
	conn     *net.UDPConn
	port     uint16
}

// newPoller starts a poller; the caller closes it after its sockets.
func newPoller() (*poller, error) {
	p := &poller{sockets: map[*socket]struct{}{}, stop: make(chan struct{})}
	p.tasks.Go(p.run)
	return p, nil
}

// close ends the goroutines and waits for them.
func (p *poller) close() {
	close(p.stop)
	p.tasks.Wait()
}

func (p *poller) run() {
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
		}
		p.mu.Lock()
		for s := range p.sockets {
			s.receiver.tick(clock())
		}
		p.mu.Unlock()
	}
}

// open makes a socket on all addresses; v6 says of which family.
func (p *poller) open(v6 bool, r receiver) (*socket, error) {
	network := "udp4"
	if v6 {
		network = "udp6"
	}
	conn, err := net.ListenUDP(network, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot open a UDP socket: %w", err)
	}
	_ = conn.SetReadBuffer(socketBuffer)  // as much as the system lets us
	_ = conn.SetWriteBuffer(socketBuffer) // as above
	s := &socket{poller: p, receiver: r, conn: conn, port: uint16(conn.LocalAddr().(*net.UDPAddr).Port)}
	p.mu.Lock()
	p.sockets[s] = struct{}{}
	p.mu.Unlock()
	p.tasks.Go(s.read)
	return s, nil
}

func (s *socket) read() {
	buffer := make([]byte, 64<<10)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		now := clock()
		s.poller.mu.Lock()
		if _, open := s.poller.sockets[s]; open {
			s.receiver.datagram(buffer[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), now)
		}
		s.poller.mu.Unlock()
	}
}

// close closes the socket. Its receiver is not called any more. Safe twice.
func (s *socket) close() {
	s.poller.mu.Lock()
	delete(s.poller.sockets, s)
	s.poller.mu.Unlock()
	_ = s.conn.Close()
}

// writeTo sends one datagram, from any goroutine.
func (s *socket) writeTo(b []byte, to netip.AddrPort) error {
	_, err := s.conn.WriteToUDPAddrPort(b, to)
	return err
}

// drops is unknown here.
func (s *socket) drops() uint64 { return 0 }
