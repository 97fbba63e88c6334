package wt

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync/atomic"
	"time"

	"portico/shared/token"
)

// transport is a participant's place: known from its admission, with a connection once the client has shown its token, and gone for
// good with that connection. The Server's mu guards it.
type transport struct {
	id, room, participant string
	head                  id           // id as it is on the wire
	outstanding           string       // id of the token that opens it; empty when it was used
	conn                  *connection  // nil until then
	queued                atomic.Int64 // bytes that wait in its subscriptions; the mu does not guard it
	sessions              map[any]bool // *publication and *subscription
}

// source is what subscriptions are fed by: a publication of a participant here, one of another edge, or for a while both. The Server's
// mu guards it.
type source struct {
	id            string
	local         *publication
	remote        *Remote
	inlets        map[*inlet]bool // of both
	subscriptions map[*subscription]bool
	losses        int // connections of who published it
}

// flows tells whether what is published now reaches this edge.
func (src *source) flows() bool {
	return src.remote == nil || src.remote.ready || src.local != nil && src.local.ready
}

// publication is data coming in. The Server's mu guards it.
type publication struct {
	id        string
	transport *transport
	events    Events
	source    *source
	resumed   bool // it needs no stream to be ready
	ready     bool
	taps      map[*Tap]bool
	timer     *time.Timer
}

// subscription is data going out to one participant. The Server's mu guards all but queued.
type subscription struct {
	id        string
	head      id
	transport *transport
	events    Events
	from      *source
	opened    bool // its id has been written on a stream
	ready     bool // and its source flows
	outlets   map[*outlet]bool
	spare     *outlet // one of them that carries no stream of the publication yet
	timer     *time.Timer
	queued    atomic.Int64 // bytes that wait in its outlets
}

// reserve makes room for something that is going to wait; false when there is none.
func (sub *subscription) reserve(size, limit int64) bool {
	own, all := sub.queued.Add(size), sub.transport.queued.Add(size)
	if own <= limit && all <= 2*limit {
		return true
	}
	sub.give(size)
	return false
}

// give gives that room back.
func (sub *subscription) give(size int64) {
	sub.queued.Add(-size)
	sub.transport.queued.Add(-size)
}

// Admission is what a participant needs to connect.
type Admission struct {
	Token     string // opens the Transport, once
	Transport string // 32 hexadecimal digits
}

// Admit opens a Transport for a participant, which CloseParticipant closes, or renews the token of one that nobody has connected to
// yet: the one before is worthless then (portal protocol 4.6). A participant that is connected gets nothing.
func (s *Server) Admit(room, participant string) Admission {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.participants[participant]
	switch {
	case s.closed || t != nil && t.conn != nil:
		return Admission{}
	case t == nil:
		t = &transport{id: randomID(), room: room, participant: participant, sessions: map[any]bool{}}
		t.head, _ = parseID(t.id)
		s.transports[t.id], s.participants[participant] = t, t
	}
	t.outstanding = randomID()
	minted := token.MintWebTransport(s.config.Key, token.WebTransport{
		TokenID: t.outstanding, TransportID: t.id, ParticipantID: participant, RoomID: room, IssueTime: time.Now(),
	})
	return Admission{Token: minted.Encode(), Transport: t.id}
}

