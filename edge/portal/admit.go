package portal

import (
	"context"
	"errors"
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

// AdmitByToken makes the Admit function of Options: it checks a token's signature with the cluster's key and uses up its
// record, in the order of 2.3 rows 6 to 9.
func AdmitByToken(key []byte, tokens TokenStore, now func() time.Time) func(ctx context.Context, v jsonvalue.Value) (Grant, error) {
	return func(ctx context.Context, v jsonvalue.Value) (Grant, error) {
		t, err := token.Decode(v.Text())
		if err != nil {
			return Grant{}, &portalproto.Error{Text: err.Error()}
		}
		if !t.Verify(key) {
			return Grant{}, portalproto.ErrTokenSignature
		}
		record, err := tokens.ConsumeToken(ctx, t.TokenID)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return Grant{}, portalproto.ErrInvalidToken
		case errors.Is(err, store.ErrExpired):
			return Grant{}, portalproto.ErrExpired
		case err != nil:
			return Grant{}, portalproto.ErrClusterUnavailable
		case now().Sub(record.Created) > TokenLifetime:
			return Grant{}, portalproto.ErrExpired
		}
		return Grant{Room: record.Room, User: record.User, Role: record.Role, Origin: record.Origin, Data: t.WebTransportURL != ""}, nil
	}
}
