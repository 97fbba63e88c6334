package restapi

import (
	"context"
	secure "crypto/rand"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"portico/edge/store"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/token"
)

const (
	maxUser   = 1024 // bytes of a user's name
	maxOrigin = 128  // bytes of each part of an origin
)

func (c *call) createToken() (answer, error) {
	user, role := c.whoJoins()
	room := conference.ReadRoom(c.room.Document)
	if _, defined := room.RoleNamed(role); !defined || user == "" || len(user) > maxUser {
		return nil, errNameOrRole
	}
	origin := originOf(c.body.Get("preference"))
	portal := c.PortalFor(c.room.ID, origin)
	if portal.Host == "" {
		return nil, errNoPortal
	}
	text, err := IssueToken(c.ctx, c.Store, c.TokenKeys(), c.SealRecords, portal, store.TokenRecord{
		User: user, Role: role, Room: c.room.ID, Service: c.service.ID, Origin: origin,
	})
	if errors.Is(err, store.ErrLimit) {
		c.Log.Warn("too many unused tokens", "service", c.service.ID)
		return nil, errOperation
	}
	if err != nil {
		return nil, err
	}
	return textAnswer(http.StatusOK, text)
}

// IssueToken records a token to a room and returns its text, signed with the cluster's key (management API 14). The caller has
// checked the record's user, role and room; the rest of it is filled in here. When sealed, the record travels in the token too, and the
// store may be away. The error is the store's.
func IssueToken(ctx context.Context, s store.Store, keys token.Keys, sealed bool, portal PortalAddress, r store.TokenRecord) (string, error) {
	t := token.Token{TokenID: store.RandomID(), Host: portal.Host, Secure: portal.Secure, WebTransportURL: portal.WebTransportURL}
	r.ID, r.Created, r.Code = t.TokenID, time.Now(), strconv.FormatUint(rand.Uint64N(1e18), 10)
	r.Host, r.Secure, r.WebTransportURL = portal.Host, portal.Secure, portal.WebTransportURL
	err := s.PutToken(ctx, r)
	r.Unstored = sealed && errors.Is(err, store.ErrAway)
	if err != nil && !r.Unstored {
		return "", err
	}
	if sealed {
		var nonce token.Nonce
		_, _ = secure.Read(nonce[:]) // never fails
		t.Record = keys.SealRecord(t.TokenID, store.EncodeRecord(r), nonce)
	}
	return keys.Mint(t).Encode(), nil
}

// whoJoins is the user and role a token is for: those of the Authorization header, where both must be named to be covered by
// its signature, or else of the body. A user that is a number or a boolean is taken as text.
func (c *call) whoJoins() (user, role string) {
	if c.auth.Username != "" && c.auth.Role != "" {
		return c.auth.User(), c.auth.Role
	}
	given := c.body.Get("user")
	user = given.Text()
	if kind := given.Kind(); given.Truthy() && (kind == jsonvalue.Number || kind == jsonvalue.Bool) {
		user = given.String()
	}
	return user, c.body.Get("role").Text()
}

// originOf reads where a client is; what is missing or too long to be a place has the name every node knows.
func originOf(preference jsonvalue.Value) conference.Origin {
	part := func(name string) string {
		if text := preference.Get(name).Text(); text != "" && len(text) <= maxOrigin {
			return text
		}
		return name
	}
	return conference.Origin{ISP: part("isp"), Region: part("region")}
}
