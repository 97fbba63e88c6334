package portal

import (
	"context"
	"crypto/rand"
	"time"

	"portico/edge/sioserver"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
	"portico/shared/token"
)

// ReloginAck is the form of the answer to relogin for clients of version 1.2 (5.7).
type ReloginAck string

// The forms: Object is what the protocol says, String what every shipped client of the reference understands, Auto chooses by
// the client's kind and release.
const (
	ReloginAuto   ReloginAck = "auto"
	ReloginObject ReloginAck = "object"
	ReloginString ReloginAck = "string"
)

// ticket makes a reconnection ticket for a client that may have one (5.1); "" for others.
func (p *Portal) ticket(who *participant) string {
	if !who.sdk.Resumable() {
		return ""
	}
	now, keys := time.Now(), p.options.TicketKeys()
	t := keys.MintTicket(token.Ticket{
		ParticipantID: who.id, TicketID: rand.Text(), NotBefore: now, NotAfter: now.Add(p.options.TicketLifetime),
	})
	if p.options.Edge != "" {
		var nonce token.Nonce
		_, _ = rand.Read(nonce[:]) // never fails
		t = keys.SealState(t, token.State{Room: who.room, Edge: p.options.Edge, Generation: who.generation.Add(1)}, nonce)
	}
	return t.Encode()
}

// skew is by how much the clock of the edge that made a ticket may be ahead of this one's.
const skew = time.Minute

// check follows rows 2 to 4 of 5.4: a ticket in force, signed in this cluster.
func (p *Portal) check(text string) (token.Ticket, error) {
	t, err := token.DecodeTicket(text)
	switch {
	case err != nil:
		return t, &portalproto.Error{Text: err.Error()}
	case !t.Valid(time.Now()) && !t.Valid(time.Now().Add(skew)):
		return t, portalproto.ErrTicketExpired
	case !p.options.TicketKeys().Verify(t):
		return t, portalproto.ErrTicketSignature
	}
	return t, nil
}

// known follows rows 5 and 6: a participant that is still known here.
func (p *Portal) known(t token.Ticket) (*participant, error) {
	p.mu.Lock()
	who := p.participants[t.ParticipantID]
	p.mu.Unlock()
	if who == nil {
		return nil, portalproto.ErrNoClient
	}
	if !who.sdk.Resumable() {
		return nil, portalproto.ErrReconnectionDenied
	}
	return who, nil
}

// relogin gives a participant that lost its connection this one (5.4). The ticket is text; some clients send the whole answer
// of an earlier relogin instead, in which it is found too. One that another edge knows may be taken over from there.
func (c *connection) relogin(data jsonvalue.Value, ack sioserver.Ack) {
	if !c.begin() {
		ack(portalproto.AckError(portalproto.ErrInService)...)
		return
	}
	r := portalproto.DecodeRelogin(data)
	t, err := c.portal.check(r.Ticket)
	if err != nil {
		c.failLogin(err, ack)
		return
	}
	p, err := c.portal.known(t)
	if err == portalproto.ErrNoClient && r.Restore && c.portal.options.Edge != "" {
		c.restore(t, r, ack)
		return
	}
	if err != nil {
		c.failLogin(err, ack)
		return
	}
	if r.Migrate {
		p.migrate.Store(true)
	}
	if r.Restore && p.isForeign(t) {
		c.reenter(p, r, ack)
		return
	}
	state, err := c.portal.options.TicketKeys().OpenState(t)
	switch {
	case err != nil || c.portal.options.Edge == "":
		c.rebind(p, ack)
	case !r.Restore: // no other edge gives its place to a client that does not ask for that
		c.rebind(p, ack)
		_ = c.portal.group.Go(func(ctx context.Context) { _ = c.portal.spend(ctx, p, state) }) // refused only when the portal closes
	default:
		c.confirm(p, state, ack)
	}
}

// confirm gives a participant this connection when it is sure that it is still here.
func (c *connection) confirm(p *participant, state token.State, ack sioserver.Ack) {
	if c.portal.group.Go(func(ctx context.Context) {
		if err := c.portal.spend(ctx, p, state); err != nil {
			c.failLogin(roomError(err), ack)
			return
		}
		c.rebind(p, ack)
	}) != nil {
		c.failLogin(portalproto.ErrOverloaded, ack)
	}
}

// spend sees to it that a ticket which is exchanged here is not taken on another edge as well.
func (p *Portal) spend(ctx context.Context, who *participant, state token.State) error {
	ctx, cancel := context.WithTimeout(ctx, p.options.RequestTimeout)
	defer cancel()
	return p.options.Rooms.Renew(ctx, who.room, who.id, state.Generation+1)
}

// rebind makes the connection the participant's, in place of one it may have still.
func (c *connection) rebind(p *participant, ack sioserver.Ack) {
	form := c.portal.options.ReloginAck
	asObject := p.receiver.Version >= portalproto.V12 && (form == ReloginObject || form == ReloginAuto && p.sdk.TakesReloginObject())
	switch taken, abandoned := c.take(p); {
	case abandoned:
		c.portal.leave(p)
		c.failLogin(portalproto.ErrEarlyLeft, ack)
		return
	case !taken:
		return // the socket is gone already
	}
	var streams DataGrant
	if asObject {
		streams = c.portal.admitData(p)
	}
	before, err := p.bind(c, !asObject, func(missed []portalproto.Missed) {
		ticket := c.portal.ticket(p)
		if !asObject {
			ack(portalproto.AckOK(jsonvalue.Of(ticket))...)
			return
		}
		ack(portalproto.AckOK(portalproto.ReloginResult{
			Ticket: ticket, Messages: missed, ICEServers: c.portal.options.ICEServers(p.id),
			WebTransport: streams.Token, WebTransportHashes: streams.Hashes, Edges: c.portal.options.Edges(),
		}.Encode())...)
	})
	if err != nil {
		c.portal.revokeData(p)
		c.release(p)
		c.failLogin(err, ack)
		return
	}
	c.log.Info("participant resumed", "participant", p.id)
	if before != nil && before.release(p) {
		before.socket.Disconnect()
	}
	if c.isClosed() { // it was lost while it was being bound
		c.lost(p, "connection lost")
	}
}
