package portal

import (
	"context"

	"portico/edge/room"
	"portico/edge/sioserver"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
	"portico/shared/token"
)

// encodeClient is what another edge has to know of a client to take it over; the room keeps it with the participant.
func encodeClient(p *participant) jsonvalue.Value {
	if p.portal.options.Edge == "" {
		return jsonvalue.Value{}
	}
	return jsonvalue.OfObject(
		jsonvalue.M("sdk", jsonvalue.OfObject(
			jsonvalue.M("type", jsonvalue.Of(clipped(p.sdk.Type))), jsonvalue.M("version", jsonvalue.Of(clipped(p.sdk.Version))))),
		jsonvalue.M("protocol", jsonvalue.Of(p.receiver.Version.String())),
		jsonvalue.M("data", jsonvalue.OfBool(p.mayData)))
}

// clipped bounds what a client says of itself. What is longer names no client that anybody knows.
func clipped(s string) string { return s[:min(len(s), 256)] }

// isClient takes up what encodeClient has written.
func (p *participant) isClient(v jsonvalue.Value) {
	p.sdk = portalproto.SDK{Type: v.Path("sdk", "type").Text(), Version: v.Path("sdk", "version").Text()}
	version, ok := portalproto.ParseVersion(v.Get("protocol").Text())
	if !ok {
		version = portalproto.V12
	}
	p.receiver = portalproto.Receiver{Version: version, SDK: p.sdk}
	p.mayData = v.Get("data").Bool()
}

// restore takes over a participant that another edge has, or had, for a client that asked for it: the connection is in the state
// "connecting", as with a login.
func (c *connection) restore(t token.Ticket, r portalproto.Relogin, ack sioserver.Ack) {
	state, err := c.portal.options.TicketKeys().OpenState(t)
	switch {
	case err != nil:
		c.failLogin(portalproto.ErrNoClient, ack)
	case c.portal.full():
		c.failLogin(c.portal.redirect(portalproto.ErrOverloaded), ack)
	default:
		if c.portal.group.Go(func(ctx context.Context) { c.takeOver(ctx, t.ParticipantID, state, r, ack) }) != nil {
			c.failLogin(portalproto.ErrOverloaded, ack)
		}
	}
}

// takeOver is the part of restore that waits for the room.
func (c *connection) takeOver(ctx context.Context, id string, state token.State, r portalproto.Relogin, ack sioserver.Ack) {
	ctx, cancel := context.WithTimeout(ctx, c.portal.options.RequestTimeout)
	defer cancel()
	p := &participant{portal: c.portal, id: id, room: state.Room, conn: c, base: state.Generation + 1}
	p.migrate.Store(r.Migrate)
	p.generation.Store(p.base)
	joined, err := c.portal.options.Rooms.Join(ctx, room.Join{
		Room: state.Room, Participant: id, Member: p, Resume: true, Generation: p.base, Known: p.isClient,
		Thin: r.Thin,
	})
	if err != nil {
		c.failLogin(roomError(err), ack)
		return
	}
	data := c.portal.grantData(p, DataStreams.Readmit)
	if !c.portal.remember(p) { // the room has ended it, or another edge has it by now
		c.portal.revokeData(p)
		c.failLogin(portalproto.ErrClusterUnavailable, ack)
		return
	}
	c.log.Info("participant taken over", "participant", id, "from", state.Edge)
	c.settle(p, joined, data, ack)
}

// settle gives a client its participant on this edge.
func (c *connection) settle(p *participant, joined room.Joined, data DataGrant, ack sioserver.Ack) {
	welcome := c.portal.welcome(p, joined, data)
	c.mu.Lock()
	gone, abandoned := c.state == closed, c.abandoned
	if !gone && !abandoned {
		c.state, c.participant, c.everJoined = connected, p, true
		c.timer.Stop()
	}
	c.mu.Unlock()
	switch {
	case gone: // as if it had been lost later: the client may have given up waiting, and finds the participant here
		c.lost(p, "connection lost")
		p.openAway()
	case abandoned:
		c.portal.leave(p)
		c.failLogin(portalproto.ErrEarlyLeft, ack)
	default:
		c.portal.counts.logins.Add(1)
		ack(portalproto.AckOK(portalproto.ReloginResult{
			Ticket: welcome.Ticket, ICEServers: welcome.ICEServers, WebTransport: welcome.WebTransport,
			WebTransportHashes: welcome.WebTransportHashes, Edges: welcome.Edges, Moved: &welcome,
		}.Encode())...)
		p.open()
	}
}

// openAway lets notifications through to whoever resumes the participant, unless somebody has begun to.
func (p *participant) openAway() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opened = p.opened || p.conn == nil
}

// isForeign tells whether a ticket is from before this edge has taken the participant over.
func (p *participant) isForeign(t token.Ticket) bool {
	state, err := p.portal.options.TicketKeys().OpenState(t)
	return err == nil && (state.Generation <= p.base || state.Edge != p.portal.options.Edge)
}

// reenter answers a client once more whose participant this edge has taken over: it has not heard of that, since it comes with a ticket of
// the edge before. What was told it meanwhile is in the answer.
func (c *connection) reenter(p *participant, r portalproto.Relogin, ack sioserver.Ack) {
	err := c.portal.group.Go(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, c.portal.options.RequestTimeout)
		defer cancel()
		joined, err := c.portal.options.Rooms.Join(ctx, room.Join{
			Room: p.room, Participant: p.id, Member: p, Resume: true, Known: func(jsonvalue.Value) { p.startOver(c) }, Thin: r.Thin,
		})
		if err != nil {
			c.failLogin(roomError(err), ack)
			return
		}
		c.settle(p, joined, c.portal.admitData(p), ack)
	})
	if err != nil {
		c.failLogin(portalproto.ErrOverloaded, ack)
	}
}

// startOver forgets what was told to the participant, and gives it another connection.
func (p *participant) startOver(c *connection) {
	p.mu.Lock()
	before := p.conn
	p.conn, p.opened, p.seq, p.kept, p.size = c, false, 0, nil, 0
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	if before != nil && before.release(p) {
		before.socket.Disconnect()
	}
}

// Participants is how many participants are on this edge, those that are away included.
func (p *Portal) Participants() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.participants)
}
