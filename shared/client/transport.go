package client

import (
	"slices"
	"strings"

	"portico/shared/conference"
	"portico/shared/portalproto"
)

// maxCandidates bounds the local candidates that are remembered.
const maxCandidates = 256

// transport is one PeerConnection and what the portal knows of it. The loop owns it but for peer and unsettled.
type transport struct {
	c    *Conference
	peer Peer // set once, before the loop hears of the transport
	// unsettled says that an offer's answer is still to come; the negotiator's.
	unsettled bool

	id       string // empty until the first session was acknowledged
	offer    string // the last that was sent
	awaiting bool   // its answer is still to come
	resent   bool   // some offer was sent twice: it may be answered twice
	restarts bool   // the last offer restarts ICE
	ufrag    string // the server's, in its last answer
	answers  chan string
	gone     chan struct{} // closed when the transport was given up
	dead     bool
	reason   string // why it is dead

	answered   bool                    // candidates may go out
	candidates []portalproto.Candidate // since ICE began
	sent       int                     // so many of them have gone out

	connected bool   // media has flowed
	patience  *alarm // set while media is broken off
	restart   bool   // an ICE restart waits for its turn
}

func newTransport(c *Conference) *transport {
	return &transport{c: c, answers: make(chan string, 1), gone: make(chan struct{})}
}

// answer takes the server's answer; one that was not asked for is ignored.
func (t *transport) answer(sdp string) {
	if !t.awaiting || t.repeated(sdp) {
		return
	}
	t.awaiting, t.ufrag = false, ufrag(sdp)
	t.answers <- sdp // there is room: awaiting was set with an empty channel
	for s := range t.c.state.sessions {
		if s.transport != t || s.publication || s.answered {
			continue
		}
		promised := accepted(sdp, string(SendOnly))
		s.answered, s.missing = true, map[string]bool{}
		for _, l := range s.lines {
			if promised[l.mid] && !s.has(l.mid) {
				s.missing[l.mid] = true
			}
		}
		t.c.advance(s)
	}
}

// repeated tells whether an answer is the second one to an earlier offer that had to be sent twice: it has another number of m-lines, or
// does not restart ICE though the last offer does.
func (t *transport) repeated(sdp string) bool {
	return t.resent && (mlines(sdp) != mlines(t.offer) || t.restarts && ufrag(sdp) == t.ufrag)
}

func (s *session) has(mid string) bool {
	return slices.ContainsFunc(s.remote, func(r RemoteTrack) bool { return r.Mid == mid })
}

// giveUp ends a transport and every session on it, on the loop; nil is none. tell says that the server has to hear of it.
func (c *Conference) giveUp(t *transport, reason string, tell bool) {
	if t == nil || t.dead {
		return
	}
	t.dead, t.reason = true, reason
	close(t.gone)
	c.stop(t.patience)
	if c.state.transport == t {
		c.state.transport = nil
	}
	for _, s := range c.sessionList() {
		if s.transport != t {
			continue
		}
		c.endSession(s, withCause(ErrMedia, &SessionError{s.id, reason}), reason)
		if tell {
			c.tellEnd(s)
		}
	}
	c.state.jobs = slices.DeleteFunc(c.state.jobs, func(j job) bool { return j.transport == t })
	c.closing.Go(func() { _ = t.peer.Close() })
	if c.state.media != "" && !c.state.over {
		c.state.media = ""
		c.tellState()
	}
}

// Candidate, Track and State are the PeerEvents of the transport's peer.

func (t *transport) Candidate(candidate, sdpMid string, sdpMLineIndex int) {
	if candidate == "" { // the end of candidates is never signalled
		return
	}
	if !strings.HasPrefix(candidate, "a=") {
		candidate = "a=" + candidate
	}
	_ = t.c.loop.Post(func() { t.c.candidate(t, portalproto.Candidate{Text: candidate, Mid: sdpMid, MLine: sdpMLineIndex}) })
}

func (t *transport) Track(mid string, kind conference.Kind, streams []string, remote any) {
	_ = t.c.loop.Post(func() { t.c.track(t, RemoteTrack{kind, mid, streams, remote}) })
}

func (t *transport) State(state string) {
	_ = t.c.loop.Post(func() { t.c.peerState(t, state) })
}

// candidate takes a local candidate.
func (c *Conference) candidate(t *transport, candidate portalproto.Candidate) {
	if t.dead || len(t.candidates) >= maxCandidates {
		return
	}
	t.candidates = append(t.candidates, candidate)
	c.sendCandidates(t)
}

// sendCandidates sends the candidates that have not gone out, once an answer was applied (portal protocol 11.9).
func (c *Conference) sendCandidates(t *transport) {
	if !t.answered || c.state.wire == nil {
		return
	}
	for ; t.sent < len(t.candidates); t.sent++ {
		data := portalproto.Signaling{
			Transport: t.id, Type: portalproto.SignalCandidate, Candidates: t.candidates[t.sent : t.sent+1],
		}.Encode()
		if c.state.wire.socket.Emit(portalproto.EventSOAC, data) != nil {
			return // the connection has ended; they go out when it is back
		}
	}
}

// settled notes that an answer was applied and lets the candidates go.
func (c *Conference) settled(t *transport) {
	if !t.dead {
		t.answered = true
		c.sendCandidates(t)
	}
}

// track gives remote media to the subscription that has the m-line.
func (c *Conference) track(t *transport, r RemoteTrack) {
	if t.dead {
		return
	}
	for s := range c.state.sessions {
		if s.transport != t || s.publication || !slices.ContainsFunc(s.lines, func(l line) bool { return l.mid == r.Mid }) {
			continue
		}
		s.remote = append(slices.DeleteFunc(s.remote, func(old RemoteTrack) bool { return old.Mid == r.Mid }), r)
		delete(s.missing, r.Mid)
		c.advance(s)
		return
	}
}
