package store

import (
	"context"
	"database/sql"
	"errors"
	"hash/fnv"
	"strconv"
	"sync/atomic"
	"time"

	"portico/shared/jsonvalue"
)

// sqlStore is Store on a database. read and write may be the same pool; where a database admits one writer at a time
// (SQLite), write has one connection and callers queue for it here rather than inside the database.
type sqlStore struct {
	dialect
	read, write *sql.DB
	sealer      *sealer
	limits      Limits
	prepared    atomic.Bool
	preparing   chan struct{} // holds one: who prepares
}

var _ Store = (*sqlStore)(nil)

func newStore(read, write *sql.DB, key []byte, limits Limits, d dialect) (*sqlStore, error) {
	sealer, err := newSealer(key)
	if err != nil {
		return nil, err
	}
	return &sqlStore{dialect: d, read: read, write: write, sealer: sealer, limits: limits.withDefaults(), preparing: make(chan struct{}, 1)}, nil
}

func (s *sqlStore) Close() error {
	return errors.Join(s.read.Close(), s.write.Close())
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

// lock makes the transaction wait until others that locked the same things have ended. Rows are few, so that the table stays small:
// different things may share one.
func lock(ctx context.Context, tx *sql.Tx, kind, things string) error {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(things))
	name := kind + " " + strconv.Itoa(int(hash.Sum32()%lockRows))
	_, err := tx.ExecContext(ctx, `INSERT INTO locks (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET name = excluded.name`, name)
	return err
}

const lockRows = 64

// below is ErrLimit when the query counts limit or more. It is right as long as the transaction lasts if that has locked what is
// counted.
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
	return do(ctx, s, "read service", func(ctx context.Context) (Service, error) {
		return s.scanService(s.read.QueryRowContext(ctx, serviceColumns+`WHERE id = $1`, id))
	})
}

func (s *sqlStore) ServiceByName(ctx context.Context, name string) (Service, error) {
	return do(ctx, s, "read service", func(ctx context.Context) (Service, error) {
		return s.scanService(s.read.QueryRowContext(ctx, serviceColumns+`WHERE name = $1`, name))
	})
}

func (s *sqlStore) Services(ctx context.Context) ([]Service, error) {
	return do(ctx, s, "list services", func(ctx context.Context) ([]Service, error) {
		return query(ctx, s.read, s.scanService, serviceColumns+`ORDER BY id`)
	})
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
	sealed := s.sealer.seal("service "+service.ID, []byte(service.Key))
	return s.run(ctx, "create service", func(ctx context.Context) error {
		return s.transaction(ctx, func(tx *sql.Tx) error {
			if err := lock(ctx, tx, "services", ""); err != nil {
				return err
			}
			if err := below(ctx, tx, s.limits.Services, `SELECT COUNT(*) FROM services`); err != nil {
				return err
			}
			return insert(ctx, tx, `INSERT INTO services (id, name, secret, created) VALUES ($1, $2, $3, $4)`,
				service.ID, service.Name, sealed, service.Created.UnixMilli())
		})
	})
}

func (s *sqlStore) DeleteService(ctx context.Context, id string) error {
	return s.run(ctx, "delete service", func(ctx context.Context) error {
		result, err := s.write.ExecContext(ctx, `DELETE FROM services WHERE id = $1`, id)
		return onlyIf(result, err, ErrNotFound)
	})
}

func (s *sqlStore) Key(ctx context.Context, name string, make func() []byte) ([]byte, error) {
	place := "secret " + name
	return do(ctx, s, "read key "+name, func(ctx context.Context) ([]byte, error) {
		read := func(db *sql.DB) ([]byte, error) {
			var sealed string
			if err := db.QueryRowContext(ctx, `SELECT value FROM secrets WHERE name = $1`, name).Scan(&sealed); err != nil {
				return nil, err
			}
			return s.sealer.open(place, sealed)
		}
		key, err := read(s.read)
		if !errors.Is(err, sql.ErrNoRows) {
			return key, err
		}
		_, err = s.write.ExecContext(ctx, `INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING`, name, s.sealer.seal(place, make()))
		if err != nil {
			return nil, err
		}
		return read(s.write)
	})
}

func (s *sqlStore) Setting(ctx context.Context, name string) (string, error) {
	return do(ctx, s, "read setting "+name, func(ctx context.Context) (value string, err error) {
		err = s.read.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, name).Scan(&value)
		return value, err
	})
}

func (s *sqlStore) SetSetting(ctx context.Context, name, value string) error {
	return s.run(ctx, "write setting "+name, func(ctx context.Context) error {
		_, err := s.write.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
		return err
	})
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
