package turnserver

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/turn/v3"
)

// Times of RFC 5766 that the library keeps to, and what we add.
const (
	permissionLife = 5 * time.Minute  // section 8
	channelLife    = 10 * time.Minute // section 11
	expiryGuard    = time.Second      // no new permissions this long before an allocation ends: see the package comment
)

// wire is a UDP socket or one stream, as the front sees it. Read is called by one goroutine, Write by any.
type wire interface {
	// Read gives one whole message or datagram, at most maxMessage bytes (one of more is reported and skipped, or ends a stream).
	Read(p []byte) (int, netip.AddrPort, error)
	Write(p []byte, to netip.AddrPort) error
	LocalAddr() net.Addr
	// Allocated tells whether the stream has an allocation, which may be idle for long.
	Allocated(has bool)
	Close() error
}

// front is the net.PacketConn that one turn.Server reads. What it lets through is well formed, within limits, and belongs to
// a client it knows; what the server writes passes it too, which tells it what was granted.
type front struct {
	s    *Server
	wire wire
	now  request // touched by the library's reader only, and by what that calls

	mu      sync.Mutex // guards clients; a leaf
	clients map[netip.AddrPort]*client

	ended  chan struct{} // closed when the library's reader has got its final error
	once   sync.Once
	relays sync.WaitGroup // allocations' sockets whose reader has not got its final error
}

// client is the holder of an allocation. All but relay is touched by the library's reader only.
type client struct {
	addr        *net.UDPAddr // never changed, so it may be shared
	user        string
	relay       *relayedConn
	expires     time.Time
	permissions map[netip.Addr]time.Time // end of life by peer
	channels    map[uint16]time.Time     // end of life by number
}

// request is the message that the library is handling: it takes the next one only when it is done with this.
type request struct {
	message
	src    netip.AddrPort
	client *client // nil when the source has no allocation
	user   string  // set when the credentials are known ones, before the library has checked the signature
	code   int     // the error to answer with instead of the library's, with its text
	text   string
}

func newFront(s *Server, w wire) *front {
	return &front{s: s, wire: w, clients: map[netip.AddrPort]*client{}, ended: make(chan struct{})}
}

// ReadFrom implements net.PacketConn: it returns the next message that passes. Only the closing of the front ends it.
func (f *front) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, src, err := f.wire.Read(p)
		if err != nil {
			f.once.Do(func() { close(f.ended) })
			return 0, nil, err
		}
		if addr := f.admit(p[:n], src); addr != nil {
			return n, addr, nil
		}
	}
}

// admit judges one message, answers it itself where the library would do it wrongly, and otherwise gives the source's address.
func (f *front) admit(b []byte, src netip.AddrPort) *net.UDPAddr {
	c := f.client(src)
	f.now = request{src: src, client: c}
	if isChannelData(b) {
		switch {
		case !wholeChannelData(b):
			return f.drop(Malformed)
		case c == nil:
			return f.drop(Stray)
		}
		return c.addr
	}
	m, ok := parse(b)
	if !ok {
		return f.drop(Malformed)
	}
	f.now.message = m
	if c == nil && !f.s.strangers.admit(src.Addr()) {
		return f.drop(RequestRate)
	}
	switch m.kind {
	case bindingIndication: // a keep-alive
		return nil
	case bindingRequest:
	case allocateRequest:
		if code, text := unsupported(m); code != 0 {
			f.s.counts.refuse(Unsupported)
			f.write(errorResponse(m.kind, m.id, code, text), src)
			return nil
		}
	case sendIndication:
		if c == nil {
			return f.drop(Stray)
		}
		if m.peers != 1 || !m.hasData {
			return f.drop(Malformed)
		}
	case refreshRequest, permissionRequest, channelBindRequest:
		if reason := f.admitOnAllocation(m, c, src); reason != passes {
			return f.drop(reason)
		}
	default:
		return f.drop(Malformed)
	}
	if c != nil {
		return c.addr
	}
	return net.UDPAddrFromAddrPort(src)
}

