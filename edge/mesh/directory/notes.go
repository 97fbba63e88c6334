package directory

import (
	"maps"
	"slices"
	"time"

	"portico/shared/meshproto"
	"portico/shared/roster"
)

// notes is what a node knows of notes.
type notes struct {
	mine  []meshproto.Note // of this node, not acknowledged
	bytes int
	last  uint64
	heard map[string]count // of each origin, what was delivered here

	origins map[string]*origin // at the home
}

type count struct{ life, number uint64 }

// origin is a node whose notes the home passes on.
type origin struct {
	count   // the last that came
	done    uint64
	pending []*pending
}

type pending struct {
	note    *meshproto.Note
	waiting map[string]bool // followers that have not acknowledged it
}

func (n *notes) init() { n.heard, n.origins = map[string]count{}, map[string]*origin{} }

// Room tells whether a note of that many bytes can be taken: ErrBusy while too many are on their way.
func (r *Room) Room(bytes int) error {
	if len(r.notes.mine) >= maxNotes || r.notes.bytes+bytes > maxNoteBytes {
		return ErrBusy
	}
	return nil
}

// note takes one of this node's.
func (r *Room) note(to string, body []byte) {
	if !r.entered || r.Room(len(body)) != nil {
		return
	}
	// It goes on counting when the Room is made anew within one life of the node.
	r.notes.last = max(r.notes.last+1, uint64(r.now/time.Microsecond))
	r.notes.bytes += len(body)
	r.notes.mine = append(r.notes.mine, meshproto.Note{
		Origin: r.cfg.Self.ID, Life: r.cfg.Self.Boot, Number: r.notes.last, To: to, Body: body,
	})
	n := &r.notes.mine[len(r.notes.mine)-1]
	switch {
	case r.leads:
		r.absorb()
		r.route(n)
	case r.enrolled:
		r.flush() // what was put before the note is there before it
		r.say(r.session, meshproto.RoomMessage{Note: n})
	}
}

// noted drops this node's notes up to a number.
func (r *Room) noted(number uint64) {
	n := 0
	for n < len(r.notes.mine) && r.notes.mine[n].Number <= number {
		r.notes.bytes -= len(r.notes.mine[n].Body)
		n++
	}
	r.notes.mine = append([]meshproto.Note(nil), r.notes.mine[n:]...)
}

// accept delivers a note of another node, once.
func (r *Room) accept(n *meshproto.Note) {
	was, known := r.notes.heard[n.Origin]
	switch {
	case n.Life < was.life, n.Life == was.life && n.Number <= was.number, n.Origin == r.cfg.Self.ID:
		return
	case !known && len(r.notes.heard) >= maxOrigins:
		for id := range r.notes.heard {
			if r.edge(id) == nil {
				delete(r.notes.heard, id)
			}
		}
	}
	r.notes.heard[n.Origin] = count{n.Life, n.Number}
	if r.entered {
		r.effect(Deliver{Body: n.Body})
	}
}

// route passes a note on, at the home.
func (r *Room) route(n *meshproto.Note) {
	o := r.notes.origins[n.Origin]
	if o == nil || o.life < n.Life {
		o = &origin{count: count{life: n.Life}}
		r.notes.origins[n.Origin] = o
	}
	if n.Number <= o.number {
		if n.Number <= o.done {
			r.acknowledge(n.Origin, o)
		}
		return
	}
	o.number = n.Number
	copied := *n
	p := &pending{note: &copied, waiting: map[string]bool{}}
	o.pending = append(o.pending, p)
	target := ""
	if n.To != "" {
		e, _ := r.index.Get(roster.Key{Kind: roster.Participant, ID: n.To})
		target = e.Owner
	}
	if n.To == "" || target == r.cfg.Self.ID {
		r.accept(n)
	}
	for _, id := range r.audience() {
		f := r.followers[id]
		if id == n.Origin || n.To != "" && id != target {
			continue
		}
		p.waiting[id] = true
		if f.session != 0 && f.ready {
			r.say(f.session, meshproto.RoomMessage{Note: p.note})
		}
	}
	r.complete(n.Origin, o)
}

// repeat sends a follower what waits for it.
func (r *Room) repeat(f *follower) {
	for _, id := range sortedKeys(r.notes.origins) {
		for _, p := range r.notes.origins[id].pending {
			if p.waiting[f.id] {
				r.say(f.session, meshproto.RoomMessage{Note: p.note})
			}
		}
	}
}

// delivered takes a follower's acknowledgement.
func (r *Room) delivered(id string, m *meshproto.Noted) {
	o := r.notes.origins[m.Origin]
	if o == nil || o.life != m.Life {
		return
	}
	for _, p := range o.pending {
		if p.note.Number <= m.Number {
			delete(p.waiting, id)
		}
	}
	r.complete(m.Origin, o)
}

// spare has no note wait for a follower that is gone.
func (r *Room) spare(id string) {
	for _, from := range sortedKeys(r.notes.origins) {
		o := r.notes.origins[from]
		for _, p := range o.pending {
			delete(p.waiting, id)
		}
		r.complete(from, o)
	}
}

// complete acknowledges what nobody has to be waited for any more.
func (r *Room) complete(id string, o *origin) {
	n := 0
	for n < len(o.pending) && len(o.pending[n].waiting) == 0 {
		o.done = o.pending[n].note.Number
		n++
	}
	if n == 0 {
		return
	}
	o.pending = o.pending[n:]
	r.acknowledge(id, o)
}

func (r *Room) acknowledge(id string, o *origin) {
	if id == r.cfg.Self.ID {
		r.noted(o.done)
		return
	}
	if f := r.followers[id]; f != nil && f.session != 0 && f.life == o.life {
		r.say(f.session, meshproto.RoomMessage{Noted: &meshproto.Noted{Origin: id, Life: o.life, Number: o.done}})
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
