package portal

import "portico/shared/portalproto"

// DataStreams gives participants their transport for data streams (8.12). It must be safe for concurrent use, and must not block.
type DataStreams interface {
	// Admit makes a participant a token for its transport, which is a new one when it has none. While it is connected, there is no
	// token. What Admit gives is taken back by Revoke, and by the room when the participant leaves it.
	Admit(room, participant string) DataGrant
	Revoke(participant string)
}

// DataGrant is what a participant needs for data streams; the zero DataGrant is none.
type DataGrant struct {
	Token     string // text for the client (4.6)
	Transport string // the id in it
	Hashes    []string
}

// admitData gives a participant that may have data streams what it needs for them, if there is anything to give.
func (p *Portal) admitData(who *participant) DataGrant {
	if !who.mayData || p.options.Data == nil {
		return DataGrant{}
	}
	g := p.options.Data.Admit(who.room, who.id)
	if g.Transport != "" {
		who.dataTransport.Store(&g.Transport)
	}
	return g
}

func (p *Portal) revokeData(who *participant) {
	if p.options.Data != nil {
		p.options.Data.Revoke(who.id)
	}
}

// onTransport fills in a participant's transport for data, which clients may leave out: it has one only.
func (p *participant) onTransport(ref portalproto.TransportRef) portalproto.TransportRef {
	if id := p.dataTransport.Load(); ref.Type == portalproto.TransportQUIC && ref.ID == "" && id != nil {
		ref.ID = *id
	}
	return ref
}
