// Package room is the room controller: who is in a room, what is published, who consumes it, and what everyone is told of it.
//
// Of a signalling message's way it is the middle: portal hands over a decoded request, the state machine (machine.go, pure)
// checks and changes the state on the room's Loop and returns effects, and these run in order: notifications go to the
// participants' mailboxes, media is opened and closed through the Media interface. The media layer reports back through
// MediaEvents. A Directory holds the rooms that are active here; a room comes to life with its first participant and ends
// a while after its last.
//
// Waiting goes down only: portal waits for a room, a room never for a participant or its media.
package room

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
	"portico/shared/task"
)

// Member is how a room reaches a participant. Notify must not block and keeps the order of its calls.
type Member interface {
	Notify(n portalproto.Notification)
	// Drop ends the participation: the client is told and disconnected. The room has forgotten the participant already.
	Drop()
	// Moved says that the participant is on another edge now: here nothing is told any more, and its connection is of no use.
	Moved()
}

// Media opens and closes the media of sessions; packages rtc and wt satisfy it through the node. All calls are safe for concurrent
// use and return without waiting for the network. Publish and Subscribe fail with a *portalproto.Error.
type Media interface {
	Publish(p MediaPublication) error
	Subscribe(s MediaSubscription) error
	// SetActive stops or resumes a published track for all its subscribers.
	SetActive(track string, active bool)
	// SetSubscriptionActive stops or resumes one kind of a subscription.
	SetSubscriptionActive(session string, kind conference.Kind, active bool)
	// SetDisplay says at which size the video of a subscription is shown; only those that adapt take notice.
	SetDisplay(session string, size conference.Resolution)
	// Quality is what a subscription's participant gets, and why, in the form that the portal tells it in; ok is false for unknown ids.
	Quality(session string) (q jsonvalue.Value, ok bool)
	// Change feeds the m-line of a subscription from another source, or from the same one made otherwise, without a negotiation: so
	// the codec stays, and what is paused stays paused. It fails with a *portalproto.Error, and then all is as before.
	Change(session string, source MediaSource) error
	// Stop ends a session and keeps its transport; unknown ids are ignored.
	Stop(session string)
	// CloseParticipant ends everything of a participant; it may be called again.
	CloseParticipant(participant string)
	// Remote makes a stream of another edge known, or tells that its edge or its tracks are others now: then its subscriptions go on, each
	// with the track of the same kind and rid. A stream of the same id that was published here until now is superseded: its subscriptions
	// go over, and its session ends with its transport, or by Stop.
	Remote(stream RemoteStream)
	// RemoteEnded forgets a stream of another edge; what it fed has been stopped, unless there is a publication here with the same id: to that
	// it goes over.
	RemoteEnded(stream string)
}

// MediaPublication declares the tracks a participant is about to send, or data: then there are no tracks, and the transport is one
// that the participant got when it was admitted.
type MediaPublication struct {
	Participant, Transport, Session string
	New                             bool // open the transport
	Data                            bool
	Resumed                         bool // it goes on with a stream of another edge, whose id it has
	Tracks                          []portalproto.PublishTrack
	Accept                          conference.MediaIn
	Events                          MediaEvents
}

// MediaSubscription declares the tracks a participant is about to receive, or data, as MediaPublication does.
type MediaSubscription struct {
	Participant, Transport, Session string
	New                             bool
	Data                            string // the publication of data it is fed by; empty: media
	Tracks                          []MediaSource
	Events                          MediaEvents
}

// MediaSource is one track of a subscription: the m-line and the published track that feeds it.
type MediaSource struct {
	Kind  conference.Kind
	Mid   string
	Track string
	// Adapt lets it be any layer of the stream that Track is the first of, or nothing, as the participant's network and display allow.
	Adapt   bool
	Display conference.Resolution // the size at which it is shown, 0 while unknown
	Making  Making
}

// MediaEvents is what the media layer reports of a participant's transports and sessions. Calls about one transport come in
// order, from any goroutine; they do not block.
type MediaEvents interface {
	Answer(transport, sdp string)
	TransportReady(transport string)
	TransportFailed(transport, reason string)
	SessionReady(transport, session string, tracks []conference.Track)
	SessionFailed(transport, session, reason string)
	TracksChanged(session string, tracks []conference.Track)
	// LayersWanted says which layers of a simulcast publication, by their rids, somebody has a use for; only those whose tracks
	// were declared so.
	LayersWanted(session string, rids []string)
}

