package certs

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxFile is more than any certificate file has.
const maxFile = 1 << 20

// contents are the files of a certificate as they were read.
type contents struct {
	files      Files
	names      Names
	cert, key  []byte // PEM
	store      []byte // PKCS#12
	passphrase string
	// passphraseFrom is the file the passphrase is from; "" when it is in the settings or there is none.
	passphraseFrom string
}

// read takes the files as they are. With an error the contents are incomplete.
func read(files Files) (c *contents, err error) {
	c = &contents{files: files, names: files.Settings.filled()}
	cert, key := c.certPlace(), c.keyPlace()
	switch {
	case files.Cert == "" && files.Key != "":
		return c, key.fault(nil, "the certificate to the key %s is missing: set %s too", files.Key, cert.setting)
	case files.Cert == "" && files.KeyStore == "":
		return c, cert.fault(nil, "there is none: set %s and %s, or %s", cert.setting, c.names.Key, c.names.KeyStore)
	case files.Cert != "" && files.KeyStore != "":
		return c, cert.fault(nil, "there are two certificates: leave either %s or %s empty", cert.setting, c.names.KeyStore)
	case files.KeyStore != "":
		return c, c.readStore()
	}
	if c.cert, err = readFile(cert, "the certificate (PEM)"); err != nil || key.file == cert.file {
		c.key = c.cert // read once, so that both are of the same moment
		return c, err
	}
	c.key, err = readFile(key, "the certificate's private key (PEM)")
	return c, err
}

func (c *contents) certPlace() place  { return place{c.names.Cert, c.files.Cert} }
func (c *contents) storePlace() place { return place{c.names.KeyStore, c.files.KeyStore} }
func (c *contents) keyPlace() place {
	if c.files.Key == "" {
		return c.certPlace()
	}
	return place{c.names.Key, c.files.Key}
}

// source is where the certificate is from.
func (c *contents) source() place {
	if c.files.KeyStore != "" {
		return c.storePlace()
	}
	return c.certPlace()
}

