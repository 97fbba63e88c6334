package sioserver

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"portico/shared/jsonvalue"
	"portico/shared/sioclient"
	"portico/shared/wsconn"
)

func (r *rig) sioclient(events chan string, closed chan error) *sioclient.Conn {
	r.t.Helper()
	c, err := sioclient.Dial(context.Background(), sioclient.Options{
		URL: "http://edge",
		Dialer: func(ctx context.Context, url string) (wsconn.Conn, error) {
			return wsconn.Dial(ctx, url, wsconn.DialOptions{Platform: wsconn.Platform{DialContext: r.pipes.dial}})
		},
		OnEvent: func(name string, args []jsonvalue.Value) { events <- fmt.Sprint(name, args) },
		OnClose: func(err error) { closed <- err },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func TestOurOwnClient(t *testing.T) {
	h := newHandler()
	r := newRig(t, Options{Accept: h.accept})
	events, closed := make(chan string, 10), make(chan error, 1)
	c := r.sioclient(events, closed)
	if id := (<-h.sockets).ID(); id != c.ID() {
		t.Errorf("%s and %s", id, c.ID())
	}
	long := jsonvalue.Of(strings.Repeat("Zoë", 30_000))
	answer, err := c.Request(t.Context(), "echo", long, jsonvalue.NullValue())
	if err != nil || len(answer) != 2 || answer[0].Text() != long.Text() {
		t.Errorf("%d values, %v", len(answer), err)
	}
	c.Emit("echo", jsonvalue.OfInt(1))
	if got := <-events; got != "echo[1]" {
		t.Error(got)
	}
	c.Emit("leave")
	if got := <-events; got != "drop[null]" {
		t.Error(got)
	}
	if err := <-closed; !errors.Is(err, sioclient.ErrDisconnected) {
		t.Error(err)
	}
	c.Close()
	<-c.Done()
	<-h.closed

	c = r.sioclient(events, closed)
	<-h.sockets
	c.Emit("said before leaving")
	c.Close()
	<-c.Done()
	if err := <-closed; !errors.Is(err, sioclient.ErrClosed) {
		t.Error(err)
	}
	if reason := <-h.closed; reason != ReasonClientDisconnect || (<-h.events).name != "said before leaving" {
		t.Error(reason)
	}

	c = r.sioclient(events, closed)
	(<-h.sockets).Close()
	if err := <-closed; !errors.Is(err, sioclient.ErrLost) {
		t.Error(err)
	}
	c.Close()
	<-c.Done()
}

func newTCPRig(b *testing.B, opts Options) *httptest.Server {
	srv := New(opts)
	web := httptest.NewServer(srv)
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			b.Error(err)
		}
		web.Close()
	})
	return web
}

// One event from the server's Emit to the client's OnEvent, over loopback TCP.
func BenchmarkEmit(b *testing.B) {
	sockets := make(chan *Socket, 1)
	r := newTCPRig(b, Options{Accept: func(s *Socket) Handler {
		sockets <- s
		return ignore{}
	}})
	arrived := make(chan struct{}, 1)
	c, err := sioclient.Dial(context.Background(), sioclient.Options{URL: r.URL, OnEvent: func(string, []jsonvalue.Value) { arrived <- struct{}{} }})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	socket := <-sockets
	args := []jsonvalue.Value{jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of("5f0000000000000000000001")), jsonvalue.M("status", jsonvalue.Of("update")))}
	b.ReportAllocs()
	for b.Loop() {
		socket.Emit("stream", args...)
		<-arrived
	}
}

// One request and its answer.
func BenchmarkRequest(b *testing.B) {
	r := newTCPRig(b, Options{Accept: newHandler().accept})
	c, err := sioclient.Dial(context.Background(), sioclient.Options{URL: r.URL})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	arg := jsonvalue.Of("ok")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Request(b.Context(), "echo", arg); err != nil {
			b.Fatal(err)
		}
	}
}

// The cost of Emit itself and of the queue, without a network.
func BenchmarkEmitToQueue(b *testing.B) {
	for name, prepared := range map[string]bool{"emit": false, "prepared": true} {
		b.Run(name, func(b *testing.B) {
			srv := New(Options{})
			s, why := srv.open(4, false, Request{})
			if why != nil {
				b.Fatal(why)
			}
			s.connect()
			socket := s.socket
			arg := jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of("5f0000000000000000000001")), jsonvalue.M("status", jsonvalue.Of("update")))
			m := Prepare("stream", arg)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if prepared {
					socket.Send(m)
				} else {
					socket.Emit("stream", arg)
				}
				if i%1000 == 0 {
					s.mu.Lock()
					s.takeQueue()
					s.mu.Unlock()
				}
			}
			s.shut(ReasonTransportClose, atOnce)
			srv.Shutdown(b.Context())
		})
	}
}
