package restapi

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"portico/edge/room"
	"portico/edge/store"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
)

// runningRooms are real rooms, whose configuration is what the API has stored, without media and mixers.
func runningRooms(db store.Store) *room.Directory {
	var ids atomic.Int32
	return room.NewDirectory(room.Options{
		Config: func(ctx context.Context, id string) (conference.Room, error) {
			r, err := db.Room(ctx, id)
			return conference.ReadRoom(r.Document), err
		},
		Media: media{}, Mixers: mixers{}, Log: slog.New(slog.DiscardHandler),
		NewID: func() string { return fmt.Sprintf("S%d", ids.Add(1)) },
	})
}

// media is ready for everything, and has no packets.
type media struct{}

func (media) Publish(p room.MediaPublication) error {
	var tracks []conference.Track
	for _, t := range p.Tracks {
		track := conference.Track{ID: p.Session + "-" + t.Mid, Kind: t.Kind, Mid: t.Mid, Source: t.Source, Format: conference.Format{Codec: "vp8"}}
		if t.Kind == conference.Audio {
			track.Format = conference.Format{Codec: "opus", SampleRate: 48000, ChannelNum: 2}
		}
		rids := []string{""}
		if t.Layers {
			rids = []string{"q", "h", "f"}
		}
		for _, rid := range rids {
			track := track
			if track.Rid = rid; rid != "" {
				track.ID += ":" + rid
			} else if t.Kind == conference.Video {
				track.Parameters.Resolution = conference.Resolution{Width: 1280, Height: 720}
			}
			tracks = append(tracks, track)
		}
	}
	p.Events.SessionReady(p.Transport, p.Session, tracks)
	return nil
}

func (media) Subscribe(room.MediaSubscription) error              { return nil }
func (media) SetActive(string, bool)                              {}
func (media) SetSubscriptionActive(string, conference.Kind, bool) {}
func (media) SetDisplay(string, conference.Resolution)            {}
func (media) Change(string, room.MediaSource) error               { return nil }
func (media) Stop(string)                                         {}
func (media) CloseParticipant(string)                             {}
func (media) Remote(room.RemoteStream)                            {}
func (media) RemoteEnded(string)                                  {}
func (media) Quality(string) (jsonvalue.Value, bool)              { return jsonvalue.Value{}, false }

type mixers struct{}

func (mixers) OpenMixer(room.MixerSpec) room.Mixer { return mixer{} }

type mixer struct{}

func (mixer) Update(room.Mix) {}
func (mixer) Follow(string)   {}
func (mixer) Ready() error    { return nil }
func (mixer) Close()          {}

// member keeps what a participant is told.
type member struct {
	mu  sync.Mutex
	got []string
}

func (m *member) Notify(n portalproto.Notification) {
	event, data := n.Encode(portalproto.Receiver{Version: portalproto.V12})
	m.add(event + " " + data.String())
}

func (m *member) Drop()  { m.add("drop") }
func (m *member) Moved() { m.add("moved") }

func (m *member) add(line string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got = append(m.got, line)
}

func (m *member) take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	got := m.got
	m.got = nil
	return got
}

// meeting is the room of cases C20 and after: Alice is a presenter and publishes, Bob a viewer.
type meeting struct {
	*fixture
	room, path string
	alice, bob *member
	s1         string
}

func newMeeting(t *testing.T, options string) *meeting {
	t.Helper()
	m := &meeting{fixture: newFixture(t), alice: &member{}, bob: &member{}}
	m.room = m.createRoom(options)
	m.path = "/v1/rooms/" + m.room
	for _, who := range []struct {
		id, user, role string
		member         *member
	}{{"P_ALICE", "alice", "presenter", m.alice}, {"P_BOB", "bob", "viewer", m.bob}} {
		if _, err := m.Join(t.Context(), room.Join{Room: m.room, Participant: who.id, User: who.user, Role: who.role, Member: who.member,
			Origin: conference.Origin{ISP: "isp", Region: "region"}}); err != nil {
			t.Fatal(err)
		}
	}
	m.s1 = m.publish(false)
	return m
}

