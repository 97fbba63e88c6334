// Package udpdoor shares one UDP port between media and QUIC, of browsers and of other nodes: a Door gives media the batches of
// shared/udpbatch, and each of the two a connection of its own.
//
// It stands at the very beginning and end of a packet's way, before rtc and before the QUIC server. What a datagram belongs to is
// told by its first byte (RFC 7983 as updated by RFC 9443):
//
//	0 to 3      STUN        media
//	4 to 19     nobody, or ZRTP, which is not spoken here: dropped
//	20 to 63    DTLS        media
//	64 to 127   QUIC        short headers (the range from 64 to 79 would be TURN channels, which never come to this socket)
//	128 to 191  RTP, RTCP   media
//	192 to 255  QUIC        long headers
//
// Browsers and nodes have a server of QUIC each, with its own bounds, so they are told apart before the handshake, in which ALPN stands.
// Nodes speak QUIC version 2 (RFC 9369), which stands in long headers, and are given connection ids that begin with a 1 bit, which stand in
// short ones (package link); all else is the browsers'. As long as nobody has asked for Links all of QUIC is.
//
// Media goes straight through: its readers read the sockets themselves, and put what is QUIC's aside into a bounded queue. So
// media pays for one comparison and QUIC for one copy, nothing is allocated for a packet, and no goroutine stands between. The
// price is that QUIC hears only while media is being read.
package udpdoor

import (
	"net"
	"net/netip"
	"sync/atomic"

	"portico/shared/udpbatch"
)

// Door is one UDP port and the two sides it is split into. Make it with Over.
type Door struct {
	port    *udpbatch.Port
	quic    QUIC
	links   QUIC
	dropped atomic.Uint64
}

// Over takes over a port: nobody else may read it any more.
func Over(port *udpbatch.Port) *Door {
	d := &Door{port: port}
	d.quic.open(d)
	d.links.open(d)
	return d
}

// QUIC is the connection for the QUIC of browsers.
func (d *Door) QUIC() *QUIC {
	d.quic.wanted.Store(true)
	return &d.quic
}

// Links is the connection for the QUIC of other nodes. To close it closes nothing else.
func (d *Door) Links() *QUIC {
	d.links.part = true
	d.links.wanted.Store(true)
	return &d.links
}

// Sockets says how many sockets there are. Each wants a goroutine in Read, since QUIC lives on that too.
func (d *Door) Sockets() int { return d.port.Sockets() }

// Read reads one of the sockets until the Door is closed, as udpbatch.Port.Read does, and calls handle for what is media's. end
// (which may be nil) follows when handle was called for some of those that came together.
func (d *Door) Read(socket int, handle func(datagram []byte, from netip.AddrPort), end func()) error {
	some := false
	return d.port.Read(socket, func(datagram []byte, from netip.AddrPort) {
		if d.sort(datagram, from) {
			some = true
			handle(datagram, from)
		}
	}, func() {
		if some && end != nil {
			end()
		}
		some = false
	})
}

// sort reports whether a datagram is media's, and puts it aside if it is QUIC's.
func (d *Door) sort(datagram []byte, from netip.AddrPort) bool {
	switch protocolOf(datagram) {
	case protocolMedia:
		return true
	case protocolQUIC:
		switch linked := d.links.wanted.Load(); {
		case linked && ofNode(datagram):
			d.links.deliver(datagram, from)
		case !linked, d.quic.wanted.Load():
			d.quic.deliver(datagram, from)
		default:
			d.dropped.Add(1)
		}
	default:
		d.dropped.Add(1)
	}
	return false
}

// quicVersion2 is the version as it stands in long headers.
const quicVersion2 = "\x6b\x33\x43\xcf"

// ofNode tells whether a datagram of QUIC is of a node link.
func ofNode(datagram []byte) bool {
	if datagram[0] < 192 { // a short header, and our connection id after it
		return len(datagram) > 1 && datagram[1]&0x80 != 0
	}
	return len(datagram) > 4 && string(datagram[1:5]) == quicVersion2
}

// NewBatch makes a batch of media that is sent from one of the sockets.
func (d *Door) NewBatch(socket int, l udpbatch.Limits) *udpbatch.Batch {
	return d.port.NewBatch(socket, l)
}

// WriteTo sends one datagram of media.
func (d *Door) WriteTo(b []byte, to netip.AddrPort) (int, error) { return d.port.WriteTo(b, to) }

// Addr is the address of the port.
func (d *Door) Addr() netip.AddrPort { return d.port.Addr() }

// LocalAddr is the address of the port, as net.PacketConn has it.
func (d *Door) LocalAddr() net.Addr { return d.port.LocalAddr() }

// Mode says how the port is read and written, as udpbatch.Port.Mode does.
func (d *Door) Mode() string { return d.port.Mode() }

// Why says what keeps the Mode from the best one; empty when nothing does.
func (d *Door) Why() string { return d.port.Why() }

// Stats are totals since the start.
type Stats struct {
	Unknown     uint64 // datagrams of no protocol that is spoken here
	QUICDropped uint64 // datagrams for QUIC that came faster than they were read, or were too long for it
	Port        udpbatch.Stats
}

// Stats is a snapshot.
func (d *Door) Stats() Stats {
	return Stats{d.dropped.Load(), d.quic.dropped.Load() + d.links.dropped.Load(), d.port.Stats()}
}

// Close closes the port, for both sides. Reading and writing ends with net.ErrClosed. It waits for handlers of Read, so they must
// not call it. Closing twice is safe.
func (d *Door) Close() error {
	err := d.port.Close()
	d.quic.end()
	d.links.end()
	return err
}

// protocol is what a datagram belongs to.
type protocol uint8

const (
	protocolNone protocol = iota
	protocolMedia
	protocolQUIC
)

// protocolOf sorts a datagram by its first byte; an empty one belongs to nobody.
func protocolOf(datagram []byte) protocol {
	if len(datagram) == 0 {
		return protocolNone
	}
	switch b := datagram[0]; {
	case b >= 192, b >= 64 && b < 128:
		return protocolQUIC
	case b >= 20, b < 4:
		return protocolMedia
	}
	return protocolNone
}
