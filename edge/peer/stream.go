package peer

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"portico/edge/tcpdoor"
)

// maxStreams is how many TCP connections a client may have open; it tries one for each of its addresses and of ours.
const maxStreams = 16

// streams are the TCP connections of one Conn. For each family there is one candidate of the ICE agent, which is made when the first
// connection comes: nearly all clients never open one.
type streams struct {
	mu      sync.Mutex // guards the fields below; a leaf
	sides   [2]*streamSide
	open    map[*stream]bool
	closed  bool
	running sync.WaitGroup // of open
}

// Join implements tcpdoor.Side: a connection belongs to the Conn whose ICE user name the first binding request on it carries.
func (m *mux) Join(first []byte, raw *tcpdoor.Conn) tcpdoor.Receiver {
	user, ok := bindingUser(first)
	if !ok {
		return nil
	}
	ufrag, _, _ := strings.Cut(user, ":")
	m.mu.RLock()
	owner := m.owners[ufrag]
	m.mu.RUnlock()
	if owner == nil {
		return nil
	}
	if s := owner.join(raw); s != nil {
		return s
	}
	return nil
}

// own makes a Conn known by its ICE user name, for connections of TCP, and forgets the one that it had before.
func (m *mux) own(c *Conn, ufrag string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disown(c)
	m.owners[ufrag], c.ufrag = c, ufrag
}

// disown is the reverse of own. mu is held.
func (m *mux) disown(c *Conn) {
	if m.owners[c.ufrag] == c {
		delete(m.owners, c.ufrag)
	}
}

// join takes a connection that the client has opened; nil when there are too many.
func (c *Conn) join(raw *tcpdoor.Conn) *stream {
	family := familyOf(raw.RemoteAddr().Addr())
	t := &c.streams
	t.mu.Lock()
	if t.closed || len(t.open) >= maxStreams {
		t.mu.Unlock()
		return nil
	}
	side, isNew := t.sides[family], false
	if side == nil {
		side, isNew = newStreamSide(c, family, raw.LocalAddr()), true
		t.sides[family] = side
	}
	s := &stream{Conn: raw, side: side}
	if t.open == nil {
		t.open = make(map[*stream]bool)
	}
	t.open[s] = true
	side.byAddress[raw.RemoteAddr()] = s
	t.running.Add(1)
	t.mu.Unlock()
	if isNew {
		if err := side.offer(); err != nil { // closed meanwhile
			s.Gone()
			return nil
		}
	}
	return s
}

// follow sends media through the client's connection from that address from now on; the zero one: through none.
func (c *Conn) follow(from netip.AddrPort) {
	t := &c.streams
	t.mu.Lock()
	defer t.mu.Unlock()
	var s *stream
	if from.IsValid() {
		if side := t.sides[familyOf(from.Addr())]; side != nil {
			s = side.byAddress[from]
		}
	}
	if old := c.stream.Swap(s); old != nil && old != s && t.sides[old.side.family] != old.side {
		old.Close()
	}
}

// shut closes all connections and waits until they have ended.
func (t *streams) shut() {
	t.mu.Lock()
	t.closed = true
	for s := range t.open {
		s.Close()
	}
	t.mu.Unlock()
	t.running.Wait()
}

// stream is one connection.
type stream struct {
	*tcpdoor.Conn
	side *streamSide
}

// Receive implements tcpdoor.Receiver.
func (s *stream) Receive(b []byte) {
	owner := s.side.owner
	port := owner.port
	switch {
	case len(b) == 0:
	case isSRTP(b[0]) && !port.plain:
		owner.receive(b, -1, port.options.Now())
	default:
		s.side.deliver(b, s.RemoteAddr())
	}
}

// Gone implements tcpdoor.Receiver.
func (s *stream) Gone() {
	t := &s.side.owner.streams
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, s)
	if s.side.byAddress[s.RemoteAddr()] == s {
		delete(s.side.byAddress, s.RemoteAddr())
	}
	t.running.Done()
}

// streamSide is the candidate for one family: its connections as one socket, in which ICE tells them apart by the client's address.
// It implements net.PacketConn and ice.AddrPortReaderWriter.
type streamSide struct {
	owner     *Conn
	family    int
	local     netip.AddrPort
	queue     chan *datagram
	closed    chan struct{}
	once      sync.Once
	byAddress map[netip.AddrPort]*stream // the streams' mu guards it
}

var _ ice.AddrPortReaderWriter = (*streamSide)(nil)

func newStreamSide(owner *Conn, family int, local netip.AddrPort) *streamSide {
	return &streamSide{
		owner: owner, family: family, local: local, queue: make(chan *datagram, muxQueue), closed: make(chan struct{}),
		byAddress: make(map[netip.AddrPort]*stream),
	}
}

// offer makes the candidate known to the agent, whose own it then is.
func (s *streamSide) offer() error {
	candidate, err := ice.NewCandidateHost(&ice.CandidateHostConfig{
		Network: "tcp", Address: s.local.Addr().String(), Port: int(s.local.Port()), Component: ice.ComponentRTP,
		TCPType: ice.TCPTypePassive,
	})
	if err == nil {
		err = s.owner.agent.AddVirtualCandidate(candidate, s)
	}
	if err != nil {
		_ = s.Close()
	}
	return err
}

// deliver hands a packet to ICE.
func (s *streamSide) deliver(b []byte, from netip.AddrPort) {
	d := datagrams.Get().(*datagram)
	d.from, d.n = from, copy(d.data[:], b)
	select {
	case s.queue <- d:
	default:
		datagrams.Put(d)
		s.owner.port.mux.dropped.Add(1)
	}
}

// ReadFromAddrPort implements ice.AddrPortReaderWriter.
func (s *streamSide) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	return readNext(s.queue, s.closed, b)
}

// ReadFrom implements net.PacketConn.
func (s *streamSide) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := s.ReadFromAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.TCPAddrFromAddrPort(from), nil
}

// errNoStream is the answer when the client has closed the connection, or never opened one.
var errNoStream = errors.New("peer: no connection of TCP from there")

// WriteToAddrPort implements ice.AddrPortReaderWriter. It does not wait.
func (s *streamSide) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	t := &s.owner.streams
	t.mu.Lock()
	stream := s.byAddress[to]
	t.mu.Unlock()
	if stream == nil {
		return 0, errNoStream
	}
	if err := stream.Write(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// WriteTo implements net.PacketConn.
func (s *streamSide) WriteTo(b []byte, to net.Addr) (int, error) {
	tcp, ok := to.(*net.TCPAddr)
	if !ok {
		return 0, errors.New("peer: not a TCP address")
	}
	at := tcp.AddrPort()
	return s.WriteToAddrPort(b, netip.AddrPortFrom(at.Addr().Unmap(), at.Port()))
}

// Close implements net.PacketConn: the agent needs the candidate no more, at its end or for a restart, and so none of its connections
// but the one that media take until there is a new way.
func (s *streamSide) Close() error {
	s.once.Do(func() {
		close(s.closed)
		t := &s.owner.streams
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.sides[s.family] == s {
			t.sides[s.family] = nil
		}
		for _, stream := range s.byAddress {
			if stream != s.owner.stream.Load() {
				stream.Close()
			}
		}
	})
	return nil
}

// LocalAddr implements net.PacketConn.
func (s *streamSide) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(s.local) }

// SetDeadline implements net.PacketConn; ICE uses it only to end reading, which Close does.
func (s *streamSide) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.PacketConn.
func (s *streamSide) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.PacketConn.
func (s *streamSide) SetWriteDeadline(time.Time) error { return nil }
