package room

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/conference"
	"portico/shared/portalproto"
)

func TestC_24_25_PermissionsTakeEffect(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(1)
	ids := func() (list []string) {
		for _, p := range listed(h.d.Participants(t.Context(), roomID)) {
			list = append(list, p.ID+" "+p.Role)
		}
		return list
	}
	wantAll(t, "in the order of joining", ids(), "watcher viewer", "p1 presenter")
	if list := listed(h.d.Participants(t.Context(), "ffffffffffffffffffffffff")); list != nil {
		t.Errorf("in a room that is not active: %v", list)
	}
	yes, no := true, false
	set := func(who string, c PermissionChange) conference.Permission {
		t.Helper()
		p, err := h.d.ChangePermission(t.Context(), roomID, who, c)
		if err != nil || p.ID != who {
			t.Fatalf("%+v, %v", p, err)
		}
		return p.Permission
	}
	publish := func(who string, tracks []portalproto.PublishTrack) error {
		_, err := h.d.Publish(t.Context(), roomID, who, portalproto.PublishRequest{Tracks: tracks})
		return err
	}
	id := h.subscribed(h.s(1))
	h.watcher.take()
	got := set("watcher", PermissionChange{PublishAudio: &yes, SubscribeVideo: &no})
	if want := (conference.Permission{Publish: conference.MediaSet{Audio: true}, Subscribe: conference.MediaSet{Audio: true}}); got != want {
		t.Errorf("permission %+v", got)
	}
	wantText(t, "audio", publish("watcher", avTracks[:1]), "<nil>")
	wantText(t, "video", publish("watcher", avTracks), "unauthorized")
	_, err := h.d.Subscribe(t.Context(), roomID, "watcher", av(h.s(1)))
	wantText(t, "subscribe", err, "unauthorized")
	refusal, _ := h.change(id, portalproto.SubscriptionControl{Media: conference.MediaSet{Video: true}})
	wantOne(t, "what runs goes on", refusal, "ok")
	set("p1", PermissionChange{PublishVideo: &no, PublishAudio: &no, SubscribeAudio: &no, SubscribeVideo: &no})
	wantText(t, "none", publish("p1", avTracks[:1]), "unauthorized")
	wantAll(t, "nobody is told", h.watcher.take())
	for _, who := range []string{"admin", "nobody"} {
		if _, err := h.d.ChangePermission(t.Context(), roomID, who, PermissionChange{}); err == nil {
			t.Errorf("the permission of %s was changed", who)
		}
	}
}

func TestC_27_DropParticipant(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(1)
	bob, _ := h.join("bob", "presenter")
	h.streams = append(h.streams, h.publishAV("bob"))
	h.mix(1)
	wantText(t, "mix", h.control("bob", portalproto.StreamControl{ID: h.s(2), Operation: portalproto.Mix, View: "common"}), "<nil>")
	h.events()
	bob.take()
	wantText(t, "drop", h.d.DropParticipant(t.Context(), roomID, "bob"), "<nil>")
	if !bob.dropped {
		t.Error("the participant was not told")
	}
	wantAll(t, "the others", h.events(), `participant {"action":"leave","data":"bob"}`, "layout 1:S1@0/1,0/1,1/1",
		`stream {"id":"`+h.s(2)+`","status":"remove"}`)
	wantAll(t, "the one dropped", bob.take())
	if calls := h.media.seen(); !slices.Contains(calls, "close bob") {
		t.Errorf("its media goes on: %v", calls)
	}
	for _, who := range []string{"bob", "admin"} {
		wantText(t, who, h.d.DropParticipant(t.Context(), roomID, who), "Participant has not joined")
	}
}

// TestF_02_DroppingTheLastEndsTheRoom: as if it had left of itself.
func TestF_02_DroppingTheLastEndsTheRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.join("a", "presenter")
		time.Sleep(time.Hour) // synthetic time: the room's timer has passed
		wantText(t, "drop", h.d.DropParticipant(t.Context(), roomID, "a"), "<nil>")
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if h.d.find(roomID) != nil {
			t.Error("the room did not end")
		}
	})
}

