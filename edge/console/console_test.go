package console

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/andybalholm/brotli"
)

var (
	page    = []byte("<!doctype html>" + strings.Repeat("<p>page</p>", 100))
	script  = []byte(strings.Repeat("export const a = 1;\n", 100))
	program = append([]byte("\x00asm\x01\x00\x00\x00"), bytes.Repeat([]byte{7}, 2000)...)
)

func files() (demo, sdk fstest.MapFS) {
	demo = fstest.MapFS{
		"index.html": {Data: page}, "main.js": {Data: script}, "style.css": {Data: []byte("p{}")}, ".secret.html": {Data: page},
		"notes.md": {Data: []byte("not for visitors")},
	}
	sdk = fstest.MapFS{
		"portico.js": {Data: script}, "portico.wasm": {Data: program}, "portico.wasm.br": {Data: toBrotli(program)}, "portico.wasm.gz": {Data: toGzip(program)},
		"build.json": {Data: []byte("{}")},
	}
	return demo, sdk
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func handler(o Options) http.Handler {
	o.demo, o.sdk = files()
	o.built = true
	if o.Log == nil {
		o.Log = quiet()
	}
	return New(o)
}

func get(t *testing.T, h http.Handler, target string, headers ...string) *http.Response {
	t.Helper()
	return send(t, h, http.MethodGet, target, nil, headers...)
}

func send(t *testing.T, h http.Handler, method, target string, body io.Reader, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, body)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func read(t *testing.T, r *http.Response) []byte {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestPaths(t *testing.T) {
	h := handler(Options{})
	for _, c := range []struct {
		path, kind string
		status     int
		body       []byte
	}{
		{"/", "text/html; charset=utf-8", 200, page},
		{"/demo/main.js", "text/javascript; charset=utf-8", 200, script},
		{"/demo/style.css", "text/css; charset=utf-8", 200, []byte("p{}")},
		{"/sdk/portico.js", "text/javascript; charset=utf-8", 200, script},
		{"/sdk/portico.wasm", "application/wasm", 200, program},
		{"/demo/", "", 301, nil},
		{"/demo/.secret.html", "", 404, nil},
		{"/demo/notes.md", "", 404, nil},
		{"/demo/none.js", "", 404, nil},
		{"/demo/..%2f..%2fweb.go", "", 404, nil},
		{"/sdk/portico.wasm.br", "", 404, nil},
		{"/elsewhere", "", 404, nil},
	} {
		r := get(t, h, c.path)
		if r.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d", c.path, r.StatusCode, c.status)
			continue
		}
		if r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: headers %v", c.path, r.Header)
		}
		if c.status == 200 && (r.Header.Get("Content-Type") != c.kind || !bytes.Equal(read(t, r), c.body)) {
			t.Errorf("%s: type %q or content wrong", c.path, r.Header.Get("Content-Type"))
		}
	}
}

func TestCompression(t *testing.T) {
	h := handler(Options{})
	for _, path := range []string{"/", "/sdk/portico.js", "/sdk/portico.wasm"} {
		plain := read(t, get(t, h, path))
		for accept, want := range map[string]string{
			"": "", "identity": "", "gzip": "gzip", "br": "br", "gzip, deflate, br, zstd": "br", "br;q=0, gzip": "gzip", "*": "br",
			"gzip;q=0.5, *;q=0": "gzip", "GZIP": "gzip", "br;q=0.0": "", ";;,,": "", "br;q=x": "br",
		} {
			r := get(t, h, path, "Accept-Encoding", accept)
			if got := r.Header.Get("Content-Encoding"); got != want || r.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s with %q: encoding %q, want %q; vary %q", path, accept, got, want, r.Header.Get("Vary"))
			}
			if got := decode(t, r); !bytes.Equal(got, plain) {
				t.Errorf("%s with %q: content differs", path, accept)
			}
		}
	}
	if r := get(t, h, "/demo/style.css", "Accept-Encoding", "br"); r.Header.Get("Content-Encoding") != "" {
		t.Error("three bytes were made more by compressing them")
	}
}

