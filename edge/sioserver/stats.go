package sioserver

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Why a Socket was closed, as Handler.Closed and Stats tell it. Where the reference implementation has a name, it is the same.
const (
	ReasonClientDisconnect = "client namespace disconnect" // the client's disconnect packet
	ReasonServerDisconnect = "server namespace disconnect" // Socket.Disconnect
	ReasonServerClose      = "forced server close"         // Socket.Close, or the client broke the rules of Socket.IO
	ReasonTransportClose   = "transport close"             // the client closed its session or its WebSocket
	ReasonTransportError   = "transport error"             // network fault, two requests at a time, heartbeat in the wrong direction
	ReasonPingTimeout      = "ping timeout"
	ReasonParseError       = "parse error"      // garbage
	ReasonTooLong          = "message too long" // a WebSocket message beyond Options.MaxPayload
	ReasonQueueFull        = "queue full"       // the client does not take what is sent to it
	ReasonConnectTimeout   = "connect timeout"  // no connect packet; no Handler hears it
	ReasonShutdown         = "server shutting down"
	ReasonHandlerPanic     = "handler panicked"
)

// Stats is a snapshot of a Server's counters. All but Connections count since New.
type Stats struct {
	Connections int               // open sessions
	Opened      uint64            // sessions
	Upgraded    uint64            // sessions that moved from polling to a WebSocket
	PacketsIn   uint64            // Engine.IO packets
	PacketsOut  uint64            // handed to a transport
	BytesIn     uint64            // in those packets, without framing
	BytesOut    uint64            //
	Closed      map[string]uint64 // sessions by Reason
	Refused     map[string]uint64 // requests by the message of the refusal
}

type counters struct {
	opened, upgraded                         atomic.Uint64
	packetsIn, packetsOut, bytesIn, bytesOut atomic.Uint64

	mu              sync.Mutex // guards what follows
	closed, refused map[string]uint64
}

// Stats takes a snapshot. It is cheap enough to be taken every second.
func (srv *Server) Stats() Stats {
	c := &srv.stats
	s := Stats{
		Connections: srv.Len(),
		Opened:      c.opened.Load(),
		Upgraded:    c.upgraded.Load(),
		PacketsIn:   c.packetsIn.Load(),
		PacketsOut:  c.packetsOut.Load(),
		BytesIn:     c.bytesIn.Load(),
		BytesOut:    c.bytesOut.Load(),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Closed, s.Refused = maps.Clone(c.closed), maps.Clone(c.refused)
	return s
}

func (c *counters) close(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed == nil {
		c.closed = make(map[string]uint64)
	}
	c.closed[reason]++
}

func (c *counters) refuse(message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == nil {
		c.refused = make(map[string]uint64)
	}
	c.refused[message]++
}
