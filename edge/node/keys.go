package node

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"portico/edge/store"
	"portico/shared/identity"
	"portico/shared/token"
)

// keyring is the cluster's secrets for signing tokens and tickets.
type keyring struct{ token, ticket atomic.Pointer[token.Keys] }

func (k *keyring) tokens() token.Keys  { return *k.token.Load() }
func (k *keyring) tickets() token.Keys { return *k.ticket.Load() }

// keysEvery is how often the keys are read again from a store that other edges share: one that was put in force by another is known
// here, as the next one, long before it is needed.
const keysEvery = time.Minute

// openKeys finds the keys. In a cluster whose edges share no database they are derived from its secret; otherwise the store has them, made
// at the first start, so that they outlive a restart (management API 14.4).
func (n *Node) openKeys(ctx context.Context) error {
	if n.members != nil && !store.IsPostgres(n.cfg.StorePlace()) {
		n.keys.token.Store(derived(n.members.secret, "token key"))
		n.keys.ticket.Store(derived(n.members.secret, "ticket key"))
		return nil
	}
	if err := n.readKeys(ctx); err != nil {
		return err
	}
	if n.members != nil {
		return n.tasks.Go(n.rereadKeys)
	}
	return nil
}

// derived is the key for a purpose, in the form that keys have.
func derived(secret identity.Secret, purpose string) *token.Keys {
	return &token.Keys{Current: token.KeyFromRandom([64]byte(secret.Derive(purpose, 64)))}
}

func (n *Node) readKeys(ctx context.Context) error {
	tokens, err := store.ClusterKeys(ctx, n.store, "token")
	if err != nil {
		return err
	}
	tickets, err := store.ClusterKeys(ctx, n.store, "ticket")
	if err != nil {
		return err
	}
	n.keys.token.Store(&tokens)
	n.keys.ticket.Store(&tickets)
	return nil
}

func (n *Node) rereadKeys(ctx context.Context) {
	ticker := time.NewTicker(keysEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		reading, cancel := context.WithTimeout(ctx, 10*time.Second)
		if err := n.readKeys(reading); err != nil && ctx.Err() == nil {
			n.log.Debug("keys not read again", "error", err) // the store says itself that it is away
		}
		cancel()
	}
}

// openStore opens the store of the settings.
func (n *Node) openStore(ctx context.Context) (err error) {
	at, o := n.cfg.StorePlace(), store.Options{KeyFile: n.cfg.Store.KeyFile}
	if store.IsPostgres(at) && o.KeyFile == "" && n.members != nil {
		if o.KeyFile, err = n.sharedKey(); err != nil {
			return fmt.Errorf("data_dir: %w", err)
		}
	}
	n.store, err = store.OpenCached(ctx, at, o, store.CacheOptions{File: filepath.Join(n.cfg.DataDir, "store.cache"), Log: n.log})
	return err
}

// sharedKey writes the key of the store's secrets, which is the same on all edges, to where the store reads it.
func (n *Node) sharedKey() (string, error) {
	if err := os.MkdirAll(n.cfg.DataDir, 0o700); err != nil {
		return "", err
	}
	file := filepath.Join(n.cfg.DataDir, "cluster-store.key")
	return file, identity.WriteFile(file, []byte(hex.EncodeToString(n.members.secret.Derive("store key", 32))+"\n"))
}
