// Package clusterapi is the part of the management API that is about the cluster: what nodes there are and what runs where, taking nodes
// out of service, and the keys of gossip. OWT's servers have nothing like it; its manner is theirs (management API 1 to 3).
//
//	GET    /v1/cluster                     the nodes, the rooms with their homes, the links between edges (type Status);
//	                                       where that is too much, the less busy rooms and links are left out, and counted,
//	                                       as are rooms that an edge could not look at in time
//	POST   /v1/cluster/nodes/{node}/drain  the node gives away what it has, and takes nothing new
//	DELETE /v1/cluster/nodes/{node}/drain  it takes part again
//	GET    /v1/cluster/keys                which keys of gossip each node has, by name (type Done)
//	POST   /v1/cluster/keys                {"do": "add", "key": base64} | {"do": "use" | "remove", "name": …} on all nodes (type Done)
//
// Only the super service may call. Any edge answers for all: it asks the others over its links, and says who did not answer. A key is
// used only where all nodes have it, and removed only where none uses it, so that nobody is cut off by a half-done replacement.
package clusterapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"portico/edge/store"
	"portico/shared/cluster"
	"portico/shared/identity"
	"portico/shared/token"
)

// Cluster is the cluster as the node sees it.
type Cluster interface {
	Self() string
	// Nodes are all there are, by id.
	Nodes() []cluster.Node
	// Ask has a node carry out a command, this one too.
	Ask(ctx context.Context, node string, c cluster.Command) (cluster.Answer, error)
}

// Options make an API.
type Options struct {
	Cluster  Cluster
	Services interface {
		Service(ctx context.Context, id string) (store.Service, error)
	}
	SuperService string        // id
	Timeout      time.Duration // for all nodes to answer; default 5 s
	MaxStatus    int           // about how many bytes a Status has at the most; default 32 MiB
	// RefusalDelay waits before a failed authentication is answered (management API 2.5); default a random time up to 1 s.
	RefusalDelay func(ctx context.Context)
	Log          *slog.Logger
}

// API is an http.Handler for the paths that Owns knows.
type API struct{ o Options }

// New makes an API.
func New(o Options) *API {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.MaxStatus == 0 {
		o.MaxStatus = maxStatus
	}
	if o.RefusalDelay == nil {
		o.RefusalDelay = randomDelay
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
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

const root = "/v1/cluster"

// Owns tells whether a path belongs to this API.
func Owns(path string) bool { return path == root || strings.HasPrefix(path, root+"/") }

// failure is an error as the caller sees it (management API 3).
type failure struct {
	status, code int
	message      string
}

func (f *failure) Error() string { return f.message }

var (
	errNoPath       = &failure{http.StatusNotFound, 1001, "Resource not found"}
	errNoNode       = &failure{http.StatusNotFound, 1001, "Node not found"}
	errUnauthorized = &failure{http.StatusUnauthorized, 1101, `WWW-Authenticate: MAuth realm="http://marte3.dit.upm.es"`}
	errForbidden    = &failure{http.StatusForbidden, 1102, "Permission denied"}
	errBadJSON      = &failure{http.StatusBadRequest, 1201, "Failed to parse JSON body"}
	errNoAnswer     = &failure{http.StatusInternalServerError, 1301, "Operation failed"}
)

// strangersKey takes the place of the key of a service that does not exist, so that its refusal costs the same time.
var strangersKey = store.NewServiceKey()

func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Type", "application/json; charset=utf-8")
	ctx, cancel := context.WithTimeout(r.Context(), a.o.Timeout)
	defer cancel()
	answer, err := a.serve(ctx, r)
	if err != nil {
		f := errNoAnswer
		if !errors.As(err, &f) {
			a.o.Log.Warn("request about the cluster failed", "path", r.URL.Path, "error", err)
			f = &failure{errNoAnswer.status, errNoAnswer.code, errNoAnswer.message + ": " + err.Error()}
		}
		w.WriteHeader(f.status)
		answer = map[string]any{"error": map[string]any{"code": f.code, "message": f.message}}
	}
	_ = json.NewEncoder(w).Encode(answer) // the caller may be gone
}

func (a *API) serve(ctx context.Context, r *http.Request) (any, error) {
	if err := a.authenticate(ctx, r); err != nil {
		return nil, err
	}
	path := strings.Split(strings.Trim(strings.TrimPrefix(r.URL.EscapedPath(), root), "/"), "/")
	for i, part := range path {
		text, err := url.PathUnescape(part)
		if err != nil {
			return nil, errNoPath
		}
		path[i] = text
	}
	switch {
	case len(path) == 1 && path[0] == "" && r.Method == http.MethodGet:
		return a.status(ctx), nil
	case len(path) == 1 && path[0] == "keys" && r.Method == http.MethodGet:
		return a.keys(ctx), nil
	case len(path) == 1 && path[0] == "keys" && r.Method == http.MethodPost:
		return a.changeKeys(ctx, r)
	case len(path) == 3 && path[0] == "nodes" && path[2] == "drain" && r.Method == http.MethodPost:
		return a.drain(ctx, path[1], cluster.DoDrain)
	case len(path) == 3 && path[0] == "nodes" && path[2] == "drain" && r.Method == http.MethodDelete:
		return a.drain(ctx, path[1], cluster.DoUndrain)
	}
	return nil, errNoPath
}

// authenticate lets the super service in (management API 2).
func (a *API) authenticate(ctx context.Context, r *http.Request) error {
	auth := token.ParseMAuth(r.Header.Get("Authorization"))
	service, err := a.o.Services.Service(ctx, auth.ServiceID)
	unknown := errors.Is(err, store.ErrNotFound)
	if err != nil && !unknown { // where the store is and why it fails is not for everybody to know
		a.o.Log.Warn("request about the cluster not taken: the store fails", "error", err)
		return errNoAnswer
	}
	if unknown {
		service.Key = strangersKey
	}
	if !auth.Verify(service.Key) || unknown {
		a.o.RefusalDelay(r.Context())
		return errUnauthorized
	}
	if service.ID != a.o.SuperService {
		return errForbidden
	}
	return nil
}

func (a *API) drain(ctx context.Context, node, do string) (any, error) {
	if !identity.ValidName(node) || !a.knows(node) {
		return nil, errNoNode
	}
	a.o.Log.Info("node is drained or taken back", "node", node, "command", do)
	if _, err := a.o.Cluster.Ask(ctx, node, cluster.Command{Do: do}); err != nil {
		return nil, err
	}
	return map[string]any{"id": node, "draining": do == cluster.DoDrain}, nil
}

func (a *API) knows(node string) bool {
	for _, n := range a.o.Cluster.Nodes() {
		if n.ID == node {
			return true
		}
	}
	return false
}

// maxBody is that of a request, in bytes.
const maxBody = 4 << 10

func readBody(r *http.Request, v any) error {
	data, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil || len(data) > maxBody || json.Unmarshal(data, v) != nil {
		return errBadJSON
	}
	return nil
}
