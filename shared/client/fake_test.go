package client

import (
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// Under js the runtime keeps a goroutine of its own for the events of the page.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("runtime.handleEvent"))
}

// journal is what happened, in order, told by the fakes: messages to the portal ("> …") and calls of the Peer ("peer1 …").
type journal struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (j *journal) add(parts ...string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, strings.Join(parts, " "))
}

// take returns what was written since the last call.
func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

// portal answers as a portal would, unless a test says otherwise. Each connection to it is a fakeSocket.
type portal struct {
	t       *testing.T
	journal *journal

	mu sync.Mutex // guards the fields below
	// answers may answer a request in the portal's place; a nil slice leaves it to the portal.
	answers func(name string, data jsonvalue.Value) []jsonvalue.Value
	// mute names requests that are never acknowledged.
	mute map[string]bool
	// losses says where the next request of a name meets the end of its connection: "unheard", "unanswered" or "answered".
	losses map[string]string
	// onOffer is what an offer causes beyond its ack; nil: the answer and readiness of the sessions on it.
	onOffer func(transport, sdp string)
	// dialling is called before each connection but the first; an error refuses it.
	dialling func(ctx context.Context) error
	login    jsonvalue.Value
	prefix   string // of session ids
	sessions int
	opened   []string // sessions acknowledged and not yet ready

	dials    int
	socket   *fakeSocket         // nil: the client is away
	last     *fakeSocket         // newest connection
	asString bool                // the answer to relogin is the ticket alone
	regrant  string              // token for data streams that comes with relogin
	deaf     bool                // what is sent gets lost
	down     map[string]bool     // addresses at which nobody answers
	hung     map[string]bool     // addresses at which a connection never comes about
	moved    bool                // relogin finds another edge, which takes the participant over
	full     map[string][]string // addresses that refuse everybody, and the edges that they name instead
	tickets  int
	seq      int64
	buffer   []portalproto.Missed
	sent     []bool // of buffer
}

func newPortal(t *testing.T) *portal {
	return &portal{
		t: t, journal: &journal{}, mute: map[string]bool{}, losses: map[string]string{}, prefix: "s",
		login: parse(t, `{"id":"me","user":"alice","role":"presenter",
			"permission":{"publish":{"video":true,"audio":true},"subscribe":{"video":true,"audio":true}},
			"room":{"id":"r","views":["common"],"participants":[{"id":"bob","user":"bob","role":"viewer"},{"id":"me","user":"alice","role":"presenter"}],
			"streams":[{"id":"S","type":"forward","media":{"tracks":[{"id":"S-0","type":"audio","format":{"codec":"opus"},"optional":{},"status":"active","mid":"0"}]},
			"info":{"owner":"bob","type":"webrtc","inViews":[]}}]},
			"iceServers":[{"urls":["turn:relay:3478"],"username":"u","credential":"c"}]}`),
	}
}

func (p *portal) dial(ctx context.Context, options DialOptions) (Socket, error) {
	p.journal.add("dial", options.URL)
	p.mu.Lock()
	p.dials++
	dialling := p.dialling
	down, hung := p.down[options.URL], p.hung[options.URL]
	if p.dials == 1 {
		dialling = nil
	}
	p.mu.Unlock()
	switch {
	case down:
		return nil, errReset
	case hung:
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if dialling != nil {
		if err := dialling(ctx); err != nil {
			return nil, err
		}
	}
	s := &fakeSocket{
		portal: p, options: options, wire: make(chan func(), 100_000), closing: make(chan struct{}), ended: make(chan struct{}),
		waiting: map[int]func([]jsonvalue.Value, error){},
	}
	p.set(func() {
		p.last = s
		if p.dials == 1 { // it may speak before the login
			p.socket = s
		}
	})
	go s.run()
	return s, nil
}

// fakeSocket is one connection: what the portal sends goes through wire, in order.
type fakeSocket struct {
	portal  *portal
	options DialOptions
	wire    chan func() // nil: the end
	closing chan struct{}
	close   sync.Once
	ended   chan struct{}

	mu      sync.Mutex // guards the fields below
	err     error
	asked   int
	waiting map[int]func([]jsonvalue.Value, error)
}

func (s *fakeSocket) run() {
	defer close(s.ended)
	for {
		select {
		case item := <-s.wire:
			if item != nil {
				item()
				continue
			}
		case <-s.closing:
		}
		s.mu.Lock()
		if s.err == nil {
			s.err = errors.New("closed")
		}
		waiting := s.waiting
		s.waiting = map[int]func([]jsonvalue.Value, error){}
		s.mu.Unlock()
		for _, done := range waiting {
			done(nil, s.err)
		}
		s.options.OnClose(s.err)
		return
	}
}

func (s *fakeSocket) Close() error {
	s.close.Do(func() { close(s.closing) })
	<-s.ended
	return nil
}

func (s *fakeSocket) Emit(name string, args ...jsonvalue.Value) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.portal.journal.add("> (no ack)", name, text(args))
	}
	return s.err
}

