package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"

	"portico/shared/task"
)

// Transport carries gossip instead of sockets; package clustertest has one for tests.
type Transport = memberlist.NodeAwareTransport

// DefaultMaxNodes bounds a cluster, and with it what a holder of the gossip key can make a node remember.
const DefaultMaxNodes = 4096

// Config is what a node joins with.
type Config struct {
	Self      Meta     // State and Load are where it begins
	Label     string   // the cluster's name, 1 to 64 letters, digits, dots, hyphens
	Keys      [][]byte // one or two of KeySize; the first is used, all are understood
	Seeds     []string // host:port or host of nodes to begin with; names are looked up again and again
	Bind      string   // host:port for gossip, TCP and UDP
	Advertise string   // host:port where others reach it; empty: Bind, or a private address of this machine
	Profile   Profile
	MaxNodes  int // 0: DefaultMaxNodes
	// MaxStrangers bounds those nodes among them for which Confirm was never called, so that whoever makes nodes up takes no place of those
	// that are known: these are let in as long as there are fewer than MaxNodes of them. 0: there is no such bound.
	MaxStrangers int
	Transport    Transport // nil: sockets at Bind
	// Notify is told what happens to the other nodes, from one goroutine, one at a time and in order. It may call the Cluster, except
	// Leave and Close. What it has been told of is in Nodes already. Nil: nobody asks.
	Notify func(Event)
	// SaveKeys keeps the ring for the next start; its error keeps the ring from changing. Nil: it is not kept.
	SaveKeys func(keys [][]byte) error
	Log      *slog.Logger
}

// Node is a node of the cluster as gossip tells.
type Node struct {
	Meta
	Gossip string // host:port of its gossip
}

// Event is one of Joined, Changed and Left.
type Event interface{ event() }

type (
	// Joined tells of a node that was not there. A node that started again has Left before.
	Joined struct{ Node Node }
	// Changed tells that a node describes itself otherwise, in the same life.
	Changed struct{ Node, Before Node }
	// Left tells that a node is there no more, as it was last.
	Left struct {
		Node Node
		Said bool // it said that it would; otherwise it failed, was cut off, or started again
	}
)

func (Joined) event()  {}
func (Changed) event() {}
func (Left) event()    {}

// ErrClosed is of a Cluster that was closed or has left.
var ErrClosed = errors.New("cluster: closed")

// Cluster is this node's membership. Make it with New, end it with Close. All methods are safe for concurrent use.
type Cluster struct {
	cfg    Config
	log    *slog.Logger
	ring   *memberlist.Keyring
	list   *memberlist.Memberlist
	dialer *dialer
	group  *task.Group
	own    string // host:port of this node's gossip

	ringMu sync.Mutex // serialises changes of ring

	wake    chan struct{} // one token: there are notes
	publish chan struct{} // one token: self has changed
	nodes   atomic.Pointer[[]Node]

	mu        sync.Mutex // guards the fields below; held for a few instructions, also by memberlist's hooks
	self      Meta       // as it shall be
	encoded   []byte     // as it is told
	notes     map[string]note
	order     []string            // names in notes, oldest first
	present   map[string]struct{} // names that memberlist has as alive
	strangers int                 // of them, that are not in known
	known     map[string]struct{} // names that were confirmed, also of nodes that are gone
	refused   []refusal
	reported  map[string]struct{}
	cleared   time.Time       // when reported was
	contested bool            // others have this node's name at another address
	gone      map[string]bool // addresses of nodes that said they would go, since runJoin looked last
	closed    bool

	closing sync.Mutex // one Leave or Close at a time
}

