package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// made is a certificate of a test, with its key.
type made struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// makeCert signs a certificate, by itself when there is no issuer. Without a time it is valid for a year, of which a day has passed.
func makeCert(t testing.TB, name string, issuer *made, change func(*x509.Certificate)) *made {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return makeCertFor(t, key, name, issuer, change)
}

func makeCertFor(t testing.TB, key crypto.Signer, name string, issuer *made, change func(*x509.Certificate)) *made {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(364 * 24 * time.Hour),
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &made{cert, key}
}

func authority(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid, c.DNSNames = true, true, nil }

func expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
}

// chain makes a root, an intermediate and a certificate for localhost.
func chain(t testing.TB) (root, middle, leaf *made) {
	root = makeCert(t, "root", nil, authority)
	middle = makeCert(t, "intermediate", root, authority)
	return root, middle, makeCert(t, "localhost", middle, nil)
}

func certPEM(list ...*made) []byte {
	var text []byte
	for _, m := range list {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.cert.Raw})...)
	}
	return text
}

func keyPEM(t testing.TB, m *made) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(m.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// save writes a file at once, as every careful tool does.
func save(t testing.TB, file string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	return file
}

// pemFiles writes a certificate and its key under new names.
func pemFiles(t testing.TB, m *made, issuers ...*made) Files {
	t.Helper()
	dir := t.TempDir()
	return Files{
		Cert:     save(t, filepath.Join(dir, "cert.pem"), certPEM(append([]*made{m}, issuers...)...)),
		Key:      save(t, filepath.Join(dir, "key.pem"), keyPEM(t, m)),
		Settings: Names{"tls.cert_file", "tls.key_file", "portal.keystorePath", "portal.keystore_passphrase_file"},
	}
}

// wantLine checks that err is one line that says everything it should.
func wantLine(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no fault, want %q", parts)
		return
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q has several lines", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
}

func testKeys(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"ECDSA": ec, "RSA": r, "Ed25519": ed}
}
