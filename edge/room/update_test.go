package room

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"portico/shared/conference"
	"portico/shared/portalproto"
)

// subscribed subscribes the watcher to sound and video of a stream and returns the subscription's id.
func (h *mixingHouse) subscribed(from string) string {
	h.t.Helper()
	ack, err := h.d.Subscribe(h.t.Context(), roomID, "watcher", av(from))
	if err != nil {
		h.t.Fatal(err)
	}
	return ack.ID
}

// change is an update; it returns its refusal and what the media layer was told meanwhile.
func (h *mixingHouse) change(id string, c portalproto.SubscriptionControl) (refusal string, told []string) {
	h.t.Helper()
	h.settle()
	before := len(h.media.seen())
	c.ID, c.Operation = id, portalproto.Update
	refusal = "ok"
	if err := h.d.SubscriptionControl(h.t.Context(), roomID, "watcher", c); err != nil {
		refusal = err.Error()
	}
	h.settle()
	for _, call := range h.media.seen()[before:] {
		told = append(told, strings.ReplaceAll(call, " "+id+" ", " "))
	}
	return refusal, told
}

func video(from string, w portalproto.Wanted) portalproto.SubscriptionControl {
	return portalproto.SubscriptionControl{Media: conference.MediaSet{Video: true}, VideoFrom: from, Wanted: w}
}

func TestUpdate(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(2)
	id := h.subscribed(common)
	const formats = " in vp8 h264CB h264B vp9"
	mixed, forward := "change {video 1 "+common+"-video"+formats, "change {video 1 "+h.s(1)+"-1"+formats
	for _, step := range []struct {
		what, refusal string
		c             portalproto.SubscriptionControl
		told          []string
	}{
		{"size", "ok", video("", size(320, 240)), []string{mixed + " 320x240}"}},
		{"rate besides", "ok", video("", portalproto.Wanted{Framerate: 12}), []string{mixed + " 320x240 @12}"}},
		{"the same", "ok", video(common, size(320, 240)), nil},
		{"nothing", "ok", video("", portalproto.Wanted{}), nil},
		{"bit rate", "ok", video("", portalproto.Wanted{Bitrate: "x0.8"}), []string{mixed + " 320x240 @12 x0.8}"}},
		{"bad size", "Target video stream does NOT satisfy:Resolution is not acceptable", video("", size(1, 1)), nil},
		{"bad source", "Target video stream does NOT satisfy:Requested video stream", video("nope", portalproto.Wanted{}), nil},
		{"full bit rate", "ok", video("", portalproto.Wanted{Bitrate: "x1.0"}), []string{mixed + " 320x240 @12}"}},
		{"another source forgets", "ok", video(h.s(1), portalproto.Wanted{}), []string{forward + "}"}},
		{"another source, with wishes", "ok", video(common, portalproto.Wanted{Framerate: 6}), []string{mixed + " @6}"}},
		{"sound", "ok", portalproto.SubscriptionControl{Media: conference.MediaSet{Audio: true}, AudioFrom: h.s(2)},
			[]string{"change {audio 0 " + h.s(2) + "-0 in opus g722 pcma pcmu}"}},
		{"bad sound", "Target audio stream does NOT satisfyRequested audio stream",
			portalproto.SubscriptionControl{Media: conference.MediaSet{Audio: true}, AudioFrom: "nope"}, nil},
	} {
		refusal, told := h.change(id, step.c)
		wantOne(t, step.what, refusal, step.refusal)
		wantAll(t, step.what, told, step.told...)
	}
	h.d.Leave(t.Context(), roomID, "p1")
	if n := h.d.Count(t.Context()); n.Subscriptions != 1 {
		t.Error("a source that was left before has ended the subscription")
	}
	h.d.Leave(t.Context(), roomID, "p2")
	if n := h.d.Count(t.Context()); n.Subscriptions != 0 {
		t.Error("the source that an update has brought has ended, and the subscription has not")
	}
}

// TestUpdateFails: what was changed already is changed back, and the next update begins from there.
func TestUpdateFails(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(2)
	id := h.subscribed(h.s(1))
	h.media.unchangeable = h.s(2) + "-1"
	refusal, told := h.change(id, portalproto.SubscriptionControl{
		Media: conference.MediaSet{Audio: true, Video: true}, AudioFrom: h.s(2), VideoFrom: h.s(2),
	})
	wantOne(t, "update", refusal, "Update subscription failed")
	sound, picture := " in opus g722 pcma pcmu}", " in vp8 h264CB h264B vp9}"
	wantAll(t, "update", told, "change {audio 0 "+h.s(2)+"-0"+sound, "change {video 1 "+h.s(2)+"-1"+picture, "change {audio 0 "+h.s(1)+"-0"+sound)
	refusal, told = h.change(id, video(h.s(1), portalproto.Wanted{}))
	wantOne(t, "as it was", refusal, "ok")
	wantAll(t, "as it was", told)
	h.mixers.notYet = errors.New("no relay")
	refusal, told = h.change(id, video(common, portalproto.Wanted{}))
	wantOne(t, "mix", refusal, "Update subscription failed")
	wantAll(t, "mix", told)
	h.d.Leave(t.Context(), roomID, "p1")
	if n := h.d.Count(t.Context()); n.Subscriptions != 0 {
		t.Error("the subscription outlives its source")
	}
}

