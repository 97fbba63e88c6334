package loadtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"

	"portico/shared/client"
	"portico/shared/conference"
)

// peer is a participant's PeerConnection: it implements client.Peer with offers of its own over one transport, and counts what comes.
type peer struct {
	host     *host
	events   client.PeerEvents
	broken   func(error) // told why there is no connection
	feedback bool        // transport-wide feedback is offered

	// The negotiator's; the poller's goroutine looks at transport.
	transport *transport
	lines     []*line
	version   int
	connected bool // connect was called

	mu     sync.Mutex // held while events are told, so that none follows Close
	closed bool

	poller atomic.Pointer[poller] // nil until there is a socket

	// Under the poller's mu.
	tracks []*track // that are sent
	inbound
}

var _ client.Peer = (*peer)(nil)

// Offer implements client.Peer. The first opens the socket.
func (p *peer) Offer(_ context.Context, iceRestart bool) (string, error) {
	if iceRestart {
		return "", errors.New("a load participant does not restart ICE")
	}
	if p.transport == nil {
		t, err := newTransport(p.host, p, p.candidate, p.state)
		if err != nil {
			return "", err
		}
		mu := &t.socket.poller.mu // whose goroutine looks at transport
		mu.Lock()
		p.transport, p.meter = t, p.host.meters[t.socket.poller]
		mu.Unlock()
		p.poller.Store(t.socket.poller)
	}
	ufrag, password, err := p.transport.agent.GetLocalUserCredentials()
	if err != nil {
		return "", err
	}
	p.version++
	l := localParameters{ufrag, password, fingerprint(p.host.certificate.Certificate[0]), p.feedback}
	return writeOffer(l, p.lines, p.version), nil
}

// AddTransceiver implements client.Peer; local is a *track.
func (p *peer) AddTransceiver(kind conference.Kind, dir client.Direction, local any, _ client.SendOptions) (client.Transceiver, error) {
	l := &line{mid: strconv.Itoa(len(p.lines)), kind: kind, direction: dir}
	if local != nil {
		t, ok := local.(*track)
		if !ok {
			return nil, errors.New("not a track of the generator")
		}
		t.mid, l.local = l.mid, t
	}
	p.lines = append(p.lines, l)
	return transceiver{l}, nil
}

// Answer implements client.Peer. The first one connects.
func (p *peer) Answer(_ context.Context, text string) error {
	a, err := parseAnswer(text)
	if err != nil {
		return err
	}
	for _, l := range a.lines {
		for _, own := range p.lines {
			if own.mid == l.mid {
				p.take(own, l)
			}
		}
	}
	if !p.connected {
		p.connected = true
		p.transport.connect(a.remote, func(err error) {
			if err != nil {
				p.broken(err)
				p.state("failed")
				return
			}
			p.state("connected")
		})
	}
	return nil
}

// take applies the answer to one m-line.
func (p *peer) take(own *line, l answerLine) {
	switch {
	case own.direction == client.SendOnly && l.direction == client.RecvOnly:
		own.local.sequenceID.Store(uint32(l.sequence))
	case own.direction == client.RecvOnly && l.direction == client.SendOnly && len(l.ssrcs) > 0:
		mu := &p.transport.socket.poller.mu
		mu.Lock()
		fresh := p.expect(own.kind, l)
		mu.Unlock()
		if fresh {
			p.tell(func(e client.PeerEvents) { e.Track(own.mid, own.kind, []string{l.stream}, l.ssrcs[0]) })
		}
	}
}

// SetICEServers implements client.Peer: the generator reaches its edges directly.
func (p *peer) SetICEServers([]client.ICEServer) error { return nil }

// Close implements client.Peer.
func (p *peer) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	if p.transport != nil {
		p.transport.close()
	}
	return nil
}

// guard is the mu of the peer's poller, nil when it has no socket yet.
func (p *peer) guard() *sync.Mutex {
	if poller := p.poller.Load(); poller != nil {
		return &poller.mu
	}
	return nil
}

func (p *peer) tell(f func(client.PeerEvents)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		f(p.events)
	}
}

func (p *peer) candidate(c ice.Candidate) {
	p.tell(func(e client.PeerEvents) { e.Candidate("candidate:"+c.Marshal(), "0", 0) })
}

func (p *peer) state(s string) { p.tell(func(e client.PeerEvents) { e.State(s) }) }

// transceiver implements client.Transceiver.
type transceiver struct{ line *line }

// Mid implements client.Transceiver.
func (t transceiver) Mid() string { return t.line.mid }

// ReplaceTrack implements client.Transceiver: a track can only be taken away.
func (t transceiver) ReplaceTrack(local any) error {
	if local != nil {
		return errors.New("a load participant does not replace tracks")
	}
	if t.line.local != nil {
		t.line.local.stopped.Store(true)
	}
	return nil
}

// Stop implements client.Transceiver.
func (t transceiver) Stop() error {
	t.line.direction = client.Inactive
	return nil
}

// datagram implements receiver.
func (p *peer) datagram(b []byte, from netip.AddrPort, now int64) {
	switch {
	case len(b) == 0 || p.transport == nil:
	case b[0] < 4:
		p.transport.stun.put(b, from)
	case b[0] >= 20 && b[0] < 64:
		p.transport.dtls.put(b, from)
	case b[0]>>6 != 2 || p.transport.rtpIn == nil || len(b) < 12:
	case b[1] >= 192 && b[1] <= 223:
		p.control(p.transport, b)
	default:
		p.media(p.transport, b, now)
	}
}

// tick implements receiver: reports and feedback are sent when they are due.
func (p *peer) tick(now int64) {
	t := p.transport
	if t == nil || t.rtcpOut == nil {
		return
	}
	if p.reportDue == 0 { // spread over the participants
		p.reportDue = now + rand.Int64N(int64(reportInterval))
		p.feedbackDue = now + rand.Int64N(int64(feedbackInterval))
		return
	}
	if now >= p.feedbackDue {
		p.feedbackDue = now + int64(feedbackInterval)
		p.sendFeedback(t)
	}
	if now >= p.reportDue {
		p.reportDue = now + int64(reportInterval)
		p.sendReports(t, now)
	}
}

// How often a participant tells what it receives and sends, as Chromium does.
const (
	reportInterval   = time.Second
	feedbackInterval = 100 * time.Millisecond
)
