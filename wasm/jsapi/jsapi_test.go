//go:build js && wasm

package jsapi

import (
	"context"
	"errors"
	"strings"
	"syscall/js"
	"testing"

	"go.uber.org/goleak"

	"portico/shared/client"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/wasm/browser/browsertest"
)

// The runtime keeps a goroutine of its own for JavaScript callbacks.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("runtime.handleEvent"))
}

// said is something the program told the page.
type said struct {
	name   string // of an event; "reply" or "failure" for answers
	number int    // of the call or the client
	text   string
	object js.Value
}

// page is the JavaScript side: it calls and keeps what it hears, in order.
type page struct {
	t     *testing.T
	call  js.Value
	heard chan said
	last  int
}

func newPage(t *testing.T, dial client.Dialer) (*page, *api) {
	t.Helper()
	browsertest.Install(t)
	p := &page{t: t, heard: make(chan said, 1000)}
	text := func(v js.Value) string {
		if v.Type() != js.TypeString {
			return ""
		}
		return v.String()
	}
	functions := map[string]js.Func{
		"started": js.FuncOf(func(_ js.Value, args []js.Value) any {
			p.call = args[0]
			if v := args[1].String(); !strings.HasPrefix(v, "go") {
				t.Errorf("version %q", v)
			}
			return nil
		}),
		"reply": js.FuncOf(func(_ js.Value, args []js.Value) any {
			name, object := "reply", js.Undefined()
			if !args[1].Bool() {
				name = "failure"
			}
			if len(args) > 3 {
				object = args[3]
			}
			p.heard <- said{name, args[0].Int(), text(args[2]), object}
			return nil
		}),
		"event": js.FuncOf(func(_ js.Value, args []js.Value) any {
			p.heard <- said{args[1].String(), args[0].Int(), text(args[2]), args[3]}
			return nil
		}),
	}
	slot := js.Global().Get("Object").New()
	for name, f := range functions {
		slot.Set(name, f)
		t.Cleanup(f.Release)
	}
	return p, start(slot, dial)
}

// request calls a method and returns its number.
func (p *page) request(method, text string, object ...any) int {
	p.last++
	p.call.Invoke(append([]any{p.last, method, text}, object...)...)
	return p.last
}

// next is what is told next; connection states are left out.
func (p *page) next() said {
	for {
		if s := <-p.heard; s.name != "connectionstate" {
			return s
		}
	}
}

func (p *page) expect(name string, number int, parts ...string) said {
	p.t.Helper()
	s := p.next()
	if s.name != name || s.number != number {
		p.t.Fatalf("heard %s %d %s, want %s %d", s.name, s.number, s.text, name, number)
	}
	for _, part := range parts {
		if !strings.Contains(s.text, part) {
			p.t.Errorf("%s %d: %s lacks %s", s.name, s.number, s.text, part)
		}
	}
	return s
}

const client1 = `"client":1`

// join brings client 1 into the room and has it leave at the end.
func (p *page) join(portal *portal) {
	p.t.Helper()
	p.expect("reply", p.request("join", `{`+client1+`,"token":"`+token+`"}`))
	if r := portal.next(); r.name != "login" {
		p.t.Fatalf("the portal heard %s first", r.name)
	}
	p.t.Cleanup(func() {
		for n := p.request("leave", `{`+client1+`}`); p.next().number != n; {
		}
	})
}

// room is client 1's.
func (p *page) room(a *api) *participation {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rooms[1]
}

func (p *page) publish() {
	p.t.Helper()
	tracks := js.Global().Get("JSON").Call("parse", `[{"kind":"audio"}]`)
	n := p.request("publish", `{`+client1+`,"tracks":[{"kind":"audio","source":"mic"}],"attributes":{"a":"b"}}`, tracks)
	if pc := p.expect("peerconnection", 1); !pc.object.InstanceOf(js.Global().Get("RTCPeerConnection")) {
		p.t.Errorf("told of %s", pc.object.String())
	}
	p.expect("reply", n, `{"id":"session1"}`)
	p.expect("streamadded", 1, `"id":"session1"`)
}

