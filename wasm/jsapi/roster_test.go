//go:build js && wasm

package jsapi

import (
	"strings"
	"testing"
)

// TestThinRoster: the page's wish reaches the portal, and its word the page, before whom it is about.
func TestThinRoster(t *testing.T) {
	portal := newPortal()
	portal.login = strings.Replace(login, "{", `{"count":502,"thin":true,`, 1)
	p, _ := newPage(t, portal.dial)
	p.expect("reply", p.request("join", `{`+client1+`,"token":"`+token+`","thin":true}`), `"count":502,"thin":true`)
	t.Cleanup(func() {
		for n := p.request("leave", `{`+client1+`}`); p.next().number != n; {
		}
	})
	if r := portal.next(); r.name != "login" || !r.data.Get("thin").Bool() {
		t.Errorf("heard %s %s", r.name, r.data)
	}
	portal.say("roster", parse(`{"count":503,"thin":true}`))
	portal.say("participant", parse(`{"action":"join","data":{"id":"p3","user":"cy","role":"viewer"}}`))
	portal.say("roster", parse(`{"count":3,"thin":false}`))
	p.expect("rosterchanged", 1, `{"count":503,"thin":true}`)
	p.expect("participantjoined", 1)
	p.expect("rosterchanged", 1, `{"count":3,"thin":false}`)
}
