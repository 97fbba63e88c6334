package portalproto

import (
	"strings"
	"testing"
	"time"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

func parse(t testing.TB, text string) jsonvalue.Value {
	t.Helper()
	v, err := jsonvalue.Parse([]byte(text), jsonvalue.Limits{})
	if err != nil {
		t.Fatalf("test data %s: %v", text, err)
	}
	return v
}

// refusal is the text of the error, or "" when there is none.
func refusal(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

const sources = `["mic","camera","screen-cast","raw-file","encoded-file"]`

func TestT_75_76_77_PublishSchema(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{`{}`, `request should have required property 'media' "media"`},
		{`{"media":{"tracks":[{"type":"audio","mid":"0","source":"foo"}]}}`, `request.media.tracks[0].source should be equal to one of the allowed values ` + sources},
		{`{"media":{"tracks":[]},"attributes":null}`, `request.attributes should be object "object"`},
		{`{"media":{"tracks":[]},"transport":{"type":"webrtc","id":null}}`, `request.transport.id should be string "string"`},
		{`{"media":{"tracks":[]},"foo":1}`, `request should NOT have additional properties "foo"`},
		{`{"media":{}}`, `request.media should have required property 'tracks' "tracks"`},
		{`{"media":null}`, ``},
		{`{"media":{"tracks":[{}]}}`, ``},
		{`{"media":{"tracks":[{"type":"video","mid":"1","source":"camera","scalabilityMode":"L3T3"}]},"data":false,"transport":{"type":"webrtc"}}`, ``},
		{`"x"`, `request should be object "object"`},
	} {
		if _, err := DecodePublish(parse(t, c.data), V12); refusal(err) != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.data, refusal(err), c.want)
		}
	}
	if _, err := DecodePublish(jsonvalue.Value{}, V12); refusal(err) != `request should be object "object"` {
		t.Errorf("no data: %v", err)
	}
}

func TestT_90_ControlSchemas(t *testing.T) {
	const mixes, regions, pauses = `["mix","unmix","get-region"]`, `["set-region"]`, `["pause","play"]`
	const enum = `request.operation should be equal to one of the allowed values `
	for _, c := range []struct{ data, want string }{
		{`{"id":"S","operation":"foo","data":"audio"}`, enum + mixes + "," + enum + regions + "," + enum + pauses},
		{`{"id":"S","operation":"pause"}`, `request should have required property '.data' ".data"`},
		{`{"id":1,"operation":"pause","data":"audio"}`, `request.id should be string "string",request.id should be string "string",request.id should be string "string"`},
		{`{"id":"S","operation":"set-region","data":{"view":"common","region":""}}`,
			enum + mixes + `,request.data.region should NOT be shorter than 1 characters 1,` + enum + pauses},
		{`{"id":"S","operation":"pause","data":"av"}`, ``},
	} {
		if _, err := DecodeStreamControl(parse(t, c.data)); refusal(err) != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.data, refusal(err), c.want)
		}
	}
}

func TestT_100_QueryBWEIsRefused(t *testing.T) {
	_, err := DecodeSubscriptionControl(parse(t, `{"id":"Y","operation":"querybwe"}`))
	if want := `request should have required property '.data' ".data"`; refusal(err) != want {
		t.Errorf("got %q, want %q", refusal(err), want)
	}
}

func TestT_22_23_24_31_32_Login(t *testing.T) {
	const ua = `"userAgent":{"sdk":{"type":"JavaScript","version":"5.1"}}`
	for _, c := range []struct{ data, want string }{
		{`{"token":"x",` + ua + `,"protocol":"1.2"}`, ``},
		{`{"token":"x",` + ua + `,"protocol":"2.0"}`, `Unknown client protocol`},
		{`{"token":"x",` + ua + `,"protocol":null}`, `Unknown client protocol`},
		{`{"token":"x",` + ua + `,"protocol":1.2}`, `Unknown client protocol`},
		{`{"token":"x",` + ua + `}`, `Deprecated client version`},
		{`{"token":"x","userAgent":{"sdk":{"type":"JavaScript","version":"3.5"}},"protocol":"1.2"}`, `Deprecated client version`},
		{`{"token":"x","protocol":"1.2"}`, `User agent info is incorrect`},
		{`{"token":"x","userAgent":"x","protocol":"1.2"}`, `User agent info is incorrect`},
		{`{"token":"x","userAgent":{"sdk":{"type":"JavaScript"}},"protocol":"1.2"}`, `User agent info is incorrect`},
		{`[]`, `Invalid login info`},
		{`null`, `Invalid login info`},
	} {
		if _, err := DecodeLogin(parse(t, c.data)); refusal(err) != c.want {
			t.Errorf("%s: got %q, want %q", c.data, refusal(err), c.want)
		}
	}
}

