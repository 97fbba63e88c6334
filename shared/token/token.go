package token

import (
	"encoding/base64"
	"errors"
	"strconv"
	"time"

	"portico/shared/jsonvalue"
)

// ErrTooLong is the answer to a text longer than any token or ticket we make.
var ErrTooLong = errors.New("token is too long")

const maxText = 16 << 10 // bytes of base64; a token whose record has the longest of names takes 14 KiB

// Token admits its holder once to a room (portal protocol 4.1). What it admits to is in the store's record of TokenID, and in Record.
type Token struct {
	TokenID         string // 24 hexadecimal digits
	Host            string // host:port of the portal, without scheme
	Secure          bool   // the portal speaks TLS; not covered by the signature
	WebTransportURL string // empty: none
	Record          string // what SealRecord made for TokenID, which it is bound to; empty: only the store has the record
	Signature       string
}

// Mint signs a token; its Signature field is overwritten.
func Mint(key []byte, t Token) Token {
	t.Signature = Signature(key, t.signed())
	return t
}

// Verify tells whether the token was signed with the key.
func (t Token) Verify(key []byte) bool { return SameSignature(t.Signature, Signature(key, t.signed())) }

func (t Token) signed() string {
	url := t.WebTransportURL
	if url == "" {
		url = "undefined"
	}
	return t.TokenID + "," + t.Host + "," + url
}

// Encode is the text handed to the client.
func (t Token) Encode() string {
	return encode(jsonvalue.OfObject(
		jsonvalue.M("tokenId", jsonvalue.Of(t.TokenID)),
		jsonvalue.M("host", jsonvalue.Of(t.Host)),
		jsonvalue.M("secure", jsonvalue.OfBool(t.Secure)),
		jsonvalue.M("webTransportUrl", optional(t.WebTransportURL)),
		jsonvalue.M("record", optional(t.Record)),
		jsonvalue.M("signature", jsonvalue.Of(t.Signature)),
	))
}

// optional is a text that is left out when it is empty.
func optional(text string) jsonvalue.Value {
	if text == "" {
		return jsonvalue.Value{}
	}
	return jsonvalue.Of(text)
}

// Decode reads a token without checking its signature. The error says that the text is not base64 of JSON; JSON of another
// shape gives the zero Token, which no key verifies, so that it is answered like a wrong signature (portal protocol 4.3).
func Decode(text string) (Token, error) {
	v, err := decode(text)
	if err != nil {
		return Token{}, err
	}
	url, record := v.Get("webTransportUrl"), v.Get("record")
	if !texts(v, "tokenId", "host", "signature") || url.Exists() && url.Text() == "" || record.Exists() && record.Text() == "" {
		return Token{}, nil
	}
	return Token{
		TokenID:         v.Get("tokenId").Text(),
		Host:            v.Get("host").Text(),
		Secure:          v.Get("secure").Bool(),
		WebTransportURL: url.Text(),
		Record:          record.Text(),
		Signature:       v.Get("signature").Text(),
	}, nil
}

// Ticket lets a client whose connection was lost take its place again (portal protocol 5.1).
type Ticket struct {
	ParticipantID string
	TicketID      string // random, neither signed nor checked
	NotBefore     time.Time
	NotAfter      time.Time // both in whole milliseconds on the wire
	State         string    // what SealState made for this ticket, which it is bound to; empty: none
	Signature     string
}

// MintTicket signs a ticket; its Signature field is overwritten.
func MintTicket(key []byte, t Ticket) Ticket {
	t.Signature = Signature(key, t.signed())
	return t
}

// Verify tells whether the ticket was signed with the key; whether it is in force is Valid.
func (t Ticket) Verify(key []byte) bool {
	return SameSignature(t.Signature, Signature(key, t.signed()))
}

// Valid tells whether now lies within the ticket's time, both ends included.
func (t Ticket) Valid(now time.Time) bool {
	ms := now.UnixMilli()
	return t.NotBefore.UnixMilli() <= ms && ms <= t.NotAfter.UnixMilli()
}

