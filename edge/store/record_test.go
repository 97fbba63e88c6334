package store

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/token"
)

func aRecord() TokenRecord {
	return TokenRecord{
		ID: "0123456789abcdef01234567", User: "Zoë", Role: "presenter", Room: "5f0000000000000000000001", Service: "5f0000000000000000000002",
		Created: time.UnixMilli(1700000000123), Origin: conference.Origin{ISP: "isp", Region: "region"}, Code: "123456789012345678",
	}
}

func TestRecordTravels(t *testing.T) {
	whole := aRecord()
	unstored := whole
	unstored.Unstored = true
	small := TokenRecord{ID: whole.ID, User: "u", Role: "r", Room: "x", Created: time.UnixMilli(0)}
	long := whole
	long.User = strings.Repeat("\x01", 1024)
	long.Origin = conference.Origin{ISP: strings.Repeat("i", 128), Region: strings.Repeat("r", 128)}
	for name, r := range map[string]TokenRecord{"whole": whole, "unstored": unstored, "small": small, "the longest names": long} {
		text := EncodeRecord(r)
		back, err := DecodeRecord(r.ID, text)
		if err != nil || back != r {
			t.Errorf("%s: %+v %v from %s", name, back, err, text)
		}
		tok := token.Mint([]byte("key"), token.Token{TokenID: r.ID, Host: "portal.example.com:8080"})
		tok.Record = token.SealRecord([]byte("key"), r.ID, text, token.Nonce{1})
		if again, err := token.Decode(tok.Encode()); err != nil || again != tok {
			t.Errorf("%s: does not fit into a token: %v", name, err)
		}
		t.Logf("%s: a token of %d characters", name, len(tok.Encode()))
	}
	portal := whole
	portal.Host, portal.Secure, portal.WebTransportURL = "h:1", true, "https://h:2/"
	if back, err := DecodeRecord(portal.ID, EncodeRecord(portal)); err != nil || back != whole {
		t.Errorf("what stands in the token comes back: %+v %v", back, err)
	}
}

var badRecords = []string{
	"", "{", "[]", "5", "null", "{}", `{"created":1}`, `{"created":"1","user":"u","role":"r","room":"x"}`, `{"created":1,"user":5,"role":"r","room":"x"}`,
	`{"created":1,"user":"u","role":"r","room":""}`, `{"created":-1,"user":"u","role":"r","room":"x"}`, `{"created":9223372036854775807,"user":"u","role":"r","room":"x"}`,
	`{"created":1.5,"user":"u","role":"r","room":"x"}`, `{"created":1,"user":"u","role":"r","room":"x","code":null}`, `{"created":1,"role":"r","room":"x"}`,
	strings.Repeat("[", 1000), `{"user":"` + strings.Repeat("x", maxRecord) + `"}`,
}

func TestBadRecords(t *testing.T) {
	for _, text := range badRecords {
		if r, err := DecodeRecord("id", []byte(text)); err != ErrRecord || r != (TokenRecord{}) {
			t.Errorf("%.60s: %+v %v", text, r, err)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(EncodeRecord(aRecord()))
	for _, text := range badRecords {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeRecord("id", data)
		if err != nil {
			return
		}
		text := EncodeRecord(r)
		if len(text) > maxRecord {
			return // escapes of what came in raw
		}
		if again, err := DecodeRecord("id", text); err != nil || again != r {
			t.Errorf("%s comes back as %+v %v", text, again, err)
		}
	})
}

func FuzzDecodeHolding(f *testing.F) {
	h := holding{
		services: []Service{{ID: "1", Name: "a", Key: "k", Sealed: "v1:", Created: time.UnixMilli(5)}},
		rooms:    []Room{{ID: "2", Service: "1", Revision: 7, Document: jsonvalue.OfObject(jsonvalue.M("name", jsonvalue.Of("r")))}},
		keys:     []named[[]byte]{{"token", []byte{0, 255}}},
		settings: []named[setting]{{"a", setting{value: "b"}}, {"c", setting{none: true}}},
	}
	f.Add(h.encode())
	for _, text := range []string{"", "{}", `{"version":1}`, `{"version":2}`, `{"version":1,"rooms":[5,{"document":"{"}],"keys":[["a","?"]],"settings":{"a":1}}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := decodeHolding(data)
		if err != nil {
			return
		}
		text := h.encode()
		again, err := decodeHolding(text)
		if err != nil || !bytes.Equal(again.encode(), text) {
			t.Errorf("%s comes back as %s %v", text, again.encode(), err)
		}
	})
}
