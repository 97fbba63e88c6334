// Package identity is who a node of a cluster is: a certificate of the cluster's own authority, which says the node's role and name.
//
// The authority is made once, on a machine of the operator's choice, and issues a certificate for each node (Init, Issue). A node
// loads its own (Load) and verifies those of others against that authority alone: the certificates that browsers trust mean nothing
// between nodes. Keys are ECDSA P-256; the authority is valid for ten years, a node's certificate for one. Role and name stand in the
// certificate, in one URI of its subject alternative names (RFC 5280 section 4.2.1.6):
//
//	portico://edge/east-1
//
// Nothing can be taken back: a node whose key was stolen is shut out by making a new authority and issuing for all others again.
//
// With its certificate a node gets the cluster's Secret, which all have in common.
package identity

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Roles of nodes.
const (
	Edge  = "edge"
	Relay = "relay"
)

// Errors of a certificate that is not accepted.
var (
	ErrForeign = errors.New("the certificate is not of this cluster's authority")
	ErrExpired = errors.New("the certificate is not valid at this time: renew it, or set the clock")
	ErrNoNode  = errors.New("the certificate does not say a node's role and name")
)

// Files are where a node finds its identity: a part of the section cluster of its settings.
type Files struct {
	Folder string `toml:"folder" doc:"Folder that portico cluster issue made for this node, brought here: in it are the four files below, which need not be set then. Empty, and the files too: the node is in no cluster."`
	CA     string `toml:"ca_file" doc:"Certificate of the cluster's authority, PEM."`
	Cert   string `toml:"cert_file" doc:"Certificate of this node, PEM."`
	Key    string `toml:"key_file" doc:"Private key of the certificate, PEM without a password."`
	Secret string `toml:"secret_file" doc:"The cluster's secret, the same on all nodes, from which the keys are derived that they have in common. Without it the node does not gossip: it then knows only the nodes that its settings name."`
}

// None tells that nothing is set: the node is in no cluster.
func (f Files) None() bool { return f == Files{} }

// Whole tells that everything is set that Load needs, one by one or by the folder.
func (f Files) Whole() bool {
	f = f.filled()
	return f.CA != "" && f.Cert != "" && f.Key != ""
}

// SecretFile is the file of the cluster's secret; empty when there is none.
func (f Files) SecretFile() string { return f.filled().Secret }

// GossipKeysFile is where a node keeps the keys of gossip once they are no longer derived from the secret: in its folder, or
// beside its key.
func (f Files) GossipKeysFile() string {
	if f.Folder != "" {
		return filepath.Join(f.Folder, gossipKeysFile)
	}
	return filepath.Join(filepath.Dir(f.Key), gossipKeysFile)
}

// filled names the files of the folder where none is named.
func (f Files) filled() Files {
	if f.Folder == "" {
		return f
	}
	for _, n := range []struct {
		file *string
		name string
	}{{&f.CA, caFile}, {&f.Cert, nodeFile}, {&f.Key, nodeKeyFile}, {&f.Secret, secretFile}} {
		if *n.file == "" {
			*n.file = filepath.Join(f.Folder, n.name)
		}
	}
	return f
}

// Identity is a node's own. It does not change, and is safe for concurrent use.
type Identity struct {
	Certificate tls.Certificate
	CA          *x509.CertPool // the cluster's authority alone
	Name, Role  string
	NotAfter    time.Time // when the certificate expires: it has to be issued again before, and the node restarted
}

// Load reads a node's identity and checks it as another node will. An error is one line that says what to do.
func Load(f Files) (*Identity, error) {
	f = f.filled()
	ca, err := read(f.CA, "the authority's certificate")
	if err != nil {
		return nil, err
	}
	cert, err := read(f.Cert, "the node's certificate")
	if err != nil {
		return nil, err
	}
	key, err := read(f.Key, "the node's key")
	if err != nil {
		return nil, err
	}
	id, err := parse(ca, cert, key)
	if err != nil {
		return nil, fmt.Errorf("identity in %s, %s and %s: %w; `portico cluster issue` makes files that fit together", f.CA, f.Cert, f.Key, err)
	}
	return id, nil
}

func read(file, what string) ([]byte, error) {
	if file == "" {
		return nil, fmt.Errorf("no file is set for %s: a node of a cluster needs three, which `portico cluster issue` makes", what)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", what, err)
	}
	return data, nil
}

func parse(ca, cert, key []byte) (*Identity, error) {
	id := &Identity{CA: x509.NewCertPool()}
	block, _ := pem.Decode(ca)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("the authority's file holds no certificate")
	}
	authority, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate: %w", err)
	}
	id.CA.AddCert(authority)
	if id.Certificate, err = tls.X509KeyPair(cert, key); err != nil {
		return nil, err
	}
	id.NotAfter = id.Certificate.Leaf.NotAfter
	id.Name, id.Role, err = id.Verify([]*x509.Certificate{id.Certificate.Leaf})
	return id, err
}

// Verify tells which node has shown these certificates, the first of which is its own. It fails with ErrForeign, ErrExpired or
// ErrNoNode.
func (id *Identity) Verify(shown []*x509.Certificate) (name, role string, err error) {
	if len(shown) == 0 {
		return "", "", fmt.Errorf("%w: there is none", ErrForeign)
	}
	leaf := shown[0]
	_, err = leaf.Verify(x509.VerifyOptions{Roots: id.CA, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		from, to := leaf.NotBefore.UTC().Format(time.DateTime), leaf.NotAfter.UTC().Format(time.DateTime)
		return "", "", fmt.Errorf("%w (it is from %s to %s)", ErrExpired, from, to)
	case err != nil:
		return "", "", ErrForeign
	case len(leaf.URIs) != 1:
		return "", "", ErrNoNode
	}
	u := leaf.URIs[0]
	name, role = strings.TrimPrefix(u.Path, "/"), u.Host
	if !ValidName(name) || !ValidRole(role) || u.String() != nodeURI(name, role).String() {
		return "", "", ErrNoNode
	}
	return name, role, nil
}

func nodeURI(name, role string) *url.URL {
	return &url.URL{Scheme: "portico", Host: role, Path: "/" + name}
}

// MaxName is the greatest length of a node's name.
const MaxName = 63

// ValidName tells whether a node can be called so: letters, digits, dots and hyphens, with a letter or digit at both ends.
func ValidName(name string) bool {
	edge := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }
	if name == "" || len(name) > MaxName || !edge(name[0]) || !edge(name[len(name)-1]) {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !edge(c) && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// ValidRole tells whether there are nodes of this role.
func ValidRole(role string) bool { return role == Edge || role == Relay }
