package turnserver

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v2"
)

// rawClient speaks TURN by hand, to say what a library would not.
type rawClient struct {
	t                         *testing.T
	conn                      net.Conn
	username, password, nonce string
	buf                       [2048]byte
}

func newRaw(t *testing.T, s *Server, user string) *rawClient {
	t.Helper()
	conn, err := net.Dial("udp4", s.UDPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(waiting))
	c := &rawClient{t: t, conn: conn}
	c.username, c.password = credentials(user)
	return c
}

func (c *rawClient) send(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *rawClient) read() *stun.Message {
	c.t.Helper()
	n, err := c.conn.Read(c.buf[:])
	if err != nil {
		c.t.Fatal(err)
	}
	m := &stun.Message{Raw: append([]byte{}, c.buf[:n]...)}
	if err := m.Decode(); err != nil {
		c.t.Fatal(err)
	}
	return m
}

// silence holds that nothing is answered: the next answer is that to a Binding request.
func (c *rawClient) silence() {
	c.t.Helper()
	c.send(stunMessage(bindingRequest))
	if m := c.read(); m.Type != stun.BindingSuccess {
		c.t.Fatalf("answered with %v", m)
	}
}

// signed builds an authenticated request.
func (c *rawClient) signed(kind uint16, attrs ...[]byte) []byte {
	attrs = append(slices.Clone(attrs), attribute(attrUsername, []byte(c.username)...), attribute(attrRealm, []byte("portico")...), attribute(attrNonce, []byte(c.nonce)...))
	b := stunMessage(kind, attrs...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-stunHeader+24))
	key := md5.Sum([]byte(c.username + ":portico:" + c.password))
	mac := hmac.New(sha1.New, key[:])
	mac.Write(b)
	return append(b, attribute(attrIntegrity, mac.Sum(nil)...)...)
}

func (c *rawClient) request(kind uint16, attrs ...[]byte) *stun.Message {
	c.t.Helper()
	c.send(c.signed(kind, attrs...))
	return c.read()
}

func code(m *stun.Message) stun.ErrorCode {
	var e stun.ErrorCodeAttribute
	_ = e.GetFrom(m)
	return e.Code
}

var (
	wantUDP  = attribute(attrRequestedTransport, 17, 0, 0, 0)
	wantTCP  = attribute(attrRequestedTransport, 6, 0, 0, 0)
	wantIPv6 = attribute(attrRequestedFamily, 2, 0, 0, 0)
)

// allocate fetches a nonce and makes an allocation of the given lifetime in seconds.
func (c *rawClient) allocate(lifetime byte) {
	c.t.Helper()
	c.send(stunMessage(allocateRequest, wantUDP))
	m := c.read()
	var nonce stun.Nonce
	if err := nonce.GetFrom(m); err != nil || code(m) != 401 {
		c.t.Fatalf("%v, %v", m, err)
	}
	c.nonce = nonce.String()
	if m := c.request(allocateRequest, wantUDP, attribute(attrLifetime, 0, 0, 0, lifetime)); m.Type != stun.NewType(stun.MethodAllocate, stun.ClassSuccessResponse) {
		c.t.Fatalf("%v", m)
	}
}

