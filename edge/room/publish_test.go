package room

import (
	"strings"
	"testing"

	"portico/shared/conference"
	"portico/shared/portalproto"
)

func TestT_121_ReadyThenAdd(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	b, _ := h.join("b", "viewer")
	a.take()
	s := h.publishAV("a")
	got := a.take()
	if len(got) != 2 || got[0] != `progress {"id":"`+s+`","sessionId":"`+s+`","status":"ready"}` || !strings.HasPrefix(got[1], `stream {"id":"`+s+`","status":"add"`) {
		t.Errorf("owner: %v", got)
	}
	if got := b.take(); len(got) != 1 || !strings.Contains(got[0], `"owner":"a","type":"webrtc","inViews":[]`) {
		t.Errorf("other: %v", got)
	}
	_, j := h.join("c", "viewer")
	if len(j.Streams) != 2 || j.Streams[1].ID != s {
		t.Errorf("a later joiner finds %+v", j.Streams)
	}
}

func TestT_79_80_82_PublishRefused(t *testing.T) {
	h := newHouse(t, func(r *conference.Room) { r.InputLimit = 1 })
	h.join("a", "presenter")
	h.join("b", "presenter")
	h.join("c", "viewer")
	publish := func(who string, r portalproto.PublishRequest) error {
		_, err := h.d.Publish(t.Context(), roomID, who, r)
		return err
	}
	audio := portalproto.PublishRequest{Tracks: avTracks[:1]}
	wantText(t, "T-79", publish("c", audio), "unauthorized")
	wantText(t, "T-82 no tracks", publish("a", portalproto.PublishRequest{}), "Bad publication request")
	wantText(t, "T-82 same mid", publish("a", portalproto.PublishRequest{Tracks: []portalproto.PublishTrack{avTracks[0], avTracks[0]}}), "Bad publication request")
	wantText(t, "stranger", publish("z", audio), "Participant has not joined")
	h.publishAV("a")
	wantText(t, "T-80", publish("b", audio), "Too many inputs")
}

func TestT_81_RefusedByMediaFreesThePlace(t *testing.T) {
	h := newHouse(t, func(r *conference.Room) { r.InputLimit = 1 })
	a, _ := h.join("a", "presenter")
	h.media.refuse = portalproto.NoTransport("x")
	_, err := h.d.Publish(t.Context(), roomID, "a", portalproto.PublishRequest{Tracks: avTracks, Transport: portalproto.TransportRef{Type: "webrtc", ID: "x"}})
	wantText(t, "publish", err, "Transport x does NOT exist")
	h.media.refuse = nil
	h.publishAV("a") // the limit of one is free again
	for _, n := range a.take() {
		if strings.Contains(n, `"status":"remove"`) {
			t.Errorf("a refused publication was announced as removed: %s", n)
		}
	}
}

func TestT_83_85_Unpublish(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	b, _ := h.join("b", "presenter")
	s := h.publishAV("a")
	ack, err := h.d.Subscribe(t.Context(), roomID, "b", av(s))
	if err != nil {
		t.Fatal(err)
	}
	a.take()
	b.take()
	wantText(t, "T-85", h.d.Unpublish(t.Context(), roomID, "b", s, func() { t.Error("acked a refusal") }), "unauthorized")
	wantText(t, "T-84", h.d.Unpublish(t.Context(), roomID, "a", "nope", nil), "Stream does NOT exist")
	var before []string
	err = h.d.Unpublish(t.Context(), roomID, "a", s, func() { before = a.take() })
	if err != nil || len(before) != 0 {
		t.Fatalf("unpublish: %v, told before the ack: %v", err, before)
	}
	wantAll(t, "owner", a.take(), `stream {"id":"`+s+`","status":"remove"}`)
	wantAll(t, "subscriber", b.take(),
		`progress {"id":"`+ack.ID+`","sessionId":"`+ack.ID+`","status":"error","data":"Source stream loss"}`,
		`stream {"id":"`+s+`","status":"remove"}`)
	wantText(t, "again", h.d.Unpublish(t.Context(), roomID, "a", s, nil), "Stream does NOT exist")
}

