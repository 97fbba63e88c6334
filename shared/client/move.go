package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// A cluster's edges know each other's participants. A client whose edge is gone takes its place on another one, under its own id, and
// publishes its streams there under theirs (comeBack, resumeSomewhere). One whose edge is about to go does the same beforehand (move):
// the media over here go on until those over there have taken their place.

const (
	// firstTry is how long an edge has for an answer when there are others to be asked; it doubles with each round.
	firstTry = 2 * time.Second
	// formerTime is how long the media of before go on at most.
	formerTime = 15 * time.Second
	// overlap is how long they go on beside those that have taken their place: the others go over to these one by one, as word comes to
	// their edges and a picture to begin with.
	overlap = time.Second
	// moveTime is how long an edge is tried to be left that has not said when it stops.
	moveTime = time.Minute
)

var errStayed = errors.New("the connection changed meanwhile")

// former is what remains of the participation on the edge before: its media go on until others have taken their place.
type former struct {
	transport *transport // nil: none
	wire      *wire      // nil: it is lost
	timer     *alarm
	settled   bool // everything is there again
}

// edgesOf keeps those edges to which a client may go: addresses, and not without TLS if the portal has it.
func edgesOf(url string, edges []string) (list []string) {
	for _, e := range edges {
		scheme, host, ok := strings.Cut(e, "://")
		if !ok || !isHost(host) || scheme != "https" && (scheme != "http" || strings.HasPrefix(url, "https:")) {
			continue
		}
		if e != url && !slices.Contains(list, e) {
			list = append(list, e)
		}
	}
	return list
}

// resumeSomewhere makes one round of attempts to resume: on the edge of before, then on others, until one answers.
func (c *Conference) resumeSomewhere(ctx context.Context, patience time.Duration) error {
	var url, ticket string
	var edges []string
	if err := c.do(ctx, func() error {
		url, ticket, edges = c.state.url, c.state.ticket, c.state.edges
		return nil
	}); err != nil {
		return err
	}
	if len(edges) == 0 {
		return c.resume(ctx, url, portalproto.Relogin{Ticket: ticket})
	}
	var first error
	edges = append([]string{url}, edges...)
	most := len(edges) + maxRedirects
	for i := 0; i < len(edges); i++ {
		limited, cancel := context.WithTimeoutCause(ctx, patience, ErrTimeout)
		err := c.resume(limited, edges[i], c.restoring(ticket))
		cancel()
		if first == nil {
			first = err
		}
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case isFinal(err):
			return err
		}
		edges = withRedirects(edges, url, err, most)
	}
	return first
}

// restoring is the request for the client's place on an edge that need not know it.
func (c *Conference) restoring(ticket string) portalproto.Relogin {
	return portalproto.Relogin{Ticket: ticket, Restore: true, Migrate: true, Thin: c.options.Thin}
}

// isFinal tells whether a portal has refused to resume for a reason that time does not mend.
func isFinal(err error) bool {
	var refused *ServerError
	return errors.As(err, &refused) && refused.Request == portalproto.EventRelogin &&
		refused.Text != portalproto.ErrClusterUnavailable.Text && refused.Text != portalproto.ErrOverloaded.Text
}

// move follows the edge's word that it is about to stop, on the loop.
func (c *Conference) move(m portalproto.Move) {
	edges := edgesOf(c.state.url, m.Edges)
	w := c.state.wire
	if len(edges) == 0 || w == nil || c.state.leaving || c.state.moving || len(m.Ticket) > maxToken {
		return
	}
	c.state.moving, c.state.edges = true, edges
	c.setTicket(m.Ticket)
	within := m.Deadline
	if within <= 0 {
		within = moveTime
	}
	url := c.state.url
	if c.group.Go(func(ctx context.Context) { c.migrate(ctx, w, url, edges, m.Ticket, within) }) != nil {
		c.state.moving = false // the end has begun
	}
}

