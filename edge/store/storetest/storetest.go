// Package storetest is the test suite that every implementation of store.Store passes.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/edge/store"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

// Opener opens the store that lives at a place; the same place opened again is the same store. Places are fresh folders,
// whose names an implementation without files may use as it likes. The suite closes what it opens.
type Opener func(ctx context.Context, place string, limits store.Limits) (store.Store, error)

// Run runs the suite.
func Run(t *testing.T, open Opener) {
	for name, test := range map[string]func(*testing.T, suite){
		"Services": testServices, "Rooms": testRooms, "RoomPages": testRoomPages, "RoomUpdates": testRoomUpdates,
		"Tokens": testTokens, "TokenOnce": testTokenOnce, "Keys": testKeys, "Settings": testSettings, "Limits": testLimits,
		"Revisions": testRevisions, "Together": testTogether, "LimitsTogether": testLimitsTogether, "TokensTogether": testTokensTogether,
		"RecordsAreBounded": testRecordsAreBounded, "ClusterKeys": testClusterKeys,
		"Reopen": testReopen, "Bootstrap": testBootstrap, "Cancelled": testCancelled, "Close": testClose,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, suite{open})
		})
	}
}

type suite struct{ opener Opener }

func (s suite) open(t *testing.T, place string, limits store.Limits) store.Store {
	t.Helper()
	db, err := s.opener(t.Context(), place, limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

func (s suite) fresh(t *testing.T) store.Store { return s.open(t, t.TempDir(), store.Limits{}) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustBe(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// now is a time as a store keeps it.
func now() time.Time { return time.UnixMilli(time.Now().UnixMilli()) }

func testServices(t *testing.T, s suite) {
	ctx, db := t.Context(), s.fresh(t)
	b := store.Service{ID: store.NewID(), Name: "b", Key: "key of b", Created: now()}
	a := store.Service{ID: store.NewID(), Name: "a", Key: "key of a", Created: now()}
	must(t, db.CreateService(ctx, b))
	must(t, db.CreateService(ctx, a))
	got, err := db.Service(ctx, b.ID)
	must(t, err)
	if got.Sealed == "" || got.Sealed == b.Key {
		t.Errorf("stored form %q", got.Sealed)
	}
	got.Sealed = ""
	if got != b {
		t.Errorf("service %+v, want %+v", got, b)
	}
	if got, err = db.ServiceByName(ctx, "a"); err != nil || got.ID != a.ID || got.Key != a.Key {
		t.Errorf("by name: %+v %v", got, err)
	}
	list, err := db.Services(ctx)
	if err != nil || len(list) != 2 || list[0].ID != b.ID || list[1].Key != a.Key {
		t.Errorf("list %+v %v", list, err)
	}
	mustBe(t, db.CreateService(ctx, store.Service{ID: a.ID, Name: "c"}), store.ErrExists)
	mustBe(t, db.CreateService(ctx, store.Service{ID: store.NewID(), Name: "a"}), store.ErrExists)
	must(t, db.DeleteService(ctx, a.ID))
	mustBe(t, db.DeleteService(ctx, a.ID), store.ErrNotFound)
	_, err = db.Service(ctx, a.ID)
	mustBe(t, err, store.ErrNotFound)
	_, err = db.ServiceByName(ctx, "a")
	mustBe(t, err, store.ErrNotFound)
	_, err = db.Service(ctx, "' OR 1=1 --\x00")
	mustBe(t, err, store.ErrNotFound)
}

func newRoom(service, name string) store.Room {
	id := store.NewID()
	doc, err := conference.NewRoomDocument(name, jsonvalue.Value{})
	if err != nil {
		panic(err) // the default room is valid
	}
	return store.Room{ID: id, Service: service, Document: doc.With("_id", jsonvalue.Of(id))}
}

func sameRoom(a, b store.Room) bool {
	return a.ID == b.ID && a.Service == b.Service && jsonvalue.Equal(a.Document, b.Document)
}

func testRooms(t *testing.T, s suite) {
	ctx, db := t.Context(), s.fresh(t)
	room := newRoom("s1", "Zoë's \x00 'room'")
	room.Document = room.Document.With("sip", jsonvalue.OfObject(
		jsonvalue.M("username", jsonvalue.Of("u")), jsonvalue.M("password", jsonvalue.Of("hunter2"))))
	must(t, db.CreateRoom(ctx, room))
	mustBe(t, db.CreateRoom(ctx, room), store.ErrExists)
	got, err := db.Room(ctx, room.ID)
	if err != nil || !sameRoom(got, room) {
		t.Errorf("room %+v %v", got, err)
	}
	_, err = db.Room(ctx, "zzz")
	mustBe(t, err, store.ErrNotFound)
	mustBe(t, db.DeleteRoom(ctx, "s2", room.ID), store.ErrNotFound)
	must(t, db.DeleteRoom(ctx, "s1", room.ID))
	mustBe(t, db.DeleteRoom(ctx, "s1", room.ID), store.ErrNotFound)
	_, err = db.Room(ctx, room.ID)
	mustBe(t, err, store.ErrNotFound)
}

func ids(rooms []store.Room) []string {
	list := make([]string, len(rooms))
	for i, r := range rooms {
		list[i] = r.ID
	}
	return list
}

func testRoomPages(t *testing.T, s suite) {
	ctx, db := t.Context(), s.fresh(t)
	var all []string
	for range 7 {
		room := newRoom("s1", "r")
		must(t, db.CreateRoom(ctx, room))
		must(t, db.CreateRoom(ctx, newRoom("s2", "other")))
		all = append(all, room.ID)
	}
	for _, c := range []struct {
		page, perPage int
		want          []string
	}{
		{0, 0, all}, {2, 0, all}, {1, 3, all[:3]}, {2, 3, all[3:6]}, {3, 3, all[6:]}, {9, 3, nil}, {0, 2, all[:2]}, {-1, 2, all[:2]},
		{1, 100, all}, {1 << 62, 1 << 62, nil}, {2, -3, all},
	} {
		rooms, err := db.Rooms(ctx, "s1", c.page, c.perPage)
		if err != nil || !slices.Equal(ids(rooms), c.want) {
			t.Errorf("page %d of %d: %v %v, want %v", c.page, c.perPage, ids(rooms), err, c.want)
		}
	}
	rooms, err := db.RoomsAfter(ctx, "s1", all[1], 1, 3)
	if err != nil || !slices.Equal(ids(rooms), all[3:6]) {
		t.Errorf("after the second, one skipped: %v %v", ids(rooms), err)
	}
	if list, err := db.RoomIDs(ctx, "s1"); err != nil || !slices.Equal(list, all) {
		t.Errorf("ids %v %v", list, err)
	}
	if list, err := db.RoomIDs(ctx, "s3"); err != nil || len(list) != 0 {
		t.Errorf("ids of nobody %v %v", list, err)
	}
}

func testRoomUpdates(t *testing.T, s suite) {
	ctx, db := t.Context(), s.fresh(t)
	room := newRoom("s1", "r")
	must(t, db.CreateRoom(ctx, room))
	add := func(doc jsonvalue.Value) (jsonvalue.Value, error) {
		n, _ := doc.Get("inputLimit").Int()
		return doc.With("inputLimit", jsonvalue.OfInt(n+1)), nil
	}
	const writers = 16
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			if _, err := db.UpdateRoom(ctx, "s1", room.ID, add); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	got, err := db.Room(ctx, room.ID)
	must(t, err)
	if n, _ := got.Document.Get("inputLimit").Int(); n != writers-1 { // it began at -1
		t.Errorf("inputLimit is %d after %d additions", n, writers)
	}

	refusal := errors.New("no")
	_, err = db.UpdateRoom(ctx, "s1", room.ID, func(jsonvalue.Value) (jsonvalue.Value, error) { return jsonvalue.Value{}, refusal })
	if err != refusal {
		t.Errorf("error %v", err)
	}
	after, err := db.Room(ctx, room.ID)
	if err != nil || !sameRoom(after, got) {
		t.Errorf("a refused change changed the room: %v %v", after, err)
	}
	_, err = db.UpdateRoom(ctx, "s2", room.ID, add)
	mustBe(t, err, store.ErrNotFound)
	_, err = db.UpdateRoom(ctx, "s1", store.NewID(), add)
	mustBe(t, err, store.ErrNotFound)
	updated, err := db.UpdateRoom(ctx, "s1", room.ID, add)
	must(t, err)
	if got, err = db.Room(ctx, room.ID); err != nil || !sameRoom(got, updated) {
		t.Errorf("returned %v, stored %v %v", updated, got, err)
	}
}

func record(age time.Duration) store.TokenRecord {
	return store.TokenRecord{
		ID: store.RandomID(), User: "Zoë", Role: "presenter", Room: store.NewID(), Service: "s1", Created: now().Add(-age),
		Origin: conference.Origin{ISP: "isp", Region: "region"}, Code: "123", Host: "h:1", Secure: true, WebTransportURL: "https://h:7700/",
	}
}

func testTokens(t *testing.T, s suite) {
	ctx, db := t.Context(), s.fresh(t)
	fresh, old, other := record(0), record(store.TokenLife+time.Second), record(store.TokenLife-time.Minute)
	for _, r := range []store.TokenRecord{fresh, old, other} {
		must(t, db.PutToken(ctx, r))
	}
	mustBe(t, db.PutToken(ctx, fresh), store.ErrExists)
	_, err := db.ConsumeToken(ctx, store.RandomID())
	mustBe(t, err, store.ErrNotFound)
	_, err = db.ConsumeToken(ctx, old.ID)
	mustBe(t, err, store.ErrExpired)
	_, err = db.ConsumeToken(ctx, old.ID)
	mustBe(t, err, store.ErrNotFound)

	must(t, db.PutToken(ctx, old))
	got, err := db.ConsumeToken(ctx, fresh.ID)
	if err != nil || !reflect.DeepEqual(got, fresh) {
		t.Errorf("record %+v %v, want %+v", got, err, fresh)
	}
	_, err = db.ConsumeToken(ctx, fresh.ID)
	mustBe(t, err, store.ErrNotFound)
	_, err = db.ConsumeToken(ctx, old.ID) // swept by the consumption before
	mustBe(t, err, store.ErrNotFound)
	if _, err = db.ConsumeToken(ctx, other.ID); err != nil {
		t.Errorf("a token within its time: %v", err)
	}
}

func testTokenOnce(t *testing.T, s suite) {
	ctx, db := t.Context(), s.fresh(t)
	for range 10 {
		r := record(0)
		must(t, db.PutToken(ctx, r))
		var group sync.WaitGroup
		var won atomic.Int32
		for range 8 {
			group.Go(func() {
				switch _, err := db.ConsumeToken(ctx, r.ID); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, store.ErrNotFound):
					t.Error(err)
				}
			})
		}
		group.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d callers consumed one token", won.Load())
		}
	}
}

func testKeys(t *testing.T, s suite) {
	ctx, db := t.Context(), s.fresh(t)
	var group sync.WaitGroup
	keys := make([][]byte, 8)
	for i := range keys {
		group.Go(func() {
			var err error
			if keys[i], err = db.Key(ctx, "token", func() []byte { return fmt.Appendf(nil, "made by %d", i) }); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, key := range keys {
		if !bytes.Equal(key, keys[0]) {
			t.Fatalf("keys %q", keys)
		}
	}
	again, err := db.Key(ctx, "token", func() []byte { t.Error("made anew"); return nil })
	if err != nil || !bytes.Equal(again, keys[0]) {
		t.Errorf("key %q %v", again, err)
	}
	if other, err := db.Key(ctx, "ticket", func() []byte { return []byte{0, 255} }); err != nil || !bytes.Equal(other, []byte{0, 255}) {
		t.Errorf("another key %q %v", other, err)
	}
}

func testSettings(t *testing.T, s suite) {
	ctx, db := t.Context(), s.fresh(t)
	_, err := db.Setting(ctx, "a")
	mustBe(t, err, store.ErrNotFound)
	for _, value := range []string{"1", "", "2"} {
		must(t, db.SetSetting(ctx, "a", value))
		if got, err := db.Setting(ctx, "a"); err != nil || got != value {
			t.Errorf("setting %q %v, want %q", got, err, value)
		}
	}
}

func testLimits(t *testing.T, s suite) {
	ctx, db := t.Context(), s.open(t, t.TempDir(), store.Limits{Services: 1, Rooms: 2, Tokens: 2, RoomDocument: 4000})
	must(t, db.CreateService(ctx, store.Service{ID: store.NewID(), Name: "a"}))
	mustBe(t, db.CreateService(ctx, store.Service{ID: store.NewID(), Name: "b"}), store.ErrLimit)

	room := newRoom("s1", "r")
	must(t, db.CreateRoom(ctx, room))
	must(t, db.CreateRoom(ctx, newRoom("s1", "r")))
	mustBe(t, db.CreateRoom(ctx, newRoom("s1", "r")), store.ErrLimit)
	must(t, db.CreateRoom(ctx, newRoom("s2", "r")))
	long := jsonvalue.Of(string(make([]byte, 4000)))
	big := newRoom("s3", "r")
	big.Document = big.Document.With("name", long)
	mustBe(t, db.CreateRoom(ctx, big), store.ErrLimit)
	_, err := db.UpdateRoom(ctx, "s1", room.ID, func(doc jsonvalue.Value) (jsonvalue.Value, error) { return doc.With("name", long), nil })
	mustBe(t, err, store.ErrLimit)

	must(t, db.PutToken(ctx, record(0)))
	must(t, db.PutToken(ctx, record(0)))
	mustBe(t, db.PutToken(ctx, record(0)), store.ErrLimit)
	_, err = db.ConsumeToken(ctx, "none")
	mustBe(t, err, store.ErrNotFound)

	// Tokens that nobody uses make room again once they are old.
	db = s.open(t, t.TempDir(), store.Limits{Tokens: 1})
	must(t, db.PutToken(ctx, record(3*store.TokenLife)))
	must(t, db.PutToken(ctx, record(0)))
}

func testReopen(t *testing.T, s suite) {
	ctx, place := t.Context(), t.TempDir()
	first := s.open(t, place, store.Limits{})
	service := store.Service{ID: store.NewID(), Name: "a", Key: "k", Created: now()}
	room, token := newRoom(service.ID, "r"), record(0)
	must(t, first.CreateService(ctx, service))
	must(t, first.CreateRoom(ctx, room))
	must(t, first.PutToken(ctx, token))
	key, err := first.Key(ctx, "x", func() []byte { return []byte("secret") })
	must(t, err)

	second := s.open(t, place, store.Limits{}) // while the first is still open, as another process would
	must(t, first.Close())
	if got, err := second.Service(ctx, service.ID); err != nil || got.Key != "k" {
		t.Errorf("service %+v %v", got, err)
	}
	if got, err := second.Room(ctx, room.ID); err != nil || !sameRoom(got, room) {
		t.Errorf("room %+v %v", got, err)
	}
	if got, err := second.Key(ctx, "x", func() []byte { return nil }); err != nil || !bytes.Equal(got, key) {
		t.Errorf("key %q %v", got, err)
	}
	if got, err := second.ConsumeToken(ctx, token.ID); err != nil || got != token {
		t.Errorf("token %+v %v", got, err)
	}
}

func testBootstrap(t *testing.T, s suite) {
	ctx, db := t.Context(), s.fresh(t)
	var group sync.WaitGroup
	supers := make([]store.Service, 4)
	for i := range supers {
		group.Go(func() {
			var err error
			if supers[i], _, _, err = store.Bootstrap(ctx, db); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	super, sample, created, err := store.Bootstrap(ctx, db)
	must(t, err)
	for _, other := range supers {
		if other != super {
			t.Fatalf("two super services: %v and %v", other.ID, super.ID)
		}
	}
	if created || super.Name != store.SuperServiceName || sample.Name != store.SampleServiceName || super.Key == sample.Key || len(super.Key) < 100 {
		t.Errorf("later start: created %v, names %s and %s", created, super.Name, sample.Name)
	}
	must(t, db.DeleteService(ctx, sample.ID))
	again, none, created, err := store.Bootstrap(ctx, db)
	if err != nil || again != super || none != (store.Service{}) || created {
		t.Errorf("without the sample service: %v %v %v", none.ID, created, err)
	}

	_, _, created, err = store.Bootstrap(ctx, s.fresh(t))
	if err != nil || !created {
		t.Errorf("first start: created %v %v", created, err)
	}
}

func testCancelled(t *testing.T, s suite) {
	db := s.fresh(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := db.Service(ctx, store.NewID())
	mustBe(t, err, context.Canceled)
	mustBe(t, db.PutToken(ctx, record(0)), context.Canceled)
	if _, err := db.Services(t.Context()); err != nil {
		t.Errorf("after a cancelled call: %v", err)
	}
}

func testClose(t *testing.T, s suite) {
	db := s.fresh(t)
	must(t, db.Close())
	must(t, db.Close())
	if _, err := db.Services(t.Context()); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("a closed store answers: %v", err)
	}
}
