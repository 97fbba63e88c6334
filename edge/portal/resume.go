package portal

import (
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
func (p *Portal) ticket(participant string, sdk portalproto.SDK) string {
	if !sdk.Resumable() {
		return ""
	}
	now := time.Now()
	return token.MintTicket(p.options.TicketKey, token.Ticket{
		ParticipantID: participant, TicketID: rand.Text(), NotBefore: now, NotAfter: now.Add(p.options.TicketLifetime),
	}).Encode()
}

// check follows rows 2 to 5 of 5.4: a ticket in force, signed here, of a participant that is still known.
func (p *Portal) check(text string) (*participant, error) {
	t, err := token.DecodeTicket(text)
	if err != nil {
		return nil, &portalproto.Error{Text: err.Error()}
	}
	if !t.Valid(time.Now()) {
		return nil, portalproto.ErrTicketExpired
	}
	if !t.Verify(p.options.TicketKey) {
		return nil, portalproto.ErrTicketSignature
	}
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
// of an earlier relogin instead, in which it is found too.
func (c *connection) relogin(data jsonvalue.Value, ack sioserver.Ack) {
	if !c.begin() {
		ack(portalproto.AckError(portalproto.ErrInService)...)
		return
	}
	text := data.Text()
	if data.Kind() == jsonvalue.Object {
		text = data.Get("ticket").Text()
	}
	p, err := c.portal.check(text)
	if err != nil {
		c.failLogin(err, ack)
		return
	}
	form := c.portal.options.ReloginAck
	asObject := p.receiver.Version >= portalproto.V12 && (form == ReloginObject || form == ReloginAuto && p.sdk.TakesReloginObject())
	if !c.take(p) {
		return // the socket is gone already
	}
	var streams DataGrant
	if asObject {
		streams = c.portal.admitData(p)
	}
	before, err := p.bind(c, !asObject, func(missed []portalproto.Missed) {
		ticket := c.portal.ticket(p.id, p.sdk)
		if !asObject {
			ack(portalproto.AckOK(jsonvalue.Of(ticket))...)
			return
		}
		ack(portalproto.AckOK(portalproto.ReloginResult{
			Ticket: ticket, Messages: missed, ICEServers: c.portal.options.ICEServers(p.id),
			WebTransport: streams.Token, WebTransportHashes: streams.Hashes,
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
