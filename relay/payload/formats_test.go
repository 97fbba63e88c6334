package payload

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/pion/rtp/codecs"
)

// TestPackets has packets as they are on the wire and the frames of them. The last packet of a frame has the marker; "!" stands for
// packets that are to be refused.
func TestPackets(t *testing.T) {
	for name, c := range map[string]struct {
		codec   string
		packets []string
		want    string
	}{
		"vp8 plain":              {"vp8", []string{"10 d001", "00 d2"}, "d001d2"},
		"vp8 all fields":         {"vp8", []string{"90 f0 8141 07 a3 d001", "80 f0 8141 07 a3 d2"}, "d001d2"},
		"vp8 short picture id":   {"vp8", []string{"90 80 41 d001"}, "d001"},
		"vp8 more partitions":    {"vp8", []string{"10 d001", "11 d2", "01 d3"}, "d001d2d3"},
		"vp8 no beginning":       {"vp8", []string{"00 d001"}, "!"},
		"vp8 two beginnings":     {"vp8", []string{"10 d001", "10 d001"}, "!"},
		"vp8 cut descriptor":     {"vp8", []string{"90 f0 8141 07"}, "!"},
		"vp8 descriptor alone":   {"vp8", []string{"90 80 41"}, "!"},
		"vp9 plain":              {"vp9", []string{"08 8601", "00 02", "04 03"}, "86010203"},
		"vp9 flexible":           {"vp9", []string{"dc 8123 03 05 02 8601"}, "8601"},
		"vp9 structure":          {"vp9", []string{"8e 8123 38 014000b4 02800168 02 14 01 04 02 8601"}, "8601"},
		"vp9 structure, a group": {"vp9", []string{"8e 8123 38 014000b4 02800168 02 14 01 00 8601"}, "8601"},
		"vp9 no end":             {"vp9", []string{"08 8601"}, "!"},
		"vp9 no beginning":       {"vp9", []string{"04 8601"}, "!"},
		"vp9 cut references":     {"vp9", []string{"5c 03 05 07 02 8601"}, "!"},
		"vp9 two layers": {"vp9", []string{"ac 01 00 07 8601", "ac 01 03 07 8602 8603", "ac 01 05 07 8604"},
			"8601 86028603 8604 d2 020000 040000 020000 d2"},
		"vp9 layers in parts": {"vp9", []string{"a8 01 00 07 8601", "a4 01 00 07 02", "ac 01 03 07 8603"},
			"860102 8603 d1 030000 020000 d1"},
		"vp9 upper layer alone, which needs none": {"vp9", []string{"ac 01 04 07 8601"}, "8601"},
		"vp9 upper layer alone, which needs more": {"vp9", []string{"ac 01 05 07 8601"}, "!"},
		"vp9 layer twice":                         {"vp9", []string{"ac 01 00 07 8601", "ac 01 00 07 8601"}, "!"},
		"vp9 layers in the wrong order":           {"vp9", []string{"ac 01 02 07 8601", "ac 01 00 07 8601"}, "!"},
		"vp9 layer changes in between":            {"vp9", []string{"a8 01 00 07 8601", "a4 01 02 07 02"}, "!"},
		"vp9 superframe stays":                    {"vp9", []string{"0c 8601 8602 03 c1 02 03 c1"}, "8601 860203 d1 020000 030000 d1"},
		"vp9 superframe in a layer": {"vp9", []string{"ac 01 00 07 8601 8602 03 c1 02 03 c1", "ac 01 03 07 8604"},
			"8601 860203 8604 d2 020000 030000 020000 d2"},
		"vp9 superframe of more than it has": {"vp9", []string{"0c 8601 c1 02 03 c1"}, "!"},
		"vp9 superframe with an empty one":   {"vp9", []string{"0c 8601 c1 00 02 c1"}, "8601"},
		"vp9 no index":                       {"vp9", []string{"0c 8601 c1"}, "8601c1"},
		"h264 single":                        {"h264", []string{"4181", "4102"}, "00000001 4181 00000001 4102"},
		"h264 aggregate": {"h264", []string{"78 0002 6742 0000 0002 68ce", "6588"},
			"00000001 6742 00000001 68ce 00000001 6588"},
		"h264 fragments":                     {"h264", []string{"7c 85 8801", "7c 05 02", "7c 45 03"}, "00000001 65 88010203"},
		"h264 one fragment":                  {"h264", []string{"7c c5 8801"}, "00000001 65 8801"},
		"h264 no last fragment":              {"h264", []string{"7c 85 8801", "7c 05 02"}, "!"},
		"h264 no first fragment":             {"h264", []string{"7c 05 02", "7c 45 03"}, "!"},
		"h264 fragments of two":              {"h264", []string{"7c 85 8801", "7c 41 03"}, "!"},
		"h264 single inside fragments":       {"h264", []string{"7c 85 8801", "6588", "7c 45 03"}, "!"},
		"h264 fragment of an aggregate":      {"h264", []string{"7c d8 0002 6742"}, "!"},
		"h264 aggregate cut":                 {"h264", []string{"78 0002 6742 0003 68ce"}, "!"},
		"h264 aggregate in an aggregate":     {"h264", []string{"78 0005 78 0002 6742"}, "!"},
		"h264 STAP-B":                        {"h264", []string{"79 0001 0002 6742"}, "!"},
		"h264 MTAP16":                        {"h264", []string{"7a 0001 0002 6742"}, "!"},
		"h264 FU-B":                          {"h264", []string{"7d 85 0001 8801"}, "!"},
		"h264 type 0":                        {"h264", []string{"6000"}, "!"},
		"h264 forbidden bit":                 {"h264", []string{"e588"}, "!"},
		"av1 one OBU":                        {"av1", []string{"10 30 0102"}, "32 02 0102"},
		"av1 with lengths":                   {"av1", []string{"08 02 0801 03 30 0102"}, "0a 01 01 32 02 0102"},
		"av1 counted":                        {"av1", []string{"28 02 0801 30 0102"}, "0a 01 01 32 02 0102"},
		"av1 in parts":                       {"av1", []string{"50 30 01", "d0 02", "90 03"}, "32 03 010203"},
		"av1 parts and wholes":               {"av1", []string{"68 02 0801 30 01", "a0 01 02 30 03"}, "0a 01 01 32 02 0102 32 01 03"},
		"av1 header in parts":                {"av1", []string{"50 34", "90 08 03"}, "36 08 01 03"},
		"av1 has sizes already":              {"av1", []string{"10 32 02 0102"}, "32 02 0102"},
		"av1 something behind its size":      {"av1", []string{"10 32 01 0102"}, "32 01 01"},
		"av1 long lengths":                   {"av1", []string{"00 8380808000 30 0102"}, "32 02 0102"},
		"av1 temporal delimiter and padding": {"av1", []string{"30 02 1200 02 7801 30 0102"}, "32 02 0102"},
		"av1 nothing but a delimiter":        {"av1", []string{"10 1200"}, ""},
		"av1 no rest":                        {"av1", []string{"50 30 01"}, "!"},
		"av1 rest of nothing":                {"av1", []string{"90 30 01"}, "!"},
		"av1 rest left out":                  {"av1", []string{"50 30 01", "10 30 02"}, "!"},
		"av1 cut":                            {"av1", []string{"00 05 30 0102"}, "!"},
		"av1 too few":                        {"av1", []string{"30 02 0801"}, "!"},
		"av1 header alone":                   {"av1", []string{"10"}, "!"},
		"av1 extension cut":                  {"av1", []string{"10 34"}, "!"},
		"av1 forbidden bit":                  {"av1", []string{"10 b0 01"}, "!"},
	} {
		d := depacketiser(t, c.codec)
		var f Frame
		var err error
		for i, s := range c.packets {
			var fault error
			if f, fault = d.Push(Packet{Marker: i == len(c.packets)-1, Payload: unhex(t, s)}); fault != nil {
				err = fault
			}
		}
		switch {
		case c.want == "!":
			if err == nil || f.Data != nil {
				t.Errorf("%s: %x is not refused", name, f.Data)
			}
		case err != nil || !bytes.Equal(f.Data, unhex(t, c.want)):
			t.Errorf("%s: %x, %v", name, f.Data, err)
		}
	}
}

