package rtc

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	pion "github.com/pion/logging"
	"portico/edge/peer"
	"portico/edge/sfu"
	"portico/shared/conference"
	"portico/shared/logging"
	"portico/shared/task"
	"portico/shared/udpbatch"
)

// Engine holds all PeerConnections of an edge. Make it with New. All methods are safe for concurrent use, and none waits for
// the network but Close.
type Engine struct {
	config  Config
	log     *slog.Logger
	port    *peer.Port
	logs    pion.LoggerFactory
	started time.Time
	workers []*worker
	wakes   []sfu.Wake // one for each reader of the port
	steerer *steerer

	certificates peer.Certificates

	// mu guards the fields below and all that is marked as guarded by it in transports and sessions: what belongs to whom.
	// It is never held while calling pion, sfu's outward calls or Events.
	mu           sync.Mutex
	closed       bool
	transports   map[string]*transport
	running      map[*transport]bool // those known, and those being taken down
	participants map[string]map[*transport]bool
	sessions     map[string]*session
	tracks       map[string]*published
	selectors    selectors
	feeds        map[string]*published
	remotes      map[string]*Remote  // by publication
	heirs        map[*published]bool // that wait for their first picture to take over from their forebears
	taps         map[*Tap]bool
	totals       Stats        // of what has ended
	senders      []*transport // those that send
}

// New opens the UDP port, unless it is given one, and starts the Engine. Its owner calls Close.
func New(config Config) (*Engine, error) {
	config.fill()
	e := &Engine{
		config: config, log: config.Log, started: time.Now(), logs: quiet{logging.Pion(config.Log)},
		transports: make(map[string]*transport), running: make(map[*transport]bool), participants: make(map[string]map[*transport]bool),
		sessions: make(map[string]*session), tracks: make(map[string]*published),
		feeds: make(map[string]*published), taps: make(map[*Tap]bool), remotes: make(map[string]*Remote),
		heirs: make(map[*published]bool),
	}
	for _, ip := range config.PublicIPs {
		if net.ParseIP(ip) == nil {
			return nil, fmt.Errorf("rtc: public address %q is no IP address", ip)
		}
	}
	if _, err := e.certificates.Get(time.Now()); err != nil {
		return nil, fmt.Errorf("rtc: make a certificate: %w", err)
	}
	sockets := config.Sockets
	if sockets == nil {
		port, err := udpbatch.Listen(config.Listen, udpbatch.Options{})
		if err != nil {
			return nil, fmt.Errorf("rtc: open the UDP port: %w", err)
		}
		sockets = port
	}
	e.wakes = make([]sfu.Wake, sockets.Sockets())
	port, err := peer.NewPort(sockets, peer.PortOptions{
		Loopback: config.AllowLoopback, Plain: config.Plain, TCP: config.TCP, Now: e.now, BatchEnd: func(reader int) { e.wakes[reader].Done() },
	})
	if err != nil {
		_ = sockets.Close()
		return nil, fmt.Errorf("rtc: %w", err)
	}
	e.port = port
	for i := range sockets.Sockets() {
		e.workers = append(e.workers, newWorker(e.port.NewOutlet(i), e.now))
		e.wakes[i].Own = e.workers[i].writer
	}
	e.port.Start()
	e.steerer = newSteerer(e)
	path, why := e.port.Path()
	e.log.Info("media port open", "address", e.Addr().String(), "sockets", sockets.Sockets(), "path", path, "why", why,
		"tcp", e.port.TCPPort())
	return e, nil
}

// wake is what a reader of the port collects the Writers in that have something to do; nil for a packet that came alone.
func (e *Engine) wake(reader int) *sfu.Wake {
	if reader < 0 {
		return nil
	}
	return &e.wakes[reader]
}

// Addr is the address of the UDP port.
func (e *Engine) Addr() net.Addr { return e.port.LocalAddr() }

// Now is the time that encodings which are fed from outside, as a Converter's, have to go by: see now.
func (e *Engine) Now() int64 { return e.now() }

// now is the time of the packet path: nanoseconds since the Unix epoch, on a clock that never steps.
func (e *Engine) now() int64 { return e.started.UnixNano() + int64(time.Since(e.started)) }

// Close ends everything and returns when all goroutines have ended. Nothing is reported to Events any more.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	var participants []string
	for p := range e.participants {
		participants = append(participants, p)
	}
	running := slices.Collect(maps.Keys(e.running))
	e.mu.Unlock()
	for _, p := range participants {
		e.CloseParticipant(p)
	}
	e.closeSelectors()
	for _, t := range running {
		<-t.loop.Done()
	}
	e.steerer.close()
	e.closeRemotes()
	e.closeTaps()
	err := e.port.Close()
	for _, w := range e.workers {
		w.writer.Close()
	}
	return err
}