func TestJoin(t *testing.T) {
	portal := newPortal()
	p, _ := newPage(t, portal.dial)
	n := p.request("join", `{`+client1+`,"token":"`+token+`"}`)
	r := p.expect("reply", n, `"room":"r1"`, `"self":"p1"`, `"views":["common"]`, `{"id":"p2","user":"bo","role":"viewer"}`, `"id":"s1"`)
	if !r.object.IsUndefined() {
		t.Error("join gave an object")
	}
	if got := portal.next().data; got.Get("token").Text() != token || got.Get("protocol").Text() != "1.2" || got.Path("userAgent", "sdk").String() != `{"type":"JavaScript","version":"6.0"}` {
		t.Errorf("login with %s", got)
	}
	p.expect("reply", p.request("leave", `{`+client1+`}`))
	if got := portal.next().name; got != "logout" {
		t.Errorf("leaving said %s", got)
	}
	p.expect("failure", p.request("send", `{`+client1+`,"message":"m"}`), `"code":"invalid-state"`)
}

func TestEventsWaitForTheReplyToJoin(t *testing.T) {
	portal := newPortal()
	portal.before = func(name string) {
		if name == "login" {
			portal.say("participant", parse(`{"action":"join","data":{"id":"p3","user":"cy","role":"viewer"}}`))
		}
	}
	p, _ := newPage(t, portal.dial)
	p.join(portal)
	p.expect("participantjoined", 1, `{"id":"p3","user":"cy","role":"viewer"}`)
}

func TestEvents(t *testing.T) {
	portal := newPortal()
	p, _ := newPage(t, portal.dial)
	p.join(portal)
	for _, c := range []struct{ name, data, event, want string }{
		{"participant", `{"action":"leave","data":"p2"}`, "participantleft", `{"id":"p2"}`},
		{"stream", `{"id":"s1","status":"update","data":{"field":"audio.status","value":"inactive"}}`, "streamupdated", `"status":"inactive"`},
		{"stream", `{"id":"s1","status":"update","data":{"field":"video.layout","value":[{"region":{}}]}}`, "streamupdated", `"field":"video.layout","value":[{"region":{}}]`},
		{"stream", `{"id":"s1","status":"update","data":{"field":".","value":` + stream1 + `}}`, "streamupdated", `"field":"."}`},
		{"stream", `{"id":"s1","status":"remove"}`, "streamremoved", `{"id":"s1"}`},
		{"text", `{"from":"p2","to":"all","message":{"any":["thing",null]}}`, "message", `{"origin":"p2","to":"all","message":{"any":["thing",null]}}`},
	} {
		portal.say(c.name, parse(c.data))
		p.expect(c.event, 1, c.want)
	}
}

func TestPublish(t *testing.T) {
	portal := newPortal()
	p, _ := newPage(t, portal.dial)
	p.join(portal)
	p.publish()
	if got := portal.next(); got.name != "publish" || got.data.Get("attributes").String() != `{"a":"b"}` ||
		got.data.Path("media", "tracks").Index(0).String() != `{"type":"audio","mid":"0","source":"mic"}` {
		t.Errorf("asked for %s %s", got.name, got.data)
	}
	n := p.request("mute", `{`+client1+`,"id":"session1","kind":"av"}`)
	p.expect("reply", n)
	if got := portal.next(); got.name != "stream-control" || got.data.String() != `{"id":"session1","operation":"pause","data":"av"}` {
		t.Errorf("asked for %s %s", got.name, got.data)
	}
	other := js.Global().Get("JSON").Call("parse", `{"kind":"audio","id":"other"}`)
	p.expect("reply", p.request("replace", `{`+client1+`,"id":"session1","kind":"audio"}`, other))
	p.expect("reply", p.request("replace", `{`+client1+`,"id":"session1","kind":"audio"}`, js.Null()))
	p.expect("failure", p.request("replace", `{`+client1+`,"id":"session1","kind":"video"}`, other), `"code":"invalid-argument"`)
	p.expect("failure", p.request("update", `{`+client1+`,"id":"session1","parameters":{"framerate":5}}`), `"code":"invalid-argument"`)
	p.expect("failure", p.request("quality", `{`+client1+`,"id":"session1"}`), `"code":"invalid-argument"`)

	n = p.request("stop", `{`+client1+`,"id":"session1"}`)
	p.expect("sessionended", 1, `{"id":"session1","reason":""}`)
	p.expect("reply", n)
	p.expect("failure", p.request("mute", `{`+client1+`,"id":"session1","kind":"audio"}`), `"code":"session-ended"`)
}

