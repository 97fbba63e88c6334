package sioserver

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/engineio"
	"portico/shared/socketio"
)

func TestPollHoldsUntilHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig(t, Options{}).connected()
		for range 3 {
			start := time.Now()
			if got := p.get(); got != "2" || time.Since(start) != 25*time.Second {
				t.Fatalf("%q after %v", got, time.Since(start))
			}
			p.post("3")
		}
		p.get()
		start := time.Now()
		if got := p.get(); got != "1" || time.Since(start) != 20*time.Second { // no pong
			t.Errorf("%q after %v", got, time.Since(start))
		}
		p.gone()
	})
}

// The deadlines of the HTTP server are meant for ordinary requests and must not end a poll.
func TestDeadlinesOfTheHTTPServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := New(Options{})
		network := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		web := &http.Server{Handler: srv, ReadTimeout: time.Second, WriteTimeout: time.Second, IdleTimeout: time.Minute}
		go web.Serve(network)
		transport := &http.Transport{DialContext: network.dial}
		r := &rig{t: t, server: srv, client: &http.Client{Transport: transport}, pipes: network}
		p := r.connected()
		start := time.Now()
		if got := p.get(); got != "2" || time.Since(start) != 25*time.Second {
			t.Errorf("%q after %v", got, time.Since(start))
		}
		p.post("3")
		s := r.joined()
		if got := s.next(); got != "2" {
			t.Error(got)
		}
		s.CloseNow()
		p.post("1")
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		transport.CloseIdleConnections()
		web.Close()
	})
}

func TestTwoRequestsAtATime(t *testing.T) {
	h := newHandler()
	r := newRig(t, Options{Accept: h.accept})
	p := r.connected()
	held := make(chan string)
	go func() { held <- p.get() }()
	until(r.server.session(p.open.SID).isPolled)
	if a := p.do("GET", p.query, ""); a.status != 400 {
		t.Errorf("the second poll: %+v", a)
	}
	if got := <-held; got != "1" {
		t.Errorf("the first poll: %s", got)
	}
	p.gone()

	p = r.connected()
	body, first := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		req, _ := http.NewRequest("POST", "http://edge/socket.io/?"+p.query, body)
		if res, err := r.client.Do(req); err == nil {
			res.Body.Close()
		}
	}()
	first.Write([]byte("4")) // the server reads the body of the first one
	until(r.server.session(p.open.SID).isFed)
	if a := p.do("POST", p.query, "42[]"); a.status != 400 {
		t.Errorf("the second POST: %+v", a)
	}
	first.Close()
	<-done
	p.gone()
	for range 2 {
		if reason := <-h.closed; reason != ReasonTransportError {
			t.Error(reason)
		}
	}
}

// until waits for something inside a session that sends no event.
func until(happened func() bool) {
	for !happened() {
		runtime.Gosched()
	}
}

func (s *session) isFed() bool { return len(s.feed) > 0 }

func (s *session) isPolled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.polled
}

func TestCancelledPollEndsTheSession(t *testing.T) {
	h := newHandler()
	r := newRig(t, Options{Accept: h.accept})
	p := r.connected()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://edge/socket.io/?"+p.query, nil)
		if res, err := r.client.Do(req); err == nil {
			res.Body.Close()
			t.Error("the poll was answered")
		}
	}()
	until(r.server.session(p.open.SID).isPolled)
	cancel()
	<-ended
	if reason := <-h.closed; reason != ReasonTransportClose {
		t.Error(reason)
	}
	p.gone()
}

func TestClosePacket(t *testing.T) {
	h := newHandler()
	r := newRig(t, Options{Accept: h.accept})
	for _, c := range []struct{ eio, one, six string }{{"4", "1", "6"}, {"3", "1:1", "1:6"}} {
		p := r.poll(c.eio)
		if c.eio == "4" {
			p.post("40")
		}
		p.get()
		held := make(chan string)
		go func() { held <- p.get() }()
		until(r.server.session(p.open.SID).isPolled)
		p.post(c.one)
		if got := <-held; got != c.six {
			t.Errorf("the held poll got %q", got)
		}
		p.gone()
		s := r.websocket("EIO=" + c.eio + "&transport=websocket")
		s.send("1")
		s.closed()
	}
	for range 3 { // the WebSocket of revision 4 had no Socket
		if reason := <-h.closed; reason != ReasonTransportClose {
			t.Error(reason)
		}
	}
}

