package room

import (
	"slices"
	"strings"
	"testing"

	"portico/shared/conference"
	"portico/shared/portalproto"
)

// TestAdapting: where the room adapts, a video that is asked for by its stream is chosen by the media layer, at the size it is shown at;
// one that is asked for by its track, or in another room, is what it is.
func TestAdapting(t *testing.T) {
	for _, on := range []bool{true, false} {
		h := newHouse(t, func(r *conference.Room) { r.EnableBandwidthAdaptation = on })
		h.join("a", "presenter")
		h.join("b", "viewer")
		stream := h.publishAV("a")
		subscribe := func(from string) string {
			ack, err := h.d.Subscribe(t.Context(), roomID, "b", portalproto.SubscribeRequest{Tracks: []portalproto.SubscribeTrack{
				{Kind: conference.Video, Mid: "0", From: from, Wanted: portalproto.Wanted{Resolution: conference.Resolution{Width: 640, Height: 480}}},
				{Kind: conference.Audio, Mid: "1", From: stream},
			}})
			if err != nil {
				t.Fatal(err)
			}
			return ack.ID
		}
		adapting, fixed := subscribe(stream), subscribe(stream+"-1")
		update := func(id string, w portalproto.Wanted) error {
			return h.d.SubscriptionControl(t.Context(), roomID, "b", portalproto.SubscriptionControl{
				ID: id, Operation: portalproto.Update, Media: conference.MediaSet{Video: true}, Wanted: w,
			})
		}
		small := portalproto.Wanted{Resolution: conference.Resolution{Width: 160, Height: 90}}
		want, refused := "<nil>", "Target video stream does NOT satisfy:Resolution is not acceptable"
		if !on {
			want = refused
		}
		wantText(t, "size", update(adapting, small), want)
		wantText(t, "size of a track", update(fixed, small), refused)
		wantText(t, "rate", update(adapting, portalproto.Wanted{Framerate: 10}), "Target video stream does NOT satisfy:Framerate is not acceptable")
		h.settle()
		told := slices.DeleteFunc(h.media.seen(), func(s string) bool {
			return !strings.Contains(s, "adapts") && !strings.HasPrefix(s, "display")
		})
		expected := []string{"subscribe " + adapting + " " + adapting + " [{video 0 " + stream + "-1 adapts to 640x480} {audio 1 " + stream + "-0}]",
			"display " + adapting + " 160x90"}
		if !on {
			expected = nil
		}
		if !slices.Equal(told, expected) {
			t.Errorf("adapting %v: %q", on, told)
		}
	}
}

// TestLayersWanted: the owner of a publication hears which of its layers are of use, and nobody else does.
func TestLayersWanted(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	b, _ := h.join("b", "presenter")
	stream := h.publishAV("a")
	a.take()
	b.take()
	h.media.mu.Lock()
	events := h.media.events[stream]
	h.media.mu.Unlock()
	events.LayersWanted(stream, []string{"q", "h"})
	events.LayersWanted("no such", []string{"q"})
	h.settle()
	wantAll(t, "a", a.take(), `progress {"id":"`+stream+`","sessionId":"`+stream+`","status":"layers","data":"q,h"}`)
	wantAll(t, "b", b.take())
}
