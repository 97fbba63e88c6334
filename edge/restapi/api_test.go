package restapi

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"portico/edge/room"
	"portico/edge/store"
	"portico/shared/jsonvalue"
	"portico/shared/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tokenKey = "a token key of the cluster"

// fixture is an API on a fresh store with three services: the super service, that of the examples, and another.
type fixture struct {
	t                     *testing.T
	url                   string
	api                   *API
	store                 store.Store
	super, service, other store.Service
	*room.Directory       // the rooms that are running

	mu        sync.Mutex
	refused   int // delays asked for
	destroyed []string
	portal    PortalAddress
}

func (f *fixture) DestroyRoom(room string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.destroyed = append(f.destroyed, room)
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	db, err := store.OpenSQLite(t.Context(), t.TempDir(), store.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, store: db, portal: PortalAddress{Host: "conf.example.com:8080", Secure: true}}
	if f.super, _, _, err = store.Bootstrap(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	f.service = store.Service{ID: "5f0c0ffee0ddba11c0de4242", Name: "demo", Key: "bWFkZS11cC1kZW1vLWtleQ=="}
	f.other = store.Service{ID: store.NewID(), Name: "other", Key: "other key"}
	for _, s := range []store.Service{f.service, f.other} {
		if err := db.CreateService(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	f.api = New(Options{
		Store: db, TokenKey: []byte(tokenKey), Portal: func() PortalAddress { return f.portal }, Conferences: f, SuperService: f.super.ID,
		RefusalDelay: func(context.Context) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.refused++
		},
	})
	f.Directory = runningRooms(db)
	server := httptest.NewServer(f.api)
	f.url = server.URL
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		server.Close()
		f.Close()
		db.Close()
	})
	return f
}

type response struct {
	status int
	header http.Header
	body   string
}

// sign is the Authorization header of a service.
func sign(s store.Service) string {
	return token.MAuth{ServiceID: s.ID, Nonce: "1", Timestamp: "1700000000000"}.Sign(s.Key).Header()
}

// do sends a request; an empty authorization or body is left out, a body goes as JSON unless headers say otherwise.
func (f *fixture) do(method, path, authorization, body string, headers ...string) response {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return response{answer.StatusCode, answer.Header, string(text)}
}

func (f *fixture) asService(method, path, body string) response {
	f.t.Helper()
	return f.do(method, path, sign(f.service), body)
}

func (f *fixture) asSuper(method, path, body string) response {
	f.t.Helper()
	return f.do(method, path, sign(f.super), body)
}

// json checks that the response has the status and type of JSON, and parses it.
func (f *fixture) json(r response, status int) jsonvalue.Value {
	f.t.Helper()
	v, err := jsonvalue.Parse([]byte(r.body), jsonvalue.Limits{Values: 1 << 24})
	if err != nil || r.status != status || r.header.Get("Content-Type") != "application/json; charset=utf-8" {
		f.t.Fatalf("response %d %v %q, want %d and JSON", r.status, r.header, r.body, status)
	}
	return v
}

// wantJSON checks a response against its exact content.
func (f *fixture) wantJSON(r response, status int, want string) {
	f.t.Helper()
	if got := f.json(r, status); !jsonvalue.Equal(got, parse(f.t, want)) {
		f.t.Errorf("response\n%s\nwant\n%s", r.body, want)
	}
}

func (f *fixture) wantText(r response, status int, want string) {
	f.t.Helper()
	if r.status != status || r.body != want || r.header.Get("Content-Type") != "text/html; charset=utf-8" {
		f.t.Errorf("response %d %q %q, want %d %q", r.status, r.header.Get("Content-Type"), r.body, status, want)
	}
}

func parse(t testing.TB, text string) jsonvalue.Value {
	t.Helper()
	v, err := jsonvalue.Parse([]byte(text), jsonvalue.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// createRoom makes a room with the given options and returns its id.
func (f *fixture) createRoom(options string) string {
	f.t.Helper()
	return f.json(f.asService("POST", "/v1/rooms", `{"name":"room1","options":`+options+`}`), 200).Get("_id").Text()
}

const (
	unauthorized = `{"error":{"code":1101,"message":"WWW-Authenticate: MAuth realm=\"http://marte3.dit.upm.es\""}}`
	noPath       = `{"error":{"code":1001,"message":"Resource not found"}}`
	noRoom       = `{"error":{"code":1003,"message":"Room not found"}}`
	headerA      = "MAuth realm=http://marte3.dit.upm.es,mauth_signature_method=HMAC_SHA256,mauth_serviceid=5f0c0ffee0ddba11c0de4242,mauth_cnonce=3f1c9a7be2d40586,mauth_timestamp=1700000000000,mauth_signature=MTcwYjQ3Y2M1MDBhMmYzOTgyOWIzYmRiOWFmMTBhN2I3NGYyMWJlZWMzYTQ5NTJiYWIyY2M2NzUzYjg5NmQxNQ=="
)

func TestC_01_NoHeader(t *testing.T) {
	f := newFixture(t)
	r := f.do("GET", "/v1/rooms", "", "")
	f.wantJSON(r, 401, unauthorized)
	if r.header.Get("WWW-Authenticate") != "" || f.refused != 1 {
		t.Errorf("header %q, %d delays", r.header.Get("WWW-Authenticate"), f.refused)
	}
}

func TestRefusalDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		longest := time.Duration(0)
		for range 50 {
			start := time.Now()
			New(Options{}).RefusalDelay(t.Context())
			took := time.Since(start)
			if took < 0 || took > time.Second {
				t.Fatalf("delay of %v", took)
			}
			longest = max(longest, took)
		}
		if longest < 100*time.Millisecond {
			t.Errorf("50 delays are at most %v", longest)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		New(Options{}).RefusalDelay(ctx)
		if took := time.Since(start); took != 0 {
			t.Errorf("waited %v for a caller who has gone", took)
		}
	})
}

