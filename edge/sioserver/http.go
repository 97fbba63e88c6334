package sioserver

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/shared/engineio"
	"portico/shared/jsonvalue"
)

// refusal is an answer to a request that cannot be served (portal protocol 1.8).
type refusal struct {
	status  int
	code    int // Engine.IO's own
	message string
}

var (
	refusedTransport = &refusal{http.StatusBadRequest, 0, "Transport unknown"}
	refusedSID       = &refusal{http.StatusBadRequest, 1, "Session ID unknown"}
	refusedMethod    = &refusal{http.StatusBadRequest, 2, "Bad handshake method"}
	refusedRequest   = &refusal{http.StatusBadRequest, 3, "Bad request"}
	refusedRevision  = &refusal{http.StatusBadRequest, 5, "Unsupported protocol version"}
	refusedFull      = &refusal{http.StatusServiceUnavailable, 4, "Too many connections"}
	refusedShutdown  = &refusal{http.StatusServiceUnavailable, 4, "Server is shutting down"}
)

func (srv *Server) refuse(w http.ResponseWriter, why *refusal) {
	srv.stats.refuse(why.message)
	body := jsonvalue.OfObject(
		jsonvalue.M("code", jsonvalue.OfInt(int64(why.code))),
		jsonvalue.M("message", jsonvalue.Of(why.message)),
	).Append(nil)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(why.status)
	w.Write(body)
}

// ServeHTTP serves one request of a client, whatever its path: the path is the mux's business. It returns when the request
// has been answered, for a WebSocket when that is closed. It takes care of read and write deadlines itself, except for the
// time a client may take over its headers: set http.Server.ReadHeaderTimeout.
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	srv.enter()
	defer srv.leave()
	hasBody := r.ContentLength != 0
	if hasBody { // also for those that are refused: net/http reads what it can of their bodies
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(srv.opts.PingTimeout))
	}
	if !srv.allowOrigin(w, r) || hasBody && r.Method == http.MethodGet {
		srv.refuse(w, refusedRequest)
		return
	}
	if r.Method == http.MethodOptions {
		preflight(w, r)
		return
	}
	query := r.URL.Query()
	upgrade := strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
	transport := query.Get("transport")
	if transport != "polling" && transport != "websocket" {
		srv.refuse(w, refusedTransport)
		return
	}
	if sid := query.Get("sid"); sid != "" {
		srv.serveSession(w, r, query, upgrade)
		return
	}
	switch {
	case r.Method != http.MethodGet:
		srv.refuse(w, refusedMethod)
	case upgrade != (transport == "websocket"):
		srv.refuse(w, refusedRequest)
	case upgrade:
		srv.handshakeWebSocket(w, r, engineio.ParseRevision(query.Get("EIO")))
	default:
		srv.handshakePolling(w, r, engineio.ParseRevision(query.Get("EIO")))
	}
}

// serveSession serves a request that names a session.
func (srv *Server) serveSession(w http.ResponseWriter, r *http.Request, query url.Values, upgrade bool) {
	s := srv.session(query.Get("sid"))
	overWebSocket := query.Get("transport") == "websocket"
	switch {
	case s == nil || s.closed():
		srv.refuse(w, refusedSID)
	case upgrade != overWebSocket, s.rev != engineio.ParseRevision(query.Get("EIO")):
		srv.refuse(w, refusedRequest)
	case upgrade:
		s.serveUpgrade(w, r)
	case s.overWebSocket():
		srv.refuse(w, refusedRequest)
	case r.Method == http.MethodGet:
		s.servePoll(w, r)
	case r.Method == http.MethodPost:
		s.servePost(w, r)
	default:
		srv.refuse(w, refusedRequest)
	}
}

// allowOrigin applies the rules of portal protocol 1.9 and sets the CORS headers of the answer.
func (srv *Server) allowOrigin(w http.ResponseWriter, r *http.Request) bool {
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	_, host, _ := strings.Cut(origin, "://")
	if !slices.Contains(srv.opts.Origins, "*") && !slices.Contains(srv.opts.Origins, origin) && !strings.EqualFold(host, r.Host) &&
		(srv.opts.Allow == nil || !srv.opts.Allow(origin)) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	return true
}

// preflight answers the question a browser asks before a request that a page of another origin makes.
func preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE")
	h.Add("Vary", "Access-Control-Request-Headers")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusNoContent)
}

func writeBody(w http.ResponseWriter, contentType string, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(body)
	return err
}
