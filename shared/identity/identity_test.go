package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestInitIssueLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "cluster")
	if _, err := Issue(dir, "n", Edge, false); err == nil || !strings.Contains(err.Error(), "portico cluster init") {
		t.Errorf("without an authority: %v", err)
	}
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	if err := Init(dir); !errors.Is(err, ErrExists) {
		t.Errorf("again: %v", err)
	}
	files, err := Issue(dir, "east-1", Edge, false)
	if err != nil {
		t.Fatal(err)
	}
	id, err := Load(Files{Folder: files.Folder})
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(id.NotAfter); id.Name != "east-1" || id.Role != Edge || left < nodeLife-time.Hour || left > nodeLife {
		t.Errorf("%s %s for %v", id.Role, id.Name, left)
	}
	if _, err := Issue(dir, "east-1", Edge, false); !errors.Is(err, ErrExists) {
		t.Errorf("again: %v", err)
	}
	if _, err := Issue(dir, "east-1", Edge, true); err != nil {
		t.Error(err)
	}
	other, err := Issue(dir, "west", Relay, false)
	if err != nil {
		t.Fatal(err)
	}
	west, err := Load(other)
	if err != nil {
		t.Fatal(err)
	}
	if name, role, err := id.Verify([]*x509.Certificate{west.Certificate.Leaf}); name != "west" || role != Relay || err != nil {
		t.Errorf("%s %s %v", name, role, err)
	}
	for _, c := range []struct{ name, role string }{{"", Edge}, {"a/b", Edge}, {"..", Edge}, {"-a", Edge}, {"ü", Edge}, {strings.Repeat("a", 64), Edge}, {"a", "turn"}, {"a", ""}} {
		if _, err := Issue(dir, c.name, c.role, false); err == nil {
			t.Errorf("%q %q is issued", c.role, c.name)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "nodes", "*", ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestLoadFaults(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	var files, foreign Files
	for _, c := range []struct {
		dir string
		f   *Files
	}{{dir, &files}, {elsewhere, &foreign}} {
		if err := Init(c.dir); err != nil {
			t.Fatal(err)
		}
		var err error
		if *c.f, err = Issue(c.dir, "n", Relay, false); err != nil {
			t.Fatal(err)
		}
	}
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Files){
		"no file is set for the node's key":          func(f *Files) { f.Key = "" },
		"the node's certificate cannot be read":      func(f *Files) { f.Cert += "x" },
		"of this cluster's authority":                func(f *Files) { f.CA = foreign.CA },
		"private key does not match":                 func(f *Files) { f.Key = foreign.Key },
		"the authority's file holds no certificate":  func(f *Files) { f.CA = f.Key },
		"the authority's certificate: x509":          func(f *Files) { f.CA = junk },
		"the certificate does not say a node's role": func(f *Files) { f.Cert, f.Key = filepath.Join(dir, caFile), filepath.Join(dir, caKeyFile) },
	} {
		f := files
		f.Folder = "" // which would name what is missing
		spoil(&f)
		if id, err := Load(f); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, %v", want, id, err)
		}
	}
	if files.None() || !(Files{}).None() {
		t.Error("None")
	}
}

// Certificates that the authority has signed, and that are no node's all the same.
func TestVerify(t *testing.T) {
	authority, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	id := &Identity{CA: x509.NewCertPool()}
	id.CA.AddCert(authority.Leaf)
	uri := func(text string) []*url.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return []*url.URL{u}
	}
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	soon := time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		template x509.Certificate
		want     error
	}{
		"good":      {x509.Certificate{NotAfter: soon, ExtKeyUsage: client, URIs: uri("portico://edge/a.b-1")}, nil},
		"expired":   {x509.Certificate{NotAfter: time.Now().Add(-time.Minute), ExtKeyUsage: client, URIs: uri("portico://edge/a")}, ErrExpired},
		"server":    {x509.Certificate{NotAfter: soon, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, URIs: uri("portico://edge/a")}, ErrForeign},
		"no uri":    {x509.Certificate{NotAfter: soon, ExtKeyUsage: client}, ErrNoNode},
		"two":       {x509.Certificate{NotAfter: soon, ExtKeyUsage: client, URIs: append(uri("portico://edge/a"), uri("portico://relay/a")...)}, ErrNoNode},
		"scheme":    {x509.Certificate{NotAfter: soon, ExtKeyUsage: client, URIs: uri("https://edge/a")}, ErrNoNode},
		"role":      {x509.Certificate{NotAfter: soon, ExtKeyUsage: client, URIs: uri("portico://admin/a")}, ErrNoNode},
		"no name":   {x509.Certificate{NotAfter: soon, ExtKeyUsage: client, URIs: uri("portico://edge/")}, ErrNoNode},
		"path":      {x509.Certificate{NotAfter: soon, ExtKeyUsage: client, URIs: uri("portico://edge/a/b")}, ErrNoNode},
		"query":     {x509.Certificate{NotAfter: soon, ExtKeyUsage: client, URIs: uri("portico://edge/a?b")}, ErrNoNode},
		"user":      {x509.Certificate{NotAfter: soon, ExtKeyUsage: client, URIs: uri("portico://x@edge/a")}, ErrNoNode},
		"long path": {x509.Certificate{NotAfter: soon, ExtKeyUsage: client, URIs: uri("portico://edge//a")}, ErrNoNode},
	} {
		made, err := issue(&c.template, &authority)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := id.Verify([]*x509.Certificate{made.Leaf}); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := id.Verify(nil); !errors.Is(err, ErrForeign) {
		t.Error(err)
	}
	node, err := newNode(authority, "a", Edge)
	if err != nil {
		t.Fatal(err)
	}
	below, err := newNode(node, "b", Edge) // a node is no authority
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := id.Verify([]*x509.Certificate{below.Leaf, node.Leaf}); !errors.Is(err, ErrForeign) {
		t.Error(err)
	}
}

func TestEphemeral(t *testing.T) {
	ids, err := Ephemeral(Edge, Relay, Edge)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"edge-1", "relay-1", "edge-2"} {
		name, role, err := ids[(i+1)%3].Verify([]*x509.Certificate{ids[i].Certificate.Leaf})
		if err != nil || name != want || ids[i].Name != want || role != ids[i].Role || !strings.HasPrefix(want, role) {
			t.Errorf("%s %s %v", name, role, err)
		}
	}
	other, err := Ephemeral(Edge)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := ids[0].Verify([]*x509.Certificate{other[0].Certificate.Leaf}); !errors.Is(err, ErrForeign) {
		t.Error(err)
	}
	if _, err := Ephemeral("turn"); err == nil {
		t.Error("a role that there is not")
	}
}

// What stands in the three files, whatever it is.
func FuzzParse(f *testing.F) {
	authority, err := newAuthority()
	if err != nil {
		f.Fatal(err)
	}
	node, err := newNode(authority, "a", Edge)
	if err != nil {
		f.Fatal(err)
	}
	key, err := keyPEM(node.PrivateKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(certPEM(authority.Leaf), certPEM(node.Leaf), key)
	f.Add(certPEM(node.Leaf), certPEM(node.Leaf), key)
	f.Add([]byte{}, bytes.Repeat([]byte("-----BEGIN CERTIFICATE-----\n"), 3), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{0x30, 0}}))
	f.Fuzz(func(t *testing.T, ca, cert, key []byte) {
		id, err := parse(ca, cert, key)
		if err == nil && (!ValidName(id.Name) || !ValidRole(id.Role)) {
			t.Errorf("%q %q", id.Role, id.Name)
		}
	})
}