func TestMaxPayload(t *testing.T) {
	h := newHandler()
	r := newRig(t, Options{Accept: h.accept, MaxPayload: 1000})
	fits := `42["echo","` + strings.Repeat("x", 1000-13) + `"]`
	p := r.connected()
	p.post(fits)
	if got := p.get(); got != fits {
		t.Errorf("%d bytes came back", len(got))
	}
	if a := p.do("POST", p.query, fits+" "); a.status != 413 || a.body != "" {
		t.Errorf("%+v", a)
	}
	unannounced, err := http.NewRequest("POST", "http://edge/socket.io/?"+p.query, io.MultiReader(strings.NewReader(fits), strings.NewReader(" ")))
	if err != nil {
		t.Fatal(err)
	}
	if res, err := r.client.Do(unannounced); err != nil || res.StatusCode != 413 {
		t.Errorf("%v, %v", res, err)
	} else {
		res.Body.Close()
	}
	p.post(`42["echo"]`) // the session goes on
	if got := p.get(); got != `42["echo"]` {
		t.Error(got)
	}
	s := r.joined()
	s.send(fits)
	if got := s.next(); got != fits {
		t.Errorf("%d bytes came back", len(got))
	}
	s.send(fits + " ")
	if _, err := s.ReadText(t.Context()); err == nil || !strings.Contains(err.Error(), "1009") {
		t.Error(err)
	}
	if reason := <-h.closed; reason != ReasonTooLong {
		t.Error(reason)
	}
}

// A client that sends its body drop by drop is cut when its heartbeat would be.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler()
		r := newRig(t, Options{Accept: h.accept})
		p := r.connected()
		raw, err := r.pipes.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		start := time.Now()
		io.WriteString(raw, "POST /socket.io/?"+p.query+" HTTP/1.1\r\nHost: edge\r\nContent-Length: 100\r\n\r\n42[")
		answer, err := http.ReadResponse(bufio.NewReader(raw), nil)
		if err != nil || answer.StatusCode != 400 || time.Since(start) != 20*time.Second {
			t.Errorf("%v, %v after %v", answer, err, time.Since(start))
		}
		if reason := <-h.closed; reason != ReasonTransportError {
			t.Error(reason)
		}
		p.gone()
	})
}

func TestContentTypes(t *testing.T) {
	h := newHandler()
	r := newRig(t, Options{Accept: h.accept})
	p := r.connected()
	if a := p.do("POST", p.query, `42["x"]`, "Content-Type", "application/octet-stream"); a.status != 400 {
		t.Errorf("%+v", a)
	}
	p.gone()
	p = r.poll("3")
	p.get()
	body := "\x00\x01\x01\xff420[\"echo\"]\x00\x01\xff2" // "420[…" is 11 bytes
	if a := p.do("POST", p.query, body, "Content-Type", "application/octet-stream"); a.status != 200 {
		t.Errorf("%+v", a)
	}
	if got := p.get(); got != "1:35:430[]" && got != "5:430[]1:3" {
		t.Errorf("got %q", got)
	}
	if a := p.do("DELETE", p.query, ""); a.status != 400 {
		t.Errorf("%+v", a)
	}
}

func TestConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		s := r.websocket("EIO=4&transport=websocket")
		s.next()
		start := time.Now()
		s.next() // the first ping, at 25 s
		s.send("3")
		if got := s.closed(); got != nil || time.Since(start) != 45*time.Second {
			t.Errorf("%q after %v", got, time.Since(start))
		}
		if n := r.server.Stats().Closed[ReasonConnectTimeout]; n != 1 {
			t.Errorf("counted %d", n)
		}
	})
}

func TestUpgradeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler()
		r := newRig(t, Options{Accept: h.accept})
		p := r.connected()
		query := strings.Replace(p.query, "polling", "websocket", 1)
		s := r.websocket(query)
		s.send("2probe")
		s.next()
		if second := r.websocket(query).closed(); second != nil {
			t.Errorf("a second probe got %q", second)
		}
		start := time.Now()
		if got := s.closed(); got != nil || time.Since(start) > 10*time.Second || time.Since(start) < 8*time.Second {
			t.Errorf("%q after %v", got, time.Since(start))
		}
		p.post(`420["echo"]`) // still polling
		if got := p.get(); got != "430[]" {
			t.Error(got)
		}
		for _, wrong := range []string{"2", `42["x"]`, "9", "2probes"} {
			s = r.websocket(query)
			s.send(wrong)
			s.closed()
		}
		s = r.websocket(query)
		s.send("2probe")
		s.next()
		s.CloseNow()
		p.post(`421["echo"]`)
		if got := p.get(); got != "431[]" && got != "6" {
			t.Error(got)
		}
		if len(h.closed) != 0 {
			t.Error(<-h.closed)
		}
	})
}

