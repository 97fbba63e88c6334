package rtc

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"portico/shared/conference"
)

func TestT_120_121_Publish(t *testing.T) {
	e := newEngine(t, nil)
	c := newClient(t, e, "alice")
	c.send(c.track(conference.Audio))
	c.send(c.track(conference.Video))
	c.publish("x", decls(0, conference.Audio, conference.Video))
	answer := parsed(t, c.negotiate())
	if len(answer.MediaDescriptions) != 2 {
		t.Fatalf("%d m-lines", len(answer.MediaDescriptions))
	}
	if group, _ := answer.Attribute("group"); group != "BUNDLE 0 1" {
		t.Errorf("group %q", group)
	}
	for i, m := range answer.MediaDescriptions {
		if attribute(m, "mid") != fmt.Sprint(i) || direction(m) != recvOnly || attribute(m, "setup") != "active" || m.MediaName.Port.Value == 0 {
			t.Errorf("m-line %d: mid %q, %s, setup %q, port %d", i, attribute(m, "mid"), direction(m), attribute(m, "setup"), m.MediaName.Port.Value)
		}
		if attribute(m, "candidate") == "" {
			t.Errorf("m-line %d has no candidate", i)
		}
	}
	if e := c.next("transport ready"); e.transport != "x" {
		t.Errorf("ready: %v", e)
	}
	ready := c.next("session ready")
	want := []conference.Track{
		{ID: "x-0", Kind: conference.Audio, Source: "mic", Mid: "0", Format: conference.Format{Codec: "opus", SampleRate: 48000, ChannelNum: 2}},
		{ID: "x-1", Kind: conference.Video, Source: "camera", Mid: "1", Format: conference.Format{Codec: "vp8"}},
	}
	if ready.session != "x" || !reflect.DeepEqual(ready.tracks, want) {
		t.Errorf("ready with %+v", ready.tracks)
	}
	c.quiet()
}

func TestT_123_ResolutionIsReported(t *testing.T) {
	s := newSource(t, newEngine(t, nil), "alice")
	s.frame(interFrame)
	s.frame(keyFrame)
	changed := s.next("tracks changed")
	if changed.session != "alice-pub" || len(changed.tracks) != 2 ||
		changed.tracks[1].Parameters.Resolution != (conference.Resolution{Width: 640, Height: 360}) {
		t.Errorf("%+v", changed)
	}
	s.frame(keyFrame)
	s.frame(largeFrame)
	if changed := s.next("tracks changed"); changed.tracks[1].Parameters.Resolution != (conference.Resolution{Width: 1280, Height: 720}) {
		t.Errorf("%+v", changed)
	}
	s.quiet()
}