// TestBeginningLost has packets in front of a frame missing, which may have been part of it.
func TestBeginningLost(t *testing.T) {
	for name, c := range map[string]struct {
		codec, packet string
		whole         bool
	}{
		"h264 first slice":       {"h264", "6588", true},
		"h264 another slice":     {"h264", "6548", false},
		"h264 another, in parts": {"h264", "7cc54801", false},
		"av1 frame":              {"av1", "10 30 01", true},
		"av1 tiles":              {"av1", "10 20 01", false},
		"av1 sequence, frame":    {"av1", "28 02 0801 30 01", true},
		"vp9 base layer":         {"vp9", "0c 8601", true},
		"vp9 rest":               {"vp9", "04 8601", false},
	} {
		d := depacketiser(t, c.codec)
		f, err := d.Push(Packet{Marker: true, Missing: true, Payload: unhex(t, c.packet)})
		if (f.Data != nil) != c.whole || err == nil {
			t.Errorf("%s: %x, %v", name, f.Data, err)
		}
		f, err = depacketiser(t, c.codec).Push(Packet{Marker: true, Payload: unhex(t, c.packet)})
		if (f.Data != nil) != (c.whole || c.codec != "vp9") {
			t.Errorf("%s with nothing missing: %x, %v", name, f.Data, err)
		}
	}
}

