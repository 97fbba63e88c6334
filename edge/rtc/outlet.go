package rtc

import (
	"sync"

	"portico/edge/sfu"
	"portico/shared/conference"
)

// OutletSpec declares an outlet.
type OutletSpec struct {
	Kind        conference.Kind
	ClockRate   int
	Sink        sfu.Sink // its calls must not block
	SSRC        uint32
	PayloadType uint8
	Redundant   uint8 // of packets with audio from before them too; 0: they go without
	Extensions  sfu.Extensions
}

// Outlet takes media that were made (see Converter) out of the edge as one stream. Make it with Engine.OpenOutlet. All methods are safe for
// concurrent use.
type Outlet struct {
	engine *Engine
	out    *sfu.Subscription
	worker *worker
	once   sync.Once
}

// OpenOutlet makes an outlet, which sends nothing before Feed. Its owner calls Close, before the Engine's. It fails with ErrClosed.
func (e *Engine) OpenOutlet(spec OutletSpec) (*Outlet, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	o := &Outlet{engine: e, worker: e.leastBusy()}
	o.worker.transports++
	o.out = sfu.NewSubscription(sfu.SubscriptionConfig{
		Video: spec.Kind == conference.Video, SSRC: spec.SSRC, ClockRate: spec.ClockRate, PayloadType: spec.PayloadType,
		Extensions: spec.Extensions, Sink: spec.Sink, Writer: o.worker.writer,
	})
	o.out.SetRedundant(spec.Redundant)
	return o, nil
}

// Feed gives it the encoding that it is to send from now on; nil: nothing.
func (o *Outlet) Feed(e *sfu.Encoding) { o.out.SetSource(e, o.engine.now()) }

// Receive takes an RTCP compound of whoever gets the stream.
func (o *Outlet) Receive(compound []byte) { o.out.Receive(compound, o.engine.now()) }

// Stats tells what has gone out.
func (o *Outlet) Stats() sfu.SubscriptionStats { return o.out.Stats() }

// Close ends it. A packet being written at this moment may still reach the Sink. It is safe twice.
func (o *Outlet) Close() {
	o.once.Do(func() {
		o.engine.mu.Lock()
		o.worker.transports--
		o.engine.mu.Unlock()
		o.out.Close()
	})
}