func TestC_02_HeaderATwice(t *testing.T) {
	f := newFixture(t)
	for range 2 {
		f.wantJSON(f.do("GET", "/v1/rooms/", headerA, ""), 200, `[]`)
	}
}

func TestC_03_QuotedSignature(t *testing.T) {
	f := newFixture(t)
	at := strings.LastIndex(headerA, "mauth_signature=") + len("mauth_signature=")
	for what, header := range map[string]string{
		"quoted":          headerA[:at] + `"` + headerA[at:] + `"`,
		"spaces":          strings.ReplaceAll(headerA, ",", ", "),
		"unknown service": strings.Replace(headerA, "5f0c0ffee0ddba11c0de4242", "5f0c0ffee0ddba11c0de4243", 1),
		"malformed id":    strings.Replace(headerA, "5f0c0ffee0ddba11c0de4242", "zzz", 1),
		"no service":      strings.Replace(headerA, "mauth_serviceid=5f0c0ffee0ddba11c0de4242,", "", 1),
		"other method":    strings.Replace(headerA, "HMAC_SHA256", "HMAC_SHA1", 1),
		"other service's": strings.Replace(sign(f.other), f.other.ID, f.service.ID, 1),
	} {
		t.Run(what, func(t *testing.T) {
			f.t = t
			f.wantJSON(f.do("GET", "/v1/rooms/", header, ""), 401, unauthorized)
		})
	}
}

func TestC_04_UnknownPath(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"/v1/nosuch", "/", "/v1", "/v1/services", "/v2/rooms", "//v1/rooms", "/v1/%2F",
		"/v1/room%C5%BF", "/%C5%BFervices"} { // a long s is no s {
		f.wantJSON(f.do("GET", path, "", ""), 404, noPath)
	}
}

func TestC_05_UnknownBelowARoom(t *testing.T) {
	f := newFixture(t)
	path := "/v1/rooms/" + f.createRoom("{}")
	f.wantJSON(f.asService("GET", path+"/nosuch", ""), 404, noPath)
	f.wantJSON(f.do("GET", path+"/nosuch", "", ""), 401, unauthorized)
	f.wantJSON(f.do("GET", "/v1/roomsfoo", "", ""), 401, unauthorized)
	f.wantJSON(f.asService("GET", path+"/tokens", ""), 404, noPath) // never 405
	f.wantJSON(f.asService("POST", path, "{}"), 404, noPath)
	f.wantJSON(f.asService("GET", path+"//", ""), 404, noPath)
	f.wantJSON(f.asService("GET", "/v1/rooms/5f0c0ffee0ddba11c0de4242/nosuch", ""), 404, noRoom)
}

func TestC_06_Options(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"/v1/rooms", "/nosuch"} {
		r := f.do("OPTIONS", path, "", `{"broken`)
		if r.status != 200 || r.body != "OK" || r.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("response %+v", r)
		}
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin":  "*",
			"Access-Control-Allow-Methods": "POST, GET, OPTIONS, DELETE, PATCH, PUT",
			"Access-Control-Allow-Headers": "origin, authorization, content-type",
			"Strict-Transport-Security":    "max-age=1024000; includeSubDomain",
			"X-Content-Type-Options":       "nosniff",
		} {
			if r.header.Get(name) != want {
				t.Errorf("%s: %q", name, r.header.Get(name))
			}
		}
	}
}

func TestC_07_BrokenJSON(t *testing.T) {
	f := newFixture(t)
	const broken = `{"error":{"code":1201,"message":"Failed to parse JSON body"}}`
	for _, body := range []string{`{"name":`, `5`, `"x"`, `null`, `[`, strings.Repeat("[", 5000)} {
		r := f.asService("POST", "/v1/rooms", body)
		f.wantJSON(r, 400, broken)
		if r.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Error("no CORS header on a body that is refused")
		}
	}
	f.wantJSON(f.do("POST", "/v1/rooms", "", `{"name":`), 400, broken) // before authentication
}

