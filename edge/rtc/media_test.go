package rtc

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"portico/edge/sfu"
	"portico/shared/conference"
)

// watch makes a client that receives a track and returns when it is ready, with the track when it begins to arrive.
func watch(t *testing.T, e *Engine, name, from string) *client {
	t.Helper()
	c := newClient(t, e, name)
	c.receive(conference.Video)
	c.subscribe(name, SubTrack{Kind: conference.Video, Mid: "0", From: from})
	c.negotiate()
	c.up()
	return c
}

// isPLI tells requests for key frames.
func isPLI(p rtcp.Packet) bool {
	_, ok := p.(*rtcp.PictureLossIndication)
	return ok
}

// TestForwardingBeginsAtKeyFrame: at the last one, if it is at hand; else one is asked for, and nothing goes out before it.
func TestForwardingBeginsAtKeyFrame(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	alice.frame(keyFrame)
	alice.next("tracks changed")
	bob := watch(t, e, "bob", "alice-pub-1")
	r := bob.arrived()
	begins := func(r received) {
		t.Helper()
		alice.frame(interFrame)
		first, second := bob.read(r.track), bob.read(r.track)
		if !slices.Equal(first.Payload, keyFrame) || !slices.Equal(second.Payload, interFrame) || second.SequenceNumber != first.SequenceNumber+1 {
			t.Errorf("packets %d and %d of %d and %d bytes", first.SequenceNumber, second.SequenceNumber, len(first.Payload), len(second.Payload))
		}
	}
	begins(r)
	if n := e.Stats().KeyFramesRequested; n != 0 {
		t.Errorf("%d key frames were asked for", n)
	}
	// The subscriber's own wish reaches the source; many are one.
	for range 20 {
		if err := bob.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(r.track.SSRC())}}); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "a request", func() bool { return alice.reports(isPLI) == 1 })
	alice.frame(keyFrame)
	bob.read(r.track)
	// After a pause at the source what came before is of no use.
	e.SetActive("alice-pub-1", false)
	e.SetActive("alice-pub-1", true)
	waitFor(t, "a second request", func() bool { alice.frame(interFrame); return alice.reports(isPLI) == 2 })
	alice.frame(keyFrame)
	begins(r)
	if n := e.Stats().KeyFramesRequested; n != 2 {
		t.Errorf("%d key frames were asked for", n)
	}
}

// onlyVP8 registers VP8 without RTX beside it.
func onlyVP8(m *webrtc.MediaEngine) error {
	vp8 := webrtc.RTPCodecParameters{PayloadType: 96, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeVP8, ClockRate: 90000, RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}},
	}}
	if err := m.RegisterCodec(vp8, webrtc.RTPCodecTypeVideo); err != nil {
		return err
	}
	return m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2,
	}}, webrtc.RTPCodecTypeAudio)
}

// ways are how packets are sent again: on a stream of their own with RTX, else as they were.
var ways = map[string]func(*webrtc.MediaEngine) error{"RTX": nil, "same SSRC": onlyVP8}

// The payload types of VP8 and of its RTX in the clients.
const vp8Type, rtxType = 96, 97

// TestSubscriberLosses: packets lost on the way to a subscriber come again.
func TestSubscriberLosses(t *testing.T) {
	for name, register := range ways {
		t.Run(name, func(t *testing.T) { testSubscriberLosses(t, register) })
	}
}

func testSubscriberLosses(t *testing.T, register func(*webrtc.MediaEngine) error) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	alice.start()
	bob := newClientWith(t, e, "bob", register)
	seen := map[uint16]bool{}
	var onRTX, again atomic.Int32
	lose := func(h *rtp.Header) bool { // every seventh, the first time it comes
		if h.PayloadType == rtxType {
			onRTX.Add(1)
			return false
		}
		first := !seen[h.SequenceNumber]
		if !first {
			again.Add(1)
		}
		seen[h.SequenceNumber] = true
		return first && h.SequenceNumber%7 == 0
	}
	bob.wire.lose.Store(&lose)
	bob.receive(conference.Video)
	bob.subscribe("bob", SubTrack{Kind: conference.Video, Mid: "0", From: "alice-pub-1"})
	bob.negotiate()
	r := bob.arrived()
	got := map[uint16]bool{}
	first := bob.read(r.track).SequenceNumber
	for len(got) < 200 { // pion asks again for what came on RTX: what it gets may come more than once
		got[bob.read(r.track).SequenceNumber] = true
	}
	last := first + 150 // what came later may still be on its way
	for seq := first + 1; seq != last; seq++ {
		if !got[seq] {
			t.Errorf("packet %d never came: %v", seq, e.Stats().Drops)
		}
	}
	if register == nil && (onRTX.Load() == 0 || again.Load() > 0) || register != nil && (again.Load() == 0 || onRTX.Load() > 0) {
		t.Errorf("%d packets on RTX, %d as they were; sent again: %d", onRTX.Load(), again.Load(), e.Stats().Resent)
	}
}

