package node

import (
	"context"
	"math"
	"time"

	"portico/edge/jobs"
	"portico/edge/rtc"
	"portico/edge/sfu"
	"portico/edge/sfu/bitrate"
	"portico/shared/conference"
	"portico/shared/flight"
	"portico/shared/jsonvalue"
)

// What the engine knows of streams and subscriptions, in the JSON that package restapi describes. Clients get the same of their own
// subscriptions.

// StreamQuality implements restapi.Conferences.
func (c conferences) StreamQuality(ctx context.Context, room, stream, participant string) (jsonvalue.Value, bool) {
	return c.n.rooms.StreamQuality(ctx, room, stream, participant)
}

// quality is what this edge knows of a stream.
func (n *Node) quality(ctx context.Context, room, stream, participant string, users map[string]string) (jsonvalue.Value, bool) {
	q, ok := n.engine.Quality(stream, participant)
	if !ok {
		return jsonvalue.Value{}, false
	}
	var troubles []jobs.Trouble
	if n.jobs != nil {
		troubles = n.jobs.Troubles(ctx, room, stream)
	}
	return streamJSON(&q, troubles, users), true
}

// Quality implements room.Media.
func (m media) Quality(session string) (jsonvalue.Value, bool) {
	q, ok := m.engine.SubscriptionQuality(session)
	if !ok {
		return jsonvalue.Value{}, false
	}
	return subscriptionJSON(&q, nil), true
}

func streamJSON(q *rtc.Quality, troubles []jobs.Trouble, users map[string]string) jsonvalue.Value {
	var ended []jsonvalue.Value
	for _, x := range q.Ended {
		ended = append(ended, jsonvalue.OfObject(
			jsonvalue.M("id", jsonvalue.Of(x.ID)), jsonvalue.M("participant", jsonvalue.Of(x.Participant)), jsonvalue.M("user", userOf(users, x.Participant)),
			jsonvalue.M("at", timeJSON(x.At)), jsonvalue.M("reason", textJSON(x.Reason)), jsonvalue.M("events", list(x.Events, eventJSON)),
		))
	}
	var subscriptions []jsonvalue.Value
	for i := range q.Subscriptions {
		subscriptions = append(subscriptions, subscriptionJSON(&q.Subscriptions[i], users))
	}
	return jsonvalue.OfObject(
		jsonvalue.M("id", jsonvalue.Of(q.ID)), jsonvalue.M("participant", jsonvalue.Of(q.Participant)), jsonvalue.M("user", userOf(users, q.Participant)),
		jsonvalue.M("transport", jsonvalue.Of(q.Transport)), jsonvalue.M("path", pathJSON(q.Path)),
		jsonvalue.M("tracks", list(q.Tracks, trackJSON)), jsonvalue.M("notMixed", list(troubles, troubleJSON)),
		jsonvalue.M("events", list(q.Events, eventJSON)),
		jsonvalue.M("subscriptions", jsonvalue.OfArray(subscriptions...)), jsonvalue.M("omitted", jsonvalue.OfInt(int64(q.Omitted))),
		jsonvalue.M("ended", jsonvalue.OfArray(ended...)),
	)
}

func troubleJSON(x jobs.Trouble) jsonvalue.Value {
	return jsonvalue.OfObject(
		jsonvalue.M("view", jsonvalue.Of(x.View)), jsonvalue.M("kind", textJSON(string(x.Kind))), jsonvalue.M("reason", jsonvalue.Of(x.Why)),
		jsonvalue.M("since", timeJSON(x.Since)), jsonvalue.M("until", timeJSON(x.Until)),
	)
}

