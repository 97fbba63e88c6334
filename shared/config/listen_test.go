package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestListenFault(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	addr := taken.Addr().String()
	_, err = net.Listen("tcp", addr)
	err = ListenFault("http.listen", addr, err)
	if want := "http.listen: " + addr + " is taken by another program: stop that one, or set http.listen to another port"; err.Error() != want || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v", err)
	}
	_, err = net.Listen("tcp", "203.0.113.1:80")
	if err := ListenFault("x", "203.0.113.1:80", err); !strings.Contains(err.Error(), "is no address of this machine") {
		t.Errorf("%v", err)
	}
	if err := ListenFault("x", ":80", os.NewSyscallError("bind", syscall.EACCES)); !strings.Contains(err.Error(), "not permitted: set x to a port from 1024 up") {
		t.Errorf("%v", err)
	}
	if err := ListenFault("x", "nowhere:80", &net.DNSError{}); !strings.Contains(err.Error(), "the host of nowhere:80 is unknown") {
		t.Errorf("%v", err)
	}
	if err := ListenFault("x", ":80", errors.New("some\nother")); err.Error() != "x: cannot listen on :80 (some other): correct x" {
		t.Errorf("%v", err)
	}
}

func TestCheckListen(t *testing.T) {
	for addr, ok := range map[string]bool{"0.0.0.0:8080": true, ":80": true, "[::]:1": true, "127.0.0.1:0": true,
		"8080": false, "": false, "host:port": false, "host:70000": false, "host:-1": false, "http://host:80": false} {
		if err := CheckListen("x.listen", addr); (err == nil) != ok || err != nil && !strings.HasPrefix(err.Error(), "x.listen: ") {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

// pemFiles writes a certificate and its key.
func pemFiles(t *testing.T, from, to time.Time) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestCertificate(t *testing.T) {
	now := time.Now()
	cert, key := pemFiles(t, now.Add(-time.Hour), now.Add(time.Hour))
	_, otherKey := pemFiles(t, now.Add(-time.Hour), now.Add(time.Hour))
	old, oldKey := pemFiles(t, now.Add(-48*time.Hour), now.Add(-24*time.Hour))
	early, earlyKey := pemFiles(t, now.Add(24*time.Hour), now.Add(48*time.Hour))
	if _, err := Certificate("tls.cert_file", cert, "tls.key_file", key); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ cert, key, want string }{
		"no certificate": {"/nowhere/cert.pem", key, "tls.cert_file: there is no file /nowhere/cert.pem: put a certificate (PEM) there"},
		"no key":         {cert, "/nowhere/key.pem", "tls.key_file: there is no file /nowhere/key.pem"},
		"folder":         {t.TempDir(), key, "cannot be read (is a directory)"},
		"other key":      {cert, otherKey, "do not fit together"},
		"swapped":        {key, cert, "do not fit together"},
		"expired":        {old, oldKey, "and not now: renew it"},
		"early":          {early, earlyKey, "and not now: renew it"},
	} {
		if _, err := Certificate("tls.cert_file", c.cert, "tls.key_file", c.key); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
