package store_test

import (
	"context"
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/edge/store"
	"portico/edge/store/storetest"
	"portico/shared/jsonvalue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSQLite(t *testing.T) { storetest.Run(t, store.OpenSQLite) }

func open(t testing.TB, dir string) store.Store {
	t.Helper()
	db, err := store.OpenSQLite(context.Background(), dir, store.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestFilesArePrivateAndSealed(t *testing.T) {
	ctx, dir := t.Context(), filepath.Join(t.TempDir(), "a folder? with #odd% name")
	db := open(t, dir)
	secrets := []string{"the-service-key", "the-cluster-key", "the-sip-password"}
	service := store.Service{ID: store.NewID(), Name: "a", Key: secrets[0], Created: time.Now()}
	if err := db.CreateService(ctx, service); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Key(ctx, "x", func() []byte { return []byte(secrets[1]) }); err != nil {
		t.Fatal(err)
	}
	sip := jsonvalue.OfObject(jsonvalue.M("password", jsonvalue.Of(secrets[2])))
	if err := db.CreateRoom(ctx, store.Room{ID: store.NewID(), Service: service.ID, Document: jsonvalue.OfObject(jsonvalue.M("sip", sip))}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 3 { // database, write-ahead log, key
		t.Fatalf("files %v %v", entries, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v %v", info.Mode(), err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != fs.FileMode(0o600) {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range secrets {
			if strings.Contains(string(content), secret) {
				t.Errorf("%s holds %q in clear", e.Name(), secret)
			}
		}
	}
}

func TestKeyFileFaults(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	if _, _, _, err := store.Bootstrap(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	db.Close()
	path := filepath.Join(dir, "store.key")
	fails := func(what, want string) {
		t.Helper()
		db, err := store.OpenSQLite(t.Context(), dir, store.Limits{})
		if err == nil {
			defer db.Close()
			_, _, _, err = store.Bootstrap(t.Context(), db)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := os.Rename(path, path+".kept"); err != nil {
		t.Fatal(err)
	}
	fails("missing", "is missing")
	os.WriteFile(path, []byte("short"), 0o600)
	fails("damaged", "64 hexadecimal digits")
	os.WriteFile(path, []byte(strings.Repeat("00", 32)), 0o600)
	fails("of another store", "cannot be opened")
	if err := os.Rename(path+".kept", path); err != nil {
		t.Fatal(err)
	}
	if _, _, created, err := store.Bootstrap(t.Context(), open(t, dir)); err != nil || created {
		t.Errorf("put back: %v %v", created, err)
	}
}

func TestOpenFaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	if _, err := store.OpenSQLite(t.Context(), file, store.Limits{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file for a folder: %v", err)
	}
	dir := t.TempDir()
	open(t, dir).Close()
	os.WriteFile(filepath.Join(dir, "portico.db"), []byte(strings.Repeat("not a database ", 100)), 0o600)
	if _, err := store.OpenSQLite(t.Context(), dir, store.Limits{}); err == nil || !strings.Contains(err.Error(), "portico.db") {
		t.Errorf("a damaged database: %v", err)
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, dir).Close()
	db, err := sql.Open("sqlite", filepath.Join(dir, "portico.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`INSERT INTO migrations (version) VALUES (99)`)
	db.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.OpenSQLite(t.Context(), dir, store.Limits{}); err == nil || !strings.Contains(err.Error(), "newer program") {
		t.Errorf("error %v", err)
	}
}

func TestIDs(t *testing.T) {
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = store.NewID()
		if !store.IsID(ids[i]) {
			t.Fatalf("%q is no id", ids[i])
		}
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != 1000 {
		t.Error("ids do not ascend")
	}
	for _, text := range []string{"", "zzz", strings.ToUpper(strings.Repeat("a", 24)), strings.Repeat("a", 25), strings.Repeat("g", 24)} {
		if store.IsID(text) {
			t.Errorf("%q is an id", text)
		}
	}
	if store.RandomID() == store.RandomID() || !store.IsID(store.RandomID()) {
		t.Error("random ids")
	}
}

func BenchmarkTokenPutAndConsume(b *testing.B) {
	db := open(b, b.TempDir())
	for b.Loop() {
		r := store.TokenRecord{ID: store.RandomID(), Service: "s", Created: time.Now()}
		if err := db.PutToken(b.Context(), r); err != nil {
			b.Fatal(err)
		}
		if _, err := db.ConsumeToken(b.Context(), r.ID); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkService(b *testing.B) {
	db := open(b, b.TempDir())
	super, _, _, err := store.Bootstrap(b.Context(), db)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := db.Service(b.Context(), super.ID); err != nil {
			b.Fatal(err)
		}
	}
}
