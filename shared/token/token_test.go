package token

import (
	"strings"
	"testing"
	"time"
)

var testKey = []byte(strings.Repeat("0123456789abcdef", 8))

func TestT_44_TokenVector(t *testing.T) {
	tok := Mint(testKey, Token{TokenID: "5df9d0c3a1b2c3d4e5f60718", Host: "portal.example.com:8080", Secure: true})
	if want := "ZjliNDk0ODIzNGMwODAxZWQ1MTU4ZTg0MzhhNDU4NGU2ZjA2YzY4ZDIyMmNjNDJjZWM0NjczNGJjYTYyYTFiYw=="; tok.Signature != want {
		t.Errorf("signature %s, want %s", tok.Signature, want)
	}
	const whole = "eyJ0b2tlbklkIjoiNWRmOWQwYzNhMWIyYzNkNGU1ZjYwNzE4IiwiaG9zdCI6InBvcnRhbC5leGFtcGxlLmNvbTo4MDgwIiwic2VjdXJlIjp0cnVlLCJzaWduYXR1cmUiOiJaamxpTkRrME9ESXpOR013T0RBeFpXUTFNVFU0WlRnME16aGhORFU0TkdVMlpqQTJZelk0WkRJeU1tTmpOREpqWldNME5qY3pOR0pqWVRZeVlURmlZdz09In0="
	if tok.Encode() != whole {
		t.Errorf("encoded %s", tok.Encode())
	}
	back, err := Decode(whole)
	if err != nil || back != tok || !back.Verify(testKey) {
		t.Errorf("decoded %+v %v", back, err)
	}
	quic := Mint(testKey, Token{TokenID: tok.TokenID, Host: tok.Host, WebTransportURL: "https://quic.example.com:7700/"})
	if want := "Yzk5MDA0ZDA4NTc2NzEyOTgzMzdlZDY2OWYyMGRlZjc0NmYyMTZhYjM0NTgzMmFlYjE4NTU0YzJhMDY3NjEzNw=="; quic.Signature != want {
		t.Errorf("signature with a URL %s, want %s", quic.Signature, want)
	}
	if back, err = Decode(quic.Encode()); err != nil || back != quic {
		t.Errorf("decoded %+v %v", back, err)
	}
}

func TestT_61_TicketVector(t *testing.T) {
	from := time.UnixMilli(1700000000000)
	ticket := MintTicket(testKey, Ticket{ParticipantID: "AbCdEf0123456789AAAB", TicketID: "abc", NotBefore: from, NotAfter: from.Add(10 * time.Minute)})
	if want := "ZDAzNzhmNWMzZjZmMzI0ZGVlZTZkYzNhZGVhMmFmZWVlMGUwNjc0OTRiY2EwOTYyMzM3OTQ1Yzk2ZTFkZThkNQ=="; ticket.Signature != want {
		t.Errorf("signature %s, want %s", ticket.Signature, want)
	}
	back, err := DecodeTicket(ticket.Encode())
	if err != nil || back != ticket || !back.Verify(testKey) {
		t.Errorf("decoded %+v %v", back, err)
	}
	for after, want := range map[time.Duration]bool{-time.Millisecond: false, 0: true, 10 * time.Minute: true, 10*time.Minute + time.Millisecond: false} {
		if back.Valid(from.Add(after)) != want {
			t.Errorf("valid %v after its start: %v", after, !want)
		}
	}
}

func TestWebTransportVector(t *testing.T) {
	tok := MintWebTransport(testKey, WebTransport{
		TokenID: strings.Repeat("1", 32), TransportID: strings.Repeat("2", 32), ParticipantID: "AbCdEf0123456789AAAB",
		RoomID: "5f0000000000000000000001", IssueTime: time.UnixMilli(1700000000000),
	})
	if want := "NGNlN2UxMWYxYjk4Y2E5ZTZjMzY3ZTRmNzJlNWQzYmI5OWMyZTg3MjYxNDRhZTVhNjU0ZWY3YmQzYjcyOWMzZQ=="; tok.Signature != want {
		t.Errorf("signature %s, want %s", tok.Signature, want)
	}
	if back, err := DecodeWebTransport(tok.Encode()); err != nil || back != tok || !back.Verify(testKey) {
		t.Errorf("decoded %+v %v", back, err)
	}
}

