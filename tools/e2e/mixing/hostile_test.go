//go:build linux

package mixing

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"portico/shared/client"
	"portico/shared/conference"
	"portico/tools/pionpeer/clip"
)

// mimes are the codecs in which hostile media comes.
var mimes = map[string]webrtc.RTPCodecCapability{
	"vp8":  {MimeType: webrtc.MimeTypeVP8, ClockRate: 90_000},
	"vp9":  {MimeType: webrtc.MimeTypeVP9, ClockRate: 90_000},
	"h264": {MimeType: webrtc.MimeTypeH264, ClockRate: 90_000, SDPFmtpLine: "packetization-mode=1;profile-level-id=42001f"},
	"av1":  {MimeType: webrtc.MimeTypeAV1, ClockRate: 90_000},
	"opus": {MimeType: webrtc.MimeTypeOpus, ClockRate: 48_000, Channels: 2},
}

// faker sends packets of its own making.
type faker struct {
	*seat
	video, audio *webrtc.TrackLocalStaticRTP
	codec        string
	chance       *rand.Rand
	seq          uint16
	timestamp    uint32
	frames       []clip.Frame // true ones, to be spoilt
	n            int
}

// fake publishes a stream of that codec into the mix.
func (p *seat) fake(codec string) *faker {
	p.t.Helper()
	f := &faker{seat: p, codec: codec, chance: rand.New(rand.NewPCG(1, 2)), frames: clipOf(p.t, blue).Video}
	var err error
	f.video, err = webrtc.NewTrackLocalStaticRTP(mimes[codec], "video", p.name)
	p.must(err)
	f.audio, err = webrtc.NewTrackLocalStaticRTP(mimes["opus"], "audio", p.name)
	p.must(err)
	published, err := p.c.Publish(p.ctx, client.PublishOptions{Tracks: []client.LocalTrack{
		{Kind: conference.Audio, Local: f.audio}, {Kind: conference.Video, Local: f.video, Send: client.SendOptions{Codecs: []string{codec}}},
	}})
	p.must(err)
	p.must(p.c.Mix(p.ctx, published.ID(), view))
	return f
}

// sends sends one video packet; what cannot be sent is lost.
func (f *faker) sends(payload []byte, marker bool) {
	header := rtp.Header{Version: 2, Marker: marker, SequenceNumber: f.seq, Timestamp: f.timestamp}
	_ = f.video.WriteRTP(&rtp.Packet{Header: header, Payload: payload})
	f.seq++
}

// frame sends a frame of VP8 in packets (RFC 7741 section 4.2).
func (f *faker) frame(data []byte) {
	f.timestamp += 4500
	for first := true; len(data) > 0 || first; first = false {
		n := min(len(data), 1100)
		descriptor := byte(0)
		if first {
			descriptor = 0x10
		}
		f.sends(append([]byte{descriptor}, data[:n]...), n == len(data))
		data = data[n:]
	}
}

// spoilt is the next true frame with a fault in it.
func (f *faker) spoilt() []byte {
	frame := slices.Clone(f.frames[f.n%len(f.frames)].Data)
	f.n++
	switch f.chance.IntN(4) {
	case 0: // cut
		return frame[:f.chance.IntN(len(frame))]
	case 1: // some bits
		for range 8 {
			frame[f.chance.IntN(len(frame))] ^= 1 << f.chance.IntN(8)
		}
	case 2: // a size that nobody has
		if frame[0]&1 == 0 && len(frame) > 10 {
			binary.LittleEndian.PutUint16(frame[6:], uint16(f.chance.IntN(1<<16)))
			binary.LittleEndian.PutUint16(frame[8:], 0x3fff)
		}
	case 3: // nothing but a beginning
		for i := 10; i < len(frame); i++ {
			frame[i] = byte(f.chance.Uint32())
		}
	}
	return frame
}

