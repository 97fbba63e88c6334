package rtc

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/pion/rtp"

	"portico/edge/sfu"
	"portico/shared/conference"
)

// crossed sends packets through two hops, each an intake and a tap as a link has them, and returns what a tap at the end gets.
func crossed(t *testing.T, kind conference.Kind, format conference.Format, redundant uint8, packets []rtp.Packet) []rtp.Packet {
	t.Helper()
	payloadType := packets[0].PayloadType
	if redundant != 0 {
		payloadType = 111
	}
	type edge struct {
		e  *Engine
		in *Intake
	}
	var edges []edge
	for range 2 {
		e := newEngine(t, nil)
		r, err := e.OpenRemote(RemoteSpec{
			Session: "S", Tracks: []RemoteTrack{{ID: "T", Kind: kind, Format: format}}, Wanted: func(string, bool) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		in, err := r.Begin("T", IntakeSpec{
			SSRC: 7, PayloadType: payloadType, Redundant: redundant, Extensions: linkExtensions, Send: func([]byte) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		edges = append(edges, edge{e, in})
	}
	end := new(bucket)
	for i, sink := range []sfu.Sink{&bridge{x: new(relayed), in: edges[1].in}, end} {
		tap, err := edges[i].e.OpenTap(TapSpec{
			Tracks: []string{"T"}, Whole: true, Sink: sink, SSRC: 7, PayloadType: func(conference.Format) uint8 { return payloadType },
			Redundant: redundant, Extensions: linkExtensions,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tap.Close)
	}
	for i := range packets {
		p := &packets[i]
		p.Version, p.SSRC, p.SequenceNumber = 2, 7, uint16(1000+i)
		raw, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		edges[0].in.Ingest(raw)
	}
	waitFor(t, "all packets", func() bool { return len(end.all()) == len(packets) })
	return end.all()
}

// chromeStructure is the dependency descriptor of a Chromium's key frame with three spatial and three temporal layers.
const chromeStructure = "c1017280081485214eafffaaaa863cf0430c10c302afc0aaa0063c00430010c002a000a80006000040001d954926e082b04a0941b820ac1282503157f97400" +
	"0ca864330e222222eca8655304224230eca877530077004200ef008601df010d"

// TestHopKeepsAll: layers, their descriptors, levels and redundant audio are behind two hops what they were.
func TestHopKeepsAll(t *testing.T) {
	t.Run("redundant audio with its level", func(t *testing.T) {
		var packets []rtp.Packet
		for i := range 30 {
			// The block before, 960 ticks ago and 2 bytes long, then the primary one (RFC 2198).
			p := rtp.Packet{Header: rtp.Header{PayloadType: 63, Timestamp: uint32(960 * i)}}
			p.Payload = []byte{0x80 | 111, 960 >> 6, 960 & 0x3f << 2, 2, 111, 0x78, byte(i - 1), 0x78, byte(i)}
			if err := p.SetExtension(1, []byte{0x80 | byte(i)}); err != nil {
				t.Fatal(err)
			}
			packets = append(packets, p)
		}
		for i, p := range crossed(t, conference.Audio, formatOpus, 63, packets) {
			if p.PayloadType != 63 || !bytes.Equal(p.Payload, packets[i].Payload) || !bytes.Equal(p.GetExtension(1), packets[i].GetExtension(1)) {
				t.Fatalf("%d: %v %x", i, p.Header, p.Payload)
			}
		}
	})
	t.Run("vp9 with spatial layers", func(t *testing.T) {
		var packets []rtp.Packet
		for i := range 30 {
			for spatial := range byte(3) {
				// I, P but for key frames, L, B and E; a picture id of 15 bits, the layers, TL0PICIDX.
				payload := []byte{0xac | 0x40, 0x80, byte(i), 0x10 | spatial<<1, byte(i), 0x86, 0, 0}
				if i == 0 {
					payload[0] = 0xac
				}
				if i == 0 && spatial == 0 {
					payload = append(payload[:5], 0x82, 0x49, 0x83, 0x42, 0, 0x27, 0xf0, 0x16, 0x78, 0)
				}
				packets = append(packets, rtp.Packet{
					Header: rtp.Header{PayloadType: 98, Timestamp: uint32(3000 * i), Marker: spatial == 2}, Payload: payload,
				})
			}
		}
		for i, p := range crossed(t, conference.Video, conference.Format{Codec: "vp9"}, 0, packets) {
			if !bytes.Equal(p.Payload, packets[i].Payload) || p.Marker != packets[i].Marker {
				t.Fatalf("%d: %x, was %x", i, p.Payload, packets[i].Payload)
			}
		}
	})
	t.Run("av1 with dependency descriptors", func(t *testing.T) {
		structure, err := hex.DecodeString(chromeStructure)
		if err != nil {
			t.Fatal(err)
		}
		var packets []rtp.Packet
		for i := range 20 {
			for spatial := range byte(3) {
				template := [4]byte{0, 3, 2, 4}[i%4] + 5*spatial
				payload := []byte{0x10, 0x30, 0xbb}
				if i == 0 {
					template = 1 + 5*spatial
				}
				descriptor := []byte{0xc0 | template, 0, byte(3*i + int(spatial))}
				if i == 0 && spatial == 0 {
					descriptor, payload = append(descriptor, structure[3:]...), []byte{0x18, 0x30, 0xaa}
				}
				p := rtp.Packet{Header: rtp.Header{PayloadType: 45, Timestamp: uint32(3000 * i), Marker: spatial == 2}, Payload: payload}
				p.Extension, p.ExtensionProfile = true, 0x1000
				if err := p.SetExtension(2, descriptor); err != nil {
					t.Fatal(err)
				}
				packets = append(packets, p)
			}
		}
		for i, p := range crossed(t, conference.Video, conference.Format{Codec: "av1"}, 0, packets) {
			if !slices.Equal(p.GetExtension(2), packets[i].GetExtension(2)) || !bytes.Equal(p.Payload, packets[i].Payload) || p.Marker != packets[i].Marker {
				t.Fatalf("%d: %x %x", i, p.GetExtension(2), p.Payload)
			}
		}
	})
}

// TestHopIsSeen: what an edge behind a hop knows of a stream's layers is what is known before it, so that layers are chosen there as well.
func TestHopIsSeen(t *testing.T) {
	e := newEngine(t, nil)
	r, err := e.OpenRemote(RemoteSpec{
		Session: "S", Wanted: func(string, bool) {}, Tracks: []RemoteTrack{{ID: "T", Kind: conference.Video, Format: conference.Format{Codec: "av1"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	in, err := r.Begin("T", IntakeSpec{SSRC: 7, PayloadType: 45, Extensions: linkExtensions, Send: func([]byte) {}})
	if err != nil {
		t.Fatal(err)
	}
	structure, err := hex.DecodeString(chromeStructure)
	if err != nil {
		t.Fatal(err)
	}
	for spatial := range byte(3) {
		p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 45, SSRC: 7, SequenceNumber: uint16(spatial)}, Payload: []byte{0x18, 0x30, 0xaa}}
		descriptor := append([]byte{0xc0 | 1 + 5*spatial, 0, spatial}, structure[3:]...)
		if spatial > 0 {
			descriptor = descriptor[:3]
		}
		p.Extension, p.ExtensionProfile = true, 0x1000
		if err := p.SetExtension(2, descriptor); err != nil {
			t.Fatal(err)
		}
		raw, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		in.Ingest(raw)
	}
	q, _ := e.Quality("S", "")
	if layers := q.Tracks[0].Layers; len(layers) < 3 || layers[len(layers)-1].Spatial != 2 {
		t.Errorf("%+v", layers)
	}
}
