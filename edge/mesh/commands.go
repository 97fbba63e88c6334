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

// Times of commands.
const (
	commandTime = 30 * time.Second // for a part to carry one out
	findTime    = 2 * time.Second  // for an anchor to answer
	maxHops     = 4                // from home to home
)

var refusalErrors = map[meshproto.Refusal]error{
	meshproto.RefusedFull: ErrRoomFull, meshproto.RefusedTaken: ErrTaken, meshproto.RefusedUsed: ErrTokenUsed,
	meshproto.RefusedReplayed: ErrReplayed, meshproto.RefusedUnknown: ErrUnknownParticipant, meshproto.RefusedNoRoom: ErrNoRoom,
	meshproto.RefusedTarget: ErrGone,
}

// temporary tells of refusals that another home, or the same one soon, may not repeat.
func temporary(r meshproto.Refusal) bool {
	switch r {
	case meshproto.RefusedStale, meshproto.RefusedNotYet, meshproto.RefusedNoRoom, meshproto.RefusedTarget:
		return true
	}
	return false
}

func refusalError(reply meshproto.Reply) error {
	if err := refusalErrors[reply.Refusal]; err != nil {
		return err
	}
	return &Failed{Text: reply.Text}
}

// Failed is what a part on another edge said when it did not carry a command out. It is ErrRefused.
type Failed struct{ Text string }

func (f *Failed) Error() string { return f.Text }

// Unwrap gives ErrRefused.
func (f *Failed) Unwrap() error { return ErrRefused }

// ask sends a command to a node, and waits for the reply.
func (m *Mesh) ask(ctx context.Context, node string, c meshproto.Command) (meshproto.Reply, error) {
	m.counts.commands.Add(1)
	c.Number = 1
	b, err := meshproto.EncodeCommand(c)
	if err != nil {
		return meshproto.Reply{}, err
	}
	opening, cancel := context.WithTimeout(ctx, openTime)
	conversation, err := m.net.Open(opening, node, meshproto.ServiceCommand, b)
	cancel()
	if err != nil {
		if ctx.Err() != nil {
			return meshproto.Reply{}, ctx.Err()
		}
		return meshproto.Reply{}, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer conversation.Close()
	b, err = conversation.Receive(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return meshproto.Reply{}, ctx.Err()
		}
		m.strange(node, err)
		return meshproto.Reply{}, ErrUnsure
	}
	reply, err := meshproto.DecodeReply(b)
	if err == nil && reply.Number != c.Number {
		err = fmt.Errorf("%w: a reply to another command", meshproto.ErrMessage)
	}
	if err != nil {
		m.strange(node, err)
		return meshproto.Reply{}, ErrUnsure
	}
	return reply, nil
}

// serveCommand answers the commands of a peer.
func (m *Mesh) serveCommand(ctx context.Context, from string, c call, message []byte) {
	for {
		command, err := meshproto.DecodeCommand(message)
		if err != nil {
			m.strange(from, err)
			return
		}
		m.counts.served.Add(1)
		reply := m.answer(ctx, from, &command)
		reply.Number = command.Number
		b, err := meshproto.EncodeReply(reply)
		if err != nil { // the part has said too much
			b, err = meshproto.EncodeReply(meshproto.Reply{Number: command.Number, Refusal: meshproto.RefusedFailed, Text: err.Error()})
		}
		if err != nil || c.Send(b) != nil {
			return
		}
		if message, err = c.Receive(ctx); err != nil {
			m.strange(from, err)
			return
		}
	}
}

func (m *Mesh) answer(ctx context.Context, from string, c *meshproto.Command) meshproto.Reply {
	r := m.room(c.Room, false)
	if r == nil {
		return meshproto.Reply{Refusal: meshproto.RefusedNoRoom}
	}
	if c.Find {
		var standing placement.Epoch
		var alive bool
		if r.do(ctx, func() { standing, alive = r.core.Standing(m.now()) }) != nil || !alive {
			return meshproto.Reply{Refusal: meshproto.RefusedNoRoom}
		}
		return meshproto.Reply{Standing: standing}
	}
	if c.Admission != nil {
		return r.admitFor(ctx, from, c)
	}
	s, reply := r.judge(ctx, from, c)
	if s == nil {
		return reply
	}
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	body, err := s.part.Command(ctx, from, c.Body)
	if err != nil {
		return meshproto.Reply{Refusal: meshproto.RefusedFailed, Text: err.Error()}
	}
	return meshproto.Reply{Body: body}
}