func TestT_124_125_ManySessionsOnOneTransport(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	alice.start()
	bob := newSource(t, e, "bob") // has mids 0 and 1
	bob.start()

	// Bob subscribes to Alice on the same PeerConnection.
	bob.receive(conference.Audio)
	bob.receive(conference.Video)
	bob.subscribe("sub", SubTrack{Kind: conference.Audio, Mid: "2", From: "alice-pub-0"}, SubTrack{Kind: conference.Video, Mid: "3", From: "alice-pub-1"})
	answer := parsed(t, bob.negotiate())
	var streams, ufrags []string
	for i, m := range answer.MediaDescriptions {
		if attribute(m, "mid") != fmt.Sprint(i) {
			t.Errorf("m-line %d has mid %q", i, attribute(m, "mid"))
		}
		ufrags = append(ufrags, attribute(m, "ice-ufrag"))
		if i < 2 {
			if direction(m) != recvOnly {
				t.Errorf("m-line %d is %s", i, direction(m))
			}
			continue
		}
		if direction(m) != sendOnly {
			t.Errorf("m-line %d is %s", i, direction(m))
		}
		stream, _, _ := strings.Cut(attribute(m, "msid"), " ")
		streams = append(streams, stream)
	}
	if len(streams) != 2 || streams[0] == "" || streams[0] != streams[1] {
		t.Errorf("msid streams %q", streams)
	}
	if len(slices.Compact(ufrags)) != 1 {
		t.Errorf("several credentials: %q", ufrags)
	}
	if got := bob.next("session ready"); got.session != "sub" || got.transport != "bob-pub" || got.tracks != nil {
		t.Errorf("got %v", got)
	}
	kinds := map[string]bool{}
	for range 2 {
		r := bob.arrived()
		kinds[r.track.Kind().String()] = true
		if r.track.StreamID() != streams[0] {
			t.Errorf("%s arrives in stream %q", r.track.Kind(), r.track.StreamID())
		}
		for range 30 { // the client's library loses of what comes before it has seen the answer
			bob.read(r.track)
		}
		last := bob.read(r.track)
		for range 50 {
			p := bob.read(r.track)
			if p.SequenceNumber != last.SequenceNumber+1 || p.SSRC != last.SSRC {
				t.Fatalf("%s: packet %d after %d", r.track.Kind(), p.SequenceNumber, last.SequenceNumber)
			}
			last = p
		}
	}
	if !kinds["audio"] || !kinds["video"] {
		t.Errorf("arrived: %v", kinds)
	}
}

// TestSubscribeBeforePublish is the page that shows the others before it has a camera; then it goes on for ten rounds (T-138).
func TestT_138_SubscribeBeforePublishAndMore(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	alice.start()
	bob := newClient(t, e, "bob")
	for round := range 5 {
		mid := 3 * round
		bob.receive(conference.Video)
		bob.subscribe(fmt.Sprint("sub", round), SubTrack{Kind: conference.Video, Mid: fmt.Sprint(mid), From: "alice-pub-1"})
		bob.negotiate()
		if round == 0 {
			bob.next("transport ready")
		}
		bob.next("session ready")
		bob.read(bob.arrived().track)

		bob.send(bob.track(conference.Audio))
		bob.send(bob.track(conference.Video))
		bob.publish(fmt.Sprint("pub", round), decls(mid+1, conference.Audio, conference.Video))
		bob.negotiate()
		if got := bob.next("session ready"); len(got.tracks) != 2 || got.tracks[0].ID != fmt.Sprintf("sub0-%d", mid+1) {
			t.Errorf("round %d: %+v", round, got.tracks)
		}
	}
	if stats := e.Stats(); stats.Publications != 6 || stats.Subscriptions != 5 || stats.Transports != 2 || stats.Tracks != 12 {
		t.Errorf("stats %+v", stats)
	}
	bob.quiet()
}

func TestT_126_Candidates(t *testing.T) {
	e := newEngine(t, nil)
	c := newClient(t, e, "alice")
	c.send(c.track(conference.Audio))
	c.publish("x", decls(0, conference.Audio))
	text, candidates := c.makeOffer()
	if len(candidates) == 0 {
		t.Fatal("the client has no candidates")
	}
	add := func(candidate string) {
		t.Helper()
		if err := e.Candidate("alice", "x", candidate, "0", 0); err != nil {
			t.Errorf("%q: %v", candidate, err)
		}
	}
	add("a=")
	add("")
	add(candidates[0]) // before the first offer
	if err := e.Offer("alice", "x", text); err != nil {
		t.Fatal(err)
	}
	c.apply(c.next("answer").text)
	for _, candidate := range candidates {
		add(candidate)
		add(strings.TrimPrefix(candidate, "a="))
		add(candidate)
	}
	for _, odd := range []string{
		"a=candidate:1 1 udp 1 7e5a1b52-0000-4000-8000-000000000000.local 9 typ host", "a=candidate:1 1 tcp 1 127.0.0.1 9 typ host tcptype active",
		"candidate:", "candidate:1 1 udp x y z typ host", "a=candidate:1 1 udp 1 127.0.0.1 99999 typ host", "\x00\r\n", strings.Repeat("candidate:", 1000),
		"candidate:1 1 udp 1 224.0.0.1 9 typ host", "candidate:1 1 udp 1 0.0.0.0 9 typ host",
	} {
		add(odd)
	}
	c.next("transport ready")
	c.next("session ready")
	if err := e.RemovedCandidates("alice", "x", append(candidates, "nonsense")); err != nil {
		t.Error(err)
	}
	for range 1000 { // far over the limit
		add(fmt.Sprintf("candidate:1 1 udp 1 127.0.0.1 %d typ host", 1000+len(c.got)))
	}
	c.quiet()
}

