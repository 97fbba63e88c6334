package peer

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"portico/edge/tcpdoor"
)

// newDoor opens a TCP port on loopback, without anybody for HTTP but one who reads what a connection begins with.
func newDoor(t testing.TB) *tcpdoor.Door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	d := tcpdoor.Over(l)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := d.Web().Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	t.Cleanup(func() {
		_ = d.Close()
		<-ended
	})
	return d
}

// byTCP is a Conn and its client, which uses TCP only.
func byTCP(t testing.TB, options PortOptions, active bool) (*Port, *Conn, *owner, *client) {
	t.Helper()
	if options.TCP == nil {
		options.TCP = newDoor(t)
	}
	port := newPort(t, options)
	o := newOwner()
	c, far := newConn(t, port, o), newClientBy(t, ice.NetworkTypeTCP4, active, dtls.SRTP_AEAD_AES_128_GCM)
	l, err := c.Start(far.offer())
	must(t, err)
	far.connect(l)
	o.until(t, c, Connected)
	return port, c, o, far
}

// TestByTCP: the same packets for a client that UDP does not reach.
func TestByTCP(t *testing.T) {
	for _, plain := range []bool{false, true} {
		for _, active := range []bool{false, true} {
			t.Run(fmt.Sprintf("plain %v, active %v", plain, active), func(t *testing.T) {
				port, c, o, far := byTCP(t, PortOptions{Plain: plain}, active)
				if direct := c.stream.Load() != nil; direct == plain {
					t.Errorf("past ICE: %v", direct)
				}
				local, remote := c.Selected()
				if !strings.HasPrefix(local, "host tcp4 127.0.0.1 ") || !strings.HasPrefix(remote, "prflx tcp4 127.0.0.1 ") {
					t.Errorf("%s - %s", local, remote)
				}
				exchange(t, c, o, far, port.NewOutlet(1))
			})
		}
	}
}

// TestTCPAfterUDP: in an answer the candidates of TCP come after all of UDP, and have less priority.
func TestTCPAfterUDP(t *testing.T) {
	door := newDoor(t)
	port := newPort(t, PortOptions{TCP: door})
	c := newConn(t, port, newOwner())
	l, err := c.Start(newClient(t, true, dtls.SRTP_AEAD_AES_128_GCM).offer())
	must(t, err)
	if len(l.Candidates) != 2 {
		t.Fatalf("%q", l.Candidates)
	}
	var priorities []uint32
	for _, text := range l.Candidates {
		candidate, err := ice.UnmarshalCandidate(text)
		must(t, err)
		priorities = append(priorities, candidate.Priority())
	}
	want := fmt.Sprintf("1 tcp %d 127.0.0.1 %d typ host tcptype passive", priorities[1], door.Addr().(*net.TCPAddr).Port)
	if !strings.HasSuffix(l.Candidates[1], want) || priorities[1] >= priorities[0] || priorities[1]>>24 >= 100 {
		t.Errorf("%q", l.Candidates)
	}
	if port.TCPPort() != door.Addr().(*net.TCPAddr).Port {
		t.Errorf("port %d", port.TCPPort())
	}
}

// TestRestartByTCP: packets go the old way until there is a new one, and then the old connection ends.
func TestRestartByTCP(t *testing.T) {
	door := newDoor(t)
	port, c, o, far := byTCP(t, PortOptions{TCP: door}, false)
	out := port.NewOutlet(0)
	old := c.stream.Load()
	l, err := c.Restart("clientufrag", "clientpasswordthatislongenough")
	must(t, err)
	must(t, c.WriteRTP(out, packet(1, "on its way")))
	if got := far.next(); string(got[12:]) != "on its way" {
		t.Errorf("%q", got)
	}
	far.send(99, 1, "still here")
	if got := o.next(t); got != "rtp still here" {
		t.Error(got)
	}
	must(t, far.agent.Restart("clientufrag", "clientpasswordthatislongenough"))
	must(t, far.agent.SetRemoteCredentials(l.Ufrag, l.Password))
	far.rejoin(l)
	for c.stream.Load() == old {
		<-o.changes
	}
	must(t, c.WriteRTP(out, packet(2, "anew")))
	if got := far.next(); string(got[12:]) != "anew" {
		t.Errorf("%q", got)
	}
	for late := time.Now().Add(5 * time.Second); ; {
		if err := old.Write([]byte{0}); err != nil {
			break
		}
		if time.Now().After(late) {
			t.Fatal("the old connection stays")
		}
	}
}

