package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/edge/store"
	"portico/shared/jsonvalue"
	"portico/shared/token"
)

// nodes is how many edges are at the same store in these tests: each has it opened for itself, as processes do.
const nodes = 4

// openTogether opens a new store for all nodes at the same instant.
func (s suite) openTogether(t *testing.T, limits store.Limits) []store.Store {
	t.Helper()
	place := t.TempDir()
	opened := make([]store.Store, nodes)
	together(nodes, func(i int) {
		var err error
		if opened[i], err = s.opener(t.Context(), place, limits); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		for _, db := range opened {
			if db == nil {
				continue
			}
			if err := db.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return opened
}

func together(n int, do func(i int)) {
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { do(i) })
	}
	group.Wait()
}

// A new store that several open at once is made once, and its first services are too.
func testTogether(t *testing.T, s suite) {
	opened := s.openTogether(t, store.Limits{})
	supers := make([]store.Service, nodes)
	var created atomic.Int32
	together(nodes, func(i int) {
		super, _, made, err := store.Bootstrap(t.Context(), opened[i])
		if err != nil {
			t.Error(err)
		}
		if made {
			created.Add(1)
		}
		supers[i] = super
	})
	for _, super := range supers {
		if super != supers[0] {
			t.Errorf("two super services: %s and %s", super.ID, supers[0].ID)
		}
	}
	if created.Load() == 0 {
		t.Error("nobody made the services")
	}

	room := newRoom("s1", "r")
	must(t, opened[0].CreateRoom(t.Context(), room))
	const each = 8
	together(nodes*each, func(i int) {
		_, err := opened[i%nodes].UpdateRoom(t.Context(), "s1", room.ID, func(doc jsonvalue.Value) (jsonvalue.Value, error) {
			n, _ := doc.Get("inputLimit").Int()
			return doc.With("inputLimit", jsonvalue.OfInt(n+1)), nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	got, err := opened[1].Room(t.Context(), room.ID)
	must(t, err)
	if n, _ := got.Document.Get("inputLimit").Int(); n != nodes*each-1 || got.Revision != nodes*each { // it began at -1
		t.Errorf("inputLimit %d, revision %d after %d additions", n, got.Revision, nodes*each)
	}
}

// However many add at once, limits are met exactly.
func testLimitsTogether(t *testing.T, s suite) {
	opened := s.openTogether(t, store.Limits{Services: 3, Rooms: 5, Tokens: 7})
	for what, c := range map[string]struct {
		limit int32
		add   func(store.Store) error
	}{
		"services": {3, func(db store.Store) error {
			id := store.NewID()
			return db.CreateService(t.Context(), store.Service{ID: id, Name: id})
		}},
		"rooms":  {5, func(db store.Store) error { return db.CreateRoom(t.Context(), newRoom("s1", "r")) }},
		"tokens": {7, func(db store.Store) error { return db.PutToken(t.Context(), record(0)) }},
	} {
		var added atomic.Int32
		together(nodes*4, func(i int) {
			switch err := c.add(opened[i%nodes]); {
			case err == nil:
				added.Add(1)
			case !errors.Is(err, store.ErrLimit):
				t.Errorf("%s: %v", what, err)
			}
		})
		if added.Load() != c.limit {
			t.Errorf("%d %s were added, %d may", added.Load(), what, c.limit)
		}
	}
}

// Tokens are put, used and swept by several at once: each is used once, and nobody waits for anybody in a circle.
func testTokensTogether(t *testing.T, s suite) {
	opened := s.openTogether(t, store.Limits{})
	const each = 20
	began := time.Now()
	for round := range 3 {
		ids := make([]string, each)
		for i := range ids {
			fresh, old := record(0), record(3*store.TokenLife)
			fresh.Service, old.Service = string(rune('a'+i%3)), string(rune('a'+i%2))
			must(t, opened[0].PutToken(t.Context(), fresh))
			must(t, opened[1].PutToken(t.Context(), old))
			ids[i] = fresh.ID
		}
		var used atomic.Int32
		together(nodes, func(node int) {
			for i := range ids {
				switch _, err := opened[node].ConsumeToken(t.Context(), ids[(i*(node+1)+round)%each]); {
				case err == nil:
					used.Add(1)
				case !errors.Is(err, store.ErrNotFound):
					t.Error(err)
				}
				if err := opened[node].PutToken(t.Context(), record(3*store.TokenLife)); err != nil {
					t.Error(err)
				}
			}
		})
		if used.Load() > each {
			t.Fatalf("%d uses of %d tokens", used.Load(), each)
		}
		for _, id := range ids { // those that no node came by
			if _, err := opened[0].ConsumeToken(t.Context(), id); err == nil {
				used.Add(1)
			}
		}
		if used.Load() != each {
			t.Fatalf("%d uses of %d tokens", used.Load(), each)
		}
	}
	t.Logf("%d tokens put and used by %d nodes in %v", 3*each*(nodes+2), nodes, time.Since(began).Round(time.Millisecond))
}

func testRevisions(t *testing.T, s suite) {
	ctx, db := t.Context(), s.fresh(t)
	room := newRoom("s1", "r")
	must(t, db.CreateRoom(ctx, room))
	for want := range int64(3) {
		list, err := db.Rooms(ctx, "s1", 1, 1)
		must(t, err)
		if got, err := db.Room(ctx, room.ID); err != nil || got.Revision != want || list[0].Revision != want {
			t.Errorf("revision %d, in the list %d, %v, want %d", got.Revision, list[0].Revision, err, want)
		}
		updated, err := db.UpdateRoom(ctx, "s1", room.ID, func(doc jsonvalue.Value) (jsonvalue.Value, error) { return doc, nil })
		if err != nil || updated.Revision != want+1 {
			t.Errorf("updated to revision %d %v, want %d", updated.Revision, err, want+1)
		}
	}
}

// Many old records are removed in portions: none of them counts, and they do get fewer.
func testRecordsAreBounded(t *testing.T, s suite) {
	ctx, db := t.Context(), s.open(t, t.TempDir(), store.Limits{Tokens: 3})
	for range 5 {
		must(t, db.PutToken(ctx, record(3*store.TokenLife)))
	}
	for range 3 {
		must(t, db.PutToken(ctx, record(0)))
	}
	mustBe(t, db.PutToken(ctx, record(0)), store.ErrLimit)
}

func testClusterKeys(t *testing.T, s suite) {
	opened := s.openTogether(t, store.Limits{})
	read := func(i int) token.Keys {
		keys, err := store.ClusterKeys(t.Context(), opened[i], "token")
		if err != nil {
			t.Error(err)
		}
		return keys
	}
	all := make([]token.Keys, nodes)
	together(nodes, func(i int) { all[i] = read(i) })
	first := all[0]
	for _, keys := range all {
		if string(keys.Current) != string(first.Current) || string(keys.Next) != string(first.Next) || len(keys.Current) != 128 || keys.Previous != nil {
			t.Fatal("nodes have different keys")
		}
	}
	if plain, err := opened[0].Key(t.Context(), "token", func() []byte { return nil }); err != nil || string(plain) != string(first.Current) {
		t.Errorf("the first key is not the one from before keys were rotated: %v", err)
	}
	must(t, store.RotateKeys(t.Context(), opened[1], "token"))
	second := read(2)
	if string(second.Current) != string(first.Next) || string(second.Previous) != string(first.Current) || string(second.Next) == string(first.Next) {
		t.Error("after a rotation: not the next ones")
	}
	signed := second.Mint(token.Token{TokenID: "1", Host: "h:1"})
	if !first.Verify(signed) || !second.Verify(first.Mint(signed)) {
		t.Error("a node that has not heard of the rotation and one that has do not accept each other's tokens")
	}
	must(t, store.RotateKeys(t.Context(), opened[3], "token"))
	if third := read(0); third.Verify(first.Mint(signed)) {
		t.Error("a key is accepted two rotations later")
	}
}
