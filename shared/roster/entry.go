package roster

import (
	"cmp"
	"errors"
	"fmt"
)

// Kind is what an entry is of.
type Kind uint8

// The kinds of entries.
const (
	Participant Kind = iota + 1
	Stream
	Mix
)

var kindNames = [...]string{Participant: "participant", Stream: "stream", Mix: "mix"}

// Valid tells whether there is such a kind.
func (k Kind) Valid() bool { return k >= Participant && k <= Mix }

// String is the kind as messages write it.
func (k Kind) String() string {
	if !k.Valid() {
		return "none"
	}
	return kindNames[k]
}

// MarshalText writes the kind. It fails when there is no such kind.
func (k Kind) MarshalText() ([]byte, error) {
	if !k.Valid() {
		return nil, fmt.Errorf("%w: kind %d", ErrBad, k)
	}
	return []byte(kindNames[k]), nil
}

// UnmarshalText reads a kind. It fails when there is no such kind.
func (k *Kind) UnmarshalText(text []byte) error {
	for i := Participant; i <= Mix; i++ {
		if string(text) == kindNames[i] {
			*k = i
			return nil
		}
	}
	return fmt.Errorf("%w: kind", ErrBad)
}

// Key names an entry of a room.
type Key struct {
	Kind Kind   `json:"kind"`
	ID   string `json:"id"`
}

// Compare orders keys.
func (k Key) Compare(l Key) int { return cmp.Or(cmp.Compare(k.Kind, l.Kind), cmp.Compare(k.ID, l.ID)) }

// Entry is one thing in a room, as its owner tells. Nobody changes the bytes of Value, which Copies and Deltas share.
type Entry struct {
	Key
	Owner      string `json:"owner,omitempty"` // node id
	Life       uint64 `json:"life,omitempty"`  // the owner's boot
	Generation uint64 `json:"generation"`
	Value      []byte `json:"value,omitempty"` // for the owner and its like to read
}

// Gone is what remains of an entry that was removed, or of one that gave way.
type Gone struct {
	Key
	Owner      string `json:"owner,omitempty"`
	Life       uint64 `json:"life,omitempty"`
	Generation uint64 `json:"generation"`
}

// Gone is the entry without its value.
func (e *Entry) Gone() Gone {
	return Gone{Key: e.Key, Owner: e.Owner, Life: e.Life, Generation: e.Generation}
}

// Compare orders claims to one key: of two entries the greater stands.
func (g Gone) Compare(h Gone) int {
	return cmp.Or(cmp.Compare(g.Generation, h.Generation), cmp.Compare(g.Owner, h.Owner), cmp.Compare(g.Life, h.Life))
}

// itself and presumed are how an entry is remembered: on the word of its owner, or because that was silent for too long. Then what
// others have heard of the same entry lately may still be right, and only lower claims are kept out.
func (g Gone) itself() Gone { return g }
func (g Gone) presumed() Gone {
	if g.Life > 0 {
		g.Life--
	}
	return g
}

func (g Gone) check() error {
	e := Entry{Key: g.Key, Owner: g.Owner}
	return e.check()
}

func (g Gone) holder() holder { return holder{g.Owner, g.Life} }

// Limits of an entry.
const (
	MaxValue = 64 << 10 // bytes
	MaxID    = 512      // bytes of an id, or of a node's
)

// Errors of Index and Own.
var (
	ErrBad     = errors.New("roster: this cannot be")                // of an entry or update that no honest owner sends
	ErrTooMany = errors.New("roster: no room for more entries")      // what was too much is left out
	ErrStale   = errors.New("roster: a later life of the node came") // nothing was changed

	// Of admissions.
	ErrRoomFull           = errors.New("the room is full")
	ErrTaken              = errors.New("there is a participant with this id")
	ErrUnknownParticipant = errors.New("there is no such participant")
	ErrReplayed           = errors.New("this ticket has been used")
	ErrNotYet             = errors.New("the room's directory is not yet complete") // ask again
)

func (e *Entry) check() error {
	switch {
	case !e.Kind.Valid() || e.ID == "" || len(e.ID) > MaxID:
		return fmt.Errorf("%w: key %q", ErrBad, e.ID[:min(len(e.ID), 40)])
	case e.Owner == "" || len(e.Owner) > MaxID:
		return fmt.Errorf("%w: an entry of nobody", ErrBad)
	case len(e.Value) > MaxValue:
		return fmt.Errorf("%w: a value of %d bytes", ErrBad, len(e.Value))
	}
	return nil
}

// history is the last things of a row that is counted from 1.
type history[T any] struct {
	items []T
	next  uint64 // number of the last one
	limit int
}

func (h *history[T]) add(item T) {
	h.next++
	if len(h.items) >= 2*h.limit {
		h.items = append(h.items[:0], h.items[len(h.items)-h.limit+1:]...)
	}
	h.items = append(h.items, item)
}

// since gives what came after number n; not ok when it is no longer known, or never was.
func (h *history[T]) since(n uint64) (items []T, ok bool) {
	if n > h.next || h.next-n > uint64(min(len(h.items), h.limit)) {
		return nil, false
	}
	return h.items[len(h.items)-int(h.next-n):], true
}