// Publish declares a publication. Its m-lines are answered from the next offer on that has one of them.
//
// It fails with ErrNoTransport, ErrMidInUse, ErrTooMany, ErrIDInUse, ErrBadTracks (none, or a mid twice or empty) or ErrClosed.
func (e *Engine) Publish(spec PublishSpec) error {
	s := &session{id: spec.Session, publishes: true, accept: spec.Accept}
	for _, d := range spec.Tracks {
		s.lines = append(s.lines, &mline{session: s, kind: d.Kind, mid: d.Mid, source: d.Source, svc: d.ScalabilityMode != "", obeys: d.Layers, active: true})
	}
	return e.open(s, spec.Participant, spec.Transport, spec.New, spec.Events)
}

// Subscribe declares a subscription, like Publish. It fails with ErrNoSuchTrack too, when a source is not there.
func (e *Engine) Subscribe(spec SubscribeSpec) error {
	s := &session{id: spec.Session}
	for _, d := range spec.Tracks {
		s.lines = append(s.lines, &mline{
			session: s, kind: d.Kind, mid: d.Mid, from: d.From, active: true, adapts: d.Adapt, display: d.Display, making: d.Making,
		})
	}
	return e.open(s, spec.Participant, spec.Transport, spec.New, spec.Events)
}

// open checks a new session and enters it.
func (e *Engine) open(s *session, participant, transportID string, isNew bool, events Events) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	if e.sessions[s.id] != nil || s.id == "" {
		return ErrIDInUse
	}
	seen := make(map[string]bool)
	for _, l := range s.lines {
		if l.mid == "" || seen[l.mid] || l.kind != conference.Audio && l.kind != conference.Video {
			return ErrBadTracks
		}
		seen[l.mid] = true
		if s.publishes {
			continue
		}
		if l.feed = e.trackNamed(l.from); l.feed == nil || l.feed.line.kind != l.kind {
			return ErrNoSuchTrack
		}
	}
	if len(s.lines) == 0 {
		return ErrBadTracks
	}
	t, err := e.transportFor(s, participant, transportID, isNew, events)
	if err != nil {
		return err
	}
	s.enter(t)
	for _, l := range s.lines {
		if l.feed != nil {
			l.feed.hold(e.now())
		}
	}
	return nil
}

// transportFor finds or opens the transport of a new session. mu is held.
func (e *Engine) transportFor(s *session, participant, id string, isNew bool, events Events) (*transport, error) {
	t := e.transports[id]
	switch {
	case isNew && (t != nil || id == ""):
		return nil, ErrIDInUse
	case isNew && len(e.participants[participant]) >= e.config.MaxTransports:
		return nil, ErrTooMany
	case isNew:
		return e.openTransport(participant, id, events), nil
	case t == nil || t.participant != participant:
		return nil, ErrNoTransport
	case len(t.sessions) >= e.config.MaxSessions:
		return nil, ErrTooMany
	}
	for _, l := range s.lines {
		if t.lines[l.mid] != nil {
			return nil, ErrMidInUse
		}
	}
	return t, nil
}

// openTransport makes a transport. mu is held.
func (e *Engine) openTransport(participant, id string, events Events) *transport {
	t := &transport{
		engine: e, id: id, participant: participant, events: events,
		log:      e.log.With("participant", participant, "transport", id),
		sessions: make(map[string]*session), lines: make(map[string]*mline), seen: make(map[string]bool),
		origin: rand.Uint64(),
	}
	t.loop = task.NewLoop(task.LoopOptions{OnPanic: func(p *task.PanicError) {
		t.log.Error("negotiation failed unexpectedly", "panic", p.Error(), "stack", p.Stack)
	}})
	e.transports[id] = t
	if e.participants[participant] == nil {
		e.participants[participant] = make(map[*transport]bool)
	}
	e.participants[participant][t] = true
	e.running[t] = true
	return t
}

// find is the transport id of that participant. mu is held.
func (e *Engine) find(participant, id string) (*transport, error) {
	t := e.transports[id]
	if t == nil || t.participant != participant {
		return nil, ErrNoTransport
	}
	return t, nil
}

// Offer takes a client's offer; the answer goes to Events. It fails with ErrNoTransport, ErrBadOffer when it cannot be read or
// answered, or ErrTooMany when too many wait for their answers.
func (e *Engine) Offer(participant, transport, sdp string) error {
	e.mu.Lock()
	t, err := e.find(participant, transport)
	if err == nil && t.offers >= maxPendingOffers {
		err = ErrTooMany
	}
	if err == nil {
		t.offers++
	}
	e.mu.Unlock()
	if err != nil {
		return err
	}
	o, err := parseOffer(sdp, offerLimits{bytes: e.config.MaxOffer, sections: e.config.MaxMLines})
	if err == nil {
		err = t.post(func() { t.negotiate(o) })
	}
	if err != nil {
		t.log.Warn("offer refused", "err", err)
		e.mu.Lock()
		t.offers--
		e.mu.Unlock()
	}
	return err
}

