// Package cascade brings media from the edge where they are to the edges where somebody wants them.
//
// It stands between the media engine (package rtc) and the links of edges (package peers). A track that is published on another edge is
// made known to the engine as a remote one; as soon as it is subscribed to, or a relay needs it, it is pulled: once for each pair of edges,
// however many want it here. At the other end it is tapped whole, like a subscriber's, so that a packet keeps all that it says, layers of
// SVC included; here it enters the forwarding core as an encoding of its own, with its history, its key frames and its requests for what
// got lost on the link. Layers of a simulcast are tracks of their own and are pulled as they are wanted.
//
//	publisher - rtc - tap - link - intake - rtc - subscribers
//
// In rooms of many edges a track may be pulled from an edge that pulls it itself (Options.Parent). When the edge that has it is lost, or
// another one has it now, the subscriptions stay, and what comes from the new one takes the place of what came before with its first
// picture.
//
// Mixed streams, and the loudest voices, are made at a room's home: what they are made into for a subscription is pulled from there with
// all that it is to be, and equal wishes share one flow (mixers.go, selected.go).
//
// What an edge pulls is kept by a task.Loop, and by one goroutine for each edge that it pulls from; each edge that pulls from this one is
// served by a goroutine of its own (serve.go). The messages are meshproto's.
package cascade

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"portico/edge/room"
	"portico/edge/rtc"
	"portico/edge/sfu"
	"portico/shared/link"
	"portico/shared/relayproto"
	"portico/shared/task"
)

// Links are the links to other edges; package peers satisfies it.
type Links interface {
	Self() string
	Link(ctx context.Context, node string) (*link.Link, error)
	Open(ctx context.Context, node, service string, first []byte) (*link.Call, error)
}

// Media is the media engine as the cascade needs it; rtc.Engine satisfies it.
type Media interface {
	OpenRemote(spec rtc.RemoteSpec) (*rtc.Remote, error)
	OpenTap(spec rtc.TapSpec) (*rtc.Tap, error)
	OpenOutlet(spec rtc.OutletSpec) (*rtc.Outlet, error)
	OpenSelector(spec rtc.SelectorSpec) (*rtc.Selector, error)
	Known(track string) bool
	Now() int64
}

// Options are what New needs.
type Options struct {
	Links Links
	Media Media // not used before the first call of another edge or of a room
	// Mixers and Converter make what is made here; nil: nothing is.
	Mixers    room.Mixers
	Converter rtc.Converter
	// Parent names the edge to pull a stream from that is published at origin; nil, and an empty name: the origin itself.
	Parent func(room, stream, origin string) string
	// shun is how long a parent that did not have a stream is not asked again, the first time; default shunTime.
	shun time.Duration
	// MaxPulls bounds the tracks that one edge pulls from this one; default 16,384.
	MaxPulls int
	Log      *slog.Logger // default: nothing is logged
}

// Cascade is an edge's part in it. Make it with New. All methods are safe for concurrent use. It implements room.Mixers and rtc.Converter,
// and of room.Media the part that is about other edges.
type Cascade struct {
	options    Options
	self       string
	log        *slog.Logger
	tasks      *task.Group
	loop       *task.Loop
	neighbours atomic.Pointer[map[string]*neighbour] // by name; copied on change, under mu

	mu      sync.Mutex // guards the fields below
	closed  bool
	streams map[string]*stream // of other edges
	mixes   map[string]*mix    // by the ids of their tracks
	slots   map[string]*choice // as well
	fed     map[string]int     // how many edges pull a stream via this one
	held    map[string]int     // how many calls of an edge are served
	edges   map[string]bool    // of the cluster; nil: nobody has said
}

// How the cascade tries again. The pause doubles.
const (
	leastPause = 50 * time.Millisecond
	mostPause  = time.Second
	openTime   = 3 * time.Second
	idleTime   = 10 * time.Second // a call by which nothing comes is kept
	shunTime   = 30 * time.Second // a parent that did not have the stream is not asked again; longer each time, and not the same for all
	// An edge that cannot reach the origin for so long sends away those that pull via it.
	forsakeTime = 2 * time.Second
	moveTime    = 3 * time.Second // what is made here goes on when it is made elsewhere, until that comes
)

// extensions are those of the RTP header on a link.
var extensions = sfu.Extensions{AudioLevel: relayproto.ExtAudioLevel, DependencyDescriptor: relayproto.ExtDependencyDescriptor}

