package certs

import (
	"bytes"
	"compress/gzip"
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"software.sslmate.com/src/go-pkcs12"
)

// readStore reads the key store and finds its passphrase.
func (c *contents) readStore() (err error) {
	if c.store, err = readFile(c.storePlace(), "the key store (PKCS#12)"); err != nil {
		return err
	}
	from := place{c.names.Passphrase, c.files.PassphraseFile}
	switch {
	case c.files.Passphrase != "" && from.file != "":
		return from.fault(nil, "the passphrase is set twice: leave out the file %s or the passphrase itself", from.file)
	case c.files.Passphrase != "":
		c.passphrase = c.files.Passphrase
		return nil
	case from.file == "":
		from.file = filepath.Join(filepath.Dir(c.files.KeyStore), owtKeystore)
		data, err := readFile(from, "the passphrase")
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return c.takePassphrase(from, data, err)
	}
	data, err := readFile(from, "the passphrase of "+c.files.KeyStore)
	return c.takePassphrase(from, data, err)
}

func (c *contents) takePassphrase(from place, data []byte, err error) error {
	if err != nil {
		return err
	}
	c.passphraseFrom = from.file
	if text, ok := openOWTKeystore(data); ok {
		c.passphrase = text
		return nil
	}
	if filepath.Base(from.file) == owtKeystore {
		return from.fault(nil, "%s cannot be read, as it is damaged or was made with a key that is not OWT's usual one: write the passphrase into a text file and set %s to that", from.file, from.setting)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	c.passphrase = strings.TrimSuffix(string(line), "\r")
	if c.passphrase == "" {
		return from.fault(nil, "%s has no passphrase in its first line: write it there, or leave the setting empty if there is none", from.file)
	}
	return nil
}

// owtKeystore is where OWT's servers keep the passphrase, beside the key store: its JSON text, gzipped, and encrypted under a
// key and a nonce that are part of OWT's source text (AES-256-CTR). It keeps the passphrase from casual eyes only.
const (
	owtKeystore = ".owt.keystore"
	owtKey      = "3d84a1efc77268c98bc6ca2921eb35a6d82a40a38696d25fbb64ff1733cd2523"
	owtNonce    = "3a613563c433a361a62a9efe4dd8462e"
)

// openOWTKeystore gives the passphrase in such a file; ok is false when data is not one.
func openOWTKeystore(data []byte) (passphrase string, ok bool) {
	key, _ := hex.DecodeString(owtKey) // constant
	nonce, _ := hex.DecodeString(owtNonce)
	block, err := aes.NewCipher(key)
	if err != nil {
		return "", false
	}
	plain := make([]byte, len(data))
	cipher.NewCTR(block, nonce).XORKeyStream(plain, data)
	unzip, err := gzip.NewReader(bytes.NewReader(plain))
	if err != nil {
		return "", false
	}
	text, err := io.ReadAll(io.LimitReader(unzip, 64<<10))
	if err != nil || json.Unmarshal(text, &passphrase) != nil {
		return "", false
	}
	return passphrase, true
}

// parseStore opens the key store.
func (c *contents) parseStore() (tls.Certificate, error) {
	from := c.storePlace()
	switch kindOf(c.store) {
	case kindEmpty:
		return tls.Certificate{}, from.fault(nil, "%s is empty: put the key store (PKCS#12) there", from.file)
	case kindPEM:
		if c.files.Settings.Cert == "" {
			return tls.Certificate{}, from.fault(nil, "%s is PEM and no key store: make one of it by openssl pkcs12 -export -in %s -out NEW", from.file, from.file)
		}
		return tls.Certificate{}, from.fault(nil, "%s is PEM and no key store: set %s and %s to it instead", from.file, c.names.Cert, c.names.Key)
	case kindJava:
		return tls.Certificate{}, from.fault(nil, "%s is a Java key store: make PKCS#12 of it by keytool -importkeystore -deststoretype PKCS12 -srckeystore %s -destkeystore NEW", from.file, from.file)
	}
	cert, err := decodeStore(c.store, c.passphrase)
	if err != nil {
		return cert, c.storeFault(err)
	}
	return cert, nil
}

// What can be wrong with a key store, beside what the library says.
var (
	errIterations    = errors.New("it asks for more than 5,000,000 iterations")
	errNoKey         = errors.New("there is no private key in it")
	errNoCertificate = errors.New("there is no certificate in it")
	errManyKeys      = errors.New("there are several private keys in it")
)

// decodeStore reads a PKCS#12 file.
func decodeStore(data []byte, passphrase string) (tls.Certificate, error) {
	if iterations(data, 0) > maxIterations {
		return tls.Certificate{}, errIterations
	}
	key, first, others, err := pkcs12.DecodeChain(data, passphrase)
	if err != nil {
		// The library has no values for these.
		switch text := err.Error(); {
		case strings.HasSuffix(text, "private key missing"):
			err = errNoKey
		case strings.HasSuffix(text, "certificate missing"):
			err = errNoCertificate
		case strings.HasSuffix(text, "expected exactly one key bag"):
			err = errManyKeys
		case strings.HasSuffix(text, "no MAC in data"): // nothing in it is protected, and a passphrase was given
			err = pkcs12.ErrIncorrectPassword
		}
		return tls.Certificate{}, err
	}
	return assemble(key, append([]*x509.Certificate{first}, others...))
}

// storeFault turns a failure to open the key store into a line that says what to do.
func (c *contents) storeFault(err error) error {
	from := c.storePlace()
	var unknown pkcs12.NotImplementedError
	const anew = "export it anew, with the certificate and its key: openssl pkcs12 -export -inkey KEY -in CERT -out NEW"
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword) || errors.Is(err, pkcs12.ErrDecryption):
		switch {
		case c.passphraseFrom != "":
			return from.fault(err, "the passphrase in %s does not open %s: correct it there (%s)", c.passphraseFrom, from.file, c.names.Passphrase)
		case c.passphrase != "":
			return from.fault(err, "the passphrase does not open %s: correct %s", from.file, c.names.Passphrase)
		}
		return from.fault(err, "%s does not open without a passphrase: set %s", from.file, c.names.Passphrase)
	case errors.Is(err, errNoMatch):
		return from.fault(err, "the key in %s is that of another certificate: %s", from.file, anew)
	case errors.Is(err, errNoKey), errors.Is(err, errNoCertificate), errors.Is(err, errManyKeys):
		return from.fault(err, "%s cannot be used (%s): %s", from.file, err, anew)
	case errors.As(err, &unknown), errors.Is(err, errIterations):
		return from.fault(err, "%s is of a kind that is not supported (%s): %s", from.file, trimmed(err), anew)
	}
	return from.fault(err, "%s is no PKCS#12 key store or is damaged (%s): copy it anew, or %s", from.file, trimmed(err), anew)
}