// Join asks for a participant's admission. The token or ticket behind it has been verified.
type Join struct {
	Room        string // id
	Participant string // id, never used before unless it resumes
	User, Role  string
	Origin      conference.Origin
	Member      Member

	// In a cluster. TokenID and Created are of the token, so that the home sees to it that none is used twice.
	TokenID string
	Created time.Time
	// Resume takes up a participant that is in the room on another edge: then User, Role and Client are what the room knows, and
	// Generation is higher than any that the participant has had. Otherwise it is 0. With 0, one that is on this edge already stays what it
	// is, and the answer shows the room anew; whoever wants to take over such a one is refused, since it has a Member.
	Resume     bool
	Generation uint64
	// Client is what the portal wants to be told again when the participant resumes, by Known, which is called on the room's Loop before
	// the Member is told anything; a few hundred bytes of JSON.
	Client jsonvalue.Value
	Known  func(client jsonvalue.Value)

	// Thin says that the participant makes do with a thin roster where there are many others: see portalproto.Roster.
	Thin bool
}

// Joined is the room as a participant finds it, itself included; Participants are in the order of joining.
type Joined struct {
	Self         conference.Participant
	RoomID       string
	Views        []string
	Participants []conference.Participant
	Streams      []conference.Stream
	Adapts       bool // videos adapt to each subscriber's network and display (rooms-and-media 8.8)
	Count        int  // participants of the room, for those that joined with Thin
	Thin         bool // Participants are not all
}

// Limits bound what one room and one participant may hold, beyond the room's own configuration.
type Limits struct {
	Participants int // of one room
	Sessions     int // publications and subscriptions of one participant
	Pictures     int // different ones that relays make for one participant: of mixes, and of streams in another form
	Roster       int // participants above which the roster of one room is thin, for those that asked for it; 0 means 500
}

// errClosed says that the room ended while it was being asked.
var errClosed = errors.New("room has ended")

// controller is one active room: the Loop that owns its machine, and the members behind the ids.
type controller struct {
	loop     *task.Loop
	machine  *machine
	members  map[string]Member // owned by the Loop
	media    Media
	newID    func() string
	selector AudioSelector    // nil without selected audio
	mixers   map[string]Mixer // by label of the view; empty when nothing mixes
	log      *slog.Logger
	left     func() // told, on the Loop, whenever something went
	look     func(ctx context.Context, stream, participant string, users map[string]string) (jsonvalue.Value, bool)

	membership Membership      // nil without a cluster
	life       context.Context // ends when the room ends here
	end        context.CancelFunc
	heard      chan struct{} // owned by the Loop: closed when other edges have said something
	inbox      inbox         // what they have said
	pace       *time.Timer   // owned by the Loop: the machine's tick; nil: there was none yet

	updating sync.Mutex // one update of a subscription at a time: each is undone when it fails

	slow  sync.Mutex // orders media effects, which run outside the Loop
	queue []func(Media)
	busy  bool
	done  sync.WaitGroup // the goroutine that runs media effects
}

// run performs f on the Loop and delivers its effects.
func (c *controller) run(ctx context.Context, f func() error) error {
	var result error
	err := c.loop.Do(ctx, func() {
		result = f()
		c.deliver()
	})
	var broken *task.PanicError
	switch {
	case err == nil:
		return result
	case errors.Is(err, task.ErrClosed):
		return errClosed
	case errors.As(err, &broken):
		return portalproto.ErrUnknown
	}
	return err
}

// post is run for callers that must not wait: the media layer's events.
func (c *controller) post(f func()) {
	_ = c.loop.Post(func() { // a full or closed mailbox has been told to the log, or is on its way out
		defer func() { // also when what others say breaks off by a panic
			f()
			c.deliver()
		}()
		c.hear()
	})
}

// close ends the room's goroutines; the Loop runs what was posted before.
func (c *controller) close() {
	c.end()
	c.loop.Close()
	if c.pace != nil {
		c.pace.Stop()
	}
	c.done.Wait()
	for id := range c.machine.moved { // nobody would say here that they have left
		c.media.CloseParticipant(id)
	}
	if c.membership != nil {
		c.membership.Close()
	}
	if c.selector != nil {
		c.selector.Close()
	}
	for _, mixer := range c.mixers {
		mixer.Close()
	}
}

