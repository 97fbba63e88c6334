package client

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"portico/shared/conference"
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

// portal is a Socket whose other end answers as a portal would, unless a test says otherwise.
type portal struct {
	t       *testing.T
	journal *journal
	options DialOptions
	pushes  chan func()
	closed  chan struct{}
	close   sync.Once

	mu sync.Mutex // guards the fields below
	// answers may answer a request in the portal's place; a nil slice leaves it to the portal.
	answers func(name string, data jsonvalue.Value) []jsonvalue.Value
	// mute names requests that are never acknowledged.
	mute map[string]bool
	// onOffer is what an offer causes beyond its ack; nil: the answer and readiness of the sessions on it.
	onOffer  func(transport, sdp string)
	login    jsonvalue.Value
	sessions int
	opened   []string // sessions acknowledged and not yet ready
}

func newPortal(t *testing.T) *portal {
	return &portal{
		t: t, journal: &journal{}, pushes: make(chan func(), 100_000), closed: make(chan struct{}), mute: map[string]bool{},
		login: parse(t, `{"id":"me","user":"alice","role":"presenter",
			"permission":{"publish":{"video":true,"audio":true},"subscribe":{"video":true,"audio":true}},
			"room":{"id":"r","views":["common"],"participants":[{"id":"bob","user":"bob","role":"viewer"},{"id":"me","user":"alice","role":"presenter"}],
			"streams":[{"id":"S","type":"forward","media":{"tracks":[{"id":"S-0","type":"audio","format":{"codec":"opus"},"optional":{},"status":"active","mid":"0"}]},
			"info":{"owner":"bob","type":"webrtc","inViews":[]}}]},
			"iceServers":[{"urls":["turn:relay:3478"],"username":"u","credential":"c"}]}`),
	}
}

func (p *portal) dial(_ context.Context, options DialOptions) (Socket, error) {
	p.options = options
	p.journal.add("dial", options.URL)
	go func() {
		for {
			select {
			case push := <-p.pushes:
				push()
			case <-p.closed:
				return
			}
		}
	}()
	return p, nil
}

func (p *portal) Close() error {
	p.close.Do(func() { close(p.closed) })
	return nil
}

func (p *portal) Emit(name string, args ...jsonvalue.Value) error {
	p.journal.add("> (no ack)", name, text(args))
	return nil
}

func (p *portal) Request(ctx context.Context, name string, args ...jsonvalue.Value) ([]jsonvalue.Value, error) {
	var data jsonvalue.Value
	if len(args) > 0 {
		data = args[0]
	}
	if sdp := data.Path("signaling", "sdp").Text(); sdp != "" {
		p.journal.add("> offer", data.Get("id").Text(), summary(sdp))
	} else {
		p.journal.add(strings.TrimSpace("> " + name + " " + text(args)))
	}
	p.mu.Lock()
	answers, mute := p.answers, p.mute[name]
	p.mu.Unlock()
	if mute {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.closed:
			return nil, errors.New("closed")
		}
	}
	if answers != nil {
		if ack := answers(name, data); ack != nil {
			return ack, nil
		}
	}
	return p.answer(name, data), nil
}

func (p *portal) answer(name string, data jsonvalue.Value) []jsonvalue.Value {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch name {
	case portalproto.EventLogin:
		return portalproto.AckOK(p.login)
	case portalproto.EventPublish, portalproto.EventSubscribe:
		p.sessions++
		id := "s" + strconv.Itoa(p.sessions)
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
	p.pushes <- func() { p.options.OnEvent(name, []jsonvalue.Value{data}) }
}

// lose ends the connection from the other side.
func (p *portal) lose(err error) { p.pushes <- func() { p.options.OnClose(err) } }

func (p *portal) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// peers makes fakePeers.
type peers struct {
	journal *journal
	mu      sync.Mutex // guards the fields below
	made    []*fakePeer
	config  PeerConfig
	err     error // of the next NewPeer
	setup   func(*fakePeer)
}

func (f *peers) NewPeer(config PeerConfig, events PeerEvents) (Peer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	p := &fakePeer{journal: f.journal, events: events, name: "peer" + strconv.Itoa(len(f.made)+1)}
	if f.setup != nil {
		f.setup(p)
	}
	f.made, f.config = append(f.made, p), config
	f.journal.add(p.name, "new")
	return p, nil
}

func (f *peers) last() *fakePeer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made[len(f.made)-1]
}