func TestT_104_SOAC(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{`{}`, `Invalid soac id`},
		{`{"id":"a"}`, `Invalid signaling object`},
		{`{"id":"a","signaling":{"type":"foo"}}`, `Invalid signaling type`},
		{`{"id":"a","signaling":{"type":"offer","sdp":""}}`, ``},
		{`{"id":"a","signaling":{"type":"candidate"}}`, ``},
		{`{"id":"a","signaling":{"type":"removed-candidates","candidates":[{"candidate":"a=x"},7]}}`, ``},
	} {
		if _, err := DecodeSignaling(parse(t, c.data)); refusal(err) != c.want {
			t.Errorf("%s: got %q, want %q", c.data, refusal(err), c.want)
		}
	}
}

func TestT_72_84_103_SimpleRequests(t *testing.T) {
	for _, data := range []string{`{}`, `{"to":""}`, `{"to":1}`, `null`} {
		if _, err := DecodeText(parse(t, data)); err != ErrInvalidReceiver {
			t.Errorf("text %s: %v", data, err)
		}
	}
	for _, data := range []string{`{}`, `{"id":"a_b"}`, `{"id":""}`, `null`} {
		if _, err := DecodeStreamID(parse(t, data)); err != ErrInvalidStreamID {
			t.Errorf("unpublish %s: %v", data, err)
		}
		if _, err := DecodeSubscriptionID(parse(t, data)); err != ErrSubscriptionID {
			t.Errorf("unsubscribe %s: %v", data, err)
		}
	}
}

