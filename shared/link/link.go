// Package link connects two nodes of a cluster: one authenticated QUIC connection (RFC 9000), on which they call each other and send
// each other media.
//
// Both sides show a certificate of the cluster's own authority (package identity), by TLS 1.3 alone, and speak the version of this
// format that ALPN names, "portico-link/1". They speak QUIC version 2 (RFC 9369), and the connection ids of who listens begin with a 1 bit:
// so a port that browsers use too knows a link by each of its packets (package udpdoor).
//
//	bidirectional streams        a Call each: messages of a 32-bit length, big-endian, and so many bytes
//	datagrams (RFC 9221)         a flow id, a variable-length integer (RFC 9000 section 16), then one packet
//	one unidirectional stream    from each side: a byte 1, which says that this side takes the other for its peer, then the packets
//	                             that no datagram holds: a 16-bit length, big-endian, then as in a datagram
//
// What a flow is and what its packets mean is for those who use the Link. Packets get lost, in the network or in a full queue, and
// overtake each other; messages of a Call do neither.
//
// A Link is dead, and Done, at the latest about a second after the last sign of its peer. Nothing is repeated then: whoever needs the
// peer dials again (Dialer).
package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"portico/shared/relayproto"
)

// Errors of a Link and its Calls.
var (
	ErrClosed  = errors.New("link: closed")
	ErrLost    = errors.New("link: the peer is silent")
	ErrRefused = errors.New("link: refused")  // one side does not take the other for its peer: dialing again does not help
	ErrTooLong = errors.New("link: too long") // a packet or message
	ErrFlow    = errors.New("link: bad flow") // an id beyond MaxFlowID
	ErrFull    = errors.New("link: full")     // too many long packets wait
	ErrStalled = errors.New("link: stalled")  // the peer does not read a Call
	ErrBadPeer = errors.New("link: bad peer") // it does not keep to the format
)

// MaxMessage is the length of the longest message of a Call, in bytes.
const MaxMessage = relayproto.MaxMessage

// Options are what a Link needs. The zero value is valid.
type Options struct {
	// Receive is given the peer's packets, by one goroutine at a time for each Link; packet is valid during the call, which must
	// not wait for anything long, and must not close the Link: what comes meanwhile gets lost. nil drops all.
	Receive func(l *Link, flowID uint64, packet []byte)
	Log     *slog.Logger // default: nothing is logged
	Roles   []string     // accepted of the peer; empty: all
	// MaxCalls is how many Calls the peer may have open at a time; default 1,024. More wait on its side.
	MaxCalls int
	// MaxLinks is how many Links a Listener has at a time; default 1,024.
	MaxLinks int
	// DeadAfter is how long a peer may be silent; default 850 ms, which a last keep-alive lets grow to 1.15 s. Each side's
	// is its own.
	DeadAfter time.Duration
	// PacketSize is that of QUIC's packets in the beginning, in bytes without the headers of IP and UDP, 1,200 to 1,452; larger
	// ones are found out. Default 1,350: with it, packets of media fit from the first on, and it passes ordinary networks and VPNs.
	// On a path that does not carry it no Link comes about.
	PacketSize int
}

