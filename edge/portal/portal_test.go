package portal

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"portico/edge/room"
	"portico/edge/sioserver"
	"portico/edge/store"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/portalproto"
	"portico/shared/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeSocket records what leaves, in order, as "name args" lines; "41" is a disconnect.
type fakeSocket struct {
	id   string
	mu   sync.Mutex
	sent []string
	more chan struct{} // one token: something was sent
}

func (s *fakeSocket) ID() string         { return s.id }
func (s *fakeSocket) RemoteAddr() string { return "192.0.2.1:1" }
func (s *fakeSocket) Disconnect()        { s.send("41") }
func (s *fakeSocket) Emit(name string, args ...jsonvalue.Value) {
	s.send(name + " " + strings.TrimSuffix(strings.TrimPrefix(jsonvalue.OfArray(args...).String(), "["), "]"))
}

func (s *fakeSocket) send(line string) {
	s.mu.Lock()
	s.sent = append(s.sent, line)
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
}

func (s *fakeSocket) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := s.sent
	s.sent = nil
	return sent
}

// wait waits for something to be sent.
func (s *fakeSocket) wait(t *testing.T) {
	t.Helper()
	select {
	case <-s.more:
	case <-t.Context().Done():
		t.Fatal("nothing was sent")
	}
}

// until waits until the line was sent, and returns everything up to then and since the last look.
func (s *fakeSocket) until(t *testing.T, line string) []string {
	t.Helper()
	var all []string
	for {
		all = append(all, s.take()...)
		if slices.Contains(all, line) {
			return all
		}
		select {
		case <-s.more:
		case <-t.Context().Done():
			t.Fatalf("%s was not sent, only %v", line, all)
		}
	}
}

// client is a fake socket and the portal's handler behind it.
type client struct {
	t *testing.T
	*fakeSocket
	h sioserver.Handler
}

// request sends a request and waits for its acknowledgement, as JSON.
func (c *client) request(event, data string) string {
	c.t.Helper()
	ack := c.start(event, data)
	select {
	case a := <-ack:
		return a
	case <-c.t.Context().Done():
		c.t.Fatalf("%s was not acknowledged", event)
		return ""
	}
}

func (c *client) start(event, data string) chan string {
	c.t.Helper()
	var args []jsonvalue.Value
	if data != "" {
		v, err := jsonvalue.Parse([]byte(data), jsonvalue.Limits{})
		if err != nil {
			c.t.Fatal(err)
		}
		args = append(args, v)
	}
	ack := make(chan string, 10)
	c.h.Event(event, args, func(args ...jsonvalue.Value) {
		c.send("ack")
		ack <- jsonvalue.OfArray(args...).String()
	})
	return ack
}

// opened waits until the client is told things: a word to itself comes back.
func (c *client) opened() {
	c.t.Helper()
	c.request("text", `{"to":"`+c.participantID()+`","message":"open"}`)
	c.until(c.t, `text {"from":"`+c.participantID()+`","to":"me","message":"open"}`)
	c.take()
}

// participantID is the id of the participant behind the client, which a resumed one did not get from its socket.
func (c *client) participantID() string {
	conn := c.h.(*connection)
	conn.mu.Lock()
	defer conn.mu.Unlock()
	return conn.participant.id
}

type noMedia struct{}

func (noMedia) Publish(room.MediaPublication) error                 { return nil }
func (noMedia) Subscribe(room.MediaSubscription) error              { return nil }
func (noMedia) SetActive(string, bool)                              {}
func (noMedia) SetSubscriptionActive(string, conference.Kind, bool) {}
func (noMedia) SetDisplay(string, conference.Resolution)            {}
func (noMedia) Change(string, room.MediaSource) error               { return nil }
func (noMedia) Quality(id string) (jsonvalue.Value, bool) {
	return jsonvalue.OfObject(jsonvalue.M("id", jsonvalue.Of(id))), true
}
func (noMedia) Stop(string)              {}
func (noMedia) CloseParticipant(string)  {}
func (noMedia) Remote(room.RemoteStream) {}
func (noMedia) RemoteEnded(string)       {}
func (noMedia) Signal(participant string, s portalproto.Signaling) error {
	return portalproto.NoTransport(s.Transport)
}

