package inspect

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHeaderLikePion(t *testing.T) {
	packet := &rtp.Packet{
		Header: rtp.Header{
			Version: 2, Marker: true, PayloadType: 96, SequenceNumber: 65000, Timestamp: 4e9, SSRC: 0xdeadbeef, CSRC: []uint32{1, 2},
		},
		Payload: []byte("payload"),
	}
	for _, profile := range []uint16{OneByteProfile, TwoByteProfile} {
		packet.Extension, packet.ExtensionProfile, packet.Extensions = true, profile, nil
		packet.SetExtension(1, []byte{0x33})
		packet.SetExtension(4, []byte("mid"))
		raw, err := packet.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		h, ok := ParseHeader(raw)
		if !ok || !h.Marker || h.PayloadType != 96 || h.Sequence != 65000 || h.Timestamp != 4e9 || h.SSRC != 0xdeadbeef {
			t.Fatalf("header %+v, %v", h, ok)
		}
		if !bytes.Equal(h.Payload(raw), packet.Payload) {
			t.Errorf("payload %q", h.Payload(raw))
		}
		if v, ok := h.Extension(raw, 4); !ok || string(v) != "mid" {
			t.Errorf("extension 4 = %q, %v", v, ok)
		}
		if _, ok := h.Extension(raw, 3); ok {
			t.Error("found an extension that is not there")
		}
		if _, ok := h.Extension(raw, 0); ok {
			t.Error("found extension 0")
		}
	}
}

func TestHeaderRefuses(t *testing.T) {
	good := unhex(t, "8060000100000002000000030102")
	if _, ok := ParseHeader(good); !ok {
		t.Fatal("refused a plain packet")
	}
	for name, raw := range map[string]string{
		"short":                   "80600001000000020000",
		"version":                 "4060000100000002000000030102",
		"csrc past the end":       "8f60000100000002000000030102",
		"extension past the end":  "906000010000000200000003bede000401020304",
		"padding past the header": "a06000010000000200000003ff",
		"padding of nothing":      "a0600001000000020000000300",
		"padding without payload": "a06000010000000200000003",
	} {
		if _, ok := ParseHeader(unhex(t, raw)); ok {
			t.Errorf("accepted: %s", name)
		}
	}
}

// How key frames of 640x360 begin in RTP payloads: VP8 of libvpx with picture id; a baseline H.264 parameter set and picture
// header in one aggregate, as libwebrtc sends them; the first fragment of an IDR picture.
const (
	vp8Key     = "9080814010d0090d9d012a8002680100478708858588"
	vp8Inter   = "908081421151"
	h264STAP   = "7800172742e01f95a0280bfe5c0440000003004000000c83c60ca8000428ce3c80"
	h264FUBody = "7c85b84000"
)

// vp9Header is the frame header of a VP9 key frame of profile 0, 640x360: marker, profile, flags, 498342, colour, sizes less 1.
const vp9Header = "824983420027f0167800"

