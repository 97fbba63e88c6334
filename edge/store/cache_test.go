package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"portico/edge/store"
	"portico/edge/store/storetest"
	"portico/shared/jsonvalue"
)

// The suite on a cache that asks each time: edges see each other's changes at once there.
func TestCache(t *testing.T) {
	storetest.Run(t, func(ctx context.Context, place string, limits store.Limits) (store.Store, error) {
		db, err := store.OpenSQLite(ctx, place, limits)
		if err != nil {
			return nil, err
		}
		return store.NewCache(db, store.CacheOptions{Fresh: 1}), nil
	})
}

// moody is a store that can be late, silent or away.
type moody struct {
	store.Store
	mu    sync.Mutex
	late  time.Duration // before each answer
	away  bool
	calls int
	// reading, when set, is closed by the next read of a room once it has its answer, which it gives when goOn is closed.
	reading, goOn chan struct{}
}

var errAway = fmt.Errorf("moody: %w", store.ErrAway)

func (m *moody) mood(late time.Duration, away bool) {
	m.mu.Lock()
	m.late, m.away = late, away
	m.mu.Unlock()
}

// asked is how many calls came since it was last asked.
func (m *moody) asked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.calls
	m.calls = 0
	return n
}

func (m *moody) enter(ctx context.Context) error {
	m.mu.Lock()
	m.calls++
	late, away := m.late, m.away
	m.mu.Unlock()
	if late > 0 {
		select {
		case <-time.After(late):
		case <-ctx.Done():
			return errAway
		}
	}
	if away {
		return errAway
	}
	return nil
}

func (m *moody) Room(ctx context.Context, id string) (store.Room, error) {
	if err := m.enter(ctx); err != nil {
		return store.Room{}, err
	}
	r, err := m.Store.Room(ctx, id)
	m.mu.Lock()
	reading, goOn := m.reading, m.goOn
	m.reading, m.goOn = nil, nil
	m.mu.Unlock()
	if reading != nil {
		close(reading)
		<-goOn
	}
	return r, err
}

func (m *moody) Setting(ctx context.Context, name string) (string, error) {
	if err := m.enter(ctx); err != nil {
		return "", err
	}
	return m.Store.Setting(ctx, name)
}

func (m *moody) PutToken(ctx context.Context, t store.TokenRecord) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	return m.Store.PutToken(ctx, t)
}

func (m *moody) UpdateRoom(ctx context.Context, service, id string, change func(jsonvalue.Value) (jsonvalue.Value, error)) (store.Room, error) {
	if err := m.enter(ctx); err != nil {
		return store.Room{}, err
	}
	return m.Store.UpdateRoom(ctx, service, id, change)
}

// A rig is a cache before a moody store with rooms in it, on a clock of its own.
type rig struct {
	*testing.T
	inner *moody
	cache *store.Cache
	ids   []string
	logs  *bytes.Buffer // of lines without their time
}

func inRig(t *testing.T, o store.CacheOptions, test func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, inner: &moody{Store: open(t, t.TempDir())}, logs: &bytes.Buffer{}}
		for range 4 {
			id := store.NewID()
			r.ids = append(r.ids, id)
			if err := r.inner.CreateRoom(t.Context(), store.Room{ID: id, Service: "s", Document: named("first")}); err != nil {
				t.Fatal(err)
			}
		}
		o.Log = slog.New(slog.NewTextHandler(r.logs, nil))
		r.cache = store.NewCache(r.inner, o)
		test(r)
		if err := r.cache.Close(); err != nil {
			t.Error(err)
		}
	})
}

func named(name string) jsonvalue.Value {
	return jsonvalue.OfObject(jsonvalue.M("name", jsonvalue.Of(name)))
}

func rename(name string) func(jsonvalue.Value) (jsonvalue.Value, error) {
	return func(jsonvalue.Value) (jsonvalue.Value, error) { return named(name), nil }
}

// sees checks what a room is called, how many calls of the store that took, and how long.
func (r *rig) sees(what, id, name string, calls int, took time.Duration) {
	r.Helper()
	r.inner.asked()
	began := time.Now()
	room, err := r.cache.Room(r.Context(), id)
	if after := time.Since(began); after != took {
		r.Errorf("%s: took %v, want %v", what, after, took)
	}
	if name == "" {
		if err == nil || room.ID != "" {
			r.Errorf("%s: room %q", what, room.Document)
		}
	} else if got := room.Document.Get("name").Text(); err != nil || got != name {
		r.Errorf("%s: room %q %v, want %q", what, got, err, name)
	}
	if n := r.inner.asked(); n != calls {
		r.Errorf("%s: %d calls of the store, want %d", what, n, calls)
	}
}