// admitOnAllocation judges a request that needs an allocation.
func (f *front) admitOnAllocation(m message, c *client, src netip.AddrPort) Reason {
	if c == nil {
		// RFC 5766 section 4; the library would not answer at all.
		f.write(errorResponse(m.kind, m.id, 437, "Allocation Mismatch"), src)
		return Stray
	}
	if m.kind == refreshRequest && m.lifetime == 0 {
		return passes // an end, which has no race with the library's timer
	}
	now := time.Now()
	if c.expires.Sub(now) < expiryGuard {
		return Expiring
	}
	if m.kind == channelBindRequest && !room(c.channels, m.channel, f.s.opts.ChannelsPerAllocation, now) {
		f.write(errorResponse(m.kind, m.id, 508, "Insufficient Capacity"), src)
		return ChannelQuota
	}
	return passes
}

// unsupported says which error an Allocate request for something we do not offer gets.
func unsupported(m message) (code int, text string) {
	switch {
	case m.transport == 6:
		return 442, "Unsupported Transport Protocol"
	case m.family != 0 && m.family != 1:
		return 440, "Address Family not Supported"
	case m.reserves:
		return 508, "Insufficient Capacity"
	}
	return 0, ""
}

// room says whether key is in the table or may be added, after forgetting what has ended. limit 0 means no limit.
func room[K comparable](table map[K]time.Time, key K, limit int, now time.Time) bool {
	if _, ok := table[key]; ok || limit == 0 || len(table) < limit {
		return true
	}
	for k, end := range table {
		if end.Before(now) {
			delete(table, k)
		}
	}
	return len(table) < limit
}

func (f *front) drop(r Reason) *net.UDPAddr {
	f.s.counts.refuse(r)
	return nil
}

func (f *front) client(src netip.AddrPort) *client {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clients[src]
}

// authenticate is the library's AuthHandler: it gives the key that the request has to be signed with.
func (f *front) authenticate(username, realm string, _ net.Addr) (key []byte, ok bool) {
	password, ok := f.s.opts.Password(username)
	if !ok || realm != f.s.opts.Realm {
		f.s.counts.refuse(Credentials)
		return nil, false
	}
	f.now.user = userName(username)
	if c := f.now.client; c != nil && c.user != f.now.user {
		f.s.counts.refuse(WrongUser)
		return nil, false
	}
	return turn.GenerateAuthKey(username, realm, password), true
}

// permit is the library's PermissionHandler, for CreatePermission and ChannelBind. The request is authenticated.
func (f *front) permit(_ net.Addr, peerIP net.IP) bool {
	peer, ok := netip.AddrFromSlice(peerIP)
	c := f.now.client
	if !ok || c == nil {
		return false
	}
	peer = peer.Unmap()
	if reason := f.s.policy.refuseIP(peer); reason != passes {
		f.s.counts.refuse(reason)
		return false
	}
	now := time.Now()
	if !room(c.permissions, peer, f.s.opts.PermissionsPerAllocation, now) {
		f.s.counts.refuse(PermissionQuota)
		return false
	}
	c.permissions[peer] = now.Add(permissionLife)
	return true
}

var errRefused = errors.New("refused")

// AllocatePacketConn implements turn.RelayAddressGenerator: the library calls it while it handles an authenticated Allocate.
func (f *front) AllocatePacketConn(string, int) (net.PacketConn, net.Addr, error) {
	user := f.now.user
	if reason := f.s.reserve(user); reason != passes {
		f.s.counts.refuse(reason)
		if reason == UserQuota {
			f.now.code, f.now.text = 486, "Allocation Quota Reached"
		}
		return nil, nil, errRefused
	}
	r, err := openRelay(f, user)
	if err != nil {
		f.s.release(user)
		f.s.counts.refuse(NoPort)
		return nil, nil, errRefused
	}
	c := &client{
		addr: net.UDPAddrFromAddrPort(f.now.src), user: user, relay: r,
		permissions: map[netip.Addr]time.Time{}, channels: map[uint16]time.Time{},
	}
	f.mu.Lock()
	f.clients[f.now.src] = c
	f.mu.Unlock()
	f.wire.Allocated(true)
	f.s.counts.made.Add(1)
	return r, net.UDPAddrFromAddrPort(r.advertised), nil
}

