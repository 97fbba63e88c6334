package mesh

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"portico/edge/mesh/directory"
	"portico/shared/placement"
	"portico/shared/roster"
)

// Part is a room on this edge, as its Membership sees it. The calls come one at a time, but for Command; they must not wait, and must
// not call Membership.Close.
type Part interface {
	// Apply tells of changes to the entries of others. A change without Now of a key that this edge has itself says only that the
	// entry of the owner before has given way to this edge's own.
	Apply(changes []roster.Change)
	// Whole tells in answer to Membership.Resync what Apply and Lead have told until now: the entries of others that there are.
	Whole(entries []roster.Entry, leads bool)
	// Lead tells that this edge is the room's home, or that it is not any more. It is not until it is told.
	Lead(on bool)
	// Note brings a note of another edge.
	Note(body []byte)
	// Command answers a command of another edge, or of this one; ctx ends with the other's patience or with the Membership.
	Command(ctx context.Context, from string, body []byte) ([]byte, error)
	// Moved tells that another edge has an entry that was this one's. The change that brings it comes right after, if at all.
	Moved(key roster.Key)
	// Destroyed tells that this edge was the last home and that the room has ended.
	Destroyed()
}

// room runs a directory.Room.
type room struct {
	mesh *Mesh
	name string
	core *directory.Room // by run alone, or with the queue idle and mu held

	due   time.Duration // guarded by clock.mu
	place int           // guarded by clock.mu: in its heap; -1: not there

	// By run alone.
	member   *Membership
	sessions map[uint64]*outlet
	syncs    map[uint64]chan struct{}
	lastSync uint64

	mu      sync.Mutex // guards what follows
	queue   []func()
	running bool
	dead    bool
	epoch   placement.Epoch // as the core says
	leads   bool
	changed chan struct{} // closed with the next change of the two
}

// maxQueue bounds the messages of peers that wait.
const maxQueue = 1 << 14

func newRoom(m *Mesh, name string) *room {
	return &room{
		mesh: m, name: name, place: -1, sessions: map[uint64]*outlet{}, syncs: map[uint64]chan struct{}{}, changed: make(chan struct{}),
		core: directory.New(directory.Config{
			Room: name, Self: m.options.Self, Timing: m.options.Timing, Roster: roster.Config{Grace: m.options.Grace},
			Standby: true,
		}),
	}
}

// Errors of put.
var (
	errFull = errors.New("mesh: too much waits for this room")
	// errForgotten is of a room that the Mesh has dropped: another one may have its name by now, and what is for the room is for that one.
	errForgotten = fmt.Errorf("%w: nobody has needed this room", ErrClosed)
)

// post has fn run in turn.
func (r *room) post(fn func()) error { return r.put(fn, 0) }

// put is post, unless more than limit wait already; 0 is no limit. Without an error fn runs, or the Mesh is closing.
func (r *room) put(fn func(), limit int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.dead:
		return errForgotten
	case limit > 0 && len(r.queue) >= limit:
		return errFull
	}
	r.queue = append(r.queue, fn)
	if !r.running {
		if r.running = r.mesh.tasks.Go(r.run) == nil; !r.running {
			r.queue = nil
		}
	}
	return nil
}

// event posts an event. One that is forgotten has nothing to do with any.
func (r *room) event(e directory.Event) { _ = r.post(func() { r.handle(e) }) }

// do posts fn and waits until it has run.
func (r *room) do(ctx context.Context, fn func()) error {
	done := make(chan struct{})
	if err := r.post(func() {
		defer close(done)
		fn()
	}); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.mesh.tasks.Context().Done():
		return ErrClosed
	}
}

// run does what is queued, and ends.
func (r *room) run(context.Context) {
	for {
		r.mu.Lock()
		batch := r.queue
		r.queue = nil
		if len(batch) == 0 {
			if r.running = false; !r.dead {
				r.mesh.clock.set(r, r.core.Due())
			}
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		for _, fn := range batch {
			r.protect(fn)
		}
	}
}

// protect runs one thing. When it panics, which is a mistake of ours, the room goes on with the next.
func (r *room) protect(fn func()) {
	defer func() {
		if p := recover(); p != nil {
			r.mesh.log.Error("room of the cluster failed", "room", r.name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	fn()
}

// forget tells that the room can be dropped, and has it take nothing more. The Mesh's mu is held.
func (r *room) forget(now time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running || len(r.queue) > 0 {
		return false
	}
	r.dead = r.member == nil && r.core.Forgettable(now, keepIdle)
	return r.dead
}

func (r *room) handle(e directory.Event) { r.carry(r.core.Handle(e, r.mesh.now())) }

// carry carries out what the core asks for.
func (r *room) carry(effects []directory.Effect) {
	var part Part
	if r.member != nil {
		part = r.member.part
	}
	r.note() // before the part is told: it may look
	for _, effect := range effects {
		switch e := effect.(type) {
		case directory.Seat:
			r.mesh.sendSeat(e.To, r.name, e.Message)
		case directory.Post:
			r.mesh.post(e.To, e.Message)
		case directory.Used:
			r.mesh.tokens.learn(e.Uses, r.mesh.options.Now())
		case directory.Dial:
			r.sessions[e.Session] = r.mesh.dialRoom(r, e.Session, e.To)
		case directory.Say:
			r.say(e)
		case directory.HangUp:
			if o := r.sessions[e.Session]; o != nil {
				delete(r.sessions, e.Session)
				o.finish()
			}
		case directory.Rubbish:
			r.mesh.rubbish(e.From, e.Err)
		case directory.Synced:
			if done := r.syncs[e.ID]; done != nil {
				close(done)
				delete(r.syncs, e.ID)
			}
		case directory.Host:
			if host := r.mesh.options.Host; host != nil {
				_ = r.mesh.tasks.Go(func(context.Context) { host(r.name) })
			}
		default:
			tell(part, e)
		}
	}
}

// tell tells the part what concerns it.
func tell(part Part, effect directory.Effect) {
	if part == nil {
		return
	}
	switch e := effect.(type) {
	case directory.Apply:
		part.Apply(e.Changes)
	case directory.Moved:
		part.Moved(e.Key)
	case directory.Leads:
		part.Lead(e.On)
	case directory.Deliver:
		part.Note(e.Body)
	case directory.Over:
		part.Destroyed()
	}
}

func (r *room) say(e directory.Say) {
	if o := r.sessions[e.Session]; o != nil && !o.push(e.Message) {
		delete(r.sessions, e.Session)
		o.finish()
		r.event(directory.Ended{Session: e.Session})
	}
}

// note lets those who wait see the core's state.
func (r *room) note() {
	epoch, leads := r.core.Epoch()
	r.mu.Lock()
	defer r.mu.Unlock()
	if epoch != r.epoch || leads != r.leads {
		r.epoch, r.leads = epoch, leads
		close(r.changed)
		r.changed = make(chan struct{})
	}
}

// home tells who the home is, and what to wait for when that changes.
func (r *room) home() (e placement.Epoch, leads bool, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch, r.leads, r.changed
}

// ended takes note that a call is over. A room that is forgotten had none.
func (r *room) ended(session uint64) {
	_ = r.post(func() {
		if o := r.sessions[session]; o != nil {
			delete(r.sessions, session)
			o.finish()
		}
		r.handle(directory.Ended{Session: session})
	})
}