func (t Ticket) signed() string {
	return t.ParticipantID + "," + millis(t.NotBefore) + "," + millis(t.NotAfter)
}

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// Encode is the text handed to the client.
func (t Ticket) Encode() string {
	return encode(jsonvalue.OfObject(
		jsonvalue.M("participantId", jsonvalue.Of(t.ParticipantID)),
		jsonvalue.M("ticketId", jsonvalue.Of(t.TicketID)),
		jsonvalue.M("notBefore", jsonvalue.OfInt(t.NotBefore.UnixMilli())),
		jsonvalue.M("notAfter", jsonvalue.OfInt(t.NotAfter.UnixMilli())),
		jsonvalue.M("state", optional(t.State)),
		jsonvalue.M("signature", jsonvalue.Of(t.Signature)),
	))
}

// DecodeTicket reads a ticket as Decode reads a token: JSON of another shape gives the zero Ticket, which is never valid and
// which no key verifies.
func DecodeTicket(text string) (Ticket, error) {
	v, err := decode(text)
	if err != nil {
		return Ticket{}, err
	}
	from, okFrom := v.Get("notBefore").Int()
	to, okTo := v.Get("notAfter").Int()
	state := v.Get("state")
	if !okFrom || !okTo || !texts(v, "participantId", "signature") || state.Exists() && state.Text() == "" {
		return Ticket{}, nil
	}
	return Ticket{
		ParticipantID: v.Get("participantId").Text(),
		TicketID:      v.Get("ticketId").Text(),
		NotBefore:     time.UnixMilli(from),
		NotAfter:      time.UnixMilli(to),
		State:         state.Text(),
		Signature:     v.Get("signature").Text(),
	}, nil
}

// WebTransport admits one participant's WebTransport connection, once (portal protocol 4.6).
type WebTransport struct {
	TokenID       string // 32 hexadecimal digits, as TransportID
	TransportID   string
	ParticipantID string
	RoomID        string
	IssueTime     time.Time // whole milliseconds on the wire
	Signature     string
}

// MintWebTransport signs a WebTransport token; its Signature field is overwritten.
func MintWebTransport(key []byte, t WebTransport) WebTransport {
	t.Signature = Signature(key, t.signed())
	return t
}

// Verify tells whether the token was signed with the key.
func (t WebTransport) Verify(key []byte) bool {
	return SameSignature(t.Signature, Signature(key, t.signed()))
}

func (t WebTransport) signed() string {
	return t.TokenID + "," + t.TransportID + "," + t.ParticipantID + "," + t.RoomID + "," + millis(t.IssueTime)
}

// Encode is the text handed to the client.
func (t WebTransport) Encode() string {
	return encode(jsonvalue.OfObject(
		jsonvalue.M("tokenId", jsonvalue.Of(t.TokenID)),
		jsonvalue.M("transportId", jsonvalue.Of(t.TransportID)),
		jsonvalue.M("participantId", jsonvalue.Of(t.ParticipantID)),
		jsonvalue.M("roomId", jsonvalue.Of(t.RoomID)),
		jsonvalue.M("issueTime", jsonvalue.OfInt(t.IssueTime.UnixMilli())),
		jsonvalue.M("signature", jsonvalue.Of(t.Signature)),
	))
}

// DecodeWebTransport reads a WebTransport token as Decode reads a token.
func DecodeWebTransport(text string) (WebTransport, error) {
	v, err := decode(text)
	if err != nil {
		return WebTransport{}, err
	}
	issued, ok := v.Get("issueTime").Int()
	if !ok || !texts(v, "tokenId", "transportId", "participantId", "roomId", "signature") {
		return WebTransport{}, nil
	}
	return WebTransport{
		TokenID:       v.Get("tokenId").Text(),
		TransportID:   v.Get("transportId").Text(),
		ParticipantID: v.Get("participantId").Text(),
		RoomID:        v.Get("roomId").Text(),
		IssueTime:     time.UnixMilli(issued),
		Signature:     v.Get("signature").Text(),
	}, nil
}

func encode(v jsonvalue.Value) string { return base64.StdEncoding.EncodeToString(v.Append(nil)) }

func decode(text string) (jsonvalue.Value, error) {
	if len(text) > maxText {
		return jsonvalue.Value{}, ErrTooLong
	}
	return jsonvalue.Parse(decodeBase64(text), jsonvalue.Limits{Depth: 8, Values: 64})
}

// texts tells whether all the named members of v are strings.
func texts(v jsonvalue.Value, names ...string) bool {
	for _, n := range names {
		if v.Get(n).Kind() != jsonvalue.String {
			return false
		}
	}
	return true
}
