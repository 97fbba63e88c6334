package cascade

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"portico/edge/peers"
	"portico/edge/room"
	"portico/edge/rtc"
	"portico/shared/conference"
	"portico/shared/identity"
	"portico/shared/link"
	"portico/shared/meshproto"
)

// TestMain looks for leaks of ours. The library that the clients here are made of may leave the reader of a track behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/pion/webrtc/v4.(*PeerConnection).startReceiver.func1"))
}

// patience is how long a test waits for what must come.
const patience = 15 * time.Second

// waitFor waits until the condition holds, for what is told by no event.
func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	look, deadline := time.NewTicker(2*time.Millisecond), time.NewTimer(patience)
	defer look.Stop()
	defer deadline.Stop()
	for !condition() {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// edge is one of a test's, with links to the others.
type edge struct {
	*Cascade
	t      testing.TB
	name   string
	engine *rtc.Engine
	peers  *peers.Peers
	jobs   *fakeJobs
	stop   func()
}

// cluster is edges that can reach each other.
type cluster struct {
	t     testing.TB
	ids   []*identity.Identity
	edges []*edge

	mu    sync.Mutex // guards what follows
	at    map[string]string
	lose  func(from, to string, flow uint64, packet []byte) bool
	cut   map[string]bool // edges, and pairs of them, that cannot be reached
	house func(o *Options)
	over  func(net.PacketConn) net.PacketConn // of listeners
}

func newCluster(t testing.TB, n int, change func(o *Options)) *cluster {
	t.Helper()
	return newClusterOver(t, n, change, func(c net.PacketConn) net.PacketConn { return c })
}

// newClusterOver is the same with sockets that are not plain ones.
func newClusterOver(t testing.TB, n int, change func(o *Options), over func(net.PacketConn) net.PacketConn) *cluster {
	t.Helper()
	roles := make([]string, n)
	for i := range roles {
		roles[i] = identity.Edge
	}
	ids, err := identity.Ephemeral(roles...)
	if err != nil {
		t.Fatal(err)
	}
	x := &cluster{t: t, ids: ids, at: make(map[string]string), cut: make(map[string]bool), house: change, over: over}
	for i := range ids {
		x.edges = append(x.edges, x.start(i))
	}
	t.Cleanup(func() {
		for _, e := range x.edges {
			e.stop()
		}
	})
	return x
}

// start makes one edge.
func (x *cluster) start(i int) *edge {
	t := x.t
	t.Helper()
	e := &edge{t: t, name: x.ids[i].Name}
	var err error
	if e.peers, err = peers.New(peers.Options{
		Identity: x.ids[i],
		Listen: func(o link.Options) (*link.Listener, error) {
			conn, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			x.mu.Lock()
			x.at[e.name] = conn.LocalAddr().String()
			x.mu.Unlock()
			return link.Listen(x.over(conn), x.ids[i], o)
		},
		Address: func(node string) (string, bool) {
			x.mu.Lock()
			defer x.mu.Unlock()
			if x.cut[node] || x.cut[e.name] || x.cut[e.name+" "+node] || x.cut[node+" "+e.name] {
				return "", false
			}
			at, ok := x.at[node]
			return at, ok
		},
	}); err != nil {
		t.Fatal(err)
	}
	e.jobs = &fakeJobs{t: t, mark: byte('A' + i)}
	o := Options{Links: e.peers, Media: mediaOf{e}, Mixers: e.jobs, Converter: e.jobs}
	if x.house != nil {
		x.house(&o)
	}
	e.Cascade = New(o)
	if e.engine, err = rtc.New(rtc.Config{Listen: "127.0.0.1:0", AllowLoopback: true, Converter: e.Cascade}); err != nil {
		t.Fatal(err)
	}
	e.jobs.engine = e.engine
	e.peers.Start(peers.Handlers{
		Services: map[string]peers.Handler{meshproto.ServicePull: e.Serve},
		Packets: func(from string, l *link.Link, flow uint64, packet []byte) {
			x.mu.Lock()
			lost := x.lose != nil && x.lose(from, e.name, flow, packet)
			x.mu.Unlock()
			if !lost {
				e.Packets(from, l, flow, packet)
			}
		},
		Changed: e.Changed,
	})
	e.stop = sync.OnceFunc(func() {
		e.Close()
		e.peers.Close()
		if err := e.engine.Close(); err != nil {
			t.Error(err)
		}
		e.jobs.done.Wait()
	})
	return e
}

// mediaOf is an edge's engine, which is made after its cascade.
type mediaOf struct{ e *edge }

func (m mediaOf) OpenRemote(s rtc.RemoteSpec) (*rtc.Remote, error) { return m.e.engine.OpenRemote(s) }
func (m mediaOf) OpenTap(s rtc.TapSpec) (*rtc.Tap, error)          { return m.e.engine.OpenTap(s) }
func (m mediaOf) OpenOutlet(s rtc.OutletSpec) (*rtc.Outlet, error) { return m.e.engine.OpenOutlet(s) }
func (m mediaOf) OpenSelector(s rtc.SelectorSpec) (*rtc.Selector, error) {
	return m.e.engine.OpenSelector(s)
}
func (m mediaOf) Known(track string) bool { return m.e.engine.Known(track) }
func (m mediaOf) Now() int64              { return m.e.engine.Now() }

// pulls are the tracks that come to an edge, with where they come from.
func (e *edge) pulls() map[string]string {
	got := make(map[string]string)
	for _, s := range e.Stats(context.Background()) {
		if !s.Out {
			got[s.Track] += s.Node
		}
	}
	return got
}

// serves is how many tracks an edge sends to another.
func (e *edge) serves(to *edge) (n int) {
	for _, s := range e.Stats(context.Background()) {
		if s.Out && s.Node == to.name {
			n++
		}
	}
	return n
}

const audioLevel = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"

// client is a participant of one edge with one PeerConnection.
type client struct {
	t         testing.TB
	e         *edge
	name      string
	transport string
	pc        *webrtc.PeerConnection
	answers   chan string
	ready     chan []conference.Track
	failed    chan string
	received  chan *webrtc.TrackRemote
	connected chan struct{}
}

func (c *client) Answer(_, sdp string)                     { c.answers <- sdp }
func (c *client) TransportReady(string)                    {}
func (c *client) TransportFailed(string, string)           {}
func (c *client) LayersWanted(string, []string)            {}
func (c *client) TracksChanged(string, []conference.Track) {}
func (c *client) SessionReady(_, _ string, tracks []conference.Track) {
	c.ready <- tracks
}
func (c *client) SessionFailed(_, _, reason string) { c.failed <- reason }

func newClient(e *edge, name string) *client {
	t := e.t
	t.Helper()
	c := &client{
		t: t, e: e, name: name, answers: make(chan string, 8), ready: make(chan []conference.Track, 8), failed: make(chan string, 8),
		received: make(chan *webrtc.TrackRemote, 8), connected: make(chan struct{}),
	}
	media := new(webrtc.MediaEngine)
	if err := media.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	if err := media.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: audioLevel}, webrtc.RTPCodecTypeAudio); err != nil {
		t.Fatal(err)
	}
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: conn})
	settings.SetICEUDPMux(mux)
	api := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(settings))
	if c.pc, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		t.Fatal(err)
	}
	var up sync.Once
	c.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			up.Do(func() { close(c.connected) })
		}
	})
	c.pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { c.received <- track })
	t.Cleanup(func() {
		_ = c.pc.GracefulClose()
		_ = mux.Close()
	})
	return c
}

