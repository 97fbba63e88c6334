// Package sioserver is a Socket.IO server: an http.Handler that speaks Engine.IO 3 and 4 on one path, by long-polling and by
// WebSocket, with the upgrade from the one to the other (portal protocol section 1).
//
// It is where a client's signalling enters an edge: bytes arrive here, pass engineio and socketio, and become calls of a
// Handler, one for each client; what the Handler emits takes the way back. It knows nothing of conferences.
//
// # A session and its goroutines
//
// A client's Engine.IO session lives from its handshake until its transport is lost. Received packets are handed in by
// whoever holds the session's feed: one POST at a time, or the reader of its WebSocket. They are decoded there and put in a
// bounded inbox, which a goroutine of the session's own empties by calling the Handler; a full inbox makes the feed wait, and
// with it the client. Packets to be sent wait in a bounded queue that never makes anyone wait: a client whose queue is full is
// cut. The queue is emptied by the poll the client holds open, or by the writer of its WebSocket.
//
// A Socket is the client's connection to the namespace "/" within the session, the only namespace there is. A session has one
// at a time: the server's Disconnect ends it and leaves the session open, and the client may connect again.
package sioserver

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"portico/shared/engineio"
	"portico/shared/jsonvalue"
)

// Options are the settings of a Server. A zero field means its default.
type Options struct {
	PingInterval   time.Duration // between heartbeats; default 25 s
	PingTimeout    time.Duration // patience with an unanswered heartbeat, a slow HTTP body and a blocked write; default 20 s
	UpgradeTimeout time.Duration // from the opening of a second transport to its taking over; default 10 s
	ConnectTimeout time.Duration // from the handshake to the client's first connect packet; default 45 s
	CloseTimeout   time.Duration // how long what is left for a client waits for its next poll once the server has closed it; default 10 s
	MaxPayload     int           // bytes of one received message or HTTP body; default 1,000,000
	MaxConnections int           // sessions at a time, further handshakes are refused; default 10,000
	MaxQueue       Queue         // what may wait to be sent to one client
	DisableEIO3    bool          // refuse clients of Engine.IO 3
	Origins        []string      // origins of web pages that may connect, "*" for all; pages of this server's own host and requests without Origin always may
	Log            *slog.Logger  // default: none

	// Allow, unless it is nil, lets in pages of origins besides, as "https://host:port"; it is called at every request of a page that is not
	// let in otherwise, and must not block.
	Allow func(origin string) bool

	// Accept is called for each new Socket, on the goroutine that will call its Handler, after the client has been told that
	// it is connected. A nil Handler disconnects the client. Without Accept every client is let in and its events are ignored.
	Accept func(*Socket) Handler
}

// Queue bounds what waits to be sent to one client. A single packet longer than Bytes may wait alone.
type Queue struct {
	Packets int // default 4,096
	Bytes   int // default 4 MiB
}

func (o Options) withDefaults() Options {
	o.PingInterval = orDefault(o.PingInterval, 25*time.Second)
	o.PingTimeout = orDefault(o.PingTimeout, 20*time.Second)
	o.UpgradeTimeout = orDefault(o.UpgradeTimeout, 10*time.Second)
	o.ConnectTimeout = orDefault(o.ConnectTimeout, 45*time.Second)
	o.CloseTimeout = orDefault(o.CloseTimeout, 10*time.Second)
	o.MaxPayload = orDefault(o.MaxPayload, 1_000_000)
	o.MaxConnections = orDefault(o.MaxConnections, 10_000)
	o.MaxQueue.Packets = orDefault(o.MaxQueue.Packets, 4096)
	o.MaxQueue.Bytes = orDefault(o.MaxQueue.Bytes, 4<<20)
	o.Origins = slices.Clone(o.Origins)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Accept == nil {
		o.Accept = func(*Socket) Handler { return ignore{} }
	}
	return o
}

func orDefault[T time.Duration | int](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}

type ignore struct{}

func (ignore) Event(string, []jsonvalue.Value, Ack) {}
func (ignore) Closed(string)                        {}

// Handler takes the events of one Socket. Its methods are called one at a time, in order, on a goroutine of the session's own.
// They may block: that delays this client only, which is cut when it is kept waiting for longer than its heartbeat allows.
type Handler interface {
	// Event takes one event. args are without the name; ack is nil when the client asked for no answer.
	Event(name string, args []jsonvalue.Value, ack Ack)
	// Closed is the last call, made exactly once when Accept gave a Handler. reason is one of the Reason constants. Events that
	// arrived before the transport was lost are delivered before it; after Disconnect and Close there are none.
	Closed(reason string)
}

// Ack answers one event. Only its first call counts. It never blocks, may be called from any goroutine and at any time; once
// the Socket is gone it does nothing.
type Ack func(args ...jsonvalue.Value)

