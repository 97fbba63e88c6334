package room

import (
	"context"
	"errors"
	"time"

	"portico/shared/portalproto"
)

// elsewhere is the machine's word that another edge has to do something: the one that owns the key or, without one, the home.
type elsewhere struct{ owner Key }

func (e elsewhere) Error() string { return "has to be done on another edge" }

// part is a controller as its Membership sees it.
type part struct{ c *controller }

func (p part) Apply(changes []Change) {
	list := make([]news, 0, len(changes))
	weight := 1
	for _, change := range changes {
		if n, ok := readChange(change); ok {
			list = append(list, n)
		}
		if weight++; change.Now != nil {
			weight += len(change.Now.Value) >> 10
		}
	}
	p.senseless(len(changes) - len(list))
	p.heed(word{weight: weight, do: func(m *machine) {
		m.apply(list)
		p.c.stir()
	}})
}

// senseless tells the log of entries that say nothing.
func (p part) senseless(entries int) {
	if entries > 0 {
		p.c.log.Warn("another edge says what makes no sense", "entries", entries)
	}
}

// stir wakes those who wait for what other edges say, on the Loop.
func (c *controller) stir() {
	close(c.heard)
	c.heard = make(chan struct{})
}

func (p part) Whole(entries []Entry, leads bool) {
	list := make([]news, 0, len(entries))
	there := make(map[Key]bool, len(entries))
	for i := range entries {
		there[entries[i].Key] = true
		if n, ok := readChange(Change{Now: &entries[i]}); ok {
			list = append(list, n)
		}
	}
	p.senseless(len(entries) - len(list))
	if p.c.inbox.whole(func(m *machine, turned bool) {
		switch { // before it hears of mixes which are another's to make
		case !leads:
			m.lead(false, p.c.membership.HomeEdge())
		case turned:
			m.resign()
		}
		m.whole(list, there)
		if leads {
			m.lead(true, "")
		}
		p.c.stir()
	}) {
		p.remind()
	}
}

func (p part) Lead(on bool) {
	p.heed(word{weight: 1, home: true, do: func(m *machine) {
		m.lead(on, p.c.membership.HomeEdge())
		p.c.log.Debug("home of the room", "here", on)
	}})
}

func (p part) Note(body []byte) {
	n, err := decodeNote(body)
	switch {
	case err != nil:
		p.c.log.Warn("note of another edge makes no sense")
	case n.destroy:
		p.Destroyed()
	default:
		p.heed(word{bytes: len(body), do: func(m *machine) { m.tellText(n.from, n.to, n.message) }})
	}
}

func (p part) Moved(key Key) {
	p.heed(word{always: true, do: func(m *machine) { m.hasMoved(key) }})
}

func (p part) Destroyed() {
	if !p.c.inbox.end() {
		return
	}
	p.heed(word{always: true, do: func(m *machine) {
		p.c.inbox.ended()
		if m.idle() { // it has ended by itself
			p.c.left()
			return
		}
		p.c.destroyed(portalproto.ReasonOwnerLeave, true)
	}})
}

// patience is how long a command waits for what it is about: the word of a new stream may be slower than the command to mix it.
const patience = 2 * time.Second

func (p part) Command(ctx context.Context, from string, body []byte) ([]byte, error) {
	cmd, err := decodeCommand(body)
	if err != nil {
		p.c.log.Warn("command of another edge makes no sense", "edge", from)
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, maxAsk)
	defer cancel()
	r, err := p.c.executePatiently(ctx, cmd)
	var refused *portalproto.Error
	if err != nil && !errors.As(err, &refused) {
		err = portalproto.ErrClusterUnavailable
	}
	if cmd.op == opParticipants {
		r.participants, r.more = page(r.participants, participantSize)
	}
	if cmd.op == opStreams {
		r.streams, r.more = page(r.streams, streamSize)
	}
	if cmd.op == opQuality {
		r.quality = fitQuality(r.quality)
	}
	return encodeReply(r, err), nil
}

// executePatiently is execute for a command whose subject may be on its way.
func (c *controller) executePatiently(ctx context.Context, cmd command) (r reply, err error) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		var heard chan struct{}
		if err := c.run(ctx, func() error { heard = c.heard; return nil }); err != nil {
			return r, err
		}
		r, err = c.execute(ctx, cmd)
		if cmd.op != opControl || !errors.Is(err, portalproto.ErrNoStream) {
			return r, err
		}
		select {
		case <-heard:
		case <-deadline.C:
			return r, err
		case <-ctx.Done():
			return r, err
		}
	}
}

// execute carries out a command, here or where it has to be.
func (c *controller) execute(ctx context.Context, cmd command) (r reply, err error) {
	switch cmd.op {
	case opDestroy:
		return r, c.destroy(ctx, portalproto.ReasonOwnerLeave)
	case opSubscription, opUnsubscribe:
		return r, c.performOnSubscription(ctx, cmd)
	case opQuality:
		return c.quality(ctx, cmd)
	}
	if cmd.op != opChange || c.membership == nil || cmd.here {
		return c.routed(ctx, cmd)
	}
	// Mixing is the home's affair, pausing that of the edge that has the stream.
	first, last := cmd, cmd
	first.changes, last.changes = nil, nil
	for _, change := range cmd.changes {
		if _, pauses := change.(SetStatus); pauses {
			last.changes = append(last.changes, change)
		} else {
			first.changes = append(first.changes, change)
		}
	}
	if len(last.changes) == 0 {
		return c.routed(ctx, first)
	}
	mixed := reply{}
	if len(first.changes) > 0 {
		if mixed, err = c.routed(ctx, first); err != nil {
			return r, err
		}
	}
	if r, err = c.routed(ctx, last); err == nil && len(first.changes) > 0 {
		r.stream.InViews = mixed.stream.InViews
	}
	return r, err
}

