package client

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
	"portico/shared/sioclient"
)

const (
	// probeTime is how long a connection that may be broken has to show that it works.
	probeTime = 5 * time.Second
	// minTry is what an attempt gets however late it is: timers of hidden pages may be slow by minutes.
	minTry = 5 * time.Second
	// minAge is what an attempt under way gets before somebody in a hurry makes it start again.
	minAge = time.Second
	// refreshRetry is the pause before a ticket that could not be refreshed is asked for again.
	refreshRetry = 10 * time.Second
)

// backoff paces the attempts after the first, which comes at once.
var backoff = sioclient.Backoff{Min: 500 * time.Millisecond, Max: 5 * time.Second}

var errSilent = errors.New("the server is silent")

// NetworkChanged tells that this machine's network has changed or come back: it does what Check does, and once the connection has shown
// that it works, the media look for a new way. It returns at once.
func (c *Conference) NetworkChanged() {
	c.post(func() {
		c.check()
		if c.state.transport != nil {
			c.wantRestart(c.state.transport)
		}
	})
}

// Check has a lost connection tried at once, and one that seems to be up show that it is: for programs that have slept. It returns at once.
func (c *Conference) Check() { c.post(c.check) }

func (c *Conference) check() {
	if c.state.over {
		return
	}
	if c.state.hurry != nil {
		c.state.hurry()
	}
	c.probe()
}

// probe has the portal answer, or else takes the connection for lost, on the loop.
func (c *Conference) probe() {
	w := c.state.wire
	if w == nil || c.state.probing || c.state.ticket == "" && c.options.Token == nil {
		return
	}
	c.state.probing = true
	c.askTicket(probeTime, func(err error) {
		c.state.probing = false
		if errors.Is(err, ErrTimeout) {
			c.lose(w, errSilent)
		}
		if c.state.wire != nil {
			c.endLost(true)
		}
		c.wakeNegotiator()
	})
}

// lose takes notice that a wire has ended, on the loop.
func (c *Conference) lose(w *wire, err error) {
	switch {
	case c.state.over || w != c.state.wire: // whoever opened it hears of it from its request
	case errors.Is(err, ErrDropped) && c.state.leaving:
		c.finish(nil)
	case errors.Is(err, ErrDropped) && !c.state.moving: // one that has asked the client to go may be gone before that knows it has arrived
		c.finish(ErrDropped)
	case c.state.room != nil && (c.state.ticket != "" || c.options.Token != nil && !c.state.leaving):
		c.goAway(w, err)
	case c.state.leaving:
		c.finish(nil)
	default:
		c.finish(withCause(ErrLost, err))
	}
}

// goAway begins the time without a connection.
func (c *Conference) goAway(w *wire, err error) {
	c.state.wire = nil
	c.closing.Go(func() { _ = w.socket.Close() })
	c.pauseClocks()
	c.setTicketTimer(0)
	c.takeBack()
	c.tellState()
	_ = c.group.Go(func(ctx context.Context) { c.comeBack(ctx, err) }) // refused only at the end
}

// comeBack gets the connection back, or ends the conference.
func (c *Conference) comeBack(ctx context.Context, cause error) {
	resumable, leaving := false, false
	if c.do(ctx, func() error {
		resumable = c.state.ticket != ""
		return nil
	}) != nil {
		return
	}
	err := cause
	if resumable {
		patience := firstTry / 2
		err = c.try(ctx, c.options.Timeouts.Resume, func(ctx context.Context) error {
			patience = min(2*patience, c.options.Timeouts.Login)
			return c.resumeSomewhere(ctx, patience)
		})
	}
	if err != nil && c.options.Token != nil {
		_ = c.do(ctx, func() error { leaving = c.state.leaving; return nil })
		if !leaving {
			err = c.try(ctx, c.options.Timeouts.Rejoin, c.rejoin)
		}
	}
	if err == nil {
		return
	}
	_ = c.do(ctx, func() error {
		if err = withCause(ErrLost, err); c.state.leaving {
			err = nil
		}
		c.finish(err)
		return nil
	})
}

// try makes attempts until one succeeds, the server says no to resuming, or the time is over. The error is that of the last attempt.
func (c *Conference) try(ctx context.Context, limit time.Duration, attempt func(ctx context.Context) error) error {
	deadline := time.Now().Add(limit)
	for n := 0; ; n++ {
		if n > 0 {
			pause := min(backoff.Delay(n-1, rand.Float64()), time.Until(deadline))
			if c.phase(ctx, pause, 0, func(ctx context.Context) error { <-ctx.Done(); return nil }) {
				n = 0
			}
		}
		var err error
		if c.phase(ctx, max(time.Until(deadline), minTry), minAge, func(ctx context.Context) error {
			err = attempt(ctx)
			return err
		}) {
			n = -1
			continue
		}
		switch {
		case err == nil || ctx.Err() != nil || isFinal(err):
			return err
		case !time.Now().Before(deadline):
			return err
		}
	}
}

