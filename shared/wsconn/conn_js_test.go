//go:build js

package wsconn

import (
	"context"
	"errors"
	"strings"
	"syscall/js"
	"testing"
)

// fake is a WebSocket class for Node: it echoes, closes with code 4001 when told "bye", and sends bytes when told "binary".
const fake = `
globalThis.WebSocket = class extends EventTarget {
	constructor(url) {
		super()
		if (!url.startsWith("ws")) throw new SyntaxError("bad scheme")
		this.readyState = 0
		this.bufferedAmount = 0
		setTimeout(() => {
			if (url.includes("refused")) return this.finish(1006, "")
			this.readyState = 1
			this.dispatchEvent(new Event("open"))
		})
	}
	emit(data) { this.dispatchEvent(Object.assign(new Event("message"), {data})) }
	finish(code, reason) {
		if (this.readyState === 3) return
		this.readyState = 3
		this.dispatchEvent(Object.assign(new Event("close"), {code, reason}))
	}
	send(text) {
		if (text === "bye") { this.emit("last"); this.finish(4001, "told to") }
		else if (text === "throw") throw new Error("no sending today")
		else if (text === "throw nothing") throw undefined
		else if (text === "binary") this.emit(new ArrayBuffer(1))
		else setTimeout(() => this.emit(text))
	}
	close(code) {
		if (code !== 1000) throw new Error("InvalidAccessError")
		this.readyState = 2
		setTimeout(() => this.finish(1005, ""))
	}
}`

func dialFake(t *testing.T, url string, options DialOptions) (Conn, error) {
	t.Helper()
	js.Global().Call("eval", fake)
	return Dial(t.Context(), url, options)
}

func TestBrowserSocket(t *testing.T) {
	c, err := dialFake(t, "ws://ok/", DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"", "Zoë 😀", strings.Repeat("x", 100_000)} {
		if err := c.WriteText(t.Context(), []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := c.ReadText(t.Context()); err != nil || string(got) != want {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if err := c.WriteText(t.Context(), []byte("bye")); err != nil {
		t.Fatal(err)
	}
	if got, err := c.ReadText(t.Context()); err != nil || string(got) != "last" {
		t.Errorf("what came before the close frame was lost: %q, %v", got, err)
	}
	_, err = c.ReadText(t.Context())
	var closed *CloseError
	if !errors.As(err, &closed) || closed.Code != 4001 || closed.Reason != "told to" {
		t.Errorf("got %v", err)
	}
	if err := c.WriteText(t.Context(), []byte("x")); err == nil {
		t.Error("writing to a closed socket")
	}
}

// TestBrowserSocketThrows: what the page's WebSocket throws ends the connection and nothing else.
func TestBrowserSocketThrows(t *testing.T) {
	for text, want := range map[string]string{"throw": "no sending today", "throw nothing": "JavaScript error"} {
		c, err := dialFake(t, "ws://ok/", DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.WriteText(t.Context(), []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
		if _, err := c.ReadText(t.Context()); err == nil || err.Error() != want {
			t.Errorf("%s: reading after it: %v", text, err)
		}
	}
}

func TestBrowserSocketEnds(t *testing.T) {
	for url, options := range map[string]DialOptions{"ws://refused/": {}, "http://scheme/": {}} {
		if _, err := dialFake(t, url, options); err == nil {
			t.Errorf("%s: no error", url)
		}
	}
	for send, want := range map[string]error{"binary": ErrNotText, "too long": ErrTooBig} {
		c, err := dialFake(t, "ws://ok/", DialOptions{ReadLimit: 4})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.WriteText(t.Context(), []byte(send)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ReadText(t.Context()); !errors.Is(err, want) {
			t.Errorf("%s: %v", send, err)
		}
	}
	c, err := dialFake(t, "ws://ok/", DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := c.ReadText(ctx)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	c, _ = dialFake(t, "ws://ok/", DialOptions{})
	c.Close()
	c.Close()
	if _, err := c.ReadText(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
