package room

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
	"portico/shared/task"
)

// Options are what a Directory needs of its surroundings.
type Options struct {
	// Config reads a room's configuration by id; any error refuses the join.
	Config func(ctx context.Context, room string) (conference.Room, error)
	Media  Media
	// Selectors, without which no room has selected audio streams, whatever its configuration says.
	Selectors Selectors
	// Mixers, without which mixed streams are listed but cannot be had, and streams are offered in no other form than they have.
	Mixers Mixers
	// Cluster, without which all participants of a room are on this edge, and Region, which is where this edge is.
	Cluster Cluster
	Region  string
	// Quality is what this edge knows of a forward stream, and of one participant's subscriptions to it or, without one, of all, as JSON with
	// lists "notMixed", "subscriptions" and "ended", and a number "omitted" of subscriptions; users are the names behind participants. nil, and
	// false: nothing.
	Quality func(ctx context.Context, room, stream, participant string, users map[string]string) (q jsonvalue.Value, ok bool)
	NewID   func() string // session ids: 32 lower-case hexadecimal digits, never the same twice
	Limits  Limits
	Linger  time.Duration // how long a room without anyone in it stays; 0 means 30 s (rooms-and-media 3.5)
	Log     *slog.Logger
}

// Directory holds the active rooms of this node and carries requests to them. All methods are safe for concurrent use; those
// with a context wait for the room's Loop at most. Refusals are *portalproto.Error.
type Directory struct {
	options Options

	mu      sync.Mutex // guards what follows; nothing else happens under it
	rooms   map[string]*entry
	closed  bool
	closing sync.WaitGroup // rooms on their way out
}

// entry is an active room: ready is closed once its configuration was read, then controller or err is set.
type entry struct {
	ready      chan struct{}
	controller *controller
	err        error
	joining    int           // joins under way, which keep the room from ending
	joins      int           // joins ever begun: tells whether one came in between
	linger     *time.Timer   // ends the room when it fires and the room is idle
	ending     chan struct{} // closed when it has ended; nil: it has not begun to
}

// NewDirectory makes an empty Directory. Close ends it.
func NewDirectory(o Options) *Directory {
	if o.Linger == 0 {
		o.Linger = 30 * time.Second
	}
	if o.Limits.Participants == 0 {
		o.Limits.Participants = 10_000
	}
	if o.Limits.Sessions == 0 {
		o.Limits.Sessions = 1000
	}
	if o.Limits.Pictures == 0 {
		o.Limits.Pictures = 16
	}
	if o.Limits.Roster == 0 {
		o.Limits.Roster = 500
	}
	return &Directory{options: o, rooms: map[string]*entry{}}
}

// Join admits a participant, waking the room when it is not active. The answer is the room at the very moment from which on
// the member is notified of changes.
func (d *Directory) Join(ctx context.Context, j Join) (Joined, error) {
	e, err := d.enter(ctx, j.Room)
	if err != nil {
		return Joined{}, err
	}
	defer d.entered(j.Room, e)
	return e.controller.join(ctx, j)
}

// Host wakes a room that this edge is the home of, for participants on other edges. It ends as any room does when nobody is left.
func (d *Directory) Host(ctx context.Context, room string) error {
	e, err := d.enter(ctx, room)
	if err == nil {
		d.entered(room, e)
	}
	return err
}

