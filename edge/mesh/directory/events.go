package directory

import (
	"portico/shared/meshproto"
	"portico/shared/placement"
	"portico/shared/roster"
)

// Event is one of View, Lost, Healed, Drain, Tick and Received of package placement, and of the ones below.
type Event any

type (
	// Enter says whether there is a part of the room on this node, which is told of changes. What it owns goes with it.
	Enter struct{ On bool }
	// Wish says that one more, or one less, waits for something that only the home can give.
	Wish struct{ On bool }
	// Put makes an entry this node's, or gives it another value.
	Put struct {
		Key        roster.Key
		Generation uint64
		Value      []byte
	}
	// Remove takes an entry back.
	Remove struct{ Key roster.Key }
	// Note is to be delivered once to the node that has the participant To, or to all others when To is empty.
	Note struct {
		To   string
		Body []byte
	}
	// Sync asks to be told (Synced) when everything has been applied that the home knows now.
	Sync struct{ ID uint64 }

	// Called is a follower's call. Session is not used for any other call on this node, Dial's included.
	Called struct {
		Session uint64
		From    string
	}
	// Heard is a message of a call.
	Heard struct {
		Session uint64
		Message meshproto.RoomMessage
	}
	// Posted is a message of a Post.
	Posted struct {
		From    string
		Message meshproto.Standby
	}
	// Ended is the end of a call which was not HungUp: by the other side, with the link, or because it could not be opened.
	Ended struct{ Session uint64 }
)

// Effect is one of those below. They are to be carried out in order.
type Effect any

type (
	// Seat sends a message to a node's seat of the room. It may get lost.
	Seat struct {
		To      string
		Message placement.Message
	}
	// Post sends a message to the Room of another node, or to Stranger where there is none. It may get lost; to one node they come in
	// order.
	Post struct {
		To      string
		Message meshproto.Standby
	}
	// Used says that tokens were used elsewhere in the room, before this node knew of it.
	Used struct{ Uses []roster.Use }
	// Dial opens a call of the service room to a node.
	Dial struct {
		Session uint64
		To      string
	}
	// Say sends a message on a call, after those before.
	Say struct {
		Session uint64
		Message meshproto.RoomMessage
	}
	// HangUp ends a call once what was said has been sent.
	HangUp struct{ Session uint64 }
	// Rubbish says that a peer has sent what it should not; its call has been hung up.
	Rubbish struct {
		From string
		Err  error
	}

	// Apply tells the part of changes to the entries of others. A change without Now of a key that this node has itself means that the
	// entry of the owner before has given way.
	Apply struct{ Changes []roster.Change }
	// Moved tells the part that another node has an entry that was this one's. The change that brings it comes right after, or is not
	// known yet.
	Moved struct{ Key roster.Key }
	// Leads tells the part whether this node is the home.
	Leads struct{ On bool }
	// Deliver gives the part a note of another node.
	Deliver struct{ Body []byte }
	// Synced answers Sync.
	Synced struct{ ID uint64 }
	// Host says that this node is the home of a room that has no part here.
	Host struct{}
	// Over says that this node was the last home, and that the room has ended.
	Over struct{}
)
