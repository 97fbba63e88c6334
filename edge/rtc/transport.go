package rtc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"portico/edge/peer"
	"portico/edge/sfu/feedback"
	"portico/shared/flight"
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
	way      atomic.Pointer[peer.Conn] // what packets are sent through; nil before the first offer

	// The Engine's mu guards these.
	sessions map[string]*session
	lines    map[string]*mline // by mid; those of live sessions
	seen     map[string]bool   // candidates of the client
	offers   int               // waiting for their answers
	removals int               // of candidates, waiting to be handled
	gone     bool              // no longer known: failed or left

	estimator estimator
	steering  steering
	flight    flight.Recorder
	path      atomic.Pointer[string] // the last that was recorded
	sending   []*mline               // what it sends, in the order of their beginning; the Engine's mu guards it

	worker atomic.Pointer[worker] // chosen with the first subscription, under the Engine's mu
	number uint16                 // the last packet's transport-wide one; the worker's

	// Only the loop's functions touch these.
	carrier     *carrier
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
	for _, s := range p.established {
		s.flight.Record(e.now(), flight.Note{Kind: EventEstablished})
	}
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
	anew := t.carrier == nil || t.lost || moved && (restarts || t.connecting) || o.fingerprint != t.offer.fingerprint
	t.moved = moved && !anew
	switch {
	case t.down:
		return errGone
	case anew:
		certificate, err := t.engine.certificates.Get(time.Now())
		if err != nil {
			return fmt.Errorf("make a certificate: %w", err)
		}
		if err := t.begin(o, identity{certificate: certificate}); err != nil {
			return err
		}
	case restarts:
		l, err := t.carrier.restart(o)
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
	if t.carrier != nil {
		t.carrier.conn.Close()
		t.forgetCandidates()
	}
	c, err := newCarrier(t, id)
	if err != nil {
		return err
	}
	t.carrier, t.lost, t.connecting = c, false, true
	t.way.Store(c.conn)
	if t.local, err = c.start(o); err != nil {
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
		err := t.begin(t.offer, identity{certificate: t.carrier.identity.certificate, ufrag: t.local.ufrag, password: t.local.password})
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
	gone := t.carrier
	time.AfterFunc(offerGrace, func() {
		_ = t.loop.Post(func() { // refused at the end
			if t.lost && t.carrier == gone {
				t.fail(ReasonICE)
			}
		})
	})
}

// addCandidates hands candidates of the client to ICE, on the loop; before the first offer they wait.
func (t *transport) addCandidates(candidates []string) {
	if t.carrier == nil {
		t.waiting = append(t.waiting, candidates...)
		return
	}
	for _, c := range candidates {
		t.carrier.addCandidate(c)
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
	if t.carrier == nil || t.down {
		return
	}
	switch t.carrier.conn.State() {
	case peer.Connected:
		t.connecting = false
		t.watchPath(t.engine.now())
		if !t.ready {
			t.ready = true
			t.log.Debug("transport ready")
			t.events.TransportReady(t.id)
		}
		t.startSessions()
	case peer.Failed:
		t.fail(ReasonICE)
	case peer.Closed:
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
	var starts []*mline
	e := t.engine
	e.mu.Lock()
	if s.ended {
		e.mu.Unlock()
		return
	}
	s.ready = true
	s.flight.Record(e.now(), flight.Note{Kind: EventReady})
	for _, l := range s.lines {
		if l.out != nil {
			t.streams.addOut(l)
			l.out.SetActive(l.active && l.open, e.now()) // it has no source yet: nothing is called
			starts = append(starts, l)
			t.send(l)
		}
	}
	tracks := s.describe()
	e.mu.Unlock()
	for _, l := range starts {
		l.refeed()
	}
	t.log.Info("session ready", "session", s.id, "publishes", s.publishes)
	t.events.SessionReady(t.id, s.id, tracks)
}

// send makes the steerer look after an m-line. The Engine's mu is held.
func (t *transport) send(l *mline) {
	if len(t.sending) == 0 {
		t.engine.senders = append(t.engine.senders, t)
	}
	t.sending = append(t.sending, l)
}

// unsend ends that. The Engine's mu is held.
func (t *transport) unsend(l *mline) {
	i := slices.Index(t.sending, l)
	if i < 0 {
		return
	}
	t.sending = slices.Delete(t.sending, i, i+1)
	if len(t.sending) == 0 {
		senders := t.engine.senders
		t.engine.senders = slices.Delete(senders, slices.Index(senders, t), slices.Index(senders, t)+1)
	}
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
	if t.carrier != nil {
		t.carrier.conn.Close()
	}
	t.engine.mu.Lock()
	if w := t.worker.Load(); w != nil {
		w.transports--
	}
	delete(t.engine.running, t)
	t.engine.mu.Unlock()
	t.loop.Stop()
}

// workerFor is the worker of the transport's subscriptions. The Engine's mu is held.
func (t *transport) workerFor() *worker {
	w := t.worker.Load()
	if w == nil {
		w = t.engine.leastBusy()
		w.transports++
		t.worker.Store(w)
	}
	return w
}

// WriteRTP implements sfu.Sink. Only the transport's worker calls it.
func (t *transport) WriteRTP(packet []byte, seqAt int) error {
	c := t.way.Load()
	if c == nil {
		return errGone
	}
	if seqAt != 0 {
		t.number++
		binary.BigEndian.PutUint16(packet[seqAt:], t.number)
	}
	w := t.worker.Load()
	t.estimator.sent(packet, t.number, seqAt != 0, w.now())
	return c.WriteRTP(w.outlet, packet)
}

// WriteRTCP implements sfu.Sink; it also carries what upstreams ask for. Any goroutine may call it.
func (t *transport) WriteRTCP(compound []byte) error {
	if c := t.way.Load(); c != nil {
		return c.WriteRTCP(compound)
	}
	return errGone
}

// upstream asks a publisher for packets and key frames. It implements sfu.Upstream.
type upstream struct {
	transport *transport
	session   *session
	name      string        // of the track, for people
	ssrc      atomic.Uint32 // the publisher's; 0 before its first packet
	fraction  atomic.Uint32 // of 256, lost as last reported
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
		u.asked()
		_ = u.transport.WriteRTCP(feedback.AppendPLI(nil, u.transport.streams.ssrc(), ssrc)) // asked for again later
	}
}