const (
	roomID = "5f0000000000000000000001"
	key    = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// memoryTokens is a TokenStore.
type memoryTokens struct {
	mu      sync.Mutex
	records map[string]store.TokenRecord
}

func (m *memoryTokens) ConsumeToken(_ context.Context, id string) (store.TokenRecord, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.records[id]
	if !ok {
		return r, store.ErrNotFound
	}
	delete(m.records, id)
	return r, nil
}

// slowRooms lets a join wait for a word.
type slowRooms struct {
	*room.Directory
	gate chan struct{} // nil: no waiting
}

func (s *slowRooms) Join(ctx context.Context, j room.Join) (room.Joined, error) {
	if s.gate != nil {
		<-s.gate
	}
	return s.Directory.Join(ctx, j)
}

type fixture struct {
	t      *testing.T
	portal *Portal
	rooms  *slowRooms
	tokens *memoryTokens
	n      int
}

func newFixture(t *testing.T, change ...func(*Options)) *fixture {
	return newFixtureWith(t, noMedia{}, change...)
}

// newFixtureWith has a media layer of the test's.
func newFixtureWith(t *testing.T, media room.Media, change ...func(*Options)) *fixture {
	return newMixedFixture(t, media, nil, change...)
}

// newMixedFixture has mixers besides.
func newMixedFixture(t *testing.T, media room.Media, mixers room.Mixers, change ...func(*Options)) *fixture {
	f := &fixture{t: t, tokens: &memoryTokens{records: map[string]store.TokenRecord{}}}
	log := slog.New(slog.DiscardHandler)
	var ids struct {
		sync.Mutex
		n int
	}
	f.rooms = &slowRooms{Directory: room.NewDirectory(room.Options{
		Config: testConfig, Media: media, Mixers: mixers, Log: log,
		NewID: func() string {
			ids.Lock()
			defer ids.Unlock()
			ids.n++
			return fmt.Sprintf("%032x", ids.n)
		},
	})}
	o := Options{
		Rooms: f.rooms, Signaling: noMedia{}, Admit: AdmitByToken([]byte(key), f.tokens, time.Now), Log: log,
		TicketKey:  []byte(key),
		ICEServers: func(string) []portalproto.ICEServer { return nil },
	}
	for _, c := range change {
		c(&o)
	}
	f.portal = New(o)
	t.Cleanup(func() {
		f.portal.Close()
		f.rooms.Close()
	})
	return f
}

// testConfig is of every room.
func testConfig(context.Context, string) (conference.Room, error) {
	all := conference.MediaSet{Audio: true, Video: true}
	return conference.Room{
		ID: roomID, InputLimit: -1, ParticipantLimit: -1, Notifying: conference.Notifying{ParticipantActivities: true, StreamChange: true},
		Roles: []conference.Role{{Role: "presenter", Publish: all, Subscribe: all}, {Role: "viewer", Subscribe: all}},
		Views: []conference.View{{Label: "common", Audio: conference.ViewAudio{Format: conference.AudioFormat{Codec: "opus", SampleRate: 48000, ChannelNum: 2}},
			Video: &conference.ViewVideo{Format: conference.VideoFormat{Codec: "vp8"}, Parameters: conference.ViewParameters{
				Resolution: conference.Resolution{Width: 640, Height: 480}, Framerate: 24, KeyFrameInterval: 100}}}},
	}, nil
}

// connect opens a socket.
func (f *fixture) connect() *client {
	f.n++
	s := &fakeSocket{id: fmt.Sprintf("socket%014d", f.n), more: make(chan struct{}, 1)}
	c := &client{t: f.t, fakeSocket: s, h: f.portal.Accept(s)}
	f.t.Cleanup(func() { c.h.Closed("test over") })
	return c
}

// token issues a token; age is how long ago.
func (f *fixture) token(user, role string, age time.Duration) string {
	id := fmt.Sprintf("%024x", len(f.tokens.records)+f.n*1000+1)
	f.tokens.records[id] = store.TokenRecord{ID: id, User: user, Role: role, Room: roomID, Created: time.Now().Add(-age), Origin: conference.Origin{ISP: "isp", Region: "region"}}
	return token.Mint([]byte(key), token.Token{TokenID: id, Host: "portal.example.com:8080"}).Encode()
}

func login(tok string) string {
	return `{"token":` + jsonvalue.Of(tok).String() + `,"userAgent":{"sdk":{"type":"JavaScript","version":"5.1"}},"protocol":"1.2"}`
}

// joined is a client that has logged in.
func (f *fixture) joined(user, role string) *client {
	f.t.Helper()
	c := f.connect()
	if ack := c.request("login", login(f.token(user, role, 0))); !strings.HasPrefix(ack, `["ok"`) {
		f.t.Fatalf("login: %s", ack)
	}
	c.opened()
	return c
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func TestT_20_Login(t *testing.T) {
	f := newFixture(t)
	c := f.connect()
	ack, err := jsonvalue.Parse([]byte(c.request("login", login(f.token("alice", "presenter", 0)))), jsonvalue.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	result := ack.Index(1)
	ticket, err := token.DecodeTicket(result.Get("reconnectionTicket").Text())
	if err != nil || !ticket.Verify([]byte(key)) || ticket.ParticipantID != c.id {
		t.Errorf("ticket %+v, %v", ticket, err)
	}
	const opus = `{"codec":"opus","sampleRate":48000,"channelNum":2}`
	mixed := `{"id":"` + roomID + `-common","type":"mixed","media":{"tracks":[{"type":"audio","format":` + opus + `,"optional":{},"status":"active"},` +
		`{"type":"video","format":{"codec":"vp8"},"parameters":{"resolution":{"width":640,"height":480},"framerate":24,"keyFrameInterval":100},` +
		`"optional":{"parameters":{"resolution":[],"framerate":[],"bitrate":[],"keyFrameInterval":[]}},"status":"active"}]},"data":null,` +
		`"info":{"label":"common","activeInput":"unknown","layout":[],"origin":{"isp":"isp","region":"region"}}}`
	want(t, "ack", jsonvalue.OfArray(ack.Index(0), result.Without("reconnectionTicket")).String(), `["ok",{"id":"`+c.id+`","user":"alice","role":"presenter",`+
		`"permission":{"publish":{"video":true,"audio":true},"subscribe":{"video":true,"audio":true}},`+
		`"room":{"id":"`+roomID+`","views":["common"],"participants":[{"id":"`+c.id+`","user":"alice","role":"presenter"}],"streams":[`+mixed+`]}}]`)
}

func TestT_21_TokenIsUsedUp(t *testing.T) {
	f := newFixture(t)
	tok := f.token("alice", "presenter", 0)
	f.connect().request("login", login(tok))
	c := f.connect()
	want(t, "second use", c.request("login", login(tok)), `["error","Invalid token"]`)
	if got := c.until(t, "41"); !slices.Equal(got, []string{"ack", "41"}) {
		t.Errorf("order %v", got)
	}
}

func TestT_22_to_28_31_32_LoginRefused(t *testing.T) {
	f := newFixture(t)
	good := f.token("u", "presenter", 0)
	ua := `,"userAgent":{"sdk":{"type":"JavaScript","version":"5.1"}}`
	raw, err := base64.StdEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	altered := func(old, new string) string {
		return base64.StdEncoding.EncodeToString([]byte(strings.Replace(string(raw), old, new, 1)))
	}
	for _, c := range []struct{ name, data, want string }{
		{"T-22 2.0", `{"token":"x"` + ua + `,"protocol":"2.0"}`, `["error","Unknown client protocol"]`},
		{"T-22 null", `{"token":"x"` + ua + `,"protocol":null}`, `["error","Unknown client protocol"]`},
		{"T-23", `{"token":"` + good + `","userAgent":{"sdk":{"type":"JavaScript","version":"3.5"}},"protocol":"1.2"}`, `["error","Deprecated client version"]`},
		{"T-24", `{"token":"` + good + `","protocol":"1.2"}`, `["error","User agent info is incorrect"]`},
		{"T-25 text", login("###"), ``},
		{"T-25 absent", `{"protocol":"1.2"` + ua + `}`, ``},
		{"T-26 host", login(altered("portal.example.com", "portal.example.org")), `["error","Invalid token signature"]`},
		{"T-26 signature", login(altered(`"signature":"`, `"signature":"A`)), `["error","Invalid token signature"]`},
		{"T-26 number", login(base64.StdEncoding.EncodeToString([]byte("7"))), `["error","Invalid token signature"]`},
		{"T-27", login(f.token("u", "presenter", 181*time.Second)), `["error","Expired"]`},
		{"T-28", login(f.token("u", "nope", 0)), `["error","Invalid role"]`},
		{"T-31 null", `null`, `["error","Invalid login info"]`},
		{"T-31 none", ``, `["error","Invalid login info"]`},
		{"T-32", `{"token":"x"` + ua + `}`, `["error","Deprecated client version"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := f.connect()
			got := client.request("login", c.data)
			if c.want == "" && !strings.HasPrefix(got, `["error","`) || c.want != "" && got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			client.until(t, "41")
		})
	}
	want(t, "T-23 left the token alone", f.connect().request("login", login(good))[:5], `["ok"`)
}

func TestT_30_SecondLogin(t *testing.T) {
	f := newFixture(t)
	c := f.joined("alice", "presenter")
	want(t, "login", c.request("login", login(f.token("alice", "presenter", 0))), `["error","Connection is in service"]`)
	want(t, "still in the room", c.request("text", `{"to":"all","message":"x"}`), `["ok"]`)
	if slices.Contains(c.take(), "41") {
		t.Error("was disconnected")
	}
}

func TestT_33_BeforeLogin(t *testing.T) {
	f := newFixture(t)
	c := f.connect()
	for event := range requests {
		want(t, event, c.request(event, `{}`), `["error","Illegal request"]`)
	}
	want(t, "logout", c.request("logout", ""), `["error","Illegal request"]`)
	want(t, "refresh", c.request("refreshReconnectionTicket", ""), `["error","Illegal request"]`)
}

func TestT_34_35_36_WhileJoining(t *testing.T) {
	f := newFixture(t)
	f.rooms.gate = make(chan struct{})

	a := f.connect()
	ack := a.start("login", login(f.token("a", "presenter", 0)))
	want(t, "T-34", a.request("text", `{"to":"all","message":"x"}`), `["error","Illegal request"]`)
	f.rooms.gate <- struct{}{}
	if got := <-ack; !strings.HasPrefix(got, `["ok"`) {
		t.Errorf("T-34 login: %s", got)
	}

	b := f.connect()
	ack = b.start("login", login(f.token("b", "presenter", 0)))
	want(t, "T-35 logout", b.request("logout", ""), `["ok"]`)
	f.rooms.gate <- struct{}{}
	want(t, "T-35 login", <-ack, `["error","Participant early left"]`)

	a.take()
	d := f.connect()
	d.start("login", login(f.token("d", "presenter", 0)))
	d.h.Closed("transport lost")
	f.rooms.gate <- struct{}{}
	f.portal.group.Close()
	if n := f.rooms.Count(t.Context()); n.Participants != 1 {
		t.Errorf("T-36: %d participants, want only the first", n.Participants)
	}
}

func TestT_37_38_Logout(t *testing.T) {
	f := newFixture(t)
	a, b := f.joined("a", "presenter"), f.joined("b", "presenter")
	b.take()
	want(t, "T-37", a.request("logout", ""), `["ok"]`)
	b.until(t, `participant {"action":"leave","data":"`+a.id+`"}`)
	want(t, "T-38 text", a.request("text", `{"to":"all","message":"x"}`), `["error","Participant has NOT joined"]`)
	want(t, "T-38 bad text", a.request("text", `{}`), `["error","Invalid receiver"]`)
	want(t, "T-38 logout", a.request("logout", ""), `["error","Illegal request"]`)
	want(t, "again", a.request("login", login(f.token("a", "presenter", 0)))[:5], `["ok"`)
}

func TestT_41_42_SeveralLoginsOfOneUser(t *testing.T) {
	f := newFixture(t)
	a, b := f.joined("alice", "presenter"), f.joined("alice", "presenter")
	if a.id == b.id {
		t.Error("same id")
	}
	c := f.connect()
	data := strings.Replace(login(f.token("x", "viewer", 0)), "JavaScript", "Go", 1) // an SDK that is not resumed
	if ack := c.request("login", data); strings.Contains(ack, "reconnectionTicket") || !strings.HasPrefix(ack, `["ok"`) {
		t.Errorf("T-42: %s", ack)
	}
	want(t, "refresh", c.request("refreshReconnectionTicket", ""), `["error","Reconnection is not enabled."]`)
	a.take()
	c.h.Closed("transport lost")
	a.until(t, `participant {"action":"leave","data":"`+c.id+`"}`)
}

func TestT_50_RefreshTicket(t *testing.T) {
	f := newFixture(t)
	c := f.joined("a", "presenter")
	ack, err := jsonvalue.Parse([]byte(c.request("refreshReconnectionTicket", "")), jsonvalue.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := token.DecodeTicket(ack.Index(1).Text())
	if err != nil || ticket.ParticipantID != c.id || ticket.NotAfter.Sub(ticket.NotBefore) != 600*time.Second {
		t.Errorf("%+v, %v", ticket, err)
	}
}

func TestT_70_73_Requests(t *testing.T) {
	f := newFixture(t)
	a, b := f.joined("a", "presenter"), f.joined("b", "viewer")
	a.take()
	want(t, "T-70", a.request("text", `{"to":"all","message":"hi"}`), `["ok"]`)
	for _, c := range []*client{a, b} {
		c.until(t, `text {"from":"`+a.id+`","to":"all","message":"hi"}`)
	}
	id := fmt.Sprintf("%032x", 1)
	want(t, "T-73", a.request("publish", `{"media":{"tracks":[{"type":"audio","mid":"0","source":"mic"}]},"transport":{"type":"webrtc"}}`),
		`["ok",{"id":"`+id+`","transportId":"`+id+`"}]`)
	want(t, "T-79", b.request("publish", `{"media":{"tracks":[{"type":"audio","mid":"0","source":"mic"}]}}`), `["error","unauthorized"]`)
	want(t, "T-104", a.request("soac", `{"id":"a","signaling":{"type":"offer","sdp":""}}`), `["error","Transport a does NOT exist"]`)
	want(t, "unpublish", a.request("unpublish", `{"id":"`+id+`"}`), `["ok"]`)
}

// TestSubscriptionQuality: the request carries the id to the room, whose check it is whose subscription that is.
func TestSubscriptionQuality(t *testing.T) {
	f := newFixture(t)
	c := f.joined("alice", "presenter")
	for data, ack := range map[string]string{
		`{"id":"nosuch"}`: `["error","Subscription does NOT exist"]`, `{}`: `["error","Invalid subscription id"]`, `7`: `["error","Invalid subscription id"]`,
	} {
		want(t, data, c.request(portalproto.EventSubscriptionQuality, data), ack)
	}
}

func TestT_107_108_StrangeInput(t *testing.T) {
	f := newFixture(t)
	c := f.joined("a", "presenter")
	if ack := c.start("foo-bar", `{}`); len(ack) != 0 {
		t.Errorf("an unknown event was acknowledged: %s", <-ack)
	}
	want(t, "text", c.request("text", `null`), `["error","Invalid receiver"]`)
	want(t, "unpublish", c.request("unpublish", `null`), `["error","Invalid stream id"]`)
	want(t, "soac", c.request("soac", `null`), `["error","Invalid soac id"]`)
	want(t, "publish", c.request("publish", ``), `["error","request should be object \"object\""]`)
	c.h.Event("text", []jsonvalue.Value{jsonvalue.OfObject(jsonvalue.M("to", jsonvalue.Of("all")))}, nil)
	c.until(t, `text {"from":"`+c.id+`","to":"all"}`)
}

func TestT_40_Drop(t *testing.T) {
	f := newFixture(t)
	a := f.joined("a", "presenter")
	f.portal.Drain()
	if got := a.take(); !slices.Equal(got, []string{"drop null", "41"}) {
		t.Errorf("drop: %v", got)
	}
	late := f.connect()
	if got := late.take(); !slices.Equal(got, []string{"41"}) {
		t.Errorf("a socket that comes while draining: %v", got)
	}
}

func TestBurstIsCutOff(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.RequestRate, o.RequestBurst = 1, 50 })
	a, b := f.joined("a", "presenter"), f.joined("b", "presenter")
	var last string
	for range 60 {
		if last = a.request("text", `{"to":"nobody"}`); strings.Contains(last, "Too many") {
			break
		}
	}
	want(t, "the one too many", last, `["error","Too many requests"]`)
	if got := a.until(t, "41"); !slices.Contains(got, "drop null") {
		t.Errorf("a: %v", got)
	}
	b.until(t, `participant {"action":"leave","data":"`+a.id+`"}`)
	want(t, "b goes on", b.request("text", `{"to":"all","message":"x"}`), `["ok"]`)
}

func TestT_15_NeverLoggedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		c, in := f.connect(), f.joined("a", "presenter")
		time.Sleep(179 * time.Second) // synthetic time
		if got := c.take(); len(got) != 0 {
			t.Errorf("early: %v", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := c.take(); !slices.Equal(got, []string{"41"}) {
			t.Errorf("after 181 s: %v", got)
		}
		if got := in.take(); slices.Contains(got, "41") {
			t.Errorf("a participant was disconnected: %v", got)
		}
	})
}

// The snapshot in the login's answer and the notifications after it leave no gap and show nothing twice, however the joins of
// two clients interleave; and the answer always comes first.
func TestAckPrecedesNotifications(t *testing.T) {
	f := newFixture(t)
	var wg sync.WaitGroup
	clients := make([]*client, 20)
	tokens := make([]string, len(clients))
	for i := range clients {
		clients[i] = f.connect()
		tokens[i] = f.token("u", "presenter", 0)
	}
	acks := make([]string, len(clients))
	for i, c := range clients {
		wg.Go(func() { acks[i] = c.request("login", login(tokens[i])) })
	}
	wg.Wait()
	for i, c := range clients {
		c.request("text", `{"to":"`+c.id+`","message":"end"}`)
		sent := c.until(t, `text {"from":"`+c.id+`","to":"me","message":"end"}`)
		if len(sent) == 0 || sent[0] != "ack" {
			t.Fatalf("client %d got %v before its acknowledgement", i, sent)
		}
		known := strings.Count(acks[i], `"user":"u","role":"presenter"}`)
		joins := 0
		for _, s := range sent {
			if strings.Contains(s, `"action":"join"`) {
				joins++
			}
		}
		if known+joins != len(clients) {
			t.Errorf("client %d: %d in the snapshot and %d joins, want %d in all", i, known, joins, len(clients))
		}
	}
}