// judge gives the part that carries a command out, or the reply of one that is not obeyed.
func (r *room) judge(ctx context.Context, from string, c *meshproto.Command) (s *Membership, reply meshproto.Reply) {
	err := r.do(ctx, func() {
		ok, standing, effects := r.core.Command(placement.Name{ID: from}, c.Epoch, c.Target != nil, r.mesh.now())
		r.carry(effects)
		switch {
		case !ok:
			r.mesh.counts.stale.Add(1)
			reply = meshproto.Reply{Refusal: meshproto.RefusedStale, Standing: standing}
		case c.Target != nil && !r.core.Owns(*c.Target):
			reply = meshproto.Reply{Refusal: meshproto.RefusedTarget}
		case r.member == nil:
			reply = meshproto.Reply{Refusal: meshproto.RefusedNotYet}
		default:
			s = r.member
		}
	})
	if err != nil {
		reply = meshproto.Reply{Refusal: meshproto.RefusedNotYet}
	}
	return s, reply
}

// admitFor answers another edge's admission.
func (r *room) admitFor(ctx context.Context, from string, c *meshproto.Command) (reply meshproto.Reply) {
	ok := false
	if err := r.do(ctx, func() {
		var effects []directory.Effect
		ok, reply.Standing, effects = r.core.Command(placement.Name{ID: from}, c.Epoch, false, r.mesh.now())
		r.carry(effects)
	}); err != nil || !ok {
		r.mesh.counts.stale.Add(1)
		reply.Refusal = meshproto.RefusedStale
		return reply
	}
	a := *c.Admission
	a.Owner = from
	return r.admit(ctx, a)
}

// admit gives a place, at the home.
func (r *room) admit(ctx context.Context, a roster.Admission) (reply meshproto.Reply) {
	m := r.mesh
	limit := m.options.Limit(r.name)
	if err := r.do(ctx, func() {
		if !r.core.Settled() { // it may not know yet who is there, and which tokens were used
			reply.Refusal = meshproto.RefusedNotYet
			return
		}
		if a.Token != "" && !m.tokens.use(a.Token, a.Request, time.Unix(a.Created, 0), m.options.Now()) {
			reply.Refusal = meshproto.RefusedUsed
			return
		}
		if a.Token != "" {
			r.used(&a)
		}
		admitted, err := r.core.Admit(a, limit, m.now())
		if err == nil {
			reply.Admitted = &admitted
			return
		}
		reply.Refusal, reply.Text = refusal(err), err.Error()
	}); err != nil {
		reply = meshproto.Reply{Refusal: meshproto.RefusedNotYet}
	}
	return reply
}

func refusal(err error) meshproto.Refusal {
	if err == roster.ErrNotYet {
		return meshproto.RefusedNotYet
	}
	for r, e := range refusalErrors {
		if errors.Is(err, e) {
			return r
		}
	}
	return meshproto.RefusedFailed
}

// Command has the home of a room carry out a command, for an edge that may not have the room: the home is asked of the anchors. It
// fails with ErrNoRoom when there is none.
func (m *Mesh) Command(ctx context.Context, name string, body []byte) ([]byte, error) {
	home := m.find(ctx, name)
	for range maxHops {
		if home == "" {
			break
		}
		var reply meshproto.Reply
		var err error
		c := meshproto.Command{Room: name, Body: full(body)}
		if home == m.options.Self.ID {
			reply = m.answer(ctx, home, &c)
		} else {
			reply, err = m.ask(ctx, home, c)
		}
		again, answer, err := outcome(reply, err)
		if !again {
			return answer, err
		}
		switch {
		case reply.Refusal == meshproto.RefusedStale && reply.Standing.Home.ID != home:
			home = reply.Standing.Home.ID
		default:
			timer := time.NewTimer(retryAfter)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return nil, ctx.Err()
			}
			home = m.find(ctx, name)
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, ErrNoRoom
}

// find gives the home of a room: as this edge knows it, or as an anchor does.
func (m *Mesh) find(ctx context.Context, name string) string {
	if r := m.room(name, false); r != nil {
		var standing placement.Epoch
		var alive bool
		if r.do(ctx, func() { standing, alive = r.core.Standing(m.now()) }) == nil && alive {
			return standing.Home.ID
		}
	}
	m.mu.Lock()
	anchors := placement.Anchors(name, m.view)
	m.mu.Unlock()
	var best placement.Epoch
	for _, id := range anchors {
		if id == m.options.Self.ID {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, findTime)
		reply, err := m.ask(asking, id, meshproto.Command{Room: name, Find: true})
		cancel()
		if err == nil && reply.Refusal == "" && reply.Standing.Compare(best) > 0 {
			best = reply.Standing
		}
	}
	return best.Home.ID
}
