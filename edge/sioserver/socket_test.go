package sioserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/jsonvalue"
)

func TestAckCountsOnceAndFromAnywhere(t *testing.T) {
	h := newHandler()
	r := newRig(t, Options{Accept: h.accept})
	s := r.joined()
	s.send(`427["ask",{"a":1},null]`, `42["tell"]`)
	ask, tell := <-h.events, <-h.events
	if ask.name != "ask" || len(ask.args) != 2 || ask.args[0].String() != `{"a":1}` || tell.name != "tell" || tell.ack != nil {
		t.Fatalf("%+v, %+v", ask, tell)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { ask.ack(jsonvalue.Of("ok"), jsonvalue.OfInt(1)) })
	}
	wg.Wait()
	(<-h.sockets).Emit("end")
	if got := s.next(); got != `437["ok",1]` {
		t.Error(got)
	}
	if got := s.next(); got != `42["end"]` {
		t.Errorf("the ack was sent again: %s", got)
	}
	s.send(`428["ask"]`)
	late := <-h.events
	s.Close()
	<-h.closed
	late.ack(jsonvalue.Of("nobody hears this"))
}

func TestDisconnectComesLast(t *testing.T) {
	h := newHandler()
	r := newRig(t, Options{Accept: h.accept})
	p := r.connected()
	p.post("420[\"echo\"]\x1e42[\"leave\"]\x1e42[\"dropped\"]\x1e421[\"echo\"]")
	if got := p.get(); got != "430[]\x1e42[\"drop\",null]\x1e41" {
		t.Errorf("got %q", got)
	}
	if reason := <-h.closed; reason != ReasonServerDisconnect {
		t.Error(reason)
	}
	old := <-h.sockets
	old.Emit("too late")
	old.Disconnect()
	old.Close()
	p.post("40") // the session has stayed open
	if got := p.get(); !strings.HasPrefix(got, `40{"sid":"`) || strings.Contains(got, old.ID()) {
		t.Errorf("second connect: %s", got)
	}
	p.post(`42["hello"]`)
	if e := <-h.events; e.name != "hello" {
		t.Errorf("events after Disconnect were delivered: %+v", e)
	}
	p.post("41")
	if reason := <-h.closed; reason != ReasonClientDisconnect {
		t.Error(reason)
	}
	p.post(`42["hello"]`) // not connected any more
	if got := p.get(); got != "1" {
		t.Errorf("got %q", got)
	}
	p.gone()
	if len(h.events)+len(h.closed) != 0 {
		t.Error("more calls than there should be")
	}
}

func TestCloseSendsWhatWaits(t *testing.T) {
	h := newHandler()
	r := newRig(t, Options{Accept: h.accept})
	p, s := r.connected(), r.joined()
	for range 2 {
		socket := <-h.sockets
		socket.Emit("bye", jsonvalue.Of("x"))
		socket.Close()
		socket.Emit("too late")
		if reason := <-h.closed; reason != ReasonServerClose {
			t.Error(reason)
		}
	}
	p.post(`42["nobody"]`) // is not refused, so that the client goes on to its next poll
	if got := p.get(); got != "42[\"bye\",\"x\"]\x1e1" {
		t.Errorf("polling got %q", got)
	}
	p.gone()
	if got := s.closed(); len(got) != 1 || got[0] != `42["bye","x"]` {
		t.Errorf("websocket got %q", got)
	}
	if n := r.server.Len(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

func TestEventsBeforeTheLossAreDelivered(t *testing.T) {
	gate := make(chan struct{})
	h := newHandler()
	r := newRig(t, Options{Accept: func(s *Socket) Handler {
		<-gate
		return h.accept(s)
	}})
	s := r.joined()
	for i := range 100 {
		s.send(fmt.Sprintf(`42["event",%d]`, i))
	}
	s.send("1")
	s.closed()
	close(gate)
	reason := <-h.closed
	if reason != ReasonTransportClose || len(h.events) != 100 {
		t.Fatalf("%s after %d events", reason, len(h.events))
	}
	for i := range 100 {
		if e := <-h.events; e.args[0].String() != fmt.Sprint(i) {
			t.Fatalf("event %d is %v", i, e.args)
		}
	}
}

func TestFullQueueCutsItsClientOnly(t *testing.T) {
	for name, limit := range map[string]Queue{"packets": {Packets: 10}, "bytes": {Bytes: 1000}} {
		t.Run(name, func(t *testing.T) {
			h := newHandler()
			r := newRig(t, Options{Accept: h.accept, MaxQueue: limit})
			slow := r.connected()
			socket := <-h.sockets
			neighbour := r.joined()
			for range 100 {
				socket.Emit("news", jsonvalue.Of(strings.Repeat("x", 100)))
			}
			if reason := <-h.closed; reason != ReasonQueueFull {
				t.Error(reason)
			}
			slow.gone()
			neighbour.send(`420["echo"]`)
			if got := neighbour.next(); got != "430[]" {
				t.Error(got)
			}
			if n := r.server.Stats().Closed[ReasonQueueFull]; n != 1 {
				t.Errorf("counted %d", n)
			}
		})
	}
}

func TestOneLongPacketPassesTheQueue(t *testing.T) {
	h := newHandler()
	s := newRig(t, Options{Accept: h.accept, MaxQueue: Queue{Bytes: 1000}}).joined()
	long := strings.Repeat("x", 10_000)
	(<-h.sockets).Send(Prepare("long", jsonvalue.Of(long)))
	if got := s.next(); got != `42["long","`+long+`"]` {
		t.Errorf("%d bytes", len(got))
	}
}

// A WebSocket client that does not read is cut, and its writer does not outlive it.
func TestFullQueueOfWebSocket(t *testing.T) {
	h := newHandler()
	r := newRig(t, Options{Accept: h.accept, MaxQueue: Queue{Packets: 10}})
	r.joined()
	socket := <-h.sockets
	for len(h.closed) == 0 {
		socket.Emit("news", jsonvalue.Of(strings.Repeat("x", 10_000)))
	}
	if reason := <-h.closed; reason != ReasonQueueFull {
		t.Error(reason)
	}
}

func TestSlowHandlerHoldsUpItsClientOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler()
		gate := make(chan struct{})
		first := true
		r := newRig(t, Options{Accept: func(s *Socket) Handler {
			if first {
				first = false
				return &slow{h.accept(s), gate}
			}
			return h.accept(s)
		}})
		p := r.connected()
		body := strings.Repeat("42[\"event\"]\x1e", 1000)
		posted := make(chan struct{})
		go func() {
			p.post(strings.TrimSuffix(body, "\x1e"))
			close(posted)
		}()
		synctest.Wait()
		select {
		case <-posted:
			t.Error("1,000 events were taken from a client whose handler takes none")
		default:
		}
		neighbour := r.joined()
		neighbour.send(`420["echo"]`)
		if got := neighbour.next(); got != "430[]" {
			t.Error(got)
		}
		close(gate)
		<-posted
		synctest.Wait()
		if len(h.events) != 1000 {
			t.Errorf("%d events", len(h.events))
		}
	})
}