func (c *client) open(session string) (transport string, isNew bool) {
	if c.transport == "" {
		c.transport = session
		return session, true
	}
	return c.transport, false
}

// negotiate brings a session up.
func (c *client) negotiate() []conference.Track {
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
	if err := c.e.engine.Offer(c.name, c.transport, c.pc.LocalDescription().SDP); err != nil {
		c.t.Fatal(err)
	}
	select {
	case answer := <-c.answers:
		if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
			c.t.Fatal(err)
		}
	case <-time.After(patience):
		c.t.Fatal("no answer")
	}
	select {
	case tracks := <-c.ready:
		<-c.connected
		return tracks
	case reason := <-c.failed:
		c.t.Fatal(reason)
	case <-time.After(patience):
		c.t.Fatal("the session is not ready")
	}
	return nil
}

// source is a client that sends sound and picture until the test ends.
type source struct {
	*client
	tracks []conference.Track
	level  atomic.Int32  // of its sound: -dBov
	rare   bool          // it sends a key frame only at first and when asked
	asked  *atomic.Int64 // how often it was asked for one
	silent chan struct{} // closed: it sends no more
	hush   func()
}

var (
	keyFrame   = append([]byte{0x10, 0xd0, 0x09, 0x0d, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, 0x00, 0x47, 0x08}, make([]byte, 500)...)
	interFrame = append([]byte{0x10, 0xd1, 0x09, 0x0d}, make([]byte, 500)...)
)