func trackJSON(q rtc.TrackQuality) jsonvalue.Value {
	var layers jsonvalue.Value
	if q.Kind == conference.Video {
		layers = list(q.Layers, func(l sfu.LayerRate) jsonvalue.Value {
			return jsonvalue.OfObject(
				jsonvalue.M("spatial", jsonvalue.OfInt(int64(l.Spatial))), jsonvalue.M("temporal", jsonvalue.OfInt(int64(l.Temporal))),
				jsonvalue.M("width", sizeJSON(l.Width)), jsonvalue.M("height", sizeJSON(l.Height)),
				jsonvalue.M("bitrate", rounded(l.Bitrate, 1)), jsonvalue.M("frameRate", rounded(l.FrameRate, 10)),
			)
		})
	}
	return jsonvalue.OfObject(
		jsonvalue.M("id", jsonvalue.Of(q.ID)), jsonvalue.M("kind", jsonvalue.Of(string(q.Kind))), jsonvalue.M("mid", jsonvalue.Of(q.Mid)),
		jsonvalue.M("rid", textJSON(q.Rid)), jsonvalue.M("codec", jsonvalue.Of(q.Format.Codec)), jsonvalue.M("muted", jsonvalue.OfBool(q.Muted)),
		jsonvalue.M("width", sizeJSON(q.Width)), jsonvalue.M("height", sizeJSON(q.Height)), jsonvalue.M("layers", layers),
		jsonvalue.M("loss", rounded(q.Loss, 1000)), jsonvalue.M("packets", count(q.Stats.Packets)), jsonvalue.M("bytes", count(q.Stats.Bytes)),
		jsonvalue.M("packetsRequested", count(q.Stats.PacketsRequested)), jsonvalue.M("keyFrames", count(q.Stats.KeyFrames)),
		jsonvalue.M("keyFramesRequested", count(q.Stats.KeyFramesRequested)), jsonvalue.M("drops", dropsJSON(q.Stats.Drops)),
	)
}

func subscriptionJSON(q *rtc.SubscriptionQuality, users map[string]string) jsonvalue.Value {
	return jsonvalue.OfObject(
		jsonvalue.M("id", jsonvalue.Of(q.ID)), jsonvalue.M("participant", jsonvalue.Of(q.Participant)), jsonvalue.M("user", userOf(users, q.Participant)),
		jsonvalue.M("transport", jsonvalue.Of(q.Transport)), jsonvalue.M("ready", jsonvalue.OfBool(q.Ready)),
		jsonvalue.M("path", pathJSON(q.Path)),
		jsonvalue.M("network", networkJSON(q.Network)), jsonvalue.M("tracks", list(q.Tracks, receivedJSON)),
		jsonvalue.M("events", list(q.Events, eventJSON)),
	)
}

func networkJSON(s bitrate.Snapshot) jsonvalue.Value {
	rate := func(b bitrate.Bitrate) jsonvalue.Value { return jsonvalue.OfInt(int64(b)) }
	return jsonvalue.OfObject(
		jsonvalue.M("estimate", rate(s.Estimate)), jsonvalue.M("by", jsonvalue.Of(s.By)), jsonvalue.M("wanted", rate(s.Wanted)),
		jsonvalue.M("sent", rate(s.Sent)), jsonvalue.M("arrives", rate(s.Arrives)),
		jsonvalue.M("rtt", millis(s.RTT)), jsonvalue.M("queue", millis(s.Queue)),
		jsonvalue.M("loss", rounded(s.Loss, 1000)), jsonvalue.M("usage", jsonvalue.Of(s.Usage)),
		jsonvalue.M("probing", jsonvalue.OfBool(s.Probing)), jsonvalue.M("stalled", jsonvalue.OfBool(s.Stalled)),
	)
}

func receivedJSON(q rtc.ReceivedTrack) jsonvalue.Value {
	var displayed jsonvalue.Value
	if q.Display.Width != 0 {
		displayed = jsonvalue.OfObject(jsonvalue.M("width", sizeJSON(q.Display.Width)), jsonvalue.M("height", sizeJSON(q.Display.Height)))
	}
	layer := func(l *rtc.Layer) jsonvalue.Value {
		if l == nil || q.Kind != conference.Video {
			return jsonvalue.Value{}
		}
		return layerJSON(*l)
	}
	return jsonvalue.OfObject(
		jsonvalue.M("kind", jsonvalue.Of(string(q.Kind))), jsonvalue.M("mid", jsonvalue.Of(q.Mid)), jsonvalue.M("from", jsonvalue.Of(q.From)),
		jsonvalue.M("made", textJSON(q.Made)), jsonvalue.M("codec", textJSON(q.Format.Codec)), jsonvalue.M("adapts", jsonvalue.OfBool(q.Adapts)),
		jsonvalue.M("displayed", displayed), jsonvalue.M("sending", jsonvalue.OfBool(q.Current != nil)),
		jsonvalue.M("source", layer(q.Source)), jsonvalue.M("target", layer(q.Target)), jsonvalue.M("current", layer(q.Current)),
		jsonvalue.M("reason", jsonvalue.Of(q.Reason.String())), jsonvalue.M("since", timeJSON(q.Since)),
		jsonvalue.M("bitrate", rounded(q.Bitrate, 1)), jsonvalue.M("frameRate", rounded(q.FrameRate, 10)), jsonvalue.M("loss", rounded(q.Stats.Lost, 1000)),
		jsonvalue.M("packets", count(q.Stats.Packets)), jsonvalue.M("bytes", count(q.Stats.Bytes)), jsonvalue.M("packetsResent", count(q.Stats.Resent)),
		jsonvalue.M("drops", dropsJSON(q.Stats.Drops)),
	)
}

