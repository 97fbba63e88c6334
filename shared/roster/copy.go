package roster

import (
	"bytes"
	"slices"

	"portico/shared/placement"
)

// Delta is how the keys that changed in a directory from one sequence to another are now, or all of them.
type Delta struct {
	Epoch   placement.Epoch `json:"epoch"`
	From    uint64          `json:"from"`
	To      uint64          `json:"to"`
	Full    bool            `json:"full,omitempty"` // there is nothing else than what is put
	Put     []Entry         `json:"put,omitempty"`
	Removed []Gone          `json:"removed,omitempty"` // in a full one lately
}

// Empty tells that a Delta says nothing new.
func (d *Delta) Empty() bool { return !d.Full && d.From == d.To }

// Hearsay is what a Copy or an Index knows of the entries of others.
type Hearsay struct {
	Position Position `json:"position"`
	Entries  []Entry  `json:"entries,omitempty"`
	Gone     []Gone   `json:"gone,omitempty"`
}

// Position is how far a Copy is.
type Position struct {
	Epoch placement.Epoch `json:"epoch"`
	Seq   uint64          `json:"seq"`
}

// Copy is a follower's copy of a room's directory. It belongs to one goroutine.
type Copy struct {
	at      Position
	entries map[Key]*Entry
	gone    graves
	owners  map[string]int // entries of each
}

// NewCopy makes an empty one.
func NewCopy() *Copy {
	return &Copy{entries: map[Key]*Entry{}, gone: newGraves(copyGraves), owners: map[string]int{}}
}

// Change is the difference a Delta makes to one key. Was is nil when it is new, Now when it is no more; one of them is set.
type Change struct{ Was, Now *Entry }

// Foreign is the change as it concerns those who know what their own node has in its present life: the sides that are its own are left
// out. Not ok: nothing remains.
func (c Change) Foreign(self string, life uint64) (change Change, ok bool) {
	for _, side := range []**Entry{&c.Was, &c.Now} {
		if e := *side; e != nil && e.Owner == self && e.Life == life {
			*side = nil
		}
	}
	return c, c.Was != nil || c.Now != nil
}

// Apply takes what a home says. The changes are ordered by key. A gap says that something before it is missing: nothing was changed,
// and the home is to be asked from Position.
func (c *Copy) Apply(d Delta) (changes []Change, gap bool) {
	switch order := d.Epoch.Compare(c.at.Epoch); {
	case order < 0, order == 0 && d.To <= c.at.Seq:
		return nil, false
	case !d.Full && (order > 0 || d.From > c.at.Seq):
		return nil, true
	}
	for i := range d.Put {
		changes = c.put(&d.Put[i], changes)
	}
	for _, g := range d.Removed {
		changes = c.remove(g, changes)
	}
	if d.Full {
		named := make(map[Key]bool, len(d.Put))
		for i := range d.Put {
			named[d.Put[i].Key] = true
		}
		var rest []Gone
		for key, e := range c.entries {
			if !named[key] {
				rest = append(rest, e.Gone().presumed())
			}
		}
		order(nil, rest)
		for _, g := range rest {
			changes = c.remove(g, changes)
		}
	}
	c.at = Position{d.Epoch, d.To}
	slices.SortFunc(changes, func(a, b Change) int { return a.key().Compare(b.key()) })
	return changes, false
}

func (c Change) key() Key {
	if c.Now != nil {
		return c.Now.Key
	}
	return c.Was.Key
}

func (c *Copy) put(e *Entry, changes []Change) []Change {
	c.gone.remove(e.Key)
	was := c.entries[e.Key]
	if was != nil && same(was, e) {
		return changes
	}
	c.entries[e.Key] = e
	c.owners[e.Owner]++
	c.forget(was)
	return append(changes, Change{Was: was, Now: e})
}

func (c *Copy) remove(g Gone, changes []Change) []Change {
	c.gone.add(g)
	was := c.entries[g.Key]
	if was == nil {
		return changes
	}
	delete(c.entries, g.Key)
	c.forget(was)
	return append(changes, Change{Was: was})
}

func (c *Copy) forget(was *Entry) {
	if was == nil {
		return
	}
	if c.owners[was.Owner]--; c.owners[was.Owner] == 0 {
		delete(c.owners, was.Owner)
	}
}

func same(a, b *Entry) bool { return a.Gone() == b.Gone() && bytes.Equal(a.Value, b.Value) }

// Position is how far this Copy is.
func (c *Copy) Position() Position { return c.at }

// Get gives an entry.
func (c *Copy) Get(key Key) (Entry, bool) {
	if e := c.entries[key]; e != nil {
		return *e, true
	}
	return Entry{}, false
}

// Entries gives all, ordered by key.
func (c *Copy) Entries() []Entry { return sorted(c.entries) }

// Len is how many entries there are.
func (c *Copy) Len() int { return len(c.entries) }

// Owners gives the nodes that have entries, in order.
func (c *Copy) Owners() []string {
	list := make([]string, 0, len(c.owners))
	for id := range c.owners {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}

// Hearsay is what this Copy tells a new home.
func (c *Copy) Hearsay() Hearsay {
	return Hearsay{Position: c.at, Entries: c.Entries(), Gone: c.gone.list()}
}
