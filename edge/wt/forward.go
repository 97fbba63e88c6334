package wt

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/webtransport-go"
)

// Sizes of what is forwarded, in bytes.
const (
	readSize   = 16 << 10 // at a time from a publisher
	chunkSize  = 128      // what a chunk costs beside its data
	outletSize = 4 << 10  // what an open stream costs
	shortQueue = 64 << 10 // of a subscription, when the Server holds too much
)

// stream is one WebTransport stream; *webtransport.Stream is one.
type stream interface {
	io.ReadWriteCloser // Close ends writing
	CancelRead(webtransport.StreamErrorCode)
	CancelWrite(webtransport.StreamErrorCode)
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

var _ stream = (*webtransport.Stream)(nil)

// chunk is data on its way to several subscribers. Nobody changes it.
type chunk struct {
	data []byte
	refs atomic.Int32 // queues it is in, and its maker
}

func (c *chunk) size() int64 { return int64(len(c.data)) + chunkSize }

// newChunk makes one of data that nobody changes from then on.
func (t *totals) newChunk(data []byte) *chunk {
	c := &chunk{data: data}
	c.refs.Store(1)
	t.queued.Add(c.size())
	return c
}

func (t *totals) release(c *chunk) {
	if c.refs.Add(-1) == 0 {
		t.queued.Add(-c.size())
	}
}

// sink is one stream that an inlet feeds: to a subscriber, or to another edge.
type sink interface {
	// push queues data; false when there is no room, after which slow has to be called. What is over swallows it.
	push(c *chunk) bool
	slow()
	// finish ends the stream in order after what is queued. A time other than 0 bounds how long that may take.
	finish(within time.Duration)
	// reset ends it at once, with a code.
	reset(code webtransport.StreamErrorCode)
	// part says that the inlet feeds it no more. The Server's mu is held.
	part()
}

// inlet is one stream of a publication. One goroutine pushes to its sinks: that which reads it, or the one that brings it from another
// edge.
type inlet struct {
	stream      stream                 // of a publication here
	publication *publication           // nil: of another edge
	sinks       atomic.Pointer[[]sink] // replaced under the Server's mu, never changed
}

func (in *inlet) list() []sink {
	if l := in.sinks.Load(); l != nil {
		return *l
	}
	return nil
}

// add and remove are called under the Server's mu. A nil inlet has nothing to remove.
func (in *inlet) add(o sink) {
	l := append(slices.Clone(in.list()), o)
	in.sinks.Store(&l)
}

func (in *inlet) remove(o sink) {
	if in == nil {
		return
	}
	l := slices.DeleteFunc(slices.Clone(in.list()), func(other sink) bool { return other == o })
	in.sinks.Store(&l)
}

// pump forwards a publisher's stream until it ends: by a reset, which is passed on, or in order. A publisher that is lost ends it in
// order, since what was received is its subscribers'.
func (s *Server) pump(in *inlet) {
	buffer := make([]byte, readSize)
	for {
		n, err := in.stream.Read(buffer)
		if n > 0 {
			s.totals.bytesIn.Add(uint64(n))
			s.spread(in, buffer[:n], true)
		}
		if err == nil {
			continue
		}
		var reset *webtransport.StreamError
		isReset := errors.As(err, &reset) && reset.Remote
		for _, o := range s.detach(in.publication.source, in) {
			if isReset {
				o.reset(reset.ErrorCode)
			} else {
				o.finish(0)
			}
		}
		return
	}
}

// detach takes a stream that has ended out of its source and its sinks, which are returned.
func (s *Server) detach(src *source, in *inlet) []sink {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(src.inlets, in)
	sinks := in.list()
	for _, o := range sinks {
		o.part()
	}
	in.sinks.Store(nil)
	return sinks
}

// spread gives data to every sink; those whose queue is full are ended. The data are copied if somebody else goes on to use them.
func (s *Server) spread(in *inlet, data []byte, copied bool) {
	sinks := in.list()
	if len(sinks) == 0 {
		return
	}
	if copied {
		data = slices.Clone(data)
	}
	c := s.totals.newChunk(data)
	for _, o := range sinks {
		if !o.push(c) {
			o.slow()
		}
	}
	s.totals.release(c)
}

// outlet is one stream to a subscriber. Its goroutine opens it and writes what is in the queue.
type outlet struct {
	server *Server
	sub    *subscription
	from   *inlet // guarded by the Server's mu; nil while it is spare
	cancel context.CancelFunc
	lead   time.Duration // to wait after the id
	wake   chan struct{} // one token: there is something new

	mu    sync.Mutex // guards what follows
	queue []*chunk
	last  bool                          // nothing more comes
	over  bool                          // nothing is taken any more
	code  *webtransport.StreamErrorCode // to reset it with; nil: codeEnded
}

// limit bounds a queue now, in bytes.
func (s *Server) limit() int64 {
	limit := int64(s.config.MaxQueue)
	if s.totals.queued.Load() > s.config.MaxQueued {
		limit = min(limit, shortQueue)
	}
	return limit
}

// push implements sink.
func (o *outlet) push(c *chunk) bool {
	limit := o.server.limit()
	o.mu.Lock()
	if o.over || o.last {
		o.mu.Unlock()
		return true
	}
	if !o.sub.reserve(c.size(), limit) {
		o.mu.Unlock()
		return false
	}
	c.refs.Add(1)
	o.queue = append(o.queue, c)
	o.mu.Unlock()
	o.rouse()
	return true
}

func (o *outlet) rouse() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// slow implements sink.
func (o *outlet) slow() { o.server.fail(o.sub, ReasonSlow) }

// part implements sink.
func (o *outlet) part() { o.from = nil }

// finish implements sink.
func (o *outlet) finish(within time.Duration) {
	o.mu.Lock()
	o.last = true
	o.mu.Unlock()
	o.rouse()
	if within > 0 {
		time.AfterFunc(within, o.cancel)
	}
}

// reset implements sink.
func (o *outlet) reset(code webtransport.StreamErrorCode) {
	o.mu.Lock()
	o.code = &code
	o.mu.Unlock()
	o.cancel()
}

// run is the outlet's goroutine. When ctx ends, the stream is reset.
func (o *outlet) run(ctx context.Context, session *webtransport.Session) {
	defer o.end()
	opened, err := session.OpenStreamSync(ctx)
	if err == nil {
		o.carry(ctx, opened)
	}
}

// carry writes the subscription's id and then what is queued, until there is no more or the stream is reset by either side.
func (o *outlet) carry(ctx context.Context, stream stream) {
	stop := context.AfterFunc(ctx, func() { stream.CancelWrite(o.resetCode()) })
	defer func() {
		if stop() && ctx.Err() != nil { // it came first, and what should have run will not
			stream.CancelWrite(o.resetCode())
		}
	}()
	defer stream.CancelRead(codeEnded) // nothing is expected from there
	if _, err := stream.Write(o.sub.head[:]); err != nil {
		return
	}
	o.server.opened(o.sub)
	if o.lead > 0 {
		select {
		case <-time.After(o.lead):
		case <-ctx.Done():
			return
		}
	}
	for {
		batch, last := o.take()
		for i, c := range batch {
			n, err := stream.Write(c.data)
			o.server.totals.bytesOut.Add(uint64(n))
			o.drop(batch[i : i+1])
			if err != nil {
				o.drop(batch[i+1:])
				return
			}
		}
		if len(batch) > 0 {
			continue
		}
		if last {
			_ = stream.Close()
			return
		}
		select {
		case <-o.wake:
		case <-ctx.Done():
			return
		}
	}
}

func (o *outlet) resetCode() webtransport.StreamErrorCode {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.code == nil {
		return codeEnded
	}
	return *o.code
}

// take empties the queue.
func (o *outlet) take() (batch []*chunk, last bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	batch, o.queue = o.queue, nil
	return batch, o.last
}

// drop lets go of chunks that were in the queue.
func (o *outlet) drop(batch []*chunk) {
	for i, c := range batch {
		batch[i] = nil
		o.sub.give(c.size())
		o.server.totals.release(c)
	}
}

// end takes the outlet out of everything.
func (o *outlet) end() {
	o.cancel()
	o.mu.Lock()
	queue := o.queue
	o.queue, o.over = nil, true
	o.mu.Unlock()
	o.drop(queue)
	o.sub.give(outletSize)
	s := o.server
	s.mu.Lock()
	defer s.mu.Unlock()
	o.from.remove(o)
	delete(o.sub.outlets, o)
	if o.sub.spare == o {
		o.sub.spare = nil
	}
}
