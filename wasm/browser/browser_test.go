//go:build js && wasm

package browser

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall/js"
	"testing"

	"go.uber.org/goleak"

	"portico/shared/client"
	"portico/shared/conference"
	"portico/wasm/browser/browsertest"
)

// The runtime keeps a goroutine of its own for JavaScript callbacks.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("runtime.handleEvent"))
}

// recorder keeps the events of a peer as text and passes each on.
type recorder struct{ events chan string }

func newRecorder() *recorder { return &recorder{make(chan string, 32)} }

func (r *recorder) Candidate(candidate, mid string, mline int) {
	r.events <- "candidate " + candidate + " " + mid + " " + string(rune('0'+mline))
}

func (r *recorder) Track(mid string, kind conference.Kind, streams []string, remote any) {
	text := "track " + mid + " " + string(kind)
	for _, s := range streams {
		text += " " + s
	}
	r.events <- text + " " + remote.(js.Value).Get("id").String()
}

func (r *recorder) State(state string) { r.events <- "state " + state }

// makePeer returns a peer and its RTCPeerConnection.
func makePeer(t *testing.T, config Config, peerConfig client.PeerConfig, events client.PeerEvents) (client.Peer, js.Value) {
	t.Helper()
	browsertest.Install(t)
	var pc js.Value
	config.Created = func(v js.Value) { pc = v }
	p, err := NewFactory(config).NewPeer(peerConfig, events)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, pc
}

func json(v js.Value) string { return js.Global().Get("JSON").Call("stringify", v).String() }

func object(text string) js.Value { return js.Global().Get("JSON").Call("parse", text) }

