package identity

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
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// Files of the authority in its folder, and of a node in the folder nodes/NAME below; the secret and the keys of gossip are in both.
const (
	caFile         = "ca.pem"
	caKeyFile      = "ca-key.pem"
	nodesFolder    = "nodes"
	nodeFile       = "node.pem"
	nodeKeyFile    = "node-key.pem"
	secretFile     = "secret"
	gossipKeysFile = "gossip-keys"
)

// How long what is made is valid. It begins a little in the past, for nodes whose clocks are behind.
const (
	caLife    = 10 * 365 * 24 * time.Hour
	nodeLife  = 365 * 24 * time.Hour
	clockSkew = time.Hour
)

// ErrExists is of an authority or a node that would be overwritten.
var ErrExists = errors.New("there is one already")

// Init makes the cluster's authority and its secret in a folder, which it makes too. It fails with ErrExists when an authority is
// there. All files are readable by this user only; the authority's key never leaves the folder.
func Init(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, name := range []string{caFile, caKeyFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return cmp.Or(err, fmt.Errorf("%s: %w", filepath.Join(dir, name), ErrExists))
		}
	}
	made, err := newAuthority()
	if err != nil {
		return err
	}
	key, err := keyPEM(made.PrivateKey)
	if err != nil {
		return err
	}
	if err := write(filepath.Join(dir, caKeyFile), key, false); err != nil {
		return err
	}
	if _, err := secretOf(dir); err != nil {
		return err
	}
	return write(filepath.Join(dir, caFile), certPEM(made.Leaf), false)
}

// secretOf reads the secret of a cluster, and makes it first where there is none yet.
func secretOf(dir string) (Secret, error) {
	file := filepath.Join(dir, secretFile)
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		if err := write(file, NewSecret().text(), false); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	return LoadSecret(file)
}

// AuthorityKeysFile is where the authority in dir keeps the keys of gossip for nodes that are issued from now on, once they are no
// longer derived from the secret.
func AuthorityKeysFile(dir string) string { return filepath.Join(dir, gossipKeysFile) }

// Issue makes a node's certificate and key with the authority in dir, as files in a folder of their own there, with the cluster's
// secret beside them: what has to be brought to the node, and nothing else. It fails with ErrExists when the name has been given, unless it shall replace those files, which is
// how a certificate is renewed: the one before stays valid until it expires.
func Issue(dir, name, role string, replace bool) (Files, error) {
	switch {
	case !ValidName(name):
		return Files{}, fmt.Errorf("a node cannot be called %q: take letters, digits, dots and hyphens, %d at most", name, MaxName)
	case !ValidRole(role):
		return Files{}, fmt.Errorf("there is no role %q: it is %q or %q", role, Edge, Relay)
	}
	authority, err := loadAuthority(dir)
	if err != nil {
		return Files{}, err
	}
	folder := filepath.Join(dir, nodesFolder, name)
	files := Files{Folder: folder}.filled()
	if _, err := os.Lstat(files.Cert); !replace && !errors.Is(err, fs.ErrNotExist) {
		return Files{}, cmp.Or(err, fmt.Errorf("%s: %w", files.Cert, ErrExists))
	}
	made, err := newNode(authority, name, role)
	if err != nil {
		return Files{}, err
	}
	key, err := keyPEM(made.PrivateKey)
	if err != nil {
		return Files{}, err
	}
	secret, err := secretOf(dir)
	if err != nil {
		return Files{}, err
	}
	if role == Relay {
		secret = secret.ForRelays()
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return Files{}, err
	}
	list := []struct {
		name string
		data []byte
	}{{files.CA, certPEM(authority.Leaf)}, {files.Secret, secret.text()}, {files.Key, key}, {files.Cert, certPEM(made.Leaf)}}
	for _, f := range list {
		if err := write(f.name, f.data, true); err != nil {
			return Files{}, err
		}
	}
	keys, err := os.ReadFile(AuthorityKeysFile(dir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return files, nil
	case err != nil:
		return Files{}, err
	}
	return files, write(files.GossipKeysFile(), keys, true)
}

// Ephemeral gives identities of an authority that is made for them and forgotten: one for each role given, in that order, called
// ROLE-1 and so on. It is for tests, and for nodes that run in one process.
func Ephemeral(roles ...string) ([]*Identity, error) {
	authority, err := newAuthority()
	if err != nil {
		return nil, err
	}
	var list []*Identity
	count := map[string]int{}
	for _, role := range roles {
		if !ValidRole(role) {
			return nil, fmt.Errorf("there is no role %q", role)
		}
		count[role]++
		name := fmt.Sprintf("%s-%d", role, count[role])
		made, err := newNode(authority, name, role)
		if err != nil {
			return nil, err
		}
		id := &Identity{Certificate: made, CA: x509.NewCertPool(), Name: name, Role: role, NotAfter: made.Leaf.NotAfter}
		id.CA.AddCert(authority.Leaf)
		list = append(list, id)
	}
	return list, nil
}

func loadAuthority(dir string) (tls.Certificate, error) {
	file, keyFile := filepath.Join(dir, caFile), filepath.Join(dir, caKeyFile)
	c, err := tls.LoadX509KeyPair(file, keyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, fmt.Errorf("there is no cluster authority in the folder %q (%w): "+
			"make one with `portico cluster init`, or name its folder with -dir", dir, err)
	case err != nil:
		return c, fmt.Errorf("the cluster authority in %s and %s: %w", file, keyFile, err)
	case !c.Leaf.IsCA:
		return c, fmt.Errorf("the certificate in %s is not of an authority", file)
	case time.Now().After(c.Leaf.NotAfter):
		return c, fmt.Errorf("the cluster authority in %s has expired: make a new one in another folder, and issue for all nodes again", file)
	}
	return c, nil
}

func newAuthority() (tls.Certificate, error) {
	return issue(&x509.Certificate{
		Subject:  pkix.Name{CommonName: "Portico cluster authority"},
		NotAfter: time.Now().Add(caLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}, nil)
}

func newNode(authority tls.Certificate, name, role string) (tls.Certificate, error) {
	end := time.Now().Add(nodeLife)
	if end.After(authority.Leaf.NotAfter) {
		end = authority.Leaf.NotAfter
	}
	return issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name, OrganizationalUnit: []string{role}},
		NotAfter:    end,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{nodeURI(name, role)},
	}, &authority)
}

// issue makes a key and a certificate for it. Without an issuer it signs itself.
func issue(template *x509.Certificate, issuer *tls.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a key: %w", err)
	}
	template.NotBefore = time.Now().Add(-clockSkew)
	parent, signer := template, crypto.PrivateKey(key)
	if issuer != nil {
		parent, signer = issuer.Leaf, issuer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

func certPEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func keyPEM(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("writing a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// WriteFile puts a file in place at once, in the place of one that is there, readable by this user only.
func WriteFile(file string, data []byte) error { return write(file, data, true) }

// write puts a file in place at once, readable by this user only: a reader sees the one before or the new one. Without replace it
// fails when there is one.
func write(file string, data []byte, replace bool) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(data)
	if err = cmp.Or(err, f.Close()); err != nil {
		return err
	}
	if replace {
		return os.Rename(f.Name(), file)
	}
	return os.Link(f.Name(), file) // fails where rename would overwrite what another has made meanwhile
}
