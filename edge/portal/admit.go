package portal

import (
	"context"
	"errors"
	"sync"
	"time"

	"portico/edge/store"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
	"portico/shared/token"
)

// TokenStore holds the records of tokens that were issued; store.Store satisfies it.
type TokenStore interface {
	ConsumeToken(ctx context.Context, id string) (store.TokenRecord, error)
}

// TokenLifetime is how long after its creation a token admits (4.5).
const TokenLifetime = 180 * time.Second

// consumeTime is how long the store may take to say that a token was used which carries its own record.
const consumeTime = 300 * time.Millisecond

// AdmitByToken is AdmitByKeys with one key that does not change.
func AdmitByToken(key []byte, tokens TokenStore, now func() time.Time) func(ctx context.Context, v jsonvalue.Value) (Grant, error) {
	return AdmitByKeys(func() token.Keys { return token.Keys{Current: key} }, tokens, now)
}

// AdmitByKeys makes the Admit function of Options: it checks a token's signature with the cluster's keys and uses up its record, in the
// order of 2.3 rows 6 to 9. A token that carries its record admits also while the store is away; that it does so once is then for this
// edge to see, and for the home of the room.
func AdmitByKeys(keys func() token.Keys, tokens TokenStore, now func() time.Time) func(ctx context.Context, v jsonvalue.Value) (Grant, error) {
	a := &admission{keys: keys, tokens: tokens, now: now, used: token.NewUsed(TokenLifetime, 0)}
	return a.admit
}

type admission struct {
	keys   func() token.Keys
	tokens TokenStore
	now    func() time.Time

	mu   sync.Mutex // guards used
	used *token.Used
}

func (a *admission) admit(ctx context.Context, v jsonvalue.Value) (Grant, error) {
	t, err := token.Decode(v.Text())
	if err != nil {
		return Grant{}, &portalproto.Error{Text: err.Error()}
	}
	keys := a.keys()
	if !keys.Verify(t) {
		return Grant{}, portalproto.ErrTokenSignature
	}
	record, err := a.record(ctx, keys, t)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Grant{}, portalproto.ErrInvalidToken
	case errors.Is(err, store.ErrExpired):
		return Grant{}, portalproto.ErrExpired
	case err != nil:
		return Grant{}, portalproto.ErrClusterUnavailable
	case a.now().Sub(record.Created) > TokenLifetime:
		return Grant{}, portalproto.ErrExpired
	}
	return Grant{
		Room: record.Room, User: record.User, Role: record.Role, Origin: record.Origin, Data: t.WebTransportURL != "",
		TokenID: t.TokenID, Created: record.Created,
	}, nil
}

// record is what a token admits to; store.ErrNotFound when it was used before.
func (a *admission) record(ctx context.Context, keys token.Keys, t token.Token) (store.TokenRecord, error) {
	text, err := keys.OpenRecord(t.TokenID, t.Record)
	if err == token.ErrNoSeal {
		return a.tokens.ConsumeToken(ctx, t.TokenID)
	}
	if err != nil {
		return store.TokenRecord{}, store.ErrNotFound
	}
	record, err := store.DecodeRecord(t.TokenID, text)
	if err != nil {
		return record, store.ErrNotFound
	}
	if a.now().Sub(record.Created) > TokenLifetime {
		return record, store.ErrExpired
	}
	a.mu.Lock()
	first := a.used.Use(t.TokenID, record.Created, a.now())
	a.mu.Unlock()
	if !first {
		return record, store.ErrNotFound
	}
	if record.Unstored {
		return record, nil
	}
	ctx, cancel := context.WithTimeout(ctx, consumeTime)
	defer cancel()
	if _, err := a.tokens.ConsumeToken(ctx, t.TokenID); errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrExpired) {
		return record, err
	}
	return record, nil
}
