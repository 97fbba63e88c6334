// Package wsconn is one small connection over WebSocket (RFC 6455) for text messages, the same in native programs and in the
// browser.
//
// It is where signalling meets the network: sioserver accepts and sioclient dials, and both see a Conn. Natively it stands on
// nhooyr.io/websocket, which only this package imports; under js it is the browser's own WebSocket object.
//
// Two habits of those below are kept from the users: nhooyr reads at most 32 KiB unless told otherwise, and its Close can be
// held up by a peer that stalls in the middle of a message; a browser refuses most close codes and then leaves the socket
// open. So the limit is always set here, closing takes CloseWait at most, and the only code ever sent by request is 1000.
package wsconn

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// Conn is an open WebSocket. One goroutine may read while others write; Close and CloseNow may be called from anywhere.
type Conn interface {
	// ReadText waits for the next text message and gives it to the caller for good. Natively the end of ctx destroys the
	// connection: pass one that lives as long as the connection does. The errors are *CloseError when the peer closed,
	// ErrTooBig, ErrNotText, or what the network said; after any of them the connection can only be closed.
	ReadText(ctx context.Context) ([]byte, error)
	// WriteText sends one text message, which must be UTF-8. It may block until the peer reads; when ctx ends first, the
	// connection is destroyed. It keeps no reference to data.
	WriteText(ctx context.Context, data []byte) error
	// Close sends a close frame with code 1000, waits CloseWait at most for the peer's, and ends the connection and every
	// pending call. It is safe to call again.
	Close() error
	// CloseNow ends the connection and every pending call without telling the peer, where the platform permits.
	CloseNow() error
}

// CloseWait is how long Close waits for the peer to answer.
const CloseWait = time.Second

// DefaultReadLimit is the longest message that is read, in bytes, unless the options say otherwise.
const DefaultReadLimit = 16 << 20

// DialOptions are the ways to dial. The zero value is ready for use.
type DialOptions struct {
	ReadLimit int64 // longest message accepted, in bytes; 0: DefaultReadLimit
	Platform  Platform
}

// The errors of a Conn beside those of the network.
var (
	ErrTooBig  = errors.New("wsconn: message exceeds the read limit")
	ErrNotText = errors.New("wsconn: message is not UTF-8 text")
	ErrClosed  = errors.New("wsconn: connection is closed")
)

// CloseError is the peer's close frame.
type CloseError struct {
	Code   int // RFC 6455 section 7.4; 1005 when the frame held none, 1006 when a browser lost the connection without one
	Reason string
}

// Error names code and reason.
func (e *CloseError) Error() string {
	text := "wsconn: closed by the peer with code " + strconv.Itoa(e.Code)
	if e.Reason != "" {
		text += " (" + e.Reason + ")"
	}
	return text
}

func readLimit(n int64) int64 {
	if n == 0 {
		return DefaultReadLimit
	}
	return n
}
