package room

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

func testStream() conference.Stream {
	return conference.Stream{
		ID: "s1", Type: conference.Forward, Owner: "anna", Via: viaWebRTC, InViews: []string{},
		Attributes: jsonvalue.OfObject(jsonvalue.M("k", jsonvalue.OfInt(1))), Tracks: avOf("s1"),
	}
}

// TestEntriesComeBack: what is told to another edge arrives as it was.
func TestEntriesComeBack(t *testing.T) {
	p := described{
		participant: conference.Participant{ID: "anna", User: "Anna <a>", Role: "presenter", Permission: conference.Permission{
			Publish: conference.MediaSet{Audio: true}, Subscribe: conference.MediaSet{Video: true}}},
		client: jsonvalue.OfObject(jsonvalue.M("sdk", jsonvalue.Of("x"))),
	}
	gotP, err := decodeParticipantEntry(p.encode())
	if err != nil || gotP.participant != p.participant || !jsonvalue.Equal(gotP.client, p.client) {
		t.Errorf("participant %+v, %v", gotP, err)
	}
	s := testStream()
	told := s
	told.InViews, told.Tracks = []string{"common"}, slices.Clone(s.Tracks)
	told.Tracks[0].Optional.AudioFormats = []conference.AudioFormat{{Codec: "pcmu"}}
	gotS, err := decodeStreamEntry(encodeStreamEntry(told))
	if err != nil || !reflect.DeepEqual(gotS.Tracks, s.Tracks) || !jsonvalue.Equal(gotS.Attributes, s.Attributes) || gotS.Owner != s.Owner || len(gotS.InViews) != 0 {
		t.Errorf("stream %+v, %v", gotS, err)
	}
	m := &mixState{
		inputs: []string{"c", "a", "b"}, shown: []string{"b", "c"}, fixed: true, active: "a", resets: 3, revision: 9, base: 4,
		origin: conference.Origin{ISP: "i", Region: "r"},
		scene:  scene(t, `[{"stream":"b","region":{"id":"1","shape":"rectangle","area":{"left":"0/2","top":"0/1","width":"1/2","height":"1/1"}}}]`),
	}
	if gotM, err := decodeMixEntry(m.encode()); err != nil || !reflect.DeepEqual(gotM, m) {
		t.Errorf("mix %+v, %v", gotM, err)
	}
	if got, err := decodeSelectedEntry(selectedState{"s1", true}.encode()); err != nil || got != (selectedState{"s1", true}) {
		t.Errorf("selected %+v, %v", got, err)
	}
}

// TestLongEntries: what does not fit is left out, and what is left makes sense.
func TestLongEntries(t *testing.T) {
	s := testStream()
	s.Attributes = jsonvalue.OfObject(jsonvalue.M("long", jsonvalue.Of(strings.Repeat("x", MaxValue))))
	got, err := decodeStreamEntry(encodeStreamEntry(s))
	if err != nil || got.Attributes.Exists() || len(got.Tracks) != 2 {
		t.Errorf("stream %+v, %v", got, err)
	}
	m := &mixState{}
	for i := range 3000 {
		m.inputs = append(m.inputs, fmt.Sprintf("%0100d", i))
	}
	m.shown = slices.Clone(m.inputs[:5])
	slices.Reverse(m.shown)
	b := m.encode()
	mix, err := decodeMixEntry(b)
	if err != nil || len(b) > MaxValue || len(mix.inputs) < 100 || !slices.Equal(mix.shown, m.shown) {
		t.Errorf("mix of %d inputs, %d bytes, %v", len(mix.inputs), len(b), err)
	}
}

