package rtc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	pion "github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// Timing of connections.
const (
	iceKeepalive   = 2 * time.Second
	dtlsRetry      = 250 * time.Millisecond
	gatherTimeout  = 5 * time.Second // candidates are of this host: it takes milliseconds
	certificateAge = 24 * time.Hour  // after which a new one is made for later transports
	replayWindow   = 2048            // packets; retransmissions on the same SSRC come that late
	receiveMTU     = 1600            // bytes
	offerGrace     = 5 * time.Second // from the end of an association until its transport has failed
)

// newSettings is what all PeerConnections have in common.
func newSettings(c Config, mux ice.UDPMux, logs pion.LoggerFactory) webrtc.SettingEngine {
	s := webrtc.SettingEngine{LoggerFactory: logs}
	s.SetICEUDPMux(mux)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	s.SetIncludeLoopbackCandidate(c.AllowLoopback)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.DisableActiveTCP(true)
	s.SetICETimeouts(c.ICEDisconnected, c.ICEFailed, iceKeepalive)
	s.SetDTLSRetransmissionInterval(dtlsRetry)
	s.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	s.SetSRTPReplayProtectionWindow(replayWindow)
	s.SetReceiveMTU(receiveMTU)
	return s
}

// certificates keeps the DTLS certificate, which transports share while it is fresh: making one costs a key.
type certificates struct {
	mu   sync.Mutex // guards the fields below
	last *webrtc.Certificate
	made time.Time
}

func (c *certificates) get(now time.Time) (webrtc.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil || now.Sub(c.made) > certificateAge {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return webrtc.Certificate{}, err
		}
		if c.last, err = webrtc.GenerateCertificate(key); err != nil {
			return webrtc.Certificate{}, err
		}
		c.made = now
	}
	return *c.last, nil
}

// peer is pion's part of a transport: ICE, DTLS and SRTP. pion is shown an offer with two m-lines of its own that never change,
// so none of its negotiation takes part: what packets mean is known by SSRC, in streams.
type peer struct {
	transport *transport
	pc        *webrtc.PeerConnection
	sender    *webrtc.RTPSender
	out       webrtc.TrackLocalWriter
	header    rtp.Header // scratch of writeRTP
	control   *control
	identity  identity
}

// identity is what a client knows our side by before it connects.
type identity struct {
	certificate     webrtc.Certificate
	ufrag, password string // empty: ICE makes them
}