// sum tells one state of the files from another; err is what read returned with it.
func (c *contents) sum(err error) [sha256.Size]byte {
	h := sha256.New()
	text := ""
	if err != nil {
		text = err.Error()
	}
	for _, part := range [][]byte{c.cert, c.key, c.store, []byte(c.passphrase), []byte(text)} {
		own := sha256.Sum256(part)
		h.Write(own[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// parse makes the certificate; it does not look at the clock.
func (c *contents) parse() (tls.Certificate, error) {
	if c.files.KeyStore != "" {
		return c.parseStore()
	}
	list, err := c.parseCertificates()
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := c.parseKey()
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := assemble(key, list)
	if err != nil {
		return cert, c.mismatch()
	}
	return cert, nil
}

func (c *contents) mismatch() error {
	if c.keyPlace().file == c.files.Cert {
		return c.certPlace().fault(errNoMatch, "the key in %s is not that of the certificate in it: put the two together that belong to each other", c.files.Cert)
	}
	both := place{c.names.Cert + " and " + c.names.Key, ""}
	return both.fault(errNoMatch, "%s and %s do not fit together: the key is that of another certificate; name the two that belong to each other",
		c.files.Cert, c.files.Key)
}

func (c *contents) parseCertificates() (list []*x509.Certificate, err error) {
	from := c.certPlace()
	for rest := c.cert; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, from.fault(err, "%s holds a certificate that cannot be read (%s): copy it anew from where it was made", from.file, oneLine(err.Error()))
		}
		list = append(list, one)
	}
	if len(list) == 0 {
		return nil, from.fault(nil, "%s holds no certificate in PEM form: %s", from.file, c.notPEM(c.cert, from.file, "CERTIFICATE-----"))
	}
	return list, nil
}

// notPEM says what a file is instead, and how to make PEM of it. mark is the end of a line it should have.
func (c *contents) notPEM(data []byte, file, mark string) string {
	line := "-----BEGIN " + mark
	_, err := x509.ParseCertificate(data)
	switch kind := kindOf(data); {
	case kind == kindEmpty:
		return "it is empty; put the text there that has the line " + line
	case err == nil:
		return "it is a certificate in DER form; make PEM of it by openssl x509 -inform der -in " + file + " -out NEW"
	case kind == kindJava:
		return "it is a Java key store; make PKCS#12 of it by keytool -importkeystore -deststoretype PKCS12, and of that PEM by openssl pkcs12"
	case kind == kindPKCS12 && c.files.Settings.KeyStore != "":
		return "it is a PKCS#12 key store; set " + c.names.KeyStore + " to it instead, or make PEM of it by openssl pkcs12 -nodes -in " + file + " -out NEW"
	case kind == kindPKCS12:
		return "it is a PKCS#12 key store; make PEM of it by openssl pkcs12 -nodes -in " + file + " -out NEW"
	case bytes.Contains(data, []byte(mark)):
		return "what stands there is cut off or damaged; copy it anew from where it was made"
	}
	return "put the text there that has the line " + line
}

func (c *contents) parseKey() (crypto.PrivateKey, error) {
	from := c.keyPlace()
	for rest := c.key; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "PRIVATE KEY" && !strings.HasSuffix(block.Type, " PRIVATE KEY") {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, from.fault(nil, "the key in %s is protected by a password: write it without one by openssl pkey -in %s -out NEW, readable by this server only", from.file, from.file)
		}
		key, err := parsePrivateKey(block.Bytes)
		if err != nil {
			return nil, from.fault(err, "%s holds a key that cannot be read (%s): copy it anew from where it was made", from.file, oneLine(err.Error()))
		}
		return key, nil
	}
	return nil, from.fault(nil, "%s holds no private key in PEM form: %s", from.file, c.notPEM(c.key, from.file, "PRIVATE KEY-----"))
}

// parsePrivateKey knows the three forms that occur in PEM whatever the block calls itself.
func parsePrivateKey(der []byte) (crypto.PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, err
}

// kind is what a file is by its first bytes.
type kind int

const (
	kindOther kind = iota
	kindEmpty
	kindPEM
	kindPKCS12
	kindJava
)

func kindOf(data []byte) kind {
	head := data[:min(len(data), 64)]
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return kindEmpty
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return kindPEM
	case bytes.HasPrefix(head, []byte{0xfe, 0xed, 0xfe, 0xed}), bytes.HasPrefix(head, []byte{0xce, 0xce, 0xce, 0xce}):
		return kindJava
	// SEQUENCE of some length, INTEGER 3: the version that a PFX has (RFC 7292 section 4).
	case len(head) > 8 && head[0] == 0x30 && bytes.Contains(head[2:9], []byte{0x02, 0x01, 0x03}):
		return kindPKCS12
	}
	return kindOther
}

// readFile reads a file of at most maxFile bytes; what says what should be in it.
func readFile(from place, what string) ([]byte, error) {
	info, err := os.Stat(from.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, from.fault(err, "there is no file %s: put %s there, or correct the setting%s", from.file, what, workingDir(from.file))
	case err != nil:
		return nil, unreadable(from, err)
	case info.IsDir():
		return nil, from.fault(nil, "%s is a folder: name the file in it that holds %s", from.file, what)
	case !info.Mode().IsRegular(): // opening a pipe would wait for a writer, and it could not be read again
		return nil, from.fault(nil, "%s is no ordinary file: put %s into one, and name that", from.file, what)
	}
	f, err := os.Open(from.file)
	if err != nil {
		return nil, unreadable(from, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, unreadable(from, err)
	case len(data) > maxFile:
		return nil, from.fault(nil, "%s is larger than 1 MiB: name the file that holds %s", from.file, what)
	}
	return data, nil
}

// workingDir helps where a name that is relative was meant to be relative to something else.
func workingDir(file string) string {
	if filepath.IsAbs(file) {
		return ""
	}
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	return " (it is looked for in " + dir + ")"
}

func unreadable(from place, err error) error {
	reason := err.Error()
	var pe *fs.PathError
	if errors.As(err, &pe) {
		reason = pe.Err.Error()
	}
	return from.fault(err, "%s cannot be read (%s): correct its permissions or the setting", from.file, reason)
}