func TestVP8(t *testing.T) {
	plain := unhex(t, "10d0090d9d012a8002680100478708")
	extended := append(unhex(t, "90f081235560"), plain[1:]...) // X; I L T K; 15 bits picture id; TL0PICIDX; TID and KEYIDX
	for name, payload := range map[string][]byte{"plain": plain, "extended": extended} {
		if p := VP8(payload); p != (Picture{true, 640, 360}) {
			t.Errorf("%s: %+v", name, p)
		}
	}
	for name, s := range map[string]string{
		"inter frame":       "10d1090d9d012a800268010047",
		"second packet":     "00d0090d9d012a800268010047",
		"second partition":  "11d0090d9d012a800268010047",
		"no start code":     "10d0090d9d012b800268010047",
		"cut off":           "10d0090d9d012a8002",
		"cut in descriptor": "90",
		"empty":             "",
	} {
		if p := VP8(unhex(t, s)); p != (Picture{}) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// TestVP8Payloader runs what pion's packetiser makes of a key frame.
func TestVP8Payloader(t *testing.T) {
	frame := append(unhex(t, "d0090d9d012a80026801"), make([]byte, 3000)...)
	payloads := (&codecs.VP8Payloader{EnablePictureID: true}).Payload(1200, frame)
	if len(payloads) < 3 {
		t.Fatalf("%d payloads", len(payloads))
	}
	for i, payload := range payloads {
		want := Picture{}
		if i == 0 {
			want = Picture{true, 640, 360}
		}
		if p := VP8(payload); p != want {
			t.Errorf("payload %d: %+v", i, p)
		}
	}
}

func TestVP9(t *testing.T) {
	for name, s := range map[string]string{
		"from the frame header":    "08" + vp9Header,
		"with picture id":          "888123" + vp9Header,
		"lowest layer":             "2800" + "07" + vp9Header,
		"size in structure":        "0a" + "10" + "02800168" + vp9Header,
		"structure of two layers":  "0a" + "30" + "014000b4" + "02800168" + vp9Header,
		"structure without size":   "0a" + "00" + vp9Header,
		"structure with a pattern": "0a" + "08" + "02" + "0401" + "00" + vp9Header,
	} {
		if p := VP9(unhex(t, s)); p != (Picture{true, 640, 360}) {
			t.Errorf("%s: %+v", name, p)
		}
	}
	for name, s := range map[string]string{
		"predicted":       "48" + vp9Header,
		"not the start":   "00" + vp9Header,
		"higher layer":    "280207" + vp9Header,
		"inter frame":     "08864983420027f0167800",
		"cut off":         "0882498342",
		"structure alone": "0af0",
		"structure cut":   "0a08ff0c",
		"only flags":      "a8",
		"empty":           "",
	} {
		if p := VP9(unhex(t, s)); p != (Picture{}) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestH264(t *testing.T) {
	if p := H264(unhex(t, h264STAP)); p != (Picture{true, 640, 360}) {
		t.Errorf("STAP-A with parameter sets: %+v", p)
	}
	if p := H264(unhex(t, h264FUBody)); p != (Picture{KeyFrame: true}) {
		t.Errorf("first fragment of an IDR picture: %+v", p)
	}
	for name, s := range map[string]string{
		"next fragment":      "7c05b84000",
		"fragment of inter":  "7c81b84000",
		"inter picture":      "419a240c",
		"aggregate cut off":  "780017",
		"empty in aggregate": "780000",
		"empty":              "",
	} {
		if p := H264(unhex(t, s)); p != (Picture{}) {
			t.Errorf("%s: %+v", name, p)
		}
	}
	for name, s := range map[string]string{
		"cut off":       "6742e01f",
		"endless codes": "67640028" + "00000000000000",
	} {
		if p := H264(unhex(t, s)); p != (Picture{KeyFrame: true}) {
			t.Errorf("parameter set %s: %+v", name, p)
		}
	}
}

// Parameter sets of different encoders: cropping, high profile, scaling matrices, emulation prevention.
func TestSPS(t *testing.T) {
	for _, c := range []struct {
		sps           string
		width, height int
	}{
		{"6764001facd9405005bb011000000300100000030320f1831960", 1280, 720},
		{"67640028acd940780227e5840000030004000003 00f03c60c658", 1920, 1080},
		{"6764000cac3b50b04b420000030002000003003d08", 352, 288},
		{"67640032ad84010c20086100430802184010c200843b5014005ad370101014000003000400000300a210", 2560, 1440},
		{"674d401f95a014016e40", 1280, 720},
	} {
		raw := unhex(t, strings.ReplaceAll(c.sps, " ", ""))
		if p := H264(raw); p.Width != c.width || p.Height != c.height || !p.KeyFrame {
			t.Errorf("%s: %+v, want %dx%d", c.sps, p, c.width, c.height)
		}
	}
}

func TestAllocs(t *testing.T) {
	packet := append(unhex(t, "906000010000000200000003bede000110330000"), unhex(t, "10d0090d9d012a8002680100478708")...)
	if n := testing.AllocsPerRun(100, func() {
		h, _ := ParseHeader(packet)
		h.Extension(packet, 1)
		VP8(h.Payload(packet))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What Chromium's encoder makes of 640x360: a sequence header, and how the frame of the key picture begins.
const (
	av1Sequence = "080000000cc4ff670068808680c2"
	av1Frame    = "30104b901f7df7c52b1a"
)

func TestAV1(t *testing.T) {
	whole := Picture{true, 640, 360}
	for name, c := range map[string]struct {
		payload string
		want    Picture
	}{
		"two OBUs":             {"280e" + av1Sequence + av1Frame, whole},
		"each with its length": {"080e" + av1Sequence + "0a" + av1Frame, whole},
		"frame goes on":        {"680e" + av1Sequence + av1Frame, whole},
		"one OBU":              {"18" + av1Sequence, whole},
		"with its own size":    {"180a0d" + av1Sequence[2:], whole},
		"with layer ids":       {"180c48" + av1Sequence[2:], whole},
		"sequence header last": {"280a" + av1Frame + av1Sequence, whole},
		"no sequence header":   {"18" + av1Frame, Picture{KeyFrame: true}},
		"sequence header cut":  {"1808000000", Picture{KeyFrame: true}},
		"length past the end":  {"087f" + av1Sequence, Picture{KeyFrame: true}},
		"length without end":   {"08ffffffffff", Picture{KeyFrame: true}},
		"no new sequence":      {"10" + av1Frame, Picture{}},
		"repeated header":      {"200e" + av1Sequence + av1Frame, Picture{}},
		"rest of an OBU":       {"980011223344", Picture{}},
		"header alone":         {"18", Picture{}},
		"empty":                {"", Picture{}},
	} {
		if p := AV1(unhex(t, c.payload)); p != c.want {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// TestAV1Timing reads a sequence header that has all that may come before the size: timing with a decoder model, two operating
// points of which the first has a tier and delays.
func TestAV1Timing(t *testing.T) {
	var b bits
	b.add(0, 3) // profile
	b.add(0, 2) // no still picture
	b.add(1, 1) // timing
	b.add(1001, 32)
	b.add(30000, 32)
	b.add(1, 1)
	b.add(0b00101, 5) // 4 as an Exp-Golomb code
	b.add(1, 1)       // decoder model
	b.add(9, 5)       // delays of 10 bits
	b.add(1001, 32)
	b.add(0, 10)
	b.add(1, 1)  // initial delays
	b.add(1, 5)  // two operating points
	b.add(1, 12) // the first
	b.add(8, 5)
	b.add(1, 1) // tier
	b.add(1, 1)
	b.add(513, 10)
	b.add(514, 10)
	b.add(1, 1)
	b.add(1, 1)
	b.add(5, 4)
	b.add(2, 12) // the second
	b.add(5, 5)
	b.add(0, 2)
	b.add(10, 4) // sizes of 11 and 10 bits
	b.add(9, 4)
	b.add(1279, 11)
	b.add(719, 10)
	payload := append([]byte{0x18, 0x08}, b.bytes()...)
	if p := AV1(payload); p != (Picture{true, 1280, 720}) {
		t.Errorf("%+v", p)
	}
}

// bits are written from the highest of each byte on.
type bits []bool

func (b *bits) add(v uint64, n int) {
	for i := n - 1; i >= 0; i-- {
		*b = append(*b, v>>i&1 != 0)
	}
}

func (b bits) bytes() []byte {
	list := make([]byte, (len(b)+7)/8)
	for i, bit := range b {
		if bit {
			list[i/8] |= 0x80 >> (i % 8)
		}
	}
	return list
}

func FuzzPayload(f *testing.F) {
	for _, s := range []string{vp8Key, vp8Inter, h264STAP, h264FUBody, "0a30014000b402800168" + vp9Header, "08" + vp9Header,
		"6764001facd9405005bb011000000300100000030320f1831960", "280e" + av1Sequence + av1Frame, "080e" + av1Sequence} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, codec := range []string{"vp8", "vp9", "h264", "av1"} {
			p := For(codec)(payload)
			if p.Width < 0 || p.Height < 0 || p.Width > 1<<16 || p.Height > 1<<16 {
				t.Errorf("%s: %+v", codec, p)
			}
			if p.Width != 0 && !p.KeyFrame {
				t.Errorf("%s: a size without a key frame: %+v", codec, p)
			}
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(unhex(f, "906000010000000200000003bede00011033000010d0"), uint8(1))
	f.Add(unhex(f, "b06000010000000200000003100000010102030405060702"), uint8(1))
	f.Fuzz(func(t *testing.T, packet []byte, id uint8) {
		h, ok := ParseHeader(packet)
		var theirs rtp.Packet
		err := theirs.Unmarshal(packet)
		if !ok {
			return
		}
		payload := h.Payload(packet)
		h.Extension(packet, id)
		if err == nil && !bytes.Equal(payload, theirs.Payload) {
			t.Errorf("payload %x, pion has %x", payload, theirs.Payload)
		}
	})
}
