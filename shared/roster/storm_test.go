package roster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// home is the one a node obeys, if there is a way to it.
func (w *world) home(n *node) *node {
	for _, m := range w.nodes {
		if m.index != nil && m.obeys == n.obeys && w.connected(n, m) {
			return m
		}
	}
	return nil
}

func (w *world) join(n *node) {
	home := w.home(n)
	if home == nil {
		return
	}
	w.ids++
	id := fmt.Sprint("participant-", w.ids)
	a := Admission{Participant: id, Owner: n.id, Request: id, Generation: 1}
	if _, err := home.index.Admit(a, -1, w.now); err != nil {
		w.fault("%s is not admitted: %v", id, err)
		return
	}
	if _, err := home.index.Admit(a, -1, w.now); err != nil {
		w.fault("%s asks again: %v", id, err)
	}
	w.clients[id] = &client{at: n.i, life: n.life, generation: 1}
	w.put(n, Key{Participant, id}, 1)
	if w.rng.IntN(2) == 0 {
		w.put(n, Key{Stream, "stream of " + id}, 1)
	}
}

func (w *world) put(n *node, key Key, generation uint64) {
	n.value++
	if err := n.own.Put(key, generation, fmt.Appendf(nil, "%s %d", n.id, n.value)); err != nil {
		w.fault("%v", err)
	}
	if e, ok := n.own.Get(key); ok && e.Gone().Compare(w.top[key]) > 0 {
		w.top[key] = e.Gone()
	}
}

