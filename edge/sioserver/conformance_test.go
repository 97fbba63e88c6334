package sioserver

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The cases of portal protocol A.1. T-15 is the portal's.

func TestT_01_HandshakeOfRevision4(t *testing.T) {
	a := newRig(t, Options{}).do("GET", "EIO=4&transport=polling", "")
	if a.status != 200 || a.header.Get("Content-Type") != "text/plain; charset=UTF-8" {
		t.Errorf("%+v", a)
	}
	sid := strings.TrimSuffix(strings.TrimPrefix(a.body, `0{"sid":"`), `","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`)
	if len(sid) != 20 || strings.Trim(sid, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		t.Errorf("body %s", a.body)
	}
}

func TestT_02_HandshakeOfRevision3(t *testing.T) {
	p := newRig(t, Options{}).poll("3")
	if len(p.open.Upgrades) != 1 || p.open.MaxPayload != 1_000_000 {
		t.Errorf("%+v", p.open)
	}
	if got := p.get(); got != "2:40" {
		t.Errorf("got %q", got)
	}
}

func TestT_03_ClientConnectsInRevision4(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newRig(t, Options{}).websocket("EIO=4&transport=websocket")
		open := s.next()
		got := make(chan string, 1)
		go func() { got <- s.next() }()
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if len(got) > 0 {
			t.Fatalf("unasked: %s", <-got)
		}
		s.send("40")
		answer := <-got
		if !strings.HasPrefix(open, `0{"sid":"`) || !strings.HasPrefix(answer, `40{"sid":"`) || answer[10:30] == open[9:29] {
			t.Errorf("%s and %s", open, answer)
		}
	})
}

func TestT_04_ServerConnectsInRevision3(t *testing.T) {
	h := newHandler()
	s := newRig(t, Options{Accept: h.accept}).websocket("EIO=3&transport=websocket")
	open := s.next()
	if !strings.Contains(open, `"upgrades":[]`) {
		t.Error(open)
	}
	if got := s.next(); got != "40" {
		t.Error(got)
	}
	if id := (<-h.sockets).ID(); !strings.Contains(open, `"sid":"`+id+`"`) {
		t.Errorf("socket %s, but %s", id, open)
	}
}

func TestT_05_Upgrade(t *testing.T) {
	for _, c := range []struct{ eio, noop string }{{"4", "6"}, {"3", "1:6"}} {
		t.Run("EIO"+c.eio, func(t *testing.T) {
			h := newHandler()
			r := newRig(t, Options{Accept: h.accept})
			p := r.poll(c.eio)
			if c.eio == "4" {
				p.post("40")
			}
			p.get()
			held := make(chan string)
			go func() { held <- p.get() }()
			s := r.websocket(strings.Replace(p.query, "polling", "websocket", 1))
			s.send("2probe")
			if got := s.next(); got != "3probe" {
				t.Fatal(got)
			}
			if got := <-held; got != c.noop {
				t.Fatalf("the held poll got %q", got)
			}
			s.send("5", `420["echo","over websocket"]`)
			if got := s.next(); got != `430["over websocket"]` {
				t.Error(got)
			}
			if a := r.do("GET", p.query, ""); a.status != 400 || a.body != `{"code":3,"message":"Bad request"}` {
				t.Errorf("polling after the upgrade: %+v", a)
			}
			if r.server.Stats().Upgraded != 1 {
				t.Error("not counted")
			}
		})
	}
}

func TestT_06_ServerPingsInRevision4(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler()
		s := newRig(t, Options{PingInterval: time.Second, PingTimeout: time.Second, Accept: h.accept}).joined()
		start := time.Now()
		if got := s.next(); got != "2" || time.Since(start) != time.Second {
			t.Fatalf("%s after %v", got, time.Since(start))
		}
		if reason := <-h.closed; reason != ReasonPingTimeout || time.Since(start) != 2*time.Second {
			t.Errorf("%s after %v", reason, time.Since(start))
		}
		if got := s.closed(); got != nil {
			t.Errorf("then %q", got)
		}
	})
}

