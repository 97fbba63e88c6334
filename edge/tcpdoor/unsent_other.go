//go:build !linux

package tcpdoor

import "net"

// limitUnsent does nothing here: packets may come later than they should.
func limitUnsent(net.Conn) { _ = unsent }
