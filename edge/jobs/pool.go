package jobs

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"portico/shared/identity"
	"portico/shared/link"
	"portico/shared/placement"
	"portico/shared/relayproto"
)

// errNoRelay is of jobs that no relay can be asked to do.
var errNoRelay = errors.New("no relay can be reached")

// How often a relay that is not there is looked for.
const (
	lookInterval = 200 * time.Millisecond
	fullTime     = 5 * time.Second // a relay that was full is the last choice for so long
)

// Relay is a relay that the node has found.
type Relay struct {
	Name, Address string // the second is "host:port" of its links
	Region        string
	Weight, Load  int      // as placement.Relay has them
	Draining      bool     // it takes nothing new
	Codecs        []string // that its jobs can make
}

// pool is the relays that the settings name, and those that the node finds.
type pool struct {
	jobs   *Jobs
	dialer *link.Dialer
	ports  sync.Map // *link.Link to its *port

	mu      sync.Mutex // guards the fields below and those of relays
	relays  []*relay
	changed chan struct{} // closed, and made anew, when a relay came or went
}

// relay is one that can be asked.
type relay struct {
	address string
	named   bool  // by the settings: it is never forgotten
	found   bool  // by the node, and not gone since
	is      Relay // as the node has found it
	stop    context.CancelFunc
	port    *port // nil while there is no link
	why     string
	fullAt  time.Time
	load    map[*run]float64 // cores that the jobs there use, as last reported
}

// port is a link to a relay with its flows.
type port struct {
	relay *relay
	link  *link.Link
	last  atomic.Uint64 // number of the last flow

	mu    sync.RWMutex // guards flows
	flows map[uint64]receiver
}

// receiver takes what comes of a flow; the packets are valid during the call. One goroutine at a time calls it.
type receiver interface {
	rtp(packet []byte)
	rtcp(compound []byte)
}

// guessedLoad is how many cores a job is taken to use before it has said.
const guessedLoad = 0.5

func newPool(j *Jobs) *pool {
	p := &pool{jobs: j, changed: make(chan struct{})}
	p.dialer = link.NewDialer(j.options.Identity, link.Options{Receive: p.receive, Roles: []string{identity.Relay}, Log: j.log})
	for _, address := range j.options.Relays {
		p.enter(address).named = true
	}
	return p
}

// SetRelays tells which relays the node finds by now, in place of those that it has found before. One that is not found any more is
// used as long as its link lasts.
func (j *Jobs) SetRelays(list []Relay) { j.pool.find(list) }

// Ask sends a relay of that name a command and gives its answer (relayproto.Message). It fails when the relay is not there.
func (j *Jobs) Ask(ctx context.Context, name string, command []byte) ([]byte, error) {
	at := j.pool.named(name)
	if at == nil {
		return nil, errNoRelay
	}
	text, err := relayproto.Encode(relayproto.Message{Command: command})
	if err != nil {
		return nil, err
	}
	call, err := at.link.Call(ctx)
	if err != nil {
		return nil, err
	}
	defer call.Close()
	if err := call.Send(text); err != nil {
		return nil, err
	}
	if text, err = call.Receive(ctx); err != nil {
		return nil, err
	}
	m, err := relayproto.Decode(text)
	if err == nil && m.Answer == nil {
		err = errors.New("the relay does not understand")
	}
	return m.Answer, err
}

// named is the link to the relay of a name; nil while there is none.
func (p *pool) named(name string) *port {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.relays {
		if r.port != nil {
			if is, _ := r.port.link.Peer(); is == name {
				return r.port
			}
		}
	}
	return nil
}

// enter begins to look for a relay. The mu is held, or nobody knows the pool yet.
func (p *pool) enter(address string) *relay {
	r := &relay{address: address, load: make(map[*run]float64)}
	ctx, cancel := context.WithCancel(p.jobs.tasks.Context())
	r.stop = cancel
	p.relays = append(p.relays, r)
	if p.jobs.tasks.Go(func(context.Context) {
		defer cancel()
		p.keep(ctx, r)
		p.mu.Lock()
		defer p.mu.Unlock()
		if !slices.ContainsFunc(p.relays, func(other *relay) bool { return other.address == address }) {
			p.dialer.Forget(address)
		}
	}) != nil {
		cancel() // it is closing
	}
	return r
}

// find takes over what the node has found.
func (p *pool) find(list []Relay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.relays {
		r.found = false
	}
	for _, is := range list {
		at := slices.IndexFunc(p.relays, func(r *relay) bool { return r.address == is.Address })
		r := (*relay)(nil)
		if at >= 0 {
			r = p.relays[at]
		} else {
			r = p.enter(is.Address)
		}
		r.found, r.is = true, is
	}
	p.forget()
}

// forget drops the relays that are neither named nor found, but those that have a link still. The mu is held.
func (p *pool) forget() {
	p.relays = slices.DeleteFunc(p.relays, func(r *relay) bool {
		gone := !r.named && !r.found && r.port == nil
		if gone {
			r.stop()
		}
		return gone
	})
}

func (p *pool) close() { p.dialer.Close() }