// someone gives a participant at random.
func (w *world) someone() (string, *client) {
	if len(w.clients) == 0 {
		return "", nil
	}
	ids := make([]string, 0, len(w.clients))
	for id := range w.clients {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	id := ids[w.rng.IntN(len(ids))]
	return id, w.clients[id]
}

// resume takes a participant to another node, whatever has become of the one before.
func (w *world) resume(id string, c *client, n *node) {
	home := w.home(n)
	if home == nil {
		return
	}
	a := Admission{Participant: id, Owner: n.id, Request: fmt.Sprint(w.now), Generation: c.generation + 1, Resume: true}
	before, had := home.index.Get(Key{Participant, id})
	answer, err := home.index.Admit(a, -1, w.now)
	if err != nil {
		return // not yet known here, or a promise made earlier: the client tries again
	}
	if had && answer.Before != before.Owner {
		w.fault("%s was at %s, not %s", id, before.Owner, answer.Before)
	}
	if w.rng.IntN(8) == 0 {
		return // it goes elsewhere meanwhile
	}
	c.at, c.life, c.generation = n.i, n.life, a.Generation
	w.put(n, Key{Participant, id}, c.generation)
	if w.rng.IntN(2) == 0 {
		w.put(n, Key{Stream, "stream of " + id}, c.generation)
	}
}

func (w *world) leave(id string, c *client) {
	n := w.nodes[c.at]
	if !n.up || n.paused || n.life != c.life {
		return
	}
	delete(w.clients, id)
	n.own.Remove(Key{Participant, id})
	n.own.Remove(Key{Stream, "stream of " + id})
}

// act is something participants do.
func (w *world) act() {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if !n.up || n.paused {
		return
	}
	id, c := w.someone()
	switch w.rng.IntN(6) {
	case 0, 1:
		w.join(n)
	case 2:
		if c != nil {
			w.leave(id, c)
		}
	case 3, 4:
		// An entry changes.
		if list := n.own.Entries(); len(list) > 0 {
			e := list[w.rng.IntN(len(list))]
			w.put(n, e.Key, e.Generation)
		}
	case 5:
		if c != nil && c.at != n.i {
			w.resume(id, c, n)
		}
	}
}

// upset does something to nodes and network.
func (w *world) upset() {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	switch w.rng.IntN(7) {
	case 0:
		for i := range w.nodes {
			w.side[i] = w.rng.IntN(2)
		}
	case 1:
		clear(w.side)
	case 2:
		if n.up = !n.up; n.up {
			w.start(n)
		}
	case 3:
		if n.up {
			n.paused = !n.paused
			n.next = max(n.next, w.now)
		}
	case 4:
		if n.up && !n.paused {
			w.elect(n)
		}
	default:
		w.loss, w.repeat = w.rng.Float64()/3, w.rng.Float64()/3
		w.delay = w.random(300*time.Millisecond) + 1
	}
}

// storm is half a minute of trouble, shorter than entries are kept, then quiet.
func storm(seed uint64, b bend) (faults []string) {
	w := newWorld(seed, 3+int(seed%4), b)
	for w.now < 30*time.Second {
		w.run(w.now + w.random(300*time.Millisecond))
		w.act()
		if w.rng.IntN(12) == 0 {
			w.upset()
		}
	}
	clear(w.side)
	w.loss, w.repeat, w.delay = 0, 0, 50*time.Millisecond
	for _, n := range w.nodes {
		if n.paused {
			n.paused, n.next = false, w.now
		}
	}
	if !slices.ContainsFunc(w.nodes, func(n *node) bool { return n.up }) {
		w.start(w.nodes[0])
	}
	w.run(w.now + 5*time.Second)
	if wrong := w.settled(false); wrong != "" {
		w.fault("settled: after 5 s: %s", wrong)
	}
	w.run(w.now + 100*time.Second) // and the time in which the home was stopped
	if wrong := w.settled(true); wrong != "" {
		w.fault("settled: after the grace time: %s", wrong)
	}
	w.replay()
	return w.faults
}

// replay checks that no generation is admitted again.
func (w *world) replay() {
	for _, n := range w.nodes {
		if n.index == nil || !n.up {
			continue
		}
		for i := 1; i <= w.ids; i++ {
			id := fmt.Sprint("participant-", i)
			e, there := n.index.Get(Key{Participant, id})
			_, err := n.index.Admit(Admission{Participant: id, Owner: "liar", Request: "again", Generation: e.Generation, Resume: true}, -1, w.now)
			if err == nil || there && err != ErrReplayed {
				w.fault("replay: generation %d of %s: %v", e.Generation, id, err)
			}
		}
	}
}

const seeds = 100

func TestStorms(t *testing.T) {
	for seed := range uint64(seeds) {
		if faults := storm(seed, bend{}); len(faults) > 0 {
			t.Errorf("seed %d: %s", seed, strings.Join(faults, "\n"))
		}
	}
}

// Each check of the storms fails when the rule behind it is broken.
func TestStormsNotice(t *testing.T) {
	for name, c := range map[string]struct {
		bend bend
		want string
	}{
		"no hearsay":           {bend{noHearsay: true}, "left"},
		"nobody yields":        {bend{noYield: true}, "settled"},
		"a Delta is cut":       {bend{apply: func(_ *Copy, d *Delta) { d.Put = d.Put[:len(d.Put)/2] }}, "settled"},
		"an Update is cut":     {bend{announce: func(u *Update) { u.Put = u.Put[:len(u.Put)/2] }}, "settled"},
		"old Deltas count":     {bend{before: func(c *Copy, d *Delta) { c.at.Seq = min(c.at.Seq, d.To-min(d.To, 1)) }}, "order"},
		"entries told twice":   {bend{apply: func(c *Copy, _ *Delta) { clear(c.entries) }}, "difference"},
		"old epochs count":     {bend{before: func(c *Copy, _ *Delta) { c.at.Epoch.Number = 0 }}, "order"},
		"an Update is so full": {bend{announce: func(u *Update) { u.Full = true }}, "left"},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(seeds) {
				if strings.Contains(strings.Join(storm(seed, c.bend), "\n"), c.want+":") {
					return
				}
			}
			t.Errorf("%d seeds, and nothing is noticed", seeds)
		})
	}
}
