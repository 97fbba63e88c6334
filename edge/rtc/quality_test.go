package rtc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"portico/edge/sfu"
	"portico/edge/sfu/bitrate"
	"portico/shared/conference"
	"portico/shared/flight"
)

// find is the first event of that kind whose reason and detail begin so.
func find(events []flight.Event, kind, reason, detail string) (flight.Event, bool) {
	i := slices.IndexFunc(events, func(e flight.Event) bool {
		return e.Kind == kind && strings.HasPrefix(e.Reason, reason) && strings.HasPrefix(e.Detail, detail)
	})
	if i < 0 {
		return flight.Event{}, false
	}
	return events[i], true
}

// waitForEvent waits until the session's recorder has such an event.
func waitForEvent(t *testing.T, e *Engine, session, kind, reason, detail string) flight.Event {
	t.Helper()
	var found flight.Event
	var last SubscriptionQuality
	waitFor(t, fmt.Sprintf("an event %q %q %q", kind, reason, detail), func() (ok bool) {
		last, _ = e.SubscriptionQuality(session)
		found, ok = find(last.Events, kind, reason, detail)
		return ok
	})
	return found
}

func TestQuality(t *testing.T) {
	e := newEngine(t, nil)
	alice := newSource(t, e, "alice")
	alice.start()
	bob := newClient(t, e, "bob")
	bob.receive(conference.Audio)
	bob.receive(conference.Video)
	bob.subscribe("sub", SubTrack{Kind: conference.Audio, Mid: "0", From: "alice-pub-0"},
		SubTrack{Kind: conference.Video, Mid: "1", From: "alice-pub-1", Adapt: true, Display: conference.Resolution{Width: 320, Height: 180}})
	bob.negotiate()
	bob.up()
	var video received
	for range 2 {
		if r := bob.arrived(); r.track.Kind() == webrtc.RTPCodecTypeVideo {
			video = r
		}
	}
	waitForEvent(t, e, "sub", EventBegins, "", "video")
	waitForEvent(t, e, "sub", EventBegins, "", "audio")
	var q Quality
	waitFor(t, "the rates", func() bool {
		q, _ = e.Quality("alice-pub", "")
		sub := q.Subscriptions[0]
		return len(q.Tracks[1].Layers) > 0 && sub.Tracks[1].Bitrate > 0 && q.Tracks[1].Layers[0].FrameRate > 20 && sub.Tracks[1].Reason == sfu.ReasonSourceEnds
	})
	sub := q.Subscriptions[0]
	picture, sent := q.Tracks[1], sub.Tracks[1]
	if q.Participant != "alice" || q.Path.Remote == "" || q.Tracks[0].Kind != conference.Audio || picture.Width != 640 || picture.Height != 360 ||
		picture.Format.Codec != "vp8" || picture.Stats.Packets == 0 {
		t.Errorf("publication %+v", q)
	}
	if sub.ID != "sub" || sub.Participant != "bob" || !sub.Ready || !strings.Contains(sub.Path.Remote, "127.0.0.1") || sub.Network.Estimate <= 0 {
		t.Errorf("subscription %+v", sub)
	}
	if sent.Display.Width != 320 || !sent.Adapts || *sent.Current != (Layer{Temporal: -1, Width: 640, Height: 360}) ||
		sent.Source.Width != 640 || sent.Since.IsZero() || sent.Bitrate < 10_000 || sent.Stats.Packets == 0 {
		t.Errorf("track %+v, now %+v", sent, sent.Current)
	}
	for _, kind := range []string{EventEstablished, EventReady, EventPath, EventDisplay} {
		if _, ok := find(sub.Events, kind, "", ""); !ok {
			t.Errorf("no event %q in %+v", kind, sub.Events)
		}
	}
	if !slices.IsSortedFunc(sub.Events, func(a, b flight.Event) int { return int(a.At - b.At) }) {
		t.Errorf("events in disorder: %+v", sub.Events)
	}
	testQualityChanges(t, e, alice, bob, video)
}

