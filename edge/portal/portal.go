// Package portal is the signalling door of an edge: it admits clients by token, checks what they ask, carries it to their room
// and brings them what happens there (Client-Portal protocol; sections are those of its specification).
//
// A connection is one Socket.IO socket; a participant is what a login makes of it, with a mailbox of its own, so that the
// participant's life need not be the socket's. The portal knows the protocol's order of checks and nothing of media: rooms
// are reached through Rooms, SDP and candidates go straight to Signaling.
package portal

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"portico/edge/room"
	"portico/edge/sioserver"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
	"portico/shared/task"
	"portico/shared/token"
)

// Rooms carries requests to the rooms, here or elsewhere; *room.Directory satisfies it. Refusals are *portalproto.Error.
type Rooms interface {
	Join(ctx context.Context, j room.Join) (room.Joined, error)
	Leave(ctx context.Context, room, participant string)
	// Renew makes tickets up to a generation useless on other edges, after it has made sure that no other edge has the participant by now.
	Renew(ctx context.Context, room, participant string, generation uint64) error
	Publish(ctx context.Context, room, participant string, r portalproto.PublishRequest) (portalproto.SessionAck, error)
	Subscribe(ctx context.Context, room, participant string, r portalproto.SubscribeRequest) (portalproto.SessionAck, error)
	Unpublish(ctx context.Context, room, participant, session string, acked func()) error
	Unsubscribe(ctx context.Context, room, participant, session string) error
	Text(ctx context.Context, room, from, to string, message jsonvalue.Value) error
	// StreamControl's region is the answer to portalproto.GetRegion.
	StreamControl(ctx context.Context, room, participant string, r portalproto.StreamControl) (region string, err error)
	SubscriptionControl(ctx context.Context, room, participant string, r portalproto.SubscriptionControl) error
	SubscriptionQuality(ctx context.Context, room, participant, session string) (jsonvalue.Value, error)
}

// Signaling takes offers and candidates to a participant's transports. ErrNoTransport's text is the portal's to make: an error
// that is a *portalproto.Error is shown to the client, any other is told as "Unknown".
type Signaling interface {
	Signal(participant string, s portalproto.Signaling) error
}

// Grant is what a valid token entitles to.
type Grant struct {
	Room, User, Role string
	Origin           conference.Origin
	Data             bool // the token names an address for WebTransport
	// TokenID and Created are of the token, for whoever sees to it that none is used twice.
	TokenID string
	Created time.Time
}

// Options are what a Portal needs. All functions must be safe for concurrent use.
type Options struct {
	Rooms     Rooms
	Signaling Signaling
	// Admit verifies and uses up a token (2.3 rows 6 to 9). Refusals are *portalproto.Error.
	Admit func(ctx context.Context, token jsonvalue.Value) (Grant, error)
	// TicketKey signs reconnection tickets (5.1); TicketKeys, unless it is nil, gives the keys in its place.
	TicketKey  []byte
	TicketKeys func() token.Keys
	// Edge is this edge's id in its cluster; empty without one. Then tickets are of use on every edge of the cluster.
	Edge string
	// Edges are the addresses of other edges that clients may go to, the best first; nil: there are none.
	Edges func() []string
	// Full, unless it is nil, tells whether nobody new is let in, for now: newcomers are shown Edges.
	Full func() bool
	// TicketLifetime is how long a ticket is valid; 0 means 600 s.
	TicketLifetime time.Duration
	// ReconnectionTimeout is how long a participant stays in its room after its connection was lost (Timer100); 0 means 60 s.
	ReconnectionTimeout time.Duration
	// BufferTime is how long notifications are kept after they were sent, for a client that may have lost them with its
	// connection; 0 means 46 s: a ping interval, a ping timeout and a second (5.5).
	BufferTime time.Duration
	// ReloginAck is the form of the answer to relogin; "" means ReloginAuto.
	ReloginAck ReloginAck
	// Data, unless it is nil, lets clients whose token says so have data streams.
	Data DataStreams
	// ICEServers are the STUN and TURN servers for a participant, with fresh credentials of its own.
	ICEServers func(participant string) []portalproto.ICEServer
	// LoginTimeout is how long a socket may stay without login; 0 means 180 s (2.1).
	LoginTimeout time.Duration
	// RequestTimeout bounds the wait for a room; 0 means 6 s.
	RequestTimeout time.Duration
	// RequestRate is how many events a second a client may send in the long run, RequestBurst how many at once; 0 means 100
	// and 2,000. Joining a large room takes a few hundred: a session for every stream, each with its candidates.
	RequestRate, RequestBurst int
	Log                       *slog.Logger
}