func (c *controller) join(ctx context.Context, j Join) (Joined, error) {
	if c.membership == nil && j.Resume {
		return Joined{}, portalproto.ErrNoClient
	}
	if c.membership != nil {
		here, err := c.admit(ctx, &j)
		if err != nil {
			return Joined{}, err
		}
		if !here {
			ctx = context.Background() // its place is taken
		}
	}
	var joined Joined
	err := c.run(ctx, func() (err error) {
		if who := c.machine.local(j.Participant); who != nil && j.Resume {
			if j.Generation > 0 {
				return portalproto.ErrClusterUnavailable
			}
			joined = c.machine.show(who, j.Thin)
		} else if joined, err = c.machine.join(&j); err != nil {
			return err
		}
		if j.Resume && j.Known != nil {
			j.Known(c.machine.members[j.Participant].client)
		}
		c.members[j.Participant] = j.Member
		c.log.Info("participant joined", "participant", j.Participant, "user", joined.Self.User, "role", joined.Self.Role, "resumed", j.Resume)
		return nil
	})
	return joined, err
}

// leave returns when the participant's media is closed too, so that its id may be used for another login.
func (c *controller) leave(ctx context.Context, participant string) error {
	closed := make(chan struct{})
	err := c.run(ctx, func() error {
		delete(c.members, participant)
		if c.machine.leave(participant) {
			c.log.Info("participant left", "participant", participant)
			c.left()
		}
		c.machine.do(func(Media) { close(closed) })
		return nil
	})
	if err == nil {
		<-closed
	}
	return err
}

// publish reserves the session, opens its media outside the Loop, and takes it back when that fails or nobody is there any more.
func (c *controller) publish(ctx context.Context, participant string, r portalproto.PublishRequest) (portalproto.SessionAck, error) {
	var p *publication
	err := c.run(ctx, func() (err error) {
		p, err = c.machine.publish(participant, c.newID(), r)
		return err
	})
	if err != nil {
		return portalproto.SessionAck{}, err
	}
	session := p.stream.ID // it may go on with a stream of before
	ack := portalproto.SessionAck{ID: session, Transport: p.transport}
	err = c.media.Publish(MediaPublication{
		Participant: participant, Transport: ack.Transport, Session: session, New: r.Transport.ID == "", Data: p.stream.Data,
		Resumed: r.Resume == session, Tracks: r.Tracks, Accept: c.machine.config.MediaIn, Events: c.events(participant),
	})
	return ack, c.settle(participant, session, err)
}

func (c *controller) subscribe(ctx context.Context, participant string, r portalproto.SubscribeRequest) (portalproto.SessionAck, error) {
	session := c.newID()
	var s *subscription
	var tracks []subscribed
	err := c.run(ctx, func() (err error) {
		if s, err = c.machine.subscribe(participant, session, r); err == nil {
			tracks = slices.Clone(s.tracks) // the Loop's own may be paused meanwhile
		}
		return err
	})
	if err != nil {
		return portalproto.SessionAck{}, err
	}
	ack := portalproto.SessionAck{ID: session, Transport: s.transport}
	if err := c.mixing(tracks); err != nil {
		return ack, c.settle(participant, session, err)
	}
	sources := make([]MediaSource, len(tracks))
	for i, t := range tracks {
		sources[i] = t.source
	}
	if len(tracks) > 0 || s.data != "" {
		c.flush()
	}
	err = c.media.Subscribe(MediaSubscription{
		Participant: participant, Transport: ack.Transport, Session: session, New: r.Transport.ID == "", Data: s.data,
		Tracks: sources, Events: c.events(participant),
	})
	return ack, c.settle(participant, session, err)
}

// settle follows the opening of a session's media: a refusal frees its place; media that was opened for a session which ended
// in the meantime is closed again.
func (c *controller) settle(participant, session string, failed error) error {
	gone := false
	if err := c.run(context.Background(), func() error {
		if failed != nil {
			c.machine.abandon(session)
			c.left()
			return nil
		}
		gone = !c.machine.live(session)
		return nil
	}); err != nil {
		gone = true
	}
	if failed != nil {
		return failed
	}
	if !gone {
		return nil
	}
	c.media.Stop(session)
	if !c.joined(participant) {
		c.media.CloseParticipant(participant)
		return portalproto.ErrNotJoinedRoom
	}
	return portalproto.ErrSourceReleased
}

