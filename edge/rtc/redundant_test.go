package rtc

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"portico/edge/sfu"
	"portico/shared/conference"
)

// withRED registers Opus and, if its payload type is not 0, redundant audio, which is preferred if first says so.
func withRED(opus, red webrtc.PayloadType, first bool) func(*webrtc.MediaEngine) error {
	list := []webrtc.RTPCodecParameters{{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1"},
		PayloadType:        opus,
	}}
	if red != 0 {
		list = append(list, webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "audio/red", ClockRate: 48000, Channels: 2, SDPFmtpLine: fmt.Sprintf("%d/%d", opus, opus)},
			PayloadType:        red,
		})
		if first {
			list[0], list[1] = list[1], list[0]
		}
	}
	return func(m *webrtc.MediaEngine) error {
		for _, codec := range list {
			if err := m.RegisterCodec(codec, webrtc.RTPCodecTypeAudio); err != nil {
				return err
			}
		}
		return nil
	}
}

// TestRedundantAudio: from one who sends audio again with what follows, to those who take it so, under their own payload types, and to
// those who do not, to whom it looks like plain Opus; as it does to the room.
func TestRedundantAudio(t *testing.T) {
	e := newEngine(t, nil)
	alice := newClientWith(t, e, "alice", withRED(111, 63, true))
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: "audio/red", ClockRate: 48000, Channels: 2, SDPFmtpLine: "111/111"}, "audio", "stream")
	if err != nil {
		t.Fatal(err)
	}
	alice.send(track)
	alice.publish("x", decls(0, conference.Audio))
	if answer := alice.negotiate(); !strings.Contains(answer, "SAVPF 63 111\r\n") {
		t.Errorf("answer\n%s", answer)
	}
	if got, want := alice.up().tracks[0].Format, (conference.Format{Codec: "opus", SampleRate: 48000, ChannelNum: 2}); got != want {
		t.Errorf("reported as %+v", got)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := uint16(1); ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			payload := append([]byte{0x80 | 111, 960 >> 6, 960 << 2 & 0xff, 1, 111}, byte(i-1), byte(i))
			if err := track.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: i, Timestamp: uint32(i) * 960}, Payload: payload}); err != nil {
				t.Error(err)
			}
		}
	}()
	defer func() { close(stop); <-done }()
	for name, c := range map[string]struct {
		opus, red webrtc.PayloadType
		first     bool
		formats   string
	}{
		"bob": {111, 63, false, "111 63"}, "carol": {96, 97, true, "97 96"}, "dave": {100, 0, false, "100"},
	} {
		far := newClientWith(t, e, name, withRED(c.opus, c.red, c.first))
		far.receive(conference.Audio)
		far.subscribe(name, SubTrack{Kind: conference.Audio, Mid: "0", From: "x-0"})
		if answer := far.negotiate(); !strings.Contains(answer, "SAVPF "+c.formats+"\r\n") {
			t.Errorf("%s: answer\n%s", name, answer)
		}
		far.up()
		heard := far.arrived().track
		for range 5 {
			p := far.read(heard)
			if c.red == 0 {
				if p.PayloadType != uint8(c.opus) || len(p.Payload) != 1 || p.Payload[0] != byte(p.Timestamp/960) {
					t.Fatalf("%s: %+v", name, p)
				}
				continue
			}
			own := byte(c.opus)
			if p.PayloadType != uint8(c.red) || len(p.Payload) != 7 || p.Payload[0] != 0x80|own || p.Payload[4] != own || p.Payload[5]+1 != p.Payload[6] {
				t.Fatalf("%s: %+v", name, p)
			}
		}
	}
	if d := e.Stats().Drops; d[sfu.DropForeignPayload] != 0 || d[sfu.DropMalformed] != 0 {
		t.Errorf("%v", d)
	}
}

// TestRedundantFormat: of redundant audio only that of the chosen Opus counts.
func TestRedundantFormat(t *testing.T) {
	for _, c := range []struct {
		rtpmap, fmtp string
		ok           bool
	}{
		{"red/48000/2", "111/111", true}, {"RED/48000/2", "111/111/111", true}, {"red/48000/2", "111", true},
		{"red/48000/2", "111/9", false}, {"red/48000/2", "", false}, {"red/8000/2", "111/111", false}, {"red/48000", "111/111", false},
		{"red/48000/2", "111/", false}, {"ulpfec/48000/2", "111/111", false},
	} {
		offer := strings.NewReplacer("red/48000/2", c.rtpmap, "a=fmtp:63 111/111", "a=fmtp:63 "+c.fmtp).Replace(chromium("audio"))
		answer, err := answerTo(offer)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(answer, "SAVPF 111 63\r\n"); got != c.ok {
			t.Errorf("%s, %s: answered\n%s", c.rtpmap, c.fmtp, answer)
		}
	}
}