func TestT_127_143_RefusedOnExistingTransport(t *testing.T) {
	e := newEngine(t, nil)
	c := newSource(t, e, "alice")
	c.send(c.track(conference.Video)) // mid 2, its publish was refused
	first := parsed(t, c.negotiate())
	m := first.MediaDescriptions[2]
	if attribute(m, "mid") != "2" || direction(m) != inactive || m.MediaName.Port.Value == 0 {
		t.Errorf("mid %q, %s, port %d", attribute(m, "mid"), direction(m), m.MediaName.Port.Value)
	}
	if group, _ := first.Attribute("group"); group != "BUNDLE 0 1 2" {
		t.Errorf("group %q", group)
	}
	for i, m := range first.MediaDescriptions[:2] {
		if direction(m) != recvOnly {
			t.Errorf("m-line %d became %s", i, direction(m))
		}
	}
	c.quiet()
	c.send(c.track(conference.Video)) // mid 3
	c.publish("next", decls(3, conference.Video))
	second := parsed(t, c.negotiate())
	if len(second.MediaDescriptions) != 4 || direction(second.MediaDescriptions[2]) != inactive || direction(second.MediaDescriptions[3]) != recvOnly {
		t.Errorf("second answer:\n%+v", second)
	}
	if got := c.next("session ready"); got.session != "next" || got.tracks[0].ID != "alice-pub-3" {
		t.Errorf("%+v", got)
	}
}

func TestT_128_OnlyUndeclared(t *testing.T) {
	e := newEngine(t, nil)
	c := newClient(t, e, "alice")
	c.send(c.track(conference.Audio))
	c.publish("x", decls(7, conference.Audio)) // another mid than the offer has
	answer := parsed(t, c.negotiate())
	if m := answer.MediaDescriptions[0]; direction(m) != inactive || m.MediaName.Port.Value == 0 || len(m.MediaName.Formats) == 0 {
		t.Errorf("%+v", m)
	}
	c.next("transport ready")
	c.quiet()
	if stats := e.Stats(); stats.Publications != 1 {
		t.Errorf("the session does not wait for its offer: %+v", stats)
	}
}

func TestT_129_NoCommonCodec(t *testing.T) {
	e := newEngine(t, nil)
	c := newClient(t, e, "alice")
	c.send(c.track(conference.Audio))
	spec := PublishSpec{
		Participant: "alice", Transport: "x", Session: "x", New: true, Tracks: decls(0, conference.Audio), Events: c,
		Accept: conference.MediaIn{Audio: []conference.AudioFormat{{Codec: "aac"}}},
	}
	c.transport = "x"
	if err := e.Publish(spec); err != nil {
		t.Fatal(err)
	}
	answer := parsed(t, c.negotiate())
	if m := answer.MediaDescriptions[0]; direction(m) != inactive || len(m.MediaName.Formats) == 0 {
		t.Errorf("%+v", m)
	}
	if got := c.next("session failed"); got.session != "x" || got.text != ReasonNoTracks {
		t.Errorf("%v", got)
	}
	c.next("transport ready") // the transport lives on
	c.quiet()
	if len(e.tracks) != 0 || len(e.sessions) != 0 {
		t.Error("something of the session is left")
	}
}

