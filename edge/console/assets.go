package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"math/bits"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/andybalholm/brotli"
)

// contentTypes of what may be served; files of other kinds are not. Browsers compile a program while it arrives only with the
// exact type application/wasm.
var contentTypes = map[string]string{
	".css":         "text/css; charset=utf-8",
	".html":        "text/html; charset=utf-8",
	".ico":         "image/x-icon",
	".jpg":         "image/jpeg",
	".js":          "text/javascript; charset=utf-8",
	".json":        "application/json",
	".png":         "image/png",
	".svg":         "image/svg+xml",
	".ts":          "text/plain; charset=utf-8",
	".wasm":        "application/wasm",
	".webmanifest": "application/manifest+json",
	".woff2":       "font/woff2",
}

// encodings a file may be sent in, best first, with the ending of files that are already compressed.
var encodings = []struct {
	name, suffix string
	compress     func([]byte) []byte
}{
	{"br", ".br", toBrotli},
	{"gzip", ".gz", toGzip},
}

// policy are the headers of one tree of files.
type policy map[string]string

// pagePolicy is for documents: what they load, run and connect to. 'wasm-unsafe-eval' lets the client's program be compiled, and
// nothing else. blob: media is what a page records or previews itself. Portals and data streams (https: is for WebTransport) may be on
// other hosts: the join token says where.
var pagePolicy = policy{
	"Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; " +
		"media-src 'self' blob:; font-src 'self'; connect-src 'self' https: ws: wss:; worker-src 'self'; manifest-src 'self'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
	"Permissions-Policy":         "camera=(self), microphone=(self), display-capture=(self), fullscreen=(self), autoplay=(self), geolocation=(), usb=()",
	"Cross-Origin-Opener-Policy": "same-origin",
}

// bundlePolicy is for the client bundle, which pages of other origins may use: a meeting can be part of any site.
var bundlePolicy = policy{
	"Access-Control-Allow-Origin":  "*",
	"Cross-Origin-Resource-Policy": "cross-origin",
	"Content-Security-Policy":      "default-src 'none'",
}

// assets are the files of one tree by path.
type assets map[string]*asset

// asset is one file, ready to be sent.
type asset struct {
	contentType string
	headers     policy
	sum         string          // of the content, 16 hexadecimal digits
	forms       map[string]form // by encoding; "" is the file itself
}

// form is a file in one encoding: bytes made at start, or a file of the tree, which is opened anew each time. The program is read from
// where it lies in the executable, and takes no memory while nobody asks for it.
type form struct {
	size    int64
	content []byte
	files   fs.FS
	name    string
}

// fileForm is a file of the tree; ok is false when it is not there.
func fileForm(files fs.FS, name string) (f form, ok bool) {
	info, err := fs.Stat(files, name)
	if err != nil {
		return form{}, false
	}
	return form{size: info.Size(), files: files, name: name}, true
}

// writeTo sends the form.
func (f form) writeTo(w io.Writer) error {
	if f.files == nil {
		_, err := w.Write(f.content)
		return err
	}
	file, err := f.files.Open(f.name)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, file)
	return errors.Join(err, file.Close())
}

// load reads a tree. Files whose name starts with a dot and files of unknown kind stay out.
func load(files fs.FS, headers policy) assets {
	all := assets{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		kind, known := contentTypes[path.Ext(name)]
		if err != nil || d.IsDir() || !known || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		all[name], err = prepare(files, name, kind, headers)
		return err
	})
	if err != nil {
		panic("console: reading embedded files: " + err.Error())
	}
	return all
}

// prepare makes the forms of a file. Its sum is that of the smallest form that lies in the tree, which stands for the content as well.
func prepare(files fs.FS, name, kind string, headers policy) (*asset, error) {
	itself, ok := fileForm(files, name)
	if !ok {
		return nil, fs.ErrNotExist
	}
	a := &asset{contentType: kind, headers: headers, forms: map[string]form{"": itself}}
	smallest := itself
	for _, e := range encodings {
		f, ok := fileForm(files, name+e.suffix)
		if !ok && compressible(kind) {
			content, err := fs.ReadFile(files, name)
			if err != nil {
				return nil, err
			}
			f.content = e.compress(content)
			f.size = int64(len(f.content))
		}
		if f.size == 0 || f.size >= itself.size {
			continue
		}
		a.forms[e.name] = f
		if ok && f.size < smallest.size {
			smallest = f
		}
	}
	sum := sha256.New()
	if err := smallest.writeTo(sum); err != nil {
		return nil, err
	}
	a.sum = hex.EncodeToString(sum.Sum(nil)[:8])
	return a, nil
}

// compressible tells whether a kind of file is worth compressing at start; the program comes compressed from the build.
func compressible(kind string) bool {
	return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "json") || kind == "image/svg+xml"
}

// toBrotli compresses with a window no larger than the content: the usual one takes megabytes for each file.
func toBrotli(content []byte) []byte {
	var b bytes.Buffer
	window := min(max(bits.Len(uint(len(content))), 10), 22) // the format's bounds, as powers of two
	w := brotli.NewWriterOptions(&b, brotli.WriterOptions{Quality: 9, LGWin: window})
	_, _ = w.Write(content) // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

func toGzip(content []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(content) // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

// ServeHTTP serves the file named by the path.
func (all assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	all.named(r.URL.Path).ServeHTTP(w, r)
}

// named is the handler of one file; not found when there is none.
func (all assets) named(name string) http.Handler {
	if a, ok := all[name]; ok {
		return a
	}
	return http.NotFoundHandler()
}

// ServeHTTP sends the file in the best form the client takes. A request that names the content's sum as v (the loader does so
// for the program) may keep it for ever; all else is asked for again each time, and answered with 304 when it has not changed.
func (a *asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "This can only be read.", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	for name, value := range a.headers {
		h.Set(name, value)
	}
	encoding := a.choose(r.Header.Get("Accept-Encoding"))
	tag := `"` + a.sum + `"`
	if encoding != "" {
		h.Set("Content-Encoding", encoding)
		tag = `"` + a.sum + "-" + encoding + `"`
	}
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", tag)
	h.Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == a.sum {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if matches(r.Header.Get("If-None-Match"), tag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := a.forms[encoding]
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.FormatInt(body.size, 10))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_ = body.writeTo(w) // the client went away: nothing to do about it
	}
}

// choose picks the encoding by the Accept-Encoding header (RFC 9110 12.5.3): the best of ours that is not refused with q=0.
// "*" stands for those that are not named.
func (a *asset) choose(accept string) string {
	allowed, any := map[string]bool{}, false
	for item := range strings.SplitSeq(accept, ",") {
		name, parameters, _ := strings.Cut(item, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		ok := !refused(parameters)
		if name == "*" {
			any = ok
		} else if name != "" {
			allowed[name] = ok
		}
	}
	for _, e := range encodings {
		ok, named := allowed[e.name]
		if _, have := a.forms[e.name]; have && (ok || !named && any) {
			return e.name
		}
	}
	return ""
}

// refused tells whether the parameters of one encoding say q=0.
func refused(parameters string) bool {
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return err == nil && q == 0
		}
	}
	return false
}

// matches compares an If-None-Match header with an entity tag, weakly (RFC 9110 13.1.2).
func matches(header, tag string) bool {
	for candidate := range strings.SplitSeq(header, ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == tag || candidate == "*" {
			return true
		}
	}
	return false
}
