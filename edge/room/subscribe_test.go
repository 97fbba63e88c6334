package room

import (
	"testing"

	"portico/shared/conference"
	"portico/shared/portalproto"
)

func TestT_93_94_95_96_Subscribe(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	h.join("b", "presenter")
	h.join("l", "listener")
	s := h.publishAV("a")
	a.take()
	subscribe := func(who string, r portalproto.SubscribeRequest) error {
		_, err := h.d.Subscribe(t.Context(), roomID, who, r)
		return err
	}
	video := func(from string, w portalproto.Wanted, f *conference.Format) portalproto.SubscribeRequest {
		return portalproto.SubscribeRequest{Tracks: []portalproto.SubscribeTrack{{Kind: conference.Video, Mid: "1", From: from, Wanted: w, Format: f}}}
	}
	wantText(t, "T-93", subscribe("b", av(s)), "<nil>")
	wantAll(t, "no event to a", a.take())
	wantText(t, "T-94 audio", subscribe("b", av("nope")), "Target audio stream does NOT satisfy:Requested audio stream")
	ack, err := h.d.Publish(t.Context(), roomID, "b", portalproto.PublishRequest{Tracks: avTracks[:1]})
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "connecting", subscribe("a", av(ack.ID)), "Target audio stream does NOT satisfy:Requested audio stream")
	h.ready(ack.ID, []conference.Track{{ID: "x", Kind: conference.Audio}})
	none := portalproto.Wanted{}
	wantText(t, "T-94 video", subscribe("b", video(ack.ID, none, nil)), "Target video stream does NOT satisfy:Requested video stream")
	const unsatisfied = "Target video stream does NOT satisfy:"
	wantText(t, "T-95 resolution", subscribe("b", video(s, portalproto.Wanted{Resolution: conference.Resolution{Width: 320, Height: 240}}, nil)), unsatisfied+"Resolution is not acceptable")
	wantText(t, "T-95 framerate", subscribe("b", video(s, portalproto.Wanted{Framerate: 15}, nil)), unsatisfied+"Framerate is not acceptable")
	wantText(t, "T-95 bitrate", subscribe("b", video(s, portalproto.Wanted{Bitrate: "x0.8"}, nil)), unsatisfied+"Bitrate is not acceptable")
	wantText(t, "T-95 x1.0", subscribe("b", video(s, portalproto.Wanted{Bitrate: "x1.0"}, nil)), "<nil>")
	wantText(t, "same size", subscribe("b", video(s, portalproto.Wanted{Resolution: conference.Resolution{Width: 640, Height: 480}}, nil)), "<nil>")
	wantText(t, "format", subscribe("b", video(s, none, &conference.Format{Codec: "h264"})), unsatisfied+"Format is not acceptable")
	wantText(t, "track id", subscribe("b", video(s+"-1", none, &conference.Format{Codec: "VP8"})), "<nil>")
	wantText(t, "T-96", subscribe("l", video(s, none, nil)), "unauthorized")
	wantText(t, "no mid", subscribe("b", portalproto.SubscribeRequest{Tracks: []portalproto.SubscribeTrack{{Kind: conference.Video, From: s}}}), "Bad subscription request")
}

func TestProfiles(t *testing.T) {
	for _, c := range []struct {
		source, wanted string
		fits           bool
	}{{"CB", "B", true}, {"B", "CB", false}, {"B", "M", true}, {"H", "M", false}, {"", "CB", true}, {"H", "", true}, {"M", "M", true}} {
		if profileFits(c.source, c.wanted) != c.fits {
			t.Errorf("source %q wanted %q", c.source, c.wanted)
		}
	}
}

func TestT_99_100_101_102_103_Subscription(t *testing.T) {
	h := newHouse(t, nil)
	h.join("a", "presenter")
	h.join("b", "presenter")
	s := h.publishAV("a")
	ack, err := h.d.Subscribe(t.Context(), roomID, "b", av(s))
	if err != nil {
		t.Fatal(err)
	}
	y := ack.ID
	control := func(who string, c portalproto.SubscriptionControl) error {
		return h.d.SubscriptionControl(t.Context(), roomID, who, c)
	}
	video := conference.MediaSet{Video: true}
	wantText(t, "T-99", control("b", portalproto.SubscriptionControl{ID: y, Operation: portalproto.Pause, Media: video}), "<nil>")
	wantText(t, "T-100", control("a", portalproto.SubscriptionControl{ID: y, Operation: portalproto.Pause, Media: video}), "unauthorized")
	wantText(t, "T-100 nope", control("b", portalproto.SubscriptionControl{ID: "nope", Operation: portalproto.Pause, Media: video}), "Subscription does NOT exist")
	wantText(t, "T-101", control("b", portalproto.SubscriptionControl{ID: y, Operation: portalproto.Update, Media: video}), "<nil>")
	only, err := h.d.Subscribe(t.Context(), roomID, "b", portalproto.SubscribeRequest{Tracks: av(s).Tracks[:1]})
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "T-102", control("b", portalproto.SubscriptionControl{ID: only.ID, Operation: portalproto.Update, Media: video}), "Target subscription does NOT have video to update")
	wantText(t, "not mine", h.d.Unsubscribe(t.Context(), roomID, "a", y), "unauthorized")
	wantText(t, "T-103", h.d.Unsubscribe(t.Context(), roomID, "b", y), "<nil>")
	wantText(t, "T-103 again", h.d.Unsubscribe(t.Context(), roomID, "b", y), "Subscription does NOT exist")
}
