package client

import (
	"context"
	"slices"

	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// peerState follows the PeerConnection. Media that break off get an ICE restart (RFC 8445 section 9), and Timeouts.Media to come back; media
// that never flowed are given up when they fail.
func (c *Conference) peerState(t *transport, state string) {
	if t.dead || c.state.transport != t || state == "closed" {
		return
	}
	t.connected = t.connected || state == "connected"
	if state == c.state.media {
		return
	}
	if c.state.former != nil && c.state.media == "connected" && (state == "new" || state == "connecting") {
		return // the media of before go on
	}
	c.state.media = state
	c.tellState()
	switch state {
	case "connected":
		c.stop(t.patience)
		t.patience = nil
	case "disconnected", "failed":
		if t.connected {
			c.wantRestart(t)
			c.expectMedia(t)
		} else if state == "failed" {
			c.giveUp(t, ReasonMedia, true) // the server may not have noticed
		}
	}
}

func (c *Conference) expectMedia(t *transport) {
	if t.patience == nil {
		t.patience = c.after(c.options.Timeouts.Media, func() { c.giveUp(t, ReasonMedia, true) })
	}
}

// wantRestart has the negotiator restart ICE before anything else, on the loop. A restart that has begun does not count: it may have
// looked at the network of before.
func (c *Conference) wantRestart(t *transport) {
	if t.dead || t.id == "" || t.restart {
		return
	}
	t.restart = true
	c.state.jobs = slices.Insert(c.state.jobs, 0, job{transport: t, restart: true})
	c.wakeNegotiator()
}

// restart negotiates new ICE credentials. When that fails, the media may still come back by themselves; if they do not, the transport is
// given up in its time.
func (c *Conference) restart(ctx context.Context, t *transport) {
	if c.settle(ctx, t) != nil {
		return
	}
	var servers []ICEServer
	if c.do(ctx, func() error {
		servers = c.state.iceServers
		return nil
	}) != nil {
		return
	}
	_ = t.peer.SetICEServers(servers) // those of before may do
	if c.do(ctx, func() error {
		t.restarts, t.answered, t.candidates, t.sent = true, false, nil, 0
		return nil
	}) != nil {
		return
	}
	limited, cancel := context.WithTimeoutCause(ctx, c.options.Timeouts.Answer, ErrTimeout)
	defer cancel()
	offer, err := t.peer.Offer(limited, true)
	if err == nil {
		_ = c.exchange(ctx, t, offer)
	} else if limited.Err() != nil { // it may yet become the local description
		c.drop(t, ReasonMedia)
	}
	_ = c.do(ctx, func() error { t.restarts = false; return nil })
}

// resumeTransport continues a negotiation after the connection came back, on the loop. An offer whose acknowledgement was lost is among
// the kept requests. One that was acknowledged has been answered since in what was missed, unless the server tells nothing twice
// (lossy); then it is sent again. Candidates that are still needed all go out again, as nobody knows which arrived: the server ignores those
// it has.
func (c *Conference) resumeTransport(t *transport, lossy bool) {
	if c.state.media != "connected" {
		t.sent = 0
	}
	waits := slices.ContainsFunc(c.state.kept, func(r *request) bool { return r.name == portalproto.EventSOAC })
	if t.awaiting && lossy && !waits {
		t.resent = true
		_ = c.submit(c.offerRequest(t)) // refused when too many wait: the answer's time runs out
	}
	c.sendCandidates(t)
}

// offerRequest is the request that brings the transport's offer to the server.
func (c *Conference) offerRequest(t *transport) *request {
	data := portalproto.Signaling{Transport: t.id, Type: portalproto.SignalOffer, SDP: t.offer}.Encode()
	offer := t.offer
	return &request{
		name: portalproto.EventSOAC, data: []jsonvalue.Value{data}, limit: c.options.Timeouts.Answer, again: true,
		done: func() bool {
			if t.dead || !t.awaiting || t.offer != offer {
				return true
			}
			t.resent = true
			return false
		},
	}
}
