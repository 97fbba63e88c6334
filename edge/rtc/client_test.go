package rtc

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"portico/shared/conference"
)

// client is one participant with one PeerConnection, as the OWT JavaScript SDK has it.
type client struct {
	*owner
	t         testing.TB
	engine    *Engine
	name      string
	transport string
	pc        *webrtc.PeerConnection
	received  chan received
	connected chan struct{} // closed when the client's side of the transport is up
	wire      *wire

	mu       sync.Mutex
	loseOut  func(p *rtp.Header) bool // drops packets on their way out
	reported []rtcp.Packet            // RTCP that came
}

// wire is the client's socket, which a test can cut, and on which incoming packets can be lost: before SRTP, which would take a
// retransmission for a replay.
type wire struct {
	net.PacketConn
	cut  atomic.Bool
	lose atomic.Pointer[func(h *rtp.Header) bool]
}

func (w *wire) WriteTo(b []byte, to net.Addr) (int, error) {
	if w.cut.Load() {
		return len(b), nil
	}
	return w.PacketConn.WriteTo(b, to)
}

func (w *wire) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := w.PacketConn.ReadFrom(b)
		if err != nil {
			return n, from, err
		}
		var h rtp.Header
		if lose := w.lose.Load(); lose != nil && n > 12 && b[0]>>6 == 2 && (b[1] < 192 || b[1] > 223) {
			if _, err := h.Unmarshal(b[:n]); err == nil && (*lose)(&h) {
				continue
			}
		}
		if !w.cut.Load() {
			return n, from, nil
		}
	}
}

// received is a track that began to arrive.
type received struct {
	track    *webrtc.TrackRemote
	receiver *webrtc.RTPReceiver
}

func newClient(t testing.TB, e *Engine, name string) *client {
	return newClientWith(t, e, name, nil)
}

// newClientWith makes a client whose MediaEngine the caller fills; nil registers the default codecs.
func newClientWith(t testing.TB, e *Engine, name string, register func(*webrtc.MediaEngine) error) *client {
	t.Helper()
	return newClientBy(t, e, name, webrtc.NetworkTypeUDP4, register)
}

// newClientBy makes a client that uses one kind of network only. With TCP its wire cannot be cut.
func newClientBy(t testing.TB, e *Engine, name string, network webrtc.NetworkType, register func(*webrtc.MediaEngine) error) *client {
	t.Helper()
	c := &client{owner: newOwner(t), t: t, engine: e, name: name, received: make(chan received, 64), connected: make(chan struct{})}
	media := new(webrtc.MediaEngine)
	if register == nil {
		register = func(m *webrtc.MediaEngine) error { return m.RegisterDefaultCodecs() }
	}
	if err := register(media); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		for _, uri := range []string{extMid, extRid, extRepairedRid} {
			if err := media.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind); err != nil {
				t.Fatal(err)
			}
		}
	}
	registry := &interceptor.Registry{}
	registry.Add(lossFactory{c})
	if err := webrtc.ConfigureTWCCHeaderExtensionSender(media, registry); err != nil {
		t.Fatal(err)
	}
	if err := webrtc.RegisterDefaultInterceptors(media, registry); err != nil {
		t.Fatal(err)
	}
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetNetworkTypes([]webrtc.NetworkType{network})
	settings.SetICETimeouts(5*time.Second, 10*time.Second, 100*time.Millisecond)
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.wire = &wire{PacketConn: conn}
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: c.wire})
	if network == webrtc.NetworkTypeUDP4 {
		settings.SetICEUDPMux(mux)
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(settings), webrtc.WithInterceptorRegistry(registry))
	pc, err := api.NewPeerConnection(webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle})
	if err != nil {
		t.Fatal(err)
	}
	c.pc = pc
	var up sync.Once
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			up.Do(func() { close(c.connected) })
		}
	})
	pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) { c.received <- received{track, receiver} })
	t.Cleanup(func() {
		if err := pc.GracefulClose(); err != nil {
			t.Error(err)
		}
		if err := mux.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// lossFactory makes the interceptor that loses packets of a client on their way out, beneath the one that sends again.
type lossFactory struct{ client *client }

func (f lossFactory) NewInterceptor(string) (interceptor.Interceptor, error) {
	return &loss{client: f.client}, nil
}

type loss struct {
	interceptor.NoOp
	client *client
}

func (l *loss) BindLocalStream(_ *interceptor.StreamInfo, writer interceptor.RTPWriter) interceptor.RTPWriter {
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		l.client.mu.Lock()
		lose := l.client.loseOut != nil && l.client.loseOut(h)
		l.client.mu.Unlock()
		if lose {
			return len(payload), nil
		}
		return writer.Write(h, payload, a)
	})
}