func (c *controller) joined(participant string) (in bool) {
	err := c.run(context.Background(), func() error {
		in = c.members[participant] != nil
		return nil
	})
	return in && err == nil
}

func (c *controller) unpublish(ctx context.Context, participant, session string, acked func()) error {
	err := c.run(ctx, func() error {
		defer c.left()
		return c.machine.unpublish(participant, session, acked)
	})
	var at elsewhere
	if !errors.As(err, &at) {
		return err
	}
	if _, err = c.ask(ctx, at, command{op: opUnpublish, stream: session}); err == nil {
		acked()
	}
	return err
}

func (c *controller) text(ctx context.Context, from, to string, message jsonvalue.Value) error {
	n := note{from: from, to: to, message: message}
	if to == portalproto.All {
		to = ""
	}
	var body []byte
	if c.membership != nil {
		if body = n.encode(); len(body) > MaxNote {
			return portalproto.ErrMessageTooLong
		}
	}
	others := false
	if err := c.run(ctx, func() (err error) {
		others, err = c.machine.text(from, n.to, message)
		return err
	}); err != nil || !others {
		return err
	}
	return unreachable(c.membership.Note(ctx, to, body))
}

func (c *controller) streamControl(ctx context.Context, participant string, r portalproto.StreamControl) (region string, err error) {
	err = c.run(ctx, func() error {
		region, err = c.machine.streamControl(participant, r)
		return err
	})
	var at elsewhere
	if errors.As(err, &at) {
		answer, err := c.ask(ctx, at, command{op: opControl, control: r})
		return answer.region, err
	}
	return region, err
}

// destroy ends the room for everyone in it, also on other edges.
func (c *controller) destroy(ctx context.Context, reason string) error {
	err := c.run(ctx, func() error { c.destroyed(reason, true); return nil })
	if err != nil || c.membership == nil {
		return err
	}
	return unreachable(c.membership.Note(ctx, "", note{destroy: true}.encode()))
}

// destroyed ends the room for everyone who is in it here, and says whether it is the same everywhere.
func (c *controller) destroyed(reason string, everywhere bool) {
	gone := c.machine.destroy(reason, everywhere)
	c.deliver()
	for _, id := range gone {
		if member := c.members[id]; member != nil {
			delete(c.members, id)
			member.Drop()
		}
	}
	c.left()
}

// events binds what the media layer reports to a participant: words about a transport go straight to the participant's
// mailbox, words about sessions pass through the state machine.
func (c *controller) events(participant string) MediaEvents {
	return mediaEvents{c, participant}
}

type mediaEvents struct {
	c           *controller
	participant string
}

func (e mediaEvents) progress(p portalproto.Progress) {
	e.c.post(func() { e.c.machine.tell(e.participant, p) })
}

func (e mediaEvents) Answer(transport, sdp string) {
	e.progress(portalproto.Progress{Transport: transport, Status: portalproto.ProgressSOAC, Answer: sdp})
}

func (e mediaEvents) TransportReady(transport string) {
	e.progress(portalproto.Progress{Transport: transport, Status: portalproto.ProgressReady})
}

func (e mediaEvents) TransportFailed(transport, reason string) {
	e.c.log.Warn("transport failed", "participant", e.participant, "transport", transport, "reason", reason)
	e.progress(portalproto.Progress{Transport: transport, Status: portalproto.ProgressError, Reason: reason})
}

func (e mediaEvents) SessionReady(_, session string, tracks []conference.Track) {
	e.c.post(func() { e.c.machine.sessionReady(session, tracks) })
}

func (e mediaEvents) SessionFailed(_, session, reason string) {
	e.c.post(func() {
		e.c.machine.sessionFailed(session, reason)
		e.c.left()
	})
}

func (e mediaEvents) TracksChanged(session string, tracks []conference.Track) {
	e.c.post(func() { e.c.machine.tracksChanged(session, tracks) })
}

func (e mediaEvents) LayersWanted(session string, rids []string) {
	e.c.post(func() { e.c.machine.layersWanted(session, rids) })
}
