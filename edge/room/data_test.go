package room

import (
	"slices"
	"strings"
	"testing"

	"portico/shared/conference"
	"portico/shared/portalproto"
)

func quic(id string) portalproto.TransportRef {
	return portalproto.TransportRef{Type: portalproto.TransportQUIC, ID: id}
}

// publishData publishes data on the participant's transport and reports it ready.
func (h *house) publishData(owner string) string {
	h.t.Helper()
	ack, err := h.d.Publish(h.t.Context(), roomID, owner, portalproto.PublishRequest{Data: true, Transport: quic("t-" + owner)})
	if err != nil || ack.Transport != "t-"+owner {
		h.t.Fatalf("publish: %+v, %v", ack, err)
	}
	h.ready(ack.ID, nil)
	return ack.ID
}

func TestDataSessions(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	b, _ := h.join("b", "viewer") // who may publish no media may publish data
	a.take()
	s := h.publishData("b")
	want := `stream {"id":"` + s + `","status":"add","data":{"id":"` + s + `","type":"forward","media":{"tracks":[]},"data":true,` +
		`"info":{"owner":"b","type":"quic","inViews":[]}}}`
	wantAll(t, "the others", a.take(), want)
	wantAll(t, "the owner", b.take(), `progress {"id":"`+s+`","status":"ready"}`, want)
	if _, joined := h.join("c", "presenter"); !slices.ContainsFunc(joined.Streams, func(x conference.Stream) bool { return x.ID == s && x.Data }) {
		t.Errorf("who joins later does not see it: %+v", joined.Streams)
	}
	a.take()
	ack, err := h.d.Subscribe(t.Context(), roomID, "a", portalproto.SubscribeRequest{DataFrom: s, Transport: quic("t-a")})
	if err != nil || ack.Transport != "t-a" {
		t.Fatalf("subscribe: %+v, %v", ack, err)
	}
	h.ready(ack.ID, nil)
	wantAll(t, "subscriber", a.take(), `progress {"id":"`+ack.ID+`","status":"ready"}`)
	wantText(t, "pause", h.control("b",
		portalproto.StreamControl{ID: s, Operation: portalproto.Pause, Media: conference.MediaSet{Audio: true, Video: true}}),
		"Stream does NOT contain valid track to mute/unmute")
	if err := h.d.Unpublish(t.Context(), roomID, "b", s, func() {}); err != nil {
		t.Fatal(err)
	}
	h.settle()
	wantAll(t, "subscriber at the end", a.take(), `progress {"id":"`+ack.ID+`","status":"error","data":"Source stream loss"}`, `stream {"id":"`+s+`","status":"remove"}`)
	wantText(t, "unsubscribe after that", h.d.Unsubscribe(t.Context(), roomID, "a", ack.ID), "Subscription does NOT exist")
}

func TestDataSessionFails(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	b, _ := h.join("b", "presenter")
	s := h.publishData("a")
	ack, err := h.d.Subscribe(t.Context(), roomID, "b", portalproto.SubscribeRequest{DataFrom: s, Transport: quic("t-b")})
	if err != nil {
		t.Fatal(err)
	}
	a.take()
	b.take()
	h.media.events[ack.ID].SessionFailed("t-b", ack.ID, "Data is not read fast enough")
	h.settle()
	wantAll(t, "slow subscriber", b.take(), `progress {"id":"`+ack.ID+`","status":"error","data":"Data is not read fast enough"}`)
	wantAll(t, "others", a.take())
	h.media.events[s].SessionFailed("t-a", s, "WebTransport connection lost")
	h.settle()
	wantAll(t, "publisher", a.take(), `progress {"id":"`+s+`","status":"error","data":"WebTransport connection lost"}`, `stream {"id":"`+s+`","status":"remove"}`)
}

func TestBadDataRequests(t *testing.T) {
	h := newHouse(t, func(c *conference.Room) { c.InputLimit = 2 })
	h.join("a", "presenter")
	publish := func(r portalproto.PublishRequest) error {
		_, err := h.d.Publish(t.Context(), roomID, "a", r)
		return err
	}
	subscribe := func(r portalproto.SubscribeRequest) error {
		_, err := h.d.Subscribe(t.Context(), roomID, "a", r)
		return err
	}
	const badPublication, badSubscription = "Bad publication request", "Bad subscription request"
	wantText(t, "no data", publish(portalproto.PublishRequest{Transport: quic("t")}), badPublication)
	wantText(t, "data and tracks", publish(portalproto.PublishRequest{Data: true, Tracks: avTracks, Transport: quic("t")}), badPublication)
	wantText(t, "no transport", publish(portalproto.PublishRequest{Data: true, Transport: quic("")}), badPublication)
	wantText(t, "data by WebRTC", publish(portalproto.PublishRequest{Data: true}), badPublication)
	s, media := h.publishData("a"), h.publishAV("a")
	wantText(t, "input limit", publish(portalproto.PublishRequest{Data: true, Transport: quic("t")}), "Too many inputs")
	wantText(t, "no source", subscribe(portalproto.SubscribeRequest{Transport: quic("t")}), badSubscription)
	wantText(t, "source and tracks", subscribe(portalproto.SubscribeRequest{DataFrom: s, Tracks: av(s).Tracks, Transport: quic("t")}), badSubscription)
	wantText(t, "no transport", subscribe(portalproto.SubscribeRequest{DataFrom: s, Transport: quic("")}), badSubscription)
	wantText(t, "data by WebRTC", subscribe(portalproto.SubscribeRequest{DataFrom: s}), badSubscription)
	wantText(t, "unknown", subscribe(portalproto.SubscribeRequest{DataFrom: "x", Transport: quic("t")}), "Stream does NOT exist")
	wantText(t, "a stream of media", subscribe(portalproto.SubscribeRequest{DataFrom: media, Transport: quic("t")}), "Stream does NOT exist")
	wantText(t, "media of data", subscribe(av(s)), "Target audio stream does NOT satisfy:Requested audio stream")
	h.media.refuse = portalproto.NoTransport("t")
	wantText(t, "refused below", subscribe(portalproto.SubscribeRequest{DataFrom: s, Transport: quic("t")}), "Transport t does NOT exist")
	if calls := strings.Join(h.media.seen(), "\n"); strings.Count(calls, "subscribe ") != 1 || strings.Count(calls, "publish ") != 2 {
		t.Errorf("a request that was refused here reached the media:\n%s", calls)
	}
}