func (l *loss) BindRTCPReader(reader interceptor.RTCPReader) interceptor.RTCPReader {
	return interceptor.RTCPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		n, a, err := reader.Read(b, a)
		if err == nil {
			if packets, err := rtcp.Unmarshal(b[:n]); err == nil {
				l.client.mu.Lock()
				l.client.reported = append(l.client.reported, packets...)
				l.client.mu.Unlock()
			}
		}
		return n, a, err
	})
}

// video and audio are tracks whose packets the test writes.
func (c *client) track(kind conference.Kind) *webrtc.TrackLocalStaticRTP {
	c.t.Helper()
	capability := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
	if kind == conference.Audio {
		capability = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	}
	track, err := webrtc.NewTrackLocalStaticRTP(capability, string(kind), "stream")
	if err != nil {
		c.t.Fatal(err)
	}
	return track
}

// send adds a sendonly m-line for track.
func (c *client) send(track webrtc.TrackLocal) *webrtc.RTPTransceiver {
	c.t.Helper()
	tr, err := c.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		c.t.Fatal(err)
	}
	go func() { // what comes back must be read for interceptors to see it; ends with the PeerConnection
		for b := make([]byte, 1500); ; {
			if _, _, err := tr.Sender().Read(b); err != nil {
				return
			}
		}
	}()
	return tr
}

// reports counts the RTCP packets that came and fit.
func (c *client) reports(fit func(rtcp.Packet) bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, p := range c.reported {
		if fit(p) {
			n++
		}
	}
	return n
}

// receive adds a recvonly m-line.
func (c *client) receive(kind conference.Kind) *webrtc.RTPTransceiver {
	c.t.Helper()
	tr, err := c.pc.AddTransceiverFromKind(webrtc.NewRTPCodecType(string(kind)),
		webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
	if err != nil {
		c.t.Fatal(err)
	}
	return tr
}

// makeOffer makes an offer and gathers; it returns the SDP as it is before the candidates, and these.
func (c *client) makeOffer() (text string, candidates []string) {
	c.t.Helper()
	offer, err := c.pc.CreateOffer(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(offer); err != nil {
		c.t.Fatal(err)
	}
	<-gathered
	for line := range strings.SplitSeq(c.pc.LocalDescription().SDP, "\r\n") {
		if strings.HasPrefix(line, "a=candidate:") && !slices.Contains(candidates, line) {
			candidates = append(candidates, line)
		}
	}
	return offer.SDP, candidates
}

// negotiate makes an offer, has it answered and applies the answer, which it returns.
func (c *client) negotiate() string {
	c.t.Helper()
	text, candidates := c.makeOffer()
	return c.finish(text, candidates)
}

func (c *client) finish(text string, candidates []string) string {
	c.t.Helper()
	if err := c.engine.Offer(c.name, c.transport, text); err != nil {
		c.t.Fatal(err)
	}
	answer := c.next("answer").text
	c.apply(answer)
	for _, line := range candidates {
		if err := c.engine.Candidate(c.name, c.transport, line, "0", 0); err != nil {
			c.t.Fatal(err)
		}
	}
	return answer
}

func (c *client) apply(answer string) {
	c.t.Helper()
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		c.t.Fatalf("the client refuses the answer: %v\n%s", err, answer)
	}
}

// up waits for the first session to be ready and for the client's own side of the transport, through which it sends.
func (c *client) up() event {
	c.t.Helper()
	c.next("transport ready")
	ready := c.next("session ready")
	select {
	case <-c.connected:
	case <-time.After(patience):
		c.t.Fatal("the client is not connected")
	}
	return ready
}

// decls declares tracks on mids from first on.
func decls(first int, kinds ...conference.Kind) []TrackDecl {
	var list []TrackDecl
	for i, kind := range kinds {
		source := "mic"
		if kind == conference.Video {
			source = "camera"
		}
		list = append(list, TrackDecl{Kind: kind, Mid: fmt.Sprint(first + i), Source: source})
	}
	return list
}

// publish declares a publication; the first session of a client opens its transport.
func (c *client) publish(session string, tracks []TrackDecl) {
	c.t.Helper()
	spec := PublishSpec{Participant: c.name, Transport: c.transport, Session: session, Tracks: tracks, Accept: allFormats, Events: c}
	if c.transport == "" {
		c.transport, spec.Transport, spec.New = session, session, true
	}
	if err := c.engine.Publish(spec); err != nil {
		c.t.Fatal(err)
	}
}

// subscribe declares a subscription; from are track ids, whose kind is that of the mid.
func (c *client) subscribe(session string, tracks ...SubTrack) {
	c.t.Helper()
	if err := c.trySubscribe(session, tracks...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) trySubscribe(session string, tracks ...SubTrack) error {
	spec := SubscribeSpec{Participant: c.name, Transport: c.transport, Session: session, Tracks: tracks, Events: c}
	if c.transport == "" {
		c.transport, spec.Transport, spec.New = session, session, true
	}
	return c.engine.Subscribe(spec)
}
