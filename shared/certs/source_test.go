package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// lines is a log to look at.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// take returns the lines since the last call.
func (l *lines) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.TrimSpace(l.text.String())
	l.text.Reset()
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

func (l *lines) log() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// want checks that exactly one line was logged since the last call, with all of the parts in it.
func (l *lines) want(t *testing.T, parts ...string) {
	t.Helper()
	got := l.take()
	if len(got) != 1 {
		t.Errorf("%d lines %q, want one with %q", len(got), got, parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(got[0], part) {
			t.Errorf("%q lacks %q", got[0], part)
		}
	}
}

func (l *lines) wantNone(t *testing.T) {
	t.Helper()
	if got := l.take(); got != nil {
		t.Errorf("logged %q", got)
	}
}

func open(t testing.TB, files Files) (*Source, *lines) {
	t.Helper()
	l := &lines{}
	s, err := Open(files, l.log())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, l
}

// serve echoes on TLS connections.
func serve(t *testing.T, config *tls.Config) (addr string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer func() { _ = conn.Close() }()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

func trust(list ...*made) *tls.Config {
	roots := x509.NewCertPool()
	for _, m := range list {
		roots.AddCert(m.cert)
	}
	return &tls.Config{RootCAs: roots, ServerName: "localhost"}
}

func dial(t *testing.T, addr string, config *tls.Config) *tls.Conn {
	t.Helper()
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: config}
	conn, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*tls.Conn)
}

func echo(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Fatalf("%q, %v", got, err)
	}
}

func served(conn *tls.Conn) *x509.Certificate { return conn.ConnectionState().PeerCertificates[0] }

// A connection that is open stays, the next one has the new certificate, with either kind of files.
func TestRenewalUnderAnOpenConnection(t *testing.T) {
	root, middle, first := chain(t)
	second := makeCert(t, "localhost", middle, nil)
	pem := pemFiles(t, first, middle)
	store := storeFiles(t, encodeStore(t, pkcs12.LegacyDES, "x", first, middle))
	store.Passphrase = "x"
	for name, c := range map[string]struct {
		files Files
		renew func()
	}{
		"PEM": {pem, func() {
			save(t, pem.Cert, certPEM(second, middle))
			save(t, pem.Key, keyPEM(t, second))
		}},
		"key store": {store, func() { save(t, store.KeyStore, encodeStore(t, pkcs12.Modern2023, "x", second, middle)) }},
	} {
		t.Run(name, func(t *testing.T) {
			s, l := open(t, c.files)
			addr := serve(t, s.TLSConfig(0))
			before := dial(t, addr, trust(root))
			echo(t, before, "one")
			if !served(before).Equal(first.cert) {
				t.Error("another certificate is served")
			}
			if err := s.Reload(); err != nil {
				t.Error(err)
			}
			l.wantNone(t)

			c.renew()
			if err := s.Reload(); err != nil {
				t.Fatal(err)
			}
			l.want(t, "level=INFO", `msg="certificate renewed"`, `names="localhost, 127.0.0.1"`)
			echo(t, before, "two")
			after := dial(t, addr, trust(root))
			echo(t, after, "three")
			if !served(after).Equal(second.cert) || !s.Leaf().Equal(second.cert) {
				t.Error("the old certificate is served")
			}
			echo(t, before, "four")
		})
	}
}

// Through net/http, as nodes use it: the answer to a request that began before the renewal arrives.
func TestRenewalUnderARequest(t *testing.T) {
	first, second := makeCert(t, "localhost", nil, authority), makeCert(t, "localhost", nil, authority)
	files := pemFiles(t, first)
	s, _ := open(t, files)
	begun, answer := make(chan struct{}), make(chan struct{})
	server := &http.Server{TLSConfig: s.TLSConfig(tls.VersionTLS12), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(begun)
			<-answer
			_, _ = io.WriteString(w, "done")
		})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() { _ = server.ServeTLS(l, "", "") })
	t.Cleanup(func() {
		_ = server.Close()
		all.Wait()
	})
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	got := make(chan string)
	go func() {
		r, err := (&http.Client{Transport: transport}).Get("https://" + l.Addr().String())
		if err != nil {
			got <- err.Error()
			return
		}
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		got <- string(body)
	}()
	<-begun
	save(t, files.Cert, certPEM(second))
	save(t, files.Key, keyPEM(t, second))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	close(answer)
	if text := <-got; text != "done" {
		t.Error(text)
	}
	conn := dial(t, l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if !served(conn).Equal(second.cert) {
		t.Error("the old certificate is served")
	}
}

func TestMinVersion(t *testing.T) {
	root, middle, leaf := chain(t)
	s, _ := open(t, pemFiles(t, leaf, middle))
	for _, c := range []struct{ least, offered, want uint16 }{
		{0, tls.VersionTLS12, tls.VersionTLS12}, {tls.VersionTLS10, tls.VersionTLS11, 0}, {tls.VersionTLS12, tls.VersionTLS13, tls.VersionTLS13},
		{tls.VersionTLS13, tls.VersionTLS12, 0},
	} {
		client := trust(root)
		client.MinVersion, client.MaxVersion = tls.VersionTLS10, c.offered
		conn, err := tls.Dial("tcp", serve(t, s.TLSConfig(c.least)), client)
		got := uint16(0)
		if err == nil {
			got = conn.ConnectionState().Version
			_ = conn.Close()
		}
		if got != c.want {
			t.Errorf("at least %#x, offered %#x: %#x, %v", c.least, c.offered, got, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	files := pemFiles(t, makeCert(t, "localhost", nil, expired))
	_, err := Open(files, slog.New(slog.DiscardHandler))
	wantLine(t, err, "tls.cert_file: ", "expired on")
	files.Key = "/nowhere/key.pem"
	_, err = Open(files, slog.New(slog.DiscardHandler))
	wantLine(t, err, "tls.key_file: there is no file")
}

// Handshakes and reloads at once, for the race detector.
func TestReloadWhileServing(t *testing.T) {
	root, middle, leaf := chain(t)
	files := pemFiles(t, leaf, middle)
	s, _ := open(t, files)
	addr := serve(t, s.TLSConfig(0))
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	fault := make(chan error, 4)
	for range 4 {
		clients.Go(func() {
			d := tls.Dialer{Config: trust(root)}
			for ctx.Err() == nil {
				conn, err := d.DialContext(ctx, "tcp", addr)
				if err != nil {
					if ctx.Err() == nil {
						fault <- err
					}
					return
				}
				_ = conn.Close()
			}
		})
	}
	for i := range 20 {
		next := makeCert(t, "localhost", middle, nil)
		save(t, files.Cert, certPEM(next, middle))
		if i%2 == 0 {
			wantLine(t, s.Reload(), "do not fit together")
		}
		save(t, files.Key, keyPEM(t, next))
		if err := s.Reload(); err != nil {
			t.Error(err)
		}
	}
	cancel()
	clients.Wait()
	select {
	case err := <-fault:
		t.Error(err)
	default:
	}
}

func ExampleSource() {
	dir, err := os.MkdirTemp("", "certs")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	files, _, err := Local(dir, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	source, err := Open(files, slog.Default())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close()
	server := &http.Server{TLSConfig: source.TLSConfig(tls.VersionTLS12)} // then server.ServeTLS(listener, "", "")
	fmt.Println(server.TLSConfig.GetCertificate != nil, source.Leaf().DNSNames)
	// Output: true [localhost]
}
