package roster

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Hearsay takes what a Copy held. It counts for owners that are not present, whose own word is missing; until it comes these entries
// are unconfirmed. What cannot stand is left out, and all of it when it is known already (Knows).
func (x *Index) Hearsay(h Hearsay, now time.Duration) {
	if x.Knows(h.Position) {
		return
	}
	for _, g := range h.Gone {
		if g.check() != nil {
			continue
		}
		if e := x.entries[g.Key]; e == nil || e.Gone() != g || !x.present(g.holder()) {
			x.renounce(g) // its owner has said so, or of a lower claim at least
		}
	}
	for i := range h.Entries {
		x.hear(h.Entries[i], now)
	}
	x.know(h.Position)
}

func (x *Index) hear(e Entry, now time.Duration) {
	g := e.Gone()
	if e.check() != nil || x.present(g.holder()) {
		return
	}
	if was, ok := x.gone.get(e.Key); ok && was.Compare(g) >= 0 {
		return
	}
	if was := x.entries[e.Key]; was != nil && was.Gone().Compare(g) >= 0 {
		return
	}
	o := x.owner(e.Owner)
	h := o.held(e.Life, now)
	if x.put(h, &e) == nil {
		h.heard = false // it may have less: its next word is to be a full one
	} else if len(h.keys) == 0 && !h.heard {
		x.forget(e.Owner, e.Life)
	}
}

func (x *Index) present(who holder) bool {
	o := x.owners[who.owner]
	if o == nil {
		return false
	}
	h := o.lives[who.life]
	return h != nil && h.present
}

// maxHeard bounds the positions that are remembered.
const maxHeard = 16

func (x *Index) know(p Position) {
	x.heard = slices.DeleteFunc(x.heard, func(q Position) bool { return q.Epoch == p.Epoch })
	if len(x.heard) < maxHeard {
		x.heard = append(x.heard, p)
	}
}

// Knows tells that hearsay of a Copy at this position would say nothing new: it is of this epoch, or as much of its epoch is known.
func (x *Index) Knows(p Position) bool {
	if p.Epoch == x.epoch || p.Epoch.Zero() {
		return true
	}
	return slices.ContainsFunc(x.heard, func(q Position) bool { return q.Epoch == p.Epoch && q.Seq >= p.Seq })
}

// Lost says that a node cannot be reached.
func (x *Index) Lost(id string, now time.Duration) {
	if o := x.owners[id]; o != nil {
		for _, h := range o.lives {
			h.lose(now)
		}
	}
}

// Back says that a node can be reached, and in which of its lives: those before are lost. It is asked to announce what it has.
func (x *Index) Back(id string, life uint64, now time.Duration) {
	o := x.owners[id]
	if o == nil {
		return
	}
	x.born(o, life, now)
	if h := o.lives[life]; h != nil && !h.present && !h.reachable {
		h.reachable, h.back = true, now
	}
}

// Withdrawn says that a node has left the room in good order: what its present life has goes at once.
func (x *Index) Withdrawn(id string, life uint64) {
	o := x.owners[id]
	if o == nil || o.lives[life] == nil {
		return
	}
	x.drop(o.lives[life], Gone.itself, func(Key) bool { return true })
	x.forget(id, life)
}

func (x *Index) forget(id string, life uint64) {
	o := x.owners[id]
	delete(o.lives, life)
	if len(o.lives) == 0 {
		delete(x.owners, id)
	}
}

// Absent gives the owners that are not present, in order: whoever runs the Index says Back or Lost of each, again and again.
func (x *Index) Absent() []Holder {
	var list []Holder
	x.eachAbsent(func(who holder, _ *held) { list = append(list, Holder{who.owner, who.life}) })
	return list
}

func (x *Index) eachAbsent(f func(holder, *held)) {
	var list []holder
	for id, o := range x.owners {
		for life, h := range o.lives {
			if !h.present {
				list = append(list, holder{id, life})
			}
		}
	}
	slices.SortFunc(list, func(a, b holder) int { return cmp.Or(cmp.Compare(a.owner, b.owner), cmp.Compare(a.life, b.life)) })
	for _, who := range list {
		f(who, x.owners[who.owner].lives[who.life])
	}
}

// asleep is the time between two calls of Expire from which on nobody was awake in between, and no owner could be heard.
const asleep = 3 * time.Second

// Expire removes what has waited for its owner for too long. It is called about once a second; time in which the node was stopped
// does not count.
func (x *Index) Expire(now time.Duration) {
	gap := now - x.expired
	x.expired = now
	if gap >= asleep {
		x.eachAbsent(func(_ holder, h *held) {
			h.absent += gap
			h.back += gap
		})
	}
	for _, id := range slices.Sorted(maps.Keys(x.reserved)) {
		if now > x.reserved[id].until {
			delete(x.reserved, id)
		}
	}
	x.eachAbsent(func(who holder, h *held) {
		over := now-h.absent > x.cfg.Grace
		if h.reachable {
			over = now-h.back > x.cfg.Confirm
		}
		if !over {
			return
		}
		// Who is about to take its place elsewhere does not leave now.
		x.drop(h, Gone.presumed, func(key Key) bool { return key.Kind != Participant || x.reserved[key.ID] == nil })
		if len(h.keys) == 0 {
			x.forget(who.owner, who.life)
		} else {
			h.heard = false
		}
	})
}
