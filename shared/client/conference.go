// Package client is the core of the conference client, one source for browsers and native programs: join, publish, subscribe, send, leave.
//
// It speaks the Client-Portal protocol in version 1.2 (portal protocol 11) over two small interfaces: Socket, a Socket.IO connection, and
// Peer, a PeerConnection. In a page wasm binds both to the browser; natively they are shared/sioclient and tools/pionpeer. One
// PeerConnection carries all publications and subscriptions of a conference; it is made with the first of them.
//
// Each Conference has one owner of its state, a Loop. Around it: the negotiator, a goroutine which works off publications and
// subscriptions one at a time since an offer must be answered before the next; a Loop that calls the Events; a Loop that writes what
// needs no answer. The network's reader only posts to the owner and is never held up.
package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
	"portico/shared/task"
)

// Options say how to join. Peers is needed to publish and subscribe, all else may be left zero.
type Options struct {
	Peers  PeerFactory
	Events Events // nil: NoEvents
	Dial   Dialer // nil: Socket.IO over WebSocket

	// SDKType and SDKVersion are what the client says of itself, by default "Go" and "1.0". The server keeps the place of a client whose
	// connection is lost only for OWT's own types ("JavaScript", "C++", …; portal protocol 2.1).
	SDKType, SDKVersion string

	RelayOnly  bool        // media through a relay only
	ICEServers []ICEServer // not nil: instead of those the server names
	Timeouts   Timeouts
	MaxEvents  int // events waiting for the handler before the conference is given up with ErrSlowEvents; default 10,000
}

// Timeouts bound the waits; a zero field means its default.
type Timeouts struct {
	Connect time.Duration // to open the Socket; default 10 s
	Login   time.Duration // default 15 s
	Request time.Duration // every other request; default 10 s
	Answer  time.Duration // from an offer to its answer; default 10 s
	Ready   time.Duration // from the answer until media can flow; default 20 s
	Logout  time.Duration // how long Leave waits for the server; default 2 s
}

func (o Options) withDefaults() Options {
	set := func(field *time.Duration, value time.Duration) {
		if *field <= 0 {
			*field = value
		}
	}
	set(&o.Timeouts.Connect, 10*time.Second)
	set(&o.Timeouts.Login, 15*time.Second)
	set(&o.Timeouts.Request, 10*time.Second)
	set(&o.Timeouts.Answer, 10*time.Second)
	set(&o.Timeouts.Ready, 20*time.Second)
	set(&o.Timeouts.Logout, 2*time.Second)
	if o.Events == nil {
		o.Events = NoEvents{}
	}
	if o.Dial == nil {
		o.Dial = dialSocketIO
	}
	if o.SDKType == "" {
		o.SDKType, o.SDKVersion = "Go", "1.0"
	}
	if o.MaxEvents <= 0 {
		o.MaxEvents = 10_000
	}
	return o
}

// Conference is one participation in a room, from Join to Leave. All methods are safe for concurrent use.
type Conference struct {
	options Options
	loop    *task.Loop     // owner of state
	events  *task.Loop     // calls the Events
	sender  *task.Loop     // writes what nobody waits for
	group   *task.Group    // the negotiator, and requests nobody waits for
	closing sync.WaitGroup // PeerConnections being closed
	wake    chan struct{}  // one token: there may be a job for the negotiator
	stopped chan struct{}  // closed when nothing runs any more but handlers of Events
	done    chan struct{}

	state state // the loop's; readable once it has ended
}

// state is what the loop owns.
type state struct {
	socket     Socket
	room       *room                      // nil until the login has succeeded
	early      []portalproto.Notification // came before that
	ticket     string                     // for resuming; never logged
	iceServers []ICEServer
	leaving    bool
	over       bool
	err        error // why it is over; nil after Leave

	transport *transport            // nil: none yet, or given up
	sessions  map[*session]struct{} // all that have not ended
	byID      map[string]*session   // those the server knows
	jobs      []job
	strays    []portalproto.Progress // progress that may belong to the session being opened
	opening   *session               // the session whose request is on its way
	media     string
}

// maxEarly bounds the notifications that are kept for the time after the login's answer was read.
const maxEarly = 1024

// Info is a snapshot of the conference.
type Info struct {
	Self         conference.Participant
	RoomID       string
	Views        []string
	Participants []conference.Participant // the client itself among them, in the order of coming
	Streams      []conference.Stream      // its own among them
}

// Join connects to the portal that the token names and enters the token's room. ctx bounds the joining, not the conference. Errors: ErrToken,
// ErrConnect, ErrTimeout, ErrProtocol, ErrLost, *ServerError (which may be ErrTokenRefused or ErrRoomFull), or the error of ctx. A token admits
// once. After a successful Join the caller calls Leave.
func Join(ctx context.Context, token string, options Options) (*Conference, error) {
	url, err := portalURL(token)
	if err != nil {
		return nil, err
	}
	c := newConference(options.withDefaults())
	if err := c.join(ctx, url, token); err != nil {
		_ = c.loop.Post(func() { c.finish(err) })
		<-c.done
		var refusal *ServerError
		if errors.As(err, &refusal) || ctx.Err() != nil {
			return nil, err
		}
		return nil, c.state.err // the first thing that went wrong
	}
	return c, nil
}