func (s *fakeSocket) Ask(name string, done func([]jsonvalue.Value, error), args ...jsonvalue.Value) {
	s.mu.Lock()
	if err := s.err; err != nil {
		s.mu.Unlock()
		done(nil, err)
		return
	}
	s.asked++
	id := s.asked
	s.waiting[id] = done
	s.mu.Unlock()
	var data jsonvalue.Value
	if len(args) > 0 {
		data = args[0]
	}
	p := s.portal
	p.mu.Lock()
	loss := p.losses[name]
	delete(p.losses, name)
	p.mu.Unlock()
	if loss == "unheard" {
		p.journal.add("lost", name)
		p.loseSocket(s, errors.New("reset"))
		return
	}
	if sdp := data.Path("signaling", "sdp").Text(); sdp != "" {
		p.journal.add("> offer", data.Get("id").Text(), summary(sdp))
	} else {
		p.journal.add(strings.TrimSpace("> " + name + " " + text(args)))
	}
	go p.serve(s, id, name, data, loss)
}

// serve answers one request.
func (p *portal) serve(s *fakeSocket, id int, name string, data jsonvalue.Value, loss string) {
	p.mu.Lock()
	answers, mute := p.answers, p.mute[name]
	named, full := p.full[s.options.URL]
	p.mu.Unlock()
	if full && (name == portalproto.EventLogin || name == portalproto.EventRelogin) {
		s.ack(id, portalproto.AckError(&portalproto.Redirect{Refusal: portalproto.ErrOverloaded, Edges: named}))
		p.loseSocket(s, ErrDropped)
		return
	}
	if mute {
		return
	}
	var ack []jsonvalue.Value
	if answers != nil {
		ack = answers(name, data)
	}
	switch {
	case ack != nil:
		s.ack(id, ack)
	case name == portalproto.EventLogin || name == portalproto.EventRelogin:
		p.enter(s, id, name, loss)
	default:
		ack = p.answer(name, data)
		if loss != "unanswered" {
			s.ack(id, ack)
		}
	}
	if loss != "" {
		p.loseSocket(s, errors.New("reset"))
	}
}

func (s *fakeSocket) ack(id int, args []jsonvalue.Value) {
	s.wire <- func() {
		s.mu.Lock()
		done := s.waiting[id]
		delete(s.waiting, id)
		s.mu.Unlock()
		if done != nil {
			done(args, nil)
		}
	}
}

// loseSocket ends a connection from the portal's side.
func (p *portal) loseSocket(s *fakeSocket, err error) {
	p.set(func() {
		if p.socket == s {
			p.socket = nil
		}
	})
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.wire <- nil
}

func (p *portal) answer(name string, data jsonvalue.Value) []jsonvalue.Value {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch name {
	case portalproto.EventRefreshTicket:
		return portalproto.AckOK(jsonvalue.Of(p.ticket()))
	case portalproto.EventPublish, portalproto.EventSubscribe:
		p.sessions++
		id := p.prefix + strconv.Itoa(p.sessions)
		if resume := data.Get("resume").Text(); resume != "" {
			id = resume
		}
		transport := data.Path("transport", "id").Text()
		if transport == "" {
			transport = id
		}
		p.opened = append(p.opened, id)
		return portalproto.AckOK(portalproto.SessionAck{ID: id, Transport: transport}.Encode())
	case portalproto.EventSOAC:
		onOffer := p.onOffer
		if onOffer == nil {
			onOffer = p.accept
		}
		transport, sdp := data.Get("id").Text(), data.Path("signaling", "sdp").Text()
		go onOffer(transport, sdp)
	}
	return portalproto.AckOK(jsonvalue.Value{})
}

