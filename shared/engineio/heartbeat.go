package engineio

import (
	"errors"
	"time"
)

// Heartbeat is the timetable of one end of a session (portal protocol 1.4). One end pings: the server in revision 4, the
// client in revision 3. It sends a ping every interval and gives up timeout after one that stayed unanswered. The other end
// answers, and gives up when nothing at all has arrived for interval plus timeout.
//
// It holds no timer: its owner calls Tick at Deadline, and Received for every packet. It is not safe for concurrent use.
type Heartbeat struct {
	pings             bool
	waiting           bool // a ping is out
	interval, timeout time.Duration
	deadline          time.Time
}

// Beat is what the owner of a Heartbeat has to do.
type Beat uint8

// What Tick and Received ask for.
const (
	BeatNothing Beat = iota
	BeatPing         // send a ping packet
	BeatPong         // send a pong packet
	BeatLost         // the other end is gone: close the session
)

// ErrDirection reports a ping from the end that has to answer, or a pong from the one that has to ask: a violation that
// closes the session.
var ErrDirection = errors.New("engineio: heartbeat in the wrong direction")

// ServerHeartbeat starts the server's timetable at the moment the session opens.
func (r Revision) ServerHeartbeat(interval, timeout time.Duration, now time.Time) Heartbeat {
	return newHeartbeat(r == Revision4, interval, timeout, now)
}

// ClientHeartbeat starts the client's timetable at the moment it has read the open packet.
func (r Revision) ClientHeartbeat(interval, timeout time.Duration, now time.Time) Heartbeat {
	return newHeartbeat(r == Revision3, interval, timeout, now)
}

func newHeartbeat(pings bool, interval, timeout time.Duration, now time.Time) Heartbeat {
	h := Heartbeat{pings: pings, interval: interval, timeout: timeout}
	if h.deadline = now.Add(interval); !pings {
		h.deadline = h.deadline.Add(timeout)
	}
	return h
}

// Deadline is when Tick has to be called next. Received moves it, mostly later; earlier only after a pong.
func (h *Heartbeat) Deadline() time.Time { return h.deadline }

// Tick says what is due at now: nothing before the deadline, then BeatPing or BeatLost.
func (h *Heartbeat) Tick(now time.Time) Beat {
	switch {
	case now.Before(h.deadline):
		return BeatNothing
	case !h.pings || h.waiting:
		return BeatLost
	}
	h.waiting = true
	h.deadline = now.Add(h.timeout)
	return BeatPing
}

// Received notes a packet of the other end, and says whether it has to be answered by BeatPong. A probe is not part of the
// heartbeat and must not be given to it. The error is ErrDirection.
func (h *Heartbeat) Received(t PacketType, now time.Time) (Beat, error) {
	switch {
	case t == TypePing && h.pings, t == TypePong && !h.pings:
		return BeatNothing, ErrDirection
	case !h.pings:
		h.deadline = now.Add(h.interval + h.timeout)
		if t == TypePing {
			return BeatPong, nil
		}
	case t == TypePong:
		h.waiting = false
		h.deadline = now.Add(h.interval)
	}
	return BeatNothing, nil
}
