package clusterapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"portico/edge/store"
	"portico/shared/cluster"
	"portico/shared/token"
)

// fake is a cluster of two edges and a relay with a ring of keys each.
type fake struct {
	mu    sync.Mutex
	keys  map[string][]cluster.KeyInfo
	away  map[string]bool
	asked []string
	told  map[string]json.RawMessage // by edges, in place of a little
}

func newFake() *fake {
	f := &fake{keys: map[string][]cluster.KeyInfo{}, away: map[string]bool{}}
	for _, id := range []string{"a", "b", "r"} {
		f.keys[id] = []cluster.KeyInfo{{Name: "old", InUse: true}}
	}
	return f
}

func (f *fake) Self() string { return "a" }

func (f *fake) Nodes() []cluster.Node {
	return []cluster.Node{
		{Meta: cluster.Meta{ID: "a", Roles: cluster.Edge, Region: "west", Capacity: 200, Boot: 1000, Addresses: []cluster.Address{{Use: cluster.ForSecure, Text: "a:443"}}}},
		{Meta: cluster.Meta{ID: "b", Roles: cluster.Edge, Region: "east", Capacity: 100, State: cluster.Draining, Addresses: []cluster.Address{{Use: cluster.ForClients, Text: "b:80"}}}},
		{Meta: cluster.Meta{ID: "r", Roles: cluster.Relay, Region: "west", Capacity: 100, Addresses: []cluster.Address{{Use: cluster.ForLinks, Text: "r:8081"}}}},
	}
}

func (f *fake) Ask(_ context.Context, node string, c cluster.Command) (cluster.Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, node+" "+c.Do)
	if f.away[node] {
		return cluster.Answer{}, errors.New("it does not answer")
	}
	switch c.Do {
	case cluster.DoTell:
		if told := f.told[node]; told != nil {
			return cluster.Answer{Told: told}, nil
		}
		return cluster.Answer{Told: json.RawMessage(`{"participants": 2, "rooms": [{"id": "` + node + `-room", "home": "` + node + `"}], "links": [{"from": "` + node + `"}]}`)}, nil
	case cluster.DoAddKey:
		f.keys[node] = append(f.keys[node], cluster.KeyInfo{Name: "new"})
	case cluster.DoUseKey:
		for i := range f.keys[node] {
			f.keys[node][i].InUse = f.keys[node][i].Name == c.Key
		}
	case cluster.DoRemoveKey:
		var left []cluster.KeyInfo
		for _, k := range f.keys[node] {
			if k.Name != c.Key {
				left = append(left, k)
			}
		}
		if len(left) == len(f.keys[node]) {
			return cluster.Answer{}, errors.New(cluster.ErrNoKey.Error() + `: "old"`)
		}
		f.keys[node] = left
	}
	return cluster.Answer{Keys: append([]cluster.KeyInfo{}, f.keys[node]...)}, nil
}

type services map[string]store.Service

func (s services) Service(_ context.Context, id string) (store.Service, error) {
	if service, ok := s[id]; ok {
		return service, nil
	}
	return store.Service{}, store.ErrNotFound
}

type rig struct {
	*API
	*fake
	t *testing.T
}

func newRig(t *testing.T) *rig {
	f := newFake()
	return &rig{New(Options{
		Cluster: f, Services: services{"super": {ID: "super", Key: "k"}, "other": {ID: "other", Key: "o"}}, SuperService: "super",
		RefusalDelay: func(context.Context) {},
	}), f, t}
}

func (r *rig) call(service, key, method, path, body string) (int, string) {
	r.t.Helper()
	request := httptest.NewRequestWithContext(r.t.Context(), method, path, strings.NewReader(body))
	if service != "" {
		request.Header.Set("Authorization", token.MAuth{ServiceID: service, Nonce: "1", Timestamp: "2"}.Sign(key).Header())
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, request)
	return w.Code, w.Body.String()
}

func TestWhoMayCall(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		service, key string
		want         int
	}{{"", "", 401}, {"nobody", "k", 401}, {"super", "wrong", 401}, {"other", "o", 403}, {"super", "k", 200}} {
		for _, path := range []string{"/v1/cluster", "/v1/cluster/keys"} {
			if code, body := r.call(c.service, c.key, http.MethodGet, path, ""); code != c.want || c.want != 200 && !strings.Contains(body, `"code":110`) {
				t.Errorf("%s %s %s: %d %s", c.service, c.key, path, code, body)
			}
		}
	}
	for _, c := range []struct{ method, path string }{
		{"GET", "/v1/cluster/x"}, {"DELETE", "/v1/cluster"}, {"GET", "/v1/cluster/nodes/a/drain"}, {"POST", "/v1/cluster/nodes/nobody/drain"},
		{"POST", "/v1/cluster/nodes/%2e%2e/drain"}, {"POST", "/v1/cluster/nodes/a/drain/x"}, {"PUT", "/v1/cluster/keys"},
	} {
		if code, body := r.call("super", "k", c.method, c.path, ""); code != 404 {
			t.Errorf("%s %s: %d %s", c.method, c.path, code, body)
		}
	}
	for path, want := range map[string]bool{"/v1/cluster": true, "/v1/cluster/keys": true, "/v1/clusters": false, "/v1/rooms": false, "/": false} {
		if Owns(path) != want {
			t.Errorf("Owns(%q)", path)
		}
	}
}