// New joins a cluster: it takes part at once, and goes on looking for the seeds as long as it does not see them. It fails when the
// settings are wrong or the socket cannot be had, not when nobody answers.
func New(cfg Config) (*Cluster, error) {
	c := &Cluster{
		cfg: cfg, log: cfg.Log, wake: make(chan struct{}, 1), publish: make(chan struct{}, 1), self: cfg.Self,
		notes: map[string]note{}, present: map[string]struct{}{}, known: map[string]struct{}{}, reported: map[string]struct{}{}, cleared: time.Now(),
		gone: map[string]bool{},
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.cfg.MaxNodes <= 0 {
		c.cfg.MaxNodes = DefaultMaxNodes
	}
	if c.self.Protocol == 0 {
		c.self.Protocol = Protocol
	}
	var err error
	if c.encoded, err = c.self.Encode(); err != nil {
		return nil, err
	}
	mc, err := c.settings()
	if err != nil {
		return nil, err
	}
	if c.list, err = memberlist.Create(mc); err != nil {
		_ = c.dialer.Shutdown()
		return nil, &ListenError{Addr: cfg.Bind, Err: err}
	}
	c.own = c.list.LocalNode().Address()
	c.setNodes(nil)
	c.group = task.NewGroup(context.Background(), func(p *task.PanicError) {
		c.log.Error("cluster goroutine ended", "error", p, "stack", p.Stack)
	})
	for _, fn := range []func(context.Context){c.runEvents, c.runPublish, c.runJoin} {
		_ = c.group.Go(fn) // a new group refuses nothing
	}
	return c, nil
}

// settings checks the Config and turns it into memberlist's.
func (c *Cluster) settings() (*memberlist.Config, error) {
	cfg := &c.cfg
	switch {
	case !cfg.Profile.Valid():
		return nil, fmt.Errorf("there is no profile %q: it is %q, %q or %q", cfg.Profile, Local, LAN, WAN)
	case !word(cfg.Label, 1, 64):
		return nil, fmt.Errorf("a cluster cannot have the label %q: take letters, digits, dots and hyphens, 64 at most", cfg.Label)
	case len(cfg.Keys) == 0, slices.ContainsFunc(cfg.Keys, func(k []byte) bool { return len(k) != KeySize }):
		return nil, ErrKey
	case len(cfg.Keys) > maxKeys:
		return nil, ErrKeys
	}
	mc := cfg.Profile.config()
	var err error
	if c.ring, err = memberlist.NewKeyring(cfg.Keys, cfg.Keys[0]); err != nil {
		return nil, err
	}
	mc.Name, mc.Label, mc.Keyring = c.self.ID, cfg.Label, c.ring
	mc.Logger = newLogger(c.log)
	h := hooks{c}
	mc.Delegate, mc.Events, mc.Alive, mc.Conflict = h, h, h, h
	if cfg.Transport != nil {
		c.dialer = newDialer(cfg.Transport, false)
		mc.Transport = c.dialer
		return mc, nil
	}
	if mc.BindAddr, mc.BindPort, err = hostPort(cfg.Bind); err != nil {
		return nil, fmt.Errorf("address for gossip: %w", err)
	}
	if cfg.Advertise != "" {
		if mc.AdvertiseAddr, mc.AdvertisePort, err = hostPort(cfg.Advertise); err != nil {
			return nil, fmt.Errorf("address where others reach gossip: %w", err)
		}
	}
	var sockets *memberlist.NetTransport
	for range maxBinds {
		sockets, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{mc.BindAddr}, BindPort: mc.BindPort, Logger: mc.Logger,
		})
		if err == nil || mc.BindPort != 0 {
			break
		}
	}
	if err != nil {
		return nil, &ListenError{Addr: cfg.Bind, Err: errnoOf(err)}
	}
	if mc.BindPort == 0 {
		mc.BindPort = sockets.GetAutoBindPort()
	}
	if mc.AdvertisePort == 0 {
		mc.AdvertisePort = mc.BindPort
	}
	c.dialer = newDialer(sockets, true)
	mc.Transport = c.dialer
	return mc, nil
}

// maxBinds is how often a number for gossip is looked for where any will do: that of the TCP socket may be taken for UDP.
const maxBinds = 10

// ListenError tells that the socket for gossip cannot be had.
type ListenError struct {
	Addr string
	Err  error // of the system, where that is known
}

func (e *ListenError) Error() string { return "gossip at " + e.Addr + ": " + e.Err.Error() }

// Unwrap gives Err.
func (e *ListenError) Unwrap() error { return e.Err }

// errnoOf finds the system's error in the text that memberlist makes of it.
func errnoOf(err error) error {
	for _, errno := range []syscall.Errno{syscall.EADDRINUSE, syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.EPERM} {
		if strings.Contains(err.Error(), errno.Error()) {
			return errno
		}
	}
	return err
}

func hostPort(text string) (string, int, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not host:port", text)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || net.ParseIP(host) == nil {
		return "", 0, fmt.Errorf("%q is not an IP address and a port", text)
	}
	return host, int(n), nil
}

// Nodes lists the nodes that are there, this one included, by name. The list is not to be changed.
func (c *Cluster) Nodes() []Node { return *c.nodes.Load() }

// Self is this node as it describes itself by now.
func (c *Cluster) Self() Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Node{Meta: c.self, Gossip: c.own}
}

// Size is how many nodes there are, this one included.
func (c *Cluster) Size() int { return len(c.Nodes()) }

// Confirm says that the node of that name has shown that it is one, by more than the key of gossip: see Config.MaxStrangers. It counts as
// long as this node runs, but for the names that are not there when more than MaxNodes have been confirmed.
func (c *Cluster) Confirm(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.known[name]; ok {
		return
	}
	if len(c.known) >= c.cfg.MaxNodes {
		for other := range c.known {
			if _, there := c.present[other]; !there {
				delete(c.known, other)
				break
			}
		}
	}
	if len(c.known) >= c.cfg.MaxNodes {
		return
	}
	c.known[name] = struct{}{}
	if _, there := c.present[name]; there {
		c.strangers--
	}
}

