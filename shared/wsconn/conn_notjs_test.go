//go:build !js

package wsconn

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serve runs use for every connection accepted and returns the server's ws address.
func serve(t *testing.T, options AcceptOptions, use func(Conn)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, options)
		if err != nil {
			return
		}
		use(c)
		c.Close()
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

func dial(t *testing.T, url string, options DialOptions) Conn {
	t.Helper()
	c, err := Dial(t.Context(), url, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func echo(c Conn) {
	for {
		data, err := c.ReadText(context.Background())
		if err != nil {
			return
		}
		c.WriteText(context.Background(), data)
	}
}

func TestEchoAndClose(t *testing.T) {
	c := dial(t, serve(t, AcceptOptions{}, echo), DialOptions{})
	for _, want := range []string{"", "hello", strings.Repeat("Zoë", 100_000)} { // far beyond nhooyr's own limit
		if err := c.WriteText(t.Context(), []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := c.ReadText(t.Context()); err != nil || string(got) != want {
			t.Fatalf("%d bytes, %v; want %d", len(got), err, len(want))
		}
	}
	c.Close()
	c.Close()
	if _, err := c.ReadText(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("reading after Close: %v", err)
	}
	if err := c.WriteText(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("writing after Close: %v", err)
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := Accept(w, r, AcceptOptions{}); err == nil {
			echo(c)
			c.Close()
		}
	}))
	s.EnableHTTP2 = true // which has no WebSocket, and must not be agreed on
	s.StartTLS()
	t.Cleanup(s.Close)
	url := "wss" + strings.TrimPrefix(s.URL, "https")
	if _, err := Dial(t.Context(), url, DialOptions{}); err == nil {
		t.Error("an unknown certificate was accepted")
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c := dial(t, url, DialOptions{Platform: Platform{TLS: &tls.Config{RootCAs: roots}}})
	if err := c.WriteText(t.Context(), []byte("secret")); err != nil {
		t.Fatal(err)
	}
	if got, err := c.ReadText(t.Context()); err != nil || string(got) != "secret" {
		t.Errorf("%s, %v", got, err)
	}
	c.Close()
}

func TestPeerSeesCloseCode(t *testing.T) {
	c := dial(t, serve(t, AcceptOptions{}, func(Conn) {}), DialOptions{})
	_, err := c.ReadText(t.Context())
	var closed *CloseError
	if !errors.As(err, &closed) || closed.Code != 1000 {
		t.Errorf("got %v", err)
	}
}

func TestReadLimit(t *testing.T) {
	errs := make(chan error, 1)
	c := dial(t, serve(t, AcceptOptions{ReadLimit: 1000}, func(c Conn) {
		for {
			if _, err := c.ReadText(context.Background()); err != nil {
				errs <- err
				return
			}
		}
	}), DialOptions{})
	for _, n := range []int{1000, 1001} {
		if err := c.WriteText(t.Context(), make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-errs; !errors.Is(err, ErrTooBig) {
		t.Errorf("the reader got %v", err)
	}
	_, err := c.ReadText(t.Context())
	var closed *CloseError
	if !errors.As(err, &closed) || closed.Code != 1009 {
		t.Errorf("the writer got %v", err)
	}
}

// handshake opens a WebSocket by hand, for what no well-behaved client does.
func handshake(t *testing.T, url string) (net.Conn, *bufio.Reader) {
	t.Helper()
	raw, err := net.Dial("tcp", strings.TrimPrefix(url, "ws://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	raw.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"))
	r := bufio.NewReader(raw)
	answer, err := http.ReadResponse(r, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(answer, err)
	}
	return raw, r
}

func TestOnlyUTF8TextIsRead(t *testing.T) {
	errs := make(chan error, 1)
	url := serve(t, AcceptOptions{}, func(c Conn) {
		_, err := c.ReadText(context.Background())
		errs <- err
	})
	for _, frame := range []string{"\x82\x81\x00\x00\x00\x00a", "\x81\x81\x00\x00\x00\x00\xff"} { // binary; text that is not UTF-8
		raw, _ := handshake(t, url)
		raw.Write([]byte(frame))
		if err := <-errs; !errors.Is(err, ErrNotText) {
			t.Errorf("%q: %v", frame, err)
		}
	}
}

// A peer that stops in the middle of a message must not hold up Close, whichever of the two gets hold of the reader.
func TestCloseOfStalledPeer(t *testing.T) {
	reading := make(chan Conn)
	ended := make(chan error, 1)
	url := serve(t, AcceptOptions{}, func(c Conn) {
		reading <- c
		_, err := c.ReadText(context.Background())
		ended <- err
	})
	raw, _ := handshake(t, url)
	raw.Write([]byte("\x01\x82\x00\x00\x00\x00a")) // the first half of the first of several frames
	c := <-reading
	start := time.Now()
	c.Close()
	if took := time.Since(start); took > 10*CloseWait {
		t.Errorf("Close took %v", took)
	}
	if err := <-ended; err == nil {
		t.Error("the reader got half a message")
	}
}

func TestCloseNowEndsAWriteThatBlocks(t *testing.T) {
	blocked := make(chan error, 1)
	conns := make(chan Conn)
	url := serve(t, AcceptOptions{}, func(c Conn) {
		conns <- c
		big := make([]byte, 1<<20)
		for {
			if err := c.WriteText(context.Background(), big); err != nil {
				blocked <- err
				return
			}
		}
	})
	handshake(t, url) // and never reads
	(<-conns).CloseNow()
	if err := <-blocked; err == nil {
		t.Error("no error")
	}
}

func TestEndOfContextUnblocksReader(t *testing.T) {
	c := dial(t, serve(t, AcceptOptions{}, echo), DialOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := c.ReadText(ctx)
		ended <- err
	}()
	cancel()
	if err := <-ended; err == nil {
		t.Error("no error")
	}
}

func TestDialFails(t *testing.T) {
	refusing := httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for _, url := range []string{"ws" + strings.TrimPrefix(refusing.URL, "http"), "ftp://x/", "ws://127.0.0.1:1/", "%"} {
		if _, err := Dial(ctx, url, DialOptions{}); err == nil {
			t.Errorf("%s: no error", url)
		}
	}
	w := httptest.NewRecorder()
	if _, err := Accept(w, httptest.NewRequest("GET", "/", nil), AcceptOptions{}); err == nil || w.Code != http.StatusUpgradeRequired {
		t.Errorf("a plain request: %v, status %d", err, w.Code)
	}
}
