package identity

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Secret is what all edges of a cluster know and nobody else, or what relays know too (ForRelays): the keys that they have in common are derived from it (HKDF with SHA-256,
// RFC 5869), so that none of them has to be set. It proves nothing about a node: that is what certificates are for.
type Secret []byte

const secretSize = 32

var errSecret = errors.New("it does not hold 32 bytes in base64, as `portico cluster init` writes them")

// NewSecret makes one.
func NewSecret() Secret {
	s := make(Secret, secretSize)
	_, _ = rand.Read(s) // never fails
	return s
}

// LoadSecret reads a file that Init or Issue made. The error is one line that says what to do.
func LoadSecret(file string) (Secret, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the cluster's secret cannot be read: %w", err)
	}
	s, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(data)))
	if err != nil || len(s) != secretSize {
		return nil, fmt.Errorf("the cluster's secret in %s: %w", file, errSecret)
	}
	return s, nil
}

func (s Secret) text() []byte { return []byte(base64.StdEncoding.EncodeToString(s) + "\n") }

// Derive gives the key of n bytes for a purpose, the same on every node; n is 8,160 at most.
func (s Secret) Derive(purpose string, n int) []byte {
	key, err := hkdf.Key(sha256.New, s, nil, "portico "+purpose, n)
	if err != nil {
		panic(err) // n is a constant of the caller's
	}
	return key
}

// ForRelays is the part of an edge's Secret that relays have, as theirs: with it they gossip and check TURN credentials. Nothing that edges
// alone do follows from it: a relay decodes what strangers send, and whoever breaks into one must not be able to make tokens.
func (s Secret) ForRelays() Secret { return s.Derive("secret of relays", secretSize) }

// TURN, of a relay's Secret, is the secret with which edges make credentials for relays where the settings name none.
func (s Secret) TURN() string { return base64.StdEncoding.EncodeToString(s.Derive("turn secret", 32)) }
