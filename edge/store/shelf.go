package store

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"time"
)

var errClosed = errors.New("store: closed")

// A shelf keeps things of one kind by name, the most recently used ones, within a number and a size. The cache's lock guards it.
type shelf[V any] struct {
	most, mostBytes int
	size            func(V) int
	same            func(a, b V) bool
	bytes           int
	order           *list.List // of *kept[V], the most recently used first
	byName          map[string]*list.Element
	flights         map[string]*flight[V]
}

type kept[V any] struct {
	name  string
	value V
	since time.Time // the store said so at this time or later; zero: some time
	bytes int
}

// A flight is a read of the store that is under way, for all who want its result.
type flight[V any] struct {
	began   time.Time
	changes uint64 // of the cache, at its beginning
	done    chan struct{}
	value   V // like err, to be read when done is closed
	err     error
}

func newShelf[V any](most, mostBytes int, size func(V) int, same func(a, b V) bool) *shelf[V] {
	return &shelf[V]{
		most: most, mostBytes: mostBytes, size: size, same: same,
		order: list.New(), byName: map[string]*list.Element{}, flights: map[string]*flight[V]{},
	}
}

func (s *shelf[V]) get(name string) (*kept[V], bool) {
	e, ok := s.byName[name]
	if !ok {
		return nil, false
	}
	s.order.MoveToFront(e)
	return e.Value.(*kept[V]), true
}

func (s *shelf[V]) put(name string, value V, since time.Time) {
	s.drop(name)
	k := &kept[V]{name, value, since, s.size(value) + 2*len(name) + entryBytes}
	s.byName[name] = s.order.PushFront(k)
	s.bytes += k.bytes
	for s.order.Len() > s.most || s.bytes > s.mostBytes {
		s.drop(s.order.Back().Value.(*kept[V]).name)
	}
}

const entryBytes = 200 // about what an entry takes beside its value

func (s *shelf[V]) drop(name string) {
	if e, ok := s.byName[name]; ok {
		s.order.Remove(e)
		delete(s.byName, name)
		s.bytes -= e.Value.(*kept[V]).bytes
	}
}

// read is the value of that name: from the shelf while it is fresh, else from the store by fetch, or from the shelf when that does not
// answer in time.
func read[V any](ctx context.Context, c *Cache, s *shelf[V], name string, fetch func(context.Context) (V, error)) (V, error) {
	var none V
	if err := ctx.Err(); err != nil {
		return none, fmt.Errorf("store: read %s: %w", name, err)
	}
	c.mu.Lock()
	k, known := s.get(name)
	switch {
	case c.closed:
		c.mu.Unlock()
		return none, errClosed
	case known && k.since.After(c.doubt) && time.Since(k.since) < c.options.Fresh:
		defer c.mu.Unlock()
		return k.value, nil
	case known && c.health == away:
		return serve(c, k)
	case c.health == away:
		defer c.mu.Unlock()
		return none, fmt.Errorf("store: read %s: %w", name, c.unreachable())
	}
	f := fly(c, s, name, fetch)
	if known && c.health == slow {
		return serve(c, k)
	}
	c.mu.Unlock()
	if !known {
		select {
		case <-f.done:
			return f.value, f.err
		case <-ctx.Done():
			return none, fmt.Errorf("store: read %s: %w", name, ctx.Err())
		}
	}
	patience := time.NewTimer(c.options.Patience)
	defer patience.Stop()
	select {
	case <-f.done:
		if !isAway(f.err) {
			return f.value, f.err
		}
	case <-patience.C:
		c.become(slow, nil)
	case <-ctx.Done():
		return none, fmt.Errorf("store: read %s: %w", name, ctx.Err())
	}
	c.mu.Lock()
	return serve(c, k)
}

// serve answers in the store's place, and unlocks.
func serve[V any](c *Cache, k *kept[V]) (V, error) {
	defer c.mu.Unlock()
	c.served++
	return k.value, nil
}

func isAway(err error) bool {
	return errors.Is(err, ErrAway) || errors.Is(err, context.DeadlineExceeded)
}

// fly is a read under way that a caller of now may join, or a new one. The caller holds mu.
func fly[V any](c *Cache, s *shelf[V], name string, fetch func(context.Context) (V, error)) *flight[V] {
	f := s.flights[name]
	if f != nil && f.changes == c.changes && time.Since(f.began) < c.options.Fresh {
		return f
	}
	f = &flight[V]{began: time.Now(), changes: c.changes, done: make(chan struct{})}
	s.flights[name] = f
	c.start(func() {
		ctx, cancel := context.WithTimeout(c.ctx, CallLimit)
		defer cancel()
		f.value, f.err = fetch(ctx)
		if isAway(f.err) && !errors.Is(f.err, ErrAway) {
			f.err = &awayError{"the store", "no answer within " + CallLimit.String()}
		}
		c.observe(time.Since(f.began), f.err)
		c.mu.Lock()
		land(c, s, name, f)
		c.mu.Unlock()
		close(f.done)
	})
	return f
}

// land puts what a read found on the shelf, unless a change or a later read was quicker.
func land[V any](c *Cache, s *shelf[V], name string, f *flight[V]) {
	if s.flights[name] == f {
		delete(s.flights, name)
	}
	k, known := s.get(name)
	if f.changes != c.changes || known && k.since.After(f.began) {
		return
	}
	switch {
	case f.err == nil:
		changed := !known || !s.same(k.value, f.value)
		s.put(name, f.value, f.began)
		if changed {
			c.save()
		}
	case errors.Is(f.err, ErrNotFound):
		s.drop(name)
	}
}
