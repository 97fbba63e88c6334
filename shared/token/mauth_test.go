package token

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

const (
	serviceKey = "bWFkZS11cC1kZW1vLWtleQ=="
	headerA    = "MAuth realm=http://marte3.dit.upm.es,mauth_signature_method=HMAC_SHA256,mauth_serviceid=5f0c0ffee0ddba11c0de4242,mauth_cnonce=3f1c9a7be2d40586,mauth_timestamp=1700000000000,mauth_signature=MTcwYjQ3Y2M1MDBhMmYzOTgyOWIzYmRiOWFmMTBhN2I3NGYyMWJlZWMzYTQ5NTJiYWIyY2M2NzUzYjg5NmQxNQ=="
)

func encode64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// The worked examples of management API 2.6.
func TestMAuthVectors(t *testing.T) {
	a := MAuth{ServiceID: "5f0c0ffee0ddba11c0de4242", Nonce: "3f1c9a7be2d40586", Timestamp: "1700000000000"}.Sign(serviceKey)
	if a.Header() != headerA {
		t.Errorf("header A: %s", a.Header())
	}
	if ParseMAuth(headerA) != a || !ParseMAuth(headerA).Verify(serviceKey) {
		t.Errorf("parsed A: %+v", ParseMAuth(headerA))
	}
	b := MAuth{ServiceID: a.ServiceID, Nonce: "12345", Timestamp: "1700000000001"}.WithUser("Zoë", "presenter").Sign(serviceKey)
	if want := "MGJmZjRmM2FlNTU1NzU3ZDhhOWFiNTYxMWNkMTgzNzkzMDkxZGJhNzc0NjRiMTg0ZmMxZjlhMzNkYmM1ZWRmOA=="; b.Username != "Wm/Dqw==" || b.Signature != want {
		t.Errorf("B: %+v", b)
	}
	if back := ParseMAuth(b.Header()); back != b || back.User() != "Zoë" {
		t.Errorf("parsed B: %+v, user %q", back, back.User())
	}
}

func TestMAuthLeniency(t *testing.T) {
	signature := headerA[strings.LastIndex(headerA, "mauth_signature=")+len("mauth_signature="):]
	for _, header := range []string{
		strings.Replace(headerA, "MAuth", "mauth", 1),
		strings.Replace(headerA, "MAuth realm=http://marte3.dit.upm.es,", "", 1),
		strings.Replace(headerA, "mauth_cnonce=", "mauth_cnonce=x,mauth_cnonce=", 1), // the last one wins
		headerA + ",mauth_role=presenter",                                            // without a user it is not signed
	} {
		if !ParseMAuth(header).Verify(serviceKey) {
			t.Errorf("refused: %s", header)
		}
	}
	for what, header := range map[string]string{
		"empty":        "",
		"quoted":       strings.Replace(headerA, signature, `"`+signature+`"`, 1),
		"spaces":       strings.ReplaceAll(headerA, ",", ", "),
		"no timestamp": strings.Replace(headerA, ",mauth_timestamp=1700000000000", "", 1),
		"method":       strings.Replace(headerA, "HMAC_SHA256", "HMAC_SHA1", 1),
		"raw digest":   strings.Replace(headerA, signature, "FwtHzFAKLzmCmzvbmvEKe3TyG+7DpJUrqyzGdTuJbRU=", 1),
	} {
		if ParseMAuth(header).Verify(serviceKey) {
			t.Errorf("%s: accepted", what)
		}
	}
	if decoded, _ := base64.StdEncoding.DecodeString(serviceKey); ParseMAuth(headerA).Verify(string(decoded)) {
		t.Error("accepted with the decoded key")
	}
}

func FuzzMAuth(f *testing.F) {
	for _, seed := range []string{headerA, "", ",", "=", "mauth_signature====", "MAuth ,mauth_username", "mauth_role=a=b=", "MAuth realm=x,mauth_cnonce=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		m := ParseMAuth(header)
		if m.Verify("a key nobody signed with") {
			t.Fatal("verified")
		}
		m.User()
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(Mint(testKey, Token{TokenID: "1", Host: "h"}).Encode())
	f.Add(MintTicket(testKey, Ticket{ParticipantID: "p", NotAfter: time.UnixMilli(5)}).Encode())
	f.Add(MintWebTransport(testKey, WebTransport{TokenID: "t"}).Encode())
	for _, seed := range []string{"", "====", "bnVsbA==", "eyJ0b2tlbklkIjp7fX0=", "A-_/+", encode64(`{"notBefore":1e400,"notAfter":1,"participantId":"","signature":""}`)} {
		f.Add(seed)
	}
	other := []byte("a key nobody signed with")
	f.Fuzz(func(t *testing.T, text string) {
		if v, err := Decode(text); err == nil {
			if v.Verify(other) {
				t.Fatal("token verified")
			}
			if again, err := Decode(Mint(testKey, v).Encode()); err == nil && again.TokenID != v.TokenID {
				t.Fatalf("%+v became %+v", v, again)
			}
		}
		if v, err := DecodeTicket(text); err == nil && v.Verify(other) {
			t.Fatal("ticket verified")
		}
		if v, err := DecodeWebTransport(text); err == nil && v.Verify(other) {
			t.Fatal("WebTransport token verified")
		}
	})
}

func FuzzTURNUsername(f *testing.F) {
	for _, seed := range []string{"1700000000:alice", ":", "", "-1:x", "18446744073709551616:x", "0:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if user, expires, ok := ParseTURNUsername(name); ok {
			if again, _ := TURNCredential("s", user, expires); again != name {
				t.Fatalf("%q became %q", name, again)
			}
		}
	})
}
