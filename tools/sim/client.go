package main

import (
	"errors"
	"fmt"
	"time"

	"portico/shared/placement"
	"portico/shared/roster"
)

// client is somebody who wants to be in a room, and does what the clients of this project do: when its edge is gone it resumes on another
// one with its ticket, and joins anew when that does not work.
type client struct {
	w         *world
	i         int
	room      *room
	region    int
	publishes bool
	migrates  bool // it understands when its edge asks it to move

	id     string // of the participant; another after each login
	life   int    // logins
	wants  bool
	seat   *part // where it has its place; nil: nowhere
	before *node // where it had one
	ticket ticket
	edges  []string // others, as its edge has told
	trying *attempt
	moving bool

	unseated time.Duration // since when it has no place and wants one
	told     bool          // that it took too long
}

// enter has a client want to be in its room.
func (c *client) enter() {
	if c.wants {
		return
	}
	c.wants = true
	c.unseated, c.told = c.w.now, false
	c.w.check.watch(c.w, c)
	c.join(nil)
}

// exit has it leave.
func (c *client) exit() {
	if !c.wants {
		return
	}
	c.wants = false
	c.giveUp()
	if p := c.seat; p != nil {
		c.seat = nil
		id := c.id
		c.w.on(p.n, c.way(p.n), func() {
			if p.alive() && p.people[id] != nil && p.people[id].client == c {
				p.leave(id)
			}
		})
	}
}

// reaches tells whether a client and an edge have a way to each other.
func (c *client) reaches(n *node) bool { return c.w.side[c.region] == c.w.side[n.region] }

func (c *client) way(n *node) time.Duration {
	d := c.w.between(3*time.Millisecond, 30*time.Millisecond)
	if n.region != c.region {
		d += 60 * time.Millisecond
	}
	return d
}

func (c *client) giveUp() {
	if c.trying != nil {
		c.trying.over = true
		c.trying = nil
	}
	c.moving = false
}

// join gets a token, which names an edge, and logs in there.
func (c *client) join(avoid []string) {
	w := c.w
	c.giveUp()
	if !c.wants || c.seat != nil {
		return
	}
	later := func() { w.at(w.between(300*time.Millisecond, time.Second), func() { c.join(nil) }) }
	api := w.someNode(func(n *node) bool { return n.up && !n.paused && !n.leaving && c.reaches(n) })
	if api == nil {
		later()
		return
	}
	choice, err := api.choose(c.region, c.room, avoid)
	if err != nil {
		later()
		return
	}
	c.life++
	c.id = fmt.Sprintf("p%d.%d", c.i, c.life)
	tokenID := "t" + c.id
	created := api.calendar().Unix()
	c.try(w.byName[choice], func(a *attempt, done func(ticket, error)) { a.login(tokenID, created, done) }, func(err error) {
		if err == nil {
			if w.chance(0.1) {
				c.replayToken(tokenID, created)
			}
			return
		}
		w.stats.refusals++
		w.at(w.between(50*time.Millisecond, 300*time.Millisecond), func() {
			if c.trying == nil {
				c.join([]string{choice})
			}
		})
	})
}

// choose is where a token sends a participant.
func (n *node) choose(region int, r *room, avoid []string) (string, error) {
	w := n.w
	access := placement.Access{Region: regionName(region), Avoid: avoid}
	if p := n.rooms[r.name]; p != nil && p.entered {
		present := map[string]bool{}
		for _, e := range p.shadow {
			present[e.Owner] = true
		}
		present[n.name.ID] = len(p.own) > 0
		access.Present = func(id string) bool { return present[id] }
	}
	if w.bend.blind {
		for range 10 {
			if e := n.view[w.rng.IntN(len(n.view))]; e.Region == n.view[0].Region {
				return e.ID, nil
			}
		}
	}
	choice, err := placement.ChooseAccess(access, n.view, w.rng.IntN)
	return choice.ID, err
}

// lose notes that the connection to an edge is gone.
func (c *client) lose(p *part) {
	if c.seat != p {
		return
	}
	w := c.w
	c.seat, c.before = nil, p.n
	c.giveUp()
	if p.alive() {
		id := c.id
		w.on(p.n, w.random(time.Second), func() {
			if s := p.people[id]; s != nil && s.client == c && c.seat != p {
				p.dropped(id)
			}
		})
	}
	if !c.wants {
		return
	}
	c.unseated, c.told = w.now, false
	w.check.watch(w, c)
	c.resume(0, 0)
}

// resume tries the edges it knows with its ticket, the one before among them. It does not take the word of one for that of all: where it
// has its place already it learns from who gave it.
func (c *client) resume(tries, silent int) {
	w := c.w
	if !c.wants || c.seat != nil {
		return
	}
	if silent > 2 || tries >= 2*len(c.edges) || w.bend.noRetry && tries > 0 {
		if !w.bend.noRetry {
			c.join(nil)
		}
		return
	}
	n := w.byName[c.edges[tries%len(c.edges)]]
	t, id := c.ticket, c.id
	c.try(n, func(a *attempt, done func(ticket, error)) { a.resume(id, t, done) }, func(err error) {
		switch {
		case err == nil:
			if w.chance(0.5) {
				c.replay(id, t)
			}
			return
		case errors.Is(err, roster.ErrUnknownParticipant), errors.Is(err, errExpired):
			w.stats.unknown++
			w.at(w.random(200*time.Millisecond), func() { c.join(nil) })
			return
		case errors.Is(err, roster.ErrReplayed):
			w.stats.replays++
		case errors.Is(err, errGone):
			silent++
		}
		w.at(w.random(200*time.Millisecond), func() { c.resume(tries+1, silent) })
	})
}