func TestT_135_UnpublishBeforeReady(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	ack, err := h.d.Publish(t.Context(), roomID, "a", portalproto.PublishRequest{Tracks: avTracks})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.d.Unpublish(t.Context(), roomID, "a", ack.ID, func() {}); err != nil {
		t.Fatal(err)
	}
	h.ready(ack.ID, nil)
	wantAll(t, "owner", a.take())
}

func TestT_86_87_88_89_PauseAndPlay(t *testing.T) {
	h := newHouse(t, nil)
	h.join("a", "presenter")
	b, _ := h.join("b", "presenter")
	s := h.publishAV("a")
	b.take()
	control := func(who string, op portalproto.Operation, audio, video bool) error {
		return h.control(who, portalproto.StreamControl{ID: s, Operation: op, Media: conference.MediaSet{Audio: audio, Video: video}})
	}
	wantText(t, "pause", control("a", portalproto.Pause, true, false), "<nil>")
	wantAll(t, "T-86", b.take(), `stream {"id":"`+s+`","status":"update","data":{"field":"audio.status","value":"inactive"}}`)
	_, j := h.join("c", "viewer")
	if tr := j.Streams[1].Tracks; !tr[0].Inactive || tr[1].Inactive {
		t.Errorf("a later login sees %+v", tr)
	}
	b.take()
	wantText(t, "play", control("a", portalproto.Play, true, true), "<nil>")
	wantAll(t, "T-87", b.take(), `stream {"id":"`+s+`","status":"update","data":{"field":"audio.status","value":"active"}}`,
		`stream {"id":"`+s+`","status":"update","data":{"field":"video.status","value":"active"}}`)
	wantText(t, "T-88", control("b", portalproto.Pause, true, false), "unauthorized")
	wantText(t, "T-88 mixed", h.control("a", portalproto.StreamControl{ID: roomID + "-common", Operation: portalproto.Pause}), "unauthorized")
	ack, err := h.d.Publish(t.Context(), roomID, "b", portalproto.PublishRequest{Tracks: avTracks[:1]})
	if err != nil {
		t.Fatal(err)
	}
	h.ready(ack.ID, []conference.Track{{ID: "x", Kind: conference.Audio}})
	wantText(t, "T-89", h.control("b", portalproto.StreamControl{ID: ack.ID, Operation: portalproto.Pause,
		Media: conference.MediaSet{Video: true}}), "Stream does NOT contain valid track to mute/unmute")
	wantText(t, "T-92", h.control("a", portalproto.StreamControl{ID: s, Operation: portalproto.Mix, View: "nope"}), "Invalid view")
	h.join("boss", "admin")
	wantText(t, "role admin", control("boss", portalproto.Pause, true, false), "<nil>")
}

func TestT_123_132_WordsOfTheMediaLayer(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	s := h.publishAV("a")
	a.take()
	events := h.media.events[s]
	events.Answer(s, "v=0")
	events.TransportReady(s)
	if err := h.control("a", portalproto.StreamControl{ID: s, Operation: portalproto.Pause, Media: conference.MediaSet{Video: true}}); err != nil {
		t.Fatal(err)
	}
	a.take()
	events.TracksChanged(s, []conference.Track{{ID: s + "-1", Kind: conference.Video, Parameters: conference.VideoParameters{Resolution: conference.Resolution{Width: 320, Height: 180}}}})
	h.settle()
	if got := a.take(); len(got) != 1 || !strings.Contains(got[0], `"field":"."`) || !strings.Contains(got[0], `"width":320,"height":180`) || !strings.Contains(got[0], `"status":"inactive"`) {
		t.Errorf("update: %v", got)
	}
	events.SessionFailed(s, s, portalproto.ReasonICEFailed)
	h.settle()
	wantAll(t, "failure", a.take(), `progress {"id":"`+s+`","sessionId":"`+s+`","status":"error","data":"Ice procedure failed."}`, `stream {"id":"`+s+`","status":"remove"}`)
}