// New makes a Cascade. Its owner calls Close, before the media engine's and the links'.
func New(o Options) *Cascade {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.shun <= 0 {
		o.shun = shunTime
	}
	if o.MaxPulls <= 0 {
		o.MaxPulls = 16 << 10
	}
	c := &Cascade{
		options: o, self: o.Links.Self(), log: o.Log, streams: make(map[string]*stream), mixes: make(map[string]*mix),
		slots: make(map[string]*choice), fed: make(map[string]int), held: make(map[string]int),
	}
	c.neighbours.Store(&map[string]*neighbour{})
	panics := func(p *task.PanicError) {
		o.Log.Error("cascade failed unexpectedly", "panic", p.Error(), "stack", p.Stack)
	}
	c.tasks = task.NewGroup(context.Background(), panics)
	c.loop = task.NewLoop(task.LoopOptions{Mailbox: 1 << 16, OnPanic: panics})
	return c
}

// Close ends all that is pulled and served, and returns when nothing of it runs. It is safe twice.
func (c *Cascade) Close() {
	c.mu.Lock()
	c.closed = true
	streams := maps.Clone(c.streams)
	clear(c.streams)
	c.mu.Unlock()
	for _, s := range streams {
		s.close()
	}
	c.tasks.Close()
	_ = c.loop.Do(context.Background(), c.end) // refused: closed already
	c.loop.Close()
}

// end lets go of all that is pulled, on the Loop.
func (c *Cascade) end() {
	for _, n := range *c.neighbours.Load() {
		for p := range n.pulls {
			n.drop(p)
		}
	}
}

func (c *Cascade) post(f func()) { _ = c.loop.Post(f) } // refused at the end

// View says which edges the cluster has, by name. What is kept of others is forgotten, as soon as nothing comes from them or goes there.
func (c *Cascade) View(edges []string) {
	known := make(map[string]bool, len(edges))
	for _, name := range edges {
		known[name] = true
	}
	c.mu.Lock()
	c.edges = known
	c.mu.Unlock()
	c.post(c.prune)
	c.Reparent()
}

// prune forgets edges that have left the cluster, on the Loop.
func (c *Cascade) prune() {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := *c.neighbours.Load()
	left := maps.Clone(known)
	maps.DeleteFunc(left, func(name string, n *neighbour) bool {
		return c.edges != nil && !c.edges[name] && c.held[name] == 0 && !n.keeps && len(n.pulls) == 0
	})
	if len(left) < len(known) {
		c.neighbours.Store(&left)
	}
}

// hold is neighbour for one that is served, until release.
func (c *Cascade) hold(name string) *neighbour {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held[name]++
	return c.neighbourLocked(name)
}

func (c *Cascade) release(name string) {
	c.mu.Lock()
	if c.held[name]--; c.held[name] == 0 {
		delete(c.held, name)
	}
	c.mu.Unlock()
	c.post(c.prune)
}

// neighbour is the edge of that name, which is made known, for the Loop.
func (c *Cascade) neighbour(name string) *neighbour {
	if n := (*c.neighbours.Load())[name]; n != nil {
		return n
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.neighbourLocked(name)
}

func (c *Cascade) neighbourLocked(name string) *neighbour {
	known := *c.neighbours.Load()
	if n := known[name]; n != nil {
		return n
	}
	n := newNeighbour(c, name)
	more := maps.Clone(known)
	more[name] = n
	c.neighbours.Store(&more)
	return n
}

// Packets takes the packets of links: see peers.Handlers.
func (c *Cascade) Packets(from string, _ *link.Link, id uint64, packet []byte) {
	n := (*c.neighbours.Load())[from]
	if n == nil {
		return
	}
	flow, rtcp := relayproto.Flow(id)
	n.mu.RLock()
	r := n.flows[flow]
	n.mu.RUnlock()
	if r == nil { // of something that was wanted a moment ago, or junk
		n.unrouted.Add(1)
		return
	}
	n.taking.Lock() // there may be two links at a time
	defer n.taking.Unlock()
	if rtcp {
		r.rtcp(packet)
	} else {
		r.rtp(packet)
	}
}

// Changed takes note that a node can be reached, or not: see peers.Handlers.
func (c *Cascade) Changed(node string, up bool) {
	if n := (*c.neighbours.Load())[node]; n != nil && up {
		n.kick()
	}
}

// errClosed is of calls after Close.
var errClosed = errors.New("cascade: closed")