// While it is being probed, a client that goes on polling is answered ten times a second, not in a spin.
func TestPaceOfNoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connected()
		s := r.websocket(strings.Replace(p.query, "polling", "websocket", 1))
		s.send("2probe")
		s.next()
		start := time.Now()
		for range 11 {
			if got := p.get(); got != "6" {
				t.Fatal(got)
			}
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
		s.send("5")
	})
}

// A POST that is still being served when the WebSocket takes over comes first, as it was sent first.
func TestPostBeforeUpgrade(t *testing.T) {
	h := newHandler()
	r := newRig(t, Options{Accept: h.accept})
	p := r.connected()
	body, writer := io.Pipe()
	posted := make(chan struct{})
	go func() {
		defer close(posted)
		req, _ := http.NewRequest("POST", "http://edge/socket.io/?"+p.query, body)
		if res, err := r.client.Do(req); err != nil || res.StatusCode != 200 {
			t.Errorf("%v, %v", res, err)
		} else {
			res.Body.Close()
		}
	}()
	writer.Write([]byte(`42["fir`))
	until(r.server.session(p.open.SID).isFed)
	s := r.websocket(strings.Replace(p.query, "polling", "websocket", 1))
	s.send("2probe")
	s.next()
	s.send("5")
	sent := make(chan struct{})
	go func() {
		s.send(`42["second"]`) // taken when the POST is through
		close(sent)
	}()
	until(r.server.session(p.open.SID).overWebSocket)
	writer.Write([]byte(`st"]`))
	writer.Close()
	<-posted
	<-sent
	if a, b := <-h.events, <-h.events; a.name != "first" || b.name != "second" {
		t.Errorf("%s before %s", a.name, b.name)
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte("40\x1e420[\"echo\",1]\x1e41\x1e40\x1e3"), true)
	f.Add([]byte(`32:420["refreshReconnectionTicket"]13:421["logout"]1:2`), false)
	f.Add([]byte("40/admin,\x1e42/admin,[\"x\"]"), true)
	f.Fuzz(func(t *testing.T, payload []byte, four bool) {
		h := newHandler()
		srv := New(Options{Accept: h.accept})
		rev := engineio.Revision3
		if four {
			rev = engineio.Revision4
		}
		s, why := srv.open(rev, false, Request{})
		if why != nil {
			t.Fatal(why)
		}
		s.connect()
		for p, err := range rev.Packets(payload) {
			if err != nil {
				break
			}
			s.receive(p)
		}
		s.settle()
		packets, _ := s.takePoll(time.Now())
		for _, p := range packets {
			e, err := rev.DecodePacket(p)
			if err != nil {
				t.Fatalf("sent %q: %v", p, err)
			}
			if e.Type == engineio.TypeMessage {
				if _, _, err := socketio.Decode(e.Data, socketio.Limits{}); err != nil && !strings.HasPrefix(string(e.Data), "3") {
					t.Fatalf("sent %q: %v", e.Data, err)
				}
			}
		}
		s.shut(ReasonTransportClose, atOnce)
		if err := srv.Shutdown(context.Background()); err != nil || len(h.closed) != len(h.sockets) {
			t.Fatalf("%v; %d accepted, %d closed", err, len(h.sockets), len(h.closed))
		}
	})
}

func TestPollingOverHTTP2(t *testing.T) {
	srv := New(Options{Accept: newHandler().accept})
	web := httptest.NewUnstartedServer(srv)
	web.EnableHTTP2 = true
	web.StartTLS()
	defer web.Close()
	do := func(method, query, body string) string {
		t.Helper()
		req, _ := http.NewRequest(method, web.URL+"/socket.io/?"+query, strings.NewReader(body))
		res, err := web.Client().Do(req)
		if err != nil || res.ProtoMajor != 2 || res.StatusCode != 200 {
			t.Fatalf("%+v, %v", res, err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return string(text)
	}
	open, err := engineio.ParseOpen([]byte(do("GET", "EIO=4&transport=polling", ""))[1:])
	if err != nil {
		t.Fatal(err)
	}
	query := "EIO=4&transport=polling&sid=" + open.SID
	do("POST", query, "40\x1e420[\"echo\",1]")
	if got := do("GET", query, ""); !strings.HasSuffix(got, "\x1e430[1]") {
		t.Error(got)
	}
	do("POST", query, "1")
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
