package portalproto

import (
	"time"

	"portico/shared/jsonvalue"
)

// Additions of ours, with which a participation moves from one edge of a cluster to another. Clients that know nothing of them never
// see them, and never ask for them.

// Relogin is the request with which a client that lost its connection comes back (portal protocol 5.4). In its plain form it is the
// ticket alone; with Restore it is an object, and an edge that does not know the participant takes it over from the one that did. Then
// the answer has ReloginResult.Moved, and the client publishes and subscribes anew, its streams under the ids that they had.
type Relogin struct {
	Ticket  string
	Restore bool
	Migrate bool // as in Login, and so is the next; without Restore they are not told
	Thin    bool
}

// Encode is the data of the request.
func (r Relogin) Encode() jsonvalue.Value {
	if !r.Restore {
		return jsonvalue.Of(r.Ticket)
	}
	return jsonvalue.OfObject(jsonvalue.M("ticket", jsonvalue.Of(r.Ticket)), jsonvalue.M("restore", jsonvalue.OfBool(true)),
		jsonvalue.M("migrate", optionalTrue(r.Migrate)), jsonvalue.M("thin", optionalTrue(r.Thin)))
}

// DecodeRelogin reads the request in its forms. Some clients send the whole answer of an earlier relogin instead, in which the ticket is
// found too. It accepts everything: without a ticket there is none in it.
func DecodeRelogin(v jsonvalue.Value) Relogin {
	if v.Kind() != jsonvalue.Object {
		return Relogin{Ticket: v.Text()}
	}
	r := Relogin{Ticket: v.Get("ticket").Text(), Restore: v.Get("restore").Bool()}
	r.Migrate = r.Restore && v.Get("migrate").Bool()
	r.Thin = r.Restore && v.Get("thin").Bool()
	return r
}

// EventMove names the notification Move.
const EventMove = "move"

// Move asks a client to go to another edge, because this one is about to stop: with a Relogin that restores, while its media here go on,
// until those over there have come. Only clients that said they migrate hear of it.
type Move struct {
	Edges    []string      // where to, the best first: "http(s)://host:port"
	Ticket   string        // for the Relogin
	Deadline time.Duration // when this edge stops, from now
}

// Encode is the event.
func (m Move) Encode(Receiver) (event string, data jsonvalue.Value) {
	return EventMove, jsonvalue.OfObject(jsonvalue.M("edges", jsonvalue.OfStrings(m.Edges)), jsonvalue.M("ticket", jsonvalue.Of(m.Ticket)),
		jsonvalue.M("deadline", jsonvalue.OfInt(m.Deadline.Milliseconds())))
}

func decodeMove(v jsonvalue.Value) (Move, bool) {
	m := Move{Edges: decodeEdges(v.Get("edges")), Ticket: v.Get("ticket").Text()}
	if ms, ok := v.Get("deadline").Int(); ok && ms > 0 && ms < int64(24*time.Hour/time.Millisecond) {
		m.Deadline = time.Duration(ms) * time.Millisecond
	}
	return m, len(m.Edges) > 0 && m.Ticket != ""
}

// maxEdges bounds the edges that a client remembers.
const maxEdges = 16

func decodeEdges(v jsonvalue.Value) (edges []string) {
	for i := range min(v.Len(), maxEdges) {
		if e := v.Index(i).Text(); e != "" && len(e) <= 300 {
			edges = append(edges, e)
		}
	}
	return edges
}

func encodeEdges(edges []string) jsonvalue.Value {
	if len(edges) == 0 {
		return jsonvalue.Value{}
	}
	return jsonvalue.OfStrings(edges)
}
