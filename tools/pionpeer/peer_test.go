package pionpeer_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"portico/shared/client"
	"portico/shared/conference"
	"portico/tools/pionpeer"
	"portico/tools/pionpeer/clip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loopback keeps a test's media on this machine.
func loopback(s *webrtc.SettingEngine) {
	s.SetIncludeLoopbackCandidate(true)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	s.SetIPFilter(net.IP.IsLoopback)
}

// events collects what a peer says; each channel has room for all a test can cause.
type events struct {
	candidates chan [2]string // text, mid
	tracks     chan trackEvent
	states     chan string
}

type trackEvent struct {
	mid     string
	kind    conference.Kind
	streams []string
	remote  *pionpeer.Remote
}

func newEvents() *events {
	return &events{make(chan [2]string, 64), make(chan trackEvent, 16), make(chan string, 16)}
}

func (e *events) Candidate(candidate, mid string, _ int) { e.candidates <- [2]string{candidate, mid} }
func (e *events) State(s string)                         { e.states <- s }
func (e *events) Track(mid string, kind conference.Kind, streams []string, remote any) {
	e.tracks <- trackEvent{mid, kind, streams, remote.(*pionpeer.Remote)}
}

func (e *events) waitState(t *testing.T, want string) {
	t.Helper()
	for {
		select {
		case s := <-e.states:
			if s == want {
				return
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("state %q did not come", want)
		}
	}
}

// echo is a server that answers every offer and sends back, on the m-lines the peer receives on, what it gets on the first of the kind.
type echo struct {
	t  *testing.T
	pc *webrtc.PeerConnection
	mu sync.Mutex // guards out
	// out are the tracks that feed the peer, by kind.
	out map[webrtc.RTPCodecType]*webrtc.TrackLocalStaticRTP
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	var settings webrtc.SettingEngine
	loopback(&settings)
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{t: t, pc: pc, out: map[webrtc.RTPCodecType]*webrtc.TrackLocalStaticRTP{}}
	pc.OnTrack(func(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		if remote.Kind() == webrtc.RTPCodecTypeVideo {
			_ = pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(remote.SSRC())}})
		}
		for {
			packet, _, err := remote.ReadRTP()
			if err != nil {
				return
			}
			e.mu.Lock()
			out := e.out[remote.Kind()]
			e.mu.Unlock()
			if out != nil {
				packet.Extension, packet.Extensions = false, nil
				_ = out.WriteRTP(packet)
			}
		}
	})
	t.Cleanup(func() { _ = pc.GracefulClose() })
	return e
}

// answer answers an offer with all candidates in it; send names the mids to send on.
func (e *echo) answer(offer string, send ...string) string {
	e.t.Helper()
	if err := e.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		e.t.Fatal(err)
	}
	for _, transceiver := range e.pc.GetTransceivers() {
		for _, mid := range send {
			if transceiver.Mid() == mid {
				e.feed(transceiver)
			}
		}
	}
	answer, err := e.pc.CreateAnswer(nil)
	if err != nil {
		e.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(e.pc)
	if err := e.pc.SetLocalDescription(answer); err != nil {
		e.t.Fatal(err)
	}
	<-gathered
	return e.pc.LocalDescription().SDP
}

func (e *echo) feed(t *webrtc.RTPTransceiver) {
	e.t.Helper()
	capability := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
	if t.Kind() == webrtc.RTPCodecTypeAudio {
		capability = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	}
	track, err := webrtc.NewTrackLocalStaticRTP(capability, t.Kind().String(), "echo")
	if err != nil {
		e.t.Fatal(err)
	}
	if _, err := e.pc.AddTrack(track); err != nil {
		e.t.Fatal(err)
	}
	e.mu.Lock()
	e.out[t.Kind()] = track
	e.mu.Unlock()
}

func newPeer(t *testing.T, options pionpeer.Options, config client.PeerConfig, on client.PeerEvents) client.Peer {
	t.Helper()
	factory, err := pionpeer.New(options)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := factory.NewPeer(config, on)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	return peer
}

