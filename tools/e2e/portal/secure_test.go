package portal

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"portico/edge/config"
	"portico/shared/certs"
	"portico/shared/certs/certstest"
)

// serial is the number of the certificate that a new connection is shown.
func (e *edge) serial(t *testing.T) string {
	t.Helper()
	conn, err := tls.Dial("tcp", e.host(), &tls.Config{RootCAs: roots(t), ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func roots(t *testing.T) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(os.Getenv("SSL_CERT_FILE"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool
}

// copyAuthority gives each kind of file a folder of its own with the authority that the process trusts.
func copyAuthority(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	entries, err := os.ReadDir(authorityDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(authorityDir, entry.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, entry.Name()), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A secure portal serves with every kind of certificate, and takes a renewed one without dropping anybody.
func TestSecurePortal(t *testing.T) {
	for _, kind := range certstest.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			dir := copyAuthority(t)
			files, _ := certstest.Issue(t, dir, kind, "localhost")
			e := startEdge(t, func(s *config.Settings) { secure(s, files) })
			k := e.startCall()
			before, mark := e.serial(t), k.mark()

			certstest.Issue(t, dir, kind, "localhost", "renewed.example") // other hosts make it anew
			e.node.Reload()
			if after := e.serial(t); after == before {
				t.Error("new connections are shown the old certificate")
			}
			if lost, of := k.lost(mark); lost > 0 {
				t.Errorf("the call lost %d of %d packets", lost, of)
			}
			r, err := http.Get(e.url + "/readyz")
			if err != nil || r.StatusCode != http.StatusOK {
				t.Fatalf("%v, %v", r, err)
			}
			_ = r.Body.Close()
		})
	}
}

func secure(s *config.Settings, files certs.Files) {
	s.Portal.Hostname = "localhost"
	s.TLS.CertFile, s.TLS.KeyFile = files.Cert, files.Key
	if files.KeyStore != "" {
		s.Portal.SSL, s.Portal.KeystorePath, s.Portal.Passphrase = true, files.KeyStore, files.Passphrase
	}
}
