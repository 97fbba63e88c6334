package loadtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/srtp/v3"
)

// Timing of a participant's connection.
const (
	iceCheckInterval = 50 * time.Millisecond // as Chromium checks what is not connected
	iceKeepalive     = 2 * time.Second
	iceDisconnected  = 10 * time.Second
	iceFailed        = 20 * time.Second
	dtlsRetry        = 200 * time.Millisecond
	connectTimeout   = 20 * time.Second
)

// transport is ICE, DTLS and SRTP on one socket. Incoming STUN and DTLS wait for the libraries; media is for the peer, which the poller
// calls.
type transport struct {
	host   *host
	socket *socket
	agent  *ice.Agent
	stun   *queue
	dtls   *queue
	conn   *dtls.Conn
	remote atomic.Pointer[netip.AddrPort] // the edge's, once ICE has found it

	ready  chan struct{} // closed when keys are there
	stop   context.CancelFunc
	tasks  sync.WaitGroup
	closed sync.Once

	rtpOut *srtp.Context // of the one who sends RTP; set before ready is closed

	// Under the poller's mu.
	rtpIn, rtcpIn, rtcpOut *srtp.Context
	scratch                []byte
}

// remoteParameters are what an answer says of the edge.
type remoteParameters struct {
	ufrag, password string
	fingerprint     string // algorithm and value
	setup           string
	candidates      []string // without "candidate:"
}

// newTransport opens a socket and starts gathering; the one candidate there is goes to candidate.
func newTransport(h *host, r receiver, candidate func(ice.Candidate), state func(string)) (t *transport, err error) {
	t = &transport{host: h, ready: make(chan struct{})}
	if t.socket, err = h.nextPoller().open(h.address.Is6(), r); err != nil {
		return nil, err
	}
	local := net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.address, t.socket.port))
	t.stun = newQueue(local, func(b []byte, to net.Addr) error {
		udp, ok := to.(*net.UDPAddr)
		if !ok {
			return errors.New("not a UDP address")
		}
		return t.socket.writeTo(b, udp.AddrPort())
	})
	t.dtls = newQueue(local, func(b []byte, _ net.Addr) error { return t.write(b) })
	network := ice.NetworkTypeUDP4
	if h.address.Is6() {
		network = ice.NetworkTypeUDP6
	}
	t.agent, err = ice.NewAgentWithOptions(
		ice.WithUDPMux(soleMux{t.stun}), ice.WithNetworkTypes([]ice.NetworkType{network}), ice.WithIncludeLoopback(),
		ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}), ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled),
		ice.WithDisableActiveTCP(), ice.WithCheckInterval(iceCheckInterval), ice.WithKeepaliveInterval(iceKeepalive),
		ice.WithDisconnectedTimeout(iceDisconnected), ice.WithFailedTimeout(iceFailed), ice.WithLoggerFactory(silence),
	)
	if err == nil {
		err = t.gather(candidate, state)
	}
	if err != nil {
		t.close()
		return nil, fmt.Errorf("cannot start ICE: %w", err)
	}
	return t, nil
}

func (t *transport) gather(candidate func(ice.Candidate), state func(string)) error {
	err := errors.Join(
		t.agent.OnCandidate(func(c ice.Candidate) {
			if c != nil {
				candidate(c)
			}
		}),
		t.agent.OnSelectedCandidatePairChange(func(_, remote ice.Candidate) { t.selected(remote) }),
		t.agent.OnConnectionStateChange(func(s ice.ConnectionState) {
			switch s {
			case ice.ConnectionStateDisconnected, ice.ConnectionStateFailed:
				state(strings.ToLower(s.String()))
			case ice.ConnectionStateConnected: // DTLS follows; after a break it has been there
				if t.isReady() {
					state("connected")
				}
			}
		}),
	)
	if err != nil {
		return err
	}
	return t.agent.GatherCandidates()
}

// selected takes the edge's end of the way that ICE has found.
func (t *transport) selected(remote ice.Candidate) {
	if ip, err := netip.ParseAddr(remote.Address()); err == nil {
		at := netip.AddrPortFrom(ip, uint16(remote.Port()))
		t.remote.Store(&at)
	}
}

// connect does ICE, DTLS and the keys on a goroutine of its own. done is called when media may flow, or with why it cannot.
func (t *transport) connect(r remoteParameters, done func(error)) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	t.stop = cancel
	t.tasks.Go(func() {
		defer cancel()
		done(t.associate(ctx, r))
	})
}

func (t *transport) associate(ctx context.Context, r remoteParameters) error {
	for _, text := range r.candidates {
		c, err := ice.UnmarshalCandidate(text)
		if err == nil {
			err = t.agent.AddRemoteCandidate(c)
		}
		if err != nil {
			return fmt.Errorf("candidate %q of the edge: %w", text, err)
		}
	}
	if _, err := t.agent.Dial(ctx, r.ufrag, r.password); err != nil {
		return fmt.Errorf("ICE has not found a way to the edge: %w", err)
	}
	if pair, err := t.agent.GetSelectedCandidatePair(); err == nil && pair != nil { // the event may come later
		t.selected(pair.Remote)
	}
	conn, err := t.handshake(ctx, r)
	if err != nil {
		return fmt.Errorf("DTLS with the edge has failed: %w", err)
	}
	t.conn = conn
	state, ok := conn.ConnectionState()
	profile, chosen := conn.SelectedSRTPProtectionProfile()
	if !ok || !chosen {
		return errors.New("DTLS with the edge has brought no keys for SRTP")
	}
	return t.setKeys(&state, srtp.ProtectionProfile(profile), r.setup == "passive")
}

