package loadtest

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"portico/shared/jsonvalue"
	"portico/tools/portico/manage"
)

// crowd is the participants of one scenario.
type crowd struct {
	scenario Scenario
	host     *host
	feedback bool
	sample   int
	rate     atomic.Uint64 // of video, in percent
	lateness lateness

	rooms   []place
	streams atomic.Int64  // that something has come of
	change  chan struct{} // one token: streams or failed has changed

	mu      sync.Mutex // guards the fields below
	members []*participant
	joined  int
	failed  int
	errs    []error // the first ones
}

// place is a room on an edge.
type place struct {
	api  *manage.Client
	room string
}

const maxErrors = 5 // that are remembered

func newCrowd(s Scenario, o *Options, edges []manage.Settings, pollers int) (*crowd, error) {
	h, err := newHost(pollers, addressOf(edges[0].URL))
	if err != nil {
		return nil, err
	}
	c := &crowd{scenario: s, host: h, feedback: o.Feedback, sample: o.Sample, change: make(chan struct{}, 1)}
	c.rate.Store(uint64(o.Rates[0]*100 + .5))
	return c, nil
}

// addressOf is the IP address in an edge's URL; invalid when it is a name.
func addressOf(text string) netip.Addr {
	u, err := url.Parse(text)
	if err != nil {
		return netip.Addr{}
	}
	a, _ := netip.ParseAddr(u.Hostname())
	return a
}

// open creates the rooms, spread over the edges.
func (c *crowd) open(ctx context.Context, edges []manage.Settings) error {
	apis := make([]*manage.Client, len(edges))
	for i, e := range edges {
		var err error
		if apis[i], err = manage.New(e); err != nil {
			return err
		}
	}
	noMix := jsonvalue.OfObject(jsonvalue.M("views", jsonvalue.OfArray()))
	for i := range c.scenario.Rooms {
		api := apis[i%len(apis)]
		room, err := api.CreateRoom(ctx, "load-"+strconv.Itoa(i+1), noMix)
		if err != nil {
			return fmt.Errorf("cannot create a room: %w", err)
		}
		c.rooms = append(c.rooms, place{api, room.Get("_id").Text()})
	}
	return nil
}

// join lets everyone in, publishers first, rate of them a second. It returns when all have had their turn.
func (c *crowd) join(ctx context.Context, rate float64) error {
	var entering sync.WaitGroup
	defer entering.Wait()
	ticker := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer ticker.Stop()
	enter := func(room place, publishes, receives bool) error {
		p := newParticipant(c, publishes, receives)
		c.mu.Lock()
		c.members = append(c.members, p)
		user := "load-" + strconv.Itoa(len(c.members))
		c.mu.Unlock()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		entering.Go(func() { c.enter(ctx, p, room, user) })
		return nil
	}
	for _, room := range c.rooms {
		for range c.scenario.Publishers {
			if err := enter(room, true, c.scenario.Mutual); err != nil {
				return err
			}
		}
	}
	for range c.scenario.Subscribers { // room after room
		for _, room := range c.rooms {
			if err := enter(room, false, true); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *crowd) enter(ctx context.Context, p *participant, room place, user string) {
	token, err := room.api.CreateToken(ctx, room.room, user, "presenter", manage.Place{})
	if err != nil {
		err = fmt.Errorf("cannot get a token: %w", err)
	} else {
		err = p.join(ctx, token)
	}
	if err != nil {
		if ctx.Err() == nil {
			c.fail(err)
		}
		return
	}
	c.mu.Lock()
	c.joined++
	c.mu.Unlock()
	c.signal()
}

// fail remembers that something has gone wrong.
func (c *crowd) fail(err error) {
	c.mu.Lock()
	c.failed++
	if len(c.errs) < maxErrors {
		c.errs = append(c.errs, err)
	}
	c.mu.Unlock()
	c.signal()
}

// failures are the first things that have gone wrong, those that are alike once.
func (c *crowd) failures() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []string
	for _, err := range c.errs {
		if text := err.Error(); !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list
}

// flowed is told when there is a stream more that something has come of.
func (c *crowd) flowed() {
	c.streams.Add(1)
	c.signal()
}

func (c *crowd) signal() {
	select {
	case c.change <- struct{}{}:
	default:
	}
}

// state is how far joining has come.
type state struct {
	joined, failed, streams int
}

func (c *crowd) state() state {
	c.mu.Lock()
	defer c.mu.Unlock()
	return state{c.joined, c.failed, int(c.streams.Load())}
}

// flow waits, after join, until everything that should flow does. Without that it returns when patience is over, or nobody is there.
func (c *crowd) flow(ctx context.Context, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for at := c.state(); at.joined > 0 && at.streams < c.scenario.streams(); at = c.state() {
		select {
		case <-c.change:
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		}
	}
	return nil
}

// everyone is the participants so far.
func (c *crowd) everyone() []*participant {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[:len(c.members):len(c.members)]
}

// peers calls f for each, with the mu of its poller; not for those without a socket yet.
func (c *crowd) peers(f func(*participant, *peer)) {
	for _, p := range c.everyone() {
		p.mu.Lock()
		list := p.peers[:len(p.peers):len(p.peers)]
		p.mu.Unlock()
		for _, at := range list {
			if mu := at.guard(); mu != nil {
				mu.Lock()
				f(p, at)
				mu.Unlock()
			}
		}
	}
}

// leave ends every participant, some at a time, and closes the rooms.
func (c *crowd) leave(ctx context.Context) {
	var leaving sync.WaitGroup
	turns := make(chan struct{}, 32)
	for _, p := range c.everyone() {
		turns <- struct{}{}
		leaving.Go(func() {
			p.leave(ctx)
			<-turns
		})
	}
	leaving.Wait()
	for _, r := range c.rooms {
		_ = r.api.DeleteRoom(ctx, r.room) // an edge of our own forgets them all
	}
	c.host.close()
}

// lateness is how far behind their timetable the publishers are. The zero value is ready.
type lateness struct {
	mu sync.Mutex // guards h
	h  histogram
}

func (l *lateness) record(ns int64) {
	l.mu.Lock()
	l.h.record(time.Duration(ns))
	l.mu.Unlock()
}

// take is what was recorded since the last call.
func (l *lateness) take() Percentiles {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.h.percentiles()
	l.h = histogram{}
	return p
}
