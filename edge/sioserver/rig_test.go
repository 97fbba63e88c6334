package sioserver

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/shared/engineio"
	"portico/shared/jsonvalue"
	"portico/shared/wsconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a Server behind an HTTP server on an in-memory network, so that it also runs inside a synctest bubble.
type rig struct {
	t      *testing.T
	server *Server
	client *http.Client
	pipes  *pipes
}

func newRig(t *testing.T, opts Options) *rig {
	t.Helper()
	r := &rig{t: t, server: New(opts), pipes: &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}}
	transport := &http.Transport{DialContext: r.pipes.dial}
	r.client = &http.Client{Transport: transport}
	web := &http.Server{Handler: r.server}
	served := make(chan struct{})
	go func() {
		defer close(served)
		web.Serve(r.pipes)
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ctx, stop := context.WithCancel(ctx)
		stop() // nothing that waits for a client is of interest any more
		if err := r.server.Shutdown(ctx); errors.Is(err, ErrIncomplete) {
			t.Error(err)
		}
		transport.CloseIdleConnections()
		web.Close()
		<-served
	})
	return r
}

// pipes is a listener whose connections are net.Pipes.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8080} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// answer is an HTTP answer that has been read.
type answer struct {
	status int
	body   string
	header http.Header
}

// do makes a request of /socket.io/ with query; headers are pairs of name and value.
func (r *rig) do(method, query, body string, headers ...string) answer {
	r.t.Helper()
	a, err := r.try(method, query, body, headers...)
	if err != nil {
		r.t.Errorf("%s %s: %v", method, query, err)
	}
	return a
}

func (r *rig) try(method, query, body string, headers ...string) (answer, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, "http://edge/socket.io/?"+query, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := r.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, string(data), res.Header}, err
}

// polling is a session by long-polling.
type polling struct {
	*rig
	query string
	open  engineio.Open
}

func (r *rig) poll(eio string) *polling {
	r.t.Helper()
	query := "EIO=" + eio + "&transport=polling"
	a := r.do("GET", query, "")
	text := a.body
	if eio == "3" {
		_, text, _ = strings.Cut(text, ":")
	}
	open, err := engineio.ParseOpen([]byte(text)[1:])
	if a.status != 200 || err != nil {
		r.t.Fatalf("handshake: %+v, %v", a, err)
	}
	return &polling{r, query + "&sid=" + open.SID, open}
}

// connected is a polling session of Engine.IO 4 whose Socket exists.
func (r *rig) connected() *polling {
	r.t.Helper()
	p := r.poll("4")
	p.post("40")
	if got := p.get(); !strings.HasPrefix(got, `40{"sid":"`) {
		r.t.Fatalf("connect: %s", got)
	}
	return p
}

func (p *polling) get() string {
	p.t.Helper()
	a := p.do("GET", p.query, "")
	if a.status != 200 {
		p.t.Errorf("poll: %d %s", a.status, a.body)
	}
	return a.body
}

func (p *polling) post(body string) {
	p.t.Helper()
	if a := p.do("POST", p.query, body); a.status != 200 || a.body != "ok" {
		p.t.Errorf("post %.100q: %d %s", body, a.status, a.body)
	}
}

// gone fails unless the server has forgotten the session.
func (p *polling) gone() {
	p.t.Helper()
	if a := p.do("GET", p.query, ""); a.status != 400 || a.body != `{"code":1,"message":"Session ID unknown"}` {
		p.t.Errorf("the session is still there: %d %s", a.status, a.body)
	}
}

// socket is a WebSocket of a test client.
type socket struct {
	*rig
	wsconn.Conn
}

func (r *rig) dial(query string) (*socket, error) {
	r.t.Helper()
	c, err := wsconn.Dial(context.Background(), "ws://edge/socket.io/?"+query, wsconn.DialOptions{Platform: wsconn.Platform{DialContext: r.pipes.dial}})
	if err != nil {
		return nil, err
	}
	r.t.Cleanup(func() { c.CloseNow() })
	return &socket{r, c}, nil
}

func (r *rig) websocket(query string) *socket {
	r.t.Helper()
	s, err := r.dial(query)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// joined is a WebSocket session of Engine.IO 4 whose Socket exists.
func (r *rig) joined() *socket {
	r.t.Helper()
	s := r.websocket("EIO=4&transport=websocket")
	s.next()
	s.send("40")
	if got := s.next(); !strings.HasPrefix(got, `40{"sid":"`) {
		r.t.Fatalf("connect: %s", got)
	}
	return s
}

func (s *socket) next() string {
	s.t.Helper()
	text, err := s.ReadText(context.Background())
	if err != nil {
		s.t.Errorf("read: %v", err)
	}
	return string(text)
}

func (s *socket) send(packets ...string) {
	s.t.Helper()
	for _, p := range packets {
		if err := s.WriteText(context.Background(), []byte(p)); err != nil {
			s.t.Errorf("write: %v", err)
		}
	}
}

// closed waits until the server closes the WebSocket and returns what it sent before.
func (s *socket) closed() []string {
	var got []string
	for {
		text, err := s.ReadText(context.Background())
		if err != nil {
			return got
		}
		got = append(got, string(text))
	}
}

// handler answers "echo" with its arguments, "portal" events as before a login, and reports everything else.
type handler struct {
	socket  *Socket
	sockets chan *Socket // every one accepted
	events  chan event
	closed  chan string
}

type event struct {
	name string
	args []jsonvalue.Value
	ack  Ack
}

func newHandler() *handler {
	return &handler{sockets: make(chan *Socket, 1000), events: make(chan event, 1000), closed: make(chan string, 1000)}
}

func (h *handler) accept(s *Socket) Handler {
	h.sockets <- s
	return &handler{s, h.sockets, h.events, h.closed}
}

func (h *handler) Event(name string, args []jsonvalue.Value, ack Ack) {
	switch {
	case name == "echo" && ack != nil:
		ack(args...)
	case name == "echo":
		h.socket.Emit("echo", args...)
	case name == "logout", name == "refreshReconnectionTicket":
		ack(jsonvalue.Of("error"), jsonvalue.Of("Illegal request"))
	case name == "leave":
		h.socket.Emit("drop", jsonvalue.NullValue())
		h.socket.Disconnect()
	default:
		h.events <- event{name, args, ack}
	}
}

func (h *handler) Closed(reason string) { h.closed <- reason }
