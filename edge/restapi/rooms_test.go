package restapi

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"portico/edge/store"
	"portico/shared/jsonvalue"
)

// defaultRoom is DEFAULT_ROOM of the management API with the given id and name.
func defaultRoom(t *testing.T, id, name string) jsonvalue.Value {
	t.Helper()
	text, err := os.ReadFile("../../shared/conference/testdata/default_room.json")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(text)).With("name", jsonvalue.Of(name)).With("_id", jsonvalue.Of(id)).With("id", jsonvalue.Of(id))
}

func TestC_08_InvalidRoomBody(t *testing.T) {
	f := newFixture(t)
	for _, body := range []string{`{}`, `{"name":""}`, `{"name":5}`} {
		f.wantJSON(f.asService("POST", "/v1/rooms", body), 400, `{"error":{"code":1201,"message":"Invalid request body"}}`)
	}
}

func TestC_09_InvalidRoomOption(t *testing.T) {
	f := newFixture(t)
	for _, options := range []string{`"y"`, `5`, `true`} {
		f.wantJSON(f.asService("POST", "/v1/rooms", `{"name":"x","options":`+options+`}`), 400, `{"error":{"code":1201,"message":"Invalid room option"}}`)
	}
	for _, options := range []string{`null`, `[]`, `""`, `0`, `false`} {
		f.createRoom(options)
	}
}

func TestC_10_DefaultRoom(t *testing.T) {
	f := newFixture(t)
	r := f.asService("POST", "/v1/rooms", `{"name":"room1"}`)
	id := f.json(r, 200).Get("_id").Text()
	if !store.IsID(id) {
		t.Fatalf("id %q", id)
	}
	f.wantJSON(r, 200, defaultRoom(t, id, "room1").String())
	f.wantJSON(f.asService("GET", "/v1/rooms/"+id, ""), 200, defaultRoom(t, id, "room1").Without("id").String())
	f.wantJSON(f.asService("GET", "/v1/rooms", ""), 200, "["+defaultRoom(t, id, "room1").String()+"]")
}

func TestC_11_RoomOptions(t *testing.T) {
	f := newFixture(t)
	room := f.json(f.asService("POST", "/v1/rooms", `{"name":"r","options":{"inputLimit":"12","foo":1,"participantLimit":null}}`), 200)
	want := defaultRoom(t, room.Get("_id").Text(), "r").With("inputLimit", jsonvalue.OfInt(12))
	if !jsonvalue.Equal(room, want) {
		t.Errorf("room %s", room)
	}
}

func TestC_12_MaxInput(t *testing.T) {
	f := newFixture(t)
	f.wantJSON(f.asService("POST", "/v1/rooms", `{"name":"r","options":{"views":[{"video":{"maxInput":0}}]}}`), 500,
		`{"error":{"code":2001,"message":"ValidationError Room validation failed: views.0.video.maxInput: Path `+"`video.maxInput`"+` (0) is less than minimum allowed value (1)."}}`)
}

func TestC_13_ViewConflict(t *testing.T) {
	f := newFixture(t)
	f.wantJSON(f.asService("POST", "/v1/rooms", `{"name":"r","options":{"views":[{"video":{"format":{"codec":"h265"}}}]}}`), 500,
		`{"error":{"code":2001,"message":"Error MediaOut conflicts with View Setting"}}`)
}

func TestC_14_AudioOnlyView(t *testing.T) {
	f := newFixture(t)
	room := f.json(f.asService("POST", "/v1/rooms", `{"name":"r","options":{"views":[{"label":"a","video":false}]}}`), 200)
	want := parse(t, `[{"label":"a","audio":{"format":{"codec":"opus","sampleRate":48000,"channelNum":2},"vad":true},"video":false}]`)
	if !jsonvalue.Equal(room.Get("views"), want) {
		t.Errorf("views %s", room.Get("views"))
	}
}