// ticket makes the next ticket, which lasts ten minutes from now.
func (p *portal) ticket() string {
	p.tickets++
	now := time.Now()
	return base64Of(`{"participantId":"me","ticketId":"` + strconv.Itoa(p.tickets) + `","notBefore":` +
		strconv.FormatInt(now.UnixMilli(), 10) + `,"notAfter":` + strconv.FormatInt(now.Add(10*time.Minute).UnixMilli(), 10) + `,"signature":"x"}`)
}

func base64Of(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// enter answers login and relogin: it binds the participant to the connection, and nothing comes between the answer and what follows.
func (p *portal) enter(s *fakeSocket, id int, name, loss string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if loss != "unanswered" {
		p.socket = s
	}
	if name == portalproto.EventLogin {
		if loss == "unanswered" {
			return
		}
		p.seq, p.buffer, p.sent = 0, nil, nil
		s.ack(id, portalproto.AckOK(p.login))
		return
	}
	answer := jsonvalue.Of(p.ticket())
	if !p.asString {
		answer = portalproto.ReloginResult{
			Ticket: answer.Text(), Messages: p.buffer, ICEServers: []portalproto.ICEServer{{URLs: []string{"turn:fresh:3478"}}},
			WebTransport: p.regrant,
		}.Encode()
	}
	if p.moved {
		login, ok := portalproto.DecodeLoginResult(p.login)
		if !ok {
			p.t.Error("no login answer")
		}
		p.seq, p.buffer, p.sent = 0, nil, nil
		p.prefix, p.sessions = "n", 0
		answer = portalproto.ReloginResult{Ticket: p.ticket(), Edges: login.Edges, Moved: &login}.Encode()
	}
	if loss == "unanswered" {
		for i := range p.sent { // the portal believes that they arrived
			p.sent[i] = true
		}
		return
	}
	s.ack(id, portalproto.AckOK(answer))
	for i, m := range p.buffer {
		if !p.sent[i] && p.asString {
			s.wire <- func() { s.options.OnEvent(m.Event, []jsonvalue.Value{m.Data}) }
		}
		p.sent[i] = true
	}
}

// accept sends the answer and readiness, in our server's order.
func (p *portal) accept(transport, offer string) {
	p.pushProgress(portalproto.Progress{Transport: transport, Status: portalproto.ProgressSOAC, Answer: mirror(offer)})
	p.ready(transport)
}

func (p *portal) ready(transport string) {
	p.mu.Lock()
	opened := p.opened
	p.opened = nil
	p.mu.Unlock()
	p.pushProgress(portalproto.Progress{Transport: transport, Status: portalproto.ProgressReady})
	for _, id := range opened {
		p.pushProgress(portalproto.Progress{Transport: transport, Session: id, Status: portalproto.ProgressReady})
	}
}

func (p *portal) pushProgress(n portalproto.Progress) { p.notify(n) }

// notify sends a notification to the client.
func (p *portal) notify(n portalproto.Notification) {
	name, data := n.Encode(portalproto.Receiver{Version: portalproto.V12})
	p.push(name, data)
}

func (p *portal) push(name string, data jsonvalue.Value) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	p.buffer = append(p.buffer, portalproto.Missed{Event: name, Data: data, Seq: p.seq})
	p.sent = append(p.sent, p.socket != nil)
	if s := p.socket; s != nil && !p.deaf {
		s.wire <- func() { s.options.OnEvent(name, []jsonvalue.Value{data}) }
	}
}

// lose ends the connection from the other side.
func (p *portal) lose(err error) {
	p.mu.Lock()
	s := p.socket
	p.mu.Unlock()
	if s != nil {
		p.loseSocket(s, err)
	}
}

func (p *portal) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}
