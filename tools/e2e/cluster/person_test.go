//go:build linux

package cluster

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"

	"portico/shared/client"
	"portico/shared/conference"
	sharedtoken "portico/shared/token"
	"portico/shared/wsconn"
	"portico/tools/netlab"
	"portico/tools/pionpeer"
	"portico/tools/pionpeer/beacon"
	"portico/tools/portico/manage"
)

// person is a participant in a network of their own, near some edge, who publishes sound and pictures and subscribes to everybody's.
type person struct {
	client.NoEvents
	*cluster
	name   string
	home   *netlab.Namespace
	lines  []*netlab.Link // to the edges, in their order
	source *beacon.Source
	c      *client.Conference
	stream *client.Publication
	joined time.Duration // how long it took

	ctx   context.Context // ends when they leave
	stop  context.CancelFunc
	tasks sync.WaitGroup

	mu       sync.Mutex              // guards what follows
	at       *edge                   // that answered last
	sinks    map[string]*beacon.Sink // by the streams' ids
	subs     map[string]*client.Subscription
	told     []string // what happened in the room, as it was told
	restored int
	lost     []string // sessions that ended by themselves
	ended    error
	over     bool
	read     []*pionpeer.Remote
}

// joins has somebody join at an edge and publish; they leave when the test ends.
func (c *cluster) joins(name string, at *edge) *person {
	c.t.Helper()
	p := &person{cluster: c, name: name, home: c.lab.Namespace(name), sinks: map[string]*beacon.Sink{}, subs: map[string]*client.Subscription{}}
	p.ctx, p.stop = context.WithCancel(context.Background())
	for _, e := range c.edges {
		shape := netlab.Shape{Delay: time.Millisecond}
		if e.region != at.region {
			shape = far
		}
		p.lines = append(p.lines, c.lab.Link(p.home, e.home, shape, shape))
	}
	var err error
	p.source, err = beacon.NewSource(name)
	c.must(err)
	token := at.token(name)
	begin := time.Now()
	// A type of SDK whose participants may resume.
	p.c, err = client.Join(c.t.Context(), token, client.Options{
		Peers: p.peers(), Events: p, Dial: client.DialSocketIOBy(p.connect), SDKType: "JavaScript", SDKVersion: "5.1",
	})
	if err != nil {
		c.tails()
		c.t.Fatalf("%s cannot join: %v", name, err)
	}
	p.joined = time.Since(begin)
	c.t.Cleanup(p.leave)
	p.stream, err = p.c.Publish(c.t.Context(), client.PublishOptions{Tracks: []client.LocalTrack{
		{Kind: conference.Audio, Local: p.source.Audio}, {Kind: conference.Video, Local: p.source.Video},
	}})
	c.must(err)
	p.tasks.Go(func() { p.source.Run(p.ctx) })
	for _, s := range p.c.Info().Streams {
		p.watch(s)
	}
	c.people = append(c.people, p)
	return p
}

// token is one that names this edge. Which one a token names is the cluster's choice, and another one would do as well; but tests have to
// know who is where.
func (e *edge) token(user string) string {
	e.t.Helper()
	text, err := e.api.CreateToken(e.t.Context(), e.room, user, "presenter", manage.Place{Region: e.region})
	e.must(err)
	t, err := sharedtoken.Decode(text)
	e.must(err)
	t.Host = e.at(clientPort)
	return e.keys.Mint(t).Encode()
}

// connect opens a WebSocket from where they are.
func (p *person) connect(ctx context.Context, url string) (wsconn.Conn, error) {
	var to string
	conn, err := wsconn.Dial(ctx, url, wsconn.DialOptions{Platform: wsconn.Platform{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		to = address
		return p.home.DialContext(ctx, network, address)
	}}})
	for _, e := range p.edges {
		if err == nil && to == e.at(clientPort) {
			p.mu.Lock()
			p.at = e
			p.mu.Unlock()
		}
	}
	return conn, err
}

// edge is the one that they were connected to last.
func (p *person) edge() *edge {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// peers makes PeerConnections where they are.
func (p *person) peers() client.PeerFactory {
	p.t.Helper()
	socket, err := p.home.ListenUDP(0)
	p.must(err)
	silent := &logging.DefaultLoggerFactory{Writer: io.Discard} // lost packets are to be expected
	mux := webrtc.NewICEUDPMux(silent.NewLogger("ice"), socket)
	p.t.Cleanup(func() { _ = mux.Close() })
	factory, err := pionpeer.New(pionpeer.Options{
		Settings: func(s *webrtc.SettingEngine) {
			s.SetICEUDPMux(mux)
			s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
		},
		RTCP: p.source.RTCP, Log: silent,
	})
	p.must(err)
	return factory
}

func (p *person) leave() {
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		return
	}
	p.over = true
	p.mu.Unlock()
	_ = p.c.Leave(context.Background())
	p.stop()
	p.mu.Lock()
	for _, r := range p.read { // the library may leave the reader of a track that was stopped behind
		_ = r.Track.SetReadDeadline(time.Unix(1, 0))
	}
	p.mu.Unlock()
	p.tasks.Wait()
}

