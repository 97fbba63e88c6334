package certs

import (
	"crypto/x509"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// bad puts something in place of good files, and says what the log then tells.
type bad struct {
	name string
	put  func(t *testing.T, files Files)
	want string
}

func badFiles() []bad {
	other := func(change func(*x509.Certificate)) func(*testing.T, Files) {
		return func(t *testing.T, files Files) {
			m := makeCert(t, "localhost", nil, change)
			save(t, files.Cert, certPEM(m))
			save(t, files.Key, keyPEM(t, m))
		}
	}
	return []bad{
		{"half written", func(t *testing.T, files Files) {
			m := makeCert(t, "localhost", nil, nil)
			save(t, files.Cert, certPEM(m)[:300])
		}, "tls.cert_file: "},
		{"only the certificate", func(t *testing.T, files Files) {
			save(t, files.Cert, certPEM(makeCert(t, "localhost", nil, nil)))
		}, "do not fit together"},
		{"gone", func(t *testing.T, files Files) {
			if err := os.Remove(files.Key); err != nil {
				t.Fatal(err)
			}
		}, "tls.key_file: there is no file"},
		{"expired", other(expired), "expired on"},
		{"empty", func(t *testing.T, files Files) { save(t, files.Cert, nil) }, "it is empty"},
	}
}

// A new file that is bad is told once and changes nothing; the good one after it is taken.
func TestBadFilesChangeNothing(t *testing.T) {
	for _, b := range badFiles() {
		t.Run(b.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first, second := makeCert(t, "localhost", nil, nil), makeCert(t, "localhost", nil, nil)
				files := pemFiles(t, first)
				s, l := open(t, files)
				b.put(t, files)
				time.Sleep(5 * checkEvery)
				synctest.Wait()
				l.want(t, "level=WARN", `msg="new certificate refused, the old one stays in use"`, b.want)
				if !s.Leaf().Equal(first.cert) {
					t.Error("the certificate has changed")
				}
				wantLine(t, s.Reload(), b.want)
				l.want(t, "level=WARN", b.want) // whoever asks is told again
				save(t, files.Cert, certPEM(second))
				save(t, files.Key, keyPEM(t, second))
				time.Sleep(checkEvery)
				synctest.Wait()
				l.want(t, "level=INFO", "certificate renewed")
				if !s.Leaf().Equal(second.cert) {
					t.Error("the certificate has not changed")
				}
			})
		})
	}
}

// What was bad may also be taken back.
func TestBadFileTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := makeCert(t, "localhost", nil, nil)
		files := pemFiles(t, m)
		s, l := open(t, files)
		save(t, files.Cert, []byte("x"))
		wantLine(t, s.Reload(), "holds no certificate")
		l.take()
		save(t, files.Cert, certPEM(m))
		time.Sleep(3 * checkEvery)
		synctest.Wait()
		l.wantNone(t)
		if err := s.Reload(); err != nil {
			t.Error(err)
		}
		save(t, files.Cert, []byte("x")) // the same fault again is a new one
		time.Sleep(3 * checkEvery)
		synctest.Wait()
		l.want(t, "level=WARN", "holds no certificate")
	})
}

// Neither time nor size nor inode tells these contents apart.
func TestSameTimeAndSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := testKeys(t)["Ed25519"] // signatures of one length
		first := makeCertFor(t, key, "localhost", nil, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(1) })
		second := makeCertFor(t, key, "localhost", nil, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(2) })
		files := pemFiles(t, first)
		s, l := open(t, files)
		before, err := os.Stat(files.Cert)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(files.Cert, certPEM(second), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(files.Cert, before.ModTime(), before.ModTime()); err != nil {
			t.Fatal(err)
		}
		if after, err := os.Stat(files.Cert); err != nil || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
			t.Fatalf("%v, %v: not the case to be tested", after, err)
		}
		time.Sleep(checkEvery)
		synctest.Wait()
		l.want(t, "certificate renewed")
		if !s.Leaf().Equal(second.cert) {
			t.Error("the certificate has not changed")
		}
	})
}