// testQualityChanges goes on with what a subscriber may want to know the reason of.
func testQualityChanges(t *testing.T, e *Engine, alice *source, bob *client, video received) {
	e.SetSubscriptionActive("sub", conference.Video, false)
	stop := waitForEvent(t, e, "sub", EventStops, "paused by subscriber", "video")
	if stop.From != 360 || stop.To != 0 {
		t.Errorf("%+v", stop)
	}
	e.SetSubscriptionActive("sub", conference.Video, true)
	e.SetActive("alice-pub-0", false)
	waitForEvent(t, e, "sub", EventReason, "muted", "audio")
	e.SetDisplay("sub", conference.Resolution{Width: 1280, Height: 720})
	waitForEvent(t, e, "sub", EventDisplay, "", "1280×720")
	if err := bob.pc.WriteRTCP([]rtcp.Packet{
		&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: uint32(video.track.SSRC()), FractionLost: 64}}},
		&rtcp.PictureLossIndication{MediaSSRC: uint32(video.track.SSRC())},
	}); err != nil {
		t.Fatal(err)
	}
	if loss := waitForEvent(t, e, "sub", EventLoss, "", "video"); loss.To != 25 {
		t.Errorf("%+v", loss)
	}
	waitForEvent(t, e, "sub", EventKeyFrame, "", "the receiver asks")
	waitFor(t, "word of the request at the publication", func() bool {
		q, _ := e.Quality("alice-pub", "nobody")
		_, ok := find(q.Events, EventKeyFrame, "", "asked for of the publisher")
		return ok && len(q.Subscriptions) == 0
	})
	e.Stop("sub")
	q, _ := e.Quality("alice-pub", "")
	if len(q.Subscriptions) != 0 || len(q.Ended) != 1 || q.Ended[0].ID != "sub" || q.Ended[0].Participant != "bob" || q.Ended[0].Reason != "" ||
		len(q.Ended[0].Events) < 5 || time.Since(q.Ended[0].At) > time.Minute {
		t.Errorf("after its end: %+v", q)
	}
	if _, ok := e.SubscriptionQuality("sub"); ok {
		t.Error("it is still there")
	}
	if _, ok := e.SubscriptionQuality("alice-pub"); ok {
		t.Error("a publication is no subscription")
	}
}

// TestEndHasReason: of a subscription that lost one of its sources, the other one knows why it ended.
func TestEndHasReason(t *testing.T) {
	e := newEngine(t, nil)
	alice, carol := newSource(t, e, "alice"), newSource(t, e, "carol")
	bob := newClient(t, e, "bob")
	bob.receive(conference.Audio)
	bob.receive(conference.Video)
	bob.subscribe("sub", SubTrack{Kind: conference.Audio, Mid: "0", From: "alice-pub-0"}, SubTrack{Kind: conference.Video, Mid: "1", From: "carol-pub-1"})
	bob.negotiate()
	bob.up()
	e.Stop("carol-pub")
	bob.next("session failed")
	q, ok := e.Quality("alice-pub", "bob")
	if !ok || len(q.Ended) != 1 || q.Ended[0].Reason != ReasonSourceLoss {
		t.Errorf("%+v", q)
	}
	if _, ok := e.Quality("carol-pub", ""); ok {
		t.Error("a publication that has ended is still shown")
	}
	_, _ = alice, carol
}

// TestEndedAreBounded: only the last that have ended are remembered.
func TestEndedAreBounded(t *testing.T) {
	e := newEngine(t, nil)
	newSource(t, e, "alice")
	bob := newClient(t, e, "bob")
	for i := range 2 * maxEnded {
		bob.transport = ""
		bob.subscribe(strconv.Itoa(i), SubTrack{Kind: conference.Video, Mid: "0", From: "alice-pub-1"})
		e.Stop(strconv.Itoa(i))
	}
	q, _ := e.Quality("alice-pub", "")
	if len(q.Ended) != maxEnded || q.Ended[0].ID != strconv.Itoa(maxEnded) {
		t.Errorf("%d ended, the first %+v", len(q.Ended), q.Ended[0])
	}
}