// phase runs fn with a context that ends after the limit, or when somebody is in a hurry and the phase is older than age. It tells whether
// the hurry is why it did not succeed.
func (c *Conference) phase(ctx context.Context, limit, age time.Duration, fn func(ctx context.Context) error) (hurried bool) {
	limited, cancel := context.WithTimeoutCause(ctx, limit, ErrTimeout)
	defer cancel()
	begin := time.Now()
	var hurry atomic.Bool
	setHurry := func(fn func()) { _ = c.loop.Do(context.Background(), func() { c.state.hurry = fn }) }
	setHurry(func() {
		if time.Since(begin) >= age {
			hurry.Store(true)
			cancel()
		}
	})
	err := fn(limited)
	setHurry(nil)
	return hurry.Load() && (err != nil || age == 0) && ctx.Err() == nil
}

// resume makes one attempt to resume on an edge (portal protocol 5.4).
func (c *Conference) resume(ctx context.Context, url string, r portalproto.Relogin) error {
	w, err := c.dial(ctx, url)
	if err != nil {
		return err
	}
	err = w.ask(ctx, portalproto.EventRelogin, r.Encode(), func(answer jsonvalue.Value) error { return c.resumed(w, url, answer) })
	if err != nil {
		c.closing.Go(func() { _ = w.socket.Close() })
	}
	return err
}

// resumed takes the answer to relogin, on the loop: an object with everything that may have been missed, or a ticket alone, after which
// what was missed comes as ordinary notifications (portal protocol 5.6); or, from an edge that has taken the participant over, the room
// as it is.
func (c *Conference) resumed(w *wire, url string, answer jsonvalue.Value) error {
	result, ok := portalproto.DecodeReloginResult(answer)
	if !ok {
		return ErrProtocol
	}
	if result.Moved != nil {
		r, ok := newRoom(*result.Moved)
		if !ok || r.self.ID != c.state.room.self.ID {
			return ErrProtocol
		}
		c.movedTo(w, url, result, r)
		return nil
	}
	c.admitted(result.Ticket, result.ICEServers, result.Edges)
	c.grantedAgain(result.WebTransport, result.WebTransportHashes)
	c.state.wire = w
	c.tellState()
	slices.SortStableFunc(result.Messages, func(a, b portalproto.Missed) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, m := range result.Messages {
		if m.Seq <= c.state.received {
			continue
		}
		c.state.received = m.Seq
		if n, ok := portalproto.DecodeNotification(m.Event, m.Data); ok {
			c.notice(n)
		}
	}
	if t := c.state.transport; t != nil && !c.state.over {
		c.resumeTransport(t, answer.Kind() == jsonvalue.String)
	}
	if !c.state.over {
		c.open(w)
		c.endLost(true)
	}
	return nil
}

// setTicket keeps a ticket and sees to it that it is refreshed in time, on the loop.
func (c *Conference) setTicket(ticket string) {
	if len(ticket) > maxToken {
		ticket = ""
	}
	c.state.ticket = ticket
	if ticket != "" {
		c.setTicketTimer(refreshAfter(ticket))
	}
}

// setTicketTimer has the ticket refreshed after that time; 0: not at all.
func (c *Conference) setTicketTimer(after time.Duration) {
	if c.state.refresh != nil {
		c.state.refresh.Stop()
		c.state.refresh = nil
	}
	if after == 0 {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(after, func() {
		_ = c.loop.Post(func() {
			if c.state.refresh == timer && !c.state.over {
				c.askTicket(0, func(error) {})
			}
		})
	})
	c.state.refresh = timer
}

// askTicket asks for a new ticket, on the loop (portal protocol 5.2). Failures while the connection is lost need nothing: resuming brings a ticket.
func (c *Conference) askTicket(limit time.Duration, then func(error)) {
	err := c.submit(&request{name: portalproto.EventRefreshTicket, limit: limit, reply: func(answer jsonvalue.Value, err error) {
		var refused *ServerError
		switch {
		case err == nil && answer.Text() != "":
			c.setTicket(answer.Text())
		case errors.As(err, &refused): // this client is not one that may come back
		case c.state.wire != nil && !c.state.over:
			c.setTicketTimer(refreshRetry)
		}
		then(err)
	}})
	if err != nil {
		then(err)
	}
}
