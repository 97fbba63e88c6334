// Package client is the core of the conference client, one source for browsers and native programs: join, publish, subscribe, send, leave.
//
// It speaks the Client-Portal protocol in version 1.2 (portal protocol 11) over two small interfaces: Socket, a Socket.IO connection, and
// Peer, a PeerConnection. In a page wasm binds both to the browser; natively they are shared/sioclient and tools/pionpeer. One
// PeerConnection carries all publications and subscriptions of a conference; it is made with the first of them.
//
// Data streams have no PeerConnection: their connection is the program's, see OpenData.
//
// Each Conference has one owner of its state, a Loop. Around it: the negotiator, a goroutine which works off publications,
// subscriptions and ICE restarts one at a time since an offer must be answered before the next; a Loop that calls the Events; and,
// while the connection to the portal is lost, a goroutine that gets it back. The network's reader only posts to the owner and is never
// held up.
//
// A lost connection is not the end (portal protocol 5, 11.5). The media go on; requests are kept and sent after; what the portal had
// to tell meanwhile is told in order and once. In a cluster another edge takes the client in when its own is gone, or is about to go: the
// participant and its streams stay the same, on another PeerConnection. When the portal does not know the participant any more, Options.Token gets a token to
// join anew with: the room's changes are told as events, and what was published and subscribed to is restored.
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
	Dial   Dialer // nil: DialSocketIO

	// SDKType and SDKVersion are what the client says of itself, by default "Go" and "1.0". The server keeps the place of a client whose
	// connection is lost only for OWT's own types ("JavaScript", "C++", …; portal protocol 2.1).
	SDKType, SDKVersion string

	// Token, if set, gets a fresh join token when the participation could not be resumed, and the client joins anew. It is called again
	// after a failure, its own included, until Timeouts.Rejoin is over; it must return when ctx ends.
	Token func(ctx context.Context) (string, error)

	// Thin says that a thin roster will do where there are many participants: of those only who publishes something, or writes to this
	// client, is listed and told of, the others are a number. See Events.RosterChanged.
	Thin bool

	RelayOnly  bool        // media through a relay only
	ICEServers []ICEServer // not nil: instead of those the server names
	Timeouts   Timeouts
	MaxEvents  int // events waiting for the handler before the conference is given up with ErrSlowEvents; default 10,000
}

// Timeouts bound the waits; a zero field means its default. While the connection is lost, Request, Answer, Ready and Media stand still; they
// begin anew once it is back.
type Timeouts struct {
	Connect time.Duration // to open the Socket; default 10 s
	Login   time.Duration // default 15 s
	Request time.Duration // every other request; default 10 s
	Answer  time.Duration // from an offer to its answer; default 10 s
	Ready   time.Duration // from the answer until media can flow; default 20 s
	Logout  time.Duration // how long Leave waits for the server; default 2 s
	Resume  time.Duration // from the loss of the connection until it is not tried any more; default 60 s, as servers keep a place
	Rejoin  time.Duration // for joining anew with Options.Token; default 2 min
	Media   time.Duration // for media to come back after it broke off; default 15 s
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
	set(&o.Timeouts.Resume, time.Minute)
	set(&o.Timeouts.Rejoin, 2*time.Minute)
	set(&o.Timeouts.Media, 15*time.Second)
	if o.Events == nil {
		o.Events = NoEvents{}
	}
	if o.Dial == nil {
		o.Dial = DialSocketIO
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
	group   *task.Group    // the negotiator, and whoever gets the connection back
	closing sync.WaitGroup // PeerConnections and Sockets being closed
	wake    chan struct{}  // one token: there may be a job for the negotiator
	stopped chan struct{}  // closed when nothing runs any more but handlers of Events
	done    chan struct{}

	state state // the loop's; readable once it has ended
}

// state is what the loop owns.
type state struct {
	wire       *wire    // the connection to the portal; nil while it is lost
	url        string   // of the portal
	edges      []string // other edges on which the client may take its place
	moving     bool     // it is going to one of them, because this one asked it to
	former     *former  // what remains on the edge before; nil: nothing
	room       *room    // nil until the login has succeeded
	received   int64    // notifications so far (portal protocol 5.6)
	ticket     string   // for resuming; empty: none; never logged
	refresh    *time.Timer
	hurry      func() // while the connection is lost: try again now
	probing    bool   // whether the connection still works is being found out
	iceServers []ICEServer
	leaving    bool
	over       bool
	err        error // why it is over; nil after Leave

	asked   []*request // sent and not answered, in order
	kept    []*request // to be sent, in order, when the connection is back
	alarms  map[*alarm]struct{}
	orphans bool // the portal may have opened sessions that nobody here knows

	transport *transport            // nil: none yet, or given up
	sessions  map[*session]struct{} // all that have not ended
	byID      map[string]*session   // those the server knows
	numbers   int                   // of sessions so far
	jobs      []job
	strays    []portalproto.Progress // progress that may belong to a session being opened
	opening   map[*session]bool      // the sessions whose requests are on their way
	data      dataState
	media     string
}

// Info is a snapshot of the conference.
type Info struct {
	Self         conference.Participant
	RoomID       string
	Views        []string
	Participants []conference.Participant // the client itself among them, in the order of coming
	Streams      []conference.Stream      // its own among them
	Adapts       bool                     // videos adapt to each subscriber's network and display: see Subscription.Update
	Count        int                      // how many participants there are
	Thin         bool                     // Participants are not all of them: see Options.Thin
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
		state: state{alarms: map[*alarm]struct{}{}, sessions: map[*session]struct{}{}, byID: map[string]*session{}, opening: map[*session]bool{}},
	}
	// A panic is somebody's mistake, here or in a handler; going on with half-done state would hide it.
	broken := func(e *task.PanicError) { _ = c.loop.Post(func() { c.finish(e) }) }
	c.group = task.NewGroup(context.Background(), broken)
	c.loop = task.NewLoop(task.LoopOptions{OnPanic: broken})
	c.events = task.NewLoop(task.LoopOptions{Mailbox: options.MaxEvents, OnPanic: broken})
	return c
}

