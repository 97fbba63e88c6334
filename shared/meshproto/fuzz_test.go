package meshproto

import (
	"testing"

	"portico/shared/placement"
	"portico/shared/roster"
)

func FuzzHello(f *testing.F) {
	f.Add(EncodeHello(ServiceSeats))
	f.Add([]byte(`{"service":"pull","version":-1}`))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = DecodeHello(b) })
}

func FuzzSeats(f *testing.F) {
	b, _ := EncodeSeats(sampleSeats())
	f.Add(b)
	f.Add([]byte(`{"boot":1,"messages":[{"room":"R","kind":"claim","epoch":{"number":18446744073709551615,"home":{"id":"a","boot":1}}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSeats(b)
		if err != nil {
			return
		}
		again, err := EncodeSeats(s)
		if err != nil {
			return // grown beyond the limit by its escapes
		}
		if t2, err := DecodeSeats(again); err != nil || len(t2.Messages) != len(s.Messages) {
			t.Errorf("%s: %v", again, err)
		}
		// A seat must bear whatever it is.
		seat := newSeat()
		for _, m := range s.Messages {
			seat.Handle(received(m.Message), 0)
		}
	})
}

func FuzzRoom(f *testing.F) {
	for _, m := range sampleRoom() {
		parts, _ := EncodeRoom(m)
		f.Add(parts[0], parts[0])
	}
	const part = `{"delta":{"epoch":{"number":1,"home":{"id":"a","boot":1}},"from":0,"to":9,`
	f.Add([]byte(part+`"put":[{"kind":"mix","id":"m","owner":"a"}]},"more":true}`), []byte(part+`"removed":[{"kind":"mix","id":"m","owner":"a"}]}}`))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var r RoomReader
		copied, index := roster.NewCopy(), roster.NewIndex(epoch(1), roster.Config{}, 0)
		for _, b := range [][]byte{first, second} {
			m, whole, err := r.Read(b)
			if err != nil || !whole {
				continue
			}
			if _, err := EncodeRoom(m); err != nil && m.Outdone == nil && m.Note == nil {
				t.Errorf("%+v: %v", m, err)
			}
			// An Index and a Copy must bear whatever it is.
			switch {
			case m.Delta != nil:
				copied.Apply(*m.Delta)
			case m.Update != nil:
				_, _ = index.Announce(*m.Update, 0)
			case m.Hearsay != nil:
				index.Hearsay(*m.Hearsay, 0)
			}
		}
		other := roster.NewCopy()
		other.Apply(index.Full())
		if other.Len() != index.Len() {
			t.Errorf("%d entries of %d", other.Len(), index.Len())
		}
	})
}

func FuzzCommand(f *testing.F) {
	for _, c := range sampleCommands() {
		b, _ := EncodeCommand(c)
		f.Add(b)
	}
	b, _ := EncodeReply(Reply{Number: 1, Refusal: RefusedStale, Standing: epoch(3)})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := DecodeCommand(b); err == nil && c.Admission != nil {
			_, _ = roster.NewIndex(epoch(1), roster.Config{}, 0).Admit(*c.Admission, 1, 0)
		}
		r, err := DecodeReply(b)
		if err != nil {
			return
		}
		if _, err := EncodeReply(r); err != nil && len(b) < MaxMessage/8 {
			t.Errorf("%+v: %v", r, err)
		}
	})
}

func newSeat() *placement.Seat {
	seat := placement.NewSeat(placement.Config{Room: "R", Self: placement.Name{ID: "a", Boot: 1}})
	seat.Handle(placement.View{Edges: []placement.Edge{{ID: "a", Boot: 1}, {ID: "edge-1", Boot: 7}}}, 0)
	seat.Handle(placement.Want{On: true}, 0)
	return seat
}

func received(m placement.Message) placement.Event {
	return placement.Received{From: placement.Name{ID: "edge-1", Boot: 7}, Message: m}
}
