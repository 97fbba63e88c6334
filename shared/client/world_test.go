package client

import (
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

// recorder writes the events down.
type recorder struct {
	journal
	onEvent func(text string)
	onState func(State)
}

func (r *recorder) event(parts ...string) {
	r.add(parts...)
	if r.onEvent != nil {
		r.onEvent(strings.Join(parts, " "))
	}
}

func (r *recorder) ParticipantJoined(p conference.Participant) { r.event("joined", p.ID) }
func (r *recorder) ParticipantLeft(id string)                  { r.event("left", id) }
func (r *recorder) StreamAdded(s conference.Stream)            { r.event("stream", s.ID) }
func (r *recorder) StreamRemoved(id string)                    { r.event("removed", id) }
func (r *recorder) StreamUpdated(s conference.Stream, field string, _ jsonvalue.Value) {
	r.event("updated", s.ID, field)
}
func (r *recorder) Message(from, to string, m jsonvalue.Value) {
	r.event("message", from, to, m.String())
}
func (r *recorder) SessionEnded(id, reason string) { r.event("ended", id, reason) }
func (r *recorder) SessionRestored(old, id string) { r.event("restored", old, id) }
func (r *recorder) DataMoved()                     { r.event("datamoved") }
func (r *recorder) RosterChanged(count int, thin bool) {
	r.event("roster", strconv.Itoa(count), strconv.FormatBool(thin))
}
func (r *recorder) State(s State) {
	if r.onState != nil {
		r.onState(s)
	}
	r.event("state", string(s.Signaling), s.Media)
}
func (r *recorder) Disconnected(err error) {
	text := "nil"
	if err != nil {
		text = err.Error()
	}
	r.event("disconnected", text)
}

// world is a conference between fakes.
type world struct {
	t      *testing.T
	portal *portal
	peers  *peers
	events *recorder
	c      *Conference
}

// inWorld runs a test in a bubble with a joined conference; at its end the conference must end cleanly.
func inWorld(t *testing.T, fn func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, err := Join(t.Context(), goodToken, w.options())
		if err != nil {
			t.Fatal(err)
		}
		w.c = c
		synctest.Wait()
		w.portal.journal.take()
		w.events.take()
		fn(w)
		_ = c.Leave(context.Background())
		<-c.Done()
	})
}

func newWorld(t *testing.T) *world {
	p := newPortal(t)
	return &world{t: t, portal: p, peers: &peers{journal: p.journal}, events: &recorder{}}
}

func (w *world) options() Options {
	return Options{Peers: w.peers, Events: w.events, Dial: w.portal.dial}
}

var goodToken = base64.StdEncoding.EncodeToString([]byte(`{"tokenId":"t","host":"portal:8080","secure":false,"signature":"x"}`))

// messages checks what the fakes saw since the last look.
func (w *world) messages(want ...string) {
	w.t.Helper()
	synctest.Wait()
	compare(w.t, "messages", w.portal.journal.take(), want)
}

// inAnyOrder is messages for things that happen beside each other.
func (w *world) inAnyOrder(want ...string) {
	w.t.Helper()
	synctest.Wait()
	got := w.portal.journal.take()
	slices.Sort(got)
	slices.Sort(want)
	compare(w.t, "messages", got, want)
}

func (w *world) told(want ...string) {
	w.t.Helper()
	synctest.Wait()
	compare(w.t, "events", w.events.take(), want)
}

func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// pending is a call that runs beside the test.
type pending[T any] struct {
	value T
	err   error
	done  chan struct{}
}

func (p *pending[T]) isDone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func start[T any](call func() (T, error)) *pending[T] {
	p := &pending[T]{done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.value, p.err = call()
	}()
	return p
}

func (w *world) publish(ctx context.Context) *pending[*Publication] {
	return start(func() (*Publication, error) {
		return w.c.Publish(ctx, PublishOptions{Tracks: []LocalTrack{{Kind: conference.Audio, Local: "mic"}, {Kind: conference.Video, Local: "cam"}}})
	})
}

func (w *world) published() *Publication {
	w.t.Helper()
	p := w.publish(w.t.Context())
	<-p.done
	if p.err != nil {
		w.t.Fatal(p.err)
	}
	synctest.Wait()
	w.portal.journal.take()
	w.events.take()
	return p.value
}

func (w *world) subscribe(ctx context.Context) *pending[*Subscription] {
	return start(func() (*Subscription, error) {
		return w.c.Subscribe(ctx, SubscribeOptions{Audio: &SubscribeTrack{From: "S"}, Video: &SubscribeTrack{From: "S"}})
	})
}

func parse(t testing.TB, s string) jsonvalue.Value {
	t.Helper()
	v, err := jsonvalue.Parse([]byte(s), jsonvalue.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func text(args []jsonvalue.Value) string {
	parts := make([]string, len(args))
	for i, a := range args {
		parts[i] = a.String()
	}
	return strings.Join(parts, " ")
}
