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
}

// MediaPublication declares the tracks a participant is about to send, or data: then there are no tracks, and the transport is one
// that the participant got when it was admitted.
type MediaPublication struct {
	Participant, Transport, Session string
	New                             bool // open the transport
	Data                            bool
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

// Join asks for a participant's admission. The token behind it has been verified.
type Join struct {
	Room        string // id
	Participant string // id, never used before
	User, Role  string
	Origin      conference.Origin
	Member      Member
}

// Joined is the room as a participant finds it, itself included; Participants are in the order of joining.
type Joined struct {
	Self         conference.Participant
	RoomID       string
	Views        []string
	Participants []conference.Participant
	Streams      []conference.Stream
	Adapts       bool // videos adapt to each subscriber's network and display (rooms-and-media 8.8)
}

// Limits bound what one room and one participant may hold, beyond the room's own configuration.
type Limits struct {
	Participants int // of one room
	Sessions     int // publications and subscriptions of one participant
	Pictures     int // different ones that relays make for one participant: of mixes, and of streams in another form
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
		f()
		c.deliver()
	})
}

// deliver performs the machine's effects. Notifications only reach mailboxes, so they go at once; media may take locks and
// time, so it goes to a queue of its own that keeps the order.
func (c *controller) deliver() {
	var media []func(Media)
	for _, e := range c.machine.take() {
		if e.media != nil {
			media = append(media, e.media)
			continue
		}
		if e.candidate != "" {
			media = append(media, func(Media) { c.selector.Add(e.candidate) })
			continue
		}
		if e.mix != nil {
			if mixer := c.mixers[e.view]; mixer != nil {
				media = append(media, func(Media) { mixer.Update(*e.mix) })
			}
			continue
		}
		if member := c.members[e.to]; member != nil {
			member.Notify(e.notify)
		}
	}
	if len(media) == 0 {
		return
	}
	c.slow.Lock()
	defer c.slow.Unlock()
	c.queue = append(c.queue, media...)
	if !c.busy {
		c.busy = true
		c.done.Add(1)
		go c.runMedia()
	}
}

// runMedia empties the queue of media effects and ends.
func (c *controller) runMedia() {
	defer c.done.Done()
	for {
		c.slow.Lock()
		queue := c.queue
		c.queue = nil
		if len(queue) == 0 {
			c.busy = false
			c.slow.Unlock()
			return
		}
		c.slow.Unlock()
		for _, f := range queue {
			f(c.media)
		}
	}
}

// close ends the room's goroutines; the Loop runs what was posted before.
func (c *controller) close() {
	c.loop.Close()
	c.done.Wait()
	if c.selector != nil {
		c.selector.Close()
	}
	for _, mixer := range c.mixers {
		mixer.Close()
	}
}

func (c *controller) join(ctx context.Context, j Join) (Joined, error) {
	var joined Joined
	err := c.run(ctx, func() error {
		var err error
		if joined, err = c.machine.join(j.Participant, j.User, j.Role, j.Origin); err == nil {
			c.members[j.Participant] = j.Member
			c.log.Info("participant joined", "participant", j.Participant, "user", j.User, "role", j.Role)
		}
		return err
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
	session := c.newID()
	var p *publication
	err := c.run(ctx, func() (err error) {
		p, err = c.machine.publish(participant, session, r)
		return err
	})
	if err != nil {
		return portalproto.SessionAck{}, err
	}
	ack := portalproto.SessionAck{ID: session, Transport: p.transport}
	err = c.media.Publish(MediaPublication{
		Participant: participant, Transport: ack.Transport, Session: session, New: r.Transport.ID == "", Data: p.stream.Data,
		Tracks: r.Tracks, Accept: c.machine.config.MediaIn, Events: c.events(participant),
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
	return c.run(ctx, func() error {
		defer c.left()
		return c.machine.unpublish(participant, session, acked)
	})
}

func (c *controller) unsubscribe(ctx context.Context, participant, session string) error {
	return c.run(ctx, func() error {
		defer c.left()
		return c.machine.unsubscribe(participant, session)
	})
}

func (c *controller) text(ctx context.Context, from, to string, message jsonvalue.Value) error {
	return c.run(ctx, func() error { return c.machine.text(from, to, message) })
}

func (c *controller) streamControl(ctx context.Context, participant string, r portalproto.StreamControl) (region string, err error) {
	err = c.run(ctx, func() error {
		region, err = c.machine.streamControl(participant, r)
		return err
	})
	return region, err
}

func (c *controller) subscriptionControl(ctx context.Context, participant string, r portalproto.SubscriptionControl) error {
	if r.Operation == portalproto.Update {
		return c.update(ctx, participant, r)
	}
	return c.run(ctx, func() error { return c.machine.subscriptionControl(participant, r) })
}

// destroy ends the room for everyone in it.
func (c *controller) destroy(ctx context.Context, reason string) error {
	return c.run(ctx, func() error {
		gone := c.machine.destroy(reason)
		c.deliver()
		for _, id := range gone {
			member := c.members[id]
			delete(c.members, id)
			member.Drop()
		}
		c.left()
		return nil
	})
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
