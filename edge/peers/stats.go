package peers

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"portico/shared/link"
)

// maxFlows bounds the flows of a link that are counted, flowAge how long one that is silent is.
const (
	maxFlows = 8192
	flowAge  = 5 * time.Minute
)

// Stat tells how a link does.
type Stat struct {
	Node     string
	Address  string
	Dialed   bool // by this side
	InUse    bool // for what is new
	RTT      time.Duration
	Lost     uint64 // packets of QUIC
	Sent     uint64 // packets of flows
	Received uint64
	Dropped  uint64
	Calls    int
	Flows    map[uint64]Flow // what has come lately, by id of the flow
}

// Flow is what has come of one flow.
type Flow struct{ Packets, Bytes uint64 }

type flow struct {
	Flow
	seen  uint64 // packets when tidy looked last
	still time.Duration
}

// receive takes the packets of all links.
func (p *Peers) receive(l *link.Link, id uint64, packet []byte) {
	x, ok := p.byLink.Load(l)
	if !ok {
		return // it has just been made, or it was refused
	}
	h := x.(*held)
	h.flowsMu.Lock()
	f := h.flows[id]
	if f == nil && len(h.flows) < maxFlows {
		f = &flow{}
		h.flows[id] = f
	}
	if f != nil {
		f.Packets++
		f.Bytes += uint64(len(packet))
	}
	h.flowsMu.Unlock()
	h.packets(h.node.name, l, id, packet)
}

// Stats tells how the links do, by name of the nodes.
func (p *Peers) Stats() []Stat {
	p.mu.Lock()
	var list []Stat
	var links []*held
	for _, n := range p.nodes {
		best := n.best(p.self)
		for _, h := range n.links {
			list = append(list, Stat{Node: n.name, Dialed: h.ours, InUse: h == best, Calls: int(h.calls.Load())})
			links = append(links, h)
		}
	}
	p.mu.Unlock()
	for i, h := range links {
		s := h.link.Stats()
		list[i].Address = h.link.RemoteAddr()
		list[i].RTT, list[i].Lost, list[i].Sent, list[i].Received, list[i].Dropped = s.RTT, s.Lost, s.Sent, s.Received, s.Dropped
		list[i].Flows = map[uint64]Flow{}
		h.flowsMu.Lock()
		for id, f := range h.flows {
			list[i].Flows[id] = f.Flow
		}
		h.flowsMu.Unlock()
	}
	slices.SortFunc(list, func(a, b Stat) int { return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Address, b.Address)) })
	return list
}

// tidy closes what nobody needs, now and then.
func (p *Peers) tidy(ctx context.Context) {
	every := min(p.options.IdleAfter/4, time.Second)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, h := range p.unneeded(time.Now()) {
			h.link.Close()
		}
		p.byLink.Range(func(_, x any) bool {
			x.(*held).forgetFlows(every)
			return true
		})
	}
}

// unneeded gives the links to be closed.
func (p *Peers) unneeded(now time.Time) (list []*held) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.nodes {
		best := n.best(p.self)
		for _, h := range n.links {
			limit := p.options.IdleAfter
			if h != best {
				limit = min(spareTime, limit)
			}
			s := h.link.Stats()
			if moved := s.Sent + s.Received; h.calls.Load() > 0 || moved != h.moved {
				h.used, h.moved = now, moved
			}
			if now.Sub(h.used) > limit && !h.quiet {
				h.quiet = true
				list = append(list, h)
			}
		}
	}
	return list
}

// forgetFlows makes room for new ones.
func (h *held) forgetFlows(passed time.Duration) {
	h.flowsMu.Lock()
	defer h.flowsMu.Unlock()
	maps.DeleteFunc(h.flows, func(_ uint64, f *flow) bool {
		if f.still += passed; f.seen != f.Packets {
			f.seen, f.still = f.Packets, 0
		}
		return f.still > flowAge
	})
}
