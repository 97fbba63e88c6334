package rtc

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"
	"portico/edge/sfu"
	"portico/edge/sfu/feedback"
	"portico/shared/task"
)

// transport is one PeerConnection with its sessions.
type transport struct {
	engine          *Engine
	id, participant string
	events          Events
	log             *slog.Logger
	loop            *task.Loop

	timeline feedback.Timeline // of all that the client publishes here
	streams  streams
	carrier  atomic.Pointer[peer] // what packets are sent through; nil before the first offer

	// The Engine's mu guards these.
	sessions map[string]*session
	lines    map[string]*mline // by mid; those of live sessions
	seen     map[string]bool   // candidates of the client
	offers   int               // waiting for their answers
	removals int               // of candidates, waiting to be handled
	gone     bool              // no longer known: failed or left
	writer   *sfu.Writer       // made with the first subscription

	// Only the loop's functions touch these.
	peer        *peer
	local       local
	offer       *offer   // the client's last with an m-line in use
	idle        bool     // since then there was one without
	moved       bool     // in it the m-lines share another one's transport than before
	connecting  bool     // the PeerConnection was not connected yet
	lost        bool     // the client has ended the DTLS association
	waiting     []string // candidates that came before the first offer
	established []*session
	ready, down bool
	origin      uint64 // for SDP
	version     int
}

// errGone says that a function of the loop came after the end.
var errGone = errors.New("transport has ended")

// post queues f on the loop. The Engine's mu may be held.
func (t *transport) post(f func()) error {
	if t.loop.Post(f) != nil {
		return ErrTooMany
	}
	return nil
}

// negotiate answers an offer, on the loop.
func (t *transport) negotiate(o *offer) {
	e := t.engine
	e.mu.Lock()
	t.offers--
	gone := t.gone
	e.mu.Unlock()
	if gone {
		return
	}
	t.idle = !o.open()
	if !t.idle {
		if err := t.connect(o); err != nil {
			t.log.Warn("transport cannot be made", "err", err)
			t.fail(ReasonICE)
			return
		}
	}
	e.mu.Lock()
	p := t.plan(o)
	gone = t.gone
	e.mu.Unlock()
	if gone {
		return
	}
	t.streams.negotiated(o, p.routes)
	t.version++
	t.events.Answer(t.id, writeAnswer(o, p.decisions, t.local, t.origin, t.version))
	p.effects.run(e.now())
	t.established = append(t.established, p.established...)
	if t.ready && !t.connecting {
		t.startSessions()
	}
}

// connect makes the PeerConnection for the first offer, and restarts ICE when a later one has other credentials.
func (t *transport) connect(o *offer) error {
	restarts := t.offer != nil && (t.offer.ufrag != o.ufrag || t.offer.password != o.password)
	moved := t.offer != nil && t.offer.tag != o.tag
	// See ended. With new credentials as well, or while nothing is connected yet, there is nothing to wait for. With another
	// certificate there is another association (RFC 8842 section 4).
	anew := t.peer == nil || t.lost || moved && (restarts || t.connecting) || o.fingerprint != t.offer.fingerprint
	t.moved = moved && !anew
	switch {
	case t.down:
		return errGone
	case anew:
		certificate, err := t.engine.certificates.get(time.Now())
		if err != nil {
			return fmt.Errorf("make a certificate: %w", err)
		}
		if err := t.begin(o, identity{certificate: certificate}); err != nil {
			return err
		}
	case restarts:
		l, err := t.peer.restart(o)
		if err != nil {
			return err
		}
		t.local = l
		t.forgetCandidates()
	}
	t.offer = o
	t.addOffered()
	return nil
}

// forgetCandidates lets the client name its candidates again.
func (t *transport) forgetCandidates() {
	t.engine.mu.Lock()
	defer t.engine.mu.Unlock()
	clear(t.seen)
}

// addOffered hands the candidates in the last offer to ICE.
func (t *transport) addOffered() {
	for _, c := range t.offer.candidates {
		if text, ok := cleanCandidate(c, t.engine.config.AllowLoopback); ok {
			t.addCandidates([]string{text})
		}
	}
}