// Kubernetes exchanges a mounted secret by turning a link.
func TestTurnedLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := makeCert(t, "localhost", nil, nil), makeCert(t, "localhost", nil, nil)
		dir := t.TempDir()
		for name, m := range map[string]*made{"1": first, "2": second} {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
			save(t, filepath.Join(dir, name, "tls.crt"), certPEM(m))
			save(t, filepath.Join(dir, name, "tls.key"), keyPEM(t, m))
		}
		link := filepath.Join(dir, "now")
		if err := os.Symlink("1", link); err != nil {
			t.Fatal(err)
		}
		s, l := open(t, Files{Cert: filepath.Join(link, "tls.crt"), Key: filepath.Join(link, "tls.key")})
		if err := os.Symlink("2", link+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+".new", link); err != nil {
			t.Fatal(err)
		}
		time.Sleep(checkEvery)
		synctest.Wait()
		l.want(t, "certificate renewed")
		if !s.Leaf().Equal(second.cert) {
			t.Error("the certificate has not changed")
		}
	})
}

// A certificate for later is taken as soon as it is valid, and told of once.
func TestNotYetValid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := makeCert(t, "localhost", nil, nil)
		second := makeCert(t, "localhost", nil, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })
		files := pemFiles(t, first)
		s, l := open(t, files)
		save(t, files.Cert, certPEM(second))
		save(t, files.Key, keyPEM(t, second))
		time.Sleep(time.Hour - time.Second)
		synctest.Wait()
		l.want(t, "level=WARN", "is valid only from 2000-01-01T01:00:00Z on")
		if !s.Leaf().Equal(first.cert) {
			t.Error("taken too early")
		}
		time.Sleep(checkEvery)
		synctest.Wait()
		l.want(t, "certificate renewed")
		if !s.Leaf().Equal(second.cert) {
			t.Error("not taken")
		}
	})
}

// A new passphrase, with a key store that has it, is a renewal too.
func TestNewPassphrase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := makeCert(t, "localhost", nil, nil), makeCert(t, "localhost", nil, nil)
		files := storeFiles(t, encodeStore(t, pkcs12.LegacyRC2, "old", first))
		files.PassphraseFile = save(t, files.KeyStore+".pass", []byte("old\n"))
		s, l := open(t, files)
		save(t, files.KeyStore, encodeStore(t, pkcs12.Modern2023, "new", second))
		time.Sleep(2 * checkEvery)
		synctest.Wait()
		l.want(t, "level=WARN", "the passphrase in "+files.PassphraseFile+" does not open "+files.KeyStore)
		save(t, files.PassphraseFile, []byte("new\n"))
		time.Sleep(checkEvery)
		synctest.Wait()
		l.want(t, "certificate renewed")
		if !s.Leaf().Equal(second.cert) {
			t.Error("the certificate has not changed")
		}
	})
}

// Who forgets to renew is told before the end and at the end, once each; after a renewal it begins anew.
func TestExpiryIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hours := func(n time.Duration) *made {
			return makeCert(t, "localhost", nil, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now(), time.Now().Add(n*time.Hour) })
		}
		first := hours(4)
		files := pemFiles(t, first)
		_, l := open(t, files)
		time.Sleep(3*time.Hour - time.Minute)
		synctest.Wait()
		l.wantNone(t)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		l.want(t, "level=WARN", `msg="certificate expires soon: renew it"`, `names="localhost, 127.0.0.1"`)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		l.want(t, "level=WARN", "certificate has expired, and clients refuse it")
		second := hours(8)
		save(t, files.Cert, certPEM(second))
		save(t, files.Key, keyPEM(t, second))
		time.Sleep(time.Hour)
		synctest.Wait()
		l.want(t, "certificate renewed")
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		l.want(t, "certificate expires soon")
	})
}

func TestExpiryAt(t *testing.T) {
	const day = 24 * time.Hour
	at := func(life, left time.Duration) expiry {
		now := time.Now()
		return expiryAt(&x509.Certificate{NotBefore: now.Add(left - life), NotAfter: now.Add(left)}, now)
	}
	for _, c := range []struct {
		life, left time.Duration
		want       expiry
	}{
		{365 * day, 15 * day, notNear}, {365 * day, 13 * day, near}, {365 * day, -time.Second, over},
		{90 * day, 13 * day, near}, {6 * day, 2 * day, notNear}, {6 * day, day, near},
	} {
		if got := at(c.life, c.left); got != c.want {
			t.Errorf("%v of %v left: %d, want %d", c.left, c.life, got, c.want)
		}
	}
}

func TestCloseEndsWatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := makeCert(t, "localhost", nil, nil)
		files := pemFiles(t, first)
		s, l := open(t, files)
		s.Close()
		s.Close()
		save(t, files.Cert, []byte("x"))
		time.Sleep(3 * checkEvery)
		l.wantNone(t)
		if cert, err := s.TLSConfig(0).GetCertificate(nil); err != nil || !cert.Leaf.Equal(first.cert) {
			t.Errorf("%v", err)
		}
	})
}
