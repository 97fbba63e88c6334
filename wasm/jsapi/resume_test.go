//go:build js && wasm

package jsapi

import (
	"strings"
	"syscall/js"
	"testing"
)

const withTicket = `"reconnectionTicket":"e30=",`

// state is the next connection state that the page is told, and what it was told before it.
func (p *page) state() (state said, before []said) {
	for {
		s := <-p.heard
		if s.name == "connectionstate" {
			return s, before
		}
		before = append(before, s)
	}
}

func TestResume(t *testing.T) {
	portal := newPortal()
	portal.login = strings.Replace(login, "{", "{"+withTicket, 1)
	p, _ := newPage(t, portal.dial)
	p.join(portal)
	if s, _ := p.state(); s.text != `{"signaling":"joined","media":"","self":{"id":"p1","user":"ana","role":"presenter"}}` {
		t.Errorf("joined as %s", s.text)
	}
	portal.lose()
	for _, want := range []string{"reconnecting", "joined"} {
		if s, _ := p.state(); !strings.Contains(s.text, `"signaling":"`+want+`"`) || !strings.Contains(s.text, `"id":"p1"`) {
			t.Errorf("state %s, want %s", s.text, want)
		}
	}
	p.expect("message", 1, `"missed"`)
	if r := portal.next(); r.name != "relogin" || r.data.Text() != "e30=" {
		t.Errorf("heard %s %s", r.name, r.data)
	}
	p.expect("reply", p.request("network", `{`+client1+`}`))
	if r := portal.next(); r.name != "refreshReconnectionTicket" {
		t.Errorf("heard %s", r.name)
	}
	p.expect("reply", p.request("check", `{`+client1+`}`))
}

// TestFreshToken: the page is asked for a token, twice since it has none at first, and told what has become of everything.
func TestFreshToken(t *testing.T) {
	portal := newPortal()
	p, a := newPage(t, portal.dial)
	p.expect("reply", p.request("join", `{`+client1+`,"token":"`+token+`","refreshes":true}`))
	t.Cleanup(func() {
		for n := p.request("leave", `{`+client1+`}`); p.next().number != n; {
		}
	})
	p.publish()
	n := p.request("subscribe", `{`+client1+`,"audio":{"from":"s1"}}`)
	p.expect("reply", n, `{"id":"session2"}`)
	portal.login = strings.ReplaceAll(login, `"p1"`, `"p9"`)
	portal.mu.Lock()
	portal.sessions = 10
	portal.first = "session11"
	portal.mu.Unlock()
	portal.lose()
	p.expect("tokenneeded", 1)
	answer := func(text string) {
		p.request("token", `{`+client1+`,`+text+`}`)
	}
	answer(`"error":"offline"`)
	replies := map[string]bool{"reply": true}
	next := func() said {
		for {
			if s := p.next(); !replies[s.name] {
				return s
			}
		}
	}
	if s := next(); s.name != "tokenneeded" {
		t.Fatalf("heard %s %s", s.name, s.text)
	}
	answer(`"token":"` + token + `"`)
	heard := map[string]said{}
	for len(heard) < 6 {
		s := next()
		heard[s.name+s.text] = s
	}
	for _, want := range []string{
		`participantleft{"id":"p1"}`, `streamremoved{"id":"session1"}`, "peerconnection", `sessionrestored{"old":"session1","id":"session11"}`, `sessionrestored{"old":"session2","id":"session12"}`,
	} {
		if _, ok := heard[want]; !ok {
			t.Errorf("not told %s: %v", want, heard)
		}
	}
	tracks := heard[`sessionrestored{"old":"session2","id":"session12"}`].object
	if got := js.Global().Get("JSON").Call("stringify", tracks).String(); !strings.Contains(got, `"kind":"audio"`) {
		t.Errorf("tracks %s", got)
	}
	if _, err := p.room(a).session("session11"); err != nil {
		t.Error("the publication is not known by its new id")
	}
	if _, err := p.room(a).session("session1"); err == nil {
		t.Error("the publication is known by its old id")
	}
}
