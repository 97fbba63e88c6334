package meshproto

import (
	"portico/shared/placement"
	"portico/shared/roster"
)

// RoomMessage is one message between a follower and the home; exactly one member is set.
type RoomMessage struct {
	// From a follower.
	Enrol    *Enrol          `json:"enrol,omitempty"` // first
	Update   *roster.Update  `json:"update,omitempty"`
	Hearsay  *roster.Hearsay `json:"hearsay,omitempty"`
	Withdraw *Withdraw       `json:"withdraw,omitempty"` // last

	// From the home.
	Enrolled *Enrolled     `json:"enrolled,omitempty"`
	Delta    *roster.Delta `json:"delta,omitempty"`
	Outdone  []roster.Gone `json:"outdone,omitempty"` // what the follower owns no more: these stand, or stood, before
	NeedFull *NeedFull     `json:"needFull,omitempty"`
	Stale    *Stale        `json:"stale,omitempty"` // last

	// From either.
	Note  *Note  `json:"note,omitempty"`
	Noted *Noted `json:"noted,omitempty"`
}

// Enrol says who follows.
type Enrol struct {
	Room     string          `json:"room"`
	Epoch    placement.Epoch `json:"epoch"` // that it obeys
	Life     uint64          `json:"life"`  // the follower's boot
	Position roster.Position `json:"position"`
}

// Enrolled answers Enrol.
type Enrolled struct {
	Hearsay bool `json:"hearsay,omitempty"` // send it before the Update
}

// Withdraw says that the follower leaves the room in good order.
type Withdraw struct{}

// NeedFull asks for a full Update.
type NeedFull struct{}

// Stale says that the home does not lead under the epoch of Enrol. Standing is the highest in effect that it knows.
type Stale struct {
	Standing placement.Epoch `json:"standing"`
}

// Note is something that is said once, to one participant or all: from the follower where it began to the home, and from there to those
// it concerns.
type Note struct {
	Origin string `json:"origin"` // node
	Life   uint64 `json:"life"`   // its boot
	Number uint64 `json:"number"` // counts the notes of Origin in the room, from 1
	To     string `json:"to,omitempty"`
	Body   []byte `json:"body,omitempty"`
}

// Noted says that all notes of an origin to this number have come.
type Noted struct {
	Origin string `json:"origin"`
	Life   uint64 `json:"life"`
	Number uint64 `json:"number"`
}

// MaxOutdone is how many keys are outdone in one message.
const MaxOutdone = 1024

// roomWire is a RoomMessage, or a part of one.
type roomWire struct {
	RoomMessage
	More bool `json:"more,omitempty"` // further parts of the same follow
}

// partSize is how much goes into one message, of entries as they are estimated; with one more entry it is still well below MaxMessage.
const partSize = 384 << 10

// EncodeRoom writes a message, in as many parts as it takes, which are to be sent in order with nothing between them.
func EncodeRoom(m RoomMessage) ([][]byte, error) {
	put, removed := m.lists()
	if put == nil {
		if len(m.Outdone) > MaxOutdone {
			return nil, bad("%d keys outdone", len(m.Outdone))
		}
		b, err := write(roomWire{RoomMessage: m})
		if err != nil {
			return nil, err
		}
		return [][]byte{b}, nil
	}
	var parts [][]byte
	restPut, restRemoved := *put, *removed
	for {
		var part roomWire
		size := 0
		nPut, nRemoved := 0, 0
		for ; nPut < len(restPut) && size < partSize; nPut++ {
			e := &restPut[nPut]
			size += 120 + 6*(len(e.ID)+len(e.Owner)) + len(e.Value)*4/3
		}
		for ; nRemoved < len(restRemoved) && size < partSize; nRemoved++ {
			g := &restRemoved[nRemoved]
			size += 120 + 6*(len(g.ID)+len(g.Owner))
		}
		part.RoomMessage = m.with(restPut[:nPut], restRemoved[:nRemoved])
		restPut, restRemoved = restPut[nPut:], restRemoved[nRemoved:]
		part.More = len(restPut)+len(restRemoved) > 0
		b, err := write(&part)
		if err != nil {
			return nil, err
		}
		if parts = append(parts, b); !part.More {
			return parts, nil
		}
	}
}

// lists gives the lists that may be long, nil when the message has none.
func (m *RoomMessage) lists() (*[]roster.Entry, *[]roster.Gone) {
	switch {
	case m.Update != nil:
		return &m.Update.Put, &m.Update.Removed
	case m.Hearsay != nil:
		return &m.Hearsay.Entries, &m.Hearsay.Gone
	case m.Delta != nil:
		return &m.Delta.Put, &m.Delta.Removed
	}
	return nil, nil
}

// with is a message of lists with other lists. Entries of an Update are written without their owner, which the Update names.
func (m *RoomMessage) with(put []roster.Entry, removed []roster.Gone) RoomMessage {
	switch {
	case m.Update != nil:
		u := *m.Update
		u.Put, u.Removed = append([]roster.Entry(nil), put...), append([]roster.Gone(nil), removed...)
		for i := range u.Put {
			u.Put[i].Owner, u.Put[i].Life = "", 0
		}
		for i := range u.Removed {
			u.Removed[i].Owner, u.Removed[i].Life = "", 0
		}
		return RoomMessage{Update: &u}
	case m.Hearsay != nil:
		h := *m.Hearsay
		h.Entries, h.Gone = put, removed
		return RoomMessage{Hearsay: &h}
	}
	d := *m.Delta
	d.Put, d.Removed = put, removed
	return RoomMessage{Delta: &d}
}
