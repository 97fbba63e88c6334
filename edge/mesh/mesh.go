package mesh

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"portico/edge/mesh/directory"
	"portico/edge/peers"
	"portico/shared/meshproto"
	"portico/shared/placement"
	"portico/shared/roster"
	"portico/shared/task"
)

// Errors, by which a part can tell what became of its wishes. Those of the context that was given come as they are.
var (
	ErrClosed = errors.New("mesh: closed")
	ErrNoRoom = errors.New("no edge has this room")
	ErrUnsure = errors.New("the other edge was lost before it answered") // it may have done what it was asked
	// ErrUnreachable is of a command that did not reach the other edge.
	ErrUnreachable = errors.New("the other edge cannot be reached")
	ErrGone        = errors.New("no edge has this any more")
	ErrRefused     = errors.New("refused by the other edge")
	ErrBusy        = directory.ErrBusy // too many notes are on their way

	ErrTokenUsed          = errors.New("this token has been used")
	ErrRoomFull           = roster.ErrRoomFull
	ErrTaken              = roster.ErrTaken
	ErrReplayed           = roster.ErrReplayed
	ErrUnknownParticipant = roster.ErrUnknownParticipant
)

// Options are what a Mesh is made of.
type Options struct {
	Peers *peers.Peers
	// Self is this node in its present life, by the name of its certificate.
	Self   placement.Name
	Timing placement.Timing // zero: placement.DefaultTiming
	Grace  time.Duration    // that entries of a lost edge stay; default 60 s
	// Limit gives how many participants a room may have; below 0 there is no limit, which is the default. It must not wait for long.
	Limit func(room string) int
	// Host is told that this edge is the home of a room that it has no part of: the node is to Enter it, with a part that leads. The
	// room ends for it with Part.Destroyed, or when it leads no more and has nothing there. nil: such a room has no views.
	Host      func(room string)
	TokenLife time.Duration // of tokens that are used once; default 30 minutes
	Log       *slog.Logger  // default: nothing is logged
	Now       func() time.Time

	network network // in tests, instead of Peers
}

func (o *Options) fill() {
	if o.Timing == (placement.Timing{}) {
		o.Timing = placement.DefaultTiming()
	}
	if o.Grace <= 0 {
		o.Grace = time.Minute
	}
	if o.Limit == nil {
		o.Limit = func(string) int { return -1 }
	}
	if o.TokenLife <= 0 {
		o.TokenLife = 30 * time.Minute
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.network == nil {
		o.network = links{o.Peers}
	}
}

// Bounds.
const (
	maxRooms   = 1 << 17
	keepIdle   = time.Minute // that a room is remembered without use
	sweepEvery = 10 * time.Second
	flushTime  = 500 * time.Millisecond // in Close, for what was said last
)

// Mesh is one edge's part in all rooms. Make it with New. All methods are safe for concurrent use.
type Mesh struct {
	options Options
	net     network
	log     *slog.Logger
	start   time.Time
	tasks   *task.Group // rooms and calls
	clock   clock
	tokens  tokens
	writing gauge // goroutines that send

	sessions atomic.Uint64 // number of the last call of a follower
	requests atomic.Uint64 // number of the last admission
	counts   counts

	mu      sync.Mutex // guards what follows
	rooms   map[string]*room
	seats   map[string]*outlet // to each node
	posts   map[string]*outlet // to each node
	view    []placement.Edge
	lost    map[string]bool
	drain   bool
	closing bool
}

// New makes a Mesh. Its services are given to Peers.Start (Services, Changed). Its owner calls Close.
func New(o Options) *Mesh {
	o.fill()
	m := &Mesh{
		options: o, net: o.network, log: o.Log, start: time.Now(), rooms: map[string]*room{}, seats: map[string]*outlet{},
		posts: map[string]*outlet{}, lost: map[string]bool{},
	}
	m.tasks = task.NewGroup(context.Background(), func(e *task.PanicError) {
		o.Log.Error("panic in the mesh", "error", e, "stack", e.Stack)
	})
	m.tokens.init(o.TokenLife)
	m.clock.init()
	_ = m.tasks.Go(m.runClock)
	return m
}

// Services are what other edges call.
func (m *Mesh) Services() map[string]peers.Handler {
	list := map[string]peers.Handler{}
	for name, h := range m.services() {
		list[name] = serve(h)
	}
	return list
}

func (m *Mesh) services() map[string]handler {
	return map[string]handler{
		meshproto.ServiceSeats: m.serveSeats, meshproto.ServiceRoom: m.serveRoom, meshproto.ServiceCommand: m.serveCommand,
		meshproto.ServiceStandby: m.serveStandby,
	}
}

// now is the time as package directory counts it.
func (m *Mesh) now() time.Duration { return time.Since(m.start) }

// View tells which edges there are, this one included, whenever that changes. The Mesh keeps the slice.
func (m *Mesh) View(edges []placement.Edge) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.view = edges
	for id := range m.lost {
		if !contains(edges, id) {
			delete(m.lost, id)
		}
	}
	m.all(placement.View{Edges: edges})
}

