package wt

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/quic-go/webtransport-go"
)

// ItemKind says what a Tap has come upon.
type ItemKind uint8

// The kinds of Items.
const (
	ItemBegin ItemKind = iota + 1 // another stream
	ItemData
	ItemEnd   // the stream has ended in order
	ItemReset // the stream has been reset, with Code
)

// Item is one thing that happens on a publication.
type Item struct {
	Kind   ItemKind
	Stream uint32 // of the publication's, from 1 on, never the same twice for a Tap
	Data   []byte // must not be changed
	Code   uint32

	chunk *chunk // that Data is of
}

// size is what an Item counts for while it waits.
func (i *Item) size() int64 { return chunkSize + int64(len(i.Data)) }

// Tap takes what is published here, for another edge. It is bounded as a subscription is. Make it with OpenTap.
type Tap struct {
	server      *Server
	publication *publication
	number      uint32        // of streams so far; the Server's mu guards it
	wake        chan struct{} // one token: there is something new

	mu     sync.Mutex // guards what follows
	queue  []Item
	queued int64 // bytes in it
	last   bool  // nothing more comes
	err    error // nothing is taken any more
	held   *chunk
}

// OpenTap begins to take a publication of that room, each stream from where it is. It fails with ErrNoSource.
func (s *Server) OpenTap(room, session string) (*Tap, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.publications[session]
	if s.closed || p == nil || p.transport.room != room {
		return nil, ErrNoSource
	}
	t := &Tap{server: s, publication: p, wake: make(chan struct{}, 1)}
	p.taps[t] = true
	for in := range p.source.inlets {
		if in.publication == p {
			t.join(in)
		}
	}
	return t, nil
}

// join makes a stream flow to the Tap. The Server's mu is held.
func (t *Tap) join(in *inlet) {
	t.number++
	x := &tapped{tap: t, stream: t.number}
	x.must(Item{Kind: ItemBegin})
	in.add(x)
}

func (t *Tap) rouse() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// fail drops what waits, and has Next return err. The first reason counts.
func (t *Tap) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return
	}
	t.err = err
	if err == ErrSlow {
		t.server.totals.slow.Add(1)
	}
	for i := range t.queue {
		t.release(t.queue[i].chunk)
	}
	t.queue, t.queued = nil, 0
	t.rouse()
}

func (t *Tap) release(c *chunk) {
	if c != nil {
		t.server.totals.release(c)
	}
}

// over says that nothing more comes.
func (t *Tap) over() {
	t.mu.Lock()
	t.last = true
	t.mu.Unlock()
	t.rouse()
}

// Next waits for what happens next; its Data are valid until the next call. It fails with io.EOF when the publication has ended, with
// ErrSlow when Next is not called often enough for what comes, with ErrClosed after Close, and when ctx ends. One goroutine at a time
// may call it.
func (t *Tap) Next(ctx context.Context) (Item, error) {
	for {
		i, err := t.pop()
		if err != nil || i.Kind != 0 {
			return i, err
		}
		select {
		case <-t.wake:
		case <-ctx.Done():
			return Item{}, ctx.Err()
		}
	}
}

// pop takes the first Item; the zero Item when there is none.
func (t *Tap) pop() (i Item, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.release(t.held)
	t.held = nil
	switch {
	case t.err != nil:
		return i, t.err
	case len(t.queue) > 0:
		i = t.queue[0]
		t.queue[0] = Item{}
		t.queue = t.queue[1:]
		t.queued -= i.size()
		t.held = i.chunk
	case t.last:
		return i, io.EOF
	default:
		t.queue = nil // its room was used up
	}
	return i, nil
}

// Close ends the Tap. It is safe twice, also during Next.
func (t *Tap) Close() {
	s := t.server
	s.mu.Lock()
	delete(t.publication.taps, t)
	for in := range t.publication.source.inlets {
		for _, o := range in.list() {
			if x, ok := o.(*tapped); ok && x.tap == t {
				in.remove(o)
			}
		}
	}
	s.mu.Unlock()
	t.fail(ErrClosed)
	_, _ = t.pop() // lets go of the data that Next gave last
}

// tapped is one stream of a Tap.
type tapped struct {
	tap    *Tap
	stream uint32
	ended  bool // guarded by the Tap's mu
}

// put queues an Item of a stream; false when there is no room. What is over swallows it.
func (x *tapped) put(i Item) bool {
	t := x.tap
	i.Stream = x.stream
	limit := t.server.limit()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil || t.last || x.ended {
		return true
	}
	if t.queued+i.size() > limit {
		return false
	}
	x.ended = i.Kind == ItemEnd || i.Kind == ItemReset
	if i.chunk != nil {
		i.chunk.refs.Add(1)
	}
	t.queued += i.size()
	t.queue = append(t.queue, i)
	t.rouse()
	return true
}

// must is put for what there has to be room for.
func (x *tapped) must(i Item) {
	if !x.put(i) {
		x.slow()
	}
}

func (x *tapped) push(c *chunk) bool { return x.put(Item{Kind: ItemData, Data: c.data, chunk: c}) }

func (x *tapped) slow() { x.tap.fail(ErrSlow) }

func (x *tapped) part() {}

func (x *tapped) finish(time.Duration) { x.must(Item{Kind: ItemEnd}) }

func (x *tapped) reset(code webtransport.StreamErrorCode) {
	x.must(Item{Kind: ItemReset, Code: uint32(code)})
}
