// Package console is the edge's door for browsers: it serves the demo application and the client bundle that web embeds.
//
// It stands beside the portal and the management API under one HTTP server and knows neither. Everything it serves is prepared
// once, at construction: content, compressed forms, entity tags and headers; a request is a look-up. Pages get a strict content
// security policy: no script, style or connection but the edge's own, except WebSockets, since a token may name another edge.
package console

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"

	"portico/web"
)

// Options say what to serve. Log is required.
type Options struct {
	// Dev adds POST /demo/token, with which the demo gets a join token for any room and name. It admits everybody: only for
	// development on one machine. Token has to be set with it.
	Dev bool
	// Token makes a join token; rooms are display names, created when they do not exist. It is called at the same time by
	// several requests. A *RefusedError is the visitor's fault and shown, every other error is logged and not shown.
	Token func(context.Context, TokenRequest) (string, error)
	Log   *slog.Logger

	demo, sdk fs.FS // nil: web's
	built     bool  // with sdk: the program is there
}

// TokenRequest asks for a join token of the demo.
type TokenRequest struct {
	Room string `json:"room"` // display name, 1 to 100 characters
	User string `json:"user"` // display name, 1 to 100 characters
	Role string `json:"role"` // a role of the room; "presenter" when empty
}

// RefusedError is a token that is not given out; Reason is for the visitor.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

// New returns the handler of /, /demo/, and /sdk/; everything else is 404. It reads all files and compresses those that are not
// yet. It panics when Dev is set without Token.
func New(o Options) http.Handler {
	if o.Dev && o.Token == nil {
		panic("console: Dev needs Token")
	}
	if o.demo == nil {
		o.demo, o.sdk, o.built = web.Demo(), web.SDK(), web.Built()
	}
	demo, sdk := load(o.demo, pagePolicy), load(o.sdk, bundlePolicy)
	mux := http.NewServeMux()
	mux.Handle("/{$}", demo.named("index.html"))
	mux.Handle("/demo/", http.StripPrefix("/demo/", demo))
	mux.Handle("/sdk/", http.StripPrefix("/sdk/", orMissing(sdk, o.built)))
	mux.HandleFunc("/demo/{$}", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusMovedPermanently) })
	if o.Dev {
		mux.Handle("/demo/token", tokens{o.Token, o.Log})
	}
	return secured(mux)
}

// notBuilt is what the program's place says when web was compiled before the program was.
const notBuilt = "The client program is not part of this build: run `make build` and start the edge again.\n"

// orMissing answers for files that only a build makes.
func orMissing(next http.Handler, built bool) http.Handler {
	if built {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "portico.wasm" || r.URL.Path == "wasm_exec.js" {
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, strings.TrimSuffix(notBuilt, "\n"), http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// secured puts on every answer what keeps a browser from doing more than it should with it.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer") // the address of a page may hold a room's name or a token
		next.ServeHTTP(w, r)
	})
}
