package peers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"portico/shared/identity"
	"portico/shared/link"
	"portico/shared/task"
)

// Errors of Link and Open, besides those of package link.
var (
	ErrClosed  = errors.New("peers: closed")
	ErrSelf    = errors.New("peers: this node itself")
	ErrUnknown = errors.New("peers: no such node") // the cluster does not know its address
	ErrWrong   = errors.New("peers: another node is at that address")
	ErrCut     = errors.New("peers: cut off") // lately, for what it sent
	ErrFull    = errors.New("peers: too many nodes")
)

// Handler is a service's part in a Call that a peer has opened; first is the caller's first message. The Call is the Handler's until
// it returns, and is closed then. ctx ends with Close.
type Handler func(ctx context.Context, from string, c *link.Call, first []byte)

// Options are what Peers is made of.
type Options struct {
	Identity *identity.Identity
	// Listen makes the Listener for the links that others dial, with the options it is given; Peers closes it. nil: none dial us.
	Listen func(link.Options) (*link.Listener, error)
	// Dial makes the links to others; nil: link.Dial.
	Dial func(ctx context.Context, address string, id *identity.Identity, o link.Options) (*link.Link, error)
	// Address tells where an edge listens, "host:port"; false when there is none of that name. It must not wait.
	Address func(node string) (addr string, ok bool)
	// Relay is given the links that relays dial, which are its own then. nil: none are taken.
	Relay func(l *link.Link)
	// DeadAfter is how long a peer may be silent; 0: as link.Options.
	DeadAfter time.Duration
	// IdleAfter is how long a link without Calls and packets is kept; default one minute.
	IdleAfter time.Duration
	// MaxCalls bounds the Calls that one peer has open here; default 8,192. More wait on its side.
	MaxCalls int
	// MaxNodes bounds the nodes that are looked for or linked; default 2,048.
	MaxNodes int
	Log      *slog.Logger // default: nothing is logged
}