// begin makes the PeerConnection for an offer, in place of one that the client has ended.
func (t *transport) begin(o *offer, id identity) error {
	if t.peer != nil {
		t.peer.close()
		t.forgetCandidates()
	}
	p, err := newPeer(t, id)
	if err != nil {
		return err
	}
	t.peer, t.lost, t.connecting = p, false, true
	t.carrier.Store(p)
	if t.local, err = p.start(o); err != nil {
		return err
	}
	t.addCandidates(t.waiting)
	t.waiting = nil
	return nil
}

// ended deals with the end of the DTLS association, on the loop. A client that goes away ends it. But so does Chromium when the
// m-line that the others share a transport with is no longer the same: it begins another association under the parameters of
// its offer and of our answer, and lets go of the old one when it makes the offer, which may come here before or after that.
func (t *transport) ended() {
	if t.lost {
		return
	}
	t.lost = true
	if t.moved {
		t.moved = false
		t.log.Debug("association begins anew")
		err := t.begin(t.offer, identity{certificate: t.peer.identity.certificate, ufrag: t.local.ufrag, password: t.local.password})
		if err != nil {
			t.log.Warn("association cannot be made anew", "err", err)
			t.fail(ReasonICE)
			return
		}
		t.addOffered()
		return
	}
	if t.idle { // nobody needs it; the next offer may
		return
	}
	gone := t.peer
	time.AfterFunc(offerGrace, func() {
		_ = t.loop.Post(func() { // refused at the end
			if t.lost && t.peer == gone {
				t.fail(ReasonICE)
			}
		})
	})
}

// addCandidates hands candidates of the client to ICE, on the loop; before the first offer they wait.
func (t *transport) addCandidates(candidates []string) {
	if t.peer == nil {
		t.waiting = append(t.waiting, candidates...)
		return
	}
	for _, c := range candidates {
		if err := t.peer.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: c}); err != nil {
			t.log.Debug("candidate ignored", "err", err)
		}
	}
}

// dropCandidates forgets candidates that still wait for the first offer, on the loop.
func (t *transport) dropCandidates(gone map[string]bool) {
	t.engine.mu.Lock()
	t.removals--
	t.engine.mu.Unlock()
	t.waiting = slices.DeleteFunc(t.waiting, func(c string) bool { return gone[candidateKey(c)] })
}

// stateChanged looks at the state of the PeerConnection, on the loop.
func (t *transport) stateChanged() {
	if t.peer == nil || t.down {
		return
	}
	switch t.peer.pc.ConnectionState() {
	case webrtc.PeerConnectionStateConnected:
		t.connecting = false
		if !t.ready {
			t.ready = true
			t.log.Debug("transport ready")
			t.events.TransportReady(t.id)
		}
		t.startSessions()
	case webrtc.PeerConnectionStateFailed:
		t.fail(ReasonICE)
	case webrtc.PeerConnectionStateClosed:
		t.ended()
	}
}

// startSessions lets media flow in the sessions that were established, on the loop.
func (t *transport) startSessions() {
	sessions := t.established
	t.established = nil
	for _, s := range sessions {
		t.startSession(s)
	}
}

func (t *transport) startSession(s *session) {
	type start struct {
		out *sfu.Subscription
		in  *sfu.Encoding
	}
	var starts []start
	e := t.engine
	e.mu.Lock()
	if s.ended {
		e.mu.Unlock()
		return
	}
	s.ready = true
	for _, l := range s.lines {
		if l.out != nil {
			t.streams.addOut(l.ssrc, l.out)
			l.out.SetActive(l.active && l.open, e.now()) // it has no source yet: nothing is called
			starts = append(starts, start{l.out, l.feed.encoding})
		}
	}
	tracks := s.describe()
	e.mu.Unlock()
	for _, x := range starts {
		x.out.SetSource(x.in, e.now())
	}
	t.log.Info("session ready", "session", s.id, "publishes", s.publishes)
	t.events.SessionReady(t.id, s.id, tracks)
}

