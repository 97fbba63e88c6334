package portalproto

import "portico/shared/jsonvalue"

// EventRoster names the notification Roster.
const EventRoster = "roster"

// Roster tells how many participants there are, and whether the client is told of all of them. It is an addition of ours for clients
// that asked for it (Login.Thin): where there are many participants their roster is thin. Then it has the client itself, those that
// publish something, and those that have sent the client a text of its own, who all come and go by ParticipantJoined and
// ParticipantLeft as if they came into the room and left it; all others are a number. A Roster that is thin comes before the others
// go, one that is not comes after they have come back; in between one tells, at most once a second, of another number.
type Roster struct {
	Count int // the client itself among them
	Thin  bool
}

// Encode is the event.
func (r Roster) Encode(Receiver) (event string, data jsonvalue.Value) {
	return EventRoster, jsonvalue.OfObject(jsonvalue.M("count", jsonvalue.OfInt(int64(r.Count))), jsonvalue.M("thin", jsonvalue.OfBool(r.Thin)))
}

func decodeRoster(v jsonvalue.Value) (r Roster, ok bool) {
	r.Thin = v.Get("thin").Bool()
	r.Count, ok = decodeCount(v.Get("count"))
	return r, ok
}

// maxCount bounds the participants that a server may speak of.
const maxCount = 10_000_000

// decodeCount reads how many participants there are: at least the client itself.
func decodeCount(v jsonvalue.Value) (n int, ok bool) {
	if c, is := v.Int(); is && c > 0 && c <= maxCount {
		return int(c), true
	}
	return 0, false
}

func optionalCount(n int) (v jsonvalue.Value) {
	if n > 0 {
		v = jsonvalue.OfInt(int64(n))
	}
	return v
}
