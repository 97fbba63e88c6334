package loadtest

import (
	"bytes"
	"sync/atomic"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"portico/shared/conference"
)

func TestTrailer(t *testing.T) {
	payload := make([]byte, 70)
	want := trailer{source: 0xfedcba98, number: 1 << 40, sent: 123456789012345}
	want.put(payload)
	if got, ok := readTrailer(payload); !ok || got != want {
		t.Errorf("read %+v %v", got, ok)
	}
	payload[len(payload)-trailerSize]++
	if _, ok := readTrailer(payload); ok {
		t.Error("read without the magic number")
	}
	if _, ok := readTrailer(payload[:trailerSize-1]); ok {
		t.Error("read from too little")
	}
}

func TestParseRTP(t *testing.T) {
	p := rtp.Packet{Header: rtp.Header{
		Version: 2, Marker: true, PayloadType: 96, SequenceNumber: 4711, Timestamp: 1, SSRC: 0x01020304, CSRC: []uint32{7, 8},
	}, Payload: []byte("media")}
	for id, content := range map[uint8]string{3: "\x12\x34", 10: "f"} {
		if err := p.SetExtension(id, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	h, ok := parseRTP(raw)
	if !ok || h.payloadType != 96 || h.seq != 4711 || h.ssrc != 0x01020304 ||
		string(h.extension(3)) != "\x12\x34" || string(h.extension(10)) != "f" || h.extension(4) != nil {
		t.Errorf("%+v %v", h, ok)
	}
	for n := range raw { // cut anywhere in the header, it is refused or harmless
		if h, ok := parseRTP(raw[:n]); ok && n < len(raw)-len(p.Payload) && n > 12 {
			t.Errorf("%d bytes give %+v", n, h)
		}
	}
	if h := (rtpHeader{extensions: []byte{0, 0x3f}}); h.extension(3) != nil {
		t.Error("an extension past the end was read")
	}
}

// What is sent is RTP and VP8 to libraries that know nothing of this one.
func TestPublisherPackets(t *testing.T) {
	tracks := Media{Video: DefaultVideo, Audio: true}.tracks()
	var rate atomic.Uint64
	rate.Store(100)
	p := &publisher{tracks: tracks, rate: &rate, lateness: &lateness{}}
	for _, track := range tracks {
		track.sequenceID.Store(sequenceID)
		e := track.encodings[0]
		size, packets := audioPacket, 1
		if track.kind == conference.Video {
			size, packets = videoPacket, 4
		}
		if e.packets != packets {
			t.Errorf("%s: %d packets to a frame", track.kind, e.packets)
		}
		for i := range packets {
			before := p.sequence
			raw := p.packet(track, e, 9000, i == 0, i == packets-1, true)
			var got rtp.Packet
			if err := got.Unmarshal(raw); err != nil {
				t.Fatal(err)
			}
			if len(raw) != size || got.SSRC != e.ssrc || got.SequenceNumber != e.seq || got.Timestamp != 9000 {
				t.Errorf("%s: %d bytes, %v", track.kind, len(raw), got.Header)
			}
			if n := got.GetExtension(sequenceID); !bytes.Equal(n, []byte{byte(before >> 8), byte(before)}) || p.sequence != before+1 {
				t.Errorf("%s: transport-wide number % x after %d", track.kind, n, before)
			}
			if mark, ok := readTrailer(got.Payload); !ok || mark.source != e.ssrc || mark.sent <= 0 {
				t.Errorf("%s: trailer %+v %v", track.kind, mark, ok)
			}
			if track.kind == conference.Video {
				checkVP8(t, got, e, i)
			}
		}
	}
}

func checkVP8(t *testing.T, got rtp.Packet, e *encoding, i int) {
	t.Helper()
	var v codecs.VP8Packet
	frame, err := v.Unmarshal(got.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if (v.S == 1) != (i == 0) || got.Marker != (i == 3) || v.PictureID != e.picture&0x7fff || v.TID != 0 {
		t.Errorf("packet %d: %+v, marker %v", i, v, got.Marker)
	}
	if i == 0 && (frame[0]&1 != 0 || !bytes.Equal(frame[3:10], []byte{0x9d, 1, 0x2a, 0, 5, 0xd0, 2})) {
		t.Errorf("key frame of 1280 by 720: % x", frame[:10])
	}
}

func TestSimulcast(t *testing.T) {
	tracks := Media{Video: 2500, Simulcast: true}.tracks()
	if len(tracks) != 1 || len(tracks[0].encodings) != 3 {
		t.Fatalf("%d tracks", len(tracks))
	}
	track := tracks[0]
	track.mid = "7"
	p := &publisher{}
	total := 0
	for i, rid := range []string{"q", "h", "f"} {
		e := track.encodings[i]
		var got rtp.Packet
		if err := got.Unmarshal(p.packet(track, e, 0, true, true, false)); err != nil {
			t.Fatal(err)
		}
		if string(got.GetExtension(ridID)) != rid || string(got.GetExtension(midID)) != "7" {
			t.Errorf("layer %s: %v", rid, got.Header)
		}
		total += e.packets * e.size * 8 * frameRate
	}
	if total < 3_400_000 || total > 3_500_000 { // 2,500 × 1.4
		t.Errorf("%d bit/s in all", total)
	}
}

// With no extension negotiated the header says so.
func TestPacketWithoutExtensions(t *testing.T) {
	track := Media{Video: 100}.tracks()[0]
	var got rtp.Packet
	if err := got.Unmarshal((&publisher{}).packet(track, track.encodings[0], 0, true, true, true)); err != nil {
		t.Fatal(err)
	}
	if got.Extension {
		t.Errorf("%v", got.Header)
	}
}

func TestTimestamps(t *testing.T) {
	track := &track{clockRate: 90000, base: 1}
	if got := track.timestamp(2_500_000_000); got != 225_001 {
		t.Errorf("2.5 s are %d", got)
	}
	if a, b := track.timestamp(1<<50), track.timestamp(1<<50+1_000_000_000); b-a != 90000 {
		t.Errorf("a second is %d after two weeks", b-a)
	}
}