func newConference(options Options) *Conference {
	c := &Conference{
		options: options, wake: make(chan struct{}, 1), stopped: make(chan struct{}), done: make(chan struct{}),
		state: state{sessions: map[*session]struct{}{}, byID: map[string]*session{}},
	}
	// A panic is somebody's mistake, here or in a handler; going on with half-done state would hide it.
	broken := func(e *task.PanicError) { _ = c.loop.Post(func() { c.finish(e) }) }
	c.group = task.NewGroup(context.Background(), broken)
	c.loop = task.NewLoop(task.LoopOptions{OnPanic: broken})
	c.events = task.NewLoop(task.LoopOptions{Mailbox: options.MaxEvents, OnPanic: broken})
	c.sender = task.NewLoop(task.LoopOptions{Mailbox: maxOutgoing, OnPanic: broken})
	return c
}

func (c *Conference) join(ctx context.Context, url, token string) error {
	connect, cancel := context.WithTimeoutCause(ctx, c.options.Timeouts.Connect, ErrTimeout)
	defer cancel()
	socket, err := c.options.Dial(connect, DialOptions{URL: url, OnEvent: c.onEvent, OnClose: c.onClose})
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return withCause(ErrConnect, err)
	}
	if err := c.do(ctx, func() error {
		c.state.socket = socket
		return nil
	}); err != nil {
		_ = socket.Close()
		return err
	}
	login := portalproto.Login{
		Token: jsonvalue.Of(token), SDK: portalproto.SDK{Type: c.options.SDKType, Version: c.options.SDKVersion}, Protocol: portalproto.V12,
	}
	answer, err := c.request(ctx, c.options.Timeouts.Login, portalproto.EventLogin, login.Encode())
	if err != nil {
		return err
	}
	return c.do(ctx, func() error { return c.seed(answer) })
}

// seed takes the login's answer and catches up with the notifications that came in the meantime.
func (c *Conference) seed(answer jsonvalue.Value) error {
	result, ok := portalproto.DecodeLoginResult(answer)
	if !ok {
		return ErrProtocol
	}
	r, ok := newRoom(result)
	if !ok {
		return ErrProtocol
	}
	c.state.ticket = result.Ticket
	c.state.iceServers = c.options.ICEServers
	if c.state.iceServers == nil {
		for _, s := range result.ICEServers {
			c.state.iceServers = append(c.state.iceServers, ICEServer(s))
		}
	}
	if err := c.group.Go(c.negotiator); err != nil {
		return ErrEnded
	}
	c.state.room = r
	c.tellState()
	early := c.state.early
	c.state.early = nil
	for _, n := range early {
		c.notice(n)
	}
	return nil
}

// Info is the room as it stands; after the end of the conference, as it stood.
func (c *Conference) Info() Info {
	var info Info
	read := func() {
		r := c.state.room
		info = Info{Self: r.self, RoomID: r.id, Views: r.views, Participants: r.participants.list(), Streams: r.streams.list()}
	}
	if err := c.loop.Do(context.Background(), read); err != nil {
		<-c.loop.Done()
		read()
	}
	return info
}

// Send sends a message to one participant, or to everyone in the room, the client itself included, when to is empty.
func (c *Conference) Send(ctx context.Context, message jsonvalue.Value, to string) error {
	if to == "" {
		to = portalproto.All
	}
	return c.simple(ctx, portalproto.EventText, portalproto.Text{To: to, Message: message}.Encode())
}

// Leave tells the server and ends everything: when it has returned, no goroutine of the conference runs but that of an Events handler; Done
// tells when that has ended too. The error says that the server could not be told; the conference has ended all the same. Safe twice.
func (c *Conference) Leave(ctx context.Context) error {
	first := false
	err := c.do(context.WithoutCancel(ctx), func() error {
		first = !c.state.leaving
		c.state.leaving = true
		return nil
	})
	if err == nil && first {
		_, err = c.request(ctx, c.options.Timeouts.Logout, portalproto.EventLogout)
		if errors.Is(err, ErrLost) || errors.Is(err, ErrEnded) {
			err = nil // the server knows
		}
		_ = c.loop.Post(func() { c.finish(nil) })
	} else {
		err = nil
	}
	<-c.stopped
	return err
}

// Done is closed when the conference has ended, however it did, and the last event was delivered.
func (c *Conference) Done() <-chan struct{} { return c.done }

// do runs fn on the loop. Its error is fn's, that of ctx, or why the conference is over.
func (c *Conference) do(ctx context.Context, fn func() error) error {
	var result error
	err := c.loop.Do(ctx, func() {
		if c.state.over {
			result = ended(c.state.err)
			return
		}
		result = fn()
	})
	switch {
	case errors.Is(err, task.ErrClosed):
		<-c.loop.Done()
		return ended(c.state.err)
	case err != nil:
		return err
	}
	return result
}

