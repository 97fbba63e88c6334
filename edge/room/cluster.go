package room

import (
	"context"
	"errors"
	"time"

	"portico/shared/conference"
)

// What a room needs of the cluster when it lives on several edges at once: every edge with participants in it runs a controller, which
// tells the others by entries what it owns, and hears by changes what they own. One of them is the home: it admits participants, and
// makes the views. A Directory without a Cluster is the home of all its rooms, and nothing of this happens.

// Cluster finds the other edges of rooms; package mesh satisfies it through the node. It must be safe for concurrent use.
type Cluster interface {
	// Enter makes this edge one of the room's. It does not wait; what follows reaches the part from any goroutine, one call at a time but
	// for Command.
	Enter(room, region string, part Part) Membership
	// Command carries a request to the home of a room that this edge is not in: Part.Command answers there. ErrNoRoom without one.
	Command(ctx context.Context, room string, body []byte) ([]byte, error)
}

// ErrNoRoom is the Cluster's word that no edge has a room.
var ErrNoRoom = errors.New("room is not active anywhere")

// EntryKind is what an entry of a room's directory is about.
type EntryKind uint8

// The kinds of entries. A MixEntry is the state of a stream that the room itself makes, and only the home has any.
const (
	ParticipantEntry EntryKind = iota + 1
	StreamEntry
	MixEntry
)

// Key names an entry.
type Key struct {
	Kind EntryKind
	ID   string
}

// Entry is something that one of the room's edges owns. Of two owners of one key that with the higher generation stands.
type Entry struct {
	Key
	Owner      string // id of the edge
	Generation uint64
	Value      []byte // in the words of this package; at most MaxValue bytes
}

// Change is how an entry was, and how it is now: nil before it came, and when it has gone.
type Change struct{ Was, Now *Entry }

// MaxValue is how long the value of an entry, and MaxNote how long a note, a command or its answer may be.
const (
	MaxValue = 64 << 10
	MaxNote  = 512 << 10
)

// Membership is this edge's part in one room. It is safe for concurrent use.
type Membership interface {
	// Admit asks the home for a participant's place, and waits through a change of home until ctx ends. The place is kept for some
	// seconds, within which it is taken by Put. Refusals are *portalproto.Error: ErrRoomFull, ErrAlreadyInRoom, ErrInvalidToken for one
	// that was used, ErrNoClient for a participant that is unknown, and ErrClusterUnavailable for a generation that is not above all
	// others: another edge has had the participant since, and the client may find it there.
	Admit(ctx context.Context, a Admission) (Admitted, error)
	// Synced waits until the Part has been given all that the home knew when Synced was called, the whole room the first time; and, on
	// the home itself, until it has been told to Lead.
	Synced(ctx context.Context) error
	// Put makes an entry this edge's, or gives it another value; Remove takes it back, unless another edge has it now. They do not block,
	// and the last word about a key counts. What was removed is put again with a higher generation only.
	Put(key Key, generation uint64, value []byte)
	Remove(key Key)
	// Note sends a text once to the Part of the edge that has a participant, or to those of all other edges when to is empty. Notes of
	// one edge arrive in their order.
	Note(ctx context.Context, to string, body []byte) error
	// Resync has the Part be told the Whole. It does not block.
	Resync()
	// Home asks the room's home, and Owner the edge that owns the key: Part.Command answers there, also when that is this edge.
	Home(ctx context.Context, body []byte) ([]byte, error)
	Owner(ctx context.Context, key Key, body []byte) ([]byte, error)
	// Leads tells whether this edge is the home, and HomeEdge which one is; empty while nobody knows.
	Leads() bool
	HomeEdge() string
	// Close leaves the room in good order: what this edge still owns of it goes at once. The Part is called no more when it returns.
	Close()
}

// Part is the room as its Membership sees it. Calls do not block, but for Command.
type Part interface {
	// Apply tells of changes to the entries of other edges. An entry that was this edge's and is another's now may come as Moved as
	// well, in any order.
	Apply(changes []Change)
	// Whole says in answer to Resync what all changes and words of Lead up to now come to: all entries of other edges, and whether this one
	// is the home.
	Whole(entries []Entry, leads bool)
	// Lead makes this edge the home, or not any more. It is not until it is told.
	Lead(on bool)
	// Note brings a note of another edge.
	Note(body []byte)
	// Command answers another edge; ctx ends with its patience.
	Command(ctx context.Context, from string, body []byte) ([]byte, error)
	// Moved says that another edge has an entry of this one's now.
	Moved(key Key)
	// Destroyed says that the room has ended.
	Destroyed()
}

// Admission asks for a participant's place in a room.
type Admission struct {
	Participant string
	Generation  uint64 // of its entry; with Resume higher than any before
	Limit       int    // participants that the room may have
	Resume      bool   // it is in the room already, on another edge
	// TokenID and Created are of the token that it was let in by, which must not be used twice; empty without.
	TokenID string
	Created time.Time
}

// Admitted is the home's answer.
type Admitted struct {
	Before string // with Resume: the edge where the participant was; empty when nobody knows
}

// RemoteStream is a stream that is published on another edge, as the media layer has to know it: from then on subscriptions can name its
// tracks like those of one that is published here.
type RemoteStream struct {
	Room, Stream, Participant string
	Edge                      string // where it is published
	Tracks                    []conference.Track
	Data                      bool // it has no tracks
}
