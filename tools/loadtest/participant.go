package loadtest

import (
	"context"
	"fmt"
	"sync"

	"portico/shared/client"
	"portico/shared/conference"
)

// participant is one client of a room, from join to leave.
type participant struct {
	client.NoEvents
	crowd     *crowd
	publishes bool
	receives  bool
	opened    int64 // clock of when its socket to the portal was opened

	ctx     context.Context
	stop    context.CancelFunc
	tasks   sync.WaitGroup
	streams chan conference.Stream // that it may subscribe to
	c       *client.Conference
	publish *client.Publication

	mu    sync.Mutex // guards peers
	peers []*peer    // one, unless the first was given up
}

// streamsWaiting bounds the streams that wait to be subscribed to; the room waits then.
const streamsWaiting = 1024

func newParticipant(c *crowd, publishes, receives bool) *participant {
	p := &participant{crowd: c, publishes: publishes, receives: receives, streams: make(chan conference.Stream, streamsWaiting)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// join enters the room, publishes, and begins to subscribe to what is there and to what comes.
func (p *participant) join(ctx context.Context, token string) error {
	p.opened = clock()
	c, err := client.Join(ctx, token, client.Options{Peers: p, Events: p, SDKType: "Portico-Load", SDKVersion: "1.0"})
	if err != nil {
		return fmt.Errorf("cannot join: %w", err)
	}
	p.c = c
	if p.publishes {
		if err := p.begin(ctx); err != nil {
			return fmt.Errorf("cannot publish: %w", err)
		}
	}
	if p.receives {
		p.tasks.Go(p.subscribe)
	}
	return nil
}

// begin publishes and starts to send.
func (p *participant) begin(ctx context.Context) error {
	var local []client.LocalTrack
	tracks := p.crowd.scenario.Media.tracks()
	for _, t := range tracks {
		local = append(local, client.LocalTrack{Kind: t.kind, Local: t})
	}
	publication, err := p.c.Publish(ctx, client.PublishOptions{Tracks: local})
	if err != nil {
		return err
	}
	p.publish = publication
	p.mu.Lock()
	at := p.peers[len(p.peers)-1]
	p.mu.Unlock()
	mu := &at.transport.socket.poller.mu
	mu.Lock()
	at.tracks = tracks
	mu.Unlock()
	sender := &publisher{transport: at.transport, tracks: tracks, rate: &p.crowd.rate, lateness: &p.crowd.lateness}
	p.tasks.Go(func() { sender.run(p.ctx) })
	return nil
}

// StreamAdded implements client.Events.
func (p *participant) StreamAdded(s conference.Stream) {
	select {
	case p.streams <- s:
	case <-p.ctx.Done():
	}
}

// SessionEnded implements client.Events.
func (p *participant) SessionEnded(_, reason string) {
	if p.ctx.Err() == nil {
		p.crowd.fail(fmt.Errorf("a session has ended: %s", reason))
	}
}

// Disconnected implements client.Events.
func (p *participant) Disconnected(err error) {
	if err != nil && p.ctx.Err() == nil {
		p.crowd.fail(fmt.Errorf("a participant was disconnected: %w", err))
	}
}

// subscribe subscribes to every stream of somebody else, once.
func (p *participant) subscribe() {
	info := p.c.Info()
	known := map[string]bool{}
	for _, s := range info.Streams {
		p.subscribeTo(s, info.Self.ID, known)
	}
	for {
		select {
		case s := <-p.streams:
			p.subscribeTo(s, info.Self.ID, known)
		case <-p.ctx.Done():
			return
		}
	}
}

func (p *participant) subscribeTo(s conference.Stream, self string, known map[string]bool) {
	if known[s.ID] || s.Type != conference.Forward || s.Owner == self || len(s.Tracks) == 0 {
		return
	}
	known[s.ID] = true
	var o client.SubscribeOptions
	if s.Has(conference.Audio) {
		o.Audio = &client.SubscribeTrack{From: s.ID}
	}
	if s.Has(conference.Video) {
		o.Video = &client.SubscribeTrack{From: s.ID}
	}
	if _, err := p.c.Subscribe(p.ctx, o); err != nil && p.ctx.Err() == nil {
		p.crowd.fail(fmt.Errorf("cannot subscribe: %w", err))
	}
}

// NewPeer implements client.PeerFactory.
func (p *participant) NewPeer(_ client.PeerConfig, events client.PeerEvents) (client.Peer, error) {
	made := &peer{
		host: p.crowd.host, events: events, feedback: p.crowd.feedback, inbound: newInbound(p.crowd.sample, p.crowd.flowed),
		broken: func(err error) {
			if p.ctx.Err() == nil {
				p.crowd.fail(err)
			}
		},
	}
	p.mu.Lock()
	p.peers = append(p.peers, made)
	p.mu.Unlock()
	return made, nil
}

// leave ends everything and waits for it.
func (p *participant) leave(ctx context.Context) {
	p.stop()
	p.tasks.Wait()
	if p.c != nil {
		_ = p.c.Leave(ctx) // it has ended all the same
		<-p.c.Done()
	}
}
