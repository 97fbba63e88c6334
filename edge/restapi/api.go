// Package restapi is the management API: services, rooms, join tokens, and the participants and streams of rooms that are running, over
// HTTP as the OWT management server offers them (management API); and beyond that the quality of streams (streamQuality says in what
// form).
//
// It stands between the operator's application and the store. A request passes: CORS headers; body (JSON or form, checked
// even before the caller is known); MAuth signature; ownership of the room in the path; the resource, which reads or writes
// the store and tells the running conferences. Every error body is built in this package's errors.go.
package restapi

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"portico/edge/room"
	"portico/edge/store"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/token"
)

// Conferences are the rooms that are running now, in this node or another. Methods with a context may wait for the room until that ends;
// to those that return an error, a room that does not run is one.
type Conferences interface {
	// DestroyRoom ends the room's conference if there is one (management API 5.7). It must not block: the caller's request
	// is waiting, and the room has already left the store.
	DestroyRoom(room string)
	// StreamQuality is what becomes of a forward stream in a running room, or of one participant's subscriptions to it, in the form that
	// streamQuality describes; ok is false without such a stream.
	StreamQuality(ctx context.Context, room, stream, participant string) (q jsonvalue.Value, ok bool)

	// Participants and Streams list what is in a room, in the order in which the API shows it; nothing of one that does not run.
	Participants(ctx context.Context, room string) ([]conference.Participant, error)
	Streams(ctx context.Context, room string) ([]conference.Stream, error)
	// ChangePermission answers with the participant as it is then.
	ChangePermission(ctx context.Context, room, participant string, c room.PermissionChange) (conference.Participant, error)
	DropParticipant(ctx context.Context, room, participant string) error
	// ChangeStream answers with the stream as it is then.
	ChangeStream(ctx context.Context, room, stream string, changes []room.StreamChange) (conference.Stream, error)
	DeleteStream(ctx context.Context, room, stream string) error
}

// PortalAddress is where clients find a portal; with an empty Host there is none at the moment.
type PortalAddress struct {
	Host            string // host:port
	Secure          bool   // it speaks TLS
	WebTransportURL string // empty: none
}

// Options make an API. Store, TokenKey, Portal, Conferences and SuperService are needed.
type Options struct {
	Store     store.Store
	TokenKey  []byte               // the cluster's key for join tokens
	TokenKeys func() token.Keys    // unless it is nil, in the place of TokenKey
	Portal    func() PortalAddress // the portal to name in the next token; must not block
	// SealRecords puts the record of a token into it, too, so that it admits while the store is away, and can be made then.
	SealRecords bool
	// PortalFor, unless it is nil, is the portal for a client of that origin who is to join that room; in the place of Portal.
	PortalFor    func(room string, origin conference.Origin) PortalAddress
	Conferences  Conferences
	SuperService string // id of the service that may manage services

	MaxBody int           // bytes of a request's body; default 1 MiB
	Timeout time.Duration // for the store to answer one request; default 10 s

	// RefusalDelay waits before a failed authentication is answered, or until ctx ends; default a random time up to 1 s
	// (management API 2.5).
	RefusalDelay func(ctx context.Context)
	Log          *slog.Logger // default: none
}

// API is an http.Handler for /services, /v1 and /v1.1. It holds no state of its own: any number may serve one store.
type API struct {
	Options
}