// Changed tells that a node can be reached, or cannot (peers.Handlers).
func (m *Mesh) Changed(node string, up bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if up {
		delete(m.lost, node)
		m.all(placement.Healed{ID: node})
		return
	}
	if contains(m.view, node) {
		m.lost[node] = true
	}
	m.all(placement.Lost{ID: node})
}

func (m *Mesh) isLost(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost[id]
}

// Drain says whether this edge is to give its rooms away.
func (m *Mesh) Drain(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drain = on
	m.all(placement.Drain{On: on})
}

// all posts an event to all rooms. The mu is held.
func (m *Mesh) all(e directory.Event) {
	for _, r := range m.rooms {
		r.event(e)
	}
}

func contains(edges []placement.Edge, id string) bool {
	for i := range edges {
		if edges[i].ID == id {
			return true
		}
	}
	return false
}

// room gives a room, made when there is none and create says so; nil beyond the limit, and after Close.
func (m *Mesh) room(name string, create bool) *room {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.roomLocked(name, create)
}

// with has fn run in turn by a room, as room gives it, and says which one that is. It fails with ErrNoRoom where there is none, and as
// room.put does.
func (m *Mesh) with(name string, create bool, limit int, fn func(r *room)) (*room, error) {
	for {
		r := m.room(name, create)
		if r == nil {
			return nil, ErrNoRoom
		}
		if err := r.put(func() { fn(r) }, limit); err != errForgotten {
			return r, err
		}
	}
}

func (m *Mesh) roomLocked(name string, create bool) *room {
	r := m.rooms[name]
	if r != nil || !create || m.closing || len(m.rooms) >= maxRooms {
		return r
	}
	r = newRoom(m, name)
	m.rooms[name] = r
	r.event(placement.View{Edges: m.view})
	for id := range m.lost {
		r.event(placement.Lost{ID: id})
	}
	if m.drain {
		r.event(placement.Drain{On: true})
	}
	return r
}

// sweep forgets rooms that are of no use.
func (m *Mesh) sweep() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, r := range m.rooms {
		if r.forget(m.now()) {
			delete(m.rooms, name)
			m.clock.remove(r)
		}
	}
	for _, outlets := range []map[string]*outlet{m.seats, m.posts} {
		for id, o := range outlets {
			if o.idle(time.Now()) { // so that a link that nobody needs can end
				o.finish()
				delete(outlets, id)
			}
		}
	}
}

// Close ends everything. What was said last, as a Membership's Close does, is still sent. It is safe twice.
func (m *Mesh) Close() {
	m.mu.Lock()
	m.closing = true
	m.mu.Unlock()
	timer := time.NewTimer(flushTime)
	defer timer.Stop()
	for done := false; !done; {
		idle := m.writing.idle()
		select {
		case <-idle:
			done = m.writing.zero()
		case <-timer.C:
			done = true
		case <-m.tasks.Context().Done():
			done = true
		}
	}
	m.tasks.Close()
}

// gauge counts what goes on, and tells when nothing does.
type gauge struct {
	mu   sync.Mutex // guards what follows
	n    int
	none chan struct{} // closed when n gets to 0
}

func (g *gauge) add(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n += n; g.n == 0 && g.none != nil {
		close(g.none)
		g.none = nil
	}
}

func (g *gauge) zero() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n == 0
}

func (g *gauge) idle() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.none == nil {
		g.none = make(chan struct{})
		if g.n == 0 {
			close(g.none)
			c := g.none
			g.none = nil
			return c
		}
	}
	return g.none
}
