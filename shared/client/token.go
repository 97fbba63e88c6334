package client

import (
	"encoding/base64"
	"strings"
	"time"

	"portico/shared/jsonvalue"
)

// maxToken bounds what is taken for a token; real ones have some 300 characters.
const maxToken = 16 << 10

// portalURL reads the address of the portal out of a join token (portal protocol 4.1): "http(s)://host[:port]". The signature is for the
// portal to check. Errors are ErrToken with its cause.
func portalURL(token string) (string, error) {
	v, err := parseToken(token)
	if err != nil {
		return "", err
	}
	scheme, host := "http://", v.Get("host").Text()
	if v.Get("secure").Bool() {
		scheme = "https://"
	}
	for _, s := range []string{"http://", "https://"} { // some servers write the scheme into the host; it counts then
		if rest, ok := strings.CutPrefix(host, s); ok {
			scheme, host = s, strings.TrimSuffix(rest, "/")
		}
	}
	if !isHost(host) {
		return "", ErrToken
	}
	return scheme + host, nil
}

// parseToken reads a join token. Errors are ErrToken with its cause.
func parseToken(token string) (jsonvalue.Value, error) {
	token = strings.TrimSpace(token)
	if len(token) > maxToken {
		return jsonvalue.Value{}, ErrToken
	}
	text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(token, "="))
	if err != nil {
		return jsonvalue.Value{}, withCause(ErrToken, err)
	}
	v, err := jsonvalue.Parse(text, jsonvalue.Limits{Depth: 4, Values: 64})
	if err != nil {
		return jsonvalue.Value{}, withCause(ErrToken, err)
	}
	return v, nil
}

// isHost keeps a token from smuggling anything but a host and a port into the address.
func isHost(s string) bool {
	if s == "" || len(s) > 300 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == 0x7f || strings.IndexByte(`/\?#@"<>^{|}`+"`", c) >= 0 {
			return false
		}
	}
	return true
}

// When a ticket is refreshed (portal protocol 5.2): earlyRefresh before its end, or lateRefresh when it does not last that long. One
// that cannot be read is refreshed after blindRefresh; tickets usually last ten minutes.
const (
	earlyRefresh = time.Minute
	lateRefresh  = 10 * time.Second
	blindRefresh = 5 * time.Minute
	minRefresh   = time.Second
	maxRefresh   = 24 * time.Hour
)

// refreshAfter is how long after its receipt a ticket is to be refreshed. It goes by the ticket's lifetime, since the two clocks need
// not agree. The signature is for the portal to check.
func refreshAfter(ticket string) time.Duration {
	text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(ticket, "="))
	if err != nil {
		return blindRefresh
	}
	v, err := jsonvalue.Parse(text, jsonvalue.Limits{Depth: 4, Values: 64})
	if err != nil {
		return blindRefresh
	}
	begin, ok1 := v.Get("notBefore").Int()
	end, ok2 := v.Get("notAfter").Int()
	if !ok1 || !ok2 || end <= begin || end-begin < 0 {
		return blindRefresh
	}
	life := maxRefresh
	if end-begin < maxRefresh.Milliseconds() {
		life = time.Duration(end-begin) * time.Millisecond
	}
	switch {
	case life > earlyRefresh:
		return max(life-earlyRefresh, minRefresh)
	case life > lateRefresh:
		return max(life-lateRefresh, minRefresh)
	}
	return max(life/2, minRefresh)
}