// publish begins a publication. mark stands in each of its packets.
func publish(e *edge, name, session string, mark byte) *source {
	e.t.Helper()
	return publishAs(e, name, session, mark, false)
}

// publishAs is the same; rare is whether there are key frames only when they are asked for.
func publishAs(e *edge, name, session string, mark byte, rare bool) *source {
	e.t.Helper()
	c, asked := newClient(e, name), new(atomic.Int64)
	var tracks []*webrtc.TrackLocalStaticRTP
	for _, capability := range []webrtc.RTPCodecCapability{
		{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, {MimeType: webrtc.MimeTypeVP8, ClockRate: 90000},
	} {
		track, err := webrtc.NewTrackLocalStaticRTP(capability, strings.ToLower(capability.MimeType[6:]), "stream")
		if err != nil {
			e.t.Fatal(err)
		}
		tr, err := c.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err != nil {
			e.t.Fatal(err)
		}
		go func() {
			for {
				packets, _, err := tr.Sender().ReadRTCP()
				if err != nil {
					return
				}
				for _, p := range packets {
					if _, ok := p.(*rtcp.PictureLossIndication); ok {
						asked.Add(1)
					}
				}
			}
		}()
		tracks = append(tracks, track)
	}
	transport, isNew := c.open(session)
	if err := e.engine.Publish(rtc.PublishSpec{
		Participant: name, Transport: transport, Session: session, New: isNew, Events: c,
		Tracks: []rtc.TrackDecl{{Kind: conference.Audio, Mid: "0", Source: "mic"}, {Kind: conference.Video, Mid: "1", Source: "camera"}},
		Accept: conference.MediaIn{Audio: []conference.AudioFormat{{Codec: "opus"}}, Video: []conference.VideoFormat{{Codec: "vp8"}}},
	}); err != nil {
		e.t.Fatal(err)
	}
	s := &source{client: c, tracks: c.negotiate(), silent: make(chan struct{}), rare: rare, asked: asked}
	s.level.Store(40)
	s.hush = sync.OnceFunc(func() { close(s.silent) })
	var done sync.WaitGroup
	done.Go(func() { s.pump(tracks[0], tracks[1], mark) })
	e.t.Cleanup(func() { s.hush(); done.Wait() })
	return s
}

func (s *source) pump(audio, video *webrtc.TrackLocalStaticRTP, mark byte) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	given := int64(-1)
	for i := 0; ; i++ {
		select {
		case <-s.silent:
			return
		case <-ticker.C:
		}
		payload := bytes.Clone(interFrame)
		asked := s.asked.Load()
		if !s.rare && i%20 == 0 || s.rare && asked != given {
			given = asked
			payload = bytes.Clone(keyFrame)
		}
		payload[len(payload)-1] = mark
		h := rtp.Header{Version: 2, Marker: true, SequenceNumber: uint16(i), Timestamp: uint32(i) * 900}
		_ = video.WriteRTP(&rtp.Packet{Header: h, Payload: payload})
		p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(i), Timestamp: uint32(i) * 480}, Payload: []byte{0x78, mark}}
		if id := s.levelID(); id != 0 {
			_ = p.SetExtension(id, []byte{0x80 | byte(s.level.Load())})
		}
		_ = audio.WriteRTP(p)
	}
}

// levelID is the id of the audio level's extension, 0 for none.
func (s *source) levelID() uint8 {
	for _, x := range s.pc.GetSenders()[0].GetParameters().HeaderExtensions {
		if x.URI == audioLevel {
			return uint8(x.ID)
		}
	}
	return 0
}

// remote tells an edge of the publication as its room would.
func (s *source) remote(at *edge, session string) {
	at.Remote(room.RemoteStream{Room: "R", Stream: session, Participant: s.name, Edge: s.e.name, Tracks: s.tracks})
}