func TestT_07_ClientPingsInRevision3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler()
		s := newRig(t, Options{PingInterval: time.Second, PingTimeout: time.Second, Accept: h.accept}).websocket("EIO=3&transport=websocket")
		s.next()
		s.next()
		for range 10 {
			time.Sleep(500 * time.Millisecond)
			s.send("2")
			if got := s.next(); got != "3" {
				t.Fatal(got)
			}
		}
		start := time.Now()
		if got := s.closed(); got != nil || time.Since(start) != 2*time.Second {
			t.Errorf("%q after %v of silence", got, time.Since(start))
		}
		if reason := <-h.closed; reason != ReasonPingTimeout {
			t.Error(reason)
		}
	})
}

func TestT_08_PingInTheWrongDirection(t *testing.T) {
	h := newHandler()
	r := newRig(t, Options{Accept: h.accept})
	s := r.joined()
	s.send("2")
	if got := s.closed(); got != nil {
		t.Errorf("got %q", got)
	}
	if reason := <-h.closed; reason != ReasonTransportError {
		t.Error(reason)
	}
	three := r.websocket("EIO=3&transport=websocket")
	three.send("3")
	three.closed()
	p := r.connected()
	p.post("2")
	p.gone()
}

func TestT_09_PollingPayloadOfRevision4(t *testing.T) {
	p := newRig(t, Options{Accept: newHandler().accept}).connected()
	p.post("420[\"refreshReconnectionTicket\"]\x1e421[\"logout\"]")
	want := "430[\"error\",\"Illegal request\"]\x1e431[\"error\",\"Illegal request\"]"
	if got := p.get(); got != want {
		t.Errorf("got %q", got)
	}
}

func TestT_10_PollingPayloadOfRevision3(t *testing.T) {
	p := newRig(t, Options{Accept: newHandler().accept}).poll("3")
	p.get()
	p.post(`32:420["refreshReconnectionTicket"]13:421["logout"]`)
	want := `30:430["error","Illegal request"]30:431["error","Illegal request"]`
	if got := p.get(); got != want {
		t.Errorf("got %q", got)
	}
}

func TestT_11_RefusedRequests(t *testing.T) {
	r := newRig(t, Options{})
	for _, c := range []struct {
		method, query string
		status        int
		body          string
	}{
		{"GET", "EIO=4", 400, `{"code":0,"message":"Transport unknown"}`},
		{"GET", "EIO=4&transport=webtransport", 400, `{"code":0,"message":"Transport unknown"}`},
		{"GET", "EIO=4&transport=polling&sid=zzz", 400, `{"code":1,"message":"Session ID unknown"}`},
		{"POST", "EIO=4&transport=polling&sid=zzz", 400, `{"code":1,"message":"Session ID unknown"}`},
		{"POST", "EIO=4&transport=polling", 400, `{"code":2,"message":"Bad handshake method"}`},
		{"PUT", "EIO=4&transport=polling", 400, `{"code":2,"message":"Bad handshake method"}`},
		{"GET", "EIO=4&transport=websocket", 400, `{"code":3,"message":"Bad request"}`},
	} {
		a := r.do(c.method, c.query, "")
		if a.status != c.status || a.body != c.body || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %+v", c.method, c.query, a)
		}
	}
	for _, query := range []string{"EIO=4&transport=websocket&sid=zzz", "EIO=4&transport=polling", "EIO=4"} {
		if _, err := r.dial(query); err == nil || !strings.Contains(err.Error(), "got 400") {
			t.Errorf("websocket with %s: %v", query, err)
		}
	}
	if refused := r.server.Stats().Refused; refused["Session ID unknown"] != 3 || refused["Bad handshake method"] != 2 {
		t.Errorf("counted %v", refused)
	}
}

func TestT_12_OtherNamespace(t *testing.T) {
	r := newRig(t, Options{Accept: newHandler().accept})
	s := r.joined()
	s.send("40/admin,", `420["echo","still here"]`)
	if got := s.next(); got != `44/admin,{"message":"Invalid namespace"}` {
		t.Error(got)
	}
	if got := s.next(); got != `430["still here"]` {
		t.Error(got)
	}
	three := r.websocket("EIO=3&transport=websocket")
	three.next()
	three.next()
	three.send("40/admin?token=1,", `420["echo",1]`)
	if got := three.next(); got != `44/admin,{"message":"Invalid namespace"}` {
		t.Error(got)
	}
	if got := three.next(); got != `430[1]` {
		t.Error(got)
	}
}