func TestT_131_MidIsUsedAgain(t *testing.T) {
	e := newEngine(t, nil)
	c := newSource(t, e, "alice")
	c.start()
	bob := newClient(t, e, "bob")
	bob.receive(conference.Video)
	bob.subscribe("s1", SubTrack{Kind: conference.Video, Mid: "0", From: "alice-pub-1"})
	bob.negotiate()
	bob.next("transport ready")
	bob.next("session ready")
	bob.read(bob.arrived().track)

	c.engine.Stop("alice-pub")
	if got := bob.next("session failed"); got.session != "s1" || got.transport != "s1" || got.text != ReasonSourceLoss {
		t.Errorf("%v", got)
	}
	if err := bob.trySubscribe("s2", SubTrack{Kind: conference.Video, Mid: "1", From: "alice-pub-1"}); !errors.Is(err, ErrNoSuchTrack) {
		t.Errorf("the stopped track can be subscribed to: %v", err)
	}
	// The same mids on the same transport, next session.
	c.publish("again", decls(0, conference.Audio, conference.Video))
	c.negotiate()
	if got := c.next("session ready"); got.session != "again" {
		t.Errorf("%v", got)
	}
	bob.receive(conference.Video)
	bob.subscribe("s2", SubTrack{Kind: conference.Video, Mid: "1", From: "alice-pub-1"})
	bob.negotiate()
	bob.next("session ready")
	bob.read(bob.arrived().track)
}

func TestT_134_SourceCodecIsChosen(t *testing.T) {
	e := newEngine(t, nil)
	newSource(t, e, "alice") // vp8
	for name, mimes := range map[string][]string{
		"h264 first": {webrtc.MimeTypeH264, webrtc.MimeTypeVP8},
		"vp8 first":  {webrtc.MimeTypeVP8, webrtc.MimeTypeH264},
	} {
		c := newClientWith(t, e, name, registerVideo(mimes...))
		c.receive(conference.Video)
		c.subscribe("sub "+name, SubTrack{Kind: conference.Video, Mid: "0", From: "alice-pub-1"})
		answer := parsed(t, c.negotiate())
		m := answer.MediaDescriptions[0]
		want := fmt.Sprint(payloadOf(webrtc.MimeTypeVP8))
		if m.MediaName.Formats[0] != want || attribute(m, "rtpmap") != want+" VP8/90000" || direction(m) != sendOnly {
			t.Errorf("%s: formats %v, %q, %s", name, m.MediaName.Formats, attribute(m, "rtpmap"), direction(m))
		}
		c.next("transport ready")
		c.next("session ready")
	}
	c := newClientWith(t, e, "other", registerVideo(webrtc.MimeTypeH264))
	c.receive(conference.Video)
	c.subscribe("other", SubTrack{Kind: conference.Video, Mid: "0", From: "alice-pub-1"})
	answer := parsed(t, c.negotiate())
	if m := answer.MediaDescriptions[0]; direction(m) != inactive || m.MediaName.Port.Value == 0 {
		t.Errorf("refused m-line: %+v", m)
	}
	if got := c.next("session failed"); got.text != ReasonNoVideo {
		t.Errorf("%v", got)
	}
}

func payloadOf(mime string) webrtc.PayloadType {
	if mime == webrtc.MimeTypeVP8 {
		return 120
	}
	return 121
}

// registerVideo registers the codecs in that order.
func registerVideo(mimes ...string) func(*webrtc.MediaEngine) error {
	return func(m *webrtc.MediaEngine) error {
		for _, mime := range mimes {
			c := webrtc.RTPCodecParameters{
				RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mime, ClockRate: 90000}, PayloadType: payloadOf(mime),
			}
			if mime == webrtc.MimeTypeH264 {
				c.SDPFmtpLine = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
			}
			if err := m.RegisterCodec(c, webrtc.RTPCodecTypeVideo); err != nil {
				return err
			}
		}
		return m.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, PayloadType: 111,
		}, webrtc.RTPCodecTypeAudio)
	}
}

