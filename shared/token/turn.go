package token

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// TURNCredential makes a TURN user name and password that a relay sharing the secret accepts until expires, in whole
// seconds. It is the scheme of "A REST API For Access To TURN Services" that TURN servers have in common: the name is
// "<expiry as Unix seconds>:<user>", the password base64 of HMAC-SHA-1 of the name.
func TURNCredential(secret, user string, expires time.Time) (username, password string) {
	username = strconv.FormatInt(expires.Unix(), 10) + ":" + user
	return username, TURNPassword(secret, username)
}

// TURNPassword is the password that belongs to a TURN user name, whatever the name says.
func TURNPassword(secret, username string) string {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// ParseTURNUsername splits a TURN user name; ok is false when it is not one that TURNCredential makes.
func ParseTURNUsername(username string) (user string, expires time.Time, ok bool) {
	seconds, user, ok := strings.Cut(username, ":")
	n, err := strconv.ParseInt(seconds, 10, 64)
	if !ok || err != nil || n < 0 || strconv.FormatInt(n, 10) != seconds {
		return "", time.Time{}, false
	}
	return user, time.Unix(n, 0), true
}

// VerifyTURN tells whose credential this is, and whether it is right and not yet expired. A TURN server that is shown a
// digest and not the password uses ParseTURNUsername and TURNPassword instead.
func VerifyTURN(secret, username, password string, now time.Time) (user string, ok bool) {
	right := hmac.Equal([]byte(password), []byte(TURNPassword(secret, username)))
	user, expires, named := ParseTURNUsername(username)
	if !right || !named || !now.Before(expires) {
		return "", false
	}
	return user, true
}