// Candidate takes a candidate of the client as it wrote it, with or without "a=" before. An empty one, one that makes no
// sense or names no IP address, and what is beyond the limit is ignored. It fails with ErrNoTransport.
func (e *Engine) Candidate(participant, transport, candidate, _ string, _ int) error {
	text, ok := cleanCandidate(candidate, e.config.AllowLoopback)
	e.mu.Lock()
	defer e.mu.Unlock()
	t, err := e.find(participant, transport)
	if err != nil || !ok {
		return err
	}
	if t.seen[text] || len(t.seen) >= e.config.MaxCandidates {
		return nil
	}
	t.seen[text] = true
	return t.post(func() { t.addCandidates([]string{text}) })
}

// RemovedCandidates takes note that the client gave candidates up. Those that are being tried already fail by themselves.
func (e *Engine) RemovedCandidates(participant, transport string, candidates []string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, err := e.find(participant, transport)
	if err != nil || t.removals >= maxPendingOffers {
		return err
	}
	gone := make(map[string]bool)
	for _, c := range candidates[:min(len(candidates), e.config.MaxCandidates)] {
		if text, ok := cleanCandidate(c, e.config.AllowLoopback); ok {
			gone[candidateKey(text)] = true
		}
	}
	t.removals++
	return t.post(func() { t.dropCandidates(gone) })
}

// SetActive mutes a published track at its source, or lets it be heard again. Unknown tracks are ignored.
func (e *Engine) SetActive(track string, active bool) {
	e.mu.Lock()
	p := e.tracks[track]
	if p != nil {
		p.muted = !active
	}
	e.mu.Unlock()
	if p != nil {
		p.encoding.SetActive(active, e.now())
	}
}

// SetSubscriptionActive pauses the tracks of one kind of a subscription, or lets them go on. Unknown sessions are ignored.
func (e *Engine) SetSubscriptionActive(session string, kind conference.Kind, active bool) {
	e.mu.Lock()
	var effects effects
	if s := e.sessions[session]; s != nil && !s.publishes {
		for _, l := range s.lines {
			if l.kind == kind {
				l.active = active
				effects.addActive(l)
				if l.feed != nil && l.feed.remote != nil {
					e.steerer.soon() // it may have to be pulled
				}
			}
		}
	}
	e.mu.Unlock()
	effects.run(e.now())
}

// SetDisplay says at what size the client shows the video of a subscription, in pixels, 0 while unknown. Only tracks that adapt take
// notice. Unknown sessions are ignored.
func (e *Engine) SetDisplay(session string, size conference.Resolution) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.sessions[session]; s != nil && !s.publishes {
		for _, l := range s.lines {
			if l.kind == conference.Video {
				l.display = size
			}
		}
	}
}

// Stop ends a session; its transport stays. When it returns, nothing is forwarded any more, and subscribers of a publication
// are being told that they lost their source. Unknown sessions are ignored.
func (e *Engine) Stop(session string) {
	e.mu.Lock()
	var effects effects
	if s := e.sessions[session]; s != nil {
		s.end(&effects)
	}
	e.mu.Unlock()
	effects.run(e.now())
}

// CloseParticipant ends all of a participant's sessions and transports. When it returns, nothing is forwarded any more and
// the ids are free; PeerConnections are taken down in the background.
func (e *Engine) CloseParticipant(participant string) {
	e.mu.Lock()
	var effects effects
	var transports []*transport
	for t := range e.participants[participant] {
		t.leave(&effects)
		transports = append(transports, t)
	}
	effects.news = slices.DeleteFunc(effects.news, func(n newsEffect) bool { return n.session.transport.participant == participant })
	e.mu.Unlock()
	effects.run(e.now())
	for _, t := range transports {
		_ = t.loop.Post(t.shut) // refused only when it is shutting down already
	}
}

// quiet turns pion's warnings and errors into debug messages: what they tell of, peers provoke at will or we handle and report
// ourselves.
type quiet struct{ pion.LoggerFactory }

// NewLogger implements pion's LoggerFactory.
func (q quiet) NewLogger(scope string) pion.LeveledLogger {
	return quietLogger{q.LoggerFactory.NewLogger(scope)}
}

type quietLogger struct{ pion.LeveledLogger }

func (q quietLogger) Warn(msg string)                   { q.Debug(msg) }
func (q quietLogger) Warnf(format string, args ...any)  { q.Debugf(format, args...) }
func (q quietLogger) Error(msg string)                  { q.Debug(msg) }
func (q quietLogger) Errorf(format string, args ...any) { q.Debugf(format, args...) }
