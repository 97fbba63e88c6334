package token

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

var testNonce = Nonce{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}

// Computed with Python's cryptography: AESGCM(hmac_sha256(key, "portico token record")).encrypt(nonce, b"what it admits to", id).
const sealedVector = "AQECAwQFBgcICQoLDFUtYKO7B2XnXLAqTBewV4rMMXrILpu6z8fmpkDMwfFMJg"

func TestRecordVector(t *testing.T) {
	sealed := SealRecord(testKey, "5df9d0c3a1b2c3d4e5f60718", []byte("what it admits to"), testNonce)
	if sealed != sealedVector {
		t.Errorf("sealed %s", sealed)
	}
	plain, err := OpenRecord(testKey, "5df9d0c3a1b2c3d4e5f60718", sealed)
	if err != nil || string(plain) != "what it admits to" {
		t.Errorf("opened %q %v", plain, err)
	}
}

func TestRecordsAreBound(t *testing.T) {
	const id = "5df9d0c3a1b2c3d4e5f60718"
	sealed := SealRecord(testKey, id, []byte("record"), testNonce)
	refused := func(what string, key []byte, id, sealed string, want error) {
		t.Helper()
		if plain, err := OpenRecord(key, id, sealed); !errors.Is(err, want) || plain != nil {
			t.Errorf("%s: %q %v", what, plain, err)
		}
	}
	refused("another id", testKey, "5df9d0c3a1b2c3d4e5f60719", sealed, ErrSealed)
	refused("another key", []byte("other"), id, sealed, ErrSealed)
	refused("no key", nil, id, SealRecord(nil, id, []byte("record"), testNonce), ErrSealed)
	refused("nothing", testKey, id, "", ErrNoSeal)
	refused("too long", testKey, id, strings.Repeat("A", maxSealed+1), ErrSealed)
	for i := range sealed {
		changed := []byte(sealed)
		changed[i] ^= 4
		if plain, err := OpenRecord(testKey, id, string(changed)); err == nil {
			t.Errorf("changed at %d: %q", i, plain)
		}
	}
	for n := range len(sealed) {
		if _, err := OpenRecord(testKey, id, sealed[:n]); err == nil {
			t.Errorf("cut to %d opens", n)
		}
	}
	if again := SealRecord(testKey, id, []byte("record"), Nonce{9}); again == sealed {
		t.Error("another nonce seals the same")
	}
	ticket := Ticket{ParticipantID: id}.SealState(testKey, State{}, testNonce)
	refused("a ticket's state", testKey, ticket.signed(), ticket.State, ErrSealed)
}

func TestTokenCarriesRecord(t *testing.T) {
	tok := Mint(testKey, Token{TokenID: "5df9d0c3a1b2c3d4e5f60718", Host: "h:1"})
	tok.Record = SealRecord(testKey, tok.TokenID, bytes.Repeat([]byte("r"), 8<<10), testNonce)
	text := tok.Encode()
	back, err := Decode(text)
	if err != nil || back != tok || !back.Verify(testKey) {
		t.Errorf("decoded %v %v from %d characters", back.TokenID, err, len(text))
	}
	for _, json := range []string{`{"tokenId":"1","host":"h","record":5,"signature":"s"}`, `{"tokenId":"1","host":"h","record":"","signature":"s"}`} {
		if tok, err := Decode(encode64(json)); err != nil || tok != (Token{}) {
			t.Errorf("%s: %v %v", json, tok, err)
		}
	}
}

