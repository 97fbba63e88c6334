package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"portico/shared/placement"
	"portico/shared/roster"
)

type (
	keyOf = roster.Key
	mark  = roster.Gone
)

func drainEvent(on bool) placement.Event { return placement.Drain{On: on} }

// build makes a cluster, before anything happens.
func build(cfg config) *world {
	w := &world{
		cfg: cfg, bend: cfg.bend, rng: rand.New(rand.NewPCG(cfg.seed, 0x73696d)), byName: map[string]*node{}, side: make([]int, cfg.regions),
		oneWay: map[[2]int]bool{}, regions: map[[2]int]bool{}, pairs: map[[2]int]*pair{}, store: store{used: map[string]bool{}},
		check: checker{led: map[string]map[placement.Epoch]string{}, used: map[string]use{}},
	}
	w.groups = []*group{{}}
	for i := range cfg.rooms {
		w.rooms = append(w.rooms, &room{
			i: i, name: fmt.Sprint("room-", i), disagreed: -1, top: map[keyOf]mark{}, removed: map[keyOf]mark{},
			admitted: map[string]map[uint64]*admittance{}, spoken: map[spoken]uint64{}, holders: map[string]*admittance{},
		})
	}
	// There is room for two thirds more than come.
	weights := 0
	for i := range cfg.edges {
		n := &node{w: w, i: i, region: i % cfg.regions, weight: 1 + w.rng.IntN(4), rate: 1, load: &load{}}
		n.name.ID = fmt.Sprintf("edge-%d", i)
		weights += n.weight
		w.nodes = append(w.nodes, n)
		w.byName[n.name.ID] = n
	}
	unit := max(8, (cfg.participants+cfg.counted)*5/3/weights+1)
	for _, n := range w.nodes {
		n.load.capacity = n.weight * unit * 2
	}
	for _, n := range w.nodes {
		n.rate, n.wall = n.skewed()
		w.start(n)
	}
	w.populate()
	w.measureAll()
	return w
}

func (w *world) populate() {
	cfg := w.cfg
	for i := range cfg.participants {
		c := &client{
			w: w, i: i, room: w.rooms[w.rng.IntN(len(w.rooms))], region: w.rng.IntN(cfg.regions), publishes: w.chance(0.5),
			migrates: w.chance(0.8), edges: []string{w.nodes[w.rng.IntN(len(w.nodes))].name.ID},
		}
		w.clients = append(w.clients, c)
		w.at(2*time.Second+w.random(arrival-4*time.Second), c.live)
	}
	size := max(1, cfg.counted/10_000)
	if cfg.counted > 0 {
		size = max(size, 50)
	}
	for left := cfg.counted; left > 0; left -= size {
		c := &cohort{w: w, size: min(size, left), region: w.rng.IntN(cfg.regions)}
		w.cohorts = append(w.cohorts, c)
		w.at(2*time.Second+w.random(arrival-2*time.Second), func() {
			c.unseated = w.now
			w.at(seatTime, c.late)
			c.seek(nil)
		})
	}
}

// live is what a client does all the time: it comes, changes something, goes.
func (c *client) live() {
	w := c.w
	switch {
	case !c.wants:
		c.enter()
	case w.chance(0.15):
		c.exit()
	case c.seat != nil && w.chance(0.15): // its network goes, and comes back
		if p := c.seat; w.chance(0.7) {
			c.edges = append([]string{p.n.name.ID}, c.edges...)
		}
		c.lose(c.seat)
	case c.seat != nil && c.seat.alive() && !c.seat.n.paused:
		if p, s := c.seat, c.seat.people[c.id]; s != nil && s.client == c && !s.gone {
			p.put(roster.Key{Kind: roster.Participant, ID: c.id}, s.generation)
		}
	}
	w.at(w.between(5*time.Second, 40*time.Second), c.live)
}

// simulate runs a cluster from its beginning to its end.
func simulate(cfg config) *world {
	w := build(cfg)
	w.run(20 * time.Second)
	for range cfg.rounds {
		if len(w.faults) > 0 {
			break
		}
		w.round()
	}
	return w
}

func (w *world) summary() string {
	seated := 0
	for _, c := range w.clients {
		if c.seat != nil {
			seated++
		}
	}
	return fmt.Sprintf("seed %d: %d edges, %.0f s, %d events; seated %d; gossip %.0f B/s; %v",
		w.cfg.seed, len(w.nodes), w.now.Seconds(), w.count, seated, w.gossip.worst, &w.stats)
}

// String tells all of it.
func (s *stats) String() string {
	return fmt.Sprintf("%d logins, %d resumed, %d on their edge, %d tickets refused, %d unknown, %d refusals, %d entries moved, %d strays, "+
		"%d stranded; %d claims, %d stale; %d kills, %d pauses, %d ways cut and %d between regions, %d partitions, %d drains, %d clocks, "+
		"%d mass restarts, %d slow stores, %d bad lines; a place at most after %v; rooms agreed at most after %v; %d changes told",
		s.logins, s.resumes, s.relogins, s.replays, s.unknown, s.refusals, s.moved, s.strays,
		s.stranded, s.leads, s.stale, s.kills, s.pauses, s.cuts, s.regionCuts, s.partitions, s.drains, s.skews,
		s.restarts, s.slowStores, s.badLines, s.slowest.Round(time.Millisecond), s.agreed.Round(time.Millisecond), s.changes)
}
