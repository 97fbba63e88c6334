package restapi

import (
	"errors"
	"math"
	"net/http"

	"portico/edge/store"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

func (c *call) createRoom() (answer, error) {
	name, options := c.body.Get("name"), c.body.Get("options")
	if name.Text() == "" {
		return nil, errBadRoomBody
	}
	if options.Truthy() && options.Kind() != jsonvalue.Object && options.Kind() != jsonvalue.Array {
		return nil, errBadRoomOption
	}
	doc, err := conference.NewRoomDocument(name.Text(), options)
	if refusal := (*conference.RoomError)(nil); errors.As(err, &refusal) {
		return nil, unexpected(refusal.Class + " " + refusal.Text)
	}
	id := doc.Get("_id").Text()
	if id == "" {
		id = store.NewID()
		doc = doc.With("_id", jsonvalue.Of(id))
	}
	err = c.Store.CreateRoom(c.ctx, store.Room{ID: id, Service: c.service.ID, Document: doc})
	switch {
	case errors.Is(err, store.ErrExists):
		return nil, errRoomExists
	case errors.Is(err, store.ErrLimit):
		return nil, errOperation
	case err != nil:
		return nil, err
	}
	c.Log.Info("room created", "room", id, "service", c.service.ID)
	return jsonAnswer(withID(doc))
}

// withID adds the "id" that lists and changed rooms show and single ones do not (management API 5.2 and 5.3).
func withID(doc jsonvalue.Value) jsonvalue.Value { return doc.With("id", doc.Get("_id")) }

// chunk is how many rooms a list holds in memory at a time.
const chunk = 100

func (c *call) listRooms() (answer, error) {
	limit, skip := math.MaxInt, 0
	if perPage := c.count("per_page"); perPage > 0 {
		limit = perPage
		if page := c.count("page"); page > 0 {
			skip = (page - 1) * perPage
		}
	}
	// The first rooms are read before anything is written, so that an error can still be answered as one.
	rooms, err := c.Store.RoomsAfter(c.ctx, c.service.ID, "", skip, min(limit, chunk))
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) error {
		w.Header().Set("Content-Type", jsonType)
		separator := byte('[')
		var text []byte
		for {
			for _, room := range rooms {
				text = withID(conference.FillRoomDocument(room.Document)).Append(append(text, separator))
				separator = ','
			}
			if limit -= len(rooms); len(rooms) < chunk || limit == 0 {
				break
			}
			w.Write(text)
			text = text[:0]
			if rooms, err = c.Store.RoomsAfter(c.ctx, c.service.ID, rooms[chunk-1].ID, 0, min(limit, chunk)); err != nil {
				c.Log.Error("list of rooms broken off", "service", c.service.ID, "error", err)
				panic(http.ErrAbortHandler) // half a list must not look like a whole one
			}
		}
		if separator == '[' {
			text = append(text, separator)
		}
		w.Write(append(text, ']'))
		return nil
	}, nil
}

// count is a positive number in the query, or 0: absent, given twice, not positive, or no number at all.
func (c *call) count(name string) int {
	given := c.request.URL.Query()[name]
	if len(given) != 1 {
		return 0
	}
	f, ok := conference.Number(jsonvalue.Of(given[0]))
	if !ok || f < 1 {
		return 0
	}
	return int(min(f, math.MaxInt32))
}

func (c *call) getRoom() (answer, error) { return jsonAnswer(c.room.Document) }

func (c *call) updateRoom() (answer, error) {
	room, err := c.Store.UpdateRoom(c.ctx, c.service.ID, c.room.ID, func(doc jsonvalue.Value) (jsonvalue.Value, error) {
		return conference.UpdateRoomDocument(doc, c.body)
	})
	if refusal := (*conference.RoomError)(nil); errors.As(err, &refusal) {
		return nil, badRequest(refusal.Text)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, errNoRoom
	case errors.Is(err, store.ErrLimit):
		return nil, errOperation
	case err != nil:
		return nil, err
	}
	c.Log.Info("room changed", "room", room.ID, "service", c.service.ID)
	return jsonAnswer(withID(room.Document))
}

// patchRoom is in the official client but was never implemented by any server.
func (c *call) patchRoom() (answer, error) { return nil, errNotImplemented }

func (c *call) deleteRoom() (answer, error) {
	err := c.Store.DeleteRoom(c.ctx, c.service.ID, c.room.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNoRoom
	}
	if err != nil {
		return nil, err
	}
	c.Conferences.DestroyRoom(c.room.ID)
	c.Log.Info("room deleted", "room", c.room.ID, "service", c.service.ID)
	return textAnswer(http.StatusOK, "Room deleted")
}
