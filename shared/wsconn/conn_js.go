//go:build js

package wsconn

import (
	"context"
	"errors"
	"sync"
	"syscall/js"
	"time"
)

// Platform is what can be set in native programs only: nothing here.
type Platform struct{}

// The readyState of a JavaScript WebSocket.
const stateOpen = 1

// A browser takes any amount of data and keeps what it cannot send. WriteText waits while it keeps more than maxBuffered
// bytes; there is no event for when it has less.
const (
	maxBuffered  = 4 << 20
	bufferedPoll = 20 * time.Millisecond
)

type conn struct {
	ws        js.Value
	listeners []listener
	limit     int64
	arrived   chan struct{} // capacity 1: there is something in messages, or closed is set
	ended     chan struct{} // closed with closed set

	mu       sync.Mutex // guards what follows
	messages [][]byte   // not read yet; JavaScript's callbacks cannot wait for a reader
	buffered int64      // bytes in messages
	closed   error      // why there will be no more
}

type listener struct {
	event string
	fn    js.Func
}

var _ Conn = (*conn)(nil)

// Dial opens a WebSocket at url, of scheme ws or wss. ctx bounds the handshake only.
func Dial(ctx context.Context, url string, options DialOptions) (Conn, error) {
	c := &conn{limit: readLimit(options.ReadLimit), arrived: make(chan struct{}, 1), ended: make(chan struct{})}
	if err := c.construct(url); err != nil {
		return nil, err
	}
	opened := make(chan struct{})
	c.listen("open", func(js.Value) { close(opened) })
	c.listen("message", c.onMessage)
	c.listen("close", func(event js.Value) {
		c.end(&CloseError{event.Get("code").Int(), event.Get("reason").String()})
	})
	select {
	case <-opened:
		return c, nil
	case <-c.ended:
		return nil, errors.New("wsconn: cannot connect to " + url) // a browser does not say why
	case <-ctx.Done():
		c.Close()
		return nil, ctx.Err()
	}
}

// construct makes the WebSocket object, whose constructor throws for a faulty URL, and for ws on a page of https.
func (c *conn) construct(url string) error {
	err := guard(func() {
		c.ws = js.Global().Get("WebSocket").New(url)
		c.ws.Set("binaryType", "arraybuffer")
	})
	if err != nil {
		return errors.New("wsconn: cannot connect to " + url + ": " + err.Error())
	}
	return nil
}

// guard turns what JavaScript throws into an error: a page can put anything in the place of WebSocket, and a panic would end the program.
func guard(fn func()) (err error) {
	defer func() {
		switch thrown := recover().(type) {
		case nil:
		case js.Error:
			err = errors.New("JavaScript error")
			if thrown.Value.Type() == js.TypeObject && thrown.Value.Get("message").Type() == js.TypeString {
				err = errors.New(thrown.Value.Get("message").String())
			}
		case *js.ValueError: // it is no WebSocket at all
			err = thrown
		default:
			panic(thrown)
		}
	}()
	fn()
	return nil
}

func (c *conn) listen(event string, fn func(event js.Value)) {
	f := js.FuncOf(func(_ js.Value, args []js.Value) any {
		fn(args[0])
		return nil
	})
	c.listeners = append(c.listeners, listener{event, f})
	c.ws.Call("addEventListener", event, f)
}

func (c *conn) onMessage(event js.Value) {
	data := event.Get("data")
	if data.Type() != js.TypeString {
		c.fail(ErrNotText)
		return
	}
	text := []byte(data.String())
	c.mu.Lock()
	tooBig := int64(len(text)) > c.limit || c.buffered > c.limit+maxBuffered
	if !tooBig && c.closed == nil {
		c.messages = append(c.messages, text)
		c.buffered += int64(len(text))
	}
	c.mu.Unlock()
	if tooBig {
		c.fail(ErrTooBig)
		return
	}
	c.signal()
}

func (c *conn) signal() {
	select {
	case c.arrived <- struct{}{}:
	default:
	}
}

// end notes why there will be no more messages, and frees the callbacks: none of them runs afterwards.
func (c *conn) end(why error) {
	c.mu.Lock()
	first := c.closed == nil
	if first {
		c.closed = why
	}
	c.mu.Unlock()
	if !first {
		return
	}
	close(c.ended)
	c.signal()
	for _, l := range c.listeners {
		c.ws.Call("removeEventListener", l.event, l.fn)
		l.fn.Release()
	}
}

func (c *conn) fail(why error) {
	c.end(why)
	_ = guard(func() { c.ws.Call("close", 1000) }) // gone either way
}

func (c *conn) ReadText(ctx context.Context) ([]byte, error) {
	for {
		c.mu.Lock()
		if len(c.messages) > 0 {
			text := c.messages[0]
			c.messages = c.messages[1:]
			c.buffered -= int64(len(text))
			c.mu.Unlock()
			return text, nil
		}
		closed := c.closed
		c.mu.Unlock()
		if closed != nil {
			return nil, closed
		}
		select {
		case <-c.arrived:
		case <-c.ended:
		case <-ctx.Done():
			c.fail(ErrClosed)
			return nil, ctx.Err()
		}
	}
}

func (c *conn) WriteText(ctx context.Context, data []byte) error {
	for c.ws.Get("bufferedAmount").Int() > maxBuffered {
		timer := time.NewTimer(bufferedPoll)
		select {
		case <-timer.C:
		case <-c.ended:
		case <-ctx.Done():
			timer.Stop()
			c.fail(ErrClosed)
			return ctx.Err()
		}
		timer.Stop()
		if c.isClosed() != nil {
			break
		}
	}
	if err := c.isClosed(); err != nil {
		return err
	}
	if c.ws.Get("readyState").Int() != stateOpen {
		return ErrClosed // send would throw the data away in silence
	}
	if err := guard(func() { c.ws.Call("send", string(data)) }); err != nil {
		c.fail(err)
		return err
	}
	return nil
}

func (c *conn) isClosed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Close does not wait for the peer: the browser finishes what it has buffered and the close handshake by itself.
func (c *conn) Close() error {
	c.fail(ErrClosed)
	return nil
}

// CloseNow is Close: a browser has no other way.
func (c *conn) CloseNow() error { return c.Close() }
