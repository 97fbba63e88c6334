package driver

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/edge/sioserver"
	"portico/shared/jsonvalue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is the application of the tests: it answers, sends back, and ends the connection in the ways there are.
type echo struct {
	socket *sioserver.Socket
	closed chan string
}

func (e *echo) Event(name string, args []jsonvalue.Value, ack sioserver.Ack) {
	switch {
	case ack != nil:
		ack(args...)
	case name == "leave":
		e.socket.Emit("drop", jsonvalue.NullValue())
		e.socket.Disconnect()
	case name == "hang up":
		e.socket.Close()
	case name == "count":
		n, _ := args[0].Int()
		go func() { // while the client upgrades
			for i := range n {
				e.socket.Emit("n", jsonvalue.OfInt(i))
			}
		}()
	default:
		e.socket.Emit(name+" back", args...)
	}
}

func (e *echo) Closed(reason string) { e.closed <- reason }

// serve starts a server and returns its address and what its clients' connections end with.
func serve(t *testing.T, opts sioserver.Options) (url string, server *sioserver.Server, closed chan string) {
	t.Helper()
	closed = make(chan string, 100)
	opts.Accept = func(s *sioserver.Socket) sioserver.Handler { return &echo{s, closed} }
	server = sioserver.New(opts)
	web := httptest.NewServer(server)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	return web.URL, server, closed
}

func eachClient(t *testing.T, test func(t *testing.T, version int, transports []string)) {
	for _, version := range []int{2, 3, 4} {
		for name, transports := range map[string][]string{"default": nil, "websocket": {"websocket"}, "polling": {"polling"}} {
			t.Run(fmt.Sprintf("%d/%s", version, name), func(t *testing.T) { test(t, version, transports) })
		}
	}
}

func texts(values []jsonvalue.Value) string {
	return jsonvalue.OfArray(values...).String()
}

func TestConversation(t *testing.T) {
	eachClient(t, func(t *testing.T, version int, transports []string) {
		url, server, closed := serve(t, sioserver.Options{})
		c := Start(t, version, url, transports...)
		if want := append(transports, "polling")[0]; c.Transport() != want || len(c.ID()) != 20 {
			t.Errorf("connected as %s over %s, want %s", c.ID(), c.Transport(), want)
		}
		if transports == nil {
			c.Upgraded()
		}
		for range 2 { // before and after whatever is still going on
			if got := texts(c.Request("ask", "Zoë 你好 😀", map[string]any{"a": nil})); got != `["Zoë 你好 😀",{"a":null}]` {
				t.Errorf("answer %s", got)
			}
			c.Emit("say", 1, nil, []string{"x"})
			if got := texts(c.Next("say back")); got != `[1,null,["x"]]` {
				t.Errorf("event %s", got)
			}
		}
		if got := texts(c.Request("nothing")); got != `[]` {
			t.Errorf("answer %s", got)
		}
		long := strings.Repeat("0123456789", 10_000)
		if got := c.Request("long", long); len(got) != 1 || got[0].Text() != long {
			t.Errorf("100 kB came back as %d values", len(got))
		}
		if upgraded := server.Stats().Upgraded; upgraded != 0 != (transports == nil) {
			t.Errorf("%d upgrades", upgraded)
		}
		c.Close()
		if reason := c.Disconnected(); reason != "io client disconnect" {
			t.Error(reason)
		}
		if reason := <-closed; reason != sioserver.ReasonClientDisconnect && reason != sioserver.ReasonTransportClose {
			t.Error(reason)
		}
	})
}

// The numbers begin to flow before the upgrade and go on behind it.
func TestOrderAcrossUpgrade(t *testing.T) {
	for _, version := range []int{2, 3, 4} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			url, _, _ := serve(t, sioserver.Options{})
			c := Start(t, version, url)
			const total = 3000
			c.Emit("count", total)
			for i := range total {
				if got := texts(c.Next("n")); got != fmt.Sprintf("[%d]", i) {
					t.Fatalf("got %s, want %d", got, i)
				}
				if i%100 == 0 {
					c.Emit("say", i) // the other direction
				}
			}
			c.Upgraded()
			for i := 0; i < total; i += 100 {
				if got := texts(c.Next("say back")); got != fmt.Sprintf("[%d]", i) {
					t.Fatalf("got %s, want %d", got, i)
				}
			}
		})
	}
}

func TestServerEndsIt(t *testing.T) {
	eachClient(t, func(t *testing.T, version int, transports []string) {
		url, _, closed := serve(t, sioserver.Options{})
		c := Start(t, version, url, transports...)
		c.Emit("leave")
		if got := texts(c.Next("drop")); got != "[null]" {
			t.Error(got)
		}
		if reason := c.Disconnected(); reason != "io server disconnect" {
			t.Error(reason)
		}
		if reason := <-closed; reason != sioserver.ReasonServerDisconnect {
			t.Error(reason)
		}
		c = Start(t, version, url, transports...)
		c.Emit("hang up")
		if reason := c.Disconnected(); reason != "transport close" {
			t.Error(reason)
		}
		if reason := <-closed; reason != sioserver.ReasonServerClose {
			t.Error(reason)
		}
	})
}

func TestHeartbeats(t *testing.T) {
	eachClient(t, func(t *testing.T, version int, transports []string) {
		url, server, closed := serve(t, sioserver.Options{PingInterval: 100 * time.Millisecond, PingTimeout: 10 * time.Second})
		c := Start(t, version, url, transports...)
		if transports == nil {
			c.Upgraded()
		}
		c.Request("ready")
		before := server.Stats().PacketsIn
		for tick := time.NewTicker(20 * time.Millisecond); server.Stats().PacketsIn < before+6; <-tick.C {
			if len(closed) > 0 {
				t.Fatal(<-closed)
			}
		}
		if got := texts(c.Request("still there?", true)); got != "[true]" {
			t.Error(got)
		}
	})
}

func TestForbiddenNamespaceAndServer(t *testing.T) {
	for _, version := range []int{2, 3, 4} {
		url, _, _ := serve(t, sioserver.Options{DisableEIO3: true})
		c := Launch(t, version, url+"/other")
		if got := c.Failed(); version > 2 && !strings.Contains(got, "Invalid namespace") {
			t.Errorf("version %d: %s", version, got)
		}
	}
}

// The same client as in the browser: our own Go code as WebAssembly over a JavaScript WebSocket.
func TestWASMClient(t *testing.T) {
	url, _, closed := serve(t, sioserver.Options{})
	program := filepath.Join(t.TempDir(), "wasmecho.wasm")
	build := exec.Command("go", "build", "-o", program, "./wasmecho")
	build.Env = append(build.Environ(), "GOOS=js", "GOARCH=wasm")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	c := run(t, "--experimental-websocket", filepath.Join(strings.TrimSpace(string(root)), "lib/wasm/wasm_exec_node.js"), program, url)
	for _, want := range []struct{ name, args string }{
		{"connected", ""}, {"answered", "[true]"}, {"say back", "[7,null]"}, {"drop", "[null]"}, {"closed", `["sioclient: disconnected by the server"]`},
	} {
		name, args := c.NextAny()
		if name != want.name || want.args != "" && texts(args) != want.args {
			t.Errorf("got %s %s, want %s %s", name, texts(args), want.name, want.args)
		}
	}
	if reason := <-closed; reason != sioserver.ReasonServerDisconnect {
		t.Error(reason)
	}
}
