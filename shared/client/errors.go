package client

import (
	"errors"
	"strings"

	"portico/shared/portalproto"
)

// What a caller can act on. Errors are told apart with errors.Is; a *ServerError or *SessionError carries the server's words.
var (
	ErrToken        = errors.New("the join token cannot be read")
	ErrTokenRefused = errors.New("the join token is used up, too old or not this server's")
	ErrRoomFull     = errors.New("the room is full")
	ErrUnauthorized = errors.New("the participant's role does not allow this")
	ErrConnect      = errors.New("the server cannot be reached")
	ErrLost         = errors.New("the connection to the server was lost")
	ErrDropped      = errors.New("the server ended the participation")
	ErrTimeout      = errors.New("the server did not answer in time")
	ErrProtocol     = errors.New("the server's answer makes no sense")
	ErrMedia        = errors.New("the media connection failed")
	ErrNoData       = errors.New("the server has no data streams")
	ErrData         = errors.New("the connection for data streams is not there")
	ErrArgument     = errors.New("the request makes no sense")
	ErrBusy         = errors.New("too many publications, subscriptions or waiting requests at a time")
	ErrSlowEvents   = errors.New("the event handler fell too far behind")
	ErrStopped      = errors.New("the publication or subscription was stopped")
	ErrEnded        = errors.New("the conference has ended")

	// ErrUnknownOutcome is given when the connection broke between a request and its answer: the server may have carried it out.
	ErrUnknownOutcome = errors.New("the connection was lost before the server answered: it may have done what was asked")
)

// ServerError is a refusal: the text of the server's error acknowledgement (portal protocol 2.8). It is also ErrTokenRefused, ErrRoomFull
// or ErrUnauthorized where the text says so.
type ServerError struct {
	Request string // name of the request: "login", "publish", …
	Text    string // for people who read English; not translated

	edges []string // others, which may not refuse
}

func (e *ServerError) Error() string { return e.Request + " refused: " + e.Text }

// Is tells whether the refusal has that meaning.
func (e *ServerError) Is(target error) bool {
	switch target {
	case ErrTokenRefused:
		return e.Text == portalproto.ErrInvalidToken.Text || e.Text == portalproto.ErrTokenSignature.Text || e.Text == portalproto.ErrExpired.Text
	case ErrRoomFull:
		return e.Text == portalproto.ErrRoomFull.Text
	case ErrUnauthorized:
		return e.Text == portalproto.ErrUnauthorized.Text
	}
	return false
}

// gone tells whether the refusal says that what it was about is not there any more.
func (e *ServerError) gone() bool { return strings.HasSuffix(e.Text, "does NOT exist") }

// SessionError says that the server ended a publication or subscription before it was usable.
type SessionError struct {
	ID     string
	Reason string // the server's words (portal protocol 7.3)
}

func (e *SessionError) Error() string { return "the server ended the session: " + e.Reason }

// because is an error of one of the kinds above with what caused it.
type because struct{ kind, cause error }

func (e *because) Error() string   { return e.kind.Error() + ": " + e.cause.Error() }
func (e *because) Unwrap() []error { return []error{e.kind, e.cause} }

func withCause(kind, cause error) error {
	if cause == nil || errors.Is(cause, kind) {
		return kind
	}
	return &because{kind, cause}
}
