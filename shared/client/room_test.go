package client

import (
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"testing"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

func testRoom(t testing.TB) *room {
	r, ok := newRoom(portalproto.LoginResult{
		Participant:  conference.Participant{ID: "me", User: "alice", Permission: conference.Permission{Publish: conference.MediaSet{Audio: true}}},
		RoomID:       "r",
		Participants: []conference.Participant{{ID: "bob"}, {ID: "me", User: "alice"}},
		Streams: []conference.Stream{{ID: "S", Tracks: []conference.Track{
			{ID: "S-0", Kind: conference.Audio}, {ID: "S-1:q", Kind: conference.Video}, {ID: "S-1:h", Kind: conference.Video}}}},
	})
	if !ok {
		t.Fatal("no room")
	}
	return r
}

// told is the one event that came of a notification, "" for none.
func told(event func(Events)) string {
	if event == nil {
		return ""
	}
	var r recorder
	event(&r)
	return strings.Join(r.take(), "; ")
}

func TestRoomApply(t *testing.T) {
	r := testRoom(t)
	update := func(id, field string, value jsonvalue.Value) portalproto.StreamUpdated {
		return portalproto.StreamUpdated{ID: id, Field: field, Value: value}
	}
	before, _ := r.streams.get("S")
	for _, step := range []struct {
		n    portalproto.Notification
		want string
	}{
		{portalproto.ParticipantJoined{Participant: conference.Participant{ID: "carol"}}, "joined carol"},
		{portalproto.ParticipantJoined{Participant: conference.Participant{ID: "carol", Role: "viewer"}}, ""},
		{portalproto.ParticipantLeft{ID: "bob"}, "left bob"},
		{portalproto.ParticipantLeft{ID: "bob"}, ""},
		{update("S", "video.status", jsonvalue.Of("inactive")), "updated S video.status"},
		{update("S", "video.status", jsonvalue.Of("asleep")), ""},
		{update("S", "video.status", jsonvalue.OfInt(1)), ""},
		{update("S", "video.layout", jsonvalue.OfArray()), "updated S video.layout"},
		{update("S", "video.layout", jsonvalue.Of("none")), ""},
		{update("S", "activeInput", jsonvalue.Of("T")), "updated S activeInput"},
		{update("S", "activeInput", parse(t, `{"id":"U","volume":"major"}`)), "updated S activeInput"},
		{update("S", "activeInput", jsonvalue.NullValue()), ""},
		{update("S", "flavour", jsonvalue.Of("x")), ""},
		{update("S", ".", jsonvalue.Value{}), ""},
		{update("none", "audio.status", jsonvalue.Of("inactive")), ""},
		{portalproto.StreamAdded{Stream: conference.Stream{ID: "T", Label: "one"}}, "stream T"},
		{portalproto.StreamAdded{Stream: conference.Stream{ID: "T", Label: "two"}}, "updated T ."},
		{portalproto.StreamUpdated{ID: "T", Field: ".", Stream: &conference.Stream{ID: "X", Label: "three"}}, "updated T ."},
		{portalproto.StreamRemoved{ID: "none"}, ""},
		{portalproto.TextMessage{From: "bob", To: "all", Message: jsonvalue.Of("hi")}, `message bob all "hi"`},
		{portalproto.Progress{Transport: "x"}, ""},
	} {
		if got := told(r.apply(step.n)); got != step.want {
			t.Errorf("%T %+v: %q, want %q", step.n, step.n, got, step.want)
		}
	}
	s, _ := r.streams.get("S")
	if !s.Tracks[1].Inactive || !s.Tracks[2].Inactive || s.Tracks[0].Inactive || s.ActiveInput != "U" {
		t.Errorf("stream %+v", s)
	}
	if before.Tracks[1].Inactive {
		t.Error("a stream that was handed out has changed")
	}
	if list := r.streams.list(); len(list) != 2 || list[1].ID != "T" || list[1].Label != "three" {
		t.Errorf("streams %+v", list)
	}
	if list := r.participants.list(); len(list) != 2 || list[0].ID != "me" || list[0].Permission != r.self.Permission || list[1].Role != "viewer" {
		t.Errorf("participants %+v", list)
	}
}

func TestRoomIsBounded(t *testing.T) {
	r := testRoom(t)
	events := 0
	for i := range maxParticipants + 100 {
		if r.apply(portalproto.ParticipantJoined{Participant: conference.Participant{ID: strconv.Itoa(i)}}) != nil {
			events++
		}
	}
	if len(r.participants.values) != maxParticipants || events != maxParticipants-2 {
		t.Errorf("%d participants, %d events", len(r.participants.values), events)
	}
	for i := range maxStreams + 100 {
		r.apply(portalproto.StreamAdded{Stream: conference.Stream{ID: strconv.Itoa(i)}})
	}
	if len(r.streams.values) != maxStreams {
		t.Errorf("%d streams", len(r.streams.values))
	}
	r.apply(portalproto.StreamUpdated{ID: "S", Field: ".", Stream: &conference.Stream{ID: "S", Tracks: make([]conference.Track, 5000)}})
	if s, _ := r.streams.get("S"); len(s.Tracks) != maxTracks {
		t.Errorf("%d tracks", len(s.Tracks))
	}
}

func TestPortalURL(t *testing.T) {
	for body, want := range map[string]string{
		`{"host":"h:1","secure":true}`:                "https://h:1",
		`{"host":"h:1"}`:                              "http://h:1",
		`{"host":"[::1]:8080","secure":false}`:        "http://[::1]:8080",
		`{"host":"https://h/","secure":false}`:        "https://h",
		`{"host":"httpd.example:8080"}`:               "http://httpd.example:8080",
		`{"host":""}`:                                 "",
		`{"host":"a/b"}`:                              "",
		`{"host":"user@h"}`:                           "",
		`{"host":"h?x"}`:                              "",
		`{"host":"h h"}`:                              "",
		`{"host":"h\n"}`:                              "",
		`{"host":["h"]}`:                              "",
		`[]`:                                          "",
		`{"host":"` + strings.Repeat("h", 301) + `"}`: "",
	} {
		padded := base64.StdEncoding.EncodeToString([]byte(body))
		for _, token := range []string{padded, " " + padded + "\n", strings.TrimRight(padded, "=")} {
			got, err := portalURL(token)
			if got != want || (want == "") != errors.Is(err, ErrToken) {
				t.Errorf("%s: %q, %v", body, got, err)
			}
		}
	}
}

func TestAccepted(t *testing.T) {
	sdp := "v=0\r\na=recvonly\r\nm=audio 9 X 0\r\na=mid:0\r\na=sendonly\r\nm=video 0 X 0\r\na=mid:1\r\na=sendonly\r\n" +
		"m=video 9 X 0\na=mid:2\na=inactive\nm=video 9 X 0\na=mid:3\nm=video 9 X 0\na=sendrecv\na=mid:4\nm=audio 9 X\na=sendonly\n"
	got := accepted(sdp, "sendonly")
	if len(got) != 2 || !got["0"] || !got["4"] {
		t.Errorf("send %v", got)
	}
	if got := accepted(sdp, "recvonly"); len(got) != 2 || !got["3"] || !got["4"] {
		t.Errorf("receive %v", got)
	}
}

func FuzzPortalURL(f *testing.F) {
	f.Add(goodToken)
	f.Add("eyJob3N0IjoiaHR0cDovL2gifQ==")
	f.Fuzz(func(t *testing.T, token string) {
		url, err := portalURL(token)
		if (err == nil) != (strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "https://")) {
			t.Errorf("%q, %v", url, err)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add("m=audio 9 X 0\r\na=mid:0\r\na=sendonly\r\n")
	f.Add("m=\na=mid:\nm")
	f.Fuzz(func(t *testing.T, sdp string) {
		for mid := range accepted(sdp, "sendonly") {
			if mid == "" || !strings.Contains(sdp, "a=mid:"+mid) {
				t.Errorf("mid %q", mid)
			}
		}
	})
}

// FuzzNotification gives a conference with a live publication events of any name and shape.
func FuzzNotification(f *testing.F) {
	for _, seed := range [][2]string{
		{"participant", `{"action":"join","data":{"id":"x"}}`}, {"participant", `{"action":"leave","data":{}}`},
		{"stream", `{"id":"s1","status":"remove"}`}, {"stream", `{"id":"S","status":"update","data":{"field":".","value":{"id":"S","media":{"tracks":[[]]}}}}`},
		{"stream", `{"id":"S","status":"add","data":null}`}, {"progress", `{"id":"s1","status":"soac","data":{"type":"answer","sdp":"x"}}`},
		{"progress", `{"id":"s1","status":"error","data":"x"}`}, {"progress", `{"id":"s1","sessionId":"s1","status":"ready"}`},
		{"text", `{"from":"x","message":[[[]]]}`}, {"drop", `null`}, {"soac", `1`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, name, body string) {
		v, err := jsonvalue.Parse([]byte(body), jsonvalue.Limits{})
		if err != nil {
			return
		}
		n, ok := portalproto.DecodeNotification(name, v)
		if !ok {
			return
		}
		p := newPortal(t)
		c, err := Join(context.Background(), goodToken, Options{Peers: &peers{journal: p.journal}, Dial: p.dial})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Publish(context.Background(), PublishOptions{Tracks: []LocalTrack{{Kind: conference.Audio}}}); err != nil {
			t.Fatal(err)
		}
		_ = c.do(context.Background(), func() error { c.notice(n); return nil })
		if info := c.Info(); info.Self.ID != "me" {
			t.Errorf("self %+v", info.Self)
		}
		if err := c.Leave(context.Background()); err != nil {
			t.Error(err)
		}
		<-c.Done()
	})
}
