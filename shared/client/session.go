package client

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

const (
	maxSessions      = 1024 // of one conference, waiting ones included
	maxSessionTracks = 16
)

// PublishOptions say what to publish.
type PublishOptions struct {
	Tracks     []LocalTrack
	Attributes jsonvalue.Value // an object that others see with the stream, or absent
	// OnReady, if set, is called once the publication is usable, from the goroutine of the Events and before StreamAdded of its own stream.
	OnReady func(*Publication)
}

// LocalTrack is one track to publish.
type LocalTrack struct {
	Kind   conference.Kind
	Source string // mic, camera, screen-cast, raw-file or encoded-file; empty: mic for audio, camera for video
	Local  any    // the platform's track
	Send   SendOptions
}

// SubscribeOptions say what to subscribe to: audio, video or both, from one stream or from two.
type SubscribeOptions struct {
	Audio, Video *SubscribeTrack
	// OnReady, if set, is called once the subscription is usable, from the goroutine of the Events.
	OnReady func(*Subscription)
}

// SubscribeTrack is one track to receive.
type SubscribeTrack struct {
	From   string             // a stream's id, or a track's
	Format *conference.Format // nil: as the source
	Wanted portalproto.Wanted // video
	Codecs []string           // preferred codecs, lower case, best first; empty: the platform's order
}

// session is a Publication or a Subscription on its way and in life. The loop owns it but for the fields that are set once, before the loop
// hears of it.
type session struct {
	publication bool
	data        bool            // of data: it has no tracks and no transport of ours
	opened      func(id string) // of data: it has its id
	request     func(mids []string, transport string) jsonvalue.Value
	onLive      func(Events)
	result      chan error                 // one value, unless the session was live first
	name        atomic.Pointer[string]     // the id that the application knows; nil before the session was live
	sources     func() []string            // subscriptions: what they are from
	updated     func(u SubscriptionUpdate) // subscriptions: what they receive has changed

	number    int // in the order of coming
	tracks    []sessionTrack
	muted     conference.MediaSet
	views     []string            // publications: labels of those that it is mixed into
	withheld  conference.MediaSet // restored publications: tracks that are not sent, as the server was not told yet of the pause
	id        string
	resume    string // publications: the id to go on under, on another edge
	transport *transport
	lines     []line        // one per track, once negotiated
	layers    []string      // of simulcast, that the server has a use for
	layering  bool          // they are being set
	working   bool          // the negotiator has it and will stop its lines if need be
	redo      bool          // the negotiator is to queue it again
	remote    []RemoteTrack // subscriptions: what came
	missing   map[string]bool
	answered  bool // missing is what the answer promised and has not come
	ready     bool
	live      bool
	ended     bool
	lost      bool // of data: its connection is
	waits     bool // of data: for a connection
	timer     *alarm
}

// line is an m-line of a session.
type line struct {
	transceiver Transceiver
	kind        conference.Kind
	mid         string
}

type sessionTrack struct {
	kind      conference.Kind
	direction Direction
	local     any
	send      SendOptions
	changes   int // how often local was replaced
}

// RemoteTrack is media of a Subscription.
type RemoteTrack struct {
	Kind    conference.Kind
	Mid     string
	Streams []string // ids of the media streams it belongs to
	Track   any      // the platform's track
}

// Publish publishes the tracks as one stream and returns when the server is ready for their media. When ctx ends first, the publication is
// given up. Errors: ErrArgument, ErrBusy, ErrTimeout, ErrMedia, ErrEnded, *ServerError, *SessionError, or the error of ctx.
func (c *Conference) Publish(ctx context.Context, options PublishOptions) (*Publication, error) {
	if len(options.Tracks) == 0 || len(options.Tracks) > maxSessionTracks ||
		options.Attributes.Exists() && options.Attributes.Kind() != jsonvalue.Object {
		return nil, ErrArgument
	}
	s := newSession(true)
	declared := make([]portalproto.PublishTrack, len(options.Tracks))
	for i, t := range options.Tracks {
		if t.Kind != conference.Audio && t.Kind != conference.Video {
			return nil, ErrArgument
		}
		s.tracks = append(s.tracks, sessionTrack{kind: t.Kind, direction: SendOnly, local: t.Local, send: t.Send})
		declared[i] = portalproto.PublishTrack{Kind: t.Kind, Source: sourceOf(t)}
		declared[i].Layers = t.layered()
		if len(t.Send.Encodings) > 0 {
			declared[i].ScalabilityMode = t.Send.Encodings[0].ScalabilityMode
		}
	}
	s.request = func(mids []string, transport string) jsonvalue.Value {
		for i := range declared {
			declared[i].Mid = mids[i]
		}
		return portalproto.PublishRequest{Tracks: declared, Attributes: options.Attributes, Transport: webrtc(transport), Resume: s.resume}.Encode()
	}
	p := &Publication{handle{c, s}}
	if options.OnReady != nil {
		s.onLive = func(Events) { options.OnReady(p) }
	}
	if err := c.runMedia(ctx, s); err != nil {
		return nil, err
	}
	return p, nil
}

