package peer

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// client is the other end of a Conn, made of the same libraries and of nothing of ours.
type client struct {
	t           testing.TB
	agent       *ice.Agent
	certificate tls.Certificate
	active      bool
	profile     dtls.SRTPProtectionProfile
	ice         *ice.Conn
	dtls        *dtls.Conn
	in, out     *srtp.Context
	packets     chan []byte // datagrams of SRTP
}

func newClient(t testing.TB, active bool, profile dtls.SRTPProtectionProfile) *client {
	t.Helper()
	return newClientBy(t, ice.NetworkTypeUDP4, active, profile)
}

// newClientBy makes a client that uses one kind of network only.
func newClientBy(t testing.TB, network ice.NetworkType, active bool, profile dtls.SRTPProtectionProfile) *client {
	t.Helper()
	certificate, err := new(Certificates).Get(time.Now())
	must(t, err)
	agent, err := ice.NewAgentWithOptions(ice.WithIncludeLoopback(), ice.WithNetworkTypes([]ice.NetworkType{network}), ice.WithLoggerFactory(silent()),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled), ice.WithIPFilter(isLoopback))
	must(t, err)
	must(t, agent.OnCandidate(func(ice.Candidate) {}))
	c := &client{t: t, agent: agent, certificate: certificate, active: active, profile: profile, packets: make(chan []byte, 1<<12)}
	t.Cleanup(c.close)
	return c
}

func (c *client) close() {
	if c.dtls != nil {
		_ = c.dtls.Close()
	}
	_ = c.agent.GracefulClose()
}

// offer is what the client says of itself.
func (c *client) offer() Remote {
	ufrag, password, err := c.agent.GetLocalUserCredentials()
	must(c.t, err)
	print, err := fingerprintOf(c.certificate)
	must(c.t, err)
	return Remote{Ufrag: ufrag, Password: password, Fingerprint: print, Active: c.active}
}

// reach begins ICE towards the other side.
func (c *client) reach(l Local) {
	must(c.t, c.agent.GatherCandidates())
	for _, text := range l.Candidates {
		candidate, err := ice.UnmarshalCandidate(text)
		must(c.t, err)
		must(c.t, c.agent.AddRemoteCandidate(candidate))
	}
	conn, err := c.agent.Dial(c.t.Context(), l.Ufrag, l.Password)
	must(c.t, err)
	c.ice = conn
}

// connect makes ICE, DTLS and SRTP.
func (c *client) connect(l Local) {
	c.reach(l)
	must(c.t, c.handshake())
	state, _ := c.dtls.ConnectionState()
	config := srtp.Config{Profile: srtp.ProtectionProfile(c.profile)}
	must(c.t, config.ExtractSessionKeysFromDTLS(&state, c.active))
	var err error
	c.in, err = srtp.CreateContext(config.Keys.RemoteMasterKey, config.Keys.RemoteMasterSalt, config.Profile)
	must(c.t, err)
	c.out, err = srtp.CreateContext(config.Keys.LocalMasterKey, config.Keys.LocalMasterSalt, config.Profile)
	must(c.t, err)
}

func (c *client) handshake() (err error) {
	below := &splitter{Conn: c.ice, packets: c.packets}
	options := []dtls.Option{dtls.WithCertificates(c.certificate), dtls.WithSRTPProtectionProfiles(c.profile), dtls.WithInsecureSkipVerify(true),
		dtls.WithLoggerFactory(silent())}
	if c.active {
		var all []dtls.ClientOption
		for _, o := range options {
			all = append(all, o)
		}
		c.dtls, err = dtls.ClientWithOptions(below, c.ice.RemoteAddr(), all...)
	} else {
		all := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
		for _, o := range options {
			all = append(all, o)
		}
		c.dtls, err = dtls.ServerWithOptions(below, c.ice.RemoteAddr(), all...)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	return c.dtls.HandshakeContext(ctx)
}

// send sends one packet of that SSRC.
func (c *client) send(ssrc uint32, seq uint16, payload string) {
	p := &rtp.Packet{Header: rtp.Header{Version: 2, SSRC: ssrc, SequenceNumber: seq, PayloadType: 96}, Payload: []byte(payload)}
	raw, err := p.Marshal()
	must(c.t, err)
	sealed, err := c.out.EncryptRTP(nil, raw, nil)
	must(c.t, err)
	_, err = c.ice.Write(sealed)
	must(c.t, err)
}

func (c *client) sendRTCP(p rtcp.Packet) {
	raw, err := p.Marshal()
	must(c.t, err)
	sealed, err := c.out.EncryptRTCP(nil, raw, nil)
	must(c.t, err)
	_, err = c.ice.Write(sealed)
	must(c.t, err)
}

// next is the next packet that came, decrypted.
func (c *client) next() []byte {
	c.t.Helper()
	var sealed []byte
	select {
	case sealed = <-c.packets:
	case <-time.After(10 * time.Second):
		c.t.Fatal("nothing came")
	}
	if sealed[1] >= 192 && sealed[1] <= 223 {
		plain, err := c.in.DecryptRTCP(nil, sealed, nil)
		must(c.t, err)
		return plain
	}
	plain, err := c.in.DecryptRTP(nil, sealed, nil)
	must(c.t, err)
	return plain
}

// splitter is an ICE connection as DTLS sees it; SRTP is put aside.
type splitter struct {
	*ice.Conn
	packets chan []byte
}

func (s *splitter) ReadFrom(b []byte) (int, netAddr, error) {
	for {
		n, err := s.Conn.Read(b)
		if err != nil || n > 0 && isDTLS(b[0]) {
			return n, s.Conn.RemoteAddr(), err
		}
		select {
		case s.packets <- append([]byte(nil), b[:n]...):
		default:
		}
	}
}

func (s *splitter) WriteTo(b []byte, _ netAddr) (int, error) { return s.Conn.Write(b) }

func (s *splitter) Close() error { return s.Conn.SetReadDeadline(time.Now()) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// silent is a logger for libraries that says nothing.
func silent() logging.LoggerFactory {
	f := logging.NewDefaultLoggerFactory()
	f.Writer = new(strings.Builder)
	f.DefaultLogLevel = logging.LogLevelDisabled
	return f
}

// rejoin reaches the other side again after a restart of both agents.
func (c *client) rejoin(l Local) {
	must(c.t, c.agent.GatherCandidates())
	for _, text := range l.Candidates {
		candidate, err := ice.UnmarshalCandidate(text)
		must(c.t, err)
		must(c.t, c.agent.AddRemoteCandidate(candidate))
	}
}