// move is its edge asking it to go elsewhere: it keeps its place until it has the other.
func (c *client) move(from *part, tries int) {
	w := c.w
	if c.seat != from || c.trying != nil || !c.wants || !from.alive() || tries > 6 {
		return
	}
	choice, err := from.n.choose(c.region, c.room, []string{from.n.name.ID})
	if err != nil || choice == from.n.name.ID {
		w.at(500*time.Millisecond, func() { c.move(from, tries+1) })
		return
	}
	c.moving = true
	t, id := c.ticket, c.id // another edge's clock may be behind
	if p := from.people[id]; p != nil {
		t = from.n.mint(p.generation)
	}
	c.try(w.byName[choice], func(a *attempt, done func(ticket, error)) { a.resume(id, t, done) }, func(err error) {
		if c.moving = false; err != nil && err != roster.ErrUnknownParticipant && err != errExpired {
			w.at(w.between(200*time.Millisecond, 600*time.Millisecond), func() { c.move(from, tries+1) })
		}
	})
}

// try asks one edge, which has to answer in time.
func (c *client) try(n *node, ask func(a *attempt, done func(ticket, error)), done func(error)) {
	w := c.w
	c.giveUp()
	a := &attempt{client: c, id: c.id, n: n}
	c.trying = a
	finish := func(err error) {
		if a.over {
			return
		}
		a.over = true
		if c.trying == a {
			c.trying = nil
		}
		done(err)
	}
	if n.up && c.reaches(n) {
		w.on(n, c.way(n), func() {
			if !a.over {
				ask(a, func(t ticket, err error) {
					p := n.rooms[c.room.name]
					w.at(c.way(n), func() {
						switch {
						case err == nil && (a.over || !c.wants) && p.alive(): // nobody is there to take the place
							w.on(p.n, 0, func() {
								switch {
								case c.seat == p && c.id == a.id:
								case a.new: // nobody has been told
									p.leave(a.id)
								default:
									p.dropped(a.id)
								}
							})
						case err == nil && !a.over && c.reaches(n) && p.alive():
							c.sit(p, t)
							finish(nil)
						case err != nil:
							finish(err)
						}
					})
				})
			}
		})
	}
	w.at(patience, func() { finish(errGone) })
}

// sit has the client have its place.
func (c *client) sit(p *part, t ticket) {
	w := c.w
	if !w.bend.noRetry && c.seat == nil {
		w.stats.slowest = max(w.stats.slowest, w.now-w.seatSince(c.unseated, c.region))
	}
	c.seat, c.ticket = p, t
	c.edges = c.edges[:0]
	avoid := []string{p.n.name.ID}
	for range 3 {
		if choice, err := p.n.choose(c.region, c.room, avoid); err == nil {
			c.edges = append(c.edges, choice)
			avoid = append(avoid, choice)
		}
	}
	c.edges = append(c.edges, p.n.name.ID)
	if p.n.draining {
		w.at(w.random(time.Second), func() { c.move(p, 0) })
	}
}

// replay is somebody else trying a ticket that was used, anywhere.
func (c *client) replay(id string, t ticket) {
	w := c.w
	thief := &client{w: w, i: c.i, room: c.room, region: c.region}
	thief.id, thief.wants = id, false
	where := c.before
	w.logf("ticket %d of %s falls into other hands", t.generation, id)
	w.at(w.between(0, 12*time.Second), func() {
		n := w.someNode(func(n *node) bool { return n.up && !n.paused && thief.reaches(n) })
		if where != nil && where.up && w.chance(0.5) {
			n = where // which may be stopped, and find this first when it goes on
		}
		if n == nil {
			return
		}
		a := &attempt{client: thief, id: thief.id, n: n}
		w.at(4*patience, func() { a.over = true })
		w.on(n, thief.way(n), func() { a.resume(id, t, func(ticket, error) { a.over = true }) })
	})
}

func (c *client) replayToken(tokenID string, created int64) {
	w := c.w
	thief := &client{w: w, i: c.i, room: c.room, region: c.region, id: "thief of " + tokenID}
	w.at(w.between(0, 5*time.Second), func() {
		n := w.someNode(func(n *node) bool { return n.up && !n.paused && thief.reaches(n) })
		if n == nil {
			return
		}
		a := &attempt{client: thief, id: thief.id, n: n}
		w.at(patience, func() { a.over = true })
		w.on(n, thief.way(n), func() {
			a.login(tokenID, created, func(_ ticket, err error) {
				a.over = true
				if p := n.rooms[c.room.name]; err == nil && p != nil {
					w.on(n, time.Second, func() { p.leave(thief.id) })
				}
			})
		})
	})
}

// someNode gives a node at random.
func (w *world) someNode(fits func(*node) bool) *node {
	var list []*node
	for _, n := range w.nodes {
		if fits(n) {
			list = append(list, n)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[w.rng.IntN(len(list))]
}
