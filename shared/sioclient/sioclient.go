// Package sioclient is a Socket.IO client: Engine.IO 4 over one WebSocket, namespace "/" (portal protocol section 1).
//
// It is the client's end of the signalling path: the conference client calls Request, and socketio, engineio and wsconn carry
// it to the portal; what the portal emits comes back to OnEvent. It is the same code in native programs and in the browser.
//
// A Conn has three goroutines. The reader takes messages off the WebSocket as fast as they come and does no work of the
// application's: it answers heartbeats and ends the wait of Request. The writer sends, and watches that the server is alive.
// The third calls the application: OnEvent, the functions of Ask, and in the end OnClose, in the order things arrived.
package sioclient

import (
	"context"
	"errors"
	"strings"
	"time"

	"portico/shared/jsonvalue"
	"portico/shared/socketio"
	"portico/shared/wsconn"
)

// Options say where to connect and whom to tell. Only URL is required.
type Options struct {
	URL     string        // http, https, ws or wss://host[:port]; what follows the port is ignored
	Path    string        // default "/socket.io/"
	Timeout time.Duration // of Dial, in addition to its ctx; default 20 s
	Dialer  Dialer        // default: wsconn.Dial
	// OnEvent takes the events of the server, one at a time and in order, on the Conn's own goroutine. It may block and may
	// call every method of the Conn; events meanwhile wait, up to MaxInbox of them.
	OnEvent func(name string, args []jsonvalue.Value)
	// OnClose is the last call, made exactly once for a Conn that Dial returned, on the same goroutine. err is ErrDisconnected
	// or ErrClosed, or satisfies errors.Is(err, ErrLost).
	OnClose func(err error)
	// MaxInbox is how many events may wait for OnEvent before the Conn gives up with ErrOverload; default 10,000.
	MaxInbox int
}

// Dialer opens a WebSocket at url, of scheme ws or wss. ctx bounds the opening only.
type Dialer func(ctx context.Context, url string) (wsconn.Conn, error)

// Why a Conn has ended, or could not begin.
var (
	ErrDisconnected = errors.New("sioclient: disconnected by the server") // deliberately: do not reconnect by yourself
	ErrClosed       = errors.New("sioclient: connection closed")          // by Close
	ErrLost         = errors.New("sioclient: connection lost")            // see LostError for the cause
	ErrProtocol     = errors.New("sioclient: the server does not speak Socket.IO as it should")
	ErrTimeout      = errors.New("sioclient: the server does not respond")
	ErrOverload     = errors.New("sioclient: the application does not keep up with events")
	ErrURL          = errors.New("sioclient: the URL must be http(s)://host[:port]")
)

// LostError says why the transport of a Conn ended. It is ErrLost to errors.Is.
type LostError struct{ Cause error }

// Error names the cause.
func (e *LostError) Error() string { return ErrLost.Error() + ": " + e.Cause.Error() }

// Unwrap gives the cause.
func (e *LostError) Unwrap() error { return e.Cause }

// Is makes a LostError an ErrLost.
func (e *LostError) Is(target error) bool { return target == ErrLost }

// RefusedError is the server's refusal to connect us to the namespace. Trying again will hardly help.
type RefusedError struct{ Message string }

// Error quotes the server.
func (e *RefusedError) Error() string {
	return "sioclient: the server refused the connection: " + e.Message
}

func (o Options) withDefaults() Options {
	if o.Path == "" {
		o.Path = "/socket.io/"
	}
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	if o.MaxInbox == 0 {
		o.MaxInbox = 10_000
	}
	if o.Dialer == nil {
		o.Dialer = func(ctx context.Context, url string) (wsconn.Conn, error) {
			return wsconn.Dial(ctx, url, wsconn.DialOptions{})
		}
	}
	if o.OnEvent == nil {
		o.OnEvent = func(string, []jsonvalue.Value) {}
	}
	if o.OnClose == nil {
		o.OnClose = func(error) {}
	}
	return o
}

// address is the URL of the WebSocket.
func (o Options) address() (string, error) {
	scheme, rest, found := strings.Cut(o.URL, "://")
	host, _, _ := strings.Cut(rest, "/")
	switch strings.ToLower(scheme) {
	case "http", "ws":
		scheme = "ws"
	case "https", "wss":
		scheme = "wss"
	default:
		found = false
	}
	if !found || host == "" || strings.ContainsAny(host, "?# ") {
		return "", ErrURL
	}
	path := o.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return scheme + "://" + host + path + "?EIO=4&transport=websocket", nil
}

// Dial connects and returns when the server has accepted us. The errors are ErrURL, *RefusedError, ErrProtocol, the error of
// ctx, or the network's. The caller owns the Conn and has to Close it, also after OnClose.
func Dial(ctx context.Context, options Options) (*Conn, error) {
	options = options.withDefaults()
	url, err := options.address()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, options.Timeout)
	defer cancel()
	ws, err := options.Dialer(ctx, url)
	if err != nil {
		return nil, err
	}
	c := &Conn{
		options: options,
		ws:      ws,
		wake:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
		done:    make(chan struct{}),
		decoder: socketio.NewDecoder(socketio.Limits{Attachments: -1}), // OnEvent could not be given them
	}
	c.writing, c.endWrite = context.WithCancel(context.Background())
	if err := c.handshake(ctx); err != nil {
		ws.CloseNow()
		return nil, err
	}
	c.start()
	return c, nil
}