func addTransceiver(t *testing.T, p client.Peer, kind conference.Kind, dir client.Direction, local any) client.Transceiver {
	t.Helper()
	tr, err := p.AddTransceiver(kind, dir, local, client.SendOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func negotiate(t *testing.T, p client.Peer, e *echo, send ...string) {
	t.Helper()
	offer, err := p.Offer(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Answer(t.Context(), e.answer(offer, send...)); err != nil {
		t.Fatal(err)
	}
}

// TestMediaThereAndBack sends a clip to a server and receives it again on m-lines added by a second negotiation.
func TestMediaThereAndBack(t *testing.T) {
	c, err := clip.Make(t.Context(), t.TempDir(), clip.Spec{Length: time.Second})
	if errors.Is(err, clip.ErrNoFFmpeg) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if c.Width != 320 || c.Height != 240 || len(c.Video) != 20 || len(c.Audio) < 48 {
		t.Fatalf("clip of %dx%d, %d pictures, %d packets", c.Width, c.Height, len(c.Video), len(c.Audio))
	}
	video, audio, err := clip.Tracks("camera")
	if err != nil {
		t.Fatal(err)
	}
	pli := make(chan string, 16)
	on, server := newEvents(), newEcho(t)
	p := newPeer(t, pionpeer.Options{Settings: loopback, RTCP: func(mid string, packets []rtcp.Packet) {
		for _, packet := range packets {
			if _, ok := packet.(*rtcp.PictureLossIndication); ok {
				select {
				case pli <- mid:
				default:
				}
			}
		}
	}}, client.PeerConfig{}, on)

	sendAudio := addTransceiver(t, p, conference.Audio, client.SendOnly, audio)
	sendVideo := addTransceiver(t, p, conference.Video, client.SendOnly, video)
	negotiate(t, p, server)
	if sendAudio.Mid() != "0" || sendVideo.Mid() != "1" {
		t.Fatalf("mids %q and %q", sendAudio.Mid(), sendVideo.Mid())
	}
	if c := <-on.candidates; !strings.HasPrefix(c[0], "candidate:") || c[1] != "0" {
		t.Fatalf("candidate %q", c)
	}
	on.waitState(t, "connected")
	ctx, stop := context.WithCancel(t.Context())
	played := make(chan error, 1)
	go func() { played <- c.Play(ctx, video, audio) }()

	addTransceiver(t, p, conference.Audio, client.RecvOnly, nil)
	addTransceiver(t, p, conference.Video, client.RecvOnly, nil)
	negotiate(t, p, server, "2", "3")
	counters := map[conference.Kind]*clip.Counter{}
	for range 2 {
		e := <-on.tracks
		if len(e.streams) != 1 || e.streams[0] != "echo" || (e.mid == "2") != (e.kind == conference.Audio) {
			t.Fatalf("track %+v", e)
		}
		counters[e.kind] = clip.Count(e.remote.Track)
	}
	if err := counters[conference.Audio].Wait(t.Context(), func(n clip.Counts) bool { return n.Frames >= 25 }); err != nil {
		t.Fatal(err)
	}
	if err := counters[conference.Video].Wait(t.Context(), func(n clip.Counts) bool { return n.Frames >= 25 && n.KeyFrames >= 2 }); err != nil {
		t.Fatal(err)
	}
	if n := counters[conference.Video].Counts(); n.Width != 320 || n.Height != 240 || n.Codec != "vp8" {
		t.Errorf("counted %+v", n)
	}
	if mid := <-pli; mid != "1" {
		t.Errorf("PLI for mid %q", mid)
	}
	stop()
	if err := <-played; err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	for _, counter := range counters {
		<-counter.Done()
	}
}

// TestStopMakesInactive: a stopped transceiver's m-line stays in its place, inactive, and the connection negotiates on.
func TestStopMakesInactive(t *testing.T) {
	_, audio, err := clip.Tracks("mic")
	if err != nil {
		t.Fatal(err)
	}
	server := newEcho(t)
	p := newPeer(t, pionpeer.Options{Settings: loopback}, client.PeerConfig{}, newEvents())
	first := addTransceiver(t, p, conference.Audio, client.SendOnly, audio)
	negotiate(t, p, server)
	if err := first.ReplaceTrack(nil); err != nil {
		t.Error(err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	second := addTransceiver(t, p, conference.Audio, client.RecvOnly, nil)
	offer, err := p.Offer(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(offer, "m=")[1:]
	if len(sections) != 2 || !strings.Contains(sections[0], "a=inactive") || !strings.Contains(sections[1], "a=recvonly") || second.Mid() != "1" {
		t.Fatalf("offer\n%s", offer)
	}
	if err := p.Answer(t.Context(), server.answer(offer)); err != nil {
		t.Fatal(err)
	}
}

func TestCodecPreference(t *testing.T) {
	p := newPeer(t, pionpeer.Options{Settings: loopback}, client.PeerConfig{}, newEvents())
	if _, err := p.AddTransceiver(conference.Video, client.RecvOnly, nil, client.SendOptions{Codecs: []string{"vp9", "h264"}}); err != nil {
		t.Fatal(err)
	}
	offer, err := p.Offer(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	vp9, h264, vp8 := strings.Index(offer, "VP9/90000"), strings.Index(offer, "H264/90000"), strings.Index(offer, "VP8/90000")
	if !(0 < vp9 && vp9 < h264 && h264 < vp8) {
		t.Errorf("VP9 at %d, H.264 at %d, VP8 at %d", vp9, h264, vp8)
	}
}

// TestRelayOnly: without a relay there is no candidate at all.
func TestRelayOnly(t *testing.T) {
	on := newEvents()
	p := newPeer(t, pionpeer.Options{Settings: loopback}, client.PeerConfig{RelayOnly: true}, on)
	addTransceiver(t, p, conference.Audio, client.RecvOnly, nil)
	offer, err := p.Offer(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Answer(t.Context(), newEcho(t).answer(offer)); err != nil {
		t.Fatal(err)
	}
	on.waitState(t, "connecting")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case c := <-on.candidates:
		t.Errorf("candidate %q", c)
	default:
	}
}

func TestWrongLocalTrack(t *testing.T) {
	p := newPeer(t, pionpeer.Options{Settings: loopback}, client.PeerConfig{}, newEvents())
	if _, err := p.AddTransceiver(conference.Audio, client.SendOnly, "a string", client.SendOptions{}); !errors.Is(err, pionpeer.ErrLocalTrack) {
		t.Errorf("error %v", err)
	}
}
