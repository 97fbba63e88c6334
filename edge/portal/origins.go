package portal

import (
	"net"
	"slices"
	"strings"
	"sync"
)

// Origins are where the pages come from that the edges of a cluster serve. A page's client goes on with other edges when its own is gone, for
// as long as the page is open: so an edge that was there once is remembered. The zero Origins is empty. It is safe for concurrent use.
type Origins struct {
	mu   sync.RWMutex // guards list
	list []string     // canonical, the one that was added last at the end
}

// maxOrigins is how many are remembered.
const maxOrigins = 1024

// Add lets in the pages of an edge whose portal is at url, "http(s)://host[:port]". Who says that it is there must be known to be of the
// cluster.
func (o *Origins) Add(url string) {
	url = canonicalOrigin(url)
	if url == "" {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(slices.DeleteFunc(o.list, func(other string) bool { return other == url }), url)
	if len(o.list) > maxOrigins {
		o.list = slices.Delete(o.list, 0, 1)
	}
}

// Allow tells whether a page of that origin is of one of the edges.
func (o *Origins) Allow(origin string) bool {
	origin = canonicalOrigin(origin)
	o.mu.RLock()
	defer o.mu.RUnlock()
	return origin != "" && slices.Contains(o.list, origin)
}

// canonicalOrigin writes an origin in small letters and with its port; empty when it is none of a page.
func canonicalOrigin(s string) string {
	scheme, host, ok := strings.Cut(strings.ToLower(s), "://")
	port := map[string]string{"http": "80", "https": "443"}[scheme]
	if !ok || port == "" || host == "" || len(host) > 300 || strings.ContainsAny(host, `/\?#@ `) {
		return ""
	}
	if h, p, err := net.SplitHostPort(host); err == nil && p != "" {
		host, port = h, p
	}
	return scheme + "://" + net.JoinHostPort(strings.Trim(host, "[]"), port)
}