func TestSenselessEntries(t *testing.T) {
	for kind, list := range map[EntryKind][]string{
		ParticipantEntry: {``, `[]`, `{}`, `{"id":"x","user":"u"}`, `{"id":1,"user":"u","role":"r"}`, `{"id":"` + strings.Repeat("x", 200) + `","role":"r"}`},
		StreamEntry: {`{"id":"x"}`, `{"id":"x","type":"forward","media":{"tracks":[]},"info":{"owner":"o","type":"webrtc"}}`,
			`{"id":"x","type":"mixed","media":{"tracks":[{"id":"t","type":"audio","format":{"codec":"opus"}}]},"info":{"owner":"o","type":"webrtc"}}`,
			`{"id":"x","type":"forward","media":{"tracks":[{"id":"t","type":"smell","format":{"codec":"opus"}}]},"info":{"owner":"o","type":"webrtc"}}`,
			`{"id":"x","type":"forward","media":{"tracks":[{"id":"t","type":"audio","format":{"codec":"opus"}},{"id":"t","type":"audio","format":{"codec":"opus"}}]},"info":{"owner":"o","type":"webrtc"}}`,
			`{"id":"x","type":"forward","media":{"tracks":[` + strings.Repeat(`{},`, 100) + `{}]},"info":{"owner":"o","type":"webrtc"}}`},
		MixEntry: {`{}`, `{"inputs":["x","x"],"shown":[],"layout":[],"resets":0,"revision":0,"base":0}`,
			`{"inputs":["x"],"shown":[1],"layout":[],"resets":0,"revision":0,"base":0}`,
			`{"inputs":["x","y"],"shown":[0,0],"layout":[],"resets":0,"revision":0,"base":0}`,
			`{"inputs":[],"shown":[],"layout":[],"resets":-1,"revision":0,"base":0}`, `{"inputs":[],"shown":[],"layout":{},"resets":0,"revision":0,"base":0}`},
		0: {`{}`},
	} {
		for _, text := range list {
			if _, ok := readChange(Change{Now: &Entry{Key: Key{kind, "x"}, Owner: "b", Generation: 1, Value: []byte(text)}}); ok {
				t.Errorf("%d %s was taken", kind, text)
			}
		}
	}
	good := `{"id":"x","user":"u","role":"r","permission":{},"new":[1]}`
	if _, ok := readChange(Change{Now: &Entry{Key: Key{ParticipantEntry, "x"}, Owner: "b", Value: []byte(good)}}); !ok {
		t.Error("what the next version says was not taken")
	}
	if _, ok := readChange(Change{Now: &Entry{Key: Key{ParticipantEntry, "y"}, Owner: "b", Value: []byte(good)}}); ok {
		t.Error("an entry under another key was taken")
	}
	if _, ok := readChange(Change{}); ok {
		t.Error("no change was taken")
	}
}

func TestCommandsComeBack(t *testing.T) {
	yes := true
	layout := scene(t, `[{"stream":"b","region":{"id":"1","shape":"rectangle","area":{"left":"0/2","top":"0/1","width":"1/2","height":"1/1"}}}]`)
	for _, c := range []command{
		{op: opControl, here: true, control: portalproto.StreamControl{ID: "s", Operation: portalproto.SetRegion, View: "v", Region: "1"}},
		{op: opControl, control: portalproto.StreamControl{ID: "s", Operation: portalproto.Pause, Media: conference.MediaSet{Audio: true}}},
		{op: opUnpublish, stream: "s"}, {op: opDelete, stream: "s"}, {op: opDrop, participant: "p"}, {op: opDestroy},
		{op: opParticipants, from: 7}, {op: opStreams},
		{op: opPermission, participant: "p", permission: PermissionChange{PublishAudio: &yes, SubscribeVideo: &yes}},
		{op: opChange, stream: "s", changes: []StreamChange{
			MixInto{"v"}, UnmixFrom{""}, SetStatus{conference.Video, false}, Occupy{3, "s"}, SetLayout{layout}}},
	} {
		if got, err := decodeCommand(c.encode()); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%s came as %+v, %v", c.encode(), got, err)
		}
	}
	for _, text := range []string{`{}`, `{"op":"fly"}`, `{"op":"drop"}`, `{"op":"control","control":{"id":"s"}}`, `{"op":"change","stream":"s","changes":[{}]}`,
		`{"op":"permission","participant":"p","publish":{"audio":1}}`, `{"op":"streams","from":-1}`, `{"op":"delete"}`} {
		if c, err := decodeCommand([]byte(text)); err == nil {
			t.Errorf("%s was taken: %+v", text, c)
		}
	}
	if _, err := decodeReply(encodeReply(reply{}, portalproto.ErrRoomFull)); fmt.Sprint(err) != "Room is full" {
		t.Errorf("refusal came as %v", err)
	}
	if _, err := decodeReply(encodeReply(reply{}, errEntry)); fmt.Sprint(err) != "Unknown" {
		t.Errorf("an error of ours came as %v", err)
	}
	n := note{from: "a", to: "all", message: jsonvalue.OfArray(jsonvalue.OfInt(1))}
	if got, err := decodeNote(n.encode()); err != nil || !reflect.DeepEqual(got.message.String(), n.message.String()) || got.from != n.from || got.to != n.to {
		t.Errorf("note %+v, %v", got, err)
	}
	if got, err := decodeNote(note{from: "a", to: "b"}.encode()); err != nil || got.message.Exists() {
		t.Errorf("note without a message: %+v, %v", got, err)
	}
}

