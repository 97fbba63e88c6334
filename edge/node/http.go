package node

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"portico/edge/clusterapi"
	"portico/edge/restapi"
)

// routes is everything the edge answers over HTTP, by path. The management API takes its paths as they are: a mux would
// clean and redirect them, and minds the case of letters (management API 1.2). operator is nil without a cluster.
func (n *Node) routes(api, operator, pages http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", n.sockets)
	mux.HandleFunc("GET /livez", n.livez)
	mux.HandleFunc("GET /readyz", n.readyz)
	mux.Handle("GET /metrics", n.onlyFrom(n.scrapers, n.metrics.Handler()))
	mux.Handle("/", pages)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case operator != nil && clusterapi.Owns(r.URL.Path):
			operator.ServeHTTP(w, r)
		case restapi.Owns(r.URL.Path):
			api.ServeHTTP(w, r)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// livez says that the process turns: its loops answer.
func (n *Node) livez(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if !n.rooms.Alive(ctx) {
		http.Error(w, "a room does not answer", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// readyz says that the edge takes new participants.
func (n *Node) readyz(w http.ResponseWriter, _ *http.Request) {
	switch {
	case !n.ready.Load():
		http.Error(w, "not taking participants", http.StatusServiceUnavailable)
		return
	case n.draining.Load():
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// onlyFrom hides a page from everyone who does not come from one of the networks.
func (n *Node) onlyFrom(networks []netip.Prefix, page http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err == nil {
			for _, network := range networks {
				if network.Contains(from.Addr().Unmap()) {
					page.ServeHTTP(w, r)
					return
				}
			}
		}
		http.NotFound(w, r)
	})
}