func randomID() string {
	var b id
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Spec declares a publication, or a subscription to the publication From. Session is an id never used before.
type Spec struct {
	Participant, Transport, Session string
	From                            string // subscriptions only
	// Resumed says of a publication that it goes on with one of another edge, whose id it has: subscriptions to that are to this one too,
	// and it is ready as soon as the client is connected.
	Resumed bool
	Events  Events
}

// Publish declares a publication: it is ready when the client opens a stream that begins with its id. It fails with ErrNoTransport,
// ErrTooMany, ErrID or ErrClosed.
func (s *Server) Publish(spec Spec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, _, err := s.place(spec)
	if err != nil {
		return err
	}
	if src := s.sources[spec.Session]; src != nil && !spec.Resumed {
		return ErrID
	}
	p := &publication{id: spec.Session, transport: t, events: spec.Events, resumed: spec.Resumed, taps: map[*Tap]bool{}}
	p.timer = time.AfterFunc(s.config.SessionTimeout, func() { s.overdue(p) })
	p.source = s.source(p.id)
	p.source.local = p
	s.publications[p.id] = p
	t.sessions[p] = true
	if p.resumed && t.conn != nil {
		s.begun(p)
	}
	return nil
}

// source is that of an id, made if need be. mu is held.
func (s *Server) source(id string) *source {
	src := s.sources[id]
	if src == nil {
		src = &source{id: id, inlets: map[*inlet]bool{}, subscriptions: map[*subscription]bool{}}
		s.sources[id] = src
	}
	return src
}

// Subscribe declares a subscription: it is ready when the client is connected and a stream to it is open, and to a publication of
// another edge when that comes from there. It fails with ErrNoSource too.
func (s *Server) Subscribe(spec Spec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, head, err := s.place(spec)
	if err != nil {
		return err
	}
	from := s.sources[spec.From]
	if from == nil {
		return ErrNoSource
	}
	sub := &subscription{id: spec.Session, head: head, transport: t, events: spec.Events, from: from, outlets: map[*outlet]bool{}}
	sub.timer = time.AfterFunc(s.config.SessionTimeout, func() { s.fail(sub, ReasonNoStream) })
	s.subscriptions[sub.id] = sub
	t.sessions[sub], from.subscriptions[sub] = true, true
	s.want(from)
	if t.conn != nil {
		s.start(sub)
	}
	return nil
}

// place checks a new session. mu is held.
func (s *Server) place(spec Spec) (*transport, id, error) {
	head, ok := parseID(spec.Session)
	t := s.transports[spec.Transport]
	switch {
	case s.closed:
		return nil, head, ErrClosed
	case t == nil || t.participant != spec.Participant:
		return nil, head, ErrNoTransport
	case !ok || s.publications[spec.Session] != nil || s.subscriptions[spec.Session] != nil:
		return nil, head, ErrID
	case len(t.sessions) >= s.config.MaxSessions:
		return nil, head, ErrTooMany
	}
	return t, head, nil
}

// join lets a stream flow to all subscriptions of its source. mu is held.
func (s *Server) join(src *source, in *inlet) {
	src.inlets[in] = true
	for sub := range src.subscriptions {
		if sub.transport.conn != nil {
			s.feed(sub, in)
		}
	}
}

// start opens a subscription's streams: one for each of the publication, or a spare one. mu is held, the client is connected.
func (s *Server) start(sub *subscription) {
	for in := range sub.from.inlets {
		s.feed(sub, in)
	}
	if len(sub.outlets) == 0 {
		sub.spare = s.newOutlet(sub)
	}
}

// feed makes a stream of the source flow to a subscription that has been started. mu is held.
func (s *Server) feed(sub *subscription, in *inlet) {
	o := sub.spare
	sub.spare = nil
	if o == nil {
		if o = s.newOutlet(sub); o == nil {
			return
		}
	}
	o.from = in
	in.add(o)
}

// newOutlet opens a stream to a subscriber in the background; nil when it cannot be: then the subscription has come to its end, or
// the Server. mu is held.
func (s *Server) newOutlet(sub *subscription) *outlet {
	if s.subscriptions[sub.id] != sub {
		return nil
	}
	if !sub.reserve(outletSize, int64(s.config.MaxQueue)) {
		s.endSubscription(sub, ReasonSlow)
		return nil
	}
	o := &outlet{server: s, sub: sub, wake: make(chan struct{}, 1)}
	if s.config.Lead > 0 && !sub.opened && len(sub.outlets) == 0 {
		o.lead = s.config.Lead
	}
	var ctx context.Context
	ctx, o.cancel = context.WithCancel(sub.transport.conn.session.Context())
	session := sub.transport.conn.session
	sub.outlets[o] = true
	if s.tasks.Go(func(context.Context) { o.run(ctx, session) }) != nil {
		o.cancel()
		delete(sub.outlets, o)
		return nil
	}
	return o
}

// overdue ends a publication that never got a stream.
func (s *Server) overdue(p *publication) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.publications[p.id] == p && !p.ready {
		s.endPublication(p, ReasonNoStream)
	}
}

// fail ends a subscription with a reason, unless it has ended. ReasonNoStream ends only one that has no stream.
func (s *Server) fail(sub *subscription, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subscriptions[sub.id] == sub && !(sub.opened && reason == ReasonNoStream) {
		s.endSubscription(sub, reason)
	}
}

