package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"portico/shared/jsonvalue"
)

// CacheOptions set up a Cache. A zero field means its default.
type CacheOptions struct {
	// File keeps a sealed copy of what was read, for an edge that is started again while the store is away; none by default.
	// Only OpenCached knows the key it is sealed with.
	File string
	// Fresh is the age up to which what was read is served without asking the store; default 1 s. It bounds how long a change that
	// another edge made can go unseen here.
	Fresh time.Duration
	// Patience is how long a reader waits for the store where there is something older to serve; default 300 ms.
	Patience time.Duration
	// Probe is the time between looks whether the store answers again; default 500 ms.
	Probe time.Duration
	Rooms int          // most rooms that are kept; default 10,000
	Bytes int          // of their documents; default 64 MiB
	Log   *slog.Logger // default: none

	sealer *sealer
	place  string // what the file is bound to
}

func (o CacheOptions) withDefaults() CacheOptions {
	for field, value := range map[*time.Duration]time.Duration{&o.Fresh: time.Second, &o.Patience: 300 * time.Millisecond, &o.Probe: 500 * time.Millisecond} {
		if *field <= 0 {
			*field = value
		}
	}
	for field, value := range map[*int]int{&o.Rooms: 10_000, &o.Bytes: 64 << 20} {
		if *field <= 0 {
			*field = value
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return o
}

// State is how a Cache finds its store.
type State struct {
	Away   bool      // it does not answer, or not in time
	Since  time.Time // when that was found out; zero while it answers
	Served uint64    // answers so far that were given in the store's place
}

// Cache is a Store before another one that can be away. Services, rooms, keys and settings that were read by their names are kept and
// served while the store behind does not answer; the most recently used are kept, within bounds. Reads wait for each other rather than
// ask twice.
//
// While the store answers within Patience, what is read was so at most Fresh before the call, and a change made through the cache is seen
// at once. When it answers late, readers get what is known, and it goes on in the background; when it does not answer at all, what is not known,
// lists and changes fail at once with ErrAway. Looks at intervals tell when it is back. So an away store costs one call its limit and
// the others nothing.
type Cache struct {
	inner   Store
	options CacheOptions
	log     *slog.Logger
	ctx     context.Context // of the cache's own goroutines
	cancel  context.CancelFunc
	tasks   sync.WaitGroup

	mu       sync.Mutex // guards everything below and the shelves
	services *shelf[Service]
	names    *shelf[string] // id of the service of a name
	rooms    *shelf[Room]
	keys     *shelf[[]byte]
	settings *shelf[setting]
	changes  uint64    // counts what was changed through the cache: a read that a change overtook is not kept
	doubt    time.Time // when a change failed last, which may have been made all the same: nothing from before is fresh
	health   health
	since    time.Time
	fault    error // why it is away
	served   uint64
	probing  bool
	saving   bool // somebody will write the file
	dirty    bool // what is on the shelves is not in the file
	closed   bool
}

var _ Store = (*Cache)(nil)

type health int

const (
	well health = iota
	slow        // it answers, but late
	away
)

// NewCache makes a Cache before the store, which it closes with itself. The store's calls must end when their ctx does.
func NewCache(inner Store, o CacheOptions) *Cache {
	c := &Cache{inner: inner, options: o.withDefaults()}
	c.log = c.options.Log
	c.ctx, c.cancel = context.WithCancel(context.Background())
	text := func(s string) int { return len(s) }
	c.services = newShelf(4096, 8<<20, func(s Service) int { return len(s.Key) + len(s.Sealed) + len(s.Name) }, equal[Service])
	c.names = newShelf(4096, 8<<20, text, equal[string])
	c.rooms = newShelf(c.options.Rooms, c.options.Bytes, func(r Room) int { return r.Document.Size() }, sameRoom)
	c.keys = newShelf(256, 1<<20, func(k []byte) int { return len(k) }, bytes.Equal)
	c.settings = newShelf(256, 1<<20, func(s setting) int { return len(s.value) }, equal[setting])
	c.load()
	return c
}

func equal[V comparable](a, b V) bool { return a == b }

func sameRoom(a, b Room) bool {
	return a.Service == b.Service && a.Revision == b.Revision && jsonvalue.Equal(a.Document, b.Document)
}

// State tells how the store behind is found. It may be called at any time, and does not wait for it.
func (c *Cache) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return State{Away: c.health != well, Since: c.since, Served: c.served}
}

// Close ends the cache and closes the store behind it; what was read last is on disk when it returns.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.tasks.Wait()
	return c.inner.Close()
}