// enter finds or wakes a room and keeps it from ending until entered is called. One that is ending has to be gone first: what it has
// opened has the names that the new one needs.
func (d *Directory) enter(ctx context.Context, id string) (*entry, error) {
	d.mu.Lock()
	for e := d.rooms[id]; e != nil && e.ending != nil && !d.closed; e = d.rooms[id] {
		d.mu.Unlock()
		select {
		case <-e.ending:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		d.mu.Lock()
	}
	if d.closed {
		d.mu.Unlock()
		return nil, portalproto.ErrJoinFailed
	}
	e := d.rooms[id]
	first := e == nil
	if first {
		e = &entry{ready: make(chan struct{})}
		d.rooms[id] = e
	}
	e.joining++
	e.joins++
	d.mu.Unlock()
	if first {
		d.wake(ctx, id, e)
	}
	select {
	case <-e.ready:
	case <-ctx.Done():
		d.entered(id, e)
		return nil, ctx.Err()
	}
	if e.err != nil {
		d.entered(id, e)
		return nil, portalproto.ErrJoinFailed
	}
	return e, nil
}

// wake reads the configuration and starts the controller; the entry says how that went.
func (d *Directory) wake(ctx context.Context, id string, e *entry) {
	defer close(e.ready)
	config, err := d.options.Config(ctx, id)
	config.SelectActiveAudio = config.SelectActiveAudio && d.options.Selectors != nil
	log := d.options.Log.With("room", id)
	if err != nil {
		log.Warn("room could not be started", "error", err)
		e.err = err
		return
	}
	m, faults := newMachine(config, d.options.Limits, d.options.Mixers != nil, d.options.Cluster != nil)
	for _, fault := range faults {
		log.Warn("a view does without a template that makes no sense", "error", fault)
	}
	c := &controller{
		machine: m, members: map[string]Member{}, mixers: map[string]Mixer{},
		media: d.options.Media, newID: d.options.NewID, log: log,
		left: func() { d.check(id, e) }, heard: make(chan struct{}),
	}
	if quality := d.options.Quality; quality != nil {
		c.look = func(ctx context.Context, stream, participant string, users map[string]string) (jsonvalue.Value, bool) {
			return quality(ctx, id, stream, participant, users)
		}
	}
	c.life, c.end = context.WithCancel(context.Background())
	c.loop = task.NewLoop(task.LoopOptions{
		OnPanic: func(p *task.PanicError) {
			log.Error("room controller failed", "panic", p.Error(), "stack", p.Stack)
		},
		OnOverflow: func(refused uint64) { log.Error("room controller is overloaded", "refused", refused) },
	})
	if err := c.openSelector(d.options.Selectors); err != nil {
		log.Error("audio cannot be selected", "error", err)
		c.close()
		e.err = err
		return
	}
	if d.options.Mixers != nil {
		c.openMixers(d.options.Mixers)
	}
	if cluster := d.options.Cluster; cluster != nil {
		// On the Loop: what the other edges say at once has to wait for it.
		_ = c.run(context.Background(), func() error { c.membership = cluster.Enter(id, d.options.Region, part{c}); return nil })
	}
	e.controller = c
	log.Info("room started")
}

// entered ends a join and lets an empty room go.
func (d *Directory) entered(id string, e *entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e.joining--
	if e.err != nil {
		if e.joining == 0 && d.rooms[id] == e {
			delete(d.rooms, id)
		}
		return
	}
	d.arm(id, e)
}

// check starts the room's linger time again; it is called whenever something left the room.
func (d *Directory) check(id string, e *entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.arm(id, e)
}

// arm (under mu) sets the timer after which an idle room ends.
func (d *Directory) arm(id string, e *entry) {
	if d.rooms[id] != e || e.ending != nil {
		return
	}
	if e.linger != nil {
		e.linger.Stop()
	}
	e.linger = time.AfterFunc(d.options.Linger, func() { d.expire(id, e) })
}

// expire ends the room when nothing is in it. A join that begins meanwhile finds either the room or a new one, never a dead
// one: the room is asked whether it is idle, and then, under mu, whether any join has begun since before that question.
func (d *Directory) expire(id string, e *entry) {
	d.mu.Lock()
	joins, c := e.joins, e.controller
	if d.rooms[id] != e || e.joining > 0 || e.ending != nil || c == nil {
		d.mu.Unlock()
		return
	}
	d.mu.Unlock()
	idle := false
	if err := c.run(context.Background(), func() error { idle = c.machine.idle(); return nil }); err != nil || !idle {
		return
	}
	d.mu.Lock()
	if d.closed || d.rooms[id] != e || e.joins != joins || e.ending != nil {
		d.mu.Unlock()
		return
	}
	e.ending = make(chan struct{})
	d.closing.Add(1)
	d.mu.Unlock()
	defer d.closing.Done()
	c.close()
	c.log.Info("room ended")
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rooms[id] == e { // else the Directory was closed meanwhile
		delete(d.rooms, id)
	}
	close(e.ending)
}

// find is the controller of an active room, or nil.
func (d *Directory) find(id string) *controller {
	d.mu.Lock()
	e := d.rooms[id]
	ending := e != nil && e.ending != nil
	d.mu.Unlock()
	if e == nil || ending {
		return nil
	}
	select {
	case <-e.ready:
		return e.controller
	default:
		return nil
	}
}

// in runs f with the controller of an active room; without one, or when it ends meanwhile, the participant is not in it.
func (d *Directory) in(id string, f func(c *controller) error) error {
	c := d.find(id)
	if c == nil {
		return portalproto.ErrNotJoinedRoom
	}
	err := f(c)
	if errors.Is(err, errClosed) {
		return portalproto.ErrNotJoinedRoom
	}
	return err
}

// Renew makes what entitles to take a participant over void up to a generation: it has come back here by one of these. Before, it makes
// sure that the participant is still here: an edge that stood still, or was cut off, may not have heard that another one has it by now. That
// is portalproto.ErrClusterUnavailable. Without other edges it does nothing.
func (d *Directory) Renew(ctx context.Context, room, participant string, generation uint64) error {
	return d.in(room, func(c *controller) error { return c.renew(ctx, participant, generation) })
}

// Leave takes a participant out of its room; doing so twice is no error.
func (d *Directory) Leave(ctx context.Context, room, participant string) {
	_ = d.in(room, func(c *controller) error { return c.leave(ctx, participant) })
}

// Publish opens a publication; its id is the stream's.
func (d *Directory) Publish(ctx context.Context, room, participant string, r portalproto.PublishRequest) (ack portalproto.SessionAck, err error) {
	err = d.in(room, func(c *controller) error {
		ack, err = c.publish(ctx, participant, r)
		return err
	})
	return ack, err
}

// Subscribe opens a subscription.
func (d *Directory) Subscribe(ctx context.Context, room, participant string, r portalproto.SubscribeRequest) (ack portalproto.SessionAck, err error) {
	err = d.in(room, func(c *controller) error {
		ack, err = c.subscribe(ctx, participant, r)
		return err
	})
	return ack, err
}

// Unpublish ends a publication. On success acked is called, on the room's Loop, before anyone hears of the stream's end.
func (d *Directory) Unpublish(ctx context.Context, room, participant, session string, acked func()) error {
	return d.in(room, func(c *controller) error { return c.unpublish(ctx, participant, session, acked) })
}

// Unsubscribe ends a subscription.
func (d *Directory) Unsubscribe(ctx context.Context, room, participant, session string) error {
	return d.in(room, func(c *controller) error { return c.unsubscribe(ctx, participant, session) })
}

// Text passes a message on, to everyone or to one participant.
func (d *Directory) Text(ctx context.Context, room, from, to string, message jsonvalue.Value) error {
	return d.in(room, func(c *controller) error { return c.text(ctx, from, to, message) })
}

// StreamControl pauses, resumes, mixes or moves a stream. region is the answer to portalproto.GetRegion.
func (d *Directory) StreamControl(ctx context.Context, room, participant string, r portalproto.StreamControl) (region string, err error) {
	err = d.in(room, func(c *controller) error {
		region, err = c.streamControl(ctx, participant, r)
		return err
	})
	return region, err
}

// SubscriptionControl pauses, resumes or updates a subscription.
func (d *Directory) SubscriptionControl(ctx context.Context, room, participant string, r portalproto.SubscriptionControl) error {
	return d.in(room, func(c *controller) error { return c.subscriptionControl(ctx, participant, r) })
}

// Destroy ends an active room for everyone in it; one that is not active is left alone.
func (d *Directory) Destroy(room string) {
	ctx, cancel := context.WithTimeout(context.Background(), maxAsk)
	defer cancel()
	if _, err := d.operate(ctx, room, command{op: opDestroy}); err != nil {
		d.options.Log.Debug("room not destroyed", "room", room, "reason", err)
	}
}

// Alive tells whether every room's Loop answers before ctx ends.
func (d *Directory) Alive(ctx context.Context) bool {
	d.Count(ctx)
	return ctx.Err() == nil
}

// Counts is what a Directory holds, for metrics: of rooms that are on other edges too, what is on this one.
type Counts struct{ Rooms, Participants, Publications, Subscriptions int }

// Count asks every room; it waits for their Loops.
func (d *Directory) Count(ctx context.Context) Counts {
	d.mu.Lock()
	ids := make([]string, 0, len(d.rooms))
	for id := range d.rooms {
		ids = append(ids, id)
	}
	d.mu.Unlock()
	var n Counts
	for _, id := range ids {
		_ = d.in(id, func(c *controller) error {
			return c.run(ctx, func() error {
				n.Rooms++
				n.Participants += len(c.machine.here)
				n.Publications += len(c.machine.own())
				n.Subscriptions += len(c.machine.subs)
				return nil
			})
		})
	}
	return n
}

// Close ends every room: those still in one are dropped, their media is closed, and all goroutines have ended when it returns.
func (d *Directory) Close() {
	d.mu.Lock()
	d.closed = true
	rooms := d.rooms
	d.rooms = map[string]*entry{}
	for _, e := range rooms {
		if e.linger != nil {
			e.linger.Stop()
		}
	}
	d.mu.Unlock()
	for _, e := range rooms {
		<-e.ready
		if c := e.controller; c != nil {
			_ = c.run(context.Background(), func() error { c.destroyed(portalproto.ReasonRoomDestroyed, d.options.Cluster == nil); return nil })
			c.close()
		}
	}
	d.closing.Wait()
}
