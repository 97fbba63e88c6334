package restapi

import (
	"errors"
	"net/http"
	"time"

	"portico/edge/store"
	"portico/shared/jsonvalue"
)

// Longer names and keys than anyone needs are refused, so that a list of services stays small.
const (
	maxServiceName = 256
	maxServiceKey  = 1024
)

func (c *call) createService() (answer, error) {
	if !c.isSuper() {
		return nil, errForbidden
	}
	name, key := c.body.Get("name"), c.body.Get("key")
	switch {
	case name.Kind() != jsonvalue.String || key.Kind() != jsonvalue.String:
		return nil, errServiceStrings
	case name.Text() == "":
		return nil, unexpected("ValidationError Service validation failed: name: Path `name` is required.")
	case key.Text() == "":
		return nil, unexpected("ValidationError Service validation failed: key: Path `key` is required.")
	case len(name.Text()) > maxServiceName || len(key.Text()) > maxServiceKey:
		return nil, errBadRequest
	}
	id := store.NewID()
	err := c.Store.CreateService(c.ctx, store.Service{ID: id, Name: name.Text(), Key: key.Text(), Created: time.Now()})
	switch {
	case errors.Is(err, store.ErrExists):
		return nil, errServiceExists
	case errors.Is(err, store.ErrLimit):
		return nil, errOperation
	case err != nil:
		return nil, err
	}
	service, err := c.Store.Service(c.ctx, id)
	if err != nil {
		return nil, err
	}
	c.Log.Info("service created", "service", id)
	return jsonAnswer(serviceValue(service, nil))
}

// serviceValue shows a service. Its "key" is what the store holds, which is of no use to anyone without the store's own key.
func serviceValue(s store.Service, rooms []string) jsonvalue.Value {
	return jsonvalue.OfObject(
		jsonvalue.M("_id", jsonvalue.Of(s.ID)),
		jsonvalue.M("name", jsonvalue.Of(s.Name)),
		jsonvalue.M("key", jsonvalue.Of(s.Sealed)),
		jsonvalue.M("encrypted", jsonvalue.OfBool(true)),
		jsonvalue.M("rooms", jsonvalue.OfStrings(rooms)),
		jsonvalue.M("__v", jsonvalue.OfInt(0)),
	)
}

func (c *call) listServices() (answer, error) {
	if !c.isSuper() {
		return nil, errForbidden
	}
	services, err := c.Store.Services(c.ctx)
	if err != nil {
		return nil, err
	}
	values := make([]jsonvalue.Value, len(services))
	for i, s := range services {
		rooms, err := c.Store.RoomIDs(c.ctx, s.ID)
		if err != nil {
			return nil, err
		}
		values[i] = serviceValue(s, rooms)
	}
	return jsonAnswer(jsonvalue.OfArray(values...))
}

func (c *call) getService() (answer, error) {
	id := c.path[1]
	if !c.isSuper() && id != c.service.ID {
		return nil, errForbidden
	}
	service, err := c.Store.Service(c.ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNoService
	}
	if err != nil {
		return nil, err
	}
	rooms, err := c.Store.RoomIDs(c.ctx, id)
	if err != nil {
		return nil, err
	}
	return jsonAnswer(serviceValue(service, rooms))
}

func (c *call) deleteService() (answer, error) {
	id := c.path[1]
	switch {
	case !c.isSuper() || !store.IsID(id):
		return nil, errForbidden
	case id == c.SuperService:
		return textAnswer(http.StatusUnauthorized, "Super service not permitted to be deleted")
	}
	err := c.Store.DeleteService(c.ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNoService
	}
	if err != nil {
		return nil, err
	}
	c.Log.Info("service deleted", "service", id)
	return textAnswer(http.StatusOK, "Service deleted")
}
