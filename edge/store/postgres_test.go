package store_test

import (
	"context"
	"encoding/hex"
	"errors"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/edge/store"
	"portico/edge/store/pgtest"
	"portico/edge/store/storetest"
	"portico/shared/jsonvalue"
)

// keyFile makes a key file as an operator does.
func keyFile(t testing.TB, fill string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cluster.key")
	if err := os.WriteFile(path, []byte(strings.Repeat(fill, 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func openPostgres(t testing.TB, at string, o store.Options) store.Store {
	t.Helper()
	db, err := store.Open(context.Background(), at, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// schemaOf names a schema for each folder of the suite.
func schemaOf(place string) string {
	hash := fnv.New64a()
	hash.Write([]byte(place))
	return "s" + hex.EncodeToString(hash.Sum(nil))
}

func TestPostgres(t *testing.T) {
	server, key := pgtest.Start(t), keyFile(t, "5a")
	storetest.Run(t, func(ctx context.Context, place string, limits store.Limits) (store.Store, error) {
		return store.Open(ctx, server.Schema(schemaOf(place)), store.Options{KeyFile: key, Limits: limits})
	})
}

func TestPostgresIsSealed(t *testing.T) {
	ctx, server := t.Context(), pgtest.Start(t)
	db := openPostgres(t, server.URL(), store.Options{KeyFile: keyFile(t, "5a")})
	secrets := []string{"the-service-key", "the-cluster-key", "the-sip-password"}
	service := store.Service{ID: store.NewID(), Name: "a visible name", Key: secrets[0], Created: time.Now()}
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
	dump := server.Dump()
	if !strings.Contains(dump, "a visible name") {
		t.Fatal("the dump does not hold the database")
	}
	for _, secret := range secrets {
		if strings.Contains(dump, secret) {
			t.Errorf("the database holds %q in clear", secret)
		}
	}
	for fill, want := range map[string]string{"5a": "", "5b": "another key"} {
		again, err := store.Open(ctx, server.URL(), store.Options{KeyFile: keyFile(t, fill)})
		if err == nil {
			again.Close()
		}
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "store.key_file")) {
			t.Errorf("with key %s…: %v", fill, err)
		}
	}
}

func TestPostgresFaultsAtStart(t *testing.T) {
	server, key := pgtest.Start(t), keyFile(t, "5a")
	wrongPassword, _, _ := strings.Cut(server.URL(), "@")
	_, address, _ := strings.Cut(server.URL(), "@")
	wrongPassword = wrongPassword[:strings.LastIndex(wrongPassword, ":")] + ":hunter2@" + address
	short := filepath.Join(t.TempDir(), "short.key")
	os.WriteFile(short, []byte("5a5a"), 0o600)
	for name, c := range map[string]struct{ at, key, want string }{
		"no key file set":      {server.URL(), "", "store.key_file is not set"},
		"no such key file":     {server.URL(), filepath.Join(t.TempDir(), "none"), "openssl rand -hex 32"},
		"damaged key file":     {server.URL(), short, "64 hexadecimal digits"},
		"wrong password":       {wrongPassword, key, "password authentication failed"},
		"no such database":     {strings.Replace(server.URL(), "/portico?", "/nowhere?", 1), key, `database "nowhere" does not exist`},
		"nobody listens":       {"postgres://u:hunter2@127.0.0.1:1/d", key, "does not answer: connect: connection refused: start it, or correct store.url"},
		"no such host":         {"postgres://u:hunter2@db.invalid/d", key, "start it, or correct store.url"},
		"address not readable": {"postgres://u:hunter2@h:port/d", key, "is not a PostgreSQL address"},
		"unknown kind":         {"mysql://u:hunter2@h/d", key, `"mysql" are not known`},
	} {
		db, err := store.Open(t.Context(), c.at, store.Options{KeyFile: c.key})
		if err == nil {
			db.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.ContainsAny(err.Error(), "\n\t") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
		if away := name == "nobody listens" || name == "no such host"; errors.Is(err, store.ErrAway) != away {
			t.Errorf("%s: away is %v", name, !away)
		}
	}
}

// A server that is gone, or does not answer, costs each call a bounded time; when it is back the store is too.
func TestPostgresAway(t *testing.T) {
	ctx, server := t.Context(), pgtest.Start(t)
	db := openPostgres(t, server.URL(), store.Options{KeyFile: keyFile(t, "5a")})
	super, _, _, err := store.Bootstrap(ctx, db)
	if err != nil {
		t.Fatal(err)
	}
	fails := func(what string, limit time.Duration) {
		t.Helper()
		var group sync.WaitGroup
		defer group.Wait()
		for name, call := range map[string]func() error{
			"read":    func() error { _, err := db.Service(ctx, super.ID); return err },
			"list":    func() error { _, err := db.Services(ctx); return err },
			"put":     func() error { return db.PutToken(ctx, store.TokenRecord{ID: store.RandomID(), Created: time.Now()}) },
			"consume": func() error { _, err := db.ConsumeToken(ctx, store.RandomID()); return err },
		} {
			group.Go(func() {
				began := time.Now()
				err := call()
				took := time.Since(began)
				if !errors.Is(err, store.ErrAway) || errors.Is(err, context.DeadlineExceeded) || strings.ContainsAny(err.Error(), "\n\t") {
					t.Errorf("%s, %s: %v", what, name, err)
				}
				if took > limit {
					t.Errorf("%s, %s: took %v", what, name, took)
				}
				t.Logf("%s, %s: %v: %v", what, name, took.Round(time.Millisecond), err)
			})
		}
	}
	works := func(what string) {
		t.Helper()
		if got, err := db.Service(ctx, super.ID); err != nil || got != super {
			t.Errorf("%s: %v", what, err)
		}
	}
	server.Kill()
	fails("killed", time.Second)
	server.Restart()
	works("restarted")
	server.Freeze()
	fails("frozen", store.CallLimit+500*time.Millisecond)
	server.Thaw()
	works("thawed")
}

func BenchmarkPostgresTokens(b *testing.B) {
	db := openPostgres(b, pgtest.Start(b).URL(), store.Options{KeyFile: keyFile(b, "5a")})
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			r := store.TokenRecord{ID: store.RandomID(), Service: "s", Created: time.Now()}
			if err := db.PutToken(b.Context(), r); err != nil {
				b.Fatal(err)
			}
			if _, err := db.ConsumeToken(b.Context(), r.ID); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPostgresRoom(b *testing.B) {
	db := openPostgres(b, pgtest.Start(b).URL(), store.Options{KeyFile: keyFile(b, "5a")})
	id := store.NewID()
	if err := db.CreateRoom(b.Context(), store.Room{ID: id, Service: "s", Document: jsonvalue.OfObject()}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := db.Room(b.Context(), id); err != nil {
			b.Fatal(err)
		}
	}
}
