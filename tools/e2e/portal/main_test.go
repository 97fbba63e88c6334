package portal

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"portico/shared/certs"
)

// authorityDir holds the certificate authority that this process trusts: the tests' clients find it where the system's are.
var authorityDir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if authorityDir, err = os.MkdirTemp("", "portico-ca"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(authorityDir) }()
		_, ca, err := certs.Local(authorityDir, []string{"localhost"})
		if err == nil {
			err = os.Setenv("SSL_CERT_FILE", filepath.Clean(ca))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}