func (r *rig) logged(what string, levels ...string) {
	r.Helper()
	var got []string
	for line := range strings.Lines(r.logs.String()) {
		_, rest, _ := strings.Cut(line, "level=")
		level, _, _ := strings.Cut(rest, " ")
		got = append(got, level)
	}
	if fmt.Sprint(got) != fmt.Sprint(levels) {
		r.Errorf("%s: logged %s", what, r.logs)
	}
	r.logs.Reset()
}

func TestCacheIsFresh(t *testing.T) {
	inRig(t, store.CacheOptions{}, func(r *rig) {
		id := r.ids[0]
		r.sees("first read", id, "first", 1, 0)
		if _, err := r.inner.Store.UpdateRoom(r.Context(), "s", id, rename("elsewhere")); err != nil {
			r.Fatal(err)
		}
		r.sees("at once", id, "first", 0, 0)
		time.Sleep(time.Second - 1)
		r.sees("just within the bound", id, "first", 0, 0)
		time.Sleep(1)
		r.sees("after the bound", id, "elsewhere", 1, 0)
		if _, err := r.cache.UpdateRoom(r.Context(), "s", id, rename("here")); err != nil {
			r.Fatal(err)
		}
		r.sees("a change through the cache", id, "here", 0, 0)
		if err := r.cache.DeleteRoom(r.Context(), "s", id); err != nil {
			r.Fatal(err)
		}
		if _, err := r.cache.Room(r.Context(), id); !errors.Is(err, store.ErrNotFound) {
			r.Errorf("a deleted room: %v", err)
		}
		if state := r.cache.State(); state != (store.State{}) {
			r.Errorf("state %+v", state)
		}
		r.logged("a store that answers")
	})
}

// A read that a change overtook must not bring back what was so before.
func TestCacheReadOvertaken(t *testing.T) {
	inRig(t, store.CacheOptions{}, func(r *rig) {
		id, reading, goOn := r.ids[0], make(chan struct{}), make(chan struct{})
		r.inner.reading, r.inner.goOn = reading, goOn
		var group sync.WaitGroup
		group.Go(func() {
			if room, err := r.cache.Room(r.Context(), id); err != nil || room.Document.Get("name").Text() != "first" {
				r.Errorf("the overtaken read: %v %v", room.Document, err)
			}
		})
		<-reading
		if _, err := r.cache.UpdateRoom(r.Context(), "s", id, rename("second")); err != nil {
			r.Fatal(err)
		}
		r.sees("before the overtaken read ends", id, "second", 0, 0)
		close(goOn)
		group.Wait()
		r.sees("after it", id, "second", 0, 0)
	})
}

func TestCacheReadsOnce(t *testing.T) {
	inRig(t, store.CacheOptions{}, func(r *rig) {
		r.inner.mood(100*time.Millisecond, false)
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				if _, err := r.cache.Room(r.Context(), r.ids[0]); err != nil {
					r.Error(err)
				}
			})
		}
		group.Wait()
		if n := r.inner.asked(); n != 1 {
			r.Errorf("50 readers at once made %d calls", n)
		}
	})
}

