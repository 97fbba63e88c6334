package worker

import (
	"testing"
	"time"

	"portico/shared/relayproto"
)

// Any edge of a room may have its streams in other forms: their lives do not compare.
func TestTranscodingOfSeveralEdges(t *testing.T) {
	b := start(t, Options{})
	transcode := func(id string, epoch, flow uint64) *relayproto.Order {
		o := order(id, "", flow)
		o.Kind, o.Epoch, o.View = relayproto.Transcode, epoch, nil
		return o
	}
	one, way := b.edge("edge-1")
	other, _ := b.edge("edge-2")
	first := b.call(one, transcode("a", 5, 1))
	runs(t, first, 1)
	runs(t, b.call(other, transcode("b", 900, 11)), 1) // it was started much later
	runs(t, b.call(one, transcode("c", 5, 21)), 1)
	echoes(t, one, way, 1)
	// The same edge in another life is one that has forgotten the first.
	runs(t, b.call(one, transcode("d", 6, 31)), 1)
	refused(t, first, relayproto.Stale, "epoch 6 of the room has begun")
}

// The epochs of a room that has ended are forgotten: they begin anew.
func TestEpochsAreForgotten(t *testing.T) {
	w := &Worker{rooms: map[string]*room{"R": {epoch: 5, idle: time.Unix(1000, 0)}}}
	old := order("a", "R", 1)
	if r := w.obeys("R", old, time.Unix(1000, 0).Add(keepLine)); r == nil || r.Reason != relayproto.Stale {
		t.Errorf("a home that was succeeded is obeyed: %v", r)
	}
	w.rooms["R"].jobs = 1
	if r := w.obeys("R", old, time.Unix(1000, 0).Add(time.Hour)); r == nil {
		t.Error("the epoch of a job that runs is forgotten")
	}
	w.rooms["R"].jobs = 0
	if r := w.obeys("R", old, time.Unix(1001, 0).Add(keepLine)); r != nil {
		t.Errorf("a room that began anew: %v", r)
	}
}

// A worker that drains gives its jobs back and takes none, until it is told otherwise.
func TestDrain(t *testing.T) {
	b := start(t, Options{})
	e, _ := b.edge("edge-1")
	c := b.call(e, order("a", "R", 1))
	runs(t, c, 1)
	b.w.Drain(true)
	refused(t, c, relayproto.ShuttingOff, "the relay drains")
	refused(t, b.call(e, order("b", "R", 11)), relayproto.ShuttingOff, "")
	b.w.Drain(false)
	runs(t, b.call(e, order("c", "R", 21)), 1)
}

// A call that begins with a command is answered, and is no job.
func TestCommand(t *testing.T) {
	said := make(chan string, 1)
	b := start(t, Options{Command: func(edge string, body []byte) []byte {
		said <- edge + " " + string(body)
		return []byte(`{"done":true}`)
	}})
	e, _ := b.edge("edge-1")
	text, err := relayproto.Encode(relayproto.Message{Command: []byte(`{"do":"x"}`)})
	if err != nil {
		t.Fatal(err)
	}
	c := &wire{down: make(chan []byte, 1), up: make(chan []byte, 1), hungUp: make(chan struct{}), closed: make(chan struct{})}
	c.down <- text
	b.w.serve(t.Context(), e, c)
	if got := <-said; got != `edge-1 {"do":"x"}` {
		t.Error(got)
	}
	m, err := relayproto.Decode(<-c.up)
	if err != nil || string(m.Answer) != `{"done":true}` {
		t.Errorf("%+v, %v", m, err)
	}
	if s := b.w.Stats(); s.Started != 0 || s.Refused[relayproto.BadOrder] != 0 {
		t.Errorf("%+v", s)
	}
}
