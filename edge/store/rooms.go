package store

import (
	"context"
	"database/sql"
	"errors"

	"portico/shared/jsonvalue"
)

const roomColumns = `SELECT id, service, document, revision FROM rooms `

func (s *sqlStore) Room(ctx context.Context, id string) (Room, error) {
	return do(ctx, s, "read room", func(ctx context.Context) (Room, error) {
		return s.scanRoom(s.read.QueryRowContext(ctx, roomColumns+`WHERE id = $1`, id))
	})
}

func (s *sqlStore) scanRoom(r row) (Room, error) {
	var room Room
	var text string
	err := r.Scan(&room.ID, &room.Service, &text, &room.Revision)
	if err == nil {
		room.Document, err = s.openRoom(room.ID, text)
	}
	return room, err
}

func (s *sqlStore) Rooms(ctx context.Context, service string, page, perPage int) ([]Room, error) {
	if perPage <= 0 {
		return s.RoomsAfter(ctx, service, "", 0, s.limits.Rooms)
	}
	page = max(page, 1)
	if page-1 > s.limits.Rooms { // also keeps the product within an int
		return nil, nil
	}
	perPage = min(perPage, s.limits.Rooms)
	return s.RoomsAfter(ctx, service, "", (page-1)*perPage, perPage)
}

func (s *sqlStore) RoomsAfter(ctx context.Context, service, after string, skip, limit int) ([]Room, error) {
	return do(ctx, s, "list rooms", func(ctx context.Context) ([]Room, error) {
		return query(ctx, s.read, s.scanRoom, roomColumns+`WHERE service = $1 AND id > $2 ORDER BY id LIMIT $3 OFFSET $4`, service, after, limit, skip)
	})
}

func (s *sqlStore) RoomIDs(ctx context.Context, service string) ([]string, error) {
	return do(ctx, s, "list rooms", func(ctx context.Context) ([]string, error) {
		return query(ctx, s.read, func(r row) (id string, err error) {
			err = r.Scan(&id)
			return id, err
		}, `SELECT id FROM rooms WHERE service = $1 ORDER BY id`, service)
	})
}

func (s *sqlStore) CreateRoom(ctx context.Context, room Room) error {
	return s.run(ctx, "create room", func(ctx context.Context) error {
		text, err := s.sealRoom(room.ID, room.Document)
		if err != nil {
			return err
		}
		return s.transaction(ctx, func(tx *sql.Tx) error {
			if err := lock(ctx, tx, "rooms", room.Service); err != nil {
				return err
			}
			if err := below(ctx, tx, s.limits.Rooms, `SELECT COUNT(*) FROM rooms WHERE service = $1`, room.Service); err != nil {
				return err
			}
			return insert(ctx, tx, `INSERT INTO rooms (id, service, document, revision) VALUES ($1, $2, $3, 0)`, room.ID, room.Service, text)
		})
	})
}

// maxTries is how often an update starts again because someone else was quicker. Each round one of them succeeds, so this is
// also how many may change one room at the same instant.
const maxTries = 64

var errContended = errors.New("the room is being changed by too many at once")

func (s *sqlStore) UpdateRoom(ctx context.Context, service, id string, change func(jsonvalue.Value) (jsonvalue.Value, error)) (Room, error) {
	var refusal error // the caller's own goes back as it is
	room, err := do(ctx, s, "update room", func(ctx context.Context) (Room, error) {
		for range maxTries {
			room, err := s.scanRoom(s.read.QueryRowContext(ctx, roomColumns+`WHERE id = $1 AND service = $2`, id, service))
			if err != nil {
				return Room{}, err
			}
			if room.Document, refusal = change(room.Document); refusal != nil {
				return Room{}, refusal
			}
			err = s.replaceRoom(ctx, &room)
			if !errors.Is(err, errContended) {
				return room, err
			}
		}
		return Room{}, errContended
	})
	if refusal != nil {
		return Room{}, refusal
	}
	return room, err
}

// replaceRoom writes the room's document over the one of its revision, and counts that up; errContended when that is there no longer.
func (s *sqlStore) replaceRoom(ctx context.Context, room *Room) error {
	text, err := s.sealRoom(room.ID, room.Document)
	if err != nil {
		return err
	}
	result, err := s.write.ExecContext(ctx, `UPDATE rooms SET document = $1, revision = revision + 1 WHERE id = $2 AND revision = $3`, text, room.ID, room.Revision)
	room.Revision++
	return onlyIf(result, err, errContended)
}

func (s *sqlStore) DeleteRoom(ctx context.Context, service, id string) error {
	return s.run(ctx, "delete room", func(ctx context.Context) error {
		result, err := s.write.ExecContext(ctx, `DELETE FROM rooms WHERE id = $1 AND service = $2`, id, service)
		return onlyIf(result, err, ErrNotFound)
	})
}