// TestPublisherLosses: packets lost on the way from the publisher are asked for and reach the subscriber in their place.
func TestPublisherLosses(t *testing.T) {
	for name, register := range ways {
		t.Run(name, func(t *testing.T) { testPublisherLosses(t, register) })
	}
}

func testPublisherLosses(t *testing.T, register func(*webrtc.MediaEngine) error) {
	e := newEngine(t, nil)
	alice := newSourceOf(newClientWith(t, e, "alice", register))
	seen := map[uint16]bool{}
	onRTX := 0
	alice.mu.Lock()
	alice.loseOut = func(h *rtp.Header) bool {
		if h.PayloadType == rtxType {
			onRTX++
		}
		if h.PayloadType != vp8Type {
			return false
		}
		first := !seen[h.SequenceNumber]
		seen[h.SequenceNumber] = true
		return first && h.SequenceNumber%10 == 3
	}
	alice.mu.Unlock()
	bob := watch(t, e, "bob", "alice-pub-1")
	alice.start()
	r := bob.arrived()
	got := map[uint16]bool{}
	first := bob.read(r.track).SequenceNumber
	for range 150 {
		got[bob.read(r.track).SequenceNumber] = true
	}
	for seq := first + 1; seq != first+100; seq++ {
		if !got[seq] {
			t.Errorf("packet %d never came: %v", seq, e.Stats().Drops)
		}
	}
	if e.Stats().PacketsRequested == 0 {
		t.Error("nothing was asked for")
	}
	alice.mu.Lock()
	defer alice.mu.Unlock()
	if (onRTX > 0) != (register == nil) {
		t.Errorf("%d packets on RTX", onRTX)
	}
}

// TestReports: the publisher hears how its media arrives, the subscriber what is in its streams at what time.
func TestReports(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	alice.start()
	bob := watch(t, e, "bob", "alice-pub-1")
	r := bob.arrived()
	waitFor(t, "a receiver report about video and audio", func() bool {
		ssrcs := map[uint32]bool{}
		alice.reports(func(p rtcp.Packet) bool {
			if rr, ok := p.(*rtcp.ReceiverReport); ok {
				for _, report := range rr.Reports {
					ssrcs[report.SSRC] = true
				}
			}
			return false
		})
		return len(ssrcs) == 2
	})
	waitFor(t, "transport-wide feedback", func() bool {
		return alice.reports(func(p rtcp.Packet) bool { _, ok := p.(*rtcp.TransportLayerCC); return ok }) > 3
	})
	waitFor(t, "a sender report", func() bool {
		return bob.reports(func(p rtcp.Packet) bool {
			sr, ok := p.(*rtcp.SenderReport)
			return ok && sr.SSRC == uint32(r.track.SSRC()) && sr.PacketCount > 0
		}) > 0
	})
}

func TestMuteAndPause(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	bob := watch(t, e, "bob", "alice-pub-1")
	alice.frame(keyFrame)
	r := bob.arrived()
	last := bob.read(r.track)

	e.SetActive("alice-pub-1", false)
	e.SetActive("unknown", false)
	alice.frame(interFrame)
	alice.frame(keyFrame)
	waitFor(t, "muted packets", func() bool { return e.Stats().Drops[4] == 2 })
	before := alice.reports(isPLI)
	e.SetActive("alice-pub-1", true)
	waitFor(t, "a request for a key frame after unmuting", func() bool { alice.frame(interFrame); return alice.reports(isPLI) > before })
	alice.frame(keyFrame)
	p := bob.read(r.track)
	if p.SequenceNumber != last.SequenceNumber+1 || !slices.Equal(p.Payload, keyFrame) {
		t.Errorf("after muting: number %d after %d, %d bytes", p.SequenceNumber, last.SequenceNumber, len(p.Payload))
	}
	last = p

	e.SetSubscriptionActive("bob", conference.Audio, false) // it has none
	e.SetSubscriptionActive("bob", conference.Video, false)
	e.SetSubscriptionActive("unknown", conference.Video, false)
	waitFor(t, "a paused packet", func() bool { // the answer may be ahead of what it says
		alice.frame(interFrame)
		return e.Stats().Drops[sfu.DropPaused] > 0
	})
	e.SetSubscriptionActive("bob", conference.Video, true)
	alice.frame(interFrame)
	alice.frame(keyFrame)
	if p := bob.read(r.track); p.SequenceNumber != last.SequenceNumber+1 || !slices.Equal(p.Payload, keyFrame) {
		t.Errorf("after the pause: number %d after %d, %d bytes", p.SequenceNumber, last.SequenceNumber, len(p.Payload))
	}
}