// room tells whether a node may be let in that is not there. The mu is held.
func (c *Cluster) room(name string) bool {
	_, there := c.present[name]
	_, known := c.known[name]
	switch most := c.cfg.MaxStrangers; {
	case there:
		return true
	case known && most > 0:
		return len(c.present)-c.strangers < c.cfg.MaxNodes
	case most > 0 && c.strangers >= most:
		return false
	}
	return len(c.present) < c.cfg.MaxNodes
}

// appear and vanish keep present. The mu is held.
func (c *Cluster) appear(name string) {
	if _, there := c.present[name]; there {
		return
	}
	c.present[name] = struct{}{}
	if _, known := c.known[name]; !known {
		c.strangers++
	}
}

func (c *Cluster) vanish(name string) {
	if _, there := c.present[name]; !there {
		return
	}
	delete(c.present, name)
	if _, known := c.known[name]; !known {
		c.strangers--
	}
}

// SetDraining says whether this node takes new work. The others know within a second or two.
func (c *Cluster) SetDraining(on bool) {
	state := Active
	if on {
		state = Draining
	}
	c.change(func(m *Meta) { m.State = state })
}

// SetLoad says how much this node has to do, from 0 to 1. It is told coarsely and rarely, so it may be called often.
func (c *Cluster) SetLoad(load float64) { c.change(func(m *Meta) { m.Load = coarsen(m.Load, load) }) }

func (c *Cluster) change(fn func(*Meta)) {
	c.mu.Lock()
	before := c.self
	if fn(&c.self); c.self.State < before.State && before.State == Leaving {
		c.self.State = Leaving
	}
	changed := !c.self.same(&before)
	c.mu.Unlock()
	if !changed {
		return
	}
	poke(c.publish)
	poke(c.wake)
}

// runPublish tells the others what has changed of this node, not too often.
func (c *Cluster) runPublish(ctx context.Context) {
	c.mu.Lock()
	told := c.self
	c.mu.Unlock()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.publish:
		}
		for {
			c.mu.Lock()
			self := c.self
			c.mu.Unlock()
			if self.same(&told) {
				break
			}
			jump := max(self.Load-told.Load, told.Load-self.Load)
			other := self
			other.Load = told.Load
			wait := pace(c.Size(), jump, !other.same(&told))
			if left := wait - time.Since(last); left > 0 && !last.IsZero() {
				if !c.sleep(ctx, left) {
					return
				}
				continue // it may have changed again, or back
			}
			c.tell(self, gossipWait)
			told, last = self, time.Now()
		}
	}
}

// gossipWait is how long a change may take to go out; memberlist sends it later all the same.
const gossipWait = 2 * time.Second

// sleep waits, or until the node's description changes.
func (c *Cluster) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-c.publish:
	case <-timer.C:
	}
	return true
}

// tell gossips a description of this node and waits until it has gone out.
func (c *Cluster) tell(m Meta, timeout time.Duration) {
	data, err := m.Encode()
	if err != nil {
		c.log.Error("own description cannot be told", "error", err) // only its state and load change, so it was fit before
		return
	}
	c.mu.Lock()
	c.encoded = data
	c.mu.Unlock()
	if err := c.list.UpdateNode(timeout); err != nil {
		c.log.Debug("own description goes out late", "error", err)
	}
}

// Leave says that this node is going, and ends its membership: the others need not find out. It takes until ctx ends at most; after it
// Close is still to be called.
func (c *Cluster) Leave(ctx context.Context) error {
	c.closing.Lock()
	defer c.closing.Unlock()
	if c.isClosed() {
		return ErrClosed
	}
	c.change(func(m *Meta) { m.State = Leaving })
	c.group.Close() // nothing else is told from here
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(gossipWait)
	}
	c.mu.Lock()
	self := c.self
	c.mu.Unlock()
	left := func() time.Duration { return max(time.Until(deadline), time.Millisecond) }
	c.tell(self, left()/2)
	if err := c.list.Leave(left()); err != nil {
		return fmt.Errorf("leaving the cluster: %w", err)
	}
	return nil
}

func (c *Cluster) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Close ends it all. Without Leave before, the others see a failure. When it returns, the sockets are closed, Notify is not called any
// more and this package's goroutines have ended; memberlist's own end within its timeouts, at most a few seconds, and do nothing until
// then. It is safe twice.
func (c *Cluster) Close() {
	c.closing.Lock()
	defer c.closing.Unlock()
	c.mu.Lock()
	done := c.closed
	c.closed = true
	c.mu.Unlock()
	if done {
		return
	}
	c.dialer.end() // what waits for an answer stops waiting
	c.group.Close()
	if err := c.list.Shutdown(); err != nil {
		c.log.Warn("gossip ended with an error", "error", err)
	}
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// setNodes publishes the list of nodes.
func (c *Cluster) setNodes(others map[string]Node) {
	c.mu.Lock()
	list := make([]Node, 0, len(others)+1)
	list = append(list, Node{Meta: c.self, Gossip: c.own})
	c.mu.Unlock()
	for _, n := range others {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b Node) int { return strings.Compare(a.ID, b.ID) })
	c.nodes.Store(&list)
}