// newPeer makes a PeerConnection that waits for start.
func newPeer(t *transport, id identity) (*peer, error) {
	settings := t.engine.settings
	settings.BufferFactory = t.buffer
	if id.ufrag != "" {
		settings.SetICECredentials(id.ufrag, id.password)
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(t.engine.media),
		webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
	pc, err := api.NewPeerConnection(webrtc.Configuration{Certificates: []webrtc.Certificate{id.certificate}})
	if err != nil {
		return nil, fmt.Errorf("make a PeerConnection: %w", err)
	}
	p := &peer{transport: t, pc: pc, identity: id}
	p.control = newControl(p.writeRTCP)
	pc.OnConnectionStateChange(func(webrtc.PeerConnectionState) { _ = t.loop.Post(t.stateChanged) }) // refused at the end
	if err := p.openSender(api); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// openSender gets hold of the way out: the writer of one RTPSender, which takes the packets of any SSRC.
func (p *peer) openSender(api *webrtc.API) error {
	handle := &writerTrack{}
	sender, err := api.NewRTPSender(handle, p.pc.SCTP().Transport())
	if err != nil {
		return fmt.Errorf("make a sender: %w", err)
	}
	p.sender = sender
	if err := sender.Send(sender.GetParameters()); err != nil {
		return fmt.Errorf("start the sender: %w", err)
	}
	p.out = handle.writer
	return nil
}

// start begins ICE and DTLS with a client's first offer, and returns our side of it.
func (p *peer) start(o *offer) (local, error) { return p.exchange(o) }

// restart gives ICE the new credentials of a later offer; the DTLS association stays.
func (p *peer) restart(o *offer) (local, error) { return p.exchange(o) }

func (p *peer) exchange(o *offer) (local, error) {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: standInOffer(o)}); err != nil {
		return local{}, fmt.Errorf("apply the offer: %w", err)
	}
	answer, err := p.pc.CreateAnswer(nil)
	if err != nil {
		return local{}, fmt.Errorf("make the answer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(answer); err != nil {
		return local{}, fmt.Errorf("apply the answer: %w", err)
	}
	if err := wait(context.Background(), gathered, gatherTimeout); err != nil {
		return local{}, fmt.Errorf("gather candidates: %w", err)
	}
	description := p.pc.LocalDescription()
	if description == nil {
		return local{}, errors.New("closed while negotiating")
	}
	return p.readLocal(description.SDP)
}

// readLocal reads our side from pion's answer.
func (p *peer) readLocal(text string) (local, error) {
	var parsed sdp.SessionDescription
	if err := parsed.UnmarshalString(text); err != nil {
		return local{}, fmt.Errorf("read the answer: %w", err)
	}
	find := func(key string) string {
		if v, ok := parsed.Attribute(key); ok {
			return v
		}
		for _, m := range parsed.MediaDescriptions {
			if v, ok := m.Attribute(key); ok {
				return v
			}
		}
		return ""
	}
	e := p.transport.engine
	port := 0
	if udp, ok := e.Addr().(*net.UDPAddr); ok {
		port = udp.Port
	}
	l := local{
		ufrag: find("ice-ufrag"), password: find("ice-pwd"), fingerprint: find("fingerprint"), setup: find("setup"),
		candidates: localCandidates(&parsed, e.config.PublicIPs, port),
	}
	if l.ufrag == "" || l.password == "" || l.fingerprint == "" || l.setup == "" {
		return l, errors.New("the answer lacks what a transport needs")
	}
	if len(l.candidates) == 0 {
		return l, errors.New("no address to offer: allow loopback, set public addresses, or listen on another address")
	}
	return l, nil
}

// writeRTP sends one packet. Only the transport's Writer calls it. Before SRTP is ready packets get lost.
func (p *peer) writeRTP(packet []byte) error {
	n, err := p.header.Unmarshal(packet)
	if err != nil {
		return err
	}
	_, err = p.out.WriteRTP(&p.header, packet[n:])
	return err
}

// writeRTCP sends one compound; only control calls it.
func (p *peer) writeRTCP(compound []byte) error {
	raw := rtcp.RawPacket(compound)
	return p.pc.WriteRTCP([]rtcp.Packet{&raw})
}

// close ends ICE, DTLS and SRTP and waits for their goroutines.
func (p *peer) close() {
	if p.sender != nil {
		_ = p.sender.Stop() // fails only in ways that closing deals with
	}
	if err := p.pc.GracefulClose(); err != nil {
		p.transport.log.Debug("closing was not clean", "err", err)
	}
	p.control.close()
}

// writerTrack is a track only by name: it is how pion hands out the writer of a sender.
type writerTrack struct{ writer webrtc.TrackLocalWriter }

// Bind implements webrtc.TrackLocal.
func (w *writerTrack) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	w.writer = c.WriteStream()
	return standInVideo, nil
}

// Unbind implements webrtc.TrackLocal.
func (*writerTrack) Unbind(webrtc.TrackLocalContext) error { return nil }

// ID implements webrtc.TrackLocal.
func (*writerTrack) ID() string { return "out" }

// RID implements webrtc.TrackLocal.
func (*writerTrack) RID() string { return "" }

// StreamID implements webrtc.TrackLocal.
func (*writerTrack) StreamID() string { return "out" }

// Kind implements webrtc.TrackLocal.
func (*writerTrack) Kind() webrtc.RTPCodecType { return webrtc.RTPCodecTypeVideo }

// The codecs of the two m-lines that pion is shown.
var (
	standInAudio = webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: 8000}, PayloadType: 0,
	}
	standInVideo = webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, PayloadType: 96,
	}
)

func registerStandIns(m *webrtc.MediaEngine) error {
	if err := m.RegisterCodec(standInAudio, webrtc.RTPCodecTypeAudio); err != nil {
		return err
	}
	return m.RegisterCodec(standInVideo, webrtc.RTPCodecTypeVideo)
}

// standInOffer is the offer that pion is shown: the client's ICE and DTLS parameters, and two m-lines, as with one alone pion
// would take every packet for its own.
func standInOffer(o *offer) string {
	var b strings.Builder
	b.WriteString("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a v\r\n")
	b.WriteString("a=ice-ufrag:" + o.ufrag + "\r\na=ice-pwd:" + o.password + "\r\na=fingerprint:" + o.fingerprint + "\r\n")
	common := "c=IN IP4 0.0.0.0\r\na=setup:" + o.setup + "\r\na=sendonly\r\na=rtcp-mux\r\n"
	b.WriteString("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n" + common + "a=mid:a\r\na=rtpmap:0 PCMU/8000\r\n")
	b.WriteString("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" + common + "a=mid:v\r\na=rtpmap:96 VP8/90000\r\n")
	return b.String()
}