// New makes an API.
func New(o Options) *API {
	if o.MaxBody == 0 {
		o.MaxBody = 1 << 20
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.RefusalDelay == nil {
		o.RefusalDelay = randomDelay
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.TokenKeys == nil {
		o.TokenKeys = func() token.Keys { return token.Keys{Current: o.TokenKey} }
	}
	if o.PortalFor == nil {
		o.PortalFor = func(string, conference.Origin) PortalAddress { return o.Portal() }
	}
	return &API{o}
}

func randomDelay(ctx context.Context) {
	timer := time.NewTimer(rand.N(time.Second))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// A call is one request on its way through the API.
type call struct {
	*API
	ctx     context.Context // ends with the request, or when its time is up
	request *http.Request
	path    []string        // segments, unescaped
	body    jsonvalue.Value // an object or an array
	auth    token.MAuth
	service store.Service // who asks
	room    store.Room    // the room in the path, if there is one
}

func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, value := range commonHeaders {
		w.Header()[name] = value
	}
	if r.Method == http.MethodOptions {
		reply(w, http.StatusOK, plainType, []byte("OK"))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.Timeout)
	defer cancel()
	c := &call{API: a, ctx: ctx, request: r}
	body, err := readBody(w, r, a.MaxBody)
	if err != nil {
		writeError(w, err)
		return
	}
	c.body = body
	answer, err := c.serve()
	if err == nil {
		err = answer(w)
	}
	if err == nil {
		return
	}
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // nobody is there to be answered
	}
	if errors.Is(err, store.ErrAway) { // which the store itself says in the log, once
		err = errAway
	}
	if f := (*failure)(nil); !errors.As(err, &f) {
		a.Log.Error("management request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	writeError(w, err)
}

var commonHeaders = http.Header{
	"Access-Control-Allow-Origin":  {"*"},
	"Access-Control-Allow-Methods": {"POST, GET, OPTIONS, DELETE, PATCH, PUT"},
	"Access-Control-Allow-Headers": {"origin, authorization, content-type"},
	"Strict-Transport-Security":    {"max-age=1024000; includeSubDomain"},
	"X-Content-Type-Options":       {"nosniff"},
}

// serve authenticates, checks who owns the room in the path, and lets the resource answer.
func (c *call) serve() (answer, error) {
	method := c.request.Method
	if method == http.MethodHead {
		method = http.MethodGet // net/http leaves out the body
	}
	if !needsMAuth(method, c.request.URL.Path) {
		return nil, errNoPath // all that there is needs it
	}
	if err := c.authenticate(); err != nil {
		return nil, err
	}
	var ok bool
	if c.path, ok = segments(c.request.URL); !ok {
		return nil, errNoPath
	}
	if len(c.path) >= 3 && isVersion(c.path[0]) && lower(c.path[1]) == "rooms" {
		if err := c.findRoom(c.path[2]); err != nil {
			return nil, err
		}
	}
	for _, route := range routes {
		if route.method == method && route.matches(c.path) {
			return route.serve(c)
		}
	}
	return nil, errNoPath
}

// needsMAuth goes by how the path begins, before it is known whether the path exists (management API 1.2).
func needsMAuth(method, path string) bool {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return false
	}
	path = lower(path)
	for _, prefix := range []string{"/v1/rooms", "/v1.1/rooms", "/services", "/v1.1/stream-engine"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// Owns tells whether a path belongs to this API, in any case of letters. A node that serves more than the API on one port
// asks it before its own routing: http.ServeMux would clean and redirect paths that the API answers as they are.
func Owns(path string) bool {
	path = lower(path) + "/"
	for _, prefix := range []string{"/v1/", "/v1.1/", "/services/"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// segments splits the path; one slash at its end does not count.
func segments(u *url.URL) ([]string, bool) {
	path, ok := strings.CutPrefix(strings.TrimSuffix(u.EscapedPath(), "/"), "/")
	if !ok || strings.Count(path, "/") > 8 {
		return nil, false
	}
	parts := strings.Split(path, "/")
	for i, part := range parts {
		text, err := url.PathUnescape(part)
		if err != nil || text == "" {
			return nil, false
		}
		parts[i] = text
	}
	return parts, true
}

func isVersion(segment string) bool {
	version := lower(segment)
	return version == "v1" || version == "v1.1"
}

// lower is the text with the letters A to Z in lower case and no others: paths match in any case, but not in any script.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// A route is a method and a path: "{version}" stands for v1 or v1.1, "{id}" for one segment; words match in any case.
type route struct {
	method string
	path   []string
	serve  func(*call) (answer, error)
}

var routes = []route{
	{"POST", []string{"services"}, (*call).createService},
	{"GET", []string{"services"}, (*call).listServices},
	{"GET", []string{"services", "{id}"}, (*call).getService},
	{"DELETE", []string{"services", "{id}"}, (*call).deleteService},

	{"POST", []string{"{version}", "rooms"}, (*call).createRoom},
	{"GET", []string{"{version}", "rooms"}, (*call).listRooms},
	{"GET", []string{"{version}", "rooms", "{id}"}, (*call).getRoom},
	{"PUT", []string{"{version}", "rooms", "{id}"}, (*call).updateRoom},
	{"PATCH", []string{"{version}", "rooms", "{id}"}, (*call).patchRoom},
	{"DELETE", []string{"{version}", "rooms", "{id}"}, (*call).deleteRoom},
	{"POST", []string{"{version}", "rooms", "{id}", "tokens"}, (*call).createToken},

	{"GET", []string{"{version}", "rooms", "{id}", "participants"}, (*call).listParticipants},
	{"GET", []string{"{version}", "rooms", "{id}", "participants", "{id}"}, (*call).getParticipant},
	{"PATCH", []string{"{version}", "rooms", "{id}", "participants", "{id}"}, (*call).changeParticipant},
	{"DELETE", []string{"{version}", "rooms", "{id}", "participants", "{id}"}, (*call).dropParticipant},

	{"GET", []string{"{version}", "rooms", "{id}", "streams"}, (*call).listStreams},
	{"GET", []string{"{version}", "rooms", "{id}", "streams", "{id}"}, (*call).getStream},
	{"PATCH", []string{"{version}", "rooms", "{id}", "streams", "{id}"}, (*call).changeStream},
	{"DELETE", []string{"{version}", "rooms", "{id}", "streams", "{id}"}, (*call).deleteStream},
	{"GET", []string{"{version}", "rooms", "{id}", "streams", "{id}", "quality"}, (*call).streamQuality},
}

func (r route) matches(path []string) bool {
	if len(path) != len(r.path) {
		return false
	}
	for i, want := range r.path {
		switch want {
		case "{id}":
		case "{version}":
			if !isVersion(path[i]) {
				return false
			}
		default:
			if lower(path[i]) != want {
				return false
			}
		}
	}
	return true
}
