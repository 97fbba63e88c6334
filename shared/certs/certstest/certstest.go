// Package certstest makes certificate files for tests of programs that serve TLS.
package certstest

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"portico/shared/certs"
)

// Kind is a kind of certificate file.
type Kind string

// The kinds: PEM, and PKCS#12 key stores with today's ciphers and with those of OWT's days.
const (
	PEM        Kind = "PEM"
	KeyStore   Kind = "PKCS#12"
	OldStore   Kind = "PKCS#12 with 3DES"
	Passphrase      = "a passphrase"
)

// Kinds are all of them.
var Kinds = []Kind{PEM, KeyStore, OldStore}

// Issue makes, or makes anew, a certificate of that kind for the hosts, of an authority in dir that stays the same. ca is the
// authority's file.
func Issue(t testing.TB, dir string, kind Kind, hosts ...string) (files certs.Files, ca string) {
	t.Helper()
	pem, ca, err := certs.Local(dir, hosts)
	if err != nil {
		t.Fatal(err)
	}
	if kind == PEM {
		return pem, ca
	}
	pair, err := tls.LoadX509KeyPair(pem.Cert, pem.Key)
	if err != nil {
		t.Fatal(err)
	}
	var chain []*x509.Certificate
	for _, der := range pair.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, c)
	}
	encoder := pkcs12.Modern
	if kind == OldStore {
		encoder = pkcs12.LegacyDES
	}
	data, err := encoder.Encode(pair.PrivateKey, pair.Leaf, chain, Passphrase)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "certificate.pfx")
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	return certs.Files{KeyStore: file, Passphrase: Passphrase}, ca
}
