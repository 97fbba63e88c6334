package rtc

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
)

// Bounds of what the mux keeps.
const (
	maxDatagram = 1600 // bytes; longer ones are cut, and then fail to authenticate
	muxQueue    = 512  // datagrams waiting for one transport
	muxPeers    = 64   // addresses of one transport's client
)

// udpMux shares the UDP socket among the transports: it implements ice.UDPMux. A client's address belongs to the transport
// whose ICE user name a binding request from there carries, and to nothing else: not to one that merely sends there, so that no
// client can take another's packets away by naming its address as a candidate.
type udpMux struct {
	conn     net.PacketConn
	udp      *net.UDPConn // conn if it is one: it reads and writes without allocating
	loopback bool
	done     chan struct{}
	dropped  atomic.Uint64 // datagrams for which there was no room

	mu     sync.RWMutex // guards the fields below
	ufrags [2]map[string]*muxConn
	peers  map[netip.AddrPort]*muxConn
	closed bool
}

// The two families have connections of their own: index of ufrags.
const (
	familyIPv4 = iota
	familyIPv6
)

func familyOf(address netip.Addr) int {
	if address.Is4() {
		return familyIPv4
	}
	return familyIPv6
}

// datagram is one that was received.
type datagram struct {
	from netip.AddrPort
	n    int
	data [maxDatagram]byte
}

var datagrams = sync.Pool{New: func() any { return new(datagram) }}

// newUDPMux starts reading from conn. Close ends it.
func newUDPMux(conn net.PacketConn, loopback bool) *udpMux {
	m := &udpMux{conn: conn, loopback: loopback, done: make(chan struct{}), peers: make(map[netip.AddrPort]*muxConn)}
	m.udp, _ = conn.(*net.UDPConn)
	for i := range m.ufrags {
		m.ufrags[i] = make(map[string]*muxConn)
	}
	go m.run()
	return m
}

func (m *udpMux) run() {
	defer close(m.done)
	d := datagrams.Get().(*datagram)
	failures := 0
	for {
		from, err := m.read(d)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || m.isClosed() {
				return
			}
			// An ICMP error about some peer, or a datagram that was too long. What does not pass must not eat the processor.
			if failures++; failures > 100 {
				time.Sleep(10 * time.Millisecond)
			}
			continue
		}
		failures = 0
		d.from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if c := m.find(d.data[:d.n], d.from); c != nil {
			select {
			case c.queue <- d:
				d = datagrams.Get().(*datagram)
			default:
				m.dropped.Add(1)
			}
		}
	}
}

func (m *udpMux) isClosed() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.closed
}

func (m *udpMux) read(d *datagram) (from netip.AddrPort, err error) {
	if m.udp != nil {
		d.n, from, err = m.udp.ReadFromUDPAddrPort(d.data[:])
		return from, err
	}
	n, address, err := m.conn.ReadFrom(d.data[:])
	if err != nil {
		return from, err
	}
	d.n = n
	if udp, ok := address.(*net.UDPAddr); ok {
		return udp.AddrPort(), nil
	}
	return from, errors.New("rtc: not a UDP address")
}

