package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"portico/shared/jsonvalue"
)

// sqlStore is Store on a database. read and write may be the same pool; where a database admits one writer at a time
// (SQLite), write has one connection and callers queue for it here rather than inside the database.
type sqlStore struct {
	read, write *sql.DB
	sealer      *sealer
	limits      Limits
}

var _ Store = (*sqlStore)(nil)

func newStore(ctx context.Context, read, write *sql.DB, key []byte, limits Limits) (*sqlStore, error) {
	sealer, err := newSealer(key)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, write); err != nil {
		return nil, err
	}
	return &sqlStore{read: read, write: write, sealer: sealer, limits: limits.withDefaults()}, nil
}

func (s *sqlStore) Close() error {
	return errors.Join(s.read.Close(), s.write.Close())
}

// wrap names the failed attempt; the package's own errors stay comparable, a missing row becomes ErrNotFound.
func wrap(attempt string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return fmt.Errorf("store: %s: %w", attempt, err)
}

// insert adds a row unless one with its key is there, which is ErrExists.
func insert(ctx context.Context, tx *sql.Tx, query string, args ...any) error {
	result, err := tx.ExecContext(ctx, query+` ON CONFLICT DO NOTHING`, args...)
	return onlyIf(result, err, ErrExists)
}

// onlyIf turns "no row was touched" into an error.
func onlyIf(result sql.Result, err, none error) error {
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		err = none
	}
	return err
}

// room for one more: below is ErrLimit when the query counts limit or more.
func below(ctx context.Context, tx *sql.Tx, limit int, query string, args ...any) error {
	var n int
	if err := tx.QueryRowContext(ctx, query, args...).Scan(&n); err != nil {
		return err
	}
	if n >= limit {
		return ErrLimit
	}
	return nil
}

const serviceColumns = `SELECT id, name, secret, created FROM services `

func (s *sqlStore) Service(ctx context.Context, id string) (Service, error) {
	service, err := s.scanService(s.read.QueryRowContext(ctx, serviceColumns+`WHERE id = $1`, id))
	return service, wrap("read service", err)
}

func (s *sqlStore) ServiceByName(ctx context.Context, name string) (Service, error) {
	service, err := s.scanService(s.read.QueryRowContext(ctx, serviceColumns+`WHERE name = $1`, name))
	return service, wrap("read service", err)
}

func (s *sqlStore) Services(ctx context.Context) ([]Service, error) {
	services, err := query(ctx, s.read, s.scanService, serviceColumns+`ORDER BY id`)
	return services, wrap("list services", err)
}

type row interface{ Scan(...any) error }

func (s *sqlStore) scanService(r row) (Service, error) {
	var service Service
	var created int64
	if err := r.Scan(&service.ID, &service.Name, &service.Sealed, &created); err != nil {
		return Service{}, err
	}
	key, err := s.sealer.open("service "+service.ID, service.Sealed)
	service.Key, service.Created = string(key), time.UnixMilli(created)
	return service, err
}

// query collects the rows of a query.
func query[T any](ctx context.Context, db *sql.DB, scan func(row) (T, error), text string, args ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		e, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, rows.Err()
}

func (s *sqlStore) CreateService(ctx context.Context, service Service) error {
	return wrap("create service", inTransaction(ctx, s.write, func(tx *sql.Tx) error {
		if err := below(ctx, tx, s.limits.Services, `SELECT COUNT(*) FROM services`); err != nil {
			return err
		}
		return insert(ctx, tx, `INSERT INTO services (id, name, secret, created) VALUES ($1, $2, $3, $4)`,
			service.ID, service.Name, s.sealer.seal("service "+service.ID, []byte(service.Key)), service.Created.UnixMilli())
	}))
}

func (s *sqlStore) DeleteService(ctx context.Context, id string) error {
	result, err := s.write.ExecContext(ctx, `DELETE FROM services WHERE id = $1`, id)
	return wrap("delete service", onlyIf(result, err, ErrNotFound))
}

func (s *sqlStore) Key(ctx context.Context, name string, make func() []byte) ([]byte, error) {
	place := "secret " + name
	read := func(db *sql.DB) ([]byte, error) {
		var sealed string
		if err := db.QueryRowContext(ctx, `SELECT value FROM secrets WHERE name = $1`, name).Scan(&sealed); err != nil {
			return nil, err
		}
		return s.sealer.open(place, sealed)
	}
	key, err := read(s.read)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = s.write.ExecContext(ctx, `INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING`, name, s.sealer.seal(place, make()))
		if err == nil {
			key, err = read(s.write)
		}
	}
	return key, wrap("read key "+name, err)
}

func (s *sqlStore) Setting(ctx context.Context, name string) (string, error) {
	var value string
	err := s.read.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, name).Scan(&value)
	return value, wrap("read setting "+name, err)
}

func (s *sqlStore) SetSetting(ctx context.Context, name, value string) error {
	_, err := s.write.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return wrap("write setting "+name, err)
}

// sealRoom is the document as text for the database, its SIP password sealed.
func (s *sqlStore) sealRoom(id string, doc jsonvalue.Value) (string, error) {
	if password := doc.Path("sip", "password"); password.Exists() {
		sealed := s.sealer.seal("sip "+id, []byte(password.Text()))
		doc = doc.With("sip", doc.Get("sip").With("password", jsonvalue.Of(sealed)))
	}
	text := doc.Append(nil)
	if len(text) > s.limits.RoomDocument {
		return "", ErrLimit
	}
	return string(text), nil
}

func (s *sqlStore) openRoom(id, text string) (jsonvalue.Value, error) {
	doc, err := jsonvalue.Parse([]byte(text), jsonvalue.Limits{Values: len(text) + 1})
	if err != nil {
		return jsonvalue.Value{}, err
	}
	if sealed := doc.Path("sip", "password"); sealed.Exists() {
		password, err := s.sealer.open("sip "+id, sealed.Text())
		if err != nil {
			return jsonvalue.Value{}, err
		}
		doc = doc.With("sip", doc.Get("sip").With("password", jsonvalue.Of(string(password))))
	}
	return doc, nil
}
