// Package certs gives TLS servers their certificate, from PEM files or from a PKCS#12 key store, and exchanges it while they run.
//
// A server takes its tls.Config from a Source. The Source looks at the files every few seconds, and when asked: a new certificate
// serves the handshakes that begin from then on, connections that are open keep theirs, and a file that is broken, half written or
// out of date changes nothing but a line in the log. Load reads a certificate once. Local makes one for a machine on which
// the system is tried out, signed by a certificate authority of its own.
//
// Forms that are understood:
//
//   - PEM (RFC 7468): the certificate and those that lead to its root, in any order, and an unencrypted key (PKCS#8, PKCS#1 or SEC 1),
//     in one file or two.
//   - PKCS#12 (RFC 7292, RFC 9879; .p12, .pfx) in DER: one key and its certificates, encrypted by PBES2 or by the old 3DES and
//     RC2 schemes.
//
// The passphrase of a key store comes from the settings, from the first line of a file, or from the file .owt.keystore in
// which OWT's servers keep it (portal protocol 1.9).
package certs

import (
	"cmp"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Files say where a certificate is: in Cert and Key, or in KeyStore.
type Files struct {
	Cert string // PEM
	Key  string // PEM; "" looks for the key in Cert too
	// KeyStore is a PKCS#12 file.
	KeyStore string
	// PassphraseFile holds the passphrase of KeyStore in its first line, or is a .owt.keystore. When there is neither it nor
	// a Passphrase, a .owt.keystore beside KeyStore counts, and otherwise the passphrase is empty.
	PassphraseFile string
	Passphrase     string
	// Settings are the names of the settings that the rest comes from, for faults.
	Settings Names
}

// Names are those of settings; "" takes a word that says what is meant.
type Names struct{ Cert, Key, KeyStore, Passphrase string }

func (n Names) filled() Names {
	return Names{
		Cert: cmp.Or(n.Cert, "certificate"), Key: cmp.Or(n.Key, "key of the certificate"),
		KeyStore: cmp.Or(n.KeyStore, "key store"), Passphrase: cmp.Or(n.Passphrase, "passphrase of the key store"),
	}
}

// Load reads the certificate with its chain and key. Leaf is set. A failure, which a certificate that is not valid now is too, is
// one line that names the setting and the file, says what is wrong with it and what to do.
func Load(files Files) (tls.Certificate, error) {
	c, err := read(files)
	if err != nil {
		return tls.Certificate{}, err
	}
	return c.certificate(time.Now())
}

// certificate makes the certificate, and says whether it may serve at a time. One that may not is returned with the fault.
func (c *contents) certificate(now time.Time) (tls.Certificate, error) {
	cert, err := c.parse()
	if err != nil {
		return tls.Certificate{}, err
	}
	return cert, validAt(cert.Leaf, now, c.source())
}

// place is a file under the name of its setting.
type place struct{ setting, file string }

func (p place) fault(err error, format string, args ...any) error {
	return &lineError{p.setting + ": " + fmt.Sprintf(format, args...), err}
}

// errNotYet is wrapped by the fault about a certificate that becomes valid by itself.
var errNotYet = errors.New("certs: not yet valid")

// validAt says whether a certificate may serve.
func validAt(leaf *x509.Certificate, now time.Time, from place) error {
	switch {
	case now.After(leaf.NotAfter):
		return from.fault(nil, "the certificate in %s for %s expired on %s: renew it (or set this machine's clock, if that is wrong)",
			from.file, subject(leaf), leaf.NotAfter.Format(time.DateOnly))
	case now.Before(leaf.NotBefore):
		return from.fault(errNotYet, "the certificate in %s for %s is valid only from %s on: set this machine's clock, or use another certificate until then",
			from.file, subject(leaf), leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// subject names a certificate by what it is for.
func subject(leaf *x509.Certificate) string {
	var names []string
	names = append(names, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	switch {
	case len(names) > 3:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	case len(names) > 0:
		return strings.Join(names, ", ")
	}
	return cmp.Or(oneLine(leaf.Subject.CommonName), "nobody")
}

// errNoMatch says that a key belongs to none of the certificates.
var errNoMatch = errors.New("certs: the key is that of no certificate")

// assemble finds the certificate of the key among several and puts it first, then its issuer and so on. What leads
// nowhere comes last: it may be a second way to a root.
func assemble(key crypto.PrivateKey, list []*x509.Certificate) (tls.Certificate, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return tls.Certificate{}, errNoMatch
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return tls.Certificate{}, errNoMatch
	}
	next := slices.IndexFunc(list, func(c *x509.Certificate) bool { return public.Equal(c.PublicKey) })
	if next < 0 {
		return tls.Certificate{}, errNoMatch
	}
	cert := tls.Certificate{PrivateKey: key, Leaf: list[next]}
	for rest := slices.Clone(list); ; {
		at := rest[next]
		cert.Certificate = append(cert.Certificate, at.Raw)
		if rest = slices.Delete(rest, next, next+1); len(rest) == 0 {
			return cert, nil
		}
		issuer := slices.IndexFunc(rest, func(c *x509.Certificate) bool {
			return string(c.RawSubject) == string(at.RawIssuer) && at.CheckSignatureFrom(c) == nil
		})
		next = max(issuer, 0)
	}
}

// lineError is one line about err, which may be nil.
type lineError struct {
	line string
	err  error
}

func (e *lineError) Error() string { return e.line }
func (e *lineError) Unwrap() error { return e.err }

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
