package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/logging"
)

// Timing of connections.
const (
	iceKeepalive     = 4 * time.Second
	dtlsRetry        = 250 * time.Millisecond
	handshakeTimeout = 30 * time.Second
	gatherTimeout    = 5 * time.Second // candidates are of this host: it takes milliseconds
	replayWindow     = 1024            // packets; retransmissions on the same SSRC come that late
)

// Errors of a Conn.
var (
	ErrNotConnected = errors.New("peer: not connected")
	ErrClosed       = errors.New("peer: closed")
)

// State is how far a connection has come.
type State uint32

// The states.
const (
	Connecting State = iota
	Connected        // SRTP flows; again after ICE has found another way
	Failed           // ICE or DTLS did not succeed, or nothing came for too long
	Closed           // the client has ended the DTLS association
)

// Handler takes what comes from a client. Its calls come one at a time.
type Handler interface {
	// RTP takes a decrypted packet, which is the Conn's again when it returns. reader is the index of the Port's reader that calls,
	// whose batch is not over yet; -1 for a packet that came another way and alone.
	RTP(packet []byte, reader int)
	// RTCP takes a decrypted compound, like RTP.
	RTCP(compound []byte, reader int)
	// Changed says that State has changed. It must not block.
	Changed()
}

// Config is what New needs.
type Config struct {
	Port        *Port
	Certificate tls.Certificate
	// Ufrag and Password are the ICE credentials of our side; empty ones are made up.
	Ufrag, Password string
	// Disconnected without a sign of the client, then Failed more, and the connection has failed.
	Disconnected, Failed time.Duration
	Handler              Handler
	Logs                 logging.LoggerFactory
}

// Remote is what an offer says of the client's side.
type Remote struct {
	Ufrag, Password string
	Fingerprint     string // algorithm and value, as in SDP (RFC 8122)
	// Active says that the client begins the DTLS handshake; else we do (RFC 8842).
	Active bool
}

// Local is our side.
type Local struct {
	Ufrag, Password string
	Fingerprint     string
	Candidates      []string // each beginning with "candidate:"
}

// Conn is the connection to one client. Make it with New; Start begins it. Start, Restart, AddCandidate and Close are for one
// goroutine at a time.
type Conn struct {
	config Config
	port   *Port
	agent  *ice.Agent
	remote Remote

	state    atomic.Uint32
	fast     atomic.Pointer[netip.AddrPort] // where datagrams go on the fast path; nil: through stream, or else ICE
	stream   atomic.Pointer[stream]         // the connection of TCP that is in use
	ice      atomic.Pointer[ice.Conn]
	dtls     atomic.Pointer[dtls.Conn]
	heard    atomic.Int64 // when the last packet came that was the client's for certain
	discards atomic.Uint64

	gathered chan struct{}
	end      context.CancelFunc
	done     chan struct{} // closed when run has ended; nil before Start

	in  incoming
	out outgoing

	addresses []netip.AddrPort // that media come from; the mux's mu guards it
	ufrag     string           // that connections of TCP find it by; as addresses
	streams   streams
}

// New makes a Conn that waits for Start. Its owner calls Close.
func New(config Config) (*Conn, error) {
	c := &Conn{config: config, port: config.Port}
	options := []ice.AgentOption{
		ice.WithUDPMux(muxOf{c.port.mux, c}), ice.WithNet(c.port.net),
		ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4, ice.NetworkTypeUDP6}),
		ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled),
		ice.WithDisableActiveTCP(),
		ice.WithDisconnectedTimeout(config.Disconnected), ice.WithFailedTimeout(config.Failed), ice.WithKeepaliveInterval(iceKeepalive),
		ice.WithLoggerFactory(config.Logs),
	}
	if c.port.mux.loopback {
		options = append(options, ice.WithIncludeLoopback())
	}
	if config.Ufrag != "" {
		options = append(options, ice.WithLocalCredentials(config.Ufrag, config.Password))
	}
	agent, err := ice.NewAgentWithOptions(options...)
	if err != nil {
		return nil, fmt.Errorf("make an ICE agent: %w", err)
	}
	c.agent = agent
	if err := c.listen(); err != nil {
		_ = agent.Close()
		return nil, fmt.Errorf("listen to the ICE agent: %w", err)
	}
	return c, nil
}

// listen connects the agent's news to the Conn. They come from goroutines of the agent.
func (c *Conn) listen() error {
	if err := c.agent.OnCandidate(func(found ice.Candidate) {
		if found == nil {
			close(c.gathered)
		}
	}); err != nil {
		return err
	}
	if err := c.agent.OnSelectedCandidatePairChange(c.selected); err != nil {
		return err
	}
	return c.agent.OnConnectionStateChange(func(s ice.ConnectionState) {
		switch s {
		case ice.ConnectionStateFailed:
			c.become(Failed)
		case ice.ConnectionStateConnected:
			if pair, err := c.agent.GetSelectedCandidatePair(); err == nil && pair != nil { // selected is told later
				c.selected(pair.Local, pair.Remote)
			}
			if c.State() == Connected {
				c.config.Handler.Changed()
			}
		}
	})
}

// State is how far the connection has come.
func (c *Conn) State() State { return State(c.state.Load()) }