// migrate goes to one of the edges while the connection w, to url, still stands. When none takes the client in time it stays, until it is
// put out.
func (c *Conference) migrate(ctx context.Context, w *wire, url string, edges []string, ticket string, within time.Duration) {
	ctx, cancel := context.WithTimeoutCause(ctx, within, ErrTimeout)
	defer cancel()
	defer func() { _ = c.do(context.Background(), func() error { c.state.moving = false; return nil }) }()
	edges = slices.Clip(edges) // others have it too
	most := len(edges) + maxRedirects
	for round := 0; ctx.Err() == nil; round++ {
		for i := 0; i < len(edges) && ctx.Err() == nil; i++ {
			err := c.leaveFor(ctx, w, edges[i], ticket)
			if err == nil || isFinal(err) || errors.Is(err, errStayed) {
				return
			}
			edges = withRedirects(edges, url, err, most)
		}
		pause := time.NewTimer(backoff.Delay(round, rand.Float64()))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// leaveFor makes one attempt to go to an edge.
func (c *Conference) leaveFor(ctx context.Context, before *wire, url, ticket string) error {
	w, err := c.dial(ctx, url)
	if err != nil {
		return err
	}
	err = w.ask(ctx, portalproto.EventRelogin, c.restoring(ticket).Encode(), func(answer jsonvalue.Value) error {
		result, ok := portalproto.DecodeReloginResult(answer)
		switch {
		case c.state.wire != before || c.state.leaving:
			return errStayed
		case !ok || result.Moved == nil:
			return ErrProtocol
		}
		entered, ok := newRoom(*result.Moved)
		if !ok || entered.self.ID != c.state.room.self.ID {
			return ErrProtocol
		}
		c.pauseClocks()
		c.takeBack()
		c.movedTo(w, url, result, entered)
		return nil
	})
	if err != nil {
		c.closing.Go(func() { _ = w.socket.Close() })
	}
	return err
}

// movedTo takes over the participation as another edge has it, on the loop: the same participant, with nothing published or subscribed to
// from there yet.
func (c *Conference) movedTo(w *wire, url string, result portalproto.ReloginResult, r *room) {
	before := c.state.room
	c.setAside()
	c.state.room, c.state.url, c.state.wire, c.state.received = r, url, w, 0
	clear(c.state.opening)
	c.state.strays, c.state.orphans = nil, false
	c.admitted(result.Ticket, result.ICEServers, result.Edges)
	hadData := c.state.data.transport != ""
	c.granted("", result.Moved)
	c.tellState()
	for _, event := range changes(before, r) {
		c.emit(event)
	}
	if c.state.over {
		return
	}
	c.startOver(true, hadData)
	c.settleFormer()
	c.open(w)
}

// setAside lets the transport and the wire of before go on beside what comes, on the loop. Of two that have not been replaced yet the one
// whose media flow stays.
func (c *Conference) setAside() {
	t := c.state.transport
	f := &former{wire: c.state.wire}
	if t != nil {
		c.detach(t)
	}
	if old := c.state.former; old != nil && (t == nil || !t.connected) {
		c.closeTransport(t)
		t, old.transport = old.transport, nil
	}
	c.endFormer()
	f.transport = t
	f.timer = c.after(formerTime, c.endFormer)
	c.state.former = f
}

// detach takes a transport out of use without ending its media, on the loop. Nobody waits for its answers any more.
func (c *Conference) detach(t *transport) {
	t.dead, t.reason = true, ReasonGone
	close(t.gone)
	c.stop(t.patience)
	c.state.transport = nil
	c.state.jobs = slices.DeleteFunc(c.state.jobs, func(j job) bool { return j.transport == t })
}

// settleFormer ends what remains of the participation before soon after everything is there again, on the loop.
func (c *Conference) settleFormer() {
	f := c.state.former
	if f == nil || f.settled {
		return
	}
	for s := range c.state.sessions {
		if s.known() && !s.live {
			return
		}
	}
	f.settled = true
	c.stop(f.timer)
	f.timer = c.after(overlap, c.endFormer)
}

// endFormer ends it now, on the loop.
func (c *Conference) endFormer() {
	f := c.state.former
	if f == nil {
		return
	}
	c.state.former = nil
	c.stop(f.timer)
	c.closeTransport(f.transport)
	if f.wire != nil {
		c.closing.Go(func() { _ = f.wire.socket.Close() })
	}
}

// closeTransport closes the connection of a transport that was detached; nil is none.
func (c *Conference) closeTransport(t *transport) {
	if t != nil {
		c.closing.Go(func() { _ = t.peer.Close() })
	}
}
