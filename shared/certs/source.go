package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"portico/shared/task"
)

// checkEvery is the time between two looks at the files.
const checkEvery = 10 * time.Second

// Source is the certificate of a server, kept up to date. Make it with Open. All methods are safe for concurrent use.
type Source struct {
	files Files
	log   *slog.Logger
	tasks *task.Group
	cert  atomic.Pointer[tls.Certificate]

	mu      sync.Mutex        // one check at a time; guards the fields below
	using   [sha256.Size]byte // the state of the files that cert is from
	seen    [sha256.Size]byte // the last state looked at: the same, or one that was refused
	waiting bool              // what was seen is not valid yet, and may become so
	told    expiry            // of cert
}

// Open reads the certificate, with the faults of Load, and watches its files until Close. The log tells of every exchange, of new
// files that were refused, once each, and of a certificate that is about to expire.
func Open(files Files, log *slog.Logger) (*Source, error) {
	s := &Source{files: files, log: log}
	c, err := read(files)
	if err != nil {
		return nil, err
	}
	cert, err := c.certificate(time.Now())
	if err != nil {
		return nil, err
	}
	s.cert.Store(&cert)
	s.using = c.sum(nil)
	s.seen = s.using
	s.watchExpiry(time.Now())
	s.tasks = task.NewGroup(context.Background(), func(e *task.PanicError) {
		log.Error("watching the certificate panicked, so it is not renewed any more", "error", e, "stack", e.Stack)
	})
	_ = s.tasks.Go(s.watch) // it is not closed yet
	return s, nil
}

// Close ends the watching and waits for it. Servers keep the certificate they have. Closing twice is safe.
func (s *Source) Close() { s.tasks.Close() }

// TLSConfig is a new configuration for a server, which always serves the newest certificate. minVersion is one of package
// tls, as tls.VersionTLS13; those below 1.2 count as 1.2 (RFC 8996), and 0 does too.
func (s *Source) TLSConfig(minVersion uint16) *tls.Config {
	return &tls.Config{
		MinVersion:     max(minVersion, tls.VersionTLS12),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.cert.Load(), nil },
	}
}

// Leaf is the certificate in use, for its names and its end. It must not be changed.
func (s *Source) Leaf() *x509.Certificate { return s.cert.Load().Leaf }

// Reload looks at the files now, as an operator asks for by SIGHUP. It returns nil when the newest certificate is in use, changed
// or not. Otherwise the old one stays, and the error, which is in the log already, is a line that says why.
func (s *Source) Reload() error { return s.check(true) }

func (s *Source) watch(ctx context.Context) {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = s.check(false) // it is in the log
			s.watchExpiry(time.Now())
		}
	}
}

// check reads the files, which are small, whole: their contents alone decide, since a copy may keep time and size. What was
// refused is not tried again unless asked.
func (s *Source) check(asked bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := read(s.files)
	sum := c.sum(err)
	isNew := sum != s.seen
	if !asked && !isNew && !s.waiting {
		return nil
	}
	s.seen, s.waiting = sum, false
	if sum == s.using {
		return nil
	}
	var cert tls.Certificate
	if err == nil {
		cert, err = c.certificate(time.Now())
	}
	if err != nil {
		s.waiting = errors.Is(err, errNotYet)
		if asked || isNew {
			s.log.Warn("new certificate refused, the old one stays in use", "error", err)
		}
		return err
	}
	s.cert.Store(&cert)
	s.using, s.told = sum, notNear
	s.log.Info("certificate renewed", "names", subject(cert.Leaf), "not_after", cert.Leaf.NotAfter, "file", c.source().file)
	return nil
}

// expiry is how near the end of a certificate is.
type expiry int

const (
	notNear expiry = iota
	near
	over
)

func expiryAt(leaf *x509.Certificate, now time.Time) expiry {
	left := leaf.NotAfter.Sub(now)
	switch {
	case left < 0:
		return over
	// Certificates that live for days only are renewed late.
	case left < min(14*24*time.Hour, leaf.NotAfter.Sub(leaf.NotBefore)/4):
		return near
	}
	return notNear
}

// watchExpiry tells once that the certificate is about to expire, and once that it has.
func (s *Source) watchExpiry(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	leaf := s.Leaf()
	at := expiryAt(leaf, now)
	if at <= s.told {
		return
	}
	s.told = at
	text := "certificate expires soon: renew it"
	if at == over {
		text = "certificate has expired, and clients refuse it: renew it"
	}
	s.log.Warn(text, "names", subject(leaf), "not_after", leaf.NotAfter)
}
