package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"portico/shared/certs"
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

// Certificate is certs.Load for a program with PEM files that reads them once; certSetting and keySetting name the two settings.
func Certificate(certSetting, certFile, keySetting, keyFile string) (tls.Certificate, error) {
	return certs.Load(certs.Files{Cert: certFile, Key: keyFile, Settings: certs.Names{Cert: certSetting, Key: keySetting}})
}
