package loadtest

import (
	"errors"
	"net/netip"
	"time"
)

// receiver is what a socket's datagrams are for. Its poller calls it, one call at a time for all sockets of the poller, with the poller's
// mu held: it must not block, and must not close sockets.
type receiver interface {
	// datagram is valid during the call. now is the clock of when it was read.
	datagram(b []byte, from netip.AddrPort, now int64)
	// tick is called about every tickInterval.
	tick(now int64)
}

// tickInterval is how often receivers may do what is due.
const tickInterval = 10 * time.Millisecond

// socketBuffer is asked for in both directions, in bytes: what comes while the generator has no CPU must not be lost.
const socketBuffer = 4 << 20

var errSocketClosed = errors.New("socket is closed")
