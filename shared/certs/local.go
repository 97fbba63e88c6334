package certs

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Files of Local in its folder.
const (
	caFile     = "ca.pem"     // the authority's certificate alone: what is handed to other devices
	caKeyFile  = "ca-key.pem" // certificate and key, in one file so that they cannot be of different makes
	serverFile = "server.pem" // certificate and key
)

// How long what Local makes is valid, and how long before its end it is made anew. Phones refuse certificates for more than 825 days.
const (
	caLife      = 10 * 365 * 24 * time.Hour
	serverLife  = 365 * 24 * time.Hour
	renewBefore = 30 * 24 * time.Hour
	clockSkew   = time.Hour // that of a phone, on which the certificate must be valid at once
)

// Local gives a certificate for this machine, made by an authority that only this machine has: for localhost, its addresses,
// and hosts, which are names and IP addresses under which other devices reach it. Both are kept in dir, readable by this user only.
// The certificate is made anew when it is about to expire or is for other hosts; the authority stays, so that a device
// that was told to trust it, with the certificate in ca, goes on to. An error is one line that says what to do.
func Local(dir string, hosts []string) (files Files, ca string, err error) {
	names, err := localNames(hosts)
	if err != nil {
		return Files{}, "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Files{}, "", cannotWrite(dir, err)
	}
	authority, err := localAuthority(dir)
	if err != nil {
		return Files{}, "", err
	}
	server := filepath.Join(dir, serverFile)
	files = Files{Cert: server, Key: server, Settings: Names{Cert: "local certificate", Key: "local certificate"}}
	ca = filepath.Join(dir, caFile)
	if old, err := Load(files); err == nil && stillGood(old.Leaf, authority.Leaf, names) {
		return files, ca, nil
	}
	made, err := issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "Portico on " + machine()},
		NotAfter:    time.Now().Add(serverLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    names.dns, IPAddresses: names.netIPs(),
	}, &authority)
	if err != nil {
		return Files{}, "", err
	}
	return files, ca, write(server, made)
}

// names are what a certificate is for, each once and in order.
type names struct {
	dns []string
	ips []netip.Addr
}

func localNames(hosts []string) (n names, err error) {
	for _, host := range append([]string{"localhost", "127.0.0.1", "::1"}, hosts...) {
		host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
		ip, err := netip.ParseAddr(host)
		switch {
		case err == nil && ip.Zone() == "":
			n.ips = append(n.ips, ip.Unmap())
		case err == nil || !isName(host):
			return n, fmt.Errorf("a certificate cannot be for %q: give names, as meet.local, or IP addresses without zones", host)
		default:
			n.dns = append(n.dns, host)
		}
	}
	slices.Sort(n.dns)
	slices.SortFunc(n.ips, netip.Addr.Compare)
	n.dns, n.ips = slices.Compact(n.dns), slices.Compact(n.ips)
	return n, nil
}

func isName(host string) bool {
	return host != "" && len(host) <= 253 && strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-.") == "" &&
		!strings.HasPrefix(host, ".") && !strings.Contains(host, "..")
}

func (n names) netIPs() (list []net.IP) {
	for _, ip := range n.ips {
		list = append(list, ip.AsSlice())
	}
	return list
}

func (n names) equal(leaf *x509.Certificate) bool {
	same := func(a net.IP, b netip.Addr) bool {
		ip, ok := netip.AddrFromSlice(a)
		return ok && ip.Unmap() == b
	}
	return slices.Equal(leaf.DNSNames, n.dns) && slices.EqualFunc(leaf.IPAddresses, n.ips, same)
}

func stillGood(leaf, authority *x509.Certificate, n names) bool {
	return time.Until(leaf.NotAfter) > renewBefore && n.equal(leaf) && leaf.CheckSignatureFrom(authority) == nil
}

// localAuthority reads the authority or makes it. One that is damaged is not replaced unasked: devices trust it.
func localAuthority(dir string) (tls.Certificate, error) {
	file := filepath.Join(dir, caKeyFile)
	at := Files{Cert: file, Settings: Names{Cert: "local authority"}}
	old, err := Load(at)
	switch {
	case err == nil && time.Until(old.Leaf.NotAfter) > serverLife:
		return old, keepPublic(dir, old.Leaf)
	case err != nil && !errors.Is(err, fs.ErrNotExist) && old.Leaf == nil: // with a leaf it has expired
		return old, fmt.Errorf("%w; or remove the folder %s, then a new authority is made, which other devices have to be told to trust", err, dir)
	}
	made, err := issue(&x509.Certificate{
		Subject:  pkix.Name{CommonName: "Portico local authority of " + machine(), Organization: []string{"Portico, for this machine only"}},
		NotAfter: time.Now().Add(caLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}, nil)
	if err != nil {
		return tls.Certificate{}, err
	}
	if err := write(file, made); err != nil {
		return tls.Certificate{}, err
	}
	c, err := Load(at)
	if err != nil {
		return c, err
	}
	return c, keepPublic(dir, c.Leaf)
}

// keepPublic writes the authority's certificate without its key, unless it is there.
func keepPublic(dir string, leaf *x509.Certificate) error {
	file, want := filepath.Join(dir, caFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})
	if have, err := os.ReadFile(file); err == nil && string(have) == string(want) {
		return nil
	}
	return write(file, want)
}

// issue makes a key and a certificate for it, as PEM. Without an issuer it signs itself.
func issue(template *x509.Certificate, issuer *tls.Certificate) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	template.NotBefore = time.Now().Add(-clockSkew)
	parent, signer := template, crypto.PrivateKey(key)
	if issuer != nil {
		parent, signer = issuer.Leaf, issuer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...), nil
}

// write puts a file in place at once: whoever reads it sees the old one or the new one.
func write(file string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*") // readable by this user only
	if err != nil {
		return cannotWrite(file, err)
	}
	_, err = f.Write(data)
	err = cmp.Or(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return cannotWrite(file, err)
	}
	return nil
}

func cannotWrite(file string, err error) error {
	reason := cmp.Or(errors.Unwrap(err), err)
	return fmt.Errorf("%s cannot be written (%w): correct the permissions, or choose another folder", file, reason)
}

// machine names this machine for people.
func machine() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "this machine"
	}
	return name
}