func TestPublishWithoutATrack(t *testing.T) {
	portal := newPortal()
	p, _ := newPage(t, portal.dial)
	p.join(portal)
	p.expect("failure", p.request("publish", `{`+client1+`,"tracks":[{"kind":"audio"}]}`), `"code":"invalid-argument"`)
	p.expect("failure", p.request("publish", `{`+client1+`,"tracks":[]}`, js.Global().Get("Array").New()), `"code":"invalid-argument"`)
}

func TestSubscribe(t *testing.T) {
	portal := newPortal()
	p, _ := newPage(t, portal.dial)
	p.join(portal)
	n := p.request("subscribe", `{`+client1+`,"audio":{"from":"s1"},"video":{"from":"s1","codecs":["vp8"],"parameters":{"resolution":{"width":320,"height":180},"bitrate":"x0.5"}}}`)
	p.expect("peerconnection", 1)
	r := p.expect("reply", n, `{"id":"session1"}`)
	if got := js.Global().Get("JSON").Call("stringify", r.object).String(); !strings.Contains(got, `"kind":"audio","id":"remote0"`) || !strings.Contains(got, `"kind":"video","id":"remote1"`) {
		t.Errorf("tracks %s", got)
	}
	asked := portal.next().data.Path("media", "tracks")
	want := `{"type":"video","mid":"1","from":"s1","parameters":{"resolution":{"width":320,"height":180},"bitrate":"x0.5"}}`
	if got := asked.Index(1).String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	n = p.request("update", `{`+client1+`,"id":"session1","parameters":{"framerate":15}}`)
	p.expect("reply", n)
	if got := portal.next(); got.name != "subscription-control" || !strings.Contains(got.data.String(), `"framerate":15`) {
		t.Errorf("asked for %s %s", got.name, got.data)
	}
	p.expect("reply", p.request("quality", `{`+client1+`,"id":"session1"}`), `{"id":"session1","tracks":[{"reason":"bandwidth"}]}`)
	portal.say("progress", parse(`{"id":"session1","sessionId":"session1","status":"error","data":"Source stream loss"}`))
	p.expect("sessionended", 1, `"reason":"Source stream loss"`)
}

func TestErrors(t *testing.T) {
	portal := newPortal()
	portal.refuse = func(name string) []jsonvalue.Value {
		if name == "login" {
			return refusal("Room is full")
		}
		return nil
	}
	p, _ := newPage(t, portal.dial)
	p.expect("failure", p.request("join", `{`+client1+`,"token":"`+token+`"}`), `{"code":"refused","message":"Room is full"}`)
	p.expect("failure", p.request("join", `{`+client1+`,"token":"no token"}`), `"code":"invalid-token"`)
	p.expect("failure", p.request("join", `not JSON`), `"code":"invalid-argument"`)
	p.expect("failure", p.request("leave", `{"client":7}`), `"code":"invalid-state"`)
	portal.refuse = nil
	p.join(portal)
	p.expect("failure", p.request("dance", `{`+client1+`}`), `"code":"invalid-argument"`, "dance")
}