type slow struct {
	Handler
	gate chan struct{}
}

func (s *slow) Event(name string, args []jsonvalue.Value, ack Ack) {
	<-s.gate
	s.Handler.Event(name, args, ack)
}

func TestPanicCostsOneClient(t *testing.T) {
	h := newHandler()
	r := newRig(t, Options{Accept: func(s *Socket) Handler { return &faulty{h.accept(s)} }})
	s := r.joined()
	s.send(`42["fault"]`)
	s.closed()
	if reason := <-h.closed; reason != ReasonHandlerPanic || len(h.events) != 0 {
		t.Error(reason)
	}
	s = r.joined()
	s.send(`420["echo"]`)
	if got := s.next(); got != "430[]" {
		t.Error(got)
	}
}

type faulty struct{ Handler }

func (f *faulty) Event(name string, args []jsonvalue.Value, ack Ack) {
	if name == "fault" {
		panic("a fault in the application")
	}
	f.Handler.Event(name, args, ack)
}

func TestNilHandlerDisconnects(t *testing.T) {
	r := newRig(t, Options{Accept: func(*Socket) Handler { return nil }})
	s := r.joined()
	if got := s.next(); got != "41" {
		t.Error(got)
	}
	quiet := newRig(t, Options{}).joined() // no Accept at all
	quiet.send(`420["anything"]`, "40/x,")
	if got := quiet.next(); !strings.HasPrefix(got, "44/x,") {
		t.Error(got)
	}
}

func TestRequestIsTold(t *testing.T) {
	h := newHandler()
	r := newRig(t, Options{Accept: h.accept, Origins: []string{"*"}})
	a := r.do("GET", "EIO=3&transport=polling", "", "Origin", "https://page", "User-Agent", strings.Repeat("u", 1000), "X-Forwarded-For", "192.0.2.7")
	s := <-h.sockets
	q := s.Request()
	if a.status != 200 || q.Origin != "https://page" || len(q.UserAgent) != maxRequestText || q.ForwardedFor != "192.0.2.7" || q.Host != "edge" || s.Secure() || s.RemoteAddr() != "pipe" {
		t.Errorf("%+v", q)
	}
}