// fakePeer is a PeerConnection of which only the m-lines exist.
type fakePeer struct {
	journal *journal
	events  PeerEvents
	name    string

	addErr, offerErr, answerErr error
	offerHangs                  bool
	noTracks                    bool // the answer brings no remote tracks

	mu     sync.Mutex // guards lines, mids and stable
	lines  []*fakeLine
	offer  bool // an offer is the local description and waits for its answer
	closed bool
}

type fakeLine struct {
	peer *fakePeer
	kind conference.Kind
	mid  string
	dir  Direction
}

func (p *fakePeer) AddTransceiver(kind conference.Kind, dir Direction, local any, _ SendOptions) (Transceiver, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.addErr != nil {
		return nil, p.addErr
	}
	l := &fakeLine{peer: p, kind: kind, dir: dir}
	p.lines = append(p.lines, l)
	return l, nil
}

func (p *fakePeer) Offer(ctx context.Context, _ bool) (string, error) {
	if p.offerHangs {
		<-ctx.Done()
		return "", ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.offerErr != nil {
		return "", p.offerErr
	}
	if p.offer || p.closed {
		return "", errors.New("not stable")
	}
	p.offer = true
	var sdp strings.Builder
	sdp.WriteString("v=0\r\n")
	for i, l := range p.lines {
		l.mid = strconv.Itoa(i)
		sdp.WriteString("m=" + string(l.kind) + " 9 X 96\r\na=mid:" + l.mid + "\r\na=" + string(l.dir) + "\r\n")
	}
	return sdp.String(), nil
}

func (p *fakePeer) Answer(_ context.Context, sdp string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.journal.add(p.name, "answer", summary(sdp))
	if p.answerErr != nil {
		return p.answerErr
	}
	if !p.offer || p.closed {
		return errors.New("no offer")
	}
	p.offer = false
	for mid := range accepted(sdp, "sendonly") {
		i, _ := strconv.Atoi(mid)
		if l := p.lines[i]; l.dir == RecvOnly && !p.noTracks {
			p.events.Track(l.mid, l.kind, []string{"ms"}, "track "+mid)
		}
	}
	return nil
}

func (p *fakePeer) SetICEServers([]ICEServer) error { return nil }

func (p *fakePeer) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.journal.add(p.name, "close")
	}
	p.closed = true
	return nil
}

func (l *fakeLine) Mid() string { return l.mid }

func (l *fakeLine) ReplaceTrack(local any) error {
	text := "nil"
	if local != nil {
		text = local.(string)
	}
	l.peer.journal.add(l.peer.name, "replace", l.mid, text)
	return nil
}

func (l *fakeLine) Stop() error {
	l.peer.mu.Lock()
	defer l.peer.mu.Unlock()
	l.peer.journal.add(l.peer.name, "stop", l.mid)
	if l.peer.offer {
		l.peer.journal.add("stopped in the middle of a negotiation")
	}
	l.dir = Inactive
	return nil
}

// summary is the m-lines of an SDP: "0:sendonly 1:inactive".
func summary(sdp string) string {
	var lines []string
	mid := ""
	for line := range strings.SplitSeq(sdp, "\r\n") {
		if m, ok := strings.CutPrefix(line, "a=mid:"); ok {
			mid = m
		} else if line == "a=sendonly" || line == "a=recvonly" || line == "a=inactive" {
			lines = append(lines, mid+":"+line[2:])
		}
	}
	return strings.Join(lines, " ")
}

// mirror is the answer that accepts every m-line, but the mids in refuse.
func mirror(offer string, refuse ...string) string {
	answer := strings.NewReplacer("a=sendonly", "a=recvonly", "a=recvonly", "a=sendonly").Replace(offer)
	for _, mid := range refuse {
		for _, dir := range []string{"sendonly", "recvonly"} {
			answer = strings.Replace(answer, "a=mid:"+mid+"\r\na="+dir, "a=mid:"+mid+"\r\na=inactive", 1)
		}
	}
	return answer
}
