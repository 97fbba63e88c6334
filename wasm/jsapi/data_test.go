//go:build js && wasm

package jsapi

import (
	"encoding/base64"
	"strings"
	"testing"
)

const (
	dataURL   = "https://h/"
	dataToken = "eyJ0cmFuc3BvcnRJZCI6InExIn0=" // of the transport q1
)

// joinWithData is join with a portal that has data streams.
func (p *page) joinWithData(portal *portal) {
	p.t.Helper()
	joinToken := base64.StdEncoding.EncodeToString([]byte(`{"host":"h","webTransportUrl":"` + dataURL + `"}`))
	portal.login = strings.TrimSuffix(login, "}") +
		`,"webTransportToken":"` + dataToken + `","webTransportCertificateHashes":[{"algorithm":"sha-256","value":"aGFzaA=="}]}`
	portal.first = "q1"
	p.expect("reply", p.request("join", `{`+client1+`,"token":"`+joinToken+`"}`))
	portal.next()
	p.t.Cleanup(func() {
		for n := p.request("leave", `{`+client1+`}`); p.next().number != n; {
		}
	})
}

func TestData(t *testing.T) {
	portal := newPortal()
	p, _ := newPage(t, portal.dial)
	p.joinWithData(portal)
	p.expect("failure", p.request("publish", `{`+client1+`,"data":true}`), `"code":"disconnected"`)
	p.expect("reply", p.request("opendata", `{`+client1+`}`),
		`{"url":"`+dataURL+`","token":"`+dataToken+`","certificateHashes":[{"algorithm":"sha-256","value":"aGFzaA=="}]}`)

	n := p.request("publish", `{`+client1+`,"data":true,"key":7,"attributes":{"a":"b"}}`)
	p.expect("dataopened", 1, `{"key":7,"id":"session1"}`)
	if got := portal.next(); got.name != "publish" ||
		got.data.String() != `{"media":null,"attributes":{"a":"b"},"data":true,"transport":{"type":"quic","id":"q1"}}` {
		t.Errorf("asked for %s %s", got.name, got.data)
	}
	portal.say("progress", parse(`{"id":"session1","status":"ready"}`))
	portal.say("stream", parse(`{"id":"session1","status":"add","data":{"id":"session1","type":"forward","media":{"tracks":[]},"data":true,"info":{"owner":"p1","type":"quic","inViews":[]}}}`))
	p.expect("reply", n, `{"id":"session1"}`)
	p.expect("streamadded", 1, `"data":true`)
	p.expect("failure", p.request("mute", `{`+client1+`,"id":"session1","kind":"av"}`), `"code":"invalid-argument"`)

	n = p.request("subscribe", `{`+client1+`,"data":"s9"}`)
	if got := portal.next(); got.name != "subscribe" || got.data.String() != `{"media":null,"data":{"from":"s9"},"transport":{"type":"quic","id":"q1"}}` {
		t.Errorf("asked for %s %s", got.name, got.data)
	}
	portal.say("progress", parse(`{"id":"session2","status":"ready"}`))
	p.expect("reply", n, `{"id":"session2"}`)
	p.ends(p.request("stop", `{`+client1+`,"id":"session2"}`), `{"id":"session2","reason":""}`)
	p.ends(p.request("datalost", `{`+client1+`}`), `{"id":"session1","reason":"data connection lost"}`)
}

// ends expects a call to be answered and a session to end, in any order.
func (p *page) ends(number int, session string) {
	p.t.Helper()
	for range 2 {
		switch s := p.next(); {
		case s.name == "sessionended" && s.text == session:
		case s.name == "reply" && s.number == number:
		default:
			p.t.Errorf("heard %+v", s)
		}
	}
}

func TestNoData(t *testing.T) {
	portal := newPortal()
	p, _ := newPage(t, portal.dial)
	p.join(portal)
	p.expect("failure", p.request("opendata", `{`+client1+`}`), `"code":"unsupported"`)
}
