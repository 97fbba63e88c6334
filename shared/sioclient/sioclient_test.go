package sioclient

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"portico/shared/jsonvalue"
	"portico/shared/wsconn"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("runtime.handleEvent")) // which every js program has
}

// pipe is one end of a WebSocket in memory; the test plays the server at the other.
type pipe struct {
	in, out chan string
	closed  chan struct{} // by either end
	once    *sync.Once
}

func newPipe() (client, server *pipe) {
	a, b := make(chan string, 100), make(chan string, 100)
	closed, once := make(chan struct{}), new(sync.Once)
	return &pipe{a, b, closed, once}, &pipe{b, a, closed, once}
}

func (p *pipe) ReadText(ctx context.Context) ([]byte, error) {
	select {
	case text := <-p.in:
		return []byte(text), nil
	default:
	}
	select {
	case text := <-p.in:
		return []byte(text), nil
	case <-p.closed:
		return nil, wsconn.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipe) WriteText(ctx context.Context, data []byte) error {
	select {
	case <-p.closed:
		return wsconn.ErrClosed
	default:
	}
	select {
	case p.out <- string(data):
		return nil
	case <-p.closed:
		return wsconn.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pipe) Close() error    { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipe) CloseNow() error { return p.Close() }

// next is what the client sent; "closed" when it closed instead.
func (p *pipe) next() string {
	text, err := p.ReadText(context.Background())
	if err != nil {
		return "closed"
	}
	return string(text)
}

const open = `0{"sid":"engine","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`

// recorder notes what a Conn tells its application.
type recorder struct {
	events chan string
	closed chan error
}

func newRecorder() *recorder { return &recorder{make(chan string, 1000), make(chan error, 10)} }

func (r *recorder) options(server **pipe) Options {
	return Options{
		URL: "http://edge:8080",
		Dialer: func(_ context.Context, url string) (wsconn.Conn, error) {
			if url != "ws://edge:8080/socket.io/?EIO=4&transport=websocket" {
				return nil, errors.New("dialled " + url)
			}
			client, s := newPipe()
			*server = s
			s.out <- open
			s.out <- `40{"sid":"me"}`
			return client, nil
		},
		OnEvent: func(name string, args []jsonvalue.Value) { r.events <- fmt.Sprint(name, args) },
		OnClose: func(err error) { r.closed <- err },
	}
}

func dial(t *testing.T) (*Conn, *pipe, *recorder) {
	t.Helper()
	r := newRecorder()
	var server *pipe
	c, err := Dial(t.Context(), r.options(&server))
	if err != nil {
		t.Fatal(err)
	}
	if got := server.next(); got != "40" {
		t.Fatal(got)
	}
	return c, server, r
}

func finish(t *testing.T, c *Conn, r *recorder, want error) {
	t.Helper()
	if err := <-r.closed; !errors.Is(err, want) {
		t.Errorf("closed with %v, want %v", err, want)
	}
	<-c.Done()
	c.Close()
	if err := c.Emit("x"); !errors.Is(err, want) {
		t.Errorf("Emit: %v", err)
	}
	if _, err := c.Request(context.Background(), "x"); !errors.Is(err, want) {
		t.Errorf("Request: %v", err)
	}
	asked := make(chan error, 1)
	c.Ask("x", func(_ []jsonvalue.Value, err error) { asked <- err })
	if err := <-asked; !errors.Is(err, want) {
		t.Errorf("Ask: %v", err)
	}
	if len(r.closed) != 0 {
		t.Error("OnClose was called again")
	}
}

func TestEventsAndRequests(t *testing.T) {
	c, server, r := dial(t)
	if c.ID() != "me" {
		t.Error(c.ID())
	}
	if err := c.Emit("hello", jsonvalue.Of("Zoë"), jsonvalue.NullValue()); err != nil {
		t.Error(err)
	}
	if got := server.next(); got != `42["hello","Zoë",null]` {
		t.Error(got)
	}
	answered := make(chan string, 2)
	for _, name := range []string{"login", "logout"} {
		go func() {
			answer, err := c.Request(t.Context(), name)
			answered <- fmt.Sprintf("%s%v%v", name, answer, err)
		}()
		request := server.next() // 42<id>["name"]
		id := strings.TrimSuffix(strings.TrimPrefix(request, "42"), `["`+name+`"]`)
		server.out <- "43" + id + `["` + name + ` done"]`
		if got, want := <-answered, name+`["`+name+` done"]<nil>`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for i := range 100 {
		server.out <- fmt.Sprintf(`42["n",%d]`, i)
	}
	for i := range 100 {
		if got := <-r.events; got != fmt.Sprintf("n[%d]", i) {
			t.Fatal(got)
		}
	}
	server.out <- "2"
	if got := server.next(); got != "3" {
		t.Error(got)
	}
	server.out <- `4399["nobody asked"]`
	server.out <- "6"
	c.Emit("last")
	c.Close()
	for _, want := range []string{`42["last"]`, "41", "closed"} {
		if got := server.next(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	finish(t, c, r, ErrClosed)
}

// Answers to Ask and events come in the order of the wire, those of Request do not wait for events.
func TestOrderOfAnswersAndEvents(t *testing.T) {
	gate := make(chan struct{})
	r := newRecorder()
	var server *pipe
	options := r.options(&server)
	note := options.OnEvent
	options.OnEvent = func(name string, args []jsonvalue.Value) {
		<-gate
		note(name, args)
	}
	c, err := Dial(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	server.next()
	c.Ask("ask", func(answer []jsonvalue.Value, err error) { r.events <- fmt.Sprint("answer", answer, err) })
	if got := server.next(); got != `420["ask"]` {
		t.Error(got)
	}
	for _, packet := range []string{`42["before"]`, `430["ok"]`, `42["after"]`} {
		server.out <- packet
	}
	go func() {
		server.next()
		server.out <- `431["ok"]`
	}()
	if _, err := c.Request(t.Context(), "request"); err != nil {
		t.Error(err)
	}
	close(gate)
	for _, want := range []string{"before[]", `answer["ok"] <nil>`, "after[]"} {
		if got := <-r.events; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	c.Close()
	finish(t, c, r, ErrClosed)
}

func TestServerDisconnects(t *testing.T) {
	c, server, r := dial(t)
	asked := make(chan error, 2)
	c.Ask("a", func(_ []jsonvalue.Value, err error) { asked <- err })
	go func() {
		_, err := c.Request(t.Context(), "b")
		asked <- err
	}()
	server.next()
	server.next()
	server.out <- `42["drop",null]`
	server.out <- "41"
	if got := <-r.events; got != "drop[null]" {
		t.Error(got)
	}
	for range 2 {
		if err := <-asked; !errors.Is(err, ErrDisconnected) {
			t.Error(err)
		}
	}
	finish(t, c, r, ErrDisconnected)
	if got := server.next(); got != "closed" {
		t.Error(got)
	}
}

func TestTransportIsLost(t *testing.T) {
	for name, breaks := range map[string]func(*pipe){
		"closed":      func(s *pipe) { s.Close() },
		"garbage":     func(s *pipe) { s.out <- "9" },
		"bad packet":  func(s *pipe) { s.out <- `42["x` },
		"binary":      func(s *pipe) { s.out <- `451-["x",{"_placeholder":true,"num":0}]` },
		"close":       func(s *pipe) { s.out <- "1" },
		"pong":        func(s *pipe) { s.out <- "3" },
		"a namespace": func(s *pipe) { s.out <- `42/x,["y"]` },
	} {
		t.Run(name, func(t *testing.T) {
			c, server, r := dial(t)
			breaks(server)
			finish(t, c, r, ErrLost)
			if errors.Is(c.Emit("x"), ErrClosed) {
				t.Error("says that we closed it")
			}
		})
	}
}

func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, server, r := dial(t)
		start := time.Now()
		for range 3 {
			time.Sleep(25 * time.Second)
			server.out <- "2"
			if got := server.next(); got != "3" {
				t.Error(got)
			}
		}
		err := <-r.closed
		if !errors.Is(err, ErrLost) || !errors.Is(err, ErrTimeout) || time.Since(start) != (3*25+45)*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		c.Close()
		<-c.Done()
	})
}

// A server that takes nothing holds up neither Emit nor Close.
func TestBlockedServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, r := dial(t)
		for range 200 { // twice what the pipe holds
			if err := c.Emit("x"); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		c.Close()
		if took := time.Since(start); took != wsconn.CloseWait {
			t.Errorf("Close took %v", took)
		}
		finish(t, c, r, ErrClosed)

		c, _, r = dial(t)
		var err error
		for range 3 * maxQueue { // the writer may have taken up to maxQueue of them
			if err = c.Emit("x"); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrLost) {
			t.Error(err)
		}
		finish(t, c, r, ErrLost)
	})
}

func TestSlowApplication(t *testing.T) {
	gate := make(chan struct{})
	r := newRecorder()
	var server *pipe
	options := r.options(&server)
	options.MaxInbox = 10
	options.OnEvent = func(string, []jsonvalue.Value) { <-gate }
	c, err := Dial(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		server.out <- `42["x"]`
	}
	c.transfer.Wait() // until reader and writer have given up
	close(gate)
	if err := <-r.closed; !errors.Is(err, ErrOverload) {
		t.Error(err)
	}
	<-c.Done()
	c.Close()
}

func TestCallsFromOnEvent(t *testing.T) {
	r := newRecorder()
	var server *pipe
	options := r.options(&server)
	var c *Conn
	ready := make(chan struct{})
	options.OnEvent = func(string, []jsonvalue.Value) {
		<-ready
		if answer, err := c.Request(t.Context(), "why"); err != nil || answer[0].Text() != "because" {
			t.Errorf("%v, %v", answer, err)
		}
		c.Close()
		c.Close()
	}
	c, err := Dial(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	close(ready)
	server.next()
	server.out <- `42["go"]`
	if got := server.next(); got != `420["why"]` {
		t.Error(got)
	}
	server.out <- `430["because"]`
	finish(t, c, r, ErrClosed)
}

func TestRequestGivesUp(t *testing.T) {
	c, server, r := dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		server.next()
		cancel()
	}()
	if _, err := c.Request(ctx, "slow"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	server.out <- `430["too late"]`
	server.out <- `42["next"]`
	if got := <-r.events; got != "next[]" || c.acks.Len() != 0 {
		t.Errorf("%s, %d acks", got, c.acks.Len())
	}
	c.Close()
	finish(t, c, r, ErrClosed)
}

func FuzzReceive(f *testing.F) {
	for _, s := range []string{`42["a",1]`, `430["ok"]`, "2", "41", `44{"message":"x"}`, "b00", `451-["x"]`, "1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, packet string) {
		r := newRecorder()
		var server *pipe
		c, err := Dial(t.Context(), r.options(&server))
		if err != nil {
			t.Fatal(err)
		}
		c.Ask("x", func([]jsonvalue.Value, error) {})
		server.out <- packet
		server.out <- "41"
		<-c.Done()
		c.Close()
	})
}