// openings are first bytes of payloads that say that a key frame begins, of the codecs in which only garbage is sent.
var openings = map[string][][]byte{
	"vp8":  {{0x10, 0x10, 0, 0, 0x9d, 1, 0x2a, 0xff, 0x3f, 0xff, 0x3f}, {0x90, 0x80, 0xff, 0xff, 0x10}, {0x10}},
	"vp9":  {{0x8c, 0x80, 0x00, 0x82, 0x49, 0x83, 0x42, 0, 0xff, 0xff, 0xff, 0xff}, {0x0a, 0x2f, 0xff, 0xff, 0xff, 0xff}, {0x0c, 0x83}},
	"h264": {{0x67, 0x42, 0xe0, 0x1f, 0xff}, {0x78, 0xff, 0xff, 0x67}, {0x7c, 0x85}, {0x65}, {0x68, 0xce}},
	"av1":  {{0x18, 0x0a, 0x0b, 0, 0, 0, 0x3f, 0xff, 0xff}, {0x08, 0xff, 0xff, 0xff, 0xff, 0x0f}, {0x28, 0x32}},
}

// garbage sends a frame of nothing but noise behind a beginning that makes it through.
func (f *faker) garbage() {
	f.timestamp += 3000
	count := 1 + f.chance.IntN(4)
	for i := range count {
		payload := slices.Clone(openings[f.codec][f.chance.IntN(len(openings[f.codec]))])
		for range f.chance.IntN(1000) {
			payload = append(payload, byte(f.chance.Uint32()))
		}
		f.sends(payload, i == count-1)
	}
}

// noise sends a packet of Opus that is none.
func (f *faker) noise(n uint32) {
	payload := make([]byte, f.chance.IntN(1200))
	for i := range payload {
		payload[i] = byte(f.chance.Uint32())
	}
	_ = f.audio.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(n), Timestamp: n * 960}, Payload: payload})
}

// rage sends what is no media for a while, fifty times a second.
func (f *faker) rage(length time.Duration) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for n := range uint32(length / (20 * time.Millisecond)) {
		select {
		case <-ticker.C:
		case <-f.ctx.Done():
			return
		}
		f.noise(n)
		if f.codec == "vp8" && n%2 == 0 {
			f.frame(f.spoilt())
		} else {
			f.garbage()
		}
	}
}

// allCodecs are the options of a room into which all of them may come.
const allCodecs = `{"mediaIn": {"audio": [{"codec": "opus", "sampleRate": 48000, "channelNum": 2}],
	"video": [{"codec": "vp8"}, {"codec": "vp9"}, {"codec": "h264"}, {"codec": "av1"}]}}`

// What is no media at all, in every codec that is decoded, costs only the one who sends it his place, and he gets it back with pictures
// that are some.
func TestHostile(t *testing.T) {
	const length = 2 * time.Second
	s := start(t, options{room: allCodecs})
	v := call(s)
	jobs := children(s.relays[0].PID())
	for _, codec := range []string{"vp8", "vp9", "h264", "av1"} {
		t.Run(codec, func(t *testing.T) {
			mark := s.edge.Mark()
			p := s.join("Mallory")
			f := p.fake(codec)
			from := time.Now()
			f.rage(length)
			video, audio := v.gaps(from.Add(time.Second/2), time.Now())
			t.Logf("the longest gap of the mix: %v of video, %v of audio", video.Round(time.Millisecond), audio.Round(time.Millisecond))
			if video > time.Second || audio > time.Second {
				t.Error("the mix stops")
			}
			t.Log(s.hear(s.edge, mark, "input is not in the mix"))
			v.sees(red, green)
			if codec == "vp8" {
				f.recovers(v)
			}
			p.leave()
		})
	}
	v.continuous()
	if now := children(s.relays[0].PID()); !slices.Equal(jobs, now) {
		t.Errorf("the job was begun anew: its process is %v, and was %v", now, jobs)
	}
}

// recovers sends the clip as it is, and waits until it is seen in the mix.
func (f *faker) recovers(v *viewer) {
	v.seat.t.Helper()
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-ticker.C:
				f.frame(f.frames[n%len(f.frames)].Data)
			case <-done:
				return
			}
		}
	}()
	v.sees(red, green, blue)
	close(done)
	<-stopped
}
