package client

import (
	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

// Events is told what happens in a conference. Calls come one at a time and in order, from a goroutine of their own: a handler may block,
// call the Conference, Leave included, and take its time, as long as no more than Options.MaxEvents wait behind it. The first calls may
// come before Join has returned. Embed NoEvents to handle only some.
type Events interface {
	ParticipantJoined(p conference.Participant)
	ParticipantLeft(id string)
	// StreamAdded is also told for the client's own publications, after they were ready.
	StreamAdded(s conference.Stream)
	StreamRemoved(id string)
	// StreamUpdated gives the stream as it is now and which field changed, one of portalproto's Field names. value is the field's value as
	// the server sent it: the regions of a layout are found only there.
	StreamUpdated(s conference.Stream, field string, value jsonvalue.Value)
	// Message is a text from a participant, the client itself included; to is "all" or "me".
	Message(from, to string, message jsonvalue.Value)
	// SessionEnded is told once for every Publication and Subscription that was handed out, however it ended.
	SessionEnded(id, reason string)
	// SessionRestored is told after the client had to join anew or went to another edge, once for every Publication and Subscription that
	// is there again. It has a new id, a publication with it a new stream, but on another edge, where it keeps both; a subscription has
	// new Tracks.
	SessionRestored(old, id string)
	// DataMoved is told after the client went to another edge, if there was a connection for data streams, or there are sessions of data. The
	// program opens another connection, with the grant of OpenData: then the sessions are restored. It keeps the one of before, if that
	// stands, until all have been, or have ended: as long the streams on it go on.
	DataMoved()
	// RosterChanged is told with Options.Thin alone: when the roster becomes thin or full, and while it is thin when there are more
	// participants or fewer, about once a second. It comes before those are told to leave of whom nothing more will be heard, and after
	// those are told to join of whom nothing was heard: so as long as the roster is thin, joining and leaving mean no more than that
	// somebody is listed.
	RosterChanged(count int, thin bool)
	State(s State)
	// Disconnected is the last call, made once. err is nil after Leave; otherwise ErrDropped, ErrLost or what else ended the conference.
	Disconnected(err error)
}

// State is how the conference's two connections are doing.
type State struct {
	Signaling Signaling
	Media     string // connectionState of the PeerConnection: new, connecting, connected, disconnected, failed; empty when there is none
	// Self is the client. It is another participant when the client had to join anew; then the room's changes follow as events, the
	// client's own joining not among them.
	Self conference.Participant
}

// Signaling is the state of the connection to the portal.
type Signaling string

// The states of Signaling.
const (
	Joined       Signaling = "joined"
	Reconnecting Signaling = "reconnecting" // the connection is lost and tried again; the media may go on
	Ended        Signaling = "ended"
)

// Reasons of SessionEnded that are the client's own; all others are the server's words.
const (
	ReasonStopped = "stopped"                 // by Stop
	ReasonEnded   = "conference ended"        // Leave, or the connection was lost
	ReasonMedia   = "media connection failed" // of the PeerConnection, for all its sessions
	ReasonRemoved = "stream removed"          // by the server, though nobody here stopped it
	ReasonGone    = "not restored"            // after the client had to join anew
	ReasonData    = "data connection lost"    // of the connection for data streams, for all on it
)

// NoEvents ignores every event.
type NoEvents struct{}

var _ Events = NoEvents{}

func (NoEvents) ParticipantJoined(conference.Participant)                 {}
func (NoEvents) ParticipantLeft(string)                                   {}
func (NoEvents) StreamAdded(conference.Stream)                            {}
func (NoEvents) StreamRemoved(string)                                     {}
func (NoEvents) StreamUpdated(conference.Stream, string, jsonvalue.Value) {}
func (NoEvents) Message(string, string, jsonvalue.Value)                  {}
func (NoEvents) SessionEnded(string, string)                              {}
func (NoEvents) SessionRestored(string, string)                           {}
func (NoEvents) DataMoved()                                               {}
func (NoEvents) RosterChanged(int, bool)                                  {}
func (NoEvents) State(State)                                              {}
func (NoEvents) Disconnected(error)                                       {}
