package rtc

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"
	"portico/shared/conference"
)

// TestMain looks for leaks of ours. The library that the clients here are made of may leave the reader of a track behind whose first packet
// never came.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/pion/webrtc/v4.(*PeerConnection).startReceiver.func1"))
}

// patience is how long a test waits for what must come.
const patience = 15 * time.Second

// event is one call of Events.
type event struct {
	name, transport, session, text string
	tracks                         []conference.Track
}

func (e event) String() string {
	text := e.text
	if e.name == "answer" {
		text = "…"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s", e.name, e.transport, e.session, text))
}

// owner collects what Events is told.
type owner struct {
	t   testing.TB
	got chan event
}

func newOwner(t testing.TB) *owner { return &owner{t, make(chan event, 1000)} }

func (o *owner) Answer(transport, sdp string) {
	o.got <- event{name: "answer", transport: transport, text: sdp}
}
func (o *owner) TransportReady(transport string) {
	o.got <- event{name: "transport ready", transport: transport}
}
func (o *owner) TransportFailed(transport, reason string) {
	o.got <- event{name: "transport failed", transport: transport, text: reason}
}
func (o *owner) SessionReady(transport, session string, tracks []conference.Track) {
	o.got <- event{name: "session ready", transport: transport, session: session, tracks: tracks}
}
func (o *owner) SessionFailed(transport, session, reason string) {
	o.got <- event{name: "session failed", transport: transport, session: session, text: reason}
}
func (o *owner) LayersWanted(session string, rids []string) {
	o.got <- event{name: "layers wanted", session: session, text: strings.Join(rids, ",")}
}
func (o *owner) TracksChanged(session string, tracks []conference.Track) {
	o.got <- event{name: "tracks changed", session: session, tracks: tracks}
}

// next waits for the next event and checks its name. Changes of tracks, which come with the media, are passed over unless
// they are what is wanted.
func (o *owner) next(name string) event {
	o.t.Helper()
	for deadline := time.After(patience); ; {
		select {
		case e := <-o.got:
			if e.name == name {
				return e
			}
			if e.name != "tracks changed" {
				o.t.Fatalf("got %v, want %s", e, name)
			}
		case <-deadline:
			o.t.Fatalf("no %s", name)
		}
	}
}

// quiet checks that nothing has been told that was not asked for.
func (o *owner) quiet() {
	o.t.Helper()
	for {
		select {
		case e := <-o.got:
			if e.name != "tracks changed" {
				o.t.Errorf("unexpected: %v", e)
			}
		default:
			return
		}
	}
}

func newEngine(t testing.TB, change func(*Config)) *Engine {
	t.Helper()
	// The suite runs on both ways that packets take; make test runs it twice.
	config := Config{Listen: "127.0.0.1:0", AllowLoopback: true, Plain: os.Getenv("PORTICO_TEST_PLAIN") != ""}
	if change != nil {
		change(&config)
	}
	e, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// allFormats is what a room accepts by default.
var allFormats = conference.MediaIn{
	Audio: []conference.AudioFormat{{Codec: "opus", SampleRate: 48000, ChannelNum: 2}, {Codec: "g722", SampleRate: 16000, ChannelNum: 1}, {Codec: "pcmu"}},
	Video: []conference.VideoFormat{{Codec: "h264"}, {Codec: "vp8"}, {Codec: "vp9"}},
}

// source publishes from a client of its own: it keeps sending until the test ends.
type source struct {
	*client
	video, audio *webrtc.TrackLocalStaticRTP
	seq          uint16
	ts           uint32
}

// newSource publishes audio on mid 0 and video on mid 1 and is ready when it returns.
func newSource(t testing.TB, e *Engine, name string) *source {
	t.Helper()
	return newSourceOf(newClient(t, e, name))
}

func newSourceOf(c *client) *source {
	c.t.Helper()
	name := c.name
	s := &source{client: c, seq: 100, ts: 1000}
	s.audio, s.video = s.track(conference.Audio), s.track(conference.Video)
	s.send(s.audio)
	s.send(s.video)
	s.publish(name+"-pub", decls(0, conference.Audio, conference.Video))
	s.negotiate()
	s.up()
	return s
}

// A key frame of 640x360 and another frame, as VP8 payloads.
var (
	keyFrame   = append([]byte{0x10, 0xd0, 0x09, 0x0d, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, 0x00, 0x47, 0x08}, make([]byte, 500)...)
	largeFrame = append([]byte{0x10, 0xd0, 0x09, 0x0d, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02, 0x00, 0x47, 0x08}, make([]byte, 500)...)
	interFrame = append([]byte{0x10, 0xd1, 0x09, 0x0d}, make([]byte, 500)...)
)

// frame sends one video packet.
func (s *source) frame(payload []byte) {
	s.t.Helper()
	s.seq++
	s.ts += 3000
	if err := s.video.WriteRTP(&rtp.Packet{
		Header:  rtp.Header{Version: 2, Marker: true, SequenceNumber: s.seq, Timestamp: s.ts},
		Payload: payload,
	}); err != nil {
		s.t.Error(err)
	}
}

// pump sends audio and video about every 10 ms until stop is closed: every tenth picture is a key frame.
func (s *source) pump(stop <-chan struct{}) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		if i%10 == 0 {
			s.frame(keyFrame)
		} else {
			s.frame(interFrame)
		}
		if err := s.audio.WriteRTP(&rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: uint16(i), Timestamp: uint32(i) * 480},
			Payload: []byte{0x78, byte(i)},
		}); err != nil {
			s.t.Error(err)
		}
	}
}

// start pumps in the background until the test ends.
func (s *source) start() {
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() { s.pump(stop) })
	s.t.Cleanup(func() { close(stop); done.Wait() })
}

// arrived waits for a track to arrive.
func (c *client) arrived() received {
	c.t.Helper()
	select {
	case r := <-c.received:
		go func() { // as in send
			for b := make([]byte, 1500); ; {
				if _, _, err := r.receiver.Read(b); err != nil {
					return
				}
			}
		}()
		return r
	case <-time.After(patience):
		c.t.Fatal("no track arrives")
	}
	return received{}
}

// read reads one packet of a track.
func (c *client) read(track *webrtc.TrackRemote) *rtp.Packet {
	c.t.Helper()
	if err := track.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	p, _, err := track.ReadRTP()
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// parsed is an SDP ready to be looked at.
func parsed(t *testing.T, text string) *sdp.SessionDescription {
	t.Helper()
	var s sdp.SessionDescription
	if err := s.UnmarshalString(text); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return &s
}

// direction of a section.
func direction(m *sdp.MediaDescription) string { return directionOf(m.Attributes, "") }

func attribute(m *sdp.MediaDescription, key string) string {
	v, _ := m.Attribute(key)
	return v
}

// waitFor waits until the condition holds, for what is told by no event.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	look, deadline := time.NewTicker(time.Millisecond), time.NewTimer(patience)
	defer look.Stop()
	defer deadline.Stop()
	for !condition() {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
