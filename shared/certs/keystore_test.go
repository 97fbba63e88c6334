package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

const owtPassphrase = "abc123"

// stores are the encoders of all kinds.
var stores = map[string]*pkcs12.Encoder{"PBES2": pkcs12.Modern2023, "PBMAC1": pkcs12.Modern2026, "3DES": pkcs12.LegacyDES, "RC2": pkcs12.LegacyRC2}

func encodeStore(t testing.TB, e *pkcs12.Encoder, passphrase string, m *made, others ...*made) []byte {
	t.Helper()
	var list []*x509.Certificate
	for _, o := range others {
		list = append(list, o.cert)
	}
	data, err := e.Encode(m.key, m.cert, list, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func storeFiles(t testing.TB, data []byte) Files {
	t.Helper()
	return Files{
		KeyStore: save(t, filepath.Join(t.TempDir(), "certificate.pfx"), data),
		Settings: Names{"tls.cert_file", "tls.key_file", "portal.keystorePath", "portal.keystore_passphrase_file"},
	}
}

func TestLoadKeyStore(t *testing.T) {
	root, middle, leaf := chain(t)
	for name, e := range stores {
		files := storeFiles(t, encodeStore(t, e, "pässword", leaf, root, middle))
		files.Passphrase = "pässword"
		cert, err := Load(files)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, m := range []*made{leaf, middle, root} {
			if len(cert.Certificate) != 3 || !bytes.Equal(cert.Certificate[i], m.cert.Raw) {
				t.Errorf("%s: the chain is not in order", name)
			}
		}
		files.Passphrase = "password"
		_, err = Load(files)
		wantLine(t, err, "portal.keystorePath: the passphrase does not open "+files.KeyStore+": correct portal.keystore_passphrase_file")
		files.Passphrase = ""
		_, err = Load(files)
		wantLine(t, err, "does not open without a passphrase: set portal.keystore_passphrase_file")
	}
	for name, key := range testKeys(t) {
		m := makeCertFor(t, key, "localhost", nil, nil)
		if _, err := Load(storeFiles(t, encodeStore(t, pkcs12.Modern2023, "", m))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Key stores of other makes.
func TestKeyStoresOfOthers(t *testing.T) {
	text, err := os.ReadFile("testdata/root.pem")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	for _, name := range []string{"openssl-legacy.p12", "openssl-modern.p12", "keytool.p12"} {
		cert, err := Load(Files{KeyStore: "testdata/" + name, Passphrase: owtPassphrase})
		if err != nil || len(cert.Certificate) != 3 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		middle, err := x509.ParseCertificate(cert.Certificate[1])
		if err != nil {
			t.Fatal(err)
		}
		between := x509.NewCertPool()
		between.AddCert(middle)
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: "localhost"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = Load(Files{KeyStore: "testdata/openssl-nokey.p12", Passphrase: owtPassphrase})
	wantLine(t, err, "key store: testdata/openssl-nokey.p12 cannot be used (there is no private key in it): export it anew")
}

func TestPassphraseFile(t *testing.T) {
	m := makeCert(t, "localhost", nil, nil)
	files := storeFiles(t, encodeStore(t, pkcs12.LegacyRC2, owtPassphrase, m))
	dir := filepath.Dir(files.KeyStore)
	owt, err := os.ReadFile("testdata/owt.keystore")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"plain": owtPassphrase, "line": owtPassphrase + "\n", "Windows": owtPassphrase + "\r\nmore\r\n", "OWT": string(owt),
	} {
		files.PassphraseFile = save(t, filepath.Join(dir, "passphrase"), []byte(content))
		if _, err := Load(files); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	save(t, files.PassphraseFile, []byte("wrong\n"))
	_, err = Load(files)
	wantLine(t, err, "the passphrase in "+files.PassphraseFile+" does not open "+files.KeyStore)
	if strings.Contains(err.Error(), "wrong") {
		t.Error("the passphrase is shown")
	}
	save(t, files.PassphraseFile, []byte("\nabc123"))
	_, err = Load(files)
	wantLine(t, err, "portal.keystore_passphrase_file: ", "has no passphrase in its first line")
	files.Passphrase = owtPassphrase
	_, err = Load(files)
	wantLine(t, err, "portal.keystore_passphrase_file: the passphrase is set twice")
	files.Passphrase, files.PassphraseFile = "", "/nowhere/passphrase"
	_, err = Load(files)
	wantLine(t, err, "portal.keystore_passphrase_file: there is no file /nowhere/passphrase: put the passphrase of "+files.KeyStore+" there")
}

// What OWT's own set-up leaves beside the key store opens it; a passphrase that is set counts more.
func TestOWTKeystoreBeside(t *testing.T) {
	m := makeCert(t, "localhost", nil, nil)
	files := storeFiles(t, encodeStore(t, pkcs12.LegacyDES, owtPassphrase, m))
	owt, err := os.ReadFile("testdata/owt.keystore")
	if err != nil {
		t.Fatal(err)
	}
	beside := save(t, filepath.Join(filepath.Dir(files.KeyStore), owtKeystore), owt)
	if _, err := Load(files); err != nil {
		t.Error(err)
	}
	save(t, beside, owt[:len(owt)-3])
	_, err = Load(files)
	wantLine(t, err, beside+" cannot be read, as it is damaged or was made with a key that is not OWT's usual one")
	files.Passphrase = owtPassphrase
	if _, err := Load(files); err != nil {
		t.Error(err)
	}
}

func TestKeyStoreFaults(t *testing.T) {
	m, other := makeCert(t, "localhost", nil, nil), makeCert(t, "localhost", nil, nil)
	good := encodeStore(t, pkcs12.Modern2023, "x", m)
	trust, err := pkcs12.Modern2023.EncodeTrustStore([]*x509.Certificate{m.cert}, "x")
	if err != nil {
		t.Fatal(err)
	}
	late := makeCert(t, "localhost", nil, expired)
	for name, c := range map[string]struct {
		data []byte
		want []string
	}{
		"empty":     {nil, []string{"is empty: put the key store"}},
		"half":      {good[:len(good)/2], []string{"is no PKCS#12 key store or is damaged"}},
		"text":      {[]byte("hello"), []string{"is no PKCS#12 key store or is damaged"}},
		"PEM":       {certPEM(m), []string{"is PEM and no key store: set tls.cert_file and tls.key_file to it"}},
		"Java":      {[]byte{0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2}, []string{"is a Java key store: make PKCS#12 of it by keytool"}},
		"no key":    {trust, []string{"cannot be used (there is no private key in it): export it anew"}},
		"other key": {encodeStore(t, pkcs12.Modern2023, "x", &made{other.cert, m.key}), []string{"the key in ", "is that of another certificate"}},
		"expired":   {encodeStore(t, pkcs12.LegacyRC2, "x", late), []string{"portal.keystorePath: the certificate in ", "expired on"}},
		"unprotected": {encodeStore(t, pkcs12.Passwordless, "", m),
			[]string{"the passphrase does not open"}},
		"endless": {encodeStore(t, pkcs12.Modern2023.WithIterations(1), "x", m), nil},
	} {
		files := storeFiles(t, c.data)
		files.Passphrase = "x"
		if name == "endless" {
			save(t, files.KeyStore, patient(t, c.data))
			c.want = []string{"is of a kind that is not supported (it asks for more than 5,000,000 iterations)"}
		}
		started := time.Now()
		_, err := Load(files)
		t.Run(name, func(t *testing.T) {
			wantLine(t, err, append(c.want, "portal.keystorePath: ")...)
			if took := time.Since(started); took > time.Minute {
				t.Errorf("took %v", took)
			}
		})
	}
	if _, err := Load(Files{KeyStore: "/nowhere/certificate.pfx"}); err == nil || !strings.Contains(err.Error(), "there is no file /nowhere/certificate.pfx: put the key store (PKCS#12) there") {
		t.Errorf("%v", err)
	}
}

// patient makes the integrity check of a key store ask for two thousand million iterations.
func patient(t *testing.T, data []byte) []byte {
	t.Helper()
	var pfx struct {
		Version  int
		AuthSafe asn1.RawValue
		MacData  struct {
			Mac        asn1.RawValue
			Salt       []byte
			Iterations int `asn1:"optional,default:1"`
		}
	}
	if _, err := asn1.Unmarshal(data, &pfx); err != nil {
		t.Fatal(err)
	}
	pfx.MacData.Iterations = 2_000_000_000
	out, err := asn1.Marshal(pfx)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func FuzzKeyStore(f *testing.F) {
	m := makeCert(f, "localhost", nil, nil)
	for _, e := range stores {
		f.Add(encodeStore(f, e.WithIterations(1), "x", m), "x")
	}
	f.Add(encodeStore(f, pkcs12.Passwordless, "", m), "")
	for _, file := range []string{"openssl-legacy.p12", "openssl-modern.p12", "keytool.p12", "openssl-nokey.p12"} {
		data, err := os.ReadFile("testdata/" + file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, owtPassphrase)
	}
	f.Fuzz(func(t *testing.T, data []byte, passphrase string) {
		if iterations(data, 0) > 10_000 {
			return // refused, or slow
		}
		c := &contents{files: Files{KeyStore: "x"}, store: data, passphrase: passphrase}
		cert, err := c.parseStore()
		if err == nil && (cert.Leaf == nil || cert.PrivateKey == nil || len(cert.Certificate) == 0) {
			t.Error("a certificate without its parts")
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q has several lines", err)
		}
	})
}

func FuzzOWTKeystore(f *testing.F) {
	owt, err := os.ReadFile("testdata/owt.keystore")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(owt)
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		if text, ok := openOWTKeystore(data); len(text) > 64<<10 || !ok && text != "" {
			t.Errorf("%d bytes, %v", len(text), ok)
		}
	})
}