// TestMutedTrackIsDescribed: who comes later learns it from the track.
func TestMutedTrackIsDescribed(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	e.SetActive("alice-pub-1", false)
	e.SetActive("alice-pub-1", true)
	e.SetActive("alice-pub-0", false)
	alice.frame(keyFrame)
	if changed := alice.next("tracks changed"); !changed.tracks[0].Inactive || changed.tracks[1].Inactive {
		t.Errorf("%+v", changed.tracks)
	}
}

func TestStopEndsForwarding(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	bob := watch(t, e, "bob", "alice-pub-1")
	carol := watch(t, e, "carol", "alice-pub-1")
	alice.frame(keyFrame)
	bobs, carols := bob.arrived(), carol.arrived()
	bob.read(bobs.track)
	carol.read(carols.track)
	e.Stop("bob")
	e.Stop("bob")
	e.Stop("unknown")
	alice.frame(interFrame)
	carol.read(carols.track)
	waitFor(t, "3 packets to go out", func() bool { return e.Stats().PacketsOut == 3 })
	bob.quiet()
	// Stopping your own publication while you watch it is a loss of the source.
	alice.receive(conference.Video)
	alice.subscribe("self", SubTrack{Kind: conference.Video, Mid: "2", From: "alice-pub-1"})
	alice.negotiate()
	alice.next("session ready")
	e.Stop("alice-pub")
	if got := alice.next("session failed"); got.session != "self" || got.text != ReasonSourceLoss {
		t.Errorf("%v", got)
	}
	if got := carol.next("session failed"); got.text != ReasonSourceLoss {
		t.Errorf("%v", got)
	}
	alice.quiet()
	if stats := e.Stats(); stats.Transports != 3 || stats.Publications+stats.Subscriptions+stats.Tracks != 0 {
		t.Errorf("stats %+v", stats)
	}
}

// TestRecvonlyTurnedOff: the client turns an m-line off and on again without ending the session.
func TestMLineRests(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	bob := newClient(t, e, "bob")
	tr := bob.receive(conference.Video)
	bob.subscribe("bob", SubTrack{Kind: conference.Video, Mid: "0", From: "alice-pub-1"})
	text, candidates := bob.makeOffer()
	bob.finish(text, candidates)
	bob.up()
	alice.frame(keyFrame)
	r := bob.arrived()
	bob.read(r.track)

	off := setDirection(text, recvOnly, inactive)
	if err := e.Offer("bob", "bob", off); err != nil {
		t.Fatal(err)
	}
	if m := parsed(t, bob.next("answer").text).MediaDescriptions[0]; direction(m) != inactive {
		t.Errorf("answered %s", direction(m))
	}
	alice.frame(interFrame)
	waitFor(t, "a paused packet", func() bool { return e.Stats().Drops[5] == 1 })
	if err := e.Offer("bob", "bob", text); err != nil {
		t.Fatal(err)
	}
	if m := parsed(t, bob.next("answer").text).MediaDescriptions[0]; direction(m) != sendOnly {
		t.Errorf("answered %s", direction(m))
	}
	alice.frame(keyFrame)
	bob.read(r.track)
	_ = tr
	bob.quiet()
}

// TestOtherAudioCodecs: what is offered is forwarded.
func TestOtherAudioCodecs(t *testing.T) {
	for name, c := range map[string]struct {
		codec  webrtc.RTPCodecParameters
		format conference.Format
	}{
		"pcmu": {webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: 8000}, PayloadType: 0},
			conference.Format{Codec: "pcmu"}},
		"g722": {webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeG722, ClockRate: 8000}, PayloadType: 9},
			conference.Format{Codec: "g722", SampleRate: 16000, ChannelNum: 1}},
	} {
		e := newEngine(t, nil)
		register := func(m *webrtc.MediaEngine) error { return m.RegisterCodec(c.codec, webrtc.RTPCodecTypeAudio) }
		alice := newClientWith(t, e, "alice", register)
		track, err := webrtc.NewTrackLocalStaticRTP(c.codec.RTPCodecCapability, "audio", "stream")
		if err != nil {
			t.Fatal(err)
		}
		alice.send(track)
		alice.publish("x", decls(0, conference.Audio))
		alice.negotiate()
		if got := alice.up().tracks[0].Format; got != c.format {
			t.Errorf("%s is reported as %+v", name, got)
		}
		bob := newClientWith(t, e, "bob", register)
		bob.receive(conference.Audio)
		bob.subscribe("bob", SubTrack{Kind: conference.Audio, Mid: "0", From: "x-0"})
		bob.negotiate()
		bob.next("transport ready")
		bob.next("session ready")
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := uint16(0); ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
				if err := track.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: i, Timestamp: uint32(i) * 160}, Payload: []byte("sound")}); err != nil {
					t.Error(err)
				}
			}
		}()
		if p := bob.read(bob.arrived().track); string(p.Payload) != "sound" || p.PayloadType != uint8(c.codec.PayloadType) {
			t.Errorf("%s: %+v", name, p)
		}
		close(stop)
		<-done
	}
}
