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

	"go.uber.org/goleak"

	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/layout"
	"portico/shared/portalproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeMedia records what it is told; refuse is the answer to the next Publish or Subscribe.
type fakeMedia struct {
	mu     sync.Mutex
	calls  []string
	events map[string]MediaEvents
	refuse error

	unchangeable string // the track to which Change refuses to change
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
	if p.Data && p.Resumed {
		f.note("publish %s resumed", p.Session)
	}
	f.note("publish %s %s new=%v", p.Transport, p.Session, p.New)
	f.mu.Lock()
	f.events[p.Session] = p.Events
	defer f.mu.Unlock()
	return f.refuse
}

func (f *fakeMedia) Subscribe(s MediaSubscription) error {
	var tracks []string
	for _, t := range s.Tracks {
		tracks = append(tracks, t.String())
	}
	f.note("subscribe %s %s %v", s.Transport, s.Session, tracks)
	f.mu.Lock()
	f.events[s.Session] = s.Events
	defer f.mu.Unlock()
	return f.refuse
}

func (f *fakeMedia) SetActive(track string, active bool) { f.note("active %s %v", track, active) }
func (f *fakeMedia) SetSubscriptionActive(s string, k conference.Kind, active bool) {
	f.note("sub-active %s %s %v", s, k, active)
}

// Change fails for the track that the test names.
func (f *fakeMedia) Change(session string, source MediaSource) error {
	f.note("change %s %s", session, source)
	f.mu.Lock()
	defer f.mu.Unlock()
	if source.Track == f.unchangeable {
		return portalproto.ErrSourceReleased
	}
	return nil
}

// String is what tests compare: what is asked for besides the track itself only if there is anything.
func (s MediaSource) String() string {
	text := fmt.Sprintf("{%s %s %s", s.Kind, s.Mid, s.Track)
	if s.Adapt {
		text += fmt.Sprintf(" adapts to %dx%d", s.Display.Width, s.Display.Height)
	}
	k := s.Making
	if k.Formats != nil {
		text += " in"
	}
	for _, f := range k.Formats {
		text += " " + f.Codec + f.Profile
	}
	if k.Resolution != (conference.Resolution{}) {
		text += fmt.Sprintf(" %dx%d", k.Resolution.Width, k.Resolution.Height)
	}
	if k.Framerate != 0 {
		text += fmt.Sprintf(" @%v", k.Framerate)
	}
	if k.Bitrate != "" {
		text += " " + k.Bitrate
	}
	if k.KeyFrameInterval != 0 {
		text += fmt.Sprintf(" kfi %v", k.KeyFrameInterval)
	}
	if k.Listener != "" {
		text += " for " + k.Listener
	}
	return text + "}"
}

func (f *fakeMedia) SetDisplay(s string, size conference.Resolution) {
	f.note("display %s %dx%d", s, size.Width, size.Height)
}
func (f *fakeMedia) Stop(session string)                 { f.note("stop %s", session) }
func (f *fakeMedia) CloseParticipant(participant string) { f.note("close %s", participant) }
func (f *fakeMedia) Remote(s RemoteStream)               { f.note("remote %s at %s", s.Stream, s.Edge) }
func (f *fakeMedia) RemoteEnded(stream string)           { f.note("remote %s ended", stream) }

// listed is a list that there has to be.
func listed[T any](list []T, err error) []T {
	if err != nil {
		panic(err)
	}
	return list
}

// fakeMember keeps what it was told, as JSON.
type fakeMember struct {
	mu      sync.Mutex
	got     []string
	dropped bool
	moved   bool
}

func (m *fakeMember) Notify(n portalproto.Notification) {
	event, data := n.Encode(portalproto.Receiver{Version: portalproto.V12})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got = append(m.got, event+" "+data.String())
}

func (m *fakeMember) Moved() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.moved = true
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
		return c.run(h.t.Context(), func() error {
			c.deliver()
			c.done.Wait() // here, where nothing is added to it meanwhile
			return nil
		})
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
	h.ready(ack.ID, avOf(ack.ID))
	return ack.ID
}

// avOf is what publishAV publishes.
func avOf(transport string) []conference.Track {
	return []conference.Track{
		{ID: transport + "-0", Kind: conference.Audio, Mid: "0", Format: conference.Format{Codec: "opus", SampleRate: 48000, ChannelNum: 2}},
		{ID: transport + "-1", Kind: conference.Video, Mid: "1", Format: conference.Format{Codec: "vp8"},
			Parameters: conference.VideoParameters{Resolution: conference.Resolution{Width: 640, Height: 480}}},
	}
}

func (h *house) ready(session string, tracks []conference.Track) {
	h.media.mu.Lock()
	events := h.media.events[session]
	h.media.mu.Unlock()
	events.SessionReady(session, session, tracks)
	h.settle()
}

// control is a stream-control request whose answer has no data.
func (h *house) control(who string, c portalproto.StreamControl) error {
	region, err := h.d.StreamControl(h.t.Context(), roomID, who, c)
	if region != "" {
		h.t.Errorf("%s gives region %q", c.Operation, region)
	}
	return err
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

// kinds is what notifications are about, without what they say.
func kinds(told []string) []string {
	list := make([]string, len(told))
	for i, line := range told {
		event, text, _ := strings.Cut(line, " ")
		v, err := jsonvalue.Parse([]byte(text), jsonvalue.Limits{})
		if err != nil {
			panic(err)
		}
		for _, part := range []jsonvalue.Value{v.Get("action"), v.Get("status"), v.Get("id"), v.Path("data", "field")} {
			if event[:4] == "prog" && part.Text() == v.Get("id").Text() {
				continue
			}
			if part.Text() != "" {
				event += " " + part.Text()
			}
		}
		list[i] = event
	}
	return list
}

func scene(t *testing.T, text string) layout.Scene {
	t.Helper()
	v, err := jsonvalue.Parse([]byte(text), jsonvalue.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := layout.ReadLayout(v)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}