func (o *Options) fill() {
	if o.Dial == nil {
		o.Dial = link.Dial
	}
	if o.Address == nil {
		o.Address = func(string) (string, bool) { return "", false }
	}
	if o.IdleAfter <= 0 {
		o.IdleAfter = time.Minute
	}
	if o.MaxCalls <= 0 {
		o.MaxCalls = 8192
	}
	if o.MaxNodes <= 0 {
		o.MaxNodes = 2048
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Handlers are what Peers tells of and hands over.
type Handlers struct {
	Services map[string]Handler
	// Packets is given what comes of the flows, by one goroutine at a time for each link; packet is valid during the call, which must
	// not wait.
	Packets func(from string, l *link.Link, flow uint64, packet []byte)
	// Changed is told whether a node can be reached; it may wait a little.
	Changed func(node string, up bool)
}

// Times.
const (
	minPause   = 100 * time.Millisecond // before a node is dialed again, doubled each time
	maxPause   = time.Second            // a partition that has healed is noticed that soon
	firstTime  = 5 * time.Second        // for the beginning of a Call
	cutTime    = 30 * time.Second       // a peer is cut off
	spareTime  = 5 * time.Second        // a link that is not the one in use is kept without Calls
	lastedTime = 5 * time.Second        // a link that has lasted so long was a good one: the next attempt comes soon
)

// Peers is the links of one edge. Make it with New, then Start it. All methods are safe for concurrent use.
type Peers struct {
	options  Options
	self     string
	tasks    *task.Group
	listener *link.Listener
	started  chan struct{}
	byLink   sync.Map // *link.Link to its *held, for Receive
	news     chan struct{}

	mu       sync.Mutex // guards what follows, and the nodes
	handlers Handlers
	running  bool
	nodes    map[string]*node
	cut      map[string]time.Time // until when a peer is cut off
}

// New makes Peers and begins to listen. Nothing is accepted or dialed before Start. Its owner calls Close.
func New(o Options) (*Peers, error) {
	o.fill()
	if o.Identity == nil {
		return nil, errors.New("peers: no identity")
	}
	p := &Peers{
		options: o, self: o.Identity.Name, started: make(chan struct{}), news: make(chan struct{}, 1),
		nodes: map[string]*node{}, cut: map[string]time.Time{},
	}
	p.tasks = task.NewGroup(context.Background(), func(e *task.PanicError) {
		o.Log.Error("panic among the links of edges", "error", e, "stack", e.Stack)
	})
	if o.Listen == nil {
		return p, nil
	}
	roles := []string{identity.Edge}
	if o.Relay != nil {
		roles = append(roles, identity.Relay)
	}
	var err error
	if p.listener, err = o.Listen(p.linkOptions(roles...)); err != nil {
		p.tasks.Close()
		return nil, err
	}
	return p, nil
}

func (p *Peers) linkOptions(roles ...string) link.Options {
	return link.Options{
		Receive: p.receive, Log: p.options.Log, Roles: roles, MaxCalls: p.options.MaxCalls, MaxLinks: 2 * p.options.MaxNodes,
		DeadAfter: p.options.DeadAfter,
	}
}

// Start takes and makes links from now on. It comes once.
func (p *Peers) Start(h Handlers) {
	if h.Packets == nil {
		h.Packets = func(string, *link.Link, uint64, []byte) {}
	}
	if h.Changed == nil {
		h.Changed = func(string, bool) {}
	}
	p.mu.Lock()
	if p.running {
		p.mu.Unlock()
		return
	}
	p.running, p.handlers = true, h
	p.mu.Unlock()
	close(p.started)
	_ = p.tasks.Go(p.tell)
	_ = p.tasks.Go(p.tidy)
	if p.listener != nil {
		_ = p.tasks.Go(p.accept)
	}
}

// Self is this node's name.
func (p *Peers) Self() string { return p.self }

// Close ends all links, and returns when nothing of them runs. It is safe twice, but not from a Handler.
func (p *Peers) Close() {
	p.tasks.Stop()
	if p.listener != nil {
		p.listener.Close()
	}
	p.mu.Lock()
	var links []*held
	for _, n := range p.nodes {
		links = append(links, n.links...)
	}
	p.mu.Unlock()
	for _, h := range links {
		h.link.Close()
	}
	p.tasks.Close()
}

// Link gives the link to a node, which stays Peers' own: it is not the caller's to close. It waits while the node is dialed. After an
// attempt that failed it fails at once, with the reason, until the next one begins, at the latest a second later.
func (p *Peers) Link(ctx context.Context, name string) (*link.Link, error) {
	h, err := p.get(ctx, name)
	if err != nil {
		return nil, err
	}
	return h.link, nil
}

// Linked are the nodes that there is a link to now, which is as much as to say that they live.
func (p *Peers) Linked() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make(map[string]bool, len(p.nodes))
	for name, n := range p.nodes {
		if n.best(p.self) != nil {
			list[name] = true
		}
	}
	return list
}

func (p *Peers) get(ctx context.Context, name string) (*held, error) {
	select {
	case <-p.started:
	case <-p.tasks.Context().Done():
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if name == p.self {
		return nil, ErrSelf
	}
	for {
		_, known := p.options.Address(name)
		h, changed, err := p.look(name, known)
		if h != nil || err != nil {
			return h, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.tasks.Context().Done():
			return nil, ErrClosed
		}
	}
}

// look gives a node's link, or why there is none, or what to wait for.
func (p *Peers) look(name string, known bool) (*held, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tasks.Context().Err() != nil {
		return nil, nil, ErrClosed
	}
	if time.Now().Before(p.cut[name]) {
		return nil, nil, fmt.Errorf("%w: %s", ErrCut, name)
	}
	n := p.nodes[name]
	if !known && (n == nil || n.best(p.self) == nil) {
		return nil, nil, fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	if n == nil {
		if len(p.nodes) >= p.options.MaxNodes {
			return nil, nil, ErrFull
		}
		n = p.enter(name)
	}
	if h := n.best(p.self); h != nil {
		h.used = time.Now()
		return h, nil, nil
	}
	if n.err != nil {
		return nil, nil, n.err
	}
	if err := p.dial(n); err != nil {
		return nil, nil, err
	}
	return nil, n.changed, nil
}