// The examples of portal protocol 9.5.
func TestStreamInfoExamples(t *testing.T) {
	const id, owner, room = "0d7c1f6a5b3e4c2a9f10b7d86e5a4c31", "dfwJDAZK-4mzSBGZAAAL", "5f0000000000000000000001"
	opus := conference.Format{Codec: "opus", SampleRate: 48000, ChannelNum: 2}
	av := conference.Stream{
		ID: id, Type: conference.Forward, Owner: owner, Via: "webrtc", InViews: []string{"common"}, Attributes: parse(t, `{"name":"cam"}`),
		Tracks: []conference.Track{
			{ID: id + "-0", Kind: conference.Audio, Source: "mic", Format: opus, Mid: "0",
				Optional: conference.Optional{AudioFormats: []conference.AudioFormat{{Codec: "pcma"}, {Codec: "pcmu"}}}},
			{ID: id + "-1", Kind: conference.Video, Source: "camera", Format: conference.Format{Codec: "vp8"}, Mid: "1",
				Parameters: conference.VideoParameters{Resolution: conference.Resolution{Width: 640, Height: 480}},
				Optional: conference.Optional{
					VideoFormats: []conference.VideoFormat{{Codec: "h264", Profile: "CB"}, {Codec: "vp9"}},
					Resolutions:  []conference.Resolution{{Width: 480, Height: 360}, {Width: 320, Height: 240}},
					Bitrates:     []string{"x0.8", "x0.6", "x0.4", "x0.2"}, Framerates: []float64{6, 12, 15, 24}, KeyFrameIntervals: []float64{100, 30, 5, 2, 1}}},
		},
	}
	mixed := conference.Stream{
		ID: room + "-common", Type: conference.Mixed, Label: "common", ActiveInput: "unknown", Origin: conference.Origin{ISP: "isp", Region: "region"},
		Tracks: []conference.Track{
			{Kind: conference.Audio, Format: opus},
			{Kind: conference.Video, Format: conference.Format{Codec: "vp8"}, Parameters: conference.VideoParameters{
				Resolution: conference.Resolution{Width: 640, Height: 480}, Framerate: 24, KeyFrameInterval: 100}},
		},
	}
	js := Receiver{Version: V12, SDK: SDK{Type: "JavaScript", Version: "5.1"}}
	for _, c := range []struct {
		stream conference.Stream
		want   string
	}{
		{av, `{"id":"0d7c1f6a5b3e4c2a9f10b7d86e5a4c31","type":"forward","media":{"tracks":[
 {"id":"0d7c1f6a5b3e4c2a9f10b7d86e5a4c31-0","type":"audio","source":"mic","format":{"codec":"opus","sampleRate":48000,"channelNum":2},"optional":{"format":[{"codec":"pcma"},{"codec":"pcmu"}]},"status":"active","mid":"0"},
 {"id":"0d7c1f6a5b3e4c2a9f10b7d86e5a4c31-1","type":"video","source":"camera","format":{"codec":"vp8"},"parameters":{"resolution":{"width":640,"height":480}},"optional":{"format":[{"codec":"h264","profile":"CB"},{"codec":"vp9"}],"parameters":{"resolution":[{"width":480,"height":360},{"width":320,"height":240}],"bitrate":["x0.8","x0.6","x0.4","x0.2"],"framerate":[6,12,15,24],"keyFrameInterval":[100,30,5,2,1]}},"status":"active","mid":"1"}]},
 "info":{"owner":"dfwJDAZK-4mzSBGZAAAL","type":"webrtc","inViews":["common"],"attributes":{"name":"cam"}}}`},
		{mixed, `{"id":"5f0000000000000000000001-common","type":"mixed","media":{"tracks":[
 {"type":"audio","format":{"codec":"opus","sampleRate":48000,"channelNum":2},"optional":{},"status":"active"},
 {"type":"video","format":{"codec":"vp8"},"parameters":{"resolution":{"width":640,"height":480},"framerate":24,"keyFrameInterval":100},"optional":{"parameters":{"resolution":[],"framerate":[],"bitrate":[],"keyFrameInterval":[]}},"status":"active"}]},
 "data":null,"info":{"label":"common","activeInput":"unknown","layout":[],"origin":{"isp":"isp","region":"region"}}}`},
		{conference.Stream{ID: "active-audio-0", Type: conference.Forward, Owner: "unknown", Via: "selecting", ActiveInput: "unknown",
			Tracks: []conference.Track{{Kind: conference.Audio, Format: conference.Format{Codec: "unknown"}}}},
			`{"id":"active-audio-0","type":"forward","media":{"tracks":[{"type":"audio","format":{"codec":"unknown"},"optional":{},"status":"active"}]},
 "data":null,"info":{"owner":"unknown","type":"selecting","inViews":[],"activeInput":"unknown"}}`},
		{conference.Stream{ID: "7b1c8f4beb684ab18cfca95ed377a520", Type: conference.Forward, Data: true, Owner: "P", Via: "quic"},
			`{"id":"7b1c8f4beb684ab18cfca95ed377a520","type":"forward","media":{"tracks":[]},"data":true,"info":{"owner":"P","type":"quic","inViews":[]}}`},
	} {
		got := EncodeStream(&c.stream, js)
		if !jsonvalue.Equal(got, parse(t, c.want)) {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
		again, ok := DecodeStream(got)
		if !ok || !jsonvalue.Equal(EncodeStream(&again, js), got) {
			t.Errorf("does not survive decoding: %s", EncodeStream(&again, js))
		}
	}
}

func TestT_142_AudioSourceForJavaScript(t *testing.T) {
	s := conference.Stream{ID: "s", Type: conference.Forward, Tracks: []conference.Track{{Kind: conference.Audio, Source: "raw-file", Format: conference.Format{Codec: "opus"}}}}
	for sdk, want := range map[string]string{"JavaScript": "file", "C++": "raw-file"} {
		v := EncodeStream(&s, Receiver{Version: V12, SDK: SDK{Type: sdk, Version: "5.1"}})
		if got := v.Path("media", "tracks").Index(0).Get("source").Text(); got != want {
			t.Errorf("%s sees source %q, want %q", sdk, got, want)
		}
	}
}

func TestNotificationsRoundTrip(t *testing.T) {
	to := Receiver{Version: V12}
	for _, c := range []struct {
		n           Notification
		event, data string
	}{
		{ParticipantJoined{conference.Participant{ID: "p", User: "alice", Role: "presenter"}}, "participant", `{"action":"join","data":{"id":"p","user":"alice","role":"presenter"}}`},
		{ParticipantLeft{"p"}, "participant", `{"action":"leave","data":"p"}`},
		{StreamRemoved{"s"}, "stream", `{"id":"s","status":"remove"}`},
		{StreamUpdated{ID: "s", Field: FieldAudioStatus, Value: jsonvalue.Of("inactive")}, "stream", `{"id":"s","status":"update","data":{"field":"audio.status","value":"inactive"}}`},
		{TextMessage{"p", All, jsonvalue.Of("hi")}, "text", `{"from":"p","to":"all","message":"hi"}`},
		{Progress{Transport: "t", Status: ProgressReady}, "progress", `{"id":"t","status":"ready"}`},
		{Progress{Transport: "t", Session: "s", Status: ProgressReady}, "progress", `{"id":"t","sessionId":"s","status":"ready"}`},
		{Progress{Transport: "t", Session: "s", Status: ProgressError, Reason: ReasonSourceLoss}, "progress", `{"id":"t","sessionId":"s","status":"error","data":"Source stream loss"}`},
		{Progress{Transport: "t", Session: "s", Status: ProgressLayers, Reason: "q,h"}, "progress", `{"id":"t","sessionId":"s","status":"layers","data":"q,h"}`},
		{Progress{Transport: "t", Status: ProgressSOAC, Answer: "v=0"}, "progress", `{"id":"t","status":"soac","data":{"type":"answer","sdp":"v=0"}}`},
		{Dropped{}, "drop", `null`},
		{Move{Edges: []string{"https://e"}, Ticket: "t", Deadline: time.Second}, "move", `{"edges":["https://e"],"ticket":"t","deadline":1000}`},
		{Roster{Count: 501, Thin: true}, "roster", `{"count":501,"thin":true}`},
		{Roster{Count: 1}, "roster", `{"count":1,"thin":false}`},
	} {
		event, data := c.n.Encode(to)
		if event != c.event || !jsonvalue.Equal(data, parse(t, c.data)) {
			t.Errorf("%T: %s %s, want %s %s", c.n, event, data, c.event, c.data)
		}
		back, ok := DecodeNotification(event, data)
		if !ok {
			t.Errorf("%T does not decode", c.n)
			continue
		}
		if e, d := back.Encode(to); e != event || !jsonvalue.Equal(d, data) {
			t.Errorf("%T came back as %s %s", c.n, e, d)
		}
	}
}

func TestRequestsRoundTrip(t *testing.T) {
	p := PublishRequest{Tracks: []PublishTrack{{Kind: conference.Audio, Mid: "0", Source: "mic"}, {Kind: conference.Video, Mid: "1", Source: "camera"}},
		Attributes: parse(t, `{"a":"b"}`), Transport: TransportRef{Type: "webrtc", ID: "t"}}
	gotP, err := DecodePublish(p.Encode(), V12)
	if err != nil || len(gotP.Tracks) != 2 || gotP.Tracks[1] != p.Tracks[1] || gotP.Transport != p.Transport || !jsonvalue.Equal(gotP.Attributes, p.Attributes) {
		t.Errorf("publish: %+v, %v", gotP, err)
	}
	s := SubscribeRequest{Tracks: []SubscribeTrack{{Kind: conference.Video, Mid: "1", From: "s", Format: &conference.Format{Codec: "vp8"},
		Wanted: Wanted{Resolution: conference.Resolution{Width: 320, Height: 240}, Bitrate: "x0.8"}}}, Transport: TransportRef{Type: "webrtc"}}
	gotS, err := DecodeSubscribe(s.Encode(), V12)
	if err != nil || len(gotS.Tracks) != 1 || gotS.Tracks[0].Wanted != s.Tracks[0].Wanted || *gotS.Tracks[0].Format != *s.Tracks[0].Format {
		t.Errorf("subscribe: %+v, %v", gotS, err)
	}
	c := StreamControl{ID: "s", Operation: Pause, Media: conference.MediaSet{Audio: true}}
	if got, err := DecodeStreamControl(c.Encode()); err != nil || got != c {
		t.Errorf("stream-control: %+v, %v", got, err)
	}
	u := SubscriptionControl{ID: "s", Operation: Update, Media: conference.MediaSet{Video: true}, Wanted: Wanted{Framerate: 15}}
	if got, err := DecodeSubscriptionControl(u.Encode()); err != nil || got != u {
		t.Errorf("subscription-control: %+v, %v", got, err)
	}
	g := Signaling{Transport: "t", Type: SignalCandidate, Candidates: []Candidate{{Text: "a=candidate:1", Mid: "0", MLine: 2}}}
	if got, err := DecodeSignaling(g.Encode()); err != nil || len(got.Candidates) != 1 || got.Candidates[0] != g.Candidates[0] {
		t.Errorf("soac: %+v, %v", got, err)
	}
}

// FuzzDecode gives every decoder every shape of data: none may panic, and a refusal is always an *Error.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"token":"x","userAgent":{"sdk":{"type":"Go","version":"1"}},"protocol":"1.2"}`,
		`{"media":{"tracks":[{"type":"audio","mid":"0","source":"mic","from":"s","format":{"codec":"opus"},"parameters":{"bitrate":1}}]},"transport":{"type":"webrtc","id":"t"}}`,
		`{"id":"a","operation":"update","data":{"video":{"from":"s","parameters":{"resolution":{"width":1,"height":2}}}}}`,
		`{"id":"a","signaling":{"type":"removed-candidates","candidates":[{"candidate":"a=x","sdpMLineIndex":-1}]}}`,
		`{"id":"a","status":"update","data":{"field":".","value":{"id":"a","media":{"tracks":[{}]}}}}`,
		`{"id":"p","room":{"id":"r","views":[1],"participants":[{}],"streams":[null]},"iceServers":[{"urls":"stun:x"}]}`,
		`{"token":"x","userAgent":{"sdk":{"type":"Go","version":"1"}},"protocol":"1.2","migrate":true,"thin":true}`,
		`{"id":"p","room":{"id":"r","participants":[{"id":"p"}]},"edges":["https://e",7],"count":501,"thin":true}`,
		`{"ticket":"t","restore":true,"migrate":true,"thin":true}`, `{"count":501,"thin":true}`, `{"count":-1}`, `{"count":1e300,"thin":1}`,
		`{"ticket":"t","messages":[{"event":"roster","data":{"count":3},"seq":1}],"moved":{"id":"p","room":{},"count":2.5,"thin":true}}`,
		`{"edges":["https://e"],"ticket":"t","deadline":1000}`, `["error","full",{"edges":["https://e"]}]`,
		`["ok",{"id":"a"}]`, `null`, `[]`, `"x"`, `0`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := jsonvalue.Parse(data, jsonvalue.Limits{})
		if err != nil {
			return
		}
		var errs []error
		check := func(err error) { errs = append(errs, err) }
		_, err = DecodeLogin(v)
		check(err)
		_, err = DecodePublish(v, V12)
		check(err)
		_, err = DecodeSubscribe(v, V12)
		check(err)
		_, err = DecodeText(v)
		check(err)
		_, err = DecodeStreamControl(v)
		check(err)
		_, err = DecodeSubscriptionControl(v)
		check(err)
		_, err = DecodeSignaling(v)
		check(err)
		for _, err := range errs {
			if err != nil {
				if _, ok := err.(*Error); !ok {
					t.Fatalf("%T is not a refusal", err)
				}
			}
		}
		for _, event := range []string{EventParticipant, EventStream, EventText, EventProgress, EventDrop, EventMove, EventRoster, "x"} {
			if n, ok := DecodeNotification(event, v); ok {
				n.Encode(Receiver{Version: V12})
			}
		}
		if r, ok := DecodeLoginResult(v); ok {
			r.Encode(Receiver{Version: V12})
		}
		DecodeSessionAck(v)
		if r := DecodeRelogin(v); r != DecodeRelogin(r.Encode()) {
			t.Fatalf("%+v is encoded as %s", r, r.Encode())
		}
		if r, ok := DecodeReloginResult(v); ok {
			r.Encode()
		}
		args := make([]jsonvalue.Value, v.Len())
		if v.Kind() == jsonvalue.Array {
			for i := range args {
				args[i] = v.Index(i)
			}
		}
		if _, err := DecodeAck(args); err != nil {
			AckError(err)
		}
	})
}

