package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ListenFault turns the failure to listen on addr, the value of a setting, into a line that says what to do. It wraps err.
func ListenFault(setting, addr string, err error) error {
	advice := "correct " + setting
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fault(err, "%s: %s is taken by another program: stop that one, or set %s to another port", setting, addr, setting)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fault(err, "%s: listening on %s is not permitted: set %s to a port from 1024 up, or give the program the right to", setting, addr, setting)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fault(err, "%s: %s is no address of this machine: set %s to one of its own, or to 0.0.0.0 with the port for all", setting, addr, setting)
	case errors.As(err, &dns):
		return fault(err, "%s: the host of %s is unknown: set %s to an address of this machine with a port", setting, addr, setting)
	}
	return fault(err, "%s: cannot listen on %s (%s): %s", setting, addr, oneLine(err.Error()), advice)
}

// lineError is one line about err.
type lineError struct {
	line string
	err  error
}

func (e *lineError) Error() string { return e.line }
func (e *lineError) Unwrap() error { return e.err }

func fault(err error, format string, args ...any) error {
	return &lineError{fmt.Sprintf(format, args...), err}
}

// CheckListen says what is wrong with the form of an address to listen on, as "0.0.0.0:8080"; nil when nothing is.
func CheckListen(setting, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	n, err2 := strconv.Atoi(port)
	if err != nil || err2 != nil || n < 0 || n > 65535 || strings.ContainsAny(host, " /") {
		return fmt.Errorf("%s: %q is no address to listen on: write host and port, as 0.0.0.0:8080", setting, addr)
	}
	return nil
}

// Certificate loads a certificate chain and its key from PEM files. certSetting and keySetting name the two settings; a failure is
// one line that says which file is wrong, why, and what to do. A certificate that has expired fails too.
func Certificate(certSetting, certFile, keySetting, keyFile string) (tls.Certificate, error) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, fileFault(certSetting, certFile, "a certificate (PEM)", err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, fileFault(keySetting, keyFile, "the certificate's private key (PEM)", err)
	}
	c, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return c, fault(err, "%s and %s: %s and %s do not fit together (%s): name a PEM certificate and its own unencrypted key",
			certSetting, keySetting, certFile, keyFile, oneLine(strings.TrimPrefix(err.Error(), "tls: ")))
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return c, fault(err, "%s: %s holds no certificate that can be read (%s): replace it", certSetting, certFile, oneLine(err.Error()))
	}
	if now := time.Now(); now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		return c, fmt.Errorf("%s: the certificate in %s is valid from %s to %s, and not now: renew it, or set the clock", certSetting, certFile,
			leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly))
	}
	return c, nil
}

func fileFault(setting, file, what string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault(err, "%s: there is no file %s: put %s there, or correct the setting", setting, file, what)
	}
	reason := err.Error()
	var pe *fs.PathError
	if errors.As(err, &pe) {
		reason = pe.Err.Error()
	}
	return fault(err, "%s: %s cannot be read (%s): correct its permissions or the setting", setting, file, reason)
}