// watch subscribes to a stream of somebody else's, beside whatever goes on.
func (p *person) watch(s conference.Stream) {
	if s.Type != conference.Forward || s.Owner == p.c.Info().Self.ID {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || p.sinks[s.ID] != nil {
		return
	}
	sink := beacon.NewSink(p.userOf(s.Owner))
	p.sinks[s.ID] = sink
	p.tasks.Go(func() {
		sub, err := p.c.Subscribe(p.ctx, client.SubscribeOptions{Audio: &client.SubscribeTrack{From: s.ID}, Video: &client.SubscribeTrack{From: s.ID}})
		if err != nil {
			if p.ctx.Err() == nil {
				p.note("cannot subscribe: " + err.Error())
			}
			return
		}
		p.mu.Lock()
		p.subs[s.ID] = sub
		p.mu.Unlock()
		p.receive(sub, sink)
	})
}

// userOf is the user that a participant is.
func (p *person) userOf(id string) string {
	for _, o := range p.c.Info().Participants {
		if o.ID == id {
			return o.User
		}
	}
	return ""
}

// receive reads the tracks that a subscription has now.
func (p *person) receive(sub *client.Subscription, sink *beacon.Sink) {
	for _, t := range sub.Tracks() {
		track := t.Track.(*pionpeer.Remote)
		p.mu.Lock()
		known := p.over || slices.Contains(p.read, track)
		if !known {
			p.read = append(p.read, track)
			p.tasks.Go(func() { sink.Read(track) })
		}
		p.mu.Unlock()
	}
}

func (p *person) note(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.told = append(p.told, what)
	}
}

// heard is what they were told since the last time.
func (p *person) heard() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	told := p.told
	p.told = nil
	return told
}

// The events of client.Events.

func (p *person) ParticipantJoined(o conference.Participant) { p.note("joined " + o.User) }
func (p *person) ParticipantLeft(id string)                  { p.note("left " + id) }
func (p *person) StreamRemoved(id string)                    { p.note("removed " + id) }
func (p *person) StreamAdded(s conference.Stream) {
	p.note("added " + s.ID)
	p.watch(s)
}

// SessionRestored has the new tracks read.
func (p *person) SessionRestored(_, id string) {
	p.mu.Lock()
	p.restored++
	var found *client.Subscription
	var sink *beacon.Sink
	for stream, sub := range p.subs {
		if sub.ID() == id {
			found, sink = sub, p.sinks[stream]
		}
	}
	p.mu.Unlock()
	if found != nil {
		p.receive(found, sink)
	}
}

func (p *person) SessionEnded(id, reason string) {
	if reason != client.ReasonStopped && reason != client.ReasonEnded {
		p.note("ended " + id + ": " + reason)
	}
}

func (p *person) Disconnected(err error) {
	if err != nil {
		p.note("disconnected: " + err.Error())
	}
}

// hears waits until the sound and pictures of all the others have come since a time.
func (p *person) hears(since time.Time, limit time.Duration, others ...*person) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), limit)
	defer cancel()
	for _, o := range others {
		if o == p {
			continue
		}
		var sink *beacon.Sink
		p.until(limit, p.name+" subscribes to "+o.name, func() bool {
			sink = p.sink(o)
			return sink != nil
		})
		if _, err := sink.Await(ctx, since); err != nil {
			p.tails()
			p.t.Fatalf("%s has not heard and seen %s within %v, but %v; told %q", p.name, o.name, limit, sink, p.heard())
		}
	}
}

// sink is where somebody's media come, nil while they do not.
func (p *person) sink(o *person) *beacon.Sink {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sinks[o.stream.ID()]
}

// roster is who is in the room, and which streams are, sorted.
func (p *person) roster() (list []string) {
	info := p.c.Info()
	for _, o := range info.Participants {
		list = append(list, o.User+" "+o.ID)
	}
	for _, s := range info.Streams {
		list = append(list, "stream "+s.ID+" of "+s.Owner)
	}
	slices.Sort(list)
	return list
}
