// Package conduit brings data streams from the edge where they are published to those where somebody wants them, as cascade does for
// media.
//
// It stands between the data streams of this edge (package wt) and the links of edges (package peers). A publication on another edge is
// made known to wt as a remote one; as long as it is subscribed to here it is pulled, once however many want it, by a call of its own:
//
//	publisher - wt - tap - call - inlet - wt - subscribers
//
// Each stream of the publisher is one here, from where it is when the pull begins, and ends as it ends. All come by one call, so a packet
// that gets lost on the link holds up the other streams of its publication too.
//
// At the publisher's edge a pull is bounded as a subscription is: a link that does not carry what is published, or an edge that does not
// read it, overflows its queue. Then the pull ends, and with it the subscriptions that it fed, for the reason that slow subscribers get:
// what is missing cannot be made good. Nobody else notices.
//
// When the edge that has the publication is lost, the streams end in order with what has come; the subscriptions stay, and the publication
// is asked for again until the room says that it has ended, or which edge has it now. What was published meanwhile has not come, and is
// not repeated. One that has gone to another edge is pulled from there at once, and what is under way from the one before still arrives.
//
// Everything comes from the edge where it is published, also in rooms of many edges.
package conduit

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"portico/edge/wt"
	"portico/shared/link"
	"portico/shared/task"
)

// Links are the links to other edges; package peers satisfies it.
type Links interface {
	Self() string
	Open(ctx context.Context, node, service string, first []byte) (*link.Call, error)
	// Cut ends the links with a node that does not keep to the format.
	Cut(node string, why error)
}

// Data are the data streams of this edge; wt.Server satisfies it.
type Data interface {
	OpenRemote(spec wt.RemoteSpec) (*wt.Remote, error)
	OpenTap(room, session string) (*wt.Tap, error)
}

// Options are what New needs.
type Options struct {
	Links Links
	Data  Data // not used before the first call of another edge or of a room
	// MaxServed bounds the publications that one edge pulls from this one; default 4,096.
	MaxServed int
	Log       *slog.Logger // default: nothing is logged
}

// Conduit is an edge's part in it. Make it with New. All methods are safe for concurrent use.
type Conduit struct {
	options Options
	self    string
	log     *slog.Logger
	tasks   *task.Group
	totals  totals

	// mu guards what follows, and the streams. It is not held while waiting, but taken before wt's own.
	mu      sync.Mutex
	closed  bool
	streams map[string]*stream            // of other edges
	serving map[string]map[string]*served // by edge and publication
}

// Times.
const (
	openTime   = 3 * time.Second // to reach an edge
	leastPause = 50 * time.Millisecond
	mostPause  = time.Second
	// readyTime is how long subscriptions wait for an edge that cannot be reached before they are told that they are ready.
	readyTime = 3 * time.Second
	moveTime  = 3 * time.Second // a pull goes on when its publication is elsewhere, or gone: something may be under way
)

// Stats are what a Conduit does now, and totals since the start.
type Stats struct {
	Pulling, Serving  int
	Pulled            uint64 // pulls that began to come
	BytesIn, BytesOut uint64 // of data on links
	Slow              uint64 // pulls from here that were ended because they did not keep up
}

type totals struct {
	serving                            atomic.Int64
	pulled, bytesIn, bytesOut, tooSlow atomic.Uint64
}

// New makes a Conduit. Its owner calls Close, before the data streams' and the links'.
func New(o Options) *Conduit {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxServed <= 0 {
		o.MaxServed = 4096
	}
	c := &Conduit{
		options: o, self: o.Links.Self(), log: o.Log, streams: make(map[string]*stream), serving: make(map[string]map[string]*served),
	}
	c.tasks = task.NewGroup(context.Background(), func(p *task.PanicError) {
		o.Log.Error("data of another edge failed unexpectedly", "panic", p.Error(), "stack", p.Stack)
	})
	return c
}

// Stats is a snapshot.
func (c *Conduit) Stats() Stats {
	t := &c.totals
	s := Stats{
		Serving: int(t.serving.Load()), Pulled: t.pulled.Load(), BytesIn: t.bytesIn.Load(), BytesOut: t.bytesOut.Load(), Slow: t.tooSlow.Load(),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.streams {
		if x.pull != nil {
			s.Pulling++
		}
	}
	return s
}

// Close ends all that is pulled and served, and returns when nothing of it runs. It is safe twice.
func (c *Conduit) Close() {
	c.mu.Lock()
	c.closed = true
	for _, s := range c.streams {
		s.end()
	}
	clear(c.streams)
	c.mu.Unlock()
	c.tasks.Close()
}

// Changed takes note that a node can be reached, or not: see peers.Handlers.
func (c *Conduit) Changed(node string, up bool) {
	if !up {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		if s.edge == node {
			s.look()
		}
	}
}
