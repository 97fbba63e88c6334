//go:build !linux

package udpbatch

import (
	"net/netip"
	"syscall"
)

// spreads says whether the system spreads datagrams over sockets that share an address. Where SO_REUSEPORT exists elsewhere, it
// gives all to one of them.
const spreads = false

type system struct{}

// share is not called where spreads is false.
func share(syscall.RawConn) (network string, err error) { return "", nil }

func (p *Port) probe() { p.because("only Linux reads and writes in batches") }

// enlarge asks for buffers. What the system gave is not asked.
func (s *socket) enlarge(size int) (read, write int) {
	_ = s.conn.SetReadBuffer(size) // smaller ones work too
	_ = s.conn.SetWriteBuffer(size)
	return size, size
}

func (s *socket) readBatches(func([]byte, netip.AddrPort), func()) error { return errNoBatches }

// sender is not used: NewBatch makes one only where probe found batches.
type sender struct{}

func newSender(*Batch) *sender { return nil }

func (*sender) push([]message) {}
