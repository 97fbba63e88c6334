package restapi

import (
	"errors"

	"portico/edge/store"
	"portico/shared/token"
)

// strangersKey takes the place of the key of a service that does not exist, so that its refusal costs the same time.
var strangersKey = store.NewServiceKey()

// authenticate finds out which service signed the request (management API 2). Timestamps are not checked and requests may be
// repeated, as clients expect.
func (c *call) authenticate() error {
	c.auth = token.ParseMAuth(c.request.Header.Get("Authorization"))
	service, err := c.Store.Service(c.ctx, c.auth.ServiceID)
	unknown := errors.Is(err, store.ErrNotFound)
	if err != nil && !unknown {
		return err
	}
	if unknown {
		service.Key = strangersKey
	}
	if !c.auth.Verify(service.Key) || unknown {
		c.Log.Debug("authentication failed", "remote", c.request.RemoteAddr, "unknown_service", unknown)
		c.RefusalDelay(c.request.Context())
		return errUnauthorized
	}
	c.service = service
	return nil
}

func (c *call) isSuper() bool { return c.service.ID == c.SuperService }

// findRoom reads the room in the path, which must belong to the service that asks.
func (c *call) findRoom(id string) error {
	if !store.IsID(id) {
		return errNoRoom
	}
	room, err := c.Store.Room(c.ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && room.Service != c.service.ID {
		return errNoRoom
	}
	c.room = room
	return err
}
