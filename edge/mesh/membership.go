package mesh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"portico/edge/mesh/directory"
	"portico/shared/meshproto"
	"portico/shared/placement"
	"portico/shared/roster"
)

// Membership is this edge's part in one room. All methods are safe for concurrent use.
type Membership struct {
	room   *room
	part   Part
	ctx    context.Context // of commands
	cancel context.CancelFunc
}

// retryAfter is when a home is asked again that could not answer, and nothing is heard of another.
const retryAfter = 100 * time.Millisecond

// Enter makes this edge one of the room's, whose home shall be in the region. It does not wait. A room is entered once at a time. It
// follows the room as long as this edge owns something there, or waits for something of its home.
func (m *Mesh) Enter(name, region string, part Part) *Membership {
	s := &Membership{part: part}
	s.ctx, s.cancel = context.WithCancel(m.tasks.Context())
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.room = m.roomLocked(name, true); s.room == nil {
		s.room = newRoom(m, name) // beyond the limit it finds nobody
		s.room.event(placement.View{})
	}
	r := s.room
	_ = r.post(func() { // it is known, and so it is not forgotten
		r.core.Prefer(region)
		r.member = s
		r.handle(directory.Enter{On: true})
	})
	return s
}

// Close leaves the room in good order: what this edge owns there goes at once. The Part is called no more when it returns. It is safe
// twice, but not from the Part.
func (s *Membership) Close() {
	s.cancel()
	r := s.room
	_ = r.do(context.Background(), func() {
		if r.member != s {
			return
		}
		r.handle(directory.Enter{})
		r.member = nil
	})
}

// Leads tells whether this edge is the room's home.
func (s *Membership) Leads() bool {
	_, leads, _ := s.room.home()
	return leads
}

// HomeEdge is the room's home; empty while none is known.
func (s *Membership) HomeEdge() string {
	e, _, _ := s.room.home()
	return e.Home.ID
}

// Put makes an entry this edge's, or gives it another value, which nobody changes afterwards. It does not wait. A value beyond
// roster.MaxValue is refused. What was removed is put again with a higher generation only.
func (s *Membership) Put(key roster.Key, generation uint64, value []byte) error {
	if !key.Kind.Valid() || key.ID == "" || len(key.ID) > roster.MaxID || len(value) > roster.MaxValue {
		return fmt.Errorf("%w: %s %q of %d bytes", roster.ErrBad, key.Kind, key.ID[:min(len(key.ID), 40)], len(value))
	}
	s.event(directory.Put{Key: key, Generation: generation, Value: value})
	return nil
}

// Remove takes an entry back, unless another edge has it now. It does not wait.
func (s *Membership) Remove(key roster.Key) { s.event(directory.Remove{Key: key}) }

func (s *Membership) event(e directory.Event) {
	r := s.room
	_ = r.post(func() { // forgotten only after Close
		if r.member == s {
			r.handle(e)
		}
	})
}

// Resync has the part be told the whole, because it could not take something that it was told. It does not wait.
func (s *Membership) Resync() {
	r := s.room
	_ = r.post(func() {
		if r.member == s {
			s.part.Whole(r.core.Told())
		}
	})
}

// Note sends a text once to the part on the edge that has a participant, or to those of all other edges when to is empty. The notes of
// one edge arrive in their order, also through a change of home. It fails with ErrBusy while too many are on their way.
func (s *Membership) Note(ctx context.Context, to string, body []byte) error {
	if len(body) > meshproto.MaxBody || len(to) > roster.MaxID {
		return fmt.Errorf("%w: a note of %d bytes", roster.ErrBad, len(body))
	}
	r := s.room
	err := ErrClosed
	if e := r.do(ctx, func() {
		if r.member != s {
			return
		}
		if err = r.core.Room(len(body)); err == nil {
			r.mesh.counts.notes.Add(1)
			r.handle(directory.Note{To: to, Body: body})
		}
	}); e != nil {
		return e
	}
	return err
}

