package wt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync"
	"time"
)

// A browser takes a certificate by its hash, instead of by who signed it, only if it is one of ECDSA and valid for two weeks at most
// (W3C WebTransport, custom certificate requirements). Chromium moreover refuses one that has no extensions at all.
const (
	certificateBefore = 24 * time.Hour      // valid from this long before it is made: clients' clocks are wrong
	certificateAfter  = 12 * 24 * time.Hour // and until this long after
	certificatePeriod = 4 * 24 * time.Hour  // how long one is the next, and then the current
)

// ownCertificate is a certificate that nobody has signed, kept in memory and exchanged before it expires. The next one is made one
// period before it is used, and clients are told its hash along with the current one's: so a hash serves for a period at least.
type ownCertificate struct {
	mu            sync.Mutex // guards what follows
	current, next certificate
	since         time.Time // when the current one became that
}

type certificate struct {
	tls  *tls.Certificate
	hash [sha256.Size]byte
}

func newOwnCertificate(now time.Time) (*ownCertificate, error) {
	o := &ownCertificate{}
	return o, o.renew(now)
}

// renew exchanges what is older than its period; the wall clock counts, since certificates expire while a machine sleeps. When it
// fails, the old ones stay: they are valid for another period.
func (o *ownCertificate) renew(now time.Time) error {
	now = now.Round(0)
	o.mu.Lock()
	defer o.mu.Unlock()
	age := now.Sub(o.since)
	if age < certificatePeriod && age > -certificatePeriod { // a clock that was set back far is a new beginning
		return nil
	}
	fresh, err := makeCertificate(now)
	if err != nil {
		return err
	}
	current := o.next
	if age >= certificatePeriod*3/2 || age < 0 {
		if current, err = makeCertificate(now); err != nil {
			return err
		}
	}
	o.current, o.next, o.since = current, fresh, now
	return nil
}

func (o *ownCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	_ = o.renew(time.Now()) // the old one serves as well
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.current.tls, nil
}

func (o *ownCertificate) hashes() [][]byte {
	_ = o.renew(time.Now())
	o.mu.Lock()
	defer o.mu.Unlock()
	current, next := o.current.hash, o.next.hash
	return [][]byte{current[:], next[:]}
}

func makeCertificate(now time.Time) (certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "portico"}, DNSNames: []string{"localhost"},
		NotBefore: now.Add(-certificateBefore), NotAfter: now.Add(certificateAfter),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return certificate{}, err
	}
	return certificate{&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, sha256.Sum256(der)}, nil
}