func TestConflictAbortsTheSession(t *testing.T) {
	e := newEngine(t, nil)
	newSource(t, e, "alice")
	for name, run := range map[string]func(c *client){
		"kind":      func(c *client) { c.receive(conference.Audio) },
		"direction": func(c *client) { c.send(c.track(conference.Video)) },
	} {
		c := newClient(t, e, name)
		run(c)
		c.subscribe(name, SubTrack{Kind: conference.Video, Mid: "0", From: "alice-pub-1"})
		answer := parsed(t, c.negotiate())
		if d := direction(answer.MediaDescriptions[0]); d != inactive {
			t.Errorf("%s: %s", name, d)
		}
		if got := c.next("session failed"); got.text != ReasonNoFormat {
			t.Errorf("%s: %v", name, got)
		}
	}
	c := newClient(t, e, "publisher")
	c.send(c.track(conference.Audio))
	c.receive(conference.Video)
	c.publish("publisher", decls(0, conference.Audio, conference.Video))
	answer := parsed(t, c.negotiate())
	for i, m := range answer.MediaDescriptions {
		if direction(m) != inactive {
			t.Errorf("m-line %d of an aborted publication is %s", i, direction(m))
		}
	}
	c.next("session failed")
}

// TestPublishesWhatIsLeft: one kind cannot be used, the other is published.
func TestPublishesWhatIsLeft(t *testing.T) {
	e := newEngine(t, nil)
	c := newClient(t, e, "alice")
	c.send(c.track(conference.Audio))
	c.send(c.track(conference.Video))
	c.transport = "x"
	if err := e.Publish(PublishSpec{
		Participant: "alice", Transport: "x", Session: "x", New: true, Events: c, Tracks: append(decls(0, conference.Audio, conference.Video),
			TrackDecl{Kind: conference.Video, Mid: "never offered"}),
		Accept: conference.MediaIn{Video: []conference.VideoFormat{{Codec: "vp8"}}},
	}); err != nil {
		t.Fatal(err)
	}
	answer := parsed(t, c.negotiate())
	if direction(answer.MediaDescriptions[0]) != inactive || direction(answer.MediaDescriptions[1]) != recvOnly {
		t.Errorf("%+v", answer)
	}
	c.next("transport ready")
	if got := c.next("session ready"); len(got.tracks) != 1 || got.tracks[0].ID != "x-1" {
		t.Errorf("%+v", got)
	}
	// The mid that was dropped is free.
	c.publish("y", decls(0, conference.Audio))
}

// TestAssociationEndsAndBeginsAnew: a client that ends the DTLS association and then makes an offer again goes on with its
// sessions, as Chromium does when its first m-line is stopped.
func TestAssociationEndsAndBeginsAnew(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	bob := watch(t, e, "bob", "alice-pub-1")
	alice.frame(keyFrame)
	r := bob.arrived()
	last := bob.read(r.track)
	if err := alice.pc.Close(); err != nil {
		t.Fatal(err)
	}
	again := newClient(t, e, "alice")
	again.owner, again.transport = alice.owner, alice.transport
	alice.client = again
	alice.audio, alice.video = again.track(conference.Audio), again.track(conference.Video)
	again.send(alice.audio)
	again.send(alice.video)
	again.negotiate()
	select {
	case <-again.connected:
	case <-time.After(patience):
		t.Fatal("the client is not connected again")
	}
	alice.start()
	if p := bob.read(r.track); p.SequenceNumber == last.SequenceNumber || p.SSRC != last.SSRC {
		t.Errorf("%v after %v", p.Header, last.Header)
	}
	// And new sessions.
	again.receive(conference.Video)
	again.subscribe("self", SubTrack{Kind: conference.Video, Mid: "2", From: "alice-pub-1"})
	again.negotiate()
	again.next("session ready")
	again.read(again.arrived().track)
	again.quiet()
}
