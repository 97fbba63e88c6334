package room

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"portico/shared/portalproto"
)

// Some things are known to nobody but the edge where they are: subscriptions, and how media come and go. Whoever wants something of them
// asks all edges of the room.

// maxAsking is how many edges are asked at a time.
const maxAsking = 32

// afar are the other edges that have participants of the room, by name, and by what they are reached.
func (m *machine) afar() map[string]elsewhere {
	edges := map[string]elsewhere{}
	for _, id := range m.order {
		edge := m.members[id].edge
		if _, known := edges[edge]; !known && edge != "" && edge != nowhere {
			edges[edge] = elsewhere{Key{ParticipantEntry, id}}
		}
	}
	return edges
}

// askEach asks edges the same, until take has enough of the answers, which come in any order and one at a time.
func (c *controller) askEach(ctx context.Context, edges []elsewhere, cmd command, take func(edge int, r reply, err error) (enough bool)) {
	ctx, cancel := context.WithTimeout(ctx, maxAsk)
	defer cancel()
	var mu sync.Mutex // guards next and enough, and is held by take
	next, enough := 0, false
	var asking sync.WaitGroup
	for range min(len(edges), maxAsking) {
		asking.Go(func() {
			mu.Lock()
			defer mu.Unlock()
			for next < len(edges) && !enough {
				at := next
				next++
				mu.Unlock()
				r, err := c.ask(ctx, edges[at], cmd)
				mu.Lock()
				if enough {
					return
				}
				if enough = take(at, r, err); enough {
					cancel()
				}
			}
		})
	}
	asking.Wait()
}

// atOwner has the edge of a subscription do what its participant asked for, an admin, and could not be done here, because none is.
func (c *controller) atOwner(ctx context.Context, participant string, cmd command) error {
	if !short(cmp.Or(cmd.session, cmd.subscription.ID), maxID) {
		return portalproto.ErrNoSubscription
	}
	var edges []elsewhere
	if err := c.run(ctx, func() error {
		if who := c.machine.local(participant); who != nil && who.participant.Role == adminRole && c.membership != nil {
			for _, at := range c.machine.afar() {
				edges = append(edges, at)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	var result error = portalproto.ErrNoSubscription
	c.askEach(ctx, edges, cmd, func(_ int, _ reply, err error) bool {
		switch {
		case err == nil:
			result = nil
			return true
		case err.Error() == portalproto.ErrNoSubscription.Error():
			return false
		case errors.Is(err, portalproto.ErrClusterUnavailable): // it may be there
			result = err
			return false
		}
		result = err
		return true
	})
	return result
}

// ownerHere is who has a subscription on this edge.
func (c *controller) ownerHere(ctx context.Context, session string) (owner string, err error) {
	err = c.run(ctx, func() error {
		s := c.machine.subs[session]
		if s == nil || c.machine.local(s.owner) == nil {
			return portalproto.ErrNoSubscription
		}
		owner = s.owner
		return nil
	})
	return owner, err
}

// performOnSubscription carries out what an admin on another edge wants of a subscription that is here.
func (c *controller) performOnSubscription(ctx context.Context, cmd command) error {
	if cmd.op == opUnsubscribe {
		owner, err := c.ownerHere(ctx, cmd.session)
		if err != nil {
			return err
		}
		return c.unsubscribeHere(ctx, owner, cmd.session)
	}
	owner, err := c.ownerHere(ctx, cmd.subscription.ID)
	if err != nil {
		return err
	}
	return c.controlHere(ctx, owner, cmd.subscription)
}
