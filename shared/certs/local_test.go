package certs

import (
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func local(t *testing.T, dir string, hosts ...string) (Files, *x509.Certificate) {
	t.Helper()
	files, ca, err := Local(dir, hosts)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := Load(files)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	text, err := os.ReadFile(ca)
	if err != nil || !roots.AppendCertsFromPEM(text) || strings.Contains(string(text), "PRIVATE KEY") {
		t.Fatalf("%v: the authority's file is not its certificate alone", err)
	}
	for _, host := range append([]string{"localhost", "127.0.0.1", "[::1]"}, hosts...) {
		if ip := net.ParseIP(strings.Trim(host, "[]")); ip != nil {
			host = "[" + ip.String() + "]"
		}
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Error(err)
		}
	}
	return files, cert.Leaf
}

func TestLocalHandshake(t *testing.T) {
	files, ca, err := Local(filepath.Join(t.TempDir(), "new", "tls"), []string{"192.0.2.7"})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := open(t, files)
	addr := serve(t, s.TLSConfig(0))
	text, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "192.0.2.7"} {
		echo(t, dial(t, addr, &tls.Config{RootCAs: roots, ServerName: name}), name)
	}
	if conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, ServerName: "192.0.2.8"}); err == nil {
		_ = conn.Close()
		t.Error("it serves as another host")
	}
}

func TestLocalIsKept(t *testing.T) {
	dir := t.TempDir()
	_, first := local(t, dir, "192.0.2.7", "Meet.Local")
	_, again := local(t, dir, "meet.local", "192.0.2.7", "192.0.2.7", "127.0.0.1")
	if !again.Equal(first) {
		t.Error("made anew for the same hosts")
	}
	_, other := local(t, dir, "192.0.2.8", "2001:db8::1")
	if other.Equal(first) || other.VerifyHostname("192.0.2.7") == nil {
		t.Error("not made anew for other hosts")
	}
	if string(other.AuthorityKeyId) != string(first.AuthorityKeyId) {
		t.Error("another authority")
	}
	var names []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		names = append(names, e.Name())
		info, err := e.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if want := []string{caKeyFile, caFile, serverFile}; err != nil || !slices.Equal(names, want) {
		t.Errorf("%q, %v: want %q", names, err, want)
	}
}

// Phones refuse what is valid for too long or says too little.
func TestLocalPleasesPhones(t *testing.T) {
	_, leaf := local(t, t.TempDir())
	if life := leaf.NotAfter.Sub(leaf.NotBefore); life > 825*24*time.Hour || leaf.NotBefore.After(time.Now()) {
		t.Errorf("valid for %v", life)
	}
	if leaf.IsCA || !slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) || leaf.SerialNumber.Sign() <= 0 {
		t.Errorf("%+v", leaf)
	}
}

func TestLocalIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		dir := t.TempDir()
		_, first := local(t, dir)
		time.Sleep(330 * day)
		_, kept := local(t, dir)
		time.Sleep(10 * day)
		_, second := local(t, dir)
		if !kept.Equal(first) || second.Equal(first) {
			t.Error("a certificate is renewed in its last month, and not before")
		}
		if string(second.AuthorityKeyId) != string(first.AuthorityKeyId) {
			t.Error("another authority")
		}
		time.Sleep(9 * 365 * day) // nothing may outlive its authority
		_, third := local(t, dir)
		if string(third.AuthorityKeyId) == string(first.AuthorityKeyId) {
			t.Error("the authority does not last as long as the certificate")
		}
		time.Sleep(11 * 365 * day) // all has expired
		if _, fourth := local(t, dir); string(third.AuthorityKeyId) == string(fourth.AuthorityKeyId) {
			t.Error("the authority has expired")
		}
	})
}

func TestLocalFaults(t *testing.T) {
	for _, host := range []string{"", "a b", "host:80", "https://x", "fe80::1%eth0", "..", "*.x"} {
		_, _, err := Local(t.TempDir(), []string{host})
		wantLine(t, err, "a certificate cannot be for")
	}
	file := filepath.Join(t.TempDir(), "file")
	save(t, file, nil)
	_, _, err := Local(filepath.Join(file, "tls"), nil)
	wantLine(t, err, "cannot be written (not a directory)", "choose another folder")

	dir := t.TempDir()
	_, first := local(t, dir)
	ca := filepath.Join(dir, caKeyFile)
	whole, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	save(t, ca, whole[:100])
	_, _, err = Local(dir, nil)
	wantLine(t, err, "local authority: "+ca+" holds no certificate", "or remove the folder "+dir)
	save(t, ca, whole)
	for _, lost := range []string{caFile, serverFile} {
		if err := os.Remove(filepath.Join(dir, lost)); err != nil {
			t.Fatal(err)
		}
	}
	if _, second := local(t, dir); string(second.AuthorityKeyId) != string(first.AuthorityKeyId) {
		t.Error("another authority")
	}
}
