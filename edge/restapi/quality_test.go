package restapi

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"portico/shared/jsonvalue"
)

// StreamQuality implements Conferences: there is one stream, of which it tells what it was asked for.
func (f *fixture) StreamQuality(_ context.Context, room, stream, participant string) (jsonvalue.Value, bool) {
	return jsonvalue.OfObject(jsonvalue.M("room", jsonvalue.Of(room)), jsonvalue.M("participant", jsonvalue.Of(participant))), stream == "Stream-1_a"
}

func TestStreamQuality(t *testing.T) {
	f := newFixture(t)
	room := f.json(f.asService("POST", "/v1/rooms", `{"name":"r"}`), http.StatusOK).Get("_id").Text()
	for path, participant := range map[string]string{
		"/v1/rooms/" + room + "/streams/Stream-1_a/quality":                     "",
		"/v1.1/ROOMS/" + room + "/Streams/Stream-1_a/QUALITY/":                  "",
		"/v1.1/rooms/" + room + "/streams/Stream-1_a/quality?participant=p%2F1": "p/1",
	} {
		f.wantJSON(f.asService("GET", path, ""), http.StatusOK, `{"room":"`+room+`","participant":"`+participant+`"}`)
	}
	const noStream = `{"error":{"code":1004,"message":"Stream not found"}}`
	for _, id := range []string{"nosuch", "a.b", "%20", "..", strings.Repeat("x", 300)} {
		f.wantJSON(f.asService("GET", "/v1.1/rooms/"+room+"/streams/"+id+"/quality", ""), http.StatusNotFound, noStream)
	}
	const noRoom = `{"error":{"code":1003,"message":"Room not found"}}`
	f.wantJSON(f.do("GET", "/v1.1/rooms/"+room+"/streams/Stream-1_a/quality", sign(f.other), ""), http.StatusNotFound, noRoom)
	f.wantJSON(f.asSuper("GET", "/v1.1/rooms/"+room+"/streams/Stream-1_a/quality", ""), http.StatusNotFound, noRoom)
	f.wantJSON(f.asService("GET", "/v1.1/rooms/5f0000000000000000000001/streams/Stream-1_a/quality", ""), http.StatusNotFound, noRoom)
	const noPath = `{"error":{"code":1001,"message":"Resource not found"}}`
	f.wantJSON(f.asService("DELETE", "/v1.1/rooms/"+room+"/streams/Stream-1_a/quality", ""), http.StatusNotFound, noPath)
	f.wantJSON(f.asService("GET", "/v1.1/rooms/"+room+"/streams/Stream-1_a/quality/x", ""), http.StatusNotFound, noPath)
	if r := f.do("GET", "/v1.1/rooms/"+room+"/streams/Stream-1_a/quality", "", ""); r.status != http.StatusUnauthorized {
		t.Errorf("without a signature: %d %s", r.status, r.body)
	}
}