// simulcast publishes two layers: 640x360 as q and 1280x720 as f.
func simulcast(t *testing.T, c *client) (send func()) {
	t.Helper()
	var tracks []*webrtc.TrackLocalStaticRTP
	capability := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
	for _, rid := range []string{"q", "f"} {
		track, err := webrtc.NewTrackLocalStaticRTP(capability, "video", "stream", webrtc.WithRTPStreamID(rid))
		if err != nil {
			t.Fatal(err)
		}
		tracks = append(tracks, track)
	}
	if err := c.send(tracks[0]).Sender().AddEncoding(tracks[1]); err != nil {
		t.Fatal(err)
	}
	c.publish("sim", decls(0, conference.Video))
	text, candidates := c.makeOffer()
	ids := map[string]uint8{}
	for line := range strings.Lines(text) {
		var id uint8
		var uri string
		if n, _ := fmt.Sscanf(line, "a=extmap:%d %s", &id, &uri); n == 2 {
			ids[uri] = id
		}
	}
	c.finish(text, candidates)
	c.up()
	number := uint16(0)
	return func() {
		number++
		for i, key := range [][]byte{keyFrame, largeFrame} {
			payload := interFrame
			if number%10 == 1 {
				payload = key
			}
			p := &rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, SequenceNumber: number, Timestamp: uint32(number) * 3000}, Payload: payload}
			for uri, value := range map[string]string{extMid: "0", extRid: tracks[i].RID()} {
				if err := p.SetExtension(ids[uri], []byte(value)); err != nil {
					t.Error(err)
				}
			}
			if err := tracks[i].WriteRTP(p); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestLayerHasReason: who shows the picture small gets the small layer and is told why, and the other one when it grows.
func TestLayerHasReason(t *testing.T) {
	e := newEngine(t, nil)
	keepAt(t, simulcast(t, newClient(t, e, "alice")))
	bob := newClient(t, e, "bob")
	bob.receive(conference.Video)
	bob.subscribe("sub", SubTrack{Kind: conference.Video, Mid: "0", From: "sim-0:q", Adapt: true, Display: conference.Resolution{Width: 640, Height: 360}})
	bob.negotiate()
	bob.up()
	bob.arrived()
	is := func(rid string, reason sfu.Reason) func() bool {
		return func() bool {
			q, _ := e.Quality("sim", "")
			if len(q.Subscriptions) == 0 || len(q.Subscriptions[0].Tracks) == 0 {
				return false
			}
			track := q.Subscriptions[0].Tracks[0]
			return track.Current != nil && track.Current.Rid == rid && track.Target.Rid == rid && track.Source.Rid == "f" && track.Reason == reason
		}
	}
	waitFor(t, "the small layer for the display", is("q", sfu.ReasonDisplayed))
	e.SetDisplay("sub", conference.Resolution{Width: 1280, Height: 720})
	waitFor(t, "the large layer", is("f", sfu.ReasonSourceEnds))
	up := waitForEvent(t, e, "sub", EventLayer, "source has no more", "640×360")
	if up.From != 360 || up.To != 720 || !strings.Contains(up.Detail, " to 1280×720") {
		t.Errorf("%+v", up)
	}
}

// TestDisplayCountsBesideUnknownLayer: a layer that was turned off before it ever came does not hide what is known of the others.
func TestDisplayCountsBesideUnknownLayer(t *testing.T) {
	config := sfu.EncodingConfig{Video: true, Codec: "vp8", ClockRate: 90000, PayloadType: 96}
	small, unknown := sfu.NewEncoding(config), sfu.NewEncoding(config)
	defer small.Close()
	defer unknown.Close()
	now := int64(time.Hour)
	for i := range 20 {
		p := &rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, PayloadType: 96, SequenceNumber: uint16(i), Timestamp: uint32(i) * 3000}, Payload: keyFrame}
		raw, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := small.Ingest(raw, now, nil); err != nil {
			t.Fatal(err)
		}
		now += int64(33 * time.Millisecond)
	}
	x := steeredLine{
		line: &mline{kind: conference.Video}, sources: []*sfu.Encoding{small, unknown}, off: []bool{false, true}, width: 320, height: 180,
	}
	d := x.demand(&steerer{rates: map[*sfu.Encoding][]sfu.LayerRate{}}, now)
	if n := len(d.Layers); n != 2 || d.Layers[0].Width != 640 || d.Layers[1].Width != 1280 || d.Layers[1].Height != 720 {
		t.Fatalf("%+v", d.Layers)
	}
	grants := make([]bitrate.Grant, 1)
	var a bitrate.Allocator
	a.Allocate(now, bitrate.Budget{Rate: 1 << 24}, []bitrate.Demand{d}, grants)
	if g := grants[0]; g.Layer != 0 || steerReason(g.Reason) != sfu.ReasonDisplayed {
		t.Errorf("%+v", g)
	}
}

// keepAt sends again and again until the test ends.
func keepAt(t *testing.T, send func()) {
	t.Helper()
	stop := make(chan struct{})
	var done sync.WaitGroup
	t.Cleanup(func() { close(stop); done.Wait() })
	done.Go(func() {
		for ticker := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-stop:
				ticker.Stop()
				return
			case <-ticker.C:
				send()
			}
		}
	})
}
