package conference

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"portico/shared/jsonvalue"
)

func parse(t testing.TB, text string) jsonvalue.Value {
	t.Helper()
	v, err := jsonvalue.Parse([]byte(text), jsonvalue.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// defaultDocument is DEFAULT_ROOM of the management API, without id and name.
func defaultDocument(t testing.TB) jsonvalue.Value {
	t.Helper()
	text, err := os.ReadFile("testdata/default_room.json")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(text))
}

func newDocument(t testing.TB, options string) jsonvalue.Value {
	t.Helper()
	doc, err := NewRoomDocument("room1", parse(t, options))
	if err != nil {
		t.Fatalf("%s: %v", options, err)
	}
	return doc
}

func TestDefaultRoomIsExact(t *testing.T) {
	want := defaultDocument(t).With("name", jsonvalue.Of("room1"))
	for _, options := range []string{`{}`, `null`, `[]`, `5`, `{"views":null,"roles":false,"mediaIn":0,"mediaOut":""}`, `{"name":"other"}`} {
		if got := newDocument(t, options); !jsonvalue.Equal(got, want) {
			t.Errorf("options %s give\n%s\nwant\n%s", options, got, want)
		}
	}
	if got, want := ReadRoom(defaultDocument(t)), DefaultRoom(); !reflect.DeepEqual(got, want) {
		t.Errorf("read as %+v\nwant %+v", got, want)
	}
}

// What a creator asks for and what comes out of it, as member path and JSON; "" is absent.
func TestNewRoomDocument(t *testing.T) {
	for _, c := range []struct{ options, path, want string }{
		{`{"inputLimit":"12","foo":1,"participantLimit":null}`, "inputLimit", `12`},
		{`{"inputLimit":"12","foo":1,"participantLimit":null}`, "participantLimit", `-1`},
		{`{"foo":1}`, "foo", ``},
		{`{"inputLimit":" 0x10 "}`, "inputLimit", `16`},
		{`{"inputLimit":true}`, "inputLimit", `1`},
		{`{"inputLimit":1e2}`, "inputLimit", `100`},
		{`{"inputLimit":""}`, "inputLimit", `-1`},
		{`{"selectActiveAudio":"yes"}`, "selectActiveAudio", `true`},
		{`{"selectActiveAudio":1}`, "selectActiveAudio", `true`},
		{`{"_id":"5F0C0FFEE0DDBA11C0DE4242"}`, "_id", `"5f0c0ffee0ddba11c0de4242"`},
		{`{}`, "_id", ``},
		{`{"__v":7}`, "__v", `0`},
		{`{"views":[]}`, "views", `[]`},
		{`{"roles":[]}`, "roles", `[]`},
		{`{"roles":[{"role":"x","n":"5","publish":{"audio":null}},null]}`, "roles", `[{"role":"x","n":"5","publish":{}}]`},
		{`{"roles":{"role":"x"}}`, "roles", `[{"role":"x"}]`},
		{`{"mediaIn":{"audio":[],"foo":1}}`, "mediaIn", `{"audio":[],"video":[]}`},
		{`{"views":[],"mediaOut":{"audio":[]}}`, "mediaOut", `{"audio":[],"video":{"format":[],"parameters":{"resolution":[],"framerate":[],"bitrate":[],"keyFrameInterval":[]}}}`},
		{`{"transcoding":{"audio":false}}`, "transcoding", `{"audio":false,"video":{"format":true,"parameters":{"resolution":true,"framerate":true,"bitrate":true,"keyFrameInterval":true}}}`},
		{`{"notifying":{"streamChange":"false"}}`, "notifying", `{"participantActivities":true,"streamChange":false}`},
		{`{"sip":{"sipServer":"s","username":1,"extra":2}}`, "sip", `{"sipServer":"s","username":"1"}`},
		{`{"sip":{}}`, "sip", ``},
		{`{"views":[{"label":"a","video":false}]}`, "views", `[{"label":"a","audio":{"format":{"codec":"opus","sampleRate":48000,"channelNum":2},"vad":true},"video":false}]`},
		{`{"views":{"common":{"mediaSetting":1}}}`, "views", defaults.Get("views").String()},
		{`{"views":[{"audio":{"format":{"codec":"pcmu"}},"video":false}]}`, "views", `[{"label":"common","audio":{"format":{"codec":"pcmu"},"vad":true},"video":false}]`},
	} {
		got := newDocument(t, c.options).Get(c.path)
		if c.want == "" {
			if got.Exists() {
				t.Errorf("%s: %s is %s", c.options, c.path, got)
			}
		} else if !jsonvalue.Equal(got, parse(t, c.want)) {
			t.Errorf("%s: %s is\n%s\nwant\n%s", c.options, c.path, got, c.want)
		}
	}
}

func TestCustomLayoutIsKept(t *testing.T) {
	doc := newDocument(t, `{"views":[{"video":{"parameters":{"bitrate":"800"},"layout":{"setRegionEffect":"fade","templates":{"base":"void",
		"custom":[{"primary":"p","region":[{"id":1,"area":{"left":0,"top":"1/3","width":"0.25","height":".5"}}]}]}}}}]}`)
	layout := doc.Get("views").Index(0).Path("video", "layout")
	want := `{"fitPolicy":"letterbox","setRegionEffect":"fade","templates":{"base":"void","custom":[{"primary":"p","region":[
		{"id":"1","shape":"rectangle","area":{"left":"0","top":"1/3","width":"0.25","height":".5"}}]}]}}`
	if !jsonvalue.Equal(layout, parse(t, want)) {
		t.Errorf("layout %s", layout)
	}
	video := ReadRoom(doc).Views[0].Video
	if video.Parameters.Bitrate != 800 || video.Layout.Templates.Custom[0].Region[0].Area != (Area{"0", "1/3", "0.25", ".5"}) {
		t.Errorf("read as %+v", video)
	}
}

func TestRefusedRooms(t *testing.T) {
	const v = "ValidationError Room validation failed: "
	region := func(s string) string {
		return `{"views":[{"video":{"layout":{"templates":{"custom":[{"region":[` + s + `]}]}}}}]}`
	}
	const area = `"area":{"left":"0","top":"0","width":"1","height":"1"}`
	for _, c := range []struct{ options, want string }{
		{`{"inputLimit":"abc"}`, v + `inputLimit: Cast to Number failed for value "abc" (type string) at path "inputLimit"`},
		{`{"inputLimit":[1]}`, v + `inputLimit: Cast to Number failed for value "[1]" (type Array) at path "inputLimit"`},
		{`{"inputLimit":"1e999"}`, v + `inputLimit: Cast to Number failed for value "1e999" (type string) at path "inputLimit"`},
		{`{"inputLimit":"nan"}`, v + `inputLimit: Cast to Number failed for value "nan" (type string) at path "inputLimit"`},
		{`{"selectActiveAudio":"maybe"}`, v + `selectActiveAudio: Cast to Boolean failed for value "maybe" (type string) at path "selectActiveAudio"`},
		{`{"views":[{"video":{"maxInput":0}}]}`, v + "views.0.video.maxInput: Path `video.maxInput` (0) is less than minimum allowed value (1)."},
		{`{"views":[{},{"video":{"maxInput":257}}]}`, v + "views.1.video.maxInput: Path `video.maxInput` (257) is more than maximum allowed value (256)."},
		{`{"views":[{"video":{"bgColor":{"r":300}}}]}`, v + "views.0.video.bgColor.r: Path `video.bgColor.r` (300) is more than maximum allowed value (255)."},
		{`{"views":[{"video":{"layout":{"templates":{"base":"xx"}}}}]}`, v + "views.0.video.layout.templates.base: `xx` is not a valid enum value for path `video.layout.templates.base`."},
		{`{"views":[{"video":{"layout":{"fitPolicy":"xx"}}}]}`, v + "views.0.video.layout.fitPolicy: `xx` is not a valid enum value for path `video.layout.fitPolicy`."},
		{region(`{` + area + `}`), v + "views.0.video.layout.templates.custom.0.region.0.id: Path `id` is required."},
		{region(`{"id":"1","shape":"circle",` + area + `}`), v + "views.0.video.layout.templates.custom.0.region.0.shape: `circle` is not a valid enum value for path `shape`."},
		{region(`{"id":"1","area":{"left":"x","top":"0","width":"1","height":"1"}}`), v + "views.0.video.layout.templates.custom.0.region.0.area.left: x is not a valid fraction string!"},
		{region(`{"id":"1","area":{"left":"1/0","top":"0","width":"1","height":"1"}}`), v + "views.0.video.layout.templates.custom.0.region.0.area.left: 1/0 is not a valid fraction string!"},
		{region(`{"id":"1","area":{"top":"0","width":"1","height":"1"}}`), v + "views.0.video.layout.templates.custom.0.region.0.area.left: Path `area.left` is required."},
		{`{"views":[{"video":{"format":{"codec":"h265"}}}]}`, "Error MediaOut conflicts with View Setting"},
		{`{"views":[{"audio":{"format":{"codec":"opus","sampleRate":48000}}}]}`, "Error MediaOut conflicts with View Setting"},
		{`{"mediaOut":{"audio":[{"codec":"opus","sampleRate":48000,"channelNum":2}]}}`, "Error MediaOut conflicts with View Setting"},
		{`{"views":[{"audio":false}]}`, "TypeError Cannot read properties of undefined (reading 'codec')"},
		{`{"views":{"audio":false}}`, "TypeError Cannot read properties of undefined (reading 'codec')"},
		{`{"notifying":true}`, v + "notifying: Tried to set nested object field `notifying` to primitive value `true`"},
		{`{"sip":["x"]}`, v + "sip: Tried to set nested object field `sip` to array value `[\"x\"]`"},
		{`{"sip":{"username":{}}}`, v + `sip.username: Cast to string failed for value "{}" (type Object) at path "sip.username"`},
		{`{"views":["x"]}`, v + `views: Cast to Embedded failed for value "x" (type string) at path "views"`},
		{`{"_id":"zzz"}`, v + `_id: Cast to ObjectId failed for value "zzz" (type string) at path "_id"`},
		{`{"inputLimit":"a","participantLimit":"b"}`, v + `inputLimit: Cast to Number failed for value "a" (type string) at path "inputLimit", participantLimit: Cast to Number failed for value "b" (type string) at path "participantLimit"`},
	} {
		_, err := NewRoomDocument("r", parse(t, c.options))
		refusal, ok := err.(*RoomError)
		if !ok || refusal.Class+" "+refusal.Text != c.want {
			t.Errorf("%s:\n got %v\nwant %s", c.options, err, c.want)
		}
	}
}

func TestFaultTextsAreBounded(t *testing.T) {
	many := `{"views":[` + strings.Repeat(`{"video":{"maxInput":"`+strings.Repeat("x", 5000)+`"}},`, 99) + `{}]}`
	_, err := NewRoomDocument("r", parse(t, many))
	if err == nil || len(err.Error()) > 8000 {
		t.Errorf("error of %d bytes", len(err.Error()))
	}
	if _, err = NewRoomDocument("r", parse(t, `{"views":[`+strings.Repeat(`{},`, 100)+`{}]}`)); err == nil {
		t.Error("101 views are accepted")
	}
}

func TestUpdateRoomDocument(t *testing.T) {
	base := newDocument(t, `{"_id":"5f0c0ffee0ddba11c0de4242","sip":{"username":"u"}}`)
	update := func(doc jsonvalue.Value, changes string) jsonvalue.Value {
		t.Helper()
		got, err := UpdateRoomDocument(doc, parse(t, changes))
		if err != nil {
			t.Fatalf("%s: %v", changes, err)
		}
		return got
	}
	one := func(s string) jsonvalue.Value { return parse(t, s) }
	for _, c := range []struct {
		changes string
		want    jsonvalue.Value
	}{
		{`{}`, base}, {`[]`, base}, {`{"name":null,"foo":1,"inputLimit":""}`, base},
		{`{"_id":"5f0c0ffee0ddba11c0de4242"}`, base},
		{`{"name":"z","inputLimit":"3"}`, base.With("name", one(`"z"`)).With("inputLimit", one(`3`))},
		{`{"notifying":{"streamChange":false}}`, base.With("notifying", one(`{"streamChange":false}`))},
		{`{"transcoding":{"video":{"format":false}}}`, base.With("transcoding", one(`{"video":{"format":false}}`))},
		{`{"sip":{}}`, base.Without("sip")},
		{`{"views":[{"label":"z"}]}`, base.With("views", one(`[`+DefaultView().Value().With("label", jsonvalue.Of("z")).String()+`]`)).With("__v", one(`1`))},
		{`{"roles":[{"role":"x"}]}`, base.With("roles", one(`[{"role":"x"}]`)).With("__v", one(`1`))},
		{`{"views":[{"video":false}],"mediaOut":{"audio":[{"codec":"opus","sampleRate":48000,"channelNum":2}]}}`,
			base.With("views", one(`[{"label":"common","audio":{"format":{"codec":"opus","sampleRate":48000,"channelNum":2},"vad":true},"video":false}]`)).
				With("mediaOut", one(`{"audio":[{"codec":"opus","sampleRate":48000,"channelNum":2}]}`)).With("__v", one(`1`))},
	} {
		if got := update(base, c.changes); !jsonvalue.Equal(got, c.want) {
			t.Errorf("%s gives\n%s\nwant\n%s", c.changes, got, c.want)
		}
	}

	// What a replacement leaves out reads as its default, and the next change writes it down.
	partial := update(base, `{"notifying":{"streamChange":false},"mediaIn":{"audio":[]}}`)
	if room := ReadRoom(partial); room.Notifying != (Notifying{ParticipantActivities: true}) || room.MediaIn.Video != nil {
		t.Errorf("partial document reads as %+v", room)
	}
	full := `{"participantActivities":true,"streamChange":false}`
	if got := FillRoomDocument(partial); !jsonvalue.Equal(got.Get("notifying"), one(full)) || !jsonvalue.Equal(got.Get("mediaIn"), one(`{"audio":[],"video":[]}`)) {
		t.Errorf("filled: %s", got)
	}
	if got := update(partial, `{"name":"n"}`); !jsonvalue.Equal(got.Get("notifying"), one(full)) {
		t.Errorf("after another change: %s", got.Get("notifying"))
	}

	// A room with an audio-only view accepts changes that do not name its views.
	silent := update(base, `{"views":[{"video":false}]}`)
	if got := update(silent, `{"inputLimit":1}`); !jsonvalue.Equal(got.Get("views"), silent.Get("views")) {
		t.Errorf("views became %s", got.Get("views"))
	}

	for changes, want := range map[string]string{
		`{"name":""}`: "Room validation failed: name: Path `name` is required.",
		`{"views":[{"video":{"format":{"codec":"h265"}}}]}`: "MediaOut conflicts with View Setting",
		`{"mediaOut":{"audio":[]}}`:                         "MediaOut conflicts with View Setting",
		`{"views":[{"audio":false}]}`:                       "Cannot read properties of undefined (reading 'codec')",
		`{"_id":"5f0c0ffee0ddba11c0de4243"}`:                `No document found for query "{ _id: new ObjectId("5f0c0ffee0ddba11c0de4243") }" on model "Room"`,
		`{"inputLimit":"abc"}`:                              `Room validation failed: inputLimit: Cast to Number failed for value "abc" (type string) at path "inputLimit"`,
	} {
		if _, err := UpdateRoomDocument(base, one(changes)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", changes, err, want)
		}
	}
}

func TestReadRoomOfOddities(t *testing.T) {
	doc := newDocument(t, `{"roles":[5,{"role":"x","publish":{"audio":"yes","video":true}},{"publish":{}}],"inputLimit":1e300,
		"mediaIn":{"audio":["opus",{"codec":"opus","sampleRate":"48000"}],"video":[{}]}}`)
	room := ReadRoom(doc)
	if want := []Role{{Role: "x", Publish: MediaSet{Video: true}}}; !reflect.DeepEqual(room.Roles, want) {
		t.Errorf("roles %+v", room.Roles)
	}
	if want := (MediaIn{Audio: []AudioFormat{{Codec: "opus"}}}); !reflect.DeepEqual(room.MediaIn, want) {
		t.Errorf("mediaIn %+v", room.MediaIn)
	}
	if room.InputLimit != 1<<31-1 {
		t.Errorf("inputLimit %d", room.InputLimit)
	}
	if got := ReadRoom(jsonvalue.Value{}); len(got.Views) != 0 || got.InputLimit != -1 || !got.Transcoding.Audio {
		t.Errorf("nothing reads as %+v", got)
	}
}

func TestRoomSurvivesItsDocument(t *testing.T) {
	room := DefaultRoom()
	room.ID, room.Name, room.Version, room.SIP = "5f0c0ffee0ddba11c0de4242", "n", 3, &SIP{SIPServer: "s", Password: "p"}
	second := DefaultView()
	second.Label, second.Video = "voices", nil
	room.Views = append(room.Views, second)
	room.Views[0].Video.Parameters.Bitrate = 800
	room.Views[0].Video.Layout.Templates.Custom = []Template{{Region: []Region{{"1", "rectangle", Area{"0", "0", "1/2", "1"}}}}}
	if got := ReadRoom(room.Value()); !reflect.DeepEqual(got, room) {
		t.Errorf("became %+v", got)
	}
}

func FuzzRoomDocument(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"views":[{"video":false}]}`, `{"views":{"audio":false}}`, `{"inputLimit":"0x1f","roles":"x"}`, `{"_id":"5f0c0ffee0ddba11c0de4242"}`,
		`{"views":[{"video":{"layout":{"templates":{"custom":[{"region":[{"id":"1","area":{"left":"1/3","top":0,"width":".5","height":"1"}}]}]}}}}]}`,
		`{"mediaOut":{},"views":[]}`, `{"sip":{"username":1e400}}`, `[null,{"a":null}]`,
	} {
		f.Add(seed, `{"notifying":{"streamChange":false}}`)
	}
	f.Fuzz(func(t *testing.T, options, changes string) {
		o, err := jsonvalue.Parse([]byte(options), jsonvalue.Limits{})
		if err != nil {
			return
		}
		doc, err := NewRoomDocument("r", o)
		if err != nil {
			return
		}
		if again := FillRoomDocument(doc); !jsonvalue.Equal(again, doc) {
			t.Fatalf("a new document is not complete:\n%s\n%s", doc, again)
		}
		ReadRoom(doc)
		c, err := jsonvalue.Parse([]byte(changes), jsonvalue.Limits{})
		if err != nil {
			return
		}
		if doc, err = UpdateRoomDocument(doc, c); err == nil {
			ReadRoom(doc)
			if again, err := UpdateRoomDocument(doc, jsonvalue.OfObject()); err != nil || !jsonvalue.Equal(again, FillRoomDocument(doc)) {
				t.Fatalf("no change: %v\n%s\n%s", err, doc, again)
			}
		}
	})
}
