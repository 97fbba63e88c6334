package restapi

import (
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
	portal := c.Portal()
	if portal.Host == "" {
		return nil, errNoPortal
	}
	minted := token.Mint(c.TokenKey, token.Token{
		TokenID: store.RandomID(), Host: portal.Host, Secure: portal.Secure, WebTransportURL: portal.WebTransportURL,
	})
	err := c.Store.PutToken(c.ctx, store.TokenRecord{
		ID:              minted.TokenID,
		User:            user,
		Role:            role,
		Room:            c.room.ID,
		Service:         c.service.ID,
		Created:         time.Now(),
		Origin:          originOf(c.body.Get("preference")),
		Code:            strconv.FormatUint(rand.Uint64N(1e18), 10),
		Host:            portal.Host,
		Secure:          portal.Secure,
		WebTransportURL: portal.WebTransportURL,
	})
	if errors.Is(err, store.ErrLimit) {
		c.Log.Warn("too many unused tokens", "service", c.service.ID)
		return nil, errOperation
	}
	if err != nil {
		return nil, err
	}
	return textAnswer(http.StatusOK, minted.Encode())
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
