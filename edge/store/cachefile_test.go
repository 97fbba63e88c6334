package store_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/edge/store"
	"portico/edge/store/pgtest"
)

// lines hands over each line of a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
	came chan string
}

func newLines() *lines { return &lines{came: make(chan string, 100)} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.text.Write(p)
	l.mu.Unlock()
	l.came <- string(p)
	return len(p), nil
}

func (l *lines) wait(t *testing.T, what string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case line := <-l.came:
			if strings.Contains(line, what) {
				return
			}
		case <-deadline:
			t.Fatalf("no line %q in the log:\n%s", what, l.text.String())
		}
	}
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// An edge goes on while PostgreSQL is killed, and is started again meanwhile.
func TestCachedPostgres(t *testing.T) {
	ctx, server, log := t.Context(), pgtest.Start(t), newLines()
	options := store.Options{KeyFile: keyFile(t, "5a")}
	caching := store.CacheOptions{File: filepath.Join(t.TempDir(), "store.cache"), Log: slog.New(slog.NewTextHandler(log, nil))}
	openCached := func() store.Store {
		t.Helper()
		db, err := store.OpenCached(context.Background(), server.URL(), options, caching)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	db := openCached()
	super, _, _, err := store.Bootstrap(ctx, db)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := store.ClusterKeys(ctx, db, "token")
	if err != nil {
		t.Fatal(err)
	}
	id, unread := store.NewID(), store.NewID()
	for _, id := range []string{id, unread} {
		if err := openPostgres(t, server.URL(), options).CreateRoom(ctx, store.Room{ID: id, Service: super.ID, Document: named("kept")}); err != nil {
			t.Fatal(err)
		}
	}
	goesOn := func(what string, db store.Store) {
		t.Helper()
		began := time.Now()
		again, _, created, err := store.Bootstrap(ctx, db)
		if err != nil || created || again.ID != super.ID || again.Key != super.Key {
			t.Errorf("%s: super service %s %v", what, again.ID, err)
		}
		if got, err := store.ClusterKeys(ctx, db, "token"); err != nil || string(got.Current) != string(keys.Current) || string(got.Next) != string(keys.Next) {
			t.Errorf("%s: keys: %v", what, err)
		}
		if room, err := db.Room(ctx, id); err != nil || room.Document.Get("name").Text() != "kept" || room.Service != super.ID {
			t.Errorf("%s: room %v %v", what, room, err)
		}
		t.Logf("%s: services, keys and a room in %v", what, time.Since(began).Round(time.Microsecond))
	}
	goesOn("at first", db)
	server.Kill()
	_ = db.PutToken(ctx, store.TokenRecord{ID: store.RandomID()}) // somebody finds out
	log.wait(t, "store is away")
	goesOn("killed", db)
	if _, err := db.Room(ctx, unread); !errors.Is(err, store.ErrAway) {
		t.Errorf("a room that was not read before: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	db = openCached()
	goesOn("started while it is away", db)
	if !db.(*store.Cache).State().Away {
		t.Error("not away")
	}
	server.Restart()
	log.wait(t, "store answers again")
	goesOn("back", db)
	if room, err := db.Room(ctx, unread); err != nil || room.ID != unread {
		t.Errorf("a room that was not read before: %v", err)
	}
	if err := db.PutToken(ctx, store.TokenRecord{ID: store.RandomID(), Created: time.Now()}); err != nil {
		t.Error(err)
	}
	if n := log.count("store is away"); n != 2 {
		t.Errorf("%d lines say that it is away, want one for each edge:\n%s", n, log.text.String())
	}
	db.Close()
	checkFile(t, server, options, caching, super.Key, string(keys.Current))
}

// checkFile looks at the file of a cache, and at what an edge does with one that is not its own.
func checkFile(t *testing.T, server *pgtest.Server, o store.Options, c store.CacheOptions, secrets ...string) {
	content, err := os.ReadFile(c.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets {
		if strings.Contains(string(content), secret) {
			t.Error("the cache's file holds a secret in clear")
		}
	}
	if info, err := os.Stat(c.File); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the cache's file: %v %v", info.Mode(), err)
	}
	server.Kill()
	for what, change := range map[string]func(){
		"no file":         func() { os.Remove(c.File) },
		"a damaged file":  func() { os.WriteFile(c.File, content[:len(content)-10], 0o600) },
		"another's key":   func() { os.WriteFile(c.File, content, 0o600); o.KeyFile = keyFile(t, "5b") },
		"not even sealed": func() { os.WriteFile(c.File, []byte("{}"), 0o600) },
	} {
		change()
		db, err := store.OpenCached(t.Context(), server.URL(), o, c)
		if err == nil {
			db.Close()
		}
		if !errors.Is(err, store.ErrAway) || !strings.Contains(err.Error(), "start it, or correct store.url") {
			t.Errorf("away and %s: %v", what, err)
		}
	}
}

func TestOpenCachedSQLite(t *testing.T) {
	dir := t.TempDir()
	for _, at := range []string{"sqlite:" + dir, dir} {
		db, err := store.OpenCached(t.Context(), at, store.Options{KeyFile: filepath.Join(dir, "own.key")}, store.CacheOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, cached := db.(*store.Cache); cached {
			t.Error("a cache before a file on this machine")
		}
		db.Close()
	}
	if _, err := os.Stat(filepath.Join(dir, "own.key")); err != nil {
		t.Error(err)
	}
}
