package roster

import (
	"bytes"
	"fmt"
	"slices"
)

// ownLog is how many changes of an Own are remembered one by one.
const ownLog = 1024

// Own is what an access edge has in one room. It belongs to one goroutine.
type Own struct {
	owner   string
	life    uint64
	entries map[Key]*Entry
	log     history[Gone] // the keys that changed; of removed ones what they were
}

// Update is what an Own says of itself: how the keys that changed from one version to another are now, or all of them.
type Update struct {
	Owner   string  `json:"owner"`
	Life    uint64  `json:"life"` // boot of the node
	From    uint64  `json:"from"`
	To      uint64  `json:"to"`
	Full    bool    `json:"full,omitempty"` // there is nothing else
	Put     []Entry `json:"put,omitempty"`
	Removed []Gone  `json:"removed,omitempty"`
}

// Empty tells that an Update says nothing new.
func (u *Update) Empty() bool { return !u.Full && u.From == u.To }

// NewOwn makes the Own of a node in one of its lives, which grow.
func NewOwn(owner string, life uint64) *Own {
	return &Own{owner: owner, life: life, entries: map[Key]*Entry{}, log: history[Gone]{limit: ownLog}}
}

// Put says how an entry is from now on, and keeps value. It fails with ErrBad beyond the limits.
func (o *Own) Put(key Key, generation uint64, value []byte) error {
	e := &Entry{Key: key, Owner: o.owner, Life: o.life, Generation: generation, Value: value}
	if err := e.check(); err != nil {
		return err
	}
	if was := o.entries[key]; was != nil {
		if generation < was.Generation {
			return fmt.Errorf("%w: generation %d after %d", ErrBad, generation, was.Generation)
		}
		if generation == was.Generation && bytes.Equal(value, was.Value) {
			return nil
		}
	}
	o.entries[key] = e
	o.log.add(e.Gone())
	return nil
}

// Remove says that an entry is no more; of one that is not there nothing.
func (o *Own) Remove(key Key) {
	if was := o.entries[key]; was != nil {
		delete(o.entries, key)
		o.log.add(was.Gone())
	}
}

// Yield gives an entry up when what stands, or stood, of its key is another's and goes before it. It tells whether it was so.
func (o *Own) Yield(standing Gone) bool {
	mine := o.entries[standing.Key]
	if mine == nil || mine.Gone().Compare(standing) >= 0 {
		return false
	}
	o.Remove(standing.Key)
	return true
}

// Outdone gives up what is another's, or was, by a Delta, and tells which keys these are.
func (o *Own) Outdone(d *Delta) (lost []Key) {
	for i := range d.Put {
		if o.Yield(d.Put[i].Gone()) {
			lost = append(lost, d.Put[i].Key)
		}
	}
	for _, g := range d.Removed {
		if o.Yield(g) {
			lost = append(lost, g.Key)
		}
	}
	return lost
}

// Get gives an entry.
func (o *Own) Get(key Key) (Entry, bool) {
	if e := o.entries[key]; e != nil {
		return *e, true
	}
	return Entry{}, false
}

// Entries gives all, ordered by key.
func (o *Own) Entries() []Entry { return sorted(o.entries) }

// Len is how many entries there are.
func (o *Own) Len() int { return len(o.entries) }

// Version counts the changes.
func (o *Own) Version() uint64 { return o.log.next }

// Since gives what has changed since a version, or everything when that is no longer known.
func (o *Own) Since(version uint64) Update {
	changed, ok := o.log.since(version)
	if !ok {
		return o.Full()
	}
	u := Update{Owner: o.owner, Life: o.life, From: version, To: o.log.next}
	for key, was := range last(changed) {
		if e := o.entries[key]; e != nil {
			u.Put = append(u.Put, *e)
		} else {
			u.Removed = append(u.Removed, was)
		}
	}
	order(u.Put, u.Removed)
	return u
}

// Full gives everything.
func (o *Own) Full() Update {
	return Update{Owner: o.owner, Life: o.life, To: o.log.next, Full: true, Put: o.Entries()}
}

// last gives the last of each key.
func last(list []Gone) map[Key]Gone {
	m := make(map[Key]Gone, len(list))
	for _, g := range list {
		m[g.Key] = g
	}
	return m
}

func sorted(entries map[Key]*Entry) []Entry {
	list := make([]Entry, 0, len(entries))
	for _, e := range entries {
		list = append(list, *e)
	}
	order(list, nil)
	return list
}

func order(put []Entry, removed []Gone) {
	slices.SortFunc(put, func(a, b Entry) int { return a.Key.Compare(b.Key) })
	slices.SortFunc(removed, func(a, b Gone) int { return a.Key.Compare(b.Key) })
}
