package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// Call is a conversation of two nodes on a Link. All methods are safe for concurrent use.
type Call struct {
	link   *Link
	stream *quic.Stream
	ctx    context.Context // of the stream: ends when this side cannot send any more
	writer chan struct{}   // holds an element while somebody sends
	reader chan struct{}   // while somebody receives; guards the two below
	head   []byte          // what has come of a message's length
	body   []byte          // and of the message

	mu     sync.Mutex // guards closed, and that nobody moves a deadline after it
	closed bool
}

func newCall(l *Link, s *quic.Stream) *Call {
	return &Call{link: l, stream: s, ctx: s.Context(), writer: make(chan struct{}, 1), reader: make(chan struct{}, 1), head: make([]byte, 0, 4)}
}

// Call opens a Call. The peer hears of it with the first message. It waits while there are too many (Options.MaxCalls of the peer);
// it fails with why the Link has ended, and when ctx ends.
func (l *Link) Call(ctx context.Context) (*Call, error) {
	s, err := l.conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, l.callErr(ctx, err)
	}
	return newCall(l, s), nil
}

// Accept waits for a Call that the peer opens.
func (l *Link) Accept(ctx context.Context) (*Call, error) {
	s, err := l.conn.AcceptStream(ctx)
	if err != nil {
		return nil, l.callErr(ctx, err)
	}
	return newCall(l, s), nil
}

func (l *Link) callErr(ctx context.Context, err error) error {
	switch gone := context.Cause(l.conn.Context()); {
	case gone != nil:
		return explain(gone)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return explain(err)
}

// Link is the Link that it is on.
func (c *Call) Link() *Link { return c.link }

// Done is closed when the Call has ended: closed by one of the two, or with the Link. What the peer had sent before it closed the Call
// can still be received.
func (c *Call) Done() <-chan struct{} { return c.ctx.Done() }

// Send sends a message, and copies it. It waits while the peer does not read, five seconds at the most: then it fails with
// ErrStalled, and the Call is closed. It fails with ErrTooLong beyond MaxMessage, and with ErrClosed after the Call's end.
func (c *Call) Send(message []byte) error {
	if len(message) > MaxMessage {
		return ErrTooLong
	}
	deadline := time.Now().Add(sendTimeout)
	timer := time.NewTimer(sendTimeout)
	defer timer.Stop()
	select {
	case c.writer <- struct{}{}:
	case <-c.ctx.Done():
		return ErrClosed
	case <-timer.C:
		return ErrStalled
	}
	c.mu.Lock()
	closed := c.closed
	if !closed {
		_ = c.stream.SetWriteDeadline(deadline)
	}
	c.mu.Unlock()
	if closed {
		<-c.writer
		return ErrClosed
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(message)), uint32(len(message)))
	_, err := c.stream.Write(append(frame, message...))
	if err == nil {
		<-c.writer
		return nil
	}
	c.stream.CancelWrite(streamBroken) // a part of it may have been sent
	<-c.writer
	c.mu.Lock()
	closed = c.closed
	c.mu.Unlock()
	c.Close()
	if errors.Is(err, os.ErrDeadlineExceeded) && !closed {
		return ErrStalled
	}
	return ErrClosed
}

// Codes with which a stream is given up.
const (
	streamClosed quic.StreamErrorCode = iota
	streamBroken
)

// Receive waits for the next message, which is the caller's. It fails with io.EOF when the peer has closed the Call, with ErrClosed
// when this side has, or the peer has given it up, or the Link has ended, with ErrTooLong or ErrBadPeer when what comes is no message,
// and when ctx ends: then nothing is lost, and it can be called again.
func (c *Call) Receive(ctx context.Context) ([]byte, error) {
	select {
	case c.reader <- struct{}{}:
		defer func() { <-c.reader }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.stream.SetReadDeadline(time.Unix(1, 0))
		close(ended)
	})
	defer func() {
		if !stop() {
			<-ended
			_ = c.stream.SetReadDeadline(time.Time{})
		}
	}()
	message, err := c.read()
	switch {
	case err == nil || err == io.EOF:
		return message, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, ctx.Err()
	case errors.Is(err, ErrTooLong), errors.Is(err, io.ErrUnexpectedEOF):
		c.Close()
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: half a message", ErrBadPeer)
		}
		return nil, err
	}
	return nil, ErrClosed
}

// read goes on with the message that has begun. Memory for it grows as it comes: a length alone makes nobody reserve anything.
func (c *Call) read() ([]byte, error) {
	for len(c.head) < cap(c.head) {
		n, err := c.stream.Read(c.head[len(c.head):cap(c.head)])
		c.head = c.head[:len(c.head)+n]
		if err != nil && len(c.head) < cap(c.head) {
			if err == io.EOF && len(c.head) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	size := int(binary.BigEndian.Uint32(c.head))
	if size > MaxMessage {
		return nil, ErrTooLong
	}
	for len(c.body) < size {
		if len(c.body) == cap(c.body) {
			grown := make([]byte, len(c.body), min(size, max(2*len(c.body), 4<<10)))
			copy(grown, c.body)
			c.body = grown
		}
		n, err := c.stream.Read(c.body[len(c.body):min(cap(c.body), size)])
		c.body = c.body[:len(c.body)+n]
		if err != nil && len(c.body) < size {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	message := c.body
	if message == nil {
		message = []byte{}
	}
	c.head, c.body = c.head[:0], nil
	return message, nil
}

// Close ends the Call in both directions. The peer still gets what Send has taken, unless a Send is waiting at that time. It is safe
// twice and does not wait for the peer.
func (c *Call) Close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	_ = c.stream.SetWriteDeadline(time.Unix(1, 0)) // a Send that waits ends
	c.mu.Unlock()
	c.stream.CancelRead(streamClosed)
	c.writer <- struct{}{}
	_ = c.stream.Close()
	<-c.writer
}