// awayServices are those of a store that fails.
type awayServices struct{}

func (awayServices) Service(context.Context, string) (store.Service, error) {
	return store.Service{}, errors.New("failed to connect to user=portico host=10.0.0.5")
}

// Who has not shown who it is learns nothing of a store that fails.
func TestStoreAway(t *testing.T) {
	r := newRig(t)
	r.o.Services = awayServices{}
	if code, body := r.call("", "", "GET", "/v1/cluster", ""); code != 500 || strings.Contains(body, "portico") || strings.Contains(body, "10.0.0.5") {
		t.Errorf("%d %s", code, body)
	}
}

// The answer is of all edges; one that does not answer is named with the reason.
func TestStatus(t *testing.T) {
	r := newRig(t)
	read := func() (s Status) {
		t.Helper()
		code, body := r.call("super", "k", "GET", "/v1/cluster/", "")
		if err := json.Unmarshal([]byte(body), &s); code != 200 || err != nil {
			t.Fatalf("%d %s %v", code, body, err)
		}
		return s
	}
	s := read()
	if s.Self != "a" || len(s.Nodes) != 3 || len(s.Rooms) != 2 || len(s.Links) != 2 {
		t.Fatalf("%+v", s)
	}
	east, west, relay := s.Nodes[0], s.Nodes[1], s.Nodes[2]
	if east.ID != "b" || east.State != "draining" || east.Portal != "http://b:80" || east.Participants != 2 || east.Homes != 1 {
		t.Errorf("%+v", east)
	}
	if west.ID != "a" || west.Role != "edge" || west.Portal != "https://a:443" || west.Started.UnixMilli() != 1000 || west.Error != "" {
		t.Errorf("%+v", west)
	}
	if relay.ID != "r" || relay.Role != "relay" || relay.Link != "r:8081" || relay.Participants != 0 || relay.Error != "" {
		t.Errorf("%+v", relay)
	}
	r.away["b"] = true
	if s = read(); len(s.Rooms) != 1 || s.Nodes[0].Error != "it does not answer" {
		t.Errorf("%+v", s)
	}
}

func TestDrain(t *testing.T) {
	r := newRig(t)
	for method, want := range map[string]string{"POST": "r drain", "DELETE": "r undrain"} {
		r.asked = nil
		if code, body := r.call("super", "k", method, "/v1/cluster/nodes/r/drain", ""); code != 200 || len(r.asked) != 1 || r.asked[0] != want {
			t.Errorf("%s: %d %s %v", method, code, body, r.asked)
		}
	}
	r.away["b"] = true
	if code, body := r.call("super", "k", "POST", "/v1/cluster/nodes/b/drain", ""); code != 500 || !strings.Contains(body, "does not answer") {
		t.Errorf("%d %s", code, body)
	}
}

// Keys change on all nodes, in an order that cuts nobody off.
func TestKeys(t *testing.T) {
	r := newRig(t)
	key := cluster.FormatKey(make([]byte, cluster.KeySize))
	for _, step := range []struct {
		body string
		code int
		says string
	}{
		{`{`, 400, "parse"},
		{`{"do": "add"}`, 400, "Bad request"},
		{`{"do": "burn", "name": "old"}`, 400, "Bad request"},
		{`{"do": "add", "key": "` + key + `"` + strings.Repeat(" ", maxBody) + `}`, 400, "parse"},
		{`{"do": "use", "name": "new"}`, 409, "a does not have it: add it first; b does"},
		{`{"do": "remove", "name": "old"}`, 409, "a uses it"},
		{`{"do": "add", "key": "` + key + `"}`, 200, `"done":true`},
		{`{"do": "use", "name": "new"}`, 200, `"done":true`},
		{`{"do": "remove", "name": "new"}`, 409, "uses it"},
		{`{"do": "remove", "name": "old"}`, 200, `"done":true`},
		{`{"do": "remove", "name": "old"}`, 200, `"done":true`}, // once more does no harm
	} {
		if code, body := r.call("super", "k", "POST", "/v1/cluster/keys", step.body); code != step.code || !strings.Contains(body, step.says) {
			t.Errorf("%.60s: %d %s", step.body, code, body)
		}
	}
	for _, id := range []string{"a", "b", "r"} {
		if k := r.fake.keys[id]; len(k) != 1 || k[0] != (cluster.KeyInfo{Name: "new", InUse: true}) {
			t.Errorf("%s has %v", id, k)
		}
	}
	// A node that does not answer keeps a key from being used, and is named when one is added.
	r.away["r"] = true
	if code, body := r.call("super", "k", "POST", "/v1/cluster/keys", `{"do": "use", "name": "new"}`); code != 409 || !strings.Contains(body, "r: it does not answer") {
		t.Errorf("%d %s", code, body)
	}
	if code, body := r.call("super", "k", "POST", "/v1/cluster/keys", `{"do": "add", "key": "`+key+`"}`); code != 200 || !strings.Contains(body, `"done":false`) ||
		!strings.Contains(body, `{"id":"r","error":"it does not answer"}`) {
		t.Errorf("%d %s", code, body)
	}
}