// TestPages: a long list goes in parts that fit.
func TestPages(t *testing.T) {
	list := make([]conference.Participant, 5000)
	for i := range list {
		list[i] = conference.Participant{ID: fmt.Sprint("p", i), User: strings.Repeat("u", 100), Role: "presenter"}
	}
	var all []conference.Participant
	for more := true; more; {
		var part []conference.Participant
		part, more = page(list[len(all):], participantSize)
		b := encodeReply(reply{participants: part, more: more}, nil)
		got, err := decodeReply(b)
		if err != nil || len(b) > MaxNote || got.more != more || len(got.participants) == 0 {
			t.Fatalf("%d bytes, %d participants, %v", len(b), len(got.participants), err)
		}
		all = append(all, got.participants...)
	}
	if !slices.Equal(all, list) {
		t.Error("they differ")
	}
}

func FuzzEntry(f *testing.F) {
	s := testStream()
	f.Add(uint8(ParticipantEntry), "anna", described{participant: conference.Participant{ID: "anna", Role: "r"}}.encode())
	f.Add(uint8(StreamEntry), "s1", encodeStreamEntry(s))
	f.Add(uint8(MixEntry), common, (&mixState{inputs: []string{"a"}, shown: []string{"a"}, revision: 2}).encode())
	f.Add(uint8(MixEntry), "active-audio-0", selectedState{"s1", true}.encode())
	f.Fuzz(func(t *testing.T, kind uint8, id string, value []byte) {
		n, ok := readChange(Change{Now: &Entry{Key: Key{EntryKind(kind), id}, Owner: "b", Generation: 1, Value: value}})
		if !ok {
			return
		}
		// What was taken is told on as it is, and does no harm.
		var again []byte
		switch {
		case n.key.Kind == ParticipantEntry:
			again = n.participant.encode()
		case n.key.Kind == StreamEntry:
			again = encodeStreamEntry(n.stream)
		case n.mix != nil:
			again = n.mix.encode()
		default:
			again = n.selected.encode()
		}
		if _, ok := readChange(Change{Now: &Entry{Key: n.key, Owner: "b", Generation: 1, Value: again}}); !ok && len(again) <= MaxValue {
			t.Errorf("told on as %s", again)
		}
		m := fuzzedMachine()
		m.apply([]news{n, n})
		m.lead(true, "")
		m.apply([]news{{key: n.key}, n})
		m.lead(false, "b")
		m.hasMoved(n.key)
	})
}

func fuzzedMachine() *machine {
	config := conference.DefaultRoom()
	config.ID, config.SelectActiveAudio = roomID, true
	m, _ := newMachine(config, Limits{Participants: 10, Sessions: 10, Pictures: 4}, true, true)
	_, _ = m.join(&Join{Participant: "me", Role: "presenter"})
	_, _ = m.publish("me", "mine", portalproto.PublishRequest{Tracks: avTracks})
	m.sessionReady("mine", avOf("mine"))
	return m
}

func FuzzCommand(f *testing.F) {
	f.Add((&command{op: opControl, control: portalproto.StreamControl{ID: "s", Operation: portalproto.Mix, View: "v"}}).encode())
	f.Add((&command{op: opChange, stream: "s", changes: []StreamChange{MixInto{"v"}, Occupy{1, "s"}, SetStatus{conference.Audio, true}}}).encode())
	f.Add(encodeReply(reply{stream: testStream(), participants: []conference.Participant{{ID: "a", Role: "r"}}}, nil))
	f.Add(note{from: "a", to: "all", message: jsonvalue.Of("x")}.encode())
	f.Fuzz(func(t *testing.T, body []byte) {
		if c, err := decodeCommand(body); err == nil {
			if _, err := decodeCommand(c.encode()); err != nil {
				t.Errorf("%s: %v", c.encode(), err)
			}
		}
		if r, err := decodeReply(body); err == nil {
			if _, err := decodeReply(encodeReply(r, nil)); err != nil {
				t.Errorf("%+v: %v", r, err)
			}
		}
		if n, err := decodeNote(body); err == nil {
			if _, err := decodeNote(n.encode()); err != nil {
				t.Errorf("%+v: %v", n, err)
			}
		}
	})
}