// xorPeer is an XOR-PEER-ADDRESS of an IPv4 address.
func xorPeer(ip [4]byte, port uint16) []byte {
	v := []byte{0, 1, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(v[2:], port^stunCookie>>16)
	binary.BigEndian.PutUint32(v[4:], binary.BigEndian.Uint32(ip[:])^stunCookie)
	return attribute(attrPeerAddress, v...)
}

func TestUnsupportedOptions(t *testing.T) {
	s := startServer(t, nil)
	c := newRaw(t, s, "alice")
	for want, attrs := range map[stun.ErrorCode][][]byte{
		442: {wantTCP}, 440: {wantUDP, wantIPv6}, 508: {wantUDP, attribute(attrEvenPort, 0x80)},
	} {
		c.send(stunMessage(allocateRequest, attrs...))
		if m := c.read(); code(m) != want {
			t.Errorf("want %d, got %v", want, m)
		}
	}
	if n := s.Stats().Refused["unsupported"]; n != 3 {
		t.Fatalf("%d refused", n)
	}
}

// An empty XOR-PEER-ADDRESS at the very end of a message makes pion/turn v3.0.3 slice past its buffer.
func TestEmptyPeerAddress(t *testing.T) {
	s := startServer(t, nil)
	c := newRaw(t, s, "alice")
	c.allocate(200)
	for size := range 64 {
		c.send(stunMessage(sendIndication, attribute(attrData, make([]byte, 4*size)...), attribute(attrPeerAddress)))
	}
	c.silence()
	if n := s.Stats().Refused["malformed"]; n != 64 {
		t.Fatalf("%d refused", n)
	}
}

func TestGarbageDatagrams(t *testing.T) {
	s := startServer(t, nil)
	c := newRaw(t, s, "alice")
	c.allocate(200)
	messages := [][]byte{
		{0}, {0x40, 0}, {0x40, 0, 0xff, 0xff}, bytes.Repeat([]byte{0xff}, 1500), []byte("GET / HTTP/1.1\r\n\r\n"),
		stunMessage(0x0102), stunMessage(0x3eef), // an answer, an unknown method
		stunMessage(sendIndication), stunMessage(sendIndication, attribute(attrData, 1)),
		stunMessage(sendIndication, attribute(attrData, 1), xorPeer([4]byte{1, 1, 1, 1}, 1), xorPeer([4]byte{127, 0, 0, 1}, 1)),
	}
	for _, b := range messages {
		c.send(b)
	}
	c.send(stunMessage(bindingIndication))
	c.send(make([]byte, maxMessage+1))
	c.silence()
	n := s.Stats()
	if n.Refused["malformed"] != uint64(len(messages)) || n.Refused["too_long"] != 1 || n.Allocations != 1 {
		t.Fatalf("%+v", n)
	}
}

func TestStrangers(t *testing.T) {
	s := startServer(t, func(o *Options) { o.RequestsPerSecond = 5 })
	c := newRaw(t, s, "alice")
	c.send([]byte{0x40, 0, 0, 0})
	c.send(stunMessage(sendIndication, attribute(attrData, 1), xorPeer([4]byte{1, 1, 1, 1}, 1)))
	c.send(stunMessage(permissionRequest, xorPeer([4]byte{1, 1, 1, 1}, 1)))
	if m := c.read(); code(m) != 437 {
		t.Fatalf("a permission without an allocation: %v", m)
	}
	const flood = 1000
	for range flood {
		c.send(stunMessage(bindingRequest))
	}
	waitFor(t, s, "the flood", func(n Stats) bool { return n.Refused["request_rate"] > flood/2 })
	if n := s.Stats(); n.Refused["stray"] != 3 {
		t.Fatalf("%+v", n)
	}
}

func TestSomebodyElsesAllocation(t *testing.T) {
	s := startServer(t, nil)
	c := newRaw(t, s, "alice")
	c.allocate(200)
	c.username, c.password = credentials("mallory")
	if m := c.request(refreshRequest, attribute(attrLifetime, 0, 0, 0, 0)); code(m) != 400 {
		t.Fatalf("%v", m)
	}
	if n := s.Stats(); n.Allocations != 1 || n.Refused["wrong_user"] != 1 {
		t.Fatalf("%+v", n)
	}
	// The same user with a renewed credential is the same user.
	c.username, c.password = credentials("alice")
	if m := c.request(refreshRequest, attribute(attrLifetime, 0, 0, 0, 0)); m.Type.Class != stun.ClassSuccessResponse {
		t.Fatalf("%v", m)
	}
	waitFor(t, s, "the end of the allocation", func(n Stats) bool { return n.Allocations == 0 })
}

func TestLastSecond(t *testing.T) {
	s := startServer(t, nil)
	c := newRaw(t, s, "alice")
	c.allocate(1) // its last second begins at once
	c.send(c.signed(permissionRequest, xorPeer([4]byte{93, 184, 216, 34}, 9)))
	c.send(c.signed(channelBindRequest, attribute(attrChannelNumber, 0x40, 0, 0, 0), xorPeer([4]byte{93, 184, 216, 34}, 9)))
	c.silence()
	if n := s.Stats().Refused["expiring"]; n != 2 {
		t.Fatalf("%d refused", n)
	}
	waitFor(t, s, "the expiry", func(n Stats) bool { return n.Allocations == 0 })
}

// nowhere is a wire that takes everything.
type nowhere struct{}

func (nowhere) Read([]byte) (int, netip.AddrPort, error) { return 0, netip.AddrPort{}, net.ErrClosed }
func (nowhere) Write([]byte, netip.AddrPort) error       { return nil }
func (nowhere) LocalAddr() net.Addr                      { return nil }
func (nowhere) Allocated(bool)                           {}
func (nowhere) Close() error                             { return nil }

// The front's idea of an allocation's end must never be later than the library's.
func TestRepeatedAllocateProlongsNothing(t *testing.T) {
	s := startServer(t, nil)
	f := newFront(s, nowhere{})
	src := netip.MustParseAddrPort("127.0.0.1:4000")
	granted := stunMessage(allocateSuccess, attribute(attrLifetime, 0, 0, 0, 100))
	request := stunMessage(allocateRequest, wantUDP)

	f.admit(request, src)
	relay, _, err := f.AllocatePacketConn("udp4", 0)
	if err != nil {
		t.Fatal(err)
	}
	f.answer(granted)
	expires := f.client(src).expires
	if left := time.Until(expires); left < 99*time.Second || left > 100*time.Second {
		t.Fatalf("%v left", left)
	}
	f.admit(request, src)
	f.answer(granted)
	if got := f.client(src).expires; !got.Equal(expires) {
		t.Fatalf("the same answer again moved the end by %v", got.Sub(expires))
	}
	f.admit(stunMessage(refreshRequest), src)
	f.answer(stunMessage(refreshSuccess, attribute(attrLifetime, 0, 0, 0, 200)))
	if left := time.Until(f.client(src).expires); left < 199*time.Second {
		t.Fatalf("%v left after a refresh", left)
	}
	_ = relay.Close()
	f.relays.Done() // nobody reads from it
	if f.client(src) != nil {
		t.Fatal("the client is still known")
	}
}

func TestChannelQuota(t *testing.T) {
	s := startServer(t, func(o *Options) { o.ChannelsPerAllocation = 3 })
	c := newRaw(t, s, "alice")
	c.allocate(200)
	for i := range byte(5) {
		m := c.request(channelBindRequest, attribute(attrChannelNumber, 0x40, i, 0, 0), xorPeer([4]byte{93, 184, 216, 34}, uint16(i)+1))
		if ok := m.Type.Class == stun.ClassSuccessResponse; ok != (i < 3) || !ok && code(m) != 508 {
			t.Fatalf("channel %d: %v", i, m)
		}
	}
	if m := c.request(channelBindRequest, attribute(attrChannelNumber, 0x40, 1, 0, 0), xorPeer([4]byte{93, 184, 216, 34}, 2)); m.Type.Class != stun.ClassSuccessResponse {
		t.Fatalf("renewing a channel: %v", m)
	}
	if n := s.Stats().Refused["channel_quota"]; n != 2 {
		t.Fatalf("%d refused", n)
	}
}

// A channel to a refused peer is not bound, and data for it goes nowhere.
func TestChannelToRefusedPeer(t *testing.T) {
	s := startServer(t, nil)
	c := newRaw(t, s, "alice")
	c.allocate(200)
	m := c.request(channelBindRequest, attribute(attrChannelNumber, 0x40, 0, 0, 0), xorPeer([4]byte{127, 0, 0, 1}, 9))
	if m.Type.Class != stun.ClassErrorResponse {
		t.Fatalf("%v", m)
	}
	c.send([]byte{0x40, 0, 0, 4, 1, 2, 3, 4})
	c.silence()
	if n := s.Stats(); n.PacketsToPeers != 0 || n.Refused["peer_loopback"] != 1 {
		t.Fatalf("%+v", n)
	}
}

func dialTCP(t *testing.T, s *Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestGarbageStreams(t *testing.T) {
	s := startServer(t, nil)
	for name, text := range map[string]string{
		"http":            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"tls":             "\x16\x03\x01\x02\x00",
		"length overflow": "\x00\x01\xff\xec\x21\x12\xa4\x42" + strings.Repeat("x", 12), // pion's own framing spins on it
		"long data":       "\x40\x00\xff\xff",
	} {
		conn := dialTCP(t, s)
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if b, err := readAll(conn); len(b) > 0 || os.IsTimeout(err) {
			t.Errorf("%s: answered %q, %v: the connection should be cut", name, b, err)
		}
	}
	waitFor(t, s, "the end of all connections", func(n Stats) bool { return n.Connections == 0 })
	if n := s.Stats(); n.Refused["malformed"] != 4 {
		t.Fatalf("%+v", n)
	}
}

// A message may come in any pieces, and several at once.
func TestStreamPieces(t *testing.T) {
	s := startServer(t, nil)
	conn := dialTCP(t, s)
	request := stunMessage(bindingRequest)
	for _, b := range request {
		if _, err := conn.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Write(bytes.Repeat(request, 9)); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(waiting))
	for i := range 10 {
		header := make([]byte, stunHeader)
		if _, err := readFull(conn, header); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if _, err := readFull(conn, make([]byte, binary.BigEndian.Uint16(header[2:]))); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if binary.BigEndian.Uint16(header) != 0x0101 {
			t.Fatalf("answer %d is %x", i, header)
		}
	}
}

func TestConnectionQuotas(t *testing.T) {
	s := startServer(t, func(o *Options) { o.ConnectionsPerAddress = 2 })
	first := dialTCP(t, s)
	dialTCP(t, s)
	waitFor(t, s, "two connections", func(n Stats) bool { return n.Connections == 2 })
	if b, err := readAll(dialTCP(t, s)); len(b) > 0 || os.IsTimeout(err) {
		t.Fatalf("a third connection stays open: %q, %v", b, err)
	}
	if n := s.Stats(); n.Refused["connection_quota"] != 1 {
		t.Fatalf("%+v", n)
	}
	_ = first.Close()
	waitFor(t, s, "the end of the first", func(n Stats) bool { return n.Connections == 1 })
	dialTCP(t, s)
	waitFor(t, s, "another one", func(n Stats) bool { return n.Connections == 2 })
}