// publish lets Alice publish sound and picture, and waits until that is known.
func (m *meeting) publish(simulcast bool) string {
	m.t.Helper()
	ack, err := m.Publish(m.t.Context(), m.room, "P_ALICE", portalproto.PublishRequest{
		Attributes: jsonvalue.OfObject(jsonvalue.M("a", jsonvalue.OfInt(1))),
		Tracks: []portalproto.PublishTrack{
			{Kind: conference.Audio, Mid: "0", Source: "mic"}, {Kind: conference.Video, Mid: "1", Source: "camera", Layers: simulcast},
		},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	if list, err := m.Streams(m.t.Context(), m.room); err != nil || !slices.ContainsFunc(list, func(s conference.Stream) bool { return s.ID == ack.ID }) {
		m.t.Fatal("the stream is not listed")
	}
	m.alice.take()
	m.bob.take()
	return ack.ID
}

// request is asService with R and S1 in path and body replaced; the path is that below the room.
func (m *meeting) request(method, path, body string) response {
	m.t.Helper()
	fill := strings.NewReplacer("R-common", m.room+"-common", "S1", m.s1)
	return m.asService(method, m.path+fill.Replace(path), fill.Replace(body))
}

// filled replaces S1 and R-common in what is expected.
func (m *meeting) filled(want string) string {
	return strings.NewReplacer("R-common", m.room+"-common", "S1", m.s1).Replace(want)
}

const (
	failed        = `{"error":{"code":1301,"message":"Operation failed"}}`
	noParticipant = `{"error":{"code":1005,"message":"Participant not found"}}`
	noStreamFound = `{"error":{"code":1004,"message":"Stream not found"}}`
	alice         = `{"id":"P_ALICE","user":"alice","role":"presenter","permission":{"publish":{"video":true,"audio":true},"subscribe":{"video":true,"audio":true}}}`
	bob           = `{"id":"P_BOB","user":"bob","role":"viewer","permission":{"publish":{"video":false,"audio":false},"subscribe":{"video":true,"audio":true}}}`
)

func TestInactiveRoom(t *testing.T) {
	f := newFixture(t)
	path := "/v1/rooms/" + f.createRoom("{}")
	for _, list := range []string{"/participants", "/streams", "/participants/", "/Streams/"} {
		f.wantJSON(f.asService("GET", path+list, ""), 200, "[]")
	}
	t.Run("C-21", func(t *testing.T) {
		f.wantJSON(f.asService("GET", path+"/participants/x", ""), 404, noParticipant)
		f.wantJSON(f.asService("GET", path+"/streams/x", ""), 404, noStreamFound)
		for _, one := range []string{"/participants/x", "/streams/x"} {
			f.wantJSON(f.asService("DELETE", path+one, ""), 500, failed)
			f.wantJSON(f.asService("PATCH", path+one, "[]"), 500, failed)
		}
	})
	f.wantJSON(f.asService("PUT", path+"/streams/x", "[]"), 404, noPath)
	f.wantJSON(f.asService("POST", path+"/streams", "{}"), 404, noPath)
}

func TestC_24_Participants(t *testing.T) {
	m := newMeeting(t, "{}")
	m.wantJSON(m.request("GET", "/participants", ""), 200, "["+alice+","+bob+"]")
	m.wantJSON(m.request("GET", "/participants/P_BOB", ""), 200, bob)
	for _, id := range []string{"P_EVE", "admin", "%20"} {
		m.wantJSON(m.request("GET", "/participants/"+id, ""), 404, noParticipant)
	}
}

// unreachable is a cluster whose rooms cannot be reached.
type unreachable struct{ room.Cluster }

func (unreachable) Command(context.Context, string, []byte) ([]byte, error) {
	return nil, portalproto.ErrClusterUnavailable
}

// TestListsUnreachable: half a list, or none, does not look like a whole one.
func TestListsUnreachable(t *testing.T) {
	f := newFixture(t)
	path := "/v1/rooms/" + f.json(f.asService("POST", "/v1/rooms", `{"name":"r"}`), 200).Get("_id").Text()
	for _, list := range []string{"/participants", "/streams"} {
		f.wantJSON(f.asService("GET", path+list, ""), 200, "[]")
	}
	f.Close()
	f.Directory = room.NewDirectory(room.Options{Cluster: unreachable{}, Log: slog.New(slog.DiscardHandler)})
	for _, list := range []string{"/participants", "/participants/p", "/streams", "/streams/s"} {
		f.wantJSON(f.asService("GET", path+list, ""), 500, failed)
	}
}

func TestC_25_26_Permission(t *testing.T) {
	m := newMeeting(t, "{}")
	const path = "/participants/P_BOB"
	m.wantJSON(m.request("PATCH", path, `[{"op":"replace","path":"/permission/publish/audio","value":true}]`), 200,
		strings.Replace(bob, `"publish":{"video":false,"audio":false}`, `"publish":{"video":false,"audio":true}`, 1))
	m.wantJSON(m.request("PATCH", path, `[{"op":"replace","path":"/permission/publish","value":{"audio":false,"video":false}},`+
		`{"op":"replace","path":"/permission/subscribe/video","value":false},{"op":"replace","path":"/permission/subscribe","value":{"audio":true,"video":true}}]`), 200, bob)
	for _, body := range []string{
		`[{"op":"add","path":"/permission/publish/audio","value":true}]`, `{}`, `[{"op":"replace","path":"/permission/publish/audio","value":"x"}]`,
		`[{"op":"replace","path":"/permission/publish/audio","value":true,"x":1}]`, `[{"op":"replace","path":"/permission/publish/data","value":true}]`,
		`[{"op":"replace","path":"/permission/publish","value":{"audio":true}}]`, `[{"op":"replace","path":"/permission","value":true}]`,
		`[{"op":"replace","path":"/permission/publish","value":{"audio":true,"video":true,"data":true}}]`, `["x"]`, `[null]`,
		`[{"op":"replace","path":"publish/audio","value":true}]`, `[{"op":"replace","path":"/permission/publish/audio"}]`,
	} {
		m.wantJSON(m.request("PATCH", path, body), 500, failed)
		m.wantJSON(m.request("GET", path, ""), 200, bob)
	}
	one := `{"op":"replace","path":"/permission/publish/audio","value":true}`
	m.wantJSON(m.request("PATCH", path, `["x",`+one+`,{}]`), 500, failed)
	if got := m.json(m.request("GET", path, ""), 200); !got.Path("permission", "publish", "audio").Bool() {
		t.Error("the operation that makes sense was not carried out")
	}
	for _, who := range []string{"admin", "P_EVE"} {
		m.wantJSON(m.request("PATCH", "/participants/"+who, "["+one+"]"), 500, failed)
	}
	m.wantJSON(m.request("PATCH", path, "["+strings.Repeat(one+",", maxChanges)+one+"]"), 500, failed)
	if told := append(m.alice.take(), m.bob.take()...); len(told) > 0 {
		t.Errorf("told %v", told)
	}
}

// wantEmpty checks the answer to a DELETE.
func (m *meeting) wantEmpty(r response) {
	m.t.Helper()
	if r.status != 200 || r.body != "" || r.header.Get("Content-Type") != "" {
		m.t.Errorf("response %d %q %q", r.status, r.header.Get("Content-Type"), r.body)
	}
}

func TestC_27_DropParticipant(t *testing.T) {
	m := newMeeting(t, "{}")
	m.wantEmpty(m.request("DELETE", "/participants/P_BOB", ""))
	if got := m.bob.take(); !slices.Equal(got, []string{"drop"}) {
		t.Errorf("Bob was told %v", got)
	}
	if got := m.alice.take(); !slices.Equal(got, []string{`participant {"action":"leave","data":"P_BOB"}`}) {
		t.Errorf("Alice was told %v", got)
	}
	for _, who := range []string{"P_BOB", "admin"} {
		m.wantJSON(m.request("DELETE", "/participants/"+who, ""), 500, failed)
	}
	m.wantJSON(m.request("GET", "/participants", ""), 200, "["+alice+"]")
}
