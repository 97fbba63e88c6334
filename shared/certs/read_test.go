package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestLoadPEM(t *testing.T) {
	for name, key := range testKeys(t) {
		m := makeCertFor(t, key, "localhost", nil, nil)
		cert, err := Load(pemFiles(t, m))
		if err != nil || !cert.Leaf.Equal(m.cert) || len(cert.Certificate) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The old forms of keys, each under the name its tools give it.
func TestKeyForms(t *testing.T) {
	keys := testKeys(t)
	ec := makeCertFor(t, keys["ECDSA"], "localhost", nil, nil)
	sec1, err := x509.MarshalECPrivateKey(keys["ECDSA"].(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	rs := makeCertFor(t, keys["RSA"], "localhost", nil, nil)
	params := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 0}})
	for name, c := range map[string]struct {
		m   *made
		key []byte
	}{
		"SEC 1":   {ec, append(params, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})...)},
		"PKCS#1":  {rs, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(keys["RSA"].(*rsa.PrivateKey))})},
		"mislead": {rs, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(keys["RSA"].(*rsa.PrivateKey))})},
	} {
		files := pemFiles(t, c.m)
		save(t, files.Key, append([]byte("Bag Attributes\n    friendlyName: x\n"), c.key...))
		if _, err := Load(files); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOneFileForBoth(t *testing.T) {
	m := makeCert(t, "localhost", nil, nil)
	for name, content := range map[string][]byte{
		"key last":  append(certPEM(m), keyPEM(t, m)...),
		"key first": append(keyPEM(t, m), certPEM(m)...),
	} {
		file := save(t, filepath.Join(t.TempDir(), "both.pem"), content)
		for _, key := range []string{"", file} {
			if _, err := Load(Files{Cert: file, Key: key}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	other := makeCert(t, "localhost", nil, nil)
	file := save(t, filepath.Join(t.TempDir(), "both.pem"), append(certPEM(m), keyPEM(t, other)...))
	_, err := Load(Files{Cert: file})
	wantLine(t, err, "certificate: the key in "+file+" is not that of the certificate in it")
}

// Whatever the order in the file, the certificate of the key comes first and each is followed by its issuer; nothing is lost.
func TestChainOrder(t *testing.T) {
	root, middle, leaf := chain(t)
	other := makeCert(t, "other", nil, authority)
	want := [][]byte{leaf.cert.Raw, middle.cert.Raw, root.cert.Raw, other.cert.Raw}
	for name, list := range map[string][]*made{
		"in order": {leaf, middle, root, other},
		"reversed": {other, root, middle, leaf},
		"mixed":    {root, leaf, other, middle},
	} {
		files := pemFiles(t, leaf)
		save(t, files.Cert, certPEM(list...))
		cert, err := Load(files)
		if err != nil || len(cert.Certificate) != len(want) {
			t.Errorf("%s: %d certificates, %v", name, len(cert.Certificate), err)
			continue
		}
		for i, raw := range want {
			if !bytes.Equal(cert.Certificate[i], raw) {
				t.Errorf("%s: another certificate at %d", name, i)
			}
		}
	}
}

func TestPEMFaults(t *testing.T) {
	m, other := makeCert(t, "meet.example.org", nil, nil), makeCert(t, "localhost", nil, nil)
	good := pemFiles(t, m)
	dir := t.TempDir()
	put := func(name string, data []byte) string { return save(t, filepath.Join(dir, name), data) }
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	encrypted := &pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte("x")}
	damaged := &pem.Block{Type: "CERTIFICATE", Bytes: m.cert.Raw[:40]}
	early := makeCert(t, "localhost", nil, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(24*time.Hour), time.Now().Add(48*time.Hour)
	})
	old := pemFiles(t, makeCert(t, "meet.example.org", nil, expired))
	unripe := pemFiles(t, early)
	for name, c := range map[string]struct {
		cert, key string
		want      []string
	}{
		"no certificate":    {"/nowhere/cert.pem", good.Key, []string{"tls.cert_file: there is no file /nowhere/cert.pem: put the certificate (PEM) there"}},
		"relative":          {"nowhere.pem", good.Key, []string{"there is no file nowhere.pem", "(it is looked for in /"}},
		"no key":            {good.Cert, "/nowhere/key.pem", []string{"tls.key_file: there is no file /nowhere/key.pem"}},
		"folder":            {dir, good.Key, []string{"tls.cert_file: " + dir + " is a folder"}},
		"pipe":              {good.Cert, fifo, []string{"tls.key_file: " + fifo + " is no ordinary file"}},
		"large":             {put("large", make([]byte, maxFile+1)), good.Key, []string{"is larger than 1 MiB"}},
		"empty":             {put("empty", []byte("\n")), good.Key, []string{"holds no certificate in PEM form: it is empty"}},
		"half":              {put("half", certPEM(m)[:200]), good.Key, []string{"tls.cert_file: ", "what stands there is cut off"}},
		"damaged":           {put("damaged", pem.EncodeToMemory(damaged)), good.Key, []string{"holds a certificate that cannot be read"}},
		"text":              {put("text", []byte("hello")), good.Key, []string{"put the text there that has the line -----BEGIN CERTIFICATE-----"}},
		"DER":               {put("der", m.cert.Raw), good.Key, []string{"in DER form; make PEM of it by openssl x509 -inform der"}},
		"PKCS#12":           {"testdata/openssl-modern.p12", good.Key, []string{"it is a PKCS#12 key store; set portal.keystorePath to it"}},
		"Java":              {put("java", []byte{0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2}), good.Key, []string{"it is a Java key store"}},
		"key with password": {good.Cert, put("secret", pem.EncodeToMemory(encrypted)), []string{"tls.key_file: ", "is protected by a password: write it without one by openssl pkey"}},
		"key with PKCS#8 password": {good.Cert, put("secret8", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY"})),
			[]string{"is protected by a password"}},
		"damaged key": {good.Cert, put("badkey", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})), []string{"holds a key that cannot be read"}},
		"swapped":     {good.Key, good.Cert, []string{"tls.cert_file: ", "holds no certificate in PEM form"}},
		"no key in":   {good.Cert, good.Cert, []string{"tls.key_file: ", "holds no private key in PEM form: put the text there"}},
		"half a key":  {good.Cert, put("halfkey", keyPEM(t, m)[:90]), []string{"tls.key_file: ", "what stands there is cut off"}},
		"other key":   {good.Cert, put("other", keyPEM(t, other)), []string{"tls.cert_file and tls.key_file: ", "do not fit together"}},
		"expired":     {old.Cert, old.Key, []string{"tls.cert_file: the certificate in " + old.Cert + " for meet.example.org, 127.0.0.1 expired on ", "renew it"}},
		"early":       {unripe.Cert, unripe.Key, []string{"is valid only from ", "set this machine's clock"}},
		"key alone":   {"", good.Key, []string{"tls.key_file: the certificate to the key"}},
		"nothing":     {"", "", []string{"tls.cert_file: there is none: set tls.cert_file and tls.key_file, or portal.keystorePath"}},
	} {
		_, err := Load(Files{Cert: c.cert, Key: c.key, Settings: good.Settings})
		t.Run(name, func(t *testing.T) { wantLine(t, err, c.want...) })
	}
	_, err := Load(Files{Cert: good.Cert, Key: good.Key, KeyStore: "x.p12", Settings: good.Settings})
	wantLine(t, err, "leave either tls.cert_file or portal.keystorePath empty")
}

// A file that this user may not read; for the superuser there is none.
func TestUnreadable(t *testing.T) {
	err := unreadable(place{"tls.key_file", "/x/key.pem"}, &fs.PathError{Op: "open", Path: "/x/key.pem", Err: fs.ErrPermission})
	wantLine(t, err, "tls.key_file: /x/key.pem cannot be read (permission denied): correct its permissions or the setting")
	if !errors.Is(err, fs.ErrPermission) {
		t.Error("the cause is lost")
	}
	if os.Getuid() == 0 {
		return
	}
	files := pemFiles(t, makeCert(t, "localhost", nil, nil))
	if err := os.Chmod(files.Key, 0); err != nil {
		t.Fatal(err)
	}
	_, err = Load(files)
	wantLine(t, err, "cannot be read (permission denied)")
}

func TestSubject(t *testing.T) {
	for want, c := range map[string]*x509.Certificate{
		"a, b":               {DNSNames: []string{"a", "b"}},
		"a, b, c and 2 more": {DNSNames: []string{"a", "b", "c", "d", "e"}},
		"nobody":             {},
	} {
		if got := subject(c); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func FuzzPEM(f *testing.F) {
	m := makeCert(f, "localhost", nil, nil)
	f.Add(append(certPEM(m), keyPEM(f, m)...))
	f.Add(certPEM(m)[:100])
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &contents{files: Files{Cert: "x"}, cert: data, key: data}
		cert, err := c.parse()
		if err == nil && (cert.Leaf == nil || cert.PrivateKey == nil || len(cert.Certificate) == 0) {
			t.Error("a certificate without its parts")
		}
		if err != nil && bytes.ContainsRune([]byte(err.Error()), '\n') {
			t.Errorf("%q has several lines", err)
		}
	})
}
