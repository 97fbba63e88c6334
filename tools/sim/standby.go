package main

import (
	"time"

	"portico/edge/mesh/directory"
	"portico/shared/meshproto"
	"portico/shared/roster"
)

// What package mesh does for the standbys of homes.

// tokenLife is how long homes remember tokens: longer than one can be used.
const tokenLife = 2 * admitTime

// post sends a message of a home to one that keeps what it knows, or back.
func (w *world) post(from *node, to string, m meshproto.Standby) {
	other := w.byName[to]
	if other == nil {
		return
	}
	id := from.name.ID
	w.whenLinked(from, other, func(l *link) {
		if l == nil {
			return
		}
		end := 0
		if l.pair.ends[1] == other {
			end = 1
		}
		w.send(l, end, func() { other.posted(id, w.standbyOverWire(m)) })
	})
}

func (n *node) posted(from string, m meshproto.Standby) {
	if p := n.rooms[m.Room]; p != nil || m.Hold != nil {
		n.part(m.Room).handle(directory.Posted{From: from, Message: m})
	} else if answer, ok := directory.Stranger(n.name, m); ok {
		n.w.post(n, from, answer)
	}
}

// standbyOverWire writes and reads a message now and then, as it would be.
func (w *world) standbyOverWire(m meshproto.Standby) meshproto.Standby {
	if w.count%32 != 0 {
		return m
	}
	parts, err := meshproto.EncodeStandby(m)
	if err != nil {
		w.fault("wire", "%v", err)
		return m
	}
	var r meshproto.StandbyReader
	for _, b := range parts {
		got, whole, err := r.Read(b)
		if err != nil {
			w.fault("wire", "%v", err)
		}
		if whole {
			return got
		}
	}
	w.fault("wire", "%d parts are not all", len(parts))
	return m
}

// useToken lets a token be used here, once; the same request may ask again.
func (n *node) useToken(id, request string, created int64) bool {
	if by, ok := n.asked[id]; ok && by == request {
		return true
	}
	if !n.used.Use(id, time.Unix(created, 0), n.calendar()) && !n.w.bend.noSingleUse {
		return false
	}
	n.asked[id] = request
	return true
}

// learn takes tokens that were used elsewhere.
func (n *node) learn(uses []roster.Use) {
	for _, u := range uses {
		n.useToken(u.Token, u.Request, u.Created)
	}
}
