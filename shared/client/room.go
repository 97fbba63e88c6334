package client

import (
	"slices"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// Bounds on what a server may make a client remember; what is above them is not noticed.
const (
	maxParticipants = 50_000
	maxStreams      = 10_000
	maxTracks       = 64 // of one stream
)

// room is what a client knows of the room: seeded by the login, changed by notifications. It is plain data without goroutines.
type room struct {
	id           string
	views        []string
	self         conference.Participant
	adapts       bool
	thin         bool // not all participants are told of
	count        int  // how many there are, while thin
	participants roster[conference.Participant]
	streams      roster[conference.Stream]
}

// newRoom seeds a room. ok is false when the list of participants does not contain the client itself.
func newRoom(login portalproto.LoginResult) (r *room, ok bool) {
	r = &room{
		id: login.RoomID, views: login.Views, self: login.Participant, adapts: login.Adapts, thin: login.Thin, count: login.Count,
		participants: newRoster[conference.Participant](maxParticipants), streams: newRoster[conference.Stream](maxStreams),
	}
	for _, p := range login.Participants {
		if p.ID == r.self.ID { // the list carries no permissions
			p, ok = r.self, true
		}
		r.participants.put(p.ID, p)
	}
	for _, s := range login.Streams {
		r.streams.put(s.ID, bounded(s))
	}
	return r, ok
}

// apply changes the room as the notification says and returns the event that follows from it, nil for none (portal protocol 11.3): unknown
// ids are ignored, adding what is known updates it.
func (r *room) apply(n portalproto.Notification) func(Events) {
	switch n := n.(type) {
	case portalproto.ParticipantJoined:
		if added, full := r.participants.put(n.Participant.ID, n.Participant); !added || full {
			return nil
		}
		return func(e Events) { e.ParticipantJoined(n.Participant) }
	case portalproto.ParticipantLeft:
		if !r.participants.remove(n.ID) {
			return nil
		}
		return func(e Events) { e.ParticipantLeft(n.ID) }
	case portalproto.StreamAdded:
		return r.addStream(bounded(n.Stream))
	case portalproto.StreamRemoved:
		if !r.streams.remove(n.ID) {
			return nil
		}
		return func(e Events) { e.StreamRemoved(n.ID) }
	case portalproto.StreamUpdated:
		return r.updateStream(n)
	case portalproto.Roster:
		if n.Thin == r.thin && (n.Count == r.count || !n.Thin) {
			return nil
		}
		r.thin, r.count = n.Thin, n.Count
		count := r.size()
		return func(e Events) { e.RosterChanged(count, n.Thin) }
	case portalproto.TextMessage:
		return func(e Events) { e.Message(n.From, n.To, n.Message) }
	}
	return nil
}

// size is how many participants there are: never less than are listed.
func (r *room) size() int {
	listed := len(r.participants.order)
	if r.thin {
		return max(r.count, listed)
	}
	return listed
}

func (r *room) addStream(s conference.Stream) func(Events) {
	added, full := r.streams.put(s.ID, s)
	switch {
	case full:
		return nil
	case added:
		return func(e Events) { e.StreamAdded(s) }
	}
	return func(e Events) { e.StreamUpdated(s, portalproto.FieldAll, jsonvalue.Value{}) }
}

func (r *room) updateStream(n portalproto.StreamUpdated) func(Events) {
	s, ok := r.streams.get(n.ID)
	if !ok {
		return nil
	}
	switch n.Field {
	case portalproto.FieldAudioStatus:
		s, ok = withStatus(s, conference.Audio, n.Value.Text())
	case portalproto.FieldVideoStatus:
		s, ok = withStatus(s, conference.Video, n.Value.Text())
	case portalproto.FieldActiveInput: // an id, or {id, volume} for a selected audio stream
		if s.ActiveInput = n.Value.Text(); n.Value.Kind() == jsonvalue.Object {
			s.ActiveInput = n.Value.Get("id").Text()
		}
		ok = s.ActiveInput != ""
	case portalproto.FieldLayout:
		if ok = n.Value.Kind() == jsonvalue.Array; ok {
			s.Layout = n.Value
		}
	case portalproto.FieldAll:
		if ok = n.Stream != nil; ok {
			s = bounded(*n.Stream)
			s.ID = n.ID
		}
	default:
		ok = false
	}
	if !ok {
		return nil
	}
	r.streams.put(n.ID, s)
	return func(e Events) { e.StreamUpdated(s, n.Field, n.Value) }
}

// withStatus is the stream with all its tracks of the kind active or inactive; ok is false for any other status.
func withStatus(s conference.Stream, kind conference.Kind, status string) (_ conference.Stream, ok bool) {
	if status != "active" && status != "inactive" {
		return s, false
	}
	s.Tracks = slices.Clone(s.Tracks) // who holds the old stream keeps it as it was
	for i := range s.Tracks {
		if s.Tracks[i].Kind == kind {
			s.Tracks[i].Inactive = status == "inactive"
		}
	}
	return s, true
}

func bounded(s conference.Stream) conference.Stream {
	if len(s.Tracks) > maxTracks {
		s.Tracks = slices.Clone(s.Tracks[:maxTracks])
	}
	return s
}

// roster is a bounded map that remembers the order in which things came. Removing looks through the order, which is cheap at the rate at
// which people come and go.
type roster[T any] struct {
	limit  int
	order  []string
	values map[string]T
}

func newRoster[T any](limit int) roster[T] { return roster[T]{limit: limit, values: map[string]T{}} }

func (r *roster[T]) get(id string) (T, bool) {
	v, ok := r.values[id]
	return v, ok
}

// put adds or replaces; full says that a new one found no room.
func (r *roster[T]) put(id string, value T) (added, full bool) {
	_, known := r.values[id]
	if !known {
		if len(r.values) >= r.limit {
			return false, true
		}
		r.order = append(r.order, id)
	}
	r.values[id] = value
	return !known, false
}

func (r *roster[T]) remove(id string) bool {
	if _, ok := r.values[id]; !ok {
		return false
	}
	delete(r.values, id)
	for i, other := range r.order {
		if other == id {
			r.order = append(r.order[:i], r.order[i+1:]...)
			break
		}
	}
	return true
}

// list is a new slice in the order of coming.
func (r *roster[T]) list() []T {
	values := make([]T, len(r.order))
	for i, id := range r.order {
		values[i] = r.values[id]
	}
	return values
}
