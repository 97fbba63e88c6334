package pionpeer_test

import (
	"encoding/base64"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"portico/edge/sioserver"
	"portico/shared/client"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// socketPortal is a portal behind a real Socket.IO server.
type socketPortal struct {
	socket *sioserver.Socket
	seen   chan string
}

func (p *socketPortal) Event(name string, args []jsonvalue.Value, ack sioserver.Ack) {
	switch name {
	case portalproto.EventLogin:
		login, err := portalproto.DecodeLogin(args[0])
		if err != nil || login.SDK.Type != "Go" {
			ack(portalproto.AckError(err)...)
			return
		}
		me := conference.Participant{ID: p.socket.ID(), User: "alice", Role: "presenter"}
		ack(portalproto.AckOK(portalproto.LoginResult{Participant: me, RoomID: "r", Participants: []conference.Participant{me}}.
			Encode(portalproto.Receiver{Version: portalproto.V12}))...)
		p.notify(portalproto.ParticipantJoined{Participant: conference.Participant{ID: "bob"}})
	case portalproto.EventText:
		if args[0].Get("message").Text() == "hang up" {
			p.socket.Close()
			return
		}
		ack(portalproto.AckOK(jsonvalue.Value{})...)
		p.notify(portalproto.TextMessage{From: "bob", To: "all", Message: args[0].Get("message")})
	case portalproto.EventLogout:
		ack(portalproto.AckOK(jsonvalue.Value{})...)
		p.socket.Disconnect()
	}
}

func (p *socketPortal) Closed(string) { p.seen <- "closed" }

func (p *socketPortal) notify(n portalproto.Notification) {
	name, data := n.Encode(portalproto.Receiver{Version: portalproto.V12})
	p.socket.Emit(name, data)
}

// chat writes down what a conference says.
type chat struct {
	client.NoEvents
	seen chan string
}

func (c *chat) ParticipantJoined(p conference.Participant) { c.seen <- "joined " + p.ID }
func (c *chat) Message(from, to string, message jsonvalue.Value) {
	c.seen <- "message " + from + " " + message.String()
}
func (c *chat) State(s client.State) { c.seen <- "state " + string(s.Signaling) }
func (c *chat) Disconnected(err error) {
	if err != nil {
		c.seen <- "disconnected " + err.Error()
	} else {
		c.seen <- "disconnected"
	}
}

// TestOverSocketIO joins, talks and leaves over the wire.
func TestOverSocketIO(t *testing.T) {
	seen := make(chan string, 16)
	server := sioserver.New(sioserver.Options{Accept: func(s *sioserver.Socket) sioserver.Handler { return &socketPortal{s, seen} }})
	web := httptest.NewServer(server)
	defer web.Close()
	defer func() { _ = server.Shutdown(t.Context()) }()
	token := base64.StdEncoding.EncodeToString([]byte(`{"host":"` + strings.TrimPrefix(web.URL, "http://") + `"}`))
	next := func(want string) {
		t.Helper()
		select {
		case got := <-seen:
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%q did not come", want)
		}
	}
	for _, end := range []string{"leave", "lost"} {
		c, err := client.Join(t.Context(), token, client.Options{Events: &chat{seen: seen}})
		if err != nil {
			t.Fatal(err)
		}
		next("state joined")
		next("joined bob")
		if err := c.Send(t.Context(), jsonvalue.Of("hi"), ""); err != nil {
			t.Error(err)
		}
		next(`message bob "hi"`)
		if end == "leave" {
			if err := c.Leave(t.Context()); err != nil {
				t.Error(err)
			}
		} else if err := c.Send(t.Context(), jsonvalue.Of("hang up"), ""); !errors.Is(err, client.ErrLost) && !errors.Is(err, client.ErrEnded) {
			t.Error(err)
		}
		<-c.Done()
		var last []string
		for range 3 { // the server's side closes beside ours
			last = append(last, <-seen)
		}
		text := strings.Join(last, "; ")
		if !strings.Contains(text, "closed") || !strings.Contains(text, "state ended") || end == "leave" == strings.Contains(text, "disconnected ") {
			t.Errorf("%s: %s", end, text)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	web := httptest.NewServer(nil)
	web.Close()
	token := base64.StdEncoding.EncodeToString([]byte(`{"host":"` + strings.TrimPrefix(web.URL, "http://") + `"}`))
	if _, err := client.Join(t.Context(), token, client.Options{}); !errors.Is(err, client.ErrConnect) {
		t.Error(err)
	}
}
