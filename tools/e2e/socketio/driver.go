// Package driver lets Go tests use the real socket.io-client of npm, in versions 2, 3 and 4.
//
// Each Client is a Node process that runs driver.js over one of the clients pinned in package-lock.json; commands and events
// pass as JSON lines over its stdin and stdout. The packages are installed once into build/e2e-socketio of the module.
//
//	c := driver.Start(t, 4, "http://127.0.0.1:8080")
//	answer := c.Request("login", map[string]any{"token": token})
//	participant := c.Next("participant")
//
// Everything that goes wrong fails the test; every wait ends after Patience.
package driver

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"sync"
	"testing"
	"time"

	"portico/shared/jsonvalue"
)

// Patience is how long a Client waits for anything.
const Patience = 20 * time.Second

// Client is one socket.io-client. Its methods may be called from the goroutine of its test only.
type Client struct {
	t         testing.TB
	stdin     io.WriteCloser
	id        string
	transport string
	requests  int

	mu     sync.Mutex // guards what follows
	told   []message  // not asked for yet
	ended  bool       // the process
	change chan struct{}
	stderr bytes.Buffer
}

// message is a line of driver.js.
type message struct {
	Type      string
	ID        json.RawMessage // text of connect, number of answer
	Transport string
	Name      string
	Args      []jsonvalue.Value
	Reason    string
	Message   string
}

// Start connects a client of the given major version (2, 3 or 4) and waits until it is connected. Without transports it uses
// the library's default: polling, then an upgrade. It does not reconnect. The client ends with the test.
func Start(t testing.TB, version int, url string, transports ...string) *Client {
	t.Helper()
	c := Launch(t, version, url, transports...)
	c.transport = c.wait("open", func(m message) bool { return m.Type == "open" }).Transport
	m := c.wait("connect", func(m message) bool { return m.Type == "connect" })
	if err := json.Unmarshal(m.ID, &c.id); err != nil {
		t.Fatal(err)
	}
	return c
}

// Launch is Start without the wait, for connections that are meant to fail.
func Launch(t testing.TB, version int, url string, transports ...string) *Client {
	t.Helper()
	options := map[string]any{"reconnection": false}
	if len(transports) > 0 {
		options["transports"] = transports
	}
	c := run(t, "driver.js")
	c.command(map[string]any{"op": "connect", "version": version, "url": url, "options": options})
	return c
}

// run starts node with the given arguments in the folder of the installed packages.
func run(t testing.TB, args ...string) *Client {
	t.Helper()
	process := exec.Command("node", args...)
	process.Dir = install(t)
	c := &Client{t: t, change: make(chan struct{}, 1)}
	process.Stderr = &c.stderr
	stdin, err := process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	c.stdin = stdin
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.listen(stdout)
		process.Wait()
	}()
	t.Cleanup(func() {
		stdin.Close()
		patience := time.AfterFunc(Patience, func() { process.Process.Kill() })
		<-done
		patience.Stop()
		if t.Failed() && c.stderr.Len() > 0 {
			t.Logf("node said: %s", c.stderr.Bytes())
		}
	})
	return c
}

func (c *Client) listen(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			m = message{Type: "error", Message: err.Error()}
		}
		c.mu.Lock()
		c.told = append(c.told, m)
		c.mu.Unlock()
		c.signal()
	}
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.signal()
}

func (c *Client) signal() {
	select {
	case c.change <- struct{}{}:
	default:
	}
}

func (c *Client) command(command map[string]any) {
	c.t.Helper()
	line, err := json.Marshal(command)
	if err == nil {
		_, err = c.stdin.Write(append(line, '\n'))
	}
	if err != nil {
		c.t.Fatalf("socket.io-client: %v", err)
	}
}

// wait takes the first message that fits, leaving the others in their order.
func (c *Client) wait(what string, fits func(message) bool) message {
	c.t.Helper()
	patience := time.NewTimer(Patience)
	defer patience.Stop()
	for {
		c.mu.Lock()
		for i, m := range c.told {
			if fits(m) {
				c.told = append(c.told[:i:i], c.told[i+1:]...)
				c.mu.Unlock()
				return m
			}
		}
		ended, told := c.ended, c.told
		c.mu.Unlock()
		if ended {
			c.t.Fatalf("socket.io-client: waiting for %s, node ended", what)
		}
		select {
		case <-c.change:
		case <-patience.C:
			c.t.Fatalf("socket.io-client: no %s within %v; it told: %+v", what, Patience, told)
		}
	}
}

// ID is the client's socket.id.
func (c *Client) ID() string { return c.id }

// Transport is what the client's session began on: "polling" or "websocket".
func (c *Client) Transport() string { return c.transport }

// Upgraded waits until the client has moved to a WebSocket.
func (c *Client) Upgraded() {
	c.t.Helper()
	c.wait("upgrade", func(m message) bool { return m.Type == "upgrade" && m.Transport == "websocket" })
}

// Emit sends an event without an acknowledgement. args are whatever encoding/json can write.
func (c *Client) Emit(name string, args ...any) {
	c.t.Helper()
	c.command(map[string]any{"op": "emit", "name": name, "args": list(args)})
}

// Request sends an event and returns the arguments of its acknowledgement.
func (c *Client) Request(name string, args ...any) []jsonvalue.Value {
	c.t.Helper()
	return c.Answer(c.Ask(name, args...))
}

// Ask sends an event with an acknowledgement; Answer waits for that.
func (c *Client) Ask(name string, args ...any) (request int) {
	c.t.Helper()
	c.requests++
	c.command(map[string]any{"op": "request", "id": c.requests, "name": name, "args": list(args)})
	return c.requests
}

// Answer waits for the acknowledgement of a request made by Ask.
func (c *Client) Answer(request int) []jsonvalue.Value {
	c.t.Helper()
	id, _ := json.Marshal(request)
	return c.wait("answer", func(m message) bool { return m.Type == "answer" && string(m.ID) == string(id) }).Args
}

func list(args []any) []any { return append([]any{}, args...) }

// Next waits for the next event of that name that has not been asked for, and returns its arguments.
func (c *Client) Next(name string) []jsonvalue.Value {
	c.t.Helper()
	return c.wait("event "+name, func(m message) bool { return m.Type == "event" && m.Name == name }).Args
}

// NextAny waits for the next event of any name that has not been asked for.
func (c *Client) NextAny() (name string, args []jsonvalue.Value) {
	c.t.Helper()
	m := c.wait("event", func(m message) bool { return m.Type == "event" })
	return m.Name, m.Args
}

// Pending is the number of events that have arrived and not been asked for. Make sure by a Request that the client has seen
// what it should not have been sent.
func (c *Client) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, m := range c.told {
		if m.Type == "event" {
			n++
		}
	}
	return n
}

// Disconnected waits until the client is disconnected and returns its reason: "io server disconnect" when the server sent a
// disconnect packet, "transport close" and the like when the connection was lost.
func (c *Client) Disconnected() string {
	c.t.Helper()
	return c.wait("disconnect", func(m message) bool { return m.Type == "disconnect" }).Reason
}

// Failed waits for an error of the connection and returns its text.
func (c *Client) Failed() string {
	c.t.Helper()
	return c.wait("error", func(m message) bool { return m.Type == "error" }).Message
}

// Close disconnects the client; it may be followed by Disconnected.
func (c *Client) Close() {
	c.t.Helper()
	c.command(map[string]any{"op": "close"})
}