func layerJSON(l rtc.Layer) jsonvalue.Value {
	number := func(n int) (v jsonvalue.Value) {
		if n >= 0 {
			v = jsonvalue.OfInt(int64(n))
		}
		return v
	}
	return jsonvalue.OfObject(
		jsonvalue.M("rid", textJSON(l.Rid)), jsonvalue.M("width", sizeJSON(l.Width)), jsonvalue.M("height", sizeJSON(l.Height)),
		jsonvalue.M("spatial", number(l.Spatial)), jsonvalue.M("temporal", number(l.Temporal)),
	)
}

func eventJSON(e flight.Event) jsonvalue.Value {
	var until, times, from, to jsonvalue.Value
	if e.Count > 1 {
		until, times = timeJSON(time.Unix(0, e.Until)), jsonvalue.OfInt(int64(e.Count))
	}
	if e.From != 0 || e.To != 0 {
		from, to = jsonvalue.OfInt(e.From), jsonvalue.OfInt(e.To)
	}
	return jsonvalue.OfObject(
		jsonvalue.M("at", timeJSON(time.Unix(0, e.At))), jsonvalue.M("until", until), jsonvalue.M("count", times),
		jsonvalue.M("kind", jsonvalue.Of(e.Kind)), jsonvalue.M("reason", textJSON(e.Reason)), jsonvalue.M("detail", textJSON(e.Detail)),
		jsonvalue.M("from", from), jsonvalue.M("to", to),
	)
}

// dropsJSON lists the reasons for which something was not forwarded at all.
func dropsJSON(d sfu.Drops) jsonvalue.Value {
	var drops []jsonvalue.Value
	for reason, n := range d {
		if n != 0 {
			drops = append(drops, jsonvalue.OfObject(
				jsonvalue.M("reason", jsonvalue.Of(sfu.Drop(reason).String())), jsonvalue.M("packets", count(n))))
		}
	}
	return jsonvalue.OfArray(drops...)
}

func pathJSON(p rtc.Path) jsonvalue.Value {
	if p.Remote == "" {
		return jsonvalue.Value{}
	}
	return jsonvalue.OfObject(jsonvalue.M("local", jsonvalue.Of(p.Local)), jsonvalue.M("remote", jsonvalue.Of(p.Remote)))
}

func list[T any](items []T, each func(T) jsonvalue.Value) jsonvalue.Value {
	values := make([]jsonvalue.Value, len(items))
	for i, item := range items {
		values[i] = each(item)
	}
	return jsonvalue.OfArray(values...)
}

// userOf is the name behind a participant; absent where nobody is named, and for one who has left.
func userOf(users map[string]string, participant string) jsonvalue.Value {
	return textJSON(users[participant])
}

// textJSON and sizeJSON leave out what is not known.
func textJSON(s string) (v jsonvalue.Value) {
	if s != "" {
		v = jsonvalue.Of(s)
	}
	return v
}

func sizeJSON(pixels int) (v jsonvalue.Value) {
	if pixels != 0 {
		v = jsonvalue.OfInt(int64(pixels))
	}
	return v
}

// timeJSON is a time in UTC as ISO 8601 has it, with milliseconds.
func timeJSON(t time.Time) jsonvalue.Value {
	if t.IsZero() || t.UnixNano() == 0 {
		return jsonvalue.Value{}
	}
	return jsonvalue.Of(t.UTC().Format("2006-01-02T15:04:05.000Z"))
}

func millis(d time.Duration) jsonvalue.Value {
	return rounded(float64(d)/float64(time.Millisecond), 10)
}

// rounded is f to so many parts of one.
func rounded(f, parts float64) jsonvalue.Value { return jsonvalue.OfFloat(math.Round(f*parts) / parts) }

func count(n uint64) jsonvalue.Value { return jsonvalue.OfInt(int64(min(n, math.MaxInt64))) }
