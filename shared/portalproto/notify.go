package portalproto

import (
	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

// Notification is something the portal tells a client unasked (portal protocol 7): one of the types below.
type Notification interface {
	// Encode gives the event's name and data as that receiver understands them; absent data is an event without data.
	Encode(to Receiver) (event string, data jsonvalue.Value)
}

// ParticipantJoined tells of a new participant.
type ParticipantJoined struct{ Participant conference.Participant }

// ParticipantLeft tells that one is gone.
type ParticipantLeft struct{ ID string }

// StreamAdded tells of a new stream.
type StreamAdded struct{ Stream conference.Stream }

// StreamRemoved tells that a stream is gone.
type StreamRemoved struct{ ID string }

// StreamUpdated tells of a change. Field "." carries the whole Stream; the others a Value.
type StreamUpdated struct {
	ID     string
	Field  string
	Value  jsonvalue.Value
	Stream *conference.Stream // field "." only
}

// The fields of StreamUpdated.
const (
	FieldAudioStatus = "audio.status"
	FieldVideoStatus = "video.status"
	FieldLayout      = "video.layout"
	FieldActiveInput = "activeInput"
	FieldAll         = "."
)

// TextMessage is a message from a participant: To is All or, for a message to this client alone, Me.
type TextMessage struct {
	From, To string
	Message  jsonvalue.Value
}

// Me is the receiver of a text as the client it was sent to sees it.
const Me = "me"

// ProgressStatus says how a transport or session is getting on.
type ProgressStatus string

// The statuses of Progress.
const (
	ProgressSOAC  ProgressStatus = "soac"
	ProgressReady ProgressStatus = "ready"
	ProgressError ProgressStatus = "error"
	// ProgressLayers is an addition to the protocol for clients that publish with PublishTrack.Layers: the data names, with commas, the
	// rids of the layers that somebody has a use for.
	ProgressLayers ProgressStatus = "layers"
)

// Progress tells the owner of a transport about it (portal protocol 7.3).
type Progress struct {
	Transport string
	Session   string // empty: the transport as a whole
	Status    ProgressStatus
	Answer    string // soac: the SDP answer
	Reason    string // error; layers: the rids
}

// Dropped tells the client that the server ends its participation.
type Dropped struct{}

func (n ParticipantJoined) Encode(Receiver) (string, jsonvalue.Value) {
	return EventParticipant, action("join", encodeParticipant(n.Participant))
}

func (n ParticipantLeft) Encode(Receiver) (string, jsonvalue.Value) {
	return EventParticipant, action("leave", jsonvalue.Of(n.ID))
}

func action(name string, data jsonvalue.Value) jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("action", jsonvalue.Of(name)), jsonvalue.M("data", data))
}

func (n StreamAdded) Encode(to Receiver) (string, jsonvalue.Value) {
	return EventStream, streamEvent(n.Stream.ID, "add", EncodeStream(&n.Stream, to))
}

func (n StreamRemoved) Encode(Receiver) (string, jsonvalue.Value) {
	return EventStream, streamEvent(n.ID, "remove", jsonvalue.Value{})
}

func (n StreamUpdated) Encode(to Receiver) (string, jsonvalue.Value) {
	value := n.Value
	if n.Stream != nil {
		value = EncodeStream(n.Stream, to)
	}
	return EventStream, streamEvent(n.ID, "update",
		jsonvalue.OfObject(jsonvalue.M("field", jsonvalue.Of(n.Field)), jsonvalue.M("value", value)))
}

func streamEvent(id, status string, data jsonvalue.Value) jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of(id)), jsonvalue.M("status", jsonvalue.Of(status)), jsonvalue.M("data", data))
}

func (n TextMessage) Encode(Receiver) (string, jsonvalue.Value) {
	return EventText, jsonvalue.OfObject(jsonvalue.M("from", jsonvalue.Of(n.From)), jsonvalue.M("to", jsonvalue.Of(n.To)), jsonvalue.M("message", n.Message))
}

func (n Progress) Encode(to Receiver) (string, jsonvalue.Value) {
	event := EventProgress
	if n.Session != "" && n.Status == ProgressReady && to.Version != 0 && to.Version < V12 {
		event = eventSessionProgress
	}
	var data jsonvalue.Value
	switch n.Status {
	case ProgressSOAC:
		data = jsonvalue.OfObject(jsonvalue.M("type", jsonvalue.Of("answer")), jsonvalue.M("sdp", jsonvalue.Of(n.Answer)))
	case ProgressError, ProgressLayers:
		data = jsonvalue.Of(n.Reason)
	}
	return event, jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of(n.Transport)), jsonvalue.M("sessionId", optionalText(n.Session)),
		jsonvalue.M("status", jsonvalue.Of(string(n.Status))), jsonvalue.M("data", data))
}

func (Dropped) Encode(Receiver) (string, jsonvalue.Value) { return EventDrop, jsonvalue.NullValue() }

// DecodeNotification reads an event a client received, in its current form; ok is false for one that is unknown or makes no
// sense, which a client ignores.
func DecodeNotification(event string, data jsonvalue.Value) (n Notification, ok bool) {
	switch event {
	case EventParticipant:
		return decodeParticipantEvent(data)
	case EventStream:
		return decodeStreamEvent(data)
	case EventText:
		t := TextMessage{From: data.Get("from").Text(), To: data.Get("to").Text(), Message: data.Get("message")}
		return t, t.From != ""
	case EventProgress:
		return decodeProgress(data)
	case EventDrop:
		return Dropped{}, true
	case EventMove:
		return decodeMove(data)
	case EventRoster:
		return decodeRoster(data)
	}
	return nil, false
}

func decodeParticipantEvent(data jsonvalue.Value) (Notification, bool) {
	switch data.Get("action").Text() {
	case "join":
		p := decodeParticipant(data.Get("data"))
		return ParticipantJoined{p}, p.ID != ""
	case "leave":
		id := data.Get("data").Text()
		return ParticipantLeft{id}, id != ""
	}
	return nil, false
}

func decodeStreamEvent(data jsonvalue.Value) (Notification, bool) {
	id := data.Get("id").Text()
	switch data.Get("status").Text() {
	case "add":
		s, ok := DecodeStream(data.Get("data"))
		return StreamAdded{s}, ok
	case "remove":
		return StreamRemoved{id}, id != ""
	case "update":
		u := StreamUpdated{ID: id, Field: data.Path("data", "field").Text(), Value: data.Path("data", "value")}
		if u.Field == FieldAll {
			s, ok := DecodeStream(u.Value)
			u.Stream = &s
			return u, ok && id != ""
		}
		return u, id != "" && u.Field != ""
	}
	return nil, false
}

func decodeProgress(data jsonvalue.Value) (Notification, bool) {
	p := Progress{Transport: data.Get("id").Text(), Session: data.Get("sessionId").Text(), Status: ProgressStatus(data.Get("status").Text())}
	switch p.Status {
	case ProgressSOAC:
		if data.Path("data", "type").Text() != "answer" {
			return nil, false // servers of this protocol send nothing else here
		}
		p.Answer = data.Path("data", "sdp").Text()
	case ProgressError, ProgressLayers:
		p.Reason = data.Get("data").Text()
	case ProgressReady:
	default:
		return nil, false
	}
	return p, p.Transport != ""
}
