package token

import (
	"encoding/base64"
	"strings"
)

// MAuthMethod is the only signature method of MAuth.
const MAuthMethod = "HMAC_SHA256"

// MAuthRealm is the fixed realm of MAuth headers.
const MAuthRealm = "http://marte3.dit.upm.es"

// MAuth is the content of an Authorization header of the management API (management API 2.1):
//
//	MAuth realm=R,mauth_signature_method=HMAC_SHA256[,mauth_username=U,mauth_role=ROLE],mauth_serviceid=S,
//	mauth_cnonce=C,mauth_timestamp=T,mauth_signature=SIG
//
// Fields hold the text as sent; empty means missing.
type MAuth struct {
	Method    string
	Username  string // base64 of the user's name in UTF-8
	Role      string
	ServiceID string
	Nonce     string
	Timestamp string // Unix milliseconds; not checked
	Signature string
}

// ParseMAuth reads a header with the reference server's leniency (management API 2.2). It accepts every text: what is wrong
// shows in missing fields.
func ParseMAuth(header string) MAuth {
	var m MAuth
	fields := map[string]*string{
		"signature_method": &m.Method, "username": &m.Username, "role": &m.Role, "serviceid": &m.ServiceID,
		"cnonce": &m.Nonce, "timestamp": &m.Timestamp, "signature": &m.Signature,
	}
	const prefix = len("mauth_") // "MAuth " is as long
	for piece := range strings.SplitSeq(header, ",") {
		name, rest, found := strings.Cut(piece, "=")
		if len(name) < prefix {
			continue
		}
		field := fields[name[prefix:]]
		if field == nil {
			continue
		}
		*field = ""
		if found {
			*field = joinValue(rest)
		}
	}
	return m
}

// joinValue puts a value together again that was split at "=": an empty part stands for one "=", so that base64 keeps its
// padding, and a "=" between two parts is lost.
func joinValue(rest string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(rest, "=") {
		if part == "" {
			part = "="
		}
		b.WriteString(part)
	}
	return b.String()
}

// Sign fills in the method and the signature (management API 2.3). The key is the service key as text, never decoded.
func (m MAuth) Sign(key string) MAuth {
	m.Method = MAuthMethod
	m.Signature = Signature([]byte(key), m.signed())
	return m
}

// Verify tells whether method and signature are right for the key.
func (m MAuth) Verify(key string) bool {
	same := SameSignature(m.Signature, Signature([]byte(key), m.signed()))
	return same && m.Method == MAuthMethod
}

func (m MAuth) signed() string {
	text := m.Timestamp + "," + m.Nonce
	if m.Username != "" && m.Role != "" {
		text += "," + m.Username + "," + m.Role
	}
	return text
}

// User is the user's name, decoded.
func (m MAuth) User() string { return strings.ToValidUTF8(string(decodeBase64(m.Username)), "\ufffd") }

// WithUser names the user and role on whose behalf a token is asked for; to be called before Sign.
func (m MAuth) WithUser(user, role string) MAuth {
	m.Username, m.Role = base64.StdEncoding.EncodeToString([]byte(user)), role
	return m
}

// Header is the text of the Authorization header.
func (m MAuth) Header() string {
	text := "MAuth realm=" + MAuthRealm + ",mauth_signature_method=" + m.Method
	if m.Username != "" && m.Role != "" {
		text += ",mauth_username=" + m.Username + ",mauth_role=" + m.Role
	}
	return text + ",mauth_serviceid=" + m.ServiceID + ",mauth_cnonce=" + m.Nonce +
		",mauth_timestamp=" + m.Timestamp + ",mauth_signature=" + m.Signature
}