// Server is the http.Handler. Make it with New; its owner calls Shutdown.
type Server struct {
	opts  Options
	stats counters

	mu       sync.Mutex // guards what follows
	sessions map[string]*session
	draining bool
	active   int           // requests being served and goroutines of sessions
	idle     chan struct{} // made by Shutdown, closed when active reaches 0
}

// ErrIncomplete is what Shutdown returns when a Handler did not return in time.
var ErrIncomplete = errors.New("sioserver: a handler is still running")

// New makes a Server.
func New(opts Options) *Server {
	return &Server{opts: opts.withDefaults(), sessions: make(map[string]*session)}
}

// Len is the number of open sessions.
func (srv *Server) Len() int {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return len(srv.sessions)
}

// Shutdown refuses new handshakes, closes every session once what waits for its client has been sent, and waits until no
// goroutine of the server is left. When ctx ends first, it drops what could not be sent and returns the error of ctx, joined
// with ErrIncomplete if a Handler still keeps its goroutine. Handlers are told ReasonShutdown. Later calls do the same.
func (srv *Server) Shutdown(ctx context.Context) error {
	srv.mu.Lock()
	srv.draining = true
	if srv.idle == nil {
		srv.idle = make(chan struct{})
		if srv.active == 0 {
			close(srv.idle)
		}
	}
	open := make([]*session, 0, len(srv.sessions))
	for _, s := range srv.sessions {
		open = append(open, s)
	}
	idle := srv.idle
	srv.mu.Unlock()
	for _, s := range open {
		s.shut(ReasonShutdown, afterQueue)
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	for _, s := range open {
		s.shut(ReasonShutdown, atOnce)
	}
	patience := time.NewTimer(shutdownPatience)
	defer patience.Stop()
	select {
	case <-idle:
		return ctx.Err()
	case <-patience.C:
		return errors.Join(ctx.Err(), ErrIncomplete)
	}
}

// shutdownPatience is how long Shutdown waits for goroutines once it has torn down the transports: more than wsconn.CloseWait.
const shutdownPatience = 5 * time.Second

// enter counts a request or a goroutine that Shutdown has to wait for; leave ends it.
func (srv *Server) enter() {
	srv.mu.Lock()
	srv.active++
	srv.mu.Unlock()
}

func (srv *Server) leave() {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.active--; srv.active > 0 || srv.idle == nil {
		return
	}
	select {
	case <-srv.idle: // a request that came after the end
	default:
		close(srv.idle)
	}
}

// open begins a session, or says why not. Its goroutine is running when it returns.
func (srv *Server) open(rev engineio.Revision, overWebSocket bool, request Request) (*session, *refusal) {
	if rev == engineio.Revision3 && srv.opts.DisableEIO3 {
		return nil, refusedRevision
	}
	s := newSession(srv, newID(), rev, overWebSocket, request)
	if why := srv.add(s); why != nil {
		return nil, why
	}
	srv.stats.opened.Add(1)
	go s.dispatch()
	return s, nil
}

// add makes s known to requests and to Shutdown, and counts its goroutine, or says why it cannot be taken.
func (srv *Server) add(s *session) *refusal {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	switch {
	case srv.draining:
		return refusedShutdown
	case len(srv.sessions) >= srv.opts.MaxConnections:
		return refusedFull
	}
	s.start()
	srv.sessions[s.id] = s
	srv.active++
	return nil
}

func (srv *Server) session(id string) *session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.sessions[id]
}

func (srv *Server) remove(s *session) {
	srv.mu.Lock()
	delete(srv.sessions, s.id)
	srv.mu.Unlock()
}

// newID makes 20 characters of [A-Za-z0-9_-] that nobody can guess.
func newID() string {
	var random [15]byte
	rand.Read(random[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// Request is what is kept of the HTTP request that began a session. The texts come from the client and are cut to
// maxRequestText bytes.
type Request struct {
	RemoteAddr   string // address and port of the nearest hop
	Host         string
	Origin       string
	UserAgent    string
	ForwardedFor string // X-Forwarded-For: only to be believed behind a proxy of our own
	Secure       bool   // TLS ended in this process
}

const maxRequestText = 256

func newRequest(r *http.Request) Request {
	return Request{
		RemoteAddr:   r.RemoteAddr,
		Host:         shortened(r.Host),
		Origin:       shortened(r.Header.Get("Origin")),
		UserAgent:    shortened(r.UserAgent()),
		ForwardedFor: shortened(r.Header.Get("X-Forwarded-For")),
		Secure:       r.TLS != nil,
	}
}

// shortened copies, so that the whole header is not kept alive.
func shortened(text string) string {
	return string(append([]byte(nil), text[:min(len(text), maxRequestText)]...))
}
