package portalproto

import (
	"testing"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
)

func TestT_74_78_FlatRequests(t *testing.T) {
	for _, version := range []Version{V10, V11} {
		r, err := DecodePublish(parse(t, `{"media":{"audio":{"source":"mic"},"video":false}}`), version)
		if err != nil || len(r.Tracks) != 1 || r.Tracks[0] != (PublishTrack{Kind: conference.Audio, Mid: "0", Source: "mic"}) {
			t.Errorf("T-74: %+v, %v", r, err)
		}
		_, err = DecodePublish(parse(t, `{"media":{"audio":true,"video":false}}`), version)
		if want := `request.media.audio should be object "object",request.media.audio should be equal to constant`; refusal(err) != want {
			t.Errorf("T-78: %q", refusal(err))
		}
		r, err = DecodePublish(parse(t, `{"media":{"audio":{"source":"mic"},"video":{"source":"camera","parameters":{"resolution":{"width":1,"height":1},"x":1}}},"attributes":{"a":"b"}}`), version)
		if err != nil || len(r.Tracks) != 2 || r.Tracks[1].Mid != "1" || r.Attributes.Get("a").Text() != "b" {
			t.Errorf("both: %+v, %v", r, err)
		}
		if r, err = DecodePublish(parse(t, `{"media":{"audio":false,"video":{"source":"camera"}}}`), version); err != nil || r.Tracks[0].Mid != "0" {
			t.Errorf("video alone has mid 0: %+v, %v", r, err)
		}
		if r, err = DecodePublish(parse(t, `{"media":{"audio":false,"video":false}}`), version); err != nil || len(r.Tracks) != 0 {
			t.Errorf("neither passes the schema: %+v, %v", r, err)
		}
		s, err := DecodeSubscribe(parse(t, `{"media":{"audio":{"from":"s","format":{"codec":"opus"}},"video":{"from":"s","simulcastRid":"h","parameters":{"framerate":15}}}}`), version)
		if err != nil || len(s.Tracks) != 2 || s.Tracks[0].Format != nil || s.Tracks[1].Rid != "h" || s.Tracks[1].Wanted.Framerate != 15 {
			t.Errorf("subscribe: %+v, %v", s, err)
		}
		if _, err = DecodePublish(parse(t, `{"media":{"tracks":[]}}`), version); refusal(err) != `request.media should NOT have additional properties "tracks"` {
			t.Errorf("tracks: %q", refusal(err))
		}
	}
}

func TestT_122_SessionProgress(t *testing.T) {
	ready := Progress{Transport: "t", Session: "s", Status: ProgressReady}
	transport := Progress{Transport: "t", Status: ProgressReady}
	failed := Progress{Transport: "t", Session: "s", Status: ProgressError, Reason: "x"}
	for _, c := range []struct {
		n       Progress
		version Version
		event   string
	}{
		{ready, V10, "session-progress"}, {ready, V11, "session-progress"}, {ready, V12, "progress"},
		{transport, V11, "progress"}, {failed, V11, "progress"},
	} {
		if event, _ := c.n.Encode(Receiver{Version: c.version}); event != c.event {
			t.Errorf("%+v in %s is %s", c.n, c.version, event)
		}
	}
}

// The older forms of the examples of portal protocol 9.5, and T-137: each receiver has its own.
func TestT_130_137_141_FlatStreams(t *testing.T) {
	const id = "0d7c1f6a5b3e4c2a9f10b7d86e5a4c31"
	vp8 := conference.Format{Codec: "vp8"}
	simulcast := conference.Stream{ID: id, Type: conference.Forward, Owner: "P", Via: "webrtc", Tracks: []conference.Track{
		{ID: id + "-0:q", Kind: conference.Video, Source: "camera", Format: vp8, Mid: "0", Rid: "q",
			Parameters: conference.VideoParameters{Resolution: conference.Resolution{Width: 320, Height: 180}}},
		{ID: id + "-0:h", Kind: conference.Video, Source: "camera", Format: vp8, Mid: "0", Rid: "h"},
		{ID: id + "-0:f", Kind: conference.Video, Source: "camera", Format: vp8, Mid: "0", Rid: "f"},
	}}
	av := conference.Stream{ID: id, Type: conference.Forward, Owner: "P", Via: "webrtc", Tracks: []conference.Track{
		{ID: id + "-0", Kind: conference.Audio, Source: "mic", Format: conference.Format{Codec: "opus", SampleRate: 48000, ChannelNum: 2}, Mid: "0", Inactive: true},
		{ID: id + "-1", Kind: conference.Video, Source: "camera", Format: vp8, Mid: "1"},
	}}
	data := conference.Stream{ID: id, Type: conference.Forward, Data: true, Owner: "P", Via: "quic"}
	const empty = `"optional":{"parameters":{"resolution":[],"framerate":[],"bitrate":[],"keyFrameInterval":[]}}`
	for _, c := range []struct {
		name    string
		stream  conference.Stream
		version Version
		media   string
	}{
		{"1.1 simulcast", simulcast, V11, `{"video":{"status":"active","source":"camera","original":[{"format":{"codec":"vp8"},"parameters":{"resolution":{"width":320,"height":180}},"simulcastRid":"q"},{"format":{"codec":"vp8"},"simulcastRid":"h"},{"format":{"codec":"vp8"},"simulcastRid":"f"}],` + empty + `}}`},
		{"1.0 simulcast", simulcast, V10, `{"video":{"status":"active","source":"camera",` + empty + `,"format":{"codec":"vp8"},"parameters":{"resolution":{"width":320,"height":180}}}}`},
		{"1.1 av", av, V11, `{"audio":{"status":"inactive","source":"mic","format":{"codec":"opus","sampleRate":48000,"channelNum":2},"optional":{}},"video":{"status":"active","source":"camera","original":[{"format":{"codec":"vp8"}}],` + empty + `}}`},
		{"1.0 av", av, V10, `{"audio":{"status":"inactive","source":"mic","format":{"codec":"opus","sampleRate":48000,"channelNum":2},"optional":{}},"video":{"status":"active","source":"camera",` + empty + `,"format":{"codec":"vp8"}}}`},
		{"1.1 data", data, V11, `{}`},
	} {
		before := EncodeStream(&c.stream, Receiver{Version: V12}).String()
		if got := EncodeStream(&c.stream, Receiver{Version: c.version}).Get("media"); !jsonvalue.Equal(got, parse(t, c.media)) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.media)
		}
		if after := EncodeStream(&c.stream, Receiver{Version: V12}).String(); after != before {
			t.Errorf("%s: the 1.2 form changed", c.name)
		}
	}
}