func TestAbort(t *testing.T) {
	portal := newPortal()
	p, _ := newPage(t, portal.dial)
	p.join(portal)
	n := p.request("send", `{`+client1+`,"message":"hang","to":"all"}`)
	if got := portal.next(); got.data.String() != `{"to":"all","message":"hang"}` {
		t.Errorf("sent %s", got.data)
	}
	p.call.Invoke(n, "abort", "{}")
	p.expect("failure", n, `"code":"aborted"`)
	p.call.Invoke(n, "abort", "{}") // too late, and ignored
	p.expect("reply", p.request("send", `{`+client1+`,"message":"m"}`))
}

func TestDropEndsEverything(t *testing.T) {
	portal := newPortal()
	p, a := newPage(t, portal.dial)
	p.join(portal)
	p.publish()
	n := p.request("send", `{`+client1+`,"message":"hang"}`)
	for portal.next().name != "text" {
	}
	portal.say("drop", jsonvalue.NullValue())
	heard := map[string]said{}
	for range 3 {
		s := p.next()
		heard[s.name] = s
	}
	if s := heard["failure"]; s.number != n {
		t.Errorf("the waiting call: %+v", s)
	}
	if s := heard["sessionended"]; s.text != `{"id":"session1","reason":""}` {
		t.Errorf("the publication: %+v", s)
	}
	if s := heard["disconnected"]; !strings.Contains(s.text, `"code":"dropped"`) {
		t.Errorf("the conference: %+v", s)
	}
	p.expect("failure", p.request("send", `{`+client1+`,"message":"m"}`), `"code":"invalid-state"`)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.rooms) != 0 || len(a.calls) != 0 {
		t.Errorf("%d rooms and %d calls are left", len(a.rooms), len(a.calls))
	}
}

// broken is a session that does not work.
type broken struct{ session }

func (broken) ID() string                                  { return "broken" }
func (broken) Mute(context.Context, conference.Kind) error { panic("no mute today") }

func TestPanicFailsItsCallOnly(t *testing.T) {
	portal := newPortal()
	p, a := newPage(t, portal.dial)
	p.join(portal)
	p.room(a).add(broken{})
	console := js.Global().Get("console")
	original := console.Get("error")
	defer console.Set("error", original)
	complaints := make(chan string, 2)
	record := js.FuncOf(func(_ js.Value, args []js.Value) any { complaints <- args[0].String(); return nil })
	defer record.Release()
	console.Set("error", record)
	p.expect("failure", p.request("mute", `{`+client1+`,"id":"broken","kind":"audio"}`), `"code":"internal"`, "no mute today")
	if got := <-complaints; !strings.Contains(got, "no mute today\n") || !strings.Contains(got, "goroutine") {
		t.Errorf("console said %s", got)
	}
	p.call.Invoke("not a number", "send", "{}")
	if got := <-complaints; !strings.Contains(got, "panic") {
		t.Errorf("console said %s", got)
	}
	p.expect("reply", p.request("send", `{`+client1+`,"message":"m"}`))
}

func TestTwoClients(t *testing.T) {
	first, second := newPortal(), newPortal()
	portals := []*portal{first, second}
	p, _ := newPage(t, func(ctx context.Context, o client.DialOptions) (client.Socket, error) {
		next := portals[0]
		portals = portals[1:]
		return next.dial(ctx, o)
	})
	p.join(first)
	p.expect("reply", p.request("join", `{"client":2,"token":"`+token+`"}`))
	second.say("participant", parse(`{"action":"leave","data":"p2"}`))
	p.expect("participantleft", 2)
	p.expect("reply", p.request("leave", `{"client":2}`))
	first.say("participant", parse(`{"action":"leave","data":"p2"}`))
	p.expect("participantleft", 1)
}

func TestRunNeedsTheLoader(t *testing.T) {
	if err := Run(); !errors.Is(err, errNoSlot) {
		t.Errorf("got %v", err)
	}
}

func TestCollectionsAreGathered(t *testing.T) {
	var c collector
	for range callsPerCollection - 1 {
		c.called()
	}
	if c.pending.Load() {
		t.Error("too early")
	}
	c.called()
	if !c.pending.Load() {
		t.Error("no collection after many calls")
	}
	c.soon()
	c.soon() // one timer is enough
}