// find is the connection that a datagram belongs to, nil when it belongs to none.
func (m *udpMux) find(b []byte, from netip.AddrPort) *muxConn {
	m.mu.RLock()
	known := m.peers[from]
	m.mu.RUnlock()
	user, ok := bindingUser(b)
	if !ok {
		return known
	}
	ufrag, _, _ := strings.Cut(user, ":")
	m.mu.RLock()
	c := m.ufrags[familyOf(from.Addr())][ufrag]
	m.mu.RUnlock()
	if c == nil || c == known {
		return c
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ufrags[c.family][ufrag] != c { // removed meanwhile
		return nil
	}
	if len(c.peers) >= muxPeers {
		delete(m.peers, c.peers[0])
		c.peers = c.peers[1:]
	}
	if known != nil {
		known.forget(from)
	}
	m.peers[from] = c
	c.peers = append(c.peers, from)
	return c
}

// bindingUser reads the user name of a STUN binding request (RFC 8489 section 5: type, length, magic cookie, transaction;
// then attributes of type, length and value, padded to words).
func bindingUser(b []byte) (string, bool) {
	const (
		bindingRequest = 0x0001
		magicCookie    = 0x2112A442
		userName       = 0x0006
		header         = 20
	)
	if len(b) < header || binary.BigEndian.Uint16(b) != bindingRequest || binary.BigEndian.Uint32(b[4:]) != magicCookie {
		return "", false
	}
	for rest := b[header:]; len(rest) >= 4; {
		n := int(binary.BigEndian.Uint16(rest[2:]))
		if len(rest) < 4+n {
			return "", false
		}
		if binary.BigEndian.Uint16(rest) == userName {
			return string(rest[4 : 4+n]), true
		}
		rest = rest[min(len(rest), 4+(n+3)&^3):]
	}
	return "", false
}

// GetConn implements ice.UDPMux: the connection of the ICE user name ufrag for the family of the local address. Each caller
// closes what it gets; the last one's Close takes the connection out.
func (m *udpMux) GetConn(ufrag string, local net.Addr) (net.PacketConn, error) {
	family := familyIPv6
	if udp, ok := local.(*net.UDPAddr); ok && udp.IP.To4() != nil {
		family = familyIPv4
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, net.ErrClosed
	}
	c := m.ufrags[family][ufrag]
	if c == nil {
		c = &muxConn{mux: m, ufrag: ufrag, family: family, queue: make(chan *datagram, muxQueue)}
		m.ufrags[family][ufrag] = c
	}
	c.users++
	return &muxShare{muxConn: c, closed: make(chan struct{})}, nil
}

// RemoveConnByUfrag implements ice.UDPMux.
func (m *udpMux) RemoveConnByUfrag(ufrag string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, family := range m.ufrags {
		if c := family[ufrag]; c != nil {
			m.remove(c)
		}
	}
}

// remove takes a connection out. mu is held.
func (m *udpMux) remove(c *muxConn) {
	if m.ufrags[c.family][c.ufrag] == c {
		delete(m.ufrags[c.family], c.ufrag)
	}
	for _, from := range c.peers {
		if m.peers[from] == c {
			delete(m.peers, from)
		}
	}
	c.peers = nil
}

// GetListenAddresses implements ice.UDPMux: the socket's address, or all of the host's when it listens on all.
func (m *udpMux) GetListenAddresses() []net.Addr {
	local, ok := m.conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return nil
	}
	if !local.IP.IsUnspecified() {
		if local.IP.IsLoopback() && !m.loopback {
			return nil
		}
		return []net.Addr{local}
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var list []net.Addr
	for _, a := range all {
		network, ok := a.(*net.IPNet)
		switch {
		case !ok, network.IP.IsLinkLocalUnicast(), network.IP.IsMulticast():
		case network.IP.IsLoopback() && !m.loopback:
		case local.IP.To4() != nil && network.IP.To4() == nil:
		default:
			list = append(list, &net.UDPAddr{IP: network.IP, Port: local.Port})
		}
	}
	return list
}

// Close implements io.Closer: it closes the socket and returns when nothing is read any more.
func (m *udpMux) Close() error {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	var err error
	if !closed {
		err = m.conn.Close()
	}
	<-m.done
	return err
}

// muxConn is what the socket is for one ICE user name and family. The mux's mu guards users and peers.
type muxConn struct {
	mux    *udpMux
	ufrag  string
	family int
	queue  chan *datagram
	users  int
	peers  []netip.AddrPort
}

// forget drops an address that another connection has now. The mux's mu is held.
func (c *muxConn) forget(from netip.AddrPort) {
	for i, p := range c.peers {
		if p == from {
			c.peers = append(c.peers[:i], c.peers[i+1:]...)
			return
		}
	}
}

// muxShare is one user's hold on a muxConn. It implements net.PacketConn and ice.AddrPortReaderWriter.
type muxShare struct {
	*muxConn
	closed chan struct{}
	once   sync.Once
}

var _ ice.AddrPortReaderWriter = (*muxShare)(nil)

// ReadFromAddrPort implements ice.AddrPortReaderWriter.
func (s *muxShare) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case d := <-s.queue:
		n, from := copy(b, d.data[:d.n]), d.from
		datagrams.Put(d)
		return n, from, nil
	case <-s.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

// ReadFrom implements net.PacketConn.
func (s *muxShare) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := s.ReadFromAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteToAddrPort implements ice.AddrPortReaderWriter.
func (s *muxShare) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	select {
	case <-s.closed:
		return 0, net.ErrClosed
	default:
	}
	if s.mux.udp != nil {
		return s.mux.udp.WriteToUDPAddrPort(b, to)
	}
	return s.mux.conn.WriteTo(b, net.UDPAddrFromAddrPort(to))
}

// WriteTo implements net.PacketConn.
func (s *muxShare) WriteTo(b []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, errors.New("rtc: not a UDP address")
	}
	return s.WriteToAddrPort(b, udp.AddrPort())
}

// Close implements net.PacketConn.
func (s *muxShare) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.mux.mu.Lock()
		defer s.mux.mu.Unlock()
		if s.users--; s.users == 0 {
			s.mux.remove(s.muxConn)
		}
	})
	return nil
}

// LocalAddr implements net.PacketConn.
func (s *muxShare) LocalAddr() net.Addr { return s.mux.conn.LocalAddr() }

// SetDeadline implements net.PacketConn; ICE uses it only to end reading, which Close does.
func (s *muxShare) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.PacketConn.
func (s *muxShare) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.PacketConn.
func (s *muxShare) SetWriteDeadline(time.Time) error { return nil }
