package room

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeMedia records what it is told; refuse is the answer to the next Publish or Subscribe.
type fakeMedia struct {
	mu     sync.Mutex
	calls  []string
	events map[string]MediaEvents
	refuse error
}

func (f *fakeMedia) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

func (f *fakeMedia) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *fakeMedia) Publish(p MediaPublication) error {
	f.note("publish %s %s new=%v", p.Transport, p.Session, p.New)
	f.mu.Lock()
	f.events[p.Session] = p.Events
	defer f.mu.Unlock()
	return f.refuse
}

func (f *fakeMedia) Subscribe(s MediaSubscription) error {
	var tracks []string
	for _, t := range s.Tracks {
		tracks = append(tracks, fmt.Sprintf("{%s %s %s}", t.Kind, t.Mid, t.Track))
	}
	f.note("subscribe %s %s %v", s.Transport, s.Session, tracks)
	for _, t := range s.Tracks {
		if t.Adapt {
			f.note("adapts %s to %dx%d", t.Track, t.Display.Width, t.Display.Height)
		}
	}
	f.mu.Lock()
	f.events[s.Session] = s.Events
	defer f.mu.Unlock()
	return f.refuse
}

func (f *fakeMedia) SetActive(track string, active bool) { f.note("active %s %v", track, active) }
func (f *fakeMedia) SetSubscriptionActive(s string, k conference.Kind, active bool) {
	f.note("sub-active %s %s %v", s, k, active)
}
func (f *fakeMedia) SetDisplay(s string, size conference.Resolution) {
	f.note("display %s %dx%d", s, size.Width, size.Height)
}
func (f *fakeMedia) Stop(session string)                 { f.note("stop %s", session) }
func (f *fakeMedia) CloseParticipant(participant string) { f.note("close %s", participant) }

// fakeMember keeps what it was told, as JSON.
type fakeMember struct {
	mu      sync.Mutex
	got     []string
	dropped bool
}

func (m *fakeMember) Notify(n portalproto.Notification) {
	event, data := n.Encode(portalproto.Receiver{Version: portalproto.V12})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got = append(m.got, event+" "+data.String())
}

func (m *fakeMember) Drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropped = true
}

// take returns what came since the last take.
func (m *fakeMember) take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	got := m.got
	m.got = nil
	return got
}

type house struct {
	t      *testing.T
	d      *Directory
	media  *fakeMedia
	config conference.Room
	mu     sync.Mutex
	ids    int
}

const roomID = "5f0000000000000000000001"

func testRoom() conference.Room {
	all, none := conference.MediaSet{Audio: true, Video: true}, conference.MediaSet{}
	return conference.Room{
		ID: roomID, InputLimit: -1, ParticipantLimit: -1,
		Roles: []conference.Role{{Role: "presenter", Publish: all, Subscribe: all}, {Role: "viewer", Publish: none, Subscribe: all},
			{Role: "listener", Subscribe: conference.MediaSet{Audio: true}}, {Role: "admin", Publish: all, Subscribe: all}},
		Views: []conference.View{{Label: "common", Audio: conference.ViewAudio{Format: conference.AudioFormat{Codec: "opus", SampleRate: 48000, ChannelNum: 2}},
			Video: &conference.ViewVideo{Format: conference.VideoFormat{Codec: "vp8"}}}},
		Notifying: conference.Notifying{ParticipantActivities: true, StreamChange: true},
	}
}

func newHouse(t *testing.T, change func(*conference.Room)) *house {
	h := &house{t: t, media: &fakeMedia{events: map[string]MediaEvents{}}, config: testRoom()}
	if change != nil {
		change(&h.config)
	}
	h.d = NewDirectory(Options{
		Config: func(_ context.Context, id string) (conference.Room, error) {
			if id != roomID {
				return conference.Room{}, errors.New("no such room")
			}
			return h.config, nil
		},
		Media: h.media, Log: slog.New(slog.DiscardHandler),
		NewID: func() string {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.ids++
			return fmt.Sprintf("s%d", h.ids)
		},
	})
	t.Cleanup(h.d.Close)
	return h
}

func (h *house) join(id, role string) (*fakeMember, Joined) {
	h.t.Helper()
	m := &fakeMember{}
	j, err := h.d.Join(h.t.Context(), Join{Room: roomID, Participant: id, User: "user-" + id, Role: role, Member: m})
	if err != nil {
		h.t.Fatalf("join of %s: %v", id, err)
	}
	return m, j
}