// become changes the state, which only goes on, and tells of it.
func (c *Conn) become(s State) {
	for {
		old := c.state.Load()
		if uint32(s) <= old {
			return
		}
		if c.state.CompareAndSwap(old, uint32(s)) {
			c.config.Handler.Changed()
			return
		}
	}
}

// selected takes over the pair of addresses that ICE has chosen. Until it chooses anew, after a restart too, packets go that way.
func (c *Conn) selected(local, remote ice.Candidate) {
	address, err := netip.ParseAddr(remote.Address())
	if err != nil || c.port.plain {
		c.fast.Store(nil)
		return
	}
	to := netip.AddrPortFrom(address.Unmap(), uint16(remote.Port()))
	if local.NetworkType().IsTCP() {
		c.follow(to)
		c.fast.Store(nil)
		return
	}
	c.fast.Store(&to)
	c.follow(netip.AddrPort{})
}

// Start begins ICE, and DTLS after it, towards the side that an offer describes, and returns ours.
func (c *Conn) Start(remote Remote) (Local, error) {
	c.remote = remote
	local, err := c.gather()
	if err != nil {
		return local, err
	}
	conn, err := c.agent.StartAccept(remote.Ufrag, remote.Password)
	if err != nil {
		return local, fmt.Errorf("start ICE: %w", err)
	}
	c.ice.Store(conn)
	ctx, cancel := context.WithCancel(context.Background())
	c.end, c.done = cancel, make(chan struct{})
	go c.run(ctx, conn)
	return local, nil
}

// Restart gives ICE the client's new credentials, and new ones of ours, which it returns. What flows goes on as it did until
// there is a new way.
func (c *Conn) Restart(ufrag, password string) (Local, error) {
	if err := c.agent.Restart("", ""); err != nil {
		return Local{}, fmt.Errorf("restart ICE: %w", err)
	}
	local, err := c.gather()
	if err != nil {
		return local, err
	}
	if err := c.agent.SetRemoteCredentials(ufrag, password); err != nil {
		return local, fmt.Errorf("restart ICE: %w", err)
	}
	return local, nil
}

// gather finds our candidates.
func (c *Conn) gather() (l Local, err error) {
	c.gathered = make(chan struct{})
	if err := c.agent.GatherCandidates(); err != nil {
		return l, fmt.Errorf("gather candidates: %w", err)
	}
	timer := time.NewTimer(gatherTimeout)
	defer timer.Stop()
	select {
	case <-c.gathered:
	case <-timer.C:
		return l, errors.New("gathering candidates takes too long")
	}
	l.Candidates = c.port.mux.candidates()
	if l.Ufrag, l.Password, err = c.agent.GetLocalUserCredentials(); err != nil {
		return l, fmt.Errorf("read credentials: %w", err)
	}
	if c.port.options.TCP != nil {
		c.port.mux.own(c, l.Ufrag)
	}
	l.Fingerprint, err = fingerprintOf(c.config.Certificate)
	return l, err
}

// AddCandidate tells ICE of an address of the client, written as in SDP.
func (c *Conn) AddCandidate(text string) error {
	candidate, err := ice.UnmarshalCandidate(text)
	if err != nil {
		return fmt.Errorf("read candidate: %w", err)
	}
	return c.agent.AddRemoteCandidate(candidate)
}

// run connects, and then waits for the client's end of it.
func (c *Conn) run(ctx context.Context, conn *ice.Conn) {
	defer close(c.done)
	if c.agent.AwaitConnect(ctx) != nil { // closed; that ICE failed was told by the agent
		return
	}
	association, err := c.handshake(ctx, conn)
	if err != nil {
		if ctx.Err() == nil {
			c.become(Failed)
		}
		return
	}
	c.dtls.Store(association)
	defer association.Close()
	if ctx.Err() != nil { // Close did not see it
		return
	}
	if err := c.takeKeys(association); err != nil {
		c.become(Failed)
		return
	}
	c.become(Connected)
	b := make([]byte, 1<<10)
	for {
		// Nobody speaks to us here: what is read, as the whole of SRTP on the plain path, is read on the way. See dtlsConn.
		if _, err := association.Read(b); err != nil {
			if ctx.Err() == nil {
				c.become(Closed)
			}
			return
		}
	}
}

// Close ends the connection, tells the client, and returns when nothing of it runs any more; the Handler is not called again.
func (c *Conn) Close() {
	c.in.close()
	if c.done != nil {
		c.end()
		if association := c.dtls.Load(); association != nil {
			_ = association.Close() // it tells the client, and ends run
		}
		<-c.done
	}
	_ = c.agent.GracefulClose() // it fails only when it is closed already
	c.port.mux.leave(c)
	c.streams.shut()
}

// Discards counts packets that came and were not the client's: not authentic, repeated, or before the keys were known.
func (c *Conn) Discards() uint64 { return c.discards.Load() }

// Selected is the pair of addresses in use, for people; empty before there is one.
func (c *Conn) Selected() (local, remote string) {
	pair, err := c.agent.GetSelectedCandidatePair()
	if err != nil || pair == nil {
		return "", ""
	}
	text := func(candidate ice.Candidate) string {
		return candidate.Type().String() + " " + candidate.NetworkType().String() + " " + candidate.Address() + " " + strconv.Itoa(candidate.Port())
	}
	return text(pair.Local), text(pair.Remote)
}
