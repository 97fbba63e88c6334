package store

import (
	"context"
	"database/sql"
	"errors"

	"portico/shared/jsonvalue"
)

const roomColumns = `SELECT id, service, document FROM rooms `

func (s *sqlStore) Room(ctx context.Context, id string) (Room, error) {
	room, err := s.scanRoom(s.read.QueryRowContext(ctx, roomColumns+`WHERE id = $1`, id))
	return room, wrap("read room", err)
}

func (s *sqlStore) scanRoom(r row) (Room, error) {
	var room Room
	var text string
	err := r.Scan(&room.ID, &room.Service, &text)
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
	rooms, err := query(ctx, s.read, s.scanRoom, roomColumns+`WHERE service = $1 AND id > $2 ORDER BY id LIMIT $3 OFFSET $4`, service, after, limit, skip)
	return rooms, wrap("list rooms", err)
}

func (s *sqlStore) RoomIDs(ctx context.Context, service string) ([]string, error) {
	ids, err := query(ctx, s.read, func(r row) (id string, err error) {
		err = r.Scan(&id)
		return id, err
	}, `SELECT id FROM rooms WHERE service = $1 ORDER BY id`, service)
	return ids, wrap("list rooms", err)
}

func (s *sqlStore) CreateRoom(ctx context.Context, room Room) error {
	text, err := s.sealRoom(room.ID, room.Document)
	if err == nil {
		err = inTransaction(ctx, s.write, func(tx *sql.Tx) error {
			if err := below(ctx, tx, s.limits.Rooms, `SELECT COUNT(*) FROM rooms WHERE service = $1`, room.Service); err != nil {
				return err
			}
			return insert(ctx, tx, `INSERT INTO rooms (id, service, document, revision) VALUES ($1, $2, $3, 0)`, room.ID, room.Service, text)
		})
	}
	return wrap("create room", err)
}

// maxTries is how often an update starts again because someone else was quicker. Each round one of them succeeds, so this is
// also how many may change one room at the same instant.
const maxTries = 64

var errContended = errors.New("the room is being changed by too many at once")

func (s *sqlStore) UpdateRoom(ctx context.Context, service, id string, change func(jsonvalue.Value) (jsonvalue.Value, error)) (Room, error) {
	for range maxTries {
		var text string
		var revision int64
		err := s.read.QueryRowContext(ctx, `SELECT document, revision FROM rooms WHERE id = $1 AND service = $2`, id, service).Scan(&text, &revision)
		if err != nil {
			return Room{}, wrap("update room", err)
		}
		doc, err := s.openRoom(id, text)
		if err != nil {
			return Room{}, wrap("update room", err)
		}
		if doc, err = change(doc); err != nil {
			return Room{}, err
		}
		if text, err = s.sealRoom(id, doc); err != nil {
			return Room{}, wrap("update room", err)
		}
		result, err := s.write.ExecContext(ctx, `UPDATE rooms SET document = $1, revision = revision + 1 WHERE id = $2 AND revision = $3`, text, id, revision)
		err = onlyIf(result, err, errContended)
		if err == nil {
			return Room{ID: id, Service: service, Document: doc}, nil
		}
		if !errors.Is(err, errContended) {
			return Room{}, wrap("update room", err)
		}
	}
	return Room{}, wrap("update room", errContended)
}

func (s *sqlStore) DeleteRoom(ctx context.Context, service, id string) error {
	result, err := s.write.ExecContext(ctx, `DELETE FROM rooms WHERE id = $1 AND service = $2`, id, service)
	return wrap("delete room", onlyIf(result, err, ErrNotFound))
}