// Portal serves the clients of one edge.
type Portal struct {
	options Options
	group   *task.Group   // logins under way
	linger  time.Duration // lingerTime, but in tests
	counts  counts

	mu           sync.Mutex // guards what follows; nothing else is locked under it
	connections  map[*connection]struct{}
	participants map[string]*participant // by id, also those away
	draining     bool
}

// Counts are totals since the start, for metrics.
type Counts struct{ Logins, LoginsRefused, Requests, RequestsRefused uint64 }

type counts struct{ logins, loginsRefused, requests, requestsRefused atomic.Uint64 }

// New makes a Portal. Close ends it.
func New(o Options) *Portal {
	if o.LoginTimeout == 0 {
		o.LoginTimeout = 180 * time.Second
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = 6 * time.Second
	}
	if o.TicketLifetime == 0 {
		o.TicketLifetime = 600 * time.Second
	}
	if o.ReconnectionTimeout == 0 {
		o.ReconnectionTimeout = 60 * time.Second
	}
	if o.BufferTime == 0 {
		o.BufferTime = 46 * time.Second
	}
	if o.RequestRate == 0 {
		o.RequestRate = 100
	}
	if o.RequestBurst == 0 {
		o.RequestBurst = 2000
	}
	if o.ReloginAck == "" {
		o.ReloginAck = ReloginAuto
	}
	if o.TicketKeys == nil {
		o.TicketKeys = func() token.Keys { return token.Keys{Current: o.TicketKey} }
	}
	if o.Edges == nil {
		o.Edges = func() []string { return nil }
	}
	p := &Portal{options: o, linger: lingerTime, connections: map[*connection]struct{}{}, participants: map[string]*participant{}}
	p.group = task.NewGroup(context.Background(), func(e *task.PanicError) {
		o.Log.Error("login failed", "panic", e.Error(), "stack", e.Stack)
	})
	return p
}

// Socket is the portal's view of a client's Socket.IO socket; *sioserver.Socket satisfies it.
type Socket interface {
	ID() string
	Emit(name string, args ...jsonvalue.Value)
	Disconnect()
	RemoteAddr() string
}

// Accept begins to serve a socket; the socket's events go to the handler it returns.
func (p *Portal) Accept(s Socket) sioserver.Handler {
	c := &connection{
		portal: p, socket: s, log: p.options.Log.With("connection", s.ID()),
		requests: rate.NewLimiter(rate.Limit(p.options.RequestRate), p.options.RequestBurst),
	}
	c.mu.Lock()
	c.timer = time.AfterFunc(p.options.LoginTimeout, c.loginOverdue)
	c.mu.Unlock()
	p.mu.Lock()
	draining := p.draining
	p.connections[c] = struct{}{}
	p.mu.Unlock()
	if draining {
		s.Disconnect()
	}
	return c
}

// Counts is a snapshot of the totals.
func (p *Portal) Counts() Counts {
	return Counts{p.counts.logins.Load(), p.counts.loginsRefused.Load(), p.counts.requests.Load(), p.counts.requestsRefused.Load()}
}

// Drain tells every participant that the portal ends it ("drop") and disconnects every socket; new ones are turned away.
func (p *Portal) Drain() {
	p.mu.Lock()
	p.draining = true
	all := make([]*connection, 0, len(p.connections))
	for c := range p.connections {
		all = append(all, c)
	}
	p.mu.Unlock()
	var away []*participant
	p.mu.Lock()
	for _, who := range p.participants {
		away = append(away, who)
	}
	p.mu.Unlock()
	for _, c := range all {
		c.end()
	}
	for _, who := range away { // those that have no connection to be ended by
		p.leave(who)
	}
}

// Close waits for the logins under way; the sockets are the caller's to close first.
func (p *Portal) Close() { p.group.Close() }

// remember keeps a participant where its ticket finds it; forget is the reverse. It is false for one that its room has ended meanwhile.
func (p *Portal) remember(who *participant) bool {
	p.mu.Lock()
	p.participants[who.id] = who
	p.mu.Unlock()
	if who.hasLeft() {
		p.forget(who)
		return false
	}
	return true
}

func (p *Portal) forget(who *participant) {
	p.mu.Lock()
	if p.participants[who.id] == who {
		delete(p.participants, who.id)
	}
	p.mu.Unlock()
}