// pictureChanged lets the owner of a publication know of a new size. The reader of the encoding calls it.
func (t *transport) pictureChanged(s *session) {
	if s.resized.Swap(true) {
		return
	}
	_ = t.loop.Post(func() {
		s.resized.Store(false)
		e := t.engine
		e.mu.Lock()
		tell := s.ready && !s.ended
		tracks := s.describe()
		e.mu.Unlock()
		if tell {
			t.events.TracksChanged(s.id, tracks)
		}
	})
}

// fail ends the transport with all its sessions and reports it, on the loop.
func (t *transport) fail(reason string) {
	e := t.engine
	var effects effects
	e.mu.Lock()
	if t.gone {
		e.mu.Unlock()
		return
	}
	var sessions []*session
	for _, s := range t.sessions {
		sessions = append(sessions, s)
	}
	slices.SortFunc(sessions, func(a, b *session) int { return strings.Compare(a.id, b.id) })
	for _, s := range sessions {
		if !s.ended {
			s.end(&effects)
			effects.tell(s, reason)
		}
	}
	t.leave(&effects)
	e.mu.Unlock()
	effects.run(e.now())
	_ = t.loop.Post(func() {
		t.log.Info("transport failed", "reason", reason)
		t.events.TransportFailed(t.id, reason)
		t.shut()
	})
}

// leave takes the transport out with all its sessions. The Engine's mu is held; shut has to follow on the loop.
func (t *transport) leave(effects *effects) {
	if t.gone {
		return
	}
	t.gone = true
	e := t.engine
	for _, s := range t.sessions {
		s.end(effects)
	}
	e.totals.Unrouted += t.streams.unrouted.Load()
	delete(e.transports, t.id)
	delete(e.participants[t.participant], t)
	if len(e.participants[t.participant]) == 0 {
		delete(e.participants, t.participant)
	}
}

// shut takes down what the transport runs, on the loop, as its last function.
func (t *transport) shut() {
	if t.down {
		return
	}
	t.down = true
	if t.peer != nil {
		t.peer.close()
	}
	t.engine.mu.Lock()
	writer := t.writer
	t.engine.mu.Unlock()
	if writer != nil {
		writer.Close()
	}
	t.engine.mu.Lock()
	delete(t.engine.running, t)
	t.engine.mu.Unlock()
	t.loop.Stop()
}

// writerFor is the Writer of the transport's subscriptions. The Engine's mu is held.
func (t *transport) writerFor() *sfu.Writer {
	if t.writer == nil {
		t.writer = sfu.NewWriter(t.engine.now)
	}
	return t.writer
}

// WriteRTP implements sfu.Sink.
func (t *transport) WriteRTP(packet []byte) error {
	if p := t.carrier.Load(); p != nil {
		return p.writeRTP(packet)
	}
	return errGone
}

// WriteRTCP implements sfu.Sink; it also carries what upstreams ask for. It only queues, so that any goroutine may call it.
func (t *transport) WriteRTCP(compound []byte) error {
	if p := t.carrier.Load(); p != nil {
		p.control.send(compound)
		return nil
	}
	return errGone
}

// upstream asks a publisher for packets and key frames. It implements sfu.Upstream.
type upstream struct {
	transport *transport
	ssrc      atomic.Uint32 // the publisher's; 0 before its first packet
}

// RequestPackets implements sfu.Upstream.
func (u *upstream) RequestPackets(seqs []uint16) {
	if ssrc := u.ssrc.Load(); ssrc != 0 {
		_ = u.transport.WriteRTCP(feedback.AppendNACK(nil, u.transport.streams.ssrc(), ssrc, seqs)) // asked for again later
	}
}

// RequestKeyFrame implements sfu.Upstream.
func (u *upstream) RequestKeyFrame() {
	if ssrc := u.ssrc.Load(); ssrc != 0 {
		_ = u.transport.WriteRTCP(feedback.AppendPLI(nil, u.transport.streams.ssrc(), ssrc)) // asked for again later
	}
}
