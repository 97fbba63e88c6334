package store

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A sealer encrypts secrets for the database. What it makes is "v1:" and base64 of a random nonce followed by the output of
// AES-256-GCM, whose additional data names the secret's place, so that none can be moved to another row.
type sealer struct{ aead cipher.AEAD }

const sealedPrefix = "v1:"

var errUnseal = errors.New("a secret in the store cannot be opened with this key file")

func newSealer(key []byte) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &sealer{aead}, err
}

func (s *sealer) seal(place string, secret []byte) string {
	return sealedPrefix + base64.StdEncoding.EncodeToString(s.aead.Seal(nil, nil, secret, []byte(place)))
}

func (s *sealer) open(place, sealed string) ([]byte, error) {
	text, ok := strings.CutPrefix(sealed, sealedPrefix)
	if !ok {
		return nil, errUnseal
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errUnseal
	}
	secret, err := s.aead.Open(nil, nil, raw, []byte(place))
	if err != nil {
		return nil, errUnseal
	}
	return secret, nil
}

// keyFile reads the key of 32 bytes in hexadecimal from path, making it first when mayMake is set. Of several processes that
// make it at the same time one succeeds and the others read its key.
func keyFile(path string, mayMake bool) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if !mayMake {
			return nil, fmt.Errorf("key file %s is missing: without it the secrets in the database cannot be read; put it back from a backup, or move the database away to start anew", path)
		}
		if err = makeKeyFile(path); err == nil {
			text, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("key file %s does not hold 64 hexadecimal digits", path)
	}
	return key, nil
}

func isMissing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

func makeKeyFile(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(hex.EncodeToString(randomBytes(32)) + "\n")
	if syncErr := f.Sync(); err == nil {
		err = syncErr
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err = os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