func TestF_01_T_139_DeleteStream(t *testing.T) {
	h := newMixingHouse(t, nil)
	owner, _ := h.join("p1", "presenter")
	h.streams = append(h.streams, h.publishAV("p1"))
	id := h.subscribed(h.s(1))
	connecting, err := h.d.Publish(t.Context(), roomID, "p1", portalproto.PublishRequest{Tracks: avTracks})
	if err != nil {
		t.Fatal(err)
	}
	owner.take()
	h.watcher.take()
	remove := func(stream string) error { return h.d.DeleteStream(t.Context(), roomID, stream) }
	for _, stream := range []string{"nope", common, connecting.ID, id} {
		wantText(t, stream, remove(stream), "Stream does NOT exist")
	}
	wantText(t, "delete", remove(h.s(1)), "<nil>")
	gone := `stream {"id":"` + h.s(1) + `","status":"remove"}`
	wantAll(t, "T-139: the owner", owner.take(), gone)
	wantAll(t, "F1: a subscriber", h.watcher.take(), `progress {"id":"`+id+`","sessionId":"`+id+`","status":"error","data":"Source stream loss"}`, gone)
	h.settle()
	if calls := h.media.seen(); !slices.Contains(calls, "stop "+h.s(1)) || !slices.Contains(calls, "stop "+id) {
		t.Errorf("media goes on: %v", calls)
	}
}

func TestC_30_to_34_ChangeStream(t *testing.T) {
	h := newMixingHouse(t, nil)
	h.publish(2)
	change := func(stream string, c ...StreamChange) error {
		_, err := h.d.ChangeStream(t.Context(), roomID, stream, c)
		return err
	}
	into, mute := MixInto{"common"}, SetStatus{conference.Audio, false}
	changed, err := h.d.ChangeStream(t.Context(), roomID, h.s(1), []StreamChange{into})
	if err != nil || !slices.Equal(changed.InViews, []string{"common"}) {
		t.Errorf("C30: %+v, %v", changed, err)
	}
	wantAll(t, "C30", h.events(), "layout 1:S1@0/1,0/1,1/1")
	wantText(t, "C31", change(h.s(1), MixInto{"nope"}), "Invalid view")
	wantText(t, "C32", change(h.s(1), mute), "<nil>")
	wantAll(t, "C32", h.events(), `stream {"id":"`+h.s(1)+`","status":"update","data":{"field":"audio.status","value":"inactive"}}`)
	wantText(t, "C33", change(h.s(1)), "<nil>")
	wantText(t, "C34", change(h.s(2), mute, MixInto{"nope"}, into), "Invalid view")
	if s := h.stream(h.s(2)); s.Tracks[0].Inactive || !slices.Equal(s.InViews, []string{"common"}) {
		t.Errorf("C34: muted, or not mixed: %+v", s)
	}
	wantText(t, "unmix", change(h.s(2), UnmixFrom{"common"}, UnmixFrom{"common"}), "<nil>")
	wantText(t, "C38", change(common, mute), "Stream does NOT contain valid track to mute/unmute")
	wantText(t, "mix of a mix", change(common, into), "Stream is Mixed")
	wantText(t, "unmix of a mix", change(common, UnmixFrom{"common"}), "Stream is Mixed")
	wantText(t, "layout of a forward stream", change(h.s(1), SetLayout{}), "Invalid mix view")
	wantText(t, "region of a forward stream", change(h.s(1), Occupy{0, h.s(1)}), "Invalid mix view")
	wantText(t, "unknown", change("nope"), "Stream does NOT exist")
	connecting, err := h.d.Publish(t.Context(), roomID, "p1", portalproto.PublishRequest{Tracks: avTracks})
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "connecting", change(connecting.ID, into), "Stream is NOT ready")
}

func TestC_37_Occupy(t *testing.T) {
	h := newMixingHouse(t, func(r *conference.Room) { r.Views[0].Video.MaxInput = 4 })
	h.publish(6)
	h.mix(1, 2, 3, 4, 5)
	h.events()
	occupy := func(region, n int) error {
		_, err := h.d.ChangeStream(t.Context(), roomID, common, []StreamChange{Occupy{region, h.s(n)}})
		return err
	}
	wantText(t, "where it is", occupy(0, 1), "<nil>")
	wantAll(t, "where it is", h.events())
	wantText(t, "out of range", occupy(9, 1), "Invalid region_id.")
	wantText(t, "not mixed", occupy(0, 6), "Invalid input stream_id.")
	wantText(t, "swap", occupy(2, 1), "<nil>")
	wantText(t, "one that waits", occupy(0, 5), "<nil>")
	if got := h.shown(); got != "S5 S2 S1 S4" {
		t.Errorf("shown %s", got)
	}
	wantText(t, "unmix", h.do(2, portalproto.Unmix, ""), "<nil>")
	if got := h.events(); len(got) != 3 || !strings.HasPrefix(got[2], "layout 1:S5@") || h.shown() != "S5 S3 S1 S4" {
		t.Errorf("who was replaced comes back: %v", got)
	}
}
