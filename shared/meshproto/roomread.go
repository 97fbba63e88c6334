package meshproto

import (
	"portico/shared/roster"
)

// Bounds of a message in parts.
const (
	MaxEntries = 40_000    // put and removed ones together
	MaxValues  = 256 << 20 // bytes of all values
)

// RoomReader puts the messages of one direction of a call together. The zero value is ready.
type RoomReader struct {
	parts  *RoomMessage
	count  int
	values int
}

// Read takes one message of the call. Not whole: it was a part, and more follow. After an error the call is to be closed.
func (r *RoomReader) Read(b []byte) (m RoomMessage, whole bool, err error) {
	var w roomWire
	if err := read(b, &w); err != nil {
		return RoomMessage{}, false, err
	}
	if err := w.check(); err != nil {
		return RoomMessage{}, false, err
	}
	put, removed := w.lists()
	if put == nil {
		if w.More || r.parts != nil {
			return RoomMessage{}, false, bad("a message between parts")
		}
		return w.RoomMessage, true, nil
	}
	r.count += len(*put) + len(*removed)
	for i := range *put {
		r.values += len((*put)[i].Value)
	}
	if r.count > MaxEntries || r.values > MaxValues {
		return RoomMessage{}, false, bad("%d entries of %d bytes", r.count, r.values)
	}
	if r.parts == nil {
		first := w.RoomMessage
		r.parts = &first
	} else {
		if !r.parts.continues(&w.RoomMessage) {
			return RoomMessage{}, false, bad("parts that do not belong together")
		}
		allPut, allRemoved := r.parts.lists()
		*allPut, *allRemoved = append(*allPut, *put...), append(*allRemoved, *removed...)
	}
	if w.More {
		if len(*put)+len(*removed) == 0 {
			return RoomMessage{}, false, bad("an empty part")
		}
		return RoomMessage{}, false, nil
	}
	m = *r.parts
	*r = RoomReader{}
	return m, true, nil
}

// continues tells whether a part goes on with the ones before.
func (m *RoomMessage) continues(n *RoomMessage) bool {
	switch {
	case m.Update != nil && n.Update != nil:
		a, b := m.Update, n.Update
		return a.Owner == b.Owner && a.Life == b.Life && a.From == b.From && a.To == b.To && a.Full == b.Full
	case m.Hearsay != nil && n.Hearsay != nil:
		return m.Hearsay.Position == n.Hearsay.Position
	case m.Delta != nil && n.Delta != nil:
		a, b := m.Delta, n.Delta
		return a.Epoch == b.Epoch && a.From == b.From && a.To == b.To && a.Full == b.Full
	}
	return false
}

func (m *RoomMessage) check() error {
	n := 0
	for _, c := range []func() (set bool, err error){
		m.checkEnrol, m.checkUpdate, m.checkHearsay, m.checkDelta, m.checkOutdone, m.checkStale, m.checkNote, m.checkNoted,
		func() (bool, error) { return m.Withdraw != nil, nil },
		func() (bool, error) { return m.Enrolled != nil, nil },
		func() (bool, error) { return m.NeedFull != nil, nil },
	} {
		set, err := c()
		if err != nil {
			return err
		}
		if set {
			n++
		}
	}
	if n != 1 {
		return bad("%d things in one", n)
	}
	return nil
}

func (m *RoomMessage) checkEnrol() (bool, error) {
	e := m.Enrol
	if e != nil && (!nameFits(e.Room) || e.Epoch.Zero() || !epochFits(e.Epoch) || !epochFits(e.Position.Epoch) || e.Life == 0) {
		return true, bad("enrol")
	}
	return e != nil, nil
}

func (m *RoomMessage) checkUpdate() (bool, error) {
	u := m.Update
	if u == nil {
		return false, nil
	}
	if !nameFits(u.Owner) || u.Life == 0 || u.From > u.To || u.Full && (u.From != 0 || len(u.Removed) > 0) {
		return true, bad("update")
	}
	for i := range u.Put {
		e := &u.Put[i]
		if e.Owner != "" || e.Life != 0 {
			return true, bad("an update with entries of others")
		}
		e.Owner, e.Life = u.Owner, u.Life
	}
	for i := range u.Removed {
		g := &u.Removed[i]
		if g.Owner != "" || g.Life != 0 {
			return true, bad("an update with entries of others")
		}
		g.Owner, g.Life = u.Owner, u.Life
	}
	return true, checkLists(u.Put, u.Removed)
}

func (m *RoomMessage) checkHearsay() (bool, error) {
	h := m.Hearsay
	if h == nil {
		return false, nil
	}
	if !epochFits(h.Position.Epoch) {
		return true, bad("hearsay")
	}
	return true, checkLists(h.Entries, h.Gone)
}

func (m *RoomMessage) checkDelta() (bool, error) {
	d := m.Delta
	if d == nil {
		return false, nil
	}
	if d.Epoch.Zero() || !epochFits(d.Epoch) || d.From > d.To || d.Full && d.From != 0 {
		return true, bad("delta")
	}
	return true, checkLists(d.Put, d.Removed)
}

func (m *RoomMessage) checkOutdone() (bool, error) {
	if len(m.Outdone) > MaxOutdone {
		return true, bad("%d keys outdone", len(m.Outdone))
	}
	return m.Outdone != nil, checkLists(nil, m.Outdone)
}

func (m *RoomMessage) checkStale() (bool, error) {
	if m.Stale != nil && !epochFits(m.Stale.Standing) {
		return true, bad("stale")
	}
	return m.Stale != nil, nil
}

func (m *RoomMessage) checkNote() (bool, error) {
	n := m.Note
	if n != nil && (!nameFits(n.Origin) || n.Life == 0 || n.Number == 0 || len(n.To) > MaxName || len(n.Body) > MaxBody) {
		return true, bad("note")
	}
	return n != nil, nil
}

func (m *RoomMessage) checkNoted() (bool, error) {
	if n := m.Noted; n != nil && (!nameFits(n.Origin) || n.Life == 0) {
		return true, bad("noted")
	}
	return m.Noted != nil, nil
}

func checkLists(put []roster.Entry, removed []roster.Gone) error {
	for i := range put {
		e := &put[i]
		if !nameFits(e.ID) || !e.Kind.Valid() || !nameFits(e.Owner) || len(e.Value) > roster.MaxValue {
			return bad("entry %d", i)
		}
	}
	for i := range removed {
		g := &removed[i]
		if !nameFits(g.ID) || !g.Kind.Valid() || !nameFits(g.Owner) {
			return bad("removed key %d", i)
		}
	}
	return nil
}