// handshake is the client's when the edge waits, and the server's when the edge begins.
func (t *transport) handshake(ctx context.Context, r remoteParameters) (*dtls.Conn, error) {
	at := t.remote.Load()
	if at == nil {
		return nil, errors.New("no address of the edge")
	}
	remote := net.UDPAddrFromAddrPort(*at)
	verify := func(s *dtls.State) error {
		if len(s.PeerCertificates) == 0 || !strings.EqualFold(r.fingerprint, fingerprint(s.PeerCertificates[0])) {
			return errors.New("the edge's certificate is not the one in its answer")
		}
		return nil
	}
	common := []dtls.Option{
		dtls.WithCertificates(t.host.certificate), dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret), dtls.WithFlightInterval(dtlsRetry), dtls.WithLoggerFactory(silence),
		dtls.WithInsecureSkipVerify(true), dtls.WithVerifyConnection(verify), // the fingerprint stands in for an authority
	}
	var conn *dtls.Conn
	var err error
	if r.setup == "passive" {
		options := make([]dtls.ClientOption, len(common))
		for i, o := range common {
			options[i] = o
		}
		conn, err = dtls.ClientWithOptions(t.dtls, remote, options...)
	} else {
		options := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert), dtls.WithInsecureSkipVerifyHello(true)}
		for _, o := range common {
			options = append(options, o)
		}
		conn, err = dtls.ServerWithOptions(t.dtls, remote, options...)
	}
	if err != nil {
		return nil, err
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// fingerprint is that of a certificate as SDP has it (RFC 8122 section 5).
func fingerprint(certificate []byte) string {
	return "sha-256 " + strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(certificate)), " ", ":")
}

// setKeys derives the SRTP contexts (RFC 5764 section 4.2).
func (t *transport) setKeys(state *dtls.State, profile srtp.ProtectionProfile, client bool) error {
	config := srtp.Config{Profile: profile}
	if err := config.ExtractSessionKeysFromDTLS(state, client); err != nil {
		return err
	}
	keys := config.Keys
	var contexts [4]*srtp.Context
	for i := range contexts {
		key, salt := keys.LocalMasterKey, keys.LocalMasterSalt
		if i >= 2 {
			key, salt = keys.RemoteMasterKey, keys.RemoteMasterSalt
		}
		var err error
		if contexts[i], err = srtp.CreateContext(key, salt, profile); err != nil {
			return err
		}
	}
	t.rtpOut = contexts[0]
	t.socket.poller.mu.Lock()
	t.rtcpOut, t.rtpIn, t.rtcpIn = contexts[1], contexts[2], contexts[3]
	t.socket.poller.mu.Unlock()
	close(t.ready)
	return nil
}

func (t *transport) isReady() bool {
	select {
	case <-t.ready:
		return true
	default:
		return false
	}
}

// write sends a datagram to the edge.
func (t *transport) write(b []byte) error {
	to := t.remote.Load()
	if to == nil {
		return errors.New("not connected")
	}
	return t.socket.writeTo(b, *to)
}

// writeRTCP encrypts and sends a compound. The poller's mu is held, and keys are there.
func (t *transport) writeRTCP(compound []byte) {
	sealed, err := t.rtcpOut.EncryptRTCP(t.scratch[:0], compound, nil)
	if err != nil {
		return
	}
	t.scratch = sealed
	_ = t.write(sealed) // as lost as on a network
}

// close ends everything and waits for it. Safe twice.
func (t *transport) close() {
	t.closed.Do(func() {
		if t.stop != nil {
			t.stop()
		}
		_ = t.stun.Close() // reading ends, so that nothing below has to wait for a packet
		t.tasks.Wait()
		if t.conn != nil {
			_ = t.conn.Close()
		}
		_ = t.dtls.Close()
		if t.agent != nil {
			_ = t.agent.GracefulClose()
		}
		t.socket.close()
	})
}

// soleMux lets ICE have the STUN packets of one socket.
type soleMux struct{ conn *queue }

// GetConn implements ice.UDPMux.
func (m soleMux) GetConn(string, net.Addr) (net.PacketConn, error) { return m.conn, nil }

// RemoveConnByUfrag implements ice.UDPMux.
func (m soleMux) RemoveConnByUfrag(string) { _ = m.conn.Close() }

// GetListenAddresses implements ice.UDPMux.
func (m soleMux) GetListenAddresses() []net.Addr { return []net.Addr{m.conn.local} }

// Close implements ice.UDPMux.
func (m soleMux) Close() error { return m.conn.Close() }

// silence is the log of the libraries.
var silence = &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
