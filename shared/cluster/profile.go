package cluster

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"
)

// Profile is how patient gossip is. All nodes of a cluster have the same.
type Profile string

// The profiles there are.
const (
	Local Profile = "local" // all nodes on one machine
	LAN   Profile = "lan"   // the usual, also for regions with good lines between them: a dead node is noticed within seconds
	WAN   Profile = "wan"   // long or bad lines: fewer false alarms, slower
)

// Valid tells whether there is such a profile; the empty one is LAN.
func (p Profile) Valid() bool { return p == "" || p == Local || p == LAN || p == WAN }

// rejoin is how often a node looks for those it has lost sight of.
func (p Profile) rejoin() time.Duration {
	if p == WAN {
		return 3 * time.Second
	}
	return time.Second
}

func (p Profile) config() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	// A node is suspected after one probe and the time it may take to defend itself, which grows with log10 of the cluster's size:
	// SuspicionMult x max(1, log10(nodes)) x ProbeInterval.
	c.ProbeInterval, c.ProbeTimeout = 500*time.Millisecond, 250*time.Millisecond
	c.TCPTimeout = 2 * time.Second
	c.DeadNodeReclaimTime = 1 // a dead node may start again elsewhere at once; 0 would mean never
	switch p {
	case Local:
		c.ProbeInterval, c.ProbeTimeout = 200*time.Millisecond, 100*time.Millisecond
		c.TCPTimeout = time.Second
		c.SuspicionMult = 3
		c.GossipInterval = 50 * time.Millisecond
		c.PushPullInterval = 10 * time.Second
	case WAN:
		c.ProbeInterval, c.ProbeTimeout = 2*time.Second, time.Second
		c.TCPTimeout = 6 * time.Second
		c.SuspicionMult = 5
		c.GossipNodes = 4
		c.GossipInterval = 300 * time.Millisecond
		c.PushPullInterval = time.Minute
		c.GossipToTheDeadTime = time.Minute
	}
	return c
}

// KeySize is the length of a gossip key in bytes: AES-256.
const KeySize = 32

// Errors of keys.
var (
	ErrKey      = errors.New("a gossip key is 32 random bytes in base64, as `openssl rand -base64 32` writes them")
	ErrKeyInUse = errors.New("this key is in use: use another one first")
	ErrNoKey    = errors.New("there is no such key")
	ErrKeys     = errors.New("there are two keys already: remove the one that is not in use")
)

// ParseKey reads a key as it stands in settings.
func ParseKey(text string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != KeySize {
		return nil, ErrKey
	}
	return key, nil
}

// FormatKey writes a key as ParseKey reads it.
func FormatKey(key []byte) string { return base64.StdEncoding.EncodeToString(key) }

// NewKey makes a key.
func NewKey() []byte {
	key := make([]byte, KeySize)
	_, _ = rand.Read(key) // never fails
	return key
}

// KeyName is what a key is called where it must not be shown.
func KeyName(key []byte) string {
	sum := sha256.Sum256(append([]byte("portico gossip key\x00"), key...))
	return hex.EncodeToString(sum[:4])
}

// KeyInfo is one key of the ring.
type KeyInfo struct {
	Name  string `json:"name"`  // KeyName
	InUse bool   `json:"inUse"` // what this node sends is encrypted with it
}

// Keys lists the keys this node understands.
func (c *Cluster) Keys() []KeyInfo {
	var list []KeyInfo
	for i, k := range c.ring.GetKeys() {
		list = append(list, KeyInfo{Name: KeyName(k), InUse: i == 0}) // the ring has its primary key first
	}
	return list
}

// maxKeys is how many keys a ring has at most. memberlist's ring removes a key in place while others read the list, which is harmless
// only for the last one; with two, the one not in use is the last.
const maxKeys = 2

// AddKey has the node understand another key. It fails with ErrKeys when there are two already, and when the ring cannot be kept.
func (c *Cluster) AddKey(key []byte) error {
	c.ringMu.Lock()
	defer c.ringMu.Unlock()
	if len(key) != KeySize {
		return ErrKey
	}
	if _, err := c.key(KeyName(key)); err == nil {
		return nil
	}
	keys := c.ring.GetKeys()
	if len(keys) >= maxKeys {
		return ErrKeys
	}
	if err := c.keep(append(slices.Clone(keys), key)); err != nil {
		return err
	}
	return c.ring.AddKey(key)
}

// UseKey has the node encrypt with a key that all nodes understand by now, named by KeyName.
func (c *Cluster) UseKey(name string) error {
	c.ringMu.Lock()
	defer c.ringMu.Unlock()
	key, err := c.key(name)
	if err != nil {
		return err
	}
	keys := [][]byte{key}
	for _, k := range c.ring.GetKeys() {
		if KeyName(k) != name {
			keys = append(keys, k)
		}
	}
	if err := c.keep(keys); err != nil {
		return err
	}
	return c.ring.UseKey(key)
}

// RemoveKey has the node understand a key no longer, once no node uses it. It fails with ErrKeyInUse for the one in use.
func (c *Cluster) RemoveKey(name string) error {
	c.ringMu.Lock()
	defer c.ringMu.Unlock()
	key, err := c.key(name)
	if err != nil {
		return err
	}
	if name == KeyName(c.ring.GetPrimaryKey()) {
		return ErrKeyInUse
	}
	if err := c.keep([][]byte{c.ring.GetPrimaryKey()}); err != nil { // there are two at the most
		return err
	}
	return c.ring.RemoveKey(key)
}

// keep has the ring outlive this process, before it changes.
func (c *Cluster) keep(keys [][]byte) error {
	if c.cfg.SaveKeys == nil {
		return nil
	}
	return c.cfg.SaveKeys(keys)
}

func (c *Cluster) key(name string) ([]byte, error) {
	for _, k := range c.ring.GetKeys() {
		if KeyName(k) == name {
			return k, nil
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrNoKey, name)
}
