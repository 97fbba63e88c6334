// Package portalproto is the Client-Portal protocol of OWT as data: every request, answer and notification in one current form
// (version 1.2), with the older versions translated here, at the door, so that nothing behind the portal knows of versions.
//
// Both ends use it: the portal decodes requests and encodes answers and notifications, a client does the reverse. On the wire
// a request is a Socket.IO event [name, data] with an acknowledgement ["ok", data?] or ["error", text]; a notification is an
// event without one. Decoders check the shape strictly and answer in the words that OWT's own validator uses (portal protocol
// 2.7); they never trust a member to be there.
package portalproto

import "portico/shared/jsonvalue"

// Requests, from client to portal (portal protocol 2 and 6).
const (
	EventLogin               = "login"
	EventRelogin             = "relogin"
	EventLogout              = "logout"
	EventRefreshTicket       = "refreshReconnectionTicket"
	EventText                = "text" // also a notification
	EventPublish             = "publish"
	EventUnpublish           = "unpublish"
	EventStreamControl       = "stream-control"
	EventSubscribe           = "subscribe"
	EventUnsubscribe         = "unsubscribe"
	EventSubscriptionControl = "subscription-control"
	EventSOAC                = "soac"

	// EventRefreshWebTransport, an addition of ours, asks for a token for another WebTransport connection, after the client has ended
	// what was on the one that it lost. The request has no data; the answer's is a WebTransportGrant.
	EventRefreshWebTransport = "refreshWebTransportToken"
	// EventSubscriptionQuality, an addition of ours, asks what the client gets by a subscription of its own, and why. The request is {id}, as
	// that of unsubscribe; the answer's data is one of the subscriptions that the management API tells of in the quality of a stream.
	EventSubscriptionQuality = "subscription-quality"
)

// Notifications, from portal to client (portal protocol 7).
const (
	EventParticipant = "participant"
	EventStream      = "stream"
	EventProgress    = "progress"
	EventDrop        = "drop"

	eventSessionProgress = "session-progress" // a session's "ready" before version 1.2
)

// The first argument of an acknowledgement.
const (
	StatusOK    = "ok"
	StatusError = "error"
)

// Version is a protocol version a client may choose at login. The zero Version is none.
type Version uint8

// The versions that are served (portal protocol 3).
const (
	V10 Version = iota + 1
	V11
	V12
)

var versionNames = [...]string{"unknown", "1.0", "1.1", "1.2"}

func (v Version) String() string { return versionNames[v] }

// ParseVersion reads a version by its name; ok is false for one that is not served.
func ParseVersion(name string) (v Version, ok bool) { return parseVersion(jsonvalue.Of(name)) }

// parseVersion reads the protocol member of a login.
func parseVersion(v jsonvalue.Value) (Version, bool) {
	for i, name := range versionNames[V10:] {
		if v.Text() == name {
			return V10 + Version(i), true
		}
	}
	return 0, false
}

// Error is a refusal as the client sees it: the text is the second argument of the acknowledgement.
type Error struct{ Text string }

func (e *Error) Error() string { return e.Text }

// Redirect is a refusal of this edge alone: others may not refuse. Clients of ours find their addresses in a third argument of the
// acknowledgement, {"edges": […]}, which others ignore.
type Redirect struct {
	Refusal *Error
	Edges   []string // as in LoginResult
}

func (r *Redirect) Error() string { return r.Refusal.Text }

// Unwrap is the refusal without the edges.
func (r *Redirect) Unwrap() error { return r.Refusal }

// The refusals of the catalogue (portal protocol 2.8) that have a fixed text.
var (
	ErrInService          = &Error{"Connection is in service"}
	ErrIllegalRequest     = &Error{"Illegal request"}
	ErrUnknownProtocol    = &Error{"Unknown client protocol"}
	ErrDeprecatedClient   = &Error{"Deprecated client version"}
	ErrUserAgent          = &Error{"User agent info is incorrect"}
	ErrTokenSignature     = &Error{"Invalid token signature"}
	ErrExpired            = &Error{"Expired"}
	ErrRoomFull           = &Error{"Room is full"}
	ErrInvalidRole        = &Error{"Invalid role"}
	ErrJoinFailed         = &Error{"Joining room failed"}
	ErrEarlyLeft          = &Error{"Participant early left"}
	ErrAlreadyInRoom      = &Error{"Participant already in room"}
	ErrInvalidLogin       = &Error{"Invalid login info"}
	ErrInvalidToken       = &Error{"Invalid token"}
	ErrTicketExpired      = &Error{"Ticket is expired"}
	ErrTicketSignature    = &Error{"Invalid reconnection ticket signature"}
	ErrNoClient           = &Error{"Client does NOT exist"}
	ErrReconnectionDenied = &Error{"Reconnection is not allowed"}
	ErrNoReconnection     = &Error{"Reconnection is not enabled."}
	ErrNotJoined          = &Error{"Participant has NOT joined"}
	ErrNotJoinedRoom      = &Error{"Participant has not joined"}
	ErrNotReady           = &Error{"Controllers are not ready"}
	ErrInvalidReceiver    = &Error{"Invalid receiver"}
	ErrUnauthorized       = &Error{"unauthorized"}
	ErrTooManyInputs      = &Error{"Too many inputs"}
	ErrBadPublication     = &Error{"Bad publication request"}
	ErrBadSubscription    = &Error{"Bad subscription request"}
	ErrInvalidStreamID    = &Error{"Invalid stream id"}
	ErrNoStream           = &Error{"Stream does NOT exist"}
	ErrStreamNotReady     = &Error{"Stream is NOT ready"}
	ErrStreamMixed        = &Error{"Stream is Mixed"}
	ErrNoTrackToMute      = &Error{"Stream does NOT contain valid track to mute/unmute"}
	ErrInvalidView        = &Error{"Invalid view"}
	ErrInvalidMixView     = &Error{"Invalid mix view"}
	ErrInvalidStream      = &Error{"Invalid stream"}
	ErrInvalidInput       = &Error{"Invalid input stream_id."}
	ErrInvalidRegion      = &Error{"Invalid region_id."}
	ErrNoAudioMixer       = &Error{"Audio mixer is NOT ready."}
	ErrNoVideoMixer       = &Error{"Video mixer is NOT ready."}
	ErrSubscriptionID     = &Error{"Invalid subscription id"}
	ErrNoSubscription     = &Error{"Subscription does NOT exist"}
	ErrSourceReleased     = &Error{"Target audio/video stream early released"}
	ErrInvalidSOACID      = &Error{"Invalid soac id"}
	ErrInvalidSignaling   = &Error{"Invalid signaling object"}
	ErrInvalidSignalType  = &Error{"Invalid signaling type"}
	ErrUpdateFailed       = &Error{"Update subscription failed"}
	ErrNoAudioToUpdate    = &Error{"Target subscription does NOT have audio to update"}
	ErrNoVideoToUpdate    = &Error{"Target subscription does NOT have video to update"}
	ErrUnknown            = &Error{"Unknown"}
	ErrOverloaded         = &Error{"Server is overloaded, try again later"}
	ErrTooManyTransports  = &Error{"Too many transports"}
	ErrTooManyRequests    = &Error{"Too many requests"}
	ErrTooManySessions    = &Error{"Too many sessions"}
	ErrClusterUnavailable = &Error{"Room is not reachable, try again later"}
	ErrNoWebTransport     = &Error{"WebTransport is not enabled."}
	ErrMessageTooLong     = &Error{"Message is too long"}
)

