package meshproto

import "portico/shared/placement"

// MaxSeats is how many messages there are in one Seats.
const MaxSeats = 1024

// Seats are messages of one node's seats to those of another.
type Seats struct {
	Boot     uint64 // of the sender; its id is the link's
	Messages []SeatMessage
}

// SeatMessage is a message of one room's seat.
type SeatMessage struct {
	Room    string
	Message placement.Message
}

type seatsWire struct {
	Boot     uint64     `json:"boot"`
	Messages []seatWire `json:"messages"`
}

type seatWire struct {
	Room     string          `json:"room"`
	Kind     string          `json:"kind"`
	Epoch    placement.Epoch `json:"epoch,omitzero"`
	Standing placement.Epoch `json:"standing,omitzero"`
	Promised placement.Epoch `json:"promised,omitzero"`
	Over     placement.Epoch `json:"over,omitzero"`
	Alive    bool            `json:"alive,omitempty"`
	Busy     bool            `json:"busy,omitempty"`
	Insist   bool            `json:"insist,omitempty"`
	Ended    bool            `json:"ended,omitempty"`
	Off      bool            `json:"off,omitempty"`
}

// EncodeSeats writes messages.
func EncodeSeats(s Seats) ([]byte, error) {
	if len(s.Messages) > MaxSeats {
		return nil, bad("%d messages of seats", len(s.Messages))
	}
	w := seatsWire{Boot: s.Boot, Messages: make([]seatWire, 0, len(s.Messages))}
	for _, m := range s.Messages {
		one, err := seatToWire(m.Message)
		if err != nil {
			return nil, err
		}
		one.Room = m.Room
		w.Messages = append(w.Messages, one)
	}
	return write(&w)
}

func seatToWire(m placement.Message) (seatWire, error) {
	switch m := m.(type) {
	case placement.Ask:
		return seatWire{Kind: "ask", Standing: m.Standing}, nil
	case placement.Told:
		return seatWire{Kind: "told", Standing: m.Standing, Alive: m.Alive, Busy: m.Busy}, nil
	case placement.Summon:
		return seatWire{Kind: "summon", Standing: m.Standing, Insist: m.Insist}, nil
	case placement.Declined:
		return seatWire{Kind: "declined", Standing: m.Standing}, nil
	case placement.Claim:
		return seatWire{Kind: "claim", Epoch: m.Epoch, Over: m.Over, Insist: m.Insist}, nil
	case placement.Claimed:
		return seatWire{Kind: "claimed", Epoch: m.Epoch}, nil
	case placement.Refused:
		return seatWire{Kind: "refused", Epoch: m.Epoch, Standing: m.Standing, Promised: m.Promised}, nil
	case placement.Heartbeat:
		return seatWire{Kind: "heartbeat", Epoch: m.Epoch, Ended: m.Ended}, nil
	case placement.Enrol:
		return seatWire{Kind: "enrol", Epoch: m.Epoch, Off: m.Off}, nil
	case placement.Moved:
		return seatWire{Kind: "moved", Epoch: m.Epoch}, nil
	case placement.HandOver:
		return seatWire{Kind: "handOver", Epoch: m.Epoch}, nil
	}
	return seatWire{}, bad("message of seats %T", m)
}

func (w *seatWire) message() placement.Message {
	switch w.Kind {
	case "ask":
		return placement.Ask{Standing: w.Standing}
	case "told":
		return placement.Told{Standing: w.Standing, Alive: w.Alive, Busy: w.Busy}
	case "summon":
		return placement.Summon{Standing: w.Standing, Insist: w.Insist}
	case "declined":
		return placement.Declined{Standing: w.Standing}
	case "claim":
		return placement.Claim{Epoch: w.Epoch, Over: w.Over, Insist: w.Insist}
	case "claimed":
		return placement.Claimed{Epoch: w.Epoch}
	case "refused":
		return placement.Refused{Epoch: w.Epoch, Standing: w.Standing, Promised: w.Promised}
	case "heartbeat":
		return placement.Heartbeat{Epoch: w.Epoch, Ended: w.Ended}
	case "enrol":
		return placement.Enrol{Epoch: w.Epoch, Off: w.Off}
	case "moved":
		return placement.Moved{Epoch: w.Epoch}
	case "handOver":
		return placement.HandOver{Epoch: w.Epoch}
	}
	return nil
}

// DecodeSeats reads messages. Those of a kind that is not known are left out.
func DecodeSeats(b []byte) (Seats, error) {
	var w seatsWire
	if err := read(b, &w); err != nil {
		return Seats{}, err
	}
	if w.Boot == 0 || len(w.Messages) > MaxSeats {
		return Seats{}, bad("%d messages of seats, boot %d", len(w.Messages), w.Boot)
	}
	s := Seats{Boot: w.Boot}
	for i := range w.Messages {
		one := &w.Messages[i]
		if !nameFits(one.Room) {
			return Seats{}, bad("a room's name of %d bytes", len(one.Room))
		}
		if !epochFits(one.Epoch) || !epochFits(one.Standing) || !epochFits(one.Promised) || !epochFits(one.Over) {
			return Seats{}, bad("an epoch that cannot be")
		}
		if m := one.message(); m != nil {
			s.Messages = append(s.Messages, SeatMessage{Room: one.Room, Message: m})
		}
	}
	return s, nil
}
