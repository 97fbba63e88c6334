package rtc

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"portico/edge/peer"
)

// carrier is the connection that a transport's packets take.
type carrier struct {
	transport *transport
	conn      *peer.Conn
	identity  identity
}

// identity is what a client knows our side by before it connects.
type identity struct {
	certificate     tls.Certificate
	ufrag, password string // empty: ICE makes them
}

// newCarrier makes a carrier that waits for start.
func newCarrier(t *transport, id identity) (*carrier, error) {
	c := &carrier{transport: t, identity: id}
	e := t.engine
	conn, err := peer.New(peer.Config{
		Port: e.port, Certificate: id.certificate, Ufrag: id.ufrag, Password: id.password,
		Disconnected: e.config.ICEDisconnected, Failed: e.config.ICEFailed, Handler: c, Logs: e.logs,
	})
	if err != nil {
		return nil, err
	}
	c.conn = conn
	return c, nil
}

// start begins ICE and DTLS with a client's offer, and returns our side of it.
func (c *carrier) start(o *offer) (local, error) {
	l, err := c.conn.Start(peer.Remote{
		Ufrag: o.ufrag, Password: o.password, Fingerprint: o.fingerprint, Active: o.setup == "active",
	})
	if err != nil {
		return local{}, err
	}
	return c.describe(l, o)
}

// restart gives ICE the new credentials of a later offer; the DTLS association stays.
func (c *carrier) restart(o *offer) (local, error) {
	l, err := c.conn.Restart(o.ufrag, o.password)
	if err != nil {
		return local{}, err
	}
	return c.describe(l, o)
}

// describe is our side as an answer tells it. We begin the DTLS handshake unless the client insists (RFC 8842 section 5.3).
func (c *carrier) describe(l peer.Local, o *offer) (local, error) {
	e := c.transport.engine
	port := 0
	if udp, ok := e.Addr().(*net.UDPAddr); ok {
		port = udp.Port
	}
	setup := "active"
	if o.setup == "active" {
		setup = "passive"
	}
	out := local{
		ufrag: l.Ufrag, password: l.Password, fingerprint: l.Fingerprint, setup: setup,
		candidates: localCandidates(l.Candidates, e.config.PublicIPs, port, e.port.TCPPort()),
	}
	if len(out.candidates) == 0 {
		return out, errors.New("no address to offer: allow loopback, set public addresses, or listen on another address")
	}
	return out, nil
}

// addCandidate hands an address of the client to ICE.
func (c *carrier) addCandidate(text string) {
	if err := c.conn.AddCandidate(text); err != nil {
		c.transport.log.Debug("candidate ignored", "err", err)
	}
}

// RTP implements peer.Handler.
func (c *carrier) RTP(packet []byte, reader int) { c.transport.receive(packet, reader) }

// RTCP implements peer.Handler.
func (c *carrier) RTCP(compound []byte, reader int) { c.transport.receiveControl(compound, reader) }

// Changed implements peer.Handler.
func (c *carrier) Changed() {
	_ = c.transport.loop.Post(c.transport.stateChanged) // refused at the end
}

// String names the addresses in use, for the log.
func (c *carrier) String() string {
	ours, theirs := c.conn.Selected()
	return fmt.Sprintf("%s - %s", ours, theirs)
}