// forget takes an allocation off the table when its socket has been closed.
func (f *front) forget(r *relayedConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.clients[r.src]; c != nil && c.relay == r {
		delete(f.clients, r.src)
	}
	f.wire.Allocated(len(f.clients) > 0)
}

// AllocateConn implements turn.RelayAddressGenerator. TCP relaying (RFC 6062) is not offered, and the library never asks.
func (f *front) AllocateConn(string, int) (net.Conn, net.Addr, error) { return nil, nil, errRefused }

// Validate implements turn.RelayAddressGenerator.
func (f *front) Validate() error { return nil }

// WriteTo implements net.PacketConn. Data for clients comes from the allocations' goroutines, answers from the reader's.
func (f *front) WriteTo(p []byte, addr net.Addr) (int, error) {
	to, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, net.InvalidAddrError("not an address of ours")
	}
	dst := unmapped(to.AddrPort())
	out := p
	if !isChannelData(p) && len(p) >= stunHeader && p[0]&1 != 0 { // classSuccess and classError: an answer
		out = f.answer(p)
	}
	f.write(out, dst)
	return len(p), nil
}

// write sends and counts what fails: the library can do nothing about it.
func (f *front) write(p []byte, to netip.AddrPort) {
	if err := f.wire.Write(p, to); err != nil && !errors.Is(err, net.ErrClosed) {
		f.s.counts.refuse(SendFailed)
	}
}

// answer learns from an answer of the library to the request at hand, and may give another one to send instead.
func (f *front) answer(p []byte) []byte {
	m, ok := parse(p)
	if !ok {
		return p
	}
	now := time.Now()
	switch m.kind {
	case allocateSuccess:
		// An answer that is repeated for a repeated request does not prolong anything.
		if c := f.client(f.now.src); c != nil && f.now.client == nil {
			c.expires = now.Add(m.lifetime)
		}
	case refreshSuccess:
		if c := f.now.client; c != nil {
			c.expires = now.Add(m.lifetime)
		}
	case channelBindSuccess:
		if c := f.now.client; c != nil {
			c.channels[f.now.channel] = now.Add(channelLife)
		}
	case allocateError:
		if f.now.code != 0 {
			return errorResponse(allocateRequest, m.id, f.now.code, f.now.text)
		}
	}
	if m.kind&classMask == classError && m.errorCode == 400 && f.now.user != "" {
		f.s.counts.refuse(BadRequest)
	}
	return p
}

// Close implements net.PacketConn: the library's reader ends, and with it every allocation.
func (f *front) Close() error { return f.wire.Close() }

// wait closes what the library has left open and waits until none of its goroutines is in this package any more.
func (f *front) wait() {
	<-f.ended
	f.mu.Lock()
	var open []*relayedConn
	for _, c := range f.clients {
		open = append(open, c.relay)
	}
	f.mu.Unlock()
	for _, r := range open {
		_ = r.Close()
	}
	f.relays.Wait()
}

// LocalAddr implements net.PacketConn.
func (f *front) LocalAddr() net.Addr { return f.wire.LocalAddr() }

// The library sets no deadlines.

// SetDeadline implements net.PacketConn.
func (f *front) SetDeadline(time.Time) error { return errors.ErrUnsupported }

// SetReadDeadline implements net.PacketConn.
func (f *front) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

// SetWriteDeadline implements net.PacketConn.
func (f *front) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
