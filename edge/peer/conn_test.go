package peer

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

type netAddr = net.Addr

func isLoopback(ip net.IP) bool { return ip.IsLoopback() }

// owner is a Handler that writes down what it is told.
type owner struct {
	packets chan string
	changes chan struct{}
}

func newOwner() *owner {
	return &owner{packets: make(chan string, 1<<12), changes: make(chan struct{}, 1<<8)}
}

func (o *owner) RTP(packet []byte, _ int) { o.packets <- "rtp " + string(packet[12:]) }

func (o *owner) RTCP(compound []byte, _ int) { o.packets <- fmt.Sprintf("rtcp %d", compound[1]) }

func (o *owner) Changed() { o.changes <- struct{}{} }

func (o *owner) next(t testing.TB) string {
	t.Helper()
	select {
	case p := <-o.packets:
		return p
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
		return ""
	}
}

// until waits for a state.
func (o *owner) until(t testing.TB, c *Conn, s State) {
	t.Helper()
	for late := time.After(20 * time.Second); c.State() != s; {
		select {
		case <-o.changes:
		case <-late:
			t.Fatalf("state %d, not %d", c.State(), s)
		}
	}
}

func newConn(t testing.TB, port *Port, o *owner) *Conn {
	t.Helper()
	certificate, err := new(Certificates).Get(time.Now())
	must(t, err)
	c, err := New(Config{
		Port: port, Certificate: certificate, Disconnected: 5 * time.Second, Failed: 5 * time.Second, Handler: o, Logs: silent(),
	})
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// connected is a Conn and its client.
func connected(t testing.TB, port *Port, active bool, profile dtls.SRTPProtectionProfile) (*Conn, *owner, *client) {
	t.Helper()
	o := newOwner()
	c, far := newConn(t, port, o), newClient(t, active, profile)
	l, err := c.Start(far.offer())
	must(t, err)
	far.connect(l)
	o.until(t, c, Connected)
	return c, o, far
}

// packet is an RTP packet of ours.
func packet(seq uint16, payload string) []byte {
	raw, err := (&rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 7, SequenceNumber: seq, PayloadType: 96}, Payload: []byte(payload)}).Marshal()
	if err != nil {
		panic(err)
	}
	return raw
}

// TestPaths: the same on each path, for each end that begins the handshake, with each cipher.
func TestPaths(t *testing.T) {
	for _, plain := range []bool{false, true} {
		port := newPort(t, PortOptions{Plain: plain})
		for _, active := range []bool{false, true} {
			for _, profile := range []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80} {
				t.Run(fmt.Sprintf("plain %v, active %v, %v", plain, active, profile), func(t *testing.T) {
					c, o, far := connected(t, port, active, profile)
					if fast := c.fast.Load() != nil; fast == plain {
						t.Errorf("on the fast path: %v", fast)
					}
					exchange(t, c, o, far, port.NewOutlet(1))
				})
			}
		}
	}
}

