package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"portico/shared/client"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
	"portico/tools/pionpeer/clip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// room is a portal and media server for one client: what the client publishes comes back as the stream of another participant.
type room struct {
	t       *testing.T
	options client.DialOptions
	pc      *webrtc.PeerConnection
	closed  chan struct{}
	close   sync.Once
	asking  sync.WaitGroup

	mu      sync.Mutex // guards the fields below; requests come from several goroutines
	session string     // to become ready with the next offer
	receive []string   // mids the client receives on
	out     map[webrtc.RTPCodecType]*webrtc.TrackLocalStaticRTP
	subs    []portalproto.SubscribeTrack
}

func newRoom(t *testing.T) *room {
	t.Helper()
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(net.IP.IsLoopback)
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	r := &room{t: t, pc: pc, closed: make(chan struct{}), out: map[webrtc.RTPCodecType]*webrtc.TrackLocalStaticRTP{}}
	pc.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			packet, _, err := remote.ReadRTP()
			if err != nil {
				return
			}
			r.forward(remote.Kind(), packet)
		}
	})
	t.Cleanup(func() { _ = pc.GracefulClose() })
	return r
}

func (r *room) forward(kind webrtc.RTPCodecType, packet *rtp.Packet) {
	r.mu.Lock()
	out := r.out[kind]
	r.mu.Unlock()
	if out != nil {
		packet.Extension, packet.Extensions = false, nil
		_ = out.WriteRTP(packet)
	}
}

func (r *room) dial(_ context.Context, options client.DialOptions) (client.Socket, error) {
	r.options = options
	return r, nil
}

func (r *room) Close() error {
	r.close.Do(func() { close(r.closed) })
	r.asking.Wait()
	return nil
}

// Emit takes the client's candidates; the answer has all of the server's.
func (r *room) Emit(_ string, args ...jsonvalue.Value) error {
	s, err := portalproto.DecodeSignaling(args[0])
	if err != nil || len(s.Candidates) != 1 {
		r.t.Errorf("emit %v", args)
		return err
	}
	c := s.Candidates[0]
	line := uint16(c.MLine)
	return r.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: strings.TrimPrefix(c.Text, "a="), SDPMid: &c.Mid, SDPMLineIndex: &line})
}

// Ask answers from goroutines of their own: the client does not depend on the order.
func (r *room) Ask(name string, done func([]jsonvalue.Value, error), args ...jsonvalue.Value) {
	r.asking.Go(func() { done(r.request(name, args...), nil) })
}

func (r *room) request(name string, args ...jsonvalue.Value) []jsonvalue.Value {
	var data, answer jsonvalue.Value
	if len(args) > 0 {
		data = args[0]
	}
	var err error
	switch name {
	case portalproto.EventLogin:
		me := conference.Participant{ID: "me", User: "guest", Role: "presenter"}
		answer = portalproto.LoginResult{Participant: me, RoomID: "r", Participants: []conference.Participant{me}}.Encode(portalproto.Receiver{Version: portalproto.V12})
	case portalproto.EventPublish:
		_, err = portalproto.DecodePublish(data, portalproto.V12)
		answer = r.open("pub", nil)
	case portalproto.EventSubscribe:
		var request portalproto.SubscribeRequest
		request, err = portalproto.DecodeSubscribe(data, portalproto.V12)
		answer = r.open("sub", request.Tracks)
	case portalproto.EventSOAC:
		r.answer(data.Path("signaling", "sdp").Text())
	}
	if err != nil {
		return portalproto.AckError(err)
	}
	return portalproto.AckOK(answer)
}

func (r *room) open(id string, tracks []portalproto.SubscribeTrack) jsonvalue.Value {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.session, r.subs = id, tracks
	return portalproto.SessionAck{ID: id, Transport: "pub"}.Encode()
}

func (r *room) answer(offer string) {
	if err := r.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	session, subs := r.session, r.subs
	r.mu.Unlock()
	for _, s := range subs {
		capability := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
		if s.Kind == conference.Audio {
			capability = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
		}
		track, err := webrtc.NewTrackLocalStaticRTP(capability, string(s.Kind), session)
		if err == nil {
			_, err = r.pc.AddTrack(track)
		}
		if err != nil {
			r.t.Error(err)
		}
		r.mu.Lock()
		r.out[track.Kind()] = track
		r.mu.Unlock()
	}
	answer, err := r.pc.CreateAnswer(nil)
	if err != nil {
		r.t.Error(err)
	}
	gathered := webrtc.GatheringCompletePromise(r.pc)
	if err := r.pc.SetLocalDescription(answer); err != nil {
		r.t.Error(err)
	}
	<-gathered
	r.notify(portalproto.Progress{Transport: "pub", Status: portalproto.ProgressSOAC, Answer: r.pc.LocalDescription().SDP},
		portalproto.Progress{Transport: "pub", Session: session, Status: portalproto.ProgressReady})
	if session == "pub" {
		stream := conference.Stream{ID: "theirs", Type: conference.Forward, Owner: "bob", Via: "webrtc",
			Tracks: []conference.Track{{ID: "theirs-0", Kind: conference.Audio}, {ID: "theirs-1", Kind: conference.Video}}}
		r.notify(portalproto.TextMessage{From: "bob", To: "all", Message: jsonvalue.Of("hi")}, portalproto.StreamAdded{Stream: stream})
	}
}

// notify is called by the client's negotiator, one request at a time, so that the order holds.
func (r *room) notify(notifications ...portalproto.Notification) {
	for _, n := range notifications {
		name, data := n.Encode(portalproto.Receiver{Version: portalproto.V12})
		r.options.OnEvent(name, []jsonvalue.Value{data})
	}
}

// TestGuest: a guest publishes its clip, sees a stream, subscribes to it, counts its pictures, and leaves in order.
func TestGuest(t *testing.T) {
	spec := clip.Spec{Length: time.Second}
	c, err := clip.Make(t.Context(), t.TempDir(), spec)
	if errors.Is(err, clip.ErrNoFFmpeg) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	server := newRoom(t)
	token := base64.StdEncoding.EncodeToString([]byte(`{"host":"portal:8080"}`))
	read, write := io.Pipe()
	g, err := newGuest(options{token: token, publish: true, subscribe: true, loopback: true, message: "hello", clip: c, dial: server.dial}, write)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ran := make(chan error, 1)
	go func() {
		ran <- g.run(ctx)
		_ = write.Close()
	}()
	seen := map[string]int{}
	frames := map[string]int{}
	for lines := bufio.NewScanner(read); lines.Scan(); {
		var line struct {
			Event, Kind, Text string
			Counts            clip.Counts
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		seen[line.Event]++
		switch line.Event {
		case "media":
			frames[line.Kind] = line.Counts.Frames
			if frames["audio"] > 20 && frames["video"] > 20 {
				cancel()
			}
		case "error":
			t.Errorf("line %s", lines.Bytes())
		}
	}
	if err := <-ran; err != nil {
		t.Error(err)
	}
	for _, event := range []string{"joined", "published", "stream", "message", "subscribed", "disconnected"} {
		if seen[event] != 1 {
			t.Errorf("%d lines %q, want 1", seen[event], event)
		}
	}
	if seen["ended"] != 2 || frames["video"] <= 20 || frames["audio"] <= 20 {
		t.Errorf("saw %v, frames %v", seen, frames)
	}
}
