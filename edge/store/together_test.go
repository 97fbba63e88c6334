package store_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"portico/edge/store"
)

// Of edges of one machine that start together with a new database, one makes it and the others wait.
func TestSQLiteIsMadeByAnother(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, store.DatabaseFile)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	other.SetMaxOpenConns(1)
	for _, statement := range []string{"BEGIN EXCLUSIVE", "CREATE TABLE made_by_another (x)"} {
		if _, err := other.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	opened := make(chan error, 1)
	go func() {
		s, err := store.OpenSQLite(t.Context(), dir, store.Limits{})
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Fatalf("it does not wait: %v", err)
	case <-time.After(7 * time.Second): // longer than SQLite waits by itself
	}
	if _, err := other.Exec("COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
}
