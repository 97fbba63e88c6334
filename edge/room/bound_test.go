package room

import (
	"testing"

	"portico/shared/portalproto"
)

// TestPicturesOfOneParticipant: whoever asks for many different pictures is refused at the limit; what is the same, or only forwarded,
// does not count, nor does what others ask for.
func TestPicturesOfOneParticipant(t *testing.T) {
	h := newMixingHouse(t, nil)
	c := h.d.rooms[roomID].controller
	if err := c.run(t.Context(), func() error { c.machine.limits.Pictures = 2; return nil }); err != nil {
		t.Fatal(err)
	}
	h.publish(1)
	first, second, third := size(320, 240), size(160, 120), size(480, 360)
	ask := func(who string, w portalproto.Wanted) string {
		return h.ask(who, portalproto.SubscribeTrack{Kind: "video", From: common, Wanted: w})
	}
	wantOne(t, "first", ask("watcher", first), mixedVideo+" 320x240}]")
	wantOne(t, "second", ask("watcher", second), mixedVideo+" 160x120}]")
	wantOne(t, "first once more", ask("watcher", first), mixedVideo+" 320x240}]")
	wantOne(t, "third", ask("watcher", third), "Too many sessions")
	wantOne(t, "forwarded", h.ask("watcher", portalproto.SubscribeTrack{Kind: "audio", From: h.s(1)})[:7], "[{audio")
	wantOne(t, "another participant's", ask("p1", third), mixedVideo+" 480x360}]")
}
