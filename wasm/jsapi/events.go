//go:build js && wasm

package jsapi

import (
	"context"
	"syscall/js"

	"portico/shared/client"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// listener passes the events of one conference to the page. Its methods run on the conference's own goroutine for events, which
// may wait: until join was answered, every one of them does.
type listener struct {
	api    *api
	client int
	joined chan struct{} // closed when join was answered
	self   *participation
	tokens chan jsonvalue.Value // what the page answered to tokenneeded
}

// token asks the page for a fresh join token and waits for it: the arguments of the call of that name, token or error.
func (l *listener) token(ctx context.Context) (string, error) {
	select {
	case <-l.tokens: // it came too late for an earlier attempt
	default:
	}
	l.tell("tokenneeded", jsonvalue.Value{})
	select {
	case answer := <-l.tokens:
		if token := answer.Get("token").Text(); token != "" {
			return token, nil
		}
		return "", &argumentError{"no new token: " + answer.Get("error").Text()}
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (l *listener) tokenCame(answer jsonvalue.Value) {
	select {
	case l.tokens <- answer:
	default: // one is there, and nobody has asked again
	}
}

var _ client.Events = (*listener)(nil)

func (l *listener) tell(name string, value jsonvalue.Value) {
	<-l.joined
	l.api.tell(l.client, name, value, js.Undefined())
}

func (l *listener) ParticipantJoined(p conference.Participant) {
	l.tell("participantjoined", participantOf(p))
}

func (l *listener) ParticipantLeft(id string) { l.tell("participantleft", idOf(id)) }

func (l *listener) StreamAdded(s conference.Stream) { l.tell("streamadded", streamOf(s)) }

func (l *listener) StreamRemoved(id string) { l.tell("streamremoved", idOf(id)) }

func (l *listener) StreamUpdated(s conference.Stream, field string, value jsonvalue.Value) {
	if field == portalproto.FieldAll {
		value = jsonvalue.Value{} // the stream says it all
	}
	l.tell("streamupdated", jsonvalue.OfObject(
		jsonvalue.M("stream", streamOf(s)), jsonvalue.M("field", jsonvalue.Of(field)), jsonvalue.M("value", value)))
}

func (l *listener) Message(from, to string, message jsonvalue.Value) {
	l.tell("message", jsonvalue.OfObject(jsonvalue.M("origin", jsonvalue.Of(from)), jsonvalue.M("to", jsonvalue.Of(to)), jsonvalue.M("message", message)))
}

// SessionEnded keeps reasons that are no fault of anybody to itself: with a reason the page reports an error.
func (l *listener) SessionEnded(id, reason string) {
	l.self.remove(id)
	switch reason {
	case client.ReasonStopped, client.ReasonEnded, client.ReasonRemoved:
		reason = ""
	}
	l.tell("sessionended", jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of(id)), jsonvalue.M("reason", jsonvalue.Of(reason))))
	l.api.garbage.soon()
}

// SessionRestored gives the page the new id, and for a subscription its new tracks.
func (l *listener) SessionRestored(old, id string) {
	<-l.joined
	tracks := js.Undefined()
	if s, ok := l.self.rename(old, id).(*client.Subscription); ok {
		tracks = tracksOf(s)
	}
	l.api.tell(l.client, "sessionrestored", jsonvalue.OfObject(jsonvalue.M("old", jsonvalue.Of(old)), jsonvalue.M("id", jsonvalue.Of(id))), tracks)
	l.api.garbage.soon()
}

func (l *listener) DataMoved() { l.tell("datamoved", jsonvalue.Value{}) }

func (l *listener) RosterChanged(count int, thin bool) {
	l.tell("rosterchanged", jsonvalue.OfObject(jsonvalue.M("count", jsonvalue.OfInt(int64(count))), jsonvalue.M("thin", jsonvalue.OfBool(thin))))
}

func (l *listener) State(s client.State) {
	l.tell("connectionstate", jsonvalue.OfObject(
		jsonvalue.M("signaling", jsonvalue.Of(string(s.Signaling))), jsonvalue.M("media", jsonvalue.Of(s.Media)), jsonvalue.M("self", participantOf(s.Self))))
}

// Disconnected is the last event. The page is told unless it left by itself.
func (l *listener) Disconnected(err error) {
	<-l.joined
	l.api.mu.Lock()
	delete(l.api.rooms, l.client)
	l.api.mu.Unlock()
	reason := err
	if reason == nil {
		reason = client.ErrEnded
	}
	l.api.fail(l.client, reason)
	if err != nil {
		l.tell("disconnected", describe(err))
	}
	l.api.garbage.soon()
}

func idOf(id string) jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of(id)))
}

func participantOf(p conference.Participant) jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of(p.ID)), jsonvalue.M("user", jsonvalue.Of(p.User)), jsonvalue.M("role", jsonvalue.Of(p.Role)))
}

// streamOf is a stream as the portal describes it: one form for the page to read, whoever wrote it.
func streamOf(s conference.Stream) jsonvalue.Value {
	return portalproto.EncodeStream(&s, portalproto.Receiver{Version: portalproto.V12})
}

func infoOf(info client.Info) jsonvalue.Value {
	participants := make([]jsonvalue.Value, len(info.Participants))
	for i, p := range info.Participants {
		participants[i] = participantOf(p)
	}
	streams := make([]jsonvalue.Value, len(info.Streams))
	for i, s := range info.Streams {
		streams[i] = streamOf(s)
	}
	return jsonvalue.OfObject(
		jsonvalue.M("room", jsonvalue.Of(info.RoomID)), jsonvalue.M("self", jsonvalue.Of(info.Self.ID)), jsonvalue.M("views", jsonvalue.OfStrings(info.Views)),
		jsonvalue.M("participants", jsonvalue.OfArray(participants...)), jsonvalue.M("streams", jsonvalue.OfArray(streams...)),
		jsonvalue.M("adapts", jsonvalue.OfBool(info.Adapts)), jsonvalue.M("count", jsonvalue.OfInt(int64(info.Count))),
		jsonvalue.M("thin", jsonvalue.OfBool(info.Thin)))
}