func TestConfiguration(t *testing.T) {
	servers := []client.ICEServer{{URLs: []string{"stun:a"}}, {URLs: []string{"turn:b", "turn:c"}, Username: "u", Credential: "p"}}
	const theirs = `[{"urls":["stun:a"]},{"urls":["turn:b","turn:c"],"username":"u","credential":"p"}]`
	for _, c := range []struct {
		name string
		page js.Value
		peer client.PeerConfig
		want string
	}{
		{"the server's", js.Undefined(), client.PeerConfig{ICEServers: servers}, `{"bundlePolicy":"max-bundle","iceServers":` + theirs + `}`},
		{"relay only", js.Null(), client.PeerConfig{RelayOnly: true}, `{"bundlePolicy":"max-bundle","iceServers":[],"iceTransportPolicy":"relay"}`},
		{"the page's", object(`{"iceServers":[{"urls":"stun:mine"}],"bundlePolicy":"balanced","iceTransportPolicy":"relay"}`), client.PeerConfig{ICEServers: servers},
			`{"iceServers":[{"urls":"stun:mine"}],"bundlePolicy":"balanced","iceTransportPolicy":"relay"}`},
		{"an empty list is no wish", object(`{"iceServers":[]}`), client.PeerConfig{ICEServers: servers[:1]}, `{"iceServers":[{"urls":["stun:a"]}],"bundlePolicy":"max-bundle"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, pc := makePeer(t, Config{RTC: c.page}, c.peer, newRecorder())
			if got := json(pc.Get("config")); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestNewPeerErrors(t *testing.T) {
	if _, err := NewFactory(Config{}).NewPeer(client.PeerConfig{}, newRecorder()); !errors.Is(err, ErrUnsupported) {
		t.Errorf("without WebRTC: %v", err)
	}
	browsertest.Install(t)
	_, err := NewFactory(Config{RTC: object(`{"explode":true}`)}).NewPeer(client.PeerConfig{}, newRecorder())
	var thrown *Error
	if !errors.As(err, &thrown) || thrown.Name != "TypeError" || thrown.Message != "bad configuration" {
		t.Errorf("got %v", err)
	}
}

func TestNegotiation(t *testing.T) {
	p, pc := makePeer(t, Config{}, client.PeerConfig{}, newRecorder())
	ctx := context.Background()
	mic := object(`{"kind":"audio","id":"mic"}`)
	send, err := p.AddTransceiver(conference.Audio, client.SendOnly, mic, client.SendOptions{})
	if err != nil {
		t.Fatal(err)
	}
	receive, err := p.AddTransceiver(conference.Video, client.RecvOnly, nil, client.SendOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if send.Mid() != "" {
		t.Errorf("mid before the offer: %q", send.Mid())
	}
	sdp, err := p.Offer(ctx, false)
	const offer = "v=0\r\nm=audio 9 x\r\na=mid:0\r\na=sendonly\r\nm=video 9 x\r\na=mid:1\r\na=recvonly\r\n"
	if err != nil || sdp != offer {
		t.Fatalf("offer %q, %v", sdp, err)
	}
	if send.Mid() != "0" || receive.Mid() != "1" {
		t.Errorf("mids %q and %q", send.Mid(), receive.Mid())
	}
	if err := p.Answer(ctx, "v=0 answer"); err != nil {
		t.Fatal(err)
	}
	if sdp, err = p.Offer(ctx, true); err != nil || !strings.HasPrefix(sdp, "v=0 restart\r\n") {
		t.Errorf("restart %q, %v", sdp, err)
	}
	want := `[["createOffer",{}],["local","offer"],["remote","answer"],["createOffer",{"iceRestart":true}],["local","offer"]]`
	if got := json(pc.Get("calls")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := json(pc.Get("transceivers").Index(0).Get("sender").Get("track")); got != json(mic) {
		t.Errorf("sent track %s", got)
	}
	var refused *Error
	if err := p.Answer(ctx, "bad"); !errors.As(err, &refused) || refused.Name != "OperationError" {
		t.Errorf("a bad answer gave %v", err)
	}
}

func TestSendOptions(t *testing.T) {
	p, pc := makePeer(t, Config{}, client.PeerConfig{}, newRecorder())
	camera := object(`{"kind":"video"}`)
	_, err := p.AddTransceiver(conference.Video, client.SendOnly, camera, client.SendOptions{
		Encodings: []client.Encoding{{RID: "q", MaxBitrate: 150_000, ScaleResolutionDownBy: 4}, {RID: "f", ScalabilityMode: "L1T3"}},
		Codecs:    []string{"h264", "vp8"},
	})
	if err != nil {
		t.Fatal(err)
	}
	first := pc.Get("transceivers").Index(0)
	want := `{"direction":"sendonly","sendEncodings":[{"rid":"q","maxBitrate":150000,"scaleResolutionDownBy":4},{"rid":"f","scalabilityMode":"L1T3"}]}`
	if got := json(first.Get("init")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want = `[{"mimeType":"video/H264","sdpFmtpLine":"a"},{"mimeType":"video/H264","sdpFmtpLine":"b"},{"mimeType":"video/VP8"},{"mimeType":"video/rtx"},{"mimeType":"video/red"}]`
	if got := json(first.Get("codecs")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, err := p.AddTransceiver(conference.Video, client.SendOnly, camera, client.SendOptions{Codecs: []string{"h265"}}); err == nil {
		t.Error("a codec the browser lacks was accepted")
	}
	if _, err := p.AddTransceiver(conference.Video, client.SendOnly, "a string", client.SendOptions{}); !errors.Is(err, ErrNotATrack) {
		t.Errorf("a string as track gave %v", err)
	}
}

func TestReplaceAndStop(t *testing.T) {
	p, pc := makePeer(t, Config{}, client.PeerConfig{}, newRecorder())
	sender, err := p.AddTransceiver(conference.Video, client.SendOnly, object(`{"kind":"video","id":"a"}`), client.SendOptions{})
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := p.AddTransceiver(conference.Audio, client.RecvOnly, nil, client.SendOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.ReplaceTrack(object(`{"kind":"video","id":"b"}`)); err != nil {
		t.Fatal(err)
	}
	out, in := pc.Get("transceivers").Index(0), pc.Get("transceivers").Index(1)
	if got := out.Get("sender").Get("track").Get("id").String(); got != "b" {
		t.Errorf("sends %q", got)
	}
	if err := errors.Join(sender.Stop(), receiver.Stop()); err != nil {
		t.Fatal(err)
	}
	if !out.Get("sender").Get("track").IsNull() || out.Get("direction").String() != "inactive" {
		t.Errorf("a stopped sender still has %s, %s", json(out.Get("sender").Get("track")), out.Get("direction").String())
	}
	if !in.Get("receiver").Get("track").Get("stopped").Bool() || in.Get("direction").String() != "inactive" {
		t.Error("a stopped receiver goes on")
	}
}

func TestEventsInOrder(t *testing.T) {
	events := newRecorder()
	_, pc := makePeer(t, Config{}, client.PeerConfig{}, events)
	fire := js.Global().Get("Function").New("pc", `
		pc.fire('icecandidate', {candidate: {candidate: 'candidate:1', sdpMid: '0', sdpMLineIndex: 0}});
		pc.connectionState = 'connecting'; pc.fire('connectionstatechange');
		pc.fire('icecandidate', {candidate: {candidate: 'candidate:2', sdpMid: '1', sdpMLineIndex: 1}});
		pc.fire('icecandidate', {candidate: {candidate: '', sdpMid: '0', sdpMLineIndex: 0}});
		pc.fire('icecandidate', {candidate: null});
		pc.fire('track', {});
		pc.fire('track', {transceiver: {mid: '3'}, track: {kind: 'video', id: 'T'}, streams: [{id: 'S1'}, {id: 'S2'}]});
		pc.connectionState = 'connected'; pc.fire('connectionstatechange');`)
	console := js.Global().Get("console").Get("error")
	js.Global().Get("console").Set("error", js.Global().Get("Function").New(""))
	fire.Invoke(pc)
	js.Global().Get("console").Set("error", console)
	want := []string{"candidate candidate:1 0 0", "state connecting", "candidate candidate:2 1 1", "track 3 video S1 S2 T", "state connected"}
	var got []string
	for range want {
		got = append(got, <-events.events)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestWaitingEnds(t *testing.T) {
	p, pc := makePeer(t, Config{}, client.PeerConfig{}, newRecorder())
	pc.Set("hang", true)
	ctx, cancel := context.WithCancelCause(context.Background())
	reason := errors.New("the page has gone")
	cancel(reason)
	if _, err := p.Offer(ctx, false); !errors.Is(err, reason) {
		t.Errorf("with a cancelled context: %v", err)
	}
	result := make(chan error)
	go func() {
		_, err := p.Offer(context.Background(), false)
		result <- err
	}()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, ErrClosed) {
		t.Errorf("a call waiting at Close got %v", err)
	}
	promises.Lock()
	defer promises.Unlock()
	if len(promises.waiting) != 0 {
		t.Errorf("%d promises are still waited for", len(promises.waiting))
	}
}

func TestCloseIsComplete(t *testing.T) {
	events := newRecorder()
	p, pc := makePeer(t, Config{}, client.PeerConfig{}, events)
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Fatal(err)
	}
	pc.Call("fire", "connectionstatechange")
	if n := pc.Get("listeners").Int(); n != 0 {
		t.Errorf("%d listeners stay", n)
	}
	if got := json(pc.Get("calls")); got != `[["close"]]` {
		t.Errorf("calls %s", got)
	}
	select {
	case e := <-events.events:
		t.Errorf("event after Close: %s", e)
	default:
	}
	if err := p.SetICEServers(nil); err != nil {
		t.Error(err)
	}
}

func TestSetICEServers(t *testing.T) {
	p, pc := makePeer(t, Config{}, client.PeerConfig{}, newRecorder())
	if err := p.SetICEServers([]client.ICEServer{{URLs: []string{"stun:new"}}}); err != nil {
		t.Fatal(err)
	}
	if got := json(pc.Get("config").Get("iceServers")); got != `[{"urls":["stun:new"]}]` {
		t.Errorf("got %s", got)
	}
	p, pc = makePeer(t, Config{RTC: object(`{"iceServers":[{"urls":"stun:mine"}]}`)}, client.PeerConfig{}, newRecorder())
	if err := p.SetICEServers([]client.ICEServer{{URLs: []string{"stun:new"}}}); err != nil {
		t.Fatal(err)
	}
	if got := json(pc.Get("config").Get("iceServers")); got != `[{"urls":"stun:mine"}]` {
		t.Errorf("the page's servers became %s", got)
	}
}

// panicky breaks on its first event.
type panicky struct{ *recorder }

func (p panicky) State(state string) {
	if state == "connecting" {
		panic("broken listener")
	}
	p.recorder.State(state)
}

func TestPanicInAnEventStaysThere(t *testing.T) {
	events := newRecorder()
	_, pc := makePeer(t, Config{}, client.PeerConfig{}, panicky{events})
	console := js.Global().Get("console")
	original := console.Get("error")
	said := make(chan string, 1)
	replacement := js.FuncOf(func(_ js.Value, args []js.Value) any { said <- args[0].String(); return nil })
	defer replacement.Release()
	console.Set("error", replacement)
	defer console.Set("error", original)
	js.Global().Get("Function").New("pc", `for (const s of ['connecting', 'connected']) { pc.connectionState = s; pc.fire('connectionstatechange'); }`).Invoke(pc)
	if got := <-said; got != "portico: panic: broken listener" {
		t.Errorf("console said %q", got)
	}
	if got := <-events.events; got != "state connected" {
		t.Errorf("next event %q", got)
	}
}