func (c *Conference) join(ctx context.Context, url, token string) error {
	return c.enter(ctx, url, token, func(w *wire, at string, result portalproto.LoginResult, r *room) {
		c.state.room, c.state.wire, c.state.url = r, w, at
		if err := c.group.Go(c.negotiator); err != nil {
			return // the end has begun
		}
		c.admitted(result.Ticket, result.ICEServers, result.Edges)
		c.granted(dataURLAt(at, url, token), &result)
		c.tellState()
		c.open(w)
	})
}

// login logs in on a wire; enter takes the room, on the loop.
func (c *Conference) login(ctx context.Context, w *wire, token string, enter func(portalproto.LoginResult, *room)) error {
	login := portalproto.Login{
		Token: jsonvalue.Of(token), SDK: portalproto.SDK{Type: c.options.SDKType, Version: c.options.SDKVersion}, Protocol: portalproto.V12,
		Migrate: true, Thin: c.options.Thin,
	}
	return w.ask(ctx, portalproto.EventLogin, login.Encode(), func(answer jsonvalue.Value) error {
		result, ok := portalproto.DecodeLoginResult(answer)
		if !ok {
			return ErrProtocol
		}
		r, ok := newRoom(result)
		if !ok {
			return ErrProtocol
		}
		enter(result, r)
		return nil
	})
}

// admitted takes what comes with every login and relogin, on the loop.
func (c *Conference) admitted(ticket string, servers []portalproto.ICEServer, edges []string) {
	c.setTicket(ticket)
	c.state.edges = edgesOf(c.state.url, edges)
	if c.options.ICEServers != nil {
		c.state.iceServers = c.options.ICEServers
		return
	}
	if len(servers) == 0 {
		return // those of before are all there is
	}
	c.state.iceServers = nil
	for _, s := range servers {
		c.state.iceServers = append(c.state.iceServers, ICEServer(s))
	}
}

// Info is the room as it stands; after the end of the conference, as it stood.
func (c *Conference) Info() Info {
	var info Info
	read := func() {
		r := c.state.room
		info = Info{Self: r.self, RoomID: r.id, Views: r.views, Participants: r.participants.list(), Streams: r.streams.list(),
			Adapts: r.adapts, Count: r.size(), Thin: r.thin}
	}
	if err := c.loop.Do(context.Background(), read); err != nil {
		<-c.loop.Done()
		read()
	}
	return info
}

// Send sends a message to one participant, or to everyone in the room, the client itself included, when to is empty. While the connection
// is lost the message waits, and is sent after those before it. ErrUnknownOutcome says that the connection broke before the server
// answered: the message is not sent again, since it may have arrived.
func (c *Conference) Send(ctx context.Context, message jsonvalue.Value, to string) error {
	if to == "" {
		to = portalproto.All
	}
	_, err := c.wait(ctx, &request{
		name: portalproto.EventText, data: []jsonvalue.Value{portalproto.Text{To: to, Message: message}.Encode()}, portable: true,
	})
	return err
}

// Leave tells the server and ends everything: when it has returned, no goroutine of the conference runs but that of an Events handler; Done
// tells when that has ended too. The error says that the server could not be told; the conference has ended all the same. Safe twice.
func (c *Conference) Leave(ctx context.Context) error {
	first := false
	err := c.do(context.WithoutCancel(ctx), func() error {
		first = !c.state.leaving
		c.state.leaving = true
		if c.state.hurry != nil {
			c.state.hurry()
		}
		return nil
	})
	if err == nil && first {
		limited, cancel := context.WithTimeoutCause(ctx, c.options.Timeouts.Logout, ErrTimeout)
		_, err = c.wait(limited, &request{name: portalproto.EventLogout, again: true})
		cancel()
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

// notice handles one notification, on the loop.
func (c *Conference) notice(n portalproto.Notification) {
	if c.state.over {
		return
	}
	switch n := n.(type) {
	case portalproto.Progress:
		c.progress(n)
		return
	case portalproto.Dropped:
		c.finish(ErrDropped)
		return
	case portalproto.Move:
		c.move(n)
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
	if c.state.room == nil {
		return
	}
	s := State{Signaling: Joined, Media: c.state.media, Self: c.state.room.self}
	switch {
	case c.state.over:
		s.Signaling = Ended
	case c.state.wire == nil:
		s.Signaling = Reconnecting
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
	c.endFormer()
	c.state.media = ""
	c.stopClocks()
	c.failRequests(ended(err))
	c.tellState()
	go c.shutdown(c.state.wire, c.state.room != nil)
}

// shutdown stops what runs and waits for it, from the edges inward; the last event comes when all is quiet.
func (c *Conference) shutdown(w *wire, joined bool) {
	c.group.Stop()
	if w != nil {
		_ = w.socket.Close()
	}
	c.group.Close()
	c.loop.Close()
	c.closing.Wait()
	close(c.stopped)
	if joined { // Do is not subject to the bound of the mailbox
		_ = c.events.Do(context.Background(), func() { c.options.Events.Disconnected(c.state.err) })
	}
	c.events.Close()
	close(c.done)
}