// keep keeps the link to a relay until ctx ends.
func (p *pool) keep(ctx context.Context, r *relay) {
	for ctx.Err() == nil {
		l, err := p.dialer.Get(ctx, r.address)
		if err != nil {
			p.lost(r, err)
			select {
			case <-ctx.Done():
			case <-time.After(lookInterval):
			}
			continue
		}
		x := &port{relay: r, link: l, flows: make(map[uint64]receiver)}
		p.ports.Store(l, x)
		name, _ := l.Peer()
		p.jobs.log.Info("relay connected", "relay", r.address, "name", name)
		p.set(r, x, "")
		select {
		case <-ctx.Done():
		case <-l.Done():
			p.lost(r, l.Err())
		}
		p.ports.Delete(l)
	}
}

// lost takes note that a relay is not there.
func (p *pool) lost(r *relay, err error) {
	why := err.Error()
	if p.set(r, nil, why) && !errors.Is(err, context.Canceled) {
		p.jobs.log.Debug("relay not there", "relay", r.address, "err", why) // the Dialer says it to the operator
	}
}

// set notes a relay's state and tells whether it is another one than before.
func (p *pool) set(r *relay, x *port, why string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	news := (r.port != nil) != (x != nil) || r.why != why
	if r.port != x {
		close(p.changed)
		p.changed = make(chan struct{})
	}
	r.port, r.why = x, why
	if x == nil {
		p.forget()
	}
	return news
}

// receive takes the links' packets.
func (p *pool) receive(l *link.Link, id uint64, packet []byte) {
	x, ok := p.ports.Load(l)
	if !ok {
		return
	}
	flow, rtcp := relayproto.Flow(id)
	to := x.(*port)
	to.mu.RLock()
	f := to.flows[flow]
	to.mu.RUnlock()
	switch {
	case f == nil: // of an output that was wanted a moment ago
	case rtcp:
		f.rtcp(packet)
	default:
		f.rtp(packet)
	}
}

// pick is the relay for a job: the one with the least to do, those that were full come last. changed is closed when there may be
// another answer. It fails with errNoRelay.
func (p *pool) pick(except map[*relay]relayproto.Reason) (x *port, changed <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var up []*relay
	for _, r := range p.relays {
		if r.port != nil && except[r] == "" && r.port.link.Err() == nil {
			up = append(up, r)
		}
	}
	if len(up) == 0 {
		return nil, p.changed, errNoRelay
	}
	if best := p.choose(up); best != nil {
		return best.port, p.changed, nil
	}
	full := func(r *relay) int {
		if time.Since(r.fullAt) < fullTime || r.found && r.is.Draining {
			return 1
		}
		return 0
	}
	best := slices.MinFunc(up, func(a, b *relay) int { // the first of several
		return cmp.Or(cmp.Compare(full(a), full(b)), cmp.Compare(a.cpu(), b.cpu()))
	})
	return best.port, p.changed, nil
}

// choose takes one of the relays that are up by what the node knows of them, nil when it knows nothing of any that has room. Those that
// only the settings know are taken for idle ones of no region. The mu is held.
func (p *pool) choose(up []*relay) *relay {
	var list []placement.Relay
	known := false
	for i, r := range up {
		if time.Since(r.fullAt) < fullTime {
			continue
		}
		c := placement.Relay{ID: strconv.Itoa(i)}
		if r.found {
			known = true
			c.Region, c.Weight, c.Load, c.Draining = r.is.Region, r.is.Weight, r.is.Load, r.is.Draining
		}
		list = append(list, c)
	}
	if !known {
		return nil
	}
	choice, err := placement.ChooseRelay(placement.Job{Region: p.jobs.options.Region}, list, rand.IntN)
	if err != nil {
		return nil
	}
	i, _ := strconv.Atoi(choice.ID) // written above
	return up[i]
}

// cpu is how many cores a relay's jobs of ours use. The pool's mu is held.
func (r *relay) cpu() (sum float64) {
	for _, cores := range r.load {
		sum += cores
	}
	return sum
}

// busy notes what a run uses; ended runs are forgotten.
func (p *pool) busy(r *run, cores float64, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ended {
		delete(r.port.relay.load, r)
		return
	}
	r.port.relay.load[r] = cores
}

// full notes that a relay had no room.
func (p *pool) full(r *relay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.fullAt = time.Now()
}

// count tells how many relays there are, how many of them are there, and what they do.
func (p *pool) count() (all, connected int, cpu float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.relays {
		if r.port != nil {
			connected++
		}
		cpu += r.cpu()
	}
	return len(p.relays), connected, cpu
}

// number is that of a new flow.
func (x *port) number() uint64 { return x.last.Add(1) }

// enter gives a flow its receiver.
func (x *port) enter(flow uint64, r receiver) {
	x.mu.Lock()
	x.flows[flow] = r
	x.mu.Unlock()
}

// drop ends a flow. A packet that is being taken at this moment may still come.
func (x *port) drop(flow uint64) {
	x.mu.Lock()
	delete(x.flows, flow)
	x.mu.Unlock()
}