// exchange sends packets both ways.
func exchange(t *testing.T, c *Conn, o *owner, far *client, out *Outlet) {
	t.Helper()
	for seq := range uint16(10) {
		want := fmt.Sprint("up ", seq)
		far.send(99, seq, want)
		if got := o.next(t); got != "rtp "+want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	far.sendRTCP(&rtcp.PictureLossIndication{SenderSSRC: 99, MediaSSRC: 7})
	if got := o.next(t); got != "rtcp 206" {
		t.Error(got)
	}
	for seq := range uint16(10) {
		must(t, c.WriteRTP(out, packet(seq, fmt.Sprint("down ", seq))))
	}
	out.Flush()
	for seq := range uint16(10) {
		if got := far.next(); string(got[12:]) != fmt.Sprint("down ", seq) {
			t.Errorf("%q", got[12:])
		}
	}
	compound, err := (&rtcp.ReceiverReport{SSRC: 7}).Marshal()
	must(t, err)
	must(t, c.WriteRTCP(compound))
	if got := far.next(); !slices.Equal(got, compound) {
		t.Errorf("% x", got)
	}
}

// TestRestart: between the restart of ICE and its new way, packets go the old one, both ways.
func TestRestart(t *testing.T) {
	port := newPort(t, PortOptions{})
	c, o, far := connected(t, port, false, dtls.SRTP_AEAD_AES_128_GCM)
	out := port.NewOutlet(0)
	exchangeOne := func(seq uint16) {
		t.Helper()
		must(t, c.WriteRTP(out, packet(seq, "on its way")))
		out.Flush()
		if got := far.next(); string(got[12:]) != "on its way" {
			t.Errorf("%q", got)
		}
	}
	exchangeOne(1)
	// What an agent has of its client's is gone with a restart; so the client's own comes after ours is over.
	l, err := c.Restart("clientufrag", "clientpasswordthatislongenough")
	must(t, err)
	exchangeOne(2)
	far.send(99, 1, "still here")
	if got := o.next(t); got != "rtp still here" {
		t.Error(got)
	}
	must(t, far.agent.Restart("clientufrag", "clientpasswordthatislongenough"))
	must(t, far.agent.SetRemoteCredentials(l.Ufrag, l.Password))
	for len(o.changes) > 0 {
		<-o.changes
	}
	far.rejoin(l)
	<-o.changes // ICE has found a way again
	exchangeOne(3)
}

// TestWrongFingerprint: a client with another certificate than the one of its offer does not come in.
func TestWrongFingerprint(t *testing.T) {
	for _, bad := range []string{
		"sha-256 00:11", "sha-256", "md2 00", "", "sha-256 " + "AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99",
	} {
		o := newOwner()
		c, far := newConn(t, newPort(t, PortOptions{}), o), newClient(t, true, dtls.SRTP_AEAD_AES_128_GCM)
		offer := far.offer()
		offer.Fingerprint = bad
		l, err := c.Start(offer)
		must(t, err)
		far.reach(l)
		if far.handshake() == nil { // the server's last flight may be on its way before it looks
			t.Log("the client believes it is in")
		}
		o.until(t, c, Failed)
		if err := c.WriteRTP(c.port.NewOutlet(0), packet(1, "x")); err == nil {
			t.Error("a packet was sent")
		}
	}
}

// TestClientEnds: the end of the association is noticed.
func TestClientEnds(t *testing.T) {
	c, o, far := connected(t, newPort(t, PortOptions{}), false, dtls.SRTP_AEAD_AES_128_GCM)
	must(t, far.dtls.Close())
	o.until(t, c, Closed)
	c.Close()
	c.Close()
	if len(c.port.mux.media) != 0 {
		t.Error("its address is kept")
	}
}

// TestHostile: what is not the client's, or repeated, is counted and harms nobody.
func TestHostile(t *testing.T) {
	c, o, far := connected(t, newPort(t, PortOptions{}), false, dtls.SRTP_AEAD_AES_128_GCM)
	far.send(99, 1, "first")
	if got := o.next(t); got != "rtp first" {
		t.Fatal(got)
	}
	for _, b := range [][]byte{
		{0x80}, {0x80, 200}, make([]byte, 1600), {0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 99, 1, 2, 3}, {0xbf, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 99},
		{0x90, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 99, 0xbe, 0xde, 0xff, 0xff}, {0x80, 201, 0, 1, 0, 0, 0, 99},
	} {
		_, err := far.ice.Write(b)
		if b[0] != 0 {
			must(t, err)
		}
	}
	must(t, err(far.ice.Write(slices.Repeat([]byte{0x80}, 1500))))
	far.send(99, 2, "second")
	if got := o.next(t); got != "rtp second" {
		t.Error(got)
	}
	if c.Discards() < 6 {
		t.Errorf("%d discarded", c.Discards())
	}
}

func err(_ int, err error) error { return err }

// TestTooManySSRCs: a client that sends with ever new SSRCs is cut off.
func TestTooManySSRCs(t *testing.T) {
	c, o, far := connected(t, newPort(t, PortOptions{}), false, dtls.SRTP_AEAD_AES_128_GCM)
	for ssrc := uint32(0); c.State() == Connected; ssrc++ {
		far.send(ssrc, 1, "x")
		if got := o.next(t); got != "rtp x" {
			t.Fatal(got)
		}
		if ssrc > maxSSRCs {
			t.Fatal("nothing happens")
		}
	}
	o.until(t, c, Failed)
}

// TestNoAllocations: sealing and opening cost no memory.
func TestNoAllocations(t *testing.T) {
	port := newPort(t, PortOptions{})
	c, o, far := connected(t, port, false, dtls.SRTP_AEAD_AES_128_GCM)
	out := port.NewOutlet(0)
	p := packet(0, string(make([]byte, 1050)))
	seq := uint16(0)
	if n := testing.AllocsPerRun(1000, func() {
		binary.BigEndian.PutUint16(p[2:], seq)
		seq++
		must(t, c.WriteRTP(out, p))
		if seq%16 == 0 {
			out.Flush()
		}
	}); n != 0 {
		t.Errorf("%v allocations for a packet sent", n)
	}
	_, _ = o, far
}

func BenchmarkWriteRTP(b *testing.B) {
	for _, plain := range []bool{false, true} {
		b.Run(fmt.Sprintf("plain=%v", plain), func(b *testing.B) {
			port := newPort(b, PortOptions{Plain: plain})
			c, _, _ := connected(b, port, false, dtls.SRTP_AEAD_AES_128_GCM)
			out := port.NewOutlet(0)
			p := packet(0, string(make([]byte, 1050)))
			seq := uint16(0)
			b.ReportAllocs()
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				binary.BigEndian.PutUint16(p[2:], seq)
				must(b, c.WriteRTP(out, p))
				if seq++; seq%16 == 0 {
					out.Flush()
				}
			}
		})
	}
}
