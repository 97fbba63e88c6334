package restapi

import (
	"slices"
	"strings"
	"testing"
)

// What management API 8.1 shows of a default room.
const (
	audioOut = `"optional":{"format":[{"codec":"isac","sampleRate":16000},{"codec":"isac","sampleRate":32000},{"codec":"g722","sampleRate":16000,"channelNum":1},` +
		`{"codec":"pcma"},{"codec":"pcmu"},{"codec":"aac","sampleRate":48000,"channelNum":2},{"codec":"ac3"},{"codec":"nellymoser"},{"codec":"ilbc"}]}`
	opusFormat  = `"format":{"codec":"opus","sampleRate":48000,"channelNum":2}`
	videoOut    = `"format":[{"codec":"h264","profile":"CB"},{"codec":"h264","profile":"B"},{"codec":"vp9"}]`
	bitrates    = `"bitrate":["x0.8","x0.6","x0.4","x0.2"]`
	intervals   = `"keyFrameInterval":[100,30,5,2,1]`
	size720     = `"parameters":{"resolution":{"width":1280,"height":720}}`
	resolutions = `[{"width":960,"height":540},{"width":852,"height":480},{"width":640,"height":360},{"width":426,"height":240},{"width":320,"height":180},` +
		`{"width":800,"height":600},{"width":640,"height":480},{"width":320,"height":240},{"width":352,"height":288}]`
	optional720 = `"optional":{` + videoOut + `,"parameters":{"resolution":` + resolutions + `,` + bitrates + `,"framerate":[6,12,15,24],` + intervals + `}}`
	optionalVGA = `"optional":{` + videoOut + `,"parameters":{"resolution":[{"width":480,"height":360},{"width":426,"height":320},{"width":320,"height":240},` +
		`{"width":212,"height":160},{"width":160,"height":120},{"width":352,"height":288}],` + bitrates + `,"framerate":[6,12,15],` + intervals + `}}`

	mixedStream = `{"id":"R-common","type":"mixed","media":{"audio":{"status":"active",` + opusFormat + `,` + audioOut + `},` +
		`"video":{"status":"active","original":[{"format":{"codec":"vp8"},"parameters":{"resolution":{"width":640,"height":480},"framerate":24,"keyFrameInterval":100}}],` +
		optionalVGA + `}},"data":null,"info":{"label":"common","activeInput":"unknown","layout":[],"origin":{"isp":"isp","region":"region"}}}`
	stream1 = `{"id":"S1","type":"forward","media":{"audio":{"status":"active","source":"mic",` + opusFormat + `,` + audioOut + `},` +
		`"video":{"status":"active","source":"camera","original":[{"format":{"codec":"vp8"},` + size720 + `}],` + optional720 + `}},` +
		`"info":{"owner":"P_ALICE","type":"webrtc","inViews":[],"attributes":{"a":1}}}`
	original1 = `"original":[{"format":{"codec":"vp8"},` + size720 + `}],`
)

// v1 is the older form of stream1.
var v1 = strings.Replace(stream1, original1, `"format":{"codec":"vp8"},`+size720+`,`, 1)

func TestC_28_29_Streams(t *testing.T) {
	m := newMeeting(t, "{}")
	m.path = "/v1.1/rooms/" + m.room
	m.wantJSON(m.request("GET", "/streams", ""), 200, m.filled("["+mixedStream+","+stream1+"]"))
	m.wantJSON(m.request("GET", "/streams/R-common", ""), 200, m.filled(mixedStream))
	m.path = "/V1/rooms/" + m.room
	m.wantJSON(m.request("GET", "/streams/S1", ""), 200, m.filled(v1))
	m.wantJSON(m.request("GET", "/streams/nope", ""), 404, noStreamFound)
	t.Run("C-59", func(t *testing.T) {
		m.wantJSON(m.do("GET", "/v1.1/rooms/"+m.room+"/streams", sign(m.other), ""), 404, noRoom)
		m.wantJSON(m.do("PATCH", "/v1.1/rooms/"+m.room+"/streams/"+m.s1, sign(m.other), "[]"), 404, noRoom)
	})
}