// TestStreamsEnd: after a Conn nothing is left of its connections.
func TestStreamsEnd(t *testing.T) {
	door := newDoor(t)
	port, c, o, far := byTCP(t, PortOptions{TCP: door}, false)
	must(t, far.dtls.Close())
	o.until(t, c, Closed)
	c.Close()
	c.Close()
	port.mux.mu.Lock()
	defer port.mux.mu.Unlock()
	if len(port.mux.owners) != 0 || len(c.streams.open) != 0 {
		t.Errorf("%d names, %d connections", len(port.mux.owners), len(c.streams.open))
	}
}

// TestConnClosesItsStreams: the client reads the end of its connection, with what was sent last before it.
func TestConnClosesItsStreams(t *testing.T) {
	_, c, _, far := byTCP(t, PortOptions{}, false)
	c.Close()
	b := make([]byte, 100)
	if n, err := far.dtls.Read(b); err != io.EOF {
		t.Errorf("the end of the association was not told: %q, %v", b[:n], err)
	}
}

// TestStrangersByTCP: connections that do not begin with a binding request for somebody here are closed, and so are too many.
func TestStrangersByTCP(t *testing.T) {
	door := newDoor(t)
	port := newPort(t, PortOptions{TCP: door})
	o := newOwner()
	c, far := newConn(t, port, o), newClientBy(t, ice.NetworkTypeTCP4, true, dtls.SRTP_AEAD_AES_128_GCM)
	l, err := c.Start(far.offer())
	must(t, err)
	noCookie := binding(t, l.Ufrag+":x")
	noCookie[4]++
	for name, first := range map[string][]byte{
		"nobody's": binding(t, "nobody:x"), "no user": binding(t, ""), "no cookie": noCookie, "no STUN": make([]byte, 100),
		"empty": {}, "cut": binding(t, l.Ufrag+":x")[:24],
	} {
		if !ends(t, dial(t, door, first)) {
			t.Errorf("%s: stays open", name)
		}
	}
	var mine []net.Conn
	for range maxStreams {
		mine = append(mine, dial(t, door, binding(t, l.Ufrag+":x")))
	}
	for late := time.Now().Add(5 * time.Second); ; {
		c.streams.mu.Lock()
		n := len(c.streams.open)
		c.streams.mu.Unlock()
		if n == maxStreams {
			break
		}
		if time.Now().After(late) {
			t.Fatalf("%d connections", n)
		}
	}
	if !ends(t, dial(t, door, binding(t, l.Ufrag+":x"))) {
		t.Error("one more is taken")
	}
	c.Close()
	for _, m := range mine {
		if !ends(t, m) {
			t.Error("one outlives its Conn")
		}
	}
	if s := door.Stats(); s.Unknown != 7 {
		t.Errorf("%+v", s)
	}
}

// dial opens a connection that begins with a packet.
func dial(t *testing.T, door *tcpdoor.Door, first []byte) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", door.Addr().String())
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(first))), first...))
	must(t, err)
	return c
}

// ends tells whether the other side closes the connection.
func ends(t *testing.T, c net.Conn) bool {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(8*time.Second)))
	_, err := io.Copy(io.Discard, c)
	timeout, ok := err.(net.Error)
	return !ok || !timeout.Timeout()
}

// TestStreamTakesNoForeignAddress: a packet for an address that no connection came from is refused, and does not wait.
func TestStreamTakesNoForeignAddress(t *testing.T) {
	_, c, _, _ := byTCP(t, PortOptions{}, false)
	side := c.stream.Load().side
	if _, err := side.WriteToAddrPort([]byte{1}, netip.MustParseAddrPort("192.0.2.1:9")); err != errNoStream {
		t.Error(err)
	}
	if _, err := side.WriteTo([]byte{1}, &net.UDPAddr{}); err == nil {
		t.Error("an address of UDP is taken")
	}
}

// TestNoAllocationsByTCP: sealing costs no memory there either.
func TestNoAllocationsByTCP(t *testing.T) {
	port, c, _, _ := byTCP(t, PortOptions{}, false)
	out := port.NewOutlet(0)
	p := packet(0, string(make([]byte, 1050)))
	seq := uint16(0)
	if n := testing.AllocsPerRun(300, func() {
		binary.BigEndian.PutUint16(p[2:], seq)
		seq++
		must(t, c.WriteRTP(out, p))
	}); n >= 2 { // those that wait come from a pool
		t.Errorf("%v allocations for a packet sent", n)
	}
}