func ended(err error) error {
	if err == nil {
		return ErrEnded
	}
	return withCause(ErrEnded, err)
}

// request sends a request and reads its acknowledgement; data is left out when it is absent. It is not for the loop.
func (c *Conference) request(ctx context.Context, limit time.Duration, name string, data ...jsonvalue.Value) (jsonvalue.Value, error) {
	var socket Socket
	if err := c.do(ctx, func() error {
		socket = c.state.socket
		return nil
	}); err != nil {
		return jsonvalue.Value{}, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, limit, ErrTimeout)
	defer cancel()
	args, err := socket.Request(limited, name, data...)
	if err != nil {
		if limited.Err() != nil {
			return jsonvalue.Value{}, context.Cause(limited)
		}
		return jsonvalue.Value{}, withCause(ErrLost, err)
	}
	answer, err := portalproto.DecodeAck(args)
	var refusal *portalproto.Error
	if errors.As(err, &refusal) {
		return jsonvalue.Value{}, &ServerError{Request: name, Text: refusal.Text}
	}
	return answer, err
}

// simple is a request whose answer says no more than yes or no.
func (c *Conference) simple(ctx context.Context, name string, data jsonvalue.Value) error {
	_, err := c.request(ctx, c.options.Timeouts.Request, name, data)
	return err
}

// tell sends a request whose outcome changes nothing.
func (c *Conference) tell(name string, data jsonvalue.Value) {
	_ = c.group.Go(func(ctx context.Context) { _ = c.simple(ctx, name, data) })
}

// onEvent and onClose run on the Socket's goroutine.
func (c *Conference) onEvent(name string, args []jsonvalue.Value) {
	var data jsonvalue.Value
	if len(args) > 0 {
		data = args[0]
	}
	n, ok := portalproto.DecodeNotification(name, data)
	if !ok {
		return
	}
	// The loop never waits: a full mailbox is a flood.
	if err := c.loop.Post(func() { c.notice(n) }); errors.Is(err, task.ErrFull) {
		_ = c.loop.Do(context.Background(), func() { c.finish(ErrProtocol) })
	}
}

func (c *Conference) onClose(err error) {
	_ = c.loop.Post(func() {
		switch {
		case c.state.leaving:
			c.finish(nil)
		case errors.Is(err, ErrDropped):
			c.finish(ErrDropped)
		default:
			c.finish(withCause(ErrLost, err))
		}
	})
}

// notice handles one notification, on the loop.
func (c *Conference) notice(n portalproto.Notification) {
	switch {
	case c.state.over:
		return
	case c.state.room == nil:
		if c.state.early = append(c.state.early, n); len(c.state.early) > maxEarly {
			c.finish(ErrProtocol)
		}
		return
	}
	switch n := n.(type) {
	case portalproto.Progress:
		c.progress(n)
		return
	case portalproto.Dropped:
		c.finish(ErrDropped)
		return
	}
	if event := c.state.room.apply(n); event != nil {
		c.emit(event)
	}
	if n, ok := n.(portalproto.StreamRemoved); ok {
		if s := c.state.byID[n.ID]; s != nil && s.publication {
			c.endSession(s, &SessionError{n.ID, ReasonRemoved}, ReasonRemoved)
		}
	}
}

// emit queues a call of the Events, on the loop.
func (c *Conference) emit(event func(Events)) {
	if c.state.room == nil {
		return
	}
	err := c.events.Post(func() { event(c.options.Events) })
	if errors.Is(err, task.ErrFull) {
		c.finish(ErrSlowEvents)
	}
}

func (c *Conference) tellState() {
	s := State{Signaling: Joined, Media: c.state.media}
	if c.state.over {
		s.Signaling = Ended
	}
	c.emit(func(e Events) { e.State(s) })
}

// finish ends the conference, on the loop. The first reason counts.
func (c *Conference) finish(err error) {
	if c.state.over {
		return
	}
	c.state.over, c.state.err = true, err
	for _, s := range c.sessionList() {
		c.endSession(s, ended(err), ReasonEnded)
	}
	c.giveUp(c.state.transport, ReasonEnded, false)
	c.state.media = ""
	c.tellState()
	go c.shutdown(c.state.socket, c.state.room != nil)
}

// shutdown stops what runs and waits for it, from the edges inward; the last event comes when all is quiet.
func (c *Conference) shutdown(socket Socket, joined bool) {
	c.group.Stop()
	if socket != nil {
		_ = socket.Close()
	}
	c.group.Close()
	c.sender.Close()
	c.loop.Close()
	c.closing.Wait()
	close(c.stopped)
	if joined { // Do is not subject to the bound of the mailbox
		_ = c.events.Do(context.Background(), func() { c.options.Events.Disconnected(c.state.err) })
	}
	c.events.Close()
	close(c.done)
}
