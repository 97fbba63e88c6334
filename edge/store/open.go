package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Options are what Open needs beside the place of the store.
type Options struct {
	// KeyFile holds the key that seals secrets: 64 hexadecimal digits, the same for all edges of a cluster. PostgreSQL needs it;
	// for SQLite it is by default store.key beside the database, and made at the first start.
	KeyFile string
	Limits  Limits
}

const sqliteScheme = "sqlite:"

// IsPostgres tells whether the place is a PostgreSQL database, and not a folder.
func IsPostgres(at string) bool {
	return strings.HasPrefix(at, "postgres://") || strings.HasPrefix(at, "postgresql://")
}

// Open opens the store at a place: "postgres://USER:PASSWORD@HOST:PORT/DATABASE?…" (or "postgresql://…", with the parameters of
// libpq), a folder with an SQLite database in it, or "sqlite:" and a folder. Its error is one line that says what to do, and
// shows no password; it is ErrAway when a PostgreSQL server does not answer. Once opened, a store whose server goes away fails each
// call within CallLimit with ErrAway, and works again when the server does.
func Open(ctx context.Context, at string, o Options) (Store, error) {
	if IsPostgres(at) {
		s, err := newPostgres(at, o)
		if err != nil {
			return nil, err
		}
		if err := s.begin(ctx); err != nil {
			_ = s.Close()
			return nil, err
		}
		return s, nil
	}
	dir, err := sqliteDir(at)
	if err != nil {
		return nil, err
	}
	return openSQLiteDir(ctx, dir, o)
}

// OpenCached is Open with a Cache before a PostgreSQL database, which keeps a sealed copy of what was read in the file c.File: with
// it an edge starts even while the server is away. SQLite is on this machine and needs no cache.
func OpenCached(ctx context.Context, at string, o Options, c CacheOptions) (Store, error) {
	if !IsPostgres(at) {
		return Open(ctx, at, o)
	}
	s, err := newPostgres(at, o)
	if err != nil {
		return nil, err
	}
	c.sealer, c.place = s.sealer, "cache of "+s.server
	err = s.begin(ctx)
	if err != nil && !errors.Is(err, ErrAway) {
		_ = s.Close()
		return nil, err
	}
	cache := NewCache(s, c)
	if err != nil && !cache.knows() {
		_ = cache.Close()
		return nil, err
	}
	if err != nil {
		cache.observe(0, err)
	}
	return cache, nil
}

func sqliteDir(at string) (string, error) {
	dir := strings.TrimPrefix(at, sqliteScheme)
	if dir == "" {
		return "", errors.New("store: no folder is named for the database")
	}
	if scheme, _, ok := strings.Cut(dir, "://"); ok {
		return "", fmt.Errorf("store: databases of the kind %q are not known: set store.url to sqlite: or postgres://…", scheme)
	}
	return filepath.Clean(dir), nil
}