// TestUpdateFailsAsTheSourceEnds: there is nothing to go back to.
func TestUpdateFailsAsTheSourceEnds(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(2)
	id := h.subscribed(h.s(1))
	if err := h.d.in(roomID, func(c *controller) error {
		c.media = &endingMedia{h.media, func() { h.d.Leave(t.Context(), roomID, "p1") }}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	h.watcher.take()
	refusal, _ := h.change(id, portalproto.SubscriptionControl{
		Media: conference.MediaSet{Audio: true, Video: true}, AudioFrom: h.s(2), VideoFrom: h.s(2),
	})
	wantOne(t, "update", refusal, "Update subscription failed")
	if got := h.watcher.take(); !slices.Contains(got, `progress {"id":"`+id+`","sessionId":"`+id+`","status":"error","data":"Source stream loss"}`) {
		t.Errorf("told %v", got)
	}
	if calls := h.media.seen(); calls[len(calls)-1] != "stop "+id {
		t.Errorf("media is left open: %v", calls)
	}
}

// endingMedia refuses every change, and what was there before ends meanwhile.
type endingMedia struct {
	*fakeMedia
	end func()
}

func (e *endingMedia) Change(string, MediaSource) error {
	e.end()
	return portalproto.ErrSourceReleased
}

// TestPausedStaysPaused: what is paused is paused after a change of its source as well, and can be resumed.
func TestPausedStaysPaused(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(2)
	id := h.subscribed(h.s(1))
	pause := func(op portalproto.Operation) {
		t.Helper()
		wantText(t, string(op), h.d.SubscriptionControl(t.Context(), roomID, "watcher",
			portalproto.SubscriptionControl{ID: id, Operation: op, Media: conference.MediaSet{Video: true}}), "<nil>")
	}
	pause(portalproto.Pause)
	change := "change {video 1 " + h.s(2) + "-1 in vp8 h264CB h264B vp9}"
	refusal, told := h.change(id, video(h.s(2), portalproto.Wanted{}))
	wantOne(t, "update", refusal, "ok")
	wantAll(t, "update", told, change, "sub-active video false")
	pause(portalproto.Play)
	_, told = h.change(id, video(h.s(1), portalproto.Wanted{}))
	wantAll(t, "resumed", told, strings.ReplaceAll(change, h.s(2), h.s(1)))
}

// TestUpdateRefused: updates of what is not there, or not the caller's.
func TestUpdateRefused(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(1)
	ack, err := h.d.Subscribe(t.Context(), roomID, "watcher", portalproto.SubscribeRequest{Tracks: av(h.s(1)).Tracks[1:]})
	if err != nil {
		t.Fatal(err)
	}
	refusal, _ := h.change(ack.ID, portalproto.SubscriptionControl{Media: conference.MediaSet{Audio: true}, AudioFrom: common})
	wantOne(t, "sound", refusal, "Target subscription does NOT have audio to update")
	refusal, _ = h.change("nope", video(common, portalproto.Wanted{}))
	wantOne(t, "unknown", refusal, "Subscription does NOT exist")
	h.join("other", "presenter")
	c := video(common, portalproto.Wanted{})
	c.ID, c.Operation = ack.ID, portalproto.Update
	wantText(t, "other's", h.d.SubscriptionControl(t.Context(), roomID, "other", c), "unauthorized")
}

// TestAdaptingUpdate: in a room that adapts, a size is told as the display's; the way to what has to be made, and back, is a change.
func TestAdaptingUpdate(t *testing.T) {
	h := newMixingHouse(t, func(r *conference.Room) { r.EnableBandwidthAdaptation = true })
	h.publish(1)
	id := h.subscribed(h.s(1))
	const formats = " in vp8 h264CB h264B vp9"
	track := "change {video 1 " + h.s(1) + "-1"
	for _, step := range []struct {
		what string
		c    portalproto.SubscriptionControl
		told []string
	}{
		{"size", video("", size(123, 45)), []string{"display 123x45"}},
		{"rate", video("", portalproto.Wanted{Framerate: 15}), []string{track + formats + " @15}"}},
		{"mix", video(common, portalproto.Wanted{}), []string{"change {video 1 " + common + "-video" + formats + "}"}},
		{"back", video(h.s(1), size(640, 480)), []string{track + " adapts to 640x480" + formats + "}"}},
	} {
		refusal, told := h.change(id, step.c)
		wantOne(t, step.what, refusal, "ok")
		wantAll(t, step.what, told, step.told...)
	}
}