func TestC_60_Simulcast(t *testing.T) {
	m := newMeeting(t, "{}")
	id := m.publish(true)
	v := m.json(m.asService("GET", "/v1.1/rooms/"+m.room+"/streams/"+id, ""), 200).Path("media", "video")
	const want = `[{"format":{"codec":"vp8"},"simulcastRid":"q"},{"format":{"codec":"vp8"},"simulcastRid":"h"},{"format":{"codec":"vp8"},"simulcastRid":"f"}]`
	if got := v.Get("original").String(); got != want || v.Get("format").Exists() {
		t.Errorf("v1.1: %s", v)
	}
	v = m.json(m.asService("GET", "/v1/rooms/"+m.room+"/streams/"+id, ""), 200).Path("media", "video")
	if got := v.Get("format").String(); got != `{"codec":"vp8"}` || v.Get("original").Exists() {
		t.Errorf("v1: %s", v)
	}
}

// wantTold checks what all participants have been told since the last look.
func (m *meeting) wantTold(want ...string) {
	m.t.Helper()
	for i := range want {
		want[i] = m.filled(want[i])
	}
	for name, member := range map[string]*member{"Alice": m.alice, "Bob": m.bob} {
		if got := member.take(); !slices.Equal(got, want) {
			m.t.Errorf("%s was told\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

const fullLayout = `[{"stream":"S1","region":{"id":"1","shape":"rectangle","area":{"left":"0/1","top":"0/1","width":"1/1","height":"1/1"}}}]`

func TestC_30_to_34_Forward(t *testing.T) {
	m := newMeeting(t, "{}")
	inViews := strings.Replace(v1, `"inViews":[]`, `"inViews":["common"]`, 1)
	const add = `{"op":"add","path":"/info/inViews","value":"common"}`
	m.wantJSON(m.request("PATCH", "/streams/S1", "["+add+"]"), 200, m.filled(inViews))
	m.wantTold(`stream {"id":"R-common","status":"update","data":{"field":"video.layout","value":` + fullLayout + `}}`)
	m.wantJSON(m.request("PATCH", "/streams/S1", "["+add+"]"), 200, m.filled(inViews))
	m.wantTold()
	m.wantJSON(m.request("PATCH", "/streams/S1", `[{"op":"add","path":"/info/inViews","value":"nope"}]`), 500, failed)
	const mute = `{"op":"replace","path":"/media/audio/status","value":"inactive"}`
	m.wantJSON(m.request("PATCH", "/streams/S1", `[`+mute+`,{"op":"add","path":"/info/inViews","value":"nope"}]`), 500, failed)
	m.wantJSON(m.request("PATCH", "/streams/S1", `[]`), 200, m.filled(inViews))
	m.wantTold()
	muted := strings.Replace(inViews, `"status":"active"`, `"status":"inactive"`, 1)
	m.wantJSON(m.request("PATCH", "/streams/S1", "["+mute+"]"), 200, m.filled(muted))
	m.wantTold(`stream {"id":"S1","status":"update","data":{"field":"audio.status","value":"inactive"}}`)
	m.wantJSON(m.request("PATCH", "/streams/S1", `[{"op":"replace","path":"/media/video/status","value":"inactive"},`+
		`{"op":"replace","path":"/media/video/status","value":"active"},{"op":"replace","path":"/media/audio/status","value":"active"}]`), 200, m.filled(inViews))
	m.alice.take()
	m.bob.take()
	const remove = `[{"op":"remove","path":"/info/inViews","value":"common"}]`
	m.wantJSON(m.request("PATCH", "/streams/S1", remove), 200, m.filled(v1))
	m.wantTold(`stream {"id":"R-common","status":"update","data":{"field":"video.layout","value":` + strings.Replace(fullLayout, `"stream":"S1",`, "", 1) + `}}`)
	m.wantJSON(m.request("PATCH", "/streams/S1", remove), 200, m.filled(v1))
	for _, body := range []string{
		`{}`, `["x"]`, `[{"op":"add","path":"/info/inViews","value":1}]`, `[{"op":"replace","path":"/info/inViews","value":"common"}]`,
		`[{"op":"add","path":"/info/inViews","value":"common","x":1}]`, `[{"op":"add","path":"/info/inViews"}]`,
		`[{"op":"replace","path":"/media/audio/status","value":"off"}]`, `[{"op":"replace","path":"/media/data/status","value":"inactive"}]`,
		`[{"op":"replace","path":"/info/layout","value":[]}]`, `[` + add + `,null]`,
	} {
		m.wantJSON(m.request("PATCH", "/streams/S1", body), 500, failed)
	}
	m.wantJSON(m.request("PATCH", "/streams/nope", "[]"), 500, failed)
	m.wantTold()
}

func region(id, left, width, stream string) string {
	if stream != "" {
		stream = `"stream":"` + stream + `",`
	}
	return `{` + stream + `"region":{"id":"` + id + `","shape":"rectangle","area":{"left":"` + left + `","top":"0","width":"` + width + `","height":"1"}}}`
}

func setLayout(regions ...string) string {
	return `[{"op":"replace","path":"/info/layout","value":[` + strings.Join(regions, ",") + `]}]`
}

func TestC_35_36_37_38_Mixed(t *testing.T) {
	m := newMeeting(t, "{}")
	two := setLayout(region("1", "0", "1/2", "S1"), region("2", "1/2", "1/2", ""))
	m.wantJSON(m.request("PATCH", "/streams/R-common", two), 500, failed) // S1 is not mixed
	m.json(m.request("PATCH", "/streams/S1", `[{"op":"add","path":"/info/inViews","value":"common"}]`), 200)
	m.alice.take()
	m.bob.take()
	layout := `[{"stream":"S1","region":{"id":"1","shape":"rectangle","area":{"left":"0/1","top":"0/1","width":"1/2","height":"1/1"}}},` +
		`{"region":{"id":"2","shape":"rectangle","area":{"left":"1/2","top":"0/1","width":"1/2","height":"1/1"}}}]`
	m.path = "/v1.1/rooms/" + m.room
	shown := m.filled(strings.Replace(mixedStream, `"layout":[]`, `"layout":`+layout, 1))
	m.wantJSON(m.request("PATCH", "/streams/R-common", two), 200, shown)
	m.wantTold(`stream {"id":"R-common","status":"update","data":{"field":"video.layout","value":` + layout + `}}`)
	for _, body := range []string{
		strings.Replace(two, `"left":"0"`, `"left":"0.5"`, 1),
		setLayout(region("2", "1/2", "1/2", ""), region("1", "0", "1/2", "S1")),
		setLayout(region("1", "0", "1/2", "S1"), region("1", "1/2", "1/2", "")),
		strings.Replace(two, "rectangle", "circle", 1),
		`[{"op":"replace","path":"/info/layout","value":{}}]`,
	} {
		m.wantJSON(m.request("PATCH", "/streams/R-common", body), 500, failed)
	}
	occupy := func(region string) string {
		return `[{"op":"replace","path":"/info/layout/` + region + `/stream","value":"S1"}]`
	}
	m.wantJSON(m.request("PATCH", "/streams/R-common", occupy("0")), 200, shown)
	for _, region := range []string{"1", "9", "-1", "", "0/0", "99999999999999999999"} {
		m.wantJSON(m.request("PATCH", "/streams/R-common", occupy(region)), 500, failed)
	}
	m.wantJSON(m.request("PATCH", "/streams/R-common", `[{"op":"replace","path":"/media/audio/status","value":"inactive"}]`), 500, failed)
	m.wantJSON(m.request("DELETE", "/streams/R-common", ""), 500, failed)
	m.wantTold()
	m.wantJSON(m.request("GET", "/streams/R-common", ""), 200, shown)
}

// TestT_139_DeleteStream: the owner is told no more than everybody.
func TestT_139_DeleteStream(t *testing.T) {
	m := newMeeting(t, "{}")
	m.wantEmpty(m.request("DELETE", "/streams/S1", ""))
	m.wantTold(`stream {"id":"S1","status":"remove"}`)
	m.wantJSON(m.request("DELETE", "/streams/S1", ""), 500, failed)
	m.wantJSON(m.request("GET", "/streams/S1", ""), 404, noStreamFound)
}

// TestDeletedRoomIsNotReached: not even while its conference is still on its way out.
func TestDeletedRoomIsNotReached(t *testing.T) {
	m := newMeeting(t, "{}")
	m.wantText(m.asService("DELETE", "/v1/rooms/"+m.room, ""), 200, "Room deleted")
	for _, path := range []string{"/streams", "/participants", "/streams/S1"} {
		m.wantJSON(m.request("GET", path, ""), 404, noRoom)
	}
}