func TestTicketCarriesState(t *testing.T) {
	from := time.UnixMilli(1700000000000)
	ticket := MintTicket(testKey, Ticket{ParticipantID: "AbCdEf0123456789AAAB", TicketID: "abc", NotBefore: from, NotAfter: from.Add(time.Minute)})
	state := State{Room: "5f0000000000000000000001", Edge: "east-1", Epoch: 1<<64 - 1, Generation: 1<<53 + 1}
	ticket = ticket.SealState(testKey, state, testNonce)
	back, err := DecodeTicket(ticket.Encode())
	if err != nil || back != ticket || !back.Verify(testKey) {
		t.Fatalf("decoded %+v %v", back, err)
	}
	if got, err := back.OpenState(testKey); err != nil || got != state {
		t.Errorf("state %+v %v", got, err)
	}
	for what, change := range map[string]func(*Ticket){
		"participant": func(t *Ticket) { t.ParticipantID += "x" },
		"start":       func(t *Ticket) { t.NotBefore = t.NotBefore.Add(-time.Second) },
		"end":         func(t *Ticket) { t.NotAfter = t.NotAfter.Add(time.Second) },
	} {
		other := back
		change(&other)
		other = MintTicket(testKey, other) // even when it is signed
		if state, err := other.OpenState(testKey); !errors.Is(err, ErrSealed) {
			t.Errorf("state in a ticket of another %s: %+v %v", what, state, err)
		}
	}
	back.State = ""
	if _, err := back.OpenState(testKey); !errors.Is(err, ErrNoSeal) {
		t.Errorf("without state: %v", err)
	}
	for _, member := range []string{`"state":5`, `"state":""`} {
		text := encode64(`{"participantId":"p","notBefore":1,"notAfter":2,"signature":"s",` + member + `}`)
		if ticket, err := DecodeTicket(text); err != nil || ticket != (Ticket{}) {
			t.Errorf("%s: %+v %v", member, ticket, err)
		}
	}
}

func TestKeysOverlap(t *testing.T) {
	old, current, next, stranger := []byte("old key"), []byte("current key"), []byte("next key"), []byte("a stranger's")
	keys := Keys{Current: current, Previous: old, Next: next}
	before, after := Keys{Current: old, Next: current}, Keys{Current: next, Previous: current}
	tok := Token{TokenID: "1", Host: "h:1"}
	ticket := Ticket{ParticipantID: "p"}
	for name, signer := range map[string]Keys{"the same": keys, "one before": before, "one after": after} {
		sealed := signer.SealRecord("1", []byte(name), testNonce)
		plain, err := keys.OpenRecord("1", sealed)
		state, failed := keys.OpenState(signer.SealState(ticket, State{Room: name}, testNonce))
		if !keys.Verify(signer.Mint(tok)) || !keys.Verify(signer.MintTicket(ticket)) || !keys.Verify(signer.MintWebTransport(WebTransport{})) ||
			err != nil || string(plain) != name || failed != nil || state.Room != name {
			t.Errorf("signed by an edge with %s keys: not accepted (%v, %v)", name, err, failed)
		}
	}
	if keys.Verify(Mint(stranger, tok)) || (Keys{}).Verify(Mint(nil, tok)) || (Keys{Current: current}).Verify(Mint(nil, tok)) {
		t.Error("a stranger's signature is accepted")
	}
	if tok := keys.Mint(tok); !tok.Verify(current) || tok.Verify(old) || tok.Verify(next) {
		t.Error("not signed with the current key")
	}
	if _, err := keys.OpenRecord("1", SealRecord(stranger, "1", nil, testNonce)); !errors.Is(err, ErrSealed) {
		t.Errorf("a stranger's record: %v", err)
	}
	if _, err := keys.OpenRecord("1", ""); !errors.Is(err, ErrNoSeal) {
		t.Errorf("no record: %v", err)
	}
	if _, err := (Keys{}).OpenRecord("1", SealRecord(nil, "1", nil, testNonce)); !errors.Is(err, ErrSealed) {
		t.Errorf("without keys: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	good := SealRecord(testKey, "id", []byte(`{"a":1}`), testNonce)
	for _, text := range []string{"", "AQ", good, good[:20], strings.Repeat("_", 40)} {
		f.Add(text, []byte(`{"room":"r","edge":"e","epoch":"1","generation":"2"}`))
	}
	f.Add("x", []byte(`{"room":1,"edge":[],"epoch":-1,"generation":"99999999999999999999"}`))
	f.Fuzz(func(t *testing.T, sealed string, state []byte) {
		if plain, err := OpenRecord(testKey, "id", sealed); err == nil && (sealed != good || string(plain) != `{"a":1}`) {
			t.Errorf("%q opens", sealed)
		}
		if s, err := readState(state); err == nil {
			ticket := Ticket{}.SealState(testKey, s, testNonce)
			if again, err := ticket.OpenState(testKey); err != nil || again != s {
				t.Errorf("state %+v comes back as %+v %v", s, again, err)
			}
		}
	})
}
