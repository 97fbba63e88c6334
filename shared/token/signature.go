// Package token mints and verifies what admits a client: join tokens, reconnection tickets, WebTransport tokens, TURN
// credentials and the MAuth headers of the management API.
//
// A token begins in restapi, travels through the application to the client, and is checked by the portal of the edge it
// names; a ticket and a WebTransport token are made by the portal and come back to one. All three are base64 of a JSON
// object whose member "signature" covers its other members joined by commas:
//
//	token      tokenId,host,webTransportUrl                           portal protocol 4.1 and 4.2
//	WebTransport tokenId,transportId,participantId,roomId,issueTime   portal protocol 4.6
//	ticket     participantId,notBefore,notAfter                       portal protocol 5.1
//
// Two members are ours, and clients hand them back as they got them: "record" of a token and "state" of a ticket, sealed so that
// any edge of the cluster admits without asking a store (SealRecord, SealState). Base64 without padding, URL alphabet, of
//
//	1 byte   form, 1
//	12 bytes nonce
//	rest     AES-256-GCM; the additional data is the token's id, or what the ticket's signature covers
//
// Used is the register of whoever has to see that a token works once; that a ticket does, the room's directory sees by its generation. Keys
// are the cluster's keys, which change without any token becoming invalid.
//
// The package is pure: keys, random bytes and the time come in as arguments. Signatures are compared in constant time.
package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
)

// Signature is the signature of a text as all of OWT computes it: standard base64 of the 64 lower-case hexadecimal digits of
// HMAC-SHA-256, always 88 characters (portal protocol 4.2, management API 2.3). The key is used as it is, never decoded.
func Signature(key []byte, text string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(appendHex(nil, mac.Sum(nil)))
}

// SameSignature compares a received signature with the right one, in a time that says nothing about where they differ.
func SameSignature(received, right string) bool {
	return hmac.Equal([]byte(received), []byte(right))
}

// KeyFromRandom writes 64 random bytes as the 128 hexadecimal digits that serve as a signing key; the digits, not the bytes,
// are what Signature gets.
func KeyFromRandom(random [64]byte) []byte { return appendHex(nil, random[:]) }

func appendHex(dst, src []byte) []byte {
	const digits = "0123456789abcdef"
	for _, b := range src {
		dst = append(dst, digits[b>>4], digits[b&15])
	}
	return dst
}

// decodeBase64 reads base64 as the reference server does: both alphabets, padding optional, foreign characters skipped.
func decodeBase64(text string) []byte {
	kept := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '=':
			i = len(text)
		case c == '-':
			kept = append(kept, '+')
		case c == '_':
			kept = append(kept, '/')
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/':
			kept = append(kept, c)
		}
	}
	if len(kept)%4 == 1 {
		kept = kept[:len(kept)-1] // six bits make no byte
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(kept)))
	n, _ := base64.RawStdEncoding.Decode(out, kept) // cannot fail: only alphabet left, and trailing bits are not checked
	return out[:n]
}