func (o *Options) fill() {
	if o.Receive == nil {
		o.Receive = func(*Link, uint64, []byte) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxCalls <= 0 {
		o.MaxCalls = 1024
	}
	if o.MaxLinks <= 0 {
		o.MaxLinks = 1024
	}
	if o.DeadAfter <= 0 {
		o.DeadAfter = deadAfter
	}
	if o.PacketSize == 0 {
		o.PacketSize = packetSize
	}
	o.PacketSize = min(max(o.PacketSize, 1200), 1452)
}

// Times. A peer that has died right after its last packet is asked by a keep-alive, and has DeadAfter from then on.
const (
	keepAlive        = 300 * time.Millisecond
	deadAfter        = 850 * time.Millisecond
	handshakeTimeout = 2 * time.Second // without a packet; twice that in all
	sendTimeout      = 5 * time.Second // of a message
	packetSize       = 1350
)

// Link is a connection to another node. Make it with Dial, a Dialer or a Listener. All methods are safe for concurrent use.
type Link struct {
	conn       *quic.Conn
	options    *Options
	name, role string
	release    func() // gives the socket back; after the connection
	in         *quic.ReceiveStream
	outlet     *quic.SendStream

	datagrams queue
	long      longQueue
	limit     atomic.Int64 // the longest datagram

	receiving                     sync.Mutex // held while Receive runs
	sent, received, dropped, junk atomic.Uint64

	done  chan struct{}
	err   error // why it is done; written before done is closed
	tasks sync.WaitGroup
}

// Stats are counters since the beginning.
type Stats struct {
	RTT      time.Duration // smoothed
	Lost     uint64        // packets of QUIC that were sent and did not arrive, of whatever content
	Sent     uint64        // packets given to QUIC
	Received uint64        // packets given to Receive
	Dropped  uint64        // packets that Send took or refused, and that were not sent for want of room
	Junk     uint64        // datagrams that came without a flow id
}

// newLink starts a Link on a connection on which both sides have accepted each other.
func newLink(conn *quic.Conn, o *Options, name, role string, in *quic.ReceiveStream, out *quic.SendStream, release func()) *Link {
	l := &Link{conn: conn, options: o, name: name, role: role, in: in, outlet: out, release: release, done: make(chan struct{})}
	l.datagrams.open()
	l.long.open()
	l.limit.Store(longestDatagram(conn))
	l.tasks.Go(l.sendDatagrams)
	l.tasks.Go(l.sendLong)
	l.tasks.Go(l.receiveDatagrams)
	l.tasks.Go(l.receiveLong)
	go l.watch()
	return l
}

// longestDatagram asks QUIC for it, by offering one that is too long and never sent.
func longestDatagram(conn *quic.Conn) int64 {
	var tooLong *quic.DatagramTooLargeError
	if errors.As(conn.SendDatagram(make([]byte, 1<<16)), &tooLong) {
		return tooLong.MaxDatagramPayloadSize
	}
	return 0
}

// watch ends the Link with its connection.
func (l *Link) watch() {
	ctx := l.conn.Context()
	<-ctx.Done()
	l.datagrams.close()
	l.long.close()
	l.tasks.Wait()
	l.err = explain(context.Cause(ctx))
	l.release()
	close(l.done)
}

// Peer tells who the other node is, as its certificate says.
func (l *Link) Peer() (name, role string) { return l.name, l.role }

// RemoteAddr is where the peer is, for the log.
func (l *Link) RemoteAddr() string { return l.conn.RemoteAddr().String() }

// Done is closed when the Link has ended, for whatever reason, and Receive is not called any more.
func (l *Link) Done() <-chan struct{} { return l.done }

// Err tells why the Link has ended, nil while it has not: ErrClosed when this side closed it or the peer did, ErrLost, ErrBadPeer.
func (l *Link) Err() error {
	select {
	case <-l.done:
		return l.err
	default:
		return nil
	}
}

// Close ends the Link and its Calls, tells the peer, and waits until Receive is not called any more. What Send has queued gets lost.
// It is safe twice, but not from Receive.
func (l *Link) Close() {
	l.shut(codeClosed, "")
	<-l.done
}

func (l *Link) shut(code quic.ApplicationErrorCode, why string) { _ = l.conn.CloseWithError(code, why) }

// Stats tells how the Link does.
func (l *Link) Stats() Stats {
	s := l.conn.ConnectionStats()
	return Stats{
		RTT: s.SmoothedRTT, Lost: s.PacketsLost,
		Sent: l.sent.Load(), Received: l.received.Load(), Dropped: l.dropped.Load(), Junk: l.junk.Load(),
	}
}

// Send sends a packet of a flow to the peer's Receive. It copies packet, and never blocks: when the network is slower, the oldest that
// waits is dropped and counted. One that no datagram holds goes over a stream, and does not get lost unless the Link does; when too
// many of those wait, Send fails with ErrFull. It fails with ErrTooLong beyond MaxPacket, with ErrFlow beyond MaxFlowID, and
// with ErrClosed when the Link has ended.
func (l *Link) Send(flowID uint64, packet []byte) error {
	n := varintLen(flowID) + len(packet)
	switch {
	case flowID > MaxFlowID:
		return ErrFlow
	case len(packet) > MaxPacket:
		return ErrTooLong
	case int64(n) > l.limit.Load():
		err := l.long.push(flowID, packet)
		if err == ErrFull {
			l.dropped.Add(1)
		}
		return err
	}
	dropped, ok := l.datagrams.push(flowID, packet)
	if !ok {
		return ErrClosed
	}
	if dropped {
		l.dropped.Add(1)
	}
	return nil
}

// explain makes an error of ours from one of QUIC.
func explain(err error) error {
	var (
		idle      *quic.IdleTimeoutError
		slow      *quic.HandshakeTimeoutError
		transport *quic.TransportError
		app       *quic.ApplicationError
		version   *quic.VersionNegotiationError
	)
	switch {
	case errors.As(err, &version):
		return fmt.Errorf("%w: the peer does not speak version 2 of QUIC: it is no node", ErrRefused)
	case errors.As(err, &idle), errors.As(err, &slow):
		return ErrLost
	case errors.As(err, &app):
		return app2err(app)
	case errors.As(err, &transport):
		return transport2err(transport)
	case errors.Is(err, quic.ErrTransportClosed), errors.Is(err, quic.ErrServerClosed):
		return ErrClosed
	case errors.Is(err, ErrBadPeer):
		return err
	}
	return fmt.Errorf("link: %w", err)
}
