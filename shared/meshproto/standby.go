package meshproto

import (
	"encoding/json"

	"portico/shared/placement"
	"portico/shared/roster"
)

// MaxUses is how many uses of tokens there are in one message.
const MaxUses = 256

// Standby is one message between a room's home and another edge, which keeps what the home knows or may know of the time before it.
// Exactly one member is set beside the first two. The sender is the link's; the messages of all rooms to one node share a call, on which
// nothing comes back, and may get lost.
type Standby struct {
	Room  string
	Epoch placement.Epoch // of the home, which sends it or gets it

	// From the home.
	Hold    *Hold         // be the room's standby; answered with Held
	Delta   *roster.Delta // answered with Held
	Release *Release      // it is the standby no more
	Recall  *Recall       // what is known of the room from before? Answered with Hearsay and Uses, if there is any, and Recalled

	// From the other edge.
	Held     *Held
	Hearsay  *roster.Hearsay
	Recalled *Recalled

	// From either; the home's is answered with Held.
	Uses *Uses
}

// Hold makes a standby.
type Hold struct {
	Region string `json:"region,omitempty"` // where the room's home shall be
}

// Release ends it.
type Release struct{}

// Recall asks.
type Recall struct{}

// Held says how far a standby is.
type Held struct {
	Life     uint64          `json:"life"` // the standby's boot
	Position roster.Position `json:"position"`
	Uses     uint64          `json:"uses,omitempty"`    // the number of the last use, as the home counts them
	Missing  bool            `json:"missing,omitempty"` // what comes after that is to be sent again
}

// Recalled says that all has been said.
type Recalled struct {
	Life  uint64 `json:"life"`            // the boot of the node
	Known bool   `json:"known,omitempty"` // there was something
}

// Uses are tokens that were used: those after number From, as the home counts them, to number To.
type Uses struct {
	From   uint64       `json:"from"`
	To     uint64       `json:"to"`
	Oldest int64        `json:"oldest,omitempty"` // what was created before need not be remembered; Unix seconds
	List   []roster.Use `json:"list,omitempty"`
}

type standbyWire struct {
	Room     string          `json:"room"`
	Epoch    placement.Epoch `json:"epoch"`
	Hold     *Hold           `json:"hold,omitempty"`
	Release  *Release        `json:"release,omitempty"`
	Recall   *Recall         `json:"recall,omitempty"`
	Held     *Held           `json:"held,omitempty"`
	Recalled *Recalled       `json:"recalled,omitempty"`
	Uses     *Uses           `json:"uses,omitempty"`
	Part     json.RawMessage `json:"part,omitempty"` // Delta or Hearsay, or a part of one, as the service room writes it
}

// EncodeStandby writes a message, in as many parts as it takes, which are to be sent in order with nothing between them.
func EncodeStandby(m Standby) ([][]byte, error) {
	w := standbyWire{
		Room: m.Room, Epoch: m.Epoch, Hold: m.Hold, Release: m.Release, Recall: m.Recall, Held: m.Held, Recalled: m.Recalled, Uses: m.Uses,
	}
	if m.Delta == nil && m.Hearsay == nil {
		if err := w.check(); err != nil {
			return nil, err
		}
		b, err := write(&w)
		if err != nil {
			return nil, err
		}
		return [][]byte{b}, nil
	}
	parts, err := EncodeRoom(RoomMessage{Delta: m.Delta, Hearsay: m.Hearsay})
	if err != nil {
		return nil, err
	}
	for i := range parts {
		w.Part = parts[i]
		if err := w.check(); err != nil {
			return nil, err
		}
		if parts[i], err = write(&w); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// StandbyReader puts the messages of one call together. The zero value is ready.
type StandbyReader struct {
	parts RoomReader
	room  string
	epoch placement.Epoch
}

// Read takes one message of the call. Not whole: it was a part, and more follow. After an error the call is to be closed.
func (r *StandbyReader) Read(b []byte) (m Standby, whole bool, err error) {
	var w standbyWire
	if err := read(b, &w); err != nil {
		return Standby{}, false, err
	}
	if err := w.check(); err != nil {
		return Standby{}, false, err
	}
	m = Standby{
		Room: w.Room, Epoch: w.Epoch, Hold: w.Hold, Release: w.Release, Recall: w.Recall, Held: w.Held, Recalled: w.Recalled, Uses: w.Uses,
	}
	if r.parts.parts != nil && (w.Part == nil || w.Room != r.room || w.Epoch != r.epoch) {
		return Standby{}, false, bad("a message between parts")
	}
	if w.Part == nil {
		return m, true, nil
	}
	inner, whole, err := r.parts.Read(w.Part)
	if err != nil {
		return Standby{}, false, err
	}
	if r.room, r.epoch = w.Room, w.Epoch; !whole {
		return Standby{}, false, nil
	}
	if m.Delta, m.Hearsay = inner.Delta, inner.Hearsay; m.Delta == nil && m.Hearsay == nil {
		return Standby{}, false, bad("a part of what no standby says")
	}
	return m, true, nil
}

func (w *standbyWire) check() error {
	n := 0
	for _, set := range []bool{
		w.Hold != nil, w.Release != nil, w.Recall != nil, w.Held != nil, w.Recalled != nil, w.Uses != nil, w.Part != nil,
	} {
		if set {
			n++
		}
	}
	if n != 1 || !nameFits(w.Room) || w.Epoch.Zero() || !epochFits(w.Epoch) {
		return bad("%d things between a home and its standby", n)
	}
	switch {
	case w.Hold != nil && len(w.Hold.Region) > MaxName:
		return bad("hold")
	case w.Held != nil && (w.Held.Life == 0 || !epochFits(w.Held.Position.Epoch)):
		return bad("held")
	case w.Recalled != nil && w.Recalled.Life == 0:
		return bad("recalled")
	case w.Uses != nil:
		return w.Uses.check()
	}
	return nil
}

func (u *Uses) check() error {
	if u.From > u.To || len(u.List) > MaxUses {
		return bad("%d uses from %d to %d", len(u.List), u.From, u.To)
	}
	for i := range u.List {
		if !u.List[i].Valid() {
			return bad("use %d", i)
		}
	}
	return nil
}
