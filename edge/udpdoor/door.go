// Package udpdoor shares one UDP socket between media and QUIC: a Door gives each of them a connection of its own.
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
// Media goes straight through: its reader reads the socket itself, and puts what is QUIC's aside into a bounded queue. So media
// pays for one comparison and QUIC for one copy, nothing is allocated for a packet, and no goroutine stands between. The price
// is that QUIC hears only while media is being read.
package udpdoor

import (
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// socketBuffer is asked of the system for each direction of the socket; it gives what it allows.
const socketBuffer = 8 << 20

// Door is one UDP socket and the two connections it is split into. Make it with New.
type Door struct {
	conn    *net.UDPConn
	media   Media
	quic    QUIC
	dropped atomic.Uint64
}

// New takes over a socket: nobody else may read it any more. Either connection's Close closes it for both. Its buffers are
// enlarged as far as the system allows.
func New(conn *net.UDPConn) *Door {
	_ = conn.SetReadBuffer(socketBuffer) // smaller ones work too
	_ = conn.SetWriteBuffer(socketBuffer)
	d := &Door{conn: conn}
	d.media.door = d
	d.quic.open(d)
	return d
}

// Media is the connection for ICE, DTLS and SRTP. Somebody has to read it all the time: QUIC lives on that.
func (d *Door) Media() *Media { return &d.media }

// QUIC is the connection for QUIC.
func (d *Door) QUIC() *QUIC { return &d.quic }

// Stats are totals since the start.
type Stats struct {
	Unknown     uint64 // datagrams of no protocol that is spoken here
	QUICDropped uint64 // datagrams for QUIC that came faster than they were read, or were too long for it
}

// Stats is a snapshot.
func (d *Door) Stats() Stats { return Stats{d.dropped.Load(), d.quic.dropped.Load()} }

// Close closes the socket. Reading and writing on both connections ends with net.ErrClosed. Closing twice is safe.
func (d *Door) Close() error {
	err := d.conn.Close()
	d.quic.end()
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

// Media is the side of ICE, DTLS and SRTP. It implements net.PacketConn, and what pion's AddrPortReaderWriter and *net.UDPConn have
// for reading and writing without allocation. One goroutine at a time reads; any number may write.
type Media struct{ door *Door }

// ReadFromUDPAddrPort reads one datagram that is not QUIC's, as (*net.UDPConn).ReadFromUDPAddrPort does.
func (m *Media) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	d := m.door
	for {
		n, from, err := d.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return n, from, err
		}
		switch protocolOf(b[:n]) {
		case protocolMedia:
			return n, from, nil
		case protocolQUIC:
			d.quic.deliver(b[:n], from)
		default:
			d.dropped.Add(1)
		}
	}
}

// ReadFromAddrPort is ReadFromUDPAddrPort, under the name that pion looks for.
func (m *Media) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	return m.ReadFromUDPAddrPort(b)
}

// ReadFrom implements net.PacketConn. It allocates the address.
func (m *Media) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := m.ReadFromUDPAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteToUDPAddrPort sends one datagram.
func (m *Media) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return m.door.conn.WriteToUDPAddrPort(b, to)
}

// WriteToAddrPort is WriteToUDPAddrPort, under the name that pion looks for.
func (m *Media) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return m.door.conn.WriteToUDPAddrPort(b, to)
}

// WriteTo implements net.PacketConn.
func (m *Media) WriteTo(b []byte, to net.Addr) (int, error) { return m.door.conn.WriteTo(b, to) }

// Close closes the Door.
func (m *Media) Close() error { return m.door.Close() }

// LocalAddr implements net.PacketConn.
func (m *Media) LocalAddr() net.Addr { return m.door.conn.LocalAddr() }

// SetDeadline implements net.PacketConn. Deadlines for writing are those of the socket, and so QUIC's too.
func (m *Media) SetDeadline(t time.Time) error { return m.door.conn.SetDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (m *Media) SetReadDeadline(t time.Time) error { return m.door.conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn; see SetDeadline.
func (m *Media) SetWriteDeadline(t time.Time) error { return m.door.conn.SetWriteDeadline(t) }

// SyscallConn gives the socket itself, for sending in batches and for options. Reading from it would take QUIC's packets away.
func (m *Media) SyscallConn() (syscall.RawConn, error) { return m.door.conn.SyscallConn() }