func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler()
		r := newRig(t, Options{Accept: h.accept})
		p, s, absent := r.connected(), r.joined(), r.connected()
		for range 3 {
			(<-h.sockets).Emit("drop", jsonvalue.NullValue())
		}
		if got := s.next(); got != `42["drop",null]` {
			t.Error(got)
		}
		done := make(chan error)
		go func() { done <- r.server.Shutdown(context.Background()) }()
		if got := s.closed(); got != nil {
			t.Errorf("websocket got %q", got)
		}
		synctest.Wait()
		a := r.do("GET", "EIO=4&transport=polling", "")
		if a.status != 503 || !strings.Contains(a.body, "shutting down") {
			t.Errorf("a new handshake: %+v", a)
		}
		if got := p.get(); got != "42[\"drop\",null]\x1e1" {
			t.Errorf("polling got %q", got)
		}
		start := time.Now()
		if err := <-done; err != nil || time.Since(start) != 10*time.Second { // the client that never came back
			t.Errorf("%v after %v", err, time.Since(start))
		}
		absent.gone()
		for range 3 {
			if reason := <-h.closed; reason != ReasonShutdown {
				t.Error(reason)
			}
		}
		if err := r.server.Shutdown(context.Background()); err != nil || r.server.Len() != 0 {
			t.Errorf("again: %v, %d sessions", err, r.server.Len())
		}
	})
}

func TestShutdownByDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler()
		gate := make(chan struct{})
		r := newRig(t, Options{Accept: func(s *Socket) Handler { return &slow{h.accept(s), gate} }})
		r.connected()
		r.joined()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := r.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrIncomplete) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if r.server.Len() != 0 {
			t.Error("sessions are left")
		}
	})
}

func TestShutdownTellsOfAStuckHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler()
		gate := make(chan struct{})
		r := newRig(t, Options{Accept: func(s *Socket) Handler { return &slow{h.accept(s), gate} }})
		s := r.joined()
		s.send(`42["event"]`)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.server.Shutdown(ctx); !errors.Is(err, ErrIncomplete) {
			t.Error(err)
		}
		close(gate)
		<-h.closed
	})
}

// Every handshake either is refused or ends with the server, however the two meet.
func TestShutdownMeetsHandshakes(t *testing.T) {
	h := newHandler()
	r := newRig(t, Options{Accept: h.accept, CloseTimeout: time.Millisecond})
	var clients sync.WaitGroup
	for i := range 40 {
		clients.Go(func() {
			if i%2 == 0 {
				r.try("GET", "EIO=3&transport=polling", "")
			} else if c, err := r.dial("EIO=3&transport=websocket"); err == nil {
				c.closed()
			}
		})
	}
	until(func() bool { return r.server.Stats().Opened > 10 })
	if err := r.server.Shutdown(t.Context()); err != nil || r.server.Len() != 0 {
		t.Errorf("%v, %d sessions", err, r.server.Len())
	}
	clients.Wait()
	if len(h.sockets) != len(h.closed) {
		t.Errorf("%d accepted, %d closed", len(h.sockets), len(h.closed))
	}
}

func TestConnectionLimit(t *testing.T) {
	r := newRig(t, Options{MaxConnections: 2})
	s := r.websocket("EIO=4&transport=websocket")
	p := r.poll("4")
	if a := r.do("GET", "EIO=4&transport=polling", ""); a.status != 503 || a.body != `{"code":4,"message":"Too many connections"}` {
		t.Errorf("%+v", a)
	}
	if _, err := r.dial("EIO=4&transport=websocket"); err == nil || !strings.Contains(err.Error(), "got 503") {
		t.Error(err)
	}
	p.post("1")
	p = r.poll("4")
	s.Close()
	p.post("1")
}

func TestRevision3CanBeDisabled(t *testing.T) {
	r := newRig(t, Options{DisableEIO3: true})
	for _, query := range []string{"EIO=3&transport=polling", "transport=polling"} {
		if a := r.do("GET", query, ""); a.status != 400 || a.body != `{"code":5,"message":"Unsupported protocol version"}` {
			t.Errorf("%+v", a)
		}
	}
	r.joined()
}

// Packets keep their order while the client moves from polling to its WebSocket.
func TestOrderAcrossUpgrade(t *testing.T) {
	h := newHandler()
	r := newRig(t, Options{Accept: h.accept})
	p := r.connected()
	socket := <-h.sockets
	const total = 2000
	go func() {
		for i := range total {
			socket.Emit("n", jsonvalue.OfInt(int64(i)))
		}
	}()
	got := 0
	take := func(packets ...string) {
		t.Helper()
		for _, packet := range packets {
			if packet == "6" {
				continue
			}
			if want := fmt.Sprintf(`42["n",%d]`, got); packet != want {
				t.Fatalf("got %s, want %s", packet, want)
			}
			got++
		}
	}
	poll := func() { take(strings.Split(p.get(), "\x1e")...) }
	poll()
	s := r.websocket(strings.Replace(p.query, "polling", "websocket", 1))
	s.send("2probe")
	poll()
	if answer := s.next(); answer != "3probe" {
		t.Fatal(answer)
	}
	poll()
	s.send("5")
	for got < total {
		take(s.next())
	}
}
