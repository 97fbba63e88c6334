package engineio

import (
	"errors"
	"testing"
	"time"
)

var start = time.Unix(1_700_000_000, 0)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

func TestPingingEnd(t *testing.T) {
	h := Revision4.ServerHeartbeat(time.Second, 700*time.Millisecond, start)
	if !h.Deadline().Equal(at(1000)) || h.Tick(at(999)) != BeatNothing {
		t.Fatal("the first ping is due after one interval")
	}
	if h.Tick(at(1000)) != BeatPing || !h.Deadline().Equal(at(1700)) {
		t.Fatal("a ping, then the timeout")
	}
	if beat, err := h.Received(TypeMessage, at(1100)); beat != BeatNothing || err != nil || !h.Deadline().Equal(at(1700)) {
		t.Fatal("only a pong answers a ping")
	}
	if beat, err := h.Received(TypePong, at(1200)); beat != BeatNothing || err != nil || !h.Deadline().Equal(at(2200)) {
		t.Fatal("the next ping comes one interval after the pong")
	}
	if h.Tick(at(2200)) != BeatPing || h.Tick(at(2899)) != BeatNothing || h.Tick(at(2900)) != BeatLost {
		t.Fatal("an unanswered ping loses the session")
	}
	if _, err := h.Received(TypePing, at(2900)); !errors.Is(err, ErrDirection) {
		t.Fatal("the answering end must not ping")
	}
}

func TestLongTimeoutDoesNotDelayPings(t *testing.T) {
	h := Revision3.ClientHeartbeat(time.Second, 5*time.Second, start)
	h.Tick(at(1000))
	h.Received(TypePong, at(1010))
	if !h.Deadline().Equal(at(2010)) {
		t.Error(h.Deadline().Sub(start))
	}
}

func TestAnsweringEnd(t *testing.T) {
	h := Revision3.ServerHeartbeat(time.Second, 700*time.Millisecond, start)
	if !h.Deadline().Equal(at(1700)) {
		t.Fatal("silence may last interval plus timeout")
	}
	if beat, err := h.Received(TypePing, at(500)); beat != BeatPong || err != nil || !h.Deadline().Equal(at(2200)) {
		t.Fatal("a ping is answered and moves the deadline")
	}
	if beat, err := h.Received(TypeMessage, at(600)); beat != BeatNothing || err != nil || !h.Deadline().Equal(at(2300)) {
		t.Fatal("any packet moves the deadline")
	}
	if h.Tick(at(2299)) != BeatNothing || h.Tick(at(2300)) != BeatLost {
		t.Fatal("silence loses the session")
	}
	if _, err := h.Received(TypePong, at(2300)); !errors.Is(err, ErrDirection) {
		t.Fatal("the answering end must not be sent a pong")
	}
	if c := Revision4.ClientHeartbeat(time.Second, time.Second, start); c.Tick(at(2000)) != BeatLost {
		t.Fatal("a revision 4 client waits for pings")
	}
}
