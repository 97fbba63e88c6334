package portal

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"portico/edge/config"
	"portico/edge/node"
	"portico/shared/jsonvalue"
	"portico/shared/token"
	driver "portico/tools/e2e/socketio"
	"portico/tools/edgetest"
	"portico/tools/portico/manage"
)

// edge is a running edge, and its management API as the sample service sees it.
type edge struct {
	t    *testing.T
	node *node.Node
	url  string
	api  *manage.Client
	room string
}

func startEdge(t *testing.T, change ...func(*config.Settings)) *edge {
	t.Helper()
	running := edgetest.Start(t, slog.LevelError, func(s *config.Settings) {
		for _, c := range change {
			c(s)
		}
	})
	e := &edge{t: t, node: running.Node, url: running.URL}
	if _, ok := running.Config.Certificate(); ok {
		e.url = running.Node.URL()
	}
	settings := running.Service(t)
	settings.URL = e.url
	var err error
	if e.api, err = manage.New(settings); err != nil {
		t.Fatal(err)
	}
	room, err := e.api.CreateRoom(t.Context(), "e2e", jsonvalue.Value{})
	if err != nil {
		t.Fatal(err)
	}
	e.room = room.Get("_id").Text()
	return e
}

func (e *edge) token(user, role string) string {
	e.t.Helper()
	text, err := e.api.CreateToken(e.t.Context(), e.room, user, role, manage.Place{})
	if err != nil {
		e.t.Fatal(err)
	}
	return text
}

// login is the data of a login as the JavaScript SDK sends it.
func login(tok string) map[string]any {
	return map[string]any{"token": tok, "protocol": "1.2", "userAgent": map[string]any{"sdk": map[string]any{"type": "JavaScript", "version": "5.1"}}}
}

func want(t *testing.T, what string, got []jsonvalue.Value, want string) {
	t.Helper()
	if text := jsonvalue.OfArray(got...).String(); text != want {
		t.Errorf("%s:\n got %s\nwant %s", what, text, want)
	}
}

// The acknowledgements and notifications that an application sees are the same, to the letter, over every client and transport.
func TestT_20_21_24_26_39_70_73_105_106_RealClients(t *testing.T) {
	e := startEdge(t)
	for _, version := range []int{2, 3, 4} {
		for name, transports := range map[string][]string{"polling first": nil, "websocket only": {"websocket"}} {
			t.Run(fmt.Sprintf("socket.io-client %d, %s", version, name), func(t *testing.T) {
				talk(t, e, func() *driver.Client { return driver.Start(t, version, e.url, transports...) })
			})
		}
	}
}

func talk(t *testing.T, e *edge, connect func() *driver.Client) {
	a := connect()
	alice := e.token("alice", "presenter")
	ack := a.Request("login", login(alice))
	if len(ack) != 2 {
		t.Fatalf("T-20: %v", ack)
	}
	ticket, err := token.DecodeTicket(ack[1].Get("reconnectionTicket").Text())
	if err != nil || ticket.ParticipantID != a.ID() {
		t.Errorf("T-20: ticket %+v, %v", ticket, err)
	}
	const opus = `{"codec":"opus","sampleRate":48000,"channelNum":2}`
	want(t, "T-20", []jsonvalue.Value{ack[0], ack[1].Without("reconnectionTicket")}, `["ok",{"id":"`+a.ID()+`","user":"alice","role":"presenter",`+
		`"permission":{"publish":{"video":true,"audio":true},"subscribe":{"video":true,"audio":true}},"room":{"id":"`+e.room+`","views":["common"],`+
		`"participants":[{"id":"`+a.ID()+`","user":"alice","role":"presenter"}],"streams":[{"id":"`+e.room+`-common","type":"mixed","media":{"tracks":[`+
		`{"type":"audio","format":`+opus+`,"optional":{},"status":"active"},{"type":"video","format":{"codec":"vp8"},`+
		`"parameters":{"resolution":{"width":640,"height":480},"framerate":24,"keyFrameInterval":100},`+
		`"optional":{"parameters":{"resolution":[],"framerate":[],"bitrate":[],"keyFrameInterval":[]}},"status":"active"}]},"data":null,`+
		`"info":{"label":"common","activeInput":"unknown","layout":[],"origin":{"isp":"isp","region":"region"}}}]}}]`)

	for _, c := range []struct{ name, want string }{
		{"T-21", `["error","Invalid token"]`}, {"T-24", `["error","User agent info is incorrect"]`}, {"T-26", `["error","Invalid token signature"]`},
	} {
		data := login(alice)
		switch c.name {
		case "T-24":
			data["userAgent"] = map[string]any{"sdk": map[string]any{"type": "JavaScript"}}
		case "T-26":
			raw, err := base64.StdEncoding.DecodeString(alice)
			if err != nil {
				t.Fatal(err)
			}
			data["token"] = base64.StdEncoding.EncodeToString([]byte(strings.Replace(string(raw), `"host":"`, `"host":"x`, 1)))
		}
		x := connect()
		want(t, c.name, x.Request("login", data), c.want)
		if reason := x.Disconnected(); reason != "io server disconnect" {
			t.Errorf("%s: then %q", c.name, reason)
		}
	}

	b := connect()
	if ack := b.Request("login", login(e.token("bob", "presenter"))); ack[0].Text() != "ok" {
		t.Fatalf("bob: %v", ack)
	}
	want(t, "T-39", a.Next("participant"), `[{"action":"join","data":{"id":"`+b.ID()+`","user":"bob","role":"presenter"}}]`)

	want(t, "T-70", a.Request("text", map[string]any{"to": "all", "message": "hi"}), `["ok"]`)
	for _, c := range []*driver.Client{a, b} {
		want(t, "T-70", c.Next("text"), `[{"from":"`+a.ID()+`","to":"all","message":"hi"}]`)
	}
	want(t, "T-72", a.Request("text", map[string]any{"to": "nobody"}), `["error","Target participant does NOT exist: nobody"]`)

	ack = a.Request("publish", map[string]any{
		"media":     map[string]any{"tracks": []any{map[string]any{"type": "audio", "mid": "0", "source": "mic"}}},
		"transport": map[string]any{"type": "webrtc"},
	})
	if id := ack[1].Get("id").Text(); ack[0].Text() != "ok" || !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(id) || ack[1].Get("transportId").Text() != id {
		t.Errorf("T-73: %v", ack)
	}
	transport := ack[1].Get("id").Text()
	candidate := func(id string) map[string]any {
		return map[string]any{"id": id, "signaling": map[string]any{"type": "candidate", "candidate": map[string]any{"candidate": "a=", "sdpMid": "0", "sdpMLineIndex": 0}}}
	}
	want(t, "T-105", b.Request("soac", candidate(transport)), `["error","Transport `+transport+` does NOT exist"]`)
	want(t, "T-106", a.Request("soac", candidate(transport), nil), `["ok"]`)
	a.Emit("soac", candidate(transport), nil)

	want(t, "logout", a.Request("logout"), `["ok"]`)
	want(t, "leave", b.Next("participant"), `[{"action":"leave","data":"`+a.ID()+`"}]`)
	want(t, "logout", b.Request("logout"), `["ok"]`)
}