// Subscribe asks for the tracks and returns when they are there. When ctx ends first, the subscription is given up. Errors as for Publish.
func (c *Conference) Subscribe(ctx context.Context, options SubscribeOptions) (*Subscription, error) {
	s := newSession(false)
	var wanted []portalproto.SubscribeTrack
	add := func(kind conference.Kind, t *SubscribeTrack) bool {
		if t == nil {
			return true
		}
		s.tracks = append(s.tracks, sessionTrack{kind: kind, direction: RecvOnly, send: SendOptions{Codecs: t.Codecs}})
		wanted = append(wanted, portalproto.SubscribeTrack{Kind: kind, From: t.From, Format: t.Format, Wanted: t.Wanted})
		return t.From != ""
	}
	if !add(conference.Audio, options.Audio) || !add(conference.Video, options.Video) || len(wanted) == 0 {
		return nil, ErrArgument
	}
	s.request = func(mids []string, transport string) jsonvalue.Value {
		for i := range wanted {
			wanted[i].Mid = mids[i]
		}
		return portalproto.SubscribeRequest{Tracks: wanted, Transport: webrtc(transport)}.Encode()
	}
	s.sources = func() (from []string) {
		for _, w := range wanted {
			from = append(from, w.From)
		}
		return from
	}
	s.updated = func(u SubscriptionUpdate) {
		for i := range wanted {
			u.apply(&wanted[i])
		}
	}
	sub := &Subscription{handle{c, s}}
	if options.OnReady != nil {
		s.onLive = func(Events) { options.OnReady(sub) }
	}
	if err := c.runMedia(ctx, s); err != nil {
		return nil, err
	}
	return sub, nil
}

func newSession(publication bool) *session {
	return &session{publication: publication, result: make(chan error, 1)}
}

func webrtc(transport string) portalproto.TransportRef {
	return portalproto.TransportRef{Type: "webrtc", ID: transport}
}

func sourceOf(t LocalTrack) string {
	switch {
	case t.Source != "":
		return t.Source
	case t.Kind == conference.Audio:
		return "mic"
	}
	return "camera"
}

// runMedia has the negotiator take the session and waits until it is live.
func (c *Conference) runMedia(ctx context.Context, s *session) error {
	if c.options.Peers == nil {
		return ErrArgument
	}
	return c.run(ctx, s, func() error {
		c.addJob(job{session: s})
		return nil
	})
}