func TestBodies(t *testing.T) {
	f := newFixture(t)
	auth := sign(f.service)
	const bad = `{"error":{"code":1201,"message":"Invalid request body"}}`
	f.wantJSON(f.do("POST", "/v1/rooms", auth, `{"name":"r"}`, "Content-Type", "text/plain"), 400, bad)
	f.wantJSON(f.do("POST", "/v1/rooms", auth, ``), 400, bad)
	f.wantJSON(f.do("POST", "/v1/rooms", auth, `[]`), 400, bad)

	const form = "application/x-www-form-urlencoded"
	made := f.json(f.do("POST", "/v1/rooms", auth, "name=a+room%21&options[inputLimit]=5&options[views][0][label]=x&options[roles][]=", "Content-Type", form), 200)
	if made.Get("name").Text() != "a room!" || made.Get("inputLimit").String() != "5" || made.Get("views").Index(0).Get("label").Text() != "x" {
		t.Errorf("made from a form: %s", made)
	}
	made = f.json(f.do("POST", "/v1/rooms", auth, "\ufeff"+`{"name":"bom"}`, "Content-Type", "Application/JSON; charset=utf-8"), 200)
	if made.Get("name").Text() != "bom" {
		t.Errorf("made with a byte order mark: %s", made)
	}

	const tooLarge = `{"error":{"code":2001,"message":"PayloadTooLargeError request entity too large"}}`
	large := `{"name":"` + strings.Repeat("x", 1<<20) + `"}`
	f.wantJSON(f.do("POST", "/v1/rooms", auth, large), 500, tooLarge)
	r := httptest.NewRequest("POST", "/v1/rooms", io.MultiReader(strings.NewReader(large))) // of a length not said beforehand
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	f.api.ServeHTTP(w, r)
	if w.Code != 500 || w.Body.String() != tooLarge {
		t.Errorf("without a length: %d %s", w.Code, w.Body)
	}
	f.wantJSON(f.do("POST", "/v1/rooms", auth, strings.Repeat("a=1&", 1000), "Content-Type", form), 500,
		`{"error":{"code":2001,"message":"PayloadTooLargeError too many parameters"}}`)
	if large = strings.Repeat("x", 900<<10); f.asService("POST", "/v1/rooms", `{"name":"`+large+`"}`).status != 500 {
		t.Error("a room of 900 kB is stored")
	}
}