// start runs a goroutine of the cache's own; false when it is closed. The caller holds mu.
func (c *Cache) start(run func()) bool {
	if !c.closed {
		c.tasks.Go(run)
	}
	return !c.closed
}

// observe takes note of how a call of the store went.
func (c *Cache) observe(took time.Duration, err error) {
	switch {
	case errors.Is(err, context.Canceled): // the caller gave up, or the cache is closed
	case errors.Is(err, ErrAway), errors.Is(err, context.DeadlineExceeded):
		c.become(away, err)
	case took > c.options.Patience:
		c.become(slow, nil)
	default:
		c.become(well, nil)
	}
}

func (c *Cache) become(next health, fault error) {
	c.mu.Lock()
	before := c.health
	c.health, c.fault = next, fault
	began, served := c.since, c.served
	switch {
	case before == well && next != well:
		c.since = time.Now()
	case next == well:
		c.since = time.Time{}
	}
	if next != well && !c.probing {
		c.probing = c.start(c.probe)
	}
	c.mu.Unlock()
	switch {
	case before == well && next == away:
		c.log.Warn("store is away; what was read from it before is served", "error", fault)
	case before == well && next == slow:
		c.log.Warn("store answers late; what was read from it before is served", "patience", c.options.Patience)
	case before != well && next == well:
		c.log.Info("store answers again", "away", time.Since(began).Round(time.Millisecond), "served", served)
	}
}

// probe asks the store for a small thing until it answers in time.
func (c *Cache) probe() {
	ticker := time.NewTicker(c.options.Probe)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-c.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(c.ctx, CallLimit)
		began := time.Now()
		_, err := c.inner.Setting(ctx, superSetting)
		cancel()
		if c.ctx.Err() != nil {
			return
		}
		c.observe(time.Since(began), err)
		c.mu.Lock()
		c.probing = c.health != well
		on := c.probing
		c.mu.Unlock()
		if !on {
			return
		}
	}
}

// unreachable is the error of a call that is not even tried. The caller holds mu.
func (c *Cache) unreachable() error {
	if c.fault != nil && errors.Is(c.fault, ErrAway) {
		return c.fault
	}
	return ErrAway
}

// Service, ServiceByName, Room, Key and Setting are those of Store. They may say what was so before, as the type tells.

func (c *Cache) Service(ctx context.Context, id string) (Service, error) {
	return read(ctx, c, c.services, id, func(ctx context.Context) (Service, error) { return c.inner.Service(ctx, id) })
}

func (c *Cache) ServiceByName(ctx context.Context, name string) (Service, error) {
	id, err := read(ctx, c, c.names, name, func(ctx context.Context) (string, error) {
		s, err := c.inner.ServiceByName(ctx, name)
		return s.ID, err
	})
	if err != nil {
		return Service{}, err
	}
	s, err := c.Service(ctx, id)
	if errors.Is(err, ErrNotFound) { // there may be another one of that name by now
		c.mu.Lock()
		c.names.drop(name)
		c.mu.Unlock()
	}
	return s, err
}

func (c *Cache) Room(ctx context.Context, id string) (Room, error) {
	return read(ctx, c, c.rooms, id, func(ctx context.Context) (Room, error) { return c.inner.Room(ctx, id) })
}

func (c *Cache) Key(ctx context.Context, name string, make func() []byte) ([]byte, error) {
	key, err := read(ctx, c, c.keys, name, func(ctx context.Context) ([]byte, error) { return c.inner.Key(ctx, name, make) })
	return bytes.Clone(key), err
}

func (c *Cache) Setting(ctx context.Context, name string) (string, error) {
	s, err := read(ctx, c, c.settings, name, func(ctx context.Context) (setting, error) {
		value, err := c.inner.Setting(ctx, name)
		if errors.Is(err, ErrNotFound) {
			return setting{none: true}, nil
		}
		return setting{value: value}, err
	})
	if err == nil && s.none {
		err = fmt.Errorf("store: read setting %s: %w", name, ErrNotFound)
	}
	return s.value, err
}

// setting is a setting, or that there is none: an edge that starts while the store is away has to know that too.
type setting struct {
	value string
	none  bool
}

