package restapi

import (
	"context"
	"testing"

	"portico/edge/store"
	"portico/shared/conference"
	"portico/shared/token"
)

// awayStore does not take tokens.
type awayStore struct{ store.Store }

func (awayStore) PutToken(context.Context, store.TokenRecord) error { return store.ErrAway }

// TestSealedToken: where the settings say so a token carries its record, and is made while the store is away.
func TestSealedToken(t *testing.T) {
	f := newFixture(t)
	room := f.createRoom("{}")
	path := "/v1/rooms/" + room + "/tokens"
	const body = `{"user":"u","role":"presenter","preference":{"isp":"i","region":"far"}}`
	keys := token.Keys{Current: []byte("new key"), Previous: []byte(tokenKey)}
	f.api.TokenKeys = func() token.Keys { return keys }
	f.api.PortalFor = func(of string, origin conference.Origin) PortalAddress {
		if of != room {
			t.Errorf("portal for room %s", of)
		}
		return PortalAddress{Host: origin.Region + ":1"}
	}
	for _, away := range []bool{false, true} {
		f.api.SealRecords = true
		if away {
			f.api.Store = awayStore{f.store}
		}
		r := f.asService("POST", path, body)
		tok, err := token.Decode(r.body)
		if err != nil || !tok.Verify(keys.Current) || tok.Host != "far:1" {
			t.Fatalf("token %+v, %v", tok, err)
		}
		text, err := keys.OpenRecord(tok.TokenID, tok.Record)
		if err != nil {
			t.Fatal(err)
		}
		record, err := store.DecodeRecord(tok.TokenID, text)
		if err != nil || record.User != "u" || record.Room != room || record.Role != "presenter" || record.Origin.Region != "far" ||
			record.Service != f.service.ID || record.Unstored != away {
			t.Errorf("record %+v, %v", record, err)
		}
		if _, err := f.store.ConsumeToken(t.Context(), tok.TokenID); (err == nil) == away {
			t.Errorf("away %v: the store says %v", away, err)
		}
	}
	f.api.SealRecords = false
	if r := f.asService("POST", path, body); r.status == 200 {
		t.Errorf("without a record anywhere: %s", r.body)
	}
}