// Stop ends a session; its Transport stays. Subscribers of a publication get what was received, and are told that they lost their
// source. Unknown sessions are ignored.
func (s *Server) Stop(session string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.publications[session]; p != nil {
		s.endPublication(p, "")
	}
	if sub := s.subscriptions[session]; sub != nil {
		s.endSubscription(sub, "")
	}
}

// CloseParticipant ends all of a participant's sessions and its Transport. When it returns, the id is free; the connection is closed
// in the background.
func (s *Server) CloseParticipant(participant string) { s.expel(participant, "") }

// Lose is CloseParticipant for a Transport that nobody needs any more, but whose sessions somebody still counts on: they fail.
func (s *Server) Lose(participant string) { s.expel(participant, ReasonLost) }

func (s *Server) expel(participant, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.participants[participant]
	if t == nil {
		return
	}
	s.closeTransport(t, reason)
	if t.conn != nil {
		_ = s.tasks.Go(func(context.Context) { t.conn.close(codeLeft, "Participant left") })
	}
}

// closeTransport ends a Transport and its sessions; the reason is told to their owner, unless it is empty. mu is held.
func (s *Server) closeTransport(t *transport, reason string) {
	for session := range t.sessions {
		switch x := session.(type) {
		case *publication:
			s.endPublication(x, reason)
		case *subscription:
			s.endSubscription(x, reason)
		}
	}
	delete(s.transports, t.id)
	if s.participants[t.participant] == t {
		delete(s.participants, t.participant)
	}
	t.outstanding = ""
}

// endPublication forgets a publication and ends what it feeds, unless another edge has it too. mu is held.
func (s *Server) endPublication(p *publication, reason string) {
	delete(s.publications, p.id)
	delete(p.transport.sessions, p)
	p.timer.Stop()
	s.failed(p.events, p.transport, p.id, reason)
	p.source.local = nil
	if reason == ReasonLost && s.config.Linger > 0 {
		s.linger(p.source)
	} else {
		s.endSource(p.source)
	}
	for in := range p.source.inlets {
		if in.publication == p {
			in.stream.CancelRead(codeEnded)
			s.cut(p.source, in)
		}
	}
	for t := range p.taps {
		t.over()
	}
}

// linger is endSource after a while, unless somebody publishes again. mu is held.
func (s *Server) linger(src *source) {
	src.losses++
	losses := src.losses
	time.AfterFunc(s.config.Linger, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if src.losses == losses { // none since
			s.endSource(src)
		}
	})
}

// endSource forgets what nobody publishes any more. mu is held.
func (s *Server) endSource(src *source) {
	if src.local != nil || src.remote != nil || s.sources[src.id] != src {
		return
	}
	delete(s.sources, src.id)
	for sub := range src.subscriptions {
		for o := range sub.outlets {
			o.finish(s.config.HandshakeTimeout) // what was received is theirs
			delete(sub.outlets, o)
		}
		s.endSubscription(sub, ReasonSourceLoss)
	}
}

// cut ends a stream of a source in order. mu is held.
func (s *Server) cut(src *source, in *inlet) {
	delete(src.inlets, in)
	for _, o := range in.list() {
		o.part()
		o.finish(s.config.HandshakeTimeout)
	}
	in.sinks.Store(nil)
}

// endSubscription forgets a subscription and resets its streams. mu is held.
func (s *Server) endSubscription(sub *subscription, reason string) {
	delete(s.subscriptions, sub.id)
	delete(sub.transport.sessions, sub)
	delete(sub.from.subscriptions, sub)
	s.want(sub.from)
	sub.timer.Stop()
	for o := range sub.outlets {
		o.from.remove(o)
		o.cancel()
	}
	sub.outlets, sub.spare = nil, nil
	if reason == ReasonSlow {
		s.totals.slow.Add(1)
		s.log.Info("subscription to data ended: it does not keep up", "participant", sub.transport.participant, "session", sub.id)
	}
	s.failed(sub.events, sub.transport, sub.id, reason)
}

// failed tells of a session's end, unless the reason is empty. mu is held.
func (s *Server) failed(events Events, t *transport, session, reason string) {
	if reason != "" {
		s.tell(func() { events.SessionFailed(t.id, session, reason) })
	}
}

// tell hands something to Events, in the order of the calls. mu is held.
func (s *Server) tell(f func()) {
	if !s.closed {
		_ = s.events.Post(f) // refused only when something stands still that must not
	}
}