// pass makes a call that is not served from the cache.
func pass[T any](ctx context.Context, c *Cache, attempt string, call func() (T, error)) (T, error) {
	c.mu.Lock()
	var refused error
	if c.health == away {
		refused = fmt.Errorf("store: %s: %w", attempt, c.unreachable())
	}
	c.mu.Unlock()
	var none T
	if refused != nil {
		return none, refused
	}
	value, err := call()
	if ctx.Err() == nil {
		c.observe(0, err) // lists may take their time
	}
	return value, err
}

func (c *Cache) Services(ctx context.Context) ([]Service, error) {
	return pass(ctx, c, "list services", func() ([]Service, error) { return c.inner.Services(ctx) })
}

func (c *Cache) Rooms(ctx context.Context, service string, page, perPage int) ([]Room, error) {
	return pass(ctx, c, "list rooms", func() ([]Room, error) { return c.inner.Rooms(ctx, service, page, perPage) })
}

func (c *Cache) RoomsAfter(ctx context.Context, service, after string, skip, limit int) ([]Room, error) {
	return pass(ctx, c, "list rooms", func() ([]Room, error) { return c.inner.RoomsAfter(ctx, service, after, skip, limit) })
}

func (c *Cache) RoomIDs(ctx context.Context, service string) ([]string, error) {
	return pass(ctx, c, "list rooms", func() ([]string, error) { return c.inner.RoomIDs(ctx, service) })
}

func (c *Cache) PutToken(ctx context.Context, t TokenRecord) error {
	_, err := pass(ctx, c, "record token", func() (struct{}, error) { return struct{}{}, c.inner.PutToken(ctx, t) })
	return err
}

func (c *Cache) ConsumeToken(ctx context.Context, id string) (TokenRecord, error) {
	return pass(ctx, c, "consume token", func() (TokenRecord, error) { return c.inner.ConsumeToken(ctx, id) })
}

// change makes a call that changes the store, and puts what is so now on the shelf: keep, under mu, with the time since when it is so.
// When another change was under way meanwhile, nobody knows which came last: the time is zero then, and the next reader asks.
func change[T any](ctx context.Context, c *Cache, attempt string, call func() (T, error), keep func(value T, since time.Time)) (T, error) {
	c.mu.Lock()
	c.changes++
	before, began := c.changes, time.Now()
	c.mu.Unlock()
	value, err := pass(ctx, c, attempt, call)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes != before {
		began = time.Time{}
	}
	c.changes++
	if err == nil {
		keep(value, began)
		c.save()
	} else {
		c.doubt = time.Now()
	}
	return value, err
}

func (c *Cache) CreateService(ctx context.Context, s Service) error {
	_, err := change(ctx, c, "create service", func() (struct{}, error) { return struct{}{}, c.inner.CreateService(ctx, s) },
		func(_ struct{}, since time.Time) { c.names.put(s.Name, s.ID, since) }) // the rest is read: its sealed form is the store's
	return err
}

func (c *Cache) DeleteService(ctx context.Context, id string) error {
	_, err := change(ctx, c, "delete service", func() (struct{}, error) { return struct{}{}, c.inner.DeleteService(ctx, id) },
		func(struct{}, time.Time) { c.services.drop(id) })
	return err
}

func (c *Cache) CreateRoom(ctx context.Context, r Room) error {
	_, err := change(ctx, c, "create room", func() (struct{}, error) { return struct{}{}, c.inner.CreateRoom(ctx, r) },
		func(_ struct{}, since time.Time) {
			c.rooms.put(r.ID, Room{ID: r.ID, Service: r.Service, Document: r.Document}, since)
		})
	return err
}

func (c *Cache) UpdateRoom(ctx context.Context, service, id string, to func(jsonvalue.Value) (jsonvalue.Value, error)) (Room, error) {
	return change(ctx, c, "update room", func() (Room, error) { return c.inner.UpdateRoom(ctx, service, id, to) },
		func(r Room, since time.Time) { c.rooms.put(id, r, since) })
}

func (c *Cache) DeleteRoom(ctx context.Context, service, id string) error {
	_, err := change(ctx, c, "delete room", func() (struct{}, error) { return struct{}{}, c.inner.DeleteRoom(ctx, service, id) },
		func(struct{}, time.Time) { c.rooms.drop(id) })
	return err
}

func (c *Cache) SetSetting(ctx context.Context, name, value string) error {
	_, err := change(ctx, c, "write setting "+name, func() (struct{}, error) { return struct{}{}, c.inner.SetSetting(ctx, name, value) },
		func(_ struct{}, since time.Time) { c.settings.put(name, setting{value: value}, since) })
	return err
}