func TestC_15_Pages(t *testing.T) {
	f := newFixture(t)
	var all []string
	for range 7 {
		all = append(all, f.createRoom("{}"))
	}
	if !slices.IsSorted(all) {
		t.Fatalf("ids do not ascend: %v", all)
	}
	for query, want := range map[string][]string{
		"?page=2&per_page=3":       all[3:6],
		"?per_page=2":              all[:2],
		"?page=2":                  all,
		"?page=9&per_page=3":       {},
		"?page=-1&per_page=2":      all[:2],
		"":                         all,
		"?per_page=0":              all,
		"?per_page=-2&page=2":      all,
		"?per_page=x":              all,
		"?per_page=2e0&page=0x4":   all[6:],
		"?per_page=1&per_page=2":   all,
		"?per_page=1e300&page=1e9": {},
	} {
		list := f.json(f.asService("GET", "/v1/rooms"+query, ""), 200)
		got := []string{}
		for i := range list.Len() {
			got = append(got, list.Index(i).Get("id").Text())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
}

// A list of more rooms than are held in memory at a time is whole and in order, at the borders too.
func TestLongLists(t *testing.T) {
	f := newFixture(t)
	for n := 1; n <= 2*chunk+1; n++ {
		doc := jsonvalue.OfObject(jsonvalue.M("_id", jsonvalue.Of(fmt.Sprintf("%024x", n))))
		if err := f.store.CreateRoom(t.Context(), store.Room{ID: doc.Get("_id").Text(), Service: f.service.ID, Document: doc}); err != nil {
			t.Fatal(err)
		}
		if n%chunk > 1 && n%chunk < chunk-1 {
			continue
		}
		for query, want := range map[string]int{"": n, "?per_page=100": min(n, 100), "?per_page=150": min(n, 150), "?per_page=99&page=2": max(0, min(n-99, 99))} {
			list := f.json(f.asService("GET", "/v1/rooms"+query, ""), 200)
			if list.Len() != want {
				t.Fatalf("%d rooms, %q: %d listed, want %d", n, query, list.Len(), want)
			}
			for i := 1; i < list.Len(); i++ {
				if list.Index(i-1).Get("_id").Text() >= list.Index(i).Get("_id").Text() {
					t.Fatalf("%d rooms, %q: out of order at %d", n, query, i)
				}
			}
		}
	}
}

func TestC_16_ReplaceViews(t *testing.T) {
	f := newFixture(t)
	id := f.createRoom("{}")
	before := defaultRoom(t, id, "room1")
	view := before.Get("views").Index(0).With("label", jsonvalue.Of("z"))
	want := before.With("views", jsonvalue.OfArray(view)).With("__v", jsonvalue.OfInt(1))
	f.wantJSON(f.asService("PUT", "/v1/rooms/"+id, `{"views":[{"label":"z"}]}`), 200, want.String())
	f.wantJSON(f.asService("GET", "/v1/rooms/"+id, ""), 200, want.Without("id").String())
}

func TestC_17_ReplaceNotifying(t *testing.T) {
	f := newFixture(t)
	id := f.createRoom("{}")
	want := defaultRoom(t, id, "room1").With("notifying", parse(t, `{"streamChange":false}`))
	f.wantJSON(f.asService("PUT", "/v1/rooms/"+id, `{"notifying":{"streamChange":false}}`), 200, want.String())
	filled := want.With("notifying", parse(t, `{"participantActivities":true,"streamChange":false}`))
	f.wantJSON(f.asService("GET", "/v1/rooms", ""), 200, "["+filled.String()+"]")
}

func TestC_18_EmptyName(t *testing.T) {
	f := newFixture(t)
	id := f.createRoom("{}")
	f.wantJSON(f.asService("PUT", "/v1/rooms/"+id, `{"name":""}`), 400,
		`{"error":{"code":1201,"message":"Room validation failed: name: Path `+"`name`"+` is required."}}`)
	f.wantJSON(f.asService("PUT", "/v1/rooms/"+id, `{"mediaOut":{"audio":[]}}`), 400,
		`{"error":{"code":1201,"message":"MediaOut conflicts with View Setting"}}`)
	f.wantJSON(f.asService("GET", "/v1/rooms/"+id, ""), 200, defaultRoom(t, id, "room1").Without("id").String())
}

func TestPutWithoutChange(t *testing.T) {
	f := newFixture(t)
	id := f.createRoom("{}")
	for _, body := range []string{"", "{}", "[]", `{"name":null,"foo":1}`} {
		f.wantJSON(f.asService("PUT", "/v1/rooms/"+id, body), 200, defaultRoom(t, id, "room1").String())
	}
	f.wantJSON(f.asService("PUT", "/v1/rooms/5f0c0ffee0ddba11c0de4242", "{}"), 404, noRoom)
	f.wantJSON(f.asService("PATCH", "/v1/rooms/"+id, "{}"), 500, `{"error":{"code":2001,"message":"Not implemented"}}`)
}

// What GET shows can be PUT again: the SIP password stays what it was.
func TestSIPPassword(t *testing.T) {
	f := newFixture(t)
	id := f.createRoom(`{"sip":{"sipServer":"s","username":"u","password":"hunter2"}}`)
	for range 2 {
		room := f.json(f.asService("GET", "/v1/rooms/"+id, ""), 200)
		if got := room.Path("sip", "password").Text(); got != "hunter2" {
			t.Fatalf("password %q", got)
		}
		f.json(f.asService("PUT", "/v1/rooms/"+id, room.String()), 200)
	}
	if got := f.json(f.asService("PUT", "/v1/rooms/"+id, `{"sip":{}}`), 200).Get("sip"); got.Exists() {
		t.Errorf("sip %s after it was cleared", got)
	}
}

func TestC_19_DeleteRoom(t *testing.T) {
	f := newFixture(t)
	id := f.createRoom("{}")
	f.wantText(f.asService("DELETE", "/v1/rooms/"+id, ""), 200, "Room deleted")
	f.wantJSON(f.asService("DELETE", "/v1/rooms/"+id, ""), 404, noRoom)
	f.wantJSON(f.asService("GET", "/v1/rooms/"+id, ""), 404, noRoom)
	if !slices.Equal(f.destroyed, []string{id}) {
		t.Errorf("conferences destroyed: %v", f.destroyed)
	}
}

func TestRoomWithID(t *testing.T) {
	f := newFixture(t)
	const id = "5f0c0ffee0ddba11c0de0001"
	if got := f.createRoom(`{"_id":"` + strings.ToUpper(id) + `"}`); got != id {
		t.Errorf("id %q", got)
	}
	taken := `{"error":{"code":2001,"message":"MongoServerError E11000 duplicate key error collection: owtdb.rooms"}}`
	f.wantJSON(f.do("POST", "/v1/rooms", sign(f.other), `{"name":"r","options":{"_id":"`+id+`"}}`), 500, taken)
}

func TestC_59_OtherServicesRoom(t *testing.T) {
	f := newFixture(t)
	id := f.createRoom("{}")
	for _, r := range []struct{ method, path string }{
		{"GET", "/v1/rooms/" + id}, {"PUT", "/v1/rooms/" + id}, {"PATCH", "/v1/rooms/" + id}, {"DELETE", "/v1/rooms/" + id},
		{"POST", "/v1/rooms/" + id + "/tokens"}, {"GET", "/v1.1/rooms/" + id + "/streams"}, {"GET", "/v1.1/rooms/" + id}, {"GET", "/v1/rooms/zzz"},
	} {
		for _, service := range []store.Service{f.other, f.super} {
			f.wantJSON(f.do(r.method, r.path, sign(service), ""), 404, noRoom)
		}
	}
	if got := f.do("GET", "/v1/rooms", sign(f.other), ""); got.body != "[]" {
		t.Errorf("another service lists %s", got.body)
	}
}
