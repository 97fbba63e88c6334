package manage

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"portico/edge/restapi"
	"portico/edge/store"
	"portico/shared/jsonvalue"
)

// A stream as the management API tells of it, cut down to what is printed.
const someQuality = `{"id":"s1","participant":"p1","user":"Ann\u001b[31m","path":{"local":"host udp4 10.0.0.1 8080","remote":"prflx udp4 10.0.0.2 5000"},
"tracks":[{"kind":"audio","codec":"opus","muted":true,"loss":0},
 {"kind":"video","rid":"f","codec":"vp8","width":1280,"height":720,"layers":[{"bitrate":200000},{"bitrate":1700000,"frameRate":29.9}],"loss":0.051,"keyFramesRequested":3}],
"events":[{"at":"2026-01-02T03:04:05.000Z","kind":"key frame","detail":"asked for of the publisher","count":3}],
"subscriptions":[{"id":"x","participant":"p2","user":"Bob","path":{"local":"a","remote":"b"},
 "network":{"estimate":640000,"by":"twcc","wanted":2000000,"rtt":23.4,"loss":0.2},
 "tracks":[{"kind":"video","sending":true,"source":{"width":1280,"height":720,"rid":"f"},"current":{"width":640,"height":360,"rid":"h"},
  "displayed":{"width":1000,"height":562},"reason":"bandwidth","since":"2026-01-02T03:04:05.000Z","bitrate":450000,"frameRate":30,"loss":0.2}],
 "events":[{"at":"2026-01-02T03:04:05.000Z","kind":"estimate","from":2000000,"to":640000}]},
 {"participant":"p3","network":{"by":"nothing"},"tracks":[{"kind":"audio","sending":false,"reason":"muted"}]}],
"omitted":7,
"notMixed":[{"view":"common","kind":"video","reason":"its relay\u001b has no decoder","since":"2026-01-02T03:04:05.000Z","until":"2126-01-02T03:04:05.000Z"},
 {"view":"two","reason":"why"}],
"ended":[{"participant":"p4","reason":"Ice procedure failed.","at":"2026-01-02T03:04:05.000Z"},{"participant":"p5"}]}`

type oneStream struct {
	noConferences
	asked *string
}

func (s oneStream) StreamQuality(_ context.Context, room, stream, participant string) (jsonvalue.Value, bool) {
	*s.asked = room + " " + stream + " " + participant
	q, err := jsonvalue.Parse([]byte(someQuality), jsonvalue.Limits{})
	return q, err == nil && stream == "s1"
}

func TestRoomQuality(t *testing.T) {
	db, err := store.OpenSQLite(t.Context(), t.TempDir(), store.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	super, sample, _, err := store.Bootstrap(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	var asked string
	server := httptest.NewServer(restapi.New(restapi.Options{
		Store: db, TokenKey: []byte("k"), SuperService: super.ID, Conferences: oneStream{asked: &asked},
		Portal: func() restapi.PortalAddress { return restapi.PortalAddress{} },
	}))
	t.Cleanup(func() {
		server.Close()
		db.Close()
	})
	s := Settings{URL: server.URL, Service: sample.ID, Key: sample.Key}
	room := strings.TrimSpace(mustRun(t, s, "room", "create", "lobby"))
	out := mustRun(t, s, "room", "quality", "lobby", "s1", "-participant", "p 2")
	if asked != room+" s1 p 2" {
		t.Errorf("asked for %q", asked)
	}
	for _, want := range []string{
		`Stream s1 of "Ann\x1b[31m" (p1), host udp4 10.0.0.1 8080 - prflx udp4 10.0.0.2 5000` + "\n",
		"  audio, opus, loss 0.0 %, muted\n",
		"  video f, vp8, 1280×720, 1.7 Mbit/s, 30 pictures a second, loss 5.1 %, 3 key frames asked for\n",
		"To Bob (p2), a - b\n",
		"  network: 640 kbit/s fit (by twcc), wanted 2.0 Mbit/s, round trip 23 ms, loss 20.0 %\n",
		"  video: is sent 640×360 (h), there is 1280×720 (f), shown at 1000×562, 450 kbit/s, 30 pictures a second, loss 20.0 %\n    because: bandwidth, since ",
		"To p3, not connected\n", "  audio: nothing is sent, loss 0.0 %\n    because: muted\n",
		"  video is not in the mix of view common, since ", ", tried again in ", "\n    because: \"its relay\\x1b has no decoder\"\n",
		"  something is not in the mix of view two, tried all the time\n    because: why\n",
		"7 more subscriptions; -participant", "Ended: p4, Ice procedure failed., since ", "Ended: p5, by its participant\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "key frame,") {
		t.Errorf("events without being asked for:\n%s", out)
	}
	out = mustRun(t, s, "room", "quality", room, "s1", "-events")
	for _, want := range []string{" key frame, asked for of the publisher, 3 times\n", " estimate, 2.0 Mbit/s to 640 kbit/s\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if got, err := jsonvalue.Parse([]byte(mustRun(t, s, "room", "quality", room, "s1", "-json")), jsonvalue.Limits{}); err != nil || got.Get("id").Text() != "s1" {
		t.Errorf("as JSON %v %v", got, err)
	}
	if _, err := run(t, s, "room", "quality", room, "s2"); err == nil || !strings.Contains(err.Error(), "Stream not found") {
		t.Errorf("unknown stream: %v", err)
	}
	if _, err := run(t, s, "room", "quality", room); err == nil || !strings.Contains(err.Error(), "ROOM STREAM is missing") {
		t.Errorf("no stream: %v", err)
	}
}
