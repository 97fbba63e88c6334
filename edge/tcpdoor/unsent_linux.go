package tcpdoor

import (
	"net"

	"golang.org/x/sys/unix"
)

// limitUnsent keeps the system from queueing what the network does not take yet: it has no age there, and would come late.
func limitUnsent(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // without it packets are late, and that is all
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent)
	})
}