// The example of management API 14.4.
func TestTokenOfManagementAPI(t *testing.T) {
	tok := Mint([]byte(strings.Repeat("00112233", 16)), Token{TokenID: "0123456789abcdef01234567", Host: "conf.example.com:8080"})
	if want := "MmZiMGQ1YzY4ZjQzZjUyOGE2MDBjNjM5MzQ5NjFmY2Y5N2U0M2I1YWY1YjAzYmYyYTUxNjA4NDVhMTAzMzFlNw=="; tok.Signature != want {
		t.Errorf("signature %s, want %s", tok.Signature, want)
	}
}

func TestForgedTokens(t *testing.T) {
	good := Mint(testKey, Token{TokenID: "5df9d0c3a1b2c3d4e5f60718", Host: "h:1"})
	forged := map[string]Token{"other key": Mint([]byte("other"), good)}
	changed := good
	changed.TokenID = "5df9d0c3a1b2c3d4e5f60719"
	forged["other id"] = changed
	changed = good
	changed.WebTransportURL = "https://evil/"
	forged["added URL"] = changed
	changed = good
	changed.Signature = ""
	forged["no signature"] = changed
	for name, tok := range forged {
		if tok.Verify(testKey) {
			t.Errorf("%s: verified", name)
		}
	}
	changed = good
	changed.Secure = true // not signed
	if !changed.Verify(testKey) {
		t.Error("secure is covered by the signature")
	}
}

func TestDecodeOddities(t *testing.T) {
	good := Mint(testKey, Token{TokenID: "5df9d0c3a1b2c3d4e5f60718", Host: "h:1"}).Encode()
	for _, text := range []string{strings.TrimRight(good, "="), strings.ReplaceAll(good, "+", "-"), " " + good + "\n"} {
		if tok, err := Decode(text); err != nil || !tok.Verify(testKey) {
			t.Errorf("%q: %v %v", text, tok, err)
		}
	}
	for _, json := range []string{"5", `"x"`, "null", "[]", "{}", `{"tokenId":1,"host":"h","signature":"s"}`, `{"tokenId":"1","host":"h","webTransportUrl":null,"signature":"s"}`} {
		v := encode64(json)
		if tok, err := Decode(v); err != nil || tok != (Token{}) || tok.Verify(testKey) {
			t.Errorf("token %s: %v %v", json, tok, err)
		}
		if ticket, err := DecodeTicket(v); err != nil || ticket != (Ticket{}) || ticket.Verify(testKey) || ticket.Valid(time.Now()) {
			t.Errorf("ticket %s: %v %v", json, ticket, err)
		}
		if tok, err := DecodeWebTransport(v); err != nil || tok != (WebTransport{}) || tok.Verify(testKey) {
			t.Errorf("WebTransport token %s: %v %v", json, tok, err)
		}
	}
	for _, text := range []string{"", "!", "AAAA", encode64("{"), strings.Repeat("A", maxText+1)} {
		if _, err := Decode(text); err == nil {
			t.Errorf("%.20q decodes", text)
		}
		if _, err := DecodeTicket(text); err == nil {
			t.Errorf("%.20q decodes as a ticket", text)
		}
		if _, err := DecodeWebTransport(text); err == nil {
			t.Errorf("%.20q decodes as a WebTransport token", text)
		}
	}
}

func TestTURN(t *testing.T) {
	expires := time.Unix(1700000000, 0)
	name, password := TURNCredential("north", "alice:1", expires)
	// openssl: printf '1700000000:alice:1' | openssl dgst -sha1 -hmac north -binary | base64
	if name != "1700000000:alice:1" || password != "+Ij2x1CQDWLwKkHEKbYnZxU5hRM=" {
		t.Errorf("credential %q %q", name, password)
	}
	if user, ok := VerifyTURN("north", name, password, expires.Add(-time.Second)); !ok || user != "alice:1" {
		t.Errorf("verified as %q %v", user, ok)
	}
	for what, ok := range map[string]bool{
		"expired":     second(VerifyTURN("north", name, password, expires)),
		"secret":      second(VerifyTURN("south", name, password, expires.Add(-time.Hour))),
		"other name":  second(VerifyTURN("north", "1800000000:alice:1", password, expires)),
		"no password": second(VerifyTURN("north", name, "", expires.Add(-time.Hour))),
	} {
		if ok {
			t.Errorf("%s: verified", what)
		}
	}
	for _, name := range []string{"", "alice", ":alice", "x:alice", "-1:a", "+5:a", "05:a", "99999999999999999999:a"} {
		if _, _, ok := ParseTURNUsername(name); ok {
			t.Errorf("%q is a TURN user name", name)
		}
	}
}

func second(_ string, ok bool) bool { return ok }