func decode(t *testing.T, r *http.Response) []byte {
	t.Helper()
	body := read(t, r)
	if r.Header.Get("Content-Length") != "" && r.ContentLength != int64(len(body)) {
		t.Errorf("length %d, body has %d", r.ContentLength, len(body))
	}
	var reader io.Reader = bytes.NewReader(body)
	var err error
	switch r.Header.Get("Content-Encoding") {
	case "br":
		reader = brotli.NewReader(reader)
	case "gzip":
		reader, err = gzip.NewReader(reader)
	}
	if err == nil {
		body, err = io.ReadAll(reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestCaching(t *testing.T) {
	h := handler(Options{})
	first := get(t, h, "/sdk/portico.wasm", "Accept-Encoding", "br")
	tag := first.Header.Get("ETag")
	if first.Header.Get("Cache-Control") != "no-cache" || tag == "" {
		t.Fatalf("headers %v", first.Header)
	}
	for _, sent := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
		again := get(t, h, "/sdk/portico.wasm", "Accept-Encoding", "br", "If-None-Match", sent)
		if again.StatusCode != http.StatusNotModified || len(read(t, again)) != 0 || again.Header.Get("ETag") != tag {
			t.Errorf("with %s: status %d", sent, again.StatusCode)
		}
	}
	if r := get(t, h, "/sdk/portico.wasm", "Accept-Encoding", "gzip", "If-None-Match", tag); r.StatusCode != 200 {
		t.Error("another encoding has the same tag")
	}
	sum := strings.TrimSuffix(strings.Trim(tag, `"`), "-br")
	if r := get(t, h, "/sdk/portico.wasm?v="+sum); r.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
		t.Errorf("with its sum: %q", r.Header.Get("Cache-Control"))
	}
	if r := get(t, h, "/sdk/portico.wasm?v=0123456789abcdef"); r.Header.Get("Cache-Control") != "no-cache" {
		t.Error("an old address may be kept for ever with new content")
	}
}

func TestPolicies(t *testing.T) {
	h := handler(Options{})
	csp := get(t, h, "/").Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self' 'wasm-unsafe-eval';", "connect-src 'self' https: ws: wss:;", "media-src 'self' blob:", "base-uri 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("policy lacks %q: %s", want, csp)
		}
	}
	if strings.Contains(csp, "unsafe-inline") || strings.Contains(csp, "'unsafe-eval'") {
		t.Errorf("policy is too weak: %s", csp)
	}
	if p := get(t, h, "/").Header.Get("Permissions-Policy"); !strings.Contains(p, "camera=(self), microphone=(self), display-capture=(self)") {
		t.Errorf("permissions %q", p)
	}
	if get(t, h, "/sdk/portico.js").Header.Get("Access-Control-Allow-Origin") != "*" || get(t, h, "/").Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("the bundle is for all origins, the pages are not")
	}
}

func TestMethods(t *testing.T) {
	h := handler(Options{})
	r := send(t, h, http.MethodHead, "/", nil)
	if r.StatusCode != 200 || len(read(t, r)) != 0 || r.ContentLength != int64(len(page)) {
		t.Errorf("HEAD: %d, length %d", r.StatusCode, r.ContentLength)
	}
	for _, target := range []string{"/", "/sdk/portico.js"} {
		if r := send(t, h, http.MethodPost, target, nil); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s: %d", target, r.StatusCode)
		}
	}
}

func TestWithoutTheProgram(t *testing.T) {
	demo, sdk := files()
	delete(sdk, "portico.wasm")
	h := New(Options{Log: quiet(), demo: demo, sdk: sdk})
	r := get(t, h, "/sdk/portico.wasm")
	if body := string(read(t, r)); r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "make build") {
		t.Errorf("%d %q", r.StatusCode, body)
	}
	if r := get(t, h, "/sdk/portico.js"); r.StatusCode != 200 {
		t.Errorf("the library itself: %d", r.StatusCode)
	}
}

func TestEmbeddedFilesAreServed(t *testing.T) {
	h := New(Options{Log: quiet()})
	for _, target := range []string{"/", "/sdk/portico.js"} {
		if r := get(t, h, target); r.StatusCode != 200 {
			t.Errorf("%s: %d", target, r.StatusCode)
		}
	}
}