func trimmed(err error) string { return strings.TrimPrefix(oneLine(err.Error()), "pkcs12: ") }

// maxIterations bounds the time to try a passphrase to a few seconds; usual are 3 to 2,000,000 in all of a file.
const maxIterations = 5_000_000

// iterations adds up the iterations of all key derivations that a key store asks for, as far as it matters here. In the
// parameters of all of them a salt (OCTET STRING) is followed by the number (INTEGER): MacData, PBE and PBKDF2 (RFC 7292
// section 4 and appendix C, RFC 8018 appendix A). What is encrypted is not looked into: it is from somebody who knows the passphrase.
func iterations(der []byte, depth int) (total uint64) {
	const maxDepth = 32 // well-formed ones need 15
	afterSalt := false
	for len(der) > 0 && depth < maxDepth && total <= maxIterations {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			break
		}
		der = rest
		universal := v.Class == asn1.ClassUniversal
		if universal && v.Tag == asn1.TagInteger && afterSalt && len(v.Bytes) <= 8 { // the library takes no larger ones
			total += min(number(v.Bytes), maxIterations+1)
		}
		afterSalt = universal && v.Tag == asn1.TagOctetString && !v.IsCompound
		if v.IsCompound || afterSalt {
			total += iterations(v.Bytes, depth+1)
		}
	}
	return total
}

func number(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}