func TestT_13_Garbage(t *testing.T) {
	r := newRig(t, Options{Accept: newHandler().accept})
	neighbour := r.joined()
	for _, garbage := range []string{`42["x`, `42{}`, `4`, `9`, `abc`, ``, `451-["x",{"_placeholder":true,"num":0}]`, `bAQID`, `42["disconnect"]`, `44{}`, `40`, `40[]`,
		`42/admin,["x"]`, `41/admin,`, `1`, "42[\"\xff", `42` + strings.Repeat("[", 70) + strings.Repeat("]", 70)} {
		s := r.joined()
		s.send(garbage)
		if got := s.closed(); got != nil {
			t.Errorf("%.40q: got %q", garbage, got)
		}
		p := r.connected()
		a := p.do("POST", p.query, garbage)
		if a.status != 200 && a.status != 400 {
			t.Errorf("%.40q: POST got %+v", garbage, a)
		}
		if a := p.do("GET", p.query, ""); a.status == 200 && a.body != "1" && a.body != "6" {
			t.Errorf("%.40q: GET got %+v", garbage, a)
		}
		p.gone()
	}
	neighbour.send(`42`, `42[1,{}]`, `421[7]`, `43`, `439["x"]`, `0`, `5`, `6`, `420["echo","unharmed"]`) // all ignored but the last
	if got := neighbour.next(); got != `430["unharmed"]` {
		t.Error(got)
	}
}

func TestT_14_Origins(t *testing.T) {
	r := newRig(t, Options{Origins: []string{"http://ok"}})
	const query = "EIO=4&transport=polling"
	a := r.do("GET", query, "", "Origin", "http://ok")
	if a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "http://ok" || a.header.Get("Access-Control-Allow-Credentials") != "true" || a.header.Get("Vary") != "Origin" {
		t.Errorf("allowed: %+v", a)
	}
	for _, method := range []string{"GET", "OPTIONS"} {
		a = r.do(method, query, "", "Origin", "http://bad")
		if a.status != 400 || a.body != `{"code":3,"message":"Bad request"}` || a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("forbidden: %+v", a)
		}
	}
	if a = r.do("GET", query, ""); a.status != 200 {
		t.Errorf("without Origin: %+v", a)
	}
	if a = r.do("GET", query, "", "Origin", "http://edge"); a.status != 200 {
		t.Errorf("a page of this server: %+v", a)
	}
	if a = r.do("GET", "EIO=4", "", "Origin", "http://ok"); a.status != 400 || a.header.Get("Access-Control-Allow-Origin") != "http://ok" {
		t.Errorf("the page may read why it was refused: %+v", a)
	}
	a = r.do("OPTIONS", query+"&sid=zzz", "", "Origin", "http://ok", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type, x-a")
	if a.status != 204 || a.header.Get("Access-Control-Allow-Methods") != "GET,HEAD,PUT,PATCH,POST,DELETE" || a.header.Get("Access-Control-Allow-Headers") != "content-type, x-a" ||
		a.header.Get("Access-Control-Allow-Origin") != "http://ok" || a.header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("preflight: %+v", a)
	}
	some := newRig(t, Options{Origins: []string{"http://ok"}, Allow: func(origin string) bool { return origin == "http://other:8080" }})
	for origin, want := range map[string]int{"http://other:8080": 200, "http://ok": 200, "http://edge": 200, "http://other": 400, "null": 400} {
		a = some.do("GET", query, "", "Origin", origin)
		if allowed := a.header.Get("Access-Control-Allow-Origin") == origin; a.status != want || allowed != (want == 200) {
			t.Errorf("%s: %+v", origin, a)
		}
	}
	all := newRig(t, Options{Origins: []string{"*"}})
	if a = all.do("GET", query, "", "Origin", "http://bad"); a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "http://bad" {
		t.Errorf("all origins: %+v", a)
	}
}
