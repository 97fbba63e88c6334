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

// TestDataOfAnotherEdge: data that are published on another edge can be subscribed to, and go on when their publisher goes to a third one
// and comes to that of the subscriber.
func TestDataOfAnotherEdge(t *testing.T) {
	w := newTown(t, nil, "a", "b", "c")
	w.join("a", "anna", "presenter")
	bob, _ := w.join("b", "bob", "viewer")
	w.join("c", "cleo", "viewer")
	s := w.houses["a"].publishData("anna")
	w.settle()
	bob.take()
	ack, err := w.houses["b"].d.Subscribe(t.Context(), roomID, "bob", portalproto.SubscribeRequest{DataFrom: s, Transport: quic("t-bob")})
	if err != nil {
		t.Fatal(err)
	}
	w.houses["b"].ready(ack.ID, nil)
	wantAll(t, "bob", bob.take(), `progress {"id":"`+ack.ID+`","status":"ready"}`)
	calls := w.houses["b"].media.seen()
	if i := slices.Index(calls, "remote "+s+" at a"); i < 0 || i > slices.IndexFunc(calls, func(c string) bool { return strings.HasPrefix(c, "subscribe") }) {
		t.Errorf("the media layer was told %q", calls)
	}
	resume := func(edge string, generation uint64) {
		t.Helper()
		w.resume(edge, "anna", generation)
		again, err := w.houses[edge].d.Publish(t.Context(), roomID, "anna", portalproto.PublishRequest{Data: true, Transport: quic("t-anna"), Resume: s})
		if err != nil || again.ID != s {
			t.Fatalf("%+v, %v", again, err)
		}
		w.houses[edge].ready(s, nil)
		w.settle()
		wantAll(t, "bob", bob.take())
	}
	resume("c", 2)
	if calls := w.houses["b"].media.seen(); calls[len(calls)-1] != "remote "+s+" at c" {
		t.Errorf("the media layer was told %q", calls)
	}
	if calls := w.houses["c"].media.seen(); !slices.Contains(calls, "remote "+s+" ended") || !slices.Contains(calls, "publish "+s+" resumed") {
		t.Errorf("the media layer was told %q", calls)
	}
	resume("b", 3)
	if calls := w.houses["b"].media.seen(); calls[len(calls)-1] != "remote "+s+" ended" {
		t.Errorf("the media layer was told %q", calls)
	}
	// The connections of before end, whenever the word comes: nobody is told of it.
	for _, edge := range []string{"a", "c"} {
		w.houses[edge].media.events[s].SessionFailed("t-anna", s, "gone")
	}
	w.settle()
	wantAll(t, "bob", bob.take())
	w.same("a", "b", "c")
	w.leave("b", "anna")
	wantAll(t, "bob", sorted(kinds(bob.take())), "participant leave", "progress error", "stream remove "+s)
}

// TestDataLeftBehind: the publisher's connection to the edge that it has left ends before that edge hears of the one to the next.
func TestDataLeftBehind(t *testing.T) {
	for _, comes := range []bool{true, false} {
		w := newTown(t, nil, "a", "b")
		w.join("a", "anna", "presenter")
		bob, _ := w.join("b", "bob", "viewer")
		s := w.houses["a"].publishData("anna")
		w.settle()
		w.resume("b", "anna", 2)
		bob.take()
		w.houses["a"].media.events[s].SessionFailed("t-anna", s, "gone")
		w.settle()
		wantAll(t, "bob", bob.take())
		if comes {
			ack, err := w.houses["b"].d.Publish(t.Context(), roomID, "anna", portalproto.PublishRequest{Data: true, Transport: quic("t"), Resume: s})
			if err != nil || ack.ID != s {
				t.Fatalf("%+v, %v", ack, err)
			}
			w.houses["b"].ready(s, nil)
			w.settle()
		}
		c := w.houses["a"].d.find(roomID)
		c.post(func() { c.machine.orphaned(s) }) // as after orphanTime
		w.settle()
		if comes {
			wantAll(t, "bob", bob.take())
		} else {
			wantAll(t, "bob", bob.take(), `stream {"id":"`+s+`","status":"remove"}`)
		}
		w.same("a", "b")
	}
}
