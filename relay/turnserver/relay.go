package turnserver

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// relayedConn is the socket of one allocation, as the library sees it. Every packet in either direction is judged here, whatever
// permissions the library holds.
type relayedConn struct {
	f          *front
	user       string
	src        netip.AddrPort // the client's
	advertised netip.AddrPort
	udp        *net.UDPConn

	out, in bucket   // to peers, from peers
	lastIn  net.Addr // the address given out last: media comes from one peer mostly, so most packets share it
	lastAP  netip.AddrPort

	close sync.Once
	ended sync.Once
}

// portTries is how many ports of the range are tried for one allocation before it fails.
const portTries = 32

// openRelay opens a socket for the client whose request is being handled.
func openRelay(f *front, user string) (*relayedConn, error) {
	o := &f.s.opts
	var udp *net.UDPConn
	var err error
	for range portTries {
		port := o.MinPort
		if o.MaxPort > o.MinPort {
			port += uint16(rand.IntN(int(o.MaxPort-o.MinPort) + 1))
		}
		udp, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.s.bind, port)))
		if err == nil || o.MaxPort == o.MinPort {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	// A key frame arrives faster than one goroutine reads; failing to get the room is no fault.
	_ = udp.SetReadBuffer(relayBuffer)
	local := udp.LocalAddr().(*net.UDPAddr).AddrPort()
	r := &relayedConn{
		f: f, user: user, src: f.now.src, udp: udp, advertised: netip.AddrPortFrom(o.RelayIP, local.Port()),
		out: newBucket(o.Bitrate), in: newBucket(o.Bitrate),
	}
	f.s.policy.opened(local.Port())
	f.relays.Add(1)
	return r, nil
}

// relayBuffer is the receive buffer of an allocation, in bytes: about a tenth of a second at 20 Mbit/s.
const relayBuffer = 256 << 10

// ReadFrom implements net.PacketConn: it returns the next packet of a peer that passes. The library reads with 1,600 bytes; what
// fills them has been cut.
func (r *relayedConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, peer, err := r.udp.ReadFromUDPAddrPort(p)
		if err != nil {
			r.ended.Do(r.f.relays.Done)
			return 0, nil, err
		}
		c := &r.f.s.counts
		if reason := r.f.s.judge(peer); reason != passes {
			c.refuse(reason)
			continue
		}
		if n == len(p) {
			c.refuse(TooLong)
			continue
		}
		if !r.in.take(n) {
			c.refuse(BitRate)
			continue
		}
		c.packetsFrom.Add(1)
		c.bytesFrom.Add(uint64(n))
		if r.lastAP != peer || r.lastIn == nil {
			r.lastAP, r.lastIn = peer, net.UDPAddrFromAddrPort(unmapped(peer))
		}
		return n, r.lastIn, nil
	}
}

// WriteTo implements net.PacketConn. What is refused counts as written: UDP promises no more, and the library would log each.
func (r *relayedConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	c := &r.f.s.counts
	to, ok := addr.(*net.UDPAddr)
	if !ok {
		c.refuse(PeerInvalid)
		return len(p), nil
	}
	peer := unmapped(to.AddrPort())
	if reason := r.f.s.judge(peer); reason != passes {
		c.refuse(reason)
		return len(p), nil
	}
	if !r.out.take(len(p)) {
		c.refuse(BitRate)
		return len(p), nil
	}
	if _, err := r.udp.WriteToUDPAddrPort(p, peer); err != nil {
		c.refuse(SendFailed)
		return len(p), nil
	}
	c.packetsTo.Add(1)
	c.bytesTo.Add(uint64(len(p)))
	return len(p), nil
}

// Close implements net.PacketConn. The library calls it from timers and under its locks, so it waits for nothing. It
// never fails: the library would leave other allocations open.
func (r *relayedConn) Close() error {
	r.close.Do(func() {
		_ = r.udp.Close()
		r.f.forget(r)
		r.f.s.policy.closed(r.advertised.Port())
		r.f.s.release(r.user)
	})
	return nil
}

// LocalAddr implements net.PacketConn.
func (r *relayedConn) LocalAddr() net.Addr { return r.udp.LocalAddr() }

// The library sets no deadlines.

// SetDeadline implements net.PacketConn.
func (r *relayedConn) SetDeadline(time.Time) error { return errors.ErrUnsupported }

// SetReadDeadline implements net.PacketConn.
func (r *relayedConn) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

// SetWriteDeadline implements net.PacketConn.
func (r *relayedConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }
