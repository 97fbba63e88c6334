//go:build !js

package wsconn

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"nhooyr.io/websocket"
)

// Platform is what can be set in native programs only.
type Platform struct {
	TLS    *tls.Config // for wss; nil: the system's roots
	Header http.Header // sent with the handshake; nil: none beside the protocol's own
	// DialContext connects; nil: a net.Dialer. A proxy from the environment is asked for only when it is nil.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// AcceptOptions are the ways to accept. The zero value is ready for use.
type AcceptOptions struct {
	ReadLimit int64 // longest message accepted, in bytes; 0: DefaultReadLimit
}

type conn struct {
	ws    *websocket.Conn
	raw   net.Conn // below ws, and below TLS: closing it ends whatever ws is waiting for
	close sync.Once
}

var _ Conn = (*conn)(nil)

// Dial opens a WebSocket at url, of scheme ws or wss. ctx bounds the handshake only.
func Dial(ctx context.Context, url string, options DialOptions) (Conn, error) {
	c := &conn{}
	transport := c.transport(options.Platform)
	defer transport.CloseIdleConnections() // a refused handshake leaves one
	ws, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport},
		HTTPHeader: options.Platform.Header,
	})
	if err != nil {
		return nil, err
	}
	c.ws = ws
	c.ws.SetReadLimit(readLimit(options.ReadLimit))
	return c, nil
}

// transport makes one connection, which it notes in c.raw.
func (c *conn) transport(p Platform) *http.Transport {
	t := &http.Transport{TLSClientConfig: p.TLS, TLSHandshakeTimeout: 10 * time.Second}
	dial := p.DialContext
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
		t.Proxy = http.ProxyFromEnvironment
	}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := dial(ctx, network, address)
		if err == nil {
			c.raw = raw
		}
		return raw, err
	}
	return t
}

// Accept answers a WebSocket handshake. Any origin is welcome: the caller has judged it. When it fails it has written the
// HTTP answer. The deadlines of the HTTP server no longer apply to the connection.
func Accept(w http.ResponseWriter, r *http.Request, options AcceptOptions) (Conn, error) {
	c := &conn{}
	ws, err := websocket.Accept(hijackNoter{w, c}, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	c.ws = ws
	c.ws.SetReadLimit(readLimit(options.ReadLimit))
	return c, nil
}

// hijackNoter notes the connection that is taken over from the HTTP server.
type hijackNoter struct {
	http.ResponseWriter
	c *conn
}

// Hijack implements http.Hijacker.
func (h hijackNoter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	raw, buffers, err := http.NewResponseController(h.ResponseWriter).Hijack()
	h.c.raw = raw
	return raw, buffers, err
}

func (c *conn) ReadText(ctx context.Context) ([]byte, error) {
	kind, data, err := c.ws.Read(ctx)
	if err != nil {
		return nil, translate(err)
	}
	if kind != websocket.MessageText || !utf8.Valid(data) {
		return nil, ErrNotText
	}
	return data, nil
}

func (c *conn) WriteText(ctx context.Context, data []byte) error {
	return translate(c.ws.Write(ctx, websocket.MessageText, data))
}

func (c *conn) Close() error {
	c.close.Do(func() {
		watchdog := time.AfterFunc(CloseWait, func() { c.raw.Close() })
		defer watchdog.Stop()
		c.ws.Close(websocket.StatusNormalClosure, "") // fails when the peer is gone, which is as good
	})
	return nil
}

func (c *conn) CloseNow() error {
	c.raw.Close() // first, since a Close under way makes ws.CloseNow wait for it
	c.close.Do(func() { c.ws.CloseNow() })
	return nil
}

// translate turns the errors of websocket into ours where a caller can act on them.
func translate(err error) error {
	var closed websocket.CloseError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &closed):
		return &CloseError{int(closed.Code), closed.Reason}
	case errors.Is(err, net.ErrClosed):
		return ErrClosed
	case strings.Contains(err.Error(), "read limited at"): // it has no name for this error
		return ErrTooBig
	}
	return err
}