// devOptions gives tokens that say what was asked for.
func devOptions() Options {
	return Options{Dev: true, Token: func(_ context.Context, r TokenRequest) (string, error) {
		switch r.Room {
		case "refuse":
			return "", &RefusedError{"Not in this room."}
		case "break":
			return "", errors.New("secret trouble")
		}
		return r.Room + "|" + r.User + "|" + r.Role, nil
	}}
}

func TestToken(t *testing.T) {
	h := handler(devOptions())
	long := strings.Repeat("ü", 101)
	for _, c := range []struct {
		name, body, answer string
		status             int
		headers            []string
	}{
		{"good", `{"room":" Büro ","user":"Ana","role":"viewer"}`, `{"token":"Büro|Ana|viewer"}`, 200, nil},
		{"default role", `{"room":"r","user":"u"}`, `{"token":"r|u|presenter"}`, 200, nil},
		{"own origin", `{"room":"r","user":"u"}`, `{"token":"r|u|presenter"}`, 200, []string{"Origin", "http://example.com"}},
		{"foreign origin", `{"room":"r","user":"u"}`, "", 403, []string{"Origin", "http://evil.example"}},
		{"no origin at all", `{"room":"r","user":"u"}`, "", 403, []string{"Origin", "null"}},
		{"a form", `room=r`, "", 403, []string{"Content-Type", "text/plain"}},
		{"no room", `{"user":"u"}`, "", 400, nil},
		{"no user", `{"room":"r","user":"  "}`, "", 400, nil},
		{"long", `{"room":"` + long + `","user":"u"}`, "", 400, nil},
		{"control", `{"room":"a\nb","user":"u"}`, "", 400, nil},
		{"not JSON", `room`, "", 400, nil},
		{"huge", `{"room":"` + strings.Repeat("a", 5000) + `"}`, "", 400, nil},
		{"refused", `{"room":"refuse","user":"u"}`, `{"error":"Not in this room."}`, 403, nil},
		{"broken", `{"room":"break","user":"u"}`, `{"error":"The server could not make a token; its log says why."}`, 500, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := send(t, h, http.MethodPost, "/demo/token", strings.NewReader(c.body), append([]string{"Content-Type", "application/json"}, c.headers...)...)
			body := strings.TrimSpace(string(read(t, r)))
			if r.StatusCode != c.status || c.answer != "" && body != c.answer {
				t.Errorf("%d %s", r.StatusCode, body)
			}
			var answer map[string]string
			if err := json.Unmarshal([]byte(body), &answer); err != nil || c.status != 200 && answer["error"] == "" {
				t.Errorf("answer %s", body)
			}
			if r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("headers %v", r.Header)
			}
		})
	}
	if r := get(t, h, "/demo/token"); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", r.StatusCode)
	}
}

func TestNoTokenOutsideDev(t *testing.T) {
	o := devOptions()
	o.Dev = false
	r := send(t, handler(o), http.MethodPost, "/demo/token", strings.NewReader(`{"room":"r","user":"u"}`), "Content-Type", "application/json")
	if r.StatusCode != http.StatusNotFound {
		t.Errorf("status %d: %s", r.StatusCode, read(t, r))
	}
}

func FuzzTokenRequest(f *testing.F) {
	for _, seed := range []string{`{"room":"r","user":"u","role":"viewer"}`, `{"room":1}`, `[]`, "", "{\"room\":\"\xff\",\"user\":\"u\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		request, problem := readRequest(bytes.NewReader(body))
		if problem == "" && (!isName(request.Room) || !isName(request.User) || !isName(request.Role)) {
			t.Errorf("took %q", body)
		}
	})
}

func FuzzAcceptEncoding(f *testing.F) {
	demo, _ := files()
	a := load(demo, pagePolicy)["index.html"]
	for _, seed := range []string{"gzip, br;q=0.1", "*;q=0", ";", "br;q=;q=0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if _, have := a.forms[a.choose(header)]; !have {
			t.Errorf("%q chose a form that is not there", header)
		}
	})
}
