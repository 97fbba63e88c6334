package link

import (
	"net"
	"runtime"

	"golang.org/x/net/ipv4"
)

// socket is a UDP socket as QUIC reads it: in batches, with the optimisations that it knows for such sockets. After each batch it lets
// others run: QUIC holds 128 datagrams for us and drops the rest, and where all processors are busy its reader would fill that
// over and over before ours gets its turn. What waits meanwhile, waits in the system's buffer, which is larger.
type socket struct {
	*net.UDPConn
	batches *ipv4.PacketConn
}

// wrap makes one of a connection, if it is UDP of the system.
func wrap(conn net.PacketConn) net.PacketConn {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return conn
	}
	return &socket{UDPConn: udp, batches: ipv4.NewPacketConn(udp)}
}

// ReadBatch is what QUIC calls.
func (s *socket) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	runtime.Gosched()
	return s.batches.ReadBatch(ms, flags)
}