// TestKeyPictureOfLayers: the key frame is told by the lowest layer, its size by the structure.
func TestKeyPictureOfLayers(t *testing.T) {
	d := depacketiser(t, "vp9")
	base := "ae 8001 00 07 30 014000b4 02800168" + hex.EncodeToString(sample(rand.New(rand.NewPCG(1, 1)), "vp9", 5, true))
	if _, err := d.Push(Packet{Payload: unhex(t, base)}); err != nil {
		t.Fatal(err)
	}
	f, err := d.Push(Packet{Marker: true, Payload: unhex(t, "ac 8001 03 07 8602")})
	if err != nil || !f.Key || f.Width != 640 || f.Height != 360 {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestWhatIsWritten is what the packets look like, byte for byte.
func TestWhatIsWritten(t *testing.T) {
	for name, c := range map[string]struct {
		codec, frame string
		want         []string
	}{
		"vp8":                {"vp8", "110200", []string{"90 80 fffe 110200"}},
		"vp9":                {"vp9", "860102", []string{"cd fffe 860102"}},
		"vp9 key":            {"vp9", "824983422027f0167001", []string{"8f fffe 18 0280 0168 01 14 01 824983422027f0167001"}},
		"h264":               {"h264", "000001 4188", []string{"4188"}},
		"h264 key":           {"h264", "00000001 09f0 00000001 2742 000001 28ce 000001 658801", []string{"78 0002 2742 0002 28ce 0003 658801"}},
		"av1":                {"av1", "1200 32 02 0102", []string{"10 30 0102"}},
		"av1 key":            {"av1", "1200 0a 01 01 32 02 0102", []string{"28 02 0801 30 0102"}},
		"av1 without a size": {"av1", "30 0102", []string{"10 30 0102"}},
		"av1 many":           {"av1", "0a 01 01 1a 01 02 22 01 03 22 01 04", []string{"08 02 0801 02 1802 02 2003 02 2004"}},
		"av1 layers":         {"av1", "36 00 01 01 36 08 01 02", []string{"10 34 00 01", "10 34 08 02"}},
	} {
		payloads, err := packetiser(t, c.codec).Split(unhex(t, c.frame))
		if err != nil || len(payloads) != len(c.want) {
			t.Errorf("%s: %x, %v", name, payloads, err)
			continue
		}
		for i, s := range c.want {
			if !bytes.Equal(payloads[i], unhex(t, s)) {
				t.Errorf("%s: %x, want %s", name, payloads[i], s)
			}
		}
	}
}

// TestPictureIDs count on with each frame and wrap at 15 bits.
func TestPictureIDs(t *testing.T) {
	for _, codec := range []string{"vp8", "vp9"} {
		p := packetiser(t, codec)
		for i, want := range []uint16{0x7ffe, 0x7fff, 0} {
			payloads, err := p.Split(sample(rand.New(rand.NewPCG(1, 1)), codec, 3000, false))
			if err != nil {
				t.Fatal(err)
			}
			for _, payload := range payloads {
				var id uint16
				if codec == "vp8" {
					var their codecs.VP8Packet
					if _, err := their.Unmarshal(payload); err != nil {
						t.Fatal(err)
					}
					id = their.PictureID
				} else {
					var their codecs.VP9Packet
					if _, err := their.Unmarshal(payload); err != nil {
						t.Fatal(err)
					}
					id = their.PictureID
				}
				if id != want {
					t.Errorf("%s, frame %d: %#x", codec, i, id)
				}
			}
		}
	}
}

// TestAnotherReads has our packets read by another implementation of the formats.
func TestAnotherReads(t *testing.T) {
	for _, codec := range []string{"vp8", "vp9", "h264", "av1"} {
		rng := rand.New(rand.NewPCG(1, 2))
		p := packetiser(t, codec)
		var h264 codecs.H264Packet
		var av1 codecs.AV1Depacketizer
		for i, n := range sizes() {
			want := sample(rng, codec, n, i%2 == 0)
			payloads, err := p.Split(want)
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			for _, payload := range payloads {
				var part []byte
				switch codec {
				case "vp8":
					part, err = new(codecs.VP8Packet).Unmarshal(payload)
				case "vp9":
					part, err = new(codecs.VP9Packet).Unmarshal(payload)
				case "h264":
					part, err = h264.Unmarshal(payload)
				case "av1":
					part, err = av1.Unmarshal(payload)
				}
				if err != nil {
					t.Fatalf("%s: %v", codec, err)
				}
				got = append(got, part...)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes are read as %d", codec, len(want), len(got))
			}
		}
	}
}

// TestAnotherWrites has another implementation's packets read by us.
func TestAnotherWrites(t *testing.T) {
	for codec, their := range map[string]interface {
		Payload(mtu uint16, frame []byte) [][]byte
	}{
		"vp8": &codecs.VP8Payloader{EnablePictureID: true}, "vp9": &codecs.VP9Payloader{},
		"h264": &codecs.H264Payloader{}, "av1": &codecs.AV1Payloader{},
	} {
		rng := rand.New(rand.NewPCG(1, 2))
		d := depacketiser(t, codec)
		for i, n := range sizes() {
			want := sample(rng, codec, n, i%2 == 0)
			payloads := their.Payload(uint16(50+rng.IntN(1200)), want)
			for k, payload := range payloads {
				last := k == len(payloads)-1
				f, err := d.Push(Packet{Timestamp: uint32(i), Marker: last, Payload: payload})
				if err != nil || last && !bytes.Equal(f.Data, want) {
					t.Fatalf("%s, %d bytes: %d bytes, %v", codec, len(want), len(f.Data), err)
				}
			}
		}
	}
}
