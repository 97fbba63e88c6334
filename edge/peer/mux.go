package peer

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
	maxDatagram = 1600 // bytes; longer ones are dropped
	muxQueue    = 64   // datagrams of ICE and DTLS waiting for one transport
	muxMedia    = 512  // and of everything, on the plain path
	muxPeers    = 64   // addresses of one client
)

// holdTime is how long an address stays with the Conn that an authentic packet came to from there, whoever else claims it.
const holdTime = int64(time.Second)

// mux tells which Conn a datagram is for. A client's address belongs to the Conn whose ICE user name a binding request from there
// carries, and to nothing else: not to one that merely sends there, so that no client can take another's packets away by naming its
// address as a candidate; and not as long as another's media come from there.
type mux struct {
	port     *Port
	loopback bool
	dropped  atomic.Uint64 // datagrams for which there was no room
	version  atomic.Uint64 // counts changes of media

	mu     sync.RWMutex // guards the fields below
	ufrags [2]map[string]*muxConn
	peers  map[netip.AddrPort]*muxConn
	media  map[netip.AddrPort]*Conn // who gets SRTP from there; outlives a restart of ICE
	owners map[string]*Conn         // by their ICE user names, for connections of TCP
	closed bool

	found    []netip.AddrPort // the host's addresses, for UDP
	foundTCP []netip.AddrPort
	until    time.Time // when to look for others
}

// addressAge is how long the host's addresses are taken for the same: reading them takes longer than all else of a join.
const addressAge = 5 * time.Second

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

// readNext copies the next datagram of a queue into b. It fails with net.ErrClosed.
func readNext(queue <-chan *datagram, closed <-chan struct{}, b []byte) (int, netip.AddrPort, error) {
	select {
	case d := <-queue:
		n, from := copy(b, d.data[:d.n]), d.from
		datagrams.Put(d)
		return n, from, nil
	case <-closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func newMux(port *Port, loopback bool) *mux {
	m := &mux{
		port: port, loopback: loopback, peers: make(map[netip.AddrPort]*muxConn), media: make(map[netip.AddrPort]*Conn),
		owners: make(map[string]*Conn),
	}
	for i := range m.ufrags {
		m.ufrags[i] = make(map[string]*muxConn)
	}
	return m
}

// deliver hands a datagram to ICE.
func (m *mux) deliver(b []byte, from netip.AddrPort, now int64) {
	if len(b) > maxDatagram {
		m.dropped.Add(1)
		return
	}
	c := m.find(b, from, now)
	if c == nil {
		return
	}
	d := datagrams.Get().(*datagram)
	d.from, d.n = from, copy(d.data[:], b)
	select {
	case c.queue <- d:
	default:
		datagrams.Put(d)
		m.dropped.Add(1)
	}
}

// mediaOf is the Conn that media from an address are for; nil for nobody.
func (m *mux) mediaOf(from netip.AddrPort) *Conn {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.media[from]
}

// find is the connection that a datagram for ICE belongs to, nil when it belongs to none.
func (m *mux) find(b []byte, from netip.AddrPort, now int64) *muxConn {
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
	if holder := m.media[from]; holder != nil && holder != c.owner && now-holder.heard.Load() < holdTime {
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
	m.hold(c.owner, from)
	return c
}

// hold gives media from an address to a Conn. mu is held.
func (m *mux) hold(owner *Conn, from netip.AddrPort) {
	holder := m.media[from]
	if holder == owner {
		return
	}
	if holder != nil {
		holder.addresses = remove(holder.addresses, from)
	}
	if len(owner.addresses) >= muxPeers {
		delete(m.media, owner.addresses[0])
		owner.addresses = owner.addresses[1:]
	}
	m.media[from] = owner
	owner.addresses = append(owner.addresses, from)
	m.version.Add(1)
}

// leave forgets a Conn that has ended.
func (m *mux) leave(c *Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, from := range c.addresses {
		if m.media[from] == c {
			delete(m.media, from)
		}
	}
	c.addresses = nil
	m.disown(c)
	m.version.Add(1)
}

func remove(list []netip.AddrPort, gone netip.AddrPort) []netip.AddrPort {
	for i, a := range list {
		if a == gone {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
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

// muxOf is the mux as the ICE agent of one Conn sees it. It implements ice.UDPMux.
type muxOf struct {
	*mux
	owner *Conn
}

// GetConn implements ice.UDPMux: the connection of the ICE user name ufrag for the family of the local address. Each caller
// closes what it gets; the last one's Close takes the connection out.
func (o muxOf) GetConn(ufrag string, local net.Addr) (net.PacketConn, error) {
	m := o.mux
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
		length := muxQueue
		if m.port.plain {
			length = muxMedia
		}
		c = &muxConn{mux: m, owner: o.owner, ufrag: ufrag, family: family, queue: make(chan *datagram, length)}
		m.ufrags[family][ufrag] = c
	}
	if c.owner != o.owner {
		return nil, errUfragInUse
	}
	c.users++
	return &muxShare{muxConn: c, closed: make(chan struct{})}, nil
}

// RemoveConnByUfrag implements ice.UDPMux.
func (m *mux) RemoveConnByUfrag(ufrag string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, family := range m.ufrags {
		if c := family[ufrag]; c != nil {
			m.take(c)
		}
	}
}

// take takes a connection out. mu is held.
func (m *mux) take(c *muxConn) {
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

// GetListenAddresses implements ice.UDPMux: one address of each family, whatever others there are. All of them lead to the same
// socket, so more would only mean more checks and more goroutines; what clients are told are the Port's candidates.
func (m *mux) GetListenAddresses() []net.Addr {
	var list []net.Addr
	var families [2]bool
	udp, _ := m.addresses()
	for _, a := range udp {
		if family := familyOf(a.Addr()); !families[family] {
			families[family] = true
			list = append(list, net.UDPAddrFromAddrPort(a))
		}
	}
	return list
}

// Close implements ice.UDPMux. The Port is not an agent's to close.
func (muxOf) Close() error { return nil }

func (m *mux) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
}

var errUfragInUse = errors.New("peer: user name is in use")

// muxConn is what the socket is for one ICE user name and family. The mux's mu guards users and peers.
type muxConn struct {
	mux    *mux
	owner  *Conn
	ufrag  string
	family int
	queue  chan *datagram
	users  int
	peers  []netip.AddrPort
}

// forget drops an address that another connection has now. The mux's mu is held.
func (c *muxConn) forget(from netip.AddrPort) { c.peers = remove(c.peers, from) }

// muxShare is one user's hold on a muxConn. It implements net.PacketConn and ice.AddrPortReaderWriter.
type muxShare struct {
	*muxConn
	closed chan struct{}
	once   sync.Once
}

var _ ice.AddrPortReaderWriter = (*muxShare)(nil)

// ReadFromAddrPort implements ice.AddrPortReaderWriter.
func (s *muxShare) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	return readNext(s.queue, s.closed, b)
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
	return s.mux.port.sockets.WriteTo(b, to)
}

// WriteTo implements net.PacketConn.
func (s *muxShare) WriteTo(b []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, errors.New("peer: not a UDP address")
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
			s.mux.take(s.muxConn)
		}
	})
	return nil
}

// LocalAddr implements net.PacketConn.
func (s *muxShare) LocalAddr() net.Addr { return s.mux.port.sockets.LocalAddr() }

// SetDeadline implements net.PacketConn; ICE uses it only to end reading, which Close does.
func (s *muxShare) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.PacketConn.
func (s *muxShare) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.PacketConn.
func (s *muxShare) SetWriteDeadline(time.Time) error { return nil }
