package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// migrations are the steps that lead from an empty database to today's tables. A step that has been released is never
// changed; new ones are added at the end.
var migrations = [][]string{
	{
		`CREATE TABLE services (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, secret TEXT NOT NULL, created BIGINT NOT NULL)`,
		`CREATE TABLE rooms (id TEXT PRIMARY KEY, service TEXT NOT NULL, document TEXT NOT NULL, revision BIGINT NOT NULL)`,
		`CREATE INDEX rooms_by_service ON rooms (service, id)`,
		`CREATE TABLE tokens (id TEXT PRIMARY KEY, service TEXT NOT NULL, created BIGINT NOT NULL, record TEXT NOT NULL)`,
		`CREATE INDEX tokens_by_service ON tokens (service)`,
		`CREATE INDEX tokens_by_created ON tokens (created)`,
		`CREATE TABLE secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL)`,
		`CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)`,
	},
	{
		`CREATE TABLE locks (name TEXT PRIMARY KEY)`,
	},
}

// migrate brings the database to the newest tables, one transaction for each step. Of several nodes that do so at once one makes a
// step and the others wait for it: each writes the row of version 0 first, which nobody else can until the transaction ends.
func (s *sqlStore) migrate(ctx context.Context) error {
	_, err := s.write.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY)`)
	for done := false; err == nil && !done; {
		err = s.transaction(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO migrations (version) VALUES (0) ON CONFLICT (version) DO UPDATE SET version = 0`)
			if err != nil {
				return err
			}
			done, err = migrateOnce(ctx, tx)
			return err
		})
	}
	return err
}

// migrateOnce makes the next step; done is true when there is none left.
func migrateOnce(ctx context.Context, tx *sql.Tx) (done bool, err error) {
	var version int
	if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) FROM migrations`).Scan(&version); err != nil {
		return false, err
	}
	if version > len(migrations) {
		return false, fmt.Errorf("the database has version %d and this program knows only %d: it was used by a newer program", version, len(migrations))
	}
	if version == len(migrations) {
		return true, nil
	}
	for _, statement := range migrations[version] {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return false, fmt.Errorf("migration %d: %w", version+1, err)
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO migrations (version) VALUES ($1)`, version+1)
	return false, err
}

const (
	checkName  = "store.check"
	checkPlace = "secret " + checkName
)

// checkKey finds out at the start whether the key is the one with which the database was begun, rather than when a secret is needed.
func (s *sqlStore) checkKey(ctx context.Context) error {
	sealed, place, err := s.anySecret(ctx)
	if errors.Is(err, sql.ErrNoRows) || err == nil && place != checkPlace { // a new database, or one that was made before there was a check
		if err == nil {
			if _, err := s.sealer.open(place, sealed); err != nil {
				return err
			}
		}
		_, err = s.write.ExecContext(ctx, `INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING`, checkName, s.sealer.seal(checkPlace, nil))
		if err == nil { // somebody with another key may have been quicker
			sealed, place, err = s.anySecret(ctx)
		}
	}
	if err == nil {
		_, err = s.sealer.open(place, sealed)
	}
	return err
}

// anySecret is the check where there is one, else some secret that was sealed before.
func (s *sqlStore) anySecret(ctx context.Context) (sealed, place string, err error) {
	for _, c := range []struct{ place, query string }{
		{"secret ", `SELECT name, value FROM secrets WHERE name = '` + checkName + `'`},
		{"secret ", `SELECT name, value FROM secrets ORDER BY name LIMIT 1`},
		{"service ", `SELECT id, secret FROM services ORDER BY id LIMIT 1`},
	} {
		var name string
		err = s.write.QueryRowContext(ctx, c.query).Scan(&name, &sealed)
		if !errors.Is(err, sql.ErrNoRows) {
			return sealed, c.place + name, err
		}
	}
	return "", "", err
}