// TestControlled: the answers to stream-control, and the layout of a mixed stream, are read as they are written.
func TestControlled(t *testing.T) {
	if got := EncodeControlled(Mix, ""); got.Text() != "ok" {
		t.Errorf("mix: %s", got)
	}
	if region, ok := DecodeRegion(EncodeControlled(GetRegion, "7")); !ok || region != "7" {
		t.Errorf("region %q", region)
	}
	if _, ok := DecodeRegion(EncodeControlled(Mix, "")); ok {
		t.Error("a mix has a region")
	}
	layout := jsonvalue.OfArray(jsonvalue.OfObject(jsonvalue.M("stream", jsonvalue.Of("s"))))
	s, ok := DecodeStream(EncodeStream(&conference.Stream{ID: "r-common", Type: conference.Mixed, Layout: layout}, Receiver{Version: V12}))
	if !ok || s.Layout.String() != layout.String() {
		t.Errorf("layout %s", s.Layout)
	}
}

// TestThin: what is asked for and told of a thin roster is read as it is written, within bounds, and left out for everybody else.
func TestThin(t *testing.T) {
	l := Login{Token: jsonvalue.Of("x"), SDK: SDK{"Go", "1"}, Protocol: V12}
	if got := l.Encode().String(); strings.Contains(got, "thin") {
		t.Errorf("not asked for: %s", got)
	}
	l.Thin = true
	if got, err := DecodeLogin(l.Encode()); err != nil || !got.Thin {
		t.Errorf("login %+v, %v", got, err)
	}
	for _, r := range []Relogin{{Ticket: "t"}, {Ticket: "t", Restore: true}, {Ticket: "t", Restore: true, Migrate: true, Thin: true}} {
		if got := DecodeRelogin(r.Encode()); got != r {
			t.Errorf("relogin %+v, want %+v", got, r)
		}
	}
	if r := DecodeRelogin(parse(t, `{"ticket":"t","thin":true}`)); r.Thin {
		t.Error("an answer of before asks for it")
	}
	result := LoginResult{Participant: conference.Participant{ID: "p"}, RoomID: "r"}
	if v := result.Encode(Receiver{Version: V12}); v.Get("count").Exists() || v.Get("thin").Exists() {
		t.Errorf("told unasked: %s", v)
	}
	result.Count, result.Thin = 501, true
	moved := ReloginResult{Ticket: "t", Moved: &result}
	if got, ok := DecodeReloginResult(moved.Encode()); !ok || got.Moved.Count != 501 || !got.Moved.Thin {
		t.Errorf("relogin's answer %+v", got.Moved)
	}
	for _, count := range []string{"0", "-1", "2.5", "10000001", "1e300", `"7"`, "null"} {
		if n, ok := DecodeNotification(EventRoster, parse(t, `{"thin":true,"count":`+count+`}`)); ok {
			t.Errorf("%s: %+v", count, n)
		}
		v := result.Encode(Receiver{Version: V12}).With("count", parse(t, count))
		if r, ok := DecodeLoginResult(v); !ok || r.Count != 0 {
			t.Errorf("%s: %d, %v", count, r.Count, ok)
		}
	}
}
