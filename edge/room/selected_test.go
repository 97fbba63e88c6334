package room

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/conference"
	"portico/shared/portalproto"
)

// fakeSelectors makes one selector, which notes what it is told and says what the test wants.
type fakeSelectors struct {
	mu      sync.Mutex
	calls   []string
	changed func(slot int, publication string, major bool)
	refuse  error
}

func (f *fakeSelectors) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

// seen returns what it was told since the last call, once the media effects of the room have run.
func (f *fakeSelectors) seen(h *house) []string {
	h.t.Helper()
	if err := h.d.in(roomID, func(c *controller) error { c.done.Wait(); return nil }); err != nil {
		h.t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func (f *fakeSelectors) OpenSelector(tracks []string, changed func(slot int, publication string, major bool)) (AudioSelector, error) {
	f.note("open %v", tracks)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed = changed
	if f.refuse != nil {
		return nil, f.refuse
	}
	return f, nil
}

func (f *fakeSelectors) Add(publication string) { f.note("add %s", publication) }
func (f *fakeSelectors) Follow(edge string)     { f.note("follow %s", edge) }
func (f *fakeSelectors) Close()                 { f.note("close") }

// newSelectingHouse is a house whose room selects active audio.
func newSelectingHouse(t *testing.T, change func(*conference.Room)) (*house, *fakeSelectors) {
	h := newHouse(t, func(r *conference.Room) {
		r.SelectActiveAudio = true
		if change != nil {
			change(r)
		}
	})
	f := &fakeSelectors{}
	h.d.options.Selectors = f
	return h, f
}

// is says who is in a slot, and waits until the room has heard it.
func (f *fakeSelectors) is(h *house, slot int, publication string, major bool) {
	h.t.Helper()
	f.changed(slot, publication, major)
	h.settle()
}

func ids(streams []conference.Stream) (list []string) {
	for _, s := range streams {
		list = append(list, s.ID)
	}
	return list
}

// The ids are those of any room (R20); what the media layer knows them by is not.
func TestSelectedStreamsAreThereFromTheStart(t *testing.T) {
	h, f := newSelectingHouse(t, nil)
	_, j := h.join("a", "presenter")
	if got := ids(j.Streams); !slices.Equal(got, []string{roomID + "-common", "active-audio-0", "active-audio-1", "active-audio-2"}) {
		t.Fatalf("streams %q", got)
	}
	s := j.Streams[1]
	if s.Type != conference.Forward || s.Owner != "unknown" || s.Via != "selecting" || s.InViews == nil || len(s.InViews) != 0 || s.ActiveInput != "unknown" ||
		len(s.Tracks) != 1 || s.Tracks[0].Kind != conference.Audio || s.Tracks[0].Format.Codec != "unknown" || s.Tracks[0].ID != "" || s.Tracks[0].Inactive {
		t.Errorf("%+v", s)
	}
	wantAll(t, "selector", f.seen(h), "open ["+roomID+"-active-audio-0 "+roomID+"-active-audio-1 "+roomID+"-active-audio-2]")
	if n := h.d.Count(t.Context()); n.Publications != 0 {
		t.Errorf("they count as publications: %+v", n)
	}
}

func TestSelectedStreamsOnlyWhereWanted(t *testing.T) {
	for name, open := range map[string]func() *house{
		"not configured": func() *house {
			h, _ := newSelectingHouse(t, func(r *conference.Room) { r.SelectActiveAudio = false })
			return h
		},
		"not possible": func() *house { return newHouse(t, func(r *conference.Room) { r.SelectActiveAudio = true }) },
	} {
		h := open()
		_, j := h.join("a", "presenter")
		if len(j.Streams) != 1 {
			t.Errorf("%s: streams %q", name, ids(j.Streams))
		}
		h.publishAV("a")
		_, err := h.d.Subscribe(t.Context(), roomID, "a", listenTo("active-audio-0"))
		wantText(t, name, err, "Target audio stream does NOT satisfy:Requested audio stream")
	}
}

func TestRoomEndsItsStartWithoutSelector(t *testing.T) {
	h, f := newSelectingHouse(t, nil)
	f.refuse = errors.New("no")
	join := func() error {
		_, err := h.d.Join(t.Context(), Join{Room: roomID, Participant: "a", Role: "presenter", Member: &fakeMember{}})
		return err
	}
	wantText(t, "join", join(), "Joining room failed")
	f.refuse = nil
	wantText(t, "later", join(), "<nil>")
}

func listenTo(from string) portalproto.SubscribeRequest {
	return portalproto.SubscribeRequest{Tracks: []portalproto.SubscribeTrack{{Kind: conference.Audio, Mid: "0", From: from}}}
}

// TestActiveInput: everyone is told who is in a stream, the one in it too, and who joins later finds it there.
func TestActiveInput(t *testing.T) {
	h, f := newSelectingHouse(t, nil)
	a, _ := h.join("a", "presenter")
	b, _ := h.join("b", "viewer")
	s, s2 := h.publishAV("a"), h.publishAV("a")
	a.take()
	b.take()
	told := func(slot int, id, volume string) string {
		return fmt.Sprintf(`stream {"id":"active-audio-%d","status":"update","data":{"field":"activeInput","value":{"id":"%s","volume":"%s"}}}`, slot, id, volume)
	}
	f.is(h, 0, s, true)
	f.is(h, 2, s2, false)
	f.is(h, 2, "gone already", true)
	f.is(h, 3, s, true)
	f.is(h, -1, s, true)
	f.is(h, 0, s, false)
	for name, m := range map[string]*fakeMember{"a": a, "b": b} {
		wantAll(t, name, m.take(), told(0, s, "major"), told(2, s2, "minor"), told(0, s, "minor"))
	}
	_, j := h.join("c", "viewer")
	if j.Streams[1].ActiveInput != s || j.Streams[2].ActiveInput != "unknown" || j.Streams[3].ActiveInput != s2 {
		t.Errorf("a later joiner finds %+v", j.Streams[1:4])
	}
	b.take()
	if err := h.d.Unpublish(t.Context(), roomID, "a", s2, func() {}); err != nil {
		t.Fatal(err)
	}
	f.is(h, 2, "", false)
	wantAll(t, "when it ends", b.take(), `stream {"id":"`+s2+`","status":"remove"}`, told(2, "unknown", "minor"))
}

func TestActiveInputIsSilencedWithTheStreams(t *testing.T) {
	h, f := newSelectingHouse(t, func(r *conference.Room) { r.Notifying.StreamChange = false })
	a, _ := h.join("a", "presenter")
	s := h.publishAV("a")
	a.take()
	f.is(h, 0, s, true)
	wantAll(t, "a", a.take())
	if _, j := h.join("b", "viewer"); j.Streams[1].ActiveInput != s {
		t.Errorf("a later joiner finds %+v", j.Streams[1])
	}
}

// TestCandidates: audio that is published over WebRTC can be selected, once it is ready, and nothing else.
func TestCandidates(t *testing.T) {
	h, f := newSelectingHouse(t, nil)
	h.join("a", "presenter")
	f.seen(h)
	ack, err := h.d.Publish(t.Context(), roomID, "a", portalproto.PublishRequest{Tracks: avTracks})
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, "connecting", f.seen(h))
	h.ready(ack.ID, []conference.Track{{ID: "x", Kind: conference.Video}})
	h.publishData("a")
	wantAll(t, "video and data", f.seen(h))
	s := h.publishAV("a")
	wantAll(t, "audio and video", f.seen(h), "add "+s)
	h.ready(s, nil) // again
	wantAll(t, "ready again", f.seen(h))
}

func TestSubscribeToSelected(t *testing.T) {
	h, _ := newSelectingHouse(t, nil)
	h.join("a", "presenter")
	b, _ := h.join("b", "listener")
	s := h.publishAV("a")
	subscribe := func(r portalproto.SubscribeRequest) (string, error) {
		ack, err := h.d.Subscribe(t.Context(), roomID, "b", r)
		return ack.ID, err
	}
	wanted := listenTo("active-audio-1")
	wanted.Tracks[0].Format = &conference.Format{Codec: "whatever"} // is ignored
	id, err := subscribe(wanted)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("subscribe %s %s [{audio 0 %s-active-audio-1}]", id, id, roomID)
	if calls := h.media.seen(); !slices.Contains(calls, want) {
		t.Errorf("%q is not among %q", want, calls)
	}
	_, err = subscribe(listenTo("active-audio-3"))
	wantText(t, "a fourth", err, "Target audio stream does NOT satisfy:Requested audio stream")
	video := portalproto.SubscribeRequest{Tracks: []portalproto.SubscribeTrack{{Kind: conference.Video, Mid: "1", From: "active-audio-0"}}}
	_, err = h.d.Subscribe(t.Context(), roomID, "a", video)
	wantText(t, "video", err, "Target video stream does NOT satisfy:Requested video stream")

	// It outlives what was in it, and is controlled like any other.
	b.take()
	if err := h.d.Unpublish(t.Context(), roomID, "a", s, func() {}); err != nil {
		t.Fatal(err)
	}
	wantAll(t, "subscriber", b.take(), `stream {"id":"`+s+`","status":"remove"}`)
	audio := conference.MediaSet{Audio: true}
	wantText(t, "pause", h.d.SubscriptionControl(t.Context(), roomID, "b",
		portalproto.SubscriptionControl{ID: id, Operation: portalproto.Pause, Media: audio}), "<nil>")
	wantText(t, "unsubscribe", h.d.Unsubscribe(t.Context(), roomID, "b", id), "<nil>")
}

// TestSelectedStreamsBelongToNobody: no client ends or mutes one.
func TestSelectedStreamsBelongToNobody(t *testing.T) {
	h, _ := newSelectingHouse(t, nil)
	h.join("a", "presenter")
	h.join("boss", "admin")
	control := func(who string, op portalproto.Operation) error {
		return h.control(who, portalproto.StreamControl{ID: "active-audio-0", Operation: op,
			Media: conference.MediaSet{Audio: true}})
	}
	const noTrack = "Stream does NOT contain valid track to mute/unmute"
	wantText(t, "pause", control("a", portalproto.Pause), "unauthorized")
	wantText(t, "pause as admin", control("boss", portalproto.Pause), noTrack)
	for _, who := range []string{"a", "boss"} {
		wantText(t, "unpublish", h.d.Unpublish(t.Context(), roomID, who, "active-audio-0", func() { t.Error("acked") }), "unauthorized")
	}
	if _, j := h.join("c", "viewer"); len(j.Streams) != 4 || j.Streams[1].Tracks[0].Inactive {
		t.Errorf("streams %+v", j.Streams)
	}
}

// TestR11_SelectedStreamsKeepNoRoomAlive: a room with nothing but them ends, and its selector with it.
func TestR11_SelectedStreamsKeepNoRoomAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, f := newSelectingHouse(t, nil)
		h.join("a", "presenter")
		h.publishAV("a")
		h.d.Leave(t.Context(), roomID, "a")
		time.Sleep(31 * time.Second) // synthetic time
		synctest.Wait()
		if h.d.find(roomID) != nil {
			t.Fatal("the room did not end")
		}
		f.changed(0, "", false) // too late to matter
		if calls := strings.Join(f.calls, ", "); !strings.HasSuffix(calls, "close") || strings.Count(calls, "close") != 1 {
			t.Errorf("the selector was told: %s", calls)
		}
		if _, j := h.join("b", "presenter"); len(j.Streams) != 4 || j.Streams[1].ActiveInput != "unknown" {
			t.Errorf("the next room begins with %+v", j.Streams)
		}
	})
}