// A store that refuses: what is known is served, what is not fails, and neither costs time or calls.
func TestCacheAway(t *testing.T) {
	inRig(t, store.CacheOptions{}, func(r *rig) {
		known, unknown := r.ids[0], r.ids[1]
		r.sees("known", known, "first", 1, 0)
		time.Sleep(2 * time.Second)
		r.inner.mood(0, true)
		lost := time.Now()
		r.sees("the first that finds it away", known, "first", 1, 0)
		r.sees("the second", known, "first", 0, 0)
		r.sees("a room that is not known", unknown, "", 0, 0)
		for what, call := range map[string]func() error{
			"update": func() error { _, err := r.cache.UpdateRoom(r.Context(), "s", known, rename("x")); return err },
			"put":    func() error { return r.cache.PutToken(r.Context(), store.TokenRecord{ID: store.RandomID()}) },
			"use":    func() error { _, err := r.cache.ConsumeToken(r.Context(), store.RandomID()); return err },
			"list":   func() error { _, err := r.cache.Rooms(r.Context(), "s", 1, 0); return err },
		} {
			if err := call(); !errors.Is(err, store.ErrAway) {
				r.Errorf("%s: %v", what, err)
			}
		}
		if n := r.inner.asked(); n != 0 {
			r.Errorf("an away store was called %d times", n)
		}
		if state := r.cache.State(); !state.Away || !state.Since.Equal(lost) || state.Served != 2 {
			r.Errorf("state %+v", state)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := r.inner.asked(); n != 120 {
			r.Errorf("%d looks within a minute, want 120", n)
		}
		r.sees("a minute later", known, "first", 0, 0)
		if _, err := r.inner.Store.UpdateRoom(r.Context(), "s", known, rename("meanwhile")); err != nil {
			r.Fatal(err)
		}
		r.logged("away", "WARN")
		r.inner.mood(0, false)
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		r.sees("back", known, "meanwhile", 1, 0)
		r.sees("back, not known before", unknown, "first", 1, 0)
		r.logged("back", "INFO")
		if state := r.cache.State(); state.Away || !state.Since.IsZero() || state.Served != 3 {
			r.Errorf("state %+v", state)
		}
		time.Sleep(time.Minute)
		if n := r.inner.asked(); n != 0 {
			r.Errorf("%d looks at a store that answers", n)
		}
	})
}

// A store that says nothing: one call pays for finding out.
func TestCacheSilent(t *testing.T) {
	inRig(t, store.CacheOptions{}, func(r *rig) {
		r.sees("known", r.ids[0], "first", 1, 0)
		time.Sleep(2 * time.Second)
		r.inner.mood(time.Hour, false)
		r.sees("the first waits a little", r.ids[0], "first", 1, 300*time.Millisecond)
		r.sees("the second does not", r.ids[0], "first", 0, 0)
		r.sees("who wants what is not known waits for the limit", r.ids[1], "", 2, store.CallLimit) // and one looks whether it is back
		r.sees("the next not even that", r.ids[2], "", 0, 0)
		r.logged("silent", "WARN")
	})
}

// A store that answers late: it is used in the background, and waited for only where nothing is known.
func TestCacheLate(t *testing.T) {
	inRig(t, store.CacheOptions{Probe: time.Hour}, func(r *rig) {
		id := r.ids[0]
		r.sees("known", id, "first", 1, 0)
		if _, err := r.inner.Store.UpdateRoom(r.Context(), "s", id, rename("second")); err != nil {
			r.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		r.inner.mood(700*time.Millisecond, false)
		r.sees("the first", id, "first", 1, 300*time.Millisecond)
		r.sees("the second", id, "first", 0, 0)
		time.Sleep(400 * time.Millisecond)
		synctest.Wait()
		r.sees("once the answer has come", id, "second", 0, 0)
		r.sees("not known", r.ids[1], "first", 1, 700*time.Millisecond)
		if _, err := r.cache.UpdateRoom(r.Context(), "s", id, rename("third")); err != nil {
			r.Error(err)
		}
		r.logged("late, then a change that went through", "WARN", "INFO")
		r.sees("after a change", id, "third", 0, 0)
	})
}

func TestCacheIsBounded(t *testing.T) {
	inRig(t, store.CacheOptions{Rooms: 2}, func(r *rig) {
		for _, id := range r.ids[:3] {
			r.sees("filling", id, "first", 1, 0)
		}
		r.sees("kept", r.ids[2], "first", 0, 0)
		r.sees("kept", r.ids[1], "first", 0, 0)
		r.sees("fallen out", r.ids[0], "first", 1, 0)
	})
	inRig(t, store.CacheOptions{Bytes: 700}, func(r *rig) {
		for _, id := range r.ids {
			r.sees("filling", id, "first", 1, 0)
		}
		r.sees("kept", r.ids[3], "first", 0, 0)
		r.sees("fallen out", r.ids[0], "first", 1, 0)
	})
}

// A caller that gives up does not count against the store, and does not end the read for others.
func TestCacheCallerGivesUp(t *testing.T) {
	inRig(t, store.CacheOptions{}, func(r *rig) {
		r.inner.mood(200*time.Millisecond, false)
		ctx, cancel := context.WithTimeout(r.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := r.cache.Room(ctx, r.ids[0]); !errors.Is(err, context.DeadlineExceeded) {
			r.Errorf("error %v", err)
		}
		if err := r.cache.PutToken(ctx, store.TokenRecord{ID: store.RandomID()}); err == nil {
			r.Error("put for nobody")
		}
		r.sees("who comes later", r.ids[0], "first", 0, 100*time.Millisecond)
		if r.cache.State().Away {
			r.Error("away because a caller gave up")
		}
	})
}