// Synced waits until the Part has been given all that the home knew when Synced was called, the whole room the first time; and, on the
// home itself, until it has been told to lead.
func (s *Membership) Synced(ctx context.Context) error {
	defer s.wish()()
	r := s.room
	done := make(chan struct{})
	_ = r.post(func() {
		if r.member != s {
			return
		}
		r.lastSync++
		r.syncs[r.lastSync] = done
		r.handle(directory.Sync{ID: r.lastSync})
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return ErrClosed
	}
}

// wish has the room followed until the function that it gives is called.
func (s *Membership) wish() func() {
	s.event(directory.Wish{On: true})
	return func() { s.event(directory.Wish{}) }
}

// Admit asks the home for a participant's place, and waits through a change of home until ctx ends. Owner and Request are filled in. It
// fails with ErrRoomFull, ErrTaken, ErrTokenUsed, ErrReplayed or ErrUnknownParticipant when the home refuses. The place is kept for some
// seconds, within which Put takes it.
func (s *Membership) Admit(ctx context.Context, a roster.Admission) (roster.Admitted, error) {
	defer s.wish()()
	m := s.room.mesh
	a.Owner = m.options.Self.ID
	a.Request = fmt.Sprintf("%s/%d/%d", a.Owner, m.options.Self.Boot, m.requests.Add(1))
	m.counts.admissions.Add(1)
	for {
		e, leads, changed, err := s.wait(ctx)
		if err != nil {
			return roster.Admitted{}, err
		}
		var reply meshproto.Reply
		if leads {
			reply = s.room.admit(ctx, a)
		} else {
			reply, err = m.ask(ctx, e.Home.ID, meshproto.Command{Room: s.room.name, Epoch: e, Admission: &a})
		}
		switch {
		case ctx.Err() != nil:
			return roster.Admitted{}, ctx.Err()
		case err != nil, temporary(reply.Refusal), reply.Refusal == "" && reply.Admitted == nil:
			s.rest(ctx, changed)
		case reply.Refusal != "":
			return roster.Admitted{}, refusalError(reply)
		default:
			return *reply.Admitted, nil
		}
	}
}

// Home has the part of the room's home carry out a command; this edge's own when it leads. It waits until there is a home. It fails
// with ErrUnsure when the answer got lost, and with *Failed and the words of the other part when that refused.
func (s *Membership) Home(ctx context.Context, body []byte) ([]byte, error) {
	defer s.wish()()
	for {
		e, leads, changed, err := s.wait(ctx)
		if err != nil {
			return nil, err
		}
		if leads {
			return s.command(ctx, body)
		}
		reply, err := s.room.mesh.ask(ctx, e.Home.ID, meshproto.Command{Room: s.room.name, Epoch: e, Body: full(body)})
		if again, answer, err := outcome(reply, err); !again {
			return answer, err
		}
		s.rest(ctx, changed)
	}
}

// Owner has the part of the edge that owns an entry carry out a command, this edge's own included. It fails with ErrGone when no edge
// has it, and with ErrUnreachable when that edge cannot be reached; otherwise as Home.
func (s *Membership) Owner(ctx context.Context, key roster.Key, body []byte) ([]byte, error) {
	defer s.wish()()
	r := s.room
	for {
		e, _, changed, err := s.wait(ctx)
		if err != nil {
			return nil, err
		}
		var entry roster.Entry
		var ok bool
		if err := r.do(ctx, func() { entry, ok = r.core.Get(key) }); err != nil {
			return nil, err
		}
		switch {
		case !ok:
			return nil, ErrGone
		case entry.Owner == r.mesh.options.Self.ID:
			return s.command(ctx, body)
		}
		reply, err := r.mesh.ask(ctx, entry.Owner, meshproto.Command{Room: r.name, Epoch: e, Target: &key, Body: full(body)})
		if again, answer, err := outcome(reply, err); !again {
			return answer, err
		}
		if err != nil && r.mesh.isLost(entry.Owner) {
			return nil, err
		}
		s.rest(ctx, changed)
	}
}

// command has this edge's own part carry one out.
func (s *Membership) command(ctx context.Context, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	return s.part.Command(ctx, s.room.mesh.options.Self.ID, body)
}

// full is a body that is not absent.
func full(body []byte) []byte {
	if body == nil {
		return []byte{}
	}
	return body
}

// outcome tells what became of a command, or that it is to be tried again because it was not carried out.
func outcome(reply meshproto.Reply, err error) (again bool, answer []byte, fault error) {
	switch {
	case errors.Is(err, ErrUnreachable):
		return true, nil, nil
	case err != nil:
		return false, nil, err
	case temporary(reply.Refusal):
		return true, nil, nil
	case reply.Refusal != "":
		return false, nil, refusalError(reply)
	}
	return false, reply.Body, nil
}

// wait gives the home once there is one.
func (s *Membership) wait(ctx context.Context) (e placement.Epoch, leads bool, changed <-chan struct{}, err error) {
	for {
		if s.ctx.Err() != nil {
			return e, false, nil, ErrClosed
		}
		if e, leads, changed = s.room.home(); !e.Zero() {
			return e, leads, changed, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return e, false, nil, ctx.Err()
		case <-s.ctx.Done():
			return e, false, nil, ErrClosed
		}
	}
}

// rest waits before something is tried again.
func (s *Membership) rest(ctx context.Context, changed <-chan struct{}) {
	timer := time.NewTimer(retryAfter)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
	case <-s.ctx.Done():
	}
}
