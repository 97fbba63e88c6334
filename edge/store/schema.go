package store

import (
	"context"
	"database/sql"
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
}

// migrate brings the database to the newest tables, one transaction for each step.
func migrate(ctx context.Context, db *sql.DB) error {
	if _, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY)`); err != nil {
		return err
	}
	for done := false; !done; {
		err := inTransaction(ctx, db, func(tx *sql.Tx) error {
			var version int
			if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) FROM migrations`).Scan(&version); err != nil {
				return err
			}
			if version > len(migrations) {
				return fmt.Errorf("the database has version %d and this program knows only %d: it was used by a newer program", version, len(migrations))
			}
			if version == len(migrations) {
				done = true
				return nil
			}
			for _, statement := range migrations[version] {
				if _, err := tx.ExecContext(ctx, statement); err != nil {
					return fmt.Errorf("migration %d: %w", version+1, err)
				}
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO migrations (version) VALUES ($1)`, version+1)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// inTransaction runs fn and commits, or rolls back when it fails.
func inTransaction(ctx context.Context, db *sql.DB, fn func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		tx.Rollback()
		return err
	}
	return tx.Commit()
}
