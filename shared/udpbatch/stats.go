package udpbatch

import "sync/atomic"

// Stats are totals of a Port since the start.
type Stats struct {
	Received     uint64 // datagrams
	ReceiveCalls uint64 // system calls that brought some
	Unreadable   uint64 // errors of reading, such as ICMP's, and datagrams that could not be told apart
	Sent         SendStats
}

// SendStats are totals of what was sent.
type SendStats struct {
	Datagrams uint64 // that the kernel took
	Bytes     uint64 // of those, without headers
	Messages  uint64 // they went in; fewer than Datagrams where GSO joins some
	Calls     uint64 // system calls that sent some
	Dropped   uint64 // datagrams that the kernel refused, or that had no usable address
}

func (s *SendStats) add(o SendStats) {
	s.Datagrams += o.Datagrams
	s.Bytes += o.Bytes
	s.Messages += o.Messages
	s.Calls += o.Calls
	s.Dropped += o.Dropped
}

// counters are those of one socket.
type counters struct {
	received, receiveCalls, unreadable         atomic.Uint64
	datagrams, bytes, messages, calls, dropped atomic.Uint64
}

// add counts what a Batch has sent since it was last counted.
func (c *counters) add(s SendStats) {
	c.datagrams.Add(s.Datagrams)
	c.bytes.Add(s.Bytes)
	c.messages.Add(s.Messages)
	c.calls.Add(s.Calls)
	if s.Dropped > 0 {
		c.dropped.Add(s.Dropped)
	}
}

// sent counts one datagram of n bytes that was sent alone, or refused.
func (c *counters) sent(ok bool, n int) {
	if !ok {
		c.dropped.Add(1)
		return
	}
	c.add(SendStats{Datagrams: 1, Bytes: uint64(n), Messages: 1, Calls: 1})
}

// Stats is a snapshot. Batches are counted when they are flushed.
func (p *Port) Stats() Stats {
	var t Stats
	for _, s := range p.sockets {
		t.Received += s.received.Load()
		t.ReceiveCalls += s.receiveCalls.Load()
		t.Unreadable += s.unreadable.Load()
		t.Sent.add(SendStats{s.datagrams.Load(), s.bytes.Load(), s.messages.Load(), s.calls.Load(), s.dropped.Load()})
	}
	return t
}
