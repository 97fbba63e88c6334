package main

import (
	"fmt"
	"reflect"
	"slices"

	"portico/edge/mesh/directory"
	"portico/shared/meshproto"
	"portico/shared/roster"
)

// dial opens a call of the service room. It waits for a link as long as that is dialed.
func (p *part) dial(e directory.Dial) {
	w := p.n.w
	other := w.byName[e.To]
	c := &call{}
	c.session[0], c.parts[0] = e.Session, p
	p.calls[e.Session] = c
	if other == nil {
		c.fail(w)
		return
	}
	w.whenLinked(p.n, other, func(l *link) {
		switch {
		case c.session[0] == 0:
		case l == nil:
			c.fail(w)
		default:
			if l.pair.ends[0] != p.n { // the end of the link is the end of the call
				c.parts[0], c.parts[1] = nil, p
				c.session[0], c.session[1] = 0, e.Session
			}
			c.link = l
			l.calls = append(l.calls, c)
			c.flush(w)
		}
	})
}

// fail ends a call that could not be opened.
func (c *call) fail(w *world) {
	p, session := c.parts[0], c.session[0]
	c.session[0] = 0
	w.on(p.n, 0, func() {
		if p.alive() && p.calls[session] == c {
			delete(p.calls, session)
			p.handle(directory.Ended{Session: session})
		}
	})
}

// say sends a message of a call.
func (p *part) say(e directory.Say) {
	c := p.calls[e.Session]
	if c == nil {
		return
	}
	w := p.n.w
	w.check.said(w, p, c, &e.Message)
	c.send(w, p, e.Message)
	if w.bend.oldDeltas && e.Message.Delta != nil && e.Message.Delta.From > 0 && !e.Message.Delta.Full && w.chance(0.02) {
		old := *e.Message.Delta
		old.To, old.Put, old.Removed = old.From, nil, nil
		old.From--
		again := meshproto.RoomMessage{Delta: &old}
		w.check.said(w, p, c, &again)
		c.send(w, p, again)
	}
}

// end is which end of a call a part is at.
func (c *call) end(p *part) int {
	if c.parts[1] == p {
		return 1
	}
	return 0
}

func (c *call) send(w *world, p *part, m meshproto.RoomMessage) {
	if c.link == nil {
		c.unsent = append(c.unsent, m)
		return
	}
	from := c.end(p)
	to := 1 - from
	name, id := p.room.name, p.n.name.ID
	w.send(c.link, to, func() {
		w.logf("%s: %s tells %s %s", name, id, c.link.pair.ends[to].name.ID, brief(&m))
		m := w.overWire(m)
		if q := c.parts[to]; q != nil {
			if s := c.session[to]; s != 0 && q.alive() {
				q.handle(directory.Heard{Session: s, Message: m})
			}
			return
		}
		// The first message opens it.
		if m.Enrol == nil || c.session[from] == 0 && c.closed {
			return
		}
		n := c.link.pair.ends[to]
		q := n.part(name)
		n.sessions += 2
		c.parts[to], c.session[to] = q, n.sessions
		q.calls[n.sessions] = c
		q.handle(directory.Called{Session: c.session[to], From: id})
		if s := c.session[to]; s != 0 {
			q.handle(directory.Heard{Session: s, Message: m})
		}
	})
}

// flush sends what was said before there was a link.
func (c *call) flush(w *world) {
	unsent := c.unsent
	c.unsent = nil
	p := c.parts[0]
	if p == nil {
		p = c.parts[1]
	}
	for _, m := range unsent {
		c.send(w, p, m)
	}
}

// hangUp ends a call on one side; the other hears of it after what was said before.
func (c *call) hangUp(w *world, session uint64, p *part) {
	from := c.end(p)
	c.session[from] = 0
	c.closed = true
	if c.link == nil {
		return
	}
	to := 1 - from
	w.send(c.link, to, func() {
		if q, s := c.parts[to], c.session[to]; q != nil && s != 0 {
			c.session[to] = 0
			if q.alive() {
				delete(q.calls, s)
				q.handle(directory.Ended{Session: s})
			}
		}
		c.link.calls = slices.DeleteFunc(c.link.calls, func(d *call) bool { return d == c })
	})
}

// overWire writes and reads a message now and then, as it would be.
func (w *world) overWire(m meshproto.RoomMessage) meshproto.RoomMessage {
	if w.count%32 != 0 {
		return m
	}
	parts, err := meshproto.EncodeRoom(m)
	if err != nil {
		w.fault("wire", "%v", err)
		return m
	}
	var r meshproto.RoomReader
	for _, b := range parts {
		got, whole, err := r.Read(b)
		if err != nil {
			w.fault("wire", "%v", err)
		}
		if whole {
			if !reflect.DeepEqual(plain(got), plain(m)) {
				w.fault("wire", "%+v comes as %+v", plain(m), plain(got))
			}
			return got
		}
	}
	w.fault("wire", "%d parts are not all", len(parts))
	return m
}

// plain has empty lists be none.
func plain(m meshproto.RoomMessage) meshproto.RoomMessage {
	entries := func(list []roster.Entry) []roster.Entry {
		if len(list) == 0 {
			return nil
		}
		return list
	}
	gone := func(list []roster.Gone) []roster.Gone {
		if len(list) == 0 {
			return nil
		}
		return list
	}
	switch {
	case m.Update != nil:
		u := *m.Update
		u.Put, u.Removed = entries(u.Put), gone(u.Removed)
		m.Update = &u
	case m.Hearsay != nil:
		h := *m.Hearsay
		h.Entries, h.Gone = entries(h.Entries), gone(h.Gone)
		m.Hearsay = &h
	case m.Delta != nil:
		d := *m.Delta
		d.Put, d.Removed = entries(d.Put), gone(d.Removed)
		m.Delta = &d
	}
	return m
}

// brief is a message in a line of the log.
func brief(m *meshproto.RoomMessage) string {
	switch {
	case m.Enrol != nil:
		return fmt.Sprintf("enrol %v at %v %d", m.Enrol.Epoch, m.Enrol.Position.Epoch, m.Enrol.Position.Seq)
	case m.Enrolled != nil:
		return fmt.Sprintf("enrolled, hearsay %t", m.Enrolled.Hearsay)
	case m.Update != nil:
		u := m.Update
		return fmt.Sprintf("update %d to %d, full %t, %d put, %d removed", u.From, u.To, u.Full, len(u.Put), len(u.Removed))
	case m.Delta != nil:
		d := m.Delta
		return fmt.Sprintf("delta %v %d to %d, full %t, %d put, %d removed", d.Epoch, d.From, d.To, d.Full, len(d.Put), len(d.Removed))
	case m.Hearsay != nil:
		return fmt.Sprintf("hearsay of %d, %d gone", len(m.Hearsay.Entries), len(m.Hearsay.Gone))
	case m.Stale != nil:
		return fmt.Sprintf("stale, %v stands", m.Stale.Standing)
	case m.Outdone != nil:
		return fmt.Sprintf("%d outdone", len(m.Outdone))
	case m.NeedFull != nil:
		return "need full"
	case m.Withdraw != nil:
		return "withdraw"
	}
	return "something"
}