// Reasons for which the server ends a session, the data of a progress error (portal protocol 7.3).
const (
	ReasonSourceLoss    = "Source stream loss"
	ReasonNoTracks      = "No valid tracks in stream"
	ReasonICEFailed     = "Ice procedure failed."
	ReasonOwnerLeave    = "Owner leave"
	ReasonNoSubscribed  = "The subscribed stream has been broken. Canceling it."
	ReasonNeverOffered  = "No offer received in time"
	ReasonRoomDestroyed = "Room destruction"
)

// NoParticipant is the refusal of a text to someone who is not in the room.
func NoParticipant(id string) *Error {
	return &Error{"Target participant does NOT exist: " + id}
}

// NoTransport is the refusal of a request on a transport that is not there, or not the caller's.
func NoTransport(id string) *Error { return &Error{"Transport " + id + " does NOT exist"} }

// AudioUnsatisfied is the refusal of a subscription to audio; the detail is one of the texts of portal protocol 2.8.
func AudioUnsatisfied(detail string) *Error {
	return &Error{"Target audio stream does NOT satisfy:" + detail}
}

// VideoUnsatisfied is AudioUnsatisfied for video.
func VideoUnsatisfied(detail string) *Error {
	return &Error{"Target video stream does NOT satisfy:" + detail}
}

// AudioUpdateUnsatisfied is AudioUnsatisfied for the update of a subscription, where the text has no colon; that of video has one.
func AudioUpdateUnsatisfied(detail string) *Error {
	return &Error{"Target audio stream does NOT satisfy" + detail}
}

// Details of AudioUnsatisfied and VideoUnsatisfied.
const (
	DetailAudio            = "Requested audio stream"
	DetailVideo            = "Requested video stream"
	DetailFormat           = "Format is not acceptable"
	DetailResolution       = "Resolution is not acceptable"
	DetailFramerate        = "Framerate is not acceptable"
	DetailBitrate          = "Bitrate is not acceptable"
	DetailKeyFrameInterval = "KeyFrameInterval is not acceptable"
)

// AckOK is the arguments of a successful acknowledgement; absent data leaves just the status.
func AckOK(data jsonvalue.Value) []jsonvalue.Value {
	if !data.Exists() {
		return []jsonvalue.Value{jsonvalue.Of(StatusOK)}
	}
	return []jsonvalue.Value{jsonvalue.Of(StatusOK), data}
}

// AckError is the arguments of a refusal. An error that is not an *Error is told as "Unknown": its text is ours alone.
func AckError(err error) []jsonvalue.Value {
	if r, ok := err.(*Redirect); ok && len(r.Edges) > 0 {
		return append(AckError(r.Refusal), jsonvalue.OfObject(jsonvalue.M("edges", jsonvalue.OfStrings(r.Edges))))
	}
	text := ErrUnknown.Text
	if r, ok := err.(*Redirect); ok {
		err = r.Refusal
	}
	if e, ok := err.(*Error); ok && e != nil {
		text = e.Text
	}
	return []jsonvalue.Value{jsonvalue.Of(StatusError), jsonvalue.Of(text)}
}

// DecodeAck is the reverse of AckOK and AckError: the data of a success (absent when there was none), or an *Error with the
// server's text, or a *Redirect.
func DecodeAck(args []jsonvalue.Value) (jsonvalue.Value, error) {
	var status, data jsonvalue.Value
	if len(args) > 0 {
		status = args[0]
	}
	if len(args) > 1 {
		data = args[1]
	}
	if status.Text() == StatusOK {
		return data, nil
	}
	if data.Text() == "" {
		return jsonvalue.Value{}, ErrUnknown
	}
	refusal := &Error{data.Text()}
	if len(args) < 3 {
		return jsonvalue.Value{}, refusal
	}
	if edges := decodeEdges(args[2].Get("edges")); len(edges) > 0 {
		return jsonvalue.Value{}, &Redirect{refusal, edges}
	}
	return jsonvalue.Value{}, refusal
}
