package worker

import (
	"maps"
	"sync"
	"sync/atomic"

	"portico/shared/relayproto"
)

// sender is the way back to an edge: its link.
type sender interface {
	Send(flowID uint64, packet []byte) error
}

// edge is the other end of one link. Flow numbers are its own: a packet reaches only jobs that came by the same link.
type edge struct {
	name string
	back sender

	mu     sync.Mutex                      // of those who change flows
	flows  atomic.Pointer[map[uint64]flow] // read for every packet, so it is never changed, only replaced
	orders map[*running]*relayproto.Order  // what flows is made of
}

// flow is where packets of one number go.
type flow struct {
	output *running   // the job that makes it; nil for an input
	inputs []*running // the jobs that read it
}

func newEdge(name string, back sender) *edge {
	e := &edge{name: name, back: back, orders: map[*running]*relayproto.Order{}}
	e.flows.Store(&map[uint64]flow{})
	return e
}

// route gives the job the flows of its newest order, and takes those of the one before; nil takes all. An input may feed several jobs,
// an output is of one job and nobody's input: else nothing changes and the answer is false.
func (e *edge) route(j *running, order *relayproto.Order) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	orders := maps.Clone(e.orders)
	if order == nil {
		delete(orders, j)
	} else {
		orders[j] = order
	}
	flows := map[uint64]flow{}
	for by, o := range orders {
		for i := range o.Inputs {
			for _, t := range []*relayproto.InputTrack{o.Inputs[i].Audio, o.Inputs[i].Video} {
				if t != nil {
					f := flows[t.Flow]
					f.inputs = append(f.inputs, by)
					flows[t.Flow] = f
				}
			}
		}
	}
	for by, o := range orders {
		for i := range o.Outputs {
			if _, taken := flows[o.Outputs[i].Flow]; taken {
				return false
			}
			flows[o.Outputs[i].Flow] = flow{output: by}
		}
	}
	e.orders = orders
	e.flows.Store(&flows)
	return true
}

// deliver takes a packet from the link; false when no job wants it. To an output only RTCP comes.
func (e *edge) deliver(flowID uint64, packet []byte) bool {
	number, rtcp := relayproto.Flow(flowID)
	f, ok := (*e.flows.Load())[number]
	switch {
	case !ok:
		return false
	case f.output != nil:
		if rtcp {
			f.output.queue.push(flowID, packet)
		}
		return rtcp
	}
	for _, j := range f.inputs {
		j.queue.push(flowID, packet)
	}
	return true
}

// sends tells whether a job may send by a flow id: all of its outputs, RTCP about its inputs.
func (e *edge) sends(j *running, flowID uint64) bool {
	number, rtcp := relayproto.Flow(flowID)
	f, ok := (*e.flows.Load())[number]
	if !ok {
		return false
	}
	if f.output != nil {
		return f.output == j
	}
	for _, by := range f.inputs {
		if by == j {
			return rtcp
		}
	}
	return false
}