func TestPathsAndMethods(t *testing.T) {
	f := newFixture(t)
	id := f.createRoom("{}")
	want := f.asService("GET", "/v1/rooms/"+id, "").body
	for _, path := range []string{"/V1/Rooms/" + id, "/v1.1/rooms/" + id, "/v1/rooms/" + id + "/", "/v1/rooms/" + id + "?x=1", "/v1/%72ooms/" + id} {
		if got := f.asService("GET", path, ""); got.status != 200 || got.body != want {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	f.wantJSON(f.do("GET", "/v1/%72ooms/"+id, "", ""), 401, unauthorized)
	f.wantJSON(f.asService("GET", "/v1/rooms/x/y/z/1/2/3/4/5/6", ""), 404, noPath)
	r := f.do("HEAD", "/v1/rooms/"+id, sign(f.service), "")
	if r.status != 200 || r.body != "" || r.header.Get("Content-Type") != jsonType {
		t.Errorf("HEAD: %+v", r)
	}
	if r = f.do("HEAD", "/v1/rooms", "", ""); r.status != 401 {
		t.Errorf("HEAD without credentials: %d", r.status)
	}
	f.wantJSON(f.do("TRACE", "/v1/rooms", "", ""), 404, noPath)
}

func TestOwns(t *testing.T) {
	for path, want := range map[string]bool{
		"/v1": true, "/V1/rooms": true, "/v1.1/rooms/": true, "/Services": true, "/services/x": true, "/v1/nosuch": true,
		"/": false, "": false, "/v1.2/rooms": false, "/servicesx": false, "/socket.io/": false, "/v10": false,
	} {
		if Owns(path) != want {
			t.Errorf("%q: %v", path, !want)
		}
	}
}

func TestStoreFailure(t *testing.T) {
	f := newFixture(t)
	f.store.Close()
	f.wantJSON(f.asService("GET", "/v1/rooms", ""), 500, `{"error":{"code":2001,"message":"Error Database operation failed"}}`)
}

// lostStore is one whose database is away: it knows what it has read before.
type lostStore struct{ store.Store }

func (lostStore) CreateRoom(context.Context, store.Room) error {
	return fmt.Errorf("store: create room: %w", store.ErrAway)
}

func TestStoreAway(t *testing.T) {
	f := newFixture(t)
	var log strings.Builder
	f.api.Store, f.api.Log = lostStore{f.store}, slog.New(slog.NewTextHandler(&log, nil))
	f.wantJSON(f.asService("POST", "/v1/rooms", `{"name":"room"}`), 503,
		`{"error":{"code":2001,"message":"Error The database does not answer: try again later"}}`)
	if log.Len() > 0 {
		t.Errorf("each call is in the log: %s", log.String())
	}
}

func FuzzRequest(f *testing.F) {
	db, err := store.OpenSQLite(context.Background(), f.TempDir(), store.Limits{})
	if err != nil {
		f.Fatal(err)
	}
	defer db.Close()
	super, sample, _, err := store.Bootstrap(context.Background(), db)
	if err != nil {
		f.Fatal(err)
	}
	api := New(Options{Store: db, SuperService: super.ID, Portal: func() PortalAddress { return PortalAddress{Host: "h:1"} },
		Conferences: &fixture{}, RefusalDelay: func(context.Context) {}})
	room, err := createRoom(api, sample)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][3]string{
		{"POST", "/v1/rooms", `{"name":"r","options":{"views":[{"video":false}]}}`}, {"PUT", "/v1/rooms/" + room, `{"sip":{"password":"x"}}`},
		{"POST", "/v1/rooms/" + room + "/tokens", `{"user":"u","role":"presenter"}`}, {"GET", "/v1/rooms?page=1&per_page=1e9", ``},
		{"GET", "/services/%zz", ``}, {"DELETE", "//", `[`}, {"HEAD", "/v1.1/rooms/", `{}`},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		r, err := http.NewRequest(method, "http://localhost/", strings.NewReader(body))
		if err != nil {
			return
		}
		if r.URL, err = r.URL.Parse(path); err != nil {
			return
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", sign(sample))
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
			if _, err := jsonvalue.Parse(w.Body.Bytes(), jsonvalue.Limits{Values: 1 << 24}); err != nil {
				t.Fatalf("%s %s: %v in %s", method, path, err, w.Body)
			}
		}
	})
}

// createRoom makes a room without a server.
func createRoom(api *API, service store.Service) (string, error) {
	r := httptest.NewRequest("POST", "/v1/rooms", strings.NewReader(`{"name":"r"}`))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", sign(service))
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	v, err := jsonvalue.Parse(w.Body.Bytes(), jsonvalue.Limits{})
	return v.Get("id").Text(), err
}

func FuzzForm(f *testing.F) {
	for _, seed := range []string{"a=1", "a[b][c]=1&a[b][d]=2", "a[]=1&a[]=2", "a[1]=x&a[0]=y&a[]=z", "a=1&a=2", "a[=1", "a]=1", "[a]=1", "a[b]c=1", "%zz=%", "a[b][c][d][e][f][g][h]=1", "a=1&a[b]=2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parseForm(text)
		if err != nil {
			return
		}
		again, err := jsonvalue.Parse(v.Append(nil), jsonvalue.Limits{})
		if err != nil || v.Kind() != jsonvalue.Object || again.Len() != v.Len() {
			t.Fatalf("%q gives %s: %v", text, v, err)
		}
	})
}

func TestForm(t *testing.T) {
	for text, want := range map[string]string{
		"":                         `{}`,
		"a=1&b=x+y%20z&c":          `{"a":"1","b":"x y z","c":""}`,
		"a=1&a=2":                  `{"a":["1","2"]}`,
		"a[b][c]=1&a[b][d]=2":      `{"a":{"b":{"c":"1","d":"2"}}}`,
		"a%5Bb%5D=1":               `{"a":{"b":"1"}}`,
		"a[]=1&a[]=2":              `{"a":["1","2"]}`,
		"a[1]=y&a[0]=x&a[]=z":      `{"a":["x","y","z"]}`,
		"a[0][b]=1&a[0][c]=2":      `{"a":[{"b":"1","c":"2"}]}`,
		"a[21]=1":                  `{"a":{"21":"1"}}`,
		"a[b":                      `{"a":{"[b":""}}`,
		"[a]=1":                    `{"[a]":"1"}`,
		"a[b][c][d][e][f][g][h]=1": `{"a":{"b":{"c":{"d":{"e":{"f":{"[g][h]":"1"}}}}}}}`,
		"%zz=%&=nothing":           `{"%zz":"%"}`,
		strings.TrimSuffix(strings.Repeat("a=1&", 3), "&"): `{"a":["1","1","1"]}`,
	} {
		if got, err := parseForm(text); err != nil || !jsonvalue.Equal(got, parse(t, want)) {
			t.Errorf("%q gives %s %v, want %s", text, got, err, want)
		}
	}
}
