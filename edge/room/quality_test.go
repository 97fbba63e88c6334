package room

import (
	"context"
	"maps"
	"testing"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// Quality implements Media: it tells the id.
func (f *fakeMedia) Quality(session string) (jsonvalue.Value, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of(session))), f.events[session] != nil
}

func TestSubscriptionQuality(t *testing.T) {
	h := newHouse(t, nil)
	h.join("a", "presenter")
	h.join("b", "viewer")
	h.join("root", "admin")
	stream := h.publishAV("a")
	ack, err := h.d.Subscribe(t.Context(), roomID, "b", portalproto.SubscribeRequest{
		Tracks: []portalproto.SubscribeTrack{{Kind: conference.Audio, Mid: "0", From: stream}},
	})
	if err != nil {
		t.Fatal(err)
	}
	look := func(room, who, id string) (string, error) {
		q, err := h.d.SubscriptionQuality(t.Context(), room, who, id)
		return q.Get("id").Text(), err
	}
	if id, err := look(roomID, "b", ack.ID); err != nil || id != ack.ID {
		t.Errorf("its own: %q %v", id, err)
	}
	for name, c := range map[string]struct {
		room, who, id string
		want          error
	}{
		"another's":                {roomID, "a", ack.ID, portalproto.ErrUnauthorized},
		"another's, by an admin":   {roomID, "root", ack.ID, portalproto.ErrUnauthorized},
		"none":                     {roomID, "b", "nosuch", portalproto.ErrNoSubscription},
		"a publication":            {roomID, "a", stream, portalproto.ErrNoSubscription},
		"by somebody elsewhere":    {roomID, "z", ack.ID, portalproto.ErrNotJoinedRoom},
		"in a room that is asleep": {"nosuch", "b", ack.ID, portalproto.ErrNotJoinedRoom},
	} {
		id, err := look(c.room, c.who, c.id)
		wantText(t, name, err, c.want.Error())
		if id != "" {
			t.Errorf("%s: told of %q", name, id)
		}
	}
	h.media.mu.Lock()
	delete(h.media.events, ack.ID)
	h.media.mu.Unlock()
	_, err = look(roomID, "b", ack.ID)
	wantText(t, "one that the media layer has ended", err, portalproto.ErrNoSubscription.Error())
	if err := h.d.Unsubscribe(t.Context(), roomID, "b", ack.ID); err != nil {
		t.Fatal(err)
	}
	_, err = look(roomID, "b", ack.ID)
	wantText(t, "after its end", err, portalproto.ErrNoSubscription.Error())
}

func TestStreamQuality(t *testing.T) {
	h := newHouse(t, nil)
	var told map[string]string
	h.d.options.Quality = func(_ context.Context, room, stream, participant string, users map[string]string) (jsonvalue.Value, bool) {
		told = users
		return jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of(room+stream+participant))), participant != "unknown"
	}
	h.join("a", "presenter")
	h.join("b", "viewer")
	stream := h.publishAV("a")
	q, ok := h.d.StreamQuality(t.Context(), roomID, stream, "b")
	if !ok || q.String() != `{"id":"`+roomID+stream+`b"}` || !maps.Equal(told, map[string]string{"a": "user-a", "b": "user-b"}) {
		t.Errorf("%v %v %v", q, ok, told)
	}
	unready, err := h.d.Publish(t.Context(), roomID, "a", portalproto.PublishRequest{Tracks: avTracks})
	if err != nil {
		t.Fatal(err)
	}
	told = nil
	for _, c := range [][3]string{{roomID, "nosuch"}, {roomID, roomID + "-common"}, {"nosuch", stream}, {roomID, unready.ID}} {
		if q, ok := h.d.StreamQuality(t.Context(), c[0], c[1], c[2]); ok || q.Exists() || told != nil {
			t.Errorf("%v: %v %v", c, q, told)
		}
	}
	if q, ok := h.d.StreamQuality(t.Context(), roomID, stream, "unknown"); ok {
		t.Errorf("what the edge does not know: %v", q)
	}
}

// TestDisplayIsNoDemand: where the room adapts, the size of a subscription is where it is shown, not what the source has to have; a client
// that has come back asks for it again.
func TestDisplayIsNoDemand(t *testing.T) {
	for _, on := range []bool{true, false} {
		h := newHouse(t, func(r *conference.Room) { r.EnableBandwidthAdaptation = on })
		_, joined := h.join("a", "presenter")
		if joined.Adapts != on {
			t.Errorf("told %v of a room with %v", joined.Adapts, on)
		}
		stream := h.publishAV("a")
		_, err := h.d.Subscribe(t.Context(), roomID, "a", portalproto.SubscribeRequest{Tracks: []portalproto.SubscribeTrack{
			{Kind: conference.Video, Mid: "0", From: stream, Wanted: portalproto.Wanted{Resolution: conference.Resolution{Width: 411, Height: 231}}},
		}})
		want := "<nil>"
		if !on {
			want = portalproto.VideoUnsatisfied(portalproto.DetailResolution).Error()
		}
		wantText(t, "an odd size", err, want)
	}
}
