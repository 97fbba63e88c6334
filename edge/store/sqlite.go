package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite" // also the driver "sqlite"
)

const (
	// DatabaseFile is the name of the database within the data folder.
	DatabaseFile = "portico.db"
	keyName      = "store.key"
	readers      = 4 // connections that only read
)

// OpenSQLite opens the store in a directory, making what is missing: the directory (mode 0700), the database and the key file
// that seals its secrets (both 0600). Several processes on one machine may have it open at the same time.
func OpenSQLite(ctx context.Context, dir string, limits Limits) (Store, error) {
	return openSQLiteDir(ctx, dir, Options{Limits: limits})
}

func openSQLiteDir(ctx context.Context, dir string, o Options) (Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	path, err := filepath.Abs(filepath.Join(dir, DatabaseFile))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("store: %w", err)
	}
	keyPath := o.KeyFile
	if keyPath == "" {
		keyPath = filepath.Join(dir, keyName)
	}
	key, err := keyFile(keyPath, err != nil || info.Size() == 0)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := touch(path); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	write, err := openSQLite(path, "immediate", 1)
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", path, err)
	}
	read, err := openSQLite(path, "deferred", readers)
	if err != nil {
		write.Close()
		return nil, fmt.Errorf("store: %s: %w", path, err)
	}
	s, err := newStore(read, write, key, o.Limits, dialect{})
	if err == nil {
		err = prepareAlone(ctx, s)
	}
	if err != nil {
		read.Close()
		write.Close()
		return nil, fmt.Errorf("store: %s: %w", path, err)
	}
	return s, nil
}

// How long others that make the same database are waited for, and how often it is tried again: SQLite does not wait by itself while
// another process turns a new database into one with a log.
const (
	aloneTime  = 10 * time.Second
	aloneRetry = 20 * time.Millisecond
)

// prepareAlone prepares a store that other processes may be preparing at the same time.
func prepareAlone(ctx context.Context, s *sqlStore) error {
	ctx, cancel := context.WithTimeout(ctx, aloneTime)
	defer cancel()
	for {
		err := s.prepare(ctx)
		var busy *sqlite.Error
		if !errors.As(err, &busy) || busy.Code()&0xff != sqliteBusy {
			return err
		}
		select {
		case <-time.After(aloneRetry):
		case <-ctx.Done():
			return err
		}
	}
}

const sqliteBusy = 5 // SQLITE_BUSY

// touch makes the file with the mode that SQLite then gives to its companions ("-wal", "-shm") as well.
func touch(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// openSQLite makes a pool of connections. Transactions that begin as "immediate" hold the write lock from their start, so
// that none fails half-way for want of it. Commits are on disk when they return: a room that was answered for survives a
// power cut.
func openSQLite(path, transactions string, connections int) (*sql.DB, error) {
	options := url.Values{
		"_txlock": {transactions},
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)"},
	}
	name := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: options.Encode()}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}
