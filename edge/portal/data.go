package portal

import (
	"portico/edge/sioserver"
	"portico/shared/portalproto"
)

// DataStreams gives participants their transport for data streams (8.12). It must be safe for concurrent use, and must not block.
type DataStreams interface {
	// Admit makes a participant a token for its transport, which is a new one when it has none. While it is connected, there is no
	// token. What Admit gives is taken back by Revoke, and by the room when the participant leaves it.
	Admit(room, participant string) DataGrant
	// Readmit is Admit for a participant that comes from another edge. What it has here from before is lost.
	Readmit(room, participant string) DataGrant
	Revoke(participant string)
}

// DataGrant is what a participant needs for data streams; the zero DataGrant is none.
type DataGrant struct {
	URL       string // where it connects
	Token     string // text for the client (4.6)
	Transport string // the id in it
	Hashes    []string
}

// admitData gives a participant that may have data streams what it needs for them, if there is anything to give.
func (p *Portal) admitData(who *participant) DataGrant {
	return p.grantData(who, DataStreams.Admit)
}

func (p *Portal) grantData(who *participant, admit func(d DataStreams, room, participant string) DataGrant) DataGrant {
	if !who.mayData || p.options.Data == nil {
		return DataGrant{}
	}
	g := admit(p.options.Data, who.room, who.id)
	if g.Transport != "" {
		who.dataTransport.Store(&g.Transport)
	}
	return g
}

// refreshData gives a participant whose connection for data is lost what it needs for another one. The portal need not have noticed
// the loss: the connection of before ends here. What was on it the client has ended itself.
func (c *connection) refreshData(ack sioserver.Ack) {
	c.mu.Lock()
	who := c.participant
	c.mu.Unlock()
	if who == nil {
		ack(portalproto.AckError(portalproto.ErrIllegalRequest)...)
		return
	}
	c.portal.revokeData(who)
	g := c.portal.admitData(who)
	if who.hasLeft() { // the room ended what was before it
		c.portal.revokeData(who)
		g = DataGrant{}
	}
	if g.Token == "" {
		ack(portalproto.AckError(portalproto.ErrNoWebTransport)...)
		return
	}
	ack(portalproto.AckOK(portalproto.WebTransportGrant{Token: g.Token, Hashes: g.Hashes}.Encode())...)
}

func (p *Portal) revokeData(who *participant) {
	if p.options.Data != nil {
		p.options.Data.Revoke(who.id)
	}
}

func (p *participant) hasLeft() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left
}

// onTransport fills in a participant's transport for data, which clients may leave out: it has one only.
func (p *participant) onTransport(ref portalproto.TransportRef) portalproto.TransportRef {
	if id := p.dataTransport.Load(); ref.Type == portalproto.TransportQUIC && ref.ID == "" && id != nil {
		ref.ID = *id
	}
	return ref
}
