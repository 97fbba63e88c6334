package main

import (
	"context"
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"portico/shared/client"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/tools/pionpeer"
	"portico/tools/pionpeer/clip"
)

type options struct {
	token              string
	publish, subscribe bool
	relay, loopback    bool
	message            string
	length             time.Duration
	dir                string
	spec               clip.Spec
	clip               *clip.Clip
	dial               client.Dialer // nil: the real one
}

// guest is one participation. The Events run on the conference's goroutine, which may not wait for subscriptions: each of those has its own.
type guest struct {
	options options
	factory *pionpeer.Factory
	joined  chan struct{} // closed when conference is set
	c       *client.Conference
	tasks   sync.WaitGroup
	stop    context.CancelFunc
	ctx     context.Context // ends with the participation

	mu   sync.Mutex // guards out and seen
	out  *json.Encoder
	seen map[string]bool // streams that were considered
}

func newGuest(o options, out io.Writer) (*guest, error) {
	factory, err := pionpeer.New(pionpeer.Options{Settings: func(s *webrtc.SettingEngine) { s.SetIncludeLoopbackCandidate(o.loopback) }})
	if err != nil {
		return nil, err
	}
	return &guest{options: o, factory: factory, joined: make(chan struct{}), out: json.NewEncoder(out), seen: map[string]bool{}}, nil
}

type fields map[string]any

func (g *guest) say(event string, f fields) {
	line := fields{"event": event}
	for k, v := range f {
		line[k] = v
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.out.Encode(line) // who closed our output does not want to know
}

// run takes part until ctx ends or the conference does.
func (g *guest) run(ctx context.Context) error {
	g.ctx, g.stop = context.WithCancel(ctx)
	defer g.tasks.Wait()
	defer g.stop()
	c, err := client.Join(ctx, g.options.token, client.Options{
		Peers: g.factory, Events: (*events)(g), Dial: g.options.dial, RelayOnly: g.options.relay,
	})
	if err != nil {
		return err
	}
	g.c = c
	info := c.Info()
	g.say("joined", fields{"id": info.Self.ID, "user": info.Self.User, "room": info.RoomID, "participants": len(info.Participants)})
	close(g.joined)
	if g.options.message != "" {
		g.report("send", c.Send(ctx, jsonvalue.Of(g.options.message), ""))
	}
	if g.options.publish {
		g.tasks.Go(g.publish)
	}
	for _, s := range info.Streams {
		g.consider(s)
	}
	select {
	case <-ctx.Done():
	case <-c.Done():
		return client.ErrEnded
	}
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	err = c.Leave(leaving)
	<-c.Done()
	return err
}

func (g *guest) report(what string, err error) {
	if err != nil && g.ctx.Err() == nil {
		g.say("error", fields{"what": what, "text": err.Error()})
	}
}

func (g *guest) publish() {
	video, audio, err := clip.Tracks("guest")
	if err != nil {
		g.report("publish", err)
		return
	}
	p, err := g.c.Publish(g.ctx, client.PublishOptions{Tracks: []client.LocalTrack{
		{Kind: conference.Audio, Source: "mic", Local: audio}, {Kind: conference.Video, Source: "camera", Local: video}}})
	if err != nil {
		g.report("publish", err)
		return
	}
	g.say("published", fields{"id": p.ID()})
	g.report("play", g.options.clip.Play(g.ctx, video, audio))
}

// consider subscribes to a stream of somebody else, once.
func (g *guest) consider(s conference.Stream) {
	g.mu.Lock()
	seen := g.seen[s.ID]
	g.seen[s.ID] = true
	g.mu.Unlock()
	if !seen && g.options.subscribe && s.Type == conference.Forward && s.Owner != g.c.Info().Self.ID && len(s.Tracks) > 0 {
		g.tasks.Go(func() { g.subscribe(s) })
	}
}

func (g *guest) subscribe(s conference.Stream) {
	o := client.SubscribeOptions{}
	if s.Has(conference.Audio) {
		o.Audio = &client.SubscribeTrack{From: s.ID}
	}
	if s.Has(conference.Video) {
		o.Video = &client.SubscribeTrack{From: s.ID}
	}
	sub, err := g.c.Subscribe(g.ctx, o)
	if err != nil {
		g.report("subscribe", err)
		return
	}
	tracks := sub.Tracks()
	g.say("subscribed", fields{"stream": s.ID, "id": sub.ID(), "tracks": len(tracks)})
	for _, t := range tracks {
		remote := t.Track.(*pionpeer.Remote)
		if t.Kind == conference.Video {
			g.report("key frame", remote.RequestKeyFrame())
		}
		g.tasks.Go(func() { g.watch(s.ID, t.Kind, clip.Count(remote.Track)) })
	}
}

// watch tells once a second what has arrived, while more arrives, and at the end.
func (g *guest) watch(stream string, kind conference.Kind, counter *clip.Counter) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := 0
	tell := func() {
		if n := counter.Counts(); n.Packets != last {
			last = n.Packets
			g.say("media", fields{"stream": stream, "kind": kind, "counts": n})
		}
	}
	for {
		select {
		case <-tick.C:
			tell()
		case <-counter.Done():
			tell()
			return
		}
	}
}

// events are the guest as the conference's Events.
type events guest

var _ client.Events = (*events)(nil)

func (e *events) guest() *guest { return (*guest)(e) }

func (e *events) ParticipantJoined(p conference.Participant) {
	e.guest().say("participant", fields{"id": p.ID, "user": p.User, "role": p.Role})
}

func (e *events) ParticipantLeft(id string) { e.guest().say("left", fields{"id": id}) }

func (e *events) StreamAdded(s conference.Stream) {
	g := e.guest()
	g.say("stream", fields{"id": s.ID, "owner": s.Owner, "type": s.Type, "tracks": len(s.Tracks)})
	<-g.joined // events may be ahead of Join, which does not wait for them
	g.consider(s)
}

func (e *events) StreamRemoved(id string) { e.guest().say("removed", fields{"id": id}) }

func (e *events) StreamUpdated(s conference.Stream, field string, _ jsonvalue.Value) {
	e.guest().say("updated", fields{"id": s.ID, "field": field})
}

func (e *events) Message(from, to string, message jsonvalue.Value) {
	e.guest().say("message", fields{"from": from, "to": to, "message": json.RawMessage(message.String())})
}

func (e *events) SessionEnded(id, reason string) {
	e.guest().say("ended", fields{"id": id, "reason": reason})
}

func (e *events) SessionRestored(old, id string) {
	e.guest().say("restored", fields{"old": old, "id": id})
}

func (e *events) DataMoved() {}

func (e *events) RosterChanged(count int, thin bool) {
	e.guest().say("roster", fields{"count": count, "thin": thin})
}

func (e *events) State(s client.State) {
	e.guest().say("state", fields{"signaling": s.Signaling, "media": s.Media})
}

func (e *events) Disconnected(err error) {
	f := fields{}
	if err != nil {
		f["text"] = err.Error()
	}
	e.guest().say("disconnected", f)
}
