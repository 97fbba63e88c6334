package conference

import "portico/shared/jsonvalue"

// Permission says which kinds of media a participant may publish and subscribe to.
type Permission struct {
	Publish   MediaSet `json:"publish"`
	Subscribe MediaSet `json:"subscribe"`
}

// MediaSet is a set of kinds of media.
type MediaSet struct {
	Video bool `json:"video"`
	Audio bool `json:"audio"`
}

// Has tells whether the set contains the kind.
func (m MediaSet) Has(k Kind) bool { return k == Audio && m.Audio || k == Video && m.Video }

// Participant is someone in a room.
type Participant struct {
	ID         string // the id of the connection it logged in on; 20 characters, stable until it leaves
	User       string // the account behind it, as the token said
	Role       string
	Permission Permission
}

// StreamType tells a participant's own media from a mix made by the server.
type StreamType string

// The types of streams.
const (
	Forward StreamType = "forward"
	Mixed   StreamType = "mixed"
)

// Origin is where a client says it is: it takes part in choosing nodes.
type Origin struct {
	ISP    string `json:"isp"`
	Region string `json:"region"`
}

// Stream is media that participants of a room can subscribe to. A Stream value is a snapshot: whoever holds it may read it
// for ever, nobody changes it or its slices.
type Stream struct {
	ID     string
	Type   StreamType
	Tracks []Track
	Data   bool // a data stream (WebTransport): no tracks

	// Forward streams.
	Owner      string          // participant id, or "admin"
	Via        string          // how it came in: webrtc, quic, streaming, sip, analytics; selecting: whoever is loudest
	InViews    []string        // labels of the views it is mixed into
	Attributes jsonvalue.Value // what the publisher said of it: an object, or absent

	// Mixed streams.
	Label       string
	ActiveInput string          // id of the loudest input; "unknown" when there is none. Also of forward streams that select.
	Layout      jsonvalue.Value // who is shown where, as package layout writes it; absent: nobody
	Origin      Origin
}

// Track returns the track with that id and kind, or the first of that kind when id is the stream's own: how a subscription's
// "from" is resolved (portal protocol 6.5).
func (s *Stream) Track(id string, kind Kind) (Track, bool) {
	for _, t := range s.Tracks {
		if t.Kind == kind && (id == s.ID || id == t.ID) {
			return t, true
		}
	}
	return Track{}, false
}

// Has tells whether the stream has a track of that kind.
func (s *Stream) Has(kind Kind) bool {
	_, ok := s.Track(s.ID, kind)
	return ok
}
