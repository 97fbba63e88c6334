package placement

import (
	"cmp"
	"strconv"
	"time"
)

// Name is a node in one of its lives.
type Name struct {
	ID   string `json:"id"`
	Boot uint64 `json:"boot"` // grows with each start of the node
}

// Epoch is a claim on a room. The zero Epoch is none, and lower than all others.
type Epoch struct {
	Number uint64 `json:"number"`
	Home   Name   `json:"home"`
}

// Zero tells that it is none.
func (e Epoch) Zero() bool { return e == Epoch{} }

// Compare orders epochs: by number, then by the home's id, then by its boot.
func (e Epoch) Compare(f Epoch) int {
	return cmp.Or(cmp.Compare(e.Number, f.Number), cmp.Compare(e.Home.ID, f.Home.ID), cmp.Compare(e.Home.Boot, f.Home.Boot))
}

// String is the epoch as logs show it: number@node.
func (e Epoch) String() string {
	if e.Zero() {
		return "none"
	}
	return strconv.FormatUint(e.Number, 10) + "@" + e.Home.ID
}

// Event is what a Seat is told: one of Want, View, Lost, Healed, Drain, Tick and Received.
type Event interface{ event() }

type (
	// Want says whether this node has participants in the room.
	Want struct{ On bool }
	// View is the edges of the cluster as this node sees them, itself included. The Seat keeps the slice and does not change it. Where
	// there are many, it is quicker when they are in the order of their ids.
	View struct{ Edges []Edge }
	// Lost says that a node cannot be reached, though the view may still have it. Healed takes it back.
	Lost struct{ ID string }
	// Healed says that a node can be reached again.
	Healed struct{ ID string }
	// Drain says whether this node is to give its rooms away.
	Drain struct{ On bool }
	// Tick lets time pass; it comes at least four times per Timing.Wait.
	Tick struct{}
	// Received is a message of another node, which the link has authenticated.
	Received struct {
		From    Name
		Message Message
	}
)

func (Want) event()     {}
func (View) event()     {}
func (Lost) event()     {}
func (Healed) event()   {}
func (Drain) event()    {}
func (Tick) event()     {}
func (Received) event() {}

// Effect is what a Seat asks of its node: one of Send, Lead, Obey, Resign and Orphan. They are to be carried out in order.
type Effect interface{ effect() }

type (
	// Send sends a message to a node. It may get lost.
	Send struct {
		To      string
		Message Message
	}
	// Lead says that this node is the room's home from now on, under this epoch, which all its commands carry.
	Lead struct{ Epoch Epoch }
	// Obey says that the room's home is another node: its participants here are announced there.
	Obey struct{ Epoch Epoch }
	// Resign says that this node is home no more. To is the epoch that has taken its place and whose home gets the directory; none when
	// the room has ended.
	Resign struct{ From, To Epoch }
	// Orphan says that the room has no home that is known to live: its calls wait. Last is the one before. A node that led does so no
	// longer, but keeps its directory until Lead, Obey or Resign.
	Orphan struct{ Last Epoch }
)

func (Send) effect()   {}
func (Lead) effect()   {}
func (Obey) effect()   {}
func (Resign) effect() {}
func (Orphan) effect() {}

// Message is what Seats of one room say to each other.
type Message interface{ message() }

type (
	// Ask asks an anchor for the room's home. Standing is the highest epoch in effect that the asker knows.
	Ask struct{ Standing Epoch }
	// Told answers Ask. Alive says that the sender has lately heard that home, Busy that a claim is on its way.
	Told struct {
		Standing    Epoch
		Alive, Busy bool
	}
	// Summon asks a node to be the home. Standing is the highest epoch in effect that the sender knows; Insist has the claim made though
	// that home may live.
	Summon struct {
		Standing Epoch
		Insist   bool
	}
	// Declined answers Summon and HandOver: the sender drains.
	Declined struct{ Standing Epoch }
	// Claim asks an anchor to agree to an epoch. Over is the epoch whose home has handed over to the claimer.
	Claim struct {
		Epoch, Over Epoch
		Insist      bool
	}
	// Claimed agrees.
	Claimed struct{ Epoch Epoch }
	// Refused refuses what came under an epoch: a claim, a sign of life, a command. Standing is the epoch in effect as the sender knows,
	// Promised a higher claim the sender has agreed to.
	Refused struct{ Epoch, Standing, Promised Epoch }
	// Heartbeat is the home's own sign of life, to anchors and followers. Ended says that the room has none from now on.
	Heartbeat struct {
		Epoch Epoch
		Ended bool
	}
	// Enrol is a follower's sign of life to the home. Off says that it follows no more.
	Enrol struct {
		Epoch Epoch
		Off   bool
	}
	// Moved tells the followers of a home that has resigned where to go.
	Moved struct{ Epoch Epoch }
	// HandOver asks a node to claim the room from its home, which drains.
	HandOver struct{ Epoch Epoch }
)

func (Ask) message()       {}
func (Told) message()      {}
func (Summon) message()    {}
func (Declined) message()  {}
func (Claim) message()     {}
func (Claimed) message()   {}
func (Refused) message()   {}
func (Heartbeat) message() {}
func (Enrol) message()     {}
func (Moved) message()     {}
func (HandOver) message()  {}

// Timing is how patient a Seat is. All nodes of a cluster have the same.
type Timing struct {
	Beat     time.Duration // between signs of life of a home and its followers
	Lease    time.Duration // silence after which a home or a follower counts as gone
	Wait     time.Duration // for answers
	Patience time.Duration // without any sign of a home, until a claim is insisted on
	Linger   time.Duration // of a home that nobody wants, until the room ends
}

// DefaultTiming is what links with a keep-alive of 300 ms allow.
func DefaultTiming() Timing {
	return Timing{Beat: time.Second, Lease: 3 * time.Second, Wait: 500 * time.Millisecond, Patience: 10 * time.Second, Linger: 8 * time.Second}
}