// routed performs a command here, or asks the edge that can.
func (c *controller) routed(ctx context.Context, cmd command) (reply, error) {
	r, err := c.perform(ctx, cmd)
	var at elsewhere
	switch {
	case !errors.As(err, &at):
		return r, err
	case cmd.here || c.membership == nil: // who asked is not up to date
		return r, portalproto.ErrClusterUnavailable
	}
	return c.ask(ctx, at, cmd)
}

// perform carries out a command here. It fails with elsewhere when another edge has to.
func (c *controller) perform(ctx context.Context, cmd command) (r reply, err error) {
	if cmd.op == opDrop {
		return r, c.drop(ctx, cmd.participant)
	}
	err = c.run(ctx, func() (err error) {
		m := c.machine
		switch cmd.op {
		case opControl:
			if p := m.publication(cmd.control.ID); p != nil {
				r.region, err = m.controlled(p, cmd.control)
			} else {
				err = portalproto.ErrNoStream
			}
		case opUnpublish:
			p := m.publication(cmd.stream)
			if p == nil {
				return portalproto.ErrNoStream
			}
			err = m.unpublished(p, func() {})
			c.left()
		case opChange:
			r.stream, err = m.changeStream(cmd.stream, cmd.changes)
		case opDelete:
			err = m.deleteStream(cmd.stream)
			c.left()
		case opPermission:
			r.participant, err = m.changePermission(cmd.participant, cmd.permission)
		case opParticipants:
			list := m.participants()
			r.participants = list[min(cmd.from, len(list)):]
		case opStreams:
			list := m.list()
			r.streams = list[min(cmd.from, len(list)):]
		}
		return err
	})
	return r, err
}

// maxAsk bounds how long another edge is waited for when nobody else does.
const maxAsk = 5 * time.Second

// ask has another edge perform a command.
func (c *controller) ask(ctx context.Context, at elsewhere, cmd command) (reply, error) {
	cmd.here = true
	var answer []byte
	var err error
	if at.owner.ID == "" {
		answer, err = c.membership.Home(ctx, cmd.encode())
	} else {
		answer, err = c.membership.Owner(ctx, at.owner, cmd.encode())
	}
	if err != nil {
		if !errors.Is(err, context.Canceled) { // else nobody waits for it any more
			c.log.Warn("another edge of the room does not answer", "op", cmd.op, "error", err)
		}
		return reply{}, portalproto.ErrClusterUnavailable
	}
	r, err := decodeReply(answer)
	var refused *portalproto.Error
	if err != nil && !errors.As(err, &refused) {
		c.log.Warn("answer of another edge makes no sense", "op", cmd.op)
		return reply{}, portalproto.ErrClusterUnavailable
	}
	return r, err
}

// askLater is ask for what nobody waits for.
func (c *controller) askLater(cmd command) {
	c.done.Go(func() {
		ctx, cancel := context.WithTimeout(c.life, maxAsk)
		defer cancel()
		if _, err := c.ask(ctx, elsewhere{}, cmd); err != nil {
			c.log.Debug("home refused", "op", cmd.op, "error", err)
		}
	})
}

// admit has the home give a participant its place, and waits until the whole room is known here. here says that it has its place, on this
// edge.
func (c *controller) admit(ctx context.Context, j *Join) (here bool, err error) {
	limit := 0
	if err := c.run(ctx, func() error {
		limit = c.machine.participantLimit()
		if j.Resume {
			if here = c.machine.local(j.Participant) != nil; here && j.Generation > 0 {
				return portalproto.ErrClusterUnavailable
			}
			return nil
		}
		return c.machine.mayJoin(j)
	}); err != nil || here {
		return here, unreachable(err)
	}
	_, err = c.membership.Admit(ctx, Admission{
		Participant: j.Participant, Generation: max(j.Generation, 1), Limit: limit, Resume: j.Resume, TokenID: j.TokenID, Created: j.Created,
	})
	if err == nil {
		err = c.membership.Synced(ctx)
	}
	return false, unreachable(err)
}

// renew is Renew.
func (c *controller) renew(ctx context.Context, participant string, generation uint64) error {
	if c.membership == nil {
		return nil
	}
	if err := c.membership.Synced(ctx); err != nil {
		return unreachable(err)
	}
	return unreachable(c.run(ctx, func() error {
		if c.machine.local(participant) == nil {
			return portalproto.ErrClusterUnavailable
		}
		c.machine.renew(participant, generation)
		return nil
	}))
}

// unreachable keeps a refusal; everything else is that the room cannot be reached.
func unreachable(err error) error {
	var refused *portalproto.Error
	if err == nil || errors.As(err, &refused) || errors.Is(err, errClosed) {
		return err
	}
	return portalproto.ErrClusterUnavailable
}