// settle waits until everything posted to the room so far was handled, and the media layer was told.
func (h *house) settle() {
	h.t.Helper()
	err := h.d.in(roomID, func(c *controller) error {
		err := c.run(h.t.Context(), func() error { return nil })
		c.done.Wait()
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

var avTracks = []portalproto.PublishTrack{{Kind: conference.Audio, Mid: "0", Source: "mic"}, {Kind: conference.Video, Mid: "1", Source: "camera"}}

// publishAV publishes audio and video and reports the session ready.
func (h *house) publishAV(owner string) string {
	h.t.Helper()
	ack, err := h.d.Publish(h.t.Context(), roomID, owner, portalproto.PublishRequest{Tracks: avTracks})
	if err != nil {
		h.t.Fatalf("publish: %v", err)
	}
	h.ready(ack.ID, []conference.Track{
		{ID: ack.ID + "-0", Kind: conference.Audio, Mid: "0", Format: conference.Format{Codec: "opus", SampleRate: 48000, ChannelNum: 2}},
		{ID: ack.ID + "-1", Kind: conference.Video, Mid: "1", Format: conference.Format{Codec: "vp8"},
			Parameters: conference.VideoParameters{Resolution: conference.Resolution{Width: 640, Height: 480}}},
	})
	return ack.ID
}

func (h *house) ready(session string, tracks []conference.Track) {
	h.media.mu.Lock()
	events := h.media.events[session]
	h.media.mu.Unlock()
	events.SessionReady(session, session, tracks)
	h.settle()
}

func av(from string) portalproto.SubscribeRequest {
	return portalproto.SubscribeRequest{Tracks: []portalproto.SubscribeTrack{{Kind: conference.Audio, Mid: "0", From: from}, {Kind: conference.Video, Mid: "1", From: from}}}
}

func wantText(t *testing.T, what string, err error, want string) {
	t.Helper()
	if got := fmt.Sprint(err); got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func wantAll(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestT_39_JoinIsToldToOthersOnly(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	b, j := h.join("b", "presenter")
	wantAll(t, "a", a.take(), `participant {"action":"join","data":{"id":"b","user":"user-b","role":"presenter"}}`)
	wantAll(t, "b", b.take())
	if len(j.Participants) != 2 || j.Participants[1].ID != "b" || len(j.Streams) != 1 || j.Streams[0].ID != roomID+"-common" || !slices.Equal(j.Views, []string{"common"}) {
		t.Errorf("joined: %+v", j)
	}
}

func TestT_28_29_JoinRefused(t *testing.T) {
	h := newHouse(t, func(r *conference.Room) { r.ParticipantLimit = 1 })
	ctx := t.Context()
	_, err := h.d.Join(ctx, Join{Room: roomID, Participant: "x", Role: "nope", Member: &fakeMember{}})
	wantText(t, "role", err, "Invalid role")
	h.join("a", "presenter")
	_, err = h.d.Join(ctx, Join{Room: roomID, Participant: "b", Role: "presenter", Member: &fakeMember{}})
	wantText(t, "second", err, "Room is full")
	_, err = h.d.Join(ctx, Join{Room: "ffffffffffffffffffffffff", Participant: "b", Role: "presenter", Member: &fakeMember{}})
	wantText(t, "unknown room", err, "Joining room failed")
}

func TestT_70_71_72_Text(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	b, _ := h.join("b", "presenter")
	c, _ := h.join("c", "viewer")
	a.take()
	b.take()
	if err := h.d.Text(t.Context(), roomID, "a", "all", jsonvalue.Of("hi")); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*fakeMember{a, b, c} {
		wantAll(t, "to all", m.take(), `text {"from":"a","to":"all","message":"hi"}`)
	}
	if err := h.d.Text(t.Context(), roomID, "a", "b", jsonvalue.OfObject(jsonvalue.M("k", jsonvalue.OfInt(1)))); err != nil {
		t.Fatal(err)
	}
	wantAll(t, "to b", b.take(), `text {"from":"a","to":"me","message":{"k":1}}`)
	wantAll(t, "not to c", c.take())
	wantText(t, "nobody", h.d.Text(t.Context(), roomID, "a", "nobody", jsonvalue.Of("x")), "Target participant does NOT exist: nobody")
	wantText(t, "admin", h.d.Text(t.Context(), roomID, "a", "admin", jsonvalue.Of("x")), "<nil>")
}

func TestT_121_ReadyThenAdd(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	b, _ := h.join("b", "viewer")
	a.take()
	s := h.publishAV("a")
	got := a.take()
	if len(got) != 2 || got[0] != `progress {"id":"`+s+`","sessionId":"`+s+`","status":"ready"}` || !strings.HasPrefix(got[1], `stream {"id":"`+s+`","status":"add"`) {
		t.Errorf("owner: %v", got)
	}
	if got := b.take(); len(got) != 1 || !strings.Contains(got[0], `"owner":"a","type":"webrtc","inViews":[]`) {
		t.Errorf("other: %v", got)
	}
	_, j := h.join("c", "viewer")
	if len(j.Streams) != 2 || j.Streams[1].ID != s {
		t.Errorf("a later joiner finds %+v", j.Streams)
	}
}

func TestT_79_80_82_PublishRefused(t *testing.T) {
	h := newHouse(t, func(r *conference.Room) { r.InputLimit = 1 })
	h.join("a", "presenter")
	h.join("b", "presenter")
	h.join("c", "viewer")
	publish := func(who string, r portalproto.PublishRequest) error {
		_, err := h.d.Publish(t.Context(), roomID, who, r)
		return err
	}
	audio := portalproto.PublishRequest{Tracks: avTracks[:1]}
	wantText(t, "T-79", publish("c", audio), "unauthorized")
	wantText(t, "T-82 no tracks", publish("a", portalproto.PublishRequest{}), "Bad publication request")
	wantText(t, "T-82 same mid", publish("a", portalproto.PublishRequest{Tracks: []portalproto.PublishTrack{avTracks[0], avTracks[0]}}), "Bad publication request")
	wantText(t, "stranger", publish("z", audio), "Participant has not joined")
	h.publishAV("a")
	wantText(t, "T-80", publish("b", audio), "Too many inputs")
}

func TestT_81_RefusedByMediaFreesThePlace(t *testing.T) {
	h := newHouse(t, func(r *conference.Room) { r.InputLimit = 1 })
	a, _ := h.join("a", "presenter")
	h.media.refuse = portalproto.NoTransport("x")
	_, err := h.d.Publish(t.Context(), roomID, "a", portalproto.PublishRequest{Tracks: avTracks, Transport: portalproto.TransportRef{Type: "webrtc", ID: "x"}})
	wantText(t, "publish", err, "Transport x does NOT exist")
	h.media.refuse = nil
	h.publishAV("a") // the limit of one is free again
	for _, n := range a.take() {
		if strings.Contains(n, `"status":"remove"`) {
			t.Errorf("a refused publication was announced as removed: %s", n)
		}
	}
}

func TestT_83_85_Unpublish(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	b, _ := h.join("b", "presenter")
	s := h.publishAV("a")
	ack, err := h.d.Subscribe(t.Context(), roomID, "b", av(s))
	if err != nil {
		t.Fatal(err)
	}
	a.take()
	b.take()
	wantText(t, "T-85", h.d.Unpublish(t.Context(), roomID, "b", s, func() { t.Error("acked a refusal") }), "unauthorized")
	wantText(t, "T-84", h.d.Unpublish(t.Context(), roomID, "a", "nope", nil), "Stream does NOT exist")
	var before []string
	err = h.d.Unpublish(t.Context(), roomID, "a", s, func() { before = a.take() })
	if err != nil || len(before) != 0 {
		t.Fatalf("unpublish: %v, told before the ack: %v", err, before)
	}
	wantAll(t, "owner", a.take(), `stream {"id":"`+s+`","status":"remove"}`)
	wantAll(t, "subscriber", b.take(),
		`progress {"id":"`+ack.ID+`","sessionId":"`+ack.ID+`","status":"error","data":"Source stream loss"}`,
		`stream {"id":"`+s+`","status":"remove"}`)
	wantText(t, "again", h.d.Unpublish(t.Context(), roomID, "a", s, nil), "Stream does NOT exist")
}

func TestT_135_UnpublishBeforeReady(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	ack, err := h.d.Publish(t.Context(), roomID, "a", portalproto.PublishRequest{Tracks: avTracks})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.d.Unpublish(t.Context(), roomID, "a", ack.ID, func() {}); err != nil {
		t.Fatal(err)
	}
	h.ready(ack.ID, nil)
	wantAll(t, "owner", a.take())
}

func TestT_86_87_88_89_PauseAndPlay(t *testing.T) {
	h := newHouse(t, nil)
	h.join("a", "presenter")
	b, _ := h.join("b", "presenter")
	s := h.publishAV("a")
	b.take()
	control := func(who string, op portalproto.Operation, audio, video bool) error {
		return h.d.StreamControl(t.Context(), roomID, who, portalproto.StreamControl{ID: s, Operation: op, Media: conference.MediaSet{Audio: audio, Video: video}})
	}
	wantText(t, "pause", control("a", portalproto.Pause, true, false), "<nil>")
	wantAll(t, "T-86", b.take(), `stream {"id":"`+s+`","status":"update","data":{"field":"audio.status","value":"inactive"}}`)
	_, j := h.join("c", "viewer")
	if tr := j.Streams[1].Tracks; !tr[0].Inactive || tr[1].Inactive {
		t.Errorf("a later login sees %+v", tr)
	}
	b.take()
	wantText(t, "play", control("a", portalproto.Play, true, true), "<nil>")
	wantAll(t, "T-87", b.take(), `stream {"id":"`+s+`","status":"update","data":{"field":"audio.status","value":"active"}}`,
		`stream {"id":"`+s+`","status":"update","data":{"field":"video.status","value":"active"}}`)
	wantText(t, "T-88", control("b", portalproto.Pause, true, false), "unauthorized")
	wantText(t, "T-88 mixed", h.d.StreamControl(t.Context(), roomID, "a", portalproto.StreamControl{ID: roomID + "-common", Operation: portalproto.Pause}), "unauthorized")
	ack, err := h.d.Publish(t.Context(), roomID, "b", portalproto.PublishRequest{Tracks: avTracks[:1]})
	if err != nil {
		t.Fatal(err)
	}
	h.ready(ack.ID, []conference.Track{{ID: "x", Kind: conference.Audio}})
	wantText(t, "T-89", h.d.StreamControl(t.Context(), roomID, "b", portalproto.StreamControl{ID: ack.ID, Operation: portalproto.Pause,
		Media: conference.MediaSet{Video: true}}), "Stream does NOT contain valid track to mute/unmute")
	wantText(t, "T-92", h.d.StreamControl(t.Context(), roomID, "a", portalproto.StreamControl{ID: s, Operation: portalproto.Mix, View: "nope"}), "Invalid view")
	h.join("boss", "admin")
	wantText(t, "role admin", control("boss", portalproto.Pause, true, false), "<nil>")
}

func TestT_93_94_95_96_Subscribe(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	h.join("b", "presenter")
	h.join("l", "listener")
	s := h.publishAV("a")
	a.take()
	subscribe := func(who string, r portalproto.SubscribeRequest) error {
		_, err := h.d.Subscribe(t.Context(), roomID, who, r)
		return err
	}
	video := func(from string, w portalproto.Wanted, f *conference.Format) portalproto.SubscribeRequest {
		return portalproto.SubscribeRequest{Tracks: []portalproto.SubscribeTrack{{Kind: conference.Video, Mid: "1", From: from, Wanted: w, Format: f}}}
	}
	wantText(t, "T-93", subscribe("b", av(s)), "<nil>")
	wantAll(t, "no event to a", a.take())
	wantText(t, "T-94 audio", subscribe("b", av("nope")), "Target audio stream does NOT satisfy:Requested audio stream")
	ack, err := h.d.Publish(t.Context(), roomID, "b", portalproto.PublishRequest{Tracks: avTracks[:1]})
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "connecting", subscribe("a", av(ack.ID)), "Target audio stream does NOT satisfy:Requested audio stream")
	h.ready(ack.ID, []conference.Track{{ID: "x", Kind: conference.Audio}})
	none := portalproto.Wanted{}
	wantText(t, "T-94 video", subscribe("b", video(ack.ID, none, nil)), "Target video stream does NOT satisfy:Requested video stream")
	const unsatisfied = "Target video stream does NOT satisfy:"
	wantText(t, "T-95 resolution", subscribe("b", video(s, portalproto.Wanted{Resolution: conference.Resolution{Width: 320, Height: 240}}, nil)), unsatisfied+"Resolution is not acceptable")
	wantText(t, "T-95 framerate", subscribe("b", video(s, portalproto.Wanted{Framerate: 15}, nil)), unsatisfied+"Framerate is not acceptable")
	wantText(t, "T-95 bitrate", subscribe("b", video(s, portalproto.Wanted{Bitrate: "x0.8"}, nil)), unsatisfied+"Bitrate is not acceptable")
	wantText(t, "T-95 x1.0", subscribe("b", video(s, portalproto.Wanted{Bitrate: "x1.0"}, nil)), "<nil>")
	wantText(t, "same size", subscribe("b", video(s, portalproto.Wanted{Resolution: conference.Resolution{Width: 640, Height: 480}}, nil)), "<nil>")
	wantText(t, "format", subscribe("b", video(s, none, &conference.Format{Codec: "h264"})), unsatisfied+"Format is not acceptable")
	wantText(t, "track id", subscribe("b", video(s+"-1", none, &conference.Format{Codec: "VP8"})), "<nil>")
	wantText(t, "T-96", subscribe("l", video(s, none, nil)), "unauthorized")
	wantText(t, "no mid", subscribe("b", portalproto.SubscribeRequest{Tracks: []portalproto.SubscribeTrack{{Kind: conference.Video, From: s}}}), "Bad subscription request")
}

func TestProfiles(t *testing.T) {
	for _, c := range []struct {
		source, wanted string
		fits           bool
	}{{"CB", "B", true}, {"B", "CB", false}, {"B", "M", true}, {"H", "M", false}, {"", "CB", true}, {"H", "", true}, {"M", "M", true}} {
		if profileFits(c.source, c.wanted) != c.fits {
			t.Errorf("source %q wanted %q", c.source, c.wanted)
		}
	}
}

func TestT_99_100_101_102_103_Subscription(t *testing.T) {
	h := newHouse(t, nil)
	h.join("a", "presenter")
	h.join("b", "presenter")
	s := h.publishAV("a")
	ack, err := h.d.Subscribe(t.Context(), roomID, "b", av(s))
	if err != nil {
		t.Fatal(err)
	}
	y := ack.ID
	control := func(who string, c portalproto.SubscriptionControl) error {
		return h.d.SubscriptionControl(t.Context(), roomID, who, c)
	}
	video := conference.MediaSet{Video: true}
	wantText(t, "T-99", control("b", portalproto.SubscriptionControl{ID: y, Operation: portalproto.Pause, Media: video}), "<nil>")
	wantText(t, "T-100", control("a", portalproto.SubscriptionControl{ID: y, Operation: portalproto.Pause, Media: video}), "unauthorized")
	wantText(t, "T-100 nope", control("b", portalproto.SubscriptionControl{ID: "nope", Operation: portalproto.Pause, Media: video}), "Subscription does NOT exist")
	wantText(t, "T-101", control("b", portalproto.SubscriptionControl{ID: y, Operation: portalproto.Update, Media: video}), "<nil>")
	only, err := h.d.Subscribe(t.Context(), roomID, "b", portalproto.SubscribeRequest{Tracks: av(s).Tracks[:1]})
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "T-102", control("b", portalproto.SubscriptionControl{ID: only.ID, Operation: portalproto.Update, Media: video}), "Target subscription does NOT have video to update")
	wantText(t, "not mine", h.d.Unsubscribe(t.Context(), roomID, "a", y), "unauthorized")
	wantText(t, "T-103", h.d.Unsubscribe(t.Context(), roomID, "b", y), "<nil>")
	wantText(t, "T-103 again", h.d.Unsubscribe(t.Context(), roomID, "b", y), "Subscription does NOT exist")
}

func TestT_136_LeaveBeforeRemove(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	b, _ := h.join("b", "presenter")
	s := h.publishAV("a")
	ack, err := h.d.Subscribe(t.Context(), roomID, "b", av(s))
	if err != nil {
		t.Fatal(err)
	}
	a.take()
	b.take()
	h.d.Leave(t.Context(), roomID, "a")
	wantAll(t, "b", b.take(), `participant {"action":"leave","data":"a"}`,
		`progress {"id":"`+ack.ID+`","sessionId":"`+ack.ID+`","status":"error","data":"Source stream loss"}`,
		`stream {"id":"`+s+`","status":"remove"}`)
	wantAll(t, "nothing to the leaver", a.take())
	h.settle()
	if calls := h.media.seen(); !slices.Contains(calls, "close a") {
		t.Errorf("media of the leaver was not closed: %v", calls)
	}
	h.d.Leave(t.Context(), roomID, "a") // again: no effect
	wantAll(t, "b", b.take())
}

func TestT_123_132_WordsOfTheMediaLayer(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	s := h.publishAV("a")
	a.take()
	events := h.media.events[s]
	events.Answer(s, "v=0")
	events.TransportReady(s)
	if err := h.d.StreamControl(t.Context(), roomID, "a", portalproto.StreamControl{ID: s, Operation: portalproto.Pause, Media: conference.MediaSet{Video: true}}); err != nil {
		t.Fatal(err)
	}
	a.take()
	events.TracksChanged(s, []conference.Track{{ID: s + "-1", Kind: conference.Video, Parameters: conference.VideoParameters{Resolution: conference.Resolution{Width: 320, Height: 180}}}})
	h.settle()
	if got := a.take(); len(got) != 1 || !strings.Contains(got[0], `"field":"."`) || !strings.Contains(got[0], `"width":320,"height":180`) || !strings.Contains(got[0], `"status":"inactive"`) {
		t.Errorf("update: %v", got)
	}
	events.SessionFailed(s, s, portalproto.ReasonICEFailed)
	h.settle()
	wantAll(t, "failure", a.take(), `progress {"id":"`+s+`","sessionId":"`+s+`","status":"error","data":"Ice procedure failed."}`, `stream {"id":"`+s+`","status":"remove"}`)
}

func TestSessionLimit(t *testing.T) {
	h := newHouse(t, nil)
	h.d.options.Limits.Sessions = 2
	h.join("a", "presenter")
	s := h.publishAV("a")
	if _, err := h.d.Subscribe(t.Context(), roomID, "a", av(s)); err != nil {
		t.Fatal(err)
	}
	ack, err := h.d.Subscribe(t.Context(), roomID, "a", av(s))
	wantText(t, "third", err, "Too many sessions")
	if ack.ID != "" {
		t.Errorf("ack %+v", ack)
	}
}

func TestC_61_Destroy(t *testing.T) {
	h := newHouse(t, nil)
	a, _ := h.join("a", "presenter")
	s := h.publishAV("a")
	a.take()
	h.d.Destroy(roomID)
	wantAll(t, "owner", a.take(), `progress {"id":"`+s+`","sessionId":"`+s+`","status":"error","data":"Owner leave"}`)
	if !a.dropped {
		t.Error("the participant was not dropped")
	}
}

// A session whose owner leaves while its media is being opened must not stay open.
func TestLeaveWhileOpening(t *testing.T) {
	h := newHouse(t, nil)
	h.join("a", "presenter")
	h.join("b", "presenter")
	slow := &leavingMedia{fakeMedia: h.media, leave: func() { h.d.Leave(context.Background(), roomID, "a") }}
	if err := h.d.in(roomID, func(c *controller) error { c.media = slow; return nil }); err != nil {
		t.Fatal(err)
	}
	_, err := h.d.Publish(t.Context(), roomID, "a", portalproto.PublishRequest{Tracks: avTracks})
	wantText(t, "publish", err, "Participant has not joined")
	if calls := h.media.seen(); calls[len(calls)-1] != "close a" {
		t.Errorf("media was left open: %v", calls)
	}
}

type leavingMedia struct {
	*fakeMedia
	leave func()
}

func (l *leavingMedia) Publish(p MediaPublication) error {
	l.leave()
	return l.fakeMedia.Publish(p)
}

func TestF2_RoomEndsAWhileAfterItsLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.join("a", "presenter")
		time.Sleep(time.Hour) // synthetic time: somebody is there
		h.d.Leave(t.Context(), roomID, "a")
		time.Sleep(29 * time.Second)
		if h.d.find(roomID) == nil {
			t.Fatal("the room ended early")
		}
		h.join("b", "presenter")
		time.Sleep(time.Hour)
		if h.d.find(roomID) == nil {
			t.Fatal("the room ended with somebody in it")
		}
		h.d.Leave(t.Context(), roomID, "b")
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if h.d.find(roomID) != nil {
			t.Fatal("the room did not end")
		}
		h.join("c", "presenter")
	})
}

func TestManyAtOnce(t *testing.T) {
	h := newHouse(t, nil)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			id := fmt.Sprintf("p%d", i)
			if _, err := h.d.Join(t.Context(), Join{Room: roomID, Participant: id, Role: "presenter", Member: &fakeMember{}}); err != nil {
				t.Errorf("join: %v", err)
				return
			}
			if _, err := h.d.Publish(t.Context(), roomID, id, portalproto.PublishRequest{Tracks: avTracks}); err != nil {
				t.Errorf("publish: %v", err)
			}
			if i%2 == 0 {
				h.d.Leave(t.Context(), roomID, id)
			}
		})
	}
	wg.Wait()
	if n := h.d.Count(t.Context()); n.Rooms != 1 || n.Participants != 20 || n.Publications != 20 {
		t.Errorf("%+v", n)
	}
}
