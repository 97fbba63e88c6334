//go:build js && wasm

package jsapi

import (
	"context"
	"errors"

	"portico/shared/client"
	"portico/shared/jsonvalue"
	"portico/wasm/browser"
)

// argumentError is a call that makes no sense.
type argumentError struct{ text string }

func (e *argumentError) Error() string { return e.text }

// panicError is a fault of this program.
type panicError struct{ text string }

func (e *panicError) Error() string { return "internal error: " + e.text }

// errNotJoined is given to calls for a client that is in no conference.
var errNotJoined = errors.New("not in a conference: join first")

// codes are the codes of portico.d.ts for what errors.Is can tell. The first that fits counts: an error may be several, and the
// more telling ones come first.
var codes = []struct {
	err  error
	code string
}{
	{context.Canceled, "aborted"},
	{context.DeadlineExceeded, "timeout"},
	{client.ErrToken, "invalid-token"},
	{client.ErrConnect, "disconnected"},
	{client.ErrDropped, "dropped"},
	{client.ErrUnknownOutcome, "unknown-outcome"},
	{client.ErrLost, "disconnected"},
	{client.ErrSlowEvents, "disconnected"},
	{client.ErrTimeout, "timeout"},
	{client.ErrNoData, "unsupported"},
	{client.ErrData, "disconnected"},
	{client.ErrBusy, "busy"},
	{client.ErrArgument, "invalid-argument"},
	{client.ErrStopped, "session-ended"},
	{browser.ErrUnsupported, "unsupported"},
	{browser.ErrNotATrack, "invalid-argument"},
	{client.ErrMedia, "media"},
	{client.ErrProtocol, "protocol"},
	{client.ErrEnded, "disconnected"},
	{errNotJoined, "invalid-state"},
}

// describe is an error as the page gets it: {code, message}.
func describe(err error) jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("code", jsonvalue.Of(codeOf(err))), jsonvalue.M("message", jsonvalue.Of(messageOf(err))))
}

func codeOf(err error) string {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	var (
		refused  *client.ServerError
		ended    *client.SessionError
		thrown   *browser.Error
		argument *argumentError
	)
	switch {
	case errors.As(err, &refused):
		return "refused"
	case errors.As(err, &ended):
		return "session-ended"
	case errors.As(err, &thrown):
		return "media"
	case errors.As(err, &argument):
		return "invalid-argument"
	}
	return "internal"
}

// messageOf is the text for people. A refusal is the server's words alone: applications show and compare them.
func messageOf(err error) string {
	var refused *client.ServerError
	if errors.As(err, &refused) {
		return refused.Text
	}
	return err.Error()
}
