package node

import (
	"testing"
	"time"

	"portico/edge/jobs"
	"portico/edge/rtc"
	"portico/edge/sfu"
	"portico/edge/sfu/bitrate"
	"portico/shared/conference"
	"portico/shared/flight"
)

// TestQualityJSON holds the form to what package restapi describes: known things in their units, unknown ones left out.
func TestQualityJSON(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.FixedZone("", 3600))
	video := rtc.TrackQuality{
		ID: "t-0:f", Mid: "0", Rid: "f", Kind: conference.Video, Format: conference.Format{Codec: "vp8"}, Width: 1280, Height: 720, Loss: 0.0507812,
		Layers: []sfu.LayerRate{{Temporal: 1, Width: 1280, Height: 720, Bitrate: 1_234_567.8, FrameRate: 29.97}},
	}
	video.Stats.Packets, video.Stats.KeyFramesRequested, video.Stats.Drops[sfu.DropMuted] = 10, 3, 4
	q := rtc.Quality{
		ID: "s", Participant: "p1", Transport: "t", Tracks: []rtc.TrackQuality{video}, Omitted: 2,
		Events: []flight.Event{
			{Note: flight.Note{Kind: rtc.EventEstimate, From: 10, To: 20}, At: at.UnixNano(), Until: at.UnixNano() + 1e9, Count: 2},
			{Note: flight.Note{Kind: rtc.EventReady}, At: at.UnixNano(), Until: at.UnixNano(), Count: 1},
		},
		Subscriptions: []rtc.SubscriptionQuality{{
			ID: "x", Participant: "p2", Transport: "u", Ready: true, Path: rtc.Path{Local: "a", Remote: "b"},
			Network: bitrate.Snapshot{By: bitrate.ByTWCC, Estimate: 640_000, RTT: 23_450 * time.Microsecond, Usage: "normal", Loss: 0.2},
			Tracks: []rtc.ReceivedTrack{{
				Kind: conference.Video, Mid: "1", From: "t-0:q", Made: rtc.Transcoded, Format: conference.Format{Codec: "h264"}, Adapts: true, Display: conference.Resolution{Width: 1000, Height: 562},
				Source: &rtc.Layer{Rid: "f", Spatial: -1, Temporal: -1, Width: 1280, Height: 720}, Current: &rtc.Layer{Rid: "h"},
				Reason: sfu.ReasonBandwidth, Since: at, Bitrate: 450_000.4, FrameRate: 15.04,
			}},
		}},
		Ended: []rtc.EndedSubscription{{ID: "y", Participant: "p3", At: at, Reason: "why"}},
	}
	const want = `{"id":"s","participant":"p1","user":"Ann","transport":"t",` +
		`"tracks":[{"id":"t-0:f","kind":"video","mid":"0","rid":"f","codec":"vp8","muted":false,"width":1280,"height":720,` +
		`"layers":[{"spatial":0,"temporal":1,"width":1280,"height":720,"bitrate":1234568,"frameRate":30}],"loss":0.051,` +
		`"packets":10,"bytes":0,"packetsRequested":0,"keyFrames":0,"keyFramesRequested":3,"drops":[{"reason":"muted","packets":4}]}],` +
		`"notMixed":[{"view":"common","kind":"video","reason":"why not","since":"2026-01-02T02:04:05.678Z","until":"2026-01-02T02:05:05.678Z"},` +
		`{"view":"common","reason":"why","since":"2026-01-02T02:04:05.678Z"}],` +
		`"events":[{"at":"2026-01-02T02:04:05.678Z","until":"2026-01-02T02:04:06.678Z","count":2,"kind":"estimate","from":10,"to":20},` +
		`{"at":"2026-01-02T02:04:05.678Z","kind":"ready"}],` +
		`"subscriptions":[{"id":"x","participant":"p2","user":"Bob","transport":"u","ready":true,"path":{"local":"a","remote":"b"},` +
		`"network":{"estimate":640000,"by":"twcc","wanted":0,"sent":0,"arrives":0,"rtt":23.5,"queue":0,"loss":0.2,"usage":"normal","probing":false,"stalled":false},` +
		`"tracks":[{"kind":"video","mid":"1","from":"t-0:q","made":"transcoded","codec":"h264","adapts":true,"displayed":{"width":1000,"height":562},"sending":true,` +
		`"source":{"rid":"f","width":1280,"height":720},"current":{"rid":"h","spatial":0,"temporal":0},"reason":"bandwidth","since":"2026-01-02T02:04:05.678Z",` +
		`"bitrate":450000,"frameRate":15,"loss":0,"packets":0,"bytes":0,"packetsResent":0,"drops":[]}],"events":[]}],"omitted":2,` +
		`"ended":[{"id":"y","participant":"p3","at":"2026-01-02T02:04:05.678Z","reason":"why","events":[]}]}`
	troubles := []jobs.Trouble{
		{View: "common", Kind: conference.Video, Why: "why not", Since: at, Until: at.Add(time.Minute)}, {View: "common", Why: "why", Since: at},
	}
	if got := streamJSON(&q, troubles, map[string]string{"p1": "Ann", "p2": "Bob"}).String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