// run begins a session, with begin on the loop, and waits until it is live.
func (c *Conference) run(ctx context.Context, s *session, begin func() error) error {
	err := c.do(ctx, func() error {
		if len(c.state.sessions) >= maxSessions {
			return ErrBusy
		}
		if err := begin(); err != nil {
			return err
		}
		c.state.numbers++
		s.number = c.state.numbers
		c.state.sessions[s] = struct{}{}
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case err := <-s.result:
		return err
	case <-ctx.Done():
	}
	_ = c.loop.Do(context.Background(), func() { c.abandon(s, ctx.Err()) })
	return <-s.result // from the loop just now, or from the end of the conference
}

// abandon ends a session that nobody waits for any longer, unless it has just become live.
func (c *Conference) abandon(s *session, err error) {
	if !s.live && !s.ended {
		c.endSession(s, err, s.endReason(err))
		c.tellEnd(s)
	}
}

// advance makes the session live when nothing is missing any more, on the loop.
func (c *Conference) advance(s *session) {
	if s.live || s.ended || !s.ready || !s.publication && !s.data && (!s.answered || len(s.missing) > 0 || len(s.remote) == 0) {
		return
	}
	s.live = true
	c.stop(s.timer)
	if s.known() {
		c.restored(s)
		return
	}
	id := s.id
	s.name.Store(&id)
	if s.onLive != nil {
		c.emit(s.onLive)
	}
	s.result <- nil
}

// known tells whether the session was handed out to the application.
func (s *session) known() bool { return s.name.Load() != nil }

// endReason is the reason for which a session that did not come about has ended, should the application know it from before.
func (s *session) endReason(err error) string {
	var refused *ServerError
	if errors.As(err, &refused) {
		return refused.Text
	}
	return ReasonGone
}

// endSession is the one way a session ends, on the loop: err is for a caller that still waits, reason for the event otherwise. It does not
// tell the server.
func (c *Conference) endSession(s *session, err error, reason string) {
	if s.ended {
		return
	}
	s.ended = true
	c.stop(s.timer)
	delete(c.state.sessions, s)
	if s.id != "" {
		delete(c.state.byID, s.id)
	}
	c.state.jobs = slices.DeleteFunc(c.state.jobs, func(j job) bool { return j.session == s })
	if !s.working && len(s.lines) > 0 {
		c.addJob(job{transport: s.transport, lines: s.lines})
	}
	if name := s.name.Load(); name != nil {
		c.emit(func(e Events) { e.SessionEnded(*name, reason) })
		c.settleFormer()
		return
	}
	s.result <- err
}

// tellEnd tells the server that a session it knows is not wanted, on the loop.
func (c *Conference) tellEnd(s *session) {
	if s.id != "" && !c.state.over {
		c.tell(s.endRequest(), portalproto.EncodeID(s.id))
	}
}

func (s *session) endRequest() string {
	if s.publication {
		return portalproto.EventUnpublish
	}
	return portalproto.EventUnsubscribe
}

// expect gives a negotiated session a bounded time to become live, on the loop.
func (c *Conference) expect(s *session) {
	s.timer = c.after(c.options.Timeouts.Ready, func() { c.abandon(s, ErrTimeout) })
}

// sessionList is a copy in no order, for loops that end sessions.
func (c *Conference) sessionList() []*session {
	list := make([]*session, 0, len(c.state.sessions))
	for s := range c.state.sessions {
		list = append(list, s)
	}
	return list
}

// progress handles what the server says of transports and sessions (portal protocol 7.3, 11.11, 11.12), on the loop.
func (c *Conference) progress(p portalproto.Progress) {
	t := c.state.transport
	if s := c.state.byID[p.Transport]; p.Session == "" && s != nil && s.data {
		p.Session = p.Transport // of a session of data there is nothing else
	}
	if p.Session == "" {
		switch {
		case t == nil || t.id == "" || p.Transport != t.id:
			c.stray(p)
		case p.Status == portalproto.ProgressSOAC:
			t.answer(p.Answer)
		case p.Status == portalproto.ProgressError:
			c.giveUp(t, p.Reason, false)
		}
		return
	}
	s := c.state.byID[p.Session]
	switch {
	case s == nil:
		c.stray(p)
	case p.Status == portalproto.ProgressReady:
		s.ready = true
		c.advance(s)
	case p.Status == portalproto.ProgressLayers:
		c.setLayers(s, p.Reason)
	case p.Status == portalproto.ProgressError:
		c.endSession(s, &SessionError{p.Session, p.Reason}, p.Reason)
	}
}

// stray keeps progress of a session whose acknowledgement was read but not seen yet by the loop, and ends a session that nobody knows.
func (c *Conference) stray(p portalproto.Progress) {
	const most = 64
	id := p.Session
	if id == "" {
		id = p.Transport // of data, or of the session that opened the transport
	}
	switch {
	case len(c.state.opening) > 0:
		if len(c.state.strays) < most {
			c.state.strays = append(c.state.strays, p)
		}
	case c.state.orphans && p.Status == portalproto.ProgressReady:
		c.orphan(id)
	}
}

// openedOne notes that a session is not being opened any more, and looks at the strays again, on the loop.
func (c *Conference) openedOne(s *session) {
	delete(c.state.opening, s)
	strays := c.state.strays
	c.state.strays = nil
	if c.state.over {
		return
	}
	for _, p := range strays {
		c.progress(p)
	}
}
